/* `avow policy list` and `get`: what is published. */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/core/runtime_policy.h"
#include "avow/model/model.h"
#include "json_out.h"
#include "policies.h"
#include "table.h"
#include "trust_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

/* --- list --- */

static json_t *head_json(const struct avow_policy_entry *e)
{
    return json_pack("{s:o,s:s,s:o,s:o,s:o,s:o,s:b}", "name", avow_json_str(e->name), "kind",
                     avow_policy_kind_text(e->head.kind), "generation",
                     avow_json_u64(e->head.generation), "bytes", avow_json_u64(e->head.bytes),
                     "sha256", avow_json_hex(AVOW_BYTES_OF(e->head.sha256)), "issued_ms",
                     avow_json_u64(e->head.issued_ms), "require_dsse", (int)e->head.require_dsse);
}

static enum avow_rc list_json(const struct avow_policy_list *list, struct avow_err *err)
{
    json_t *all = json_array();
    for (size_t i = 0; i < list->count && all; i++) {
        if (!avow_policy_entry_is_removed(&list->items[i]) &&
            json_array_append_new(all, head_json(&list->items[i]))) {
            json_decref(all);
            all = NULL;
        }
    }
    return avow_json_document(all, err);
}

static enum avow_rc list_table(const struct avow_cli *cli, const struct avow_policy_list *list,
                               struct avow_err *err)
{
    static const char *const titles[] = {"NAME", "KIND", "GENERATION", "BYTES", "AGE", "SHA256"};
    struct avow_table table;
    uint64_t now = avow_clock_unix_ms();
    avow_table_init(&table, titles, AVOW_ARRAY_LEN(titles));
    for (size_t i = 0; i < list->count; i++) {
        const struct avow_policy_entry *e = &list->items[i];
        char hex[65], age[24];
        if (avow_policy_entry_is_removed(e))
            continue;
        avow_hex_encode(hex, AVOW_BYTES_OF(e->head.sha256));
        avow_table_cell(&table, "%.*s", (int)e->name.len, e->name.ptr);
        avow_table_cell(&table, "%s", avow_policy_kind_text(e->head.kind));
        avow_table_cell(&table, "%" PRIu64, e->head.generation);
        avow_table_cell(&table, "%" PRIu64, e->head.bytes);
        avow_table_cell(&table, "%s", avow_since_text(e->head.issued_ms, now, age));
        avow_table_cell(&table, "%.*s", cli->format == AVOW_FORMAT_WIDE ? 64 : 16, hex);
    }
    enum avow_rc rc = avow_table_print(&table, cli->color, err);
    avow_table_deinit(&table);
    return rc;
}

enum avow_exit avow_cmd_policy_list(struct avow_cli *cli, int argc, char **argv)
{
    const struct avow_command command = {
        .name = "policy list", .words = "", .about = "Lists the newest head of each policy."};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    AVOW_CLEANUP_VAL(avow_policy_list_deinit) struct avow_policy_list list;
    enum avow_rc rc = avow_policy_list_read(cli, &list, &err);
    if (!rc)
        avow_policy_list_warn(&list);
    if (!rc && cli->format == AVOW_FORMAT_JSON)
        rc = list_json(&list, &err);
    else if (!rc && list.count)
        rc = list_table(cli, &list, &err);
    else if (!rc)
        avow_cli_note("there is no policy yet: `avow policy push NAME FILE` publishes one");
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}

/* --- get --- */

static enum avow_rc get_print(const struct avow_cli *cli, const struct avow_policy_entry *e,
                              const struct avow_buf *document, struct avow_err *err)
{
    if (cli->format != AVOW_FORMAT_JSON) {
        (void)fwrite(document->ptr, 1, document->len, stdout); /* judged when the program ends */
        return AVOW_OK;
    }
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf base64;
    avow_buf_init(&base64, 2u * AVOW_POLICY_MAX);
    json_t *out = head_json(e);
    json_t *text = json_stringn((const char *)document->ptr, document->len);
    const char *name = text ? "document" : "document_base64";
    if (!text) { /* not UTF-8 */
        avow_buf_put_base64(&base64, avow_buf_bytes(document));
        text = json_stringn((const char *)base64.ptr, base64.len);
    }
    if (!out || json_object_set_new(out, name, text)) {
        json_decref(out);
        out = NULL;
    }
    return avow_json_document(out, err);
}

enum avow_exit avow_cmd_policy_get(struct avow_cli *cli, int argc, char **argv)
{
    const struct avow_command command = {
        .name = "policy get",
        .words = "NAME",
        .about = "Prints the bytes that were pushed, after checking them against the signed head. "
                 "With --json\nthe head's fields, and the bytes as `document` (`document_base64` "
                 "if they are no UTF-8).",
        .min_words = 1,
        .max_words = 1};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    AVOW_CLEANUP_VAL(avow_policy_list_deinit) struct avow_policy_list list;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf document;
    avow_buf_init(&document, AVOW_POLICY_MAX);
    enum avow_rc rc = avow_policy_list_read(cli, &list, &err);
    const struct avow_policy_entry *e =
        rc ? NULL : avow_policy_list_find(&list, avow_str_from(pos[0]));
    if (!rc)
        avow_policy_list_warn(&list);
    if (!rc && (!e || avow_policy_entry_is_removed(e))) {
        avow_cli_hint(cli, "`avow policy list` shows all");
        rc = avow_err_set(&err, AVOW_NOTFOUND, 0, "there is no policy '%.150s'", pos[0]);
    }
    if (!rc && avow_policy_document_read(cli, &e->head, &document, &err))
        rc = avow_err_wrap(&err, err.rc, "policy %s", pos[0]);
    if (!rc)
        rc = get_print(cli, e, &document, &err);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}
