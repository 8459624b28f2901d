/* test_worker_parts.c - evidence of several parts through the whole worker (ATTACKS group M;
 * PROTOCOL R3, B4), and rebases (R17). */
#include "world.h"

#include "runner.h"

#include "avow/base/banned.h"

#define PARTS 7u
#define MANY 20u

static const char *const good[] = {"/bin/a", "/bin/b"};

struct fixture {
    struct world w;
    struct rig_agent a;
    struct avow_bytes records[RIG_PARTS_MAX];
};

static int setup_with(void **state, enum avow_guarantee guarantee)
{
    struct fixture *f = test_calloc(1, sizeof *f);
    world_init(&f->w, 1, guarantee);
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

static void measure(struct rig_agent *a, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        rig_measure(a, good[i % 2], good[i % 2]);
}

/* Records from `from` to before `to`, then a second of work. */
static void send(struct fixture *f, unsigned worker, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        world_send(&f->w, &f->a, f->records[i]);
    world_run(&f->w, worker, 1000);
}

static struct avow_state state_of(struct fixture *f)
{
    struct avow_state s;
    assert_true(world_states(&f->w, "host-1", &s) > 0);
    return s;
}

static uint64_t dropped(const struct avow_state *s, enum avow_drop_reason why)
{
    for (size_t i = 0; i < s->dropped_count; i++) {
        if (s->dropped[i].reason == why)
            return s->dropped[i].count;
    }
    return 0;
}

static void expect_complete(struct fixture *f)
{
    struct avow_state s = state_of(f);
    assert_false(s.has_open);
    assert_int_equal(s.ima.proven_count, f->a.count);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    assert_int_equal(world_revocations(&f->w, NULL, -1, NULL), 0);
    world_check_exactly_once(&f->w, "host-1");
}

static void test_parts__in_order__folded_into_one_judgement(void **state)
{
    struct fixture *f = *state;
    measure(&f->a, 20);
    world_cut(&f->w, &f->a, PARTS, f->records);
    send(f, 0, 0, 3);
    struct avow_state s = state_of(f);
    assert_true(s.has_open);
    assert_int_equal(s.open.index, 3);
    assert_int_equal(s.ima.proven_count, 2); /* what was proven before */
    send(f, 0, 3, PARTS);
    expect_complete(f);
    s = state_of(f);
    assert_int_equal(s.appraised, 2);
    assert_int_equal(dropped(&s, AVOW_DROP_REASON_PART_ORDER), 0);
}

static void test_parts__all_in_one_batch__the_same(void **state)
{
    struct fixture *f = *state;
    measure(&f->a, 20);
    world_cut(&f->w, &f->a, PARTS, f->records);
    send(f, 0, 0, PARTS);
    expect_complete(f);
}

static void test_parts__bad_file_in_part_3__revoked_before_the_last(void **state)
{
    struct fixture *f = *state;
    struct avow_revocation r;
    struct avow_verdict v;
    measure(&f->a, 6);
    rig_measure(&f->a, "/bin/evil", "evil");
    measure(&f->a, 10);
    rig_measure(&f->a, "/bin/worse", "worse");
    world_cut(&f->w, &f->a, PARTS, f->records);
    send(f, 0, 0, 4);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, &r), 1);
    assert_true(avow_str_is(r.event_id, "ima.digest_unknown"));
    (void)world_verdicts(&f->w, "host-1", &v);
    assert_int_equal(v.findings_total, 1);
    send(f, 0, 4, PARTS);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 1);
    (void)world_verdicts(&f->w, "host-1", &v); /* the last part has its verdict, however close */
    assert_int_equal(v.status, AVOW_STATUS_UNTRUSTED);
    assert_int_equal(v.findings_total, 2);
    world_check_exactly_once(&f->w, "host-1");
}

