/* test_worker_evidence.c - from evidence to verdict, and what is dropped (ATTACKS AR1, AM, AD6-AD8,
 * AI11). */
#include "world.h"

#include "avow/base/banned.h"

static const char *const good[] = {"/bin/a", "/bin/b"};

struct fixture {
    struct world w;
    struct rig_agent a;
};

/* One worker, one agent, trusted. */
static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);
    world_init(&f->w, 2, AVOW_EXACTLY_ONCE);
    rig_init(&f->a, "host-1", f->w.fleet);
    rig_measure(&f->a, "/bin/a", "/bin/a");
    world_policy(&f->w, "p", 1, good, 2);
    world_enroll(&f->w, &f->a, &(struct world_enroll){.generation = 1, .policy = "p"});
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 1000);
    world_turn(&f->w, 0, &f->a);
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

static void test_evidence__good__trusted(void **state)
{
    struct fixture *f = *state;
    struct avow_verdict v;
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    assert_int_equal(world_verdicts(&f->w, "host-1", &v),
                     2); /* pending at first sight, then trusted */
    assert_int_equal(v.enrollment_generation, 1);
    assert_int_equal(v.heads_count, 1);
    assert_true(avow_str_is(v.heads[0].name, "p"));
    assert_int_equal(v.boot.ima_entries, 2);
    assert_int_equal(v.trusted_until_ms, v.as_of_ms + 90000);
    assert_int_equal(world_revocations(&f->w, NULL, -1, NULL), 0);
    assert_int_equal(world_directives(&f->w, "host-1", NULL),
                     1); /* the resync of the first sight */
}

static void test_evidence__tampered_file__exactly_one_revocation(void **state)
{
    struct fixture *f = *state;
    struct avow_revocation r;
    rig_measure(&f->a, "/bin/evil", "not in the policy");
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_UNTRUSTED);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, &r), 1);
    assert_int_equal(r.class, AVOW_REVOCATION_CLASS_REVOCATION);
    assert_true(avow_str_is(r.event_id, "ima.digest_unknown"));
    assert_true(avow_str_is(r.metadata, "rack 7"));
    for (int i = 0; i < 5; i++)
        world_turn(&f->w, 0, &f->a);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 1); /* sticky, and said once */
    world_check_exactly_once(&f->w, "host-1");
}

static void test_AR1__sent_twice__second_is_a_replay(void **state)
{
    struct fixture *f = *state;
    struct avow_bytes e = world_attest(&f->w, &f->a);
    world_run(&f->w, 0, 1000);
    size_t states = world_states(&f->w, "host-1", NULL);
    world_send(&f->w, &f->a, e);
    world_run(&f->w, 0, 1000);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_REPLAY), 1);
    assert_int_equal(world_states(&f->w, "host-1", NULL), states); /* a drop changes no state */
    world_turn(&f->w, 0, &f->a);
    struct avow_state s;
    (void)world_states(&f->w, "host-1", &s); /* the next state that is written has the count */
    assert_int_equal(s.dropped_count, 1);
    assert_int_equal(s.dropped[0].reason, AVOW_DROP_REASON_REPLAY);
    assert_int_equal(s.dropped[0].count, 1);
}

static void test_AQ7__flipped_in_flight__dropped_and_harmless(void **state)
{
    static const uint8_t nonce[32] = {1};
    static const struct {
        const char *name;
        struct rig_tamper tamper;
        enum avow_drop_reason want;
    } rows[] = {
        {"attest", {.attest = true}, AVOW_DROP_REASON_SIGNATURE},
        {"signature", {.signature = true}, AVOW_DROP_REASON_SIGNATURE},
        {"body", {.body = true}, AVOW_DROP_REASON_QUALIFYING_DATA},
        {"part", {.part = true}, AVOW_DROP_REASON_PART_HASH},
        {"another nonce", {.nonce = nonce}, AVOW_DROP_REASON_QUALIFYING_DATA},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(rows); i++) {
        struct avow_marker m;
        uint32_t next = f->a.next;
        rig_measure(&f->a, "/bin/b", "/bin/b");
        world_marker(&f->w, &f->a, &m);
        size_t before = world_dead_letters(&f->w, rows[i].want);
        (void)world_attest_with(&f->w, &f->a, &m, &rows[i].tamper);
        world_run(&f->w, 0, 1000);
        if (world_dead_letters(&f->w, rows[i].want) != before + 1)
            fail_msg("%s: not dropped for %s", rows[i].name, avow_drop_reason_text(rows[i].want));
        f->a.next = next; /* the agent's own evidence carries the entry again */
        world_turn(&f->w, 0, &f->a);
        world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    }
    assert_int_equal(world_revocations(&f->w, NULL, -1, NULL), 0);
}

