/* cert_internal.h - the inside of certificates, for the rest of lib/crypto. */
#ifndef AVOW_CRYPTO_CERT_INTERNAL_H
#define AVOW_CRYPTO_CERT_INTERNAL_H

#include "avow/crypto/x509.h"

#include <openssl/types.h>

struct avow_cert {
    X509 *x509;
    struct avow_buf der; /* as it was read, without padding */
};

/* DER, PEM or base64 with any number of certificates up to `max`; appends to out[*n]. What was
 * appended before a failure stays the caller's. Errors: AVOW_PARSE, AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_cert_scan(struct avow_bytes in, struct avow_cert **out, size_t max, size_t *n,
                            struct avow_err *err) AVOW_MUST_CHECK;

#endif
