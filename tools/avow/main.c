/* avow - the tenant CLI. */
#include "commands.h"

#include "avow/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

extern char **environ;

struct command {
    const char *name; /* one or two words */
    enum avow_exit (*run)(struct avow_cli *cli, int argc, char **argv);
    const char *summary;
};

static const struct command commands[] = {
    {"init", avow_cmd_init, "make keys, trust bundle, TLS material and sample configuration"},
    {"topics apply", avow_cmd_topics_apply, "create the topics and publish the trust bundle"},
    {"topics check", avow_cmd_topics_check, "say what differs from what Avow needs"},
    {"policy push", avow_cmd_policy_push, "publish a policy under a name"},
    {"policy list", avow_cmd_policy_list, "list the policies"},
    {"policy get", avow_cmd_policy_get, "print a policy as it was pushed"},
    {"agent add", avow_cmd_agent_add, "enrol an agent and wait for its first verdict"},
    {"agent rm", avow_cmd_agent_rm, "end an enrolment"},
    {"agent list", avow_cmd_agent_list, "list the enrolled agents with their status"},
    {"agent status", avow_cmd_agent_status, "show one agent"},
    {"agent watch", avow_cmd_agent_watch, "show changes of status as they happen"},
    {"verdict tail", avow_cmd_verdict_tail, "print verdicts"},
    {"revocation tail", avow_cmd_revocation_tail, "print revocations"},
};

struct globals {
    const char *config;
    const char *sets[32];
    size_t n_sets;
    bool json;
    const char *output;
    const char *log_level;
};

static void print_help(void)
{
    printf("avow - push-model TPM attestation over Kafka: the operator's tool\n\n"
           "usage: avow [OPTION...] COMMAND [ARGUMENT...]\n\ncommands:\n");
    for (size_t i = 0; i < AVOW_ARRAY_LEN(commands); i++)
        printf("  %-18s %s\n", commands[i].name, commands[i].summary);
    printf("\noptions, before or after the command:\n"
           "  --config FILE            instead of /etc/avow/avow.conf\n"
           "  --set SECTION.KEY=VALUE  one setting\n"
           "  --json, -o json          machine-readable results\n"
           "  -o table|wide            for people (default: table)\n"
           "  --print-config           show the settings and where they come from\n"
           "  --log-level LEVEL        error, warn (default), info or debug\n"
           "  --help, --version\n\n"
           "exit codes: 0 done or trusted, 1 failed, 2 usage, 3 unreachable, 4 untrusted, "
           "5 not found\n"
           "'avow COMMAND --help' explains a command.\n");
}

/* A global option at argv[i]; returns how many words it takes, 0 if it is none, -1 if its value is
 * missing. */
static int take_global(struct globals *g, int argc, char **argv, int i)
{
    const struct {
        const char *name;
        const char **out;
    } valued[] = {{"--config", &g->config}, {"-o", &g->output}, {"--log-level", &g->log_level}};
    for (size_t k = 0; k < AVOW_ARRAY_LEN(valued); k++) {
        if (!avow_cstr_eq(argv[i], valued[k].name))
            continue;
        if (i + 1 == argc)
            return -1;
        *valued[k].out = argv[i + 1];
        return 2;
    }
    if (avow_cstr_eq(argv[i], "--set")) {
        if (i + 1 == argc || g->n_sets == AVOW_ARRAY_LEN(g->sets))
            return -1;
        g->sets[g->n_sets++] = argv[i + 1];
        return 2;
    }
    if (avow_cstr_eq(argv[i], "--json")) {
        g->json = true;
        return 1;
    }
    return 0;
}

/* Removes global options from argv, wherever they stand. */
static bool strip_globals(struct globals *g, int *argc, char **argv)
{
    int kept = 1;
    for (int i = 1; i < *argc;) {
        int words = take_global(g, *argc, argv, i);
        if (words < 0) {
            fprintf(stderr, "avow: %s needs a value\ntry 'avow --help'\n", argv[i]);
            return false;
        }
        if (words == 0)
            argv[kept++] = argv[i++];
        i += words;
    }
    *argc = kept;
    return true;
}

