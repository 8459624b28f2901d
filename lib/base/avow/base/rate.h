/* rate.h - token bucket. Layer: base. Pure: time is an argument. */
#ifndef AVOW_BASE_RATE_H
#define AVOW_BASE_RATE_H

#include <stdbool.h>
#include <stdint.h>

struct avow_rate {
    uint64_t tokens_milli; /* thousandths of a token */
    uint64_t last_ms;
    uint32_t burst;
    uint64_t refill_ms; /* one token per this time; > 0 */
};

void avow_rate_init(struct avow_rate *r, uint32_t burst, uint64_t refill_ms, uint64_t now_ms);
/* Takes one token if there is one. */
bool avow_rate_take(struct avow_rate *r, uint64_t now_ms);
/* Milliseconds until a token is there; 0 if now. */
uint64_t avow_rate_wait_ms(struct avow_rate *r, uint64_t now_ms);

#endif
