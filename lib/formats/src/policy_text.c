/* policy_text.c - see policy_text.h. Chooses the form; the flat one is read here, JSON in
 * policy_json.c. */
#include "policy_internal.h"

#include "avow/base/hex.h"

#include <stdarg.h>
#include <stdio.h>

#include "avow/base/banned.h"

#define WARNING_MAX 240u

enum avow_rc avow_policy_put(struct avow_policy_reader *r, enum avow_policy_item item,
                             struct avow_str name)
{
    return r->sink->item(r->sink->ctx, item, name, (struct avow_bytes){NULL, 0}, r->err);
}

enum avow_rc avow_policy_put_name(struct avow_policy_reader *r, enum avow_policy_item item,
                                  struct avow_str name)
{
    if (!name.len || name.len > AVOW_POLICY_NAME_LEN_MAX)
        return avow_err_set(r->err, AVOW_LIMIT, 0, "a name has %zu bytes, 1 to %u are allowed",
                            name.len, AVOW_POLICY_NAME_LEN_MAX);
    return avow_policy_put(r, item, name);
}

enum avow_rc avow_policy_warn(struct avow_policy_reader *r, const char *fmt, ...)
{
    char text[WARNING_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    return avow_policy_put(r, AVOW_POLICY_ITEM_WARNING, (struct avow_str){text, len});
}

/* A digest has no algorithm in the text: its length says which one it is. SHA-224 (28 bytes) is in
 * Keylime's lists, and no entry of a list that we judge has one. */
static bool is_digest_len(size_t bytes)
{
    return bytes == 20 || bytes == 28 || bytes == 32 || bytes == 48 || bytes == 64;
}

/* "sha256:hex", as some lists of boot_aggregate have it: the name must fit the length. */
static bool drop_algorithm(struct avow_str *hex)
{
    static const struct {
        const char *prefix;
        size_t digits;
    } names[] = {{"sha1:", 40}, {"sha256:", 64}, {"sha384:", 96}, {"sha512:", 128}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(names); i++) {
        size_t n = strlen(names[i].prefix);
        if (avow_str_starts(*hex, names[i].prefix)) {
            *hex = (struct avow_str){hex->ptr + n, hex->len - n};
            return hex->len == names[i].digits;
        }
    }
    return true;
}

enum avow_rc avow_policy_put_digest(struct avow_policy_reader *r, enum avow_policy_item item,
                                    struct avow_str name, struct avow_str hex)
{
    uint8_t digest[AVOW_POLICY_DIGEST_LEN_MAX];
    if (!name.len || name.len > AVOW_POLICY_NAME_LEN_MAX)
        return avow_err_set(r->err, AVOW_LIMIT, 0, "a name has %zu bytes, 1 to %u are allowed",
                            name.len, AVOW_POLICY_NAME_LEN_MAX);
    if (++r->digests > AVOW_POLICY_DIGESTS_MAX)
        return avow_err_set(r->err, AVOW_LIMIT, 0, "more than %u digests", AVOW_POLICY_DIGESTS_MAX);
    if (!drop_algorithm(&hex))
        return avow_err_set(r->err, AVOW_PARSE, 0, "the digest does not fit its algorithm");
    if (hex.len % 2 || !is_digest_len(hex.len / 2))
        return avow_err_set(r->err, AVOW_PARSE, 0,
                            "a digest of %zu hex digits is of no known algorithm", hex.len);
    if (!avow_hex_decode(digest, hex.len / 2, hex))
        return avow_err_set(r->err, AVOW_PARSE, 0, "not hex");
    return r->sink->item(r->sink->ctx, item, name, avow_bytes_make(digest, hex.len / 2), r->err);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct avow_str trim(struct avow_str s)
{
    while (s.len && is_blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* "digest  path", as sha256sum prints it; '*' in front of the path marks its binary mode. */
static enum avow_rc flat_line(struct avow_policy_reader *r, struct avow_str line)
{
    line = trim(line);
    if (!line.len || line.ptr[0] == '#')
        return AVOW_OK;
    size_t n = 0;
    while (n < line.len && !is_blank(line.ptr[n]))
        n++;
    struct avow_str path = trim((struct avow_str){line.ptr + n, line.len - n});
    if (path.len > 1 && path.ptr[0] == '*' && path.ptr[1] == '/') {
        path.ptr++;
        path.len--;
    }
    if (!path.len)
        return avow_err_set(r->err, AVOW_PARSE, 0, "not \"digest path\"");
    return avow_policy_put_digest(r, AVOW_POLICY_ITEM_DIGEST, path, (struct avow_str){line.ptr, n});
}

enum avow_rc avow_policy_flat_parse(struct avow_policy_reader *r, struct avow_bytes text)
{
    enum avow_rc rc = avow_policy_put(r, AVOW_POLICY_ITEM_LEGACY, AVOW_STR_LIT("flat"));
    size_t number = 0;
    for (size_t at = 0; at < text.len && !rc;) {
        const uint8_t *start = text.ptr + at, *end = memchr(start, '\n', text.len - at);
        size_t len = end ? (size_t)(end - start) : text.len - at;
        number++;
        if (memchr(start, 0, len))
            rc = avow_err_set(r->err, AVOW_PARSE, 0, "NUL byte");
        else
            rc = flat_line(r, (struct avow_str){(const char *)start, len});
        if (rc)
            return avow_err_wrap(r->err, rc, "line %zu", number);
        at += len + 1;
    }
    if (!rc && !r->digests)
        return avow_err_set(r->err, AVOW_PARSE, 0, "no digest in the whole text");
    return rc;
}

enum avow_rc avow_policy_text_parse(struct avow_bytes text, const struct avow_policy_sink *sink,
                                    struct avow_err *err)
{
    struct avow_policy_reader r = {.sink = sink, .err = err};
    if (text.len > AVOW_POLICY_TEXT_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "policy has %zu bytes, at most %u are read",
                            text.len, AVOW_POLICY_TEXT_MAX);
    size_t i = 0;
    while (i < text.len && (is_blank((char)text.ptr[i]) || text.ptr[i] == '\n'))
        i++;
    if (i == text.len)
        return avow_err_set(err, AVOW_PARSE, 0, "the policy is empty");
    bool json = text.ptr[i] == '{' || text.ptr[i] == '[';
    return json ? avow_policy_json_parse(&r, text) : avow_policy_flat_parse(&r, text);
}
