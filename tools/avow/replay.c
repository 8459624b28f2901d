/* replay.c - see replay.h. Two passes: the markers of the agent's partition, then its evidence. */
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

struct marker { /* signatures cost more than all the rest: checked when it is asked for */
    uint64_t epoch;
    uint8_t tag[8];
    uint8_t *record; /* owned */
    size_t len;
};
struct replay {
    const struct avow_replay_in *in;
    struct avow_replay_out *out;
    avow_replay_fn fn;
    void *arg;
    struct marker *markers; /* in the order of the topic */
    size_t count, cap;
    struct avow_ak *ak;
    struct avow_arena arena; /* of one record */
    /* The state, and the one before, which the next one borrows from until it is encoded. */
    struct {
        struct avow_arena arena;
        struct avow_buf record;
    } kept[2];
    size_t now; /* of kept */
    struct avow_state state;
    bool begun;
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
                                    .partition = r->out->partition};
        if (k->epoch == b->epoch && avow_ct_eq(k->tag, b->marker_tag, sizeof k->tag))
            return avow_open_marker(r->in->cli->trust, &in, &r->arena, out, NULL) == AVOW_OK;
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

static bool decode(struct replay *r, struct avow_bytes value, struct decoded *d)
{
    uint64_t fingerprint;
    d->is_part = avow_wire_frame(value, &fingerprint) &&
                 fingerprint == avow_wire_evidence_part_schema.fingerprint;
    enum avow_rc rc = d->is_part ? avow_evidence_part_decode(value, &r->arena, &d->part, NULL)
                                 : avow_evidence_decode(value, &r->arena, &d->evidence, NULL);
    if (rc || (d->is_part && !r->state.has_open))
        return false;
    d->has_body = avow_body_decode(d->is_part ? r->state.open.body : d->evidence.body, &r->arena,
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
static enum avow_rc keep(struct replay *r, const struct avow_state *next, struct avow_err *err)
{
    r->now = 1 - r->now;
    struct avow_buf *record = &r->kept[r->now].record;
    struct avow_arena *arena = &r->kept[r->now].arena;
    avow_buf_reset(record);
    avow_arena_reset(arena);
    enum avow_rc rc = avow_state_encode(next, record, err);
    return rc ? rc : avow_state_decode(avow_buf_bytes(record), arena, &r->state, err);
}

static uint32_t silent_after(const struct avow_replay_in *in)
{
    uint32_t own = in->enrollment->silent_after_ms;
    return own ? own : avow_trust_bundle(in->cli->trust)->silent_after_ms;
}

static enum avow_rc publish(struct replay *r, const struct decoded *d, uint64_t service_ms,
                            struct avow_eval_out *eval, struct avow_err *err)
{
    const struct avow_bundle *b = avow_trust_bundle(r->in->cli->trust);
    const struct avow_enrollment *e = r->in->enrollment;
    struct avow_transition_in t = {.enrollment = e,
                                   .prior = &r->state,
                                   .service_ms = service_ms,
                                   .validity_ms = e->validity_ms ? e->validity_ms : b->validity_ms,
                                   .verdict_refresh_ms = b->verdict_refresh_ms,
                                   .clock = d->is_part ? 0 : eval->next.order.clock};
    struct avow_transition_out out;
    enum avow_rc rc = avow_transition(&t, &eval->next, &r->arena, &out, err);
    if (!rc)
        rc = keep(r, &eval->next, err);
    return rc ? rc : r->fn(r->arg, &r->state, err);
}

static enum avow_rc appraise(struct replay *r, const struct avow_bus_msg *msg, struct decoded *d,
                             struct avow_err *err)
{
    uint64_t service_ms = d->has_marker ? d->marker.service_ms : r->state.credit_ms;
    struct avow_eval_in in = {.evidence = d->is_part ? NULL : &d->evidence,
                              .part = d->is_part ? &d->part : NULL,
                              .body = d->has_body ? &d->body : NULL,
                              .enrollment = r->in->enrollment,
                              .enrollment_sha256 = r->in->enrollment_sha256,
                              .ak = r->ak,
                              .policy = r->in->policy,
                              .prior = &r->state,
                              .marker = d->has_marker ? &d->marker : NULL,
                              .bundle_version = avow_trust_bundle(r->in->cli->trust)->version,
                              .service_ms = service_ms,
                              .silent_after_ms = silent_after(r->in),
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
        r->out->dropped++;
        return AVOW_OK;
    }
    if (r->out->first < 0) {
        r->out->first = msg->offset;
        r->out->first_ms = msg->timestamp_ms > 0 ? (uint64_t)msg->timestamp_ms : 0;
    }
    r->begun = true;
    r->out->last = msg->offset;
    r->out->appraised++;
    return publish(r, d, service_ms, eval, err);
}

static enum avow_rc on_evidence(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct replay *r = arg;
    struct avow_str key = {(const char *)msg->key.ptr, msg->key.len};
    if (msg->value_null || !avow_str_is(key, r->in->id))
        return AVOW_OK;
    avow_arena_reset(&r->arena);
    struct decoded *d = avow_arena_alloc(&r->arena, 1, sizeof *d);
    if (!d)
        return avow_err_set(err, AVOW_NOMEM, 0, "replay");
    r->out->records++;
    if (!decode(r, msg->value, d)) {
        r->out->dropped += r->begun;
        r->out->skipped += !r->begun;
        return AVOW_OK;
    }
    if (!r->begun && !tells_everything(d)) {
        r->out->skipped++;
        return AVOW_OK;
    }
    return appraise(r, msg, d, err);
}

/* --- Both --- */

static enum avow_rc run(struct replay *r, struct avow_err *err)
{
    const struct avow_replay_in *in = r->in;
    avow_state_first(in->enrollment, in->enrollment_sha256, r->out->partition, 0, &r->state);
    enum avow_rc rc = keep(r, &r->state, err);
    if (!rc && avow_ak_parse(in->enrollment->ak_public, &r->ak, err))
        rc = avow_err_wrap(err, err->rc == AVOW_NOMEM ? AVOW_NOMEM : AVOW_UNTRUSTED,
                           "AK of the enrolment");
    if (!rc)
        rc = avow_read_topic(in->cli, "epochs", in->id, on_marker, r, err);
    return rc ? rc : avow_read_topic(in->cli, "evidence", in->id, on_evidence, r, err);
}

enum avow_rc avow_replay_run(const struct avow_replay_in *in, avow_replay_fn fn, void *arg,
                             struct avow_replay_out *out, struct avow_err *err)
{
    struct replay r = {.in = in, .out = out, .fn = fn, .arg = arg};
    struct avow_str id = avow_str_from(in->id);
    *out = (struct avow_replay_out){
        .first = -1,
        .last = -1,
        .partition = avow_bus_partition_of(avow_bytes_make(id.ptr, id.len),
                                           avow_trust_bundle(in->cli->trust)->partitions)};
    avow_arena_init(&r.arena, 64u * 1024u * 1024u);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(r.kept); i++) {
        avow_arena_init(&r.kept[i].arena, AVOW_WIRE_ARENA_MAX);
        avow_buf_init(&r.kept[i].record, STATE_MAX);
    }
    enum avow_rc rc = run(&r, err);
    for (size_t i = 0; i < r.count; i++)
        free(r.markers[i].record);
    free(r.markers);
    avow_ak_free(r.ak);
    avow_arena_deinit(&r.arena);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(r.kept); i++) {
        avow_arena_deinit(&r.kept[i].arena);
        avow_buf_deinit(&r.kept[i].record);
    }
    return rc;
}
