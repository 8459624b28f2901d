/* ima_list.c - see ima_list.h.
 * Entry: u32 pcr, digest[20], u32 name length, name, then
 *   template "ima":  digest[20], u32 path length, path           (no total length, no NUL)
 *   every other one: u32 length, fields, each u32 length and bytes. */
#include "avow/formats/ima_list.h"

#include "avow/base/banned.h"

#define IMA_PATH_MAX 255u /* IMA_EVENT_NAME_LEN_MAX, of template "ima" only */
#define FILE_DIGEST_MAX 64u

static const uint8_t zeros[IMA_PATH_MAX + 1];

/* Template "ima" is hashed over the digest and a buffer of 256 bytes that holds the path. */
static enum avow_ima_next read_old_data(struct avow_rd *r, struct avow_ima_entry *e)
{
    const uint8_t *start = r->p;
    struct avow_bytes digest = avow_rd_take(r, AVOW_IMA_DIGEST_LEN);
    uint32_t len = avow_rd_u32le(r);
    if (!r->bad && len > IMA_PATH_MAX)
        return AVOW_IMA_MALFORMED;
    struct avow_bytes path = avow_rd_take(r, len);
    if (r->bad)
        return AVOW_IMA_TRUNCATED;
    e->template_data = avow_bytes_make(start, (size_t)(r->p - start));
    e->hashed[0] = digest;
    e->hashed[1] = path;
    e->hashed[2] = avow_bytes_make(zeros, sizeof zeros - path.len);
    e->hashed_count = 3;
    return AVOW_IMA_ENTRY;
}

static enum avow_ima_next read_data(struct avow_rd *r, const uint8_t *entry_start,
                                    struct avow_ima_entry *e)
{
    uint32_t len = avow_rd_u32le(r);
    if (r->bad)
        return AVOW_IMA_TRUNCATED;
    if (len > AVOW_IMA_ENTRY_MAX - (size_t)(r->p - entry_start))
        return AVOW_IMA_TOO_LARGE;
    e->template_data = avow_rd_take(r, len);
    if (r->bad)
        return AVOW_IMA_TRUNCATED;
    e->hashed[0] = e->template_data;
    e->hashed_count = 1;
    return AVOW_IMA_ENTRY;
}

enum avow_ima_next avow_ima_entry_next(struct avow_rd *r, struct avow_ima_entry *out)
{
    if (r->bad)
        return AVOW_IMA_MALFORMED;
    if (!avow_rd_left(r))
        return AVOW_IMA_END;
    struct avow_rd t = *r;
    struct avow_ima_entry e = {0};
    e.pcr = avow_rd_u32le(&t);
    e.template_digest = avow_rd_take(&t, AVOW_IMA_DIGEST_LEN);
    uint32_t name_len = avow_rd_u32le(&t);
    if (t.bad)
        return AVOW_IMA_TRUNCATED;
    if (!name_len || name_len > AVOW_IMA_TEMPLATE_NAME_MAX)
        return AVOW_IMA_MALFORMED;
    struct avow_bytes name = avow_rd_take(&t, name_len);
    if (t.bad)
        return AVOW_IMA_TRUNCATED;
    e.template_name = (struct avow_str){(const char *)name.ptr, name.len};
    enum avow_ima_next got =
        avow_str_is(e.template_name, "ima") ? read_old_data(&t, &e) : read_data(&t, r->p, &e);
    if (got != AVOW_IMA_ENTRY)
        return got;
    e.raw = avow_bytes_make(r->p, (size_t)(t.p - r->p));
    *out = e;
    *r = t;
    return AVOW_IMA_ENTRY;
}

bool avow_ima_entry_is_violation(const struct avow_ima_entry *e)
{
    return avow_bytes_all(e->template_digest, 0);
}

static bool has_nul(struct avow_bytes b)
{
    return b.len && memchr(b.ptr, 0, b.len) != NULL;
}

