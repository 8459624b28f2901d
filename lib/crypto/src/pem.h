/* pem.h - PEM text as blocks (RFC 7468, lax about line length and about text outside of blocks).
 * Pure. Input: files of operators and HTTP bodies, so hostile. */
#ifndef AVOW_CRYPTO_PEM_H
#define AVOW_CRYPTO_PEM_H

#include "avow/base/buf.h"

struct avow_pem_block { /* borrows from the text */
    struct avow_str label;
    struct avow_str base64; /* with its line breaks */
};

bool avow_pem_is(struct avow_bytes in);
/* Cuts the next block off `rest`. *found is false when there is none; a block that does not end, or
 * ends with another label, is AVOW_PARSE. */
enum avow_rc avow_pem_next(struct avow_bytes *rest, struct avow_pem_block *out, bool *found,
                           struct avow_err *err) AVOW_MUST_CHECK;
/* Base64 with white space between, as in a PEM body, appended as bytes. Errors: AVOW_PARSE,
 * AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_pem_decode(struct avow_str base64, struct avow_buf *out,
                             struct avow_err *err) AVOW_MUST_CHECK;
/* Appends a block with lines of 64 columns. */
void avow_pem_put(struct avow_buf *out, const char *label, struct avow_bytes der);

#endif
