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
#include "policies.h"
#include "table.h"

#include <stdio.h>

#include "avow/base/banned.h"

#define CHUNK_BYTES (512u * 1024u) /* PROTOCOL B6 */
#define FLUSH_MS 60000u

struct push {
    const char *name;
    const char *file;
    enum avow_policy_kind kind;
    struct avow_buf document;
    uint8_t sha256[32];
    uint32_t chunks;
    uint64_t generation;
};

/* A document that workers could not load must not be published. */
static enum avow_rc push_check(struct push *p, struct avow_err *err)
{
    AVOW_CLEANUP(avow_runtime_policy_free) struct avow_runtime_policy *policy = NULL;
    enum avow_rc rc = avow_file_read(p->file, &p->document, err);
    if (rc)
        return rc;
    if (p->kind != AVOW_POLICY_KIND_RUNTIME)
        return avow_err_set(err, AVOW_USAGE, 0, "--kind: only 'runtime' is supported");
    rc = avow_runtime_policy_load(avow_buf_bytes(&p->document), &policy, err);
    if (rc)
        return avow_err_wrap(err, rc, "%s", p->file);
    avow_sha256(avow_buf_bytes(&p->document), p->sha256);
    p->chunks = (uint32_t)((p->document.len + CHUNK_BYTES - 1) / CHUNK_BYTES);
    return AVOW_OK;
}

static enum avow_rc push_chunk(struct avow_cli *cli, const struct push *p, uint32_t index,
                               struct avow_bus_producer *producer, struct avow_err *err)
{
    char topic[AVOW_TOPIC_NAME_MAX], hex[65], key[96];
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
    int n = snprintf(key, sizeof key, "blob/%s/%u", hex, (unsigned)index);
    struct avow_bus_record rec = {.topic = avow_cli_topic(cli, "policies", topic),
                                  .partition = 0,
                                  .key = avow_bytes_make(key, (size_t)n),
                                  .value = avow_buf_bytes(&record)};
    rc = avow_bus_send(producer, &rec, err);
    return rc ? rc : avow_bus_flush(producer, FLUSH_MS, err);
}

static enum avow_rc push_head(struct avow_cli *cli, const struct push *p,
                              struct avow_bus_producer *producer, struct avow_err *err)
{
    char topic[AVOW_TOPIC_NAME_MAX], key[160];
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *signer = NULL;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    avow_buf_init(&record, AVOW_BUS_VALUE_MAX);
    int n = snprintf(key, sizeof key, "head/%s", p->name);
    struct avow_policy_head head = {.key = {key, (size_t)n},
                                    .generation = p->generation,
                                    .kind = p->kind,
                                    .bytes = p->document.len,
                                    .chunks = p->chunks,
                                    .issued_ms = avow_clock_unix_ms()};
    for (size_t i = 0; i < sizeof head.sha256; i++)
        head.sha256[i] = p->sha256[i];
    for (size_t i = 0; i < sizeof head.fleet; i++)
        head.fleet[i] = avow_trust_bundle(cli->trust)->fleet[i];
    enum avow_rc rc = avow_cli_tenant_key(cli, &signer, err);
    if (!rc)
        rc = avow_seal_policy_head(&head, signer, &record, err);
    if (!rc) /* never publish what readers would refuse */
        rc = avow_trust_verify(cli->trust, AVOW_ROLE_POLICY, avow_str_from(p->name),
                               &avow_wire_policy_head_schema, avow_buf_bytes(&record), err);
    if (!rc)
        rc = avow_cli_ledger_put(cli, "policies", p->name, p->generation, avow_buf_bytes(&record),
                                 err);
    if (rc)
        return rc;
    struct avow_bus_record rec = {.topic = avow_cli_topic(cli, "policies", topic),
                                  .partition = 0,
                                  .key = avow_bytes_make(key, (size_t)n),
                                  .value = avow_buf_bytes(&record)};
    rc = avow_bus_send(producer, &rec, err);
    return rc ? rc : avow_bus_flush(producer, FLUSH_MS, err);
}

