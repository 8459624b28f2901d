/* refstate_load.c - reads Keylime's reference state: refstate.h. */
#include "refstate.h"

#include "avow/base/hex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_read.h"

#include "avow/base/banned.h"

#define HEX_PREFIX "0x"

static struct avow_refstate *refstate_of(const struct avow_json_read *r)
{
    return r->ctx;
}

static enum avow_rc no_memory(struct avow_json_read *r)
{
    return refstate_of(r)->arena.used > AVOW_BOOT_POLICY_BYTES_MAX / 2
               ? avow_json_refuse(r, AVOW_LIMIT, "more than is held")
               : avow_json_refuse(r, AVOW_NOMEM, "no memory");
}

/* --- What is not used --- */

static enum avow_rc warn(struct avow_refstate *p, const char *path, const char *reason)
{
    size_t at = p->warnings_count++;
    if (at >= AVOW_BOOT_POLICY_WARNINGS_KEPT)
        return AVOW_OK;
    const char *text = avow_arena_printf(&p->arena, "%s: %s", path, reason);
    p->warnings[at] = text ? avow_str_from(text) : (struct avow_str){NULL, 0};
    return text ? AVOW_OK : AVOW_NOMEM;
}

static enum avow_rc skip_unknown(struct avow_json_read *r, void *out)
{
    (void)out;
    if (!avow_json_skip(&r->j, NULL))
        return avow_json_refuse(r, AVOW_PARSE, "no value");
    return warn(refstate_of(r), r->path, "unknown key: it is not used") ? no_memory(r) : AVOW_OK;
}

#define ANYTHING_ELSE                                                                              \
    {                                                                                              \
        NULL, skip_unknown, NULL, false                                                            \
    }

/* --- Digests --- */

/* Keylime writes and compares lower case. */
static bool is_hex(struct avow_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!(s.ptr[i] >= '0' && s.ptr[i] <= '9') && !(s.ptr[i] >= 'a' && s.ptr[i] <= 'f'))
            return false;
    }
    return s.len % 2 == 0;
}

static enum avow_rc read_hex(struct avow_json_read *r, struct avow_str *out)
{
    struct avow_str s;
    enum avow_rc rc = avow_json_read_text(r, &s);
    if (rc)
        return rc;
    if (!avow_str_starts(s, HEX_PREFIX))
        return avow_json_refuse(r, AVOW_PARSE, "does not begin with 0x");
    *out = (struct avow_str){s.ptr + 2, s.len - 2};
    return is_hex(*out)
               ? AVOW_OK
               : avow_json_refuse(r, AVOW_PARSE, "not 0x and pairs of lower-case hex digits");
}

static enum avow_rc read_sha256(struct avow_json_read *r, void *out)
{
    struct avow_str hex = {NULL, 0};
    enum avow_rc rc = read_hex(r, &hex);
    if (rc)
        return rc;
    return avow_hex_decode(out, AVOW_SHA256_LEN, hex)
               ? AVOW_OK
               : avow_json_refuse(r, AVOW_PARSE, "not a SHA-256");
}

static enum avow_rc read_digest_of(struct avow_json_read *r, struct avow_str key, void *out)
{
    struct avow_refstate_digests *d = out;
    struct avow_boot_digest digest = {0};
    struct avow_str hex = {NULL, 0};
    enum avow_hash alg;
    if (!avow_hash_from_name(key, &alg))
        return skip_unknown(r, NULL);
    enum avow_rc rc = read_hex(r, &hex);
    if (rc)
        return rc;
    digest.alg = (uint8_t)alg;
    if (!avow_hex_decode(digest.bytes, avow_hash_len(alg), hex))
        return avow_json_refuse(r, AVOW_PARSE, "not a digest of this algorithm");
    struct avow_boot_digest *items =
        avow_boot_add(&refstate_of(r)->arena, d->items, &d->count, &d->cap, sizeof *items);
    if (!items)
        return no_memory(r);
    d->items = items;
    items[d->count - 1] = digest;
    d->algs |= UINT32_C(1) << alg;
    return AVOW_OK;
}

/* {"sha256": "0x..."}: one digest, in one bank or several. */
static enum avow_rc read_digest(struct avow_json_read *r, void *out)
{
    struct avow_refstate_digests *d = out;
    size_t before = d->count;
    enum avow_rc rc = avow_json_read_keys(r, read_digest_of, d, AVOW_EVENT_DIGESTS_MAX);
    if (!rc && d->count == before)
        rc = avow_json_refuse(r, AVOW_PARSE, "no digest of a known algorithm");
    return rc;
}

