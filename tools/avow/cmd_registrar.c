/* `avow registrar list|status|rm|allow|backup|republish|store check`: the registrar's
 * administration over HTTPS. */
#include "commands.h"

#include "avow/base/clock.h"
#include "json_out.h"
#include "registrar_client.h"
#include "table.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>

#include "avow/base/banned.h"

#define PAGE "1000"
#define PATH_ROOM 512u
#define PAGES_MAX 10000u /* a server that never ends the list */

static void free_json(json_t **j)
{
    json_decref(*j);
}
#define AUTO_JSON __attribute__((cleanup(free_json))) json_t

static const char *text_of(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s ? s : "-";
}

static uint64_t number_of(const json_t *o, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(o, name));
    return n < 0 ? 0 : (uint64_t)n;
}

static enum avow_rc call_once(struct avow_cli *cli, const char *method, const char *path,
                              json_t **results, struct avow_err *err)
{
    AVOW_CLEANUP(avow_registrar_client_free) struct avow_registrar_client *c = NULL;
    enum avow_rc rc = avow_registrar_client_new(cli, &c, err);
    return rc ? rc : avow_registrar_call(c, method, path, results, err);
}

/* An id goes into a path: anything else than an id would be another path. */
static enum avow_rc agent_path(const char *id, const char *tail, char out[PATH_ROOM],
                               struct avow_err *err)
{
    if (!avow_name_is_valid(avow_str_from(id)))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "'%.150s' is no agent id: 1 to 128 of A-Z a-z 0-9 . _ -", id);
    snprintf(out, PATH_ROOM, "/agents/%s%s", id, tail);
    return AVOW_OK;
}

/* --- list --- */

static enum avow_rc fetch_all(struct avow_cli *cli, bool removed, json_t *all, struct avow_err *err)
{
    AVOW_CLEANUP(avow_registrar_client_free) struct avow_registrar_client *c = NULL;
    char path[PATH_ROOM], after[160] = "";
    enum avow_rc rc = avow_registrar_client_new(cli, &c, err);
    for (unsigned page = 0; !rc; page++) {
        AUTO_JSON *results = NULL;
        snprintf(path, sizeof path, "/agents?limit=" PAGE "%s%s%s", removed ? "&removed=true" : "",
                 *after ? "&after=" : "", after);
        rc = avow_registrar_call(c, "GET", path, &results, err);
        if (rc)
            break;
        json_array_extend(all, json_object_get(results, "agents"));
        const char *next = json_string_value(json_object_get(results, "next"));
        if (!next)
            break;
        if (!avow_name_is_valid(avow_str_from(next)) || page == PAGES_MAX)
            return avow_err_set(err, AVOW_PARSE, 0, "the registrar's list does not end");
        snprintf(after, sizeof after, "%s", next);
    }
    return rc;
}

static enum avow_rc print_list(const struct avow_cli *cli, const json_t *all, struct avow_err *err)
{
    static const char *const titles[] = {"AGENT",      "STATUS",     "TRUST",  "BY",
                                         "GENERATION", "REGISTERED", "ADDRESS"};
    AVOW_CLEANUP_VAL(avow_table_deinit) struct avow_table t;
    uint64_t now = avow_clock_unix_ms();
    size_t i;
    const json_t *a;
    char age[24];
    avow_table_init(&t, titles, cli->format == AVOW_FORMAT_WIDE ? 7 : 6);
    json_array_foreach(all, i, a)
    {
        avow_table_cell(&t, "%s", text_of(a, "id"));
        avow_table_cell(&t, "%s", text_of(a, "status"));
        avow_table_cell(&t, "%s", json_is_true(json_object_get(a, "trusted")) ? "yes" : "no");
        avow_table_cell(&t, "%s", text_of(a, "trust_rule"));
        avow_table_cell(&t, "%" PRIu64, number_of(a, "generation"));
        avow_table_cell(&t, "%s", avow_since_text(number_of(a, "registered_ms"), now, age));
        if (cli->format == AVOW_FORMAT_WIDE)
            avow_table_cell(&t, "%s", text_of(a, "ip"));
    }
    return avow_table_print(&t, cli->color, err);
}

