/* test_boot.c - the boot under a boot policy (PROTOCOL R7): what a log proves, what waits for one,
 * and what is kept. The log is that of a real machine, and the rig's PCRs are what it leads to. */
#include "rig.h"

#include "avow/base/banned.h"

/* The machine has no keys, so Secure Boot is off. */
#define GOOD "{\"avow_boot_policy\": 1, \"secure_boot\": false}"
#define GOOD_TOO "{\"avow_boot_policy\": 1,  \"secure_boot\": false}"
#define BAD "{\"avow_boot_policy\": 1, \"secure_boot\": true}"

static void start(struct rig *r, const char *policy)
{
    rig_init(r, RIG_P256);
    r->firmware = rig_capture(r, "m1-direct");
    rig_boot(r);
    rig_boot_policy(r, policy);
}

/* A machine that has been trusted under GOOD. */
static void start_trusted(struct rig *r)
{
    start(r, GOOD);
    rig_attest(r);
    RIG_EXPECT_NO_FINDINGS(r);
    rig_expect_status(r, AVOW_STATUS_TRUSTED);
    rig_expect_as_of(r, r->epoch);
    rig_tick(r);
}

static struct rig_shot *take_without_log(struct rig *r)
{
    struct rig_shot *s = rig_take(r);
    s->boot_log = NULL;
    s->boot_log_len = 0;
    return s;
}

static void judge(struct rig *r, struct rig_shot *s)
{
    rig_seal(r, s);
    rig_expect_accepted(r, s);
}

/* Everything from the beginning, as after a directive. */
static struct rig_shot *take_all(struct rig *r)
{
    r->next = 0;
    r->send_pcrs = true;
    return rig_take(r);
}

static void expect_outcome(const struct rig *r, enum avow_outcome outcome)
{
    assert_true(r->state.has_boot);
    assert_int_equal(r->state.boot.outcome, outcome);
    assert_int_equal(r->transition.verdict.boot.outcome, outcome);
}

/* One or more findings, all of this id. */
static void expect_only(const struct rig *r, const char *id)
{
    assert_true(r->state.findings_count > 0);
    for (size_t i = 0; i < r->state.findings_count; i++)
        assert_true(avow_str_is(r->state.findings[i].id, id));
}

static void test_evaluate__log_explains_and_satisfies_the_policy__trusted(void **state)
{
    struct rig r;
    (void)state;
    start_trusted(&r);
    expect_outcome(&r, AVOW_OUTCOME_PASS);
    assert_true(r.state.boot.has_log_sha256);
    /* A host at rest needs no second log. */
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_as_of(&r, r.epoch);
    assert_false(r.out.resync.wanted);
    rig_deinit(&r);
}

static void test_evaluate__policy_is_not_satisfied__untrusted_until_the_next_boot(void **state)
{
    struct rig r;
    (void)state;
    start(&r, BAD);
    rig_attest(&r);
    expect_only(&r, "boot.secure_boot");
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_expect_as_of(&r, r.epoch);
    expect_outcome(&r, AVOW_OUTCOME_FAIL);
    rig_tick(&r);
    rig_attest(&r); /* at rest: still untrusted */
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_tick(&r);
    rig_boot(&r); /* and judged again at the next boot (no "once in a lifetime") */
    rig_attest(&r);
    expect_only(&r, "boot.secure_boot");
    rig_deinit(&r);
}

/* --- The log itself --- */

static void test_evaluate__log_of_another_machine__pcr_mismatch(void **state)
{
    struct rig r;
    (void)state;
    start(&r, GOOD);
    struct rig_shot *s = rig_take(&r);
    struct avow_bytes other = rig_capture(&r, "m6-buf");
    s->boot_log = other.ptr;
    s->boot_log_len = other.len;
    judge(&r, s);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    expect_outcome(&r, AVOW_OUTCOME_FAIL);
    expect_only(&r, "boot.pcr_mismatch");
    rig_deinit(&r);
}

