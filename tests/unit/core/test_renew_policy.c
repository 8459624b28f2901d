/* test_renew_policy.c - enrolments and policies that change: what is judged anew, and what sticks.
 */
#include "one_host.h"

#include "avow/base/banned.h"

/* What the evidence shows with which the judging begins anew outlives what was known before. */
static void test_AP20__no_list_as_the_policy_changes__ima_missing_at_once(void **state)
{
    (void)state;
    rig_attest(&r);
    expect_trusted_now();
    rig_tick(&r);
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/sh", NULL));
    r.ima_absent = true;
    r.next = 0;
    r.send_pcrs = true;
    rig_attest(&r);
    rig_expect_findings(&r, "ima.missing", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
}

static void test_AQ11__other_signer_as_the_policy_changes__quote_qualified_signer(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/sh", NULL));
    r.next = 0;
    r.send_pcrs = true;
    struct rig_shot *s = rig_take(&r);
    s->signer[33] ^= 1;
    judge(s);
    rig_expect_findings(&r, "quote.qualified_signer", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
}

static void test_AQ11__other_signer_twice_as_the_policy_changes__is_not_forgotten(void **state)
{
    (void)state;
    rig_attest(&r);
    for (unsigned round = 0; round < 2; round++) {
        rig_tick(&r);
        if (round == 1)
            rig_policy(&r, rig_policy_text(&r, "[]", "/bin/sh", NULL));
        r.next = 0;
        r.send_pcrs = true;
        struct rig_shot *s = rig_take(&r);
        s->signer[33] ^= 1;
        judge(s);
    }
    rig_expect_findings(&r, "quote.qualified_signer", NULL);
}

static void test_evaluate__recovery_by_operator__only_a_higher_generation(void **state)
{
    (void)state;
    r.e.recovery = AVOW_RECOVERY_OPERATOR;
    rig_run(&r, "/bin/evil");
    rig_attest(&r);
    rig_tick(&r);
    rig_boot(&r);
    rig_attest(&r);
    rig_expect_findings(&r, "ima.digest_unknown", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_tick(&r);
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/sh", "/bin/ls", "/bin/evil", NULL));
    r.next = 0;
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_tick(&r);
    rig_enroll_again(&r);
    r.next = 0;
    r.send_pcrs = true;
    rig_attest(&r);
    expect_trusted_now();
}

static void test_AE15__policy_that_forbids_a_file_already_run__found_by_the_resync(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/ls", NULL));
    rig_attest(&r); /* a delta: judged, but not from the beginning */
    RIG_EXPECT_NO_FINDINGS(&r);
    assert_true(r.state.stale);
    assert_true(r.transition.verdict.flags.stale);
    assert_true(r.out.resync.wanted && r.out.resync.boot_log && r.out.resync.pcrs);
    assert_int_equal(r.out.resync.ima_from, 0);
    rig_expect_as_of(&r, r.epoch); /* within the grace */
    assert_true(avow_ct_eq(r.state.heads[0].sha256, r.head.sha256, 32) == false);
    rig_tick(&r);
    r.next = 0;
    rig_attest(&r);
    rig_expect_findings(&r, "ima.digest_unknown", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    assert_false(r.state.stale);
    assert_true(avow_ct_eq(r.state.heads[0].sha256, r.head.sha256, 32));
}

static void test_evaluate__policy_that_allows_the_file__recovers_after_the_resync(void **state)
{
    (void)state;
    rig_run(&r, "/bin/evil");
    rig_attest(&r);
    rig_tick(&r);
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/sh", "/bin/ls", "/bin/evil", NULL));
    rig_attest(&r);
    rig_expect_findings(&r, "ima.digest_unknown",
                        NULL); /* sticks until everything was judged anew */
    rig_tick(&r);
    r.next = 0;
    struct rig_shot *s = rig_take(&r);
    rig_run(&r, "/bin/ls");
    judge(s);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED); /* claimed, not proven */
    rig_tick(&r);
    rig_attest(&r);
    expect_trusted_now();
    assert_int_equal(r.transition.revocation.class, AVOW_REVOCATION_CLASS_RECOVERY);
    assert_true(avow_str_is(r.transition.revocation.event_id, "ima.digest_unknown") ||
                r.transition.revocation.event_id.len > 0);
}

static void test_evaluate__resync_that_leaves_out_the_bad_file__no_recovery(void **state)
{
    (void)state;
    rig_run(&r, "/bin/evil");
    rig_attest(&r);
    rig_tick(&r);
    rig_policy(&r, rig_policy_text(&r, "[\"/x\"]", "/bin/sh", "/bin/ls", NULL));
    for (int i = 0; i < 2; i++) {
        r.next = 0;
        struct rig_shot *s = rig_take(&r);
        s->log_count = 2;
        judge(s);
        rig_tick(&r);
        rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    }
    rig_expect_findings(&r, "ima.pcr_mismatch", NULL);
}

static void test_evaluate__run_under_way_and_a_delta_beyond_it__the_rest_is_asked_for(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        rig_run(&r, "/bin/ls");
    rig_attest(&r);
    rig_tick(&r);
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/sh", "/bin/ls", "/bin/cat", NULL));
    r.next = 0;
    struct rig_shot *s = rig_take(&r);
    s->log_count = 4;
    s->body.more = true;
    judge(s); /* the run has begun */
    assert_true(r.state.stale && r.state.has_rebase);
    assert_false(r.out.resync.wanted);
    r.next = 12; /* the agent goes on elsewhere */
    rig_tick(&r);
    rig_attest(&r);
    assert_true(r.state.stale);
    assert_true(r.out.resync.wanted);
    assert_int_equal(r.out.resync.ima_from, 4);
    rig_expect_as_of(&r, r.epoch);
    r.next = 4;
    rig_tick(&r);
    rig_attest(&r);
    expect_trusted_now();
    assert_false(r.state.stale);
}

static void test_evaluate__policy_change_during_a_rebase__does_not_end_with_it(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    r.next = 0;
    struct rig_shot *s = rig_take(&r);
    rig_run(&r, "/bin/ls");
    judge(s);
    assert_true(r.state.has_rebase);
    rig_tick(&r);
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/ls",
                                   NULL)); /* forbids /bin/sh, which the rebase has passed */
    r.next = 0;
    s = rig_take(&r);
    s->log_count = 0;
    s->body.ima_start = 2;
    s->log[s->log_count++] = r.log[2];
    judge(s);
    assert_true(r.state.stale);
    rig_tick(&r);
    r.next = 0;
    rig_attest(&r);
    rig_expect_findings(&r, "ima.digest_unknown", NULL);
}

static void test_evaluate__stale_beyond_the_grace__as_of_stops(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/ls", NULL));
    rig_attest(&r);
    uint64_t last = r.epoch;
    r.epoch += AVOW_POLICY_GRACE_MS / RIG_EPOCH_MS;
    rig_attest(&r);
    rig_expect_as_of(&r, r.epoch);
    last = r.epoch;
    rig_tick(&r);
    rig_attest(&r);
    rig_expect_as_of(&r, last);
    r.next = 0;
    rig_tick(&r);
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/sh", NULL));
    rig_attest(&r);
    expect_trusted_now();
}

static void test_AE14__superset_policy__carried_without_resync(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/sh", "/bin/ls", "/bin/cat", NULL));
    r.superset = true;
    rig_run(&r, "/bin/cat");
    rig_attest(&r);
    expect_trusted_now();
    assert_false(r.state.stale);
    assert_false(r.out.resync.wanted);
    assert_true(r.transition.verdict.flags.carried);
    assert_true(avow_ct_eq(r.transition.verdict.heads[0].sha256, r.head.sha256, 32));
    rig_tick(&r);
    r.superset = false;
    rig_boot(&r);
    rig_attest(&r);
    assert_false(r.state.carried);
}

static void test_AE14__superset_policy_over_findings__is_not_carried(void **state)
{
    (void)state;
    rig_run(&r, "/bin/evil");
    rig_attest(&r);
    rig_tick(&r);
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/sh", "/bin/evil", NULL));
    r.superset = true;
    rig_attest(&r);
    assert_true(r.state.stale);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
}

static void test_evaluate__head_signed_again_for_the_same_document__nothing_changes(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    r.head.generation++;
    rig_attest(&r);
    expect_trusted_now();
    assert_false(r.state.stale);
    assert_int_equal(r.state.heads[0].generation, r.head.generation);
    assert_true(r.transition.verdict_due);
}

static void test_evaluate__missing_policy__no_trust_no_finding_nothing_lost(void **state)
{
    (void)state;
    r.policy_missing = true;
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_PENDING);
    rig_expect_as_of(&r, 0);
    assert_non_null(r.out.unavailable);
    assert_true(r.state.has_order);
    assert_int_equal(r.state.credit_ms, r.epoch * RIG_EPOCH_MS);
    r.policy_missing = false;
    rig_tick(&r);
    rig_attest(&r); /* a delta, but nothing was judged: from the beginning, please */
    assert_true(r.out.resync.wanted);
    assert_int_equal(r.out.resync.ima_from, 0);
    rig_tick(&r);
    r.next = 0;
    r.send_pcrs = true;
    rig_attest(&r);
    expect_trusted_now();
}

