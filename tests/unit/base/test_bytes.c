#include "avow/base/bytes.h"

#include "check.h"

#include <string.h>

#include "avow/base/banned.h"

static struct avow_bytes bytes_of(const char *s)
{
    return avow_bytes_make(s, s ? strlen(s) : 0);
}

static void test_bytes_cmp__pairs__are_ordered_like_memcmp_then_length(void **state)
{
    static const struct {
        const char *a, *b;
        int order;
    } cases[] = {
        {"", "", 0},         {NULL, "", 0},   {"", "a", -1},
        {"a", "a", 0},       {"a", "b", -1},  {"abc", "abd", -1},
        {"ab", "abc", -1},   {"b", "abc", 1}, {"a\x7f", "a\x80", -1},
        {"\xff", "\x01", 1},
    };
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_bytes a = bytes_of(cases[i].a), b = bytes_of(cases[i].b);
        struct avow_str x = avow_str_from(cases[i].a), y = avow_str_from(cases[i].b);
        CHECK(cases[i].b, avow_bytes_cmp(a, b) == cases[i].order);
        CHECK(cases[i].b, avow_bytes_cmp(b, a) == -cases[i].order);
        CHECK(cases[i].b, avow_str_cmp(x, y) == cases[i].order);
        CHECK(cases[i].b, avow_bytes_eq(a, b) == (cases[i].order == 0));
        CHECK(cases[i].b, avow_str_eq(x, y) == (cases[i].order == 0));
    }
}

static void test_ct_eq__one_differing_byte__is_unequal(void **state)
{
    uint8_t a[32] = {0}, b[32] = {0};
    (void)state;
    assert_true(avow_ct_eq(a, b, sizeof a));
    assert_true(avow_ct_eq(NULL, NULL, 0));
    for (size_t i = 0; i < sizeof a; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            b[i] = (uint8_t)(1u << bit);
            assert_false(avow_ct_eq(a, b, sizeof a));
            for (size_t len = 0; len < sizeof a; len++) /* no byte too few, none too many */
                assert_int_equal(avow_ct_eq(a, b, len), len <= i);
        }
        b[i] = 0;
    }
}

static void test_bytes_all__mixed__is_false(void **state)
{
    static const uint8_t zeros[4], mixed[4] = {0, 0, 0, 1};
    (void)state;
    assert_true(avow_bytes_all(AVOW_BYTES_OF(zeros), 0));
    assert_false(avow_bytes_all(AVOW_BYTES_OF(zeros), 1));
    assert_false(avow_bytes_all(AVOW_BYTES_OF(mixed), 0));
    assert_true(avow_bytes_all((struct avow_bytes){NULL, 0}, 7));
}

static void test_wipe__secret__is_zero(void **state)
{
    uint8_t secret[33];
    (void)state;
    memset(secret, 0x5a, sizeof secret);
    avow_wipe(secret, 32);
    assert_true(avow_bytes_all(avow_bytes_make(secret, 32), 0));
    assert_int_equal(secret[32], 0x5a);
    avow_wipe(NULL, 0);
}

static void test_str_predicates__table__match(void **state)
{
    (void)state;
    assert_true(avow_str_is(AVOW_STR_LIT("abc"), "abc"));
    assert_false(avow_str_is(AVOW_STR_LIT("abc"), "abcd"));
    assert_false(avow_str_is(AVOW_STR_LIT("abc\0d"), "abc"));
    assert_true(avow_str_starts(AVOW_STR_LIT("abc"), "ab"));
    assert_true(avow_str_starts(AVOW_STR_LIT("abc"), ""));
    assert_true(avow_str_starts(avow_str_from(NULL), ""));
    assert_false(avow_str_starts(AVOW_STR_LIT("a"), "ab"));
    assert_true(avow_cstr_eq("x", "x"));
    assert_false(avow_cstr_eq("x", "xy"));
}

static void test_str_copy__too_long__is_cut_and_terminated(void **state)
{
    char out[4] = "zzz";
    (void)state;
    assert_true(avow_str_copy(out, sizeof out, AVOW_STR_LIT("abc")));
    assert_string_equal(out, "abc");
    assert_false(avow_str_copy(out, sizeof out, AVOW_STR_LIT("abcd")));
    assert_string_equal(out, "abc");
    assert_true(avow_str_copy(out, sizeof out, avow_str_from(NULL)));
    assert_string_equal(out, "");
    assert_false(avow_str_copy(out, 1, AVOW_STR_LIT("a")));
    assert_string_equal(out, "");
}

