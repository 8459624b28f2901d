#include "cli_test.h"

#include "suggest.h"

static void test_edit_distance__table(void **state)
{
    static const struct {
        const char *a, *b;
        size_t want;
    } cases[] = {
        {"", "", 0},        {"", "abc", 3},       {"abc", "", 3},         {"list", "list", 0},
        {"lst", "list", 1}, {"lists", "list", 1}, {"lisp", "list", 1},    {"lsit", "list", 1},
        {"ab", "ba", 1},    {"ca", "abc", 3},     {"status", "watch", 4}, {"kitten", "sitting", 3},
    };
    char longer[80];
    (void)state;
    memset(longer, 'a', sizeof longer);
    longer[79] = '\0';
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t got = avow_edit_distance(cases[i].a, cases[i].b);
        if (got != cases[i].want)
            fail_msg("%s, %s: got %zu, want %zu", cases[i].a, cases[i].b, got, cases[i].want);
        assert_int_equal(avow_edit_distance(cases[i].b, cases[i].a), got);
    }
    assert_int_equal(avow_edit_distance(longer, "a"), SIZE_MAX);
    longer[63] = '\0'; /* the longest word */
    assert_int_equal(avow_edit_distance(longer, "a"), 62);
}

static void test_suggest__table(void **state)
{
    static const char *const names[] = {"init", "agent add", "agent rm", "agent list",
                                        "agent watch"};
    static const struct {
        const char *typed, *want;
    } cases[] = {
        {"inti", "init"},
        {"agnet list", "agent list"},
        {"agent lits", "agent list"},
        {"agent wach", "agent watch"},
        {"agents add", "agent add"},
        {"frobnicate", NULL},
        {"x", NULL},
        {"", NULL},
        {"agent", NULL},
        {"agent list", "agent list"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = avow_suggest(cases[i].typed, names, sizeof names / sizeof *names);
        if ((got == NULL) != (cases[i].want == NULL) || (got && strcmp(got, cases[i].want)))
            fail_msg("%s: got %s, want %s", cases[i].typed, got ? got : "-",
                     cases[i].want ? cases[i].want : "-");
    }
    assert_null(avow_suggest("init", names, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edit_distance__table),
        cmocka_unit_test(test_suggest__table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
