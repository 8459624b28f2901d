/* runner.c - life of a runner, steps and what they want done. See runner.h. */
#include "runner.h"

#include "runner_internal.h"

#include "avow/base/log.h"
#include "avow/wire/marker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

enum avow_rc avow_runner_new(struct avow_worker_ctx *ctx, int32_t partition,
                             struct avow_runner **out, struct avow_err *err)
{
    uint64_t seed[2];
    enum avow_rc rc = ctx->clock.random(ctx->clock.arg, seed, sizeof seed, err);
    if (rc)
        return rc;
    struct avow_runner *r = calloc(1, sizeof *r);
    if (!r)
        return avow_err_set(err, AVOW_NOMEM, 0, "runner");
    uint64_t epoch_ms = avow_trust_bundle(ctx->trust)->epoch_ms;
    r->ctx = ctx;
    r->partition = partition;
    r->assigned_unix_ms = AVOW_WORKER_NOW(ctx);
    r->assigned_mono_ms = AVOW_WORKER_MONO(ctx);
    r->skip_offset = -1;
    avow_views_init(&r->views, seed[0], seed[1]);
    avow_marker_book_init(&r->book, epoch_ms, avow_runner_verify_marker, r);
    avow_epoch_bell_init(&r->bell, epoch_ms);
    avow_rate_init(&r->dead_letters, AVOW_RUNNER_DEAD_LETTERS, 1000u / AVOW_RUNNER_DEAD_LETTERS,
                   r->assigned_mono_ms);
    *out = r;
    return AVOW_OK;
}

void avow_runner_free(struct avow_runner *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->views.agents.count; i++)
        avow_runner_unpin(r, r->views.agents.entries[i].value);
    avow_poison_book_close(&r->poison);
    avow_deadlines_deinit(&r->deadlines);
    avow_views_deinit(&r->views);
    avow_marker_book_deinit(&r->book);
    free(r);
}

/* --- Environment --- */

static struct avow_runner_resync *free_slot(struct avow_runner *r)
{
    uint64_t mono = AVOW_WORKER_MONO(r->ctx);
    for (size_t i = 0; i < AVOW_RUNNER_RESYNCS_OPEN; i++) {
        struct avow_runner_resync *slot = &r->resyncs[i];
        if (slot->agent && mono < slot->until_mono_ms)
            continue;
        if (slot->agent)
            slot->agent->resync_open = false;
        slot->agent = NULL;
        return slot;
    }
    return NULL;
}

enum avow_rc avow_runner_env(struct avow_runner *r, const struct avow_agent *a,
                             struct avow_step_env *out, struct avow_err *err)
{
    *out = (struct avow_step_env){
        .bundle = avow_trust_bundle(r->ctx->trust),
        .policies = r->ctx->policies,
        .book = &r->book,
        .partition = r->partition,
        .instance = r->ctx->instance,
        .evidence_topic = r->ctx->topics->name[AVOW_TOPIC_EVIDENCE],
        .unix_ms = AVOW_WORKER_NOW(r->ctx),
        .epoch = r->bell.has_own ? r->bell.own_epoch : r->bell.topic_epoch,
        .service_ms = r->bell.service_ms,
        .resync_slot = (a && a->resync_open) || free_slot(r) != NULL,
    };
    return r->ctx->clock.random(r->ctx->clock.arg, out->random, sizeof out->random, err);
}

/* --- Carrying out --- */

static void resync_sent(struct avow_runner *r, struct avow_agent *a)
{
    struct avow_runner_resync *slot = NULL;
    for (size_t i = 0; i < AVOW_RUNNER_RESYNCS_OPEN && !slot; i++) {
        if (r->resyncs[i].agent == a)
            slot = &r->resyncs[i];
    }
    if (!slot)
        slot = free_slot(r);
    a->resync_waits = false;
    if (!slot)
        return;
    a->resync_open = true;
    *slot = (struct avow_runner_resync){a, AVOW_WORKER_MONO(r->ctx) + AVOW_RUNNER_RESYNC_OPEN_MS};
}

