/* test_transition.c - what a step publishes; and liveness. */
#include "rig.h"

#include "avow/core/liveness.h"

#include "avow/base/banned.h"

static struct avow_arena arena;
static struct avow_enrollment enrollment;
static struct avow_state prior;

static int setup(void **state)
{
    static const uint8_t sha[32] = {7};
    (void)state;
    avow_arena_init(&arena, 1u << 20);
    enrollment = (struct avow_enrollment){.fleet = {0xF1},
                                          .key = AVOW_STR_LIT("host-1"),
                                          .generation = 5,
                                          .metadata = AVOW_STR_LIT("{\"rack\": 7}")};
    avow_state_first(&enrollment, sha, 3, 1000, &prior);
    prior.has_as_of = true;
    prior.as_of = (struct avow_as_of){9, 1700000090000u, 90000};
    prior.has_evidence = true;
    prior.evidence = (struct avow_evidence_ref){3, 77, {0xAA}};
    prior.has_order = true;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    avow_arena_deinit(&arena);
    return 0;
}

static struct avow_transition_out step(enum avow_status to, uint64_t service_ms, const char *event)
{
    struct avow_transition_in in = {.enrollment = &enrollment,
                                    .prior = &prior,
                                    .service_ms = service_ms,
                                    .validity_ms = 90000,
                                    .verdict_refresh_ms = 30000,
                                    .event_id = event,
                                    .clock = 42};
    struct avow_state next = prior;
    struct avow_transition_out out;
    next.status = to;
    if (event && to == AVOW_STATUS_UNTRUSTED)
        assert_int_equal(avow_state_add_finding(&prior, event, &arena, &next, NULL), AVOW_OK);
    assert_int_equal(avow_transition(&in, &next, &arena, &out, NULL), AVOW_OK);
    assert_int_equal(next.seq, prior.seq + 1);
    prior = next;
    return out;
}

static void test_transition__pending_to_trusted__a_verdict_and_no_event(void **state)
{
    (void)state;
    struct avow_transition_out o = step(AVOW_STATUS_TRUSTED, 1000, NULL);
    assert_true(o.verdict_due);
    assert_false(o.revocation_due);
    assert_int_equal(o.verdict.seq, 1);
    assert_int_equal(o.verdict.transitions, 1);
    assert_int_equal(o.verdict.trusted_until_ms, 1700000090000u + 90000u);
    assert_int_equal(o.verdict.as_of_epoch, 9);
    assert_int_equal(prior.last_verdict.clock, 42);
}

static void test_transition__nothing_new__a_verdict_at_the_refresh_only(void **state)
{
    (void)state;
    (void)step(AVOW_STATUS_TRUSTED, 1000, NULL);
    assert_false(step(AVOW_STATUS_TRUSTED, 30999, NULL).verdict_due);
    assert_int_equal(prior.transitions, 1);
    assert_true(step(AVOW_STATUS_TRUSTED, 31000, NULL).verdict_due);
    assert_false(step(AVOW_STATUS_TRUSTED, 31001, NULL).verdict_due);
}

static void test_transition__what_a_verdict_says_changes__a_verdict_is_due(void **state)
{
    (void)state;
    const struct avow_head_ref heads[] = {{AVOW_STR_LIT("base"), 1, {1}}};
    (void)step(AVOW_STATUS_TRUSTED, 1000, NULL);
    for (int i = 0; i < 6; i++) {
        if (i == 0)
            prior.enrollment_generation++;
        else if (i == 1)
            prior.bundle_version++;
        else if (i == 2)
            prior.heads = heads, prior.heads_count = 1;
        else if (i == 3)
            prior.stale = true;
        else if (i == 4)
            prior.carried = true;
        else
            prior.findings_total++;
        assert_true(step(AVOW_STATUS_TRUSTED, 1001, NULL).verdict_due);
        assert_false(step(AVOW_STATUS_TRUSTED, 1001, NULL).verdict_due);
    }
    prior.has_pending = true; /* would flood on a busy host */
    assert_false(step(AVOW_STATUS_TRUSTED, 1001, NULL).verdict_due);
}

static void test_transition__news_within_min_interval__said_later(void **state)
{
    (void)state;
    struct avow_transition_in in = {.enrollment = &enrollment,
                                    .prior = &prior,
                                    .service_ms = 1000,
                                    .verdict_refresh_ms = 30000,
                                    .clock = 5000,
                                    .min_interval_ms = 200};
    struct avow_transition_out out;
    struct avow_state next = prior;
    assert_int_equal(avow_transition(&in, &next, &arena, &out, NULL), AVOW_OK);
    assert_true(out.verdict_due);
    prior = next;
    next.findings_total++;
    in.clock = 5199;
    assert_int_equal(avow_transition(&in, &next, &arena, &out, NULL), AVOW_OK);
    assert_false(out.verdict_due);
    prior = next;
    in.clock = 5200;
    assert_int_equal(avow_transition(&in, &next, &arena, &out, NULL), AVOW_OK);
    assert_true(out.verdict_due);
    prior = next;
    next.status = AVOW_STATUS_UNTRUSTED; /* never waits */
    in.clock = 5201;
    assert_int_equal(avow_transition(&in, &next, &arena, &out, NULL), AVOW_OK);
    assert_true(out.verdict_due && out.revocation_due);
}

