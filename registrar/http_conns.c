#include "http_conns.h"

#include "avow/base/cleanup.h"
#include "avow/base/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "avow/base/banned.h"

#define SWEEP_MS 250u
#define IDLE_POLL_MS 20u

struct avow_conn {
    struct avow_conn *prev, *next;
    int fd;
    uint64_t deadline_ms;
};

struct avow_conns {
    pthread_mutex_t mutex;
    pthread_cond_t stop_cond;
    pthread_t thread;
    struct avow_conn *head;
    size_t count;
    int busy;
    bool stop;
};

static void sweep(struct avow_conns *c, uint64_t now_ms)
{
    for (struct avow_conn *conn = c->head; conn; conn = conn->next) {
        if (conn->deadline_ms > now_ms)
            continue;
        shutdown(conn->fd, SHUT_RDWR); /* wakes the server, which closes it */
        conn->deadline_ms = UINT64_MAX;
    }
}

static void wait_ms(struct avow_conns *c, unsigned ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)ms * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&c->stop_cond, &c->mutex, &until);
}

static void *run(void *arg)
{
    struct avow_conns *c = arg;
    pthread_mutex_lock(&c->mutex);
    while (!c->stop) {
        sweep(c, avow_clock_mono_ms());
        wait_ms(c, SWEEP_MS);
    }
    pthread_mutex_unlock(&c->mutex);
    return NULL;
}

enum avow_rc avow_conns_new(struct avow_conns **out, struct avow_err *err)
{
    struct avow_conns *c = calloc(1, sizeof *c);
    if (!c)
        return avow_err_set(err, AVOW_NOMEM, 0, "connections");
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->stop_cond, &attr);
    pthread_condattr_destroy(&attr);
    int e = pthread_create(&c->thread, NULL, run, c);
    if (e) {
        free(c);
        return avow_err_set(err, AVOW_IO, e, "cannot start a thread");
    }
    *out = c;
    return AVOW_OK;
}

void avow_conns_free(struct avow_conns *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->mutex);
    c->stop = true;
    pthread_cond_signal(&c->stop_cond);
    pthread_mutex_unlock(&c->mutex);
    pthread_join(c->thread, NULL);
    pthread_cond_destroy(&c->stop_cond);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

struct avow_conn *avow_conns_add(struct avow_conns *c, int fd, uint64_t deadline_ms)
{
    struct avow_conn *conn = calloc(1, sizeof *conn);
    if (!conn)
        return NULL;
    conn->fd = fd;
    conn->deadline_ms = deadline_ms;
    pthread_mutex_lock(&c->mutex);
    conn->next = c->head;
    if (c->head)
        c->head->prev = conn;
    c->head = conn;
    c->count++;
    pthread_mutex_unlock(&c->mutex);
    return conn;
}

void avow_conns_remove(struct avow_conns *c, struct avow_conn *conn)
{
    if (!conn)
        return;
    pthread_mutex_lock(&c->mutex);
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        c->head = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    c->count--;
    pthread_mutex_unlock(&c->mutex);
    free(conn);
}

void avow_conns_deadline(struct avow_conns *c, struct avow_conn *conn, uint64_t deadline_ms)
{
    if (!conn)
        return;
    pthread_mutex_lock(&c->mutex);
    if (conn->deadline_ms != UINT64_MAX) /* one that was ended stays so */
        conn->deadline_ms = deadline_ms;
    pthread_mutex_unlock(&c->mutex);
}

size_t avow_conns_count(struct avow_conns *c)
{
    pthread_mutex_lock(&c->mutex);
    size_t n = c->count;
    pthread_mutex_unlock(&c->mutex);
    return n;
}

void avow_conns_busy(struct avow_conns *c, int change)
{
    pthread_mutex_lock(&c->mutex);
    c->busy += change;
    pthread_mutex_unlock(&c->mutex);
}

void avow_conns_pause(struct avow_conns *c, unsigned ms)
{
    pthread_mutex_lock(&c->mutex);
    wait_ms(c, ms);
    pthread_mutex_unlock(&c->mutex);
}

void avow_conns_wait_idle(struct avow_conns *c, unsigned timeout_ms)
{
    uint64_t until = avow_clock_mono_ms() + timeout_ms;
    pthread_mutex_lock(&c->mutex);
    while (c->busy > 0 && avow_clock_mono_ms() < until)
        wait_ms(c, IDLE_POLL_MS);
    pthread_mutex_unlock(&c->mutex);
}
