/* test_renew.c - boots, TPM counters and statuses: what may continue, and what ends. */
#include "one_host.h"

#include "avow/core/liveness.h"

#include "avow/base/banned.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_AR3__reset_count_plus_1_clock_lower__is_a_new_boot),
        TEST(test_AR4__reset_count_minus_1_old_epoch__drop_replay),
        TEST(test_AR5__reset_count_minus_1_new_epoch__tpm_counters_regressed),
        TEST(test_AR5__regressed_then_reboot__stays_untrusted),
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
        TEST(test_evaluate__silent_agent__comes_back_by_its_outcome),
        TEST(test_AF6__quote_held_for_an_hour__as_of_its_own_epoch),
        TEST(test_evaluate__unproven_host_proves__recovers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