static void test_transition__each_change__its_class(void **state)
{
    (void)state;
    enum { NONE = -1 };
    static const struct {
        enum avow_status from, to;
        int class;
    } cases[] = {
        {AVOW_STATUS_PENDING, AVOW_STATUS_PENDING, NONE},
        {AVOW_STATUS_PENDING, AVOW_STATUS_TRUSTED, NONE},
        {AVOW_STATUS_PENDING, AVOW_STATUS_UNTRUSTED, AVOW_REVOCATION_CLASS_REVOCATION},
        {AVOW_STATUS_PENDING, AVOW_STATUS_SILENT, AVOW_REVOCATION_CLASS_SILENT},
        {AVOW_STATUS_TRUSTED, AVOW_STATUS_UNTRUSTED, AVOW_REVOCATION_CLASS_REVOCATION},
        {AVOW_STATUS_TRUSTED, AVOW_STATUS_SILENT, AVOW_REVOCATION_CLASS_SILENT},
        {AVOW_STATUS_UNTRUSTED, AVOW_STATUS_UNTRUSTED, NONE},
        {AVOW_STATUS_UNTRUSTED, AVOW_STATUS_TRUSTED, AVOW_REVOCATION_CLASS_RECOVERY},
        {AVOW_STATUS_UNTRUSTED, AVOW_STATUS_SILENT, AVOW_REVOCATION_CLASS_SILENT},
        {AVOW_STATUS_SILENT, AVOW_STATUS_TRUSTED, AVOW_REVOCATION_CLASS_RECOVERY},
        {AVOW_STATUS_SILENT, AVOW_STATUS_UNTRUSTED, AVOW_REVOCATION_CLASS_REVOCATION},
        {AVOW_STATUS_SILENT, AVOW_STATUS_SILENT, NONE},
        {AVOW_STATUS_TRUSTED, AVOW_STATUS_PENDING, NONE},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        prior.status = cases[i].from;
        uint64_t transitions = prior.transitions;
        struct avow_transition_out o = step(cases[i].to, 1000, NULL);
        assert_int_equal(o.revocation_due ? (int)o.revocation.class : NONE, cases[i].class);
        assert_int_equal(prior.transitions, transitions + (cases[i].from != cases[i].to));
        if (o.revocation_due) {
            assert_true(o.verdict_due);
            assert_int_equal(o.revocation.seq, o.verdict.seq);
            assert_int_equal(o.revocation.from, cases[i].from);
            assert_int_equal(o.revocation.to, cases[i].to);
            assert_true(o.revocation.event_id.len > 0);
        }
        assert_true(cases[i].to == AVOW_STATUS_TRUSTED || o.verdict.trusted_until_ms == 0);
    }
}

static void test_transition__revocation__id_names_event_severity(void **state)
{
    (void)state;
    uint8_t want[32];
    struct avow_buf b;
    prior.status = AVOW_STATUS_TRUSTED;
    struct avow_transition_out o = step(AVOW_STATUS_UNTRUSTED, 1000, "evidence.unproven");
    avow_buf_init(&b, 200);
    avow_buf_put(&b, "avow/revocation/1", 17);
    avow_buf_put(&b, enrollment.fleet, 16);
    avow_buf_put_str(&b, "host-1");
    avow_buf_put_str(&b, "revocation");
    avow_buf_put(&b, prior.evidence.tag, 16);
    avow_buf_put_u64be(&b, 5);
    avow_sha256(avow_buf_bytes(&b), want);
    avow_buf_deinit(&b);
    assert_memory_equal(o.revocation.id, want, 16);
    assert_true(avow_str_is(o.revocation.event_id, "evidence.unproven"));
    assert_true(avow_str_is(o.revocation.severity, "critical"));
    assert_true(avow_str_is(o.verdict.severity, "critical"));
    assert_true(avow_str_is(o.revocation.metadata, "{\"rack\": 7}"));
    assert_int_equal(o.revocation.findings_count, 1);
    assert_int_equal(o.revocation.evidence.offset, 77);
    o = step(AVOW_STATUS_UNTRUSTED, 1000, NULL);
    assert_false(o.revocation_due); /* once per transition */
}

static void test_transition__same_step_twice__same_id(void **state)
{
    (void)state;
    prior.status = AVOW_STATUS_TRUSTED;
    struct avow_state before = prior;
    struct avow_transition_out a = step(AVOW_STATUS_SILENT, 1000, NULL);
    prior = before;
    struct avow_transition_out b = step(AVOW_STATUS_SILENT, 5000, NULL); /* a later reprocessing */
    assert_memory_equal(a.revocation.id, b.revocation.id, 16);
    prior = before;
    prior.evidence.tag[0] ^= 1;
    b = step(AVOW_STATUS_SILENT, 1000, NULL);
    assert_memory_not_equal(a.revocation.id, b.revocation.id, 16);
}

