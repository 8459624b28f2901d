#define _GNU_SOURCE /* pipe2, posix_spawn_file_actions_addclosefrom_np */
#include "enroll_job.h"

#include "pipe_io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "avow/base/banned.h"

/* Three requests of 10 s each (PROTOCOL B6), and time to start and to stop. */
#define DEADLINE_MS 45000u

struct avow_enroll_job {
    const struct avow_enroll_self *self;
    const char *program;
    enum avow_enroll_stage stage;
    struct avow_err why;
    struct avow_enroll_challenge challenge;
    pid_t pid;    /* 0: no process */
    int to, from; /* its stdin and stdout, -1: closed */
    uint64_t deadline_ms;
    struct avow_buf in;
};

enum avow_rc avow_enroll_job_new(const struct avow_enroll_self *self, const char *program,
                                 struct avow_enroll_job **out, struct avow_err *err)
{
    struct avow_enroll_job *j = calloc(1, sizeof *j);
    if (!j)
        return avow_err_set(err, AVOW_NOMEM, 0, "registration");
    j->self = self;
    j->program = program;
    j->to = j->from = -1;
    avow_buf_init(&j->in, 4 + AVOW_ENROLL_MESSAGE_MAX);
    avow_enroll_challenge_init(&j->challenge);
    *out = j;
    return AVOW_OK;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* It holds nothing that would have to be put in order, so it is killed, and is gone at once. */
static void end_process(struct avow_enroll_job *j)
{
    close_fd(&j->to);
    close_fd(&j->from);
    if (j->pid > 0) {
        kill(j->pid, SIGKILL);
        while (waitpid(j->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    j->pid = 0;
    avow_buf_deinit(&j->in); /* not needed for hours */
}

void avow_enroll_job_free(struct avow_enroll_job *j)
{
    if (!j)
        return;
    end_process(j);
    avow_enroll_challenge_deinit(&j->challenge);
    free(j);
}

static void fail(struct avow_enroll_job *j, const struct avow_err *why)
{
    end_process(j);
    j->stage = AVOW_ENROLL_FAILED;
    j->why = *why;
}

/* --- The process --- */

struct pipes {
    int child_in, to, from, child_out;
};

static void close_pipes(struct pipes *p)
{
    close_fd(&p->child_in);
    close_fd(&p->to);
    close_fd(&p->from);
    close_fd(&p->child_out);
}

static enum avow_rc open_pipes(struct pipes *p, struct avow_err *err)
{
    int in[2], out[2];
    *p = (struct pipes){-1, -1, -1, -1};
    if (pipe2(in, O_CLOEXEC))
        return avow_err_set(err, AVOW_IO, errno, "pipe: %s", strerror(errno));
    p->child_in = in[0];
    p->to = in[1];
    if (pipe2(out, O_CLOEXEC)) {
        enum avow_rc rc = avow_err_set(err, AVOW_IO, errno, "pipe: %s", strerror(errno));
        close_pipes(p);
        return rc;
    }
    p->from = out[0];
    p->child_out = out[1];
    return AVOW_OK;
}

/* Our signal mask and handlers are not the process's business; descriptors and the environment, in
 * which there may be passwords, even less. */
static int spawn(struct avow_enroll_job *j, const struct pipes *p)
{
    char name[] = "avow-agent-register";
    char *const args[] = {name, NULL};
    char *const environment[] = {NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    if (posix_spawn_file_actions_init(&files))
        return ENOMEM;
    if (posix_spawnattr_init(&attr)) {
        posix_spawn_file_actions_destroy(&files);
        return ENOMEM;
    }
    int failed = posix_spawn_file_actions_adddup2(&files, p->child_in, STDIN_FILENO);
    if (!failed)
        failed = posix_spawn_file_actions_adddup2(&files, p->child_out, STDOUT_FILENO);
    if (!failed)
        failed = posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
    if (!failed)
        failed = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (!failed)
        failed = posix_spawnattr_setsigmask(&attr, &none);
    if (!failed)
        failed = posix_spawnattr_setsigdefault(&attr, &all);
    if (!failed)
        failed = posix_spawn(&j->pid, j->program, &files, &attr, args, environment);
    if (failed)
        j->pid = 0;
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return failed;
}

static enum avow_rc start_process(struct avow_enroll_job *j, struct avow_err *err)
{
    struct pipes p;
    enum avow_rc rc = open_pipes(&p, err);
    if (rc)
        return rc;
    int failed = spawn(j, &p);
    /* A process that hangs must not hang the agent: the pipe takes a whole request, or it fails. */
    (void)fcntl(p.to, F_SETPIPE_SZ, (int)(2 * AVOW_ENROLL_MESSAGE_MAX));
    if (!failed && (fcntl(p.from, F_SETFL, O_NONBLOCK) || fcntl(p.to, F_SETFL, O_NONBLOCK)))
        failed = errno;
    j->to = p.to;
    j->from = p.from;
    p.to = p.from = -1;
    close_pipes(&p);
    if (failed)
        return avow_err_set(err, AVOW_IO, failed, "%s: %s; is avow-agent installed completely?",
                            j->program, strerror(failed));
    return AVOW_OK;
}

static enum avow_rc send_request(struct avow_enroll_job *j, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf out;
    avow_buf_init(&out, AVOW_ENROLL_MESSAGE_MAX);
    enum avow_rc rc = avow_enroll_put_request(j->self, &out, err);
    return rc ? rc : avow_pipe_write(j->to, avow_buf_bytes(&out), err);
}

enum avow_rc avow_enroll_job_start(struct avow_enroll_job *j, uint64_t now_ms, struct avow_err *err)
{
    struct avow_err why = {.rc = AVOW_OK};
    if (j->stage == AVOW_ENROLL_ASKING || j->stage == AVOW_ENROLL_CHALLENGED ||
        j->stage == AVOW_ENROLL_ANSWERING)
        return avow_err_set(err, AVOW_STATE, 0, "a registration is running");
    end_process(j);
    j->stage = AVOW_ENROLL_ASKING;
    j->deadline_ms = now_ms + DEADLINE_MS;
    enum avow_rc rc = start_process(j, &why);
    if (!rc)
        rc = send_request(j, &why);
    if (!rc)
        return AVOW_OK;
    fail(j, &why);
    return avow_err_set(err, rc, why.native, "%s", why.msg);
}

/* --- The exchange --- */

static void take_reply(struct avow_enroll_job *j)
{
    bool asking = j->stage == AVOW_ENROLL_ASKING;
    struct avow_err why = {.rc = AVOW_OK};
    enum avow_rc rc =
        avow_enroll_parse_reply(avow_pipe_message(&j->in), asking ? &j->challenge : NULL, &why);
    avow_buf_reset(&j->in);
    if (rc) {
        fail(j, &why);
    } else if (asking) {
        j->stage = AVOW_ENROLL_CHALLENGED;
    } else {
        end_process(j);
        j->stage = AVOW_ENROLL_DONE;
    }
}

static void look(struct avow_enroll_job *j, uint64_t now_ms)
{
    struct avow_err why = {.rc = AVOW_OK};
    bool done = false;
    enum avow_rc rc = avow_pipe_read(j->from, &j->in, &done, &why);
    if (rc == AVOW_NOTFOUND)
        rc = avow_err_set(&why, AVOW_IO, 0, "the registration process has died");
    if (!rc && !done && now_ms >= j->deadline_ms)
        rc = avow_err_set(&why, AVOW_UNREACHABLE, 0, "the registrar did not answer within %u s",
                          DEADLINE_MS / 1000);
    if (rc)
        fail(j, &why);
    else if (done)
        take_reply(j);
}

enum avow_enroll_stage avow_enroll_job_stage(struct avow_enroll_job *j, uint64_t now_ms,
                                             struct avow_err *why)
{
    if (j->stage == AVOW_ENROLL_ASKING || j->stage == AVOW_ENROLL_ANSWERING)
        look(j, now_ms);
    if (why && j->stage == AVOW_ENROLL_FAILED)
        *why = j->why;
    return j->stage;
}

const struct avow_enroll_challenge *avow_enroll_job_challenge(const struct avow_enroll_job *j)
{
    return j->stage == AVOW_ENROLL_CHALLENGED ? &j->challenge : NULL;
}

enum avow_rc avow_enroll_job_answer(struct avow_enroll_job *j, struct avow_bytes secret,
                                    struct avow_err *err)
{
    struct avow_err why = {.rc = AVOW_OK};
    if (j->stage != AVOW_ENROLL_CHALLENGED)
        return avow_err_set(err, AVOW_STATE, 0, "no challenge is open");
    enum avow_rc rc = secret.len > AVOW_ENROLL_SECRET_MAX
                          ? avow_err_set(&why, AVOW_LIMIT, 0, "secret of %zu bytes", secret.len)
                          : avow_pipe_write(j->to, secret, &why);
    if (!rc) {
        j->stage = AVOW_ENROLL_ANSWERING;
        return AVOW_OK;
    }
    fail(j, &why);
    return avow_err_set(err, rc, why.native, "%s", why.msg);
}

void avow_enroll_job_give_up(struct avow_enroll_job *j, const struct avow_err *why)
{
    fail(j, why);
}
