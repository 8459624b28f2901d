/* test_worker_policy.c - policies change under running agents (ATTACKS AE9, AE14, AE15; PROTOCOL
 * R14, R15). */
#include "world.h"

#include "avow/crypto/dsse.h"

#include "avow/base/banned.h"

static const char *const only_a[] = {"/bin/a"};
static const char *const a_and_b[] = {"/bin/a", "/bin/b"};
static const char *const only_b[] = {"/bin/b"};

struct fixture {
    struct world w;
    struct rig_agent a;
};

/* One agent that ran /bin/a, trusted under a policy that allows it. */
static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);
    world_init(&f->w, 1, AVOW_EXACTLY_ONCE);
    rig_init(&f->a, "host-1", f->w.fleet);
    rig_measure(&f->a, "/bin/a", "/bin/a");
    world_policy(&f->w, "p", 1, only_a, 1);
    world_enroll(&f->w, &f->a, &(struct world_enroll){.generation = 1, .policy = "p"});
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

static uint64_t generation_of(struct world *w, const char *id)
{
    struct avow_verdict v;
    (void)world_verdicts(w, id, &v);
    return v.heads_count ? v.heads[0].generation : 0;
}

static void test_update__allows_what_was_forbidden__recovers_once(void **state)
{
    struct fixture *f = *state;
    rig_measure(&f->a, "/bin/b", "/bin/b");
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_UNTRUSTED);
    world_policy(&f->w, "p", 2, a_and_b, 2);
    world_run(&f->w, 0, 500);
    world_turn(&f->w, 0, &f->a); /* obeys the resync */
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    assert_int_equal(generation_of(&f->w, "host-1"), 2);
    assert_int_equal(world_revocations(&f->w, "host-1", AVOW_REVOCATION_CLASS_REVOCATION, NULL), 1);
    assert_int_equal(world_revocations(&f->w, "host-1", AVOW_REVOCATION_CLASS_RECOVERY, NULL), 1);
    world_check_exactly_once(&f->w, "host-1");
}

static void test_AE15__forbids_what_was_run__resync_and_revocation(void **state)
{
    struct fixture *f = *state;
    struct avow_directive d;
    world_policy(&f->w, "p", 2, only_b, 1); /* AE15 */
    world_run(&f->w, 0, 500);
    assert_int_equal(world_directives(&f->w, "host-1", &d), 2);
    assert_int_equal(d.kind.tag, AVOW_DIRECTIVE_KIND_RESYNC);
    assert_int_equal(d.kind.u.resync.ima_from, 0);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_UNTRUSTED);
    assert_int_equal(generation_of(&f->w, "host-1"), 2);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 1);
}

static void test_AE14__only_adds__carried_without_a_resync(void **state)
{
    struct fixture *f = *state;
    struct avow_verdict v;
    world_policy(&f->w, "p", 2, a_and_b, 2); /* AE14 */
    world_run(&f->w, 0, 500);
    world_turn(&f->w, 0, &f->a);
    assert_int_equal(world_directives(&f->w, "host-1", NULL),
                     1); /* only the one of the first sight */
    (void)world_verdicts(&f->w, "host-1", &v);
    assert_int_equal(v.status, AVOW_STATUS_TRUSTED);
    assert_int_equal(v.heads[0].generation, 2);
    assert_true(v.flags.carried);
    rig_measure(&f->a, "/bin/b", "/bin/b");
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
}

static void test_AE9__head_without_document__no_verdict_no_pass_no_fail(void **state)
{
    struct fixture *f = *state;
    struct rig_agent b;
    struct avow_state s;
    rig_init(&b, "host-2", f->w.fleet);
    world_enroll(&f->w, &b, &(struct world_enroll){.generation = 1, .policy = "nowhere"});
    world_run(&f->w, 0, 1000);
    world_turn(&f->w, 0, &b);
    world_turn(&f->w, 0, &b);
    world_expect(&f->w, "host-2", AVOW_STATUS_PENDING);
    assert_int_equal(world_alarms(&f->w, "policy.unavailable"), 1);
    assert_int_equal(world_revocations(&f->w, "host-2", -1, NULL), 0);
    (void)world_states(&f->w, "host-2", &s);
    assert_false(s.has_as_of);
    world_policy(&f->w, "nowhere", 1, a_and_b, 2); /* it arrives: everything is asked for again */
    rig_resync(&b, 0);
    world_run(&f->w, 0, 1000);
    world_turn(&f->w, 0, &b);
    world_expect(&f->w, "host-2", AVOW_STATUS_TRUSTED);
    rig_deinit(&b);
}

