/* credential_internal.h - the deterministic half of MakeCredential, apart for the sake of
 * known-answer tests. */
#ifndef AVOW_CRYPTO_CREDENTIAL_INTERNAL_H
#define AVOW_CRYPTO_CREDENTIAL_INTERNAL_H

#include "avow/crypto/credential.h"

/* Appends TPM2B_ID_OBJECT for a given seed (TPM 2.0 Part 1 r1.38, 24.4 to 24.6). Errors:
 * AVOW_CRYPTO, AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_credential_seal(const struct avow_credential_ek *ek, struct avow_bytes name,
                                  struct avow_bytes secret, struct avow_bytes seed,
                                  struct avow_buf *id_object, struct avow_err *err) AVOW_MUST_CHECK;

#endif
