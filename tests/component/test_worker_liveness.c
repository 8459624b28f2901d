/* test_worker_liveness.c - silence, outages, waves (ATTACKS AL1-AL10 in small; PROTOCOL R8). */
#include "world.h"

#include "avow/base/banned.h"

struct fixture {
    struct world w;
    struct rig_agent a;
};

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);
    world_init(&f->w, 1, AVOW_EXACTLY_ONCE);
    rig_init(&f->a, "host-1", f->w.fleet);
    world_enroll(&f->w, &f->a, &(struct world_enroll){.generation = 1});
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 1000);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    rig_deinit(&f->a);
    world_deinit(&f->w);
    test_free(f);
    return 0;
}

static void heartbeats(struct fixture *f, unsigned worker, uint64_t ms)
{
    for (uint64_t end = f->w.mono_ms + ms; f->w.mono_ms < end;) {
        world_turn(&f->w, worker, &f->a);
        world_run(&f->w, worker, 19000);
    }
}

static void test_AL10__silence__once_and_recovers_once(void **state)
{
    struct fixture *f = *state;
    struct avow_revocation r;
    world_run(&f->w, 0, WORLD_SILENT_MS - 15000);
    assert_int_equal(world_revocations(&f->w, NULL, -1, NULL), 0);
    world_run(&f->w, 0, 40000);
    world_expect(&f->w, "host-1", AVOW_STATUS_SILENT);
    assert_int_equal(world_revocations(&f->w, "host-1", AVOW_REVOCATION_CLASS_SILENT, &r), 1);
    assert_true(avow_str_is(r.event_id, "agent.silent"));
    world_run(&f->w, 0, 300000);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 1);
    world_turn(&f->w, 0, &f->a); /* AL10 */
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    assert_int_equal(world_revocations(&f->w, "host-1", AVOW_REVOCATION_CLASS_RECOVERY, NULL), 1);
    heartbeats(f, 0, 120000);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 2);
    world_check_exactly_once(&f->w, "host-1");
}

static void test_AL10__returns_bad__untrusted(void **state)
{
    struct fixture *f = *state;
    world_run(&f->w, 0, 120000);
    world_expect(&f->w, "host-1", AVOW_STATUS_SILENT);
    world_enroll(&f->w, &f->a, &(struct world_enroll){.generation = 2, .other_banks = true});
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_UNTRUSTED);
    assert_int_equal(world_revocations(&f->w, "host-1", AVOW_REVOCATION_CLASS_REVOCATION, NULL), 1);
}

static void test_AL1_AL2__all_workers_down__only_the_dead_are_silent(void **state)
{
    struct fixture *f = *state;
    world_stop(&f->w, 0);
    world_pass(&f->w, 1800000); /* AL1 in small: half an hour nobody issues markers */
    world_worker(&f->w, 1, "w1");
    world_run(&f->w, 1, 1000);
    assert_int_equal(world_revocations(&f->w, NULL, -1, NULL), 0);
    heartbeats(f, 1, 300000);
    assert_int_equal(world_revocations(&f->w, NULL, -1, NULL), 0);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    world_run(&f->w, 1, 200000); /* AL2: but one that died is found, by service time */
    assert_int_equal(world_revocations(&f->w, "host-1", AVOW_REVOCATION_CLASS_SILENT, NULL), 1);
}

static void test_outage__stalled_process__no_silence(void **state)
{
    struct fixture *f = *state;
    world_pass(&f->w, 600000); /* SIGSTOP, SIGCONT; agents could not know a newer marker */
    world_run(&f->w, 0, 60000);
    assert_int_equal(world_revocations(&f->w, NULL, -1, NULL), 0);
}

static void test_AL3__crash_loop__dead_agent_found_all_the_same(void **state)
{
    struct fixture *f = *state;
    world_stop(&f->w, 0);
    unsigned rounds = 0; /* AL3: up 60 s, down 25 s (below three epochs) */
    while (!world_revocations(&f->w, "host-1", AVOW_REVOCATION_CLASS_SILENT, NULL) &&
           ++rounds < 10) {
        world_pass(&f->w, 25000);
        world_worker(&f->w, 0, "w0");
        world_run(&f->w, 0, 60000);
        world_stop(&f->w, 0);
    }
    assert_in_range(rounds, 2, 3);
}

static void test_AL4__old_evidence_drips__does_not_look_alive(void **state)
{
    struct fixture *f = *state;
    struct avow_marker old;
    world_marker(&f->w, &f->a,
                 &old); /* AL4: all answered within one epoch, delivered later, one by one */
    struct avow_bytes held[12];
    for (size_t i = 0; i < AVOW_ARRAY_LEN(held); i++) {
        struct avow_buf out;
        avow_buf_init(&out, 1u << 20);
        rig_attest(&f->a, &old, NULL, &out);
        held[i] = avow_arena_bytes(&f->w.arena, avow_buf_bytes(&out));
        avow_buf_deinit(&out);
    }
    for (size_t i = 0; i < AVOW_ARRAY_LEN(held); i++) {
        world_send(&f->w, &f->a, held[i]);
        world_run(&f->w, 0, 20000);
    }
    world_expect(&f->w, "host-1", AVOW_STATUS_SILENT);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 1);
}

static void test_paused__honoured_for_silence_only(void **state)
{
    struct fixture *f = *state;
    uint64_t until = f->w.unix_ms + 600000;
    world_enroll(&f->w, &f->a, &(struct world_enroll){.generation = 2, .paused_until_ms = until});
    world_turn(&f->w, 0, &f->a);
    world_run(&f->w, 0, 500000);
    assert_int_equal(world_revocations(&f->w, NULL, -1, NULL), 0);
    world_run(&f->w, 0, 200000);
    assert_int_equal(world_revocations(&f->w, "host-1", AVOW_REVOCATION_CLASS_SILENT, NULL), 1);
}

