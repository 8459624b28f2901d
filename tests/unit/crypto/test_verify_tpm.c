/* test_verify_tpm.c - signatures that a TPM made, and each way in which one can be wrong. */
#include "vec.h"

#include "avow/crypto/ak.h"
#include "avow/formats/quote.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <pthread.h>

#include "avow/base/banned.h"

struct quote {
    struct avow_ak *ak;
    struct avow_buf msg, sig;
    struct avow_sig parsed; /* borrows from sig */
};

static const char *const AKS[] = {"ak_rsa", "ak_pss", "ak_ecc", "ak_p384"};
static struct quote quotes[AVOW_ARRAY_LEN(AKS)];

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(AKS); i++) {
        struct quote *q = &quotes[i];
        struct avow_err err = {0};
        char name[128];
        VEC_BUF pub;
        snprintf(name, sizeof name, "m1-direct/keys/%s.tpm2b_public", AKS[i]);
        vec_read(name, &pub);
        assert_rc(name, avow_ak_parse(avow_buf_bytes(&pub), &q->ak, &err), AVOW_OK, &err);
        snprintf(name, sizeof name, "m1-direct/quotes/%s.msg", AKS[i]);
        vec_read(name, &q->msg);
        snprintf(name, sizeof name, "m1-direct/quotes/%s.sig", AKS[i]);
        vec_read(name, &q->sig);
        struct avow_tpm_signature s;
        assert_rc(name, avow_tpm_signature_parse(avow_buf_bytes(&q->sig), &s, &err), AVOW_OK, &err);
        q->parsed = (struct avow_sig){(enum avow_sig_scheme)s.scheme, (enum avow_hash)s.hash, s.rsa,
                                      s.r, s.s};
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(AKS); i++) {
        avow_ak_free(quotes[i].ak);
        avow_buf_deinit(&quotes[i].msg);
        avow_buf_deinit(&quotes[i].sig);
    }
    return 0;
}

static bool good(const struct quote *q, const struct avow_sig *sig)
{
    return avow_pubkey_verify_tpm(avow_ak_key(q->ak), sig, avow_buf_bytes(&q->msg));
}

static void test_verify_tpm__real_quotes__are_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(AKS); i++) {
        assert_int_equal(quotes[i].parsed.scheme, avow_ak_scheme(quotes[i].ak));
        assert_int_equal(quotes[i].parsed.hash, avow_ak_hash(quotes[i].ak));
        for (int again = 0; again < 3;
             again++) /* the second time with the context that the key kept */
            if (!good(&quotes[i], &quotes[i].parsed))
                fail_msg("%s: good quote refused", AKS[i]);
    }
}

static void test_verify_tpm__other_key__is_false(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(AKS); i++)
        for (size_t j = 0; j < AVOW_ARRAY_LEN(AKS); j++)
            if (i != j && avow_pubkey_verify_tpm(avow_ak_key(quotes[j].ak), &quotes[i].parsed,
                                                 avow_buf_bytes(&quotes[i].msg)))
                fail_msg("%s verifies under %s", AKS[i], AKS[j]);
}

static void test_verify_tpm__wrong_scheme_or_hash__is_false(void **state)
{
    (void)state;
    static const int SCHEMES[] = {AVOW_SIG_RSASSA, AVOW_SIG_RSAPSS, AVOW_SIG_ECDSA, 0, 0x1a};
    static const int HASHES[] = {
        AVOW_HASH_SHA1, AVOW_HASH_SHA256, AVOW_HASH_SHA384, AVOW_HASH_SHA512, 0, 0x27};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(AKS); i++) {
        for (size_t s = 0; s < AVOW_ARRAY_LEN(SCHEMES); s++) {
            for (size_t h = 0; h < AVOW_ARRAY_LEN(HASHES); h++) {
                struct avow_sig sig = quotes[i].parsed;
                bool same = (int)sig.scheme == SCHEMES[s] && (int)sig.hash == HASHES[h];
                sig.scheme = (enum avow_sig_scheme)SCHEMES[s];
                sig.hash = (enum avow_hash)HASHES[h];
                if (good(&quotes[i], &sig) != same)
                    fail_msg("%s under scheme %x and hash %x", AKS[i], (unsigned)SCHEMES[s],
                             (unsigned)HASHES[h]);
            }
        }
    }
}

