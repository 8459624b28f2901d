/* test_tpm.c - public areas, quotes and signatures of real TPMs, and what is malformed. */
#include "vec.h"

#include "avow/formats/quote.h"
#include "avow/formats/tpm_public.h"

#include "avow/base/banned.h"

static void test_tpm_public_parse__captured_keys__fields(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        uint16_t type, scheme, curve, sym_alg;
        size_t size; /* modulus or coordinate */
        uint32_t attributes;
    } cases[] = {
        {"m1-direct/keys/ak_rsa.tpm2b_public", AVOW_TPM_ALG_RSA, AVOW_TPM_ALG_RSASSA, 0,
         AVOW_TPM_ALG_NULL, 256, AVOW_TPMA_RESTRICTED | AVOW_TPMA_SIGN},
        {"m1-direct/keys/ak_pss.tpm2b_public", AVOW_TPM_ALG_RSA, AVOW_TPM_ALG_RSAPSS, 0,
         AVOW_TPM_ALG_NULL, 256, AVOW_TPMA_RESTRICTED | AVOW_TPMA_SIGN},
        {"m1-direct/keys/ak_ecc.tpm2b_public", AVOW_TPM_ALG_ECC, AVOW_TPM_ALG_ECDSA,
         AVOW_TPM_ECC_NIST_P256, AVOW_TPM_ALG_NULL, 32, AVOW_TPMA_RESTRICTED | AVOW_TPMA_SIGN},
        {"m1-direct/keys/ak_p384.tpm2b_public", AVOW_TPM_ALG_ECC, AVOW_TPM_ALG_ECDSA,
         AVOW_TPM_ECC_NIST_P384, AVOW_TPM_ALG_NULL, 48, AVOW_TPMA_RESTRICTED | AVOW_TPMA_SIGN},
        {"m1-direct/keys/ek_rsa.tpm2b_public", AVOW_TPM_ALG_RSA, AVOW_TPM_ALG_NULL, 0,
         AVOW_TPM_ALG_AES, 256, AVOW_TPMA_RESTRICTED | AVOW_TPMA_DECRYPT},
        {"m1-direct/keys/ek_ecc.tpm2b_public", AVOW_TPM_ALG_ECC, AVOW_TPM_ALG_NULL,
         AVOW_TPM_ECC_NIST_P256, AVOW_TPM_ALG_AES, 32, AVOW_TPMA_RESTRICTED | AVOW_TPMA_DECRYPT},
        {"m1-direct/keys/unrestricted.tpm2b_public", AVOW_TPM_ALG_RSA, AVOW_TPM_ALG_RSASSA, 0,
         AVOW_TPM_ALG_NULL, 256, AVOW_TPMA_SIGN},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_buf in;
        struct avow_tpm_public p;
        struct avow_err err = {0};
        vec_read(cases[i].file, &in);
        if (avow_tpm_public_parse(avow_buf_bytes(&in), &p, &err))
            fail_msg("%s: %s", cases[i].file, err.msg);
        uint32_t mask = AVOW_TPMA_RESTRICTED | AVOW_TPMA_SIGN | AVOW_TPMA_DECRYPT;
        bool rsa = p.type == AVOW_TPM_ALG_RSA;
        if (p.type != cases[i].type || p.scheme != cases[i].scheme || p.curve != cases[i].curve ||
            p.sym_alg != cases[i].sym_alg || (p.attributes & mask) != cases[i].attributes ||
            p.name_alg != 0x000B || (rsa ? p.rsa_modulus.len : p.ecc_x.len) != cases[i].size ||
            p.tpmt.len != in.len - 2)
            fail_msg("%s: a field differs (scheme %04x, sym %04x)", cases[i].file, p.scheme,
                     p.sym_alg);
        avow_buf_deinit(&in);
    }
}

/* Every truncation and one byte more; each byte changed must never crash and gives OK only with the
 * same layout. */
static void test_tpm_public_parse__truncated_or_longer__parse_error(void **state)
{
    (void)state;
    static const char *const files[] = {"m1-direct/keys/ak_rsa.tpm2b_public",
                                        "m1-direct/keys/ek_ecc.tpm2b_public"};
    for (size_t f = 0; f < AVOW_ARRAY_LEN(files); f++) {
        struct avow_buf in;
        struct avow_tpm_public p = {.type = 77};
        vec_read(files[f], &in);
        for (size_t len = 0; len < in.len; len++) {
            assert_int_equal(avow_tpm_public_parse(avow_bytes_make(in.ptr, len), &p, NULL),
                             AVOW_PARSE);
            uint8_t copy[1024];
            memcpy(copy, in.ptr, len);
            if (len >= 2) { /* the outer length agrees: the TPMT itself is short */
                avow_put_u16be(copy, (uint16_t)(len - 2));
                assert_int_equal(avow_tpm_public_parse(avow_bytes_make(copy, len), &p, NULL),
                                 AVOW_PARSE);
            }
        }
        assert_int_equal(p.type, 77); /* untouched */
        avow_buf_put_u8(&in, 0);
        assert_int_equal(avow_tpm_public_parse(avow_buf_bytes(&in), &p, NULL), AVOW_PARSE);
        avow_put_u16be(in.ptr, (uint16_t)(in.len - 2));
        assert_int_equal(avow_tpm_public_parse(avow_buf_bytes(&in), &p, NULL), AVOW_PARSE);
        avow_buf_deinit(&in);
    }
    static const uint8_t big[1025];
    struct avow_tpm_public p;
    assert_int_equal(avow_tpm_public_parse(AVOW_BYTES_OF(big), &p, NULL), AVOW_LIMIT);
}

