/* ima_fields.c - the fields of measurement entries: one table (linux v6.6
 * security/integrity/ima/ima_template.c, supported_fields and builtin_templates). */
#include "ima_fields.h"

#include <string.h>

#include "avow/base/banned.h"

#define FILE_DIGEST_MAX 64u /* ima.h, IMA_MAX_DIGEST_SIZE */
#define ALG_NAME_MAX 32u    /* longer than any of crypto/hash_info.c, hash_algo_name */
/* "verity:", the longest algorithm name, ':', NUL and the digest */
#define DIGEST_FIELD_MAX (2 * ALG_NAME_MAX + 3 + FILE_DIGEST_MAX)
#define OLD_DIGEST_MAX 20u /* field d: SHA-1, or MD5 before linux 3.13 */

static bool has_nul(struct avow_bytes b)
{
    return b.len && memchr(b.ptr, 0, b.len) != NULL;
}

static struct avow_str as_text(struct avow_bytes b)
{
    return (struct avow_str){(const char *)b.ptr, b.len};
}

/* Algorithm name, ':', NUL, digest. */
static bool split_digest(struct avow_bytes field, struct avow_str *alg, struct avow_bytes *digest)
{
    for (size_t i = 1; i + 1 < field.len && i <= ALG_NAME_MAX; i++) {
        if (field.ptr[i] != ':' || field.ptr[i + 1] != 0)
            continue;
        struct avow_bytes name = avow_bytes_make(field.ptr, i);
        *alg = as_text(name);
        *digest = avow_bytes_make(field.ptr + i + 2, field.len - i - 2);
        return !has_nul(name) && digest->len && digest->len <= FILE_DIGEST_MAX;
    }
    return false;
}

static bool set_digest(struct avow_bytes v, struct avow_ima_parse *p)
{
    p->f.hash_alg = v.len == OLD_DIGEST_MAX ? AVOW_STR_LIT("sha1") : AVOW_STR_LIT("md5");
    p->f.digest = v;
    return v.len == OLD_DIGEST_MAX || v.len == 16;
}

static bool set_digest_alg(struct avow_bytes v, struct avow_ima_parse *p)
{
    return split_digest(v, &p->f.hash_alg, &p->f.digest);
}

/* What was hashed stands before the algorithm: an fs-verity digest is not one of the file's bytes
 * (Documentation/filesystems/fsverity.rst, "Built-in signature verification" and IMA). */
static bool set_digest_typed(struct avow_bytes v, struct avow_ima_parse *p)
{
    static const struct {
        const char *prefix;
        enum avow_ima_digest_type type;
    } types[] = {{"ima:", AVOW_IMA_OF_FILE}, {"verity:", AVOW_IMA_OF_VERITY}};
    p->f.digest_type = AVOW_IMA_OF_OTHER;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(types); i++) {
        size_t len = strlen(types[i].prefix);
        if (!avow_str_starts(as_text(v), types[i].prefix))
            continue;
        p->f.digest_type = types[i].type;
        v = avow_bytes_make(v.ptr + len, v.len - len);
        break;
    }
    return set_digest_alg(v, p);
}

static bool set_name(struct avow_bytes v, struct avow_ima_file *f)
{
    f->path = as_text(v);
    return v.len && !has_nul(v);
}

/* The path of template "ima" has no NUL; that of a field list has. */
static bool set_old_path(struct avow_bytes v, struct avow_ima_parse *p)
{
    if (v.len && v.ptr[v.len - 1] == 0)
        v.len--;
    return set_name(v, &p->f);
}

static bool set_path(struct avow_bytes v, struct avow_ima_parse *p)
{
    if (!v.len || v.ptr[v.len - 1] != 0)
        return false;
    return set_name(avow_bytes_make(v.ptr, v.len - 1), &p->f);
}

static bool set_signature(struct avow_bytes v, struct avow_ima_parse *p)
{
    p->f.signature = v;
    return true;
}

static bool set_buffer(struct avow_bytes v, struct avow_ima_parse *p)
{
    p->f.has_buffer = true;
    p->f.buffer = v;
    return true;
}

/* Both are empty for a file without an appended signature. */
static bool set_modsig_digest(struct avow_bytes v, struct avow_ima_parse *p)
{
    struct avow_str alg;
    struct avow_bytes digest;
    if (!v.len)
        return true;
    if (!split_digest(v, &alg, &digest))
        return false;
    if (p->x) {
        p->x->modsig_alg = alg;
        p->x->modsig_digest = digest;
    }
    return true;
}

static bool set_modsig(struct avow_bytes v, struct avow_ima_parse *p)
{
    if (p->x)
        p->x->modsig = v;
    return true;
}

