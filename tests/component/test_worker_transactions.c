/* test_worker_transactions.c - exactly once, take-over, fencing, at_least_once (ATTACKS AX3-AX6,
 * AX8, AX9; PROTOCOL R9). */
#include "world.h"

#include "avow/trust/records.h"

#include "avow/base/banned.h"

static const char *const good[] = {"/bin/a", "/bin/b"};

struct fixture {
    struct world w;
    struct rig_agent a;
};

static int setup_with(void **state, enum avow_guarantee guarantee)
{
    struct fixture *f = test_calloc(1, sizeof *f);
    world_init(&f->w, 2, guarantee);
    rig_init(&f->a, "host-1", f->w.fleet);
    rig_measure(&f->a, "/bin/a", "/bin/a");
    world_policy(&f->w, "p", 1, good, 2);
    world_enroll(&f->w, &f->a, &(struct world_enroll){.generation = 1, .policy = "p"});
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 1000);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, AVOW_EXACTLY_ONCE);
}

static int setup_at_least_once(void **state)
{
    return setup_with(state, AVOW_AT_LEAST_ONCE);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    rig_deinit(&f->a);
    world_deinit(&f->w);
    test_free(f);
    return 0;
}

static void test_AX5__commit_fails__redone_without_twin_or_loss(void **state)
{
    struct fixture *f = *state;
    struct avow_state before, after;
    (void)world_states(&f->w, "host-1", &before);
    avow_bus_mem_fail_commits(f->w.broker, 3);
    rig_measure(&f->a, "/bin/evil", "evil");
    world_turn(&f->w, 0, &f->a);
    const struct avow_worker_counters *c = avow_worker_counters(f->w.workers[0]);
    assert_int_equal(c->aborts, 3);
    (void)world_states(&f->w, "host-1", &after);
    assert_int_equal(after.seq,
                     before.seq + 1); /* the aborted attempts left nothing behind in memory */
    assert_int_equal(after.appraised, before.appraised + 1);
    assert_int_equal(after.transitions, before.transitions + 1);
    assert_int_equal(c->revocations, 1);
    world_expect(&f->w, "host-1", AVOW_STATUS_UNTRUSTED);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 1);
    world_check_exactly_once(&f->w, "host-1");
}

static void test_AX5__commit_fails_with_drops__counted_once(void **state)
{
    struct fixture *f = *state;
    struct avow_marker m;
    struct avow_state s;
    world_marker(&f->w, &f->a, &m);
    avow_bus_mem_fail_commits(f->w.broker, 2);
    (void)world_attest_with(&f->w, &f->a, &m, &(struct rig_tamper){.signature = true});
    f->a.next = 0;
    (void)world_attest_with(&f->w, &f->a, &m, NULL);
    (void)world_attest_with(&f->w, &f->a, &m, &(struct rig_tamper){.signature = true});
    world_run(&f->w, 0, 2000);
    world_turn(&f->w, 0, &f->a);
    (void)world_states(&f->w, "host-1", &s);
    assert_int_equal(s.dropped_count, 1);
    assert_int_equal(s.dropped[0].count, 2);
    assert_int_equal(avow_worker_counters(f->w.workers[0])->dropped[AVOW_DROP_REASON_SIGNATURE], 2);
}

static void test_AX5__timer_output_fails__redone(void **state)
{
    struct fixture *f = *state;
    struct rig_agent b;
    rig_init(&b, "host-2", f->w.fleet);
    avow_bus_mem_fail_commits(f->w.broker, 2);
    world_enroll(&f->w, &b, &(struct world_enroll){.generation = 1});
    world_run(&f->w, 0, 2000);
    assert_int_equal(world_states(&f->w, "host-2", NULL), 1); /* first sight, once */
    assert_int_equal(world_directives(&f->w, "host-2", NULL), 1);
    rig_deinit(&b);
}

static void test_take_over__clean__continues_from_the_topic(void **state)
{
    struct fixture *f = *state;
    struct avow_state before, after;
    (void)world_states(&f->w, "host-1", &before);
    world_stop(&f->w, 0);
    world_worker(&f->w, 1, "w1");
    world_run(&f->w, 1, 12000);
    world_turn(&f->w, 1, &f->a); /* a delta: nothing was forgotten */
    (void)world_states(&f->w, "host-1", &after);
    assert_int_equal(after.seq, before.seq + 1);
    assert_int_equal(after.appraised, before.appraised + 1);
    assert_int_equal(after.ima.proven_count, 2);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    assert_int_equal(world_directives(&f->w, "host-1", NULL), 1);
    assert_int_equal(world_revocations(&f->w, NULL, -1, NULL), 0);
}

