#include "cases.h"

#include "avow/base/buf.h"
#include "avow/bus/topics.h"

#include <stdio.h>

#include "avow/base/banned.h"

static void test_bus__partition_count__of_a_topic_and_of_none(void **state)
{
    (void)state;
    uint32_t n = 99;
    bool mock = true;
    world_topic(3, NULL, 0);
    assert_rc(AVOW_OK, avow_bus_is_mock(world.bus, WAIT_MS, &mock, ERR));
    assert_false(mock);
    assert_rc(AVOW_OK, avow_bus_partition_count(world.bus, world.topic, WAIT_MS, &n, ERR));
    assert_int_equal(n, 3);
    assert_rc(AVOW_NOTFOUND,
              avow_bus_partition_count(world.bus, "no-such-topic", WAIT_MS, &n, ERR));
    assert_rc(AVOW_NOTFOUND,
              avow_bus_partition_count(world.bus, "no-such-topic", WAIT_MS, &n, ERR));
}

static void test_bus__create_topic_again__exists(void **state)
{
    (void)state;
    world_topic(1, NULL, 0);
    struct avow_bus_topic_spec spec = {.name = world.topic, .partitions = 1, .replication = -1};
    assert_rc(AVOW_EXISTS, avow_bus_topic_create(world.bus, &spec, WAIT_MS, ERR));
}

static void test_bus__topic_config__value_and_unknown_names(void **state)
{
    (void)state;
    char value[32];
    char small[3];
    world_topic(1, (struct avow_bus_property[]){{"retention.ms", "604800000"}}, 1);
    assert_rc(AVOW_OK, avow_bus_topic_config(world.bus, world.topic, "retention.ms", WAIT_MS, value,
                                             sizeof(value), ERR));
    assert_string_equal(value, "604800000");
    assert_rc(AVOW_NOTFOUND, avow_bus_topic_config(world.bus, world.topic, "no.such", WAIT_MS,
                                                   value, sizeof(value), ERR));
    assert_rc(AVOW_NOTFOUND, avow_bus_topic_config(world.bus, "no-such-topic", "retention.ms",
                                                   WAIT_MS, value, sizeof(value), ERR));
    assert_rc(AVOW_LIMIT, avow_bus_topic_config(world.bus, world.topic, "retention.ms", WAIT_MS,
                                                small, sizeof(small), ERR));
}

static void test_bus__timestamp__is_the_brokers_where_the_topic_says_so(void **state)
{
    (void)state;
    for (int append = 0; append < 2; append++) {
        world_topic(1,
                    (struct avow_bus_property[]){
                        {"message.timestamp.type", append ? "LogAppendTime" : "CreateTime"}},
                    1);
        if (world.mem)
            avow_bus_mem_set_time(world.mem, 1790000000000u);
        struct avow_bus_producer *p = producer(NULL);
        put(p, 0, "x");
        struct avow_bus_consumer *c = reader(AVOW_BUS_READ_COMMITTED, 0, AVOW_BUS_BEGINNING);
        struct avow_bus_msg msg = {0};
        for (unsigned i = 0; !msg.topic && i < 400; i++)
            assert_rc(AVOW_OK, poll_quietly(c, &msg, ERR));
        assert_int_equal(msg.timestamp_is_append, append);
        assert_true(msg.timestamp_ms > 1600000000000);
        if (world.mem)
            assert_int_equal(msg.timestamp_ms, 1790000000000);
        avow_bus_consumer_free(c);
        avow_bus_producer_free(p);
    }
}

/* --- The table of topics --- */

struct seen {
    unsigned created, fine, differ;
    char last[512];
};

static void on_report(void *arg, const struct avow_topic_report *r)
{
    struct seen *s = arg;
    if (r->differs) {
        s->differ++;
        (void)snprintf(s->last, sizeof(s->last), "%s %s", r->topic, r->text);
    } else if (avow_cstr_eq(r->text, "created")) {
        s->created++;
    } else {
        assert_string_equal(r->text, "as it should be");
        s->fine++;
    }
}

static void test_topics__apply_then_check__everything_is_as_it_should_be(void **state)
{
    (void)state;
    char prefix[64];
    size_t n = 0;
    struct seen s = {0};
    (void)avow_topic_defs(&n);
    world_name(prefix, "fleet");
    assert_rc(AVOW_OK, avow_topics_check(world.bus, prefix, 2, 1, on_report, &s, ERR));
    assert_int_equal(s.differ, n); /* none exists */
    s = (struct seen){0};
    assert_rc(AVOW_OK, avow_topics_apply(world.bus, prefix, 2, 1, on_report, &s, ERR));
    assert_int_equal(s.created, n);
    assert_int_equal(s.differ, 0);
    s = (struct seen){0};
    assert_rc(AVOW_OK, avow_topics_check(world.bus, prefix, 2, 1, on_report, &s, ERR));
    if (s.differ)
        fail_msg("%s", s.last);
    assert_int_equal(s.fine, n);
    s = (struct seen){0};
    assert_rc(AVOW_OK, avow_topics_apply(world.bus, prefix, 2, 1, on_report, &s, ERR));
    assert_int_equal(s.created, 0);
    assert_int_equal(s.fine, n);
}

static void test_topics__what_differs__is_said_and_left_alone(void **state)
{
    (void)state;
    char prefix[64];
    char name[80];
    struct seen s = {0};
    world_name(prefix, "fleet");
    (void)snprintf(name, sizeof(name), "%sevidence", prefix);
    const struct avow_bus_property kv[] = {
        {"cleanup.policy", "delete"},     {"retention.ms", "3600000"},
        {"max.message.bytes", "1048576"}, {"unclean.leader.election.enable", "false"},
        {"min.insync.replicas", "1"},     {"message.timestamp.type", "LogAppendTime"}};
    struct avow_bus_topic_spec spec = {.name = name,
                                       .partitions = 5,
                                       .replication = 1,
                                       .config = kv,
                                       .n_config = AVOW_ARRAY_LEN(kv)};
    assert_rc(AVOW_OK, avow_bus_topic_create(world.bus, &spec, WAIT_MS, ERR));
    assert_rc(AVOW_OK, avow_topics_apply(world.bus, prefix, 2, 1, on_report, &s, ERR));
    assert_int_equal(s.differ, 1);
    assert_non_null(strstr(s.last, "has 5 partitions, not 2"));
    assert_non_null(strstr(s.last, "retention.ms is 3600000, not 604800000"));
    char value[32];
    assert_rc(AVOW_OK, avow_bus_topic_config(world.bus, name, "retention.ms", WAIT_MS, value,
                                             sizeof(value), ERR));
    assert_string_equal(value, "3600000");
}

const struct CMUnitTest topic_cases[] = {
    cmocka_unit_test(test_bus__partition_count__of_a_topic_and_of_none),
    cmocka_unit_test(test_bus__create_topic_again__exists),
    cmocka_unit_test(test_bus__topic_config__value_and_unknown_names),
    cmocka_unit_test(test_bus__timestamp__is_the_brokers_where_the_topic_says_so),
    cmocka_unit_test(test_topics__apply_then_check__everything_is_as_it_should_be),
    cmocka_unit_test(test_topics__what_differs__is_said_and_left_alone),
    {0},
};
