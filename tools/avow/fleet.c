#include "fleet.h"

#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "reader.h"

#include "avow/base/banned.h"

#define FLEET_BYTES_MAX (1024u * 1024u * 1024u)

void avow_fleet_deinit(struct avow_fleet *f)
{
    avow_arena_deinit(&f->arena);
}

const struct avow_fleet_agent *avow_fleet_find(const struct avow_fleet *f, struct avow_str id)
{
    for (size_t i = 0; i < f->count; i++)
        if (avow_str_eq(f->items[i].id, id))
            return &f->items[i];
    return NULL;
}

static struct avow_fleet_agent *fleet_slot(struct avow_fleet *f, struct avow_str id)
{
    for (size_t i = 0; i < f->count; i++)
        if (avow_str_eq(f->items[i].id, id))
            return &f->items[i];
    if (f->count == f->cap) {
        size_t cap = f->cap ? 2 * f->cap : 64;
        struct avow_fleet_agent *items = avow_arena_alloc(&f->arena, cap, sizeof *items);
        if (!items)
            return NULL;
        for (size_t i = 0; i < f->count; i++)
            items[i] = f->items[i];
        f->items = items;
        f->cap = cap;
    }
    struct avow_fleet_agent *a = &f->items[f->count++];
    *a = (struct avow_fleet_agent){.id = id};
    return a;
}

struct fleet_reading {
    struct avow_cli *cli;
    struct avow_fleet *fleet;
    unsigned what;
    const char *id;
};

static void put_identity(struct avow_fleet_agent *a, const struct avow_identity *v)
{
    if (!a->has_identity || v->generation > a->identity.generation)
        a->identity = *v;
    a->has_identity = true;
}

static void put_enrollment(struct avow_fleet_agent *a, const struct avow_enrollment *v)
{
    if (!a->has_enrollment || v->generation > a->enrollment.generation)
        a->enrollment = *v;
    a->has_enrollment = true;
}

static void put_verdict(struct avow_fleet_agent *a, const struct avow_verdict *v,
                        struct avow_bytes record)
{
    if (a->has_verdict && v->seq < a->verdict.seq)
        return;
    a->verdict = *v;
    a->verdict_record = record;
    a->has_verdict = true;
}

/* Opens the record as the topic's type; AVOW_OK with *id set, or the refusal. */
static enum avow_rc open_record(struct fleet_reading *r, const struct avow_record_in *in,
                                struct avow_fleet_agent *scratch, struct avow_err *why)
{
    struct avow_arena *arena = &r->fleet->arena;
    enum avow_rc rc;
    if (r->what == AVOW_FLEET_IDENTITIES) {
        rc = avow_open_identity(r->cli->trust, in, arena, &scratch->identity, why);
        scratch->id = scratch->identity.key;
    } else if (r->what == AVOW_FLEET_ENROLLMENTS) {
        rc = avow_open_enrollment(r->cli->trust, in, arena, &scratch->enrollment, why);
        scratch->id = scratch->enrollment.key;
    } else {
        rc = avow_open_verdict(r->cli->trust, in, arena, &scratch->verdict, why);
        scratch->id = scratch->verdict.key;
    }
    return rc;
}

static enum avow_rc fleet_record(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct fleet_reading *r = arg;
    struct avow_str key = {(const char *)msg->key.ptr, msg->key.len};
    if (msg->value_null || (r->id && !avow_str_is(key, r->id)))
        return AVOW_OK;
    struct avow_bytes kept = avow_arena_bytes(&r->fleet->arena, msg->value);
    struct avow_bytes kept_key = avow_arena_bytes(&r->fleet->arena, msg->key);
    if (!kept.ptr || !kept_key.ptr)
        return avow_err_set(err, AVOW_NOMEM, 0, "too many agents for one listing");
    struct avow_record_in in = {.kafka_key = kept_key, .value = kept, .partition = msg->partition};
    struct avow_fleet_agent got = {.has_identity = false};
    if (open_record(r, &in, &got, &r->fleet->last_refusal)) {
        r->fleet->refused++;
        return AVOW_OK;
    }
    struct avow_fleet_agent *a = fleet_slot(r->fleet, got.id);
    if (!a)
        return avow_err_set(err, AVOW_NOMEM, 0, "too many agents for one listing");
    if (r->what == AVOW_FLEET_IDENTITIES)
        put_identity(a, &got.identity);
    else if (r->what == AVOW_FLEET_ENROLLMENTS)
        put_enrollment(a, &got.enrollment);
    else
        put_verdict(a, &got.verdict, kept);
    return AVOW_OK;
}

enum avow_rc avow_fleet_read(struct avow_cli *cli, unsigned what, const char *id,
                             struct avow_fleet *f, struct avow_err *err)
{
    static const struct {
        unsigned bit;
        const char *topic;
    } topics[] = {{AVOW_FLEET_IDENTITIES, "identities"},
                  {AVOW_FLEET_ENROLLMENTS, "enrollments"},
                  {AVOW_FLEET_VERDICTS, "verdicts"}};
    *f = (struct avow_fleet){.count = 0};
    avow_arena_init(&f->arena, FLEET_BYTES_MAX);
    enum avow_rc rc = avow_cli_trust(cli, err);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(topics) && !rc; i++) {
        struct fleet_reading reading = {cli, f, topics[i].bit, id};
        if (what & topics[i].bit)
            rc = avow_read_topic(cli, topics[i].topic, id, fleet_record, &reading, err);
    }
    return rc;
}

const char *avow_verdict_status_at(const struct avow_verdict *v, uint64_t now_ms)
{
    if (v->status == AVOW_STATUS_TRUSTED && now_ms >= v->trusted_until_ms)
        return "expired";
    return avow_status_text(v->status);
}
