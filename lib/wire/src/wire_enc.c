#include "wire_rt.h"

#include <stdarg.h>

#include "avow/base/banned.h"

static void AVOW_PRINTF(4, 5)
    fail(struct avow_enc *e, enum avow_rc rc, const char *name, const char *fmt, ...)
{
    char path[160];
    char why[80];
    va_list ap;
    if (e->rc)
        return;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    avow_path_text(&e->path, name, path, sizeof path);
    e->rc = avow_err_set(e->err, rc, 0, "%s: %s", path, why);
}

static void put(struct avow_enc *e, const void *p, size_t n)
{
    if (!e->rc)
        avow_buf_put(e->out, p, n);
}

/* Of numbers that are not negative. */
static void put_number(struct avow_enc *e, uint64_t v)
{
    uint8_t bytes[AVOW_WIRE_VARINT_MAX];
    size_t n = 0;
    for (v <<= 1; v >= 0x80; v >>= 7)
        bytes[n++] = (uint8_t)(v | 0x80u);
    bytes[n++] = (uint8_t)v;
    put(e, bytes, n);
}

void avow_enc_start(struct avow_enc *e, const struct avow_wire_schema *schema, struct avow_buf *out,
                    struct avow_err *err)
{
    uint8_t frame[AVOW_WIRE_FRAME_LEN] = {0xC3, 0x01};
    *e = (struct avow_enc){.out = out,
                           .start = out->len,
                           .max_value = schema->max_value,
                           .err = err,
                           .rc = AVOW_OK,
                           .path = {.record = schema->record}};
    avow_put_u64le(frame + 2, schema->fingerprint);
    put(e, frame, sizeof frame);
}

enum avow_rc avow_enc_finish(struct avow_enc *e)
{
    if (!e->rc)
        e->rc = avow_buf_status(e->out, e->err);
    if (!e->rc && e->out->len - e->start > e->max_value)
        fail(e, AVOW_LIMIT, NULL, "record longer than %zu", e->max_value);
    if (e->rc)
        e->out->len = e->start;
    return e->rc;
}

void avow_enc_u16(struct avow_enc *e, const char *name, uint16_t v)
{
    (void)name; /* every value of the type is in range */
    put_number(e, v);
}

void avow_enc_u31(struct avow_enc *e, const char *name, int32_t v)
{
    if (v < 0)
        fail(e, AVOW_LIMIT, name, "%d is out of range", (int)v);
    else
        put_number(e, (uint64_t)v);
}

void avow_enc_u32(struct avow_enc *e, const char *name, uint32_t v)
{
    (void)name;
    put_number(e, v);
}

void avow_enc_u63(struct avow_enc *e, const char *name, uint64_t v)
{
    if (v > INT64_MAX)
        fail(e, AVOW_LIMIT, name, "%llu is out of range", (unsigned long long)v);
    else
        put_number(e, v);
}

void avow_enc_bool(struct avow_enc *e, bool v)
{
    uint8_t b = v ? 1 : 0;
    put(e, &b, 1);
}

void avow_enc_fixed(struct avow_enc *e, const uint8_t *v, size_t len)
{
    put(e, v, len);
}

void avow_enc_bytes(struct avow_enc *e, const char *name, size_t max, struct avow_bytes v)
{
    if (v.len > max) {
        fail(e, AVOW_LIMIT, name, "longer than %zu", max);
        return;
    }
    put_number(e, v.len);
    put(e, v.ptr, v.len);
}

void avow_enc_str(struct avow_enc *e, const char *name, size_t max, struct avow_str v)
{
    if (v.len <= max && !avow_utf8_is_valid(v))
        fail(e, AVOW_PARSE, name, "not UTF-8");
    avow_enc_bytes(e, name, max, avow_bytes_make(v.ptr, v.len));
}

void avow_enc_index(struct avow_enc *e, const char *name, uint32_t count, uint32_t v)
{
    if (v >= count)
        fail(e, AVOW_LIMIT, name, "index %u of %u", (unsigned)v, (unsigned)count);
    else
        put_number(e, v);
}

bool avow_enc_some(struct avow_enc *e, bool has)
{
    put_number(e, has ? 1 : 0);
    return has;
}

void avow_enc_enter(struct avow_enc *e, const char *name)
{
    avow_path_push(&e->path, name, SIZE_MAX);
}

void avow_enc_leave(struct avow_enc *e)
{
    avow_path_pop(&e->path);
}

size_t avow_enc_array(struct avow_enc *e, const char *name, size_t max, size_t count)
{
    avow_path_push(&e->path, name, SIZE_MAX);
    if (count > max)
        fail(e, AVOW_LIMIT, NULL, "more than %zu items", max);
    if (e->rc)
        return 0;
    if (count)
        put_number(e, count);
    return count;
}

void avow_enc_item(struct avow_enc *e, size_t index)
{
    e->path.step[e->path.depth - 1].index = index;
}

void avow_enc_array_end(struct avow_enc *e)
{
    put_number(e, 0);
    avow_path_pop(&e->path);
}