static bool set_evm_signature(struct avow_bytes v, struct avow_ima_parse *p)
{
    if (p->x)
        p->x->evm_signature = v;
    return true;
}

static bool set_xattr_names(struct avow_bytes v, struct avow_ima_parse *p)
{
    if (v.len && v.ptr[v.len - 1] == 0)
        v.len--;
    if (p->x)
        p->x->xattr_names = as_text(v);
    return !has_nul(v);
}

static bool set_xattr_lengths(struct avow_bytes v, struct avow_ima_parse *p)
{
    if (p->x)
        p->x->xattr_lengths = v;
    return v.len % 4 == 0;
}

static bool set_xattr_values(struct avow_bytes v, struct avow_ima_parse *p)
{
    if (p->x)
        p->x->xattr_values = v;
    return true;
}

static uint32_t number(struct avow_bytes v, bool big_endian)
{
    uint32_t n = 0;
    for (size_t i = 0; i < v.len; i++)
        n = n << 8 | v.ptr[big_endian ? i : v.len - 1 - i];
    return n;
}

static bool set_uid(struct avow_bytes v, struct avow_ima_parse *p)
{
    if (p->x)
        p->x->uid = number(v, p->big_endian);
    return v.len == 4;
}

static bool set_gid(struct avow_bytes v, struct avow_ima_parse *p)
{
    if (p->x)
        p->x->gid = number(v, p->big_endian);
    return v.len == 4;
}

static bool set_mode(struct avow_bytes v, struct avow_ima_parse *p)
{
    if (p->x) {
        p->x->mode = (uint16_t)number(v, p->big_endian);
        p->x->has_owner = true;
    }
    return v.len == 2;
}

enum field_index {
    FIELD_D,
    FIELD_N,
    FIELD_D_NG,
    FIELD_D_NGV2,
    FIELD_N_NG,
    FIELD_SIG,
    FIELD_BUF,
    FIELD_D_MODSIG,
    FIELD_MODSIG,
    FIELD_EVMSIG,
    FIELD_IUID,
    FIELD_IGID,
    FIELD_IMODE,
    FIELD_XATTRNAMES,
    FIELD_XATTRLENGTHS,
    FIELD_XATTRVALUES
};
static const struct avow_ima_field fields[] = {
    [FIELD_D] = {"d", AVOW_IMA_SHOW_DIGEST, OLD_DIGEST_MAX, set_digest},
    [FIELD_N] = {"n", AVOW_IMA_SHOW_STRING, AVOW_IMA_PATH_MAX, set_old_path},
    [FIELD_D_NG] = {"d-ng", AVOW_IMA_SHOW_DIGEST_ALG, DIGEST_FIELD_MAX, set_digest_alg},
    [FIELD_D_NGV2] = {"d-ngv2", AVOW_IMA_SHOW_DIGEST_TYPED, DIGEST_FIELD_MAX, set_digest_typed},
    [FIELD_N_NG] = {"n-ng", AVOW_IMA_SHOW_STRING, AVOW_IMA_PATH_MAX, set_path},
    [FIELD_SIG] = {"sig", AVOW_IMA_SHOW_HEX, AVOW_IMA_XATTR_MAX, set_signature},
    [FIELD_BUF] = {"buf", AVOW_IMA_SHOW_HEX, AVOW_IMA_ENTRY_MAX, set_buffer},
    [FIELD_D_MODSIG] = {"d-modsig", AVOW_IMA_SHOW_DIGEST_ALG, DIGEST_FIELD_MAX, set_modsig_digest},
    [FIELD_MODSIG] = {"modsig", AVOW_IMA_SHOW_HEX, AVOW_IMA_ENTRY_MAX, set_modsig},
    [FIELD_EVMSIG] = {"evmsig", AVOW_IMA_SHOW_HEX, AVOW_IMA_XATTR_MAX, set_evm_signature},
    [FIELD_IUID] = {"iuid", AVOW_IMA_SHOW_UINT, 4, set_uid},
    [FIELD_IGID] = {"igid", AVOW_IMA_SHOW_UINT, 4, set_gid},
    [FIELD_IMODE] = {"imode", AVOW_IMA_SHOW_UINT, 2, set_mode},
    [FIELD_XATTRNAMES] = {"xattrnames", AVOW_IMA_SHOW_STRING, AVOW_IMA_XATTR_MAX, set_xattr_names},
    [FIELD_XATTRLENGTHS] = {"xattrlengths", AVOW_IMA_SHOW_HEX, AVOW_IMA_XATTR_MAX,
                            set_xattr_lengths},
    [FIELD_XATTRVALUES] = {"xattrvalues", AVOW_IMA_SHOW_HEX, AVOW_IMA_ENTRY_MAX, set_xattr_values}};

