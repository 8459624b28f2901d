/* threads.c - see threads.h. */
#include "threads.h"

#include "avow/base/cli.h"
#include "avow/base/clock.h"
#include "avow/base/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "avow/base/banned.h"

#define POLL_MS 20u
#define MEANWHILE_MS 250u

struct group { /* shared by the threads */
    atomic_bool ended;
    atomic_uint failures; /* threads that failed so far */
};
struct thread {
    struct group *group;
    struct avow_worker_opts opts;
    struct avow_bus *bus; /* owned */
    pthread_t id;
    unsigned order; /* of its failure, from 1; 0: none */
    struct avow_err err;
};

static enum avow_rc loop(struct thread *t, struct avow_worker *w)
{
    enum avow_rc rc = AVOW_OK;
    while (!rc && !avow_stop_requested() && !atomic_load(&t->group->ended))
        rc = avow_worker_tick(w, POLL_MS, &t->err);
    return rc ? rc : avow_worker_stop(w, &t->err);
}

static void *run(void *arg)
{
    struct thread *t = arg;
    AVOW_CLEANUP(avow_worker_free) struct avow_worker *w = NULL;
    enum avow_rc rc = avow_worker_new(&t->opts, &w, &t->err);
    if (!rc)
        rc = loop(t, w);
    if (rc) {
        t->order = atomic_fetch_add(&t->group->failures, 1) + 1;
        atomic_store(&t->group->ended, true);
    }
    return NULL;
}

static enum avow_rc start(const struct avow_threads_opts *opts, struct thread *threads,
                          struct group *group, unsigned *started, struct avow_err *err)
{
    for (unsigned i = 0; i < opts->count; i++) {
        struct thread *t = &threads[i];
        *t = (struct thread){.group = group, .opts = opts->worker};
        enum avow_rc rc = opts->new_bus(opts->arg, &t->bus, err);
        if (rc)
            return rc;
        t->opts.bus = t->bus;
        t->opts.thread = i;
        t->opts.meter = avow_meter_slot(opts->meter, i);
        int failed = pthread_create(&t->id, NULL, run, t);
        if (failed)
            return avow_err_set(err, AVOW_NOMEM, failed, "cannot start worker thread %u", i);
        *started = i + 1;
    }
    return AVOW_OK;
}

/* The first failure is the cause; what came after it may be its effect. */
static enum avow_rc first_failure(const struct thread *threads, unsigned n, struct avow_err *err)
{
    for (unsigned i = 0; i < n; i++) {
        if (threads[i].order > 1)
            avow_log(WARN, "thread_failed", AVOW_KV_U64("thread", i), AVOW_KV_ERR(&threads[i].err));
    }
    for (unsigned i = 0; i < n; i++) {
        if (threads[i].order == 1) {
            *err = threads[i].err;
            return err->rc;
        }
    }
    return AVOW_OK;
}

enum avow_rc avow_threads_run(const struct avow_threads_opts *opts, struct avow_err *err)
{
    struct group group = {.ended = false};
    unsigned started = 0;
    struct thread *threads = calloc(opts->count, sizeof *threads);
    if (!threads)
        return avow_err_set(err, AVOW_NOMEM, 0, "worker threads");
    enum avow_rc rc = start(opts, threads, &group, &started, err);
    if (rc)
        atomic_store(&group.ended, true);
    while (opts->meanwhile && !avow_stop_requested() && !atomic_load(&group.ended)) {
        opts->meanwhile(opts->arg);
        avow_clock_sleep_ms(MEANWHILE_MS);
    }
    for (unsigned i = 0; i < started; i++)
        (void)pthread_join(threads[i].id, NULL);
    if (!rc)
        rc = first_failure(threads, started, err);
    for (unsigned i = 0; i < opts->count; i++)
        avow_bus_free(threads[i].bus);
    free(threads);
    return rc;
}
