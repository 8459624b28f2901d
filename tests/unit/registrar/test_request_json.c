/* Bodies of register and activate. */
#include "request_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define KEYS "\"ek_tpm\":\"AQID\",\"aik_tpm\":\"BAUG\""
#define TAG                                                                                        \
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"                             \
    "202122232425262728292a2b2c2d2e2f"

static enum avow_rc parse(struct avow_bytes body, struct avow_arena *arena,
                          struct avow_register_request *out)
{
    struct avow_err err;
    avow_arena_init(arena, 1024 * 1024);
    return avow_register_request_parse(body, arena, out, &err);
}

static void test_register_request_parse__table(void **state)
{
    (void)state;
    static const struct {
        const char *name, *json;
        size_t len; /* 0: strlen */
        enum avow_rc want;
        enum avow_cert_given cert;
    } cases[] = {
        {"keys only", "{" KEYS "}", 0, AVOW_OK, AVOW_CERT_ABSENT},
        {"certificate null", "{" KEYS ",\"ekcert\":null}", 0, AVOW_OK, AVOW_CERT_NULL},
        {"certificate empty", "{" KEYS ",\"ekcert\":\"\"}", 0, AVOW_OK, AVOW_CERT_NULL},
        {"certificate", "{" KEYS ",\"ekcert\":\"x\"}", 0, AVOW_OK, AVOW_CERT_GIVEN},
        {"unknown fields", "{" KEYS ",\"agent_id\":\"z\",\"iak_cert\":null,\"n\":[1,{}]}", 0,
         AVOW_OK, AVOW_CERT_ABSENT},
        {"blanks around", " {" KEYS "}\n", 0, AVOW_OK, AVOW_CERT_ABSENT},
        {"brackets in text", "{" KEYS ",\"x\":\"[[[[[[[[[[[[[[[[[[[[[\\\"[[\"}", 0, AVOW_OK,
         AVOW_CERT_ABSENT},
        {"16 levels", "{" KEYS ",\"x\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}", 0, AVOW_OK,
         AVOW_CERT_ABSENT},
        {"17 levels", "{" KEYS ",\"x\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}", 0, AVOW_LIMIT, 0},
        {"empty", "", 0, AVOW_PARSE, 0},
        {"array", "[]", 0, AVOW_PARSE, 0},
        {"cut", "{" KEYS, 0, AVOW_PARSE, 0},
        {"two documents", "{" KEYS "}{}", 0, AVOW_PARSE, 0},
        {"duplicate", "{" KEYS ",\"ip\":\"a\",\"ip\":\"b\"}", 0, AVOW_PARSE, 0},
        {"NUL", "{" KEYS "}\0", sizeof "{" KEYS "}", AVOW_PARSE, 0},
        {"escaped NUL", "{" KEYS ",\"ip\":\"a\\u0000\"}", 0, AVOW_PARSE, 0},
        {"invalid UTF-8", "{" KEYS ",\"ip\":\"\xff\"}", 0, AVOW_PARSE, 0},
        {"no EK", "{\"aik_tpm\":\"BAUG\"}", 0, AVOW_PARSE, 0},
        {"AK null", "{\"ek_tpm\":\"AQID\",\"aik_tpm\":null}", 0, AVOW_PARSE, 0},
        {"EK a number", "{\"ek_tpm\":1,\"aik_tpm\":\"BAUG\"}", 0, AVOW_PARSE, 0},
        {"EK unpadded", "{\"ek_tpm\":\"AQ\",\"aik_tpm\":\"BAUG\"}", 0, AVOW_PARSE, 0},
        {"EK URL-safe", "{\"ek_tpm\":\"_-ID\",\"aik_tpm\":\"BAUG\"}", 0, AVOW_PARSE, 0},
        {"certificate a list", "{" KEYS ",\"ekcert\":[]}", 0, AVOW_PARSE, 0},
        {"ip", "{" KEYS ",\"ip\":\"a b\"}", 0, AVOW_PARSE, 0},
        {"ip null", "{" KEYS ",\"ip\":null,\"port\":null,\"mtls_cert\":null}", 0, AVOW_OK,
         AVOW_CERT_ABSENT},
        {"port 0", "{" KEYS ",\"port\":0}", 0, AVOW_PARSE, 0},
        {"port 65535", "{" KEYS ",\"port\":65535}", 0, AVOW_OK, AVOW_CERT_ABSENT},
        {"port 65536", "{" KEYS ",\"port\":65536}", 0, AVOW_PARSE, 0},
        {"port text", "{" KEYS ",\"port\":\"9002\"}", 0, AVOW_PARSE, 0},
        {"port real", "{" KEYS ",\"port\":9002.0}", 0, AVOW_PARSE, 0},
        {"port huge", "{" KEYS ",\"port\":99999999999999999999999}", 0, AVOW_PARSE, 0},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
        struct avow_register_request out;
        memset(&out, 0xee, sizeof out);
        size_t len = cases[i].len ? cases[i].len : strlen(cases[i].json);
        enum avow_rc rc = parse(avow_bytes_make(cases[i].json, len), &arena, &out);
        if (rc != cases[i].want)
            fail_msg("%s: %s", cases[i].name, avow_rc_text(rc));
        if (!rc && out.cert != cases[i].cert)
            fail_msg("%s: certificate %d", cases[i].name, (int)out.cert);
        if (rc)
            assert_true(avow_bytes_all(avow_bytes_make(&out, sizeof out), 0xee));
    }
}

