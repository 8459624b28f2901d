/* devbroker.c - avow-devbroker through the bus: what the demo relies on. First argument: the
 * program. */
#define _GNU_SOURCE /* mkdtemp, kill */
#include "avow/base/clock.h"
#include "avow/base/file.h"
#include "avow/base/log.h"
#include "avow/bus/topics.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define WAIT_MS 20000u

static const char *program;
static struct {
    pid_t pid;
    char folder[64];
    char ready[96];
    char address[64];
    struct avow_bus *bus;
} broker;

static pid_t start(const char *port, const char *ready)
{
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)!freopen("/dev/null", "w", stderr);
        execl(program, program, "--port", port, "--partitions", "3", "--prefix", "t.",
              "--ready-file", ready, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static int setup(void **state)
{
    (void)state;
    struct avow_buf line;
    struct avow_err err = {0};
    avow_buf_init(&line, sizeof(broker.address) - 1);
    (void)snprintf(broker.folder, sizeof(broker.folder), "/tmp/avow-test-devbroker-XXXXXX");
    if (!mkdtemp(broker.folder))
        return -1;
    (void)snprintf(broker.ready, sizeof(broker.ready), "%s/ready", broker.folder);
    broker.pid = start("0", broker.ready);
    uint64_t begin = avow_clock_mono_ms();
    while (!avow_file_exists(broker.ready) && avow_clock_mono_ms() - begin < WAIT_MS)
        avow_clock_sleep_ms(10);
    if (avow_file_read(broker.ready, &line, &err))
        return -1;
    (void)avow_str_copy(broker.address, sizeof(broker.address),
                        (struct avow_str){(const char *)line.ptr, line.len - 1});
    avow_buf_deinit(&line);
    struct avow_bus_property kv = {"bootstrap.servers", broker.address};
    return avow_bus_kafka_new(&kv, 1, "test", &broker.bus, &err) ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    int status = -1;
    avow_bus_free(broker.bus);
    (void)kill(broker.pid, SIGTERM);
    (void)waitpid(broker.pid, &status, 0);
    bool left = avow_file_exists(broker.ready);
    (void)rmdir(broker.folder);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 && !left ? 0 : -1;
}

static void test_devbroker__its_cluster_id__says_mock(void **state)
{
    (void)state;
    bool mock = false;
    struct avow_err err = {0};
    if (avow_bus_is_mock(broker.bus, WAIT_MS, &mock, &err))
        fail_msg("%s", err.msg);
    assert_true(mock);
}

static void count_fine(void *arg, const struct avow_topic_report *r)
{
    if (r->differs)
        fail_msg("%s %s", r->topic, r->text);
    (*(size_t *)arg)++;
}

static void ignore(void *arg, const struct avow_topic_report *r)
{
    (void)arg;
    (void)r;
}

static void test_devbroker__topics__are_there_and_no_others_appear(void **state)
{
    (void)state;
    size_t want = 0;
    size_t fine = 0;
    uint32_t n = 0;
    struct avow_err err = {0};
    (void)avow_topic_defs(&want);
    assert_int_equal(avow_topics_apply(broker.bus, "t.", 3, 1, count_fine, &fine, &err), AVOW_OK);
    assert_int_equal(fine, want);
    /* A question must not create a topic, as it does in librdkafka's mock cluster. */
    for (int i = 0; i < 2; i++)
        assert_int_equal(avow_bus_partition_count(broker.bus, "u.evidence", WAIT_MS, &n, &err),
                         AVOW_NOTFOUND);
    assert_int_equal(avow_topics_apply(broker.bus, "u.", 3, 1, ignore, NULL, &err), AVOW_BUS);
    assert_non_null(strstr(err.msg, "avow-devbroker"));
    assert_int_equal(avow_bus_partition_count(broker.bus, "u.evidence", WAIT_MS, &n, &err),
                     AVOW_NOTFOUND);
}

static void test_devbroker__second_one_on_the_port__says_so_and_ends(void **state)
{
    (void)state;
    int status = 0;
    char other[96];
    (void)snprintf(other, sizeof(other), "%s/other", broker.folder);
    pid_t pid = start(strrchr(broker.address, ':') + 1, other);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_false(avow_file_exists(other));
}

struct group {
    struct avow_bus_consumer *c;
    size_t owned;
};

static void assigned(void *arg, const int32_t *partitions, size_t n)
{
    struct group *g = arg;
    g->owned = n;
    for (size_t i = 0; i < n; i++) {
        struct avow_bus_tp tp = {"t.evidence", partitions[i], AVOW_BUS_BEGINNING};
        assert_int_equal(avow_bus_assign(g->c, &tp, 1, NULL), AVOW_OK);
    }
}

static void revoked(void *arg, const int32_t *partitions, size_t n, bool lost)
{
    (void)partitions, (void)n, (void)lost;
    ((struct group *)arg)->owned = 0;
}

static uint64_t poll_one(struct avow_bus_consumer *c, struct avow_bus_msg *msg)
{
    uint64_t begin = avow_clock_mono_ms();
    msg->topic = NULL;
    while (!msg->topic && avow_clock_mono_ms() - begin < WAIT_MS)
        (void)!avow_bus_poll(c, 20, msg, NULL);
    assert_non_null(msg->topic);
    return avow_clock_mono_ms() - begin;
}

static void test_devbroker__at_least_once_loop__works(void **state)
{
    (void)state;
    struct group g = {0};
    struct avow_err err = {0};
    struct avow_bus_producer *p = NULL;
    struct avow_bus_producer_opts po = {0};
    struct avow_bus_consumer_opts co = {.group = "g",
                                        .subscribe = "t.evidence",
                                        .rebalance = {&g, assigned, revoked},
                                        .isolation = AVOW_BUS_READ_COMMITTED,
                                        .on_mock = true};
    assert_int_equal(avow_bus_producer_new(broker.bus, &po, &p, &err), AVOW_OK);
    assert_int_equal(avow_bus_consumer_new(broker.bus, &co, &g.c, &err), AVOW_OK);
    struct avow_bus_record rec = {
        .topic = "t.evidence", .partition = 1, .value = avow_bytes_make("x", 1)};
    struct avow_bus_msg msg;
    uint64_t slowest = 0;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(avow_bus_send(p, &rec, &err), AVOW_OK);
        assert_int_equal(avow_bus_flush(p, WAIT_MS, &err), AVOW_OK);
        uint64_t took = poll_one(g.c, &msg);
        assert_int_equal(msg.offset, i);
        if (i > 0 && took > slowest) /* the first waits for the group, 3 s here */
            slowest = took;
    }
    assert_int_equal(g.owned, 3);
    assert_true(slowest < 500);
    struct avow_bus_tp tp = {"t.evidence", 1, 5};
    int64_t at = 0;
    int64_t low = -1;
    int64_t high = -1;
    assert_int_equal(avow_bus_commit(g.c, &tp, 1, &err), AVOW_OK);
    assert_int_equal(avow_bus_committed(g.c, "t.evidence", 1, WAIT_MS, &at, &err), AVOW_OK);
    assert_int_equal(at, 5);
    assert_int_equal(avow_bus_watermarks(g.c, "t.evidence", 1, WAIT_MS, &low, &high, &err),
                     AVOW_OK);
    assert_int_equal(low, 0);
    assert_int_equal(high, 5);
    assert_int_equal(avow_bus_position(g.c, "t.evidence", 1, &at, &err), AVOW_OK);
    assert_int_equal(at, 5);
    avow_bus_consumer_free(g.c);
    avow_bus_producer_free(p);
}

