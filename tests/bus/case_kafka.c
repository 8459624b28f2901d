#define _GNU_SOURCE /* kill */
#include "cases.h"
#include "child.h"

#include "avow/base/clock.h"
#include "avow/base/num.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include "avow/base/banned.h"

#define SESSION_MS 2000u

static enum avow_rc committed(struct member *m, unsigned timeout_ms, int64_t *out)
{
    return avow_bus_committed(m->c, world.topic, 0, timeout_ms, out, NULL);
}

/* PROTOCOL R9, with real processes: killed inside a transaction, found by the session, freed by its
 * name. */
static void test_bus__sigkill_inside_a_transaction__is_taken_over_without_a_trace(void **state)
{
    (void)state;
    char id[64];
    char group[64];
    int64_t at = -1;
    struct child child;
    struct member m;
    world_topic(1, NULL, 0);
    world_name(id, "tx");
    world_name(group, "group");
    child_open(&child, group, id, SESSION_MS);
    static const char *const commands[] = {"join", "begin", "put", "offsets 1"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(commands); i++) {
        child_send(&child, commands[i]);
        child_expect(&child, "ok");
    }
    child_kill(&child);
    uint64_t start = avow_clock_mono_ms();
    member_open(&m, world.bus, group, NULL, SESSION_MS);
    member_wait(&m, 1);
    assert_true(avow_clock_mono_ms() - start < 10000);
    struct avow_bus_consumer *all = reader(AVOW_BUS_READ_UNCOMMITTED, 0, AVOW_BUS_BEGINNING);
    expect_watermarks(m.c, 0, 0, 0);
    expect_watermarks(all, 0, 0, 1);
    assert_int_equal(committed(&m, 1500, &at), AVOW_TIMEOUT);
    start = avow_clock_mono_ms();
    avow_bus_producer_free(producer(id));
    assert_int_equal(committed(&m, WAIT_MS, &at), AVOW_NOTFOUND);
    assert_true(avow_clock_mono_ms() - start < 3000);
    expect_watermarks(m.c, 0, 0, 2);
    expect_values(m.c, 0, NULL);
    avow_bus_consumer_free(all);
    member_close(&m);
}

/* A worker that stood still longer than its session wakes up and goes on where it was. wait_ms: how
 * long its client has to find out before the worker acts. other_leaves: the new owner has gone
 * again. */
static void zombie(unsigned wait_ms, bool other_leaves)
{
    char id[64];
    char other[64];
    char group[64];
    int64_t at = -1;
    struct child child;
    struct member m;
    world_topic(1, NULL, 0);
    world_name(id, "tx");
    world_name(other, "tx");
    world_name(group, "group");
    child_open(&child, group, id, SESSION_MS);
    static const char *const commands[] = {"join", "begin", "put"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(commands); i++) {
        child_send(&child, commands[i]);
        child_expect(&child, "ok");
    }
    child_signal(&child, SIGSTOP);
    member_open(&m, world.bus, group, NULL, SESSION_MS);
    member_wait(&m, 1);
    struct avow_bus_producer *p = producer(other);
    struct avow_bus_tp tp = {world.topic, 0, 5};
    assert_rc(AVOW_OK, avow_bus_txn_begin(p, ERR));
    assert_rc(AVOW_OK, avow_bus_txn_send_offsets(p, m.c, &tp, 1, ERR));
    assert_rc(AVOW_OK, avow_bus_txn_commit(p, WAIT_MS, ERR));
    if (other_leaves)
        member_close(&m);
    child_signal(&child, SIGCONT);
    avow_clock_sleep_ms(wait_ms);
    child_send(&child, "offsets 1");
    child_expect(&child, avow_rc_text(AVOW_BUS_RETRY));
    if (other_leaves)
        member_open(&m, world.bus, group, NULL, SESSION_MS);
    assert_int_equal(committed(&m, WAIT_MS, &at), AVOW_OK);
    assert_int_equal(at, 5);
    expect_values(m.c, 0, NULL);
    child_kill(&child);
    avow_bus_producer_free(p);
    member_close(&m);
}

