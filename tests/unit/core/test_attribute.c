/* test_attribute.c - every check up to attribution: broken alone it drops for its own reason, and
 * the unbroken control passes. */
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

static void test_evaluate__genuine_evidence__is_trusted(void **state)
{
    (void)state;
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_expect_as_of(&r, 100);
    assert_true(r.transition.verdict_due);
    assert_false(r.transition.revocation_due);
    assert_int_equal(r.transition.verdict.trusted_until_ms,
                     1700000000000u + 100u * RIG_EPOCH_MS + 90000u);
    assert_int_equal(r.state.ima.proven_count, 2);
}

static struct rig_shot *sealed(void)
{
    struct rig_shot *s = rig_take(&r);
    rig_seal(&r, s);
    return s;
}

/* After each drop the genuine evidence must still be accepted: nothing was consumed. */
static void then_control(struct rig_shot *s)
{
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
}

static void test_evaluate__body_does_not_decode__drop_parse(void **state)
{
    (void)state;
    struct rig_shot *s = sealed();
    s->evidence.body.len--;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_PARSE);
    then_control(s);
}

static void test_AQ15__attest_truncated_or_longer__drop_parse(void **state)
{
    (void)state;
    struct rig_shot *s = sealed();
    for (size_t len = 0; len < s->attest_len; len++) {
        s->evidence.attest.len = len;
        rig_expect_drop(&r, s, AVOW_DROP_REASON_PARSE);
    }
    s->evidence.attest.len = s->attest_len + 1;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_PARSE);
    s->evidence.attest.len = s->attest_len;
    for (size_t len = 0; len < s->signature_len; len++) {
        s->evidence.signature.len = len;
        rig_expect_drop(&r, s, AVOW_DROP_REASON_PARSE);
    }
    then_control(s);
}

static void test_evaluate__no_ak_or_not_active__drop_unenrolled(void **state)
{
    (void)state;
    struct rig_shot *s = sealed();
    struct avow_ak *ak = r.ak;
    r.ak = NULL;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_UNENROLLED);
    r.ak = ak;
    r.e.status = AVOW_ENROLL_STATUS_EXPECTED;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_UNENROLLED);
    r.e.status = AVOW_ENROLL_STATUS_REMOVED;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_UNENROLLED);
    r.e.status = AVOW_ENROLL_STATUS_ACTIVE;
    then_control(s);
}

static void test_evaluate__kind_not_enrolled__drop_kind(void **state)
{
    (void)state;
    struct rig_shot *s = sealed();
    s->evidence.kind = AVOW_AGENT_KIND_KEYLIME;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_KIND);
    s->evidence.kind = AVOW_AGENT_KIND_AVOW;
    r.e.kinds_count = 0;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_KIND);
    r.e.kinds_count = 1;
    then_control(s);
}

static void test_AQ10__each_scheme__accepted_when_listed_dropped_when_not(void **state)
{
    (void)state;
    static const enum avow_sign_alg algs[RIG_KEYS] = {AVOW_SIGN_ALG_RSASSA, AVOW_SIGN_ALG_RSAPSS,
                                                      AVOW_SIGN_ALG_ECDSA, AVOW_SIGN_ALG_ECDSA,
                                                      AVOW_SIGN_ALG_ECDSA};
    static const enum avow_hash_alg hashes[RIG_KEYS] = {AVOW_HASH_ALG_SHA256, AVOW_HASH_ALG_SHA256,
                                                        AVOW_HASH_ALG_SHA256, AVOW_HASH_ALG_SHA384,
                                                        AVOW_HASH_ALG_SHA512};
    for (unsigned k = 0; k < RIG_KEYS; k++) {
        rig_deinit(&r);
        rig_init(&r, (enum rig_key)k);
        struct rig_shot *s = sealed();
        const enum avow_sign_alg other_alg[1] = {
            algs[k] == AVOW_SIGN_ALG_ECDSA ? AVOW_SIGN_ALG_RSASSA : AVOW_SIGN_ALG_ECDSA};
        const enum avow_hash_alg other_hash[1] = {AVOW_HASH_ALG_SHA1}, right_hash[1] = {hashes[k]};
        r.e.sign_algs = other_alg;
        r.e.sign_algs_count = 1;
        rig_expect_drop(&r, s, AVOW_DROP_REASON_ALGORITHM);
        r.e.sign_algs = &algs[k];
        r.e.sign_hashes = other_hash;
        r.e.sign_hashes_count = 1;
        rig_expect_drop(&r, s, AVOW_DROP_REASON_ALGORITHM);
        r.e.sign_hashes_count = 0; /* nothing listed allows nothing */
        rig_expect_drop(&r, s, AVOW_DROP_REASON_ALGORITHM);
        r.e.sign_hashes = right_hash;
        r.e.sign_hashes_count = 1;
        rig_expect_accepted(&r, s);
        rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    }
}

