/* policy_table.c - see policy_table.h. A name that comes back after others gets a second record;
 * look-ups walk all of them. */
#include "policy_table.h"

#include <assert.h>
#include <stdlib.h>

#include "avow/base/banned.h"

#define HEADER 6u
#define BLOB_MAX 0xFFFFFFF0u /* offsets are 32 bits wide */

struct record {
    struct avow_str name;
    struct avow_bytes values;
    size_t end;
};

void avow_policy_table_deinit(struct avow_policy_table *t)
{
    free(t->blob);
    free(t->slots);
    *t = (struct avow_policy_table){0};
}

/* Eight bytes a step: paths are long, and a step for each byte took as long as a digest. The keys
 * come from the policy's author, who is trusted with more than collisions. */
static uint64_t hash_of(struct avow_str s)
{
    uint64_t h = s.len;
    for (size_t i = 0; i < s.len; i += sizeof h) {
        uint64_t word = 0;
        size_t left = s.len - i;
        memcpy(&word, s.ptr + i, left < sizeof word ? left : sizeof word);
        h = (h ^ word) * 0x9e3779b97f4a7c15u; /* odd: 2^64 / golden ratio */
        h ^= h >> 32;
    }
    return h;
}

static struct record record_at(const struct avow_policy_table *t, size_t offset)
{
    struct avow_rd r = avow_rd_make(avow_bytes_make(t->blob + offset, t->len - offset));
    size_t name_len = avow_rd_u16be(&r), values_len = avow_rd_u32be(&r);
    struct avow_bytes name = avow_rd_take(&r, name_len), values = avow_rd_take(&r, values_len);
    assert(!r.bad);
    return (struct record){.name = {(const char *)name.ptr, name.len},
                           .values = values,
                           .end = offset + HEADER + name_len + values_len};
}

static bool values_have(struct avow_bytes values, struct avow_bytes value)
{
    struct avow_rd r = avow_rd_make(values);
    while (avow_rd_left(&r)) {
        size_t len = avow_rd_u8(&r);
        if (avow_bytes_eq(avow_rd_take(&r, len), value))
            return true;
    }
    return false;
}

struct cursor { /* in the probe sequence of a name */
    uint64_t at;
    uint32_t tag;
};

static struct cursor cursor_of(uint64_t hash)
{
    return (struct cursor){.at = hash, .tag = (uint32_t)(hash >> 32)};
}

/* Next record with this name in the probe sequence; false at its end. */
static bool probe(const struct avow_policy_table *t, struct avow_str name, struct cursor *c,
                  struct record *out)
{
    for (;;) {
        const struct avow_policy_slot *slot = &t->slots[c->at++ & (t->slot_count - 1)];
        if (!slot->offset)
            return false;
        if (slot->tag != c->tag)
            continue;
        *out = record_at(t, slot->offset - 1);
        if (avow_str_eq(out->name, name))
            return true;
    }
}

bool avow_policy_table_has_name(const struct avow_policy_table *t, struct avow_str name)
{
    struct cursor c = cursor_of(hash_of(name));
    struct record r;
    return t->slot_count && probe(t, name, &c, &r);
}

bool avow_policy_table_has(const struct avow_policy_table *t, struct avow_str name,
                           struct avow_bytes value)
{
    struct cursor c = cursor_of(hash_of(name));
    struct record r;
    while (t->slot_count && probe(t, name, &c, &r)) {
        if (values_have(r.values, value))
            return true;
    }
    return false;
}

static void insert(struct avow_policy_slot *slots, size_t count, uint64_t hash, size_t offset)
{
    struct cursor c = cursor_of(hash);
    while (slots[c.at & (count - 1)].offset)
        c.at++;
    slots[c.at & (count - 1)] =
        (struct avow_policy_slot){.offset = (uint32_t)(offset + 1), .tag = c.tag};
}

static enum avow_rc grow_slots(struct avow_policy_table *t, struct avow_err *err)
{
    size_t count = t->slot_count ? t->slot_count * 2 : 64;
    struct avow_policy_slot *slots = calloc(count, sizeof *slots);
    if (!slots)
        return avow_err_set(err, AVOW_NOMEM, 0, "policy index");
    for (size_t at = 0; at < t->len;) {
        struct record r = record_at(t, at);
        insert(slots, count, hash_of(r.name), at);
        at = r.end;
    }
    free(t->slots);
    t->slots = slots;
    t->slot_count = count;
    return AVOW_OK;
}

static enum avow_rc reserve(struct avow_policy_table *t, size_t more, struct avow_err *err)
{
    if (more <= t->cap - t->len)
        return AVOW_OK;
    if (t->len > BLOB_MAX - more)
        return avow_err_set(err, AVOW_LIMIT, 0, "policy is too large");
    size_t cap = t->cap + t->cap / 2 + more + 4096;
    uint8_t *grown = realloc(t->blob, cap);
    if (!grown)
        return avow_err_set(err, AVOW_NOMEM, 0, "policy of %zu bytes", cap);
    t->blob = grown;
    t->cap = cap;
    return AVOW_OK;
}

static void append(struct avow_policy_table *t, const void *data, size_t len)
{
    memcpy(t->blob + t->len, data, len);
    t->len += len;
}

static enum avow_rc start_record(struct avow_policy_table *t, struct avow_str name,
                                 struct avow_err *err)
{
    if ((t->used + 1) * 4 > t->slot_count * 3) {
        enum avow_rc rc = grow_slots(t, err);
        if (rc)
            return rc;
    }
    if (!avow_policy_table_has_name(t, name))
        t->names++;
    uint8_t header[HEADER] = {0};
    avow_put_u16be(header, (uint16_t)name.len);
    t->last = t->len;
    append(t, header, sizeof header);
    append(t, name.ptr, name.len);
    insert(t->slots, t->slot_count, hash_of(name), t->last);
    t->used++;
    return AVOW_OK;
}

enum avow_rc avow_policy_table_put(struct avow_policy_table *t, struct avow_str name,
                                   struct avow_bytes value, struct avow_err *err)
{
    assert(name.len <= UINT16_MAX && value.len > 0 && value.len <= UINT8_MAX);
    enum avow_rc rc = reserve(t, HEADER + name.len + 1 + value.len, err);
    if (!rc && !(t->len && avow_str_eq(record_at(t, t->last).name, name)))
        rc = start_record(t, name, err);
    if (rc)
        return rc;
    uint8_t len = (uint8_t)value.len;
    append(t, &len, 1);
    append(t, value.ptr, value.len);
    avow_put_u32be(t->blob + t->last + 2, (uint32_t)(t->len - t->last - HEADER - name.len));
    t->values++;
    return AVOW_OK;
}

void avow_policy_table_shrink(struct avow_policy_table *t)
{
    uint8_t *fit = t->len ? realloc(t->blob, t->len) : NULL;
    if (fit) {
        t->blob = fit;
        t->cap = t->len;
    }
}

bool avow_policy_table_is_subset(const struct avow_policy_table *a,
                                 const struct avow_policy_table *b)
{
    for (size_t at = 0; at < a->len;) {
        struct record rec = record_at(a, at);
        struct avow_rd r = avow_rd_make(rec.values);
        while (avow_rd_left(&r)) {
            size_t len = avow_rd_u8(&r);
            if (!avow_policy_table_has(b, rec.name, avow_rd_take(&r, len)))
                return false;
        }
        at = rec.end;
    }
    return true;
}

size_t avow_policy_table_memory(const struct avow_policy_table *t)
{
    return t->cap + t->slot_count * sizeof *t->slots;
}
