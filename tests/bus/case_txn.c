#include "cases.h"

#include <stdio.h>

#include "avow/base/banned.h"

static void begin(struct avow_bus_producer *p)
{
    assert_rc(AVOW_OK, avow_bus_txn_begin(p, ERR));
}

static void commit(struct avow_bus_producer *p)
{
    assert_rc(AVOW_OK, avow_bus_txn_commit(p, WAIT_MS, ERR));
}

static void test_bus__open_transaction__hides_itself_and_what_follows(void **state)
{
    (void)state;
    static const char *const all[] = {"before", "in", "behind"};
    char id[64];
    world_topic(1, NULL, 0);
    world_name(id, "tx");
    struct avow_bus_producer *plain = producer(NULL);
    struct avow_bus_producer *p = producer(id);
    put(plain, 0, all[0]);
    begin(p);
    put(p, 0, all[1]);
    put(plain, 0, all[2]);

    struct avow_bus_consumer *committed = reader(AVOW_BUS_READ_COMMITTED, 0, AVOW_BUS_BEGINNING);
    struct avow_bus_consumer *all_of_it = reader(AVOW_BUS_READ_UNCOMMITTED, 0, AVOW_BUS_BEGINNING);
    expect_watermarks(committed, 0, 0, 1); /* last stable offset */
    expect_watermarks(all_of_it, 0, 0, 3); /* high watermark: what a restore must wait for */
    expect_values(committed, 1, all);
    expect_values(all_of_it, 3, all);
    commit(p);
    expect_values(committed, 2, &all[1]);
    expect_watermarks(committed, 0, 0, 4); /* with the marker */
    expect_position(committed, 0, 4);      /* which the position passes */
    avow_bus_consumer_free(committed);
    avow_bus_consumer_free(all_of_it);
    avow_bus_producer_free(p);
    avow_bus_producer_free(plain);
}

static void test_bus__aborted_transaction__is_invisible_and_passed(void **state)
{
    (void)state;
    static const char *const kept[] = {"kept"};
    char id[64];
    world_topic(1, NULL, 0);
    world_name(id, "tx");
    struct avow_bus_producer *p = producer(id);
    begin(p);
    put(p, 0, "dropped");
    assert_rc(AVOW_OK, avow_bus_txn_abort(p, WAIT_MS, ERR));
    begin(p);
    put(p, 0, kept[0]);
    commit(p);
    begin(p);
    put(p, 0, "dropped too");
    assert_rc(AVOW_OK, avow_bus_txn_abort(p, WAIT_MS, ERR));
    struct avow_bus_consumer *c = reader(AVOW_BUS_READ_COMMITTED, 0, AVOW_BUS_BEGINNING);
    expect_values(c, 1, kept);
    expect_watermarks(c, 0, 0, 6);
    expect_position(c, 0, 6);
    avow_bus_consumer_free(c);
    c = reader(AVOW_BUS_READ_COMMITTED, 0, 4); /* nothing but an aborted record and a marker */
    expect_position(c, 0, 6);
    avow_bus_consumer_free(c);
    avow_bus_producer_free(p);
}

static void test_bus__wrong_order_of_calls__is_a_state_error(void **state)
{
    (void)state;
    char id[64];
    world_topic(1, NULL, 0);
    world_name(id, "tx");
    struct avow_bus_producer *plain = producer(NULL);
    struct avow_bus_producer *p = producer(id);
    struct avow_bus_record rec = {.topic = world.topic};
    assert_rc(AVOW_STATE, avow_bus_txn_begin(plain, ERR));
    assert_rc(AVOW_STATE, avow_bus_send(p, &rec, ERR));
    assert_rc(AVOW_STATE, avow_bus_txn_commit(p, 1000, ERR));
    assert_rc(AVOW_STATE, avow_bus_txn_abort(p, 1000, ERR));
    begin(p);
    assert_rc(AVOW_STATE, avow_bus_txn_begin(p, ERR));
    commit(p); /* an empty transaction is fine */
    avow_bus_producer_free(p);
    avow_bus_producer_free(plain);
}

static void test_bus__same_transactional_id__fences_the_older_and_aborts_it(void **state)
{
    (void)state;
    static const char *const kept[] = {"of the new one"};
    char id[64];
    world_topic(1, NULL, 0);
    world_name(id, "tx");
    struct avow_bus_producer *old = producer(id);
    begin(old);
    put(old, 0, "of the old one");
    struct avow_bus_producer *new = producer(id);
    begin(new);
    put(new, 0, kept[0]);
    commit(new);
    assert_rc(AVOW_BUS_FATAL, avow_bus_txn_commit(old, WAIT_MS, ERR));
    struct avow_bus_record rec = {.topic = world.topic};
    assert_int_not_equal(avow_bus_txn_begin(old, NULL), AVOW_OK);
    assert_int_not_equal(avow_bus_send(old, &rec, NULL), AVOW_OK);
    struct avow_bus_consumer *c = reader(AVOW_BUS_READ_COMMITTED, 0, AVOW_BUS_BEGINNING);
    expect_values(c, 1, kept);
    avow_bus_consumer_free(c);
    avow_bus_producer_free(old);
    begin(new); /* the old one's end has not hurt the new one */
    put(new, 0, "more");
    commit(new);
    avow_bus_producer_free(new);
}

