#include "cli_test.h"

#include "avow/base/bytes.h"
#include "opts.h"

struct line {
    const char *words[8];
    int n;
};
#define LINE(...)                                                                                  \
    {                                                                                              \
        {__VA_ARGS__}, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *))               \
    }

struct values {
    bool flag, other;
    const char *text, *output;
    uint64_t number;
    struct avow_opt_list list;
};

/* Parses with a command's table and a global one; positional words into pos. */
static enum avow_rc parse(const struct line *l, struct values *v, const char *pos[2], size_t *n_pos,
                          struct avow_err *err)
{
    const struct avow_opt own[] = {
        AVOW_FLAG("--flag", &v->flag, "f"),
        AVOW_TEXT("--text", &v->text, "TEXT", "t"),
        AVOW_NUMBER("--number", &v->number, "N", 2, 9, "n"),
        AVOW_LIST("--list", &v->list, "ITEM", "l"),
    };
    const struct avow_opt global[] = {
        {"--json", 0, AVOW_OPT_CONST, &v->output, "json", 0, 0, "j"},
        {"--output", 'o', AVOW_OPT_STR, &v->output, "FORMAT", 0, 0, "o"},
        {"--other", 'x', AVOW_OPT_FLAG, &v->other, NULL, 0, 0, "x"},
    };
    const struct avow_opt_table tables[] = {{own, 4}, {global, 3}};
    char *argv[8];
    char copies[8][64];
    for (int i = 0; i < l->n; i++) {
        snprintf(copies[i], sizeof copies[i], "%s", l->words[i]);
        argv[i] = copies[i];
    }
    *v = (struct values){.number = 5};
    enum avow_rc rc = avow_opts_parse(tables, 2, l->n, argv, pos, 2, n_pos, err);
    /* The copies are gone: what was stored is compared by content of the line itself. */
    for (int i = 0; i < l->n; i++) {
        for (size_t k = 0; k < 2 && !rc && k < *n_pos; k++)
            if (pos[k] == argv[i])
                pos[k] = l->words[i];
        if (v->text && v->text >= argv[i] && v->text < argv[i] + sizeof copies[i])
            v->text = l->words[i] + (v->text - argv[i]);
        if (v->output && v->output >= argv[i] && v->output < argv[i] + sizeof copies[i])
            v->output = l->words[i] + (v->output - argv[i]);
    }
    return rc;
}