static void test_AQ9__signed_by_another_agents_key__drop_signature(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->sign_with = RIG_P256_OTHER;
    rig_seal(&r, s);
    rig_expect_drop(&r, s, AVOW_DROP_REASON_SIGNATURE);
    s->sign_with = RIG_P384; /* the scheme and its hash are part of the AK */
    rig_seal(&r, s);
    rig_expect_drop(&r, s, AVOW_DROP_REASON_ALGORITHM);
    s->sign_with = RIG_P256;
    then_control(s);
}

static void put_rs(struct rig_shot *s, const uint8_t *rr, size_t rlen, const uint8_t *ss,
                   size_t slen)
{
    uint8_t *p = s->signature + 4;
    avow_put_u16be(p, (uint16_t)rlen);
    memcpy(p + 2, rr, rlen);
    avow_put_u16be(p + 2 + rlen, (uint16_t)slen);
    memcpy(p + 4 + rlen, ss, slen);
    s->evidence.signature.len = 8 + rlen + slen;
}

static void test_AQ12__absurd_signature_numbers__drop_signature(void **state)
{
    (void)state;
    static const uint8_t zeros[80],
        order[32] = {0xFF, 0xFF, 0xFF, 0xFF, 0,    0,    0,    0,    0xFF, 0xFF, 0xFF,
                     0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6, 0xFA, 0xAD, 0xA7, 0x17,
                     0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51};
    struct rig_shot *s = sealed();
    uint8_t good_r[32], good_s[32];
    memcpy(good_r, s->signature + 6, 32);
    memcpy(good_s, s->signature + 40, 32);
    const struct {
        const uint8_t *r;
        size_t rlen;
        const uint8_t *s;
        size_t slen;
    } cases[] = {{zeros, 32, good_s, 32}, {good_r, 32, zeros, 32}, {order, 32, good_s, 32},
                 {good_r, 32, order, 32}, {zeros, 0, good_s, 32},  {good_r, 32, zeros, 0},
                 {zeros, 80, good_s, 32}, {good_r, 32, zeros, 80}, {good_s, 32, good_r, 32}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        put_rs(s, cases[i].r, cases[i].rlen, cases[i].s, cases[i].slen);
        rig_expect_drop(&r, s, AVOW_DROP_REASON_SIGNATURE);
    }
    put_rs(s, good_r, 32, good_s, 32);
    rig_expect_accepted(&r, s);
}

static void test_AQ12__rsa_signature_of_wrong_length__drop_signature(void **state)
{
    (void)state;
    rig_deinit(&r);
    rig_init(&r, RIG_RSASSA);
    struct rig_shot *s = sealed();
    avow_put_u16be(s->signature + 4, 255);
    s->evidence.signature.len = 6 + 255;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_SIGNATURE);
    avow_put_u16be(s->signature + 4, 0);
    s->evidence.signature.len = 6;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_SIGNATURE);
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
}

static void test_AQ8__signed_without_the_magic__drop_magic(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->magic = 0;
    rig_seal(&r, s);
    rig_expect_drop(&r, s, AVOW_DROP_REASON_MAGIC);
    s->magic = AVOW_TPM_GENERATED;
    static const uint16_t types[] = {0x8017 /* certify */, 0x801A /* creation */, 0x8014 /* NV */};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(types); i++) {
        s->type = types[i];
        rig_seal(&r, s);
        rig_expect_drop(&r, s, AVOW_DROP_REASON_MAGIC);
    }
    s->type = AVOW_ST_ATTEST_QUOTE;
    then_control(s);
}

