/* test_parts.c - evidence of several parts: ATTACKS group M, PROTOCOL R3 and B4. Cut in any way, an
 * evidence is judged as if it had come in one piece; what does not fit changes nothing. */
#include "rig.h"

#include "avow/core/liveness.h"

#include "avow/base/banned.h"

#define SHA512_LEN 64u

static struct rig r;

static int setup(void **state)
{
    (void)state;
    rig_init(&r, RIG_P256);
    rig_policy(&r, rig_policy_text(&r, "[\"/tmp/.*\"]", "/bin/sh", "/bin/ls", "/bin/cat", NULL));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_deinit(&r);
    return 0;
}

static void run_some(struct rig *rig, size_t n)
{
    static const char *const paths[] = {"/bin/sh", "/bin/ls", "/bin/cat"};
    for (size_t i = 0; i < n; i++)
        rig_run(rig, paths[i % 3]);
}

/* A shot in n parts, sealed; the host goes on only if the caller wants. */
static struct rig_shot *shot_in(struct rig *rig, size_t n)
{
    struct rig_shot *s = rig_take(rig);
    rig_cut(s, n);
    rig_seal(rig, s);
    return s;
}

/* --- Cut in any way, the same --- */

struct story { /* leaves a shot that is taken and not sealed */
    const char *name;
    struct rig_shot *(*tell)(struct rig *rig);
};

static void first(struct rig *rig)
{
    run_some(rig, 3);
    rig_attest(rig);
    rig_tick(rig);
}

static struct rig_shot *tell_first_contact(struct rig *rig)
{
    run_some(rig, 9);
    return rig_take(rig);
}

static struct rig_shot *tell_delta(struct rig *rig)
{
    first(rig);
    run_some(rig, 7);
    return rig_take(rig);
}

static struct rig_shot *tell_one_ahead(struct rig *rig)
{
    first(rig);
    run_some(rig, 6);
    rig_list_only(rig, "/bin/ls");
    return rig_take(rig);
}

static struct rig_shot *tell_four_ahead(struct rig *rig)
{
    first(rig);
    run_some(rig, 2);
    for (int i = 0; i < 4; i++)
        rig_list_only(rig, "/bin/ls");
    return rig_take(rig);
}

static struct rig_shot *tell_five_ahead(struct rig *rig)
{
    first(rig);
    run_some(rig, 2);
    for (int i = 0; i < 5; i++)
        rig_list_only(rig, "/bin/ls");
    return rig_take(rig);
}

static struct rig_shot *tell_becomes_pending(struct rig *rig)
{
    first(rig);
    run_some(rig, 6);
    struct rig_shot *s = rig_take(rig);
    run_some(rig, 3);
    return s;
}

static struct rig_shot *tell_meets_pending(struct rig *rig)
{
    first(rig);
    struct rig_shot *s = rig_take(rig);
    run_some(rig, 4); /* the value lies four entries deep */
    rig_seal(rig, s);
    rig_expect_accepted(rig, s);
    assert_true(rig->state.has_pending);
    rig_tick(rig);
    run_some(rig, 5);
    s = rig_take(rig);
    run_some(rig, 2);
    return s;
}

static struct rig_shot *tell_misses_pending(struct rig *rig)
{
    first(rig);
    struct rig_shot *s = rig_take(rig);
    run_some(rig, 4);
    rig_seal(rig, s);
    rig_expect_accepted(rig, s);
    rig_tick(rig);
    run_some(rig, 5);
    s = rig_take(rig);
    s->log[1] = s->log[2]; /* not what was extended */
    return s;
}

static struct rig_shot *tell_more(struct rig *rig)
{
    run_some(rig, 12);
    struct rig_shot *s = rig_take(rig);
    s->log_count = 8;
    s->body.more = true;
    return s;
}

static struct rig_shot *tell_overlap(struct rig *rig)
{
    first(rig);
    run_some(rig, 5);
    rig->next = 2;
    return rig_take(rig);
}

static struct rig_shot *tell_rebase(struct rig *rig)
{
    first(rig);
    run_some(rig, 5);
    rig->next = 0;
    return rig_take(rig);
}

static struct rig_shot *tell_rebase_pending(struct rig *rig)
{
    first(rig);
    run_some(rig, 5);
    rig->next = 0;
    struct rig_shot *s = rig_take(rig);
    run_some(rig, 2);
    return s;
}

static struct rig_shot *tell_new_boot(struct rig *rig)
{
    first(rig);
    rig_boot(rig);
    run_some(rig, 6);
    return rig_take(rig);
}

static struct rig_shot *tell_kexec(struct rig *rig)
{
    first(rig);
    rig->boot_id[1]++;
    rig->e.flags.allow_kexec = true;
    run_some(rig, 4);
    rig->next = 0;
    rig->send_pcrs = true;
    return rig_take(rig);
}

