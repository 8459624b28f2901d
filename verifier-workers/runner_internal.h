/* runner_internal.h - what the files of the runner share. Layer: verifier-workers. */
#ifndef AVOW_WORKER_RUNNER_INTERNAL_H
#define AVOW_WORKER_RUNNER_INTERNAL_H

#include "runner.h"

/* The environment of a step now. Errors: AVOW_CRYPTO (no random bytes). */
enum avow_rc avow_runner_env(struct avow_runner *r, const struct avow_agent *a,
                             struct avow_step_env *out, struct avow_err *err) AVOW_MUST_CHECK;
/* Carries out what a step wants. Errors: as the batch. */
enum avow_rc avow_runner_carry_out(struct avow_runner *r, const struct avow_actions *actions,
                                   struct avow_err *err) AVOW_MUST_CHECK;
/* Reviews one agent now. */
enum avow_rc avow_runner_review_now(struct avow_runner *r, struct avow_agent *a,
                                    bool may_fall_silent, struct avow_err *err) AVOW_MUST_CHECK;
/* Recomputes the agent's deadline. Errors: AVOW_NOMEM. */
enum avow_rc avow_runner_deadline(struct avow_runner *r, struct avow_agent *a,
                                  struct avow_err *err) AVOW_MUST_CHECK;
/* Raises an alarm about one agent, or about the fleet (agent NULL). */
void avow_runner_alarm(struct avow_runner *r, const struct avow_agent *a, const char *event,
                       struct avow_bytes what, const char *detail);
/* Issues the marker that is due, and looks who is silent. */
enum avow_rc avow_runner_clock_tick(struct avow_runner *r, struct avow_err *err) AVOW_MUST_CHECK;
/* The agent's enrolment pins no documents any more. */
void avow_runner_unpin(struct avow_runner *r, const struct avow_agent *a);
/* Signature check of the marker book. */
bool avow_runner_verify_marker(void *arg, struct avow_bytes record);

#endif
