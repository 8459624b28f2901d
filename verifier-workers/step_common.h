/* step_common.h - what evidence steps and reviews share. Layer: verifier-workers. Pure; private to
 * worker_step.c and worker_review.c. */
#ifndef AVOW_WORKER_STEP_COMMON_H
#define AVOW_WORKER_STEP_COMMON_H

#include "avow/core/evaluate.h"
#include "avow/core/liveness.h"
#include "avow/core/transition.h"
#include "worker_step.h"

struct avow_step { /* one step under way */
    const struct avow_step_env *env;
    struct avow_arena *arena;
    struct avow_actions *out;
    struct avow_agent *agent;
};

enum avow_rc avow_step_nomem(struct avow_err *err);
/* Appends an action; there is always room (asserted). */
struct avow_action *avow_step_add(const struct avow_step *s, enum avow_action_kind kind);
/* Alarm about the agent (or the fleet, agent NULL); `what` distinguishes it from others of the same
 * event. */
enum avow_rc avow_step_alarm(const struct avow_step *s, const char *event, struct avow_bytes what,
                             const char *detail, struct avow_err *err) AVOW_MUST_CHECK;

/* Decodes the agent's enrolment, which must be there. Errors: AVOW_NOMEM, AVOW_STATE (cannot
 * happen: it was opened). */
enum avow_rc avow_step_enrollment(const struct avow_step *s, struct avow_enrollment *out,
                                  struct avow_err *err) AVOW_MUST_CHECK;
/* Decodes the agent's state; *found false if it has none. */
enum avow_rc avow_step_state(const struct avow_step *s, struct avow_state *out, bool *found,
                             struct avow_err *err) AVOW_MUST_CHECK;
/* A first state. Its seq goes on from the wall clock unless the enrolment is brand new, because
 * consumers keep the highest seq of an agent and would otherwise ignore everything after a loss of
 * state. */
void avow_step_first(const struct avow_step *s, const struct avow_enrollment *e,
                     struct avow_state *out);

/* What the enrolment's references resolve to; anything that does not resolve sets `missing`.
 * `prior` (may be NULL) names the policy that trust might be carried over from. Errors: AVOW_NOMEM.
 */
enum avow_rc avow_step_policy(const struct avow_step *s, const struct avow_enrollment *e,
                              const struct avow_state *prior, struct avow_eval_policy *out,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* Input of the liveness rules for the agent. */
struct avow_liveness_in avow_step_liveness(const struct avow_step_env *env,
                                           const struct avow_agent *agent,
                                           const struct avow_enrollment *e,
                                           const struct avow_state *state);
/* True iff the heads in `state` are those of `policy`. */
bool avow_step_same_heads(const struct avow_state *state, const struct avow_eval_policy *policy);

/* Adds a resync directive, or notes that the agent waits for a slot, or does nothing while it is
 * backed off. Changes next->resync. Errors: AVOW_NOMEM. */
enum avow_rc avow_step_resync(const struct avow_step *s, const struct avow_resync *what,
                              struct avow_state *next, struct avow_err *err) AVOW_MUST_CHECK;
/* Adds attest_now. */
enum avow_rc avow_step_attest_now(const struct avow_step *s, const char *reason,
                                  struct avow_err *err) AVOW_MUST_CHECK;

struct avow_step_publish_in {
    const struct avow_enrollment *enrollment;
    const struct avow_state *prior;
    const char *event_id; /* as avow_transition */
    uint64_t clock;       /* TPM clock of the evidence that was judged; 0: none was */
};
/* Adds the state write, and the verdict and revocation that are due. Errors: AVOW_NOMEM,
 * AVOW_LIMIT. */
enum avow_rc avow_step_publish(const struct avow_step *s, const struct avow_step_publish_in *in,
                               struct avow_state *next, struct avow_err *err) AVOW_MUST_CHECK;
/* Whether the state has a finding with this id. */
bool avow_step_has_finding(const struct avow_state *state, const char *id);

#endif