static void test_utf8_is_valid__table__follows_rfc_3629(void **state)
{
    static const struct {
        const char *name;
        struct avow_str text;
        bool valid;
    } cases[] = {
        {"empty", {NULL, 0}, true},
        {"ascii", {"az \x7f", 4}, true},
        {"NUL", {"a\0b", 3}, false},
        {"lone continuation", {"\x80", 1}, false},
        {"overlong C0", {"\xc0\x80", 2}, false},
        {"overlong C1", {"\xc1\xbf", 2}, false},
        {"U+0080", {"\xc2\x80", 2}, true},
        {"U+07FF", {"\xdf\xbf", 2}, true},
        {"two bytes cut", {"\xc2", 1}, false},
        {"bad second", {"\xc2\x41", 2}, false},
        {"bad second high", {"\xc2\xc0", 2}, false},
        {"overlong E0", {"\xe0\x9f\xbf", 3}, false},
        {"U+0800", {"\xe0\xa0\x80", 3}, true},
        {"U+D7FF", {"\xed\x9f\xbf", 3}, true},
        {"surrogate U+D800", {"\xed\xa0\x80", 3}, false},
        {"surrogate U+DFFF", {"\xed\xbf\xbf", 3}, false},
        {"U+E000", {"\xee\x80\x80", 3}, true},
        {"U+FFFF", {"\xef\xbf\xbf", 3}, true},
        {"three bytes cut", {"\xe2\x82", 2}, false},
        {"bad third", {"\xe2\x82\x20", 3}, false},
        {"overlong F0", {"\xf0\x8f\xbf\xbf", 4}, false},
        {"U+10000", {"\xf0\x90\x80\x80", 4}, true},
        {"U+10FFFF", {"\xf4\x8f\xbf\xbf", 4}, true},
        {"above U+10FFFF", {"\xf4\x90\x80\x80", 4}, false},
        {"F5", {"\xf5\x80\x80\x80", 4}, false},
        {"FF", {"\xff", 1}, false},
        {"four bytes cut", {"\xf0\x9f\x98", 3}, false},
        {"bad fourth", {"\xf0\x9f\x98\xc0", 4}, false},
        {"good then bad", {"\xc3\xa9\xff", 3}, false},
        {"mixed", {"a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z", 11}, true},
    };
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++)
        CHECK(cases[i].name, avow_utf8_is_valid(cases[i].text) == cases[i].valid);
}

static void test_name_is_valid__table__follows_protocol_b6(void **state)
{
    static const struct {
        const char *name;
        bool valid;
    } cases[] = {
        {"a", true},    {"Z9", true},        {"web-1.example_x", true},
        {"", false},    {".a", false},       {"-a", false},
        {"_a", false},  {"a/b", false},      {"a b", false},
        {"a\n", false}, {"\xc3\xa9", false}, {"a\xc3\xa9", false},
        {"a:", false},  {"a@", false},       {"a[", false},
    };
    char longest[130];
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++)
        CHECK(cases[i].name, avow_name_is_valid(avow_str_from(cases[i].name)) == cases[i].valid);
    memset(longest, 'x', sizeof longest);
    assert_true(avow_name_is_valid((struct avow_str){longest, 128}));
    assert_false(avow_name_is_valid((struct avow_str){longest, 129}));
    assert_false(avow_name_is_valid((struct avow_str){"a\0b", 3}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_cmp__pairs__are_ordered_like_memcmp_then_length),
        cmocka_unit_test(test_ct_eq__one_differing_byte__is_unequal),
        cmocka_unit_test(test_bytes_all__mixed__is_false),
        cmocka_unit_test(test_wipe__secret__is_zero),
        cmocka_unit_test(test_str_predicates__table__match),
        cmocka_unit_test(test_str_copy__too_long__is_cut_and_terminated),
        cmocka_unit_test(test_utf8_is_valid__table__follows_rfc_3629),
        cmocka_unit_test(test_name_is_valid__table__follows_protocol_b6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
