/* batch.c - see batch.h. */
#include "batch.h"

#include "avow/base/num.h"
#include "avow/base/cleanup.h"
#include "avow/crypto/digest.h"
#include "avow/events/revocation_json.h"
#include "avow/trust/records.h"
#include "avow/wire/deadletter.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define ALARM_SEVERITY "critical"

enum avow_rc avow_batch_init(struct avow_batch *b, struct avow_err *err)
{
    *b = (struct avow_batch){0};
    avow_buf_init(&b->bytes, AVOW_BATCH_BYTES_HARD);
    b->alarms = calloc(AVOW_BATCH_ALARMS_MAX, sizeof *b->alarms);
    b->said = calloc(AVOW_BATCH_ALARM_MEMORY, sizeof *b->said);
    if (b->alarms && b->said)
        return AVOW_OK;
    avow_batch_deinit(b);
    return avow_err_set(err, AVOW_NOMEM, 0, "batch");
}

static void empty(struct avow_batch *b)
{
    for (size_t i = 0; i < b->touched_count; i++) {
        b->touched[i].agent->in_batch = false;
        avow_agent_state_deinit(&b->touched[i].before);
    }
    avow_buf_reset(&b->bytes);
    b->count = b->touched_count = b->drops_count = b->consumed = b->state_bytes = 0;
    b->open = b->closed = b->urgent = false;
}

void avow_batch_deinit(struct avow_batch *b)
{
    empty(b);
    avow_buf_deinit(&b->bytes);
    free(b->records);
    free(b->touched);
    free(b->drops);
    free(b->alarms);
    free(b->said);
    *b = (struct avow_batch){0};
}

void avow_batch_open(struct avow_batch *b, const struct avow_worker_ctx *ctx)
{
    if (b->open)
        return;
    b->open = true;
    b->opened_mono_ms = AVOW_WORKER_MONO(ctx);
    b->counters_before = ctx->counters;
}

bool avow_batch_is_full(const struct avow_batch *b)
{
    return b->closed || b->consumed >= AVOW_BATCH_RECORDS_MAX ||
           b->bytes.len + b->state_bytes >= AVOW_BATCH_BYTES_MAX;
}

bool avow_batch_is_due(const struct avow_batch *b, uint64_t mono_ms, bool idle)
{
    if (!b->open && !b->alarms_count)
        return false;
    if (avow_batch_is_full(b) || mono_ms - b->opened_mono_ms >= AVOW_BATCH_AGE_MS)
        return true;
    return b->urgent && idle && mono_ms - b->last_commit_mono_ms >= AVOW_BATCH_URGENT_GAP_MS;
}

/* Room for one more item of an array; false without memory. */
static bool grow(void **items, size_t *cap, size_t count, size_t size)
{
    if (count < *cap)
        return true;
    size_t more = *cap ? *cap * 2 : 64, bytes;
    void *grown = avow_size_mul(more, size, &bytes) ? realloc(*items, bytes) : NULL;
    if (!grown)
        return false;
    *items = grown;
    *cap = more;
    return true;
}

static enum avow_rc nomem(struct avow_err *err)
{
    return avow_err_set(err, AVOW_NOMEM, 0, "batch");
}

/* Appends the key; the value follows, and finish() makes a record of both. */
static enum avow_rc start(struct avow_batch *b, enum avow_batch_class class, int32_t partition,
                          struct avow_str key, struct avow_batch_record *rec, struct avow_err *err)
{
    *rec = (struct avow_batch_record){
        .class = class, .partition = partition, .key_at = b->bytes.len, .key_len = key.len};
    avow_buf_put(&b->bytes, key.ptr, key.len);
    rec->value_at = b->bytes.len;
    return avow_buf_status(&b->bytes, err);
}

static enum avow_rc finish(struct avow_batch *b, struct avow_batch_record *rec, enum avow_rc rc,
                           struct avow_err *err)
{
    if (rc)
        return rc;
    void *items = b->records;
    if (!grow(&items, &b->cap, b->count, sizeof *b->records))
        return nomem(err);
    b->records = items;
    rec->value_len = b->bytes.len - rec->value_at;
    b->records[b->count++] = *rec;
    return AVOW_OK;
}

enum avow_rc avow_batch_verdict(struct avow_batch *b, const struct avow_worker_ctx *ctx,
                                int32_t partition, const struct avow_verdict *v,
                                struct avow_err *err)
{
    struct avow_batch_record rec;
    enum avow_rc rc = start(b, AVOW_BATCH_VERDICT, partition, v->key, &rec, err);
    return finish(b, &rec, rc ? rc : avow_seal_verdict(v, ctx->keys->sign, &b->bytes, err), err);
}

