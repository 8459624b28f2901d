/* clockshift.c - preloaded into a program, moves its wall clock by AVOW_CLOCKSHIFT_S seconds; no
 * other clock. The tests compile it themselves. libfaketime does not do: librdkafka waits with
 * cnd_timedwait until a time of the wall clock, which the kernel judges by the real one. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static time_t shift(void)
{
    const char *text = getenv("AVOW_CLOCKSHIFT_S");
    return text ? (time_t)strtoll(text, NULL, 10) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    int rc = REAL(clock_gettime)(clock, t);
    if (!rc && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        t->tv_sec += shift();
    return rc;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    int rc = REAL(gettimeofday)(t, zone);
    if (!rc)
        t->tv_sec += shift();
    return rc;
}

time_t time(time_t *out)
{
    time_t t = REAL(time)(NULL) + shift();
    if (out)
        *out = t;
    return t;
}

int timespec_get(struct timespec *t, int base)
{
    int rc = REAL(timespec_get)(t, base);
    if (rc)
        t->tv_sec += shift();
    return rc;
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex,
                  const struct timespec *restrict until)
{
    struct timespec real = *until;
    real.tv_sec -= shift();
    return REAL(cnd_timedwait)(cond, mutex, &real);
}