static void test_evaluate__log_cannot_be_read__log_malformed(void **state)
{
    struct rig r;
    (void)state;
    start(&r, GOOD);
    struct rig_shot *s = rig_take(&r);
    s->boot_log_len--;
    judge(&r, s);
    rig_expect_findings(&r, "boot.log_malformed", (const char *)NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_deinit(&r);
}

static void test_evaluate__data_changed_under_its_digest__data_unbound(void **state)
{
    struct rig r;
    struct avow_event_log log;
    struct avow_event_walk w;
    struct avow_event e;
    (void)state;
    start(&r, GOOD);
    struct rig_shot *s = rig_take(&r);
    uint8_t *copy = avow_arena_alloc(&r.arena, r.firmware.len, 1);
    memcpy(copy, r.firmware.ptr, r.firmware.len);
    s->boot_log = copy;
    assert_int_equal(avow_event_log_parse(r.firmware, &log, NULL), AVOW_OK);
    avow_event_walk_init(&w, &log);
    do
        assert_true(avow_event_walk_next(&w, &e));
    while (e.untrusted_type != AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG);
    copy[(size_t)(e.untrusted_data.ptr - r.firmware.ptr) + e.untrusted_data.len - 1] ^= 1;
    judge(&r, s);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    assert_true(avow_str_eq(r.state.findings[0].id, AVOW_STR_LIT("boot.data_unbound")));
    rig_deinit(&r);
}

/* --- No log --- */

static void test_evaluate__host_has_no_log__finding_until_it_comes(void **state)
{
    struct rig r;
    (void)state;
    start(&r, GOOD);
    judge(&r, take_without_log(&r));
    rig_expect_findings(&r, "boot.log_missing", (const char *)NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_tick(&r);
    judge(&r, take_all(&r));
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_deinit(&r);
}

static void test_evaluate__worker_does_not_know_the_boot__waits_for_the_log(void **state)
{
    struct rig r;
    (void)state;
    start_trusted(&r);
    uint64_t before = r.state.as_of.epoch;
    r.state.has_boot = false;
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_as_of(&r, before); /* R7 */
    assert_true(r.out.resync.wanted && r.out.resync.boot_log);
    assert_int_equal(r.out.resync.ima_from, r.log_count); /* nothing twice */
    rig_tick(&r);
    struct rig_shot *s = rig_take(&r);
    s->boot_log = r.firmware.ptr;
    s->boot_log_len = r.firmware.len;
    judge(&r, s);
    rig_expect_as_of(&r, r.epoch);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    assert_false(r.out.resync.wanted);
    rig_deinit(&r);
}

static void test_evaluate__pcr_extended_later__log_is_asked_for_and_does_not_explain(void **state)
{
    struct rig r;
    (void)state;
    start_trusted(&r);
    uint64_t before = r.state.as_of.epoch;
    r.pcr[r.bank][4][0] ^= 1;
    r.send_pcrs = true;
    judge(&r, take_without_log(&r));
    rig_expect_as_of(&r, before);
    assert_true(r.out.resync.boot_log);
    rig_tick(&r);
    struct rig_shot *s = rig_take(&r);
    s->boot_log = r.firmware.ptr;
    s->boot_log_len = r.firmware.len;
    judge(&r, s);
    rig_expect_findings(&r, "boot.pcr_mismatch", (const char *)NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_deinit(&r);
}

static void test_evaluate__no_ima_list__boot_is_judged_all_the_same(void **state)
{
    struct rig r;
    (void)state;
    rig_init(&r, RIG_P256);
    r.firmware = rig_capture(&r, "m1-direct");
    r.ima_absent = true;
    rig_boot(&r);
    rig_boot_policy(&r, BAD);
    rig_attest(&r);
    expect_only(&r, "boot.secure_boot");
    rig_deinit(&r);
}

static void test_evaluate__log_in_the_first_of_many_parts__kept_for_the_last(void **state)
{
    struct rig r;
    (void)state;
    start(&r, GOOD);
    for (size_t i = 0; i < 6; i++)
        rig_run(&r, "/usr/bin/one");
    struct rig_shot *s = rig_take(&r);
    rig_cut(s, 3);
    rig_seal(&r, s);
    rig_deliver(&r, s);
    RIG_EXPECT_NO_FINDINGS(&r);
    expect_outcome(&r, AVOW_OUTCOME_PASS);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_expect_as_of(&r, r.epoch);
    rig_deinit(&r);
}

/* --- What an outcome is about --- */

static void test_evaluate__pending_quote_of_other_values__proves_nothing(void **state)
{
    struct rig r;
    (void)state;
    start_trusted(&r);
    uint64_t before = r.state.as_of.epoch;
    r.pcr[r.bank][4][0] ^= 1; /* the true, bad values, and a list that is too short */
    r.send_pcrs = true;
    struct rig_shot *a = take_without_log(&r);
    for (size_t i = 0; i < 7; i++)
        rig_run(&r, "/usr/bin/one");
    judge(&r, a);
    assert_true(r.state.has_pending);
    rig_tick(&r);
    /* Good values are claimed, with their log, and the rest of the list. */
    r.pcr[r.bank][4][0] ^= 1;
    r.send_pcrs = true;
    struct rig_shot *b = rig_take(&r);
    b->body.more = true; /* so that this quote, which is over other values, is never asked about */
    b->has_pcr10 = true;
    judge(&r, b);
    assert_int_equal(r.state.boot.outcome, AVOW_OUTCOME_PASS);
    rig_expect_as_of(&r, before);
    rig_deinit(&r);
}

static void test_evaluate__true_log_after_a_mismatch__is_judged_by_the_policy(void **state)
{
    struct rig r;
    (void)state;
    start(&r, BAD);
    struct rig_shot *s = rig_take(&r);
    struct avow_bytes other = rig_capture(&r, "m6-buf");
    s->boot_log = other.ptr;
    s->boot_log_len = other.len;
    judge(&r, s);
    expect_only(&r, "boot.pcr_mismatch");
    rig_tick(&r);
    judge(&r, take_all(&r));
    expect_outcome(&r, AVOW_OUTCOME_FAIL);
    rig_deinit(&r);
}

/* --- Policies that change --- */

static void test_evaluate__another_boot_policy__old_outcome_counts_until_judged_anew(void **state)
{
    struct rig r;
    (void)state;
    start_trusted(&r);
    rig_boot_policy(&r, BAD);
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r); /* nothing was judged by it yet (R15) */
    rig_expect_as_of(&r, r.epoch);
    assert_true(r.state.stale && r.out.resync.boot_log && r.out.resync.ima_from == 0);
    rig_tick(&r);
    judge(&r, take_all(&r));
    expect_only(&r, "boot.secure_boot");
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_deinit(&r);
}

static void test_evaluate__mended_policy__trusted_only_with_the_log(void **state)
{
    struct rig r;
    (void)state;
    start(&r, BAD);
    rig_attest(&r);
    uint64_t before = r.state.as_of.epoch;
    rig_boot_policy(&r, GOOD);
    rig_tick(&r);
    r.next = 0;
    struct rig_shot *s = take_without_log(&r); /* of the values of before: not "everything" */
    judge(&r, s);
    assert_int_not_equal(r.state.status, AVOW_STATUS_TRUSTED);
    rig_expect_as_of(&r, before);
    assert_true(r.out.resync.boot_log);
    rig_tick(&r);
    judge(&r, take_all(&r));
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_deinit(&r);
}

static void test_evaluate__bad_outcome_and_a_new_run__is_not_forgotten(void **state)
{
    struct rig r;
    (void)state;
    start(&r, BAD);
    rig_attest(&r);
    rig_tick(&r);
    rig_enroll_again(&r); /* over findings: everything is judged anew */
    r.next = 0;
    judge(&r, take_without_log(&r));
    assert_int_not_equal(r.state.status, AVOW_STATUS_TRUSTED);
    assert_true(r.out.resync.boot_log);
    rig_tick(&r);
    judge(&r, take_all(&r));
    expect_only(&r, "boot.secure_boot");
    rig_deinit(&r);
}

static void test_evaluate__policy_named_and_not_there__no_verdict(void **state)
{
    struct rig r;
    (void)state;
    start(&r, GOOD);
    avow_boot_policy_free(r.boot);
    r.boot = NULL;
    rig_attest(&r);
    assert_non_null(r.out.unavailable);
    RIG_EXPECT_NO_FINDINGS(&r);
    assert_int_not_equal(r.state.status, AVOW_STATUS_TRUSTED);
    rig_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evaluate__log_explains_and_satisfies_the_policy__trusted),
        cmocka_unit_test(test_evaluate__policy_is_not_satisfied__untrusted_until_the_next_boot),
        cmocka_unit_test(test_evaluate__log_of_another_machine__pcr_mismatch),
        cmocka_unit_test(test_evaluate__log_cannot_be_read__log_malformed),
        cmocka_unit_test(test_evaluate__data_changed_under_its_digest__data_unbound),
        cmocka_unit_test(test_evaluate__host_has_no_log__finding_until_it_comes),
        cmocka_unit_test(test_evaluate__worker_does_not_know_the_boot__waits_for_the_log),
        cmocka_unit_test(test_evaluate__pcr_extended_later__log_is_asked_for_and_does_not_explain),
        cmocka_unit_test(test_evaluate__no_ima_list__boot_is_judged_all_the_same),
        cmocka_unit_test(test_evaluate__log_in_the_first_of_many_parts__kept_for_the_last),
        cmocka_unit_test(test_evaluate__pending_quote_of_other_values__proves_nothing),
        cmocka_unit_test(test_evaluate__true_log_after_a_mismatch__is_judged_by_the_policy),
        cmocka_unit_test(test_evaluate__another_boot_policy__old_outcome_counts_until_judged_anew),
        cmocka_unit_test(test_evaluate__mended_policy__trusted_only_with_the_log),
        cmocka_unit_test(test_evaluate__bad_outcome_and_a_new_run__is_not_forgotten),
        cmocka_unit_test(test_evaluate__policy_named_and_not_there__no_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