static const struct {
    const char *name;
    size_t count;
    uint8_t fields[9];
} templates[] = {
    {"ima-ng", 2, {FIELD_D_NG, FIELD_N_NG}},
    {"ima-sig", 3, {FIELD_D_NG, FIELD_N_NG, FIELD_SIG}},
    {"ima-ngv2", 2, {FIELD_D_NGV2, FIELD_N_NG}},
    {"ima-sigv2", 3, {FIELD_D_NGV2, FIELD_N_NG, FIELD_SIG}},
    {"ima-buf", 3, {FIELD_D_NG, FIELD_N_NG, FIELD_BUF}},
    {"ima-modsig", 5, {FIELD_D_NG, FIELD_N_NG, FIELD_SIG, FIELD_D_MODSIG, FIELD_MODSIG}},
    {"evm-sig",
     9,
     {FIELD_D_NG, FIELD_N_NG, FIELD_EVMSIG, FIELD_XATTRNAMES, FIELD_XATTRLENGTHS, FIELD_XATTRVALUES,
      FIELD_IUID, FIELD_IGID, FIELD_IMODE}},
    {"ima", 2, {FIELD_D, FIELD_N}},
};

static const struct avow_ima_field *find_field(struct avow_str id)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(fields); i++) {
        if (avow_str_is(id, fields[i].id))
            return &fields[i];
    }
    return NULL;
}

/* A field that comes twice would make it unclear which one counts. */
static bool add_field(struct avow_ima_template *t, struct avow_str id)
{
    const struct avow_ima_field *field = find_field(id);
    if (!field || t->count == AVOW_IMA_FIELDS_MAX)
        return false;
    for (size_t i = 0; i < t->count; i++) {
        if (t->fields[i] == field)
            return false;
    }
    t->fields[t->count++] = field;
    return true;
}

static bool parse_list(struct avow_str name, struct avow_ima_template *out)
{
    size_t start = 0;
    out->count = 0;
    for (size_t i = 0; i <= name.len; i++) {
        if (i < name.len && name.ptr[i] != '|')
            continue;
        if (!add_field(out, (struct avow_str){name.ptr + start, i - start}))
            return false;
        start = i + 1;
    }
    return true;
}

bool avow_ima_template_find(struct avow_str name, struct avow_ima_template *out)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(templates); i++) {
        if (!avow_str_is(name, templates[i].name))
            continue;
        out->count = templates[i].count;
        for (size_t k = 0; k < out->count; k++)
            out->fields[k] = &fields[templates[i].fields[k]];
        return true;
    }
    return parse_list(name, out);
}

bool avow_ima_template_name_is_sane(struct avow_str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_' || c == '|';
        if (!good)
            return false;
    }
    return name.len && name.len <= AVOW_IMA_TEMPLATE_NAME_MAX;
}

static bool parse_fields(const struct avow_ima_entry *e, const struct avow_ima_template *t,
                         struct avow_ima_parse *p)
{
    struct avow_rd r = avow_rd_make(e->template_data);
    for (size_t i = 0; i < t->count; i++) {
        const struct avow_ima_field *field = t->fields[i];
        uint32_t len = e->big_endian ? avow_rd_u32be(&r) : avow_rd_u32le(&r);
        struct avow_bytes value = avow_rd_take(&r, len);
        if (r.bad || len > field->max || !field->set(value, p))
            return false;
    }
    return avow_rd_done(&r);
}

enum avow_rc avow_ima_extra_parse(const struct avow_ima_entry *e, struct avow_ima_file *out,
                                  struct avow_ima_extra *extra, struct avow_err *err)
{
    struct avow_ima_parse p = {.big_endian = e->big_endian, .x = extra};
    struct avow_ima_template t;
    bool ok;
    if (extra)
        *extra = (struct avow_ima_extra){.has_owner = false};
    p.f.violation = avow_ima_entry_is_violation(e);
    if (avow_str_is(e->template_name, "ima")) {
        ok = set_digest(e->hashed[0], &p) && set_name(e->hashed[1], &p.f);
    } else {
        if (!avow_ima_template_find(e->template_name, &t))
            return avow_err_set(err, AVOW_REFUSED, 0, "template \"%.*s\" is not known",
                                (int)e->template_name.len, e->template_name.ptr);
        ok = parse_fields(e, &t, &p);
    }
    if (!ok || !p.f.digest.len || !p.f.path.len)
        return avow_err_set(err, AVOW_PARSE, 0, "malformed fields of template %.*s",
                            (int)e->template_name.len, e->template_name.ptr);
    *out = p.f;
    return AVOW_OK;
}

enum avow_rc avow_ima_file_parse(const struct avow_ima_entry *e, struct avow_ima_file *out,
                                 struct avow_err *err)
{
    return avow_ima_extra_parse(e, out, NULL, err);
}
