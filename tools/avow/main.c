/* avow - the tenant CLI. */
#define _GNU_SOURCE /* sigaction, open */
#include "commands.h"

#include "suggest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

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
    {"policy rm", avow_cmd_policy_rm, "take a policy out of use"},
    {"policy create", avow_cmd_policy_create, "write a policy from lists and logs: create runtime"},
    {"policy convert", avow_cmd_policy_convert, "write an older form as the newest one"},
    {"policy diff", avow_cmd_policy_diff, "say what a new policy adds and removes"},
    {"policy test", avow_cmd_policy_test, "read a policy, and judge a measurement list by it"},
    {"policy sign", avow_cmd_policy_sign, "put a policy into a signed envelope"},
    {"policy verify", avow_cmd_policy_verify, "check who signed an envelope"},
    {"agent add", avow_cmd_agent_add, "enrol an agent and wait for its first verdict"},
    {"agent update", avow_cmd_agent_update, "change what is named of an enrolment"},
    {"agent reaccept", avow_cmd_agent_reaccept, "pin new keys, or start afresh over findings"},
    {"agent attest", avow_cmd_agent_attest, "ask an agent for evidence now"},
    {"agent rm", avow_cmd_agent_rm, "end an enrolment"},
    {"agent list", avow_cmd_agent_list, "list the enrolled agents with their status"},
    {"agent status", avow_cmd_agent_status, "show one agent; exit 0 only if it is trusted"},
    {"agent watch", avow_cmd_agent_watch, "show changes of status as they happen"},
    {"verdict tail", avow_cmd_verdict_tail, "print verdicts"},
    {"verdict audit", avow_cmd_verdict_audit, "appraise recorded evidence again, and compare"},
    {"revocation tail", avow_cmd_revocation_tail, "print revocations"},
    {"revocation verify", avow_cmd_revocation_verify, "check the signature of one record"},
    {"enroll", avow_cmd_enroll, "enrol whoever registers, by a profile"},
    {"registrar list", avow_cmd_registrar_list, "list the registered agents"},
    {"registrar status", avow_cmd_registrar_status, "show one registration"},
    {"registrar rm", avow_cmd_registrar_rm, "remove a registration"},
    {"registrar allow", avow_cmd_registrar_allow, "let an agent bring another EK or AK, once"},
    {"registrar backup", avow_cmd_registrar_backup, "copy the registrar's database"},
    {"registrar republish", avow_cmd_registrar_republish, "publish every identity again"},
    {"registrar store", avow_cmd_registrar_store, "read the whole database: check"},
    {"doctor", avow_cmd_doctor, "find roll-backs, gaps and misconfiguration"},
    {"appraise", avow_cmd_appraise, "judge one quote and the logs beside it"},
    {"ima", avow_cmd_ima, "replay and judge an IMA list"},
    {"quote", avow_cmd_quote, "show and check a quote"},
    {"eventlog", avow_cmd_eventlog, "show a firmware log, and what of it can be believed"},
    {"keys list", avow_cmd_keys_list, "list the keys that may sign"},
    {"keys worker", avow_cmd_keys_worker, "make new worker keys: new DIR"},
    {"keys tenant", avow_cmd_keys_tenant, "make a new key for enrolments and policies: new FILE"},
    {"keys author", avow_cmd_keys_author, "let a key sign envelopes around policies: add PEM"},
    {"keys root", avow_cmd_keys_root, "change the root key: new DIR, then sign"},
    {"keys resign", avow_cmd_keys_resign, "sign enrolments and policies with the new key"},
    {"keys retire", avow_cmd_keys_retire, "let an old key decide nothing any more"},
    {"keys revoke", avow_cmd_keys_revoke, "void everything that a stolen key signed"},
};

/* --- Help and what was mistyped --- */

static void print_help(struct avow_cli *cli)
{
    struct avow_opt storage[AVOW_GLOBALS_MAX];
    struct avow_opt_table globals = avow_globals_table(&cli->globals, false, storage);
    printf("avow - push-model TPM attestation over Kafka: the operator's tool\n\n"
           "usage: avow [OPTION...] COMMAND [ARGUMENT...]\n\ncommands:\n");
    for (size_t i = 0; i < AVOW_ARRAY_LEN(commands); i++)
        printf("  %-18s %s\n", commands[i].name, commands[i].summary);
    printf("\noptions, also behind the command:\n");
    avow_opts_help(globals.opts, globals.count);
    printf("\nexit codes: 0 done or trusted, 1 failed, 2 usage, 3 unreachable, 4 untrusted, "
           "5 not found\n"
           "'avow COMMAND --help' explains a command.\n");
}