static struct rig_shot *tell_stricter_policy(struct rig *rig)
{
    first(rig);
    rig_policy(rig, rig_policy_text(rig, "[]", "/bin/sh", "/bin/cat", NULL));
    run_some(rig, 4);
    rig->next = 0;
    return rig_take(rig);
}

static struct rig_shot *tell_policy_of_the_same(struct rig *rig)
{
    first(rig);
    rig_run(rig, "/bin/evil");
    rig_attest(rig);
    rig_tick(rig);
    rig_policy(rig,
               rig_policy_text(rig, "[]", "/bin/sh", "/bin/ls", "/bin/cat", "/bin/evil", NULL));
    run_some(rig, 4);
    rig->next = 0;
    return rig_take(rig);
}

static struct rig_shot *tell_bad_files(struct rig *rig)
{
    first(rig);
    run_some(rig, 3);
    rig_run(rig, "/bin/evil");
    run_some(rig, 3);
    rig_violate(rig, "/bin/worse");
    return rig_take(rig);
}

static struct rig_shot *tell_pcr10_rule(struct rig *rig)
{
    static struct avow_pcr_rule rule;
    static struct avow_bytes digest;
    static uint8_t value[32];
    digest = AVOW_BYTES_OF(value);
    rule = (struct avow_pcr_rule){
        .index = 10, .bank = AVOW_HASH_ALG_SHA256, .digests = &digest, .digests_count = 1};
    rig->e.pcrs = &rule;
    rig->e.pcrs_count = 1;
    run_some(rig, 6);
    return rig_take(rig);
}

static struct rig_shot *tell_learned_signer(struct rig *rig)
{
    rig->e.qualified_signers_count = 0;
    run_some(rig, 6);
    return rig_take(rig);
}

static struct rig_shot *tell_padded(struct rig *rig)
{
    rig->padded = true;
    rig_boot(rig);
    run_some(rig, 6);
    return rig_take(rig);
}

static struct rig_shot *tell_second_aggregate(struct rig *rig)
{
    struct avow_digest d;
    first(rig);
    rig_boot_aggregate(rig, rig->bank, &d);
    struct rig_entry e = rig_entry_make(10, "ima-ng", avow_hash_alg_text(rig->bank),
                                        avow_digest_bytes(&d), "boot_aggregate");
    run_some(rig, 2);
    rig_list(rig, &e);
    rig_extend(rig, &e);
    run_some(rig, 3);
    return rig_take(rig);
}

static void second_kernel(struct rig *rig)
{
    rig->boot_id[1]++;
    rig->e.flags.allow_kexec = true;
    rig->next = 0;
    rig->send_pcrs = true;
}

/* The kernel that was started carries the list over, so that the fold goes on with it. */
static struct rig_shot *tell_kexec_carried(struct rig *rig)
{
    struct avow_digest d;
    first(rig);
    rig_boot_aggregate(rig, rig->bank, &d);
    struct rig_entry e = rig_entry_make(10, "ima-ng", avow_hash_alg_text(rig->bank),
                                        avow_digest_bytes(&d), "boot_aggregate");
    rig_list(rig, &e);
    rig_extend(rig, &e);
    run_some(rig, 4);
    second_kernel(rig);
    struct rig_shot *s = rig_take(rig);
    run_some(rig, 2);
    return s;
}

static struct rig_shot *tell_kexec_under_other_policy(struct rig *rig)
{
    first(rig);
    rig_policy(rig, rig_policy_text(rig, "[]", "/bin/sh", "/bin/ls", NULL));
    run_some(rig, 4);
    second_kernel(rig);
    return rig_take(rig);
}

static struct rig_shot *tell_delta_under_other_policy(struct rig *rig)
{
    first(rig);
    rig_policy(rig, rig_policy_text(rig, "[]", "/bin/sh", "/bin/ls", NULL));
    run_some(rig, 4);
    return rig_take(rig);
}

static struct rig_shot *tell_nothing_new(struct rig *rig)
{
    first(rig);
    rig->next = 1;
    struct rig_shot *s = rig_take(rig);
    s->log_count = 2; /* not even all that is known */
    return s;
}

static struct rig_shot *tell_empty_list(struct rig *rig)
{
    for (unsigned bank = 0; bank < AVOW_HASH_ALG_COUNT; bank++)
        memset(rig->pcr[bank][10], 0, sizeof rig->pcr[bank][10]);
    rig->log_count = 0;
    return rig_take(rig);
}

static const struct story stories[] = {
    {"first contact", tell_first_contact},
    {"delta", tell_delta},
    {"one entry ahead of the PCR", tell_one_ahead},
    {"four entries ahead", tell_four_ahead},
    {"five entries ahead", tell_five_ahead},
    {"becomes pending", tell_becomes_pending},
    {"meets the pending value", tell_meets_pending},
    {"misses the pending value", tell_misses_pending},
    {"more to come", tell_more},
    {"overlap", tell_overlap},
    {"rebase", tell_rebase},
    {"rebase, not explained", tell_rebase_pending},
    {"new boot", tell_new_boot},
    {"kexec", tell_kexec},
    {"stricter policy", tell_stricter_policy},
    {"policy that forgives", tell_policy_of_the_same},
    {"bad files", tell_bad_files},
    {"a rule for PCR 10", tell_pcr10_rule},
    {"learned signer", tell_learned_signer},
    {"padded bank", tell_padded},
    {"second boot_aggregate", tell_second_aggregate},
    {"kexec with the list carried over", tell_kexec_carried},
    {"kexec under another policy", tell_kexec_under_other_policy},
    {"delta under another policy", tell_delta_under_other_policy},
    {"nothing new", tell_nothing_new},
    {"empty list", tell_empty_list},
};

