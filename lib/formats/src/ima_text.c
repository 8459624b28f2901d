/* ima_text.c - the list as the kernel shows it to people (ima_fs.c, ima_ascii_measurements_show):
 * "PCR DIGEST TEMPLATE FIELD FIELD...", one space before each field, nothing for an empty one.
 * Template data is made from it exactly as the binary list holds it, so that both replay alike.
 * Kernels put '_' for spaces in paths; a path with spaces is read as long as what follows it can be
 * told from it. */
#include "ima_fields.h"

#include "avow/base/hex.h"
#include "avow/base/num.h"

#include <string.h>

#include "avow/base/banned.h"

#define LINE_MAX_LEN (3u * AVOW_IMA_ENTRY_MAX) /* hex doubles */

static bool next_word(struct avow_str *rest, struct avow_str *word)
{
    const char *space = rest->len ? memchr(rest->ptr, ' ', rest->len) : NULL;
    if (!space)
        return false;
    *word = (struct avow_str){rest->ptr, (size_t)(space - rest->ptr)};
    rest->ptr = space + 1;
    rest->len -= word->len + 1;
    return true;
}

/* Cuts the last word off; false if there is but one. */
static bool last_word(struct avow_str *rest, struct avow_str *word)
{
    for (size_t i = rest->len; i > 0; i--) {
        if (rest->ptr[i - 1] != ' ')
            continue;
        *word = (struct avow_str){rest->ptr + i, rest->len - i};
        rest->len = i - 1;
        return true;
    }
    return false;
}

static bool put_hex(struct avow_buf *b, struct avow_str hex)
{
    if (hex.len % 2)
        return false;
    uint8_t *p = hex.len ? avow_buf_extend(b, hex.len / 2) : NULL;
    return !hex.len || !p || avow_hex_decode(p, hex.len / 2, hex);
}

/* "sha256:aa.." or "ima:sha256:aa..": the last colon ends the names. */
static bool put_digest(struct avow_buf *b, struct avow_str text)
{
    for (size_t i = text.len; i > 0; i--) {
        if (text.ptr[i - 1] != ':')
            continue;
        avow_buf_put(b, text.ptr, i);
        avow_buf_put_u8(b, 0);
        return put_hex(b, (struct avow_str){text.ptr + i, text.len - i});
    }
    return false;
}

static bool put_uint(struct avow_buf *b, struct avow_str text, size_t size)
{
    uint64_t n;
    uint8_t le[8];
    if (!avow_num_parse_u64(text, size == 2 ? UINT16_MAX : UINT32_MAX, &n))
        return false;
    avow_put_u64le(le, n);
    avow_buf_put(b, le, size);
    return true;
}

static bool put_value(struct avow_buf *b, const struct avow_ima_field *field, struct avow_str text)
{
    switch (field->show) {
    case AVOW_IMA_SHOW_DIGEST:
    case AVOW_IMA_SHOW_HEX:
        return put_hex(b, text);
    case AVOW_IMA_SHOW_DIGEST_ALG:
    case AVOW_IMA_SHOW_DIGEST_TYPED:
        return !text.len || put_digest(b, text);
    case AVOW_IMA_SHOW_STRING:
        avow_buf_put(b, text.ptr, text.len);
        avow_buf_put_u8(b, 0);
        return true;
    case AVOW_IMA_SHOW_UINT:
        return put_uint(b, text, field->max);
    default:
        return false;
    }
}

static bool put_field(struct avow_buf *b, const struct avow_ima_field *field, struct avow_str text)
{
    size_t at = b->len;
    uint8_t *len = avow_buf_extend(b, 4);
    if (!len)
        return true; /* said by the buffer's state */
    if (!put_value(b, field, text))
        return false;
    if (!b->failed)
        avow_put_u32le(b->ptr + at, (uint32_t)(b->len - at - 4));
    return true;
}

/* The field that may contain spaces; t->count if there is none. */
static size_t find_name(const struct avow_ima_template *t)
{
    size_t i = 0;
    while (i < t->count && t->fields[i]->show != AVOW_IMA_SHOW_STRING)
        i++;
    return i;
}

static bool is_hex(struct avow_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return s.len % 2 == 0;
}

/* Words of the fields before the name from the left, of those behind it from the right. Tools cut
 * the space off that an empty last field leaves: then what is there belongs to the fields before
 * it. */
static bool split(const struct avow_ima_template *t, struct avow_str rest, struct avow_str *words)
{
    size_t name = find_name(t);
    for (size_t i = 0; i < name && i + 1 < t->count; i++) {
        if (!next_word(&rest, &words[i]))
            return false;
    }
    if (name == t->count) {
        words[t->count - 1] = rest;
        return true;
    }
    size_t after = t->count - name - 1, spaces = 0;
    for (size_t i = 0; i < rest.len; i++)
        spaces += rest.ptr[i] == ' ';
    size_t last = t->count;
    if (after && spaces < after)
        last -= after - spaces;
    for (size_t i = last; i > name + 1; i--) {
        struct avow_str whole = rest;
        if (!last_word(&rest, &words[i - 1]))
            return false;
        if (after == 1 && !is_hex(words[i - 1])) { /* a path with a space, and no signature */
            rest = whole;
            words[i - 1] = (struct avow_str){NULL, 0};
        }
    }
    words[name] = rest;
    return true;
}

