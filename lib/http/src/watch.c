/* watch.c - see avow/http/watch.h. */
#define _GNU_SOURCE /* accept4, eventfd, memmem */
#include "avow/http/watch.h"

#include "avow/base/clock.h"
#include "avow/http/listen.h"
#include "avow/http/prom.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define TEXT_TYPE "text/plain; charset=utf-8"

struct connection {
    int fd; /* -1: free */
    uint64_t until_ms;
    char request[AVOW_WATCH_REQUEST_MAX];
    size_t request_len;
    struct avow_buf answer; /* empty while the request is read */
    size_t sent;
};
struct avow_watch {
    struct avow_watch_opts o;
    int listener, wake; /* wake: readable when the thread is to end */
    unsigned port;
    pthread_t thread;
    struct connection connections[AVOW_WATCH_CONNECTIONS];
};

/* --- Answers --- */

static void put_answer(struct connection *c, const char *status, const char *type,
                       struct avow_bytes body, bool with_body)
{
    avow_buf_printf(&c->answer,
                    "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                    "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                    status, type, body.len);
    if (with_body)
        avow_buf_put(&c->answer, body.ptr, body.len);
}

static void refuse(struct connection *c, const char *status)
{
    char line[64];
    snprintf(line, sizeof line, "%s\n", status);
    put_answer(c, status, TEXT_TYPE, avow_bytes_make(line, strlen(line)), true);
}

static bool word_is(const char *at, size_t len, const char *word)
{
    return avow_str_is((struct avow_str){at, len}, word);
}

/* The function for a path; NULL: there is none. */
static bool (*find(const struct avow_watch *w, const char *path, size_t len))(void *,
                                                                              struct avow_buf *)
{
    const char *query = memchr(path, '?', len);
    if (query)
        len = (size_t)(query - path);
    if (word_is(path, len, "/metrics"))
        return w->o.metrics;
    if (word_is(path, len, "/healthz"))
        return w->o.healthy;
    return word_is(path, len, "/readyz") ? w->o.ready : NULL;
}

/* The first line of the request: method, target, version. */
static void answer(struct avow_watch *w, struct connection *c)
{
    const char *line = c->request;
    const char *end = memchr(line, '\r', c->request_len);
    const char *space = end ? memchr(line, ' ', (size_t)(end - line)) : NULL;
    const char *target = space ? space + 1 : NULL;
    const char *after = target ? memchr(target, ' ', (size_t)(end - target)) : NULL;
    if (!after ||
        !avow_str_starts((struct avow_str){after + 1, (size_t)(end - after - 1)}, "HTTP/1.")) {
        refuse(c, "400 Bad Request");
        return;
    }
    bool head = word_is(line, (size_t)(space - line), "HEAD");
    bool (*fn)(void *, struct avow_buf *) = find(w, target, (size_t)(after - target));
    if (!fn) {
        refuse(c, "404 Not Found");
    } else if (!head && !word_is(line, (size_t)(space - line), "GET")) {
        refuse(c, "405 Method Not Allowed");
    } else {
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf body;
        avow_buf_init(&body, AVOW_WATCH_ANSWER_MAX);
        bool fine = fn(w->o.arg, &body) && !body.failed;
        put_answer(c, fine ? "200 OK" : "503 Service Unavailable",
                   fn == w->o.metrics ? AVOW_PROM_CONTENT_TYPE : TEXT_TYPE, avow_buf_bytes(&body),
                   !head);
    }
}

/* --- Connections --- */

static void drop(struct connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    avow_buf_deinit(&c->answer);
}

static struct connection *free_one(struct avow_watch *w)
{
    for (size_t i = 0; i < AVOW_WATCH_CONNECTIONS; i++) {
        if (w->connections[i].fd < 0)
            return &w->connections[i];
    }
    return NULL;
}

static void accept_one(struct avow_watch *w)
{
    struct connection *c = free_one(w);
    int fd = c ? accept4(w->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;
    if (fd < 0)
        return; /* out of descriptors for now, or the peer has gone */
    c->fd = fd;
    c->until_ms = avow_clock_mono_ms() + w->o.patience_ms;
    c->request_len = c->sent = 0;
    avow_buf_init(&c->answer, AVOW_WATCH_ANSWER_MAX + AVOW_WATCH_REQUEST_MAX);
}

static void send_more(struct connection *c)
{
    ssize_t n = send(c->fd, c->answer.ptr + c->sent, c->answer.len - c->sent, MSG_NOSIGNAL);
    if (n > 0)
        c->sent += (size_t)n;
    else if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || c->sent == c->answer.len)
        drop(c);
}