static void test_AQ14__marker_unknown_or_elsewhere__drop_marker(void **state)
{
    (void)state;
    struct rig_shot *s = sealed();
    struct avow_marker good = s->marker;
    s->marker = (struct avow_marker){.epoch = 0}; /* the rig hands NULL on */
    rig_expect_drop(&r, s, AVOW_DROP_REASON_MARKER);
    s->marker = good;
    s->marker.partition++;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_MARKER);
    s->marker = good;
    s->marker.fleet[0] ^= 1;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_MARKER);
    s->marker = good;
    s->marker.epoch++;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_MARKER);
    s->marker = good;
    s->marker.nonce[0] ^= 1;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_MARKER);
    s->marker = good;
    then_control(s);
}

static void test_AQ13__signed_for_another_agent_or_fleet__drop_qualifying_data(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->id = "host-2";
    rig_seal(&r, s);
    rig_expect_drop(&r, s, AVOW_DROP_REASON_QUALIFYING_DATA);
    s->id = "host-1";
    s->fleet[15] ^= 1;
    rig_seal(&r, s);
    rig_expect_drop(&r, s, AVOW_DROP_REASON_QUALIFYING_DATA);
    s->fleet[15] ^= 1;
    then_control(s);
}

static void test_AQ6b__corrupted_part_before_the_genuine__dropped_and_the_genuine_accepted(
    void **state)
{
    (void)state;
    struct rig_shot *s = sealed();
    s->part[s->part_len - 1] ^= 1;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_PART_HASH);
    s->part[s->part_len - 1] ^= 1;
    s->evidence.part.len--;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_PART_HASH);
    s->evidence.part.len++;
    s->evidence.has_next = true;
    s->evidence.next[0] = 1;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_PART_HASH);
    s->evidence.has_next = false;
    rig_expect_accepted(&r, s);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
}

static void test_evaluate__part_added_to_a_body_without__drop_part_hash(void **state)
{
    (void)state;
    rig_attest(&r);
    rig_tick(&r);
    struct rig_shot *s = sealed();
    assert_int_equal(s->part_len, 0);
    s->evidence.part.len = 1;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_PART_HASH);
    s->evidence.part.len = 0;
    s->evidence.has_next = true;
    rig_expect_drop(&r, s, AVOW_DROP_REASON_PART_HASH);
    then_control(s);
}

static bool is_expected(enum avow_drop_reason got, const enum avow_drop_reason *want, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (got == want[i])
            return true;
    }
    return false;
}

