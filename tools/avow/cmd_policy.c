/* `avow policy`: named policies. A policy is content-addressed chunks and one signed head that
 * names them. */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/core/runtime_policy.h"
#include "avow/crypto/digest.h"
#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "avow/wire/policy_chunk.h"
#include "avow/wire/policy_head.h"
#include "json_out.h"
#include "ledger.h"
#include "policies.h"
#include "table.h"
#include "trust_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define CHUNK_BYTES (512u * 1024u) /* PROTOCOL B6 */
#define FLUSH_MS 60000u

struct push {
    const char *name;
    const char *file;
    enum avow_policy_kind kind;
    struct avow_buf document;
    struct avow_runtime_policy_stats stats;
    uint8_t sha256[32];
    uint32_t chunks;
    uint64_t generation;
    bool same; /* the topic's head names this very document */
};

/* A document that workers could not load must not be published. */
static enum avow_rc push_check(struct push *p, struct avow_err *err)
{
    AVOW_CLEANUP(avow_runtime_policy_free) struct avow_runtime_policy *policy = NULL;
    enum avow_rc rc = avow_file_read(p->file, &p->document, err);
    if (rc)
        return rc;
    rc = avow_runtime_policy_load(avow_buf_bytes(&p->document), &policy, err);
    if (rc)
        return avow_err_wrap(err, rc, "%s", p->file);
    avow_runtime_policy_stats_get(policy, &p->stats);
    avow_sha256(avow_buf_bytes(&p->document), p->sha256);
    p->chunks = (uint32_t)((p->document.len + CHUNK_BYTES - 1) / CHUNK_BYTES);
    return AVOW_OK;
}

/* Next generation of the name. */
static enum avow_rc push_generation(struct avow_cli *cli, struct push *p, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_policy_list_deinit) struct avow_policy_list list;
    enum avow_rc rc = avow_policy_list_read(cli, &list, err);
    if (rc)
        return rc;
    avow_policy_list_warn(&list);
    const struct avow_policy_entry *e = avow_policy_list_find(&list, avow_str_from(p->name));
    p->same = e && e->head.kind == p->kind &&
              avow_bytes_eq(AVOW_BYTES_OF(e->head.sha256), AVOW_BYTES_OF(p->sha256));
    p->generation = e ? e->head.generation : 0;
    return p->same ? AVOW_OK
                   : avow_ledger_next(cli, "policies", p->name, p->generation,
                                      avow_trust_bundle(cli->trust)->generation_floor,
                                      &p->generation, err);
}

static enum avow_rc seal_head(struct avow_cli *cli, const struct push *p, const char *key,
                              struct avow_buf *record, struct avow_err *err)
{
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *signer = NULL;
    struct avow_policy_head head = {.key = avow_str_from(key),
                                    .generation = p->generation,
                                    .kind = p->kind,
                                    .bytes = p->document.len,
                                    .chunks = p->chunks,
                                    .issued_ms = avow_clock_unix_ms()};
    memcpy(head.sha256, p->sha256, sizeof head.sha256);
    memcpy(head.fleet, avow_trust_bundle(cli->trust)->fleet, sizeof head.fleet);
    enum avow_rc rc = avow_cli_tenant_key(cli, &signer, err);
    if (!rc)
        rc = avow_seal_policy_head(&head, signer, record, err);
    if (rc)
        return rc;
    /* Never publish what readers would refuse. */
    rc = avow_trust_verify(cli->trust, AVOW_ROLE_POLICY, avow_str_from(p->name),
                           &avow_wire_policy_head_schema, avow_buf_bytes(record), err);
    return rc ? avow_cli_not_ours(cli, "policy", err) : AVOW_OK;
}

static enum avow_rc push_record(struct avow_cli *cli, struct avow_bus_producer *producer,
                                const char *key, const struct avow_buf *record,
                                struct avow_err *err)
{
    char topic[AVOW_TOPIC_NAME_MAX];
    struct avow_str k = avow_str_from(key);
    struct avow_bus_record rec = {.topic = avow_cli_topic(cli, "policies", topic),
                                  .partition = 0,
                                  .key = avow_bytes_make(k.ptr, k.len),
                                  .value = avow_buf_bytes(record)};
    enum avow_rc rc = avow_bus_send(producer, &rec, err);
    if (!rc)
        rc = avow_bus_flush(producer, FLUSH_MS, err);
    if (rc)
        return avow_err_wrap(err, rc == AVOW_TIMEOUT ? AVOW_UNREACHABLE : rc, "produce to %s",
                             rec.topic);
    return AVOW_OK;
}

static enum avow_rc push_chunk(struct avow_cli *cli, const struct push *p, uint32_t index,
                               struct avow_bus_producer *producer, struct avow_err *err)
{
    char hex[65], key[96];
    size_t at = (size_t)index * CHUNK_BYTES;
    size_t left = p->document.len - at;
    struct avow_policy_chunk chunk = {
        .index = index,
        .count = p->chunks,
        .bytes = {p->document.ptr + at, left < CHUNK_BYTES ? left : CHUNK_BYTES}};
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    avow_buf_init(&record, AVOW_BUS_VALUE_MAX);
    enum avow_rc rc = avow_policy_chunk_encode(&chunk, &record, err);
    if (rc)
        return rc;
    avow_hex_encode(hex, AVOW_BYTES_OF(p->sha256));
    snprintf(key, sizeof key, "blob/%s/%" PRIu32, hex, index);
    return push_record(cli, producer, key, &record, err);
}

/* The head is sealed and kept first, so that a wrong key or a full disk leaves nothing behind, and
 * published last, so that nobody is sent to chunks that are not there. */