/* AQ7: one bit of the attest or of the signature. */
static void test_verify_tpm__every_bit_flipped__is_false(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(AKS); i++) {
        struct quote *q = &quotes[i];
        struct avow_bytes parts[] = {
            {q->msg.ptr, q->msg.len}, q->parsed.rsa, q->parsed.r, q->parsed.s};
        for (size_t p = 0; p < AVOW_ARRAY_LEN(parts); p++) {
            for (size_t bit = 0; bit < parts[p].len * 8; bit += p ? 1 : 7) {
                uint8_t *base = p ? q->sig.ptr : q->msg.ptr;
                uint8_t *byte = base + (parts[p].ptr - base) + bit / 8;
                *byte ^= (uint8_t)(1u << bit % 8);
                if (good(q, &q->parsed))
                    fail_msg("%s: part %zu, bit %zu", AKS[i], p, bit);
                *byte ^= (uint8_t)(1u << bit % 8);
            }
        }
        assert_true(good(q, &q->parsed));
    }
}

/* AQ12 */
static void test_verify_tpm__rsa_of_wrong_length__is_false(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct avow_sig sig = quotes[i].parsed;
        uint8_t longer[257] = {0};
        memcpy(longer + 1, sig.rsa.ptr, 256);
        for (size_t n = 0; n < 256; n += 51) {
            sig.rsa.len = n;
            assert_false(good(&quotes[i], &sig));
        }
        sig.rsa = AVOW_BYTES_OF(longer); /* the same number, one byte longer */
        assert_false(good(&quotes[i], &sig));
        sig.rsa = avow_bytes_make(longer + 1, 256);
        assert_true(good(&quotes[i], &sig));
        memset(longer, 0xff, sizeof longer); /* above the modulus */
        assert_false(good(&quotes[i], &sig));
        memset(longer, 0, sizeof longer);
        assert_false(good(&quotes[i], &sig));
    }
}

/* AQ12: r and s in [1, n-1], not longer than the field; zeros in front are a TPM's freedom. */
static void test_verify_tpm__ecdsa_numbers__range_and_padding(void **state)
{
    (void)state;
    static const char *const ORDERS[] = {
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196acc"
        "c52973"};
    for (size_t i = 0; i < 2; i++) {
        struct quote *q = &quotes[i + 2];
        VEC_BUF order;
        vec_hex(ORDERS[i], &order);
        uint8_t big[100];
        memset(big, 0xff, sizeof big);
        const struct avow_bytes bad[] = {{NULL, 0},
                                         {(const uint8_t *)"", 1},
                                         avow_buf_bytes(&order),
                                         {big, order.len},
                                         {big, sizeof big}};
        for (size_t b = 0; b < AVOW_ARRAY_LEN(bad); b++) {
            struct avow_sig sig = q->parsed;
            sig.r = bad[b];
            assert_false(good(q, &sig));
            sig = q->parsed;
            sig.s = bad[b];
            assert_false(good(q, &sig));
        }
        struct avow_sig sig = q->parsed;
        uint8_t padded[100] = {0};
        struct avow_bytes r = sig.r;
        assert_true(r.len <= order.len);
        memcpy(padded + 1 + order.len - r.len, r.ptr, r.len);
        sig.r = avow_bytes_make(padded + 1, order.len);
        assert_true(good(q, &sig));
        sig.r = avow_bytes_make(padded, order.len + 1); /* longer than the field */
        assert_false(good(q, &sig));
        sig.r = avow_bytes_make(padded + 1, order.len - 1); /* last byte missing */
        assert_false(good(q, &sig));
    }
}

static void sign_pss(EVP_PKEY *key, int salt, struct avow_bytes data, uint8_t *out, size_t *len)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = NULL;
    assert_int_equal(EVP_DigestSignInit(md, &ctx, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, salt), 1);
    assert_int_equal(EVP_DigestSign(md, out, len, data.ptr, data.len), 1);
    EVP_MD_CTX_free(md);
}