static void test_devbroker__reader_by_hand__tail_and_position(void **state)
{
    (void)state;
    struct avow_err err = {0};
    struct avow_bus_producer *p = NULL;
    struct avow_bus_producer_opts po = {0};
    struct avow_bus_consumer *c = NULL;
    struct avow_bus_consumer_opts co = {.isolation = AVOW_BUS_READ_UNCOMMITTED,
                                        .fetch_wait_ms =
                                            10000, /* as an agent's: here it must not count */
                                        .on_mock = true};
    struct avow_bus_msg msg;
    assert_int_equal(avow_bus_producer_new(broker.bus, &po, &p, &err), AVOW_OK);
    struct avow_bus_record rec = {.topic = "t.epochs", .value = avow_bytes_make("m", 1)};
    for (int i = 0; i < 4; i++)
        assert_int_equal(avow_bus_send(p, &rec, &err), AVOW_OK);
    assert_int_equal(avow_bus_flush(p, WAIT_MS, &err), AVOW_OK);
    assert_int_equal(avow_bus_consumer_new(broker.bus, &co, &c, &err), AVOW_OK);
    struct avow_bus_tp tps[] = {{"t.trust", 0, AVOW_BUS_BEGINNING},
                                {"t.epochs", 0, AVOW_BUS_TAIL(2)}};
    assert_int_equal(avow_bus_assign(c, tps, 2, &err), AVOW_OK);
    assert_true(poll_one(c, &msg) < 1000);
    assert_int_equal(msg.offset, 2);
    assert_true(poll_one(c, &msg) < 1000);
    assert_int_equal(msg.offset, 3);
    int64_t at = 0;
    assert_int_equal(avow_bus_position(c, "t.epochs", 0, &at, &err), AVOW_OK);
    assert_int_equal(at, 4);
    assert_int_equal(avow_bus_position(c, "t.trust", 0, &at, &err), AVOW_OK);
    assert_int_equal(at, 0);
    avow_bus_consumer_free(c);
    avow_bus_producer_free(p);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    program = argv[1];
    avow_log_init("test", AVOW_LOG_ERROR, AVOW_LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devbroker__its_cluster_id__says_mock),
        cmocka_unit_test(test_devbroker__topics__are_there_and_no_others_appear),
        cmocka_unit_test(test_devbroker__second_one_on_the_port__says_so_and_ends),
        cmocka_unit_test(test_devbroker__reader_by_hand__tail_and_position),
        cmocka_unit_test(test_devbroker__at_least_once_loop__works),
    };
    return cmocka_run_group_tests(tests, setup, teardown) ? 1 : 0;
}