static void test_opts_parse__every_spelling__is_the_same(void **state)
{
    static const struct {
        struct line line;
        const char *text, *output;
        uint64_t number;
        bool flag, other;
        const char *pos0, *pos1;
    } cases[] = {
        {LINE("--text", "a", "w"), "a", NULL, 5, false, false, "w", NULL},
        {LINE("w", "--text=a"), "a", NULL, 5, false, false, "w", NULL},
        {LINE("--text="), "", NULL, 5, false, false, NULL, NULL},
        {LINE("--text", "--json"), "--json", NULL, 5, false, false, NULL, NULL}, /* a value */
        {LINE("--text", "a", "--text", "b"), "b", NULL, 5, false, false, NULL, NULL},
        {LINE("-o", "wide"), NULL, "wide", 5, false, false, NULL, NULL},
        {LINE("-owide"), NULL, "wide", 5, false, false, NULL, NULL},
        {LINE("-o=wide"), NULL, "wide", 5, false, false, NULL, NULL},
        {LINE("--output=wide", "--json"), NULL, "json", 5, false, false, NULL, NULL},
        {LINE("--json", "-owide"), NULL, "wide", 5, false, false, NULL, NULL},
        {LINE("-x", "--flag"), NULL, NULL, 5, true, true, NULL, NULL},
        {LINE("--number", "2"), NULL, NULL, 2, false, false, NULL, NULL},
        {LINE("--number=9"), NULL, NULL, 9, false, false, NULL, NULL},
        {LINE("a", "--", "--flag"), NULL, NULL, 5, false, false, "a", "--flag"},
        {LINE("-", "b"), NULL, NULL, 5, false, false, "-", "b"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct values v;
        const char *pos[2] = {NULL, NULL};
        size_t n = 0;
        struct avow_err err = {0};
        char name[32];
        snprintf(name, sizeof name, "case %zu", i);
        assert_code(name, parse(&cases[i].line, &v, pos, &n, &err), AVOW_OK, &err);
        const char *const got[] = {v.text, v.output, pos[0], pos[1]};
        const char *const want[] = {cases[i].text, cases[i].output, cases[i].pos0, cases[i].pos1};
        for (size_t k = 0; k < 4; k++)
            if ((got[k] == NULL) != (want[k] == NULL) || (got[k] && !avow_cstr_eq(got[k], want[k])))
                fail_msg("%s, value %zu: got %s, want %s", name, k, got[k] ? got[k] : "-",
                         want[k] ? want[k] : "-");
        assert_int_equal(v.number, cases[i].number);
        assert_int_equal(v.flag, cases[i].flag);
        assert_int_equal(v.other, cases[i].other);
    }
}

static void test_opts_parse__mistakes__are_usage_errors_that_name_the_option(void **state)
{
    static const struct {
        struct line line;
        const char *says;
    } cases[] = {
        {LINE("--txt", "a"), "unknown option '--txt'; did you mean '--text'?"},
        {LINE("--jsno"), "did you mean '--json'?"},
        {LINE("--frobnicate"), "unknown option '--frobnicate'"},
        {LINE("-z"), "unknown option '-z'"},
        {LINE("--text"), "--text needs a value: TEXT"},
        {LINE("-o"), "-o needs a value: FORMAT"},
        {LINE("--flag=1"), "--flag takes no value"},
        {LINE("--json=1"), "--json takes no value"},
        {LINE("-x1"), "-x takes no value"},
        {LINE("--number", "1"), "--number: 1 is not from 2 to 9"},
        {LINE("--number", "10"), "--number: 10 is not from 2 to 9"},
        {LINE("--number", "-3"), "--number: '-3' is not a number"},
        {LINE("--number", ""), "'' is not a number"},
        {LINE("--number", "99999999999999999999"), "is not a number"},
        {LINE("a", "b", "c"), "unexpected argument 'c'"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct values v;
        const char *pos[2] = {NULL, NULL};
        size_t n = 0;
        struct avow_err err = {0};
        assert_code(cases[i].says, parse(&cases[i].line, &v, pos, &n, &err), AVOW_USAGE, &err);
        assert_contains(cases[i].says, err.msg, cases[i].says);
    }
}

static void test_opts_parse__list__keeps_order_and_has_an_end(void **state)
{
    struct avow_opt_list list = {.count = 0};
    const struct avow_opt opts[] = {AVOW_LIST("--list", &list, "ITEM", "l")};
    const struct avow_opt_table table = {opts, 1};
    char option[] = "--list", a[] = "a", b[] = "b";
    char *argv[2 * (AVOW_OPT_LIST_MAX + 1)];
    struct avow_err err = {0};
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i <= AVOW_OPT_LIST_MAX; i++) {
        argv[2 * i] = option;
        argv[2 * i + 1] = i % 2 ? b : a;
    }
    assert_code("full",
                avow_opts_parse(&table, 1, 2 * (int)AVOW_OPT_LIST_MAX, argv, NULL, 0, &n, &err),
                AVOW_OK, &err);
    assert_int_equal(list.count, AVOW_OPT_LIST_MAX);
    assert_string_equal(list.items[0], "a");
    assert_string_equal(list.items[1], "b");
    list.count = 0;
    assert_code("one too many",
                avow_opts_parse(&table, 1, 2 * (int)AVOW_OPT_LIST_MAX + 2, argv, NULL, 0, &n, &err),
                AVOW_USAGE, &err);
}

static void test_opts_lead__stops_at_the_first_word(void **state)
{
    const char *config = NULL;
    const struct avow_opt opts[] = {AVOW_TEXT("--config", &config, "FILE", "c")};
    const struct avow_opt_table table = {opts, 1};
    char a[] = "--config", b[] = "x", c[] = "agent", d[] = "--unknown";
    char *argv[] = {a, b, c, d};
    struct avow_err err = {0};
    int used = 0;
    (void)state;
    assert_code("lead", avow_opts_lead(&table, 4, argv, &used, &err), AVOW_OK, &err);
    assert_int_equal(used, 2);
    assert_string_equal(config, "x");
    assert_code("no word", avow_opts_lead(&table, 2, argv, &used, &err), AVOW_OK, &err);
    assert_int_equal(used, 2);
    assert_code("unknown", avow_opts_lead(&table, 1, argv + 3, &used, &err), AVOW_USAGE, &err);
}

static void help(void *arg)
{
    const struct avow_opt opts[] = {AVOW_FLAG("--flag", arg, "what it does"),
                                    {"--output", 'o', AVOW_OPT_STR, arg, "FORMAT", 0, 0, "how"},
                                    AVOW_FLAG("--hidden", arg, NULL)};
    avow_opts_help(opts, 3);
}

static void test_opts_help__shows_value_and_letter_but_not_the_undocumented(void **state)
{
    char out[1024];
    bool unused;
    (void)state;
    capture(help, &unused, out, sizeof out);
    assert_contains("flag", out, "  --flag                      what it does\n");
    assert_contains("output", out, "  -o, --output FORMAT         how\n");
    assert_null(strstr(out, "hidden"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opts_parse__every_spelling__is_the_same),
        cmocka_unit_test(test_opts_parse__mistakes__are_usage_errors_that_name_the_option),
        cmocka_unit_test(test_opts_parse__list__keeps_order_and_has_an_end),
        cmocka_unit_test(test_opts_lead__stops_at_the_first_word),
        cmocka_unit_test(test_opts_help__shows_value_and_letter_but_not_the_undocumented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
