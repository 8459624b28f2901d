/* test_policy_kinds.c - what is published was read as its kind before. */
#include "cli_test.h"

#include "policy_kinds.h"

#include "avow/crypto/dsse.h"

#define A32 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A20 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KEY                                                                                        \
    "-----BEGIN PUBLIC KEY-----\n"                                                                 \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEN/5azHg5bC6IMQi9BJDktcyY+HVr\n"                           \
    "YF+vfmxz4kvKQrpZVuucGpwfmsiuztRfEkkdUZQlMqlgwlj7mwhgMbQzIg==\n"                               \
    "-----END PUBLIC KEY-----\n"

static void test_policy_check__each_kind__only_its_own_documents(void **state)
{
    (void)state;
    static const struct {
        enum avow_policy_kind kind;
        const char *text, *says; /* NULL: good */
    } rows[] = {
        {AVOW_POLICY_KIND_RUNTIME, "{\"digests\":{}}", NULL},
        {AVOW_POLICY_KIND_RUNTIME, "{\"0\":\"" A32 "\"}", "$: no digests"},
        {AVOW_POLICY_KIND_KEYS, KEY, NULL},
        {AVOW_POLICY_KIND_KEYS, "{\"digests\":{}}", ""},
        {AVOW_POLICY_KIND_KEYS, "hello", ""},
        {AVOW_POLICY_KIND_STATIC, "{\"0\":\"" A32 "\",\"23\":[\"" A20 "\",\"" A32 "\"]}", NULL},
        {AVOW_POLICY_KIND_STATIC, "{\"22\":\"" A32 "\",\"mask\":\"0x400000\"}", NULL},
        {AVOW_POLICY_KIND_STATIC, "{}", "at least one PCR"},
        {AVOW_POLICY_KIND_STATIC, "[]", "not an object"},
        {AVOW_POLICY_KIND_STATIC, "{\"24\":\"" A32 "\"}", "$[\"24\"]: not a PCR"},
        {AVOW_POLICY_KIND_STATIC, "{\"x\":\"" A32 "\"}", "$[\"x\"]: not a PCR"},
        {AVOW_POLICY_KIND_STATIC, "{\"10\":\"" A32 "\"}", "$[\"10\"]: this PCR"},
        {AVOW_POLICY_KIND_STATIC, "{\"16\":\"" A32 "\"}", "$[\"16\"]: this PCR"},
        {AVOW_POLICY_KIND_STATIC, "{\"1\":[]}", "$[\"1\"]: not 1 to"},
        {AVOW_POLICY_KIND_STATIC, "{\"1\":\"zz\"}", "$[\"1\"]: not a digest"},
        {AVOW_POLICY_KIND_STATIC, "{\"1\":[7]}", "$[\"1\"]: not a digest"},
        {AVOW_POLICY_KIND_STATIC, "{\"1\":\"" A32 "\",\"1\":\"" A32 "\"}", "duplicate"},
        {AVOW_POLICY_KIND_STATIC, "{\"mask\":7}", "$.mask"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct avow_policy_summary s;
        struct avow_err err = {.rc = AVOW_OK};
        enum avow_rc rc = avow_policy_check(
            rows[i].kind, avow_bytes_make(rows[i].text, strlen(rows[i].text)), &s, &err);
        if ((rc == AVOW_OK) != (rows[i].says == NULL))
            fail_msg("%s: %s", rows[i].text, rc ? err.msg : "accepted");
        if (rc)
            assert_contains(rows[i].text, err.msg, rows[i].says);
        avow_policy_summary_deinit(&s);
    }
}

static void test_policy_unwrap__envelope_and_plain__text_and_seal(void **state)
{
    (void)state;
    static const char plain[] = "{\"digests\":{}}";
    struct avow_privkey *key = NULL;
    struct avow_pubkey *pub = NULL;
    struct avow_buf text;
    struct avow_policy_seal seal;
    struct avow_err err = {.rc = AVOW_OK};
    assert_code("key", avow_privkey_generate(&key, &err), AVOW_OK, &err);
    assert_code("pub", avow_pubkey_from_spki(avow_privkey_spki(key), &pub, &err), AVOW_OK, &err);
    avow_buf_init(&text, 1u << 16);
    avow_buf_put_str(&text, plain);
    assert_code("plain", avow_policy_unwrap(&text, &seal, &err), AVOW_OK, &err);
    assert_false(seal.is_envelope);
    assert_string_equal(avow_buf_cstr(&text), plain);
    avow_buf_reset(&text);
    assert_code("sign", avow_dsse_sign(key, avow_bytes_make(plain, sizeof plain - 1), &text, &err),
                AVOW_OK, &err);
    assert_code("envelope", avow_policy_unwrap(&text, &seal, &err), AVOW_OK, &err);
    assert_true(seal.is_envelope);
    assert_string_equal(avow_buf_cstr(&text), plain);
    const struct avow_pubkey *keys[] = {pub};
    assert_true(avow_dsse_verify(seal.pae_sha256, avow_buf_bytes(&seal.sigs), keys, 1, NULL));
    avow_policy_seal_deinit(&seal);
    avow_buf_reset(&text);
    avow_buf_put_str(&text, "{\"payload\":");
    assert_int_equal(avow_policy_unwrap(&text, &seal, &err), AVOW_PARSE);
    avow_policy_seal_deinit(&seal);
    avow_buf_deinit(&text);
    avow_privkey_free(key);
    avow_pubkey_free(pub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy_check__each_kind__only_its_own_documents),
        cmocka_unit_test(test_policy_unwrap__envelope_and_plain__text_and_seal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
