/* test_pcrs.c - who signed, what was quoted, which values: findings after attribution. */
#include "rig.h"

#include "avow/base/banned.h"

static struct rig r;

static int setup(void **state)
{
    (void)state;
    rig_init(&r, RIG_P256);
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/sh", NULL));
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

static void expect_selection(struct rig_shot *s)
{
    judge(s);
    rig_expect_findings(&r, "quote.selection", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_expect_as_of(&r, 0);
    assert_false(r.state.has_ima);
}

static void test_AQ1__pcr_16_relabelled_as_10__quote_selection(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->selections[0] = (struct rig_selection){AVOW_HASH_SHA256, {0, 0, 1}, 3};
    s->pcrs[s->body.pcrs_count++] = (struct avow_pcr_value){10, avow_bytes_make(r.pcr[1][10], 32)};
    expect_selection(s);
}

static void test_AQ2__attest_selects_0_to_9__quote_selection(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->selections[0] = (struct rig_selection){AVOW_HASH_SHA256, {0xFF, 0x03, 0}, 3};
    expect_selection(s);
}

static void test_AQ2__attest_leaves_out_one_pcr__quote_selection(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->selections[0] = (struct rig_selection){AVOW_HASH_SHA256, {0xFF, 0xFB, 0xFF}, 3};
    expect_selection(s);
}

static void test_AQ3__empty_selection__quote_selection(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->selections_count = 0;
    expect_selection(s);
}

static void test_AQ3__selection_of_no_pcr__quote_selection(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->selections[0] = (struct rig_selection){AVOW_HASH_SHA256, {0, 0, 0}, 3};
    expect_selection(s);
}

static void test_evaluate__selection_of_another_size__quote_selection(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->selections[0] = (struct rig_selection){AVOW_HASH_SHA256, {0xFF, 0xFF, 0xFF, 0}, 4};
    expect_selection(s);
}

static void test_AQ4__two_banks__quote_selection(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->selections[1] = s->selections[0];
    s->selections[1].hash = AVOW_HASH_SHA384;
    s->selections_count = 2;
    expect_selection(s);
}

static void expect_bank(struct rig_shot *s)
{
    judge(s);
    rig_expect_findings(&r, "quote.bank", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
}

static void test_AQ5__bank_sha1_not_enrolled__quote_bank(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->selections[0].hash = AVOW_HASH_SHA1;
    s->body.bank = AVOW_HASH_ALG_SHA1;
    expect_bank(s);
}

static void test_evaluate__bank_of_an_unknown_algorithm__quote_bank(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->selections[0].hash = 0x0012; /* SM3 */
    expect_bank(s);
}

static void test_evaluate__body_names_another_bank__quote_bank(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->body.bank = AVOW_HASH_ALG_SHA384;
    expect_bank(s);
}

static void test_evaluate__bank_sha1_enrolled__is_trusted(void **state)
{
    (void)state;
    static const enum avow_hash_alg sha1[] = {AVOW_HASH_ALG_SHA1};
    r.e.banks = sha1;
    r.e.banks_count = 1;
    r.bank = AVOW_HASH_ALG_SHA1;
    rig_boot(&r);
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    assert_int_equal(r.state.ima.mode, AVOW_IMA_MODE_NATIVE);
}

static void test_AQ11__signer_not_the_enrolled__quote_qualified_signer(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->signer[33] ^= 1;
    judge(s);
    rig_expect_findings(&r, "quote.qualified_signer", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
}

static void test_AQ11__signer_learned_then_changed__quote_qualified_signer(void **state)
{
    (void)state;
    r.e.qualified_signers_count = 0;
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r);
    assert_true(r.state.has_qualified_signer);
    rig_tick(&r);
    struct rig_shot *s = rig_take(&r);
    s->signer[33] ^= 1;
    judge(s);
    rig_expect_findings(&r, "quote.qualified_signer", NULL);
}

static void test_evaluate__signer_of_an_unproven_quote__is_not_learned(void **state)
{
    (void)state;
    r.e.qualified_signers_count = 0;
    struct rig_shot *s = rig_take(&r);
    rig_run(&r, "/bin/ls"); /* after the log was read */
    judge(s);
    assert_true(r.state.has_pending);
    assert_false(r.state.has_qualified_signer);
}

static void test_AR9__firmware_version_obfuscated__is_not_judged(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->firmware = 0xDEADBEEF01234567u;
    judge(s);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
}

static void test_evaluate__static_values_not_known__resync_pcrs(void **state)
{
    (void)state;
    r.send_pcrs = false;
    struct rig_shot *s = rig_take(&r);
    judge(s);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_PENDING);
    assert_true(r.out.resync.wanted && r.out.resync.pcrs);
    assert_int_equal(r.out.resync.ima_from, 0);
    rig_expect_as_of(&r, 0);
    assert_int_equal(r.state.credit_ms, r.epoch * RIG_EPOCH_MS); /* alive all the same */
    r.send_pcrs = true;
    r.next = 0;
    rig_tick(&r);
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
}

static void test_evaluate__only_changed_values_sent__are_joined_with_the_known(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    memset(r.pcr[AVOW_HASH_ALG_SHA256][23], 7, 32);
    struct rig_shot *s = rig_take(&r);
    s->pcrs[0] = (struct avow_pcr_value){23, avow_bytes_make(r.pcr[AVOW_HASH_ALG_SHA256][23], 32)};
    s->body.pcrs_count = 1;
    judge(s);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_as_of(&r, r.epoch);
}

static void test_AQ6__body_value_is_a_lie__ima_pcr_mismatch_after_the_next(void **state)
{
    (void)state;
    static uint8_t lie[32] = {0x66};
    rig_attest(&r);
    rig_tick(&r);
    uint64_t honest = r.state.as_of.epoch;
    struct rig_shot *s = rig_take(&r);
    s->pcrs[0] = (struct avow_pcr_value){4, AVOW_BYTES_OF(lie)};
    s->body.pcrs_count = 1;
    struct avow_bytes values[24] = {{NULL, 0}};
    for (size_t i = 0; i < 24; i++) {
        if (i != 10)
            values[i] =
                i == 4 ? AVOW_BYTES_OF(lie) : avow_bytes_make(r.pcr[AVOW_HASH_ALG_SHA256][i], 32);
    }
    avow_sha256_pieces(values, 24, s->body.pcr_static);
    judge(s);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_as_of(&r, honest); /* nothing proven */
    rig_tick(&r);
    struct rig_shot *again = rig_take(&r);
    memcpy(again->body.pcr_static, s->body.pcr_static, 32);
    judge(again);
    rig_expect_findings(&r, "ima.pcr_mismatch", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_expect_as_of(&r, honest);
}

static void test_evaluate__pcr_values_malformed__evidence_malformed(void **state)
{
    (void)state;
    static uint8_t value[32];
    const struct avow_pcr_value cases[] = {{24, AVOW_BYTES_OF(value)},
                                           {3, AVOW_BYTES_OF(value)} /* again */,
                                           {3, avow_bytes_make(value, 20)}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        teardown(NULL);
        setup(NULL);
        struct rig_shot *s = rig_take(&r);
        if (cases[i].value.len == 20)
            s->pcrs[3].value = cases[i].value;
        else
            s->pcrs[s->body.pcrs_count++] = cases[i];
        judge(s);
        rig_expect_findings(&r, "evidence.malformed", NULL);
        rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    }
}

static void test_evaluate__body_lists_pcr_10__is_ignored(void **state)
{
    (void)state;
    static uint8_t lie[32] = {1};
    struct rig_shot *s = rig_take(&r);
    s->pcrs[s->body.pcrs_count++] = (struct avow_pcr_value){10, AVOW_BYTES_OF(lie)};
    judge(s);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
}

static void set_rule(uint16_t index, enum avow_hash_alg bank, struct avow_bytes value)
{
    static struct avow_bytes digests[1];
    static struct avow_pcr_rule rule[1];
    static uint8_t copy[64];
    memcpy(copy, value.ptr, value.len);
    digests[0] = avow_bytes_make(copy, value.len);
    rule[0] = (struct avow_pcr_rule){index, bank, digests, 1};
    r.e.pcrs = rule;
    r.e.pcrs_count = 1;
}

static void test_evaluate__pcr_rule__judged_as_it_says(void **state)
{
    (void)state;
    static uint8_t wrong[32] = {9};
    const struct {
        const char *name;
        uint16_t index;
        enum avow_hash_alg bank;
        bool right, trusted;
    } cases[] = {
        {"right value", 7, AVOW_HASH_ALG_SHA256, true, true},
        {"wrong value", 7, AVOW_HASH_ALG_SHA256, false, false},
        {"rule for another bank only", 7, AVOW_HASH_ALG_SHA384, true, false},
        {"no such PCR", 24, AVOW_HASH_ALG_SHA256, false, false},
        {"PCR 10 as explained", 10, AVOW_HASH_ALG_SHA256, true, true},
        {"PCR 10, wrong", 10, AVOW_HASH_ALG_SHA256, false, false},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        teardown(NULL);
        setup(NULL);
        set_rule(cases[i].index, cases[i].bank,
                 cases[i].right ? avow_bytes_make(r.pcr[cases[i].bank][cases[i].index],
                                                  avow_hash_len(AVOW_HASH_SHA256))
                                : AVOW_BYTES_OF(wrong));
        print_message("%s\n", cases[i].name);
        rig_attest(&r);
        if (cases[i].trusted)
            RIG_EXPECT_NO_FINDINGS(&r);
        else
            rig_expect_findings(&r, "pcr.mismatch", NULL);
        rig_expect_status(&r, cases[i].trusted ? AVOW_STATUS_TRUSTED : AVOW_STATUS_UNTRUSTED);
    }
}

static void test_evaluate__rule_of_another_bank_with_this_banks_value__pcr_mismatch(void **state)
{
    (void)state;
    set_rule(7, AVOW_HASH_ALG_SHA384, avow_bytes_make(r.pcr[AVOW_HASH_ALG_SHA256][7], 32));
    rig_attest(&r);
    rig_expect_findings(&r, "pcr.mismatch", NULL);
}

static void test_evaluate__changed_value_not_sent__resync_pcrs(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    memset(r.pcr[AVOW_HASH_ALG_SHA256][23], 7, 32);
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r);
    assert_false(r.state.has_pending); /* it would fail the host at the next evidence */
    assert_true(r.out.resync.wanted && r.out.resync.pcrs);
    rig_expect_as_of(&r, 100);
    rig_tick(&r);
    r.send_pcrs = true;
    rig_attest(&r);
    rig_expect_as_of(&r, r.epoch);
}

/* The quote over what is stored says more than the agent's digest of it; without such a quote the
 * digest counts. */
static void test_evaluate__static_digest_wrong__only_the_quote_counts(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    struct rig_shot *at_rest = rig_take(&r);
    at_rest->body.pcr_static[0] ^= 1;
    rig_seal(&r, at_rest);
    rig_expect_accepted(&r, at_rest);
    assert_false(r.out.resync.wanted);
    rig_expect_as_of(&r, r.epoch);
    rig_run(&r, "/usr/bin/one");
    rig_tick(&r);
    struct rig_shot *busy = rig_take(&r);
    busy->body.pcr_static[0] ^= 1;
    rig_seal(&r, busy);
    rig_expect_accepted(&r, busy);
    assert_true(r.out.resync.wanted && r.out.resync.pcrs);
    rig_expect_as_of(&r, r.epoch - 1);
}

static void test_evaluate__two_rules_for_one_pcr__either_value_passes(void **state)
{
    (void)state;
    static uint8_t other[32];
    const struct avow_bytes a[] = {AVOW_BYTES_OF(other)},
                            b[] = {avow_bytes_make(r.pcr[AVOW_HASH_ALG_SHA256][7], 32)};
    const struct avow_pcr_rule rules[] = {{7, AVOW_HASH_ALG_SHA256, a, 1},
                                          {7, AVOW_HASH_ALG_SHA384, a, 1},
                                          {7, AVOW_HASH_ALG_SHA256, b, 1}};
    r.e.pcrs = rules;
    r.e.pcrs_count = 3;
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
}

static void test_evaluate__no_ima_no_policy__judged_by_the_pcrs(void **state)
{
    (void)state;
    avow_runtime_policy_free(r.policy);
    r.policy = NULL;
    r.e.has_runtime_policy = false;
    r.ima_absent = true;
    set_rule(7, AVOW_HASH_ALG_SHA256, avow_bytes_make(r.pcr[AVOW_HASH_ALG_SHA256][7], 32));
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_tick(&r);
    struct rig_shot *s = rig_take(&r);
    memset(r.pcr[AVOW_HASH_ALG_SHA256][23], 1, 32); /* between read and quote */
    judge(s);
    assert_true(r.state.has_pending);
    rig_expect_as_of(&r, 100);
    rig_tick(&r);
    r.send_pcrs = true;
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_as_of(&r, r.epoch);
    rig_tick(&r);
    memset(r.pcr[AVOW_HASH_ALG_SHA256][7], 1, 32);
    r.send_pcrs = true;
    rig_attest(&r);
    rig_expect_findings(&r, "pcr.mismatch", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
}

static void test_evaluate__no_ima_and_the_quote_never_explained__ima_pcr_mismatch(void **state)
{
    (void)state;
    avow_runtime_policy_free(r.policy);
    r.policy = NULL;
    r.e.has_runtime_policy = false;
    r.ima_absent = true;
    for (int i = 0; i < 2; i++) {
        struct rig_shot *s = rig_take(&r);
        s->has_pcr10 = true;
        s->pcr10[0] = 1;
        judge(s);
        rig_tick(&r);
    }
    rig_expect_findings(&r, "ima.pcr_mismatch", NULL);
    rig_expect_as_of(&r, 0);
}

static void test_AP20__ima_absent_while_the_policy_demands_it__ima_missing(void **state)
{
    (void)state;
    r.ima_absent = true; /* PCR 10 has its genuine value, and that alone does not pass */
    rig_attest(&r);
    rig_expect_findings(&r, "ima.missing", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
}

static void test_AP20__empty_list_and_untouched_pcr__ima_missing(void **state)
{
    (void)state;
    memset(r.pcr[AVOW_HASH_ALG_SHA256][10], 0, 64);
    r.log_count = 0;
    rig_attest(&r);
    rig_expect_findings(&r, "ima.missing", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
}

static void test_evaluate__untouched_pcr_and_short_list__is_not_explained(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->has_pcr10 =
        true; /* zeros: a kernel that never extends would explain any list of up to four entries */
    judge(s);
    rig_expect_status(&r, AVOW_STATUS_PENDING);
    rig_expect_as_of(&r, 0);
    assert_true(r.state.has_pending);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_AQ1__pcr_16_relabelled_as_10__quote_selection),
        TEST(test_AQ2__attest_selects_0_to_9__quote_selection),
        TEST(test_AQ2__attest_leaves_out_one_pcr__quote_selection),
        TEST(test_AQ3__empty_selection__quote_selection),
        TEST(test_AQ3__selection_of_no_pcr__quote_selection),
        TEST(test_evaluate__selection_of_another_size__quote_selection),
        TEST(test_AQ4__two_banks__quote_selection),
        TEST(test_AQ5__bank_sha1_not_enrolled__quote_bank),
        TEST(test_evaluate__bank_of_an_unknown_algorithm__quote_bank),
        TEST(test_evaluate__body_names_another_bank__quote_bank),
        TEST(test_evaluate__bank_sha1_enrolled__is_trusted),
        TEST(test_AQ11__signer_not_the_enrolled__quote_qualified_signer),
        TEST(test_AQ11__signer_learned_then_changed__quote_qualified_signer),
        TEST(test_evaluate__signer_of_an_unproven_quote__is_not_learned),
        TEST(test_AR9__firmware_version_obfuscated__is_not_judged),
        TEST(test_evaluate__static_values_not_known__resync_pcrs),
        TEST(test_evaluate__only_changed_values_sent__are_joined_with_the_known),
        TEST(test_AQ6__body_value_is_a_lie__ima_pcr_mismatch_after_the_next),
        TEST(test_evaluate__pcr_values_malformed__evidence_malformed),
        TEST(test_evaluate__body_lists_pcr_10__is_ignored),
        TEST(test_evaluate__pcr_rule__judged_as_it_says),
        TEST(test_evaluate__rule_of_another_bank_with_this_banks_value__pcr_mismatch),
        TEST(test_evaluate__changed_value_not_sent__resync_pcrs),
        TEST(test_evaluate__static_digest_wrong__only_the_quote_counts),
        TEST(test_evaluate__two_rules_for_one_pcr__either_value_passes),
        TEST(test_evaluate__no_ima_no_policy__judged_by_the_pcrs),
        TEST(test_evaluate__no_ima_and_the_quote_never_explained__ima_pcr_mismatch),
        TEST(test_AP20__ima_absent_while_the_policy_demands_it__ima_missing),
        TEST(test_AP20__empty_list_and_untouched_pcr__ima_missing),
        TEST(test_evaluate__untouched_pcr_and_short_list__is_not_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
