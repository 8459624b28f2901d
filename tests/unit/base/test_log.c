#define _GNU_SOURCE /* STDERR_FILENO */
#include "avow/base/log.h"

#include "check.h"
#include "scratch.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

/* The line without its time stamp. */
static const char *after_time(const char *line)
{
    const char *z = strchr(line, 'Z');
    assert_non_null(z);
    return z + 1;
}

static unsigned count_lines(const char *text)
{
    unsigned n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void test_log__text__has_typed_fields(void **state)
{
    static const uint8_t raw[] = {0xab, 0x01};
    (void)state;
    avow_log_init("avow-test", AVOW_LOG_INFO, AVOW_LOG_TEXT);
    capture_begin(STDERR_FILENO);
    avow_log(INFO, "verdict", AVOW_KV_STR("agent", "web-1"), AVOW_KV_U64("seq", UINT64_MAX),
             AVOW_KV_I64("drift", -3), AVOW_KV_BOOL("ok", true),
             AVOW_KV_HEX("pcr", AVOW_BYTES_OF(raw)), AVOW_KV_STR("empty", ""),
             AVOW_KV_STR("null", NULL), AVOW_KV_STR("spaced", "a b"),
             AVOW_KV_STRN("part", ((struct avow_str){"abcdef", 3})));
    assert_string_equal(after_time(capture_end()),
                        " info  avow-test: verdict agent=web-1 seq=18446744073709551615 drift=-3 "
                        "ok=true pcr=ab01 empty=\"\" null=\"\" spaced=\"a b\" part=abc\n");
}

static void test_log__json__is_one_object_a_line(void **state)
{
    static const uint8_t raw[] = {0xab, 0x01};
    (void)state;
    avow_log_init("avow-test", AVOW_LOG_DEBUG, AVOW_LOG_JSON);
    capture_begin(STDERR_FILENO);
    avow_log(DEBUG, "x.y", AVOW_KV_STR("agent", "web-1"), AVOW_KV_U64("seq", 7),
             AVOW_KV_BOOL("ok", false), AVOW_KV_HEX("pcr", AVOW_BYTES_OF(raw)));
    const char *line = capture_end();
    assert_memory_equal(line, "{\"ts\":\"2", 8);
    assert_string_equal(after_time(line),
                        "\",\"level\":\"debug\",\"program\":\"avow-test\",\"event\":\"x.y\","
                        "\"agent\":\"web-1\",\"seq\":7,\"ok\":false,\"pcr\":\"ab01\"}\n");
}

/* What a remote peer puts into a field can neither end a line nor steer a terminal nor break the
 * JSON. */
static void test_log__hostile_text__is_escaped(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"a\nb", "\"a\\nb\""},
        {"a\"b\\", "\"a\\\"b\\\\\""},
        {"\x1b[31m", "\"\\u001b[31m\""},
        {"\x7f", "\"\\u007f\""},
        {"caf\xc3\xa9", "\"caf\xc3\xa9\""},
        {"bad\xff", "\"bad\\u00ff\""},
        {"\xc2\x9b"
         "31m",
         "\"\\u009b31m\""},
        {"\xc2\xa0", "\"\xc2\xa0\""},
        {"k=v", "\"k=v\""},
    };
    (void)state;
    for (int json = 0; json < 2; json++) {
        avow_log_init("p", AVOW_LOG_INFO, json ? AVOW_LOG_JSON : AVOW_LOG_TEXT);
        for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
            char want[128];
            capture_begin(STDERR_FILENO);
            avow_log(INFO, "e", AVOW_KV_STR("k", cases[i].in));
            snprintf(want, sizeof want,
                     json ? "\",\"level\":\"info\",\"program\":\"p\",\"event\":\"e\",\"k\":%s}\n"
                          : " info  p: e k=%s\n",
                     cases[i].out);
            assert_string_equal(after_time(capture_end()), want);
        }
    }
}

static void test_log__level_above_max__is_silent(void **state)
{
    (void)state;
    avow_log_init("p", AVOW_LOG_WARN, AVOW_LOG_TEXT);
    capture_begin(STDERR_FILENO);
    avow_log(INFO, "no", AVOW_KV_U64("n", 1));
    avow_log_limited(DEBUG, "no", 10, AVOW_KV_U64("n", 1));
    avow_log(WARN, "yes", AVOW_KV_U64("n", 1));
    avow_log(ERROR, "yes", AVOW_KV_U64("n", 2));
    const char *text = capture_end();
    assert_int_equal(count_lines(text), 2);
    assert_null(strstr(text, "no"));
}

