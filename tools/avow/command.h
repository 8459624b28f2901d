/* command.h - the beginning of every command: its options, its help, its configuration. Layer:
 * tools/avow. */
#ifndef AVOW_TOOLS_COMMAND_H
#define AVOW_TOOLS_COMMAND_H

#include "context.h"

#define AVOW_COMMAND_WORDS_MAX 2u

struct avow_command {
    const char *name;  /* "agent add" */
    const char *words; /* of the usage line: "ID", "NAME FILE", "[ID]", "" */
    const char *about; /* paragraphs for --help, with the exit codes that mean something */
    const struct avow_opt *opts;
    size_t n_opts;
    size_t min_words, max_words; /* at most AVOW_COMMAND_WORDS_MAX */
    bool offline;                /* reads no configuration */
};

/* Options that stand anywhere on the line, and those that stand alone. */
#define AVOW_GLOBALS_MAX 12u
struct avow_opt_table avow_globals_table(struct avow_cli_globals *g, bool with_command,
                                         struct avow_opt storage[AVOW_GLOBALS_MAX]);
/* Parses the line into the command's options and `pos` (NULL where no word was given), serves
 * --help, chooses the output format and loads the configuration. False: the command is over, with
 * *code. */
bool avow_command_begin(struct avow_cli *cli, const struct avow_command *c, int argc, char **argv,
                        const char *pos[AVOW_COMMAND_WORDS_MAX],
                        enum avow_exit *code) AVOW_MUST_CHECK;
/* Output format and log, from the global options. False: a usage error was printed. */
bool avow_cli_choose_output(struct avow_cli *cli);
/* Loads cli->conf. */
enum avow_rc avow_cli_load_conf(struct avow_cli *cli, struct avow_err *err) AVOW_MUST_CHECK;

#endif