static void test_tpm_public_parse__unknown_parts__parse_error(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        size_t offset; /* of a u16, from the start of the TPM2B */
        uint16_t value;
        const char *says;
    } cases[] = {
        {"m1-direct/keys/ak_rsa.tpm2b_public", 2, 0x0008, "neither"}, /* keyedhash */
        {"m1-direct/keys/ak_rsa.tpm2b_public", 12, 0x000A, "symmetric"},
        {"m1-direct/keys/ak_rsa.tpm2b_public", 14, 0x0018, "RSA scheme"},
        {"m1-direct/keys/ak_rsa.tpm2b_public", 18, 3072, "keyBits"},
        {"m1-direct/keys/ak_ecc.tpm2b_public", 14, 0x0014, "ECC scheme"},
        {"m1-direct/keys/ak_ecc.tpm2b_public", 18, 0x0020, "curve"}, /* SM2 */
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_buf in;
        struct avow_tpm_public p;
        struct avow_err err = {0};
        vec_read(cases[i].file, &in);
        avow_put_u16be(in.ptr + cases[i].offset, cases[i].value);
        if (avow_tpm_public_parse(avow_buf_bytes(&in), &p, &err) != AVOW_PARSE ||
            !strstr(err.msg, cases[i].says))
            fail_msg("case %zu: %s", i, err.msg);
        avow_buf_deinit(&in);
    }
}

static void test_quote_parse__captured__fields(void **state)
{
    (void)state;
    struct avow_buf in;
    struct avow_quote q;
    vec_read("ima/m1-c1.quote_all.msg", &in);
    assert_int_equal(avow_quote_parse(avow_buf_bytes(&in), &q, NULL), AVOW_OK);
    assert_int_equal(q.magic, AVOW_TPM_GENERATED);
    assert_int_equal(q.type, AVOW_ST_ATTEST_QUOTE);
    assert_int_equal(q.reset_count, 2);
    assert_int_equal(q.restart_count, 0);
    assert_true(q.safe && q.clock > 80000 && q.clock < 200000);
    assert_int_equal(q.extra_data.len, 32);
    assert_int_equal(q.qualified_signer.len, 34);
    assert_int_equal(q.selections_count, 1);
    assert_int_equal(q.selections[0].hash, 0x000B);
    assert_int_equal(q.selections[0].pcrs, 0x00FFFFFF);
    assert_int_equal(q.selections[0].size, 3);
    assert_int_equal(q.pcr_digest.len, 32);
    avow_buf_deinit(&in);
    vec_read("ima/m1-c1.quote_two_banks.msg", &in);
    assert_int_equal(avow_quote_parse(avow_buf_bytes(&in), &q, NULL), AVOW_OK);
    assert_int_equal(q.selections_count, 2);
    assert_int_equal(q.selections[0].hash, 0x0004);
    assert_int_equal(q.selections[1].pcrs, 0xFFFF);
    avow_buf_deinit(&in);
}

static void test_quote_parse__inactive_bank__empty_selection_shows(void **state)
{
    (void)state;
    struct avow_buf in;
    struct avow_quote q;
    vec_read("ima/m3-c1.quote_inactive.msg", &in);
    assert_int_equal(avow_quote_parse(avow_buf_bytes(&in), &q, NULL), AVOW_OK);
    assert_int_equal(q.selections_count, 1);
    assert_int_equal(q.selections[0].pcrs, 0);
    avow_buf_deinit(&in);
}

static void test_quote_parse__other_attests__header_only(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        uint32_t magic;
        uint16_t type;
    } cases[] = {{"ima/certify_akecc_by_akrsa.msg", AVOW_TPM_GENERATED, 0x8017},
                 {"ima/gettime_ak_rsa.msg", AVOW_TPM_GENERATED, 0x8019}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_buf in;
        struct avow_quote q;
        vec_read(cases[i].file, &in);
        assert_int_equal(avow_quote_parse(avow_buf_bytes(&in), &q, NULL), AVOW_OK);
        assert_int_equal(q.magic, cases[i].magic);
        assert_int_equal(q.type, cases[i].type);
        assert_int_equal(q.selections_count, 0);
        assert_int_equal(q.pcr_digest.len, 0);
        avow_buf_deinit(&in);
    }
}

