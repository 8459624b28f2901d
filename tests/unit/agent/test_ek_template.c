/* The EK templates and their policies against the digests that the TCG publishes (EK Credential
 * Profile 2.5, tables of B.6). */
#include "avow/base/hex.h"
#include "tpm/ek_template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define POLICY_A_256 "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"
#define POLICY_A_384                                                                               \
    "8bbf2266537c171cb56e403c4dc1d4b64f432611dc386e6f532050c3278c930e143e8bb1133824cc"             \
    "b431053871c6db53"
#define POLICY_A_512                                                                               \
    "1e3b76502c8a1425aa0b7b3fc646a1b0fae063b03b5368f9c4cddecaff0891dd682bac1a85d4d832"             \
    "b781ea451915de5fc5bf0dc4a1917cd42fa041e3f998e0ee"
#define POLICY_C_256 "3767e2edd43ff45a3a7e1eaefcef78643dca964632e7aad82c673a30d8633fde"
#define POLICY_C_384                                                                               \
    "d6032ce61f2fb3c240eb3cf6a33237ef2b6a16f4293c22b455e261cffd217ad5b4947c2d73e63005"             \
    "eed2dc2b3593d165"
#define POLICY_C_512                                                                               \
    "589ee1e146544716e8deafe6db247b01b81e9f9c7dd16b814aa159138749105fba5388dd1dea702f"             \
    "35240c184933121e2c61b8f50d3ef91393a49a38c3f73fc8"
#define POLICY_B_256 "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0"
#define POLICY_B_384                                                                               \
    "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba0969964615"             \
    "0f9fc000f3f80e12"
#define POLICY_B_512                                                                               \
    "b8221ca69e8550a4914de3faa6a18c072cc01208073a928d5d66d59ef79e49a429c41a6b269571d5"             \
    "7edb25fbdb1838425608b413cd616a5f6db5b6071af99bea"

static void assert_hex(const char *what, const TPM2B_DIGEST *got, const char *want)
{
    char text[2 * 64 + 1];
    assert_true(got->size <= 64);
    avow_hex_encode(text, avow_bytes_make(got->buffer, got->size));
    if (strcmp(text, want) != 0)
        fail_msg("%s: %s, not %s", what, text, want);
}

static void test_policies__equal_the_published_ones(void **state)
{
    (void)state;
    static const struct {
        enum avow_hash alg;
        const char *a, *c;
    } cases[] = {{AVOW_HASH_SHA256, POLICY_A_256, POLICY_C_256},
                 {AVOW_HASH_SHA384, POLICY_A_384, POLICY_C_384},
                 {AVOW_HASH_SHA512, POLICY_A_512, POLICY_C_512}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        TPML_DIGEST branches;
        avow_ek_policy_branches(cases[i].alg, &branches);
        assert_int_equal(branches.count, 2);
        assert_hex("PolicyA", &branches.digests[0], cases[i].a);
        assert_hex("PolicyC", &branches.digests[1], cases[i].c);
    }
}

struct want {
    enum avow_tpm_ek which;
    const char *name;
    TPM2_HANDLE cert, nonce, tmpl;
    uint32_t attributes;
    const char *policy;
    enum avow_ek_auth auth;
    size_t unique;
};

static const struct want wants[] = {
    {AVOW_TPM_EK_L1, "L-1", 0x01C00002, 0x01C00003, 0x01C00004, 0x000300B2, POLICY_A_256,
     AVOW_EK_AUTH_POLICY_A, 256},
    {AVOW_TPM_EK_L2, "L-2", 0x01C0000A, 0x01C0000B, 0x01C0000C, 0x000300B2, POLICY_A_256,
     AVOW_EK_AUTH_POLICY_A, 32},
    {AVOW_TPM_EK_H1, "H-1", 0x01C00012, 0, 0x01C00013, 0x000300F2, POLICY_B_256,
     AVOW_EK_AUTH_POLICY_B, 0},
    {AVOW_TPM_EK_H2, "H-2", 0x01C00014, 0, 0x01C00015, 0x000300F2, POLICY_B_256,
     AVOW_EK_AUTH_POLICY_B, 0},
    {AVOW_TPM_EK_H3, "H-3", 0x01C00016, 0, 0x01C00017, 0x000300F2, POLICY_B_384,
     AVOW_EK_AUTH_POLICY_B, 0},
    {AVOW_TPM_EK_H4, "H-4", 0x01C00018, 0, 0x01C00019, 0x000300F2, POLICY_B_512,
     AVOW_EK_AUTH_POLICY_B, 0},
    {AVOW_TPM_EK_H6, "H-6", 0x01C0001C, 0, 0x01C0001D, 0x000300F2, POLICY_B_384,
     AVOW_EK_AUTH_POLICY_B, 0},
    {AVOW_TPM_EK_H7, "H-7", 0x01C0001E, 0, 0x01C0001F, 0x000300F2, POLICY_B_384,
     AVOW_EK_AUTH_POLICY_B, 0},
};