static void test_evaluate__missing_policy_over_a_reboot__no_false_mismatch(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    rig_boot(&r);
    r.policy_missing = true;
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED); /* until it expires */
    rig_expect_as_of(&r, 100);
    r.policy_missing = false;
    rig_tick(&r);
    r.next = 0;
    r.send_pcrs = true;
    rig_attest(&r);
    expect_trusted_now();
}

static void test_evaluate__demands_that_this_version_cannot_judge__no_trust(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        teardown(NULL);
        setup(NULL);
        if (i == 3)
            r.e.has_severity = true;
        else if (i == 0)
            r.e.has_boot_policy = true;
        else if (i == 1)
            r.e.has_verify_keys = true;
        else {
            avow_runtime_policy_free(r.policy); /* demanded, but not handed over */
            r.policy = NULL;
        }
        rig_attest(&r);
        RIG_EXPECT_NO_FINDINGS(&r);
        rig_expect_status(&r, AVOW_STATUS_PENDING);
        assert_non_null(r.out.unavailable);
    }
}

static void test_evaluate__enrolment_with_the_same_demands__is_carried(void **state)
{
    (void)state;
    rig_attest(&r);
    struct avow_enrollment old = r.e;
    rig_enroll_again(&r);
    r.e.metadata = AVOW_STR_LIT("{\"rack\": 7}");
    r.prior_e = &old;
    rig_tick(&r);
    rig_attest(&r);
    expect_trusted_now();
    assert_false(r.state.stale);
    assert_int_equal(r.transition.verdict.enrollment_generation, 2);
    assert_true(r.transition.verdict_due);
}

