/* `avow policy create` and `convert`: runtime policies out of lists and logs. No broker. */
#include "commands.h"

#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/core/ima_keys.h"
#include "avow/core/runtime_policy.h"
#include "avow/crypto/key.h"
#include "avow/formats/dsse.h"
#include "avow/formats/ima_list.h"
#include "cmd_policy_boot.h"
#include "policy_facts.h"

#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define IMA_LOG_MAX (1024u * 1024u * 1024u)
#define KEY_FILE_MAX (64u * 1024u)

struct create {
    struct avow_opt_list logs, lists, excludes, exclude_files, ignored, keys;
    bool keyrings, buffers, pin, strict;
    const char *out;
    struct avow_policy_facts facts;
    size_t violations, unknown; /* entries that went to no policy */
};

/* Only what loads is handed out. */
static enum avow_rc emit(struct avow_policy_facts *facts, const char *out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    AVOW_CLEANUP(avow_runtime_policy_free) struct avow_runtime_policy *policy = NULL;
    avow_buf_init(&text, AVOW_POLICY_MAX);
    avow_policy_facts_sort(facts);
    for (size_t i = 0; i < facts->count; i++)
        if (facts->items[i].kind == AVOW_POLICY_ITEM_WARNING)
            avow_cli_note("warning: %.*s", (int)facts->items[i].name.len, facts->items[i].name.ptr);
    enum avow_rc rc = avow_policy_facts_write(facts, &text, err);
    if (!rc)
        rc = avow_runtime_policy_load(avow_buf_bytes(&text), &policy, err);
    if (rc)
        return rc;
    if (out)
        return avow_file_write(out, avow_buf_bytes(&text), 0644, err);
    (void)fwrite(text.ptr, 1, text.len, stdout); /* judged when the program ends */
    return AVOW_OK;
}

static enum avow_rc take_policy(struct avow_policy_facts *facts, const char *file,
                                struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, AVOW_POLICY_MAX);
    enum avow_rc rc = avow_file_read(file, &text, err);
    if (rc)
        return rc;
    if (avow_dsse_is_envelope(avow_buf_bytes(&text)))
        rc = avow_err_set(err, AVOW_PARSE, 0,
                          "a signed envelope, whose signature would be lost; `avow policy verify` "
                          "writes what it holds");
    else
        rc = avow_policy_facts_load(facts, avow_buf_bytes(&text), err);
    return rc ? avow_err_wrap(err, rc, "%s", file) : AVOW_OK;
}

/* --- create --- */

static bool is_key(struct avow_bytes data)
{
    struct avow_ima_keys *keys = NULL;
    bool yes = avow_ima_keys_load(data, &keys, NULL) == AVOW_OK;
    avow_ima_keys_free(keys);
    return yes;
}

static bool is_known_digest(const struct avow_ima_file *f)
{
    enum avow_hash alg;
    return avow_hash_from_name(f->hash_alg, &alg) && avow_hash_len(alg) == f->digest.len &&
           f->digest_type == AVOW_IMA_OF_FILE;
}

static enum avow_rc take_entry(struct create *c, const struct avow_ima_entry *e,
                               struct avow_err *err)
{
    struct avow_ima_file f;
    if (avow_ima_entry_is_violation(e)) {
        c->violations++;
        return AVOW_OK;
    }
    if (avow_ima_file_parse(e, &f, NULL) || !is_known_digest(&f) || !avow_utf8_is_valid(f.path)) {
        c->unknown++;
        return AVOW_OK;
    }
    enum avow_policy_item kind = AVOW_POLICY_ITEM_DIGEST;
    if (f.has_buffer) {
        bool key = is_key(f.buffer);
        if (key ? !c->keyrings : !c->buffers)
            return AVOW_OK;
        kind = key ? AVOW_POLICY_ITEM_KEYRING : AVOW_POLICY_ITEM_IMA_BUF;
    } else if (avow_str_is(f.path, "boot_aggregate") && !c->pin) {
        return AVOW_OK;
    }
    return avow_policy_facts_add(&c->facts, kind, f.path, f.digest, err);
}

static enum avow_rc take_log(struct create *c, const char *file, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf log;
    struct avow_ima_view view;
    struct avow_ima_entry e;
    enum avow_ima_next next = AVOW_IMA_END;
    size_t n = 0;
    avow_buf_init(&log, IMA_LOG_MAX);
    enum avow_rc rc = avow_file_read(file, &log, err);
    if (rc)
        return rc;
    avow_ima_view_init(&view, avow_buf_bytes(&log));
    if (log.len)
        while (!rc && (next = avow_ima_view_next(&view, &e)) == AVOW_IMA_ENTRY) {
            rc = take_entry(c, &e, err);
            n++;
        }
    avow_ima_view_deinit(&view);
    if (!rc && next != AVOW_IMA_END)
        rc = avow_err_set(err, AVOW_PARSE, 0, "%s: no measurement list after %zu entries", file, n);
    return rc;
}

