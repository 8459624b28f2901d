/* policy_table.c - see policy_table.h. The index has one slot a name, which points at its newest
 * record. A name that comes back after others, or has more values than a record holds, gets another
 * record, and the first value of that one, of length 0, is the offset of the record before. */
#include "policy_table.h"

#include <assert.h>
#include <stdlib.h>

#include "avow/base/banned.h"

#define HEADER 4u
#define FEW_VALUES 1024u /* bytes */
#define LINK 5u          /* u8 0, u32be offset of the record before */
#define VALUES_MAX UINT16_MAX
#define BLOB_MAX 0xFFFFFFF0u /* offsets are 32 bits wide */
/* Slots for so many names: at 5 of 6 a look-up that finds takes 3 steps, one that does not 18. */
#define SLOTS_FOR(names) ((names) + (names) / 5 + 1)

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

static uint64_t mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * 0x9e3779b97f4a7c15u; /* odd: 2^64 / golden ratio */
    return h ^ h >> 32;
}

/* Eight bytes a step, the last ones over those before: paths are long, and a step for each byte
 * took as long as a digest. The keys come from the policy's author, who is trusted with more than
 * collisions. */
static uint64_t hash_of(struct avow_str s)
{
    uint64_t h = s.len, word = 0;
    if (s.len < sizeof word) {
        if (s.len)
            memcpy(&word, s.ptr, s.len);
        return mix(h, word);
    }
    for (size_t left = s.len; left > sizeof word; left -= sizeof word) {
        memcpy(&word, s.ptr + (s.len - left), sizeof word);
        h = mix(h, word);
    }
    memcpy(&word, s.ptr + s.len - sizeof word, sizeof word);
    return mix(h, word);
}

static struct record record_at(const struct avow_policy_table *t, size_t offset)
{
    struct avow_rd r = avow_rd_make(avow_bytes_make(t->blob + offset, t->len - offset));
    size_t name_len = avow_rd_u16be(&r), values_len = avow_rd_u16be(&r);
    struct avow_bytes name = avow_rd_take(&r, name_len), values = avow_rd_take(&r, values_len);
    assert(!r.bad);
    return (struct record){.name = {(const char *)name.ptr, name.len},
                           .values = values,
                           .end = offset + HEADER + name_len + values_len};
}

struct place { /* of a name in the index */
    size_t slot;
    uint32_t tag;
    bool found;
    struct record newest;
};

/* Look-up of a name; the free slot for it if it is not there. slot_count is never full. */
static struct place locate(const struct avow_policy_table *t, struct avow_str name)
{
    uint64_t hash = hash_of(name);
    struct place at = {.slot = (size_t)((hash & UINT32_MAX) * t->slot_count >> 32),
                       .tag = (uint32_t)(hash >> 32)};
    while (t->slots[at.slot].offset) {
        if (t->slots[at.slot].tag == at.tag) {
            at.newest = record_at(t, t->slots[at.slot].offset - 1);
            at.found = avow_str_eq(at.newest.name, name);
            if (at.found)
                return at;
        }
        at.slot = at.slot + 1 < t->slot_count ? at.slot + 1 : 0;
    }
    return at;
}

bool avow_policy_table_has_name(const struct avow_policy_table *t, struct avow_str name)
{
    return t->slot_count && locate(t, name).found;
}

/* Calls `each` for the values of a record and of those before it, until it is false. */
static bool each_value(const struct avow_policy_table *t, struct avow_bytes values,
                       bool (*each)(void *arg, struct avow_bytes value), void *arg)
{
    struct avow_rd r = avow_rd_make(values);
    size_t before = SIZE_MAX;
    for (;;) {
        if (!avow_rd_left(&r)) {
            if (before == SIZE_MAX)
                return true;
            r = avow_rd_make(record_at(t, before).values);
            before = SIZE_MAX;
            continue;
        }
        size_t len = avow_rd_u8(&r);
        if (!len)
            before = avow_rd_u32be(&r);
        else if (!each(arg, avow_rd_take(&r, len)))
            return false;
    }
}

static bool differs(void *arg, struct avow_bytes value)
{
    return !avow_bytes_eq(*(const struct avow_bytes *)arg, value);
}

bool avow_policy_table_has(const struct avow_policy_table *t, struct avow_str name,
                           struct avow_bytes value)
{
    if (!t->slot_count)
        return false;
    const struct place at = locate(t, name);
    return at.found && !each_value(t, at.newest.values, differs, &value);
}

/* Later records of a name overwrite the slot of earlier ones, as they did when they were put. */
static enum avow_rc index_again(struct avow_policy_table *t, size_t count, struct avow_err *err)
{
    struct avow_policy_slot *slots = calloc(count, sizeof *slots);
    if (!slots)
        return avow_err_set(err, AVOW_NOMEM, 0, "policy index");
    free(t->slots);
    t->slots = slots;
    t->slot_count = count;
    for (size_t at = 0; at < t->len;) {
        struct record r = record_at(t, at);
        struct place p = locate(t, r.name);
        slots[p.slot] = (struct avow_policy_slot){.offset = (uint32_t)(at + 1), .tag = p.tag};
        at = r.end;
    }
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
    if (SLOTS_FOR(t->names + 1) > t->slot_count) {
        enum avow_rc rc = index_again(t, t->slot_count ? t->slot_count * 2 : 64, err);
        if (rc)
            return rc;
    }
    struct place at = locate(t, name);
    uint8_t header[HEADER] = {0}, link[LINK] = {0};
    avow_put_u16be(header, (uint16_t)name.len);
    avow_put_u16be(header + 2, at.found ? LINK : 0);
    t->last = t->len;
    append(t, header, sizeof header);
    append(t, name.ptr, name.len);
    if (at.found) {
        avow_put_u32be(link + 1, t->slots[at.slot].offset - 1);
        append(t, link, sizeof link);
    }
    t->names += !at.found;
    t->slots[at.slot] = (struct avow_policy_slot){.offset = (uint32_t)(t->last + 1), .tag = at.tag};
    return AVOW_OK;
}

