/* offline.c - see offline.h. */
#include "offline.h"

#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/base/num.h"
#include "avow/crypto/digest.h"
#include "policy_kinds.h"

#include <string.h>

#include "avow/base/banned.h"

#define ARENA_MAX (256u * 1024u * 1024u)

/* --- Files --- */

void avow_offline_files_deinit(struct avow_offline_files *f)
{
    for (size_t i = 0; i < f->count; i++)
        avow_buf_deinit(&f->bufs[i]);
    f->count = 0;
}

static enum avow_rc next_buf(struct avow_offline_files *f, const char *path, size_t max,
                             struct avow_buf **out, struct avow_err *err)
{
    bool is_stdin = avow_cstr_eq(path, "-");
    if (f->count == AVOW_ARRAY_LEN(f->bufs))
        return avow_err_set(err, AVOW_USAGE, 0, "too many files");
    if (is_stdin && f->stdin_used)
        return avow_err_set(err, AVOW_USAGE, 0, "standard input can be read once");
    f->stdin_used |= is_stdin;
    *out = &f->bufs[f->count++];
    avow_buf_init(*out, max);
    return AVOW_OK;
}

enum avow_rc avow_offline_read(struct avow_offline_files *f, const char *path, size_t max,
                               struct avow_bytes *out, struct avow_err *err)
{
    struct avow_buf *b = NULL;
    enum avow_rc rc = next_buf(f, path, max, &b, err);
    if (!rc)
        rc = avow_file_read(path, b, err);
    if (!rc)
        *out = avow_buf_bytes(b);
    return rc;
}

enum avow_rc avow_offline_read_host(struct avow_offline_files *f, const char *path, size_t max,
                                    struct avow_appraise_file *out, struct avow_err *err)
{
    struct avow_buf *b = NULL;
    *out = (struct avow_appraise_file){.given = false};
    if (!path)
        return AVOW_OK;
    enum avow_rc rc = next_buf(f, path, max, &b, err);
    if (!rc)
        rc = avow_file_read(path, b, err);
    if (rc == AVOW_LIMIT) {
        avow_buf_deinit(b);
        avow_buf_init(b, max + 1);
        (void)avow_buf_extend(b, max + 1);
        rc = avow_buf_status(b, err);
    }
    if (!rc)
        *out = (struct avow_appraise_file){true, avow_buf_bytes(b)};
    return rc;
}

/* --- Values of options --- */

enum avow_rc avow_offline_hex(const char *option, const char *text, uint8_t *out, size_t cap,
                              size_t *len, struct avow_err *err)
{
    struct avow_str hex = avow_str_from(text);
    if (avow_str_starts(hex, "0x"))
        hex = (struct avow_str){hex.ptr + 2, hex.len - 2};
    *len = hex.len / 2;
    if (!*len || hex.len % 2 || *len > cap || !avow_hex_decode(out, *len, hex))
        return avow_err_set(err, AVOW_USAGE, 0, "%s: 2 to %zu hex digits are wanted, two a byte",
                            option, 2 * cap);
    return AVOW_OK;
}

static bool parse_range(struct avow_str s, uint64_t *from, uint64_t *to)
{
    const char *dash = s.len ? memchr(s.ptr, '-', s.len) : NULL;
    size_t head = dash ? (size_t)(dash - s.ptr) : s.len;
    if (!avow_num_parse_u64((struct avow_str){s.ptr, head}, AVOW_PCR_COUNT - 1, from))
        return false;
    *to = *from;
    return !dash || (avow_num_parse_u64((struct avow_str){dash + 1, s.len - head - 1},
                                        AVOW_PCR_COUNT - 1, to) &&
                     *to >= *from);
}

/* Calls for each word between commas. False: the word is none. */
typedef bool (*word_fn)(void *ctx, struct avow_str word);
static bool each_word(const char *text, word_fn fn, void *ctx)
{
    for (;;) {
        size_t len = strcspn(text, ",");
        if (!fn(ctx, (struct avow_str){text, len}))
            return false;
        if (!text[len])
            return true;
        text += len + 1;
    }
}

static bool take_pcrs(void *ctx, struct avow_str word)
{
    uint32_t *pcrs = ctx;
    uint64_t from, to;
    if (!parse_range(word, &from, &to))
        return false;
    for (; from <= to; from++)
        *pcrs |= UINT32_C(1) << from;
    return true;
}

enum avow_rc avow_offline_pcrs(const char *option, const char *text, uint32_t *out,
                               struct avow_err *err)
{
    *out = 0;
    if (text && !each_word(text, take_pcrs, out))
        return avow_err_set(err, AVOW_USAGE, 0, "%s: numbers of PCRs are wanted, as 0-7,14",
                            option);
    return AVOW_OK;
}

