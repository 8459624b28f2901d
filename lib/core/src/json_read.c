/* json_read.c - see json_read.h. */
#include "json_read.h"

#include "avow/base/num.h"

#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define KEY_SHOWN 60

static int shown(struct avow_str key)
{
    return (int)(key.len < KEY_SHOWN ? key.len : KEY_SHOWN);
}

enum avow_rc avow_json_refuse(struct avow_json_read *r, enum avow_rc rc, const char *fmt, ...)
{
    char reason[160];
    va_list args;
    enum avow_rc failed = avow_json_status(&r->j, r->err);
    if (failed)
        return avow_err_wrap(r->err, failed, "%s", r->path);
    va_start(args, fmt);
    (void)vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    return avow_err_set(r->err, rc, 0, "%s: %s", r->path, reason);
}

/* What the text itself is wrong with, if anything. */
static enum avow_rc status(struct avow_json_read *r)
{
    enum avow_rc rc = avow_json_status(&r->j, r->err);
    return rc ? avow_err_wrap(r->err, rc, "%s", r->path) : AVOW_OK;
}

/* --- The path --- */

static size_t push_key(struct avow_json_read *r, struct avow_str key)
{
    size_t len = strlen(r->path);
    (void)snprintf(r->path + len, sizeof r->path - len, ".%.*s", shown(key), key.ptr);
    return len;
}

static size_t push_index(struct avow_json_read *r, size_t i)
{
    size_t len = strlen(r->path);
    (void)snprintf(r->path + len, sizeof r->path - len, "[%zu]", i);
    return len;
}

static void pop(struct avow_json_read *r, size_t len)
{
    r->path[len] = 0;
}

/* --- Objects and lists --- */

static bool find(const struct avow_json_field *fields, size_t n, struct avow_str key, size_t *at)
{
    for (*at = 0; *at < n; (*at)++) {
        if (!fields[*at].name || avow_str_is(key, fields[*at].name))
            return true;
    }
    return false;
}

static enum avow_rc read_member(struct avow_json_read *r, const struct avow_json_field *fields,
                                size_t n, struct avow_str key, uint32_t *seen)
{
    size_t at, len = push_key(r, key);
    if (!find(fields, n, key, &at))
        return avow_json_refuse(r, AVOW_PARSE, "unknown key");
    if (fields[at].name && *seen & UINT32_C(1) << at)
        return avow_json_refuse(r, AVOW_PARSE, "duplicate key");
    *seen |= UINT32_C(1) << at;
    enum avow_rc rc = fields[at].read(r, fields[at].out);
    if (!rc)
        pop(r, len);
    return rc;
}

enum avow_rc avow_json_read_object(struct avow_json_read *r, const struct avow_json_field *fields,
                                   size_t n)
{
    bool first = true;
    uint32_t seen = 0;
    struct avow_str key;
    if (avow_json_peek(&r->j) != AVOW_JSON_OBJECT || !avow_json_enter(&r->j, AVOW_JSON_OBJECT))
        return avow_json_refuse(r, AVOW_PARSE, "not an object");
    while (avow_json_member(&r->j, &first, &key)) {
        enum avow_rc rc = read_member(r, fields, n, key, &seen);
        if (rc)
            return rc;
    }
    for (size_t i = 0; i < n && !r->j.failed; i++) {
        if (fields[i].required && !(seen & UINT32_C(1) << i))
            return avow_json_refuse(r, AVOW_PARSE, "\"%s\" is missing", fields[i].name);
    }
    return status(r);
}

enum avow_rc avow_json_read_list(struct avow_json_read *r, avow_json_reader read, void *out,
                                 size_t max)
{
    bool first = true;
    size_t n = 0;
    if (avow_json_peek(&r->j) != AVOW_JSON_ARRAY || !avow_json_enter(&r->j, AVOW_JSON_ARRAY))
        return avow_json_refuse(r, AVOW_PARSE, "not a list");
    while (avow_json_element(&r->j, &first)) {
        if (n == max)
            return avow_json_refuse(r, AVOW_LIMIT, "more than %zu elements", max);
        size_t len = push_index(r, n++);
        enum avow_rc rc = read(r, out);
        if (rc)
            return rc;
        pop(r, len);
    }
    return status(r);
}

enum avow_rc avow_json_read_keys(struct avow_json_read *r, avow_json_key_reader read, void *out,
                                 size_t max)
{
    bool first = true;
    size_t n = 0;
    struct avow_str key;
    if (avow_json_peek(&r->j) != AVOW_JSON_OBJECT || !avow_json_enter(&r->j, AVOW_JSON_OBJECT))
        return avow_json_refuse(r, AVOW_PARSE, "not an object");
    while (avow_json_member(&r->j, &first, &key)) {
        size_t len = push_key(r, key);
        if (n++ == max)
            return avow_json_refuse(r, AVOW_LIMIT, "more than %zu members", max);
        enum avow_rc rc = read(r, key, out);
        if (rc)
            return rc;
        pop(r, len);
    }
    return status(r);
}

/* --- Values --- */

enum avow_rc avow_json_read_bool(struct avow_json_read *r, void *out)
{
    if (avow_json_peek(&r->j) != AVOW_JSON_BOOL || !avow_json_bool(&r->j, out))
        return avow_json_refuse(r, AVOW_PARSE, "not true or false");
    return AVOW_OK;
}

enum avow_rc avow_json_read_u32(struct avow_json_read *r, void *out)
{
    struct avow_bytes text;
    uint64_t n;
    if (avow_json_peek(&r->j) != AVOW_JSON_NUMBER || !avow_json_skip(&r->j, &text) ||
        !avow_num_parse_u64((struct avow_str){(const char *)text.ptr, text.len}, UINT32_MAX, &n))
        return avow_json_refuse(r, AVOW_PARSE, "not a whole number");
    *(uint32_t *)out = (uint32_t)n;
    return AVOW_OK;
}

enum avow_rc avow_json_read_text(struct avow_json_read *r, struct avow_str *out)
{
    if (avow_json_peek(&r->j) != AVOW_JSON_STRING || !avow_json_string(&r->j, out))
        return avow_json_refuse(r, AVOW_PARSE, "not a string");
    return AVOW_OK;
}

enum avow_rc avow_json_read_document(struct avow_bytes text, const struct avow_json_field *fields,
                                     size_t n, void *ctx, struct avow_err *err)
{
    struct avow_json_read r = {.err = err, .ctx = ctx, .path = "$"};
    avow_json_init(&r.j, text);
    enum avow_rc rc = r.j.failed ? status(&r) : avow_json_read_object(&r, fields, n);
    if (!rc && !avow_json_end(&r.j))
        rc = avow_json_refuse(&r, AVOW_PARSE, "more follows");
    avow_json_deinit(&r.j);
    return rc;
}