static void test_AM1__parts_of_mallory_under_bobs_key__dropped_and_bob_completes(void **state)
{
    struct fixture *f = *state;
    measure(&f->a, 20);
    world_cut(&f->w, &f->a, PARTS, f->records);
    for (size_t i = 0; i < PARTS; i++) {
        struct avow_buf forged; /* tag and index are right, a bit of the list is not */
        avow_buf_init(&forged, 1u << 20);
        avow_buf_put(&forged, f->records[i].ptr, f->records[i].len);
        forged.ptr[forged.len - 40] ^= 1;
        if (i)
            world_send(&f->w, &f->a, avow_buf_bytes(&forged));
        world_send(&f->w, &f->a, f->records[i]);
        avow_buf_deinit(&forged);
    }
    world_run(&f->w, 0, 2000);
    expect_complete(f);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_PART_HASH), PARTS - 1);
    world_turn(&f->w, 0, &f->a);
    struct avow_state s = state_of(f);
    assert_int_equal(dropped(&s, AVOW_DROP_REASON_PART_HASH), PARTS - 1);
}

static void test_AM3__swapped_and_repeated_parts__dropped(void **state)
{
    struct fixture *f = *state;
    measure(&f->a, 20);
    world_cut(&f->w, &f->a, PARTS, f->records);
    send(f, 0, 0, 2);
    send(f, 0, 3, 4);
    send(f, 0, 1, 2);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_PART_ORDER), 2);
    send(f, 0, 2, PARTS);
    expect_complete(f);
}

static void test_AM3__last_part_missing__given_up_asked_for_and_no_fail(void **state)
{
    struct fixture *f = *state;
    struct avow_directive d;
    measure(&f->a, 20);
    world_cut(&f->w, &f->a, PARTS, f->records);
    send(f, 0, 0, PARTS - 1);
    assert_int_equal(world_directives(&f->w, "host-1", NULL), 1);
    world_run(&f->w, 0, 55000);
    assert_true(state_of(f).has_open);
    world_run(&f->w, 0, 15000); /* silent_after is not over: credit is that of the head */
    struct avow_state s = state_of(f);
    assert_false(s.has_open);
    assert_int_equal(dropped(&s, AVOW_DROP_REASON_FOLD_ABANDONED), 1);
    assert_int_equal(world_directives(&f->w, "host-1", &d), 2);
    assert_int_equal(d.kind.tag, AVOW_DIRECTIVE_KIND_RESYNC);
    assert_int_equal(d.kind.u.resync.ima_from, 2);
    assert_int_equal(world_revocations(&f->w, NULL, -1, NULL), 0);
    send(f, 0, PARTS - 1, PARTS); /* too late: nobody waits for it */
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_PART_ORDER), 1);
    world_turn(&f->w, 0, &f->a);
    expect_complete(f);
}

static void test_AM4__worker_killed_after_part_3_of_7__the_next_completes(void **state)
{
    struct fixture *f = *state;
    measure(&f->a, 20);
    world_cut(&f->w, &f->a, PARTS, f->records);
    send(f, 0, 0, 3);
    struct avow_state before = state_of(f);
    world_kill(&f->w, 0);
    for (size_t i = 3; i < PARTS; i++)
        world_send(&f->w, &f->a, f->records[i]);
    world_worker(&f->w, 1, "w1");
    world_run(&f->w, 1, 5000);
    struct avow_state s = state_of(f);
    assert_int_equal(s.seq, before.seq + PARTS - 3);
    assert_int_equal(s.appraised, before.appraised);
    expect_complete(f);
    assert_int_equal(world_directives(&f->w, "host-1", NULL), 1);
}

static void test_AM4__first_evidence_and_every_place_to_die__one_verdict(void **state)
{
    (void)state;
    for (size_t at = 1; at < PARTS; at++) {
        struct fixture f = {0};
        world_init(&f.w, 1, AVOW_EXACTLY_ONCE);
        rig_init(&f.a, "host-1", f.w.fleet);
        world_policy(&f.w, "p", 1, good, 2);
        world_enroll(&f.w, &f.a, &(struct world_enroll){.generation = 1, .policy = "p"});
        world_worker(&f.w, 0, "w0");
        world_run(&f.w, 0, 1000);
        measure(&f.a, 20);
        world_cut(&f.w, &f.a, PARTS, f.records);
        send(&f, 0, 0, at);
        world_expect(&f.w, "host-1", AVOW_STATUS_PENDING);
        size_t verdicts = world_verdicts(&f.w, "host-1", NULL);
        world_kill(&f.w, 0);
        for (size_t i = at; i < PARTS; i++)
            world_send(&f.w, &f.a, f.records[i]);
        world_worker(&f.w, 1, "w1");
        world_run(&f.w, 1, 5000);
        expect_complete(&f);
        assert_int_equal(world_verdicts(&f.w, "host-1", NULL), verdicts + 1);
        rig_deinit(&f.a);
        world_deinit(&f.w);
    }
}

