/* The operator's own check of an EK (ek_script.h). */
#include "ek_script.h"

#include "avow/base/clock.h"
#include "avow/base/hex.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define ENV_MAX (64u * 1024u)
#define VARIABLES 6u
#define STEP_MS 200u /* between two looks at whether it goes on */

struct child {
    pid_t pid;  /* also of its group; 0: none */
    int pid_fd; /* -1: none */
    int out_fd; /* -1: none, or its end was read */
};

struct output {
    char text[AVOW_SCRIPT_OUTPUT_MAX + 1];
    size_t len; /* what comes beyond is read and dropped: a full pipe would stop the script */
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* The leader stays a zombie until its group is dead, so the group's number cannot be another's. */
static void child_deinit(struct child *c)
{
    if (c->pid > 0) {
        kill(-c->pid, SIGKILL);
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    close_fd(&c->pid_fd);
    close_fd(&c->out_fd);
}

/* NAME=value, NUL-terminated, one after another in `env`. */
static enum avow_rc make_env(const struct avow_script_call *call, struct avow_buf *env,
                             char *list[VARIABLES + 1], struct avow_err *err)
{
    size_t starts[VARIABLES];
    struct avow_bytes rest = call->claim->ek_certs, cert = {0};
    (void)avow_certs_next(&rest, &cert);
    for (size_t i = 0; i < VARIABLES; i++) {
        enum avow_rc rc = AVOW_OK;
        starts[i] = env->len;
        switch (i) {
        case 0:
            avow_buf_printf(env, "AGENT_UUID=%.*s", (int)call->id.len, call->id.ptr);
            break;
        case 1:
            avow_buf_put_str(env, "EK=");
            rc = avow_pubkey_pem(avow_ek_key(call->ek), env, err);
            break;
        case 2:
            avow_buf_put_str(env, "EK_TPM=");
            avow_buf_put_base64(env, call->claim->ek_public);
            break;
        case 3:
            avow_buf_put_str(env, "EK_CERT=");
            avow_buf_put_base64(env, cert);
            break;
        case 4:
            avow_buf_put_str(env, "PROVKEYS={}");
            break;
        default:
            avow_buf_printf(env, "TPM_CERT_STORE=%s",
                            call->ek_cert_store ? call->ek_cert_store : "");
        }
        if (rc)
            return rc;
        avow_buf_put_u8(env, 0);
    }
    enum avow_rc rc = avow_buf_status(env, err);
    for (size_t i = 0; i < VARIABLES && !rc; i++)
        list[i] = (char *)env->ptr + starts[i];
    list[VARIABLES] = NULL;
    return rc;
}

/* Nothing of ours is inherited: descriptors of the database and of clients, blocked and ignored
 * signals, the working directory. */
static int set_up(posix_spawn_file_actions_t *files, posix_spawnattr_t *attr, int out)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int e = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
    if (!e)
        e = posix_spawn_file_actions_adddup2(files, out, 1);
    if (!e)
        e = posix_spawn_file_actions_adddup2(files, out, 2);
    if (!e)
        e = posix_spawn_file_actions_addclosefrom_np(files, 3);
    if (!e)
        e = posix_spawn_file_actions_addchdir_np(files, "/");
    if (!e)
        e = posix_spawnattr_setsigmask(attr, &none);
    if (!e)
        e = posix_spawnattr_setsigdefault(attr, &all);
    if (!e)
        e = posix_spawnattr_setpgroup(attr, 0);
    if (!e)
        e = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                               POSIX_SPAWN_SETPGROUP);
    return e;
}