static void test_update__many_agents__eight_resyncs_open_at_once(void **state)
{
    struct fixture *f = *state;
    static struct rig_agent many[20];
    size_t asked = 0;
    char id[16];
    for (size_t i = 0; i < AVOW_ARRAY_LEN(many); i++) {
        (void)snprintf(id, sizeof id, "many-%zu", i);
        rig_init(&many[i], id, f->w.fleet);
        rig_measure(&many[i], "/bin/a", "/bin/a");
        world_enroll(&f->w, &many[i], &(struct world_enroll){.generation = 1, .policy = "p"});
    }
    world_run(&f->w, 0, 1000);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(many); i++)
        asked += world_directives(&f->w, many[i].id, NULL);
    assert_int_equal(asked, 8);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(many); i++) /* they answer, the slots are free again */
        (void)world_attest(&f->w, &many[i]);
    world_run(&f->w, 0, 2000);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(many); i++)
        world_expect(&f->w, many[i].id, AVOW_STATUS_TRUSTED);
    world_policy(&f->w, "p", 2, only_b, 1);
    world_run(&f->w, 0, 1000);
    size_t before = asked;
    asked = 0;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(many); i++)
        asked += world_directives(&f->w, many[i].id, NULL);
    assert_in_range(asked - before, 7, 8); /* host-1 may have one */
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < AVOW_ARRAY_LEN(many); i++)
            (void)world_attest(&f->w, &many[i]);
        world_run(&f->w, 0, 2000);
    }
    for (size_t i = 0; i < AVOW_ARRAY_LEN(many); i++) {
        world_expect(&f->w, many[i].id, AVOW_STATUS_UNTRUSTED);
        assert_int_equal(world_revocations(&f->w, many[i].id, -1, NULL), 1);
        rig_deinit(&many[i]);
    }
}

static void test_restart__policies_are_read_again__no_resync(void **state)
{
    struct fixture *f = *state;
    world_policy(&f->w, "q", 1, only_b, 1); /* others on the topic do not matter */
    world_stop(&f->w, 0);
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 12000);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    assert_int_equal(world_directives(&f->w, "host-1", NULL), 1);
}

/* Whoever waits for a slot gets one at last, also if others took it between. */
static void test_update__policy_changes_while_many_wait__everybody_is_asked(void **state)
{
    struct fixture *f = *state;
    static struct rig_agent many[40];
    static size_t before[40];
    char id[16];
    for (size_t i = 0; i < AVOW_ARRAY_LEN(many); i++) {
        (void)snprintf(id, sizeof id, "many-%zu", i);
        rig_init(&many[i], id, f->w.fleet);
        rig_measure(&many[i], "/bin/a", "/bin/a");
        world_enroll(&f->w, &many[i], &(struct world_enroll){.generation = 1, .policy = "p"});
    }
    world_run(&f->w, 0, 1000);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(many); i++)
        (void)world_attest(&f->w, &many[i]);
    world_run(&f->w, 0, 2000);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(many); i++)
        before[i] = world_directives(&f->w, many[i].id, NULL);
    world_policy(&f->w, "p", 2, only_b, 1);
    for (uint64_t generation = 3; generation < 12; generation++) { /* slots are free every 60 s */
        world_run(&f->w, 0, 61000 - 50 * (uint64_t)generation);
        world_policy(&f->w, "p", generation, generation % 2 ? a_and_b : only_b, 1 + generation % 2);
    }
    world_run(&f->w, 0, 420000);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(many); i++) {
        if (world_directives(&f->w, many[i].id, NULL) == before[i])
            fail_msg("%s was never asked", many[i].id);
        rig_deinit(&many[i]);
    }
}

/* A document that cannot be judged is our problem, however long it takes (PROTOCOL R27). */
static void test_update__policy_is_missing_for_long__no_finding(void **state)
{
    struct fixture *f = *state;
    world_enroll(&f->w, &f->a, &(struct world_enroll){.generation = 2, .policy = "nowhere"});
    world_run(&f->w, 0, 1000);
    for (int i = 0; i < 20; i++) {
        world_turn(&f->w, 0, &f->a);
        world_run(&f->w, 0, 19000);
    }
    assert_int_equal(world_revocations(&f->w, "host-1", AVOW_REVOCATION_CLASS_REVOCATION, NULL), 0);
    world_policy(&f->w, "nowhere", 1, a_and_b, 2);
    world_run(&f->w, 0, 25000); /* the agent answers within its heartbeat */
    world_turn(&f->w, 0, &f->a);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    assert_int_equal(world_revocations(&f->w, "host-1", AVOW_REVOCATION_CLASS_REVOCATION, NULL), 0);
}

