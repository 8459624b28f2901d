/* test_renew.c - boots, TPM counters, enrolments and policies: what may continue, and what sticks.
 */
#include "rig.h"

#include "avow/core/liveness.h"

#include "avow/base/banned.h"

static struct rig r;

static int setup(void **state)
{
    (void)state;
    rig_init(&r, RIG_P256);
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/sh", "/bin/ls", NULL));
    rig_run(&r, "/bin/sh");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_deinit(&r);
    return 0;
}

static void judge(struct rig_shot *s)
{
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
}

static void expect_trusted_now(void)
{
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_expect_as_of(&r, r.epoch);
}

static void test_AR3__reset_count_plus_1_clock_lower__is_a_new_boot(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    rig_boot(&r);
    r.clock = 5;
    rig_run(&r, "/bin/sh");
    rig_attest(&r);
    expect_trusted_now();
    assert_int_equal(r.state.ima.proven_count, 2);
}

static void test_AR4__reset_count_minus_1_old_epoch__drop_replay(void **state)
{
    (void)state;
    rig_attest(&r);
    struct rig_shot *s = rig_take(&r);
    s->reset_count--;
    rig_seal(&r, s);
    rig_expect_drop(&r, s, AVOW_DROP_REASON_REPLAY);
}

static void test_AR5__reset_count_minus_1_new_epoch__tpm_counters_regressed(void **state)
{
    (void)state;
    rig_attest(&r);
    struct avow_order_token floor = r.state.order;
    rig_tick(&r);
    struct rig_shot *s = rig_take(&r);
    s->reset_count--;
    judge(s);
    rig_expect_findings(&r, "tpm.counters_regressed", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    assert_int_equal(r.state.order.reset_count, floor.reset_count); /* the floor stays */
    rig_tick(&r);
    r.reset_count--;
    rig_attest(&r);
    rig_expect_findings(&r, "tpm.counters_regressed", "tpm.counters_regressed", NULL);
    /* A reboot does not end it, an enrolment does. */
    rig_tick(&r);
    r.next = 0;
    r.send_pcrs = true;
    rig_enroll_again(&r);
    rig_attest(&r);
    expect_trusted_now();
    assert_int_equal(r.state.order.reset_count, r.reset_count);
}

static void test_AR5__regressed_then_reboot__stays_untrusted(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    struct rig_shot *s = rig_take(&r);
    s->reset_count--;
    judge(s);
    rig_tick(&r);
    rig_boot(&r);
    rig_attest(&r);
    rig_expect_findings(&r, "tpm.counters_regressed", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
}

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

static void test_AR6__counters_and_clock_zeroed_by_a_clear__tpm_counters_regressed(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    struct rig_shot *s = rig_take(&r);
    s->reset_count = s->restart_count = 0;
    s->clock = 87;
    judge(s);
    rig_expect_findings(&r, "tpm.counters_regressed", NULL);
}

static void test_AR8__obfuscated_counters__a_new_boot_is_no_regress(void **state)
{
    (void)state;
    static const uint32_t from[] = {2968332769u, 0xFFFFFFFFu};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(from); i++) {
        teardown(NULL);
        setup(NULL);
        r.reset_count = from[i];
        rig_attest(&r);
        rig_tick(&r);
        rig_boot(&r);
        rig_attest(&r);
        expect_trusted_now();
    }
}

static void test_AR7__clock_jumps_a_day__nothing_else_changes(void **state)
{
    (void)state;
    rig_attest(&r);
    r.clock += 86400000u;
    rig_tick(&r);
    rig_attest(&r);
    expect_trusted_now();
}

static void test_AB10__tpm_restart__list_from_zero_is_accepted(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    rig_restart(&r);
    rig_run(&r, "/bin/ls");
    rig_attest(&r);
    expect_trusted_now();
    assert_int_equal(r.state.ima.proven_count, 2);
}

static void test_AB10__tpm_restart_and_the_boot_id_stays__the_new_list_takes_over(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++)
        rig_run(&r, "/bin/ls");
    rig_attest(&r);
    rig_tick(&r);
    rig_restart(&r);
    r.boot_id[0]--;
    rig_attest(&r);
    expect_trusted_now();
    assert_int_equal(r.state.ima.proven_count, 1);
    assert_false(r.state.has_rebase);
}

