/* step_common.c - see step_common.h. */
#include "step_common.h"

#include "avow/base/num.h"
#include "avow/crypto/digest.h"
#include "avow/wire/enrollment.h"
#include "avow/wire/state.h"

#include <assert.h>
#include <string.h>

#include "avow/base/banned.h"

enum avow_rc avow_step_nomem(struct avow_err *err)
{
    return avow_err_set(err, AVOW_NOMEM, 0, "step");
}

struct avow_action *avow_step_add(const struct avow_step *s, enum avow_action_kind kind)
{
    assert(s->out->count < AVOW_ACTIONS_MAX);
    struct avow_action *a = &s->out->items[s->out->count++];
    *a = (struct avow_action){.kind = kind};
    return a;
}

enum avow_rc avow_step_alarm(const struct avow_step *s, const char *event, struct avow_bytes what,
                             const char *detail, struct avow_err *err)
{
    struct avow_alarm *a = avow_arena_alloc(s->arena, 1, sizeof *a);
    if (!a)
        return avow_step_nomem(err);
    a->event = event;
    if (s->agent)
        (void)avow_str_copy(a->agent, sizeof a->agent, avow_agent_id(s->agent));
    avow_sha256(what, a->what);
    (void)avow_str_copy(a->detail, sizeof a->detail, avow_str_from(detail));
    avow_step_add(s, AVOW_ACTION_ALARM)->u.alarm = a;
    return AVOW_OK;
}

enum avow_rc avow_step_enrollment(const struct avow_step *s, struct avow_enrollment *out,
                                  struct avow_err *err)
{
    const struct avow_agent_enrollment *e = &s->agent->enrollment;
    assert(e->record);
    enum avow_rc rc =
        avow_enrollment_decode(avow_bytes_make(e->record, e->len), s->arena, out, err);
    return rc ? avow_err_wrap(err, rc, "enrolment of %s", s->agent->id) : AVOW_OK;
}

enum avow_rc avow_step_state(const struct avow_step *s, struct avow_state *out, bool *found,
                             struct avow_err *err)
{
    const struct avow_agent_state *state = &s->agent->state;
    *found = state->record != NULL;
    if (!*found)
        return AVOW_OK;
    enum avow_rc rc =
        avow_state_decode(avow_bytes_make(state->record, state->len), s->arena, out, err);
    return rc ? avow_err_wrap(err, rc, "state of %s", s->agent->id) : AVOW_OK;
}

void avow_step_first(const struct avow_step *s, const struct avow_enrollment *e,
                     struct avow_state *out)
{
    avow_state_first(e, s->agent->enrollment.sha256, s->env->partition, s->env->service_ms, out);
    bool fresh =
        e->generation <= 1 && s->env->unix_ms < e->issued_ms + AVOW_STEP_FRESH_ENROLLMENT_MS;
    out->seq = fresh ? 0 : s->env->unix_ms;
    out->bundle_version = s->env->bundle->version;
}

struct policy_reading {
    const struct avow_step *s;
    struct avow_eval_policy *out;
    struct avow_head_ref *heads; /* room for AVOW_POLICY_USES */
    size_t runtime;              /* index of the runtime policy's head; SIZE_MAX: none */
};

/* Resolves one reference; the heads are in the order of the uses, whatever the enrolment has. */
static enum avow_rc use_policy(struct policy_reading *r, enum avow_policy_use use,
                               const struct avow_policy_ref *ref, struct avow_err *err)
{
    struct avow_policy_store_ref found;
    if (!avow_policy_store_resolve(r->s->env->policies, use, ref, &found)) {
        r->out->missing = true;
        return AVOW_OK;
    }
    struct avow_head_ref *head = &r->heads[r->out->heads_count];
    *head = found.head;
    head->name = avow_arena_str(r->s->arena, found.head.name);
    if (found.head.name.len && !head->name.ptr)
        return avow_step_nomem(err);
    if (use == AVOW_POLICY_USE_RUNTIME) {
        r->out->runtime = found.runtime;
        r->runtime = r->out->heads_count;
    } else if (use == AVOW_POLICY_USE_BOOT) {
        r->out->boot = found.boot;
        r->out->boot_sha256 = head->sha256;
    } else if (use == AVOW_POLICY_USE_KEYS) {
        r->out->keys = found.keys;
    } else {
        r->out->severity = found.severity;
    }
    r->out->heads_count++;
    return AVOW_OK;
}