static enum avow_rc push_publish(struct avow_cli *cli, const struct push *p, struct avow_err *err)
{
    char key[160];
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf head;
    AVOW_CLEANUP(avow_bus_producer_free) struct avow_bus_producer *producer = NULL;
    struct avow_bus_producer_opts opts = {0};
    avow_buf_init(&head, AVOW_BUS_VALUE_MAX);
    snprintf(key, sizeof key, "head/%s", p->name);
    enum avow_rc rc = seal_head(cli, p, key, &head, err);
    if (!rc)
        rc = avow_ledger_put(cli, "policies", p->name, p->generation, avow_buf_bytes(&head), err);
    if (!rc)
        rc = avow_bus_producer_new(cli->bus, &opts, &producer, err);
    for (uint32_t i = 0; i < p->chunks && !rc; i++)
        rc = push_chunk(cli, p, i, producer, err);
    return rc ? rc : push_record(cli, producer, key, &head, err);
}

/* What the operator may not have meant. */
static void push_notes(const struct push *p)
{
    for (unsigned bit = 1; bit <= AVOW_POLICY_NOTE_BOOT_AGGREGATE; bit <<= 1)
        if (p->stats.notes & bit)
            avow_cli_note("note: %s: %s", p->file, avow_policy_note_text(bit));
    if (!p->stats.paths)
        avow_cli_note("warning: %s allows no file at all: every measured file will be a finding",
                      p->file);
}

static enum avow_rc push_report(const struct avow_cli *cli, const struct push *p,
                                struct avow_err *err)
{
    char hex[65];
    avow_hex_encode(hex, AVOW_BYTES_OF(p->sha256));
    if (cli->format == AVOW_FORMAT_JSON)
        return avow_json_document(
            json_pack("{s:o,s:s,s:o,s:s,s:o,s:o,s:o,s:o,s:b}", "name", avow_json_cstr(p->name),
                      "kind", avow_policy_kind_text(p->kind), "generation",
                      avow_json_u64(p->generation), "sha256", hex, "bytes",
                      avow_json_u64(p->document.len), "paths", avow_json_u64(p->stats.paths),
                      "digests", avow_json_u64(p->stats.digests), "excludes",
                      avow_json_u64(p->stats.excludes), "published", (int)!p->same),
            err);
    printf("%s generation %" PRIu64 " %s (%zu bytes, %zu paths, %zu digests, %zu excludes, sha256 "
           "%.16s)\n",
           p->name, p->generation, p->same ? "is published already" : "published", p->document.len,
           p->stats.paths, p->stats.digests, p->stats.excludes, hex);
    return AVOW_OK;
}

static enum avow_rc push_parse(struct push *p, const char *kind, struct avow_err *err)
{
    if (!avow_name_is_valid(avow_str_from(p->name)))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "policy push: '%.150s' is no policy name: letters, digits, '.', '_', "
                            "'-', at most 128",
                            p->name);
    if (!avow_policy_kind_from_text(avow_str_from(kind), &p->kind) ||
        p->kind != AVOW_POLICY_KIND_RUNTIME)
        return avow_err_set(err, AVOW_USAGE, 0, "policy push: --kind: '%.60s' is not runtime",
                            kind);
    return AVOW_OK;
}

enum avow_exit avow_cmd_policy_push(struct avow_cli *cli, int argc, char **argv)
{
    const char *kind = "runtime";
    const struct avow_opt opts[] = {
        AVOW_TEXT("--kind", &kind, "KIND", "runtime: Keylime's runtime policy, JSON (default)")};
    const struct avow_command command = {
        .name = "policy push",
        .words = "NAME FILE",
        .about = "Checks the file and publishes it under NAME; '-' is standard input. Every agent "
                 "whose\nenrolment names NAME is judged by it from then on. A file that is "
                 "published already is left\nalone.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 2,
        .max_words = 2};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    struct push p = {.name = pos[0], .file = pos[1]};
    if (push_parse(&p, kind, &err))
        return avow_cli_usage(command.name, &err);
    avow_buf_init(&p.document, AVOW_POLICY_MAX);
    enum avow_rc rc = push_check(&p, &err);
    if (!rc)
        rc = push_generation(cli, &p, &err);
    if (!rc && !p.same)
        rc = push_publish(cli, &p, &err);
    if (!rc) {
        push_notes(&p);
        rc = push_report(cli, &p, &err);
    }
    avow_buf_deinit(&p.document);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}

/* --- list --- */

static json_t *head_json(const struct avow_policy_entry *e)
{
    return json_pack("{s:o,s:s,s:o,s:o,s:o,s:o}", "name", avow_json_str(e->name), "kind",
                     avow_policy_kind_text(e->head.kind), "generation",
                     avow_json_u64(e->head.generation), "bytes", avow_json_u64(e->head.bytes),
                     "sha256", avow_json_hex(AVOW_BYTES_OF(e->head.sha256)), "issued_ms",
                     avow_json_u64(e->head.issued_ms));
}

static enum avow_rc list_json(const struct avow_policy_list *list, struct avow_err *err)
{
    json_t *all = json_array();
    for (size_t i = 0; i < list->count && all; i++) {
        if (json_array_append_new(all, head_json(&list->items[i]))) {
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
    if (!rc && !e) {
        avow_cli_hint(cli, "`avow policy list` shows all");
        rc = avow_err_set(&err, AVOW_NOTFOUND, 0, "there is no policy '%.150s'", pos[0]);
    }
    if (!rc && avow_policy_document_read(cli, &e->head, &document, &err))
        rc = avow_err_wrap(&err, err.rc, "policy %s", pos[0]);
    if (!rc)
        rc = get_print(cli, e, &document, &err);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}