static void resync_done(struct avow_runner *r, struct avow_agent *a)
{
    for (size_t i = 0; i < AVOW_RUNNER_RESYNCS_OPEN; i++) {
        if (r->resyncs[i].agent == a)
            r->resyncs[i].agent = NULL;
    }
    a->resync_open = false;
    a->resync_waits = false;
}

static void resync_waits(struct avow_runner *r, struct avow_agent *a)
{
    a->resync_waits = true;
    if (a->next_resync || r->resync_tail == a)
        return; /* in the queue; one that was woken in vain is not, although it waited before */
    if (r->resync_tail)
        r->resync_tail->next_resync = a;
    else
        r->resync_head = a;
    r->resync_tail = a;
}

void avow_runner_alarm(struct avow_runner *r, const struct avow_agent *a, const char *event,
                       struct avow_bytes what, const char *detail)
{
    struct avow_alarm alarm = {.event = event};
    if (a)
        (void)avow_str_copy(alarm.agent, sizeof alarm.agent, avow_agent_id(a));
    avow_sha256(what, alarm.what);
    (void)avow_str_copy(alarm.detail, sizeof alarm.detail, avow_str_from(detail));
    if (!avow_batch_alarm(r->ctx->batch, r->ctx, &alarm))
        return;
    r->ctx->counters.alarms++;
    avow_log_limited(WARN, "alarm", 60, AVOW_KV_STR("event", event),
                     AVOW_KV_STR("agent", alarm.agent), AVOW_KV_I64("partition", r->partition),
                     AVOW_KV_STR("detail", alarm.detail));
}

static enum avow_rc dropped(struct avow_runner *r, struct avow_agent *a, enum avow_drop_reason why,
                            struct avow_err *err)
{
    r->ctx->counters.dropped[why]++;
    avow_log_limited(INFO, "evidence_dropped", 30,
                     AVOW_KV_STR("reason", avow_drop_reason_text(why)),
                     AVOW_KV_STR("agent", a ? a->id : ""), AVOW_KV_I64("partition", r->partition),
                     AVOW_KV_I64("offset", r->next_offset));
    if (!a)
        return AVOW_OK;
    uint64_t mono = AVOW_WORKER_MONO(r->ctx);
    if (mono - a->flood_window_ms >= 60000u) {
        a->flood_window_ms = mono;
        a->flood_count = 0;
    }
    if (++a->flood_count == AVOW_RUNNER_FLOOD_PER_MINUTE + 1) {
        uint8_t what[8];
        avow_put_u64be(what, mono);
        avow_runner_alarm(r, a, "evidence.flood", AVOW_BYTES_OF(what), avow_drop_reason_text(why));
    }
    return avow_batch_drop(r->ctx->batch, a, why, err);
}

static enum avow_rc dead_letter(struct avow_runner *r, const struct avow_deadletter *d,
                                struct avow_err *err)
{
    if (!avow_rate_take(&r->dead_letters, AVOW_WORKER_MONO(r->ctx))) {
        r->ctx->counters.dead_letters_withheld++;
        return AVOW_OK;
    }
    r->ctx->counters.dead_letters++;
    return avow_batch_dead_letter(r->ctx->batch, d, err);
}

static enum avow_rc write_state(struct avow_runner *r, struct avow_agent *a,
                                const struct avow_state *s, struct avow_err *err)
{
    r->ctx->counters.states++;
    enum avow_rc rc = avow_batch_state(r->ctx->batch, r->ctx, a, s, err);
    return rc ? rc : avow_runner_deadline(r, a, err);
}

static enum avow_rc forget(struct avow_runner *r, struct avow_agent *a, struct avow_err *err)
{
    avow_deadlines_remove(&r->deadlines, &a->due);
    return avow_batch_forget(r->ctx->batch, a, r->partition, err);
}