static bool in_group(const struct command *c, const char *group)
{
    size_t len = strlen(group);
    return !strncmp(c->name, group, len) && c->name[len] == ' ';
}

static bool is_group(const char *word)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(commands); i++)
        if (in_group(&commands[i], word))
            return true;
    return false;
}

static void print_group(FILE *out, const char *group)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(commands); i++)
        if (in_group(&commands[i], group))
            fprintf(out, "  avow %-18s %s\n", commands[i].name, commands[i].summary);
}

static const struct command *find_command(const char *first, const char *second)
{
    char joined[64];
    for (size_t i = 0; i < AVOW_ARRAY_LEN(commands); i++) {
        bool two = strchr(commands[i].name, ' ') != NULL;
        if (two && !second)
            continue;
        int n = snprintf(joined, sizeof joined, "%s%s%s", first, two ? " " : "", two ? second : "");
        if (n > 0 && (size_t)n < sizeof joined && avow_cstr_eq(joined, commands[i].name))
            return &commands[i];
    }
    return NULL;
}

static const char *nearest(const char *first, const char *second)
{
    const char *names[AVOW_ARRAY_LEN(commands)];
    char typed[64];
    for (size_t i = 0; i < AVOW_ARRAY_LEN(commands); i++)
        names[i] = commands[i].name;
    int n = snprintf(typed, sizeof typed, "%s%s%s", first, second ? " " : "", second ? second : "");
    const char *found = n > 0 && (size_t)n < sizeof typed
                            ? avow_suggest(typed, names, AVOW_ARRAY_LEN(names))
                            : NULL;
    /* `avow inti DIR`: the second word is an argument. */
    return found || !second ? found : avow_suggest(first, names, AVOW_ARRAY_LEN(names));
}

static enum avow_exit no_such_command(const char *first, const char *second)
{
    const char *near = nearest(first, second);
    bool group = is_group(first);
    if (group && !second) {
        avow_cli_note("'%s' needs a command:", first);
    } else if (near) {
        avow_cli_note("there is no command '%.60s%s%.60s'; did you mean '%s'?", first,
                      second ? " " : "", second ? second : "", near);
    } else {
        avow_cli_note("there is no command '%.60s%s%.60s'%s", first, second ? " " : "",
                      second ? second : "", group ? "; there are:" : "");
    }
    if (group && !near)
        print_group(stderr, first);
    else
        fprintf(stderr, "try 'avow --help'\n");
    return AVOW_EXIT_USAGE;
}

/* --- Without a command --- */

static enum avow_exit show_config(struct avow_cli *cli)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    struct avow_err err = {.rc = AVOW_OK};
    avow_buf_init(&text, 1024 * 1024);
    enum avow_rc rc = avow_cli_load_conf(cli, &err);
    if (rc)
        return avow_cli_fail(cli, rc, &err);
    if (cli->globals.print_config)
        avow_conf_print(cli->conf, &text);
    fputs(avow_buf_cstr(&text), stdout);
    return avow_buf_status(&text, NULL) ? AVOW_EXIT_FAILED : AVOW_EXIT_OK;
}

static enum avow_exit without_command(struct avow_cli *cli)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    const struct avow_cli_globals *g = &cli->globals;
    avow_buf_init(&text, 1024 * 1024);
    if (!avow_cli_choose_output(cli))
        return AVOW_EXIT_USAGE;
    if (g->help) {
        print_help(cli);
    } else if (g->version) {
        printf(cli->format == AVOW_FORMAT_JSON ? "{\"program\":\"avow\",\"version\":\"%s\"}\n"
                                               : "avow %s\n",
               avow_version);
    } else if (g->sample_config) {
        avow_conf_sample(&avow_cli_conf_spec, &text);
        fputs(avow_buf_cstr(&text), stdout);
    } else if (g->print_config || g->check_config) {
        return show_config(cli);
    } else {
        fprintf(stderr, "avow: no command was given\ntry 'avow --help'\n");
        return AVOW_EXIT_USAGE;
    }
    return AVOW_EXIT_OK;
}