static void test_register_request_parse__agents_body__every_field(void **state)
{
    (void)state;
    static const char json[] = "{\"aik_tpm\":\"BAUG\",\"ek_tpm\":\"AQID\",\"ekcert\":\"CERT\","
                               "\"iak_cert\":null,\"idevid_cert\":null,\"ip\":\"fe80::1%eth0\","
                               "\"mtls_cert\":\"disabled\",\"port\":9002}";
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
    struct avow_register_request r;
    assert_int_equal(parse(avow_bytes_make(json, sizeof json - 1), &arena, &r), AVOW_OK);
    assert_true(avow_bytes_eq(r.ek_public, avow_bytes_make("\1\2\3", 3)));
    assert_true(avow_bytes_eq(r.ak_public, avow_bytes_make("\4\5\6", 3)));
    assert_true(avow_str_is(r.ekcert, "CERT"));
    assert_true(avow_str_is(r.ip, "fe80::1%eth0"));
    assert_true(avow_str_is(r.mtls_cert, "disabled"));
    assert_int_equal(r.port, 9002);
}

static void test_register_request_parse__every_cut__no_success(void **state)
{
    (void)state;
    static const char json[] = "{" KEYS ",\"ekcert\":\"a\\u00e9\",\"port\":9002}";
    for (size_t len = 0; len < sizeof json; len++) {
        AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
        struct avow_register_request r;
        enum avow_rc rc = parse(avow_bytes_make(json, len), &arena, &r);
        assert_int_equal(rc == AVOW_OK, len == sizeof json - 1);
    }
}

static void test_activate_request_parse__table(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool good;
    } cases[] = {
        {"{\"auth_tag\":\"" TAG "\"}", true},
        {"{\"auth_tag\":\"" TAG "\",\"more\":1}", true},
        {"{\"auth_tag\":\"" TAG "0\"}", false},
        {"{\"auth_tag\":\"0" TAG "\"}", false},
        {"{\"auth_tag\":\"\"}", false},
        {"{\"auth_tag\":null}", false},
        {"{\"auth_tag\":1}", false},
        {"{\"auth_tag\":[\"" TAG "\"]}", false},
        {"{}", false},
        {"{\"auth_tag\":\"000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"
         "202122232425262728292A2B2C2D2E2F\"}",
         false},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        uint8_t tag[AVOW_TAG_LEN] = {0};
        struct avow_err err;
        struct avow_bytes body = avow_bytes_make(cases[i].json, strlen(cases[i].json));
        bool good = avow_activate_request_parse(body, tag, &err) == AVOW_OK;
        if (good != cases[i].good)
            fail_msg("%s", cases[i].json);
        for (size_t k = 0; good && k < sizeof tag; k++)
            assert_int_equal(tag[k], k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_register_request_parse__table),
        cmocka_unit_test(test_register_request_parse__agents_body__every_field),
        cmocka_unit_test(test_register_request_parse__every_cut__no_success),
        cmocka_unit_test(test_activate_request_parse__table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
