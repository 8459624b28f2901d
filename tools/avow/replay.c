/* replay.c - see replay.h. Two passes of each partition: markers, then evidence. */
#include "replay.h"

#include "avow/core/transition.h"
#include "avow/crypto/digest.h"
#include "avow/formats/quote.h"
#include "avow/trust/records.h"
#include "avow/wire/body.h"
#include "avow/wire/evidence.h"
#include "avow/wire/evidence_part.h"
#include "avow/wire/marker.h"
#include "avow/wire/state.h"
#include "reader.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define MARKERS_MAX 2000000u /* seven days of epochs of one second, and twins */
#define STATE_MAX (64u * 1024u)
#define ARENA_MAX (64u * 1024u * 1024u)

struct marker { /* signatures cost more than all the rest: checked when it is asked for */
    uint64_t epoch;
    uint8_t tag[8];
    uint8_t *record; /* owned */
    size_t len;
};
struct seat { /* what is known of a subject while its partition is read */
    struct avow_replay_subject *s;
    struct avow_ak *ak;
    /* The state, and the one before, which the next one borrows from until it is encoded. */
    struct {
        struct avow_arena arena;
        struct avow_buf record;
    } kept[2];
    size_t now; /* of kept */
    struct avow_state state;
    bool begun;
};
struct replay { /* of one partition */
    struct avow_cli *cli;
    int32_t partition;
    avow_replay_fn fn;
    void *arg;
    struct marker *markers; /* in the order of the topic */
    size_t count, cap;
    struct seat *seats; /* in order of ids */
    size_t seats_count;
    struct avow_arena arena; /* of one record */
};

/* --- Markers --- */

static enum avow_rc add_marker(struct replay *r, const struct avow_marker *m,
                               struct avow_bytes record, struct avow_err *err)
{
    if (r->count == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 1024;
        struct marker *grown =
            r->count < MARKERS_MAX ? realloc(r->markers, cap * sizeof *grown) : NULL;
        if (!grown)
            return avow_err_set(err, AVOW_NOMEM, 0, "markers");
        r->markers = grown;
        r->cap = cap;
    }
    struct marker *k = &r->markers[r->count];
    uint8_t digest[AVOW_SHA256_LEN];
    avow_sha256(AVOW_BYTES_OF(m->nonce), digest);
    *k = (struct marker){.epoch = m->epoch, .record = malloc(record.len), .len = record.len};
    if (!k->record)
        return avow_err_set(err, AVOW_NOMEM, 0, "markers");
    memcpy(k->tag, digest, sizeof k->tag);
    memcpy(k->record, record.ptr, record.len);
    r->count++;
    return AVOW_OK;
}

static enum avow_rc on_marker(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct replay *r = arg;
    struct avow_marker m;
    struct avow_str key = {(const char *)msg->key.ptr, msg->key.len};
    if (msg->value_null || !avow_str_is(key, "marker"))
        return AVOW_OK;
    avow_arena_reset(&r->arena);
    enum avow_rc rc = avow_marker_decode(msg->value, &r->arena, &m, NULL);
    if (rc == AVOW_NOMEM)
        return avow_err_set(err, rc, 0, "marker");
    return rc ? AVOW_OK : add_marker(r, &m, msg->value, err);
}

/* Newest first: evidence answers a marker that is not old. */
static bool find_marker(struct replay *r, const struct avow_body *b, struct avow_marker *out)
{
    const struct avow_str key = AVOW_STR_LIT("marker");
    for (size_t i = r->count; i-- > 0;) {
        const struct marker *k = &r->markers[i];
        struct avow_record_in in = {.kafka_key = avow_bytes_make(key.ptr, key.len),
                                    .value = avow_bytes_make(k->record, k->len),
                                    .partition = r->partition};
        if (k->epoch == b->epoch && avow_ct_eq(k->tag, b->marker_tag, sizeof k->tag))
            return avow_open_marker(r->cli->trust, &in, &r->arena, out, NULL) == AVOW_OK;
    }
    return false;
}

/* --- Evidence --- */

struct decoded {
    bool is_part, has_body, has_marker;
    struct avow_evidence evidence;
    struct avow_evidence_part part;
    struct avow_body body;
    struct avow_marker marker;
};

