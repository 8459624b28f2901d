#include "cases.h"

#include <stdlib.h>

#include "avow/base/banned.h"

static void send_one(struct avow_bus_producer *p, struct avow_bus_record rec)
{
    rec.topic = world.topic;
    assert_rc(AVOW_OK, avow_bus_send(p, &rec, ERR));
    assert_rc(AVOW_OK, avow_bus_flush(p, WAIT_MS, ERR));
}

/* Reads the next record into *msg; it borrows until the next poll. */
static void next(struct avow_bus_consumer *c, struct avow_bus_msg *msg)
{
    msg->topic = NULL;
    for (unsigned i = 0; !msg->topic && i < 400; i++)
        assert_rc(AVOW_OK, poll_quietly(c, msg, ERR));
    assert_non_null(msg->topic);
}

static void test_bus__record__comes_back_whole(void **state)
{
    (void)state;
    static const uint8_t binary[] = {0, 1, 2, 0xff, 0};
    static const uint8_t empty[1];
    world_topic(2, NULL, 0);
    struct avow_bus_producer *p = producer(NULL);
    send_one(p, (struct avow_bus_record){.partition = 1,
                                         .key = avow_bytes_make("k", 1),
                                         .value = AVOW_BYTES_OF(binary)});
    send_one(p, (struct avow_bus_record){
                    .partition = 1, .key = avow_bytes_make("k", 1), .value_null = true});
    send_one(p, (struct avow_bus_record){.partition = 1, .value = avow_bytes_make(empty, 0)});
    assert_int_equal(avow_bus_in_flight(p), 0);

    struct avow_bus_consumer *c = reader(AVOW_BUS_READ_COMMITTED, 1, AVOW_BUS_BEGINNING);
    struct avow_bus_msg msg;
    next(c, &msg);
    assert_string_equal(msg.topic, world.topic);
    assert_int_equal(msg.partition, 1);
    assert_int_equal(msg.offset, 0);
    assert_true(avow_bytes_eq(msg.key, avow_bytes_make("k", 1)));
    assert_true(avow_bytes_eq(msg.value, AVOW_BYTES_OF(binary)));
    assert_false(msg.value_null);
    next(c, &msg);
    assert_true(msg.value_null);
    assert_int_equal(msg.value.len, 0);
    next(c, &msg);
    assert_false(msg.value_null);
    assert_int_equal(msg.value.len, 0);
    assert_int_equal(msg.key.len, 0);
    assert_int_equal(msg.offset, 2);
    avow_bus_consumer_free(c);
    avow_bus_producer_free(p);
}

static void test_bus__any_partition__is_murmur2_of_the_key(void **state)
{
    (void)state;
    static const char *const keys[] = {"",    "21", "foobar", "abc", "a-little-bit-long-string",
                                       "d0e1"};
    world_topic(5, NULL, 0);
    struct avow_bus_producer *p = producer(NULL);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(keys); i++) {
        struct avow_bytes key = avow_bytes_make(keys[i], strlen(keys[i]));
        send_one(p, (struct avow_bus_record){
                        .partition = AVOW_BUS_ANY_PARTITION, .key = key, .value = key});
        struct avow_bus_consumer *c =
            reader(AVOW_BUS_READ_COMMITTED, avow_bus_partition_of(key, 5), AVOW_BUS_TAIL(1));
        expect_values(c, 1, &keys[i]);
        avow_bus_consumer_free(c);
    }
    avow_bus_producer_free(p);
}

static void test_bus__value_over_the_limit__is_refused_at_the_limit_not(void **state)
{
    (void)state;
    world_topic(1, (struct avow_bus_property[]){{"max.message.bytes", "1048576"}}, 1);
    struct avow_bus_producer *p = producer(NULL);
    uint8_t *value = calloc(1, AVOW_BUS_VALUE_MAX + 1);
    struct avow_bus_record rec = {.topic = world.topic,
                                  .key = avow_bytes_make("k", 1),
                                  .value = avow_bytes_make(value, AVOW_BUS_VALUE_MAX + 1)};
    assert_rc(AVOW_LIMIT, avow_bus_send(p, &rec, ERR));
    rec.value.len = AVOW_BUS_VALUE_MAX;
    send_one(p, rec);
    struct avow_bus_consumer *c = reader(AVOW_BUS_READ_COMMITTED, 0, AVOW_BUS_BEGINNING);
    struct avow_bus_msg msg;
    next(c, &msg);
    assert_int_equal(msg.value.len, AVOW_BUS_VALUE_MAX);
    assert_int_equal(msg.offset, 0);
    avow_bus_consumer_free(c);
    avow_bus_producer_free(p);
    free(value);
}

