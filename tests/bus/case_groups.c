#include "cases.h"

#include "avow/base/clock.h"

#include "avow/base/banned.h"

static void test_bus__member_closes__the_other_takes_over(void **state)
{
    (void)state;
    static const char *const rest[] = {"b", "c"};
    char group[64];
    struct member first;
    struct member second;
    world_topic(1, NULL, 0);
    world_name(group, "group");
    struct avow_bus_producer *p = producer(NULL);
    put(p, 0, "a");
    put(p, 0, "b");
    struct avow_bus *other = world_bus();
    member_open(&first, world.bus, group, NULL, 0);
    member_wait(&first, 1);
    assert_int_equal(first.assigned, 1);
    struct avow_bus_tp tp = {world.topic, 0, 1};
    assert_rc(AVOW_OK, avow_bus_commit(first.c, &tp, 1, ERR));
    struct member *m = &first;
    avow_bus_consumer_free(m->c); /* closing revokes, in order */
    assert_int_equal(first.revoked, 1);
    assert_int_equal(first.lost, 0);

    member_open(&second, other, group, NULL, 0);
    member_wait(&second, 1);
    int64_t at = -1;
    assert_rc(AVOW_OK, avow_bus_committed(second.c, world.topic, 0, WAIT_MS, &at, ERR));
    assert_int_equal(at, 1);
    assert_rc(AVOW_OK, avow_bus_seek(second.c, &(struct avow_bus_tp){world.topic, 0, at}, ERR));
    put(p, 0, "c");
    expect_values(second.c, 2, rest);
    member_close(&second);
    avow_bus_producer_free(p);
    avow_bus_free(other);
}

static void test_bus__two_members__one_owner_at_a_time(void **state)
{
    (void)state;
    char group[64];
    struct member a;
    struct member b;
    world_topic(1, NULL, 0);
    world_name(group, "group");
    struct avow_bus *other = world_bus();
    member_open(&a, world.bus, group, NULL, 0);
    member_wait(&a, 1);
    member_open(&b, other, group, NULL, 0);
    struct avow_bus_msg msg;
    uint64_t start = avow_clock_mono_ms();
    for (unsigned i = 0; i < 20 || (world.kafka && avow_clock_mono_ms() - start < 3000); i++) {
        assert_rc(AVOW_OK, poll_quietly(a.c, &msg, ERR));
        assert_rc(AVOW_OK, poll_quietly(b.c, &msg, ERR));
        assert_true(a.owned + b.owned <= 1);
    }
    assert_int_equal(a.owned + b.owned, 1);
    assert_true(a.revoked >= 1); /* the rebalance reached it */
    assert_int_equal(a.lost, 0);
    struct member *owner = a.owned ? &a : &b;
    struct member *waiting = a.owned ? &b : &a;
    member_close(owner);
    member_wait(waiting, 1);
    member_close(waiting);
    avow_bus_free(other);
}

static void test_bus__assign_after_the_callback__adds_partitions(void **state)
{
    (void)state;
    static const char *const all[] = {"a", "b", "c"};
    char group[64];
    struct member m;
    world_topic(2, NULL, 0);
    world_name(group, "group");
    struct avow_bus_producer *p = producer(NULL);
    put(p, 0, all[0]);
    put(p, 0, all[1]);
    member_open(&m, world.bus, group, NULL, 0);
    m.start = AVOW_BUS_END;
    member_wait(&m, 2);
    /* A runner that has restored its state starts later than its neighbour. */
    struct avow_bus_tp late = {world.topic, 0, 0};
    assert_rc(AVOW_OK, avow_bus_assign(m.c, &late, 1, ERR));
    expect_values(m.c, 2, all);
    struct avow_bus_tp later = {world.topic, 1, 0};
    assert_rc(AVOW_OK, avow_bus_assign(m.c, &later, 1, ERR));
    put(p, 0, all[2]);
    expect_values(m.c, 1, &all[2]); /* partition 0 goes on where it was */
    struct avow_bus_tp foreign = {world.topic, 5, 0};
    assert_rc(AVOW_STATE, avow_bus_assign(m.c, &foreign, 1, ERR));
    member_close(&m);
    avow_bus_producer_free(p);
}

static void test_bus__same_instance_id__is_fatal_for_the_older(void **state)
{
    (void)state;
    char group[64];
    struct member old;
    struct member new;
    world_topic(1, NULL, 0);
    world_name(group, "group");
    struct avow_bus *other = world_bus();
    member_open(&old, world.bus, group, "instance-1", 0);
    member_wait(&old, 1);
    member_open(&new, other, group, "instance-1", 0);
    member_wait(&new, 1);
    enum avow_rc rc = AVOW_OK;
    struct avow_bus_msg msg;
    uint64_t start = avow_clock_mono_ms();
    for (unsigned i = 0; rc != AVOW_BUS_FATAL &&
                         (i < 20 || (world.kafka && avow_clock_mono_ms() - start < WAIT_MS));
         i++)
        rc = poll_quietly(old.c, &msg, NULL);
    assert_int_equal(rc, AVOW_BUS_FATAL);
    member_close(&old);
    member_close(&new);
    avow_bus_free(other);
}

const struct CMUnitTest group_cases[] = {
    cmocka_unit_test(test_bus__member_closes__the_other_takes_over),
    cmocka_unit_test(test_bus__two_members__one_owner_at_a_time),
    cmocka_unit_test(test_bus__assign_after_the_callback__adds_partitions),
    cmocka_unit_test(test_bus__same_instance_id__is_fatal_for_the_older),
    {0},
};
