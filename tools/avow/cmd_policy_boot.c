/* cmd_policy_boot.c - see cmd_policy_boot.h. */
#include "cmd_policy_boot.h"

#include "avow/base/cleanup.h"
#include "avow/base/file.h"
#include "avow/core/boot_make.h"
#include "event_show.h"
#include "json_out.h"
#include "offline.h"
#include "policy_kinds.h"

#include <stdio.h>

#include "avow/base/banned.h"

/* --- create --- */

bool avow_boot_create_given(const struct avow_boot_create *c)
{
    return c->logs.count || c->lines.count || c->any_files.count || c->pcrs || c->no_firmware ||
           c->any_command;
}

enum avow_rc avow_boot_create(const struct avow_boot_create *c, const char *out,
                              struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_offline_files_deinit) struct avow_offline_files files = {.count = 0};
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    struct avow_bytes logs[AVOW_OPT_LIST_MAX];
    struct avow_boot_make make = {.logs = logs,
                                  .logs_count = c->logs.count,
                                  .no_firmware = c->no_firmware,
                                  .any_command = c->any_command,
                                  .lines = c->lines.items,
                                  .lines_count = c->lines.count,
                                  .any_files = c->any_files.items,
                                  .any_files_count = c->any_files.count};
    avow_buf_init(&text, AVOW_BOOT_POLICY_MAX);
    enum avow_rc rc = AVOW_OK;
    if (c->pcrs)
        rc = avow_offline_pcrs("--pcrs", c->pcrs, &make.sequences, err);
    for (size_t i = 0; i < c->logs.count && !rc; i++)
        rc = avow_offline_read(&files, c->logs.items[i], AVOW_EVENT_LOG_MAX, &logs[i], err);
    if (!rc)
        rc = avow_boot_policy_make(&make, &text, err);
    if (rc)
        return rc;
    if (out)
        return avow_file_write(out, avow_buf_bytes(&text), 0644, err);
    (void)fwrite(text.ptr, 1, text.len, stdout); /* judged when the program ends */
    return AVOW_OK;
}

/* --- test --- */

enum avow_rc avow_boot_policy_read(const char *file, struct avow_boot_policy **out,
                                   struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, 2 * AVOW_BOOT_POLICY_MAX); /* of an envelope, too */
    enum avow_rc rc = avow_file_read(file, &text, err);
    if (rc)
        return rc;
    rc = avow_policy_unwrap(&text, NULL, err);
    if (!rc)
        rc = avow_boot_policy_load(avow_buf_bytes(&text), out, err);
    if (!rc)
        avow_boot_policy_print_warnings(file, *out);
    return rc ? avow_err_wrap(err, rc, "%s", file) : AVOW_OK;
}

static enum avow_rc report(const struct avow_cli *cli, const struct avow_event_report *r,
                           struct avow_err *err)
{
    if (cli->format == AVOW_FORMAT_JSON)
        return avow_json_document(avow_event_verdict_json(r), err);
    printf("%zu events, %zu findings\n", r->log.count, r->complaints_count);
    avow_event_report_note(r);
    return AVOW_OK;
}

enum avow_rc avow_boot_test(const struct avow_cli *cli, const char *policy, const char *log,
                            bool *ok, struct avow_err *err)
{
    AVOW_CLEANUP(avow_boot_policy_free) struct avow_boot_policy *p = NULL;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf bytes;
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
    struct avow_event_report r;
    avow_buf_init(&bytes, AVOW_EVENT_LOG_MAX);
    avow_arena_init(&arena, AVOW_BOOT_DETAILS_MAX);
    enum avow_rc rc = avow_boot_policy_read(policy, &p, err);
    if (!rc)
        rc = avow_file_read(log, &bytes, err);
    if (rc)
        return rc;
    avow_event_report_make(avow_buf_bytes(&bytes), &r);
    rc = avow_event_report_judge(&r, p, &arena, err);
    *ok = !r.complaints_count;
    return rc ? rc : report(cli, &r, err);
}