static void test_bus__many_large_records__all_come_back(void **state)
{
    (void)state;
    enum { COUNT = 20, SIZE = 700000 };
    world_topic(1, (struct avow_bus_property[]){{"max.message.bytes", "1048576"}}, 1);
    struct avow_bus_producer *p = producer(NULL);
    uint8_t *value = calloc(1, SIZE);
    for (int i = 0; i < COUNT; i++) {
        value[0] = (uint8_t)i;
        struct avow_bus_record rec = {.topic = world.topic, .value = avow_bytes_make(value, SIZE)};
        assert_rc(AVOW_OK, avow_bus_send(p, &rec, ERR));
    }
    assert_rc(AVOW_OK, avow_bus_flush(p, WAIT_MS, ERR));
    struct avow_bus_consumer *c = reader(AVOW_BUS_READ_COMMITTED, 0, AVOW_BUS_BEGINNING);
    struct avow_bus_msg msg;
    for (int i = 0; i < COUNT; i++) {
        next(c, &msg);
        assert_int_equal(msg.value.len, SIZE);
        assert_int_equal(msg.value.ptr[0], i);
    }
    avow_bus_consumer_free(c);
    avow_bus_producer_free(p);
    free(value);
}

static void test_bus__tail__begins_n_before_the_end_or_at_the_start(void **state)
{
    (void)state;
    static const char *const all[] = {"a", "b", "c", "d", "e", "f"};
    world_topic(1, NULL, 0);
    struct avow_bus_producer *p = producer(NULL);
    for (size_t i = 0; i < 5; i++)
        put(p, 0, all[i]);
    static const struct {
        int64_t from;
        size_t first;
    } cases[] = {{AVOW_BUS_TAIL(2), 3},
                 {AVOW_BUS_TAIL(5), 0},
                 {AVOW_BUS_TAIL(100), 0},
                 {AVOW_BUS_TAIL(0), 5},
                 {AVOW_BUS_END, 5},
                 {AVOW_BUS_BEGINNING, 0},
                 {3, 3}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_bus_consumer *c = reader(AVOW_BUS_READ_COMMITTED, 0, cases[i].from);
        int64_t at = -1;
        assert_rc(AVOW_OK, avow_bus_position(c, world.topic, 0, &at, ERR));
        assert_int_equal(at, cases[i].first);
        expect_values(c, 5 - cases[i].first, &all[cases[i].first]);
        avow_bus_consumer_free(c);
    }
    struct avow_bus_consumer *c = reader(AVOW_BUS_READ_COMMITTED, 0, AVOW_BUS_END);
    expect_values(c, 0, NULL); /* the end is looked up before something is added */
    put(p, 0, all[5]);
    expect_values(c, 1, &all[5]);
    avow_bus_consumer_free(c);
    avow_bus_producer_free(p);
}

static void test_bus__tail_longer_than_what_retention_left__begins_at_the_log_start(void **state)
{
    (void)state;
    static const char *const all[] = {"a", "b", "c", "d", "e"};
    world_topic(1, NULL, 0);
    struct avow_bus_producer *p = producer(NULL);
    for (size_t i = 0; i < 5; i++)
        put(p, 0, all[i]);
    world_delete_before(0, 3);
    struct avow_bus_consumer *c = reader(AVOW_BUS_READ_COMMITTED, 0, AVOW_BUS_TAIL(4));
    expect_values(c, 2, &all[3]);
    expect_position(c, 0, 5);
    avow_bus_consumer_free(c);
    avow_bus_producer_free(p);
}