static void test_AF1__self_made_nonce__drop_marker(void **state)
{
    struct fixture *f = *state;
    struct avow_marker m;
    world_marker(&f->w, &f->a, &m);
    memset(m.nonce, 0xEE, sizeof m.nonce); /* AF1: never published */
    (void)world_attest_with(&f->w, &f->a, &m, NULL);
    world_run(&f->w, 0, 1000);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_MARKER), 1);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
}

static void test_AQ9__of_somebody_else__dropped(void **state)
{
    struct fixture *f = *state;
    struct rig_agent stranger;
    struct avow_marker m;
    world_marker(&f->w, &f->a, &m);
    rig_init(&stranger, "host-1", f->w.fleet); /* another key under the same id (AQ9) */
    (void)world_attest_with(&f->w, &stranger, &m, NULL);
    rig_deinit(&stranger);
    rig_init(&stranger, "host-9", f->w.fleet); /* not enrolled */
    world_marker(&f->w, &stranger, &m);
    (void)world_attest_with(&f->w, &stranger, &m, NULL);
    world_run(&f->w, 0, 1000);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_SIGNATURE), 1);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_UNENROLLED), 1);
    assert_int_equal(world_verdicts(&f->w, "host-9", NULL), 0);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    rig_deinit(&stranger);
}

static void test_AD6_AD7_AD8__malformed__dead_letters_and_on(void **state)
{
    static const uint8_t unknown_schema[] = {0xC3, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 0};
    static const uint8_t no_frame[] = {0x00, 0x01, 0x02};
    struct fixture *f = *state;
    struct world *w = &f->w;
    int32_t here = world_partition(w, "host-1");
    struct avow_marker m;
    world_marker(w, &f->a, &m);
    struct avow_bytes good_one = world_attest(w, &f->a);
    struct avow_bytes truncated = {good_one.ptr, good_one.len - 1};
    uint8_t trailing[4096] = {0};
    assert_true(good_one.len + 1 < sizeof trailing);
    memcpy(trailing, good_one.ptr, good_one.len);
    world_put(w, "evidence", here, "host-1", AVOW_BYTES_OF(unknown_schema));
    world_put(w, "evidence", here, "host-1", AVOW_BYTES_OF(no_frame));
    world_put(w, "evidence", here, "host-1", truncated);
    world_put(w, "evidence", here, "host-1", avow_bytes_make(trailing, good_one.len + 1));
    world_put(w, "evidence", here, "../etc", good_one);
    world_put(w, "evidence", 1 - here, "host-1", good_one); /* AD6 */
    world_put_null(w, "evidence", "host-1");
    (void)world_attest(w, &f->a);
    world_run(w, 0, 2000);
    assert_int_equal(world_dead_letters(w, AVOW_DROP_REASON_SCHEMA), 2);
    assert_int_equal(world_dead_letters(w, AVOW_DROP_REASON_PARSE), 2);
    assert_int_equal(world_dead_letters(w, AVOW_DROP_REASON_KEY), 1);
    assert_int_equal(world_dead_letters(w, AVOW_DROP_REASON_PARTITION), 1);
    assert_int_equal(world_dead_letters(w, AVOW_DROP_REASON_NULL_VALUE), 1);
    struct avow_state s;
    (void)world_states(w, "host-1", &s);
    assert_int_equal(s.appraised, 3); /* setup, before and after the bad ones */
    world_expect(w, "host-1", AVOW_STATUS_TRUSTED);
}