static const struct command *find_command(int argc, char **argv, int *words)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(commands); i++) {
        char joined[64];
        bool two = strchr(commands[i].name, ' ') != NULL;
        if (two && argc < 3)
            continue;
        snprintf(joined, sizeof joined, "%s%s%s", argv[1], two ? " " : "", two ? argv[2] : "");
        if (avow_cstr_eq(joined, commands[i].name)) {
            *words = two ? 2 : 1;
            return &commands[i];
        }
    }
    return NULL;
}

static enum avow_exit unknown_command(int argc, char **argv)
{
    bool group = false;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(commands); i++) {
        size_t len = strlen(argv[1]);
        if (!strncmp(commands[i].name, argv[1], len) && commands[i].name[len] == ' ') {
            if (!group)
                fprintf(stderr, "avow: '%s%s%s' is no command; there are:\n", argv[1],
                        argc > 2 ? " " : "", argc > 2 ? argv[2] : "");
            group = true;
            fprintf(stderr, "  avow %-18s %s\n", commands[i].name, commands[i].summary);
        }
    }
    if (!group)
        fprintf(stderr, "avow: unknown command '%s'\ntry 'avow --help'\n", argv[1]);
    return AVOW_EXIT_USAGE;
}

static bool choose_format(const struct globals *g, struct avow_cli *cli)
{
    const char *o = g->json ? "json" : g->output ? g->output : "table";
    const char *const names[] = {"table", "wide", "json"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(names); i++) {
        if (avow_cstr_eq(o, names[i])) {
            cli->format = (enum avow_cli_format)i;
            cli->color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
            return true;
        }
    }
    fprintf(stderr, "avow: -o: '%s' is not json, table or wide\n", o);
    return false;
}

static enum avow_exit print_config(const struct avow_cli *cli)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, 1024 * 1024);
    avow_conf_print(cli->conf, &text);
    fputs(avow_buf_cstr(&text), stdout);
    return avow_buf_status(&text, NULL) ? AVOW_EXIT_FAILED : AVOW_EXIT_OK;
}

static enum avow_exit run(struct avow_cli *cli, const struct globals *g, int argc, char **argv)
{
    struct avow_err err;
    enum avow_log_level level = AVOW_LOG_WARN;
    int words = 0;
    if (g->log_level && !avow_log_level_parse(g->log_level, &level)) {
        fprintf(stderr, "avow: --log-level: '%s' is not error, warn, info or debug\n",
                g->log_level);
        return AVOW_EXIT_USAGE;
    }
    avow_log_init("avow", level, AVOW_LOG_TEXT);
    if (!choose_format(g, cli))
        return AVOW_EXIT_USAGE;
    enum avow_rc rc = avow_conf_load(&avow_cli_conf_spec, g->config, g->sets, g->n_sets, environ,
                                     &cli->conf, &err);
    if (rc)
        return avow_cli_fail(rc, &err);
    if (avow_cstr_eq(argv[1], "--print-config"))
        return print_config(cli);
    const struct command *c = find_command(argc, argv, &words);
    return c ? c->run(cli, argc - 1 - words, argv + 1 + words) : unknown_command(argc, argv);
}

int main(int argc, char **argv)
{
    struct globals g = {0};
    struct avow_cli cli = {0};
    if (!strip_globals(&g, &argc, argv))
        return AVOW_EXIT_USAGE;
    if (argc < 2) {
        fprintf(stderr, "avow: no command given\ntry 'avow --help'\n");
        return AVOW_EXIT_USAGE;
    }
    if (avow_cstr_eq(argv[1], "--help") || avow_cstr_eq(argv[1], "help")) {
        print_help();
        return AVOW_EXIT_OK;
    }
    if (avow_cstr_eq(argv[1], "--version")) {
        printf("avow %s\n", avow_version);
        return AVOW_EXIT_OK;
    }
    enum avow_exit code = run(&cli, &g, argc, argv);
    avow_cli_deinit(&cli);
    return (int)code;
}
