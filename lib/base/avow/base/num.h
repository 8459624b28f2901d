/* num.h - checked numbers. Layer: base. Pure. */
#ifndef AVOW_BASE_NUM_H
#define AVOW_BASE_NUM_H

#include "avow/base/bytes.h"

/* Decimal, whole string, no sign, no blanks, at most `max`; false otherwise. */
bool avow_num_parse_u64(struct avow_str s, uint64_t max, uint64_t *out) AVOW_MUST_CHECK;
/* false on overflow. */
bool avow_size_mul(size_t a, size_t b, size_t *out) AVOW_MUST_CHECK;
static inline uint64_t avow_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}
static inline uint64_t avow_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* "1500", "1500ms", "90s", "5m", "2h", "1d" in milliseconds. */
bool avow_num_parse_ms(struct avow_str text, uint64_t *out) AVOW_MUST_CHECK;

#endif