/* The revocation once more, in another form; what the form has no word for is left out. */
static enum avow_rc add_form(struct avow_batch *b, enum avow_batch_class class,
                             const struct avow_batch_record *of,
                             const struct avow_revocation_source *source, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf json;
    avow_buf_init(&json, AVOW_BUS_VALUE_MAX);
    enum avow_rc rc = class == AVOW_BATCH_KEYLIME ? avow_revocation_keylime(source, &json, err)
                                                  : avow_revocation_cloudevent(source, &json, err);
    if (rc == AVOW_NOTFOUND)
        return AVOW_OK;
    struct avow_batch_record rec;
    if (!rc)
        rc = start(b, class, of->partition, source->revocation->key, &rec, err);
    if (rc)
        return rc;
    avow_buf_put(&b->bytes, json.ptr, json.len);
    return finish(b, &rec, avow_buf_status(&b->bytes, err), err);
}

enum avow_rc avow_batch_revocation(struct avow_batch *b, const struct avow_worker_ctx *ctx,
                                   int32_t partition, const struct avow_revocation *r,
                                   struct avow_err *err)
{
    struct avow_batch_record rec;
    enum avow_rc rc = start(b, AVOW_BATCH_REVOCATION, partition, r->key, &rec, err);
    rc = finish(b, &rec, rc ? rc : avow_seal_revocation(r, ctx->keys->sign, &b->bytes, err), err);
    const struct {
        bool wanted;
        enum avow_batch_class class;
    } forms[] = {{ctx->outputs.cloudevents, AVOW_BATCH_CLOUDEVENT},
                 {ctx->outputs.keylime, AVOW_BATCH_KEYLIME}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(forms) && !rc; i++) {
        /* The bytes may move with each record that is added. */
        const struct avow_revocation_source source = {
            r, avow_bytes_make(b->bytes.ptr + rec.value_at, rec.value_len), AVOW_WORKER_NOW(ctx)};
        if (forms[i].wanted)
            rc = add_form(b, forms[i].class, &rec, &source, err);
    }
    return rc;
}

enum avow_rc avow_batch_directive(struct avow_batch *b, const struct avow_worker_ctx *ctx,
                                  const struct avow_directive *d, struct avow_err *err)
{
    struct avow_batch_record rec;
    enum avow_rc rc = start(b, AVOW_BATCH_DIRECTIVE, d->partition, d->key, &rec, err);
    return finish(b, &rec, rc ? rc : avow_seal_directive(d, ctx->keys->sign, &b->bytes, err), err);
}

enum avow_rc avow_batch_dead_letter(struct avow_batch *b, const struct avow_deadletter *d,
                                    struct avow_err *err)
{
    struct avow_batch_record rec;
    struct avow_str key = {(const char *)d->key.ptr, d->key.len};
    enum avow_rc rc = start(b, AVOW_BATCH_DEAD_LETTER, AVOW_BUS_ANY_PARTITION, key, &rec, err);
    return finish(b, &rec, rc ? rc : avow_deadletter_encode(d, &b->bytes, err), err);
}

/* The agent's entry in this batch, made if need be; the state before is moved into it. */
static enum avow_rc touch(struct avow_batch *b, struct avow_agent *agent, int32_t partition,
                          struct avow_batch_touch **out, struct avow_err *err)
{
    if (agent->in_batch) {
        for (size_t i = b->touched_count; i > 0; i--) {
            if (b->touched[i - 1].agent == agent) {
                *out = &b->touched[i - 1];
                return AVOW_OK;
            }
        }
    }
    void *items = b->touched;
    if (!grow(&items, &b->touched_cap, b->touched_count, sizeof *b->touched))
        return nomem(err);
    b->touched = items;
    struct avow_batch_touch *t = &b->touched[b->touched_count++];
    *t = (struct avow_batch_touch){
        .agent = agent, .partition = partition, .before = avow_agent_state_take(agent)};
    memcpy(t->dropped_before, agent->dropped, sizeof t->dropped_before);
    for (size_t i = 0; i < b->drops_count; i++) { /* those of this batch are not from before it */
        if (b->drops[i].agent == agent)
            t->dropped_before[b->drops[i].reason]--;
    }
    agent->in_batch = true;
    *out = t;
    return AVOW_OK;
}

enum avow_rc avow_batch_state(struct avow_batch *b, const struct avow_worker_ctx *ctx,
                              struct avow_agent *agent, const struct avow_state *s,
                              struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    avow_buf_init(&record, AVOW_BUS_VALUE_MAX);
    enum avow_rc rc = avow_seal_state(s, &ctx->keys->mac[0], &record, err);
    struct avow_agent_state fresh = {0};
    if (!rc)
        rc = avow_agent_state_make(s, avow_buf_bytes(&record), &fresh, err);
    struct avow_batch_touch *t = NULL;
    if (!rc)
        rc = touch(b, agent, s->partition, &t, err);
    if (rc) {
        avow_agent_state_deinit(&fresh);
        return rc;
    }
    b->state_bytes += fresh.len;
    t->forget = false;
    avow_agent_state_put(agent, fresh);
    memset(agent->dropped, 0, sizeof agent->dropped);
    return AVOW_OK;
}

enum avow_rc avow_batch_forget(struct avow_batch *b, struct avow_agent *agent, int32_t partition,
                               struct avow_err *err)
{
    struct avow_batch_touch *t;
    enum avow_rc rc = touch(b, agent, partition, &t, err);
    if (rc)
        return rc;
    t->forget = true;
    avow_agent_state_put(agent, (struct avow_agent_state){0});
    return AVOW_OK;
}

