/* `avow policy push` and `rm`. A policy is content-addressed chunks and one signed head that names
 * them. */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/crypto/digest.h"
#include "avow/crypto/dsse.h"
#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "avow/wire/policy_chunk.h"
#include "avow/wire/policy_head.h"
#include "json_out.h"
#include "ledger.h"
#include "policies.h"
#include "policy_kinds.h"
#include "policy_users.h"
#include "trust_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define WAIT_S 120u
#define CHUNK_BYTES (512u * 1024u) /* PROTOCOL B6 */
#define FLUSH_MS 60000u

struct push {
    const char *name;
    const char *file;
    enum avow_policy_kind kind;
    struct avow_buf document;
    struct avow_policy_summary summary;
    bool require_dsse;
    struct avow_policy_seal seal; /* of the document, if it is an envelope */
    uint8_t sha256[32];
    uint32_t chunks;
    uint64_t generation;
    bool same; /* the topic's head names this very document */
};

/* A document that workers could not load must not be published. */
static enum avow_rc push_check(struct push *p, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, AVOW_POLICY_MAX);
    enum avow_rc rc = avow_file_read(p->file, &p->document, err);
    if (rc)
        return rc;
    if (!p->document.len)
        return avow_err_set(err, AVOW_PARSE, 0, "%s is empty", p->file);
    avow_buf_put(&text, p->document.ptr, p->document.len);
    rc = avow_buf_status(&text, err);
    if (!rc)
        rc = avow_policy_unwrap(&text, &p->seal, err);
    if (!rc)
        rc = avow_policy_check(p->kind, avow_buf_bytes(&text), &p->summary, err);
    if (rc)
        return avow_err_wrap(err, rc, "%s", p->file);
    avow_sha256(avow_buf_bytes(&p->document), p->sha256);
    p->chunks = (uint32_t)((p->document.len + CHUNK_BYTES - 1) / CHUNK_BYTES);
    return AVOW_OK;
}

/* What workers will ask again: an envelope counts only by a policy author of the bundle. */
static enum avow_rc push_author(struct avow_cli *cli, const struct push *p, struct avow_err *err)
{
    const struct avow_pubkey *keys[AVOW_TRUST_KEYS_MAX];
    size_t n = avow_trust_keys(cli->trust, AVOW_ROLE_POLICY_AUTHOR, avow_str_from(p->name), keys);
    if (!p->seal.is_envelope)
        return p->require_dsse ? avow_err_set(err, AVOW_UNTRUSTED, 0,
                                              "%s: --require-dsse, and it is not signed", p->file)
                               : AVOW_OK;
    if (avow_dsse_verify(p->seal.pae_sha256, avow_buf_bytes(&p->seal.sigs), keys, n, NULL))
        return AVOW_OK;
    return avow_err_set(err, AVOW_UNTRUSTED, 0,
                        "%s: signed by no policy author of the trust bundle (%zu may sign for %s)",
                        p->file, n, p->name);
}

/* Next generation of the name. */
static enum avow_rc push_generation(struct avow_cli *cli, struct push *p, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_policy_list_deinit) struct avow_policy_list list;
    enum avow_rc rc = avow_policy_list_read(cli, &list, err);
    if (rc)
        return rc;
    avow_policy_list_warn(&list);
    rc = push_author(cli, p, err);
    if (rc)
        return rc;
    const struct avow_policy_entry *e = avow_policy_list_find(&list, avow_str_from(p->name));
    p->same = e && e->head.kind == p->kind && e->head.require_dsse == p->require_dsse &&
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
                                    .require_dsse = p->require_dsse,
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
 * published last, so that nobody is sent to chunks that are not there. Without chunks the head
 * names no document: nothing unsigned takes a policy away (PROTOCOL R10). */
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

static json_t *push_json(const struct push *p, size_t agents)
{
    char hex[65];
    const struct avow_runtime_policy_stats *stats = &p->summary.stats;
    avow_hex_encode(hex, AVOW_BYTES_OF(p->sha256));
    json_t *out =
        json_pack("{s:o,s:s,s:o,s:s,s:o,s:b,s:b,s:b,s:o}", "name", avow_json_cstr(p->name), "kind",
                  avow_policy_kind_text(p->kind), "generation", avow_json_u64(p->generation),
                  "sha256", hex, "bytes", avow_json_u64(p->document.len), "published",
                  (int)!p->same, "signed", (int)p->seal.is_envelope, "require_dsse",
                  (int)p->require_dsse, "agents", avow_json_u64(agents));
    if (!out || !p->summary.policy)
        return out;
    json_t *facts =
        json_pack("{s:o,s:o,s:o,s:o}", "paths", avow_json_u64(stats->paths), "digests",
                  avow_json_u64(stats->digests), "excludes", avow_json_u64(stats->excludes),
                  "warnings", avow_policy_warnings_json(&p->summary));
    if (json_object_update(out, facts)) {
        json_decref(out);
        out = NULL;
    }
    json_decref(facts);
    return out;
}

static enum avow_rc push_report(const struct avow_cli *cli, const struct push *p, size_t agents,
                                struct avow_err *err)
{
    char hex[65];
    const struct avow_runtime_policy_stats *stats = &p->summary.stats;
    avow_hex_encode(hex, AVOW_BYTES_OF(p->sha256));
    if (cli->format == AVOW_FORMAT_JSON)
        return avow_json_document(push_json(p, agents), err);
    printf("%s generation %" PRIu64 " %s (", p->name, p->generation,
           p->same ? "is published already" : "published");
    if (p->summary.policy)
        printf("%zu bytes, %zu paths, %zu digests, %zu excludes", p->document.len, stats->paths,
               stats->digests, stats->excludes);
    else
        printf("%s, %zu bytes", avow_policy_kind_text(p->kind), p->document.len);
    printf(", sha256 %.16s); %zu %s it\n", hex, agents,
           agents == 1 ? "enrolment names" : "enrolments name");
    return AVOW_OK;
}