static void raise_alarm(struct avow_runner *r, struct avow_agent *a, const struct avow_alarm *alarm)
{
    if (!avow_batch_alarm(r->ctx->batch, r->ctx, alarm))
        return;
    r->ctx->counters.alarms++;
    if (a && avow_cstr_eq(alarm->event, "agent.never_attested"))
        a->never_attested_said = true;
    avow_log_limited(WARN, "alarm", 60, AVOW_KV_STR("event", alarm->event),
                     AVOW_KV_STR("agent", alarm->agent), AVOW_KV_I64("partition", r->partition),
                     AVOW_KV_STR("detail", alarm->detail));
}

static void count_verdict(struct avow_worker_counters *c, const struct avow_verdict *v)
{
    c->verdicts++;
    c->verdicts_by[v->status]++;
    for (size_t i = 0; i < v->findings_count; i++) {
        const struct avow_finding_def *def = avow_finding_def_find(v->findings[i].id);
        if (def)
            c->findings[def - avow_finding_def_of((enum avow_finding_id)0)]++;
    }
}

static enum avow_rc carry_out_one(struct avow_runner *r, struct avow_agent *a,
                                  const struct avow_action *action, struct avow_err *err)
{
    struct avow_batch *b = r->ctx->batch;
    switch (action->kind) {
    case AVOW_ACTION_STATE:
        return write_state(r, a, action->u.state, err);
    case AVOW_ACTION_FORGET:
        return forget(r, a, err);
    case AVOW_ACTION_VERDICT:
        count_verdict(&r->ctx->counters, action->u.verdict);
        return avow_batch_verdict(b, r->ctx, r->partition, action->u.verdict, err);
    case AVOW_ACTION_REVOCATION:
        r->ctx->counters.revocations++;
        r->ctx->counters.revocations_by[action->u.revocation->class]++;
        return avow_batch_revocation(b, r->ctx, r->partition, action->u.revocation, err);
    case AVOW_ACTION_DIRECTIVE:
        r->ctx->counters.directives++;
        if (action->u.directive->kind.tag == AVOW_DIRECTIVE_KIND_ATTEST_NOW)
            a->asked_generation = a->enrollment.generation;
        return avow_batch_directive(b, r->ctx, action->u.directive, err);
    case AVOW_ACTION_DROP:
        return dropped(r, a, action->u.drop, err);
    case AVOW_ACTION_DEAD_LETTER:
        return dead_letter(r, action->u.dead_letter, err);
    case AVOW_ACTION_ALARM:
        raise_alarm(r, a, action->u.alarm);
        return AVOW_OK;
    case AVOW_ACTION_RESYNC_SENT:
        resync_sent(r, a);
        return AVOW_OK;
    case AVOW_ACTION_RESYNC_WAITS:
        resync_waits(r, a);
        return AVOW_OK;
    case AVOW_ACTION_RESYNC_DONE:
        resync_done(r, a);
        return AVOW_OK;
    case AVOW_ACTION_UNJUDGED:
        a->unjudged_service_ms = r->bell.service_ms;
        return AVOW_OK;
    }
    return AVOW_OK;
}

static const struct avow_verdict *verdict_of(const struct avow_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++) {
        if (actions->items[i].kind == AVOW_ACTION_VERDICT)
            return actions->items[i].u.verdict;
    }
    return NULL;
}

static void log_status(const struct avow_runner *r, const struct avow_actions *actions)
{
    const struct avow_verdict *v = verdict_of(actions);
    struct avow_str finding = v && v->findings_count ? v->findings[0].id : AVOW_STR_LIT("");
    avow_log_limited(INFO, "status", 600, AVOW_KV_STR("agent", actions->agent->id),
                     AVOW_KV_STR("from", avow_status_text(actions->from)),
                     AVOW_KV_STR("to", avow_status_text(actions->to)),
                     AVOW_KV_STRN("finding", finding), AVOW_KV_U64("seq", v ? v->seq : 0),
                     AVOW_KV_I64("partition", r->partition));
}