/* What an author signed counts no longer than the author does, in a running worker as well. */
static void test_update__author_key_revoked__its_heads_count_no_more(void **state)
{
    struct fixture *f = *state;
    static const char doc[] =
        "{\"meta\":{\"version\":1},\"release\":0,\"digests\":{},\"excludes\":[\".*\"]}";
    world_bundle(&f->w, &(struct world_bundle){.has_author = true});
    world_run(&f->w, 0, 1000);
    world_document(&f->w, "p", 2, avow_bytes_make(doc, sizeof doc - 1), f->w.stray);
    world_run(&f->w, 0, 1000);
    world_turn(&f->w, 0, &f->a);
    assert_int_equal(generation_of(&f->w, "host-1"), 2); /* the control: it was in force */
    world_bundle(&f->w,
                 &(struct world_bundle){.has_author = true, .author = AVOW_KEY_STATUS_REVOKED});
    world_run(&f->w, 0, 1000);
    rig_measure(&f->a, "/bin/evil", "evil");
    rig_resync(&f->a, 0);
    for (int i = 0; i < 3; i++)
        world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_UNTRUSTED); /* by generation 1, still on the topic */
    assert_int_equal(generation_of(&f->w, "host-1"), 1);
}

/* What is wrong with a document is told in its own words, cut anywhere. */
static void test_document__does_not_compile__alarm_and_nobody_stops(void **state)
{
    struct fixture *f = *state;
    struct avow_buf doc;
    avow_buf_init(&doc, 65536);
    avow_buf_put_str(&doc, "{\"meta\":{\"version\":1},\"digests\":{\"");
    for (int i = 0; i < 300; i++)
        avow_buf_put_str(&doc, "\xe2\x82\xac");
    avow_buf_put_str(&doc, "\":[\"zz\"]},\"excludes\":[]}");
    world_document(&f->w, "p", 2, avow_buf_bytes(&doc), f->w.tenant);
    avow_buf_deinit(&doc);
    world_run(&f->w, 0, 1000);
    assert_int_equal(world_alarms(&f->w, "policy.unavailable"), 1);
}

/* AE13: an envelope counts by a policy author of the bundle, and no longer than he is one. Without
 * him nothing is judged: the agent neither fails nor passes. */
static void test_AE13__envelope__counts_while_its_author_does(void **state)
{
    struct fixture *f = *state;
    static const char doc[] = "{\"digests\":{},\"excludes\":[\"/bin/.*\"]}";
    struct avow_buf envelope;
    struct avow_err err = {.rc = AVOW_OK};
    avow_buf_init(&envelope, 65536);
    assert_int_equal(
        avow_dsse_sign(f->w.stray, avow_bytes_make(doc, sizeof doc - 1), &envelope, &err), AVOW_OK);
    world_document(&f->w, "p", 2, avow_buf_bytes(&envelope), f->w.tenant);
    avow_buf_deinit(&envelope);
    world_run(&f->w, 0, 1000);
    world_turn(&f->w, 0, &f->a);
    assert_int_equal(generation_of(&f->w, "host-1"), 1); /* nobody vouches for generation 2 */
    assert_true(world_alarms(&f->w, "policy.unavailable") > 0);
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 0);
    world_bundle(&f->w, &(struct world_bundle){.has_author = true, .author_of_envelopes = true});
    world_run(&f->w, 0, 1000);
    for (int i = 0; i < 3; i++)
        world_turn(&f->w, 0, &f->a);
    assert_int_equal(generation_of(&f->w, "host-1"), 2);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    world_bundle(&f->w, &(struct world_bundle){.has_author = true,
                                               .author_of_envelopes = true,
                                               .author = AVOW_KEY_STATUS_REVOKED});
    world_run(&f->w, 0, 1000);
    rig_measure(&f->a, "/bin/evil", "evil");
    rig_resync(&f->a, 0);
    for (int i = 0; i < 3; i++)
        world_turn(&f->w, 0, &f->a);
    struct avow_verdict v;
    (void)world_verdicts(&f->w, "host-1", &v);
    uint64_t until = v.trusted_until_ms;
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 0);
    world_run(&f->w, 0, 2 * WORLD_EPOCH_MS);
    world_turn(&f->w, 0, &f->a);
    (void)world_verdicts(&f->w, "host-1", &v);
    assert_int_equal(v.trusted_until_ms, until); /* and trust is extended no more */
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_update__allows_what_was_forbidden__recovers_once),
        T(test_AE15__forbids_what_was_run__resync_and_revocation),
        T(test_AE14__only_adds__carried_without_a_resync),
        T(test_AE9__head_without_document__no_verdict_no_pass_no_fail),
        T(test_update__many_agents__eight_resyncs_open_at_once),
        T(test_restart__policies_are_read_again__no_resync),
        T(test_update__policy_changes_while_many_wait__everybody_is_asked),
        T(test_update__policy_is_missing_for_long__no_finding),
        T(test_update__author_key_revoked__its_heads_count_no_more),
        T(test_AE13__envelope__counts_while_its_author_does),
        T(test_document__does_not_compile__alarm_and_nobody_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
