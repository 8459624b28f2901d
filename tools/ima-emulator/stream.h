/* stream.h - measures what lines of a descriptor say, as a busy kernel does. Layer:
 * tools/ima-emulator. Lines that are there together are one batch: list, TPM and lock are held for
 * that long only, so that others come to the TPM in between. */
#ifndef AVOW_IMA_STREAM_H
#define AVOW_IMA_STREAM_H

#include "avow/crypto/digest.h"
#include "avow/base/err.h"

/* "hex" (SHA-256) or "alg:hex". Errors: AVOW_USAGE. */
enum avow_rc avow_ima_digest_parse(struct avow_str text, enum avow_hash *alg,
                                   struct avow_digest *out, struct avow_err *err) AVOW_MUST_CHECK;

/* Lines "DIGEST PATH" or "violation PATH", until the end of `fd`. After each batch one line
 * "added N" (of this run) on standard output. Errors: AVOW_USAGE (a line), those of the store. */
enum avow_rc avow_ima_stream(const char *list, const char *tcti, int fd,
                             struct avow_err *err) AVOW_MUST_CHECK;

#endif
