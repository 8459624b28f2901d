#include "avow/base/hex.h"

#include "check.h"

#include <string.h>

#include "avow/base/banned.h"

static void test_hex_encode__all_bytes__decode_again(void **state)
{
    uint8_t all[256], back[256];
    char text[513], upper[513];
    (void)state;
    for (unsigned i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    avow_hex_encode(text, AVOW_BYTES_OF(all));
    assert_int_equal(strlen(text), 512);
    assert_memory_equal(text + 0x9a * 2, "9a9b9c", 6);
    assert_true(avow_hex_decode(back, sizeof back, avow_str_from(text)));
    assert_memory_equal(all, back, sizeof all);
    for (unsigned i = 0; i < 513; i++)
        upper[i] = (char)(text[i] >= 'a' ? text[i] - 32 : text[i]);
    memset(back, 0, sizeof back);
    assert_true(avow_hex_decode(back, sizeof back, avow_str_from(upper)));
    assert_memory_equal(all, back, sizeof all);
    avow_hex_encode(text, (struct avow_bytes){NULL, 0});
    assert_string_equal(text, "");
}

static void test_hex_decode__bad_text__is_refused_and_writes_nothing(void **state)
{
    static const char *const cases[] = {"",     "0",    "000",  "00000",     "0g00",
                                        "00 0", "0x00", "-100", "00/0",      "00:0",
                                        "00@0", "00`0", "00G0", "\xc3\xa9xx"};
    uint8_t out[2] = {0xaa, 0xbb};
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        CHECK(cases[i], !avow_hex_decode(out, 2, avow_str_from(cases[i])));
        CHECK(cases[i], out[0] == 0xaa && out[1] == 0xbb);
    }
    assert_true(avow_hex_decode(NULL, 0, avow_str_from("")));
}

static void test_base64__rfc_4648_vectors__go_both_ways(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff", "+/8="},
    };
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_buf b;
        avow_buf_init(&b, 64);
        avow_buf_put_base64(&b, avow_bytes_make(cases[i][0], strlen(cases[i][0])));
        CHECK(cases[i][1], avow_cstr_eq(avow_buf_cstr(&b), cases[i][1]));
        avow_buf_reset(&b);
        CHECK(cases[i][1], avow_base64_decode(avow_str_from(cases[i][1]), &b, NULL) == AVOW_OK);
        CHECK(cases[i][1], avow_cstr_eq(avow_buf_cstr(&b), cases[i][0]));
        avow_buf_deinit(&b);
    }
}

static void test_base64_decode__not_canonical__is_a_parse_error(void **state)
{
    static const char *const cases[] = {
        "Z",      "Zg",         "Zg=",      "Zh==",     "Zm9=",
        "====",   "=",          "Zg==Zg==", "Zm8=Zm9v", "Zm9 ",
        "Zm9v\n", "Zm9v\nZg==", " Zm9v",    "Zm-_",     "Z=9v",
        "=m9v",   "Zm=v",       "Z===",     "Zm9v====", "\xc3\xa9\xc3\xa9",
        "Zm9v=",  "Zm9v Zg",
    };
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_buf b;
        struct avow_err err = {.msg = ""};
        avow_buf_init(&b, 64);
        avow_buf_put_str(&b, "before");
        CHECK(cases[i], avow_base64_decode(avow_str_from(cases[i]), &b, &err) == AVOW_PARSE);
        CHECK(cases[i], avow_cstr_eq(avow_buf_cstr(&b), "before"));
        CHECK(cases[i], err.rc == AVOW_PARSE && err.msg[0]);
        avow_buf_deinit(&b);
    }
    struct avow_buf b;
    avow_buf_init(&b, 64);
    assert_int_equal(avow_base64_decode((struct avow_str){"Zm\0v", 4}, &b, NULL), AVOW_PARSE);
    avow_buf_deinit(&b);
}

static void test_base64_decode__over_the_limit__is_a_limit_error(void **state)
{
    struct avow_buf b;
    (void)state;
    avow_buf_init(&b, 3);
    assert_int_equal(avow_base64_decode(AVOW_STR_LIT("Zm9v"), &b, NULL), AVOW_OK);
    assert_int_equal(avow_base64_decode(AVOW_STR_LIT("Zg=="), &b, NULL), AVOW_LIMIT);
    assert_int_equal(b.len, 3);
    avow_buf_deinit(&b);
}

static void test_base64__every_length__round_trips(void **state)
{
    uint8_t raw[100];
    (void)state;
    for (unsigned i = 0; i < sizeof raw; i++)
        raw[i] = (uint8_t)(i * 151 + 7);
    for (size_t n = 0; n <= sizeof raw; n++) {
        struct avow_buf text, back;
        avow_buf_init(&text, 256);
        avow_buf_init(&back, 128);
        avow_buf_put_base64(&text, avow_bytes_make(raw, n));
        assert_int_equal(text.len, (n + 2) / 3 * 4);
        struct avow_str s = {(const char *)text.ptr, text.len};
        assert_int_equal(avow_base64_decode(s, &back, NULL), AVOW_OK);
        assert_true(avow_bytes_eq(avow_buf_bytes(&back), avow_bytes_make(raw, n)));
        avow_buf_deinit(&text);
        avow_buf_deinit(&back);
    }
}

static void test_buf_put_hex__limit__is_respected(void **state)
{
    struct avow_buf b;
    (void)state;
    avow_buf_init(&b, 5);
    avow_buf_put_hex(&b, avow_bytes_make("\x0f\xa0", 2));
    assert_string_equal(avow_buf_cstr(&b), "0fa0");
    avow_buf_put_hex(&b, avow_bytes_make("\x0f", 1));
    assert_int_equal(b.failed, AVOW_LIMIT);
    avow_buf_reset(&b);
    avow_buf_put_base64(&b, avow_bytes_make("abcd", 4));
    assert_int_equal(b.failed, AVOW_LIMIT);
    avow_buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hex_encode__all_bytes__decode_again),
        cmocka_unit_test(test_hex_decode__bad_text__is_refused_and_writes_nothing),
        cmocka_unit_test(test_base64__rfc_4648_vectors__go_both_ways),
        cmocka_unit_test(test_base64_decode__not_canonical__is_a_parse_error),
        cmocka_unit_test(test_base64_decode__over_the_limit__is_a_limit_error),
        cmocka_unit_test(test_base64__every_length__round_trips),
        cmocka_unit_test(test_buf_put_hex__limit__is_respected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
