/* hex.h - hex and base64 text. Layer: base. Pure. */
#ifndef AVOW_BASE_HEX_H
#define AVOW_BASE_HEX_H

#include "avow/base/buf.h"

/* Writes 2*len+1 characters, lower case, NUL-terminated; `out` has room for them. */
void avow_hex_encode(char *out, struct avow_bytes in);
/* Decodes exactly out_len bytes; either case; false on any other input. */
bool avow_hex_decode(uint8_t *out, size_t out_len, struct avow_str in);
void avow_buf_put_hex(struct avow_buf *b, struct avow_bytes in);
/* RFC 4648 section 4, padded, no line breaks. */
void avow_buf_put_base64(struct avow_buf *b, struct avow_bytes in);
/* Strict RFC 4648 section 4: padded, no white space, zero trailing bits. Errors: AVOW_PARSE,
 * AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_base64_decode(struct avow_str in, struct avow_buf *out,
                                struct avow_err *err) AVOW_MUST_CHECK;

#endif
