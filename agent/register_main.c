/* register_main.c - avow-agent-register: one registration with a registrar, on behalf of
 * avow-agent, which starts it and speaks to it over stdin and stdout (enroll_pipe.h). */
#include "avow/base/cleanup.h"
#include "avow/base/cli.h"
#include "enroll_client.h"
#include "pipe_io.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "avow/base/banned.h"

static enum avow_rc read_message(struct avow_buf *in, struct avow_err *err)
{
    bool done = false;
    avow_buf_reset(in);
    enum avow_rc rc = AVOW_OK;
    while (!rc && !done)
        rc = avow_pipe_read(STDIN_FILENO, in, &done, err);
    return rc;
}

static enum avow_rc reply(const struct avow_err *failure, const struct avow_enroll_challenge *c)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf out;
    avow_buf_init(&out, AVOW_ENROLL_MESSAGE_MAX);
    enum avow_rc rc = avow_enroll_put_reply(failure, c, &out, NULL);
    return rc ? rc : avow_pipe_write(STDOUT_FILENO, avow_buf_bytes(&out), NULL);
}

/* The agent has opened the challenge, or has given up. */
static enum avow_rc answer(const struct avow_enroll_self *self, const char *version)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf in;
    struct avow_err err = {.rc = AVOW_OK};
    avow_buf_init(&in, 4 + AVOW_ENROLL_SECRET_MAX);
    enum avow_rc rc = read_message(&in, &err);
    if (rc)
        return rc;
    rc = avow_enroll_activate(self, version, avow_pipe_message(&in), &err);
    avow_wipe(in.ptr, in.cap);
    return reply(rc ? &err : NULL, NULL);
}

int main(void)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf in;
    AVOW_CLEANUP_VAL(avow_enroll_challenge_deinit) struct avow_enroll_challenge challenge;
    struct avow_enroll_self self;
    struct avow_err err = {.rc = AVOW_OK};
    avow_enroll_challenge_init(&challenge);
    avow_buf_init(&in, 4 + AVOW_ENROLL_MESSAGE_MAX);
    if (isatty(STDIN_FILENO)) {
        fputs("avow-agent-register is started by avow-agent, not by people\n", stderr);
        return AVOW_EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN); /* the agent may have gone */
    enum avow_rc rc = read_message(&in, &err);
    if (!rc)
        rc = avow_enroll_parse_request(avow_pipe_message(&in), &self, &err);
    if (!rc)
        rc = avow_enroll_register(&self, &challenge, &err);
    if (reply(rc ? &err : NULL, rc ? NULL : &challenge))
        return AVOW_EXIT_FAILED;
    if (!rc)
        rc = answer(&self, challenge.version);
    return (int)avow_exit_of(rc);
}