/* What differs between an evidence in one part and in several: the tag, and what is made of it. */
static struct avow_bytes comparable(struct rig *rig)
{
    static const uint8_t zeros[16];
    struct avow_state s = rig->state;
    memcpy(s.evidence.tag, zeros, sizeof zeros);
    memcpy(s.pending.tag, zeros, sizeof zeros);
    s.rebase_due_ms = 0;
    s.seq = 0;
    s.last_verdict = (struct avow_last_verdict){0};
    struct avow_buf b;
    avow_buf_init(&b, 65536);
    assert_int_equal(avow_state_encode(&s, &b, NULL), AVOW_OK);
    struct avow_bytes copy = avow_arena_bytes(&rig->arena, avow_buf_bytes(&b));
    avow_buf_deinit(&b);
    return copy;
}

static struct avow_bytes outcome(const struct story *story, size_t parts, struct rig *rig)
{
    rig_init(rig, RIG_P256);
    rig_policy(rig, rig_policy_text(rig, "[\"/tmp/.*\"]", "/bin/sh", "/bin/ls", "/bin/cat", NULL));
    struct rig_shot *s = story->tell(rig);
    if (parts)
        rig_cut(s, parts);
    rig_seal(rig, s);
    if (parts)
        rig_deliver(rig, s);
    else
        rig_expect_accepted(rig, s);
    return comparable(rig);
}

static void test_evaluate_part__cut_in_any_way__judged_as_in_one_piece(void **state)
{
    (void)state;
    static struct rig whole, cut;
    static const size_t ways[] = {1, 2, 3, 4, 5, 7, 11, 30, 64};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(stories); i++) {
        struct avow_bytes want = outcome(&stories[i], 0, &whole);
        for (size_t k = 0; k < AVOW_ARRAY_LEN(ways); k++) {
            struct avow_bytes got = outcome(&stories[i], ways[k], &cut);
            if (!avow_bytes_eq(want, got))
                fail_msg("%s, %zu parts: another state (%s/%zu findings, not %s/%zu)",
                         stories[i].name, ways[k], avow_status_text(cut.state.status),
                         cut.state.findings_count, avow_status_text(whole.state.status),
                         whole.state.findings_count);
            if (cut.out.resync.wanted != whole.out.resync.wanted ||
                cut.out.resync.ima_from != whole.out.resync.ima_from)
                fail_msg("%s, %zu parts: asks for something else", stories[i].name, ways[k]);
            rig_deinit(&cut);
        }
        rig_deinit(&whole);
    }
}

/* The stories are worth something only if they end in different ways. */
static void test_stories__end_as_they_should(void **state)
{
    (void)state;
    static const struct {
        const char *name, *finding;
        enum avow_status status;
        bool pending;
    } want[] = {
        {"delta", NULL, AVOW_STATUS_TRUSTED, false},
        {"four entries ahead", NULL, AVOW_STATUS_TRUSTED, false},
        {"five entries ahead", NULL, AVOW_STATUS_TRUSTED, true}, /* of before */
        {"becomes pending", NULL, AVOW_STATUS_TRUSTED, true},
        {"misses the pending value", "ima.pcr_mismatch", AVOW_STATUS_UNTRUSTED, true},
        {"more to come", NULL, AVOW_STATUS_PENDING, false},
        {"stricter policy", "ima.digest_unknown", AVOW_STATUS_UNTRUSTED, false},
        {"policy that forgives", NULL, AVOW_STATUS_TRUSTED, false},
        {"a rule for PCR 10", "pcr.mismatch", AVOW_STATUS_UNTRUSTED, false},
        {"padded bank", "ima.bank_padded", AVOW_STATUS_UNTRUSTED, false},
        {"kexec", NULL, AVOW_STATUS_TRUSTED, false},
        {"empty list", "ima.missing", AVOW_STATUS_UNTRUSTED, false},
        {"nothing new", NULL, AVOW_STATUS_TRUSTED, false},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(want); i++) {
        static struct rig rig;
        size_t k = 0;
        while (!avow_cstr_eq(stories[k].name, want[i].name))
            assert_true(++k < AVOW_ARRAY_LEN(stories));
        (void)outcome(&stories[k], 3, &rig);
        if (rig.state.status != want[i].status || rig.state.has_pending != want[i].pending)
            fail_msg("%s: %s, pending %d", want[i].name, avow_status_text(rig.state.status),
                     rig.state.has_pending);
        const struct avow_finding *f = rig.state.findings;
        if ((rig.state.findings_count > 0) != (want[i].finding != NULL) ||
            (want[i].finding && !avow_str_is(f[0].id, want[i].finding)))
            fail_msg("%s: %zu findings", want[i].name, rig.state.findings_count);
        rig_deinit(&rig);
    }
}