static void test_AM2__flood__dead_letters_are_limited_and_one_alarm(void **state)
{
    struct fixture *f = *state;
    struct avow_marker m;
    world_marker(&f->w, &f->a, &m);
    for (int i = 0; i < 150; i++)
        (void)world_attest_with(&f->w, &f->a, &m, &(struct rig_tamper){.signature = true});
    world_run(&f->w, 0, 5000);
    assert_in_range(world_dead_letters(&f->w, AVOW_DROP_REASON_SIGNATURE), 10, 60);
    assert_int_equal(world_alarms(&f->w, "evidence.flood"), 1);
    assert_int_equal(avow_worker_counters(f->w.workers[0])->dropped[AVOW_DROP_REASON_SIGNATURE],
                     150);
    rig_resync(&f->a, 0);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
}

/* Whoever owns a TPM may set its clock anywhere below 2^64 (TPM2_ClockSet); nothing of ours can
 * hold all of it. Neither may stop the partition, and two in one batch must not chase one another.
 */
static void test_evidence__clock_beyond_63_bits__dropped_and_others_go_on(void **state)
{
    struct fixture *f = *state;
    struct rig_agent other;
    char id[16];
    for (int i = 2;; i++) { /* a neighbour in the same partition */
        (void)snprintf(id, sizeof id, "host-%d", i);
        if (world_partition(&f->w, id) == world_partition(&f->w, "host-1"))
            break;
    }
    rig_init(&other, id, f->w.fleet);
    rig_measure(&other, "/bin/a", "/bin/a");
    world_enroll(&f->w, &other, &(struct world_enroll){.generation = 1, .policy = "p"});
    world_run(&f->w, 0, 1000);
    f->a.clock = 0xFFFE000000000000u;
    for (int i = 0; i < 3; i++)
        (void)world_attest(&f->w, &f->a);
    (void)world_attest(&f->w, &other);
    world_run(&f->w, 0, 3000);
    world_expect(&f->w, id, AVOW_STATUS_TRUSTED);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_PARSE), 3);
    assert_int_equal(avow_worker_counters(f->w.workers[0])->aborts, 0);
    rig_deinit(&other);
}

static void test_evidence__gap__directive_and_heal(void **state)
{
    struct fixture *f = *state;
    size_t directives = world_directives(&f->w, "host-1", NULL);
    rig_measure(&f->a, "/bin/b", "/bin/b");
    f->a.next = f->a.count; /* an evidence was lost on the way */
    rig_measure(&f->a, "/bin/a", "/bin/a");
    world_turn(&f->w, 0, &f->a);
    assert_int_equal(world_directives(&f->w, "host-1", NULL), directives + 1);
    world_turn(&f->w, 0, &f->a); /* obeys */
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    struct avow_state st;
    (void)world_states(&f->w, "host-1", &st);
    assert_int_equal(st.ima.proven_count, 4);
    assert_int_equal(world_revocations(&f->w, NULL, -1, NULL), 0);
}

static void test_verdict__steady_state__refreshed_not_repeated(void **state)
{
    struct fixture *f = *state;
    size_t before = world_verdicts(&f->w, "host-1", NULL);
    for (int i = 0; i < 10; i++)
        world_turn(&f->w, 0, &f->a); /* 10 s */
    assert_int_equal(world_verdicts(&f->w, "host-1", NULL), before);
    for (int i = 0; i < 6; i++) { /* 2 min */
        world_run(&f->w, 0, 19000);
        world_turn(&f->w, 0, &f->a);
    }
    assert_in_range(world_verdicts(&f->w, "host-1", NULL), before + 2, before + 5);
    struct avow_verdict v;
    (void)world_verdicts(&f->w, "host-1", &v);
    assert_true(v.trusted_until_ms > f->w.unix_ms);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_evidence__good__trusted),
        T(test_evidence__tampered_file__exactly_one_revocation),
        T(test_AR1__sent_twice__second_is_a_replay),
        T(test_AQ7__flipped_in_flight__dropped_and_harmless),
        T(test_AF1__self_made_nonce__drop_marker),
        T(test_AQ9__of_somebody_else__dropped),
        T(test_AD6_AD7_AD8__malformed__dead_letters_and_on),
        T(test_AM2__flood__dead_letters_are_limited_and_one_alarm),
        T(test_evidence__clock_beyond_63_bits__dropped_and_others_go_on),
        T(test_evidence__gap__directive_and_heal),
        T(test_verdict__steady_state__refreshed_not_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