/* Trust is carried if nothing but the runtime policy changed, and that one to a superset: of boot
 * policies, keys and severities no order is known (PROTOCOL R15 a). */
static bool is_carried(const struct policy_reading *r, const struct avow_state *prior)
{
    if (!prior || r->runtime == SIZE_MAX || prior->heads_count != r->out->heads_count)
        return false;
    for (size_t i = 0; i < prior->heads_count; i++) {
        const struct avow_head_ref *old = &prior->heads[i], *now = &r->heads[i];
        if (!avow_str_eq(old->name, now->name) ||
            (i != r->runtime && !avow_ct_eq(old->sha256, now->sha256, 32)))
            return false;
    }
    const struct avow_head_ref *head = &r->heads[r->runtime];
    return head->name.len && avow_policy_store_is_carried(r->s->env->policies, head->name,
                                                          prior->heads[r->runtime].sha256);
}

enum avow_rc avow_step_policy(const struct avow_step *s, const struct avow_enrollment *e,
                              const struct avow_state *prior, struct avow_eval_policy *out,
                              struct avow_err *err)
{
    const struct avow_policy_ref *refs[AVOW_POLICY_USES];
    struct policy_reading r = {.s = s, .out = out, .runtime = SIZE_MAX};
    *out = (struct avow_eval_policy){0};
    avow_policy_refs_of(e, refs);
    r.heads = avow_arena_alloc(s->arena, AVOW_POLICY_USES, sizeof *r.heads);
    if (!r.heads)
        return avow_step_nomem(err);
    for (size_t i = 0; i < AVOW_POLICY_USES; i++) {
        enum avow_rc rc = refs[i] ? use_policy(&r, (enum avow_policy_use)i, refs[i], err) : AVOW_OK;
        if (rc)
            return rc;
    }
    out->heads = r.heads;
    if (out->missing) { /* what is known of the rest decides nothing */
        *out = (struct avow_eval_policy){.missing = true};
        return AVOW_OK;
    }
    out->superset_of_prior = is_carried(&r, prior);
    return AVOW_OK;
}

struct avow_liveness_in avow_step_liveness(const struct avow_step_env *env,
                                           const struct avow_agent *agent,
                                           const struct avow_enrollment *e,
                                           const struct avow_state *state)
{
    return (struct avow_liveness_in){.enrollment = e,
                                     .state = state,
                                     .service_ms = env->service_ms,
                                     .unix_ms = env->unix_ms,
                                     .silent_after_ms = avow_worker_step_silent_after(env, agent),
                                     .first_contact_ms = env->bundle->first_contact_ms,
                                     .unjudged_service_ms = agent->unjudged_service_ms,
                                     .waiting_for_us =
                                         agent->resync_waits &&
                                         env->service_ms >= state->resync.not_before_service_ms,
                                     .rebase_interval_ms = env->bundle->rebase_interval_ms};
}

bool avow_step_same_heads(const struct avow_state *state, const struct avow_eval_policy *policy)
{
    if (state->heads_count != policy->heads_count)
        return false;
    for (size_t i = 0; i < policy->heads_count; i++) {
        const struct avow_head_ref *a = &state->heads[i], *b = &policy->heads[i];
        if (!avow_str_eq(a->name, b->name) || !avow_ct_eq(a->sha256, b->sha256, 32))
            return false;
    }
    return true;
}

static struct avow_directive *directive(const struct avow_step *s, enum avow_directive_kind_tag tag)
{
    struct avow_directive *d = avow_arena_alloc(s->arena, 1, sizeof *d);
    if (!d)
        return NULL;
    memcpy(d->fleet, s->env->bundle->fleet, sizeof d->fleet);
    d->key = avow_agent_id(s->agent);
    d->partition = s->env->partition;
    d->epoch = s->env->epoch;
    memcpy(d->id, s->env->random, sizeof d->id);
    d->kind.tag = tag;
    return d;
}

