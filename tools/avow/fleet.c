#include "fleet.h"

#include "avow/crypto/rng.h"
#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "avow/wire/enrollment.h"
#include "avow/wire/identity.h"
#include "avow/wire/verdict.h"
#include "reader.h"
#include "trust_view.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define FLEET_BYTES_MAX (2048u * 1024u * 1024u)

enum kind { IDENTITY, ENROLLMENT, VERDICT, KINDS };

static const struct {
    unsigned bit;
    const char *topic;
} kinds[KINDS] = {[IDENTITY] = {AVOW_FLEET_IDENTITIES, "identities"},
                  [ENROLLMENT] = {AVOW_FLEET_ENROLLMENTS, "enrollments"},
                  [VERDICT] = {AVOW_FLEET_VERDICTS, "verdicts"}};

/* The newest record of one kind, verified, as read: superseded ones take no memory. */
struct newest {
    uint8_t *ptr; /* owned; NULL: none */
    size_t len;
    uint64_t order; /* generation or seq */
};
struct slot {
    struct newest of[KINDS];
};

static void slot_free(void *p)
{
    struct slot *s = p;
    for (size_t i = 0; i < KINDS; i++)
        free(s->of[i].ptr);
    free(s);
}

void avow_fleet_deinit(struct avow_fleet *f)
{
    avow_map_deinit(&f->slots, slot_free);
    avow_arena_deinit(&f->arena);
}

bool avow_fleet_is_enrolled(const struct avow_fleet_agent *a)
{
    return a->has_enrollment && a->enrollment.status != AVOW_ENROLL_STATUS_REMOVED;
}

void avow_fleet_warn(const struct avow_fleet *f)
{
    if (f->refused)
        avow_cli_note("warning: %" PRIu64 " records were refused, the last because: %s", f->refused,
                      f->last_refusal.msg);
    if (f->older)
        avow_cli_note("warning: %" PRIu64 " records are older than what stood before them and were "
                      "ignored: a roll-back (bus.rollback), or a worker without transactions that "
                      "was started again",
                      f->older);
    if (f->conflicts)
        avow_cli_note("warning: %" PRIu64 " records differ from the first of their generation and "
                      "were ignored (enrollment.conflict)",
                      f->conflicts);
}

struct fleet_reading {
    struct avow_cli *cli;
    struct avow_fleet *fleet;
    enum kind kind;
    const char *id;
    struct avow_arena arena; /* of one record */
};

/* Verifies; *order is what makes a record newer than another. */
static enum avow_rc open_record(struct fleet_reading *r, const struct avow_record_in *in,
                                uint64_t *order, struct avow_err *why)
{
    struct avow_identity identity;
    struct avow_enrollment enrollment;
    struct avow_verdict verdict;
    enum avow_rc rc = AVOW_OK;
    switch (r->kind) {
    case IDENTITY:
        rc = avow_open_identity(r->cli->trust, in, &r->arena, &identity, why);
        *order = rc ? 0 : identity.generation;
        break;
    case ENROLLMENT:
        rc = avow_open_enrollment(r->cli->trust, in, &r->arena, &enrollment, why);
        *order = rc ? 0 : enrollment.generation;
        break;
    case VERDICT:
    case KINDS:
        rc = avow_open_verdict(r->cli->trust, in, &r->arena, &verdict, why);
        *order = rc ? 0 : verdict.seq;
        break;
    }
    return rc;
}

static bool same_content(const struct newest *a, struct avow_bytes record)
{
    uint8_t left[32], right[32]; /* without the proofs: signatures are randomised */
    avow_proof_content_sha256(avow_bytes_make(a->ptr, a->len), left);
    avow_proof_content_sha256(record, right);
    return avow_bytes_eq(AVOW_BYTES_OF(left), AVOW_BYTES_OF(right));
}

static enum avow_rc keep(struct newest *n, struct avow_bytes record, uint64_t order,
                         struct avow_err *err)
{
    uint8_t *copy = malloc(record.len ? record.len : 1);
    if (!copy)
        return avow_err_set(err, AVOW_NOMEM, 0, "too many agents for one listing");
    memcpy(copy, record.ptr, record.len);
    free(n->ptr);
    *n = (struct newest){copy, record.len, order};
    return AVOW_OK;
}

static enum avow_rc slot_of(struct avow_fleet *f, struct avow_bytes id, struct slot **out,
                            struct avow_err *err)
{
    *out = avow_map_find(&f->slots, id);
    if (*out)
        return AVOW_OK;
    struct slot *s = calloc(1, sizeof *s);
    if (!s || avow_map_set(&f->slots, id, s, NULL)) {
        free(s);
        return avow_err_set(err, AVOW_NOMEM, 0, "too many agents for one listing");
    }
    *out = s;
    return AVOW_OK;
}