static void flip_each_bit(struct rig_shot *s, uint8_t *bytes, size_t len,
                          const enum avow_drop_reason *want, size_t n)
{
    for (size_t bit = 0; bit < len * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        rig_judge(&r, s);
        if (r.out.kind != AVOW_EVAL_DROPPED || !is_expected(r.out.drop, want, n))
            fail_msg("bit %zu: got %s(%s)", bit,
                     r.out.kind == AVOW_EVAL_DROPPED ? "drop" : "accepted",
                     avow_drop_reason_text(r.out.drop));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* What no longer parses was not signed either: it is dropped one check earlier. */
static void test_AQ7__any_bit_flipped_in_flight__dropped_for_its_reason(void **state)
{
    (void)state;
    struct rig_shot *s = sealed();
    flip_each_bit(
        s, s->attest, s->attest_len,
        (const enum avow_drop_reason[]){AVOW_DROP_REASON_SIGNATURE, AVOW_DROP_REASON_PARSE}, 2);
    flip_each_bit(s, s->signature, s->signature_len,
                  (const enum avow_drop_reason[]){AVOW_DROP_REASON_SIGNATURE,
                                                  AVOW_DROP_REASON_PARSE,
                                                  AVOW_DROP_REASON_ALGORITHM},
                  3);
    flip_each_bit(s, s->body_bytes, s->body_len,
                  (const enum avow_drop_reason[]){AVOW_DROP_REASON_QUALIFYING_DATA,
                                                  AVOW_DROP_REASON_PARSE, AVOW_DROP_REASON_MARKER},
                  3);
    flip_each_bit(s, s->part, s->part_len,
                  (const enum avow_drop_reason[]){AVOW_DROP_REASON_PART_HASH}, 1);
    rig_expect_accepted(&r, s);
}

static void test_AR1__same_evidence_twice__drop_replay(void **state)
{
    (void)state;
    struct rig_shot *s = sealed();
    rig_expect_accepted(&r, s);
    rig_expect_drop(&r, s, AVOW_DROP_REASON_REPLAY);
}

static void test_AR2__clock_equal_other_body__drop_replay(void **state)
{
    (void)state;
    rig_attest(&r);
    struct rig_shot *s = rig_take(&r);
    s->clock = r.state.order.clock;
    rig_run(&r, "/bin/ls");
    rig_seal(&r, s);
    rig_expect_drop(&r, s, AVOW_DROP_REASON_REPLAY);
    s->clock++;
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
}

static void test_AF10__older_epoch_with_newer_clock__drop_replay(void **state)
{
    (void)state;
    rig_attest(&r);
    struct rig_shot *s = rig_take(&r);
    rig_marker(&r, r.epoch - 1, &s->marker);
    rig_seal(&r, s);
    rig_expect_drop(&r, s, AVOW_DROP_REASON_REPLAY);
    rig_marker(&r, r.epoch, &s->marker);
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
}

static void test_qualifying_data__known_input__known_digest(void **state)
{
    (void)state;
    /* SHA-256("avow/evidence/1" 00, fleet 00..0F, 0001 "a", nonce 32 x 11, SHA-256("body")),
     * computed independently. */
    uint8_t fleet[16], nonce[32], got[32], want[32], body[32], whole[256];
    for (uint8_t i = 0; i < 16; i++)
        fleet[i] = i;
    memset(nonce, 0x11, sizeof nonce);
    avow_sha256(avow_bytes_make("body", 4), body);
    struct avow_buf b;
    avow_buf_init(&b, sizeof whole);
    avow_buf_put(&b, "avow/evidence/1", 15);
    avow_buf_put_u8(&b, 0);
    avow_buf_put(&b, fleet, 16);
    avow_buf_put_u16be(&b, 1);
    avow_buf_put(&b, "a", 1);
    avow_buf_put(&b, nonce, 32);
    avow_buf_put(&b, body, 32);
    avow_sha256(avow_buf_bytes(&b), want);
    avow_buf_deinit(&b);
    avow_qualifying_data(fleet, AVOW_STR_LIT("a"), nonce, avow_bytes_make("body", 4), got);
    assert_memory_equal(got, want, 32);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_evaluate__genuine_evidence__is_trusted),
        TEST(test_evaluate__body_does_not_decode__drop_parse),
        TEST(test_AQ15__attest_truncated_or_longer__drop_parse),
        TEST(test_evaluate__no_ak_or_not_active__drop_unenrolled),
        TEST(test_evaluate__kind_not_enrolled__drop_kind),
        TEST(test_AQ10__each_scheme__accepted_when_listed_dropped_when_not),
        TEST(test_AQ9__signed_by_another_agents_key__drop_signature),
        TEST(test_AQ12__absurd_signature_numbers__drop_signature),
        TEST(test_AQ12__rsa_signature_of_wrong_length__drop_signature),
        TEST(test_AQ8__signed_without_the_magic__drop_magic),
        TEST(test_AQ14__marker_unknown_or_elsewhere__drop_marker),
        TEST(test_AQ13__signed_for_another_agent_or_fleet__drop_qualifying_data),
        TEST(test_AQ6b__corrupted_part_before_the_genuine__dropped_and_the_genuine_accepted),
        TEST(test_evaluate__part_added_to_a_body_without__drop_part_hash),
        TEST(test_AQ7__any_bit_flipped_in_flight__dropped_for_its_reason),
        TEST(test_AR1__same_evidence_twice__drop_replay),
        TEST(test_AR2__clock_equal_other_body__drop_replay),
        TEST(test_AF10__older_epoch_with_newer_clock__drop_replay),
        TEST(test_qualifying_data__known_input__known_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