static void read_more(struct avow_watch *w, struct connection *c)
{
    ssize_t n =
        recv(c->fd, c->request + c->request_len, sizeof c->request - c->request_len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop(c);
        return;
    }
    c->request_len += (size_t)n;
    bool whole = memmem(c->request, c->request_len, "\r\n\r\n", 4) != NULL;
    if (!whole && c->request_len < sizeof c->request)
        return;
    if (whole)
        answer(w, c);
    else
        refuse(c, "431 Request Header Fields Too Large");
    c->until_ms = avow_clock_mono_ms() + w->o.patience_ms;
    if (c->answer.failed || !c->answer.len)
        drop(c);
    else
        send_more(c);
}

/* Milliseconds until the first connection has had its time; -1: there is none. */
static int drop_late(struct avow_watch *w)
{
    int wait = -1;
    uint64_t now = avow_clock_mono_ms();
    for (size_t i = 0; i < AVOW_WATCH_CONNECTIONS; i++) {
        struct connection *c = &w->connections[i];
        if (c->fd < 0)
            continue;
        if (now >= c->until_ms) {
            drop(c);
            continue;
        }
        int left = (int)(c->until_ms - now);
        wait = wait < 0 || left < wait ? left : wait;
    }
    return wait;
}

/* One round; false: the end is asked for. */
static bool serve(struct avow_watch *w)
{
    struct pollfd fds[2 + AVOW_WATCH_CONNECTIONS];
    int wait = drop_late(w);
    fds[0] = (struct pollfd){.fd = w->wake, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = free_one(w) ? w->listener : -1, .events = POLLIN};
    for (size_t i = 0; i < AVOW_WATCH_CONNECTIONS; i++)
        fds[2 + i] = (struct pollfd){.fd = w->connections[i].fd,
                                     .events = w->connections[i].answer.len ? POLLOUT : POLLIN};
    if (poll(fds, AVOW_ARRAY_LEN(fds), wait) < 0)
        return errno == EINTR || errno == EAGAIN;
    if (fds[0].revents)
        return false;
    for (size_t i = 0; i < AVOW_WATCH_CONNECTIONS; i++) {
        struct connection *c = &w->connections[i];
        if (!fds[2 + i].revents)
            continue;
        if (c->answer.len)
            send_more(c);
        else
            read_more(w, c);
    }
    if (fds[1].revents)
        accept_one(w);
    return true;
}

static void *run(void *arg)
{
    while (serve(arg)) {
    }
    return NULL;
}

/* --- Life --- */

static void release(struct avow_watch *w)
{
    for (size_t i = 0; i < AVOW_WATCH_CONNECTIONS; i++)
        drop(&w->connections[i]);
    if (w->listener >= 0)
        close(w->listener);
    if (w->wake >= 0)
        close(w->wake);
    free(w);
}

/* Signals are for the daemon's own threads. */
static int start_thread(struct avow_watch *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

enum avow_rc avow_watch_start(const struct avow_watch_opts *opts, struct avow_watch **out,
                              struct avow_err *err)
{
    struct avow_watch *w = calloc(1, sizeof *w);
    if (!w)
        return avow_err_set(err, AVOW_NOMEM, 0, "metrics.listen");
    w->o = *opts;
    if (!w->o.patience_ms)
        w->o.patience_ms = AVOW_WATCH_MS;
    w->listener = w->wake = -1;
    for (size_t i = 0; i < AVOW_WATCH_CONNECTIONS; i++)
        w->connections[i].fd = -1;
    enum avow_rc rc = avow_listen_open(opts->listen, &w->listener, &w->port, err);
    if (!rc && (w->wake = eventfd(0, EFD_CLOEXEC)) < 0)
        rc = avow_err_set(err, AVOW_IO, errno, "eventfd: %s", strerror(errno));
    int failed = rc ? 0 : start_thread(w);
    if (failed)
        rc = avow_err_set(err, AVOW_NOMEM, failed, "thread: %s", strerror(failed));
    if (rc) {
        release(w);
        return rc;
    }
    *out = w;
    return AVOW_OK;
}

unsigned avow_watch_port(const struct avow_watch *w)
{
    return w->port;
}

void avow_watch_stop(struct avow_watch *w)
{
    const uint64_t one = 1;
    if (!w)
        return;
    while (write(w->wake, &one, sizeof one) < 0 && errno == EINTR) {
    }
    pthread_join(w->thread, NULL);
    release(w);
}