static void test_AM4__commits_fail_under_way__redone_without_loss(void **state)
{
    struct fixture *f = *state;
    measure(&f->a, 20);
    world_cut(&f->w, &f->a, PARTS, f->records);
    for (size_t i = 0; i < PARTS; i++) {
        avow_bus_mem_fail_commits(f->w.broker, (unsigned)i % 3);
        send(f, 0, i, i + 1);
    }
    world_run(&f->w, 0, 2000);
    expect_complete(f);
    struct avow_state s = state_of(f);
    assert_int_equal(s.dropped_count, 0);
}

static void test_AM5__agent_begins_again__the_old_fold_is_counted_and_gone(void **state)
{
    struct fixture *f = *state;
    measure(&f->a, 20);
    uint32_t next = f->a.next;
    world_cut(&f->w, &f->a, PARTS, f->records);
    send(f, 0, 0, 3);
    struct avow_bytes late = f->records[3];
    f->a.next = next; /* killed: nothing of it was acknowledged to the new process */
    measure(&f->a, 3);
    world_cut(&f->w, &f->a, 2, f->records);
    send(f, 0, 0, 1);
    world_send(&f->w, &f->a, late);
    send(f, 0, 1, 2);
    expect_complete(f);
    struct avow_state s = state_of(f);
    assert_int_equal(dropped(&s, AVOW_DROP_REASON_FOLD_ABANDONED), 1);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_PART_ORDER), 1);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_FOLD_ABANDONED), 0);
    const struct avow_worker_counters *c = avow_worker_counters(f->w.workers[0]);
    assert_int_equal(c->consumed - c->appraised,
                     1); /* the late part; a head that ends a fold is judged */
    assert_int_equal(world_directives(&f->w, "host-1", NULL), 1);
}

static void test_AM7__two_folds_in_one_partition__both_right(void **state)
{
    struct fixture *f = *state;
    struct rig_agent b;
    struct avow_bytes other[RIG_PARTS_MAX];
    rig_init(&b, "host-2", f->w.fleet);
    world_enroll(&f->w, &b, &(struct world_enroll){.generation = 1, .policy = "p"});
    world_run(&f->w, 0, 1000);
    measure(&f->a, 20);
    measure(&b, 11);
    rig_measure(&b, "/bin/evil", "evil");
    measure(&b, 11);
    world_cut(&f->w, &f->a, PARTS, f->records);
    world_cut(&f->w, &b, 5, other);
    for (size_t i = 0; i < PARTS; i++) {
        world_send(&f->w, &f->a, f->records[i]);
        if (i < 5)
            world_send(&f->w, &b, other[i]);
        if (i % 2)
            world_run(&f->w, 0, 300);
    }
    world_run(&f->w, 0, 1000);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    world_expect(&f->w, "host-2", AVOW_STATUS_UNTRUSTED);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 0);
    assert_int_equal(world_revocations(&f->w, "host-2", -1, NULL), 1);
    assert_int_equal(state_of(f).ima.proven_count, f->a.count);
    struct avow_state s;
    (void)world_states(&f->w, "host-2", &s);
    assert_int_equal(s.ima.proven_count, b.count);
    rig_deinit(&b);
}

static void test_parts__stranger_or_wrong_partition__dropped(void **state)
{
    struct fixture *f = *state;
    struct rig_agent b;
    rig_init(&b, "nobody", f->w.fleet);
    measure(&f->a, 20);
    world_cut(&f->w, &f->a, 2, f->records);
    send(f, 0, 0, 1);
    world_send(&f->w, &b, f->records[1]);
    world_run(&f->w, 0, 1000);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_UNENROLLED), 1);
    send(f, 0, 1, 2);
    expect_complete(f);
    rig_deinit(&b);
}