static void test_AQ15__quote_truncated_or_longer__parse_error(void **state)
{
    (void)state;
    struct avow_buf in;
    struct avow_quote q = {.magic = 7};
    vec_read("ima/m1-c1.quote_all.msg", &in);
    for (size_t len = 0; len < in.len; len++)
        assert_int_equal(avow_quote_parse(avow_bytes_make(in.ptr, len), &q, NULL), AVOW_PARSE);
    avow_buf_put_u8(&in, 0);
    assert_int_equal(avow_quote_parse(avow_buf_bytes(&in), &q, NULL), AVOW_PARSE);
    in.len--;
    for (size_t i = 0; i + 1 < in.len; i++) { /* sizes of 0xFFFF wherever a size may stand */
        uint8_t a = in.ptr[i], b = in.ptr[i + 1];
        in.ptr[i] = in.ptr[i + 1] = 0xFF;
        (void)!avow_quote_parse(avow_buf_bytes(&in), &q, NULL);
        in.ptr[i] = a;
        in.ptr[i + 1] = b;
    }
    static const uint8_t big[AVOW_ATTEST_MAX + 1];
    assert_int_equal(avow_quote_parse(AVOW_BYTES_OF(big), &q, NULL), AVOW_LIMIT);
    avow_buf_deinit(&in);
}

static void test_quote_parse__absurd_selections__parse_error(void **state)
{
    (void)state;
    static const size_t count_at =
        6 + 36 + 34 + 25; /* magic, type, signer, extra data, clock info, firmware */
    struct avow_buf in;
    struct avow_quote q;
    vec_read("ima/m1-c1.quote_all.msg", &in);
    assert_int_equal(in.ptr[count_at + 3], 1);
    in.ptr[count_at + 3] = 17;
    assert_int_equal(avow_quote_parse(avow_buf_bytes(&in), &q, NULL), AVOW_PARSE);
    in.ptr[count_at + 3] = 1;
    in.ptr[count_at + 6] = 5; /* sizeofSelect */
    assert_int_equal(avow_quote_parse(avow_buf_bytes(&in), &q, NULL), AVOW_PARSE);
    in.ptr[count_at + 6] = 3;
    in.ptr[count_at - 9] = 2; /* safe */
    assert_int_equal(avow_quote_parse(avow_buf_bytes(&in), &q, NULL), AVOW_PARSE);
    avow_buf_deinit(&in);
}

static void test_tpm_signature_parse__captured__and_truncated(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        uint16_t scheme, hash;
        size_t rsa, r;
    } cases[] = {{"m1-direct/quotes/ak_rsa.sig", AVOW_TPM_ALG_RSASSA, 0x000B, 256, 0},
                 {"m1-direct/quotes/ak_pss.sig", AVOW_TPM_ALG_RSAPSS, 0x000B, 256, 0},
                 {"m1-direct/quotes/ak_ecc.sig", AVOW_TPM_ALG_ECDSA, 0x000B, 0, 32},
                 {"m1-direct/quotes/ak_p384.sig", AVOW_TPM_ALG_ECDSA, 0x000C, 0, 48}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_buf in;
        struct avow_tpm_signature s;
        vec_read(cases[i].file, &in);
        assert_int_equal(avow_tpm_signature_parse(avow_buf_bytes(&in), &s, NULL), AVOW_OK);
        assert_int_equal(s.scheme, cases[i].scheme);
        assert_int_equal(s.hash, cases[i].hash);
        assert_int_equal(s.rsa.len, cases[i].rsa);
        assert_int_equal(s.r.len, cases[i].r);
        for (size_t len = 0; len < in.len; len++)
            assert_int_equal(avow_tpm_signature_parse(avow_bytes_make(in.ptr, len), &s, NULL),
                             AVOW_PARSE);
        avow_buf_put_u8(&in, 0);
        assert_int_equal(avow_tpm_signature_parse(avow_buf_bytes(&in), &s, NULL), AVOW_PARSE);
        in.ptr[1] = 0x1A; /* ECDAA */
        assert_int_equal(avow_tpm_signature_parse(avow_buf_bytes(&in), &s, NULL), AVOW_PARSE);
        avow_buf_deinit(&in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tpm_public_parse__captured_keys__fields),
        cmocka_unit_test(test_tpm_public_parse__truncated_or_longer__parse_error),
        cmocka_unit_test(test_tpm_public_parse__unknown_parts__parse_error),
        cmocka_unit_test(test_quote_parse__captured__fields),
        cmocka_unit_test(test_quote_parse__inactive_bank__empty_selection_shows),
        cmocka_unit_test(test_quote_parse__other_attests__header_only),
        cmocka_unit_test(test_AQ15__quote_truncated_or_longer__parse_error),
        cmocka_unit_test(test_quote_parse__absurd_selections__parse_error),
        cmocka_unit_test(test_tpm_signature_parse__captured__and_truncated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
