/* buf.h - growable byte buffer with a cap. Layer: base. Not thread-safe.
 * Failure is sticky: after one failed append `failed` stays set and further appends do nothing,
 * so a writer tests once at the end. */
#ifndef AVOW_BASE_BUF_H
#define AVOW_BASE_BUF_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

struct avow_buf {
    uint8_t *ptr; /* owned */
    size_t len;
    size_t cap;   /* allocated */
    size_t limit; /* len never exceeds it */
    enum avow_rc failed;
};

void avow_buf_init(struct avow_buf *b, size_t limit);
void avow_buf_deinit(struct avow_buf *b); /* fit for AVOW_CLEANUP_VAL */
void avow_buf_reset(struct avow_buf *b);  /* keeps the memory */
/* Appends; NULL data with len 0 is fine. */
void avow_buf_put(struct avow_buf *b, const void *data, size_t len);
void avow_buf_put_u8(struct avow_buf *b, uint8_t v);
void avow_buf_put_u16be(struct avow_buf *b, uint16_t v);
void avow_buf_put_u32be(struct avow_buf *b, uint32_t v);
void avow_buf_put_u64be(struct avow_buf *b, uint64_t v);
void avow_buf_put_str(struct avow_buf *b, const char *s);
void avow_buf_printf(struct avow_buf *b, const char *fmt, ...) AVOW_PRINTF(2, 3);
/* Room for n more bytes at the end, zeroed and counted in len; NULL on failure. */
uint8_t *avow_buf_extend(struct avow_buf *b, size_t n);
/* Makes ptr[len] a NUL that len does not count; "" on failure. Borrowed. */
const char *avow_buf_cstr(struct avow_buf *b);
struct avow_bytes avow_buf_bytes(const struct avow_buf *b);
/* AVOW_OK, AVOW_LIMIT or AVOW_NOMEM. */
enum avow_rc avow_buf_status(const struct avow_buf *b, struct avow_err *err) AVOW_MUST_CHECK;

#endif