/* Whether a value of this length goes to the last record. */
static bool continues(const struct avow_policy_table *t, struct avow_str name, size_t len)
{
    if (!t->len)
        return false;
    struct record last = record_at(t, t->last);
    return avow_str_eq(last.name, name) && last.values.len + 1 + len <= VALUES_MAX;
}

enum avow_rc avow_policy_table_put(struct avow_policy_table *t, struct avow_str name,
                                   struct avow_bytes value, struct avow_err *err)
{
    assert(name.len <= UINT16_MAX && value.len > 0 && value.len <= UINT8_MAX);
    enum avow_rc rc = reserve(t, HEADER + name.len + LINK + 1 + value.len, err);
    if (!rc && !continues(t, name, value.len))
        rc = start_record(t, name, err);
    if (rc)
        return rc;
    uint8_t len = (uint8_t)value.len;
    append(t, &len, 1);
    append(t, value.ptr, value.len);
    avow_put_u16be(t->blob + t->last + 2, (uint16_t)(t->len - t->last - HEADER - name.len));
    t->values++;
    return AVOW_OK;
}

void avow_policy_table_finish(struct avow_policy_table *t)
{
    uint8_t *fit = t->len ? realloc(t->blob, t->len) : NULL;
    if (fit) {
        t->blob = fit;
        t->cap = t->len;
    }
    /* Without memory for it the larger index stays, which is as good. */
    if (t->names && SLOTS_FOR(t->names) < t->slot_count)
        (void)index_again(t, SLOTS_FOR(t->names), NULL);
}

struct value_list {
    struct avow_bytes *items; /* NULL: only counted */
    size_t count;
};

static bool take_value(void *arg, struct avow_bytes value)
{
    struct value_list *l = arg;
    if (l->items)
        l->items[l->count] = value;
    l->count++;
    return true;
}

static int by_bytes(const void *a, const void *b)
{
    return avow_bytes_cmp(*(const struct avow_bytes *)a, *(const struct avow_bytes *)b);
}

/* The values of a name, sorted; false without memory. */
static bool sort_values(const struct avow_policy_table *t, struct avow_bytes values,
                        struct value_list *out)
{
    struct value_list l = {.items = NULL};
    (void)each_value(t, values, take_value, &l);
    l.items = calloc(l.count + 1, sizeof *l.items);
    if (!l.items)
        return false;
    l.count = 0;
    (void)each_value(t, values, take_value, &l);
    qsort(l.items, l.count, sizeof *l.items, by_bytes);
    *out = l;
    return true;
}

static bool list_is_subset(const struct value_list *a, const struct value_list *b)
{
    size_t k = 0;
    for (size_t i = 0; i < a->count; i++) {
        while (k < b->count && avow_bytes_cmp(b->items[k], a->items[i]) < 0)
            k++;
        if (k == b->count || !avow_bytes_eq(b->items[k], a->items[i]))
            return false;
    }
    return true;
}

struct other { /* a name in the other table */
    const struct avow_policy_table *table;
    struct avow_str name;
};

static bool is_there(void *arg, struct avow_bytes value)
{
    const struct other *o = arg;
    return avow_policy_table_has(o->table, o->name, value);
}

/* `rec` is the newest record of its name in `a`. A name with many values is sorted, so that a
 * policy of one name costs no square of its size. */
static bool name_is_subset(const struct avow_policy_table *a, const struct record *rec,
                           const struct avow_policy_table *b)
{
    struct other other = {b, rec->name};
    bool alone = rec->values.len && rec->values.ptr[0]; /* no record before it */
    if (alone && rec->values.len <= FEW_VALUES)
        return each_value(a, rec->values, is_there, &other);
    struct place at = b->slot_count ? locate(b, rec->name) : (struct place){.found = false};
    struct value_list x = {.items = NULL}, y = {.items = NULL};
    bool subset = at.found && sort_values(a, rec->values, &x) &&
                  sort_values(b, at.newest.values, &y) && list_is_subset(&x, &y);
    free(x.items);
    free(y.items);
    return subset;
}

bool avow_policy_table_is_subset(const struct avow_policy_table *a,
                                 const struct avow_policy_table *b)
{
    for (size_t i = 0; i < a->slot_count; i++) {
        if (!a->slots[i].offset)
            continue;
        struct record rec = record_at(a, a->slots[i].offset - 1);
        if (!name_is_subset(a, &rec, b))
            return false;
    }
    return true;
}

size_t avow_policy_table_memory(const struct avow_policy_table *t)
{
    return t->cap + t->slot_count * sizeof *t->slots;
}
