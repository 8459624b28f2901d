/* What bus_mem offers tests beyond the table of tests/bus: commits that fail, members that expire,
 * its clock. */
#include "avow/bus/bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

struct fixture {
    struct avow_bus_mem_broker *broker;
    struct avow_bus *bus;
};

struct member {
    struct avow_bus_consumer *c;
    size_t owned;
    unsigned revoked, lost;
};

static int setup(void **state)
{
    static struct fixture f;
    struct avow_bus_topic_spec spec = {.name = "t", .partitions = 2, .replication = -1};
    assert_int_equal(avow_bus_mem_broker_new(&f.broker, NULL), AVOW_OK);
    assert_int_equal(avow_bus_mem_new(f.broker, &f.bus, NULL), AVOW_OK);
    assert_int_equal(avow_bus_topic_create(f.bus, &spec, 0, NULL), AVOW_OK);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    avow_bus_free(f->bus);
    avow_bus_mem_broker_free(f->broker);
    return 0;
}

static struct avow_bus_producer *producer(const struct fixture *f, const char *id)
{
    struct avow_bus_producer *p = NULL;
    struct avow_bus_producer_opts opts = {.transactional_id = id, .txn_timeout_ms = id ? 1000 : 0};
    assert_int_equal(avow_bus_producer_new(f->bus, &opts, &p, NULL), AVOW_OK);
    return p;
}

static enum avow_rc put(struct avow_bus_producer *p, const char *value)
{
    struct avow_bus_record rec = {.topic = "t", .value = avow_bytes_make(value, strlen(value))};
    return avow_bus_send(p, &rec, NULL);
}

static void assigned(void *arg, const int32_t *partitions, size_t n)
{
    struct member *m = arg;
    m->owned = n;
    for (size_t i = 0; i < n; i++) {
        struct avow_bus_tp tp = {"t", partitions[i], AVOW_BUS_BEGINNING};
        assert_int_equal(avow_bus_assign(m->c, &tp, 1, NULL), AVOW_OK);
    }
}

static void revoked(void *arg, const int32_t *partitions, size_t n, bool lost)
{
    struct member *m = arg;
    (void)partitions;
    assert_int_equal(n, m->owned);
    m->owned = 0;
    m->revoked++;
    m->lost += lost ? 1 : 0;
}

static void join(const struct fixture *f, struct member *m)
{
    *m = (struct member){0};
    struct avow_bus_consumer_opts opts = {.group = "g",
                                          .subscribe = "t",
                                          .rebalance = {m, assigned, revoked},
                                          .isolation = AVOW_BUS_READ_COMMITTED};
    assert_int_equal(avow_bus_consumer_new(f->bus, &opts, &m->c, NULL), AVOW_OK);
}

static const char *poll(struct member *m)
{
    static char text[16];
    struct avow_bus_msg msg;
    assert_int_equal(avow_bus_poll(m->c, 0, &msg, NULL), AVOW_OK);
    if (!msg.topic)
        return NULL;
    assert_true(avow_str_copy(text, sizeof(text),
                              (struct avow_str){(const char *)msg.value.ptr, msg.value.len}));
    return text;
}

static enum avow_rc send_offset(struct avow_bus_producer *p, struct member *m, int64_t offset)
{
    struct avow_bus_tp tp = {"t", 0, offset};
    return avow_bus_txn_send_offsets(p, m->c, &tp, 1, NULL);
}

static void test_mem_fail_commits__next_n__are_aborted_and_must_be_redone(void **state)
{
    struct fixture *f = *state;
    struct avow_bus_producer *p = producer(f, "id");
    struct member m;
    int64_t at = 0;
    join(f, &m);
    assert_null(poll(&m));
    avow_bus_mem_fail_commits(f->broker, 2);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(avow_bus_txn_begin(p, NULL), AVOW_OK);
        assert_int_equal(put(p, "x"), AVOW_OK);
        assert_int_equal(send_offset(p, &m, i + 1), AVOW_OK);
        assert_int_equal(avow_bus_txn_commit(p, 0, NULL), i < 2 ? AVOW_BUS_RETRY : AVOW_OK);
        assert_int_equal(avow_bus_committed(m.c, "t", 0, 0, &at, NULL),
                         i < 2 ? AVOW_NOTFOUND : AVOW_OK);
    }
    assert_int_equal(at, 3);
    assert_string_equal(poll(&m), "x");
    assert_null(poll(&m)); /* one, not three */
    avow_bus_consumer_free(m.c);
    avow_bus_producer_free(p);
}

static void test_mem_expire__zombie__is_refused_and_learns_of_its_loss(void **state)
{
    struct fixture *f = *state;
    struct avow_bus_producer *old = producer(f, "old");
    struct avow_bus_producer *new = producer(f, "new");
    struct member a;
    struct member b;
    join(f, &a);
    assert_null(poll(&a));
    assert_int_equal(a.owned, 2);
    join(f, &b);
    assert_null(poll(&b));
    assert_int_equal(b.owned, 0); /* `a` was not told yet */
    avow_bus_mem_expire(a.c);
    assert_null(poll(&b));
    assert_int_equal(b.owned, 2);
    assert_int_equal(a.owned, 2); /* it believes so */

    assert_int_equal(avow_bus_txn_begin(new, NULL), AVOW_OK);
    assert_int_equal(send_offset(new, &b, 5), AVOW_OK);
    assert_int_equal(avow_bus_txn_commit(new, 0, NULL), AVOW_OK);
    assert_int_equal(avow_bus_txn_begin(old, NULL), AVOW_OK);
    assert_int_equal(put(old, "late"), AVOW_OK);
    assert_int_equal(send_offset(old, &a, 1), AVOW_BUS_RETRY);
    assert_int_equal(avow_bus_txn_commit(old, 0, NULL), AVOW_STATE); /* the abort was done */
    struct avow_bus_tp tp = {"t", 0, 1};
    assert_int_equal(avow_bus_commit(a.c, &tp, 1, NULL), AVOW_BUS);
    int64_t at = 0;
    assert_int_equal(avow_bus_committed(b.c, "t", 0, 0, &at, NULL), AVOW_OK);
    assert_int_equal(at, 5);
    assert_null(poll(&b)); /* "late" was aborted */

    assert_null(poll(&a));
    assert_int_equal(a.lost, 1);
    assert_int_equal(a.owned, 0);
    for (int i = 0; i < 3; i++) {
        assert_null(poll(&a));
        assert_null(poll(&b));
    }
    assert_int_equal(b.owned, 2); /* the returning one waits */
    avow_bus_consumer_free(b.c);
    assert_null(poll(&a));
    assert_int_equal(a.owned, 2);
    avow_bus_consumer_free(a.c);
    avow_bus_producer_free(old);
    avow_bus_producer_free(new);
}