/* Writing or forgetting the state frees what the other records of the step borrow from the state
 * before, so that comes in a pass of its own. */
static enum avow_rc carry_out_pass(struct avow_runner *r, const struct avow_actions *actions,
                                   bool states, struct avow_err *err)
{
    for (size_t i = 0; i < actions->count; i++) {
        const struct avow_action *a = &actions->items[i];
        bool replaces = a->kind == AVOW_ACTION_STATE || a->kind == AVOW_ACTION_FORGET;
        enum avow_rc rc = replaces == states ? carry_out_one(r, actions->agent, a, err) : AVOW_OK;
        if (rc)
            return avow_err_wrap(err, rc, "agent %s", actions->agent ? actions->agent->id : "?");
    }
    return AVOW_OK;
}

enum avow_rc avow_runner_carry_out(struct avow_runner *r, const struct avow_actions *actions,
                                   struct avow_err *err)
{
    if (!actions->count)
        return AVOW_OK;
    avow_batch_open(r->ctx->batch, r->ctx);
    if (actions->status_changed) {
        r->ctx->batch->urgent = true;
        log_status(r, actions);
    }
    enum avow_rc rc = carry_out_pass(r, actions, false, err);
    return rc ? rc : carry_out_pass(r, actions, true, err);
}

/* --- Evidence --- */

static void consumed(struct avow_runner *r, int64_t offset)
{
    r->next_offset = offset + 1;
    r->moved = true;
    r->ctx->batch->consumed++;
    r->ctx->counters.consumed++;
}

/* An evidence that is not looked at: its output was over a limit of ours, or it kills us. The batch
 * ends with it: the next such evidence would undo the first, or die with it uncommitted, and the
 * two would chase one another for ever. */
static enum avow_rc skipped(struct avow_runner *r, const struct avow_bus_msg *m,
                            struct avow_agent *a, enum avow_drop_reason why, struct avow_err *err)
{
    struct avow_deadletter d = {
        .topic = avow_str_from(m->topic),
        .partition = r->partition,
        .offset = (uint64_t)m->offset,
        .key = m->key.len > AVOW_AGENT_ID_MAX ? avow_bytes_make(m->key.ptr, AVOW_AGENT_ID_MAX)
                                              : m->key,
        .reason = why,
        .excerpt = m->value.len > AVOW_STEP_EXCERPT_MAX
                       ? avow_bytes_make(m->value.ptr, AVOW_STEP_EXCERPT_MAX)
                       : m->value,
        .instance = avow_str_from(r->ctx->instance)};
    avow_sha256(m->value, d.sha256);
    enum avow_rc rc = dropped(r, a, why, err);
    if (!rc)
        rc = dead_letter(r, &d, err);
    if (!rc)
        consumed(r, m->offset);
    r->ctx->batch->closed = true;
    return rc;
}

static enum avow_rc poison(struct avow_runner *r, const struct avow_bus_msg *m,
                           struct avow_agent *a, struct avow_err *err)
{
    char detail[AVOW_ALARM_DETAIL_MAX];
    (void)snprintf(
        detail, sizeof detail,
        "partition %d, offset %lld: this record ended the worker %u times; it is skipped",
        (int)r->partition, (long long)m->offset, AVOW_POISON_DEATHS);
    avow_runner_alarm(r, a, "evidence.poison", avow_bytes_make(detail, strlen(detail)), detail);
    return skipped(r, m, a, AVOW_DROP_REASON_POISON, err);
}

static bool appraised(const struct avow_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++) {
        if (actions->items[i].kind == AVOW_ACTION_DROP &&
            actions->items[i].u.drop != AVOW_DROP_REASON_FOLD_ABANDONED)
            return false;
    }
    return true;
}

