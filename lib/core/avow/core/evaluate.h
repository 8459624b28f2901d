/* evaluate.h - the whole appraisal as two pure functions: one for the head of an evidence, which is
 * all of it in the steady state, one for each part that follows (PROTOCOL R3). Layer: core. No I/O,
 * clock, randomness, globals; the same input gives the same output, byte for byte. Rules:
 * docs/PROTOCOL.md (attribution R4, explain-by-next R2, order R6, boots R7); order of the checks:
 * docs/ARCHITECTURE.md. */
#ifndef AVOW_CORE_EVALUATE_H
#define AVOW_CORE_EVALUATE_H

#include "avow/base/arena.h"
#include "avow/crypto/ak.h"
#include "avow/core/boot_policy.h"
#include "avow/core/ima_keys.h"
#include "avow/core/runtime_policy.h"
#include "avow/core/severity.h"
#include "avow/model/body.h"
#include "avow/model/enrollment.h"
#include "avow/model/evidence.h"
#include "avow/model/evidence_part.h"
#include "avow/model/marker.h"
#include "avow/model/state.h"

/* What the enrolment's policy references resolve to. A reference that does not resolve is
 * `missing`: our problem, never the agent's (no verdict is made from it; PROTOCOL R27). */
struct avow_eval_policy {
    const struct avow_runtime_policy *runtime; /* NULL: none demanded, as for the next three */
    const struct avow_boot_policy *boot;
    const uint8_t *boot_sha256; /* [32], of the document of `boot` */
    const struct avow_ima_keys *keys;
    const struct avow_severity *severity;
    const struct avow_head_ref *heads; /* every head that was used */
    size_t heads_count;
    bool missing;
    bool superset_of_prior; /* avow_runtime_policy_is_superset(policy of prior->heads, runtime):
                               trust is carried (R15) */
};

struct avow_eval_in {                      /* everything borrowed and const */
    const struct avow_evidence *evidence;  /* untrusted until attributed; NULL for a part */
    const struct avow_evidence_part *part; /* untrusted until it fits; NULL for a head */
    const struct avow_body *body; /* decoded from evidence->body, or from prior->open.body for a
                                     part; NULL: it does not decode */
    const struct avow_enrollment *enrollment; /* its proof is verified already */
    const uint8_t *enrollment_sha256;         /* [32], content digest */
    const struct avow_ak *ak; /* parsed from enrollment->ak_public, NULL if absent */
    const struct avow_eval_policy *policy;
    const struct avow_state
        *prior; /* never NULL: the worker makes it at first sight (avow_state_first) */
    const struct avow_marker *marker; /* the marker that body names, read from the topic; NULL:
                                         unknown; not looked at for a part */
    bool marker_expired; /* marker NULL because the epoch is older than marker memory */
    uint64_t bundle_version;
    uint64_t service_ms;         /* service clock of the partition, for back-off and stamps */
    uint32_t silent_after_ms;    /* effective one, of the enrolment or the bundle; 0: late credit is
                                    not judged */
    uint64_t rebase_interval_ms; /* R17; 0: never due */
    const struct avow_enrollment
        *prior_enrollment; /* that prior->enrollment_sha256 names, if it is still at hand: what the
                        two have in common needs no new appraisal. NULL: everything is appraised
                        anew */
    int32_t partition;     /* coordinates of the record */
    int64_t offset;
};

enum avow_eval_kind {
    AVOW_EVAL_UNDECIDED = 0,
    AVOW_EVAL_DROPPED,  /* not attributable: `drop` says why; next is the prior state, unchanged */
    AVOW_EVAL_ACCEPTED, /* attributed: next is the new state, with findings and status */
};

struct avow_eval_resync { /* what to ask of the agent; the worker paces and signs it (PROTOCOL R15,
                             R19) */
    bool wanted;
    bool boot_log;
    bool pcrs;
    uint64_t ima_from;
    const char *reason; /* static text */
};

struct avow_eval_out {
    enum avow_eval_kind kind;
    enum avow_drop_reason drop;
    struct avow_state next; /* arrays live in `arena` or borrow from the inputs */
    bool abandoned; /* prior's open fold ended without its last part: count it (PROTOCOL B4) */
    struct avow_eval_resync resync;
    /* Why no verdict could be extended although the evidence is attributed; static text, NULL if
     * nothing was in the way. Our problem: an alarm, never a finding (R27). */
    const char *unavailable;
};

/* Why nothing is judged by this enrolment and policy; static text, NULL if it is. */
const char *avow_eval_unavailable(const struct avow_enrollment *e,
                                  const struct avow_eval_policy *policy);

/* While state is stale, as_of may advance under the old policy for this long (PROTOCOL R15). */
#define AVOW_POLICY_GRACE_MS 3600000u

/* The head of an evidence. If it announces more parts, next.has_open is set: findings so far count,
 * positions and as_of stay until the last part. Errors: AVOW_NOMEM, also when the arena is full;
 * never about the evidence. */
enum avow_rc avow_evaluate(const struct avow_eval_in *in, struct avow_arena *arena,
                           struct avow_eval_out *out, struct avow_err *err) AVOW_MUST_CHECK;
/* A later part. What is not the one part that prior->open waits for is dropped after at most one
 * SHA-256 of it. Errors: as avow_evaluate. */
enum avow_rc avow_evaluate_part(const struct avow_eval_in *in, struct avow_arena *arena,
                                struct avow_eval_out *out, struct avow_err *err) AVOW_MUST_CHECK;

/* An open fold without progress for this long is given up (PROTOCOL B4). */
#define AVOW_FOLD_IDLE_MS 60000u
/* Ends the open fold, which must be there; *ask is what to ask of the agent. */
void avow_state_abandon(const struct avow_state *prior, struct avow_state *next,
                        struct avow_eval_resync *ask);

/* State of an agent that is enrolled and has sent nothing yet: status pending, credit = service_ms.
 */
void avow_state_first(const struct avow_enrollment *e, const uint8_t enrollment_sha256[32],
                      int32_t partition, uint64_t service_ms, struct avow_state *out);

/* The 32 bytes a quote's extraData must hold (PROTOCOL B4). */
void avow_qualifying_data(const uint8_t fleet[16], struct avow_str agent_id,
                          const uint8_t nonce[32], struct avow_bytes body, uint8_t out[32]);

#endif