static void test_AB11__tpm_resume__continues_without_a_log(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    r.restart_count++;
    rig_run(&r, "/bin/ls");
    rig_attest(&r);
    expect_trusted_now();
    assert_int_equal(r.state.ima.proven_count, 3);
}

static void test_AB11__resume_that_hides_an_entry__ima_pcr_mismatch(void **state)
{
    (void)state;
    rig_attest(&r);
    r.restart_count++;
    rig_run(&r, "/bin/evil");
    for (int i = 0; i < 2; i++) {
        rig_tick(&r);
        struct rig_shot *s = rig_take(&r);
        s->log_count = 0;
        judge(s);
    }
    rig_expect_findings(&r, "ima.pcr_mismatch", NULL);
}

static void test_AB12__reset_with_the_same_kernel__boot_hibernated(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    rig_boot(&r);
    r.boot_id[0]--;
    rig_attest(&r);
    rig_expect_findings(&r, "boot.hibernated", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    teardown(NULL);
    setup(NULL);
    r.e.flags.allow_hibernate = true;
    rig_attest(&r);
    rig_tick(&r);
    rig_boot(&r);
    r.boot_id[0]--;
    rig_attest(&r);
    expect_trusted_now();
}

static void test_evaluate__new_boot_with_a_delta__resync_from_zero(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    rig_boot(&r);
    rig_run(&r, "/bin/ls");
    r.next = 1;
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r);
    assert_true(r.out.resync.wanted);
    assert_int_equal(r.out.resync.ima_from, 0);
    assert_true(r.out.resync.boot_log);
    rig_expect_as_of(&r, 100);
    rig_tick(&r);
    r.next = 0;
    rig_attest(&r);
    expect_trusted_now();
}

/* A kernel started over another: PCR 10 is not reset; the list begins anew, or with the old one. */
static void kexec(bool carried_over)
{
    struct rig_entry first = r.log[0];
    r.boot_id[0]++;
    r.next = 0;
    if (!carried_over)
        r.log_count = 0;
    rig_list(&r, &first);
    rig_extend(&r, &first);
    r.send_pcrs = true;
}

