/* Answers of registrars, good and hostile, and the bodies that we send. No network. */
#include "enroll_client.h"

#include "avow/base/hex.h"

#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

static struct avow_bytes text(const char *s)
{
    return avow_bytes_make(s, strlen(s));
}

static void test_version__table(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum avow_rc rc;
        const char *want;
    } cases[] = {
        {"{\"code\":200,\"status\":\"Success\",\"results\":{\"current_version\":\"2.6\","
         "\"supported_versions\":[\"1.0\","
         "\"2.6\",\"3.0\"]}}",
         AVOW_OK, "2.6"},
        {"{\"results\":{\"current_version\":\"2.1\"}}", AVOW_OK, "2.1"},
        {"{\"results\":{\"current_version\":\"3.0\",\"supported_versions\":[\"2.2\",\"2.4\",\"3."
         "0\"]}}",
         AVOW_OK, "2.4"},
        {"{\"results\":{\"supported_versions\":[\"2.5\"]}}", AVOW_OK, "2.5"},
        {"{\"results\":{\"current_version\":\"3.0\",\"supported_versions\":[\"1.0\",\"3.0\"]}}",
         AVOW_REFUSED, NULL},
        {"{\"results\":{\"current_version\":2.6,\"supported_versions\":\"2.6\"}}", AVOW_REFUSED,
         NULL},
        {"{\"results\":{}}", AVOW_REFUSED, NULL},
        {"{\"results\":{\"supported_versions\":[[],{},null,7,\"2.6/../../x\"]}}", AVOW_REFUSED,
         NULL},
        {"{\"results\":[]}", AVOW_PARSE, NULL},
        {"{\"results\":null}", AVOW_PARSE, NULL},
        {"{}", AVOW_PARSE, NULL},
        {"[]", AVOW_PARSE, NULL},
        {"", AVOW_PARSE, NULL},
        {"{\"results\":{}", AVOW_PARSE, NULL},
        {"{\"results\":{},\"results\":{}}", AVOW_PARSE, NULL},
        {"{\"results\":{}} trailing", AVOW_PARSE, NULL},
        {"\xff\xfe", AVOW_PARSE, NULL},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        char got[AVOW_ENROLL_VERSION_MAX] = "-";
        enum avow_rc rc = avow_enroll_parse_version(text(cases[i].body), got, NULL);
        if (rc != cases[i].rc || !avow_cstr_eq(got, cases[i].want ? cases[i].want : "-"))
            fail_msg("%s: %s, %s", cases[i].body, avow_rc_text(rc), got);
    }
}

/* An answer with this credential blob. */
static void answer_of(struct avow_bytes blob, struct avow_buf *out)
{
    avow_buf_reset(out);
    avow_buf_put_str(out, "{\"code\":200,\"status\":\"Success\",\"results\":{\"blob\":\"");
    avow_buf_put_base64(out, blob);
    avow_buf_put_str(out, "\"}}");
}

static const uint8_t good_blob[] = {0xBA, 0xDC, 0xC0, 0xDE, 0, 0, 0,   1,  0,
                                    3,    'a',  'b',  'c',  0, 2, 'x', 'y'};

static void test_challenge__good__is_split_with_its_sizes(void **state)
{
    (void)state;
    struct avow_buf body;
    struct avow_enroll_challenge c;
    avow_buf_init(&body, 4096);
    avow_enroll_challenge_init(&c);
    answer_of(AVOW_BYTES_OF(good_blob), &body);
    for (int twice = 0; twice < 2; twice++) { /* a second answer replaces the first */
        assert_int_equal(avow_enroll_parse_challenge(avow_buf_bytes(&body), &c, NULL), AVOW_OK);
        assert_int_equal(c.id_object.len, 5);
        assert_memory_equal(c.id_object.ptr, "\0\3abc", 5);
        assert_int_equal(c.encrypted_secret.len, 4);
        assert_memory_equal(c.encrypted_secret.ptr, "\0\2xy", 4);
    }
    avow_enroll_challenge_deinit(&c);
    avow_buf_deinit(&body);
}