static void test_bus__zombie_that_does_not_know_it_yet__is_refused(void **state)
{
    (void)state;
    zombie(0, false);
}

static void test_bus__zombie_whose_client_knows_but_not_the_program__is_refused(void **state)
{
    (void)state;
    zombie(1500, false);
}

/* Its client has no member id any more, and the group is empty: Kafka itself accepts such offsets.
 */
static void test_bus__zombie_alone_in_its_group__is_refused(void **state)
{
    (void)state;
    zombie(1500, true);
}

/* --- A broker that hangs --- */

static pid_t broker(void)
{
    uint64_t pid = 0;
    const char *text = getenv("AVOW_TEST_KAFKA_PID");
    if (!text || !avow_num_parse_u64(avow_str_from(text), INT32_MAX, &pid))
        skip();
    return (pid_t)pid;
}

static void test_bus__broker_hangs__flush_times_out_and_the_next_one_works(void **state)
{
    (void)state;
    pid_t pid = broker();
    world_topic(1, NULL, 0);
    struct avow_bus_producer *p = producer(NULL);
    put(p, 0, "before");
    kill(pid, SIGSTOP);
    struct avow_bus_record rec = {.topic = world.topic, .value = avow_bytes_make("lost", 4)};
    uint64_t start = avow_clock_mono_ms();
    enum avow_rc sent = avow_bus_send(p, &rec, NULL);
    enum avow_rc first = avow_bus_flush(p, 500, NULL);
    enum avow_rc again = avow_bus_send(p, &rec, NULL);
    enum avow_rc second = avow_bus_flush(p, 500, NULL);
    uint64_t took = avow_clock_mono_ms() - start;
    kill(pid, SIGCONT);
    assert_int_equal(sent, AVOW_OK);
    assert_int_equal(first, AVOW_TIMEOUT);
    assert_int_equal(again, AVOW_OK);
    assert_int_equal(second, AVOW_TIMEOUT);
    assert_true(took < 6000);
    assert_int_equal(avow_bus_in_flight(p), 0);
    put(p, 0, "after");
    struct avow_bus_consumer *c = reader(AVOW_BUS_READ_COMMITTED, 0, AVOW_BUS_BEGINNING);
    struct avow_bus_msg msg = {0};
    unsigned lost = 0;
    bool after = false;
    for (unsigned i = 0; !after && i < 400; i++) {
        assert_rc(AVOW_OK, poll_quietly(c, &msg, ERR));
        lost += msg.topic && avow_bytes_eq(msg.value, avow_bytes_make("lost", 4)) ? 1 : 0;
        after = msg.topic && avow_bytes_eq(msg.value, avow_bytes_make("after", 5));
    }
    assert_true(after);
    assert_true(lost <= 2); /* what was on the wire may have arrived, each at most once */
    avow_bus_consumer_free(c);
    avow_bus_producer_free(p);
}

static void test_bus__broker_hangs__questions_end_in_time(void **state)
{
    (void)state;
    pid_t pid = broker();
    int64_t low = 0;
    int64_t high = 0;
    bool mock = false;
    world_topic(1, NULL, 0);
    struct avow_bus_consumer *c = reader(AVOW_BUS_READ_COMMITTED, 0, AVOW_BUS_BEGINNING);
    expect_position(c, 0, 0);
    struct avow_bus *fresh = world_bus();
    kill(pid, SIGSTOP);
    uint64_t start = avow_clock_mono_ms();
    enum avow_rc is_mock = avow_bus_is_mock(fresh, 500, &mock, NULL);
    uint64_t mid = avow_clock_mono_ms();
    enum avow_rc marks = avow_bus_watermarks(c, world.topic, 0, 500, &low, &high, NULL);
    uint64_t end = avow_clock_mono_ms();
    kill(pid, SIGCONT);
    assert_int_equal(is_mock, AVOW_UNREACHABLE);
    assert_true(mid - start < 2000);
    assert_int_equal(marks, AVOW_UNREACHABLE);
    if (end - mid > 15000) /* librdkafka 2.0.2 waits for its socket time-out */
        fail_msg("watermarks took %llu ms", (unsigned long long)(end - mid));
    expect_watermarks(c, 0, 0, 0);
    avow_bus_consumer_free(c);
    avow_bus_free(fresh);
}

