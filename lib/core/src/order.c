/* order.c - is this quote newer than the last one? PROTOCOL R6. Counters of an owner-hierarchy key
 * are obfuscated by a constant, so only their differences mean anything; the clock orders quotes of
 * one reset and is never time. */
#include "core_internal.h"

#include "avow/base/banned.h"

enum avow_order avow_order_of(const struct avow_eval *ev)
{
    const struct avow_state *prior = ev->in->prior;
    uint64_t epoch = ev->in->marker->epoch;
    if (!prior->has_order)
        return AVOW_ORDER_NEWER;
    uint32_t d = ev->quote.reset_count - prior->order.reset_count; /* mod 2^32 */
    bool newer = d == 0 ? ev->quote.clock > prior->order.clock : d < 0x80000000u;
    if (newer)
        return epoch >= prior->epoch ? AVOW_ORDER_NEWER : AVOW_ORDER_REPLAY;
    return epoch > prior->epoch ? AVOW_ORDER_REGRESSED : AVOW_ORDER_REPLAY;
}

bool avow_order_judge(struct avow_eval *ev)
{
    const struct avow_state *s = ev->next;
    if (avow_order_of(ev) != AVOW_ORDER_REGRESSED)
        return true;
    ev->counters_reset = ev->in->enrollment->generation > ev->in->prior->enrollment_generation;
    if (ev->counters_reset)
        return true;
    AVOW_FIND(ev, TPM_COUNTERS_REGRESSED, "attest", "reset %u clock %llu after reset %u clock %llu",
              ev->quote.reset_count, (unsigned long long)ev->quote.clock, s->order.reset_count,
              (unsigned long long)s->order.clock);
    return false; /* the floor stays where it is until the operator moves it (R6) */
}
