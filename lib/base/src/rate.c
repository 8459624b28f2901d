#include "avow/base/rate.h"

#include <assert.h>

#include "avow/base/banned.h"

#define MILLI 1000u

void avow_rate_init(struct avow_rate *r, uint32_t burst, uint64_t refill_ms, uint64_t now_ms)
{
    assert(refill_ms > 0);
    *r = (struct avow_rate){.tokens_milli = (uint64_t)burst * MILLI,
                            .last_ms = now_ms,
                            .burst = burst,
                            .refill_ms = refill_ms};
}

/* Adds whole tokens only and moves last_ms by exactly their time: no fraction is ever lost. */
static void refill(struct avow_rate *r, uint64_t now_ms)
{
    if (now_ms < r->last_ms) { /* a clock that stepped back must not freeze the bucket */
        r->last_ms = now_ms;
        return;
    }
    const uint64_t full = (uint64_t)r->burst * MILLI;
    uint64_t tokens = (now_ms - r->last_ms) / r->refill_ms;
    if (tokens >= (full - r->tokens_milli) / MILLI) {
        r->tokens_milli = full;
        r->last_ms = now_ms; /* a full bucket saves nothing up */
        return;
    }
    r->tokens_milli += tokens * MILLI;
    r->last_ms += tokens * r->refill_ms;
}

bool avow_rate_take(struct avow_rate *r, uint64_t now_ms)
{
    refill(r, now_ms);
    if (r->tokens_milli < MILLI)
        return false;
    r->tokens_milli -= MILLI;
    return true;
}

uint64_t avow_rate_wait_ms(struct avow_rate *r, uint64_t now_ms)
{
    refill(r, now_ms);
    if (r->tokens_milli >= MILLI)
        return 0;
    if (!r->burst)
        return UINT64_MAX;
    return r->refill_ms - (now_ms - r->last_ms);
}
