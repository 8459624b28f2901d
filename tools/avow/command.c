#define _GNU_SOURCE /* environ */
#include "command.h"

#include "avow/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

struct avow_opt_table avow_globals_table(struct avow_cli_globals *g, bool with_command,
                                         struct avow_opt storage[AVOW_GLOBALS_MAX])
{
    const struct avow_opt globals[] = {
        AVOW_TEXT("--config", &g->config, "FILE", "instead of /etc/avow/avow.conf"),
        AVOW_LIST("--set", &g->sets, "SECTION.KEY=VALUE", "one setting"),
        {"--json", 0, AVOW_OPT_CONST, &g->output, "json", 0, 0,
         "results as JSON; the same as -o json"},
        {"--output", 'o', AVOW_OPT_STR, &g->output, "FORMAT", 0, 0,
         "table (default), wide or json"},
        AVOW_TEXT("--log-level", &g->log_level, "LEVEL", "error (default), warn, info or debug"),
        {"--help", 'h', AVOW_OPT_FLAG, &g->help, NULL, 0, 0, "this text"},
        AVOW_FLAG("--version", &g->version, "print the version"),
        AVOW_FLAG("--print-config", &g->print_config, "show the settings and where they come from"),
        AVOW_FLAG("--check-config", &g->check_config, "exit 0 if the configuration is good"),
        AVOW_FLAG("--sample-config", &g->sample_config, "print a commented configuration file"),
    };
    const size_t alone = 4; /* at the end of the table */
    size_t n = AVOW_ARRAY_LEN(globals) - (with_command ? alone : 0);
    memcpy(storage, globals, n * sizeof *storage);
    return (struct avow_opt_table){storage, n};
}

bool avow_cli_choose_output(struct avow_cli *cli)
{
    static const char *const names[] = {"table", "wide", "json"};
    const char *wanted = cli->globals.output ? cli->globals.output : "table";
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    enum avow_log_level level = AVOW_LOG_ERROR;
    if (cli->globals.log_level && !avow_log_level_parse(cli->globals.log_level, &level)) {
        avow_cli_note("--log-level: '%s' is not error, warn, info or debug",
                      cli->globals.log_level);
        return false;
    }
    avow_log_init("avow", level, AVOW_LOG_TEXT);
    cli->color =
        isatty(STDOUT_FILENO) && !(no_color && *no_color) && !(term && avow_cstr_eq(term, "dumb"));
    for (size_t i = 0; i < AVOW_ARRAY_LEN(names); i++) {
        if (avow_cstr_eq(wanted, names[i])) {
            cli->format = (enum avow_cli_format)i;
            return true;
        }
    }
    avow_cli_note("-o: '%s' is not table, wide or json", wanted);
    return false;
}

enum avow_rc avow_cli_load_conf(struct avow_cli *cli, struct avow_err *err)
{
    return avow_conf_load(&avow_cli_conf_spec, cli->globals.config, cli->globals.sets.items,
                          cli->globals.sets.count, environ, &cli->conf, err);
}

static void print_help(const struct avow_command *c)
{
    printf("usage: avow %s%s%s [OPTION...]\n\n%s\n", c->name, *c->words ? " " : "", c->words,
           c->about);
    if (c->n_opts) {
        printf("\noptions:\n");
        avow_opts_help(c->opts, c->n_opts);
    }
    printf("\n'avow --help' shows the options that all commands have.\n");
}

/* A command that reads no configuration must not seem to obey one. */
static enum avow_rc check_offline(const struct avow_cli *cli, const struct avow_command *c,
                                  struct avow_err *err)
{
    if (c->offline && (cli->globals.config || cli->globals.sets.count))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "this command reads no configuration: --config and --set have no "
                            "meaning");
    return AVOW_OK;
}

bool avow_command_begin(struct avow_cli *cli, const struct avow_command *c, int argc, char **argv,
                        const char *pos[AVOW_COMMAND_WORDS_MAX], enum avow_exit *code)
{
    struct avow_opt storage[AVOW_GLOBALS_MAX];
    const struct avow_opt_table tables[] = {{c->opts, c->n_opts},
                                            avow_globals_table(&cli->globals, true, storage)};
    struct avow_err err = {.rc = AVOW_OK};
    size_t n = 0;
    enum avow_rc rc =
        avow_opts_parse(tables, AVOW_ARRAY_LEN(tables), argc, argv, pos, c->max_words, &n, &err);
    *code = AVOW_EXIT_OK;
    if (!rc && cli->globals.help) {
        print_help(c);
        return false;
    }
    if (!rc && n < c->min_words)
        rc = avow_err_set(&err, AVOW_USAGE, 0, "needs %s", c->words);
    if (!rc)
        rc = check_offline(cli, c, &err);
    if (rc) {
        (void)avow_err_wrap(&err, rc, "%s", c->name);
        *code = avow_cli_usage(c->name, &err);
        return false;
    }
    *code = AVOW_EXIT_USAGE;
    if (!avow_cli_choose_output(cli))
        return false;
    rc = c->offline ? AVOW_OK : avow_cli_load_conf(cli, &err);
    if (rc)
        *code = avow_cli_fail(cli, rc, &err);
    else
        *code = AVOW_EXIT_OK;
    return !rc;
}