static void test_evaluate__enrolment_with_other_demands__judged_anew(void **state)
{
    (void)state;
    rig_attest(&r);
    struct avow_enrollment old = r.e;
    rig_enroll_again(&r);
    r.e.flags.allow_violations = true;
    r.prior_e = &old;
    rig_tick(&r);
    rig_attest(&r);
    assert_true(r.state.stale);
    assert_true(r.state.has_ima); /* the same TPM: the position stays */
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_tick(&r);
    r.next = 0;
    rig_attest(&r);
    expect_trusted_now();
    assert_false(r.state.stale);
}

static void test_evaluate__enrolment_with_another_ak__fresh_state(void **state)
{
    (void)state;
    rig_attest(&r);
    struct avow_enrollment old = r.e;
    struct rig other;
    rig_init(&other, RIG_P256_OTHER);
    r.e.ak_public = other.e.ak_public;
    struct avow_ak *ak = r.ak;
    r.ak = other.ak;
    r.key = RIG_P256_OTHER;
    rig_enroll_again(&r);
    r.prior_e = &old;
    /* Another machine: other boot id, other counters that are not newer. */
    r.reset_count = 3;
    r.clock = 2;
    r.boot_id[5] = 9;
    rig_run(&r, "/bin/ls");
    r.next = 0;
    r.send_pcrs = true;
    rig_tick(&r);
    rig_attest(&r);
    expect_trusted_now();
    r.ak = ak;
    rig_deinit(&other);
}

static void test_evaluate__policy_change_during_the_first_run__judged_anew(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    rig_run(&r, "/bin/ls");
    judge(s);                                                   /* claimed under the first policy */
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/ls", NULL)); /* forbids /bin/sh */
    rig_tick(&r);
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_PENDING); /* proven, but by a policy of before */
    assert_true(r.state.stale);
    rig_tick(&r);
    r.next = 0;
    rig_attest(&r);
    rig_expect_findings(&r, "ima.digest_unknown", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_AP20__no_list_as_the_policy_changes__ima_missing_at_once),
        TEST(test_AQ11__other_signer_as_the_policy_changes__quote_qualified_signer),
        TEST(test_AQ11__other_signer_twice_as_the_policy_changes__is_not_forgotten),
        TEST(test_evaluate__recovery_by_operator__only_a_higher_generation),
        TEST(test_AE15__policy_that_forbids_a_file_already_run__found_by_the_resync),
        TEST(test_evaluate__policy_that_allows_the_file__recovers_after_the_resync),
        TEST(test_evaluate__resync_that_leaves_out_the_bad_file__no_recovery),
        TEST(test_evaluate__run_under_way_and_a_delta_beyond_it__the_rest_is_asked_for),
        TEST(test_evaluate__policy_change_during_a_rebase__does_not_end_with_it),
        TEST(test_evaluate__stale_beyond_the_grace__as_of_stops),
        TEST(test_AE14__superset_policy__carried_without_resync),
        TEST(test_AE14__superset_policy_over_findings__is_not_carried),
        TEST(test_evaluate__head_signed_again_for_the_same_document__nothing_changes),
        TEST(test_evaluate__missing_policy__no_trust_no_finding_nothing_lost),
        TEST(test_evaluate__missing_policy_over_a_reboot__no_false_mismatch),
        TEST(test_evaluate__demands_that_this_version_cannot_judge__no_trust),
        TEST(test_evaluate__enrolment_with_the_same_demands__is_carried),
        TEST(test_evaluate__enrolment_with_other_demands__judged_anew),
        TEST(test_evaluate__enrolment_with_another_ak__fresh_state),
        TEST(test_evaluate__policy_change_during_the_first_run__judged_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