static void test_take_over__evidence_was_waiting__judged_once(void **state)
{
    struct fixture *f = *state;
    world_kill(&f->w, 0);
    rig_measure(&f->a, "/bin/evil", "evil");
    (void)world_attest(&f->w, &f->a);
    world_worker(&f->w, 1, "w1");
    world_run(&f->w, 1, 3000);
    world_expect(&f->w, "host-1", AVOW_STATUS_UNTRUSTED);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 1);
    world_check_exactly_once(&f->w, "host-1");
}

static void test_AX2__zombie_comes_back__loses_and_commits_nothing(void **state)
{
    struct fixture *f = *state;
    world_kill(&f->w, 0);
    world_worker(&f->w, 1, "w1");
    world_run(&f->w, 1, 1000);
    rig_measure(&f->a, "/bin/evil", "evil");
    (void)world_attest(&f->w, &f->a);
    world_run(&f->w, 0, 1000); /* AX2: it learns that it has lost the partition */
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 0);
    world_run(&f->w, 1, 1000);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 1);
    world_check_exactly_once(&f->w, "host-1");
}

/* AX3: the predecessor died in an open transaction. With offsets in it, the committed offset is
 * unstable; without, only the end of `state` is hidden. */
static void open_transaction(struct fixture *f, bool with_offsets)
{
    struct avow_err err;
    struct avow_bus_consumer *member = NULL;
    struct avow_bus_producer *dead = NULL;
    world_kill(&f->w, 0);
    /* Its transaction: a state that must never count, and an offset. */
    struct avow_bus_producer_opts opts = {.transactional_id = "avow.avow-workers.w0.0",
                                          .txn_timeout_ms = 6000};
    struct avow_bus_consumer_opts alone = {.group = "avow-workers"};
    assert_int_equal(avow_bus_producer_new(f->w.bus, &opts, &dead, &err), AVOW_OK);
    assert_int_equal(avow_bus_consumer_new(f->w.bus, &alone, &member, &err), AVOW_OK);
    assert_int_equal(avow_bus_txn_begin(dead, &err), AVOW_OK);
    struct avow_bus_record lost = {.topic = "avow.state",
                                   .partition = world_partition(&f->w, "host-1"),
                                   .key = avow_bytes_make("host-1", 6),
                                   .value_null = true};
    assert_int_equal(avow_bus_send(dead, &lost, &err), AVOW_OK);
    struct avow_bus_tp tp = {"avow.evidence", world_partition(&f->w, "host-1"), 99};
    if (with_offsets)
        assert_int_equal(avow_bus_txn_send_offsets(dead, member, &tp, 1, &err), AVOW_OK);

    uint64_t start = f->w.mono_ms;
    world_worker(&f->w, 1, "w1");
    world_run(&f->w, 1, 500);
    assert_in_range(f->w.mono_ms - start, 1500, 3500); /* waited 1.5 s, then fenced */
    assert_true(avow_worker_is_ready(f->w.workers[1]));
    assert_int_equal(avow_bus_txn_commit(dead, 100, &err),
                     AVOW_BUS_FATAL); /* the dead cannot commit any more */
    world_run(&f->w, 1, 10000);
    world_turn(&f->w, 1, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    assert_int_equal(world_directives(&f->w, "host-1", NULL), 1); /* the state was not lost */
    avow_bus_producer_free(dead);
    avow_bus_consumer_free(member);
}

static void test_AX3__open_transaction_with_offsets__fenced_by_name(void **state)
{
    open_transaction(*state, true);
}

static void test_AX3__open_transaction_without_offsets__fenced_by_name(void **state)
{
    open_transaction(*state, false);
}

/* Within the same epoch: the old marker stays answerable, the new owner waits for the next epoch
 * (R22). */
static void test_take_over__same_epoch__old_marker_is_answered(void **state)
{
    struct fixture *f = *state;
    world_kill(&f->w, 0);
    world_worker(&f->w, 1, "w1");
    world_run(&f->w, 1, 1000);
    assert_int_equal(avow_worker_counters(f->w.workers[1])->markers, 0);
    world_turn(&f->w, 1, &f->a);
    struct avow_state s;
    (void)world_states(&f->w, "host-1", &s);
    assert_int_equal(s.appraised, 2);
    world_run(&f->w, 1, 10000);
    assert_int_equal(avow_worker_counters(f->w.workers[1])->markers, 2); /* one a partition */
}

static void test_AX8__retention_overtook_the_group__alarm_and_on(void **state)
{
    struct fixture *f = *state;
    world_stop(&f->w, 0);
    for (int i = 0; i < 5; i++)
        (void)world_attest(&f->w, &f->a);
    avow_bus_mem_delete_before(f->w.broker, "avow.evidence", world_partition(&f->w, "host-1"), 4);
    world_worker(&f->w, 1, "w1");
    world_run(&f->w, 1, 12000);
    assert_int_equal(world_alarms(&f->w, "evidence.lost"), 1);
    world_turn(&f->w, 1, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
}

static void test_AX8__retention_overtakes_while_running__alarm_and_on(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++)
        (void)world_attest(&f->w, &f->a);
    avow_bus_mem_delete_before(f->w.broker, "avow.evidence", world_partition(&f->w, "host-1"), 4);
    world_run(&f->w, 0, 2000);
    assert_int_equal(world_alarms(&f->w, "evidence.lost"), 1);
    struct avow_state s;
    (void)world_states(&f->w, "host-1", &s);
    assert_int_equal(s.appraised, 3); /* one at setup, two of the five are left */
}

static void test_at_least_once__good_and_bad__same_results(void **state)
{
    struct fixture *f = *state;
    rig_measure(&f->a, "/bin/evil", "evil");
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_UNTRUSTED);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 1);
    world_check_exactly_once(&f->w, "host-1");
}

