/* epoch_bell.c - see epoch_bell.h. */
#include "epoch_bell.h"

#include "avow/base/num.h"

#include <assert.h>
#include <string.h>

#include "avow/base/banned.h"

void avow_epoch_bell_init(struct avow_epoch_bell *b, uint64_t epoch_ms)
{
    assert(epoch_ms > 0);
    *b = (struct avow_epoch_bell){.epoch_ms = epoch_ms};
}

static int64_t offset_ms(uint64_t unix_ms, uint64_t mono_ms)
{
    return (int64_t)unix_ms - (int64_t)mono_ms;
}

static void see_own(struct avow_epoch_bell *b, const struct avow_epoch_bell_seen *m)
{
    b->own_acked = true;
    if (!m->append_ms)
        return;
    /* The broker appended it between our sending and our reading, so its stamp has to lie between
     * the two, give or take what we tolerate; a slow broker is thus never mistaken for a wrong
     * clock. */
    if (m->append_ms + AVOW_EPOCH_BELL_SKEW_MAX_MS < b->own_unix_ms ||
        m->append_ms > m->unix_ms + AVOW_EPOCH_BELL_SKEW_MAX_MS) {
        b->skewed = true;
        b->skewed_offset_ms = offset_ms(m->unix_ms, m->mono_ms);
    }
}

void avow_epoch_bell_see(struct avow_epoch_bell *b, const struct avow_epoch_bell_seen *m)
{
    if (b->has_own && avow_ct_eq(m->nonce, b->own_nonce, sizeof b->own_nonce))
        see_own(b, m);
    if (b->has_topic && (m->epoch < b->topic_epoch ||
                         (m->epoch == b->topic_epoch && m->issued_ms < b->topic_issued_ms)))
        return;
    b->has_topic = true;
    b->topic_epoch = m->epoch;
    b->topic_issued_ms = m->issued_ms;
    if (!b->has_own)
        b->service_ms = m->service_ms;
}

enum avow_epoch_bell_health avow_epoch_bell_check(struct avow_epoch_bell *b, uint64_t unix_ms,
                                                  uint64_t mono_ms)
{
    if (b->skewed) {
        int64_t moved = offset_ms(unix_ms, mono_ms) - b->skewed_offset_ms;
        if (moved > -(int64_t)AVOW_EPOCH_BELL_CORRECTED_MS &&
            moved < (int64_t)AVOW_EPOCH_BELL_CORRECTED_MS)
            return AVOW_EPOCH_BELL_SKEWED;
        b->skewed = false;
    }
    if (b->has_topic && b->topic_epoch > unix_ms / b->epoch_ms + 1)
        return AVOW_EPOCH_BELL_FUTURE;
    return AVOW_EPOCH_BELL_HEALTHY;
}

const char *avow_epoch_bell_health_text(enum avow_epoch_bell_health h)
{
    switch (h) {
    case AVOW_EPOCH_BELL_FUTURE:
        return "clock.future_marker";
    case AVOW_EPOCH_BELL_SKEWED:
        return "clock.skew";
    case AVOW_EPOCH_BELL_HEALTHY:
        break;
    }
    return "";
}

/* First epoch for which this bell may ring. */
static uint64_t next_epoch(const struct avow_epoch_bell *b)
{
    if (b->has_own)
        return b->own_epoch + 1;
    return b->has_topic ? b->topic_epoch + 1 : 0;
}

bool avow_epoch_bell_due(const struct avow_epoch_bell *b, uint64_t unix_ms)
{
    return unix_ms / b->epoch_ms >= next_epoch(b);
}

uint64_t avow_epoch_bell_wait_ms(const struct avow_epoch_bell *b, uint64_t unix_ms)
{
    if (avow_epoch_bell_due(b, unix_ms))
        return 0;
    return next_epoch(b) * b->epoch_ms - unix_ms;
}

/* Time without our markers, if it is long enough to matter. */
static uint64_t gap_of(const struct avow_epoch_bell *b, const struct avow_epoch_bell_ring *in)
{
    uint64_t since = 0;
    if (b->has_own)
        since = in->mono_ms - b->own_mono_ms;
    else if (b->has_topic && in->unix_ms > b->topic_issued_ms)
        since = in->unix_ms - b->topic_issued_ms;
    return since >= AVOW_EPOCH_BELL_GAP_EPOCHS * b->epoch_ms ? since : 0;
}

void avow_epoch_bell_ring(struct avow_epoch_bell *b, const struct avow_epoch_bell_ring *in,
                          struct avow_epoch_bell_marker *out)
{
    uint64_t gap = gap_of(b, in);
    if (gap)
        b->frozen_until_mono_ms = in->mono_ms + avow_min_u64(gap, AVOW_EPOCH_BELL_FREEZE_MAX_MS);
    /* An interval that began while frozen does not count, not even in part. */
    bool was_frozen = gap || b->own_mono_ms < b->frozen_until_mono_ms;
    b->ticking = b->has_own && !was_frozen && b->own_acked && in->ready && in->caught_up;
    if (b->ticking)
        b->service_ms += avow_min_u64(in->mono_ms - b->own_mono_ms, 2 * b->epoch_ms);
    b->has_own = true;
    b->own_acked = false;
    b->own_epoch = in->unix_ms / b->epoch_ms;
    b->own_unix_ms = in->unix_ms;
    b->own_mono_ms = in->mono_ms;
    memcpy(b->own_nonce, in->nonce, sizeof b->own_nonce);
    *out = (struct avow_epoch_bell_marker){.epoch = b->own_epoch,
                                           .issued_ms = in->unix_ms,
                                           .service_ms = b->service_ms,
                                           .ticking = b->ticking,
                                           .gap_ms = gap};
}