/* One expression a line; empty lines and '#' at the beginning are left out. */
static enum avow_rc take_exclude_file(struct create *c, const char *file, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, AVOW_POLICY_MAX);
    enum avow_rc rc = avow_file_read(file, &text, err);
    for (size_t at = 0; !rc && at < text.len;) {
        const uint8_t *start = text.ptr + at, *end = memchr(start, '\n', text.len - at);
        size_t len = end ? (size_t)(end - start) : text.len - at;
        at += len + 1;
        if (len && start[len - 1] == '\r')
            len--;
        if (len && start[0] != '#')
            rc = avow_policy_facts_add(&c->facts, AVOW_POLICY_ITEM_EXCLUDE,
                                       (struct avow_str){(const char *)start, len},
                                       (struct avow_bytes){NULL, 0}, err);
    }
    return rc;
}

static enum avow_rc put_key(const char *file, bool first, struct avow_buf *out,
                            struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf pem;
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *key = NULL;
    avow_buf_init(&pem, KEY_FILE_MAX);
    enum avow_rc rc = avow_file_read(file, &pem, err);
    if (!rc && avow_pubkey_from_pem(avow_buf_bytes(&pem), &key, err))
        rc = avow_err_wrap(err, err->rc, "%s", file);
    if (rc)
        return rc;
    avow_buf_put_str(out, first ? "\"" : ", \"");
    avow_buf_put_base64(out, avow_pubkey_spki(key));
    avow_buf_put_u8(out, '"');
    return AVOW_OK;
}

/* As Keylime writes a keyring of public keys. */
static enum avow_rc take_keys(struct create *c, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    enum avow_rc rc = AVOW_OK;
    avow_buf_init(&text, AVOW_IMA_KEYS_TEXT_MAX);
    if (!c->keys.count)
        return AVOW_OK;
    avow_buf_put_str(&text, "{\"meta\": {\"version\": 1}, \"pubkeys\": [");
    for (size_t i = 0; i < c->keys.count && !rc; i++)
        rc = put_key(c->keys.items[i], i == 0, &text, err);
    avow_buf_put_str(&text, "]}");
    if (!rc)
        rc = avow_buf_status(&text, err);
    return rc ? rc
              : avow_policy_facts_add(&c->facts, AVOW_POLICY_ITEM_VERIFICATION_KEYS,
                                      (struct avow_str){(const char *)text.ptr, text.len},
                                      (struct avow_bytes){NULL, 0}, err);
}

static enum avow_rc take_names(struct create *c, enum avow_policy_item kind,
                               const struct avow_opt_list *names, struct avow_err *err)
{
    enum avow_rc rc = AVOW_OK;
    for (size_t i = 0; i < names->count && !rc; i++)
        rc = avow_policy_facts_add(&c->facts, kind, avow_str_from(names->items[i]),
                                   (struct avow_bytes){NULL, 0}, err);
    return rc;
}

static enum avow_rc create_run(struct create *c, struct avow_err *err)
{
    enum avow_rc rc = AVOW_OK;
    for (size_t i = 0; i < c->lists.count && !rc; i++)
        rc = take_policy(&c->facts, c->lists.items[i], err);
    for (size_t i = 0; i < c->logs.count && !rc; i++)
        rc = take_log(c, c->logs.items[i], err);
    for (size_t i = 0; i < c->exclude_files.count && !rc; i++)
        rc = take_exclude_file(c, c->exclude_files.items[i], err);
    if (!rc)
        rc = take_names(c, AVOW_POLICY_ITEM_EXCLUDE, &c->excludes, err);
    if (!rc)
        rc = take_names(c, AVOW_POLICY_ITEM_IGNORED_KEYRING, &c->ignored, err);
    if (!rc)
        rc = take_keys(c, err);
    if (!rc && c->strict)
        rc = avow_policy_facts_add(&c->facts, AVOW_POLICY_ITEM_STRICT_EXCLUDES, AVOW_STR_LIT(""),
                                   (struct avow_bytes){NULL, 0}, err);
    if (!rc)
        rc = emit(&c->facts, c->out, err);
    if (!rc && c->violations)
        avow_cli_note("note: %zu violations of the logs are in no policy", c->violations);
    if (!rc && c->unknown)
        avow_cli_note("note: %zu entries cannot be listed: their template, algorithm or path",
                      c->unknown);
    return rc;
}

