/* test_ima.c - the list, PCR 10, and the entries: ATTACKS group P. */
#include "rig.h"

#include "avow/base/banned.h"

static struct rig r;

static int setup(void **state)
{
    (void)state;
    rig_init(&r, RIG_P256);
    rig_policy(&r, rig_policy_text(&r, "[\"/tmp\"]", "/bin/sh", "/bin/ls", "/bin/cat", NULL));
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

static void test_evaluate__deltas__prove_and_advance(void **state)
{
    (void)state;
    rig_attest(&r);
    for (int i = 0; i < 5; i++) {
        rig_tick(&r);
        rig_run(&r, i % 2 ? "/bin/ls" : "/bin/cat");
        rig_attest(&r);
        RIG_EXPECT_NO_FINDINGS(&r);
        rig_expect_as_of(&r, r.epoch);
    }
    assert_int_equal(r.state.ima.proven_count, 7);
    assert_int_equal(r.state.ima.claimed_count, 7);
}

static void test_evaluate__steady_without_entries__proves(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    rig_attest(&r);
    rig_expect_as_of(&r, r.epoch);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
}

static void test_AP2__log_one_entry_ahead_of_the_pcr__proven_at_n_minus_1(void **state)
{
    (void)state;
    rig_list_only(&r, "/bin/ls");
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    assert_int_equal(r.state.ima.proven_count, 2);
    assert_int_equal(r.state.ima.claimed_count, 3);
    rig_extend(&r, &r.log[2]);
    rig_tick(&r);
    rig_attest(&r);
    assert_int_equal(r.state.ima.proven_count, 3);
    rig_expect_as_of(&r, r.epoch);
}

static void test_AP2__still_not_extended_at_the_next__proven_again(void **state)
{
    (void)state;
    rig_list_only(&r, "/bin/ls");
    rig_attest(&r);
    rig_tick(&r);
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_as_of(&r, r.epoch);
    assert_int_equal(r.state.ima.proven_count, 2);
}

static void test_AP2__log_five_entries_ahead__is_not_explained(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        rig_list_only(&r, "/bin/ls");
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_PENDING);
    assert_true(r.state.has_pending);
}

static void test_AP3__log_one_short__the_next_explains_as_of_the_first(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    rig_run(&r, "/bin/ls"); /* measured between read and quote */
    judge(s);
    rig_expect_status(&r, AVOW_STATUS_PENDING);
    rig_expect_as_of(&r, 0);
    assert_true(r.state.has_pending);
    rig_tick(&r);
    s = rig_take(&r);
    rig_run(&r, "/bin/cat"); /* and again */
    judge(s);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_expect_as_of(&r, 100);
    assert_true(r.state.has_pending);
    assert_int_equal(r.state.ima.proven_count, 3);
    rig_tick(&r);
    rig_attest(&r);
    rig_expect_as_of(&r, r.epoch);
    assert_false(r.state.has_pending);
    assert_int_equal(r.state.ima.proven_count, 4);
}

static void test_AP3__pending_value_deep_in_the_new_entries__is_found(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    rig_run(&r, "/bin/ls");
    judge(s);
    rig_tick(&r);
    for (int i = 0; i < 20; i++)
        rig_run(&r, "/bin/cat");
    s = rig_take(&r);
    rig_run(&r, "/bin/ls");
    judge(s);
    rig_expect_as_of(&r, 100);
    assert_int_equal(r.state.ima.proven_count, 3);
    RIG_EXPECT_NO_FINDINGS(&r);
}