static bool decode(struct replay *r, const struct seat *t, struct avow_bytes value,
                   struct decoded *d)
{
    uint64_t fingerprint;
    d->is_part = avow_wire_frame(value, &fingerprint) &&
                 fingerprint == avow_wire_evidence_part_schema.fingerprint;
    enum avow_rc rc = d->is_part ? avow_evidence_part_decode(value, &r->arena, &d->part, NULL)
                                 : avow_evidence_decode(value, &r->arena, &d->evidence, NULL);
    if (rc || (d->is_part && !t->state.has_open))
        return false;
    d->has_body = avow_body_decode(d->is_part ? t->state.open.body : d->evidence.body, &r->arena,
                                   &d->body, NULL) == AVOW_OK;
    d->has_marker = !d->is_part && d->has_body && find_marker(r, &d->body, &d->marker);
    return true;
}

static bool tells_everything(const struct decoded *d)
{
    size_t all = AVOW_PCR_COUNT - (d->body.ima_state == AVOW_IMA_STATE_PRESENT ? 1 : 0);
    return !d->is_part && d->has_body && d->has_marker && !d->body.ima_start &&
           d->body.pcrs_count >= all;
}

/* A state is kept as its record, as a worker keeps it. */
static enum avow_rc keep(struct seat *t, const struct avow_state *next, struct avow_err *err)
{
    t->now = 1 - t->now;
    struct avow_buf *record = &t->kept[t->now].record;
    struct avow_arena *arena = &t->kept[t->now].arena;
    avow_buf_reset(record);
    avow_arena_reset(arena);
    enum avow_rc rc = avow_state_encode(next, record, err);
    return rc ? rc : avow_state_decode(avow_buf_bytes(record), arena, &t->state, err);
}

static enum avow_rc publish(struct replay *r, struct seat *t, const struct avow_eval_in *in,
                            struct avow_eval_out *eval, struct avow_err *err)
{
    const struct avow_bundle *b = avow_trust_bundle(r->cli->trust);
    const struct avow_enrollment *e = in->enrollment;
    struct avow_transition_in transition = {.enrollment = e,
                                            .prior = &t->state,
                                            .service_ms = in->service_ms,
                                            .validity_ms =
                                                e->validity_ms ? e->validity_ms : b->validity_ms,
                                            .verdict_refresh_ms = b->verdict_refresh_ms,
                                            .clock = in->part ? 0 : eval->next.order.clock};
    struct avow_transition_out out;
    enum avow_rc rc = avow_transition(&transition, &eval->next, &r->arena, &out, err);
    if (!rc)
        rc = keep(t, &eval->next, err);
    return rc ? rc : r->fn(r->arg, t->s, &t->state, err);
}

static void count_appraised(struct seat *t, const struct avow_bus_msg *msg)
{
    struct avow_replay_subject *s = t->s;
    if (s->first < 0) {
        s->first = msg->offset;
        s->first_ms = msg->timestamp_ms > 0 ? (uint64_t)msg->timestamp_ms : 0;
    }
    t->begun = true;
    s->last = msg->offset;
    s->appraised++;
}

static enum avow_rc appraise(struct replay *r, struct seat *t, const struct avow_bus_msg *msg,
                             struct decoded *d, struct avow_err *err)
{
    const struct avow_bundle *b = avow_trust_bundle(r->cli->trust);
    const struct avow_enrollment *e = t->s->enrollment;
    struct avow_eval_in in = {
        .evidence = d->is_part ? NULL : &d->evidence,
        .part = d->is_part ? &d->part : NULL,
        .body = d->has_body ? &d->body : NULL,
        .enrollment = e,
        .enrollment_sha256 = t->s->enrollment_sha256,
        .ak = t->ak,
        .policy = t->s->policy,
        .prior = &t->state,
        .marker = d->has_marker ? &d->marker : NULL,
        .bundle_version = b->version,
        .service_ms = d->has_marker ? d->marker.service_ms : t->state.credit_ms,
        .silent_after_ms = e->silent_after_ms ? e->silent_after_ms : b->silent_after_ms,
        .partition = msg->partition,
        .offset = msg->offset};
    struct avow_eval_out *eval = avow_arena_alloc(&r->arena, 1, sizeof *eval);
    if (!eval)
        return avow_err_set(err, AVOW_NOMEM, 0, "replay");
    enum avow_rc rc = d->is_part ? avow_evaluate_part(&in, &r->arena, eval, err)
                                 : avow_evaluate(&in, &r->arena, eval, err);
    if (rc)
        return rc;
    if (eval->kind == AVOW_EVAL_DROPPED) {
        t->s->dropped++;
        return AVOW_OK;
    }
    count_appraised(t, msg);
    return publish(r, t, &in, eval, err);
}