static void sort(struct avow_refstate_digests *d)
{
    if (d->count)
        qsort(d->items, d->count, sizeof *d->items, avow_boot_digest_cmp);
}

static enum avow_rc read_one_digest(struct avow_json_read *r, void *out)
{
    enum avow_rc rc = read_digest(r, out);
    sort(out);
    return rc;
}

static enum avow_rc read_digests(struct avow_json_read *r, void *out)
{
    enum avow_rc rc = avow_json_read_list(r, read_digest, out, AVOW_REFSTATE_DIGESTS_MAX);
    sort(out);
    return rc;
}

static enum avow_rc read_grub_files(struct avow_json_read *r, void *out)
{
    struct avow_refstate *p = out;
    p->has_grub_files = true;
    return read_digests(r, &p->grub_files);
}

/* --- Firmware --- */

static enum avow_rc read_blob(struct avow_json_read *r, void *out)
{
    struct avow_refstate_firmware *f = out;
    struct avow_refstate_digests *items =
        avow_boot_add(&refstate_of(r)->arena, f->blobs, &f->count, &f->cap, sizeof *items);
    if (!items)
        return no_memory(r);
    f->blobs = items;
    return read_one_digest(r, &items[f->count - 1]);
}

static enum avow_rc read_blobs(struct avow_json_read *r, void *out)
{
    return avow_json_read_list(r, read_blob, out, AVOW_REFSTATE_BLOBS_MAX);
}

static enum avow_rc read_firmware(struct avow_json_read *r, void *out)
{
    struct avow_refstate *p = out;
    struct avow_refstate_firmware *items =
        avow_boot_add(&p->arena, p->firmware, &p->firmware_count, &p->firmware_cap, sizeof *items);
    if (!items)
        return no_memory(r);
    p->firmware = items;
    struct avow_refstate_firmware *f = &items[p->firmware_count - 1];
    const struct avow_json_field fields[] = {{"scrtm", read_one_digest, &f->scrtm, true},
                                             {"platform_firmware", read_blobs, f, true},
                                             ANYTHING_ELSE};
    return avow_json_read_object(r, fields, AVOW_ARRAY_LEN(fields));
}

static enum avow_rc read_firmwares(struct avow_json_read *r, void *out)
{
    return avow_json_read_list(r, read_firmware, out, AVOW_REFSTATE_FIRMWARE_MAX);
}

/* --- Keys --- */

void avow_refstate_key_id(struct avow_bytes owner, struct avow_bytes data, bool is_sha256,
                          uint8_t out[AVOW_BOOT_ID_LEN])
{
    const struct avow_bytes pieces[] = {owner, avow_bytes_make(is_sha256 ? "h" : "c", 1), data};
    avow_sha256_pieces(pieces, AVOW_ARRAY_LEN(pieces), out);
}

struct key {
    uint8_t owner[AVOW_EFI_GUID_LEN];
    struct avow_buf data;
};

static enum avow_rc read_owner(struct avow_json_read *r, void *out)
{
    struct key *k = out;
    struct avow_str s;
    enum avow_rc rc = avow_json_read_text(r, &s);
    if (rc)
        return rc;
    bool upper = false;
    for (size_t i = 0; i < s.len; i++)
        upper |= s.ptr[i] >= 'A' && s.ptr[i] <= 'Z';
    if (upper || !avow_efi_guid_parse(s, k->owner))
        return avow_json_refuse(r, AVOW_PARSE, "not a GUID in lower case");
    return AVOW_OK;
}

static enum avow_rc read_data(struct avow_json_read *r, void *out)
{
    struct key *k = out;
    struct avow_str hex = {NULL, 0};
    enum avow_rc rc = read_hex(r, &hex);
    if (rc)
        return rc;
    uint8_t *to = avow_buf_extend(&k->data, hex.len / 2);
    if (!to)
        return k->data.failed == AVOW_LIMIT ? avow_json_refuse(r, AVOW_LIMIT, "too long")
                                            : no_memory(r);
    return avow_hex_decode(to, hex.len / 2, hex) ? AVOW_OK
                                                 : avow_json_refuse(r, AVOW_PARSE, "not hex");
}