static void test_AP4__next_evidence_omits_the_missing_entry__ima_pcr_mismatch(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    rig_run(&r, "/bin/evil");
    judge(s);
    rig_tick(&r);
    s = rig_take(&r);
    s->log_count = 0;
    judge(s);
    rig_expect_findings(&r, "ima.pcr_mismatch", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    assert_true(r.transition.revocation_due);
    assert_true(avow_str_is(r.transition.revocation.event_id, "ima.pcr_mismatch"));
}

/* A kernel without IMA: PCR 10 stays zero, whatever list is told. */
static void test_evaluate__list_over_a_pcr_that_nothing_extends__never_trusted(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        r.next = 0; /* from entry 0 each time, so that the fold begins at the quoted value */
        struct rig_shot *s = rig_take(&r);
        s->has_pcr10 = true;
        memset(s->pcr10, 0, sizeof s->pcr10);
        judge(s);
        rig_tick(&r);
    }
    rig_expect_findings(&r, "ima.pcr_mismatch", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_expect_as_of(&r, 0);
}

static void test_evaluate__more__neither_holds_nor_fails_the_pending(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    rig_run(&r, "/bin/ls");
    judge(s);
    uint64_t held = r.state.pending.epoch;
    for (int i = 0; i < 12; i++)
        rig_run(&r, "/bin/cat");
    rig_tick(&r);
    s = rig_take(&r);
    s->log_count = 0; /* the first part of a long log: the missing entry comes later */
    s->body.more = true;
    judge(s);
    RIG_EXPECT_NO_FINDINGS(&r);
    assert_int_equal(r.state.pending.epoch, held);
    rig_tick(&r);
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_as_of(&r, r.epoch);
}

static void test_evaluate__more_on_first_contact__is_never_pending(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++)
        rig_run(&r, "/bin/cat");
    struct rig_shot *s = rig_take(&r);
    s->log_count = 4;
    s->body.more = true;
    judge(s);
    assert_false(r.state.has_pending);
    rig_expect_status(&r, AVOW_STATUS_PENDING);
    rig_tick(&r);
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    assert_int_equal(r.state.ima.proven_count, 14);
}

static void test_AP5__pending_then_reboot__dropped_without_trust(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    struct rig_shot *s = rig_take(&r);
    rig_run(&r, "/bin/ls");
    judge(s);
    assert_true(r.state.has_pending);
    rig_boot(&r);
    rig_tick(&r);
    s = rig_take(&r);
    rig_run(&r, "/bin/ls");
    judge(s);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_as_of(&r, 100);
    assert_int_equal(r.state.pending.epoch, r.epoch);
}