static bool take_scheme(void *ctx, struct avow_str word)
{
    struct avow_offline_demands *d = ctx;
    enum avow_sign_alg alg;
    if (!avow_sign_alg_from_text(word, &alg))
        return false;
    for (size_t i = 0; i < d->enrollment.sign_algs_count; i++) {
        if (d->sign_algs[i] == alg)
            return false;
    }
    d->sign_algs[d->enrollment.sign_algs_count++] = alg;
    return true;
}

static bool take_hash(void *ctx, struct avow_str word)
{
    struct avow_offline_demands *d = ctx;
    enum avow_hash_alg alg;
    if (!avow_hash_alg_from_text(word, &alg))
        return false;
    for (size_t i = 0; i < d->enrollment.banks_count; i++) {
        if (d->hashes[i] == alg)
            return false;
    }
    d->hashes[d->enrollment.banks_count++] = alg;
    return true;
}

/* --- Demands --- */

static enum avow_rc read_algorithms(const struct avow_offline_options *o,
                                    struct avow_offline_demands *d, struct avow_err *err)
{
    struct avow_enrollment *e = &d->enrollment;
    if (!each_word(o->accept_signing ? o->accept_signing : "rsassa,rsapss,ecdsa", take_scheme, d))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "--accept-signing: some of rsassa, rsapss, ecdsa are wanted, each "
                            "once");
    if (!each_word(o->accept_hash ? o->accept_hash : "sha256,sha384,sha512", take_hash, d))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "--accept-hash: some of sha1, sha256, sha384, sha512 are wanted, each "
                            "once");
    e->sign_algs = d->sign_algs;
    e->banks = e->sign_hashes = d->hashes;
    e->sign_hashes_count = e->banks_count;
    return AVOW_OK;
}

/* What was judged by a document must not be taken for judged by another one. */
static void add_head(struct avow_offline_demands *d, struct avow_str name, struct avow_bytes text)
{
    struct avow_head_ref *h = &d->heads[d->policy.heads_count++];
    *h = (struct avow_head_ref){.name = name, .generation = 1};
    avow_sha256(text, h->sha256);
}

static enum avow_rc read_runtime(const char *file, struct avow_offline_files *files,
                                 struct avow_offline_demands *d, struct avow_err *err)
{
    struct avow_bytes text;
    enum avow_rc rc = avow_offline_read(files, file, AVOW_POLICY_MAX, &text, err);
    if (rc)
        return rc;
    struct avow_buf *b = &files->bufs[files->count - 1];
    rc = avow_policy_unwrap(b, NULL, err);
    if (!rc)
        rc = avow_runtime_policy_load(avow_buf_bytes(b), &d->runtime, err);
    if (rc)
        return avow_err_wrap(err, rc, "%.150s", file);
    add_head(d, AVOW_STR_LIT("runtime"), avow_buf_bytes(b));
    d->policy.runtime = d->runtime;
    d->enrollment.has_runtime_policy = true;
    return AVOW_OK;
}

static enum avow_rc read_keys(const struct avow_opt_list *list, struct avow_offline_files *files,
                              struct avow_offline_demands *d, struct avow_err *err)
{
    for (size_t i = 0; i < list->count; i++) {
        struct avow_bytes text;
        enum avow_rc rc =
            avow_offline_read(files, list->items[i], AVOW_IMA_KEYS_TEXT_MAX, &text, err);
        if (rc)
            return rc;
        rc = d->keys ? avow_ima_keys_add(d->keys, text, err)
                     : avow_ima_keys_load(text, &d->keys, err);
        if (rc)
            return avow_err_wrap(err, rc, "%.150s", list->items[i]);
    }
    return AVOW_OK;
}

/* The set itself is its document, in whatever files it came. */
static enum avow_rc use_keys(struct avow_offline_demands *d, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf all;
    avow_buf_init(&all, 2u * AVOW_IMA_KEYS_TEXT_MAX);
    if (!d->keys)
        return AVOW_OK;
    for (size_t i = 0; i < avow_ima_keys_count(d->keys); i++) {
        struct avow_bytes spki = avow_pubkey_spki(avow_ima_keys_get(d->keys, i));
        avow_buf_put_u32be(&all, avow_ima_keys_id(d->keys, i));
        avow_buf_put(&all, spki.ptr, spki.len);
    }
    add_head(d, AVOW_STR_LIT("keys"), avow_buf_bytes(&all));
    d->policy.keys = d->keys;
    d->enrollment.has_verify_keys = true;
    return avow_buf_status(&all, err);
}

