/* `avow eventlog`: what a firmware log says, and what of it can be believed. No broker, no TPM. */
#include "commands.h"

#include "avow/base/cleanup.h"
#include "avow/base/file.h"
#include "cmd_policy_boot.h"
#include "event_show.h"
#include "event_yaml.h"
#include "json_out.h"

#include <stdlib.h>

#include "avow/base/banned.h"

/* A file that is too large is the log's fault; one that cannot be read is not. */
static enum avow_rc read_log(const char *file, struct avow_buf *log, struct avow_event_report *r,
                             struct avow_err *err)
{
    avow_buf_init(log, AVOW_EVENT_LOG_MAX);
    enum avow_rc rc = avow_file_read(file, log, err);
    if (rc == AVOW_LIMIT) {
        avow_event_report_too_large(r);
        return AVOW_OK;
    }
    if (!rc)
        avow_event_report_make(avow_buf_bytes(log), r);
    return rc;
}

static enum avow_rc judge(const char *file, struct avow_event_report *r, struct avow_arena *arena,
                          struct avow_err *err)
{
    AVOW_CLEANUP(avow_boot_policy_free) struct avow_boot_policy *policy = NULL;
    if (!file)
        return AVOW_OK;
    enum avow_rc rc = avow_boot_policy_read(file, &policy, err);
    return rc ? rc : avow_event_report_judge(r, policy, arena, err);
}

struct wanted {
    const char *policy; /* NULL: none */
    bool as_tpm2_tools;
};

static enum avow_rc print(const struct avow_cli *cli, const struct wanted *wanted,
                          const struct avow_event_report *r, struct avow_err *err)
{
    if (!wanted->as_tpm2_tools)
        return avow_event_report_print(r, cli->format == AVOW_FORMAT_WIDE, err);
    return r->refused[0] ? AVOW_OK : avow_event_yaml_print(&r->log, &r->replay, err);
}

static enum avow_rc show(const struct avow_cli *cli, const char *file, const struct wanted *wanted,
                         bool *complaints, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf log;
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
    struct avow_event_report r;
    avow_arena_init(&arena, AVOW_BOOT_DETAILS_MAX);
    enum avow_rc rc = read_log(file, &log, &r, err);
    if (!rc)
        rc = judge(wanted->policy, &r, &arena, err);
    if (rc)
        return rc;
    *complaints = r.complaints_count > 0;
    if (cli->format == AVOW_FORMAT_JSON)
        return avow_json_document(avow_event_report_json(&r), err);
    rc = print(cli, wanted, &r, err);
    avow_event_report_note(&r);
    return rc;
}

enum avow_exit avow_cmd_eventlog(struct avow_cli *cli, int argc, char **argv)
{
    struct wanted wanted = {.policy = NULL};
    const char *format = NULL;
    const struct avow_opt opts[] = {
        AVOW_TEXT("--boot-policy", &wanted.policy, "FILE", "judge the log by this policy, too"),
        AVOW_TEXT("--refstate", &wanted.policy, "FILE",
                  "the same; usual for Keylime's reference state"),
        AVOW_TEXT("--format", &format, "tpm2-tools", "print the log as tpm2_eventlog does")};
    const struct avow_command command = {
        .name = "eventlog",
        .words = "FILE",
        .about = "Shows the events of a firmware log (binary_bios_measurements; '-' is standard "
                 "input), the PCR\nvalues and boot aggregates that they explain, and which data is "
                 "bound: covered by the event's\ndigests. Only a quote proves the values. Exit "
                 "codes: 0 the log agrees with itself and the policy,\n1 a file cannot be read, 4 "
                 "it is no log, some of its data is not what was measured, or the\npolicy does not "
                 "accept it.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 1,
        .max_words = 1,
        .offline = true};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    wanted.as_tpm2_tools = format != NULL;
    if (format && (!avow_cstr_eq(format, "tpm2-tools") || cli->format == AVOW_FORMAT_JSON)) {
        (void)avow_err_set(&err, AVOW_USAGE, 0, "--format is tpm2-tools, and not with --json");
        return avow_cli_fail(cli, AVOW_USAGE, &err);
    }
    bool complaints = false;
    enum avow_rc rc = show(cli, pos[0], &wanted, &complaints, &err);
    if (rc)
        return avow_cli_fail(cli, rc, &err);
    return complaints ? AVOW_EXIT_UNTRUSTED : AVOW_EXIT_OK;
}
