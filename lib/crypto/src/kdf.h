/* kdf.h - the TPM's key derivation functions. Pure. */
#ifndef AVOW_CRYPTO_KDF_H
#define AVOW_CRYPTO_KDF_H

#include "avow/crypto/digest.h"

/* KDFa: SP 800-108 counter mode over HMAC (TPM 2.0 Part 1 r1.38, 11.4.9.2). `label` is a C string;
 * its NUL is the separator. Fills out_len bytes, at most 1024. */
void avow_kdf_a(enum avow_hash alg, struct avow_bytes key, const char *label,
                struct avow_bytes context_u, struct avow_bytes context_v, uint8_t *out,
                size_t out_len);
/* KDFe: SP 800-56A one-step (Part 1, 11.4.9.3) from the x coordinates of the shared point and of
 * both public keys. */
void avow_kdf_e(enum avow_hash alg, struct avow_bytes z, const char *label,
                struct avow_bytes party_u, struct avow_bytes party_v, uint8_t *out, size_t out_len);

#endif
