#define _GNU_SOURCE /* pipe2, kill */
#include "child.h"

#include "cases.h"

#include "avow/base/num.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "avow/base/banned.h"

/* --- In the parent --- */

void child_open(struct child *c, const char *group, const char *transactional_id,
                unsigned session_ms)
{
    int in[2];
    int out[2];
    char session[16];
    (void)snprintf(session, sizeof(session), "%u", session_ms);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    (void)fflush(NULL);
    c->pid = fork();
    assert_true(c->pid >= 0);
    if (c->pid == 0) {
        (void)dup2(in[0], 0);
        (void)dup2(out[1], 1);
        execl(program_path, program_path, "child", world.topic, group, transactional_id, session,
              (char *)NULL);
        _exit(127);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    c->in = in[1];
    c->out = out[0];
}

void child_send(struct child *c, const char *command)
{
    size_t len = strlen(command);
    assert_int_equal(write(c->in, command, len), len);
    assert_int_equal(write(c->in, "\n", 1), 1);
}

void child_expect(struct child *c, const char *answer)
{
    char line[128];
    size_t n = 0;
    for (; n < sizeof(line) - 1; n++) {
        struct pollfd fd = {.fd = c->out, .events = POLLIN};
        if (poll(&fd, 1, (int)WAIT_MS) != 1 || read(c->out, &line[n], 1) != 1)
            fail_msg("the child does not answer");
        if (line[n] == '\n')
            break;
    }
    line[n] = '\0';
    assert_string_equal(line, answer);
}

void child_signal(struct child *c, int number)
{
    assert_int_equal(kill(c->pid, number), 0);
}

void child_kill(struct child *c)
{
    child_signal(c, SIGKILL);
    (void)waitpid(c->pid, NULL, 0);
    (void)close(c->in);
    (void)close(c->out);
}

/* --- In the child --- */

struct self {
    struct member m;
    struct avow_bus_producer *p;
};

static enum avow_rc obey(struct self *s, const char *command, struct avow_err *err)
{
    struct avow_bus_msg msg;
    uint64_t offset = 0;
    if (avow_cstr_eq(command, "join")) {
        while (s->m.owned == 0)
            (void)!avow_bus_poll(s->m.c, 50, &msg, NULL);
        return AVOW_OK;
    }
    if (avow_cstr_eq(command, "poll"))
        return avow_bus_poll(s->m.c, 100, &msg, err);
    if (avow_cstr_eq(command, "begin"))
        return avow_bus_txn_begin(s->p, err);
    if (avow_cstr_eq(command, "put")) {
        struct avow_bus_record rec = {.topic = world.topic, .value = avow_bytes_make("child", 5)};
        enum avow_rc rc = avow_bus_send(s->p, &rec, err);
        return rc ? rc : avow_bus_flush(s->p, 5000, err);
    }
    if (avow_str_starts(avow_str_from(command), "offsets ") &&
        avow_num_parse_u64(avow_str_from(command + 8), INT32_MAX, &offset)) {
        struct avow_bus_tp tp = {world.topic, 0, (int64_t)offset};
        return avow_bus_txn_send_offsets(s->p, s->m.c, &tp, 1, err);
    }
    if (avow_cstr_eq(command, "commit"))
        return avow_bus_txn_commit(s->p, 5000, err);
    return avow_err_set(err, AVOW_USAGE, 0, "what is \"%s\"?", command);
}

static void assigned(void *arg, const int32_t *partitions, size_t n)
{
    (void)partitions;
    ((struct self *)arg)->m.owned = n;
}

static void revoked(void *arg, const int32_t *partitions, size_t n, bool lost)
{
    (void)partitions;
    (void)n;
    (void)lost;
    ((struct self *)arg)->m.owned = 0;
}

int child_main(int argc, char **argv)
{
    struct self s = {{0}, NULL};
    struct avow_err err = {0};
    uint64_t session = 0;
    if (argc != 6 || !avow_num_parse_u64(avow_str_from(argv[5]), 60000, &session) ||
        !world_open(getenv("AVOW_TEST_KAFKA")))
        return 2;
    (void)avow_str_copy(world.topic, sizeof(world.topic), avow_str_from(argv[2]));
    const char *topics[] = {world.topic};
    struct avow_bus_producer_opts po = {
        .transactional_id = argv[4], .txn_timeout_ms = 30000, .topics = topics, .n_topics = 1};
    struct avow_bus_consumer_opts co = {.group = argv[3],
                                        .subscribe = world.topic,
                                        .session_timeout_ms = (unsigned)session,
                                        .rebalance = {&s, assigned, revoked},
                                        .isolation = AVOW_BUS_READ_COMMITTED};
    if (avow_bus_producer_new(world.bus, &po, &s.p, &err) ||
        avow_bus_consumer_new(world.bus, &co, &s.m.c, &err)) {
        fprintf(stderr, "child: %s\n", err.msg);
        return 2;
    }
    char line[64];
    while (fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = '\0';
        err = (struct avow_err){0};
        enum avow_rc rc = obey(&s, line, &err);
        if (rc && getenv("AVOW_TEST_LOG"))
            fprintf(stderr, "child: %s: %s\n", line, err.msg);
        printf("%s\n", avow_rc_text(rc));
        (void)fflush(stdout);
    }
    return 0;
}
