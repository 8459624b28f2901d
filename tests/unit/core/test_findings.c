/* test_findings.c - ids are public and append-only. */
#include "avow/core/findings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

/* Never remove or rename a line; new ones may stand anywhere. */
static const char *const golden[] = {
    "evidence.malformed",
    "evidence.unproven",
    "quote.selection",
    "quote.bank",
    "quote.qualified_signer",
    "tpm.counters_regressed",
    "pcr.mismatch",
    "ima.missing",
    "ima.pcr_mismatch",
    "ima.template_hash",
    "ima.template_unknown",
    "ima.pcr_index",
    "ima.bank_padded",
    "ima.violation",
    "ima.boot_aggregate",
    "ima.boot_aggregate_missing",
    "ima.boot_aggregate_repeated",
    "ima.log_trimmed",
    "ima.entry_too_large",
    "ima.log_too_large",
    "ima.digest_unknown",
    "ima.exclude_undecided",
    "boot.kexec",
    "boot.hibernated",
    "enrollment.lost",
    "state.lost",
    "agent.silent",
    "agent.never_attested",
    "ima.signature_invalid",
    "ima.signature_key_unknown",
    "ima.signature_missing",
    "ima.buffer_unknown",
    "ima.buffer_digest",
    "ima.key_unknown",
    "ima.keyring_full",
    "ima.dm_malformed",
    "ima.dm_no_rule",
    "ima.dm_reloaded",
    "ima.dm_device",
    "ima.dm_targets",
    "ima.dm_target",
    "ima.dm_unloaded",
    "ima.dm_resumed",
    "ima.dm_table_hash",
    "ima.dm_removed",
    "ima.dm_cleared",
    "ima.dm_renamed",
    "ima.dm_full",
    "ima.dm_required",
    "ima.dm_not_resumed",
    "boot.log_malformed",
    "boot.log_too_large",
    "boot.digest_missing",
    "boot.data_unbound",
    "boot.pcr_mismatch",
    "quote.malformed",
    "quote.ak",
    "quote.algorithm",
    "quote.signature",
    "quote.magic",
    "quote.nonce_mismatch",
    "quote.pcr_digest",
    "ima.log_malformed",
    "boot.log_missing",
    "boot.pcr_missing",
    "boot.secure_boot",
    "boot.variable",
    "boot.firmware",
    "boot.image",
    "boot.command_line",
    "boot.file",
    "boot.mok",
    "boot.event_missing",
    "boot.event_forbidden",
    "boot.data_untrusted",
};

static void test_findings__ids__are_the_golden_ones(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(golden); i++) {
        if (!avow_finding_def_find(avow_str_from(golden[i])))
            fail_msg("%s is gone: ids are public", golden[i]);
    }
    assert_int_equal(AVOW_FINDING_COUNT, AVOW_ARRAY_LEN(golden)); /* add the new one above */
}

static void test_findings__each__is_well_formed_and_unique(void **state)
{
    (void)state;
    for (unsigned i = 0; i < AVOW_FINDING_COUNT; i++) {
        const struct avow_finding_def *d = avow_finding_def_of((enum avow_finding_id)i);
        assert_true(strlen(d->id) <= 96 && strchr(d->id, '.') != NULL);
        assert_int_equal(strspn(d->id, "abcdefghijklmnopqrstuvwxyz0123456789._"), strlen(d->id));
        assert_true(avow_severity_rank(avow_str_from(d->severity)) >= 0);
        assert_true(strlen(d->text) > 10 && strlen(d->text) <= 512);
        assert_ptr_equal(avow_finding_def_find(avow_str_from(d->id)), d);
    }
    assert_null(avow_finding_def_find(AVOW_STR_LIT("no.such")));
    assert_int_equal(avow_severity_rank(AVOW_STR_LIT("worst")), -1);
    assert_true(avow_severity_rank(AVOW_STR_LIT("emergency")) >
                avow_severity_rank(AVOW_STR_LIT("critical")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_findings__ids__are_the_golden_ones),
        cmocka_unit_test(test_findings__each__is_well_formed_and_unique),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
