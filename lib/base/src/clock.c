#define _GNU_SOURCE /* clock_gettime, nanosleep */
#include "avow/base/clock.h"

#include "avow/base/cli.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "avow/base/banned.h"

#define MS_PER_S 1000u
#define NS_PER_MS 1000000u
#define NS_PER_S 1000000000u
#define SLICE_MS 100u
#define LAST_MS 253402300799999u /* 9999-12-31T23:59:59.999Z: four digits of year */

static struct timespec now(clockid_t id)
{
    struct timespec ts;
    int failed = clock_gettime(id, &ts);
    assert(!failed);
    (void)failed;
    return ts;
}

uint64_t avow_clock_unix_ms(void)
{
    struct timespec ts = now(CLOCK_REALTIME);
    if (ts.tv_sec < 0)
        return 0;
    return (uint64_t)ts.tv_sec * MS_PER_S + (uint64_t)ts.tv_nsec / NS_PER_MS;
}

/* CLOCK_BOOTTIME also counts suspend, during which a machine's evidence grows old. */
uint64_t avow_clock_mono_ns(void)
{
    struct timespec ts = now(CLOCK_BOOTTIME);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t avow_clock_mono_ms(void)
{
    return avow_clock_mono_ns() / NS_PER_MS;
}

void avow_clock_sleep_ms(uint64_t ms)
{
    const uint64_t start = avow_clock_mono_ms();
    /* In slices: the signal that asks us to stop may have interrupted another thread. */
    for (uint64_t gone = 0; gone < ms && !avow_stop_requested();
         gone = avow_clock_mono_ms() - start) {
        uint64_t left = ms - gone < SLICE_MS ? ms - gone : SLICE_MS;
        struct timespec ts = {.tv_sec = 0, .tv_nsec = (long)(left * NS_PER_MS)};
        (void)nanosleep(&ts, NULL); /* EINTR: the loop looks at the clock */
    }
}

/* Civil date of a day number since 1970-01-01, proleptic Gregorian calendar: years start in March,
 * so that the leap day is the last of its year, and 400 years are always 146097 days. */
static void civil_from_days(uint64_t days, unsigned *year, unsigned *month, unsigned *day)
{
    const uint64_t shifted = days + 719468; /* days since 0000-03-01 */
    const uint64_t era = shifted / 146097;
    const uint64_t doe = shifted % 146097;
    const uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    const uint64_t mp = (5 * doy + 2) / 153; /* 0 is March */
    *day = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
    *month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
    *year = (unsigned)(era * 400 + yoe + (*month <= 2 ? 1 : 0));
}

void avow_clock_format(char out[32], uint64_t unix_ms)
{
    unsigned year, month, day;
    if (unix_ms > LAST_MS)
        unix_ms = LAST_MS;
    const uint64_t s = unix_ms / MS_PER_S;
    civil_from_days(s / 86400, &year, &month, &day);
    snprintf(out, 32, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", year % 10000, month % 100, day % 100,
             (unsigned)(s / 3600 % 24), (unsigned)(s / 60 % 60), (unsigned)(s % 60),
             (unsigned)(unix_ms % MS_PER_S));
}
