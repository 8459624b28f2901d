/* worker_review.c - everything about an agent that no evidence record triggers: first sight,
 * removal, loss, a new generation, another policy, silence. See worker_step.h; rules: PROTOCOL R8,
 * R10, R14, R15, B3.3. */
#include "step_common.h"

#include "avow/core/findings.h"

#include <string.h>

#include "avow/base/banned.h"

static const struct avow_resync everything = {.ima_from = 0, .boot_log = true, .pcrs = true};

uint32_t avow_worker_step_silent_after(const struct avow_step_env *env, const struct avow_agent *a)
{
    return a->enrollment.silent_after_ms ? a->enrollment.silent_after_ms
                                         : env->bundle->silent_after_ms;
}

/* Decodes what the liveness rules look at; *watched false if there is nothing to watch. */
struct watched {
    struct avow_enrollment e;
    struct avow_state state;
    bool is;
};
static enum avow_rc watch(const struct avow_step_env *env, struct avow_agent *a,
                          struct avow_arena *arena, struct watched *out, struct avow_err *err)
{
    struct avow_actions none;
    struct avow_step s = {.env = env, .arena = arena, .out = &none, .agent = a};
    out->is = a->state.record && avow_agent_is_watched(a);
    if (!out->is)
        return AVOW_OK;
    enum avow_rc rc = avow_step_enrollment(&s, &out->e, err);
    return rc ? rc : avow_step_state(&s, &out->state, &out->is, err);
}

enum avow_rc avow_worker_step_due(const struct avow_step_env *env, struct avow_agent *a,
                                  struct avow_arena *arena, uint64_t *out, struct avow_err *err)
{
    struct watched w;
    enum avow_rc rc = watch(env, a, arena, &w, err);
    if (rc)
        return rc;
    *out = AVOW_LIVENESS_NEVER;
    if (w.is) {
        struct avow_liveness_in in = avow_step_liveness(env, a, &w.e, &w.state);
        *out = avow_liveness_deadline(&in);
    }
    return AVOW_OK;
}

enum avow_rc avow_worker_step_would_fall_silent(const struct avow_step_env *env,
                                                struct avow_agent *a, struct avow_arena *arena,
                                                bool *out, struct avow_err *err)
{
    struct watched w;
    enum avow_rc rc = watch(env, a, arena, &w, err);
    if (rc)
        return rc;
    *out = false;
    if (w.is) {
        struct avow_liveness_in in = avow_step_liveness(env, a, &w.e, &w.state);
        *out = avow_liveness_check(&in) == AVOW_LIVENESS_SILENT;
    }
    return AVOW_OK;
}

static enum avow_rc publish(const struct avow_step *s, const struct avow_enrollment *e,
                            const struct avow_state *prior, struct avow_state *next,
                            const char *event_id, struct avow_err *err)
{
    struct avow_step_publish_in in = {.enrollment = e, .prior = prior, .event_id = event_id};
    return avow_step_publish(s, &in, next, err);
}

/* State without an enrolment: compaction or somebody with rights on the topic took the enrolment
 * away. What was never trusted has nothing to lose and is forgotten. */
static enum avow_rc lost(const struct avow_step *s, const struct avow_state *prior,
                         struct avow_err *err)
{
    if (prior->status == AVOW_STATUS_PENDING && !prior->has_order) {
        (void)avow_step_add(s, AVOW_ACTION_FORGET);
        return AVOW_OK;
    }
    const char *id = avow_finding_def_of(AVOW_FINDING_ENROLLMENT_LOST)->id;
    if (avow_step_has_finding(prior, id))
        return AVOW_OK;
    struct avow_enrollment stub = {.key = prior->key, .generation = prior->enrollment_generation};
    memcpy(stub.fleet, prior->fleet, sizeof stub.fleet);
    struct avow_state next;
    enum avow_rc rc = avow_state_add_finding(prior, id, s->arena, &next, err);
    if (!rc)
        rc = avow_step_alarm(s, id, avow_bytes_make(prior->enrollment_sha256, 32),
                             "state exists, but the enrolment is gone", err);
    return rc ? rc : publish(s, &stub, prior, &next, id, err);
}

/* A signed removal: nothing is known of the agent any more but its counters, which consumers
 * compare. */