static void test_parts__policy_changes_under_way__asked_for_again(void **state)
{
    struct fixture *f = *state;
    struct avow_directive d;
    measure(&f->a, 20);
    world_cut(&f->w, &f->a, PARTS, f->records);
    send(f, 0, 0, 3);
    world_policy(&f->w, "p", 2, good, 1); /* /bin/b is no longer allowed */
    send(f, 0, 3, PARTS);
    assert_false(state_of(f).has_open);
    assert_true(world_directives(&f->w, "host-1", &d) >= 2);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_UNTRUSTED);
    assert_int_equal(state_of(f).ima.proven_count, f->a.count);
}

/* An answer in parts occupies its slot until the last of them. */
static void test_parts__answer_to_a_resync__frees_the_slot_at_its_end(void **state)
{
    struct fixture *f = *state;
    struct rig_agent many[AVOW_RUNNER_RESYNCS_OPEN + 1];
    struct rig_agent *last = &many[AVOW_RUNNER_RESYNCS_OPEN];
    for (unsigned i = 0; i < AVOW_ARRAY_LEN(many); i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "many-%u", i);
        rig_init(&many[i], id, f->w.fleet);
        world_enroll(&f->w, &many[i], &(struct world_enroll){.generation = 1});
        world_run(&f->w, 0, 200);
    }
    assert_int_equal(world_directives(&f->w, last->id, NULL), 0);
    measure(&many[0], 10);
    world_cut(&f->w, &many[0], 3, f->records);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(world_directives(&f->w, last->id, NULL), 0);
        world_send(&f->w, &many[0], f->records[i]);
        world_run(&f->w, 0, 1000);
    }
    assert_int_equal(world_directives(&f->w, last->id, NULL), 1);
    for (unsigned i = 0; i < AVOW_ARRAY_LEN(many); i++)
        rig_deinit(&many[i]);
}

/* --- Rebase --- */

static void test_rebase__due__asked_for_once_and_dated_anew(void **state)
{
    struct fixture *f = *state;
    struct avow_directive d;
    f->w.rebase_interval_ms = 3600000;
    world_bundle(&f->w, NULL);
    world_run(&f->w, 0, 1000);
    assert_int_equal(state_of(f).rebase_due_ms, 0); /* the first proof was before the bundle */
    world_turn(&f->w, 0, &f->a);
    uint64_t due = state_of(f).rebase_due_ms, now = state_of(f).credit_ms;
    assert_in_range(due, now + 1800000, now + 3600000 + 20000);
    size_t asked = world_directives(&f->w, "host-1", NULL);
    while (world_directives(&f->w, "host-1", NULL) == asked) {
        assert_true(state_of(f).credit_ms < due + 30000);
        world_turn(&f->w, 0, &f->a);
        world_run(&f->w, 0, 29000);
    }
    (void)world_directives(&f->w, "host-1", &d);
    assert_int_equal(d.kind.tag, AVOW_DIRECTIVE_KIND_RESYNC);
    assert_int_equal(d.kind.u.resync.ima_from, 0);
    assert_true(d.kind.u.resync.boot_log);
    now = state_of(f).credit_ms;
    assert_true(now + 40000 > due);
    for (int i = 0; i < 3; i++) { /* it does not obey at once; it is not asked again and again */
        struct avow_marker m;
        world_marker(&f->w, &f->a, &m);
        (void)world_attest_with(&f->w, &f->a, &m, NULL);
        world_run(&f->w, 0, 30000);
    }
    assert_int_equal(world_directives(&f->w, "host-1", NULL), asked + 1);
    uint32_t next = f->a.next;
    world_turn(&f->w, 0, &f->a); /* obeys: the whole list */
    assert_true(state_of(f).rebase_due_ms >= now + 1800000);
    assert_int_equal(f->a.next, next);
    for (int i = 0; i < 10; i++) {
        world_turn(&f->w, 0, &f->a);
        world_run(&f->w, 0, 29000);
    }
    assert_int_equal(world_directives(&f->w, "host-1", NULL), asked + 1);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    assert_int_equal(world_revocations(&f->w, NULL, -1, NULL), 0);
}