enum avow_rc avow_batch_drop(struct avow_batch *b, struct avow_agent *agent,
                             enum avow_drop_reason why, struct avow_err *err)
{
    void *items = b->drops;
    if (!grow(&items, &b->drops_cap, b->drops_count, sizeof *b->drops))
        return nomem(err);
    b->drops = items;
    b->drops[b->drops_count++] = (struct avow_batch_drop){agent, why};
    agent->dropped[why]++;
    return AVOW_OK;
}

static void alarm_id(const struct avow_worker_ctx *ctx, const struct avow_alarm *a, uint8_t out[16])
{
    uint8_t digest[AVOW_SHA256_LEN];
    const struct avow_bytes pieces[] = {
        avow_bytes_make("avow/revocation/1", sizeof "avow/revocation/1" - 1),
        avow_bytes_make(avow_trust_bundle(ctx->trust)->fleet, 16),
        avow_bytes_make(a->agent, strlen(a->agent) + 1), /* the NUL separates */
        avow_bytes_make("alarm", sizeof "alarm"),
        avow_bytes_make(a->event, strlen(a->event) + 1),
        avow_bytes_make(a->what, sizeof a->what),
    };
    avow_sha256_pieces(pieces, AVOW_ARRAY_LEN(pieces), digest);
    memcpy(out, digest, 16);
}

/* A detail quotes documents and errors, cut to its size: what is not UTF-8 any more could not be
 * published, and an alarm that cannot be published would stop the worker. */
static void make_text(struct avow_alarm *a)
{
    if (avow_utf8_is_valid(avow_str_from(a->detail)))
        return;
    for (char *c = a->detail; *c; c++) {
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    }
}

bool avow_batch_alarm(struct avow_batch *b, const struct avow_worker_ctx *ctx,
                      const struct avow_alarm *a)
{
    uint8_t id[16];
    alarm_id(ctx, a, id);
    for (size_t i = 0; i < b->said_count; i++) {
        if (avow_ct_eq(b->said[i], id, sizeof id))
            return false;
    }
    if (b->alarms_count == AVOW_BATCH_ALARMS_MAX) {
        b->alarms_lost++;
        return false;
    }
    memcpy(b->said[b->said_next], id, sizeof id);
    b->said_next = (b->said_next + 1) % AVOW_BATCH_ALARM_MEMORY;
    if (b->said_count < AVOW_BATCH_ALARM_MEMORY)
        b->said_count++;
    if (!b->open && !b->alarms_count)
        b->opened_mono_ms = AVOW_WORKER_MONO(ctx);
    b->alarms[b->alarms_count] = *a;
    make_text(&b->alarms[b->alarms_count++]);
    return true;
}

enum avow_rc avow_batch_add_alarms(struct avow_batch *b, const struct avow_worker_ctx *ctx,
                                   struct avow_err *err)
{
    for (size_t i = 0; i < b->alarms_count; i++) {
        const struct avow_alarm *a = &b->alarms[i];
        struct avow_finding finding = {.id = avow_str_from(a->event),
                                       .severity = AVOW_STR_LIT(ALARM_SEVERITY),
                                       .detail = avow_str_from(a->detail)};
        struct avow_revocation r = {.class = AVOW_REVOCATION_CLASS_ALARM,
                                    .key = avow_str_from(a->agent[0] ? a->agent : "fleet"),
                                    .severity = AVOW_STR_LIT(ALARM_SEVERITY),
                                    .event_id = avow_str_from(a->event),
                                    .findings = &finding,
                                    .findings_count = 1};
        memcpy(r.fleet, avow_trust_bundle(ctx->trust)->fleet, sizeof r.fleet);
        alarm_id(ctx, a, r.id);
        enum avow_rc rc = avow_batch_revocation(b, ctx, AVOW_BUS_ANY_PARTITION, &r, err);
        if (rc)
            return rc;
    }
    return AVOW_OK;
}

void avow_batch_undo(struct avow_batch *b, struct avow_worker_ctx *ctx,
                     avow_batch_touched_fn touched, void *arg)
{
    for (size_t i = 0; i < b->drops_count; i++) {
        if (!b->drops[i].agent->in_batch)
            b->drops[i].agent->dropped[b->drops[i].reason]--;
    }
    for (size_t i = 0; i < b->touched_count; i++) {
        struct avow_batch_touch *t = &b->touched[i];
        t->agent->in_batch = false;
        avow_agent_state_put(t->agent, t->before);
        t->before = (struct avow_agent_state){0};
        memcpy(t->agent->dropped, t->dropped_before, sizeof t->dropped_before);
        touched(arg, t->partition, t->agent);
    }
    uint64_t aborts = ctx->counters.aborts, alarms = ctx->counters.alarms;
    if (b->open)
        ctx->counters = b->counters_before;
    ctx->counters.aborts = aborts;
    ctx->counters.alarms = alarms;
    empty(b);
}

void avow_batch_settle(struct avow_batch *b, uint64_t mono_ms)
{
    b->alarms_count = 0;
    b->last_commit_mono_ms = mono_ms;
    empty(b);
}
