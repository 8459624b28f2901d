/* cursor.c - the cursor over untrusted input and its counterpart for fixed places (bytes.h). */
#include "avow/base/bytes.h"

#include "avow/base/banned.h"

const uint8_t avow_rd_zeros[8];

static uint64_t get_be(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static uint64_t get_le(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = n; i > 0; i--)
        v = v << 8 | p[i - 1];
    return v;
}

uint64_t avow_rd_u64be(struct avow_rd *r)
{
    return get_be(avow_rd_fixed(r, 8), 8);
}

uint16_t avow_rd_u16le(struct avow_rd *r)
{
    return (uint16_t)get_le(avow_rd_fixed(r, 2), 2);
}

uint64_t avow_rd_u64le(struct avow_rd *r)
{
    return get_le(avow_rd_fixed(r, 8), 8);
}

struct avow_bytes avow_rd_tpm2b(struct avow_rd *r, size_t max)
{
    size_t n = avow_rd_u16be(r);
    if (n > max) {
        r->bad = true;
        return (struct avow_bytes){NULL, 0};
    }
    return avow_rd_take(r, n);
}

bool avow_rd_done(const struct avow_rd *r)
{
    return !r->bad && r->p == r->end;
}

static void put_be(uint8_t *p, uint64_t v, size_t n)
{
    for (size_t i = n; i > 0; i--, v >>= 8)
        p[i - 1] = (uint8_t)v;
}

static void put_le(uint8_t *p, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++, v >>= 8)
        p[i] = (uint8_t)v;
}

void avow_put_u16be(uint8_t *p, uint16_t v)
{
    put_be(p, v, 2);
}

void avow_put_u32be(uint8_t *p, uint32_t v)
{
    put_be(p, v, 4);
}

void avow_put_u64be(uint8_t *p, uint64_t v)
{
    put_be(p, v, 8);
}

void avow_put_u32le(uint8_t *p, uint32_t v)
{
    put_le(p, v, 4);
}

void avow_put_u64le(uint8_t *p, uint64_t v)
{
    put_le(p, v, 8);
}
