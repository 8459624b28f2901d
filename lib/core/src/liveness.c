/* liveness.c - see liveness.h. */
#include "avow/core/liveness.h"

#include "avow/base/num.h"
#include "avow/core/evaluate.h"

#include "avow/base/banned.h"

static bool is_expected(const struct avow_liveness_in *in)
{
    return in->enrollment->status == AVOW_ENROLL_STATUS_EXPECTED;
}

static uint64_t after(uint64_t from, uint64_t wait)
{
    return from > AVOW_LIVENESS_NEVER - 1 - wait ? AVOW_LIVENESS_NEVER : from + wait + 1;
}

static uint64_t silence_due(const struct avow_liveness_in *in)
{
    if (is_expected(in) || in->state->status == AVOW_STATUS_SILENT)
        return AVOW_LIVENESS_NEVER;
    return after(in->state->credit_ms, in->silent_after_ms);
}

/* A host that proved nothing yet is measured from its first sight; untrusted is as bad as it gets.
 */
static uint64_t unproven_due(const struct avow_liveness_in *in)
{
    const struct avow_state *s = in->state;
    if (is_expected(in) || in->waiting_for_us || !s->has_order || s->status == AVOW_STATUS_SILENT ||
        s->status == AVOW_STATUS_UNTRUSTED)
        return AVOW_LIVENESS_NEVER;
    uint64_t from = s->has_as_of ? s->as_of.service_ms : s->first_seen_service_ms;
    from = avow_max_u64(from, in->unjudged_service_ms);
    return after(from, (uint64_t)AVOW_UNPROVEN_FACTOR * in->silent_after_ms);
}

static uint64_t first_contact_due(const struct avow_liveness_in *in)
{
    if (!is_expected(in) || in->state->has_order)
        return AVOW_LIVENESS_NEVER;
    return after(in->state->first_seen_service_ms, in->first_contact_ms);
}

static uint64_t refresh_due(const struct avow_liveness_in *in)
{
    const struct avow_state *s = in->state;
    if (s->status != AVOW_STATUS_SILENT || !s->has_last_verdict)
        return AVOW_LIVENESS_NEVER;
    return after(s->last_verdict.emitted_service_ms, AVOW_SILENT_REFRESH_MS);
}

static uint64_t stalled_due(const struct avow_liveness_in *in)
{
    const struct avow_state *s = in->state;
    return s->has_open ? after(s->open.progress_service_ms, AVOW_FOLD_IDLE_MS)
                       : AVOW_LIVENESS_NEVER;
}

/* Not while an evidence is under way, and not of a host that does not talk. */
static uint64_t rebase_due(const struct avow_liveness_in *in)
{
    const struct avow_state *s = in->state;
    if (!in->rebase_interval_ms || !s->rebase_due_ms || s->has_open || is_expected(in) ||
        s->status == AVOW_STATUS_SILENT)
        return AVOW_LIVENESS_NEVER;
    return avow_max_u64(s->rebase_due_ms, s->resync.not_before_service_ms);
}

void avow_state_rebase_asked(const struct avow_liveness_in *in, struct avow_state *next)
{
    next->rebase_due_ms =
        in->service_ms + avow_min_u64(AVOW_REBASE_RETRY_MS, in->rebase_interval_ms);
}

enum avow_liveness_due avow_liveness_check(const struct avow_liveness_in *in)
{
    if (in->enrollment->status == AVOW_ENROLL_STATUS_REMOVED)
        return AVOW_LIVENESS_NOTHING;
    bool paused = in->enrollment->paused_until_ms > in->unix_ms;
    if (!paused && in->service_ms >= silence_due(in))
        return AVOW_LIVENESS_SILENT;
    if (!paused && in->service_ms >= unproven_due(in))
        return AVOW_LIVENESS_UNPROVEN;
    if (!paused && in->service_ms >= first_contact_due(in))
        return AVOW_LIVENESS_NEVER_ATTESTED;
    if (in->service_ms >= refresh_due(in))
        return AVOW_LIVENESS_REFRESH;
    if (in->service_ms >= stalled_due(in))
        return AVOW_LIVENESS_STALLED;
    return in->service_ms >= rebase_due(in) ? AVOW_LIVENESS_REBASE : AVOW_LIVENESS_NOTHING;
}

uint64_t avow_liveness_deadline(const struct avow_liveness_in *in)
{
    if (in->enrollment->status == AVOW_ENROLL_STATUS_REMOVED)
        return AVOW_LIVENESS_NEVER;
    uint64_t due = avow_min_u64(silence_due(in), unproven_due(in));
    due = avow_min_u64(due, first_contact_due(in));
    due = avow_min_u64(due, refresh_due(in));
    due = avow_min_u64(due, stalled_due(in));
    return avow_min_u64(due, rebase_due(in));
}