static enum avow_rc fleet_record(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct fleet_reading *r = arg;
    struct avow_fleet *f = r->fleet;
    struct avow_str key = {(const char *)msg->key.ptr, msg->key.len};
    struct avow_record_in in = {
        .kafka_key = msg->key, .value = msg->value, .partition = msg->partition};
    uint64_t order = 0;
    struct slot *slot;
    if (msg->value_null || (r->id && !avow_str_is(key, r->id)))
        return AVOW_OK;
    avow_arena_reset(&r->arena);
    if (avow_reader_at_home(r->cli, msg, &f->last_refusal) ||
        open_record(r, &in, &order, &f->last_refusal)) {
        f->refused++;
        return AVOW_OK;
    }
    enum avow_rc rc = slot_of(f, msg->key, &slot, err);
    if (rc)
        return rc;
    struct newest *n = &slot->of[r->kind];
    if (n->ptr && order < n->order) {
        f->older++;
        return AVOW_OK;
    }
    if (n->ptr && order == n->order) {
        if (!same_content(n, msg->value))
            f->conflicts++;
        return AVOW_OK;
    }
    return keep(n, msg->value, order, err);
}

/* --- From records to agents --- */

static enum avow_rc decode_agent(struct avow_fleet *f, const struct avow_map_entry *e,
                                 struct avow_fleet_agent *a, struct avow_err *err)
{
    const struct slot *s = e->value;
    const struct newest *i = &s->of[IDENTITY], *n = &s->of[ENROLLMENT], *v = &s->of[VERDICT];
    enum avow_rc rc = AVOW_OK;
    *a = (struct avow_fleet_agent){.id = {(const char *)e->key, e->key_len},
                                   .has_identity = i->ptr != NULL,
                                   .has_enrollment = n->ptr != NULL,
                                   .has_verdict = v->ptr != NULL,
                                   .enrollment_record = avow_bytes_make(n->ptr, n->len),
                                   .verdict_record = avow_bytes_make(v->ptr, v->len)};
    if (i->ptr)
        rc = avow_identity_decode(avow_bytes_make(i->ptr, i->len), &f->arena, &a->identity, err);
    if (!rc && n->ptr)
        rc =
            avow_enrollment_decode(avow_bytes_make(n->ptr, n->len), &f->arena, &a->enrollment, err);
    if (!rc && v->ptr)
        rc = avow_verdict_decode(a->verdict_record, &f->arena, &a->verdict, err);
    return rc;
}

static int by_id(const void *a, const void *b)
{
    const struct avow_fleet_agent *x = a, *y = b;
    return avow_str_cmp(x->id, y->id);
}

static enum avow_rc decode_all(struct avow_fleet *f, struct avow_err *err)
{
    f->agents = avow_arena_alloc(&f->arena, f->slots.count, sizeof *f->agents);
    if (!f->agents)
        return avow_err_set(err, AVOW_NOMEM, 0, "too many agents for one listing");
    for (; f->count < f->slots.count; f->count++) {
        enum avow_rc rc = decode_agent(f, &f->slots.entries[f->count], &f->agents[f->count], err);
        if (rc)
            return rc;
    }
    if (f->count)
        qsort(f->agents, f->count, sizeof *f->agents, by_id);
    return AVOW_OK;
}

enum avow_rc avow_fleet_read(struct avow_cli *cli, unsigned what, const char *id,
                             struct avow_fleet *f, struct avow_err *err)
{
    uint64_t seed[2] = {0, 0};
    *f = (struct avow_fleet){.count = 0};
    avow_arena_init(&f->arena, FLEET_BYTES_MAX);
    enum avow_rc rc = avow_rng_fill(seed, sizeof seed, err);
    avow_map_init(&f->slots, seed[0], seed[1]);
    if (!rc)
        rc = avow_cli_trust(cli, err);
    for (size_t i = 0; i < KINDS && !rc; i++) {
        struct fleet_reading reading = {.cli = cli, .fleet = f, .kind = (enum kind)i, .id = id};
        avow_arena_init(&reading.arena, AVOW_WIRE_ARENA_MAX);
        if (what & kinds[i].bit)
            rc = avow_read_topic(cli, kinds[i].topic, id, fleet_record, &reading, err);
        avow_arena_deinit(&reading.arena);
    }
    return rc ? rc : decode_all(f, err);
}

const struct avow_fleet_agent *avow_fleet_find(const struct avow_fleet *f, const char *id)
{
    for (size_t i = 0; i < f->count; i++)
        if (avow_str_is(f->agents[i].id, id))
            return &f->agents[i];
    return NULL;
}