static void test_bus__broker_hangs__commit_is_never_reported_as_done(void **state)
{
    (void)state;
    pid_t pid = broker();
    char id[64];
    world_topic(1, NULL, 0);
    world_name(id, "tx");
    struct avow_bus_producer *p = producer(id);
    assert_rc(AVOW_OK, avow_bus_txn_begin(p, ERR));
    put(p, 0, "unknown");
    kill(pid, SIGSTOP);
    enum avow_rc rc = avow_bus_txn_commit(p, 700, NULL);
    kill(pid, SIGCONT);
    if (rc != AVOW_BUS_FATAL && rc != AVOW_BUS_RETRY)
        fail_msg("commit said %s", avow_rc_text(rc));
    avow_bus_producer_free(p);
    p = producer(id); /* settles the old one */
    assert_rc(AVOW_OK, avow_bus_txn_begin(p, ERR));
    put(p, 0, "after");
    assert_rc(AVOW_OK, avow_bus_txn_commit(p, WAIT_MS, ERR));
    struct avow_bus_consumer *c = reader(AVOW_BUS_READ_COMMITTED, 0, AVOW_BUS_BEGINNING);
    if (rc == AVOW_BUS_RETRY) { /* aborted, it said */
        expect_values(c, 1, (const char *const[]){"after"});
    } else { /* it did not know: at most once, and the successor's init has settled it */
        struct avow_bus_msg msg = {0};
        unsigned unknown = 0;
        while (!avow_bytes_eq(msg.value, avow_bytes_make("after", 5))) {
            assert_rc(AVOW_OK, poll_quietly(c, &msg, ERR));
            unknown += avow_bytes_eq(msg.value, avow_bytes_make("unknown", 7)) ? 1 : 0;
        }
        assert_true(unknown <= 1);
    }
    avow_bus_consumer_free(c);
    avow_bus_producer_free(p);
}

/* --- Others --- */

static void test_bus__send_to_a_missing_topic__fails_at_flush(void **state)
{
    (void)state;
    world_name(world.topic, "none");
    struct avow_bus_producer *p = producer(NULL);
    struct avow_bus_record rec = {.topic = world.topic, .value = avow_bytes_make("x", 1)};
    struct avow_err err = {0};
    enum avow_rc rc = avow_bus_send(p, &rec, &err);
    if (!rc)
        rc = avow_bus_flush(p, WAIT_MS, &err);
    if (rc != AVOW_NOTFOUND && rc != AVOW_BUS)
        fail_msg("%s: %s", avow_rc_text(rc), err.msg);
    avow_bus_producer_free(p);
    struct avow_bus_producer_opts opts = {.transactional_id = "tx-none",
                                          .txn_timeout_ms = 10000,
                                          .topics = (const char *const[]){world.topic},
                                          .n_topics = 1};
    assert_rc(AVOW_NOTFOUND, avow_bus_producer_new(world.bus, &opts, &p, ERR));
}

