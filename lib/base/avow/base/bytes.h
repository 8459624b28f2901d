/* bytes.h - borrowed bytes and the one cursor over untrusted input. Layer: base.
 * No allocation, no I/O; thread-safe. */
#ifndef AVOW_BASE_BYTES_H
#define AVOW_BASE_BYTES_H

#include "avow/base/attrs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
bool avow_str_is(struct avow_str a, const char *nul_terminated);
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

/* Cursor: a read past the end sets `bad`, returns zero, and stays bad. Test once, at the end. */
struct avow_rd {
    const uint8_t *p;
    const uint8_t *end;
    bool bad;
};

struct avow_rd avow_rd_make(struct avow_bytes in);
size_t avow_rd_left(const struct avow_rd *r);
uint8_t avow_rd_u8(struct avow_rd *r);
uint16_t avow_rd_u16be(struct avow_rd *r);
uint32_t avow_rd_u32be(struct avow_rd *r);
uint64_t avow_rd_u64be(struct avow_rd *r);
uint16_t avow_rd_u16le(struct avow_rd *r);
uint32_t avow_rd_u32le(struct avow_rd *r);
uint64_t avow_rd_u64le(struct avow_rd *r);
/* `n` borrowed bytes. */
struct avow_bytes avow_rd_take(struct avow_rd *r, size_t n);
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
