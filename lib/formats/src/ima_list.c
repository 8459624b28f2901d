/* ima_list.c - see ima_list.h.
 * Entry: u32 pcr, digest[20], u32 name length, name, then
 *   template "ima":  digest[20], u32 path length, path           (no total length, no NUL)
 *   every other one: u32 length, fields, each u32 length and bytes.
 * The digest of template "ima" is of 20 bytes in every view. */
#include "avow/formats/ima_list.h"

#include "ima_fields.h"

#include "avow/base/banned.h"

#define OLD_PATH_MAX 255u /* IMA_EVENT_NAME_LEN_MAX, of template "ima" only */

static const uint8_t zeros[OLD_PATH_MAX + 1];

static uint32_t read_u32(struct avow_rd *r, bool big_endian)
{
    return big_endian ? avow_rd_u32be(r) : avow_rd_u32le(r);
}

bool avow_ima_set_old_pieces(struct avow_bytes digest, struct avow_bytes path,
                             struct avow_ima_entry *e)
{
    if (path.len > OLD_PATH_MAX)
        return false;
    e->hashed[0] = digest;
    e->hashed[1] = path;
    e->hashed[2] = avow_bytes_make(zeros, sizeof zeros - path.len);
    e->hashed_count = 3;
    return true;
}

static enum avow_ima_next read_old_data(struct avow_rd *r, struct avow_ima_entry *e)
{
    const uint8_t *start = r->p;
    struct avow_bytes digest = avow_rd_take(r, AVOW_IMA_DIGEST_LEN);
    uint32_t len = read_u32(r, e->big_endian);
    if (!r->bad && len > OLD_PATH_MAX)
        return AVOW_IMA_MALFORMED;
    struct avow_bytes path = avow_rd_take(r, len);
    if (r->bad)
        return AVOW_IMA_TRUNCATED;
    e->template_data = avow_bytes_make(start, (size_t)(r->p - start));
    return avow_ima_set_old_pieces(digest, path, e) ? AVOW_IMA_ENTRY : AVOW_IMA_MALFORMED;
}

static enum avow_ima_next read_data(struct avow_rd *r, const uint8_t *entry_start,
                                    struct avow_ima_entry *e)
{
    uint32_t len = read_u32(r, e->big_endian);
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

enum avow_ima_next avow_ima_binary_next(struct avow_rd *r, size_t digest_len, bool big_endian,
                                        struct avow_ima_entry *out)
{
    if (r->bad)
        return AVOW_IMA_MALFORMED;
    if (!avow_rd_left(r))
        return AVOW_IMA_END;
    struct avow_rd t = *r;
    struct avow_ima_entry e = {.big_endian = big_endian};
    e.pcr = read_u32(&t, big_endian);
    e.template_digest = avow_rd_take(&t, digest_len);
    uint32_t name_len = read_u32(&t, big_endian);
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

enum avow_ima_next avow_ima_entry_next(struct avow_rd *r, struct avow_ima_entry *out)
{
    return avow_ima_binary_next(r, AVOW_IMA_DIGEST_LEN, false, out);
}

bool avow_ima_entry_is_violation(const struct avow_ima_entry *e)
{
    return avow_bytes_all(e->template_digest, 0);
}

/* --- Any form --- */

#define PCRS 24u /* TCG PC Client Platform TPM Profile 1.05, 4.6 */

/* Digest lengths before the name make it improbable that one view passes for another. */
static bool is_binary(struct avow_bytes list, size_t digest_len, bool big_endian)
{
    struct avow_rd r = avow_rd_make(list);
    struct avow_ima_entry e;
    return avow_ima_binary_next(&r, digest_len, big_endian, &e) == AVOW_IMA_ENTRY && e.pcr < PCRS &&
           avow_ima_template_name_is_sane(e.template_name);
}

static enum avow_ima_list_kind detect(struct avow_bytes list, size_t *digest_len)
{
    static const size_t lengths[] = {AVOW_IMA_DIGEST_LEN, 32, 48, 64};
    *digest_len = AVOW_IMA_DIGEST_LEN;
    if (!list.len)
        return AVOW_IMA_LIST_EMPTY;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(lengths); i++) {
        *digest_len = lengths[i];
        if (is_binary(list, lengths[i], false))
            return AVOW_IMA_LIST_BINARY;
        if (is_binary(list, lengths[i], true))
            return AVOW_IMA_LIST_BINARY_BE;
    }
    *digest_len = avow_ima_line_digest_len(list);
    return *digest_len ? AVOW_IMA_LIST_ASCII : AVOW_IMA_LIST_UNKNOWN;
}

enum avow_ima_list_kind avow_ima_list_kind(struct avow_bytes list)
{
    size_t digest_len;
    return detect(list, &digest_len);
}

const char *avow_ima_list_kind_text(enum avow_ima_list_kind kind)
{
    static const char *const texts[] = {"unknown", "empty", "binary", "binary, big-endian",
                                        "ascii"};
    return (size_t)kind < AVOW_ARRAY_LEN(texts) ? texts[kind] : "?";
}

void avow_ima_view_init(struct avow_ima_view *r, struct avow_bytes list)
{
    r->kind = detect(list, &r->digest_len);
    r->rd = avow_rd_make(list);
    avow_buf_init(&r->data, AVOW_IMA_ENTRY_MAX);
}

void avow_ima_view_deinit(struct avow_ima_view *r)
{
    avow_buf_deinit(&r->data);
}

enum avow_ima_next avow_ima_view_next(struct avow_ima_view *r, struct avow_ima_entry *out)
{
    switch (r->kind) {
    case AVOW_IMA_LIST_EMPTY:
        return AVOW_IMA_END;
    case AVOW_IMA_LIST_BINARY:
    case AVOW_IMA_LIST_BINARY_BE:
        return avow_ima_binary_next(&r->rd, r->digest_len, r->kind == AVOW_IMA_LIST_BINARY_BE, out);
    case AVOW_IMA_LIST_ASCII:
        return avow_ima_line_next(&r->rd, r->digest_len, &r->data, out);
    case AVOW_IMA_LIST_UNKNOWN:
    default:
        return AVOW_IMA_MALFORMED;
    }
}
