#include "wire_rt.h"

#include <stdarg.h>

#include "avow/base/banned.h"

void avow_path_push(struct avow_wire_path *p, const char *name, size_t index)
{
    if (p->depth < AVOW_WIRE_DEPTH_MAX)
        p->step[p->depth] = (struct avow_wire_step){name, index};
    p->depth++;
}

void avow_path_pop(struct avow_wire_path *p)
{
    p->depth--;
}

void avow_path_text(const struct avow_wire_path *p, const char *name, char *out, size_t cap)
{
    int n = snprintf(out, cap, "%s", p->record);
    for (size_t i = 0; i < p->depth && i < AVOW_WIRE_DEPTH_MAX && n >= 0 && (size_t)n < cap; i++) {
        const struct avow_wire_step *s = &p->step[i];
        if (s->index == SIZE_MAX)
            n += snprintf(out + n, cap - (size_t)n, ".%s", s->name);
        else
            n += snprintf(out + n, cap - (size_t)n, ".%s[%zu]", s->name, s->index);
    }
    if (name && n >= 0 && (size_t)n < cap)
        snprintf(out + n, cap - (size_t)n, ".%s", name);
}

static void AVOW_PRINTF(4, 5)
    fail(struct avow_dec *d, enum avow_rc rc, const char *name, const char *fmt, ...)
{
    char path[160];
    char why[80];
    va_list ap;
    if (d->rc)
        return;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    avow_path_text(&d->path, name, path, sizeof path);
    d->rc = avow_err_set(d->err, rc, 0, "%s: %s", path, why);
}

static size_t left(const struct avow_dec *d)
{
    return (size_t)(d->end - d->p);
}

enum avow_rc avow_dec_start(struct avow_dec *d, const struct avow_wire_schema *schema,
                            struct avow_bytes in, struct avow_arena *arena, struct avow_err *err)
{
    uint64_t fingerprint;
    if (in.len > schema->max_value)
        return avow_err_set(err, AVOW_LIMIT, 0, "%s: record of %zu bytes, at most %zu allowed",
                            schema->name, in.len, schema->max_value);
    if (!avow_wire_frame(in, &fingerprint))
        return avow_err_set(err, AVOW_SCHEMA, 0, "%s: no single-object frame", schema->name);
    if (fingerprint != schema->fingerprint)
        return avow_err_set(err, AVOW_SCHEMA, 0, "%s: schema fingerprint %016llx, expected %016llx",
                            schema->name, (unsigned long long)fingerprint,
                            (unsigned long long)schema->fingerprint);
    *d = (struct avow_dec){.p = in.ptr + AVOW_WIRE_FRAME_LEN,
                           .end = in.ptr + in.len,
                           .arena = arena,
                           .err = err,
                           .rc = AVOW_OK,
                           .path = {.record = schema->record}};
    return AVOW_OK;
}

enum avow_rc avow_dec_finish(struct avow_dec *d)
{
    if (!d->rc && d->p != d->end)
        fail(d, AVOW_PARSE, NULL, "%zu bytes after the record", left(d));
    return d->rc;
}

/* Only the shortest form is accepted: every Avro writer makes it, and one value then has one
 * encoding. */
static uint64_t varint(struct avow_dec *d, const char *name)
{
    uint64_t v = 0;
    for (unsigned shift = 0; !d->rc; shift += 7) {
        if (d->p == d->end) {
            fail(d, AVOW_PARSE, name, "truncated");
            break;
        }
        uint8_t b = *d->p++;
        if (shift == 7 * (AVOW_WIRE_VARINT_MAX - 1) && b > 1) {
            fail(d, AVOW_PARSE, name, "number does not fit 64 bits");
            break;
        }
        v |= (uint64_t)(b & 0x7Fu) << shift;
        if (b & 0x80u)
            continue;
        if (b == 0 && shift > 0) {
            fail(d, AVOW_PARSE, name, "number is not in its shortest form");
            break;
        }
        return v;
    }
    return 0;
}

static int64_t zigzag(struct avow_dec *d, const char *name)
{
    uint64_t v = varint(d, name);
    return v & 1u ? -(int64_t)(v >> 1) - 1 : (int64_t)(v >> 1);
}

static uint64_t ranged(struct avow_dec *d, const char *name, uint64_t max)
{
    int64_t v = zigzag(d, name);
    if (v >= 0 && (uint64_t)v <= max)
        return (uint64_t)v;
    fail(d, AVOW_PARSE, name, "%lld is out of range", (long long)v);
    return 0;
}

uint16_t avow_dec_u16(struct avow_dec *d, const char *name)
{
    return (uint16_t)ranged(d, name, UINT16_MAX);
}

int32_t avow_dec_u31(struct avow_dec *d, const char *name)
{
    return (int32_t)ranged(d, name, INT32_MAX);
}

uint32_t avow_dec_u32(struct avow_dec *d, const char *name)
{
    return (uint32_t)ranged(d, name, UINT32_MAX);
}

uint64_t avow_dec_u63(struct avow_dec *d, const char *name)
{
    return ranged(d, name, INT64_MAX);
}

uint32_t avow_dec_index(struct avow_dec *d, const char *name, uint32_t count)
{
    int64_t v = zigzag(d, name);
    if (v >= 0 && v < (int64_t)count)
        return (uint32_t)v;
    fail(d, AVOW_PARSE, name, "index %lld of %u", (long long)v, (unsigned)count);
    return 0;
}

