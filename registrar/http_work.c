#include "http_work.h"

#include "avow/base/cleanup.h"

#include <pthread.h>
#include <stdlib.h>

#include "avow/base/banned.h"

struct job {
    avow_work_fn fn;
    void *arg;
};

struct avow_work {
    pthread_mutex_t mutex;
    pthread_cond_t more;
    struct job *ring; /* depth */
    size_t depth, first, count;
    bool stop;
    pthread_t *threads;
    unsigned n_threads; /* running */
};

/* False: the thread is to end. */
static bool next_job(struct avow_work *w, struct job *out)
{
    pthread_mutex_lock(&w->mutex);
    while (!w->count && !w->stop)
        pthread_cond_wait(&w->more, &w->mutex);
    bool got = w->count > 0;
    if (got) {
        *out = w->ring[w->first];
        w->first = (w->first + 1) % w->depth;
        w->count--;
    }
    pthread_mutex_unlock(&w->mutex);
    return got;
}

static void *run(void *arg)
{
    struct avow_work *w = arg;
    struct job job;
    while (next_job(w, &job))
        job.fn(job.arg);
    return NULL;
}

enum avow_rc avow_work_new(unsigned threads, size_t depth, struct avow_work **out,
                           struct avow_err *err)
{
    struct avow_work *w = calloc(1, sizeof *w);
    if (!w)
        return avow_err_set(err, AVOW_NOMEM, 0, "work queue");
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->more, NULL);
    w->depth = depth;
    w->ring = calloc(depth, sizeof *w->ring);
    w->threads = calloc(threads, sizeof *w->threads);
    enum avow_rc rc =
        w->ring && w->threads ? AVOW_OK : avow_err_set(err, AVOW_NOMEM, 0, "work queue");
    for (unsigned i = 0; i < threads && !rc; i++) {
        int e = pthread_create(&w->threads[i], NULL, run, w);
        if (e)
            rc = avow_err_set(err, AVOW_IO, e, "cannot start a thread");
        else
            w->n_threads++;
    }
    if (rc) {
        avow_work_free(w);
        return rc;
    }
    *out = w;
    return AVOW_OK;
}

bool avow_work_push(struct avow_work *w, avow_work_fn fn, void *arg)
{
    pthread_mutex_lock(&w->mutex);
    bool fits = w->count < w->depth && !w->stop;
    if (fits) {
        w->ring[(w->first + w->count) % w->depth] = (struct job){fn, arg};
        w->count++;
        pthread_cond_signal(&w->more);
    }
    pthread_mutex_unlock(&w->mutex);
    return fits;
}

size_t avow_work_waiting(struct avow_work *w)
{
    pthread_mutex_lock(&w->mutex);
    size_t n = w->count;
    pthread_mutex_unlock(&w->mutex);
    return n;
}

void avow_work_free(struct avow_work *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->mutex);
    w->stop = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->mutex);
    for (unsigned i = 0; i < w->n_threads; i++)
        pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->mutex);
    free(w->ring);
    free(w->threads);
    free(w);
}