static void test_enrolled__never_heard__silent_like_any_other(void **state)
{
    struct fixture *f = *state;
    struct rig_agent b;
    rig_init(&b, "host-2", f->w.fleet);
    world_enroll(&f->w, &b, &(struct world_enroll){.generation = 1});
    heartbeats(f, 0, 140000);
    world_expect(&f->w, "host-2", AVOW_STATUS_SILENT);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    rig_deinit(&b);
}

static void test_AL6__never_attested__one_alarm_after_first_contact(void **state)
{
    struct fixture *f = *state;
    struct rig_agent b;
    rig_init(&b, "host-2", f->w.fleet);
    world_enroll(&f->w, &b,
                 &(struct world_enroll){.generation = 1, .status = AVOW_ENROLL_STATUS_EXPECTED});
    world_run(&f->w, 0, 3600000);
    assert_int_equal(world_alarms(&f->w, "agent.never_attested"), 0);
    world_run(&f->w, 0, 24u * 3600000u);
    assert_int_equal(world_alarms(&f->w, "agent.never_attested"), 1);
    rig_deinit(&b);
}

/* AL5 */
static void test_AL5__30_agents_cut_off__held_then_found(void **state)
{
    struct fixture *f = *state;
    static struct rig_agent many[30];
    char id[16];
    for (size_t i = 0; i < AVOW_ARRAY_LEN(many); i++) {
        (void)snprintf(id, sizeof id, "many-%zu", i);
        rig_init(&many[i], id, f->w.fleet);
        world_enroll(&f->w, &many[i], &(struct world_enroll){.generation = 1});
    }
    world_run(&f->w, 0, 1000);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(many); i++)
        (void)world_attest(&f->w, &many[i]);
    heartbeats(f, 0, 100000);
    assert_int_equal(world_alarms(&f->w, "fleet.mass_silence"), 1);
    assert_int_equal(world_revocations(&f->w, NULL, AVOW_REVOCATION_CLASS_SILENT, NULL), 0);
    heartbeats(f, 0, 120000);
    assert_int_equal(world_alarms(&f->w, "fleet.mass_silence"), 1);
    assert_int_equal(world_revocations(&f->w, NULL, AVOW_REVOCATION_CLASS_SILENT, NULL), 30);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(many); i++)
        rig_deinit(&many[i]);
}

static void test_take_over__silence_is_not_told_twice(void **state)
{
    struct fixture *f = *state;
    world_run(&f->w, 0, 120000);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 1);
    world_stop(&f->w, 0);
    world_worker(&f->w, 1, "w1");
    world_run(&f->w, 1, 200000);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 1);
    world_check_exactly_once(&f->w, "host-1");
}

static void test_silence__commit_fails__told_once(void **state)
{
    struct fixture *f = *state;
    world_run(&f->w, 0, 60000);
    avow_bus_mem_fail_commits(f->w.broker, 2);
    world_run(&f->w, 0, 60000);
    assert_int_equal(avow_worker_counters(f->w.workers[0])->aborts, 2);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 1);
    world_expect(&f->w, "host-1", AVOW_STATUS_SILENT);
}

/* AL8: what is there and not processed stops the clock. */
static void test_AL8__backlog__clock_stands_still(void **state)
{
    struct fixture *f = *state;
    const struct avow_runner *r = avow_worker_runner(f->w.workers[0], 0);
    world_run(&f->w, 0, 30000);
    avow_bus_mem_fail_commits(f->w.broker, 1000000);
    (void)world_attest(&f->w, &f->a);
    world_run(&f->w, 0, 12000);
    uint64_t stopped = r->bell.service_ms;
    assert_true(stopped > 0);
    world_run(&f->w, 0, 600000);
    assert_int_equal(r->bell.service_ms, stopped);
    avow_bus_mem_fail_commits(f->w.broker, 0);
    heartbeats(f, 0, 60000);
    assert_true(r->bell.service_ms > stopped);
    assert_int_equal(world_revocations(&f->w, NULL, -1, NULL), 0);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
}

static void test_unproven__talks_but_never_proves__untrusted(void **state)
{
    struct fixture *f = *state;
    /* Its list always has a gap: attributed, but nothing is proven. */
    for (int i = 0; i < 20; i++) {
        struct avow_marker m;
        rig_measure(&f->a, "/bin/x", "x");
        f->a.next = f->a.count;
        rig_measure(&f->a, "/bin/y", "y");
        world_marker(&f->w, &f->a, &m);
        (void)world_attest_with(&f->w, &f->a, &m, NULL);
        world_run(&f->w, 0, 20000);
    }
    struct avow_verdict v;
    (void)world_verdicts(&f->w, "host-1", &v);
    assert_int_equal(v.status, AVOW_STATUS_UNTRUSTED);
    assert_true(avow_str_is(v.findings[0].id, "evidence.unproven"));
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_AL10__silence__once_and_recovers_once),
        T(test_AL10__returns_bad__untrusted),
        T(test_AL1_AL2__all_workers_down__only_the_dead_are_silent),
        T(test_outage__stalled_process__no_silence),
        T(test_AL3__crash_loop__dead_agent_found_all_the_same),
        T(test_AL4__old_evidence_drips__does_not_look_alive),
        T(test_paused__honoured_for_silence_only),
        T(test_enrolled__never_heard__silent_like_any_other),
        T(test_AL6__never_attested__one_alarm_after_first_contact),
        T(test_AL5__30_agents_cut_off__held_then_found),
        T(test_take_over__silence_is_not_told_twice),
        T(test_silence__commit_fails__told_once),
        T(test_AL8__backlog__clock_stands_still),
        T(test_unproven__talks_but_never_proves__untrusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