static void test_bus__position_below_the_log_start__is_not_found_until_a_seek(void **state)
{
    (void)state;
    static const char *const all[] = {"a", "b", "c", "d"};
    world_topic(2, NULL, 0);
    struct avow_bus_producer *p = producer(NULL);
    for (size_t i = 0; i < 4; i++)
        put(p, 1, all[i]);
    put(p, 0, "other");
    world_delete_before(1, 2);
    struct avow_bus_consumer_opts opts = {.isolation = AVOW_BUS_READ_COMMITTED};
    struct avow_bus_consumer *c = NULL;
    assert_rc(AVOW_OK, avow_bus_consumer_new(world.bus, &opts, &c, ERR));
    struct avow_bus_tp tps[] = {{world.topic, 0, AVOW_BUS_BEGINNING}, {world.topic, 1, 1}};
    assert_rc(AVOW_OK, avow_bus_assign(c, tps, 2, ERR));
    struct avow_err err = {0};
    struct avow_bus_msg msg;
    enum avow_rc rc = AVOW_OK;
    bool other = false;
    for (unsigned i = 0; (!rc || !other) && i < 400; i++) {
        struct avow_err one = {0};
        enum avow_rc now = poll_quietly(c, &msg, &one);
        if (now) {
            rc = now;
            err = one;
        }
        other = other || msg.topic;
    }
    assert_int_equal(rc, AVOW_NOTFOUND);
    assert_int_equal(err.native, 1);
    assert_true(other); /* the other partition goes on */
    expect_watermarks(c, 1, 2, 4);
    assert_rc(AVOW_OK, avow_bus_seek(c, &(struct avow_bus_tp){world.topic, 1, 2}, ERR));
    expect_values(c, 2, &all[2]);
    expect_position(c, 1, 4);
    expect_position(c, 0, 1); /* and has not moved */
    avow_bus_consumer_free(c);
    avow_bus_producer_free(p);
}

static void test_bus__seek_back__reads_again_and_the_position_says_so(void **state)
{
    (void)state;
    static const char *const all[] = {"a", "b", "c"};
    world_topic(1, NULL, 0);
    struct avow_bus_producer *p = producer(NULL);
    for (size_t i = 0; i < 3; i++)
        put(p, 0, all[i]);
    struct avow_bus_consumer *c = reader(AVOW_BUS_READ_COMMITTED, 0, AVOW_BUS_BEGINNING);
    expect_values(c, 3, all);
    assert_rc(AVOW_OK, avow_bus_seek(c, &(struct avow_bus_tp){world.topic, 0, 1}, ERR));
    int64_t at = -1;
    assert_rc(AVOW_OK, avow_bus_position(c, world.topic, 0, &at, ERR));
    assert_int_equal(at, 1);
    expect_values(c, 2, &all[1]);
    struct avow_bus_tp elsewhere = {world.topic, 7, 0};
    assert_rc(AVOW_STATE, avow_bus_seek(c, &elsewhere, ERR));
    avow_bus_consumer_free(c);
    avow_bus_producer_free(p);
}

static void test_bus__empty_partition__position_reaches_the_watermark(void **state)
{
    (void)state;
    static const int64_t starts[] = {AVOW_BUS_BEGINNING, AVOW_BUS_END, AVOW_BUS_TAIL(64)};
    world_topic(1, NULL, 0);
    for (size_t round = 0; round < 2; round++) {
        int64_t want = round ? 2 : 0;
        for (size_t i = 0; i < AVOW_ARRAY_LEN(starts); i++) {
            struct avow_bus_consumer *c = reader(AVOW_BUS_READ_COMMITTED, 0, starts[i]);
            expect_watermarks(c, 0, want, want);
            expect_position(c, 0, want);
            avow_bus_consumer_free(c);
        }
        struct avow_bus_producer *p = producer(NULL); /* second round: empty, but not at 0 */
        put(p, 0, "a");
        put(p, 0, "b");
        world_delete_before(0, 2 + (round ? 2 : 0));
        avow_bus_producer_free(p);
    }
}

const struct CMUnitTest record_cases[] = {
    cmocka_unit_test(test_bus__record__comes_back_whole),
    cmocka_unit_test(test_bus__any_partition__is_murmur2_of_the_key),
    cmocka_unit_test(test_bus__value_over_the_limit__is_refused_at_the_limit_not),
    cmocka_unit_test(test_bus__many_large_records__all_come_back),
    cmocka_unit_test(test_bus__tail__begins_n_before_the_end_or_at_the_start),
    cmocka_unit_test(test_bus__tail_longer_than_what_retention_left__begins_at_the_log_start),
    cmocka_unit_test(test_bus__position_below_the_log_start__is_not_found_until_a_seek),
    cmocka_unit_test(test_bus__seek_back__reads_again_and_the_position_says_so),
    cmocka_unit_test(test_bus__empty_partition__position_reaches_the_watermark),
    {0},
};