static void beat(struct world *w, struct rig_agent *agents)
{
    for (unsigned i = 0; i < MANY; i++) {
        struct avow_marker m;
        world_marker(w, &agents[i], &m);
        (void)world_attest_with(w, &agents[i], &m, NULL);
    }
    world_run(w, 0, 1000);
}

static size_t all_directives(struct world *w, const struct rig_agent *agents)
{
    size_t n = 0;
    for (unsigned i = 0; i < MANY; i++)
        n += world_directives(w, agents[i].id, NULL);
    return n;
}

static void test_rebase__many_at_once__eight_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct rig_agent many[MANY];
    f->w.rebase_interval_ms = 100000;
    world_bundle(&f->w, NULL);
    world_run(&f->w, 0, 1000);
    for (unsigned i = 0; i < MANY; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "many-%u", i);
        rig_init(&many[i], id, f->w.fleet);
        world_enroll(&f->w, &many[i], &(struct world_enroll){.generation = 1});
    }
    world_run(&f->w, 0, 1000);
    beat(&f->w, many); /* proven; the rebases are dated */
    f->w.rebase_interval_ms = 0;
    world_bundle(&f->w, NULL);
    for (int i = 0; i < 4; i++) { /* until all of them would be due */
        world_run(&f->w, 0, 29000);
        beat(&f->w, many);
    }
    size_t before = all_directives(&f->w, many), each[MANY];
    for (unsigned i = 0; i < MANY; i++)
        each[i] = world_directives(&f->w, many[i].id, NULL);
    f->w.rebase_interval_ms = 100000;
    world_bundle(&f->w, NULL);
    world_run(&f->w, 0, 15000);
    assert_int_equal(all_directives(&f->w, many), before + AVOW_RUNNER_RESYNCS_OPEN);
    unsigned asked = 0;
    while (world_directives(&f->w, many[asked].id, NULL) == each[asked])
        asked++;
    (void)world_attest(&f->w, &many[asked]); /* one answers: the next is asked */
    world_run(&f->w, 0, 2000);
    assert_int_equal(all_directives(&f->w, many), before + AVOW_RUNNER_RESYNCS_OPEN + 1);
    for (unsigned i = 0; i < MANY; i++)
        rig_deinit(&many[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_ALO(name) cmocka_unit_test_setup_teardown(name, setup_at_least_once, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_parts__in_order__folded_into_one_judgement),
        TEST(test_parts__all_in_one_batch__the_same),
        TEST_ALO(test_parts__in_order__folded_into_one_judgement),
        TEST(test_parts__bad_file_in_part_3__revoked_before_the_last),
        TEST(test_AM1__parts_of_mallory_under_bobs_key__dropped_and_bob_completes),
        TEST(test_AM3__swapped_and_repeated_parts__dropped),
        TEST(test_AM3__last_part_missing__given_up_asked_for_and_no_fail),
        TEST(test_AM4__worker_killed_after_part_3_of_7__the_next_completes),
        TEST_ALO(test_AM4__worker_killed_after_part_3_of_7__the_next_completes),
        cmocka_unit_test(test_AM4__first_evidence_and_every_place_to_die__one_verdict),
        TEST(test_AM4__commits_fail_under_way__redone_without_loss),
        TEST(test_AM5__agent_begins_again__the_old_fold_is_counted_and_gone),
        TEST(test_AM7__two_folds_in_one_partition__both_right),
        TEST(test_parts__stranger_or_wrong_partition__dropped),
        TEST(test_parts__policy_changes_under_way__asked_for_again),
        TEST(test_parts__answer_to_a_resync__frees_the_slot_at_its_end),
        TEST(test_rebase__due__asked_for_once_and_dated_anew),
        TEST(test_rebase__many_at_once__eight_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