/* Next generation of the name; *same when the topic's head names this very document. */
static enum avow_rc push_generation(struct avow_cli *cli, struct push *p, bool *same,
                                    struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_policy_list_deinit) struct avow_policy_list list;
    enum avow_rc rc = avow_policy_list_read(cli, &list, err);
    if (rc)
        return rc;
    const struct avow_policy_entry *e = avow_policy_list_find(&list, avow_str_from(p->name));
    *same = e && avow_ct_eq(e->head.sha256, p->sha256, sizeof p->sha256) && e->head.kind == p->kind;
    uint64_t floor = avow_trust_bundle(cli->trust)->generation_floor;
    p->generation = e ? e->head.generation + (*same ? 0 : 1) : 1;
    if (p->generation < floor)
        p->generation = floor;
    return AVOW_OK;
}

static enum avow_rc push_all(struct avow_cli *cli, struct push *p, bool *same, struct avow_err *err)
{
    enum avow_rc rc = push_check(p, err);
    if (!rc)
        rc = push_generation(cli, p, same, err);
    if (rc || *same)
        return rc;
    AVOW_CLEANUP(avow_bus_producer_free) struct avow_bus_producer *producer = NULL;
    struct avow_bus_producer_opts opts = {0};
    rc = avow_bus_producer_new(cli->bus, &opts, &producer, err);
    for (uint32_t i = 0; i < p->chunks && !rc; i++)
        rc = push_chunk(cli, p, i, producer, err);
    return rc ? rc : push_head(cli, p, producer, err);
}

enum avow_exit avow_cmd_policy_push(struct avow_cli *cli, int argc, char **argv)
{
    const char *pos[2] = {NULL}, *kind = "runtime";
    bool help = false, same = false;
    const struct avow_opt opts[] = {
        {"--kind", AVOW_OPT_STR, &kind, "KIND", "runtime (Keylime's runtime policy JSON)"},
        {"--help", AVOW_OPT_FLAG, &help, NULL, "this text"},
    };
    struct avow_err err = {.rc = AVOW_OK};
    size_t n = 0;
    enum avow_rc rc = avow_opts_parse(opts, AVOW_ARRAY_LEN(opts), argc, argv, pos, 2, &n, &err);
    struct push p = {.name = pos[0], .file = pos[1]};
    if (!rc && help) {
        printf("usage: avow policy push NAME FILE [OPTION...]\n\nChecks the file and publishes it "
               "under NAME. '-' is standard input.\n\noptions:\n");
        avow_opts_help(opts, AVOW_ARRAY_LEN(opts));
        return AVOW_EXIT_OK;
    }
    if (!rc && n != 2)
        rc = avow_err_set(&err, AVOW_USAGE, 0, "needs NAME and FILE");
    if (!rc && !avow_name_is_valid(avow_str_from(p.name)))
        rc = avow_err_set(&err, AVOW_USAGE, 0,
                          "'%s' is no policy name: letters, digits, '.', '_', '-', at most 128",
                          p.name);
    if (!rc && !avow_policy_kind_from_text(avow_str_from(kind), &p.kind))
        rc = avow_err_set(&err, AVOW_USAGE, 0, "--kind: '%s' is unknown", kind);
    if (rc)
        return avow_cli_usage("policy push", &err);
    char hex[65];
    avow_buf_init(&p.document, AVOW_POLICY_MAX);
    rc = push_all(cli, &p, &same, &err);
    avow_hex_encode(hex, AVOW_BYTES_OF(p.sha256));
    size_t bytes = p.document.len;
    avow_buf_deinit(&p.document);
    if (rc)
        return avow_cli_fail(rc, &err);
    if (cli->format == AVOW_FORMAT_JSON)
        printf("{\"name\":\"%s\",\"generation\":%llu,\"sha256\":\"%s\",\"bytes\":%zu,"
               "\"published\":%s}\n",
               p.name, (unsigned long long)p.generation, hex, bytes, same ? "false" : "true");
    else
        printf("%s generation %llu %s (%zu bytes, sha256 %.16s)\n", p.name,
               (unsigned long long)p.generation, same ? "is published already" : "published", bytes,
               hex);
    return AVOW_EXIT_OK;
}

