/* clock.h - the only clock. Layer: base. Not for pure folders. */
#ifndef AVOW_BASE_CLOCK_H
#define AVOW_BASE_CLOCK_H

#include "avow/base/bytes.h"

uint64_t avow_clock_unix_ms(void); /* UTC, may step */
uint64_t avow_clock_mono_ms(void); /* since boot, never steps */
uint64_t avow_clock_mono_ns(void);
/* Ends early, within 100 ms, once avow_stop_requested(). */
void avow_clock_sleep_ms(uint64_t ms);
/* "2026-11-24T15:04:05.678Z", at most the last moment of year 9999; out has room for 32. */
void avow_clock_format(char out[32], uint64_t unix_ms);

#endif