static void assert_refused(struct avow_bytes blob, const char *what)
{
    struct avow_buf body;
    struct avow_enroll_challenge c;
    avow_buf_init(&body, 65536);
    avow_enroll_challenge_init(&c);
    answer_of(blob, &body);
    if (avow_enroll_parse_challenge(avow_buf_bytes(&body), &c, NULL) == AVOW_OK)
        fail_msg("%s was accepted", what);
    avow_enroll_challenge_deinit(&c);
    avow_buf_deinit(&body);
}

static void test_challenge__truncated_longer_or_foreign__is_refused(void **state)
{
    (void)state;
    uint8_t blob[sizeof good_blob + 1] = {0};
    for (size_t n = 0; n < sizeof good_blob; n++)
        assert_refused(avow_bytes_make(good_blob, n), "truncation");
    memcpy(blob, good_blob, sizeof good_blob);
    assert_refused(AVOW_BYTES_OF(blob), "a trailing byte");
    static const struct {
        size_t at;
        uint8_t value;
        const char *what;
    } bad[] = {{0, 0xBB, "magic"},
               {7, 2, "version"},
               {8, 0xFF, "size of the first part"},
               {13, 0xFF, "size of the second"}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(bad); i++) {
        memcpy(blob, good_blob, sizeof good_blob);
        blob[bad[i].at] = bad[i].value;
        assert_refused(avow_bytes_make(blob, sizeof good_blob), bad[i].what);
    }
    static uint8_t huge[8000];
    memcpy(huge, good_blob, 8);
    assert_refused(AVOW_BYTES_OF(huge), "a huge blob");
}

static void test_challenge__hostile_json__is_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"results\":{}}",
        "{\"results\":{\"blob\":null}}",
        "{\"results\":{\"blob\":17}}",
        "{\"results\":{\"blob\":[]}}",
        "{\"results\":{\"blob\":\"\"}}",
        "{\"results\":{\"blob\":\"!!!!\"}}",
        "{\"results\":{\"blob\":\"utzA3gAAAAEAA2FiYwACeHk\"}}",     /* not padded */
        "{\"results\":{\"blob\":\"utzA3gAAAAEAA2Fi\\nYwACeHk=\"}}", /* line break */
        "{\"results\":{\"blob\":\"a\\u0000b\"}}",
        "{\"results\":{\"blob\":\"utzA3gAAAAEAA2FiYwACeHk=\",\"blob\":\"\"}}",
        "null",
        "\"blob\"",
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(bodies); i++) {
        struct avow_enroll_challenge c;
        avow_enroll_challenge_init(&c);
        if (avow_enroll_parse_challenge(text(bodies[i]), &c, NULL) == AVOW_OK)
            fail_msg("%s was accepted", bodies[i]);
        avow_enroll_challenge_deinit(&c);
    }
}

static void test_answers__over_the_cap_or_deeply_nested__are_refused(void **state)
{
    (void)state;
    static char body[AVOW_ENROLL_ANSWER_MAX + 1];
    char version[AVOW_ENROLL_VERSION_MAX];
    memset(body, ' ', sizeof body);
    assert_int_equal(
        avow_enroll_parse_version(avow_bytes_make(body, sizeof body - 1), version, NULL),
        AVOW_PARSE);
    assert_int_equal(avow_enroll_parse_version(avow_bytes_make(body, sizeof body), version, NULL),
                     AVOW_LIMIT);
    memset(body, '[', sizeof body);
    assert_int_equal(
        avow_enroll_parse_version(avow_bytes_make(body, sizeof body - 1), version, NULL),
        AVOW_PARSE);
}