static enum avow_rc read_severity(const char *file, struct avow_offline_files *files,
                                  struct avow_offline_demands *d, struct avow_err *err)
{
    struct avow_bytes text;
    enum avow_rc rc = avow_offline_read(files, file, AVOW_SEVERITY_TEXT_MAX, &text, err);
    if (rc)
        return rc;
    rc = avow_severity_load(text, &d->severity, err);
    if (rc)
        return avow_err_wrap(err, rc, "%.150s", file);
    add_head(d, AVOW_STR_LIT("severity"), text);
    d->policy.severity = d->severity;
    d->enrollment.has_severity = true;
    return AVOW_OK;
}

/* Which of its languages a boot policy is written in, its content tells. */
static enum avow_rc read_boot(const struct avow_offline_options *o,
                              struct avow_offline_files *files, struct avow_offline_demands *d,
                              struct avow_err *err)
{
    const char *file = o->boot_policy ? o->boot_policy : o->refstate;
    struct avow_bytes text;
    if (o->boot_policy && o->refstate)
        return avow_err_set(err, AVOW_USAGE, 0, "give --boot-policy or --refstate, not both");
    enum avow_rc rc = avow_offline_read(files, file, AVOW_BOOT_POLICY_MAX, &text, err);
    if (rc)
        return rc;
    struct avow_buf *b = &files->bufs[files->count - 1];
    rc = avow_policy_unwrap(b, NULL, err);
    if (!rc)
        rc = avow_boot_policy_load(avow_buf_bytes(b), &d->boot, err);
    if (rc)
        return avow_err_wrap(err, rc, "%.150s", file);
    add_head(d, AVOW_STR_LIT("boot"), avow_buf_bytes(b));
    d->policy.boot = d->boot;
    d->policy.boot_sha256 = d->heads[d->policy.heads_count - 1].sha256;
    d->enrollment.has_boot_policy = true;
    return AVOW_OK;
}

static enum avow_rc read_tpm_policy(const char *source, struct avow_offline_demands *d,
                                    struct avow_err *err)
{
    enum avow_rc rc = avow_pcr_policy_read(source, &d->pcrs, err);
    if (rc)
        return avow_err_wrap(err, rc, "--tpm-policy");
    d->enrollment.pcrs = d->pcrs.rules;
    d->enrollment.pcrs_count = d->pcrs.count;
    d->mask = d->pcrs.mask;
    return AVOW_OK;
}

enum avow_rc avow_offline_demands_read(const struct avow_offline_options *o,
                                       struct avow_offline_files *files,
                                       struct avow_offline_demands *out, struct avow_err *err)
{
    static const uint16_t ima_pcrs[] = {10};
    *out = (struct avow_offline_demands){
        .enrollment = {.key = AVOW_STR_LIT("offline"),
                       .generation = 1,
                       .status = AVOW_ENROLL_STATUS_ACTIVE,
                       .ima_pcrs = ima_pcrs,
                       .ima_pcrs_count = AVOW_ARRAY_LEN(ima_pcrs),
                       .flags = {.allow_padded = o->allow_padded,
                                 .allow_violations = o->allow_violations,
                                 .check_signatures = o->check_signatures},
                       .metadata = AVOW_STR_LIT("{}")}};
    out->policy.heads = out->heads;
    enum avow_rc rc = read_algorithms(o, out, err);
    if (!rc && (o->boot_policy || o->refstate))
        rc = read_boot(o, files, out, err);
    if (!rc && o->runtime_policy)
        rc = read_runtime(o->runtime_policy, files, out, err);
    if (!rc)
        rc = read_keys(&o->keys, files, out, err);
    if (!rc)
        rc = read_keys(&o->keyrings, files, out, err);
    if (!rc)
        rc = use_keys(out, err);
    if (!rc && o->severity)
        rc = read_severity(o->severity, files, out, err);
    if (!rc && o->tpm_policy)
        rc = read_tpm_policy(o->tpm_policy, out, err);
    return rc;
}

void avow_offline_demands_deinit(struct avow_offline_demands *d)
{
    avow_pcr_policy_deinit(&d->pcrs);
    avow_runtime_policy_free(d->runtime);
    avow_ima_keys_free(d->keys);
    avow_severity_free(d->severity);
    avow_boot_policy_free(d->boot);
}

void avow_offline_init(struct avow_offline *o)
{
    avow_arena_init(&o->arena, ARENA_MAX);
}

void avow_offline_deinit(struct avow_offline *o)
{
    avow_offline_files_deinit(&o->files);
    avow_offline_demands_deinit(&o->demands);
    avow_arena_deinit(&o->arena);
}
