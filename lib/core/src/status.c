/* status.c - from findings and proofs to a status. Good news only when proven: nothing makes a host
 * `trusted` but an explained quote over a log that was judged from its first entry under what is
 * demanded now (PROTOCOL R2, R8, B3.2). */
#include "core_internal.h"

#include "avow/base/banned.h"

/* Facts about the past of the record, which a proof ends. */
static bool keep_after_proof(enum avow_finding_id id)
{
    return id != AVOW_FINDING_EVIDENCE_UNPROVEN && id != AVOW_FINDING_ENROLLMENT_LOST;
}

/* Evidence that answers a marker older than silent_after does not end silence: a broker may drip it
 * (R8). */
static bool is_late(const struct avow_eval *ev)
{
    const struct avow_eval_in *in = ev->in;
    return in->silent_after_ms && in->service_ms > ev->answers.service_ms &&
           in->service_ms - ev->answers.service_ms > in->silent_after_ms;
}

void avow_status_decide(struct avow_eval *ev)
{
    struct avow_state *s = ev->next;
    bool proven = (ev->explained || ev->pending_proven) && !avow_boot_is_open(s);
    if (proven && ev->in->enrollment->recovery == AVOW_RECOVERY_AUTO)
        avow_finding_list_filter(&ev->findings, keep_after_proof);
    if (ev->findings.count) {
        s->status = AVOW_STATUS_UNTRUSTED;
        return;
    }
    bool stays_silent = s->status == AVOW_STATUS_SILENT && is_late(ev);
    bool boot_is_good =
        !s->has_boot || !s->boot.has_policy_sha256 || s->boot.outcome == AVOW_OUTCOME_PASS;
    if (proven && ev->can_judge && !s->stale && !stays_silent && boot_is_good)
        s->status = AVOW_STATUS_TRUSTED;
}