static void test_mem_join__newest_member__gets_all_after_the_old_one_was_told(void **state)
{
    struct fixture *f = *state;
    struct member a;
    struct member b;
    join(f, &a);
    assert_null(poll(&a));
    join(f, &b);
    assert_null(poll(&b));
    assert_int_equal(b.owned, 0);
    assert_null(poll(&a));
    assert_int_equal(a.revoked, 1);
    assert_int_equal(a.lost, 0);
    assert_null(poll(&b));
    assert_int_equal(b.owned, 2);
    struct avow_bus_tp tp = {"t", 0, 1};
    assert_int_equal(avow_bus_commit(a.c, &tp, 1, NULL), AVOW_BUS); /* of the old generation */
    avow_bus_consumer_free(a.c);
    avow_bus_consumer_free(b.c);
}

static void test_mem_set_time__records__carry_it(void **state)
{
    struct fixture *f = *state;
    struct avow_bus_producer *p = producer(f, NULL);
    struct avow_bus_consumer_opts opts = {0};
    struct avow_bus_consumer *c = NULL;
    struct avow_bus_msg msg;
    assert_int_equal(put(p, "a"), AVOW_OK);
    avow_bus_mem_set_time(f->broker, 1234);
    assert_int_equal(put(p, "b"), AVOW_OK);
    assert_int_equal(avow_bus_consumer_new(f->bus, &opts, &c, NULL), AVOW_OK);
    struct avow_bus_tp tp = {"t", 0, AVOW_BUS_BEGINNING};
    assert_int_equal(avow_bus_assign(c, &tp, 1, NULL), AVOW_OK);
    assert_int_equal(avow_bus_poll(c, 0, &msg, NULL), AVOW_OK);
    assert_int_equal(msg.timestamp_ms, 0);
    assert_int_equal(avow_bus_poll(c, 0, &msg, NULL), AVOW_OK);
    assert_int_equal(msg.timestamp_ms, 1234);
    assert_false(msg.timestamp_is_append);
    avow_bus_consumer_free(c);
    avow_bus_producer_free(p);
}

static void test_mem_poll__two_partitions__none_starves(void **state)
{
    struct fixture *f = *state;
    struct avow_bus_producer *p = producer(f, NULL);
    struct avow_bus_consumer_opts opts = {0};
    struct avow_bus_consumer *c = NULL;
    unsigned seen[2] = {0, 0};
    for (int i = 0; i < 6; i++) {
        struct avow_bus_record rec = {.topic = "t", .partition = i % 2};
        assert_int_equal(avow_bus_send(p, &rec, NULL), AVOW_OK);
    }
    assert_int_equal(avow_bus_consumer_new(f->bus, &opts, &c, NULL), AVOW_OK);
    struct avow_bus_tp tps[] = {{"t", 0, 0}, {"t", 1, 0}};
    assert_int_equal(avow_bus_assign(c, tps, 2, NULL), AVOW_OK);
    for (int i = 0; i < 4; i++) {
        struct avow_bus_msg msg;
        assert_int_equal(avow_bus_poll(c, 0, &msg, NULL), AVOW_OK);
        seen[msg.partition]++;
    }
    assert_int_equal(seen[0], 2);
    assert_int_equal(seen[1], 2);
    avow_bus_consumer_free(c);
    avow_bus_producer_free(p);
}

static void test_mem__unknown_topics_and_partitions__are_not_found(void **state)
{
    struct fixture *f = *state;
    struct avow_bus_producer *p = producer(f, NULL);
    struct avow_bus_record rec = {.topic = "u"};
    assert_int_equal(avow_bus_send(p, &rec, NULL), AVOW_NOTFOUND);
    rec = (struct avow_bus_record){.topic = "t", .partition = 2};
    assert_int_equal(avow_bus_send(p, &rec, NULL), AVOW_NOTFOUND);
    struct avow_bus_producer *q = NULL;
    struct avow_bus_producer_opts opts = {.transactional_id = "x",
                                          .txn_timeout_ms = 1000,
                                          .topics = (const char *const[]){"u"},
                                          .n_topics = 1};
    assert_int_equal(avow_bus_producer_new(f->bus, &opts, &q, NULL), AVOW_NOTFOUND);
    avow_bus_producer_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_mem_fail_commits__next_n__are_aborted_and_must_be_redone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mem_expire__zombie__is_refused_and_learns_of_its_loss,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_mem_join__newest_member__gets_all_after_the_old_one_was_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mem_set_time__records__carry_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mem_poll__two_partitions__none_starves, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_mem__unknown_topics_and_partitions__are_not_found,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
