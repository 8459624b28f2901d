#include "avow/base/map.h"

#include "avow/base/num.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define FIRST_SLOTS 16u
#define COUNT_MAX ((size_t)UINT32_MAX - 1) /* slots hold index + 1 in 32 bits */

void avow_map_init(struct avow_map *m, uint64_t seed0, uint64_t seed1)
{
    *m = (struct avow_map){.seed = {seed0, seed1}};
}

void avow_map_deinit(struct avow_map *m, void (*free_value)(void *))
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->entries[i].key);
        if (free_value)
            free_value(m->entries[i].value);
    }
    free(m->entries);
    free(m->slots);
    *m = (struct avow_map){.seed = {m->seed[0], m->seed[1]}};
}

static uint64_t rotl(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

/* Aumasson and Bernstein, "SipHash: a fast short-input PRF", with 1 compression and 3 finalization
 * rounds. */
static uint64_t siphash13(const uint64_t seed[2], struct avow_bytes in)
{
    uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575u, seed[1] ^ 0x646f72616e646f6du,
                     seed[0] ^ 0x6c7967656e657261u, seed[1] ^ 0x7465646279746573u};
    struct avow_rd r = avow_rd_make(in);
    while (avow_rd_left(&r) >= 8) {
        uint64_t word = avow_rd_u64le(&r);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)in.len << 56; /* the length modulo 256 is the last byte */
    for (unsigned shift = 0; avow_rd_left(&r); shift += 8)
        last |= (uint64_t)avow_rd_u8(&r) << shift;
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Slot that holds the key, or the empty slot where it belongs. slot_count > count, so the search
 * ends. */
static size_t find_slot(const struct avow_map *m, struct avow_bytes key, uint64_t hash)
{
    const size_t mask = m->slot_count - 1;
    size_t i = (size_t)hash & mask;
    for (; m->slots[i]; i = (i + 1) & mask) {
        const struct avow_map_entry *e = &m->entries[m->slots[i] - 1];
        if (e->hash == hash && avow_bytes_eq(avow_bytes_make(e->key, e->key_len), key))
            break;
    }
    return i;
}

void *avow_map_find(const struct avow_map *m, struct avow_bytes key)
{
    if (!m->count)
        return NULL;
    size_t slot = find_slot(m, key, siphash13(m->seed, key));
    return m->slots[slot] ? m->entries[m->slots[slot] - 1].value : NULL;
}

/* At most three quarters of the slots are in use. */
static bool grow_slots(struct avow_map *m)
{
    if (m->slot_count && m->count < m->slot_count / 4 * 3)
        return true;
    size_t n = m->slot_count ? m->slot_count * 2 : FIRST_SLOTS;
    uint32_t *slots = n > m->slot_count ? calloc(n, sizeof *slots) : NULL;
    if (!slots)
        return false;
    for (size_t i = 0; i < m->count; i++) {
        size_t at = (size_t)m->entries[i].hash & (n - 1);
        while (slots[at])
            at = (at + 1) & (n - 1);
        slots[at] = (uint32_t)(i + 1);
    }
    free(m->slots);
    m->slots = slots;
    m->slot_count = n;
    return true;
}

static bool grow_entries(struct avow_map *m)
{
    size_t bytes, cap = m->cap ? m->cap * 2 : FIRST_SLOTS / 2;
    if (m->count < m->cap)
        return true;
    if (m->count >= COUNT_MAX || !avow_size_mul(cap, sizeof *m->entries, &bytes))
        return false;
    struct avow_map_entry *entries = realloc(m->entries, bytes);
    if (!entries)
        return false;
    m->entries = entries;
    m->cap = cap;
    return true;
}

enum avow_rc avow_map_set(struct avow_map *m, struct avow_bytes key, void *value, void **old)
{
    const uint64_t hash = siphash13(m->seed, key);
    if (!grow_slots(m) || !grow_entries(m))
        return AVOW_NOMEM;
    size_t slot = find_slot(m, key, hash);
    if (m->slots[slot]) {
        struct avow_map_entry *e = &m->entries[m->slots[slot] - 1];
        if (old)
            *old = e->value;
        e->value = value;
        return AVOW_OK;
    }
    uint8_t *copy = malloc(key.len ? key.len : 1);
    if (!copy)
        return AVOW_NOMEM;
    if (key.len)
        memcpy(copy, key.ptr, key.len);
    m->entries[m->count] =
        (struct avow_map_entry){.key = copy, .key_len = key.len, .value = value, .hash = hash};
    m->slots[slot] = (uint32_t)++m->count;
    if (old)
        *old = NULL;
    return AVOW_OK;
}

/* Empties the slot and moves later members of its run back, so that no tombstones are needed. */
static void clear_slot(struct avow_map *m, size_t hole)
{
    const size_t mask = m->slot_count - 1;
    for (size_t i = (hole + 1) & mask; m->slots[i]; i = (i + 1) & mask) {
        size_t home = (size_t)m->entries[m->slots[i] - 1].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) { /* home is not after the hole */
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = 0;
}

void *avow_map_remove(struct avow_map *m, struct avow_bytes key)
{
    if (!m->count)
        return NULL;
    size_t slot = find_slot(m, key, siphash13(m->seed, key));
    if (!m->slots[slot])
        return NULL;
    const size_t index = m->slots[slot] - 1;
    struct avow_map_entry removed = m->entries[index];
    clear_slot(m, slot);
    const size_t last = m->count - 1;
    if (index != last) {
        const struct avow_map_entry *e = &m->entries[last];
        size_t at = find_slot(m, avow_bytes_make(e->key, e->key_len), e->hash);
        m->slots[at] = (uint32_t)(index + 1);
        m->entries[index] = *e;
    }
    m->count = last;
    free(removed.key);
    return removed.value;
}