static void test_AP6__bad_file_in_the_claimed_tail__counts_at_once(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    rig_run(&r, "/bin/evil");
    struct rig_shot *s = rig_take(&r);
    rig_run(&r, "/bin/ls"); /* so the quote is not explained */
    judge(s);
    rig_expect_findings(&r, "ima.digest_unknown", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_expect_as_of(&r, 100);
    const struct avow_finding *f = &r.state.findings[0];
    assert_true(avow_str_is(f->where, "entry 2"));
    assert_true(avow_str_starts(f->detail, "/bin/evil sha256:"));
}

static void broken_entry(void (*change)(struct rig_shot *s))
{
    rig_run(&r, "/bin/ls");
    rig_run(&r, "/bin/cat");
    for (int i = 0; i < 2; i++) { /* the first is held, the second does not explain it either */
        struct rig_shot *s = rig_take(&r);
        if (i == 0)
            change(s);
        judge(s);
        rig_tick(&r);
    }
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_expect_as_of(&r, 0);
}

static void remove_entry(struct rig_shot *s)
{
    s->log[1] = s->log[2];
    s->log[2] = s->log[3];
    s->log_count--;
}

static void test_AP8__entry_removed__ima_pcr_mismatch(void **state)
{
    (void)state;
    broken_entry(remove_entry);
    rig_expect_findings(&r, "ima.pcr_mismatch", NULL);
}

static void swap_entries(struct rig_shot *s)
{
    struct rig_entry e = s->log[1];
    s->log[1] = s->log[2];
    s->log[2] = e;
}

static void test_AP8__entries_reordered__ima_pcr_mismatch(void **state)
{
    (void)state;
    broken_entry(swap_entries);
    rig_expect_findings(&r, "ima.pcr_mismatch", NULL);
}

static void other_path(struct rig_shot *s)
{
    uint8_t digest[32];
    rig_file_digest("/bin/sh", digest);
    s->log[1] = rig_entry_make(10, "ima-ng", "sha256", AVOW_BYTES_OF(digest), "/bin/sh");
    s->log[2] = s->log[1];
}

static void test_AP8__entry_replaced_by_an_allowed_one__ima_pcr_mismatch(void **state)
{
    (void)state;
    broken_entry(other_path);
    rig_expect_findings(&r, "ima.pcr_mismatch", NULL);
}

static void other_data(struct rig_shot *s)
{
    s->log[2].bytes[s->log[2].len - 2] ^=
        1; /* last letter of the path; the template digest stays */
}

static void test_AP8__template_data_changed__template_hash_and_mismatch(void **state)
{
    (void)state;
    broken_entry(other_data);
    rig_expect_findings(&r, "ima.template_hash", "ima.digest_unknown", "ima.pcr_mismatch", NULL);
}

static void test_AP9__only_the_listed_sha1_is_wrong__ima_template_hash(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->log[1].bytes[4] ^= 1;
    judge(s);
    rig_expect_findings(&r, "ima.template_hash", NULL);
    rig_expect_as_of(&r, r.epoch); /* PCR 10 is explained: the fold uses the data */
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
}

static void test_AP10__violation__folds_and_is_a_finding_by_policy(void **state)
{
    (void)state;
    rig_violate(&r, "/var/log/x");
    rig_attest(&r);
    rig_expect_findings(&r, "ima.violation", NULL);
    rig_expect_as_of(&r, r.epoch);
}

static void test_AP10__violation_allowed__is_trusted(void **state)
{
    (void)state;
    r.e.flags.allow_violations = true;
    rig_violate(&r, "/var/log/x");
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    assert_int_equal(r.state.ima.proven_count, 3);
}

static void test_AP23__tomtou_allowed__is_trusted(void **state)
{
    (void)state;
    r.e.flags.allow_tomtou = true;
    rig_violate(&r, "/var/log/x");
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
}

static void test_AP10__violation_of_an_excluded_path__is_a_finding(void **state)
{
    (void)state;
    rig_violate(&r, "/tmp/x"); /* nothing covers the path, so it must not excuse */
    rig_attest(&r);
    rig_expect_findings(&r, "ima.violation", NULL);
}

static void test_AP11__file_digest_of_zeros__is_not_a_violation(void **state)
{
    (void)state;
    static const uint8_t zeros[32];
    struct rig_entry e =
        rig_entry_make(10, "ima-ng", "sha1", avow_bytes_make(zeros, 20), "/bin/ls");
    rig_list(&r, &e);
    rig_extend(&r, &e);
    r.e.flags.allow_violations = true;
    rig_attest(&r);
    rig_expect_findings(&r, "ima.digest_unknown", NULL);
    rig_expect_as_of(&r, r.epoch);
}

static void boot_padded(void)
{
    r.padded = true;
    r.bank = AVOW_HASH_ALG_SHA384;
    rig_boot(&r);
    rig_run(&r, "/bin/sh");
}

static void test_AP12__padded_bank__ima_bank_padded(void **state)
{
    (void)state;
    boot_padded();
    rig_attest(&r);
    rig_expect_findings(&r, "ima.bank_padded", NULL);
    assert_int_equal(r.state.ima.mode, AVOW_IMA_MODE_PADDED);
}

static void test_AP12__padded_bank_allowed__is_trusted(void **state)
{
    (void)state;
    r.e.flags.allow_padded = true;
    boot_padded();
    struct rig_shot *s = rig_take(&r); /* undetermined through a quote that is not explained */
    rig_run(&r, "/bin/ls");
    judge(s);
    assert_int_equal(r.state.ima.mode, AVOW_IMA_MODE_UNDETERMINED);
    rig_tick(&r);
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    assert_int_equal(r.state.ima.mode, AVOW_IMA_MODE_PADDED);
    rig_tick(&r);
    rig_run(&r, "/bin/cat");
    rig_attest(&r);
    rig_expect_as_of(&r, r.epoch);
}

static void test_AP13__real_and_padded_mixed__ima_pcr_mismatch(void **state)
{
    (void)state;
    r.e.flags.allow_padded = true;
    boot_padded();
    r.padded = false;
    rig_run(&r, "/bin/ls");
    rig_attest(&r);
    rig_tick(&r);
    rig_attest(&r);
    rig_expect_findings(&r, "ima.pcr_mismatch", NULL);
}

static void add_to_pcr(uint32_t pcr)
{
    uint8_t digest[32];
    rig_file_digest("/bin/ls", digest);
    struct rig_entry e = rig_entry_make(pcr, "ima-ng", "sha256", AVOW_BYTES_OF(digest), "/bin/ls");
    rig_list(&r, &e);
    rig_extend(&r, &e);
    r.send_pcrs = true;
}

static void test_AP14__entry_of_pcr_11__ima_pcr_index(void **state)
{
    (void)state;
    add_to_pcr(11);
    rig_attest(&r);
    rig_expect_findings(&r, "ima.pcr_index", NULL);
    rig_expect_as_of(&r, r.epoch);
}

static void test_AP14__pcr_11_enrolled__is_folded_into_it(void **state)
{
    (void)state;
    static const uint16_t pcrs[] = {10, 11};
    r.e.ima_pcrs = pcrs;
    r.e.ima_pcrs_count = 2;
    add_to_pcr(11);
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_tick(&r);
    add_to_pcr(11);
    rig_attest(&r);
    rig_expect_as_of(&r, r.epoch);
    /* The list says less than PCR 11 does. */
    rig_tick(&r);
    add_to_pcr(11);
    r.log_count--;
    rig_attest(&r);
    assert_true(r.state.has_pending);
    rig_tick(&r);
    rig_attest(&r);
    rig_expect_findings(&r, "ima.pcr_mismatch", NULL);
}

static void test_AP15__second_boot_aggregate__ima_boot_aggregate_repeated(void **state)
{
    (void)state;
    rig_list(&r, &r.log[0]);
    rig_extend(&r, &r.log[0]);
    rig_attest(&r);
    rig_expect_findings(&r, "ima.boot_aggregate_repeated", NULL);
}

static void test_evaluate__list_does_not_begin_with_boot_aggregate__missing(void **state)
{
    (void)state;
    r.log_count = 0;
    memset(r.pcr[AVOW_HASH_ALG_SHA256][10], 0, 64);
    rig_run(&r, "/bin/sh");
    rig_attest(&r);
    rig_expect_findings(&r, "ima.boot_aggregate_missing", NULL);
}

static void restart_list(const char *alg, struct avow_bytes digest)
{
    struct rig_entry e = rig_entry_make(10, "ima-ng", alg, digest, "boot_aggregate");
    r.log_count = 0;
    memset(r.pcr[AVOW_HASH_ALG_SHA256][10], 0, 64);
    rig_list(&r, &e);
    rig_extend(&r, &e);
}

static void test_AP17__boot_aggregate_of_other_pcrs__ima_boot_aggregate(void **state)
{
    (void)state;
    uint8_t spoofed[32] = {0xAB};
    restart_list("sha256", AVOW_BYTES_OF(spoofed));
    rig_attest(&r);
    rig_expect_findings(&r, "ima.boot_aggregate", NULL);
}

static void test_evaluate__boot_aggregate_of_pcr_0_to_7__is_accepted(void **state)
{
    (void)state;
    struct avow_bytes values[8];
    struct avow_digest d;
    for (size_t i = 0; i < 8; i++)
        values[i] = avow_bytes_make(r.pcr[AVOW_HASH_ALG_SHA256][i], 32);
    avow_digest_pieces(AVOW_HASH_SHA256, values, 8, &d);
    restart_list("sha256", avow_digest_bytes(&d));
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
}

static void test_evaluate__boot_aggregate_of_another_bank__needs_a_pin(void **state)
{
    (void)state;
    struct avow_digest d;
    rig_boot_aggregate(&r, AVOW_HASH_ALG_SHA1, &d);
    restart_list("sha1", avow_digest_bytes(&d));
    rig_attest(&r);
    rig_expect_findings(&r, "ima.boot_aggregate", NULL);
}

static void pin(const struct avow_digest *d)
{
    char hex[129];
    const char *text = rig_policy_text(&r, "[]", "/bin/sh", NULL);
    static const char key[] = "\"digests\": {";
    const char *at = strstr(text, key) + sizeof key - 1;
    size_t head = (size_t)(at - text);
    for (size_t i = 0; i < d->len; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", d->bytes[i]);
    rig_policy(&r, avow_arena_printf(&r.arena, "%.*s\"boot_aggregate\": [\"%s\"], %s", (int)head,
                                     text, hex, at));
}

static void test_evaluate__boot_aggregate_pinned__both_must_hold(void **state)
{
    (void)state;
    struct avow_digest d;
    rig_boot_aggregate(&r, AVOW_HASH_ALG_SHA256, &d);
    pin(&d);
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    teardown(NULL);
    setup(NULL);
    rig_boot_aggregate(&r, AVOW_HASH_ALG_SHA256, &d);
    d.bytes[0] ^= 1;
    pin(&d);
    rig_attest(&r);
    rig_expect_findings(&r, "ima.boot_aggregate", NULL);
}

static void test_evaluate__boot_aggregate_of_another_bank_pinned__is_accepted(void **state)
{
    (void)state;
    struct avow_digest d;
    rig_boot_aggregate(&r, AVOW_HASH_ALG_SHA1, &d);
    pin(&d);
    restart_list("sha1", avow_digest_bytes(&d));
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
}

static void test_evaluate__pin_of_a_spoofed_boot_aggregate__does_not_help(void **state)
{
    (void)state;
    struct avow_digest d = {.len = 32, .bytes = {0xAB}};
    pin(&d);
    restart_list("sha256", avow_digest_bytes(&d));
    rig_attest(&r);
    rig_expect_findings(&r, "ima.boot_aggregate", NULL);
}

static void test_AP18__gap__resync_and_as_of_unchanged(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_run(&r, "/bin/ls");
    rig_run(&r, "/bin/cat");
    rig_tick(&r);
    r.next = 3;
    struct rig_shot *s = rig_take(&r);
    judge(s);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_expect_as_of(&r, 100);
    assert_true(r.out.resync.wanted);
    assert_int_equal(r.out.resync.ima_from, 2);
    assert_int_equal(r.state.order.clock, s->clock); /* consumed all the same */
    assert_int_equal(r.state.credit_ms, r.epoch * RIG_EPOCH_MS);
    r.next = 2;
    rig_tick(&r);
    rig_attest(&r);
    rig_expect_as_of(&r, r.epoch);
}

static void test_AP18__gap_while_a_quote_is_pending__does_not_settle_it(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    rig_run(&r, "/bin/ls");
    judge(s);
    rig_run(&r, "/bin/cat");
    rig_tick(&r);
    r.next = 4;
    rig_attest(&r);
    assert_true(r.state.has_pending);
    assert_int_equal(r.state.pending.epoch, 100);
    RIG_EXPECT_NO_FINDINGS(&r);
}

static void test_AP19__overlap_with_altered_known_entries__no_effect(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_run(&r, "/bin/ls");
    rig_tick(&r);
    r.next = 1;
    struct rig_shot *s = rig_take(&r);
    s->log[0] =
        rig_entry_make(10, "ima-ng", "sha256", AVOW_BYTES_OF(((uint8_t[32]){7})), "/bin/evil");
    judge(s);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_as_of(&r, r.epoch);
    assert_int_equal(r.state.ima.proven_count, 3);
}

static void test_AP21__exclude_without_slash__strict_or_prefix(void **state)
{
    (void)state;
    rig_run(&r, "/tmpevil");
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r); /* as Keylime; the policy's notes warn of it */
    teardown(NULL);
    setup(NULL);
    r.e.flags.strict_excludes = true;
    rig_run(&r, "/tmpevil");
    rig_attest(&r);
    rig_expect_findings(&r, "ima.digest_unknown", NULL);
}

static void test_AP22__exclude_hits_its_limits__said_and_not_excluded(void **state)
{
    (void)state;
    char path[700] = "/";
    memset(path + 1, 'a', sizeof path - 2);
    path[sizeof path - 1] = 0;
    rig_policy(&r, rig_policy_text(&r, "[\"/(a|aa)+[xy]\"]", "/bin/sh", NULL));
    rig_run(&r, path);
    rig_attest(&r);
    rig_expect_findings(&r, "ima.exclude_undecided", "ima.digest_unknown", NULL);
}

static void test_AP24__policy_of_generator_0__is_enforced(void **state)
{
    (void)state;
    rig_run(&r, "/bin/evil"); /* rig_policy_text says generator 0 */
    rig_attest(&r);
    rig_expect_findings(&r, "ima.digest_unknown", NULL);
}

static void test_AP26__log_trimmed__deltas_chain_and_a_rebase_is_a_finding(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    rig_run(&r, "/bin/ls");
    struct rig_shot *s = rig_take(&r);
    s->body.log_trimmed = true;
    judge(s);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_as_of(&r, r.epoch);
    uint64_t proven = r.epoch;
    rig_tick(&r);
    s = rig_take(&r);
    s->body.log_trimmed = true;
    s->body.ima_start = 0; /* a rebase was asked for */
    judge(s);
    rig_expect_findings(&r, "ima.log_trimmed", NULL);
    rig_expect_as_of(&r, proven);
}

static void test_AP26__log_trimmed_on_first_contact__ima_log_trimmed(void **state)
{
    (void)state;
    r.next = 1;
    struct rig_shot *s = rig_take(&r);
    s->body.log_trimmed = true;
    judge(s);
    rig_expect_findings(&r, "ima.log_trimmed", NULL);
}

static void test_AP26__log_trimmed_allowed__no_finding_and_no_proof(void **state)
{
    (void)state;
    r.e.flags.allow_log_trimmed = true;
    rig_attest(&r);
    rig_tick(&r);
    struct rig_shot *s = rig_take(&r);
    s->body.log_trimmed = true;
    s->body.ima_start = 0;
    judge(s);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_as_of(&r, 100);
}

static void test_evaluate__rebase__replaces_the_position_once_proven(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_run(&r, "/bin/ls");
    rig_tick(&r);
    r.next = 0;
    struct rig_shot *s = rig_take(&r);
    rig_run(&r, "/bin/cat"); /* not explained yet */
    judge(s);
    assert_true(r.state.has_rebase);
    assert_int_equal(r.state.ima.claimed_count, 2); /* the stored one stands */
    rig_tick(&r);
    rig_attest(&r);
    assert_false(r.state.has_rebase);
    assert_int_equal(r.state.ima.proven_count, 4);
    rig_expect_as_of(&r, r.epoch);
    RIG_EXPECT_NO_FINDINGS(&r);
}

static void test_evaluate__rebase_heals_a_damaged_position(void **state)
{
    (void)state;
    rig_attest(&r);
    struct avow_ima_pcr *pcrs = avow_arena_alloc(&r.arena, 1, sizeof *pcrs);
    static const uint8_t damaged[32] = {0xBA, 0xD0};
    *pcrs = (struct avow_ima_pcr){10, AVOW_BYTES_OF(damaged), AVOW_BYTES_OF(damaged)};
    r.state.ima.pcrs = pcrs;
    rig_tick(&r);
    r.next = 0;
    rig_attest(&r);
    rig_expect_as_of(&r, r.epoch);
    RIG_EXPECT_NO_FINDINGS(&r);
}

static void test_evaluate__findings_are_sticky_in_a_plain_rebase(void **state)
{
    (void)state;
    rig_run(&r, "/bin/evil");
    rig_attest(&r);
    rig_expect_findings(&r, "ima.digest_unknown", NULL);
    rig_tick(&r);
    r.next = 0;
    struct rig_shot *s = rig_take(&r);
    judge(s);
    rig_expect_findings(&r, "ima.digest_unknown", NULL); /* found again, listed once */
    assert_int_equal(r.state.findings_total, 1);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_expect_as_of(&r, r.epoch); /* positions advance in spite of findings */
    assert_false(r.transition.revocation_due);
}

static void test_evaluate__sha1_digest_where_the_name_says_sm3__digest_unknown(void **state)
{
    (void)state;
    uint8_t digest[32];
    rig_file_digest("/bin/sh", digest);
    struct rig_entry e = rig_entry_make(10, "ima-ng", "sm3", AVOW_BYTES_OF(digest), "/bin/sh");
    rig_list(&r, &e);
    rig_extend(&r, &e);
    rig_attest(&r);
    rig_expect_findings(&r, "ima.digest_unknown", NULL);
}

static void test_evaluate__templates__known_pass_unknown_is_a_finding(void **state)
{
    (void)state;
    static const struct {
        const char *template;
        const char *finding;
    } cases[] = {{"ima-ng", NULL},
                 {"ima-sig", NULL},
                 {"ima-buf", "ima.template_unknown"},
                 {"x", "ima.template_unknown"}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        teardown(NULL);
        setup(NULL);
        uint8_t digest[32];
        rig_file_digest("/bin/sh", digest);
        struct rig_entry e =
            rig_entry_make(10, cases[i].template, "sha256", AVOW_BYTES_OF(digest), "/bin/sh");
        rig_list(&r, &e);
        rig_extend(&r, &e);
        rig_attest(&r);
        rig_expect_findings(&r, cases[i].finding, NULL);
        rig_expect_as_of(&r, r.epoch); /* folded whatever it is */
    }
}

static void test_evaluate__template_ima__is_folded_over_the_padded_path(void **state)
{
    (void)state;
    static const uint8_t digest[20] = {1};
    struct rig_entry e = rig_entry_make(10, "ima", "sha1", AVOW_BYTES_OF(digest), "/tmp/x");
    rig_list(&r, &e);
    rig_extend(&r, &e);
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
}

/* What is one of a kind is not lost among a crowd of another, of this evidence or of those before.
 */
static void test_evaluate__many_findings__the_first_of_each_kind_is_kept(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++)
        rig_run(&r, "/bin/evil");
    rig_violate(&r, "/var/log/x");
    rig_attest(&r);
    assert_int_equal(r.state.findings_count, AVOW_FINDINGS_KEPT);
    assert_int_equal(r.state.findings_total, 41);
    assert_true(avow_str_is(r.state.findings[AVOW_FINDINGS_KEPT - 1].id, "ima.violation"));
    rig_tick(&r);
    struct rig_shot *s = rig_take(&r);
    s->signer[33] ^= 1;
    judge(s);
    assert_int_equal(r.state.findings_count, AVOW_FINDINGS_KEPT);
    assert_int_equal(r.state.findings_total, 42);
    assert_true(avow_str_is(r.state.findings[AVOW_FINDINGS_KEPT - 1].id, "quote.qualified_signer"));
}

