/* opts.h - options as tables, parsed anywhere on the line. Layer: tools/avow. Pure but for the
 * help. `--name value`, `--name=value`, `-x value`, `-xvalue` and `-x=value` are the same; the last
 * of several wins; after `--` everything is a word, and `-` is a word. */
#ifndef AVOW_TOOLS_OPTS_H
#define AVOW_TOOLS_OPTS_H

#include "avow/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum avow_opt_kind { AVOW_OPT_FLAG, AVOW_OPT_STR, AVOW_OPT_U64, AVOW_OPT_LIST, AVOW_OPT_CONST };

#define AVOW_OPT_LIST_MAX 32u
struct avow_opt_list {
    const char *items[AVOW_OPT_LIST_MAX];
    size_t count;
};

struct avow_opt {
    const char *name; /* "--kind" */
    char letter;      /* 'k' for -k; 0: none */
    enum avow_opt_kind kind;
    void *out;         /* bool *, const char **, uint64_t *, struct avow_opt_list * */
    const char *value; /* name of the value in --help; CONST: what *out becomes; FLAG: NULL */
    uint64_t min, max; /* U64 */
    const char *doc;   /* NULL: not shown in --help */
};
#define AVOW_FLAG(name, var, doc)                                                                  \
    {                                                                                              \
        name, 0, AVOW_OPT_FLAG, var, NULL, 0, 0, doc                                               \
    }
#define AVOW_TEXT(name, var, value, doc)                                                           \
    {                                                                                              \
        name, 0, AVOW_OPT_STR, var, value, 0, 0, doc                                               \
    }
#define AVOW_NUMBER(name, var, value, min, max, doc)                                               \
    {                                                                                              \
        name, 0, AVOW_OPT_U64, var, value, min, max, doc                                           \
    }
#define AVOW_LIST(name, var, value, doc)                                                           \
    {                                                                                              \
        name, 0, AVOW_OPT_LIST, var, value, 0, 0, doc                                              \
    }

struct avow_opt_table {
    const struct avow_opt *opts;
    size_t count;
};

/* argc and argv are the words after the command. Options are looked up in the tables in order; the
 * others are left, in order, in pos[0..*n_pos). Errors: AVOW_USAGE, the message names the option,
 * and the nearest one if it is unknown. */
enum avow_rc avow_opts_parse(const struct avow_opt_table *tables, size_t n_tables, int argc,
                             char **argv, const char **pos, size_t max_pos, size_t *n_pos,
                             struct avow_err *err) AVOW_MUST_CHECK;
/* Takes the options in front of the first word; *used is its index, or argc. */
enum avow_rc avow_opts_lead(const struct avow_opt_table *table, int argc, char **argv, int *used,
                            struct avow_err *err) AVOW_MUST_CHECK;
/* Prints the options, one a line. */
void avow_opts_help(const struct avow_opt *opts, size_t n_opts);

#endif