static enum avow_rc take(struct replay *r, struct seat *t, const struct avow_bus_msg *msg,
                         struct avow_err *err)
{
    avow_arena_reset(&r->arena);
    struct decoded *d = avow_arena_alloc(&r->arena, 1, sizeof *d);
    if (!d)
        return avow_err_set(err, AVOW_NOMEM, 0, "replay");
    t->s->records++;
    bool decodes = decode(r, t, msg->value, d);
    if (!t->begun && !(decodes && tells_everything(d))) {
        t->s->skipped++;
        return AVOW_OK;
    }
    if (decodes)
        return appraise(r, t, msg, d, err);
    t->s->dropped++;
    return AVOW_OK;
}

/* The first seat whose id is not less; the count of seats if there is none. */
static size_t first_seat(const struct replay *r, struct avow_str id)
{
    size_t low = 0, high = r->seats_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (avow_str_cmp(avow_str_from(r->seats[mid].s->id), id) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static enum avow_rc on_evidence(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct replay *r = arg;
    struct avow_str id = {(const char *)msg->key.ptr, msg->key.len};
    enum avow_rc rc = AVOW_OK;
    if (msg->value_null)
        return AVOW_OK;
    for (size_t i = first_seat(r, id);
         i < r->seats_count && avow_str_is(id, r->seats[i].s->id) && !rc; i++)
        rc = take(r, &r->seats[i], msg, err);
    return rc;
}

/* --- A partition --- */

static enum avow_rc sit(struct seat *t, struct avow_replay_subject *s, struct avow_err *err)
{
    t->s = s;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(t->kept); i++) {
        avow_arena_init(&t->kept[i].arena, AVOW_WIRE_ARENA_MAX);
        avow_buf_init(&t->kept[i].record, STATE_MAX);
    }
    avow_state_first(s->enrollment, s->enrollment_sha256, s->partition, 0, &t->state);
    enum avow_rc rc = keep(t, &t->state, err);
    if (!rc && avow_ak_parse(s->enrollment->ak_public, &t->ak, err))
        rc = avow_err_wrap(err, err->rc == AVOW_NOMEM ? AVOW_NOMEM : AVOW_UNTRUSTED, "AK of %.128s",
                           s->id);
    return rc;
}

static void stand_up(struct seat *t)
{
    avow_ak_free(t->ak);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(t->kept); i++) {
        avow_arena_deinit(&t->kept[i].arena);
        avow_buf_deinit(&t->kept[i].record);
    }
}

/* Subjects of one partition. Any of their keys leads to it. */
static enum avow_rc run_partition(struct replay *r, struct avow_replay_subject *subjects, size_t n,
                                  struct avow_err *err)
{
    r->partition = subjects[0].partition;
    r->seats = calloc(n, sizeof *r->seats);
    enum avow_rc rc = AVOW_OK;
    if (!r->seats)
        return avow_err_set(err, AVOW_NOMEM, 0, "replay");
    for (size_t i = 0; i < n && !rc; i++)
        rc = sit(&r->seats[r->seats_count++], &subjects[i], err);
    if (!rc)
        rc = avow_read_topic(r->cli, "epochs", subjects[0].id, on_marker, r, err);
    if (!rc)
        rc = avow_read_topic(r->cli, "evidence", subjects[0].id, on_evidence, r, err);
    for (size_t i = 0; i < r->seats_count; i++)
        stand_up(&r->seats[i]);
    free(r->seats);
    for (size_t i = 0; i < r->count; i++)
        free(r->markers[i].record);
    free(r->markers);
    return rc;
}

static int by_partition_and_id(const void *a, const void *b)
{
    const struct avow_replay_subject *x = a, *y = b;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    return avow_str_cmp(avow_str_from(x->id), avow_str_from(y->id));
}

enum avow_rc avow_replay_run(struct avow_cli *cli, struct avow_replay_subject *subjects, size_t n,
                             avow_replay_fn fn, void *arg, struct avow_err *err)
{
    uint32_t partitions = avow_trust_bundle(cli->trust)->partitions;
    enum avow_rc rc = AVOW_OK;
    for (size_t i = 0; i < n; i++) {
        struct avow_str id = avow_str_from(subjects[i].id);
        subjects[i].first = subjects[i].last = -1;
        subjects[i].partition = avow_bus_partition_of(avow_bytes_make(id.ptr, id.len), partitions);
    }
    if (n)
        qsort(subjects, n, sizeof *subjects, by_partition_and_id);
    for (size_t i = 0, end = 0; i < n && !rc; i = end) {
        struct replay r = {.cli = cli, .fn = fn, .arg = arg};
        while (end < n && subjects[end].partition == subjects[i].partition)
            end++;
        avow_arena_init(&r.arena, ARENA_MAX);
        rc = run_partition(&r, &subjects[i], end - i, err);
        avow_arena_deinit(&r.arena);
    }
    return rc;
}
