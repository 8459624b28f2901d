/* dsse.h - signs and verifies envelopes around policy documents. Layer: crypto. Thread-safe.
 * Spec: DSSE protocol v1.0.2; signatures are SHA-256 over PAE(type, payload), which Keylime makes
 * with ECDSA in DER. */
#ifndef AVOW_CRYPTO_DSSE_H
#define AVOW_CRYPTO_DSSE_H

#include "avow/crypto/key.h"

/* What a signature signs. With it and the signatures an envelope can be verified again, without its
 * payload. */
void avow_dsse_pae_sha256(struct avow_bytes payload, uint8_t out[32]);
/* True iff one of `sigs` (formats/dsse.h) verifies under one of the `n` keys, whose index is *which
 * (may be NULL). EC keys: ECDSA, DER. RSA keys: PKCS #1 v1.5, or PSS. */
bool avow_dsse_verify(const uint8_t pae_sha256[32], struct avow_bytes sigs,
                      const struct avow_pubkey *const *keys, size_t n, size_t *which);
/* Appends the envelope as one line of JSON, as Keylime's tools write it, key id included (SHA-256
 * of the public key's PEM text). Errors: AVOW_LIMIT, AVOW_NOMEM, AVOW_CRYPTO. */
enum avow_rc avow_dsse_sign(const struct avow_privkey *key, struct avow_bytes payload,
                            struct avow_buf *out, struct avow_err *err) AVOW_MUST_CHECK;

#endif