static void test_template__each__is_as_the_profile_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(wants); i++) {
        const struct want *w = &wants[i];
        const struct avow_ek_template *e = avow_ek_template_of(w->which);
        const TPM2B_PUBLIC p = avow_ek_template_public(e);
        enum avow_tpm_ek parsed = AVOW_TPM_EK_AUTO;
        assert_true(avow_tpm_ek_parse(w->name, &parsed));
        assert_int_equal(parsed, w->which);
        assert_string_equal(avow_tpm_ek_name(w->which), w->name);
        assert_int_equal(e->nv_cert, w->cert);
        assert_int_equal(e->nv_nonce, w->nonce);
        assert_int_equal(e->nv_template, w->tmpl);
        assert_int_equal(p.publicArea.objectAttributes, w->attributes);
        assert_hex(w->name, &p.publicArea.authPolicy, w->policy);
        assert_int_equal(avow_ek_auth_of(&p), w->auth);
        size_t unique = p.publicArea.type == TPM2_ALG_RSA ? p.publicArea.unique.rsa.size
                                                          : p.publicArea.unique.ecc.x.size;
        assert_int_equal(unique, w->unique);
    }
    enum avow_tpm_ek out = AVOW_TPM_EK_H7;
    assert_true(avow_tpm_ek_parse("auto", &out));
    assert_int_equal(out, AVOW_TPM_EK_AUTO);
    assert_false(avow_tpm_ek_parse("H-5", &out));
    assert_false(avow_tpm_ek_parse("l-1", &out));
}

static void test_fits__any_other_template__no(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(wants); i++)
        for (size_t k = 0; k < AVOW_ARRAY_LEN(wants); k++) {
            const TPM2B_PUBLIC a = avow_ek_template_public(avow_ek_template_of(wants[i].which));
            const TPM2B_PUBLIC b = avow_ek_template_public(avow_ek_template_of(wants[k].which));
            if (avow_ek_template_fits(&a, &b) != (i == k))
                fail_msg("%s and %s", wants[i].name, wants[k].name);
        }
    TPM2B_PUBLIC a = avow_ek_template_public(avow_ek_template_of(AVOW_TPM_EK_L1)), b = a;
    b.publicArea.unique.rsa.buffer[0] =
        1; /* a key differs from its template there, and only there */
    assert_true(avow_ek_template_fits(&b, &a));
    b.publicArea.objectAttributes |= TPMA_OBJECT_SIGN_ENCRYPT;
    assert_false(avow_ek_template_fits(&b, &a));
}

static void test_auth__policy_of_nobody__is_password_or_none(void **state)
{
    (void)state;
    TPM2B_PUBLIC p = avow_ek_template_public(avow_ek_template_of(AVOW_TPM_EK_H2));
    p.publicArea.authPolicy.buffer[31] ^= 1;
    assert_int_equal(avow_ek_auth_of(&p), AVOW_EK_AUTH_PASSWORD);
    p.publicArea.objectAttributes &= ~(uint32_t)TPMA_OBJECT_USERWITHAUTH;
    assert_int_equal(avow_ek_auth_of(&p), AVOW_EK_AUTH_NONE);
    p.publicArea.nameAlg = TPM2_ALG_NULL;
    assert_int_equal(avow_ek_auth_of(&p), AVOW_EK_AUTH_NONE);
}

static void test_nonce__fits_or_is_refused(void **state)
{
    (void)state;
    uint8_t nonce[257];
    memset(nonce, 0x5A, sizeof nonce);
    TPM2B_PUBLIC p = avow_ek_template_public(avow_ek_template_of(AVOW_TPM_EK_L1));
    assert_true(avow_ek_template_set_nonce(&p, avow_bytes_make(nonce, 64)));
    assert_int_equal(p.publicArea.unique.rsa.size, 256);
    assert_int_equal(p.publicArea.unique.rsa.buffer[63], 0x5A);
    assert_int_equal(p.publicArea.unique.rsa.buffer[64], 0);
    assert_true(avow_ek_template_set_nonce(&p, avow_bytes_make(nonce, 256)));
    assert_false(avow_ek_template_set_nonce(&p, avow_bytes_make(nonce, 257)));
    p = avow_ek_template_public(avow_ek_template_of(AVOW_TPM_EK_L2));
    assert_true(avow_ek_template_set_nonce(&p, avow_bytes_make(nonce, 20)));
    assert_int_equal(p.publicArea.unique.ecc.x.size, 32);
    assert_int_equal(p.publicArea.unique.ecc.x.buffer[19], 0x5A);
    assert_int_equal(p.publicArea.unique.ecc.x.buffer[20], 0);
    assert_int_equal(p.publicArea.unique.ecc.y.size, 32);
    assert_int_equal(p.publicArea.unique.ecc.y.buffer[0], 0);
    assert_false(avow_ek_template_set_nonce(&p, avow_bytes_make(nonce, 33)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policies__equal_the_published_ones),
        cmocka_unit_test(test_template__each__is_as_the_profile_says),
        cmocka_unit_test(test_fits__any_other_template__no),
        cmocka_unit_test(test_auth__policy_of_nobody__is_password_or_none),
        cmocka_unit_test(test_nonce__fits_or_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
