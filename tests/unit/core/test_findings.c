/* test_findings.c - ids are public and append-only; docs/FINDINGS.md says what the table says. */
#include "avow/core/findings.h"

#include "avow/base/buf.h"
#include "avow/base/file.h"

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

static void test_findings__document__has_every_line_of_the_table(void **state)
{
    (void)state;
    struct avow_buf doc, line;
    struct avow_err err = {0};
    avow_buf_init(&doc, 256u * 1024u);
    if (avow_file_read(AVOW_TEST_VECTORS "/../../docs/FINDINGS.md", &doc, &err))
        fail_msg("%s", err.msg);
    size_t rows = 0;
    for (const char *at = avow_buf_cstr(&doc); (at = strstr(at, "\n| `")); at++)
        rows++;
    for (unsigned i = 0; i < AVOW_FINDING_COUNT; i++) {
        const struct avow_finding_def *d = avow_finding_def_of((enum avow_finding_id)i);
        avow_buf_init(&line, 4096);
        avow_buf_printf(&line, "\n| `%s` | %s | %s | %s |\n", d->id, d->severity,
                        d->keylime_event ? d->keylime_event : "-", d->text);
        if (!strstr(avow_buf_cstr(&doc), avow_buf_cstr(&line)))
            fail_msg("docs/FINDINGS.md lacks:%s", avow_buf_cstr(&line));
        avow_buf_deinit(&line);
    }
    assert_int_equal(rows, AVOW_FINDING_COUNT);
    avow_buf_deinit(&doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_findings__ids__are_the_golden_ones),
        cmocka_unit_test(test_findings__each__is_well_formed_and_unique),
        cmocka_unit_test(test_findings__document__has_every_line_of_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
