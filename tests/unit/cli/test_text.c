#include "cli_test.h"

#include "text.h"

static struct avow_str str(const char *s)
{
    return avow_str_from(s);
}

static void test_text_clean__what_steers_or_hides__is_shown_as_a_question_mark(void **state)
{
    static const struct {
        const char *name, *in, *want;
    } cases[] = {
        {"plain", "/usr/bin/x y~", "/usr/bin/x y~"},
        {"empty", "", ""},
        {"escape sequence", "\x1b[31mred\x1b[0m", "?[31mred?[0m"},
        {"window title", "\x1b]0;t\x07", "?]0;t?"},
        {"lines", "a\nb\r\tc", "a?b??c"},
        {"delete",
         "a\x7f"
         "b",
         "a?b"},
        {"C1 as UTF-8",
         "a\xc2\x9b"
         "31m",
         "a?31m"},
        {"C1, the first and the last", "\xc2\x80\xc2\x9f", "??"},
        {"C1 as a bare byte",
         "a\x9b"
         "31m",
         "a?31m"},
        {"after C1", "\xc2\xa1", "\xc2\xa1"},
        {"umlaut", "f\xc3\xbcr", "f\xc3\xbcr"},
        {"CJK", "\xe6\x97\xa5", "\xe6\x97\xa5"},
        {"emoji", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"right-to-left override",
         "a\xe2\x80\xae"
         "b",
         "a?b"},
        {"isolate", "\xe2\x81\xa6", "?"},
        {"zero width space",
         "a\xe2\x80\x8b"
         "b",
         "a?b"},
        {"line separator", "\xe2\x80\xa8", "?"},
        {"byte order mark", "\xef\xbb\xbf", "?"},
        {"tag", "\xf3\xa0\x81\x81", "?"},
        {"soft hyphen", "\xc2\xad", "?"},
        {"overlong slash", "\xc0\xaf", "??"},
        {"surrogate", "\xed\xa0\x80", "???"},
        {"cut sequence", "a\xe6\x97", "a??"},
        {"too large", "\xf4\x90\x80\x80", "????"},
        {"not a lead byte", "\xff\xfe", "??"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[64];
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf buf;
        avow_buf_init(&buf, 64);
        avow_text_clean(out, sizeof out, str(cases[i].in));
        avow_text_put(&buf, str(cases[i].in));
        if (strcmp(out, cases[i].want) || strcmp(avow_buf_cstr(&buf), cases[i].want))
            fail_msg("%s: got \"%s\" and \"%s\", want \"%s\"", cases[i].name, out,
                     avow_buf_cstr(&buf), cases[i].want);
    }
}

static void test_text_clean__a_nul_inside__is_shown(void **state)
{
    char out[8];
    (void)state;
    avow_text_clean(out, sizeof out, (struct avow_str){"a\0b", 3});
    assert_string_equal(out, "a?b");
}

static void test_text_clean__every_byte_pair__gives_clean_text(void **state)
{
    (void)state;
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            char in[2] = {(char)a, (char)b}, out[8];
            avow_text_clean(out, sizeof out, (struct avow_str){in, 2});
            if (!avow_utf8_is_valid(str(out)))
                fail_msg("%02x %02x: not UTF-8", a, b);
            for (const char *p = out; *p; p++)
                if ((unsigned char)*p < 0x20 || *p == 0x7f)
                    fail_msg("%02x %02x: a control character", a, b);
            assert_null(strstr(out, "\xc2\x9b"));
        }
    }
}

static void test_text_clean__too_small__cuts_between_characters(void **state)
{
    char out[6];
    (void)state;
    avow_text_clean(out, sizeof out, str("abcdefgh"));
    assert_string_equal(out, "abcde");
    avow_text_clean(out, sizeof out, str("abc\xe6\x97\xa5"));
    assert_string_equal(out, "abc");
    avow_text_clean(out, 1, str("abc"));
    assert_string_equal(out, "");
}

static void test_text_width__counts_characters(void **state)
{
    (void)state;
    assert_int_equal(avow_text_width(""), 0);
    assert_int_equal(avow_text_width("abc"), 3);
    assert_int_equal(avow_text_width("f\xc3\xbcr\xe2\x80\xa6"), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_clean__what_steers_or_hides__is_shown_as_a_question_mark),
        cmocka_unit_test(test_text_clean__a_nul_inside__is_shown),
        cmocka_unit_test(test_text_clean__every_byte_pair__gives_clean_text),
        cmocka_unit_test(test_text_clean__too_small__cuts_between_characters),
        cmocka_unit_test(test_text_width__counts_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