enum avow_rc avow_runner_evidence(struct avow_runner *r, const struct avow_bus_msg *m,
                                  struct avow_err *err)
{
    if (!r->serving || r->health != AVOW_EPOCH_BELL_HEALTHY) {
        r->rewind = true; /* read, but not taken: it will be read again */
        return AVOW_OK;
    }
    if (m->offset < r->next_offset || r->rewind)
        return AVOW_OK;
    struct avow_agent *a = avow_views_find(&r->views, m->key);
    avow_batch_open(r->ctx->batch, r->ctx);
    if (m->offset == r->skip_offset)
        return skipped(r, m, a, AVOW_DROP_REASON_TOO_LARGE, err);
    if (avow_poison_book_forbids(&r->poison, m->offset))
        return poison(r, m, a, err);
    avow_poison_book_take(&r->poison, m->offset);
    struct avow_step_env env;
    struct avow_actions actions;
    enum avow_rc rc = avow_runner_env(r, a, &env, err);
    if (rc) {
        avow_poison_book_done(&r->poison);
        return rc;
    }
    struct avow_step_evidence in = {.key = m->key,
                                    .value = m->value,
                                    .value_null = m->value_null,
                                    .offset = m->offset,
                                    .agent = a};
    rc = avow_worker_step_evidence(&env, &in, &r->ctx->arena, &actions, err);
    if (!rc) {
        r->ctx->counters.appraised += appraised(&actions) ? 1 : 0;
        rc = avow_runner_carry_out(r, &actions, err);
    }
    avow_arena_reset(&r->ctx->arena);
    avow_poison_book_done(&r->poison);
    if (!rc)
        consumed(r, m->offset);
    if (rc == AVOW_LIMIT) {
        r->skip_offset = m->offset;
        r->rewind = true;
    }
    return rc ? avow_err_wrap(err, rc, "evidence %d:%lld", (int)r->partition, (long long)m->offset)
              : AVOW_OK;
}

enum avow_rc avow_runner_unreadable(struct avow_runner *r, int64_t first, int64_t end,
                                    struct avow_err *err)
{
    char detail[AVOW_ALARM_DETAIL_MAX];
    struct avow_deadletter d = {.topic = avow_str_from(r->ctx->topics->name[AVOW_TOPIC_EVIDENCE]),
                                .partition = r->partition,
                                .offset = (uint64_t)first,
                                .reason = AVOW_DROP_REASON_TOO_LARGE,
                                .instance = avow_str_from(r->ctx->instance)};
    avow_sha256(d.excerpt, d.sha256);
    if (end <= r->next_offset)
        return AVOW_OK;
    avow_batch_open(r->ctx->batch, r->ctx);
    (void)snprintf(
        detail, sizeof detail,
        "partition %d: evidence %lld to %lld is one compressed batch that nobody can read",
        (int)r->partition, (long long)first, (long long)end - 1);
    avow_runner_alarm(r, NULL, "evidence.unreadable", avow_bytes_make(detail, strlen(detail)),
                      detail);
    enum avow_rc rc = dropped(r, NULL, AVOW_DROP_REASON_TOO_LARGE, err);
    if (!rc)
        rc = dead_letter(r, &d, err);
    if (!rc)
        consumed(r, end - 1);
    r->ctx->batch->closed = true;
    return rc;
}

/* --- Reviews --- */

void avow_runner_review(struct avow_runner *r, struct avow_agent *a)
{
    if (a->in_review)
        return;
    a->in_review = true;
    a->next_review = NULL;
    if (r->review_tail)
        r->review_tail->next_review = a;
    else
        r->review_head = a;
    r->review_tail = a;
}

void avow_runner_review_all(struct avow_runner *r)
{
    for (size_t i = 0; i < r->views.agents.count; i++)
        avow_runner_review(r, r->views.agents.entries[i].value);
}