static void test_verify_tpm__pss_salt__hash_length_or_largest_only(void **state)
{
    (void)state;
    static const struct {
        int salt;
        bool want;
    } CASES[] = {{32, true},  {222, true}, {0, false},  {20, false},
                 {31, false}, {33, false}, {221, false}};
    EVP_PKEY *key = EVP_RSA_gen(2048);
    BIGNUM *modulus = NULL;
    uint8_t bytes[256], sig[256];
    assert_int_equal(EVP_PKEY_get_bn_param(key, "n", &modulus), 1);
    assert_int_equal(BN_bn2binpad(modulus, bytes, 256), 256);
    BN_free(modulus);
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *pub = NULL;
    assert_int_equal(avow_pubkey_from_rsa(AVOW_BYTES_OF(bytes), 0, &pub, NULL), AVOW_OK);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        size_t len = sizeof sig;
        sign_pss(key, CASES[i].salt, vec_text("data"), sig, &len);
        const struct avow_sig s = {
            AVOW_SIG_RSAPSS, AVOW_HASH_SHA256, {sig, len}, {NULL, 0}, {NULL, 0}};
        if (avow_pubkey_verify_tpm(pub, &s, vec_text("data")) != CASES[i].want)
            fail_msg("salt of %d bytes", CASES[i].salt);
    }
    EVP_PKEY_free(key);
}

static void test_verify_tpm__p521__good_and_flipped(void **state)
{
    (void)state;
    EVP_PKEY *key = EVP_EC_gen("P-521");
    uint8_t point[133], der[160], r[66], s[66];
    size_t len = 0;
    assert_int_equal(EVP_PKEY_get_octet_string_param(key, "pub", point, sizeof point, &len), 1);
    assert_int_equal(len, 133);
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *pub = NULL;
    assert_int_equal(avow_pubkey_from_ec(AVOW_KEY_EC_P521, avow_bytes_make(point + 1, 66),
                                         avow_bytes_make(point + 67, 66), &pub, NULL),
                     AVOW_OK);
    for (int i = 0; i < 20; i++) {
        EVP_MD_CTX *md = EVP_MD_CTX_new();
        size_t n = sizeof der;
        assert_int_equal(EVP_DigestSignInit(md, NULL, EVP_sha512(), NULL, key), 1);
        assert_int_equal(EVP_DigestSign(md, der, &n, (const unsigned char *)"data", 4), 1);
        EVP_MD_CTX_free(md);
        const unsigned char *p = der;
        ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
        assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(sig), r, 66), 66);
        assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(sig), s, 66), 66);
        ECDSA_SIG_free(sig);
        const struct avow_sig parsed = {
            AVOW_SIG_ECDSA, AVOW_HASH_SHA512, {NULL, 0}, {r, 66}, {s, 66}};
        assert_true(avow_pubkey_verify_tpm(pub, &parsed, vec_text("data")));
        r[65] ^= 1;
        assert_false(avow_pubkey_verify_tpm(pub, &parsed, vec_text("data")));
    }
    EVP_PKEY_free(key);
}

static void *verify_all(void *arg)
{
    uintptr_t bad = 0;
    (void)arg;
    for (int i = 0; i < 50; i++)
        for (size_t k = 0; k < AVOW_ARRAY_LEN(AKS); k++)
            bad += !good(&quotes[k], &quotes[k].parsed);
    return (void *)bad;
}

static void test_verify_tpm__several_threads__share_keys(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, verify_all, NULL), 0);
    for (size_t i = 0; i < 4; i++) {
        void *bad = NULL;
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verify_tpm__real_quotes__are_good),
        cmocka_unit_test(test_verify_tpm__other_key__is_false),
        cmocka_unit_test(test_verify_tpm__wrong_scheme_or_hash__is_false),
        cmocka_unit_test(test_verify_tpm__every_bit_flipped__is_false),
        cmocka_unit_test(test_verify_tpm__rsa_of_wrong_length__is_false),
        cmocka_unit_test(test_verify_tpm__ecdsa_numbers__range_and_padding),
        cmocka_unit_test(test_verify_tpm__pss_salt__hash_length_or_largest_only),
        cmocka_unit_test(test_verify_tpm__p521__good_and_flipped),
        cmocka_unit_test(test_verify_tpm__several_threads__share_keys),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