static void test_bus__freed_producer__leaves_no_open_transaction(void **state)
{
    (void)state;
    static const char *const kept[] = {"kept"};
    char id[64];
    world_topic(1, NULL, 0);
    world_name(id, "tx");
    struct avow_bus_producer *p = producer(id);
    struct avow_bus_producer *plain = producer(NULL);
    begin(p);
    put(p, 0, "dropped");
    put(plain, 0, kept[0]);
    avow_bus_producer_free(p);
    struct avow_bus_consumer *c = reader(AVOW_BUS_READ_COMMITTED, 0, AVOW_BUS_BEGINNING);
    expect_values(c, 1, kept);
    avow_bus_consumer_free(c);
    avow_bus_producer_free(plain);
}

/* --- Offsets --- */

static enum avow_rc committed(struct member *m, unsigned timeout_ms, int64_t *out)
{
    struct avow_err err = {0};
    return avow_bus_committed(m->c, world.topic, 0, timeout_ms, out, &err);
}

static void send_offset(struct avow_bus_producer *p, struct member *m, int64_t offset)
{
    struct avow_bus_tp tp = {world.topic, 0, offset};
    assert_rc(AVOW_OK, avow_bus_txn_send_offsets(p, m->c, &tp, 1, ERR));
}

static void test_bus__offsets_of_a_transaction__count_when_it_commits(void **state)
{
    (void)state;
    char id[64];
    char group[64];
    int64_t at = -7;
    struct member m;
    world_topic(1, NULL, 0);
    world_name(id, "tx");
    world_name(group, "group");
    struct avow_bus_producer *p = producer(id);
    member_open(&m, world.bus, group, NULL, 0);
    member_wait(&m, 1);
    assert_int_equal(committed(&m, WAIT_MS, &at), AVOW_NOTFOUND);
    assert_int_equal(at, -7);

    begin(p);
    send_offset(p, &m, 3);
    assert_int_equal(committed(&m, 700, &at),
                     AVOW_TIMEOUT); /* unstable: nobody may start from it */
    commit(p);
    assert_int_equal(committed(&m, WAIT_MS, &at), AVOW_OK);
    assert_int_equal(at, 3);

    begin(p);
    send_offset(p, &m, 9);
    assert_rc(AVOW_OK, avow_bus_txn_abort(p, WAIT_MS, ERR));
    assert_int_equal(committed(&m, WAIT_MS, &at), AVOW_OK);
    assert_int_equal(at, 3);
    member_close(&m);
    avow_bus_producer_free(p);
}

/* PROTOCOL R9: the new owner of a partition ends the transaction of a dead one by taking its name.
 */
static void test_bus__take_the_name_of_a_dead_one__frees_its_offsets(void **state)
{
    (void)state;
    char id[64];
    char group[64];
    int64_t at = -1;
    struct member m;
    world_topic(1, NULL, 0);
    world_name(id, "tx");
    world_name(group, "group");
    struct avow_bus_producer *dead = producer(id);
    member_open(&m, world.bus, group, NULL, 0);
    member_wait(&m, 1);
    begin(dead);
    put(dead, 0, "dropped");
    send_offset(dead, &m, 5);
    assert_int_equal(committed(&m, 700, &at), AVOW_TIMEOUT);
    avow_bus_producer_free(producer(id));
    assert_int_equal(committed(&m, WAIT_MS, &at), AVOW_NOTFOUND);
    expect_values(m.c, 0, NULL);
    member_close(&m);
    avow_bus_producer_free(dead);
}

static void test_bus__commit_without_transaction__counts_at_once(void **state)
{
    (void)state;
    char group[64];
    int64_t at = -1;
    struct member m;
    world_topic(1, NULL, 0);
    world_name(group, "group");
    member_open(&m, world.bus, group, NULL, 0);
    member_wait(&m, 1);
    struct avow_bus_tp tp = {world.topic, 0, 4};
    assert_rc(AVOW_OK, avow_bus_commit(m.c, &tp, 1, ERR));
    assert_int_equal(committed(&m, WAIT_MS, &at), AVOW_OK);
    assert_int_equal(at, 4);
    member_close(&m);
}

static void test_bus__consumer_without_group__has_no_offsets(void **state)
{
    (void)state;
    int64_t at = -1;
    world_topic(1, NULL, 0);
    struct avow_bus_consumer *c = reader(AVOW_BUS_READ_COMMITTED, 0, 0);
    struct avow_bus_tp tp = {world.topic, 0, 4};
    assert_rc(AVOW_STATE, avow_bus_commit(c, &tp, 1, ERR));
    assert_rc(AVOW_STATE, avow_bus_committed(c, world.topic, 0, 1000, &at, ERR));
    avow_bus_consumer_free(c);
}

const struct CMUnitTest txn_cases[] = {
    cmocka_unit_test(test_bus__open_transaction__hides_itself_and_what_follows),
    cmocka_unit_test(test_bus__aborted_transaction__is_invisible_and_passed),
    cmocka_unit_test(test_bus__wrong_order_of_calls__is_a_state_error),
    cmocka_unit_test(test_bus__same_transactional_id__fences_the_older_and_aborts_it),
    cmocka_unit_test(test_bus__freed_producer__leaves_no_open_transaction),
    cmocka_unit_test(test_bus__offsets_of_a_transaction__count_when_it_commits),
    cmocka_unit_test(test_bus__take_the_name_of_a_dead_one__frees_its_offsets),
    cmocka_unit_test(test_bus__commit_without_transaction__counts_at_once),
    cmocka_unit_test(test_bus__consumer_without_group__has_no_offsets),
    {0},
};