static struct avow_agent *next_review(struct avow_runner *r)
{
    struct avow_agent *a = r->review_head;
    if (!a)
        return NULL;
    r->review_head = a->next_review;
    if (!r->review_head)
        r->review_tail = NULL;
    a->next_review = NULL;
    a->in_review = false;
    return a;
}

enum avow_rc avow_runner_review_now(struct avow_runner *r, struct avow_agent *a,
                                    bool may_fall_silent, struct avow_err *err)
{
    struct avow_step_env env;
    struct avow_actions actions;
    enum avow_rc rc = avow_runner_env(r, a, &env, err);
    if (rc)
        return rc;
    env.may_fall_silent = may_fall_silent;
    rc = avow_worker_step_review(&env, a, &r->ctx->arena, &actions, err);
    if (!rc)
        rc = avow_runner_carry_out(r, &actions, err);
    avow_arena_reset(&r->ctx->arena);
    return rc ? rc : avow_runner_deadline(r, a, err);
}

enum avow_rc avow_runner_deadline(struct avow_runner *r, struct avow_agent *a, struct avow_err *err)
{
    struct avow_step_env env = {.bundle = avow_trust_bundle(r->ctx->trust),
                                .unix_ms = AVOW_WORKER_NOW(r->ctx),
                                .service_ms = r->bell.service_ms};
    uint64_t due;
    enum avow_rc rc = avow_worker_step_due(&env, a, &r->ctx->timer_arena, &due, err);
    avow_arena_reset(&r->ctx->timer_arena);
    if (rc)
        return rc;
    if (due == UINT64_MAX) {
        avow_deadlines_remove(&r->deadlines, &a->due);
        return AVOW_OK;
    }
    return avow_deadlines_set(&r->deadlines, &a->due, due, err);
}

/* A slot is free and somebody waits for it. */
static void wake_waiting(struct avow_runner *r)
{
    while (r->resync_head && free_slot(r)) {
        struct avow_agent *a = r->resync_head;
        r->resync_head = a->next_resync;
        if (!r->resync_head)
            r->resync_tail = NULL;
        a->next_resync = NULL;
        if (!a->resync_waits)
            continue;
        avow_runner_review(r, a);
        return; /* the review takes the slot; the next one is for the next tick */
    }
}

enum avow_rc avow_runner_tick(struct avow_runner *r, struct avow_err *err)
{
    if (!r->serving)
        return AVOW_OK;
    enum avow_rc rc = avow_runner_clock_tick(r, err);
    if (rc || r->health != AVOW_EPOCH_BELL_HEALTHY || (!r->bell.has_own && !r->bell.has_topic))
        return rc;
    wake_waiting(r);
    for (unsigned i = 0; i < AVOW_RUNNER_REVIEWS_PER_TICK && !avow_batch_is_full(r->ctx->batch);
         i++) {
        struct avow_agent *a = next_review(r);
        if (!a)
            break;
        rc = avow_runner_review_now(r, a, false, err);
        if (rc)
            return rc;
    }
    return AVOW_OK;
}

/* --- Commits --- */

void avow_runner_committed(struct avow_runner *r)
{
    r->committed_offset = r->next_offset;
    r->moved = false;
    avow_poison_book_passed(&r->poison, r->next_offset);
    if (r->skip_offset >= 0 && r->skip_offset < r->next_offset)
        r->skip_offset = -1;
}

void avow_runner_rewound(struct avow_runner *r)
{
    if (r->moved)
        r->rewind = true;
    r->next_offset = r->committed_offset;
    r->moved = false;
}

void avow_runner_restore_agent(struct avow_runner *r, struct avow_agent *a)
{
    struct avow_err ignored; /* the node is in the heap already, or a review puts it there */
    (void)!avow_runner_deadline(r, a, &ignored);
    a->asked_generation = 0;
    avow_runner_review(r, a);
}
