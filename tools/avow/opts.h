/* opts.h - options of one command: a table, parsed anywhere on the line. Layer: tools/avow. */
#ifndef AVOW_TOOLS_OPTS_H
#define AVOW_TOOLS_OPTS_H

#include "avow/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum avow_opt_kind { AVOW_OPT_FLAG, AVOW_OPT_STR, AVOW_OPT_U64, AVOW_OPT_LIST };

#define AVOW_OPT_LIST_MAX 16u
struct avow_opt_list {
    const char *items[AVOW_OPT_LIST_MAX];
    size_t count;
};

struct avow_opt {
    const char *name; /* "--kind" */
    enum avow_opt_kind kind;
    void *out;         /* bool *, const char **, uint64_t *, struct avow_opt_list * */
    const char *value; /* name of the value in --help, NULL for flags */
    const char *doc;
};

/* Takes the options out of argv (n words after the command) and leaves the positional words, in
 * order, in pos[0..*n_pos). Errors: AVOW_USAGE with a message that names the option. */
enum avow_rc avow_opts_parse(const struct avow_opt *opts, size_t n_opts, int argc, char **argv,
                             const char **pos, size_t max_pos, size_t *n_pos,
                             struct avow_err *err) AVOW_MUST_CHECK;
/* Prints the options, one a line. */
void avow_opts_help(const struct avow_opt *opts, size_t n_opts);

#endif