static struct avow_bytes read_field(struct avow_rd *r)
{
    uint32_t len = avow_rd_u32le(r);
    return avow_rd_take(r, len);
}

/* Field d-ngv2 begins with what was hashed: "ima:" for a file's bytes, which is what d-ng is about.
 * Anything else ("verity:") stays part of the name, so that no digest of a file equals it. */
static struct avow_bytes skip_type(struct avow_bytes field)
{
    static const char type[] = "ima:";
    size_t len = sizeof type - 1;
    if (field.len < len ||
        !avow_bytes_eq(avow_bytes_make(field.ptr, len), avow_bytes_make(type, len)))
        return field;
    return avow_bytes_make(field.ptr + len, field.len - len);
}

/* Field d-ng: algorithm name, ':', NUL, digest. */
static bool split_digest(struct avow_bytes field, struct avow_ima_file *f)
{
    for (size_t i = 1; i + 1 < field.len && i <= AVOW_IMA_TEMPLATE_NAME_MAX; i++) {
        if (field.ptr[i] != ':' || field.ptr[i + 1] != 0)
            continue;
        f->hash_alg = (struct avow_str){(const char *)field.ptr, i};
        f->digest = avow_bytes_make(field.ptr + i + 2, field.len - i - 2);
        return !has_nul(avow_bytes_make(field.ptr, i)) && f->digest.len &&
               f->digest.len <= FILE_DIGEST_MAX;
    }
    return false;
}

/* Field n-ng: path and one NUL. */
static bool set_path(struct avow_bytes field, struct avow_ima_file *f)
{
    if (field.len < 2 || field.ptr[field.len - 1] != 0)
        return false;
    f->path = (struct avow_str){(const char *)field.ptr, field.len - 1};
    return !has_nul(avow_bytes_make(field.ptr, field.len - 1));
}

struct template
{
    const char *name;
    bool typed; /* d-ngv2 */
    bool has_signature;
};

static bool parse_ng(const struct avow_ima_entry *e, const struct template *t,
                     struct avow_ima_file *f)
{
    struct avow_rd r = avow_rd_make(e->template_data);
    struct avow_bytes digest = read_field(&r);
    struct avow_bytes path = read_field(&r);
    if (t->has_signature)
        f->signature = read_field(&r);
    return avow_rd_done(&r) && split_digest(t->typed ? skip_type(digest) : digest, f) &&
           set_path(path, f);
}

static bool parse_old(const struct avow_ima_entry *e, struct avow_ima_file *f)
{
    f->hash_alg = AVOW_STR_LIT("sha1");
    f->digest = e->hashed[0];
    f->path = (struct avow_str){(const char *)e->hashed[1].ptr, e->hashed[1].len};
    return f->path.len && !has_nul(e->hashed[1]);
}

static const struct template *find_template(struct avow_str name)
{
    static const struct template known[] = {{"ima-ng", false, false},
                                            {"ima-sig", false, true},
                                            {"ima-ngv2", true, false},
                                            {"ima-sigv2", true, true}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(known); i++) {
        if (avow_str_is(name, known[i].name))
            return &known[i];
    }
    return NULL;
}

enum avow_rc avow_ima_file_parse(const struct avow_ima_entry *e, struct avow_ima_file *out,
                                 struct avow_err *err)
{
    struct avow_ima_file f = {.violation = avow_ima_entry_is_violation(e)};
    bool ok;
    if (avow_str_is(e->template_name, "ima")) {
        ok = parse_old(e, &f);
    } else {
        const struct template *t = find_template(e->template_name);
        if (!t)
            return avow_err_set(err, AVOW_REFUSED, 0, "template \"%.*s\" is not known",
                                (int)e->template_name.len, e->template_name.ptr);
        ok = parse_ng(e, t, &f);
    }
    if (!ok)
        return avow_err_set(err, AVOW_PARSE, 0, "malformed fields of template %.*s",
                            (int)e->template_name.len, e->template_name.ptr);
    *out = f;
    return AVOW_OK;
}