static enum avow_rc read_key(struct avow_json_read *r, void *out)
{
    struct avow_boot_ids *ids = out;
    struct key k;
    const struct avow_json_field fields[] = {{"SignatureOwner", read_owner, &k, true},
                                             {"SignatureData", read_data, &k, true},
                                             ANYTHING_ELSE};
    avow_buf_init(&k.data, AVOW_EFI_SIGLIST_MAX);
    enum avow_rc rc = avow_json_read_object(r, fields, AVOW_ARRAY_LEN(fields));
    void *items = rc ? NULL
                     : avow_boot_add(&refstate_of(r)->arena, ids->items, &ids->count, &ids->cap,
                                     sizeof *ids->items);
    if (items) {
        ids->items = items;
        avow_refstate_key_id(AVOW_BYTES_OF(k.owner), avow_buf_bytes(&k.data),
                             k.data.len == AVOW_SHA256_LEN, ids->items[ids->count - 1]);
    }
    avow_buf_deinit(&k.data);
    return rc || items ? rc : no_memory(r);
}

static enum avow_rc read_keys(struct avow_json_read *r, void *out)
{
    enum avow_rc rc = avow_json_read_list(r, read_key, out, AVOW_REFSTATE_KEYS_MAX);
    avow_boot_ids_finish(out);
    return rc;
}

/* --- Kernels --- */

static enum avow_rc read_kernel_digest(struct avow_json_read *r, void *out)
{
    struct avow_refstate_kernel *k = out;
    k->has_kernel = true;
    return read_sha256(r, k->kernel);
}

static enum avow_rc read_vmlinuz_digest(struct avow_json_read *r, void *out)
{
    struct avow_refstate_kernel *k = out;
    k->has_vmlinuz = true;
    return read_sha256(r, k->vmlinuz);
}

/* With the prefix, as Keylime does it: to an expression with "|" it is not the same. */
static enum avow_rc put_cmdline(struct avow_json_read *r, struct avow_boot_texts *t,
                                struct avow_str s)
{
    struct avow_err why = {.rc = AVOW_OK};
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf b;
    avow_buf_init(&b, AVOW_REFSTATE_CMDLINE_MAX + sizeof AVOW_REFSTATE_CMDLINE_PREFIX);
    avow_buf_put_str(&b, AVOW_REFSTATE_CMDLINE_PREFIX);
    avow_buf_put(&b, s.ptr, s.len);
    if (b.failed == AVOW_LIMIT)
        return avow_json_refuse(r, AVOW_LIMIT, "more than %u bytes", AVOW_REFSTATE_CMDLINE_MAX);
    if (b.failed)
        return no_memory(r);
    enum avow_rc rc = avow_excludes_put(&t->x, (struct avow_str){(const char *)b.ptr, b.len}, &why);
    if (!rc)
        rc = avow_excludes_finish(&t->x, &why);
    return rc ? avow_json_refuse(r, rc, "%.120s", why.msg) : AVOW_OK;
}

static enum avow_rc read_cmdline(struct avow_json_read *r, void *out)
{
    struct avow_refstate *p = refstate_of(r);
    struct avow_refstate_kernel *k = out;
    struct avow_str s;
    enum avow_rc rc = avow_json_read_text(r, &s);
    if (rc)
        return rc;
    struct avow_boot_texts *t = avow_arena_alloc(&p->arena, 1, sizeof *t);
    if (!t)
        return no_memory(r);
    t->next = p->texts;
    p->texts = t;
    k->cmdline = t;
    return put_cmdline(r, t, s);
}

static enum avow_rc read_kernel(struct avow_json_read *r, void *out)
{
    struct avow_refstate *p = out;
    struct avow_refstate_kernel *items =
        avow_boot_add(&p->arena, p->kernels, &p->kernels_count, &p->kernels_cap, sizeof *items);
    if (!items)
        return no_memory(r);
    p->kernels = items;
    struct avow_refstate_kernel *k = &items[p->kernels_count - 1];
    const struct avow_json_field fields[] = {
        {"shim_authcode_sha256", read_sha256, k->shim, true},
        {"grub_authcode_sha256", read_sha256, k->grub, true},
        {"kernel_authcode_sha256", read_kernel_digest, k, false},
        {"vmlinuz_plain_sha256", read_vmlinuz_digest, k, false},
        {"initrd_plain_sha256", read_sha256, k->initrd, true},
        {"kernel_cmdline", read_cmdline, k, true},
        ANYTHING_ELSE};
    return avow_json_read_object(r, fields, AVOW_ARRAY_LEN(fields));
}