static enum avow_rc spawn(const char *path, char *const env[], struct child *c,
                          struct avow_err *err)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    int pipe_fds[2];
    char name[4096];
    int n = snprintf(name, sizeof name, "%s", path);
    char *const argv[] = {name, NULL};
    if (n < 0 || (size_t)n >= sizeof name)
        return avow_err_set(err, AVOW_IO, 0, "check script: path too long");
    if (pipe2(pipe_fds, O_CLOEXEC))
        return avow_err_set(err, AVOW_IO, errno, "check script: %s", strerror(errno));
    c->out_fd = pipe_fds[0];
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    int e = set_up(&files, &attr, pipe_fds[1]);
    if (!e)
        e = posix_spawn(&c->pid, path, &files, &attr, argv, env);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    close(pipe_fds[1]);
    if (e) {
        c->pid = 0;
        return avow_err_set(err, AVOW_IO, e, "check script %s: %s", path, strerror(e));
    }
    c->pid_fd = pidfd_open(c->pid, 0);
    return c->pid_fd >= 0 ? AVOW_OK
                          : avow_err_set(err, AVOW_IO, errno, "check script: %s", strerror(errno));
}

static void read_output(struct child *c, struct output *o)
{
    char part[512];
    ssize_t n = read(c->out_fd, part, sizeof part);
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
        close_fd(&c->out_fd);
    for (ssize_t i = 0; i < n && o->len < AVOW_SCRIPT_OUTPUT_MAX; i++)
        o->text[o->len++] = part[i];
}

/* Until the leader ends. What a descendant that outlives it holds open is not waited for. */
static enum avow_rc watch(struct child *c, const struct avow_script_call *call, struct output *o,
                          struct avow_err *err)
{
    uint64_t end_ms = avow_clock_mono_ms() + call->timeout_ms;
    for (;;) {
        uint64_t now_ms = avow_clock_mono_ms();
        struct pollfd fds[] = {{.fd = c->out_fd, .events = POLLIN},
                               {.fd = c->pid_fd, .events = POLLIN}};
        if (now_ms >= end_ms)
            return avow_err_set(err, AVOW_TIMEOUT, 0, "check script: not done after %u ms",
                                call->timeout_ms);
        if (call->cancel && atomic_load(call->cancel))
            return avow_err_set(err, AVOW_STATE, 0, "check script: stopping");
        if (poll(fds, 2, (int)(end_ms - now_ms < STEP_MS ? end_ms - now_ms : STEP_MS)) < 0 &&
            errno != EINTR)
            return avow_err_set(err, AVOW_IO, errno, "check script: %s", strerror(errno));
        if (fds[0].revents)
            read_output(c, o); /* before its end is looked at: its last words are in the pipe */
        else if (fds[1].revents)
            return AVOW_OK;
    }
}

static enum avow_rc reap(struct child *c, int *status, struct avow_err *err)
{
    kill(-c->pid, SIGKILL);
    pid_t got;
    while ((got = waitpid(c->pid, status, 0)) < 0 && errno == EINTR)
        continue;
    c->pid = 0;
    return got >= 0 ? AVOW_OK
                    : avow_err_set(err, AVOW_IO, errno, "check script: %s", strerror(errno));
}

static void report(int status, struct output *o, struct avow_script_result *out)
{
    o->text[o->len] = '\0';
    o->text[strcspn(o->text, "\r\n")] = '\0';
    const char *colon = o->text[0] ? ": " : "";
    out->passed = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (WIFEXITED(status))
        snprintf(out->reason, sizeof out->reason, "the check script ended with status %d%s%s",
                 WEXITSTATUS(status), colon, o->text);
    else
        snprintf(out->reason, sizeof out->reason, "the check script ended by signal %d%s%s",
                 WTERMSIG(status), colon, o->text);
}

enum avow_rc avow_script_run(const struct avow_script_call *call, struct avow_script_result *out,
                             struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf env;
    AVOW_CLEANUP_VAL(child_deinit) struct child child = {.pid_fd = -1, .out_fd = -1};
    struct output output = {.len = 0};
    char *list[VARIABLES + 1];
    int status = 0;
    avow_buf_init(&env, ENV_MAX);
    enum avow_rc rc = make_env(call, &env, list, err);
    if (!rc)
        rc = spawn(call->path, list, &child, err);
    if (!rc)
        rc = watch(&child, call, &output, err);
    if (!rc)
        rc = reap(&child, &status, err);
    if (!rc)
        report(status, &output, out);
    return rc;
}
