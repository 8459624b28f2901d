#include "avow/base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define FIRST_CAP 128u

void avow_buf_init(struct avow_buf *b, size_t limit)
{
    *b = (struct avow_buf){.limit = limit};
}

void avow_buf_deinit(struct avow_buf *b)
{
    free(b->ptr);
    *b = (struct avow_buf){.limit = b->limit};
}

void avow_buf_reset(struct avow_buf *b)
{
    b->len = 0;
    b->failed = AVOW_OK;
}

/* Makes room for n more bytes and one NUL that avow_buf_cstr may add. */
static bool reserve(struct avow_buf *b, size_t n)
{
    if (b->failed)
        return false;
    if (n > b->limit - b->len || b->len + n == SIZE_MAX) {
        b->failed = AVOW_LIMIT;
        return false;
    }
    size_t need = b->len + n + 1;
    if (need <= b->cap)
        return true;
    size_t cap = b->cap ? b->cap : FIRST_CAP;
    while (cap < need)
        cap = cap <= SIZE_MAX / 2 ? cap * 2 : need;
    if (b->limit < SIZE_MAX && cap > b->limit + 1)
        cap = b->limit + 1; /* need <= limit + 1, so this is still enough */
    uint8_t *p = realloc(b->ptr, cap);
    if (!p) {
        b->failed = AVOW_NOMEM;
        return false;
    }
    b->ptr = p;
    b->cap = cap;
    return true;
}

void avow_buf_put(struct avow_buf *b, const void *data, size_t len)
{
    if (!reserve(b, len) || !len)
        return;
    memcpy(b->ptr + b->len, data, len);
    b->len += len;
}

void avow_buf_put_u8(struct avow_buf *b, uint8_t v)
{
    avow_buf_put(b, &v, 1);
}

void avow_buf_put_u16be(struct avow_buf *b, uint16_t v)
{
    uint8_t raw[2];
    avow_put_u16be(raw, v);
    avow_buf_put(b, raw, sizeof raw);
}

void avow_buf_put_u32be(struct avow_buf *b, uint32_t v)
{
    uint8_t raw[4];
    avow_put_u32be(raw, v);
    avow_buf_put(b, raw, sizeof raw);
}

void avow_buf_put_u64be(struct avow_buf *b, uint64_t v)
{
    uint8_t raw[8];
    avow_put_u64be(raw, v);
    avow_buf_put(b, raw, sizeof raw);
}

void avow_buf_put_str(struct avow_buf *b, const char *s)
{
    avow_buf_put(b, s, strlen(s));
}

void avow_buf_printf(struct avow_buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    assert(n >= 0); /* only a broken format or more than INT_MAX characters */
    if (!reserve(b, (size_t)n))
        return;
    va_start(args, fmt);
    vsnprintf((char *)b->ptr + b->len, (size_t)n + 1, fmt, args);
    va_end(args);
    b->len += (size_t)n;
}

uint8_t *avow_buf_extend(struct avow_buf *b, size_t n)
{
    if (!reserve(b, n))
        return NULL;
    uint8_t *p = b->ptr + b->len;
    memset(p, 0, n);
    b->len += n;
    return p;
}

const char *avow_buf_cstr(struct avow_buf *b)
{
    if (!reserve(b, 0))
        return "";
    b->ptr[b->len] = '\0';
    return (const char *)b->ptr;
}

struct avow_bytes avow_buf_bytes(const struct avow_buf *b)
{
    return avow_bytes_make(b->ptr, b->len);
}

enum avow_rc avow_buf_status(const struct avow_buf *b, struct avow_err *err)
{
    if (b->failed == AVOW_LIMIT)
        return avow_err_set(err, AVOW_LIMIT, 0, "more than %zu bytes", b->limit);
    if (b->failed)
        return avow_err_set(err, b->failed, 0, "buffer: %s", avow_rc_text(b->failed));
    return AVOW_OK;
}