enum avow_rc avow_step_resync(const struct avow_step *s, const struct avow_resync *what,
                              struct avow_state *next, struct avow_err *err)
{
    if (s->env->service_ms < next->resync.not_before_service_ms)
        return AVOW_OK;
    if (!s->env->resync_slot) {
        (void)avow_step_add(s, AVOW_ACTION_RESYNC_WAITS);
        return AVOW_OK;
    }
    struct avow_directive *d = directive(s, AVOW_DIRECTIVE_KIND_RESYNC);
    if (!d)
        return avow_step_nomem(err);
    d->kind.u.resync = *what;
    uint64_t wait = AVOW_STEP_RESYNC_FIRST_MS;
    for (uint32_t i = 0; i < next->resync.attempts && wait < AVOW_STEP_RESYNC_MAX_MS; i++)
        wait *= 2;
    next->resync.attempts++;
    next->resync.not_before_service_ms =
        s->env->service_ms + avow_min_u64(wait, AVOW_STEP_RESYNC_MAX_MS);
    avow_step_add(s, AVOW_ACTION_DIRECTIVE)->u.directive = d;
    (void)avow_step_add(s, AVOW_ACTION_RESYNC_SENT);
    return AVOW_OK;
}

enum avow_rc avow_step_attest_now(const struct avow_step *s, const char *reason,
                                  struct avow_err *err)
{
    struct avow_directive *d = directive(s, AVOW_DIRECTIVE_KIND_ATTEST_NOW);
    if (!d)
        return avow_step_nomem(err);
    d->kind.u.attest_now.reason = avow_str_from(reason);
    avow_step_add(s, AVOW_ACTION_DIRECTIVE)->u.directive = d;
    return AVOW_OK;
}

/* A step that writes a state and drops something: an open fold. */
static uint64_t dropped_now(const struct avow_step *s, enum avow_drop_reason why)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s->out->count; i++)
        n += s->out->items[i].kind == AVOW_ACTION_DROP && s->out->items[i].u.drop == why;
    return n;
}

/* Drops are counted in memory, because a dropped record changes no state; the next state that is
 * written takes them. */
static enum avow_rc take_drops(const struct avow_step *s, struct avow_state *next,
                               struct avow_err *err)
{
    struct avow_drop_count *all = avow_arena_alloc(s->arena, AVOW_DROP_REASON_COUNT, sizeof *all);
    if (!all)
        return avow_step_nomem(err);
    uint64_t sums[AVOW_DROP_REASON_COUNT] = {0};
    for (size_t i = 0; i < next->dropped_count; i++)
        sums[next->dropped[i].reason] += next->dropped[i].count;
    size_t n = 0;
    for (size_t i = 0; i < AVOW_DROP_REASON_COUNT; i++) {
        sums[i] += s->agent->dropped[i] + dropped_now(s, (enum avow_drop_reason)i);
        if (sums[i])
            all[n++] = (struct avow_drop_count){(enum avow_drop_reason)i, sums[i]};
    }
    next->dropped = all;
    next->dropped_count = n;
    return AVOW_OK;
}

enum avow_rc avow_step_publish(const struct avow_step *s, const struct avow_step_publish_in *in,
                               struct avow_state *next, struct avow_err *err)
{
    enum avow_rc rc = take_drops(s, next, err);
    if (rc)
        return rc;
    const struct avow_bundle *b = s->env->bundle;
    const struct avow_enrollment *e = in->enrollment;
    struct avow_transition_in t = {.enrollment = e,
                                   .prior = in->prior,
                                   .service_ms = s->env->service_ms,
                                   .validity_ms = e->validity_ms ? e->validity_ms : b->validity_ms,
                                   .verdict_refresh_ms = b->verdict_refresh_ms,
                                   .event_id = in->event_id,
                                   .clock = in->clock,
                                   .min_interval_ms = b->min_interval_ms};
    struct avow_transition_out *out = avow_arena_alloc(s->arena, 1, sizeof *out);
    struct avow_state *kept = avow_arena_alloc(s->arena, 1, sizeof *kept);
    if (!out || !kept)
        return avow_step_nomem(err);
    rc = avow_transition(&t, next, s->arena, out, err);
    if (rc)
        return avow_err_wrap(err, rc, "transition of %s", s->agent->id);
    *kept = *next;
    avow_step_add(s, AVOW_ACTION_STATE)->u.state = kept;
    if (out->verdict_due)
        avow_step_add(s, AVOW_ACTION_VERDICT)->u.verdict = &out->verdict;
    if (out->revocation_due)
        avow_step_add(s, AVOW_ACTION_REVOCATION)->u.revocation = &out->revocation;
    s->out->from = in->prior->status;
    s->out->to = next->status;
    s->out->status_changed = in->prior->status != next->status || out->revocation_due;
    return AVOW_OK;
}

bool avow_step_has_finding(const struct avow_state *state, const char *id)
{
    for (size_t i = 0; i < state->findings_count; i++) {
        if (avow_str_is(state->findings[i].id, id))
            return true;
    }
    return false;
}