static enum avow_rc removed(const struct avow_step *s, const struct avow_state *prior,
                            struct avow_err *err)
{
    if (prior->enrollment_generation == s->agent->enrollment.generation &&
        prior->status == AVOW_STATUS_PENDING && !prior->has_order)
        return AVOW_OK;
    struct avow_enrollment e;
    enum avow_rc rc = avow_step_enrollment(s, &e, err);
    if (rc)
        return rc;
    struct avow_state next;
    avow_step_first(s, &e, &next);
    next.seq = prior->seq;
    next.transitions = prior->transitions;
    return publish(s, &e, prior, &next, "enrollment.removed", err);
}

static enum avow_rc first_sight(const struct avow_step *s, struct avow_err *err)
{
    struct avow_enrollment e;
    enum avow_rc rc = avow_step_enrollment(s, &e, err);
    if (rc)
        return rc;
    struct avow_state prior;
    avow_step_first(s, &e, &prior);
    struct avow_state next = prior;
    const char *event = NULL;
    if (e.recovery == AVOW_RECOVERY_OPERATOR &&
        s->env->unix_ms > e.issued_ms + AVOW_STEP_STATE_LOST_MS) {
        event = avow_finding_def_of(AVOW_FINDING_STATE_LOST)->id;
        rc = avow_state_add_finding(&prior, event, s->arena, &next, err);
    }
    if (!rc && e.status == AVOW_ENROLL_STATUS_ACTIVE)
        rc = avow_step_resync(s, &everything, &next, err);
    return rc ? rc : publish(s, &e, &prior, &next, event, err);
}

static enum avow_rc fall_silent(const struct avow_step *s, const struct avow_enrollment *e,
                                const struct avow_state *prior, struct avow_err *err)
{
    struct avow_state next;
    avow_state_silence(prior, &next);
    return publish(s, e, prior, &next, avow_finding_def_of(AVOW_FINDING_AGENT_SILENT)->id, err);
}

static enum avow_rc unproven(const struct avow_step *s, const struct avow_enrollment *e,
                             const struct avow_state *prior, struct avow_err *err)
{
    struct avow_state next;
    enum avow_rc rc = avow_state_unproven(prior, s->arena, &next, err);
    return rc ? rc
              : publish(s, e, prior, &next, avow_finding_def_of(AVOW_FINDING_EVIDENCE_UNPROVEN)->id,
                        err);
}

static enum avow_rc never_attested(const struct avow_step *s, struct avow_err *err)
{
    if (s->agent->never_attested_said)
        return AVOW_OK;
    return avow_step_alarm(s, avow_finding_def_of(AVOW_FINDING_AGENT_NEVER_ATTESTED)->id,
                           avow_bytes_make(s->agent->enrollment.sha256, 32),
                           "enrolled, but nothing was ever heard", err);
}

/* Parts of an evidence stay away: its agent died, or somebody keeps them from us. What was folded
 * is given up, and asked for again (PROTOCOL B4). */
static enum avow_rc stalled(const struct avow_step *s, const struct avow_enrollment *e,
                            const struct avow_state *prior, struct avow_err *err)
{
    struct avow_state next;
    struct avow_eval_resync ask;
    avow_state_abandon(prior, &next, &ask);
    avow_step_add(s, AVOW_ACTION_DROP)->u.drop = AVOW_DROP_REASON_FOLD_ABANDONED;
    const struct avow_resync what = {
        .ima_from = ask.ima_from, .boot_log = ask.boot_log, .pcrs = ask.pcrs};
    enum avow_rc rc = avow_step_resync(s, &what, &next, err);
    return rc ? rc : publish(s, e, prior, &next, NULL, err);
}

static bool was_asked(const struct avow_step *s)
{
    return s->out->count > 0 && s->out->items[s->out->count - 1].kind == AVOW_ACTION_RESYNC_SENT;
}

/* The whole list from time to time: audits need its beginning, and it heals what went wrong with a
 * state (PROTOCOL R17). Paced by the slots for resyncs. */
static enum avow_rc rebase(const struct avow_step *s, const struct avow_enrollment *e,
                           const struct avow_state *prior, struct avow_err *err)
{
    struct avow_state next = *prior;
    enum avow_rc rc = avow_step_resync(s, &everything, &next, err);
    if (rc || !was_asked(s))
        return rc;
    struct avow_liveness_in in = avow_step_liveness(s->env, s->agent, e, prior);
    avow_state_rebase_asked(&in, &next);
    return publish(s, e, prior, &next, NULL, err);
}