/* --- What does not fit --- */

static void test_AM3__swapped_repeated_or_foreign_parts__dropped_and_harmless(void **state)
{
    (void)state;
    run_some(&r, 8);
    struct rig_shot *s = shot_in(&r, 4);
    rig_expect_part_drop(&r, &s->parts[1], AVOW_DROP_REASON_PART_ORDER); /* no head yet */
    rig_expect_accepted(&r, s);
    rig_expect_part_drop(&r, &s->parts[2], AVOW_DROP_REASON_PART_ORDER);
    rig_part(&r, s, 2);
    rig_expect_part_drop(&r, &s->parts[1], AVOW_DROP_REASON_PART_ORDER);
    struct avow_evidence_part p = s->parts[2];
    p.tag[15] ^= 1;
    rig_expect_part_drop(&r, &p, AVOW_DROP_REASON_PART_ORDER);
    p = s->parts[2];
    p.index = 0;
    rig_expect_part_drop(&r, &p, AVOW_DROP_REASON_PART_ORDER);
    rig_part(&r, s, 3);
    rig_part(&r, s, 4);
    rig_expect_part_drop(&r, &s->parts[3], AVOW_DROP_REASON_PART_ORDER);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_expect_as_of(&r, r.epoch);
}

static void test_AM1__part_of_somebody_else__dropped_and_the_fold_completes(void **state)
{
    (void)state;
    static const uint8_t garbage[] = "\x01\x00\x00\x00\x04\xff\xff\xff\xff";
    run_some(&r, 8);
    struct rig_shot *s = shot_in(&r, 3);
    rig_expect_accepted(&r, s);
    struct avow_evidence_part p = s->parts[1];
    p.part = AVOW_BYTES_OF(garbage);
    rig_expect_part_drop(&r, &p, AVOW_DROP_REASON_PART_HASH);
    p = s->parts[1]; /* the right bytes, another chain behind them */
    p.next[0] ^= 1;
    rig_expect_part_drop(&r, &p, AVOW_DROP_REASON_PART_HASH);
    p = s->parts[1];
    p.has_next = false;
    rig_expect_part_drop(&r, &p, AVOW_DROP_REASON_PART_HASH);
    p = s->parts[1];
    p.part.len--;
    rig_expect_part_drop(&r, &p, AVOW_DROP_REASON_PART_HASH);
    rig_part(&r, s, 2);
    rig_part(&r, s, 3);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
}

/* Whether a `next` of zeros is spelled out or left out is not signed: whoever carries the record
 * may change it, and must not be able to fail anybody by that. */
static void test_evaluate__zeros_spelled_out_as_next__is_none(void **state)
{
    (void)state;
    run_some(&r, 4);
    struct rig_shot *s = rig_take(&r);
    rig_seal(&r, s);
    s->evidence.has_next = true;
    rig_expect_accepted(&r, s);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_tick(&r);
    run_some(&r, 4);
    s = shot_in(&r, 2);
    rig_expect_accepted(&r, s);
    s->parts[1].has_next = true;
    rig_part(&r, s, 2);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_as_of(&r, r.epoch);
}

static void test_evaluate_part__enrolment_removed__dropped(void **state)
{
    (void)state;
    run_some(&r, 4);
    struct rig_shot *s = shot_in(&r, 2);
    rig_expect_accepted(&r, s);
    r.e.status = AVOW_ENROLL_STATUS_REMOVED;
    rig_expect_part_drop(&r, &s->parts[1], AVOW_DROP_REASON_UNENROLLED);
}

/* --- Attributed, and bad --- */

static void expect_malformed_at(struct rig_shot *s, uint16_t part)
{
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
    for (uint16_t i = 2; i <= part; i++) {
        RIG_EXPECT_NO_FINDINGS(&r);
        assert_true(r.state.has_open);
        rig_part(&r, s, i);
    }
    rig_expect_findings(&r, "evidence.malformed", (const char *)NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    assert_false(r.state.has_open);
    assert_false(r.state.has_ima);
    assert_int_equal(r.transition.verdict.findings_count, 1);
    teardown(NULL);
    setup(NULL);
    run_some(&r, 8);
}

static void test_AM6__chain_and_count_contradict__evidence_malformed(void **state)
{
    (void)state;
    run_some(&r, 8);
    struct rig_shot *s = rig_take(&r);
    rig_cut(s, 65);
    expect_malformed_at(s, 1);
    s = rig_take(&r); /* the chain has two, the body says three */
    rig_cut(s, 2);
    s->body.parts = 3;
    expect_malformed_at(s, 2);
    s = rig_take(&r); /* the chain has three, the body says two */
    rig_cut(s, 3);
    s->body.parts = 2;
    s->keep_count = true;
    s->body.ima_count = (uint32_t)(s->cuts[0] + s->cuts[1]);
    expect_malformed_at(s, 2);
    s = rig_take(&r); /* the last names one more */
    rig_cut(s, 2);
    s->has_last_next = true;
    expect_malformed_at(s, 2);
    s = rig_take(&r); /* one part that names another */
    rig_cut(s, 1);
    s->has_last_next = true;
    expect_malformed_at(s, 1);
}

static void test_AM8__count_differs_over_all_parts__evidence_malformed(void **state)
{
    (void)state;
    static const int difference[] = {-1, 1};
    run_some(&r, 8);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(difference); i++) {
        struct rig_shot *s = rig_take(&r);
        rig_cut(s, 3);
        s->keep_count = true;
        s->body.ima_count = (uint32_t)((int)s->log_count + difference[i]);
        expect_malformed_at(s, 3);
    }
}

