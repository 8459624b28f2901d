/* transition.h - what one step from state to state publishes: verdict, revocation. Layer: core.
 * Pure. */
#ifndef AVOW_CORE_TRANSITION_H
#define AVOW_CORE_TRANSITION_H

#include "avow/base/arena.h"
#include "avow/base/err.h"
#include "avow/model/enrollment.h"
#include "avow/model/revocation.h"
#include "avow/model/state.h"
#include "avow/model/verdict.h"

struct avow_transition_in {
    const struct avow_enrollment *enrollment;
    const struct avow_state *prior;
    uint64_t service_ms;
    uint32_t validity_ms; /* of the enrolment or the bundle */
    uint32_t verdict_refresh_ms;
    const char *event_id; /* for silent and alarms: finding or alarm id; NULL: taken from the first
                             finding */
    uint64_t clock;       /* TPM clock of the evidence that was judged; 0 for timers */
    uint32_t min_interval_ms; /* R20: verdicts without a change of status are at least this far
                                 apart on that clock; 0: any distance */
};
struct avow_transition_out {
    bool verdict_due; /* status, findings or generations changed, or the refresh interval has passed
                         (PROTOCOL R16) */
    struct avow_verdict verdict;
    bool revocation_due;               /* status changed in a way that consumers must hear of: see
                                          docs/ARCHITECTURE.md */
    struct avow_revocation revocation; /* id is set, proof is not */
};
/* Completes `next` (seq, transitions, last_verdict, severity) and fills `out`. pending -> trusted
 * is no event; any -> untrusted is a revocation, any -> silent is silent, untrusted or silent ->
 * trusted is a recovery. The event id of a recovery is that of what is over. Errors: AVOW_NOMEM,
 * AVOW_LIMIT. */
enum avow_rc avow_transition(const struct avow_transition_in *in, struct avow_state *next,
                             struct avow_arena *arena, struct avow_transition_out *out,
                             struct avow_err *err) AVOW_MUST_CHECK;

#endif