/* That nothing was proven is the agent's fault only if it could have been. */
static enum avow_rc not_proven(const struct avow_step *s, const struct avow_enrollment *e,
                               const struct avow_state *prior, bool *acted, struct avow_err *err)
{
    struct avow_eval_policy policy;
    enum avow_rc rc = avow_step_policy(s, e, prior, &policy, err);
    if (rc)
        return rc;
    if (!avow_eval_unavailable(e, &policy))
        return unproven(s, e, prior, err);
    *acted = false;
    (void)avow_step_add(s, AVOW_ACTION_UNJUDGED);
    return AVOW_OK;
}

/* What time alone brings about; *acted false if that is nothing. */
static enum avow_rc timers(const struct avow_step *s, const struct avow_enrollment *e,
                           const struct avow_state *prior, bool *acted, struct avow_err *err)
{
    struct avow_liveness_in in = avow_step_liveness(s->env, s->agent, e, prior);
    struct avow_state next = *prior;
    *acted = true;
    switch (avow_liveness_check(&in)) {
    case AVOW_LIVENESS_SILENT:
        return s->env->may_fall_silent ? fall_silent(s, e, prior, err) : AVOW_OK;
    case AVOW_LIVENESS_UNPROVEN:
        return not_proven(s, e, prior, acted, err);
    case AVOW_LIVENESS_NEVER_ATTESTED:
        return never_attested(s, err);
    case AVOW_LIVENESS_REFRESH:
        return publish(s, e, prior, &next, NULL, err);
    case AVOW_LIVENESS_STALLED:
        return stalled(s, e, prior, err);
    case AVOW_LIVENESS_REBASE:
        return rebase(s, e, prior, err);
    case AVOW_LIVENESS_NOTHING:
        break;
    }
    *acted = false;
    return AVOW_OK;
}

/* A new generation or another policy than the state was made with: ask the agent, whose answer is
 * judged by the new ones. */
static enum avow_rc outdated(const struct avow_step *s, const struct avow_enrollment *e,
                             const struct avow_state *prior, struct avow_err *err)
{
    struct avow_eval_policy policy;
    enum avow_rc rc = avow_step_policy(s, e, prior, &policy, err);
    if (rc)
        return rc;
    bool carried = policy.superset_of_prior && !prior->stale && !prior->findings_count;
    bool other_policy =
        prior->has_order && !policy.missing && !carried && !avow_step_same_heads(prior, &policy);
    if (other_policy || (s->agent->resync_waits && s->env->resync_slot)) {
        struct avow_state next = *prior;
        rc = avow_step_resync(s, &everything, &next, err);
        return rc || !was_asked(s) ? rc : publish(s, e, prior, &next, NULL, err);
    }
    if (prior->has_order && prior->enrollment_generation < e->generation &&
        s->agent->asked_generation < e->generation)
        return avow_step_attest_now(s, "enrolment changed", err);
    return AVOW_OK;
}

enum avow_rc avow_worker_step_review(const struct avow_step_env *env, struct avow_agent *agent,
                                     struct avow_arena *arena, struct avow_actions *out,
                                     struct avow_err *err)
{
    *out = (struct avow_actions){.agent = agent};
    struct avow_step s = {.env = env, .arena = arena, .out = out, .agent = agent};
    struct avow_state prior;
    struct avow_enrollment e;
    bool found, acted;
    enum avow_rc rc = avow_step_state(&s, &prior, &found, err);
    if (rc)
        return rc;
    if (!agent->enrollment.record)
        return found ? lost(&s, &prior, err) : AVOW_OK;
    if (agent->enrollment.status == AVOW_ENROLL_STATUS_REMOVED)
        return found ? removed(&s, &prior, err) : AVOW_OK;
    if (!found)
        return first_sight(&s, err);
    rc = avow_step_enrollment(&s, &e, err);
    if (!rc)
        rc = timers(&s, &e, &prior, &acted, err);
    if (!rc && !acted)
        rc = outdated(&s, &e, &prior, err);
    return rc;
}