static enum avow_rc list_print(const struct avow_cli *cli, const struct avow_policy_list *list,
                               struct avow_err *err)
{
    static const char *const titles[] = {"NAME", "KIND", "GENERATION", "BYTES", "SHA256"};
    struct avow_table table;
    enum avow_rc rc = AVOW_OK;
    avow_table_init(&table, titles, AVOW_ARRAY_LEN(titles));
    if (cli->format == AVOW_FORMAT_JSON)
        printf("[");
    for (size_t i = 0; i < list->count; i++) {
        const struct avow_policy_entry *e = &list->items[i];
        char hex[65];
        avow_hex_encode(hex, AVOW_BYTES_OF(e->head.sha256));
        if (cli->format == AVOW_FORMAT_JSON) {
            printf("%s{\"name\":\"%.*s\",\"kind\":\"%s\",\"generation\":%llu,\"bytes\":%llu,"
                   "\"sha256\":\"%s\"}",
                   i ? ",\n" : "", (int)e->name.len, e->name.ptr,
                   avow_policy_kind_text(e->head.kind), (unsigned long long)e->head.generation,
                   (unsigned long long)e->head.bytes, hex);
            continue;
        }
        avow_table_cell(&table, "%.*s", (int)e->name.len, e->name.ptr);
        avow_table_cell(&table, "%s", avow_policy_kind_text(e->head.kind));
        avow_table_cell(&table, "%llu", (unsigned long long)e->head.generation);
        avow_table_cell(&table, "%llu", (unsigned long long)e->head.bytes);
        avow_table_cell(&table, "%.*s", cli->format == AVOW_FORMAT_WIDE ? 64 : 16, hex);
    }
    if (cli->format == AVOW_FORMAT_JSON)
        printf("]\n");
    else
        rc = avow_table_print(&table, cli->color, err);
    avow_table_deinit(&table);
    return rc;
}

enum avow_exit avow_cmd_policy_list(struct avow_cli *cli, int argc, char **argv)
{
    bool help = false;
    const struct avow_opt opts[] = {{"--help", AVOW_OPT_FLAG, &help, NULL, "this text"}};
    struct avow_err err = {.rc = AVOW_OK};
    size_t n = 0;
    enum avow_rc rc = avow_opts_parse(opts, 1, argc, argv, NULL, 0, &n, &err);
    if (rc)
        return avow_cli_usage("policy list", &err);
    if (help) {
        printf("usage: avow policy list\n\nLists the newest head of each policy.\n");
        return AVOW_EXIT_OK;
    }
    AVOW_CLEANUP_VAL(avow_policy_list_deinit) struct avow_policy_list list;
    rc = avow_policy_list_read(cli, &list, &err);
    if (!rc)
        rc = list_print(cli, &list, &err);
    if (!rc && list.refused)
        fprintf(stderr, "avow: warning: %zu heads without a valid signature were ignored\n",
                list.refused);
    return rc ? avow_cli_fail(rc, &err) : AVOW_EXIT_OK;
}

enum avow_exit avow_cmd_policy_get(struct avow_cli *cli, int argc, char **argv)
{
    const char *name = NULL;
    bool help = false;
    const struct avow_opt opts[] = {{"--help", AVOW_OPT_FLAG, &help, NULL, "this text"}};
    struct avow_err err = {.rc = AVOW_OK};
    size_t n = 0;
    enum avow_rc rc = avow_opts_parse(opts, 1, argc, argv, &name, 1, &n, &err);
    if (!rc && help) {
        printf("usage: avow policy get NAME\n\nPrints the bytes that were pushed.\n");
        return AVOW_EXIT_OK;
    }
    if (!rc && n != 1)
        rc = avow_err_set(&err, AVOW_USAGE, 0, "needs NAME");
    if (rc)
        return avow_cli_usage("policy get", &err);
    AVOW_CLEANUP_VAL(avow_policy_list_deinit) struct avow_policy_list list;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf document;
    avow_buf_init(&document, AVOW_POLICY_MAX);
    rc = avow_policy_list_read(cli, &list, &err);
    const struct avow_policy_entry *e =
        rc ? NULL : avow_policy_list_find(&list, avow_str_from(name));
    if (!rc && !e)
        rc = avow_err_set(&err, AVOW_NOTFOUND, 0,
                          "there is no policy '%s': `avow policy list` shows all", name);
    if (!rc)
        rc = avow_policy_document_read(cli, &e->head, &document, &err);
    if (rc)
        return avow_cli_fail(rc, &err);
    if (fwrite(document.ptr, 1, document.len, stdout) != document.len) {
        avow_err_set(&err, AVOW_IO, 0, "standard output: write failed");
        return avow_cli_fail(AVOW_IO, &err);
    }
    return AVOW_EXIT_OK;
}
