#include "opts.h"

#include "avow/base/bytes.h"
#include "avow/base/num.h"
#include "suggest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define NAMES_MAX 64u
#define WORD_SHOWN 100 /* of what was typed, in a message */

/* A word that is no option: "-" is standard input. */
static bool is_word(const char *arg)
{
    return arg[0] != '-' || arg[1] == '\0';
}

/* One option as it stands on the line. */
struct given {
    const struct avow_opt *opt;
    const char *name;  /* for messages: "--kind" or "-k" */
    const char *value; /* behind '=' or the letter; NULL: not there */
    char letter_name[3];
};

static const struct avow_opt *find_long(const struct avow_opt_table *t, struct avow_str name)
{
    for (size_t i = 0; i < t->count; i++)
        if (avow_str_is(name, t->opts[i].name))
            return &t->opts[i];
    return NULL;
}

static const struct avow_opt *find_letter(const struct avow_opt_table *t, char letter)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->opts[i].letter == letter)
            return &t->opts[i];
    return NULL;
}

static bool takes_value(const struct avow_opt *o)
{
    return o->kind != AVOW_OPT_FLAG && o->kind != AVOW_OPT_CONST;
}

static bool split(const struct avow_opt_table *tables, size_t n, const char *arg, struct given *g)
{
    *g = (struct given){.opt = NULL};
    if (arg[1] != '-') {
        g->letter_name[0] = '-';
        g->letter_name[1] = arg[1];
        g->name = g->letter_name;
        for (size_t i = 0; i < n && !g->opt; i++)
            g->opt = find_letter(&tables[i], arg[1]);
        if (arg[2])
            g->value = arg[2] == '=' ? arg + 3 : arg + 2;
        return g->opt != NULL;
    }
    const char *equals = strchr(arg, '=');
    struct avow_str name = {arg, equals ? (size_t)(equals - arg) : strlen(arg)};
    for (size_t i = 0; i < n && !g->opt; i++)
        g->opt = find_long(&tables[i], name);
    g->value = equals ? equals + 1 : NULL;
    if (g->opt)
        g->name = g->opt->name;
    return g->opt != NULL;
}

static enum avow_rc unknown_option(const struct avow_opt_table *tables, size_t n, const char *arg,
                                   struct avow_err *err)
{
    const char *names[NAMES_MAX];
    char typed[64];
    size_t count = 0;
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < tables[t].count && count < NAMES_MAX; i++)
            names[count++] = tables[t].opts[i].name;
    struct avow_str name = {arg, strcspn(arg, "=")};
    const char *near =
        avow_str_copy(typed, sizeof typed, name) ? avow_suggest(typed, names, count) : NULL;
    return near ? avow_err_set(err, AVOW_USAGE, 0, "unknown option '%.*s'; did you mean '%s'?",
                               WORD_SHOWN, arg, near)
                : avow_err_set(err, AVOW_USAGE, 0, "unknown option '%.*s'", WORD_SHOWN, arg);
}

static enum avow_rc store_number(const struct avow_opt *o, const char *name, const char *value,
                                 struct avow_err *err)
{
    uint64_t v = 0;
    if (!avow_num_parse_u64(avow_str_from(value), UINT64_MAX, &v))
        return avow_err_set(err, AVOW_USAGE, 0, "%s: '%.*s' is not a number", name, WORD_SHOWN,
                            value);
    if (v < o->min && o->max == UINT64_MAX)
        return avow_err_set(err, AVOW_USAGE, 0, "%s: %" PRIu64 " is less than %" PRIu64, name, v,
                            o->min);
    if (v < o->min || v > o->max)
        return avow_err_set(err, AVOW_USAGE, 0,
                            "%s: %" PRIu64 " is not from %" PRIu64 " to %" PRIu64, name, v, o->min,
                            o->max);
    *(uint64_t *)o->out = v;
    return AVOW_OK;
}

static enum avow_rc store(const struct given *g, const char *value, struct avow_err *err)
{
    const struct avow_opt *o = g->opt;
    struct avow_opt_list *list = o->out;
    switch (o->kind) {
    case AVOW_OPT_FLAG:
        *(bool *)o->out = true;
        break;
    case AVOW_OPT_CONST:
        *(const char **)o->out = o->value;
        break;
    case AVOW_OPT_STR:
        *(const char **)o->out = value;
        break;
    case AVOW_OPT_U64:
        return store_number(o, g->name, value, err);
    case AVOW_OPT_LIST:
        if (list->count == AVOW_OPT_LIST_MAX)
            return avow_err_set(err, AVOW_USAGE, 0, "%s: given more than %u times", g->name,
                                AVOW_OPT_LIST_MAX);
        list->items[list->count++] = value;
        break;
    }
    return AVOW_OK;
}

/* The option at argv[*i]; *i is left at its last word. */
static enum avow_rc take(const struct avow_opt_table *tables, size_t n, int argc, char **argv,
                         int *i, struct avow_err *err)
{
    struct given g;
    if (!split(tables, n, argv[*i], &g))
        return unknown_option(tables, n, argv[*i], err);
    if (!takes_value(g.opt)) {
        if (g.value)
            return avow_err_set(err, AVOW_USAGE, 0, "%s takes no value", g.name);
        return store(&g, NULL, err);
    }
    if (!g.value && *i + 1 == argc)
        return avow_err_set(err, AVOW_USAGE, 0, "%s needs a value: %s", g.name, g.opt->value);
    return store(&g, g.value ? g.value : argv[++*i], err);
}

enum avow_rc avow_opts_parse(const struct avow_opt_table *tables, size_t n_tables, int argc,
                             char **argv, const char **pos, size_t max_pos, size_t *n_pos,
                             struct avow_err *err)
{
    size_t count = 0;
    bool only_words = false;
    for (int i = 0; i < argc; i++) {
        if (!only_words && avow_cstr_eq(argv[i], "--")) {
            only_words = true;
        } else if (!only_words && !is_word(argv[i])) {
            enum avow_rc rc = take(tables, n_tables, argc, argv, &i, err);
            if (rc)
                return rc;
        } else {
            if (count == max_pos)
                return avow_err_set(err, AVOW_USAGE, 0, "unexpected argument '%.*s'", WORD_SHOWN,
                                    argv[i]);
            pos[count++] = argv[i];
        }
    }
    *n_pos = count;
    return AVOW_OK;
}

enum avow_rc avow_opts_lead(const struct avow_opt_table *table, int argc, char **argv, int *used,
                            struct avow_err *err)
{
    int i = 0;
    for (; i < argc && !is_word(argv[i]); i++) {
        enum avow_rc rc = take(table, 1, argc, argv, &i, err);
        if (rc)
            return rc;
    }
    *used = i;
    return AVOW_OK;
}

void avow_opts_help(const struct avow_opt *opts, size_t n_opts)
{
    for (size_t i = 0; i < n_opts; i++) {
        const struct avow_opt *o = &opts[i];
        char left[64], letter[] = "-x, ";
        letter[1] = o->letter;
        if (!o->doc)
            continue;
        bool shown = takes_value(o);
        snprintf(left, sizeof left, "%s%s%s%s", o->letter ? letter : "", o->name, shown ? " " : "",
                 shown ? o->value : "");
        printf("  %-27s %s\n", left, o->doc);
    }
}
