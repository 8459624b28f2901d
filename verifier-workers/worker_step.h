/* worker_step.h - every decision of the worker. Layer: verifier-workers. Pure: no I/O, clock or
 * randomness; times and random bytes are in the environment. A step reads the views and returns
 * actions; it changes nothing.
 *
 * Two kinds of step: an evidence record, and a review of one agent. A review looks at what is known
 * of the agent (enrolment, state, policies, service clock) and does whatever is due; done twice in
 * a row it does nothing the second time. Everything that is not an evidence record - first sight,
 * removal, policy change, silence - is a review, so that it can be repeated safely after an aborted
 * transaction. */
#ifndef AVOW_WORKER_WORKER_STEP_H
#define AVOW_WORKER_WORKER_STEP_H

#include "actions.h"
#include "avow/base/arena.h"
#include "avow/model/bundle.h"
#include "marker_book.h"
#include "policy_store.h"

#define AVOW_STEP_RESYNC_FIRST_MS                                                                  \
    60000u /* back-off of directives: 1, 2, 4 ... 30 min (PROTOCOL R19) */
#define AVOW_STEP_RESYNC_MAX_MS 1800000u
#define AVOW_STEP_STATE_LOST_MS                                                                    \
    3600000u /* recovery = operator: no state this long after the enrolment (R10) */
#define AVOW_STEP_FRESH_ENROLLMENT_MS 60000u
#define AVOW_STEP_EXCERPT_MAX 256u

struct avow_step_env { /* everything borrowed */
    const struct avow_bundle *bundle;
    struct avow_policy_store *policies; /* caches comparisons, changes nothing else */
    struct avow_marker_book *book;      /* caches signature checks, changes nothing else */
    int32_t partition;
    const char *instance;       /* for dead letters */
    const char *evidence_topic; /* for dead letters */
    uint64_t unix_ms;
    uint64_t epoch;       /* of the newest own marker, for directives */
    uint64_t service_ms;  /* of the newest own marker */
    bool resync_slot;     /* one more resync may be open */
    bool may_fall_silent; /* the mass guard lets this agent go */
    uint8_t random[16];   /* fresh for every step */
};

struct avow_step_evidence { /* an evidence record as it was read */
    struct avow_bytes key, value;
    bool value_null;
    int64_t offset;
    struct avow_agent *agent; /* by key; NULL: unknown */
};
/* Errors: AVOW_NOMEM, AVOW_LIMIT (arena). Never about the record. */
enum avow_rc avow_worker_step_evidence(const struct avow_step_env *env,
                                       const struct avow_step_evidence *in,
                                       struct avow_arena *arena, struct avow_actions *out,
                                       struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_worker_step_review(const struct avow_step_env *env, struct avow_agent *agent,
                                     struct avow_arena *arena, struct avow_actions *out,
                                     struct avow_err *err) AVOW_MUST_CHECK;

/* Service time at which the agent needs a review; UINT64_MAX: never. Errors: AVOW_NOMEM. */
enum avow_rc avow_worker_step_due(const struct avow_step_env *env, struct avow_agent *agent,
                                  struct avow_arena *arena, uint64_t *out,
                                  struct avow_err *err) AVOW_MUST_CHECK;
/* Whether a review at this moment would make the agent silent, for the mass guard. Errors:
 * AVOW_NOMEM. */
enum avow_rc avow_worker_step_would_fall_silent(const struct avow_step_env *env,
                                                struct avow_agent *agent, struct avow_arena *arena,
                                                bool *out, struct avow_err *err) AVOW_MUST_CHECK;
/* Of the enrolment, or of the bundle. */
uint32_t avow_worker_step_silent_after(const struct avow_step_env *env,
                                       const struct avow_agent *agent);

#endif