static void test_evaluate__many_findings__32_kept_all_counted(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++)
        rig_run(&r, "/bin/evil");
    rig_attest(&r);
    assert_int_equal(r.state.findings_count, AVOW_FINDINGS_KEPT);
    assert_int_equal(r.state.findings_total, 50);
    assert_int_equal(r.transition.revocation.findings_count, 16);
}

static void test_evaluate__path_of_an_attacker__is_made_printable(void **state)
{
    (void)state;
    rig_run(&r, "/bin/\x1b[2J\xff\xe2\x80\xaehsab\\");
    rig_attest(&r);
    rig_expect_findings(&r, "ima.digest_unknown", NULL);
    assert_true(avow_str_starts(r.state.findings[0].detail,
                                "/bin/\\x1b[2J\\xff\\xe2\\x80\\xaehsab\\x5c sha256:"));
}

static void test_evaluate__long_path__is_cut_with_dots(void **state)
{
    (void)state;
    char path[700] = "/";
    memset(path + 1, 'a', sizeof path - 2);
    path[sizeof path - 1] = 0;
    rig_run(&r, path);
    rig_attest(&r);
    struct avow_str d = r.state.findings[0].detail;
    assert_true(d.len <= 512);
    assert_non_null(strstr(avow_arena_cstr(&r.arena, d), "aaa... sha256:"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_evaluate__deltas__prove_and_advance),
        TEST(test_evaluate__steady_without_entries__proves),
        TEST(test_AP2__log_one_entry_ahead_of_the_pcr__proven_at_n_minus_1),
        TEST(test_AP2__still_not_extended_at_the_next__proven_again),
        TEST(test_AP2__log_five_entries_ahead__is_not_explained),
        TEST(test_AP3__log_one_short__the_next_explains_as_of_the_first),
        TEST(test_AP3__pending_value_deep_in_the_new_entries__is_found),
        TEST(test_AP4__next_evidence_omits_the_missing_entry__ima_pcr_mismatch),
        TEST(test_evaluate__list_over_a_pcr_that_nothing_extends__never_trusted),
        TEST(test_evaluate__more__neither_holds_nor_fails_the_pending),
        TEST(test_evaluate__more_on_first_contact__is_never_pending),
        TEST(test_AP5__pending_then_reboot__dropped_without_trust),
        TEST(test_AP6__bad_file_in_the_claimed_tail__counts_at_once),
        TEST(test_AP8__entry_removed__ima_pcr_mismatch),
        TEST(test_AP8__entries_reordered__ima_pcr_mismatch),
        TEST(test_AP8__entry_replaced_by_an_allowed_one__ima_pcr_mismatch),
        TEST(test_AP8__template_data_changed__template_hash_and_mismatch),
        TEST(test_AP9__only_the_listed_sha1_is_wrong__ima_template_hash),
        TEST(test_AP10__violation__folds_and_is_a_finding_by_policy),
        TEST(test_AP10__violation_allowed__is_trusted),
        TEST(test_AP23__tomtou_allowed__is_trusted),
        TEST(test_AP10__violation_of_an_excluded_path__is_a_finding),
        TEST(test_AP11__file_digest_of_zeros__is_not_a_violation),
        TEST(test_AP12__padded_bank__ima_bank_padded),
        TEST(test_AP12__padded_bank_allowed__is_trusted),
        TEST(test_AP13__real_and_padded_mixed__ima_pcr_mismatch),
        TEST(test_AP14__entry_of_pcr_11__ima_pcr_index),
        TEST(test_AP14__pcr_11_enrolled__is_folded_into_it),
        TEST(test_AP15__second_boot_aggregate__ima_boot_aggregate_repeated),
        TEST(test_evaluate__list_does_not_begin_with_boot_aggregate__missing),
        TEST(test_AP17__boot_aggregate_of_other_pcrs__ima_boot_aggregate),
        TEST(test_evaluate__boot_aggregate_of_pcr_0_to_7__is_accepted),
        TEST(test_evaluate__boot_aggregate_of_another_bank__needs_a_pin),
        TEST(test_evaluate__boot_aggregate_pinned__both_must_hold),
        TEST(test_evaluate__boot_aggregate_of_another_bank_pinned__is_accepted),
        TEST(test_evaluate__pin_of_a_spoofed_boot_aggregate__does_not_help),
        TEST(test_AP18__gap__resync_and_as_of_unchanged),
        TEST(test_AP18__gap_while_a_quote_is_pending__does_not_settle_it),
        TEST(test_AP19__overlap_with_altered_known_entries__no_effect),
        TEST(test_AP21__exclude_without_slash__strict_or_prefix),
        TEST(test_AP22__exclude_hits_its_limits__said_and_not_excluded),
        TEST(test_AP24__policy_of_generator_0__is_enforced),
        TEST(test_AP26__log_trimmed__deltas_chain_and_a_rebase_is_a_finding),
        TEST(test_AP26__log_trimmed_on_first_contact__ima_log_trimmed),
        TEST(test_AP26__log_trimmed_allowed__no_finding_and_no_proof),
        TEST(test_evaluate__rebase__replaces_the_position_once_proven),
        TEST(test_evaluate__rebase_heals_a_damaged_position),
        TEST(test_evaluate__findings_are_sticky_in_a_plain_rebase),
        TEST(test_evaluate__sha1_digest_where_the_name_says_sm3__digest_unknown),
        TEST(test_evaluate__templates__known_pass_unknown_is_a_finding),
        TEST(test_evaluate__template_ima__is_folded_over_the_padded_path),
        TEST(test_evaluate__many_findings__32_kept_all_counted),
        TEST(test_evaluate__many_findings__the_first_of_each_kind_is_kept),
        TEST(test_evaluate__path_of_an_attacker__is_made_printable),
        TEST(test_evaluate__long_path__is_cut_with_dots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
