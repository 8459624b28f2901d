/* credential.h - TPM2_MakeCredential in software. Layer: crypto.
 * Spec: TPM 2.0 Part 1 r1.38, 24 (credential protection), B.4/C.6 (secret sharing for RSA and ECC).
 */
#ifndef AVOW_CRYPTO_CREDENTIAL_H
#define AVOW_CRYPTO_CREDENTIAL_H

#include "avow/crypto/key.h"

struct avow_credential_ek { /* from the EK's public area, never constants */
    const struct avow_pubkey *key;
    enum avow_hash name_alg;
    unsigned aes_bits; /* 128, 192 or 256, CFB */
};
/* Makes TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET (each with its size field) that only the TPM
 * holding the EK opens, and only with an object named `name` loaded. secret: at most the digest
 * size. Errors: AVOW_CRYPTO, AVOW_LIMIT. */
enum avow_rc avow_credential_make(const struct avow_credential_ek *ek, struct avow_bytes name,
                                  struct avow_bytes secret, struct avow_buf *id_object,
                                  struct avow_buf *encrypted_secret,
                                  struct avow_err *err) AVOW_MUST_CHECK;

#endif