/* --- The line --- */

/* `avow help`, `avow help agent`, `avow help agent add`. */
static enum avow_exit help_command(struct avow_cli *cli, int argc, char **argv)
{
    char help[] = "--help", *only_help[] = {help};
    if (argc == 0) {
        print_help(cli);
        return AVOW_EXIT_OK;
    }
    const struct command *c = find_command(argv[0], argc > 1 ? argv[1] : NULL);
    if (c)
        return c->run(cli, 1, only_help);
    if (argc > 1 || !is_group(argv[0]))
        return no_such_command(argv[0], argc > 1 ? argv[1] : NULL);
    print_group(stdout, argv[0]);
    return AVOW_EXIT_OK;
}

/* argv[0] is the first word; its command may have a second one, with options between them. */
static enum avow_exit dispatch(struct avow_cli *cli, int argc, char **argv)
{
    struct avow_opt storage[AVOW_GLOBALS_MAX];
    struct avow_opt_table globals = avow_globals_table(&cli->globals, true, storage);
    struct avow_err err = {.rc = AVOW_OK};
    const char *first = argv[0];
    int used = 0;
    if (avow_cstr_eq(first, "help"))
        return help_command(cli, argc - 1, argv + 1);
    const struct command *c = find_command(first, NULL);
    if (c)
        return c->run(cli, argc - 1, argv + 1);
    if (!is_group(first))
        return no_such_command(first, argc > 1 && argv[1][0] != '-' ? argv[1] : NULL);
    enum avow_rc rc = avow_opts_lead(&globals, argc - 1, argv + 1, &used, &err);
    if (rc)
        return avow_cli_usage("", &err);
    int second = 1 + used;
    if (second < argc)
        c = find_command(first, argv[second]);
    if (c)
        return c->run(cli, argc - second - 1, argv + second + 1);
    if (second == argc && cli->globals.help) {
        print_group(stdout, first);
        return AVOW_EXIT_OK;
    }
    return no_such_command(first, second < argc ? argv[second] : NULL);
}

static enum avow_exit run(struct avow_cli *cli, int argc, char **argv)
{
    struct avow_opt storage[AVOW_GLOBALS_MAX];
    struct avow_opt_table globals = avow_globals_table(&cli->globals, false, storage);
    struct avow_err err = {.rc = AVOW_OK};
    int used = 0;
    if (argc > 0 && avow_opts_lead(&globals, argc - 1, argv + 1, &used, &err))
        return avow_cli_usage("", &err);
    if (used + 1 >= argc)
        return without_command(cli);
    return dispatch(cli, argc - 1 - used, argv + 1 + used);
}

/* --- Standard streams --- */

/* A closed standard stream must not become a socket or a key file: what is opened here instead
 * fails every write to 1 and 2, and every read from 0. */
static void occupy_streams(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/* A reader that went away (EPIPE) or a full disk is an error that the program sees, not a signal
 * that ends it between two writes. */
static void ignore_write_signals(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&ignore.sa_mask);
    (void)sigaction(SIGPIPE, &ignore, NULL);
    (void)sigaction(SIGXFSZ, &ignore, NULL);
}

/* Output that did not arrive is a failure, but for a reader that has seen enough: then the
 * command's own result stands. */
static enum avow_exit finish_output(enum avow_exit code)
{
    bool failed = ferror(stdout) != 0;
    errno = 0;
    failed = fflush(stdout) != 0 || failed;
    if (!failed || errno == EPIPE || (errno == 0 && avow_cli_reader_left()))
        return code;
    avow_cli_note("standard output: %s", errno ? strerror(errno) : "write failed");
    return code == AVOW_EXIT_OK ? AVOW_EXIT_FAILED : code;
}

int main(int argc, char **argv)
{
    struct avow_cli cli = {.conf = NULL};
    occupy_streams();
    ignore_write_signals();
    enum avow_exit code = run(&cli, argc, argv);
    avow_cli_deinit(&cli);
    return (int)finish_output(code);
}
