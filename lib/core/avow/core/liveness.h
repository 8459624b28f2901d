/* liveness.h - who is silent, who proves nothing, whose fold stands still, who has to rebase, and
 * when to look again. Layer: core. Pure: the service clock is an argument. Rules: PROTOCOL R8, R17,
 * B3.3, B4. The worker keeps the heap of deadlines
 * and the mass guard; what is due is decided here. */
#ifndef AVOW_CORE_LIVENESS_H
#define AVOW_CORE_LIVENESS_H

#include "avow/base/arena.h"
#include "avow/base/err.h"
#include "avow/model/enrollment.h"
#include "avow/model/state.h"

#define AVOW_LIVENESS_NEVER UINT64_MAX
#define AVOW_UNPROVEN_FACTOR 3u /* of silent_after */
#define AVOW_SILENT_REFRESH_MS                                                                     \
    86400000u /* a silent verdict is repeated, so that retention keeps it */

struct avow_liveness_in {
    const struct avow_enrollment *enrollment;
    const struct avow_state *state;
    uint64_t service_ms;
    uint64_t unix_ms;             /* for paused_until only */
    uint32_t silent_after_ms;     /* effective: of the enrolment or the bundle */
    uint32_t first_contact_ms;    /* of the bundle */
    bool waiting_for_us;          /* in our own resync queue: the second credit is frozen */
    uint64_t rebase_interval_ms;  /* of the bundle; 0: no rebases */
    uint64_t unjudged_service_ms; /* until then nothing could be judged, for a reason of ours (R27);
                                     0: never so */
};
enum avow_liveness_due {
    AVOW_LIVENESS_NOTHING = 0,
    AVOW_LIVENESS_SILENT,         /* -> avow_state_silence */
    AVOW_LIVENESS_UNPROVEN,       /* -> avow_state_unproven */
    AVOW_LIVENESS_NEVER_ATTESTED, /* alarm agent.never_attested; the caller remembers that it said
                                     so */
    AVOW_LIVENESS_REFRESH,        /* repeat the silent verdict */
    AVOW_LIVENESS_STALLED,        /* -> avow_state_abandon, and ask for what it says */
    AVOW_LIVENESS_REBASE          /* ask for the list from entry 0, then avow_state_rebase_asked */
};
/* What is due now. */
enum avow_liveness_due avow_liveness_check(const struct avow_liveness_in *in);
/* Service time at which something may become due, were nothing heard before; AVOW_LIVENESS_NEVER if
 * nothing can. Ignores paused_until, which is wall time: look again when it has passed. */
uint64_t avow_liveness_deadline(const struct avow_liveness_in *in);

/* An answer to a request for a rebase is not waited for longer than this, or the rebase interval.
 */
#define AVOW_REBASE_RETRY_MS 1800000u
/* A rebase was asked for: the next request is due when this one was in vain. The rebase itself,
 * once proven, sets the next date. */
void avow_state_rebase_asked(const struct avow_liveness_in *in, struct avow_state *next);

/* Status silent; findings stay. Pass event id agent.silent to avow_transition. */
void avow_state_silence(const struct avow_state *prior, struct avow_state *next);
/* Status untrusted with finding evidence.unproven. Errors: AVOW_NOMEM. */
enum avow_rc avow_state_unproven(const struct avow_state *prior, struct avow_arena *arena,
                                 struct avow_state *next, struct avow_err *err) AVOW_MUST_CHECK;
/* Adds a finding that no evidence shows (enrollment.lost, state.lost) and sets untrusted. `id` must
 * be in the table (asserted). Errors: AVOW_NOMEM. */
enum avow_rc avow_state_add_finding(const struct avow_state *prior, const char *id,
                                    struct avow_arena *arena, struct avow_state *next,
                                    struct avow_err *err) AVOW_MUST_CHECK;

#endif
