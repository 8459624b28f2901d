/* json_pull.c - see json_pull.h. */
#include "avow/formats/json_pull.h"

#include <stdlib.h>

#include "avow/base/banned.h"

enum { COPY_KEY = 0, COPY_VALUE = 1 };

static bool fail(struct avow_json *j, enum avow_rc rc, const char *reason)
{
    if (!j->failed) {
        j->failed = rc;
        j->reason = reason;
    }
    return false;
}

void avow_json_init(struct avow_json *j, struct avow_bytes text)
{
    *j = (struct avow_json){.start = text.ptr, .p = text.ptr, .end = text.ptr + text.len};
    if (!avow_utf8_is_valid((struct avow_str){(const char *)text.ptr, text.len}))
        (void)fail(j, AVOW_PARSE, "not UTF-8, or a NUL byte");
}

void avow_json_deinit(struct avow_json *j)
{
    free(j->copy[COPY_KEY]);
    free(j->copy[COPY_VALUE]);
    j->copy[COPY_KEY] = j->copy[COPY_VALUE] = NULL;
}

static void skip_space(struct avow_json *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\n' || *j->p == '\r'))
        j->p++;
}

static bool take(struct avow_json *j, char c)
{
    if (j->failed || j->p == j->end || *j->p != (uint8_t)c)
        return false;
    j->p++;
    return true;
}

static bool is_digit(const struct avow_json *j)
{
    return j->p < j->end && *j->p >= '0' && *j->p <= '9';
}

enum avow_json_kind avow_json_peek(struct avow_json *j)
{
    skip_space(j);
    if (j->failed || j->p == j->end)
        return AVOW_JSON_NOTHING;
    switch (*j->p) {
    case '{':
        return AVOW_JSON_OBJECT;
    case '[':
        return AVOW_JSON_ARRAY;
    case '"':
        return AVOW_JSON_STRING;
    case 't':
    case 'f':
        return AVOW_JSON_BOOL;
    case 'n':
        return AVOW_JSON_NULL;
    default:
        return *j->p == '-' || is_digit(j) ? AVOW_JSON_NUMBER : AVOW_JSON_NOTHING;
    }
}

bool avow_json_enter(struct avow_json *j, enum avow_json_kind kind)
{
    if (avow_json_peek(j) != kind)
        return fail(j, AVOW_PARSE,
                    kind == AVOW_JSON_OBJECT ? "an object is expected" : "a list is expected");
    j->p++;
    return true;
}

/* True if another item follows; consumes the comma before it, or the closing bracket. */
static bool next_item(struct avow_json *j, bool *first, char close)
{
    skip_space(j);
    if (j->failed || take(j, close))
        return false;
    if (!*first && !take(j, ','))
        return fail(j, AVOW_PARSE, "a comma or the closing bracket is expected");
    *first = false;
    return true;
}

/* --- strings --- */

static bool hex4(struct avow_json *j, uint32_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = j->p < j->end ? *j->p : 0;
        uint32_t d;
        if (c >= '0' && c <= '9')
            d = c - (uint32_t)'0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            d = (c | 0x20u) - (uint32_t)'a' + 10;
        else
            return fail(j, AVOW_PARSE, "four hex digits are expected");
        v = v << 4 | d;
        j->p++;
    }
    *out = v;
    return true;
}

/* After "\u": a code point, of two escapes if it is beyond the first plane. NUL and lone surrogates
 * are refused. */
static bool code_point(struct avow_json *j, uint32_t *out)
{
    uint32_t high, low;
    if (!hex4(j, &high))
        return false;
    *out = high;
    if (high < 0xD800 || high > 0xDFFF)
        return high || fail(j, AVOW_PARSE, "a NUL in a string");
    if (high > 0xDBFF || !take(j, '\\') || !take(j, 'u') || !hex4(j, &low) || low < 0xDC00 ||
        low > 0xDFFF)
        return fail(j, AVOW_PARSE, "half of a surrogate pair");
    *out = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    return true;
}

static size_t put_utf8(char *out, uint32_t c)
{
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n; i > 1; i--) {
        out[i - 1] = (char)(0x80 | (c & 0x3F));
        c >>= 6;
    }
    out[0] = (char)(lead[n] | c);
    return n;
}

static bool escape(struct avow_json *j, char *out, size_t *len)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint8_t c = j->p < j->end ? *j->p++ : 0;
    uint32_t point;
    if (c == 'u') {
        if (!code_point(j, &point))
            return false;
        *len += put_utf8(out + *len, point);
        return true;
    }
    const char *at = c ? strchr(from, c) : NULL;
    if (!at)
        return fail(j, AVOW_PARSE, "unknown escape");
    out[(*len)++] = to[at - from];
    return true;
}

/* The string from its first escape on; `raw` is where it began. An escape is never shorter than
 * what it stands for. */
static bool unescape(struct avow_json *j, const uint8_t *raw, int slot, struct avow_str *out)
{
    const uint8_t *close = j->p;
    while (close < j->end && *close != '"')
        close += *close == '\\' && j->end - close > 1 ? 2 : 1;
    size_t len = (size_t)(j->p - raw);
    free(j->copy[slot]);
    char *copy = j->copy[slot] = malloc((size_t)(close - raw) + 1);
    if (!copy)
        return fail(j, AVOW_NOMEM, "no memory for a string");
    memcpy(copy, raw, len);
    for (;;) {
        uint8_t c = j->p < j->end ? *j->p++ : 0;
        if (c == '"') {
            *out = (struct avow_str){copy, len};
            return true;
        }
        if (c < 0x20)
            return fail(j, AVOW_PARSE, "a string does not end, or has a control character");
        if (c == '\\') {
            if (!escape(j, copy, &len))
                return false;
        } else {
            copy[len++] = (char)c;
        }
    }
}