static bool make_data(const struct avow_ima_template *t, struct avow_str rest,
                      struct avow_buf *data)
{
    struct avow_str words[AVOW_IMA_FIELDS_MAX] = {{NULL, 0}};
    if (!split(t, rest, words))
        return false;
    for (size_t i = 0; i < t->count; i++) {
        if (!put_field(data, t->fields[i], words[i]))
            return false;
    }
    return true;
}

static bool make_old_data(struct avow_str rest, struct avow_buf *data, struct avow_ima_entry *e)
{
    struct avow_str digest;
    size_t at = data->len;
    uint8_t len[4];
    if (!next_word(&rest, &digest) || digest.len != 2 * AVOW_IMA_DIGEST_LEN ||
        !put_hex(data, digest))
        return false;
    avow_put_u32le(len, (uint32_t)rest.len);
    avow_buf_put(data, len, sizeof len);
    avow_buf_put(data, rest.ptr, rest.len);
    if (data->failed)
        return true;
    return avow_ima_set_old_pieces(
        avow_bytes_make(data->ptr + at, AVOW_IMA_DIGEST_LEN),
        avow_bytes_make(data->ptr + at + AVOW_IMA_DIGEST_LEN + 4, rest.len), e);
}

struct line { /* parts of a line; digest is hex */
    struct avow_str pcr, digest, name, rest;
};

static bool cut(struct avow_str text, struct line *l)
{
    while (text.len && text.ptr[0] == ' ') { /* "%2d" */
        text.ptr++;
        text.len--;
    }
    if (!next_word(&text, &l->pcr) || !next_word(&text, &l->digest) || !next_word(&text, &l->name))
        return false;
    l->rest = text;
    return true;
}

static struct avow_str first_line(struct avow_bytes in, size_t *taken)
{
    const uint8_t *end = in.len ? memchr(in.ptr, '\n', in.len) : NULL;
    size_t len = end ? (size_t)(end - in.ptr) : in.len;
    *taken = end ? len + 1 : len;
    return (struct avow_str){(const char *)in.ptr, len};
}

size_t avow_ima_line_digest_len(struct avow_bytes list)
{
    size_t taken;
    struct line l;
    uint64_t pcr;
    if (!cut(first_line(list, &taken), &l) || !avow_num_parse_u64(l.pcr, 23, &pcr) ||
        !avow_ima_template_name_is_sane(l.name) || !is_hex(l.digest))
        return 0;
    size_t len = l.digest.len / 2;
    return len == AVOW_IMA_DIGEST_LEN || len == 32 || len == 48 || len == 64 ? len : 0;
}

static bool parse(const struct line *l, size_t digest_len, struct avow_buf *data,
                  struct avow_ima_entry *e)
{
    uint64_t pcr;
    struct avow_ima_template t;
    if (!avow_num_parse_u64(l->pcr, UINT32_MAX, &pcr) || l->digest.len != 2 * digest_len ||
        !avow_ima_template_name_is_sane(l->name) || !put_hex(data, l->digest))
        return false;
    e->pcr = (uint32_t)pcr;
    e->template_name = l->name;
    if (avow_str_is(l->name, "ima"))
        return make_old_data(l->rest, data, e);
    return avow_ima_template_find(l->name, &t) && make_data(&t, l->rest, data);
}

enum avow_ima_next avow_ima_line_next(struct avow_rd *r, size_t digest_len, struct avow_buf *data,
                                      struct avow_ima_entry *out)
{
    size_t left = avow_rd_left(r), taken;
    if (!left)
        return AVOW_IMA_END;
    struct avow_str text = first_line(avow_bytes_make(r->p, left), &taken);
    if (text.len > LINE_MAX_LEN)
        return AVOW_IMA_TOO_LARGE;
    struct avow_ima_entry e = {.raw = avow_bytes_make(text.ptr, text.len)};
    struct line l;
    avow_buf_reset(data);
    bool good = cut(text, &l) && parse(&l, digest_len, data, &e);
    if (data->failed)
        return data->failed == AVOW_LIMIT ? AVOW_IMA_TOO_LARGE : AVOW_IMA_NO_MEMORY;
    if (!good)
        return AVOW_IMA_MALFORMED;
    e.template_digest = avow_bytes_make(data->ptr, digest_len);
    e.template_data = avow_bytes_make(data->ptr + digest_len, data->len - digest_len);
    if (!e.hashed_count) {
        e.hashed[0] = e.template_data;
        e.hashed_count = 1;
    }
    *out = e;
    (void)avow_rd_take(r, taken);
    return AVOW_IMA_ENTRY;
}
