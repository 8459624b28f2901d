/* tsan_threads.c - C11 threads in terms of POSIX threads, for programs under ThreadSanitizer that
 * use librdkafka. librdkafka calls thrd_create() and mtx_lock(), which the sanitizer does not know:
 * its threads would crash in our callbacks, and its locks would be invisible. glibc's types have
 * the same layout. Linked only with AVOW_SANITIZE=thread, with ENABLE_EXPORTS so that librdkafka
 * finds these. */
#define _GNU_SOURCE /* pthread_mutexattr_settype */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

#include "avow/base/banned.h"

_Static_assert(sizeof(mtx_t) >= sizeof(pthread_mutex_t), "glibc");
_Static_assert(sizeof(cnd_t) >= sizeof(pthread_cond_t), "glibc");
_Static_assert(sizeof(thrd_t) == sizeof(pthread_t), "glibc");

struct start {
    thrd_start_t fn;
    void *arg;
};

static void *run(void *arg)
{
    struct start s = *(struct start *)arg;
    free(arg);
    return (void *)(intptr_t)s.fn(s.arg);
}

static pthread_mutex_t *mutex(mtx_t *m)
{
    return (pthread_mutex_t *)(void *)m;
}

static pthread_cond_t *condition(cnd_t *c)
{
    return (pthread_cond_t *)(void *)c;
}

static int result(int e)
{
    if (e == 0)
        return thrd_success;
    if (e == ETIMEDOUT)
        return thrd_timedout;
    return e == EBUSY ? thrd_busy : thrd_error;
}

int thrd_create(thrd_t *t, thrd_start_t fn, void *arg)
{
    struct start *s = malloc(sizeof(*s));
    if (!s)
        return thrd_nomem;
    *s = (struct start){fn, arg};
    int e = pthread_create((pthread_t *)t, NULL, run, s);
    if (e)
        free(s);
    return result(e);
}

int thrd_join(thrd_t t, int *out)
{
    void *value = NULL;
    int e = pthread_join((pthread_t)t, &value);
    if (out)
        *out = (int)(intptr_t)value;
    return result(e);
}

int mtx_init(mtx_t *m, int type)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    if (type & mtx_recursive)
        pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    int e = pthread_mutex_init(mutex(m), &attr);
    pthread_mutexattr_destroy(&attr);
    return result(e);
}

void mtx_destroy(mtx_t *m)
{
    pthread_mutex_destroy(mutex(m));
}

int mtx_lock(mtx_t *m)
{
    return result(pthread_mutex_lock(mutex(m)));
}

int mtx_trylock(mtx_t *m)
{
    return result(pthread_mutex_trylock(mutex(m)));
}

int mtx_unlock(mtx_t *m)
{
    return result(pthread_mutex_unlock(mutex(m)));
}

int cnd_init(cnd_t *c)
{
    return result(pthread_cond_init(condition(c), NULL));
}

void cnd_destroy(cnd_t *c)
{
    pthread_cond_destroy(condition(c));
}

int cnd_signal(cnd_t *c)
{
    return result(pthread_cond_signal(condition(c)));
}

int cnd_broadcast(cnd_t *c)
{
    return result(pthread_cond_broadcast(condition(c)));
}

int cnd_wait(cnd_t *c, mtx_t *m)
{
    return result(pthread_cond_wait(condition(c), mutex(m)));
}

int cnd_timedwait(cnd_t *restrict c, mtx_t *restrict m, const struct timespec *restrict until)
{
    return result(pthread_cond_timedwait(condition(c), mutex(m), until));
}