static enum avow_rc push_parse(struct push *p, const char *kind, struct avow_err *err)
{
    if (!avow_name_is_valid(avow_str_from(p->name)))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "policy push: '%.150s' is no policy name: letters, digits, '.', '_', "
                            "'-', at most 128",
                            p->name);
    if (!avow_policy_kind_from_text(avow_str_from(kind), &p->kind))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "policy push: --kind: '%.60s' is not runtime, refstate, boot, static, "
                            "severity or keys",
                            kind);
    return AVOW_OK;
}

static void push_deinit(struct push *p)
{
    avow_buf_deinit(&p->document);
    avow_policy_seal_deinit(&p->seal);
    avow_policy_summary_deinit(&p->summary);
}

static enum avow_rc push_run(struct avow_cli *cli, struct push *p, uint64_t wait_s,
                             struct avow_err *err)
{
    struct avow_policy_users users = {.count = 0};
    enum avow_rc rc = push_check(p, err);
    if (!rc)
        rc = push_generation(cli, p, err);
    if (!rc && !p->same)
        rc = push_publish(cli, p, err);
    if (rc)
        return rc;
    struct avow_err uncounted; /* it is published all the same */
    bool counted = avow_policy_users_read(cli, p->name, 0, &users, &uncounted) == AVOW_OK;
    if (!counted)
        avow_cli_note("whom it concerns is not known: %s", uncounted.msg);
    avow_policy_print_notes(p->file, &p->summary);
    rc = push_report(cli, p, users.count, err);
    return rc || !wait_s ? rc : avow_policy_users_await(cli, p->name, p->generation, wait_s, err);
}

enum avow_exit avow_cmd_policy_push(struct avow_cli *cli, int argc, char **argv)
{
    const char *kind = "runtime";
    struct push p = {.chunks = 0};
    bool wait = false;
    uint64_t timeout_s = WAIT_S;
    const struct avow_opt opts[] = {
        AVOW_TEXT("--kind", &kind, "KIND",
                  "runtime (default), refstate, boot, static, severity or keys"),
        AVOW_FLAG("--require-dsse", &p.require_dsse,
                  "workers accept this name only as an envelope that a policy author signed"),
        AVOW_FLAG("--wait", &wait,
                  "until a verdict of each agent that names it names this version"),
        AVOW_NUMBER("--timeout", &timeout_s, "SECONDS", 1, 86400, "of --wait; 120 by default")};
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
    p.name = pos[0];
    p.file = pos[1];
    if (push_parse(&p, kind, &err))
        return avow_cli_usage(command.name, &err);
    avow_buf_init(&p.document, AVOW_POLICY_MAX);
    enum avow_rc rc = push_run(cli, &p, wait ? timeout_s : 0, &err);
    push_deinit(&p);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}

/* --- rm --- */

static enum avow_rc rm_run(struct avow_cli *cli, struct push *p, bool force, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_policy_list_deinit) struct avow_policy_list list;
    struct avow_policy_users users = {.count = 0};
    enum avow_rc rc = avow_policy_list_read(cli, &list, err);
    if (rc)
        return rc;
    avow_policy_list_warn(&list);
    const struct avow_policy_entry *e = avow_policy_list_find(&list, avow_str_from(p->name));
    if (!e || avow_policy_entry_is_removed(e)) {
        avow_cli_hint(cli, "`avow policy list` shows all");
        return avow_err_set(err, AVOW_NOTFOUND, 0, "there is no policy '%.150s'", p->name);
    }
    p->kind = e->head.kind;
    rc = avow_policy_users_read(cli, p->name, 0, &users, err);
    if (!rc && users.count && !force) {
        avow_cli_hint(cli, "enrol them with another policy first; --force leaves them without a "
                           "verdict");
        return avow_err_set(err, AVOW_REFUSED, 0, "%zu enrolments name it, %.128s among them",
                            users.count, users.one);
    }
    if (!rc)
        rc = avow_ledger_next(cli, "policies", p->name, e->head.generation,
                              avow_trust_bundle(cli->trust)->generation_floor, &p->generation, err);
    return rc ? rc : push_publish(cli, p, err);
}

enum avow_exit avow_cmd_policy_rm(struct avow_cli *cli, int argc, char **argv)
{
    struct push p = {.chunks = 0};
    bool force = false;
    const struct avow_opt opts[] = {
        AVOW_FLAG("--force", &force, "also if enrolments name it: their agents get no verdict")};
    const struct avow_command command = {
        .name = "policy rm",
        .words = "NAME",
        .about = "Takes a policy out of use. The name can be pushed again.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 1,
        .max_words = 1};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    p.name = pos[0];
    enum avow_rc rc = rm_run(cli, &p, force, &err);
    if (!rc && cli->format == AVOW_FORMAT_JSON)
        rc = avow_json_document(json_pack("{s:o,s:o}", "removed", avow_json_cstr(p.name),
                                          "generation", avow_json_u64(p.generation)),
                                &err);
    else if (!rc)
        printf("%s removed (generation %" PRIu64 ")\n", p.name, p.generation);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}