static void test_AP16__kexec__boot_kexec(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    kexec(false);
    rig_attest(&r);
    rig_expect_findings(&r, "boot.kexec", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_expect_as_of(&r, r.epoch); /* explained from the stored value */
}

static void test_AP16__kexec_allowed__both_kinds_of_list_are_explained(void **state)
{
    (void)state;
    for (int carried = 0; carried < 2; carried++) {
        teardown(NULL);
        setup(NULL);
        r.e.flags.allow_kexec = true;
        rig_attest(&r);
        rig_tick(&r);
        kexec(carried);
        struct rig_shot *s = rig_take(&r);
        rig_run(&r, "/bin/ls"); /* even when the quote is a little ahead */
        judge(s);
        RIG_EXPECT_NO_FINDINGS(&r);
        rig_tick(&r);
        rig_attest(&r);
        expect_trusted_now();
    }
}

static void test_AP16__kexec_and_a_delta__resync_from_zero(void **state)
{
    (void)state;
    r.e.flags.allow_kexec = true;
    rig_attest(&r);
    rig_tick(&r);
    kexec(false);
    rig_run(&r, "/bin/ls");
    r.next = 1;
    rig_attest(&r);
    assert_true(r.out.resync.wanted);
    assert_int_equal(r.out.resync.ima_from, 0);
    rig_expect_as_of(&r, 100);
    rig_tick(&r);
    r.next = 0;
    rig_attest(&r);
    expect_trusted_now();
}

static void test_AP16__kexec_after_unseen_entries__ima_pcr_mismatch(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_run(&r, "/bin/evil"); /* never sent */
    rig_tick(&r);
    kexec(false);
    rig_attest(&r);
    rig_tick(&r);
    rig_attest(&r);
    rig_expect_findings(&r, "boot.kexec", "ima.pcr_mismatch", NULL);
}

static void test_evaluate__reboot_of_a_bad_host__recovers_once_proven(void **state)
{
    (void)state;
    rig_run(&r, "/bin/evil");
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_boot(&r);
    rig_tick(&r);
    struct rig_shot *s = rig_take(&r);
    rig_run(&r, "/bin/ls");
    judge(s); /* not proven yet: no recovery */
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    assert_false(r.transition.revocation_due);
    rig_tick(&r);
    rig_attest(&r);
    expect_trusted_now();
    assert_true(r.transition.revocation_due);
    assert_int_equal(r.transition.revocation.class, AVOW_REVOCATION_CLASS_RECOVERY);
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

static void test_evaluate__silent_agent__comes_back_by_its_outcome(void **state)
{
    (void)state;
    rig_attest(&r);
    avow_state_silence(&r.state, &r.state);
    struct rig_shot *s = rig_take(&r);
    rig_seal(&r, s);
    r.service_ms = r.epoch * RIG_EPOCH_MS + r.silent_after_ms + 1;
    rig_expect_accepted(&r, s);
    rig_expect_status(&r, AVOW_STATUS_SILENT); /* late credit ends no silence */
    rig_tick(&r);
    r.service_ms = 0;
    rig_attest(&r);
    expect_trusted_now();
    assert_int_equal(r.transition.revocation.class, AVOW_REVOCATION_CLASS_RECOVERY);
    assert_true(avow_str_is(r.transition.revocation.event_id, "agent.silent"));
    avow_state_silence(&r.state, &r.state);
    rig_tick(&r);
    rig_run(&r, "/bin/evil");
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    assert_int_equal(r.transition.revocation.class, AVOW_REVOCATION_CLASS_REVOCATION);
    assert_int_equal(r.transition.revocation.from, AVOW_STATUS_SILENT);
}

static void test_AF6__quote_held_for_an_hour__as_of_its_own_epoch(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    struct rig_shot *s = rig_take(&r);
    rig_seal(&r, s);
    r.service_ms = r.epoch * RIG_EPOCH_MS + 3600000;
    rig_expect_accepted(&r, s);
    rig_expect_as_of(&r, r.epoch);
    assert_int_equal(r.state.credit_ms, r.epoch * RIG_EPOCH_MS);
    assert_true(r.transition.verdict.trusted_until_ms < 1700000000000u + r.service_ms);
}

static void test_evaluate__unproven_host_proves__recovers(void **state)
{
    (void)state;
    rig_attest(&r);
    assert_int_equal(avow_state_unproven(&r.state, &r.arena, &r.state, NULL), AVOW_OK);
    rig_expect_findings(&r, "evidence.unproven", NULL);
    rig_tick(&r);
    rig_attest(&r);
    expect_trusted_now();
}

static void expect_malformed(struct rig_shot *s)
{
    judge(s);
    rig_expect_findings(&r, "evidence.malformed", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_expect_as_of(&r, 0);
    assert_false(r.state.has_ima);
    teardown(NULL);
    setup(NULL);
}

static struct rig_shot *take_raw(const char *bytes, size_t len)
{
    struct rig_shot *s = rig_take(&r);
    s->raw_part = avow_bytes_make(bytes, len);
    s->log_count = 0;
    return s;
}

static void test_evaluate__part_malformed__evidence_malformed(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->trailing = 1;
    expect_malformed(s);
    expect_malformed(take_raw("\x03\0\0\0\0", 5)); /* unknown frame */
    expect_malformed(take_raw("\x01\0\0\0\x05"
                              "abcd",
                              9)); /* frame longer than the part */
    expect_malformed(take_raw("\x01\0\0\0\x04"
                              "abcd",
                              9)); /* entry longer than the frame: AM9 */
    expect_malformed(take_raw("\x02\0\0\0\x01"
                              "a",
                              6)); /* boot log that the body does not name */
    s = rig_take(&r);
    s->body.version = 2;
    expect_malformed(s);
}

static void test_AM8__count_differs_from_the_entries__evidence_malformed(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 3};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(counts); i++) {
        struct rig_shot *s = rig_take(&r);
        s->keep_count = true;
        s->body.ima_count = counts[i]; /* there are 2 */
        expect_malformed(s);
    }
}

static void test_AM6__parts_and_links_contradict__evidence_malformed(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->body.parts = 65;
    s->second_link[0] = 1;
    expect_malformed(s);
    s = rig_take(&r); /* a link for two parts, and one part */
    s->second_link[0] = 1;
    rig_seal(&r, s);
    s->evidence.has_next = true;
    rig_expect_accepted(&r, s);
    rig_expect_findings(&r, "evidence.malformed", NULL);
    teardown(NULL);
    setup(NULL);
    s = rig_take(&r); /* parts without a link */
    s->keep_link = true;
    s->body.parts = 1;
    s->log_count = 0;
    expect_malformed(s);
}

static void test_evaluate__boot_log__checked_and_remembered(void **state)
{
    (void)state;
    static const uint8_t log[] = "uefi";
    struct rig_shot *s = rig_take(&r);
    s->boot_log = log;
    s->boot_log_len = sizeof log;
    s->body.has_boot_log = true;
    avow_sha256(AVOW_BYTES_OF(log), s->body.boot_log);
    judge(s);
    expect_trusted_now();
    assert_true(r.state.boot.has_log_sha256);
    assert_memory_equal(r.state.boot.log_sha256, s->body.boot_log, 32);
    assert_true(r.transition.verdict.boot.has_log_sha256);
    rig_tick(&r);
    rig_attest(&r); /* the same values: the log is still theirs */
    assert_true(r.state.boot.has_log_sha256);
    teardown(NULL);
    setup(NULL);
    s = rig_take(&r);
    s->boot_log = log;
    s->boot_log_len = sizeof log;
    s->body.has_boot_log = true;
    expect_malformed(s);
}

static void test_evaluate__log_of_more_than_4_million__ima_log_too_large(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->body.ima_start = 4000000;
    judge(s);
    rig_expect_findings(&r, "ima.log_too_large", NULL);
}

static void test_evaluate__entry_too_large__ima_entry_too_large(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    struct rig_entry *e = &s->log[1];
    e->bytes[28 + 6 + 2] = 0x09; /* template data of more than 512 KiB, as it says */
    judge(s);
    rig_expect_findings(&r, "ima.entry_too_large", NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_AR3__reset_count_plus_1_clock_lower__is_a_new_boot),
        TEST(test_AR4__reset_count_minus_1_old_epoch__drop_replay),
        TEST(test_AR5__reset_count_minus_1_new_epoch__tpm_counters_regressed),
        TEST(test_AR5__regressed_then_reboot__stays_untrusted),
        TEST(test_AQ11__other_signer_twice_as_the_policy_changes__is_not_forgotten),
        TEST(test_AQ11__other_signer_as_the_policy_changes__quote_qualified_signer),
        TEST(test_AP20__no_list_as_the_policy_changes__ima_missing_at_once),
        TEST(test_AR6__counters_and_clock_zeroed_by_a_clear__tpm_counters_regressed),
        TEST(test_AR8__obfuscated_counters__a_new_boot_is_no_regress),
        TEST(test_AR7__clock_jumps_a_day__nothing_else_changes),
        TEST(test_AB10__tpm_restart__list_from_zero_is_accepted),
        TEST(test_AB10__tpm_restart_and_the_boot_id_stays__the_new_list_takes_over),
        TEST(test_AB11__tpm_resume__continues_without_a_log),
        TEST(test_AB11__resume_that_hides_an_entry__ima_pcr_mismatch),
        TEST(test_AB12__reset_with_the_same_kernel__boot_hibernated),
        TEST(test_evaluate__new_boot_with_a_delta__resync_from_zero),
        TEST(test_AP16__kexec__boot_kexec),
        TEST(test_AP16__kexec_allowed__both_kinds_of_list_are_explained),
        TEST(test_AP16__kexec_and_a_delta__resync_from_zero),
        TEST(test_AP16__kexec_after_unseen_entries__ima_pcr_mismatch),
        TEST(test_evaluate__reboot_of_a_bad_host__recovers_once_proven),
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
        TEST(test_evaluate__silent_agent__comes_back_by_its_outcome),
        TEST(test_AF6__quote_held_for_an_hour__as_of_its_own_epoch),
        TEST(test_evaluate__unproven_host_proves__recovers),
        TEST(test_evaluate__part_malformed__evidence_malformed),
        TEST(test_AM8__count_differs_from_the_entries__evidence_malformed),
        TEST(test_AM6__parts_and_links_contradict__evidence_malformed),
        TEST(test_evaluate__boot_log__checked_and_remembered),
        TEST(test_evaluate__log_of_more_than_4_million__ima_log_too_large),
        TEST(test_evaluate__entry_too_large__ima_entry_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