bool avow_dec_some(struct avow_dec *d, const char *name)
{
    return avow_dec_index(d, name, 2) == 1;
}

static const uint8_t *take(struct avow_dec *d, const char *name, size_t n)
{
    if (d->rc)
        return NULL;
    if (n > left(d)) {
        fail(d, AVOW_PARSE, name, "truncated");
        return NULL;
    }
    const uint8_t *p = d->p;
    d->p += n;
    return p;
}

bool avow_dec_bool(struct avow_dec *d, const char *name)
{
    const uint8_t *p = take(d, name, 1);
    if (p && *p > 1)
        fail(d, AVOW_PARSE, name, "byte %u is not a boolean", (unsigned)*p);
    return p && *p == 1;
}

void avow_dec_fixed(struct avow_dec *d, const char *name, uint8_t *out, size_t len)
{
    const uint8_t *p = take(d, name, len);
    if (p)
        memcpy(out, p, len);
}

struct avow_bytes avow_dec_bytes(struct avow_dec *d, const char *name, size_t max)
{
    int64_t n = zigzag(d, name);
    if (n < 0)
        fail(d, AVOW_PARSE, name, "negative length");
    else if ((uint64_t)n > max)
        fail(d, AVOW_LIMIT, name, "longer than %zu", max);
    const uint8_t *p = d->rc ? NULL : take(d, name, (size_t)n);
    return p ? avow_bytes_make(p, (size_t)n) : (struct avow_bytes){NULL, 0};
}

struct avow_str avow_dec_str(struct avow_dec *d, const char *name, size_t max)
{
    struct avow_bytes b = avow_dec_bytes(d, name, max);
    struct avow_str s = {(const char *)b.ptr, b.len};
    if (!d->rc && !avow_utf8_is_valid(s))
        fail(d, AVOW_PARSE, name, "not UTF-8");
    return d->rc ? (struct avow_str){NULL, 0} : s;
}

void avow_dec_enter(struct avow_dec *d, const char *name)
{
    avow_path_push(&d->path, name, SIZE_MAX);
}

void avow_dec_leave(struct avow_dec *d)
{
    avow_path_pop(&d->path);
}

struct avow_dec_array avow_dec_array(struct avow_dec *d, const char *name, size_t max,
                                     size_t item_size, size_t item_min)
{
    avow_path_push(&d->path, name, SIZE_MAX);
    return (struct avow_dec_array){.max = max, .item_size = item_size, .item_min = item_min};
}

/* Room for `need` items. One block is the rule and is allocated exactly; more blocks double, so
 * hostile blocks of one item each cost at most three times the array. */
static void grow(struct avow_dec *d, struct avow_dec_array *a, size_t need)
{
    if (need <= a->cap)
        return;
    size_t cap = a->cap * 2 > need ? a->cap * 2 : need;
    if (cap > a->max)
        cap = a->max;
    void *items = d->arena ? avow_arena_alloc(d->arena, cap, a->item_size) : NULL;
    if (!items) {
        /* A record that asks for more than its reader grants is the record's fault, not the
         * machine's. */
        bool granted = d->arena && d->arena->limit - d->arena->used > cap * a->item_size + 64;
        fail(d, granted ? AVOW_NOMEM : AVOW_LIMIT, NULL, "no room for %zu items", cap);
        return;
    }
    if (a->count)
        memcpy(items, a->items, a->count * a->item_size);
    a->items = items;
    a->cap = cap;
}

static void next_block(struct avow_dec *d, struct avow_dec_array *a)
{
    if (a->block_end && a->block_end != d->p)
        fail(d, AVOW_PARSE, NULL, "block size is wrong");
    a->block_end = NULL;
    int64_t n = zigzag(d, NULL);
    uint64_t count = n < 0 ? 0u - (uint64_t)n : (uint64_t)n;
    if (count > a->max - a->count) {
        fail(d, AVOW_LIMIT, NULL, "more than %zu items", a->max);
        return;
    }
    size_t room = left(d);
    if (n < 0) {
        int64_t size = zigzag(d, NULL);
        if (size < 0 || (uint64_t)size > left(d)) {
            fail(d, AVOW_PARSE, NULL, "block size is wrong");
            return;
        }
        room = (size_t)size;
        a->block_end = d->p + size;
    }
    if (count * a->item_min > room) {
        fail(d, AVOW_PARSE, NULL, "truncated");
        return;
    }
    grow(d, a, a->count + (size_t)count);
    a->left = d->rc ? 0 : (size_t)count;
}

void *avow_dec_next(struct avow_dec *d, struct avow_dec_array *a)
{
    struct avow_wire_step *step = &d->path.step[d->path.depth - 1];
    if (!a->left && !d->rc) {
        step->index = SIZE_MAX;
        next_block(d, a);
    }
    if (!a->left || d->rc)
        return NULL;
    step->index = a->count;
    a->left--;
    return (uint8_t *)a->items + a->count++ * a->item_size;
}

size_t avow_dec_array_end(struct avow_dec *d, const struct avow_dec_array *a)
{
    avow_path_pop(&d->path);
    return a->count;
}