/* A topic that appears later: said meanwhile, in nobody's way, and read in the end. */
static void test_bus__missing_topic_beside_a_good_one__is_said_and_found_later(void **state)
{
    (void)state;
    char good[64];
    char late[64];
    struct avow_bus_consumer *c = NULL;
    struct avow_bus_consumer_opts opts = {.isolation = AVOW_BUS_READ_COMMITTED};
    world_topic(1, NULL, 0);
    (void)avow_str_copy(good, sizeof(good), avow_str_from(world.topic));
    struct avow_bus_producer *p = producer(NULL);
    put(p, 0, "a");
    world_name(late, "late");
    assert_rc(AVOW_OK, avow_bus_consumer_new(world.bus, &opts, &c, ERR));
    struct avow_bus_tp tps[] = {{late, 0, AVOW_BUS_BEGINNING}, {good, 0, AVOW_BUS_BEGINNING}};
    assert_rc(AVOW_OK, avow_bus_assign(c, tps, 2, ERR));
    unsigned said = 0;
    unsigned seen = 0;
    uint64_t start = avow_clock_mono_ms();
    while (avow_clock_mono_ms() - start < 7000) {
        struct avow_bus_msg msg;
        struct avow_err err = {0};
        enum avow_rc rc = avow_bus_poll(c, 50, &msg, &err);
        said += rc == AVOW_BUS && strstr(err.msg, late) ? 1 : 0;
        seen += msg.topic ? 1 : 0;
        assert_true(seen == 1 || avow_clock_mono_ms() - start < 4000);
    }
    assert_int_equal(seen, 1);
    assert_int_equal(said, 2); /* at once, and after 5 s */
    struct avow_bus_topic_spec spec = {.name = late, .partitions = 1, .replication = -1};
    assert_rc(AVOW_OK, avow_bus_topic_create(world.bus, &spec, WAIT_MS, ERR));
    (void)avow_str_copy(world.topic, sizeof(world.topic), avow_str_from(late));
    put(p, 0, "b");
    expect_values(c, 1, (const char *const[]){"b"});
    expect_position(c, 0, 1);
    avow_bus_consumer_free(c);
    avow_bus_producer_free(p);
}

/* Records that Kafka's own console producer spread over the partitions by their keys. */
static void test_bus__keys_of_a_java_producer__are_where_we_expect_them(void **state)
{
    (void)state;
    uint32_t partitions = 0;
    unsigned seen = 0;
    const char *topic = getenv("AVOW_TEST_JAVA_TOPIC");
    if (!topic)
        skip();
    (void)avow_str_copy(world.topic, sizeof(world.topic), avow_str_from(topic));
    assert_rc(AVOW_OK, avow_bus_partition_count(world.bus, topic, WAIT_MS, &partitions, ERR));
    for (uint32_t i = 0; i < partitions; i++) {
        struct avow_bus_consumer *c =
            reader(AVOW_BUS_READ_COMMITTED, (int32_t)i, AVOW_BUS_BEGINNING);
        int64_t low = 0;
        int64_t high = 0;
        assert_rc(AVOW_OK, avow_bus_watermarks(c, topic, (int32_t)i, WAIT_MS, &low, &high, ERR));
        for (int64_t n = low; n < high;) {
            struct avow_bus_msg msg;
            assert_rc(AVOW_OK, poll_quietly(c, &msg, ERR));
            if (!msg.topic)
                continue;
            assert_int_equal(avow_bus_partition_of(msg.key, partitions), i);
            seen++;
            n++;
        }
        avow_bus_consumer_free(c);
    }
    assert_true(seen >= 50);
}

const struct CMUnitTest kafka_cases[] = {
    cmocka_unit_test(test_bus__sigkill_inside_a_transaction__is_taken_over_without_a_trace),
    cmocka_unit_test(test_bus__zombie_that_does_not_know_it_yet__is_refused),
    cmocka_unit_test(test_bus__zombie_whose_client_knows_but_not_the_program__is_refused),
    cmocka_unit_test(test_bus__zombie_alone_in_its_group__is_refused),
    cmocka_unit_test(test_bus__broker_hangs__flush_times_out_and_the_next_one_works),
    cmocka_unit_test(test_bus__broker_hangs__questions_end_in_time),
    cmocka_unit_test(test_bus__broker_hangs__commit_is_never_reported_as_done),
    cmocka_unit_test(test_bus__send_to_a_missing_topic__fails_at_flush),
    cmocka_unit_test(test_bus__missing_topic_beside_a_good_one__is_said_and_found_later),
    cmocka_unit_test(test_bus__keys_of_a_java_producer__are_where_we_expect_them),
    {0},
};
