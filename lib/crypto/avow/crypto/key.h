/* key.h - P-256 keys of our own records, and verification keys of TPMs. Layer: crypto.
 * Objects are immutable after creation and may be used by several threads, unless said. */
#ifndef AVOW_CRYPTO_KEY_H
#define AVOW_CRYPTO_KEY_H

#include "avow/base/buf.h"
#include "avow/base/cleanup.h"
#include "avow/crypto/digest.h"

#define AVOW_SPKI_MAX 1024u
#define AVOW_P256_SIG_LEN 64u /* r||s: RFC 7518, 3.4 */

struct avow_privkey; /* P-256, for ECDSA or ECDH */
struct avow_pubkey;  /* RSA 2048-4096 or P-256/384/521 */

enum avow_key_kind { AVOW_KEY_RSA = 1, AVOW_KEY_EC_P256, AVOW_KEY_EC_P384, AVOW_KEY_EC_P521 };

enum avow_rc avow_privkey_generate(struct avow_privkey **out, struct avow_err *err) AVOW_MUST_CHECK;
/* PKCS#8 PEM file; must be P-256. Errors: AVOW_IO, AVOW_PARSE (message names the path). */
enum avow_rc avow_privkey_load(const char *path, struct avow_privkey **out,
                               struct avow_err *err) AVOW_MUST_CHECK;
/* Writes PKCS#8 PEM, mode 0600, atomically. */
enum avow_rc avow_privkey_save(const struct avow_privkey *k, const char *path,
                               struct avow_err *err) AVOW_MUST_CHECK;
void avow_privkey_free(struct avow_privkey *k);
AVOW_DEFINE_CLEANUP(struct avow_privkey, avow_privkey_free);
/* SubjectPublicKeyInfo DER, borrowed from the key. */
struct avow_bytes avow_privkey_spki(const struct avow_privkey *k);
/* First 8 bytes of SHA-256(SPKI). */
void avow_key_id(struct avow_bytes spki, uint8_t out[8]);
/* ECDSA P-256/SHA-256 over `data`, raw r||s, low S. */
enum avow_rc avow_privkey_sign(const struct avow_privkey *k, struct avow_bytes data,
                               uint8_t out[64], struct avow_err *err) AVOW_MUST_CHECK;

/* Over the concatenation of `n` pieces, without copying them. */
enum avow_rc avow_privkey_sign_pieces(const struct avow_privkey *k, const struct avow_bytes *pieces,
                                      size_t n, uint8_t out[64],
                                      struct avow_err *err) AVOW_MUST_CHECK;

/* SPKI DER in canonical form only (named curve, uncompressed point): key ids are hashes of it.
 * Errors: AVOW_PARSE for malformed, unsupported or invalid (not on curve, RSA < 2048) keys. */
enum avow_rc avow_pubkey_from_spki(struct avow_bytes spki, struct avow_pubkey **out,
                                   struct avow_err *err) AVOW_MUST_CHECK;
/* PEM text with one "PUBLIC KEY" block. */
enum avow_rc avow_pubkey_from_pem(struct avow_bytes pem, struct avow_pubkey **out,
                                  struct avow_err *err) AVOW_MUST_CHECK;
/* PEM text with 1 to `max` "PUBLIC KEY" blocks and no others; text between them is ignored. *n
 * receives the count; the caller frees each of `out`, whose elements are NULL on failure. Errors:
 * AVOW_PARSE, AVOW_LIMIT. */
enum avow_rc avow_pubkey_list_from_pem(struct avow_bytes pem, size_t max, struct avow_pubkey **out,
                                       size_t *n, struct avow_err *err) AVOW_MUST_CHECK;
/* Big-endian modulus; exponent 0 means 65537. */
enum avow_rc avow_pubkey_from_rsa(struct avow_bytes modulus, uint32_t exponent,
                                  struct avow_pubkey **out, struct avow_err *err) AVOW_MUST_CHECK;
/* Affine coordinates, big-endian, at most the field size each. */
enum avow_rc avow_pubkey_from_ec(enum avow_key_kind curve, struct avow_bytes x, struct avow_bytes y,
                                 struct avow_pubkey **out, struct avow_err *err) AVOW_MUST_CHECK;
void avow_pubkey_free(struct avow_pubkey *k);
AVOW_DEFINE_CLEANUP(struct avow_pubkey, avow_pubkey_free);
enum avow_key_kind avow_pubkey_kind(const struct avow_pubkey *k);
/* Modulus or field size in bits. */
unsigned avow_pubkey_bits(const struct avow_pubkey *k);
struct avow_bytes avow_pubkey_spki(const struct avow_pubkey *k); /* borrowed */
bool avow_pubkey_eq(const struct avow_pubkey *a, const struct avow_pubkey *b);
/* Appends the PEM "PUBLIC KEY" text exactly as Python's cryptography prints it (64 columns, final
 * newline). */
enum avow_rc avow_pubkey_pem(const struct avow_pubkey *k, struct avow_buf *out,
                             struct avow_err *err) AVOW_MUST_CHECK;

/* Raw r||s over SHA-256(data), P-256 only. High S is refused (PROTOCOL R14). False for any failure.
 */
bool avow_pubkey_verify_p256(const struct avow_pubkey *k, struct avow_bytes data,
                             const uint8_t sig[64]);
bool avow_pubkey_verify_p256_pieces(const struct avow_pubkey *k, const struct avow_bytes *pieces,
                                    size_t n, const uint8_t sig[64]);

enum avow_sig_scheme {
    AVOW_SIG_RSASSA = 0x0014,
    AVOW_SIG_RSAPSS = 0x0016,
    AVOW_SIG_ECDSA = 0x0018
};                /* TPM_ALG_ID: TPM 2.0 Part 2 r1.38, 6.3, table 9 */
struct avow_sig { /* as a TPM makes it; borrowed */
    enum avow_sig_scheme scheme;
    enum avow_hash hash;
    struct avow_bytes rsa;  /* signature, modulus size */
    struct avow_bytes r, s; /* big-endian, any padding up to the field size */
};
/* Verifies a TPM signature over `data`. False for any failure; no error detail, nothing to leak.
 * RSAPSS accepts the salt length TPMs use (hash length or the largest). */
bool avow_pubkey_verify_tpm(const struct avow_pubkey *k, const struct avow_sig *sig,
                            struct avow_bytes data);
/* The same over data whose digest under sig->hash is at hand. False too if `d` is not as long as
 * such a digest. */
bool avow_pubkey_verify_tpm_digest(const struct avow_pubkey *k, const struct avow_sig *sig,
                                   const struct avow_digest *d);

#endif