static struct avow_bytes framed(struct avow_bytes list)
{
    uint8_t *p = avow_arena_alloc(&r.arena, 5 + list.len, 1);
    p[0] = 1;
    avow_put_u32be(p + 1, (uint32_t)list.len);
    memcpy(p + 5, list.ptr, list.len);
    return avow_bytes_make(p, 5 + list.len);
}

static void test_AM9__entry_straddles_two_parts__evidence_malformed(void **state)
{
    (void)state;
    run_some(&r, 8);
    struct rig_shot *s = rig_take(&r);
    const struct rig_entry *e = &s->log[2];
    uint8_t bytes[4096];
    size_t len = 0;
    for (size_t i = 0; i < 3; i++) {
        memcpy(bytes + len, s->log[i].bytes, s->log[i].len);
        len += s->log[i].len;
    }
    rig_cut(s, 2);
    s->raw_parts[0] = framed(avow_bytes_make(bytes, len - e->len / 2));
    s->raw_parts[1] = framed(avow_bytes_make(bytes + len - e->len / 2, e->len / 2));
    expect_malformed_at(s, 1);
    s = rig_take(&r); /* the rest of it begins part 3 */
    rig_cut(s, 4);
    s->raw_parts[2] = framed(avow_bytes_make(bytes + 5, 30));
    expect_malformed_at(s, 3);
}

static void test_evaluate_part__boot_log_behind_part_1__evidence_malformed(void **state)
{
    (void)state;
    static const uint8_t log[] = "\x02\x00\x00\x00\x04uefi";
    run_some(&r, 8);
    struct rig_shot *s = rig_take(&r);
    rig_cut(s, 3);
    s->raw_parts[1] = avow_bytes_make(log, sizeof log - 1);
    expect_malformed_at(s, 2);
}

static void test_evaluate__boot_log_alone_in_part_1__remembered(void **state)
{
    (void)state;
    static const uint8_t log[] = "uefi";
    run_some(&r, 8);
    struct rig_shot *s = rig_take(&r);
    rig_cut(s, 3);
    s->cuts[1] += s->cuts[0];
    s->cuts[0] = 0;
    s->boot_log = log;
    s->boot_log_len = sizeof log;
    s->body.has_boot_log = true;
    avow_sha256(AVOW_BYTES_OF(log), s->body.boot_log);
    rig_seal(&r, s);
    rig_deliver(&r, s);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    assert_true(r.state.boot.has_log_sha256);
}

static void test_evaluate__parts_without_ima__evidence_malformed(void **state)
{
    (void)state;
    r.ima_absent = true;
    r.e.has_runtime_policy = false;
    struct rig_shot *s = rig_take(&r);
    rig_cut(s, 2);
    s->log_count = 0;
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
    rig_expect_findings(&r, "evidence.malformed", (const char *)NULL);
}

static void test_evaluate_part__more_than_32_mib__evidence_malformed(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        run_some(&r, 4);
        struct rig_shot *s = shot_in(&r, 2);
        rig_expect_accepted(&r, s);
        r.state.open.bytes = 32u * 1024 * 1024 - (uint32_t)s->parts[1].part.len + (over ? 1 : 0);
        rig_part(&r, s, 2);
        rig_expect_findings(&r, over ? "evidence.malformed" : NULL, (const char *)NULL);
        teardown(NULL);
        setup(NULL);
    }
}

/* --- When what counts --- */