static enum avow_rc read_kernels(struct avow_json_read *r, void *out)
{
    return avow_json_read_list(r, read_kernel, out, AVOW_REFSTATE_KERNELS_MAX);
}

/* --- The whole --- */

static enum avow_rc check_kernel(struct avow_refstate *p, size_t i, struct avow_err *err)
{
    const struct avow_refstate_kernel *k = &p->kernels[i];
    char path[64];
    (void)snprintf(path, sizeof path, "$.kernels[%zu]", i);
    if (p->secure_boot ? !k->has_kernel : !k->has_vmlinuz)
        return avow_err_set(err, AVOW_PARSE, 0, "%s: \"%s\" is missing", path,
                            p->secure_boot ? "kernel_authcode_sha256" : "vmlinuz_plain_sha256");
    if (k->has_kernel && k->has_vmlinuz)
        return warn(p, path,
                    p->secure_boot ? "vmlinuz_plain_sha256 is not used with Secure Boot"
                                   : "kernel_authcode_sha256 is not used without Secure Boot");
    return AVOW_OK;
}

static enum avow_rc check(struct avow_refstate *p, struct avow_err *err)
{
    enum avow_rc rc = AVOW_OK;
    for (size_t i = 0; i < p->kernels_count && !rc; i++)
        rc = check_kernel(p, i, err);
    if (!rc && !p->kernels_count)
        rc = warn(p, "$.kernels", "empty: no boot is accepted");
    if (!rc && !p->firmware_count)
        rc = warn(p, "$.scrtm_and_bios", "empty: no boot is accepted");
    if (!rc && !p->has_grub_files)
        rc = warn(
            p, "$.grub_files",
            "not there: files that GRUB reads, other than the initial ramdisk, are not judged");
    return rc == AVOW_NOMEM ? avow_err_set(err, AVOW_NOMEM, 0, "no memory") : rc;
}

static bool is_empty_object(struct avow_bytes json)
{
    struct avow_json j;
    struct avow_str key;
    bool first = true;
    avow_json_init(&j, json);
    bool empty = avow_json_enter(&j, AVOW_JSON_OBJECT) && !avow_json_member(&j, &first, &key) &&
                 avow_json_end(&j);
    avow_json_deinit(&j);
    return empty;
}

static enum avow_rc load(struct avow_bytes json, struct avow_refstate *p, struct avow_err *err)
{
    const struct avow_json_field fields[] = {
        {"has_secureboot", avow_json_read_bool, &p->secure_boot, false},
        {"scrtm_and_bios", read_firmwares, p, true},
#define X(id, member, required) {member, read_keys, &p->keys[AVOW_REFSTATE_##id], required},
        AVOW_REFSTATE_KEYS_MAP(X)
#undef X
            {"mokdig", read_digests, &p->mok, true},
        {"mokxdig", read_digests, &p->mokx, true},
        {"kernels", read_kernels, p, true},
        {"grub_files", read_grub_files, p, false},
        ANYTHING_ELSE};
    p->secure_boot = true;
    enum avow_rc rc = avow_json_read_document(json, fields, AVOW_ARRAY_LEN(fields), p, err);
    if (rc == AVOW_PARSE && is_empty_object(json))
        return avow_err_set(err, AVOW_PARSE, 0,
                            "$: {} accepts every boot in Keylime; leave the policy out instead");
    return rc ? rc : check(p, err);
}

enum avow_rc avow_refstate_load(struct avow_bytes json, void **out, struct avow_err *err)
{
    struct avow_refstate *p = calloc(1, sizeof *p);
    if (!p)
        return avow_err_set(err, AVOW_NOMEM, 0, "reference state");
    avow_arena_init(&p->arena, AVOW_BOOT_POLICY_BYTES_MAX);
    enum avow_rc rc = load(json, p, err);
    if (rc) {
        avow_refstate_free(p);
        return avow_err_wrap(err, rc, "reference state");
    }
    *out = p;
    return AVOW_OK;
}

void avow_refstate_free(void *refstate)
{
    struct avow_refstate *p = refstate;
    for (struct avow_boot_texts *t = p->texts; t; t = t->next)
        avow_excludes_deinit(&t->x);
    avow_arena_deinit(&p->arena);
    free(p);
}