static bool read_string(struct avow_json *j, int slot, struct avow_str *out)
{
    skip_space(j);
    if (!take(j, '"'))
        return fail(j, AVOW_PARSE, "a string is expected");
    const uint8_t *raw = j->p;
    while (j->p < j->end && *j->p >= 0x20 && *j->p != '"' && *j->p != '\\')
        j->p++;
    if (j->p < j->end && *j->p == '"') {
        *out = (struct avow_str){(const char *)raw, (size_t)(j->p - raw)};
        j->p++;
        return true;
    }
    return unescape(j, raw, slot, out);
}

bool avow_json_string(struct avow_json *j, struct avow_str *out)
{
    return read_string(j, COPY_VALUE, out);
}

bool avow_json_member(struct avow_json *j, bool *first, struct avow_str *key)
{
    if (!next_item(j, first, '}') || !read_string(j, COPY_KEY, key))
        return false;
    skip_space(j);
    return take(j, ':') || fail(j, AVOW_PARSE, "a colon is expected");
}

bool avow_json_element(struct avow_json *j, bool *first)
{
    return next_item(j, first, ']');
}

/* --- numbers and the rest --- */

static bool digits(struct avow_json *j)
{
    if (!is_digit(j))
        return fail(j, AVOW_PARSE, "a digit is expected");
    while (is_digit(j))
        j->p++;
    return true;
}

static bool number(struct avow_json *j, bool *integer)
{
    *integer = !take(j, '-');
    if (take(j, '0')) {
        if (is_digit(j))
            return fail(j, AVOW_PARSE, "a leading zero");
    } else if (!digits(j)) {
        return false;
    }
    if (take(j, '.')) {
        *integer = false;
        if (!digits(j))
            return false;
    }
    if (take(j, 'e') || take(j, 'E')) {
        *integer = false;
        if (!take(j, '+'))
            (void)take(j, '-');
        return digits(j);
    }
    return true;
}

bool avow_json_integer(struct avow_json *j, uint64_t max)
{
    bool integer;
    uint64_t v = 0;
    if (avow_json_peek(j) != AVOW_JSON_NUMBER)
        return false;
    const uint8_t *from = j->p;
    if (!number(j, &integer) || !integer)
        return false;
    for (; from < j->p; from++) {
        uint64_t d = *from - (uint64_t)'0';
        if (d > max || v > (max - d) / 10)
            return false;
        v = v * 10 + d;
    }
    return true;
}

static bool literal(struct avow_json *j)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(words); i++) {
        size_t len = strlen(words[i]);
        if ((size_t)(j->end - j->p) >= len &&
            avow_bytes_eq(avow_bytes_make(j->p, len), avow_bytes_make(words[i], len))) {
            j->p += len;
            return true;
        }
    }
    return fail(j, AVOW_PARSE, "an unknown word");
}

bool avow_json_bool(struct avow_json *j, bool *out)
{
    if (avow_json_peek(j) != AVOW_JSON_BOOL)
        return false;
    bool yes = *j->p == 't';
    if (!literal(j))
        return false;
    *out = yes;
    return true;
}

/* One value that is no container. */
static bool scalar(struct avow_json *j)
{
    struct avow_str s;
    bool integer;
    switch (avow_json_peek(j)) {
    case AVOW_JSON_STRING:
        return avow_json_string(j, &s);
    case AVOW_JSON_NUMBER:
        return number(j, &integer);
    case AVOW_JSON_BOOL:
    case AVOW_JSON_NULL:
        return literal(j);
    case AVOW_JSON_NOTHING:
    case AVOW_JSON_OBJECT:
    case AVOW_JSON_ARRAY:
    default:
        return fail(j, AVOW_PARSE, "a value is expected");
    }
}

bool avow_json_skip(struct avow_json *j, struct avow_bytes *out)
{
    bool object[AVOW_JSON_DEPTH_MAX], first[AVOW_JSON_DEPTH_MAX];
    struct avow_str key;
    size_t depth = 0;
    skip_space(j);
    const uint8_t *from = j->p;
    do {
        /* A value stands here, or the next item of the innermost container. */
        if (depth && !(object[depth - 1] ? avow_json_member(j, &first[depth - 1], &key)
                                         : avow_json_element(j, &first[depth - 1]))) {
            depth--;
            continue;
        }
        enum avow_json_kind kind = avow_json_peek(j);
        if (kind == AVOW_JSON_OBJECT || kind == AVOW_JSON_ARRAY) {
            if (depth == AVOW_JSON_DEPTH_MAX)
                return fail(j, AVOW_LIMIT, "nested too deeply");
            object[depth] = kind == AVOW_JSON_OBJECT;
            first[depth++] = true;
            j->p++;
        } else {
            (void)scalar(j);
        }
    } while (depth && !j->failed);
    if (out && !j->failed)
        *out = avow_bytes_make(from, (size_t)(j->p - from));
    return !j->failed;
}

bool avow_json_end(struct avow_json *j)
{
    skip_space(j);
    return !j->failed && (j->p == j->end || fail(j, AVOW_PARSE, "something follows the value"));
}

enum avow_rc avow_json_status(const struct avow_json *j, struct avow_err *err)
{
    if (!j->failed)
        return AVOW_OK;
    size_t line = 1, column = 1;
    for (const uint8_t *at = j->start; at < j->p; at++) {
        column = *at == '\n' ? 1 : column + 1;
        line += *at == '\n';
    }
    return avow_err_set(err, j->failed, 0, "line %zu, column %zu: %s", line, column, j->reason);
}