/* AX9: killed before the offset was committed: the successor judges again, from the state before or
 * after. */
static void test_AX9__offset_not_committed__twin_has_the_same_id(void **state)
{
    struct fixture *f = *state;
    struct avow_revocation first, second;
    int32_t p = world_partition(&f->w, "host-1");
    struct avow_state before;
    (void)world_states(&f->w, "host-1", &before);
    rig_measure(&f->a, "/bin/evil", "evil");
    world_turn(&f->w, 0, &f->a);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, &first), 1);
    world_stop(&f->w, 0);
    /* As if neither the state nor the offset had been written: put both back. */
    struct avow_bus_consumer *member = NULL;
    struct avow_bus_consumer_opts alone = {.group = "avow-workers"};
    struct avow_err err;
    struct avow_bus_tp tp = {"avow.evidence", p, 1};
    assert_int_equal(avow_bus_consumer_new(f->w.bus, &alone, &member, &err), AVOW_OK);
    assert_int_equal(avow_bus_commit(member, &tp, 1, &err), AVOW_OK);
    avow_bus_consumer_free(member);
    struct avow_buf record;
    avow_buf_init(&record, 65536);
    assert_int_equal(avow_seal_state(&before, &f->w.keys.mac[0], &record, &err), AVOW_OK);
    world_put(&f->w, "state", p, "host-1", avow_buf_bytes(&record));
    avow_buf_deinit(&record);
    world_worker(&f->w, 1, "w1");
    world_run(&f->w, 1, 2000);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, &second), 2);
    assert_memory_equal(first.id, second.id, sizeof first.id);
    assert_int_equal(first.seq, second.seq);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_AX5__commit_fails__redone_without_twin_or_loss),
        T(test_AX5__commit_fails_with_drops__counted_once),
        T(test_AX5__timer_output_fails__redone),
        T(test_take_over__clean__continues_from_the_topic),
        T(test_take_over__evidence_was_waiting__judged_once),
        T(test_AX2__zombie_comes_back__loses_and_commits_nothing),
        T(test_AX3__open_transaction_with_offsets__fenced_by_name),
        T(test_AX3__open_transaction_without_offsets__fenced_by_name),
        T(test_take_over__same_epoch__old_marker_is_answered),
        T(test_AX8__retention_overtook_the_group__alarm_and_on),
        T(test_AX8__retention_overtakes_while_running__alarm_and_on),
        cmocka_unit_test_setup_teardown(test_at_least_once__good_and_bad__same_results,
                                        setup_at_least_once, teardown),
        cmocka_unit_test_setup_teardown(test_AX9__offset_not_committed__twin_has_the_same_id,
                                        setup_at_least_once, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