static void test_evaluate_part__bad_file_in_a_middle_part__counts_at_once(void **state)
{
    (void)state;
    first(&r);
    run_some(&r, 3);
    rig_run(&r, "/bin/evil");
    run_some(&r, 4);
    struct rig_shot *s = shot_in(&r, 4);
    uint64_t before = r.state.as_of.epoch;
    rig_expect_accepted(&r, s);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_part(&r, s, 2);
    rig_expect_findings(&r, "ima.digest_unknown", (const char *)NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    assert_true(r.transition.revocation_due);
    assert_true(r.transition.verdict_due);
    rig_expect_as_of(&r, before);
    rig_part(&r, s, 3);
    assert_false(r.transition.revocation_due);
    rig_part(&r, s, 4);
    assert_false(r.transition.revocation_due);
    rig_expect_as_of(&r, r.epoch); /* that it is so is proven */
    assert_int_equal(r.state.findings_total, 1);
}

static void test_evaluate_part__until_the_last__nothing_good_counts(void **state)
{
    (void)state;
    r.e.qualified_signers_count = 0;
    run_some(&r, 8);
    struct rig_shot *s = shot_in(&r, 5);
    rig_expect_accepted(&r, s);
    for (uint16_t i = 2; i <= 5; i++) {
        rig_expect_status(&r, AVOW_STATUS_PENDING);
        rig_expect_as_of(&r, 0);
        assert_false(r.state.has_ima);
        assert_false(r.state.has_pending);
        assert_false(r.state.has_qualified_signer); /* AP7: learned from what is proven only */
        rig_part(&r, s, i);
    }
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    assert_true(r.state.has_qualified_signer);
    assert_int_equal(r.state.appraised, 1);
}

static void test_AP7__learned_in_the_unproven_tail__not_used_until_proven(void **state)
{
    (void)state;
    r.e.qualified_signers_count = 0;
    run_some(&r, 8);
    struct rig_shot *s = rig_take(&r);
    rig_cut(s, 3);
    run_some(&r, 1); /* between reading and quoting */
    rig_seal(&r, s);
    rig_deliver(&r, s);
    assert_true(r.state.has_pending);
    assert_false(r.state.has_qualified_signer);
    rig_tick(&r);
    s = shot_in(&r, 1);
    rig_deliver(&r, s);
    assert_true(r.state.has_qualified_signer);
}

static void test_AM10__two_evidences_of_many_parts__trusted_at_the_end(void **state)
{
    (void)state;
    run_some(&r, 40);
    for (size_t end = 20; end <= 41; end += 21) {
        struct rig_shot *s = rig_take(&r);
        s->log_count = end - s->body.ima_start;
        s->body.more = end < 41;
        rig_cut(s, 7);
        rig_seal(&r, s);
        rig_deliver(&r, s);
        RIG_EXPECT_NO_FINDINGS(&r);
        assert_false(r.state.has_pending);
        assert_int_equal(r.state.ima.claimed_count, end);
        assert_int_equal(r.state.ima.proven_count, end < 41 ? 0 : 41);
        rig_expect_status(&r, end < 41 ? AVOW_STATUS_PENDING : AVOW_STATUS_TRUSTED);
        rig_tick(&r);
    }
}

/* --- Given up --- */

static void test_AM11__newer_head_under_way__as_if_the_old_had_not_been(void **state)
{
    (void)state;
    struct avow_bytes got[2];
    static struct rig rigs[2];
    for (int with_old = 0; with_old < 2; with_old++) {
        struct rig *rig = &rigs[with_old];
        rig_init(rig, RIG_P256);
        rig_policy(rig, rig_policy_text(rig, "[]", "/bin/sh", "/bin/ls", "/bin/cat", NULL));
        first(rig);
        run_some(rig, 9);
        struct rig_shot *old = shot_in(rig, 5);
        if (with_old) {
            size_t next = rig->next;
            rig_expect_accepted(rig, old);
            rig->next = next; /* the agent never got as far as that */
            rig_part(rig, old, 2);
            rig_part(rig, old, 3);
            assert_true(rig->state.has_open);
            assert_false(rig->out.abandoned);
        }
        rig_tick(rig);
        run_some(rig, 3);
        struct rig_shot *s = shot_in(rig, 2);
        rig_judge(rig, s);
        assert_int_equal(rig->out.kind, AVOW_EVAL_ACCEPTED);
        assert_int_equal(rig->out.abandoned, with_old);
        rig_expect_part_drop(rig, &old->parts[3], AVOW_DROP_REASON_PART_ORDER);
        rig_part(rig, s, 2);
        assert_false(rig->out.abandoned);
        RIG_EXPECT_NO_FINDINGS(rig);
        rig_expect_as_of(rig, rig->epoch);
        rig->state.appraised = 0;
        got[with_old] = comparable(rig);
    }
    assert_true(avow_bytes_eq(got[0], got[1]));
    rig_deinit(&rigs[0]);
    rig_deinit(&rigs[1]);
}

static void test_AM11__head_that_cannot_be_attributed__the_fold_goes_on(void **state)
{
    (void)state;
    run_some(&r, 8);
    struct rig_shot *s = shot_in(&r, 3);
    rig_expect_accepted(&r, s);
    struct rig_shot *forged = shot_in(&r, 2);
    forged->signature[20] ^= 1;
    rig_expect_drop(&r, forged, AVOW_DROP_REASON_SIGNATURE);
    rig_expect_drop(&r, s, AVOW_DROP_REASON_REPLAY);
    rig_part(&r, s, 2);
    rig_part(&r, s, 3);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
}

static void test_evaluate_part__other_demands_under_way__given_up_and_asked_for(void **state)
{
    (void)state;
    for (int what = 0; what < 3; what++) {
        first(&r);
        run_some(&r, 6);
        struct rig_shot *s = shot_in(&r, 3);
        rig_expect_accepted(&r, s);
        rig_part(&r, s, 2);
        if (what == 0)
            rig_policy(&r, rig_policy_text(&r, "[]", "/bin/sh", NULL));
        else if (what == 1)
            rig_enroll_again(&r);
        else
            r.policy_missing = true;
        rig_part(&r, s, 3);
        assert_true(r.out.abandoned);
        assert_false(r.state.has_open);
        assert_true(r.out.resync.wanted);
        assert_int_equal(r.out.resync.ima_from, 4);
        assert_int_equal(r.out.unavailable != NULL, what == 2);
        RIG_EXPECT_NO_FINDINGS(&r);
        rig_expect_status(&r, AVOW_STATUS_TRUSTED); /* as before */
        assert_int_equal(r.state.ima.proven_count, 4);
        r.policy_missing = false;
        teardown(NULL);
        setup(NULL);
    }
}

/* States are MACed; still, what one says is not believed where it would be an index or a size. */
static void test_evaluate_part__open_fold_that_is_none__given_up(void **state)
{
    (void)state;
    for (int what = 0; what < 9; what++) {
        static uint16_t no_pcrs[1];
        static struct avow_fold_chain chain;
        run_some(&r, 6);
        struct rig_shot *s = shot_in(&r, 2);
        rig_expect_accepted(&r, s);
        struct avow_open_fold *o = &r.state.open;
        chain = o->chains[0];
        static struct avow_bytes values[24];
        memcpy(values, chain.recent, chain.recent_count * sizeof *values);
        switch (what) {
        case 0:
            o->chains_count = 0;
            break;
        case 1:
            o->pcrs = no_pcrs;
            o->pcrs_count = 0;
            break;
        case 2:
            o->next = 1000;
            break;
        case 3:
            o->proven_at = 3;
            break;
        case 4:
            o->attest.len = 40;
            break;
        case 5:
            chain.now_count = 0;
            break;
        case 6:
            chain.pending_found = true;
            break;
        case 7:
            values[0].len = 20;
            chain.recent = values;
            break;
        default:
            r.state.pcr_values_count = 23;
            break;
        }
        if (what >= 5 && what < 8) {
            o->chains = &chain;
            o->chains_count = 1;
        }
        rig_part(&r, s, 2);
        assert_true(r.out.abandoned);
        assert_false(r.state.has_open);
        assert_true(r.out.resync.wanted && r.out.resync.pcrs);
        assert_int_equal(r.out.resync.ima_from, 0);
        RIG_EXPECT_NO_FINDINGS(&r);
        teardown(NULL);
        setup(NULL);
    }
}

static void test_liveness__fold_without_progress__stalled_after_60_s(void **state)
{
    (void)state;
    run_some(&r, 6);
    struct rig_shot *s = shot_in(&r, 3);
    rig_expect_accepted(&r, s);
    r.service_ms = r.epoch * RIG_EPOCH_MS + 50000;
    rig_part(&r, s, 2); /* progress */
    struct avow_liveness_in in = {.enrollment = &r.e,
                                  .state = &r.state,
                                  .service_ms = r.service_ms + AVOW_FOLD_IDLE_MS,
                                  .silent_after_ms = 7000000};
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_NOTHING);
    assert_int_equal(avow_liveness_deadline(&in), in.service_ms + 1);
    in.service_ms++;
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_STALLED);
    struct avow_state next;
    struct avow_eval_resync ask;
    avow_state_abandon(&r.state, &next, &ask);
    assert_false(next.has_open);
    assert_true(ask.wanted && ask.boot_log);
    assert_int_equal(ask.ima_from, 0);
    in.state = &next;
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_NOTHING);
}