/* What is wrong with the options, or NULL. */
static const char *create_usage(const struct create *c, const struct avow_boot_create *boot,
                                const char *kind)
{
    bool runtime = c->logs.count || c->lists.count || c->excludes.count || c->exclude_files.count ||
                   c->ignored.count || c->keys.count || c->keyrings || c->buffers || c->pin ||
                   c->strict;
    if (avow_cstr_eq(kind, "boot")) {
        if (runtime)
            return "that option is one of runtime policies";
        return boot->logs.count ? NULL : "boot needs --uefi-log FILE";
    }
    if (!avow_cstr_eq(kind, "runtime"))
        return "the kind is neither runtime nor boot";
    if (avow_boot_create_given(boot))
        return "that option is one of boot policies";
    return c->logs.count || c->lists.count ? NULL : "needs --ima-log FILE or --digests FILE";
}

enum avow_exit avow_cmd_policy_create(struct avow_cli *cli, int argc, char **argv)
{
    struct create c = {.out = NULL};
    struct avow_boot_create boot = {.pcrs = NULL};
    const struct avow_opt opts[] = {
        AVOW_LIST("--ima-log", &c.logs, "FILE", "allow what this measurement list has, any form"),
        AVOW_LIST("--digests", &c.lists, "FILE",
                  "add a list of `digest path` lines, or a policy of any form"),
        AVOW_LIST("--allowlist", &c.lists, "FILE", "the same"),
        AVOW_LIST("--base-policy", &c.lists, "FILE", "the same"),
        AVOW_LIST("--exclude", &c.excludes, "EXPRESSION", "add an exclude"),
        AVOW_LIST("--exclude-list", &c.exclude_files, "FILE", "add excludes, one a line"),
        AVOW_FLAG("--strict-excludes", &c.strict, "excludes match whole paths, not prefixes"),
        AVOW_FLAG("--keyrings", &c.keyrings, "allow the keys that the log shows being loaded"),
        AVOW_FLAG("--ima-buf", &c.buffers, "allow the other buffers of the log"),
        AVOW_LIST("--ignored-keyring", &c.ignored, "NAME", "do not judge this keyring; * is all"),
        AVOW_LIST("--verification-key", &c.keys, "PEM", "a public key that may sign files"),
        AVOW_FLAG("--pin-boot-aggregate", &c.pin,
                  "list the log's boot_aggregate: fits hosts with the same boot PCRs only"),
        AVOW_LIST("--uefi-log", &boot.logs, "FILE",
                  "boot: accept what this firmware log has; several become alternatives"),
        AVOW_FLAG("--no-firmware", &boot.no_firmware, "boot: leave out PCR 0 and 2"),
        AVOW_LIST("--command-line", &boot.lines, "EXPRESSION",
                  "boot: accept these command lines instead of those of the logs"),
        AVOW_FLAG("--any-grub-command", &boot.any_command,
                  "boot: accept whatever GRUB runs but command lines"),
        AVOW_LIST("--any-file", &boot.any_files, "TEXT",
                  "boot: do not judge files of PCR 9 with this in their name"),
        AVOW_TEXT("--pcrs", &boot.pcrs, "LIST", "boot: judge every event of these PCRs, too"),
        AVOW_TEXT("--out", &c.out, "FILE", "write there instead of standard output")};
    const struct avow_command command = {
        .name = "policy create",
        .words = "runtime|boot",
        .about = "Writes a runtime policy from lists of digests and measurement lists, or a boot "
                 "policy from firmware\nlogs of machines that are known to be good, which they "
                 "pass. The same input gives the same bytes.",
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
    bool is_boot = avow_cstr_eq(pos[0], "boot");
    const char *wrong = create_usage(&c, &boot, pos[0]);
    if (wrong) {
        (void)avow_err_set(&err, AVOW_USAGE, 0, "policy create: %s", wrong);
        return avow_cli_usage(command.name, &err);
    }
    avow_policy_facts_init(&c.facts);
    enum avow_rc rc = is_boot ? avow_boot_create(&boot, c.out, &err) : create_run(&c, &err);
    avow_policy_facts_deinit(&c.facts);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}

/* --- convert --- */

enum avow_exit avow_cmd_policy_convert(struct avow_cli *cli, int argc, char **argv)
{
    const char *out = NULL;
    const struct avow_opt opts[] = {
        AVOW_TEXT("--out", &out, "FILE", "write there instead of standard output")};
    const struct avow_command command = {
        .name = "policy convert",
        .words = "FILE",
        .about = "Writes a runtime policy or allowlist of an older form as one of the newest "
                 "version. What it allows\nstays the same.",
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
    AVOW_CLEANUP_VAL(avow_policy_facts_deinit) struct avow_policy_facts facts;
    avow_policy_facts_init(&facts);
    enum avow_rc rc = take_policy(&facts, pos[0], &err);
    if (!rc)
        rc = emit(&facts, out, &err);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}
