#define _GNU_SOURCE /* pthread, sigset */
#include "enroll_job.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define SECRET_MAX 64u

struct avow_enroll_job {
    const struct avow_enroll_self *self;
    pthread_mutex_t lock; /* guards stage and why; the rest belongs to the thread while one runs */
    enum avow_enroll_stage stage;
    struct avow_err why;
    struct avow_enroll_challenge challenge;
    uint8_t secret[SECRET_MAX];
    size_t secret_len;
    pthread_t thread;
    bool threaded; /* `thread` is to be joined */
};

enum avow_rc avow_enroll_job_new(const struct avow_enroll_self *self, struct avow_enroll_job **out,
                                 struct avow_err *err)
{
    struct avow_enroll_job *j = calloc(1, sizeof *j);
    if (!j || pthread_mutex_init(&j->lock, NULL)) {
        free(j);
        return avow_err_set(err, AVOW_NOMEM, 0, "registration");
    }
    j->self = self;
    avow_enroll_challenge_init(&j->challenge);
    *out = j;
    return AVOW_OK;
}

static void join(struct avow_enroll_job *j)
{
    if (j->threaded)
        pthread_join(j->thread, NULL);
    j->threaded = false;
}

void avow_enroll_job_free(struct avow_enroll_job *j)
{
    if (!j)
        return;
    join(j);
    avow_enroll_challenge_deinit(&j->challenge);
    avow_wipe(j->secret, sizeof j->secret);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

static void finish(struct avow_enroll_job *j, enum avow_enroll_stage good, enum avow_rc rc,
                   const struct avow_err *why)
{
    pthread_mutex_lock(&j->lock);
    j->stage = rc ? AVOW_ENROLL_FAILED : good;
    if (rc)
        j->why = *why;
    pthread_mutex_unlock(&j->lock);
}

static void *ask(void *arg)
{
    struct avow_enroll_job *j = arg;
    struct avow_err why = {.rc = AVOW_OK};
    enum avow_rc rc = avow_enroll_register(j->self, &j->challenge, &why);
    finish(j, AVOW_ENROLL_CHALLENGED, rc, &why);
    return NULL;
}

static void *answer(void *arg)
{
    struct avow_enroll_job *j = arg;
    struct avow_err why = {.rc = AVOW_OK};
    enum avow_rc rc = avow_enroll_activate(j->self, j->challenge.version,
                                           avow_bytes_make(j->secret, j->secret_len), &why);
    avow_wipe(j->secret, sizeof j->secret);
    finish(j, AVOW_ENROLL_DONE, rc, &why);
    return NULL;
}

/* Signals stay with the main thread, whose poll they are to end. */
static enum avow_rc run(struct avow_enroll_job *j, enum avow_enroll_stage stage,
                        void *(*fn)(void *), struct avow_err *err)
{
    sigset_t all, old;
    join(j);
    j->stage = stage; /* no thread runs: no lock needed */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&j->thread, NULL, fn, j);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed) {
        j->stage = AVOW_ENROLL_FAILED;
        avow_err_set(&j->why, AVOW_NOMEM, failed, "no thread for the registration");
        return avow_err_set(err, AVOW_NOMEM, failed, "no thread for the registration");
    }
    j->threaded = true;
    return AVOW_OK;
}

enum avow_enroll_stage avow_enroll_job_stage(struct avow_enroll_job *j, struct avow_err *why)
{
    pthread_mutex_lock(&j->lock);
    enum avow_enroll_stage stage = j->stage;
    if (why && stage == AVOW_ENROLL_FAILED)
        *why = j->why;
    pthread_mutex_unlock(&j->lock);
    return stage;
}

enum avow_rc avow_enroll_job_start(struct avow_enroll_job *j, struct avow_err *err)
{
    enum avow_enroll_stage stage = avow_enroll_job_stage(j, NULL);
    if (stage == AVOW_ENROLL_ASKING || stage == AVOW_ENROLL_CHALLENGED ||
        stage == AVOW_ENROLL_ANSWERING)
        return avow_err_set(err, AVOW_STATE, 0, "a registration is running");
    return run(j, AVOW_ENROLL_ASKING, ask, err);
}

bool avow_enroll_job_is_running(struct avow_enroll_job *j)
{
    enum avow_enroll_stage stage = avow_enroll_job_stage(j, NULL);
    return stage == AVOW_ENROLL_ASKING || stage == AVOW_ENROLL_ANSWERING;
}

const struct avow_enroll_challenge *avow_enroll_job_challenge(struct avow_enroll_job *j)
{
    return avow_enroll_job_stage(j, NULL) == AVOW_ENROLL_CHALLENGED ? &j->challenge : NULL;
}

enum avow_rc avow_enroll_job_answer(struct avow_enroll_job *j, struct avow_bytes secret,
                                    struct avow_err *err)
{
    if (avow_enroll_job_stage(j, NULL) != AVOW_ENROLL_CHALLENGED)
        return avow_err_set(err, AVOW_STATE, 0, "no challenge is open");
    if (secret.len > sizeof j->secret)
        return avow_err_set(err, AVOW_LIMIT, 0, "secret of %zu bytes", secret.len);
    memcpy(j->secret, secret.ptr, secret.len);
    j->secret_len = secret.len;
    return run(j, AVOW_ENROLL_ANSWERING, answer, err);
}

void avow_enroll_job_give_up(struct avow_enroll_job *j, const struct avow_err *why)
{
    finish(j, AVOW_ENROLL_FAILED, AVOW_STATE, why);
}
