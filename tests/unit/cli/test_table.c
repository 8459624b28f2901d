#include "cli_test.h"

#include "table.h"

struct printing {
    struct avow_table *table;
    bool color;
    enum avow_rc rc;
};

static void print(void *arg)
{
    struct printing *p = arg;
    p->rc = avow_table_print(p->table, p->color, NULL);
}

static const char *const TITLES[] = {"AGENT", "STATUS", "NOTE"};

static void test_table_print__aligns_columns_and_leaves_no_blanks_at_the_end(void **state)
{
    struct avow_table t;
    struct printing p = {.table = &t};
    char out[2048];
    (void)state;
    avow_table_init(&t, TITLES, 3);
    avow_table_cell(&t, "%s", "f\xc3\xbcr");
    avow_table_cell(&t, "trusted");
    avow_table_cell(&t, "%s", "");
    avow_table_cell(&t, "a-long-name");
    avow_table_cell(&t, "%s", "");
    avow_table_cell(&t, "%d", 7);
    capture(print, &p, out, sizeof out);
    avow_table_deinit(&t);
    assert_int_equal(p.rc, AVOW_OK);
    assert_string_equal(out, "AGENT        STATUS   NOTE\n"
                             "f\xc3\xbcr          trusted\n"
                             "a-long-name           7\n");
}

static void test_table_cell__hostile_text__is_cleaned(void **state)
{
    struct avow_table t;
    struct printing p = {.table = &t};
    char out[2048];
    (void)state;
    avow_table_init(&t, TITLES, 3);
    avow_table_cell(&t, "%s", "a\x1b[2J\nb");
    avow_table_cell(&t, "x");
    avow_table_cell(&t, "y");
    capture(print, &p, out, sizeof out);
    avow_table_deinit(&t);
    assert_contains("cell", out, "a?[2J?b");
    assert_null(strchr(out, '\x1b'));
}

static void test_table_print__color__is_on_status_words_only(void **state)
{
    struct avow_table t;
    struct printing p = {.table = &t, .color = true};
    char out[2048];
    (void)state;
    avow_table_init(&t, TITLES, 3);
    avow_table_cell(&t, "web");
    avow_table_cell(&t, "untrusted");
    avow_table_cell(&t, "not trusted by me");
    capture(print, &p, out, sizeof out);
    avow_table_deinit(&t);
    assert_contains("status", out, "web    \x1b[1;31muntrusted\x1b[0m  not trusted by me\n");
}

static void test_status_color__without_color__is_empty(void **state)
{
    (void)state;
    assert_string_equal(avow_status_color("trusted", false), "");
    assert_string_equal(avow_color_reset(false), "");
    assert_string_equal(avow_status_color("trusted", true), "\x1b[32m");
    assert_string_equal(avow_status_color("whatever", true), "");
    assert_string_not_equal(avow_status_color("expired", true), avow_status_color("trusted", true));
}

static void test_age_text__table(void **state)
{
    static const struct {
        uint64_t ms;
        const char *want;
    } cases[] = {{0, "0 s"},          {999, "0 s"},         {119999, "119 s"},
                 {120000, "2 min"},   {7199999, "119 min"}, {7200000, "2 h"},
                 {172799999, "47 h"}, {172800000, "2 d"},   {UINT64_MAX, "213503982334 d"}};
    char out[24];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(avow_age_text(cases[i].ms, out), cases[i].want);
    assert_string_equal(avow_since_text(0, 5, out), "never");
    assert_string_equal(avow_since_text(1000, 6000, out), "5 s");
    assert_string_equal(avow_since_text(9000, 6000, out), "0 s"); /* their clock is ahead */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_print__aligns_columns_and_leaves_no_blanks_at_the_end),
        cmocka_unit_test(test_table_cell__hostile_text__is_cleaned),
        cmocka_unit_test(test_table_print__color__is_on_status_words_only),
        cmocka_unit_test(test_status_color__without_color__is_empty),
        cmocka_unit_test(test_age_text__table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
