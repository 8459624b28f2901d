/* bytes.h - borrowed bytes and the one cursor over untrusted input. Layer: base.
 * No allocation, no I/O; thread-safe. */
#ifndef AVOW_BASE_BYTES_H
#define AVOW_BASE_BYTES_H

#include "avow/base/attrs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed; never owns. ptr may be NULL iff len is 0. */
struct avow_bytes {
    const uint8_t *ptr;
    size_t len;
};

/* Borrowed text, not NUL-terminated. */
struct avow_str {
    const char *ptr;
    size_t len;
};

#define AVOW_BYTES_OF(array) ((struct avow_bytes){(array), sizeof(array)})
#define AVOW_STR_LIT(lit) ((struct avow_str){(lit), sizeof(lit) - 1})

static inline struct avow_bytes avow_bytes_make(const void *ptr, size_t len)
{
    return (struct avow_bytes){(const uint8_t *)ptr, len};
}

/* Not constant time. */
bool avow_bytes_eq(struct avow_bytes a, struct avow_bytes b);
/* memcmp order, then length. */
int avow_bytes_cmp(struct avow_bytes a, struct avow_bytes b);
/* Constant time in the content; for MACs, nonces and tokens. */
bool avow_ct_eq(const void *a, const void *b, size_t len);
bool avow_bytes_all(struct avow_bytes b, uint8_t value);
/* Overwrites secrets in a way that the compiler keeps. */
void avow_wipe(void *p, size_t len);

struct avow_str avow_str_from(const char *nul_terminated); /* NULL -> empty */
bool avow_str_eq(struct avow_str a, struct avow_str b);
/* Inline: next to a literal its length is known, and most comparisons end there. */
static inline bool avow_str_is(struct avow_str a, const char *nul_terminated)
{
    size_t len = strlen(nul_terminated);
    return a.len == len && avow_str_eq(a, (struct avow_str){nul_terminated, len});
}
/* memcmp order, then length. */
int avow_str_cmp(struct avow_str a, struct avow_str b);
bool avow_str_starts(struct avow_str a, const char *prefix);
bool avow_cstr_eq(const char *a, const char *b); /* neither NULL */
/* Copies at most cap-1 characters and terminates; returns false if it was cut. */
bool avow_str_copy(char *dst, size_t cap, struct avow_str s);
/* RFC 3629; rejects surrogates, overlong forms and NUL. */
bool avow_utf8_is_valid(struct avow_str s);
/* Agent ids and policy names: [A-Za-z0-9][A-Za-z0-9._-]{0,127} (PROTOCOL B6). */
bool avow_name_is_valid(struct avow_str s);

/* Cursor: a read past the end sets `bad`, returns zero, and stays bad. Test once, at the end.
 * Inline: an entry of a measurement list takes some thirty reads, and calls took longer than they.
 */
struct avow_rd {
    const uint8_t *p;
    const uint8_t *end;
    bool bad;
};
/* What is read past the end, and where empty input points, so that no arithmetic touches NULL. */
extern const uint8_t avow_rd_zeros[8];

static inline struct avow_rd avow_rd_make(struct avow_bytes in)
{
    const uint8_t *p = in.ptr ? in.ptr : avow_rd_zeros;
    return (struct avow_rd){p, p + in.len, false};
}

static inline size_t avow_rd_left(const struct avow_rd *r)
{
    return r->bad ? 0 : (size_t)(r->end - r->p);
}

/* `n` borrowed bytes. */
static inline struct avow_bytes avow_rd_take(struct avow_rd *r, size_t n)
{
    if (r->bad || n > (size_t)(r->end - r->p)) {
        r->bad = true;
        return (struct avow_bytes){NULL, 0};
    }
    struct avow_bytes b = {r->p, n};
    r->p += n;
    return b;
}

/* n <= 8 bytes, or zeros once the cursor is bad; for the reads below. */
static inline const uint8_t *avow_rd_fixed(struct avow_rd *r, size_t n)
{
    struct avow_bytes b = avow_rd_take(r, n);
    return r->bad ? avow_rd_zeros : b.ptr;
}

static inline uint8_t avow_rd_u8(struct avow_rd *r)
{
    return *avow_rd_fixed(r, 1);
}

static inline uint16_t avow_rd_u16be(struct avow_rd *r)
{
    const uint8_t *p = avow_rd_fixed(r, 2);
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t avow_rd_u32be(struct avow_rd *r)
{
    const uint8_t *p = avow_rd_fixed(r, 4);
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint32_t avow_rd_u32le(struct avow_rd *r)
{
    const uint8_t *p = avow_rd_fixed(r, 4);
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

uint64_t avow_rd_u64be(struct avow_rd *r);
uint16_t avow_rd_u16le(struct avow_rd *r);
uint64_t avow_rd_u64le(struct avow_rd *r);
/* u16be length, then that many bytes, at most `max` (TPM2B). */
struct avow_bytes avow_rd_tpm2b(struct avow_rd *r, size_t max);
/* True iff nothing went wrong and nothing is left. */
bool avow_rd_done(const struct avow_rd *r);

void avow_put_u16be(uint8_t *p, uint16_t v);
void avow_put_u32be(uint8_t *p, uint32_t v);
void avow_put_u64be(uint8_t *p, uint64_t v);
void avow_put_u32le(uint8_t *p, uint32_t v);
void avow_put_u64le(uint8_t *p, uint64_t v);

#endif
