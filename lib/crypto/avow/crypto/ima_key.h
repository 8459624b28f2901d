/* ima_key.h - keys that sign files, and their signatures. Layer: crypto. Thread-safe. Spec: linux
 * v6.6 security/integrity/digsig_asymmetric.c, ima/ima_appraise.c (calc_file_id_hash). */
#ifndef AVOW_CRYPTO_IMA_KEY_H
#define AVOW_CRYPTO_IMA_KEY_H

#include "avow/crypto/key.h"
#include "avow/formats/ima_sig.h"

/* Last four bytes of SHA-1 over the subjectPublicKey bits, as evmctl computes it for a key without
 * certificate (RFC 5280, 4.2.1.2, method 1). Errors: AVOW_NOMEM. */
enum avow_rc avow_ima_key_id(const struct avow_pubkey *k, uint32_t *out,
                             struct avow_err *err) AVOW_MUST_CHECK;

/* One key and the id that signatures name it by: of a certificate the last four bytes of its
 * subjectKeyIdentifier, else avow_ima_key_id. `put` takes the key in any case. */
struct avow_ima_key_sink {
    void *ctx;
    enum avow_rc (*put)(void *ctx, struct avow_pubkey *key, uint32_t id, struct avow_err *err);
};
/* One or more keys: PEM (public keys and certificates, nothing else), or one DER public key or
 * certificate. A certificate is a container here: neither its issuer nor its dates are judged.
 * Errors: AVOW_PARSE (the message says which), AVOW_NOMEM, and the sink's. */
enum avow_rc avow_ima_key_read(struct avow_bytes in, const struct avow_ima_key_sink *sink,
                               struct avow_err *err) AVOW_MUST_CHECK;

/* True for a DER certificate or public key, or PEM of one, of whatever algorithm. */
bool avow_ima_key_is(struct avow_bytes in);

/* True if `k` signed a file with this digest: of the file's bytes or of its fs-verity descriptor,
 * as sig->kind says. The hash of the signature must be `hash`, which the digest is of. */
bool avow_ima_sig_verify(const struct avow_pubkey *k, const struct avow_ima_sig *sig,
                         enum avow_hash hash, struct avow_bytes digest);
/* The kernel's number; false for those that are not verified here. */
bool avow_ima_hash_of(uint8_t hash_id, enum avow_hash *out) AVOW_MUST_CHECK;

#endif