static void test_liveness__rebase__due_within_the_interval_and_asked_once(void **state)
{
    (void)state;
    const uint64_t interval = 72ull * 3600 * 1000;
    r.rebase_interval_ms = interval;
    first(&r);
    uint64_t now = (r.epoch - 1) * RIG_EPOCH_MS, due = r.state.rebase_due_ms;
    assert_in_range(due, now + interval / 2, now + interval);
    struct avow_liveness_in in = {.enrollment = &r.e,
                                  .state = &r.state,
                                  .service_ms = due - 1,
                                  .silent_after_ms = UINT32_MAX,
                                  .rebase_interval_ms = interval};
    r.state.credit_ms = r.state.as_of.service_ms = due;
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_NOTHING);
    assert_int_equal(avow_liveness_deadline(&in), due);
    in.service_ms = due;
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_REBASE);
    in.rebase_interval_ms = 0;
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_NOTHING);
    in.rebase_interval_ms = interval;
    r.state.has_open = true; /* it is sending */
    r.state.open.progress_service_ms = due;
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_NOTHING);
    r.state.has_open = false;
    r.state.resync.not_before_service_ms = due + 500; /* backed off */
    assert_int_equal(avow_liveness_deadline(&in), due + 500);
    struct avow_state next = r.state;
    avow_state_rebase_asked(&in, &next);
    assert_int_equal(next.rebase_due_ms, due + AVOW_REBASE_RETRY_MS);
    /* The list from entry 0 came and is proven: the next date is an interval away. */
    r.state = next;
    r.state.resync.not_before_service_ms = 0;
    r.service_ms = due + 1000;
    r.next = 0;
    struct rig_shot *s = shot_in(&r, 3);
    rig_deliver(&r, s);
    assert_in_range(r.state.rebase_due_ms, due + 1000 + interval / 2, due + 1000 + interval);
}