static void test_transition__silent__warning_unless_worse(void **state)
{
    (void)state;
    prior.status = AVOW_STATUS_TRUSTED;
    struct avow_transition_out o = step(AVOW_STATUS_SILENT, 1000, NULL);
    assert_true(avow_str_is(o.revocation.severity, "warning"));
    assert_true(avow_str_is(o.revocation.event_id, "agent.silent"));
    assert_false(step(AVOW_STATUS_SILENT, 1000 + AVOW_SILENT_REFRESH_MS - 1, NULL).verdict_due);
    assert_true(step(AVOW_STATUS_SILENT, 1000 + AVOW_SILENT_REFRESH_MS, NULL).verdict_due);
    prior.status = AVOW_STATUS_TRUSTED;
    (void)step(AVOW_STATUS_UNTRUSTED, 1000, "tpm.counters_regressed");
    o = step(AVOW_STATUS_SILENT, 1000, NULL);
    assert_true(avow_str_is(o.revocation.severity, "critical"));
}

/* --- liveness --- */

static struct avow_liveness_in live(uint64_t service_ms)
{
    return (struct avow_liveness_in){.enrollment = &enrollment,
                                     .state = &prior,
                                     .service_ms = service_ms,
                                     .unix_ms = 1700000000000u,
                                     .silent_after_ms = 70000,
                                     .first_contact_ms = 86400000};
}

static void test_liveness__credit__silent_after_and_not_before(void **state)
{
    (void)state;
    prior.credit_ms = 100000;
    prior.as_of.service_ms = 100000;
    struct avow_liveness_in in = live(170000);
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_NOTHING);
    assert_int_equal(avow_liveness_deadline(&in), 170001);
    in.service_ms = 170001;
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_SILENT);
    enrollment.paused_until_ms = 1700000000001u;
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_NOTHING);
    enrollment.paused_until_ms = 1700000000000u;
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_SILENT);
    avow_state_silence(&prior, &prior);
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_NOTHING);
    enrollment.status = AVOW_ENROLL_STATUS_REMOVED;
    assert_int_equal(avow_liveness_deadline(&in), AVOW_LIVENESS_NEVER);
}

static void test_AP18__talks_but_never_proves__unproven_after_3_silent_after(void **state)
{
    (void)state;
    prior.as_of.service_ms = 100000;
    prior.credit_ms = 310000;
    struct avow_liveness_in in = live(310000);
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_NOTHING);
    in.service_ms = 310001;
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_UNPROVEN);
    in.waiting_for_us = true;
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_NOTHING);
    in.waiting_for_us = false;
    prior.has_as_of = false; /* never proved: from the first sight */
    prior.first_seen_service_ms = 100001;
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_NOTHING);
    in.service_ms++;
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_UNPROVEN);
    assert_int_equal(avow_state_unproven(&prior, &arena, &prior, NULL), AVOW_OK);
    assert_int_equal(prior.status, AVOW_STATUS_UNTRUSTED);
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_NOTHING);
}

static void test_AL6__expected_and_never_heard__never_attested(void **state)
{
    (void)state;
    enrollment.status = AVOW_ENROLL_STATUS_EXPECTED;
    prior.has_order = false;
    struct avow_liveness_in in = live(1000 + 86400000);
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_NOTHING);
    in.service_ms++;
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_NEVER_ATTESTED);
    assert_int_equal(avow_liveness_deadline(&in), in.service_ms);
}

static void test_liveness__silent_verdict__refreshed_daily(void **state)
{
    (void)state;
    prior.status = AVOW_STATUS_TRUSTED;
    (void)step(AVOW_STATUS_SILENT, 1000, NULL);
    struct avow_liveness_in in = live(1000 + AVOW_SILENT_REFRESH_MS);
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_NOTHING);
    in.service_ms++;
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_REFRESH);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_transition__pending_to_trusted__a_verdict_and_no_event),
        TEST(test_transition__nothing_new__a_verdict_at_the_refresh_only),
        TEST(test_transition__what_a_verdict_says_changes__a_verdict_is_due),
        TEST(test_transition__news_within_min_interval__said_later),
        TEST(test_transition__each_change__its_class),
        TEST(test_transition__revocation__id_names_event_severity),
        TEST(test_transition__same_step_twice__same_id),
        TEST(test_transition__silent__warning_unless_worse),
        TEST(test_liveness__credit__silent_after_and_not_before),
        TEST(test_AP18__talks_but_never_proves__unproven_after_3_silent_after),
        TEST(test_AL6__expected_and_never_heard__never_attested),
        TEST(test_liveness__silent_verdict__refreshed_daily),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