static void test_registration__is_keylimes_body(void **state)
{
    (void)state;
    static const uint8_t ek[] = {0, 1, 0xFF}, ak[] = {0, 1, 0xFE};
    struct avow_enroll_self self = {
        .agent_id = "x", .ek_public = AVOW_BYTES_OF(ek), .ak_public = AVOW_BYTES_OF(ak)};
    struct avow_buf out;
    avow_buf_init(&out, 4096);
    assert_int_equal(avow_enroll_put_registration(&self, &out, NULL), AVOW_OK);
    assert_string_equal(avow_buf_cstr(&out),
                        "{\"ek_tpm\":\"AAH/\",\"aik_tpm\":\"AAH+\",\"ekcert\":null,"
                        "\"ip\":\"127.0.0.1\",\"port\":9002,\"mtls_cert\":\"disabled\"}");
    struct avow_buf pem;
    avow_buf_init(&pem, 4096);
    static const uint8_t der[50] = {0x30, 48};
    avow_enroll_put_pem(&pem, AVOW_BYTES_OF(der));
    self.ek_certs = avow_buf_bytes(&pem);
    avow_buf_reset(&out);
    assert_int_equal(avow_enroll_put_registration(&self, &out, NULL), AVOW_OK);
    assert_non_null(
        strstr(avow_buf_cstr(&out),
               "\"ekcert\":\"-----BEGIN CERTIFICATE-----\\n"
               "MDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\\nAAA=\\n"
               "-----END CERTIFICATE-----\\n\","));
    avow_buf_deinit(&pem);
    avow_buf_deinit(&out);
}

static void test_registration__device_identity__six_fields(void **state)
{
    (void)state;
    static const uint8_t b[] = {0, 1, 2, 3};
    const struct avow_bytes pem = avow_bytes_make("P\n", 2);
    const struct avow_enroll_self self = {.agent_id = "x",
                                          .ek_public = AVOW_BYTES_OF(b),
                                          .ak_public = AVOW_BYTES_OF(b),
                                          .device = {.iak_public = AVOW_BYTES_OF(b),
                                                     .iak_attest = {b, 3},
                                                     .iak_sign = {b, 2},
                                                     .iak_certs = pem,
                                                     .idevid_public = {b, 1},
                                                     .idevid_certs = pem}};
    struct avow_buf out;
    avow_buf_init(&out, 4096);
    assert_int_equal(avow_enroll_put_registration(&self, &out, NULL), AVOW_OK);
    assert_string_equal(avow_buf_cstr(&out),
                        "{\"ek_tpm\":\"AAECAw==\",\"aik_tpm\":\"AAECAw==\",\"ekcert\":null,"
                        "\"iak_tpm\":\"AAECAw==\",\"iak_attest\":\"AAEC\",\"iak_sign\":\"AAE=\","
                        "\"iak_cert\":\"P\\n\",\"idevid_tpm\":\"AA==\",\"idevid_cert\":\"P\\n\","
                        "\"ip\":\"127.0.0.1\",\"port\":9002,\"mtls_cert\":\"disabled\"}");
    avow_buf_deinit(&out);
}

/* HMAC-SHA384 keyed by the base64 text of the secret, over the id, in lower-case hex. */
static void test_activation__tag_by_openssl(void **state)
{
    (void)state;
    static const uint8_t secret[32] = "0123456789abcdef0123456789abcde";
    static const char key[] = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZQA=";
    uint8_t mac[48];
    unsigned len = 0;
    char want[160], hex[97];
    HMAC(EVP_sha384(), key, (int)strlen(key), (const uint8_t *)"agent-1", 7, mac, &len);
    assert_int_equal(len, 48);
    avow_hex_encode(hex, AVOW_BYTES_OF(mac));
    snprintf(want, sizeof want, "{\"auth_tag\":\"%s\"}", hex);
    struct avow_buf out;
    avow_buf_init(&out, 4096);
    assert_int_equal(avow_enroll_put_activation("agent-1", AVOW_BYTES_OF(secret), &out, NULL),
                     AVOW_OK);
    assert_string_equal(avow_buf_cstr(&out), want);
    avow_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version__table),
        cmocka_unit_test(test_challenge__good__is_split_with_its_sizes),
        cmocka_unit_test(test_registration__device_identity__six_fields),
        cmocka_unit_test(test_challenge__truncated_longer_or_foreign__is_refused),
        cmocka_unit_test(test_challenge__hostile_json__is_refused),
        cmocka_unit_test(test_answers__over_the_cap_or_deeply_nested__are_refused),
        cmocka_unit_test(test_registration__is_keylimes_body),
        cmocka_unit_test(test_activation__tag_by_openssl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