/* --- Size --- */

/* Four PCRs of the longest hash, four hypotheses, a pending quote, a list and a rebase beside it,
 * and findings of the largest size: a state must always fit (PROTOCOL B6). */
static void test_evaluate__worst_case__the_state_fits(void **state)
{
    (void)state;
    static const uint16_t ima_pcrs[] = {10, 11, 12, 13};
    char path[900];
    memset(path, '\x01', sizeof path); /* each is shown as four characters */
    path[0] = '/';
    r.e.ima_pcrs = ima_pcrs;
    r.e.ima_pcrs_count = 4;
    r.e.recovery = AVOW_RECOVERY_OPERATOR;
    r.bank = AVOW_HASH_ALG_SHA512;
    rig_boot(&r);
    run_some(&r, 2);
    for (int i = 0; i < 36; i++) {
        path[1] = (char)('A' + i);
        path[sizeof path - 1 - (size_t)i] = 0;
        rig_run(&r, path);
    }
    struct rig_shot *s = rig_take(&r); /* unexplained: undetermined, and pending */
    rig_run(&r, "/bin/sh");
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
    assert_true(r.state.has_pending);
    assert_int_equal(r.state.findings_count, AVOW_FINDINGS_KEPT);
    r.state.rebase = r.state.ima;
    r.state.has_rebase = true;
    rig_tick(&r);
    r.boot_id[2]++; /* kexec: from the stored value and from zero, native and padded */
    r.next = 0;
    r.send_pcrs = true;
    s = shot_in(&r, 9);
    rig_expect_accepted(&r, s);
    for (uint16_t i = 2; i < 9; i++) {
        rig_part(&r, s, i);
        assert_true(r.state.has_open);
        assert_int_equal(r.state.open.chains_count, 4);
        assert_int_equal(r.state.open.chains[0].now_count, 4);
        r.state.rebase = r.state.ima;
        r.state.has_rebase = true;
        struct avow_buf b;
        avow_buf_init(&b, 1u << 20);
        assert_int_equal(avow_state_encode(&r.state, &b, NULL), AVOW_OK);
        if (i == 8)
            print_message("worst state: %zu bytes\n", b.len);
        assert_in_range(b.len, 20000, 49152);
        avow_buf_deinit(&b);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evaluate_part__cut_in_any_way__judged_as_in_one_piece),
        cmocka_unit_test(test_stories__end_as_they_should),
        TEST(test_AM3__swapped_repeated_or_foreign_parts__dropped_and_harmless),
        TEST(test_AM1__part_of_somebody_else__dropped_and_the_fold_completes),
        TEST(test_evaluate__zeros_spelled_out_as_next__is_none),
        TEST(test_evaluate_part__enrolment_removed__dropped),
        TEST(test_AM6__chain_and_count_contradict__evidence_malformed),
        TEST(test_AM8__count_differs_over_all_parts__evidence_malformed),
        TEST(test_AM9__entry_straddles_two_parts__evidence_malformed),
        TEST(test_evaluate_part__boot_log_behind_part_1__evidence_malformed),
        TEST(test_evaluate__boot_log_alone_in_part_1__remembered),
        TEST(test_evaluate__parts_without_ima__evidence_malformed),
        TEST(test_evaluate_part__more_than_32_mib__evidence_malformed),
        TEST(test_evaluate_part__bad_file_in_a_middle_part__counts_at_once),
        TEST(test_evaluate_part__until_the_last__nothing_good_counts),
        TEST(test_AP7__learned_in_the_unproven_tail__not_used_until_proven),
        TEST(test_AM10__two_evidences_of_many_parts__trusted_at_the_end),
        TEST(test_AM11__newer_head_under_way__as_if_the_old_had_not_been),
        TEST(test_AM11__head_that_cannot_be_attributed__the_fold_goes_on),
        TEST(test_evaluate_part__other_demands_under_way__given_up_and_asked_for),
        TEST(test_evaluate_part__open_fold_that_is_none__given_up),
        TEST(test_liveness__fold_without_progress__stalled_after_60_s),
        TEST(test_liveness__rebase__due_within_the_interval_and_asked_once),
        TEST(test_evaluate__worst_case__the_state_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