static void test_log__very_long_values__are_cut_between_characters(void **state)
{
    static char text[3001];
    struct avow_kv many[40];
    (void)state;
    for (size_t i = 0; i + 1 < sizeof text; i++)
        text[i] = i % 2 ? '\xa9' : '\xc3';
    memmove(text + 1, text, sizeof text - 2);
    text[0] = 'x'; /* now a character lies across the cut */
    avow_log_init("p", AVOW_LOG_INFO, AVOW_LOG_JSON);
    capture_begin(STDERR_FILENO);
    avow_log(INFO, "e", AVOW_KV_STRN("k", ((struct avow_str){text, 2999})));
    const char *line = capture_end();
    assert_true(avow_utf8_is_valid(avow_str_from(line)));
    assert_non_null(strstr(line, "\xc3\xa9...\"}\n"));
    assert_true(strlen(line) < 1200);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(many); i++)
        many[i] = AVOW_KV_STRN("k", ((struct avow_str){text, 2999}));
    capture_begin(STDERR_FILENO);
    avow_log_write(AVOW_LOG_INFO, "big", many, AVOW_ARRAY_LEN(many));
    line = capture_end();
    assert_non_null(strstr(line, "\"event\":\"big\",\"log\":\"fields dropped"));
    assert_int_equal(count_lines(line), 1);
}

static void test_log_limited__flood__writes_only_the_allowed_lines(void **state)
{
    (void)state;
    avow_log_init("p", AVOW_LOG_INFO, AVOW_LOG_TEXT);
    capture_begin(STDERR_FILENO);
    for (unsigned i = 0; i < 100; i++)
        avow_log_limited(WARN, "test.flood", 3, AVOW_KV_U64("i", i));
    const char *text = capture_end();
    assert_int_equal(count_lines(text), 3);
    assert_non_null(strstr(text, "i=2\n"));
}

static void *log_many(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < 200; i++) {
        avow_log(INFO, "thread", AVOW_KV_U64("i", i), AVOW_KV_STR("s", "0123456789"));
        avow_log_limited(INFO, "thread.limited", 5, AVOW_KV_U64("i", i));
    }
    return NULL;
}

static void test_log__threads__lines_stay_whole(void **state)
{
    pthread_t threads[4];
    (void)state;
    avow_log_init("p", AVOW_LOG_INFO, AVOW_LOG_TEXT);
    capture_begin(STDERR_FILENO);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, NULL), 0);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    const char *text = capture_end();
    unsigned limited = 0;
    for (const char *p = text; *p; p = strchr(p, '\n') + 1) {
        limited += !strncmp(after_time(p), " info  p: thread.limited i=", 27);
        assert_true(!strncmp(after_time(p), " info  p: thread", 16));
    }
    assert_int_equal(limited, 5);
    assert_int_equal(count_lines(text), 805);
}

static void test_log_parse__words__are_exact(void **state)
{
    enum avow_log_level level = AVOW_LOG_DEBUG;
    enum avow_log_format format = AVOW_LOG_TEXT;
    (void)state;
    assert_true(avow_log_level_parse("error", &level) && level == AVOW_LOG_ERROR);
    assert_true(avow_log_level_parse("debug", &level) && level == AVOW_LOG_DEBUG);
    assert_false(avow_log_level_parse("Debug", &level) || avow_log_level_parse("", &level));
    assert_true(avow_log_format_parse("json", &format) && format == AVOW_LOG_JSON);
    assert_true(avow_log_format_parse("text", &format) && format == AVOW_LOG_TEXT);
    assert_false(avow_log_format_parse("jso", &format));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log__text__has_typed_fields),
        cmocka_unit_test(test_log__json__is_one_object_a_line),
        cmocka_unit_test(test_log__hostile_text__is_escaped),
        cmocka_unit_test(test_log__level_above_max__is_silent),
        cmocka_unit_test(test_log__very_long_values__are_cut_between_characters),
        cmocka_unit_test(test_log_limited__flood__writes_only_the_allowed_lines),
        cmocka_unit_test(test_log__threads__lines_stay_whole),
        cmocka_unit_test(test_log_parse__words__are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