enum avow_exit avow_cmd_registrar_list(struct avow_cli *cli, int argc, char **argv)
{
    bool removed = false;
    const struct avow_opt opts[] = {AVOW_FLAG("--removed", &removed, "removed ones too")};
    const struct avow_command command = {
        .name = "registrar list",
        .words = "",
        .about = "Lists who has proven itself to the registrar, page by page.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts)};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    AUTO_JSON *all = json_array();
    enum avow_rc rc =
        all ? fetch_all(cli, removed, all, &err) : avow_err_set(&err, AVOW_NOMEM, 0, "list");
    if (!rc)
        rc = cli->format == AVOW_FORMAT_JSON ? avow_json_document(json_incref(all), &err)
                                             : print_list(cli, all, &err);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}

/* --- status --- */

static void row(const char *name, const char *text)
{
    char clean[512];
    avow_text_clean(clean, sizeof clean, avow_str_from(text));
    printf("%-14s%s\n", name, clean);
}

static void print_status(const struct avow_cli *cli, const json_t *a)
{
    const json_t *trust = json_object_get(a, "trust");
    bool trusted = json_is_true(json_object_get(trust, "trusted"));
    uint64_t now = avow_clock_unix_ms(), allow = number_of(a, "allow_until_ms");
    char line[256], age[24], at[32];
    row("agent", text_of(a, "id"));
    printf("%-14s%s%s%s, generation %" PRIu64 ", %" PRIu64 " activations\n", "status",
           avow_status_color(text_of(a, "status"), cli->color), text_of(a, "status"),
           avow_color_reset(cli->color), number_of(a, "generation"), number_of(a, "regcount"));
    snprintf(line, sizeof line, "%s ago", avow_since_text(number_of(a, "registered_ms"), now, age));
    row("registered", line);
    snprintf(line, sizeof line, "%s by %.60s: %.150s", trusted ? "trusted" : "not trusted",
             text_of(trust, "rule"), text_of(trust, "detail"));
    row("EK", line);
    row("certificate", text_of(trust, "ek_cert_sha256"));
    row("AK name", text_of(a, "ak_name"));
    snprintf(line, sizeof line, "%.100s, port %" PRIu64, text_of(a, "ip"), number_of(a, "port"));
    row("address", line);
    if (allow > now) {
        avow_clock_format(at, allow);
        snprintf(line, sizeof line, "may bring another EK or AK once, until %s", at);
        row("allowed", line);
    }
}

enum avow_exit avow_cmd_registrar_status(struct avow_cli *cli, int argc, char **argv)
{
    const struct avow_command command = {
        .name = "registrar status",
        .words = "ID",
        .about = "Shows what the registrar proved about an agent, and how.\n\n"
                 "Exit 0 if it is registered, 5 if it is not or was removed.",
        .min_words = 1,
        .max_words = 1};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_exit code;
    char path[PATH_ROOM];
    AUTO_JSON *a = NULL;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    enum avow_rc rc = agent_path(pos[0], "", path, &err);
    if (!rc)
        rc = call_once(cli, "GET", path, &a, &err);
    if (!rc && cli->format == AVOW_FORMAT_JSON)
        rc = avow_json_document(json_incref(a), &err);
    else if (!rc)
        print_status(cli, a);
    if (rc)
        return avow_cli_fail(cli, rc, &err);
    return avow_cstr_eq(text_of(a, "status"), "active") ? AVOW_EXIT_OK : AVOW_EXIT_NOTFOUND;
}

/* --- Actions: one request, one line --- */

struct action {
    struct avow_command command;
    const char *method;
    const char *tail; /* of the agent's path, or the whole path */
    void (*print)(const char *id, const json_t *results);
};

static enum avow_exit run_action(struct avow_cli *cli, const struct action *a, int argc,
                                 char **argv, json_t **results)
{
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_exit code;
    char path[PATH_ROOM];
    enum avow_rc rc = AVOW_OK;
    if (!avow_command_begin(cli, &a->command, argc, argv, pos, &code))
        return code;
    if (a->command.min_words)
        rc = agent_path(pos[0], a->tail, path, &err);
    else
        snprintf(path, sizeof path, "%s", a->tail);
    if (!rc)
        rc = call_once(cli, a->method, path, results, &err);
    if (!rc && cli->format == AVOW_FORMAT_JSON)
        rc = avow_json_document(json_incref(*results), &err);
    else if (!rc)
        a->print(pos[0], *results);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}

static enum avow_exit run_simple(struct avow_cli *cli, const struct action *a, int argc,
                                 char **argv)
{
    AUTO_JSON *results = NULL;
    return run_action(cli, a, argc, argv, &results);
}

static void print_removed(const char *id, const json_t *results)
{
    (void)results;
    printf("%s removed; its enrolment, if any, ends with `avow agent rm %s`\n", id, id);
}

enum avow_exit avow_cmd_registrar_rm(struct avow_cli *cli, int argc, char **argv)
{
    const struct action a = {
        .command = {.name = "registrar rm",
                    .words = "ID",
                    .about = "Removes a registration and publishes its end. The id is free for "
                             "whoever registers next.",
                    .min_words = 1,
                    .max_words = 1},
        .method = "DELETE",
        .tail = "",
        .print = print_removed};
    return run_simple(cli, &a, argc, argv);
}

static void print_allowed(const char *id, const json_t *results)
{
    (void)results;
    printf("%s may bring another EK or AK, once; its record stays as it is until then\n", id);
}

enum avow_exit avow_cmd_registrar_allow(struct avow_cli *cli, int argc, char **argv)
{
    const struct action a = {
        .command = {.name = "registrar allow",
                    .words = "ID",
                    .about = "Lets an agent come with another EK or AK, once, for a time "
                             "(registrar.allow_ms): a new main\nboard. It still has to prove "
                             "itself.",
                    .min_words = 1,
                    .max_words = 1},
        .method = "POST",
        .tail = "/allow",
        .print = print_allowed};
    return run_simple(cli, &a, argc, argv);
}

static void print_backup(const char *id, const json_t *results)
{
    char clean[1024];
    (void)id;
    avow_text_clean(clean, sizeof clean, avow_str_from(text_of(results, "file")));
    printf("%s, %" PRIu64 " bytes, on the registrar's machine\n", clean,
           number_of(results, "bytes"));
}

enum avow_exit avow_cmd_registrar_backup(struct avow_cli *cli, int argc, char **argv)
{
    const struct action a = {
        .command = {.name = "registrar backup",
                    .words = "",
                    .about = "Makes a consistent copy of the registrar's database in "
                             "registrar.backup_dir while it serves.\nOpen challenges are left "
                             "out. To restore: stop the registrar, put the file at registrar.db "
                             "and\nremove FILE-wal and FILE-shm."},
        .method = "POST",
        .tail = "/backup",
        .print = print_backup};
    return run_simple(cli, &a, argc, argv);
}

static void print_queued(const char *id, const json_t *results)
{
    (void)id;
    printf("%" PRIu64 " identities are in the outbox\n", number_of(results, "queued"));
}

enum avow_exit avow_cmd_registrar_republish(struct avow_cli *cli, int argc, char **argv)
{
    const struct action a = {
        .command = {.name = "registrar republish",
                    .words = "",
                    .about = "Publishes every identity again, removed ones too: for a topic that "
                             "was lost. Readers ignore\nwhat they have."},
        .method = "POST",
        .tail = "/republish",
        .print = print_queued};
    return run_simple(cli, &a, argc, argv);
}

static void print_check(const char *id, const json_t *results)
{
    const json_t *list = json_object_get(results, "problems"), *line;
    size_t i;
    char clean[512];
    (void)id;
    json_array_foreach(list, i, line)
    {
        avow_text_clean(clean, sizeof clean, avow_str_from(json_string_value(line)));
        printf("%s\n", clean);
    }
    if (json_is_true(json_object_get(results, "ok")))
        printf("the database is sound\n");
}

enum avow_exit avow_cmd_registrar_store(struct avow_cli *cli, int argc, char **argv)
{
    const struct action a = {
        .command = {.name = "registrar store",
                    .words = "check",
                    .about = "Reads the registrar's whole database while it serves: structure, "
                             "indexes and rules.\n\nExit 0 if it is sound, 1 if it is not.",
                    .max_words = 1},
        .method = "POST",
        .tail = "/store/check",
        .print = print_check};
    AUTO_JSON *results = NULL;
    struct avow_err err = {.rc = AVOW_OK};
    if (argc < 1 || !avow_cstr_eq(argv[0], "check")) {
        /* Options may stand here: --help is served, anything else names what is missing. */
        if (argc >= 1 && argv[0][0] == '-')
            return run_action(cli, &a, argc, argv, &results);
        avow_err_set(&err, AVOW_USAGE, 0, "registrar store: needs check");
        return avow_cli_usage(a.command.name, &err);
    }
    enum avow_exit code = run_action(cli, &a, argc, argv, &results);
    if (code == AVOW_EXIT_OK && results && !json_is_true(json_object_get(results, "ok")))
        return AVOW_EXIT_FAILED;
    return code;
}
