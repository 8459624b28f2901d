/* spki.h - SubjectPublicKeyInfo in its one canonical DER form (RFC 5280, 4.1; RFC 3279, 2.3.1; RFC
 * 5480, 2). Pure. Key ids are hashes of it, so there must be one form per key: named curve,
 * uncompressed point, minimal lengths. */
#ifndef AVOW_CRYPTO_SPKI_H
#define AVOW_CRYPTO_SPKI_H

#include "avow/crypto/key.h"

#define AVOW_EC_POINT_MAX 133u /* 04 || X || Y of P-521: SEC 1 2.0, 2.3.3 */

struct avow_curve { /* one row per curve */
    enum avow_key_kind kind;
    unsigned bits;
    size_t field;             /* bytes of a coordinate */
    const char *openssl_name; /* group name */
    struct avow_bytes order;  /* big-endian, field bytes */
    struct avow_bytes oid;    /* content of the OBJECT IDENTIFIER */
};
/* NULL for RSA and unknown kinds. */
const struct avow_curve *avow_curve_of(enum avow_key_kind kind);
const struct avow_curve *avow_curve_by_oid(struct avow_bytes oid);

struct avow_spki_parts { /* borrows from the DER */
    enum avow_key_kind kind;
    struct avow_bytes point;             /* EC: 04 || X || Y */
    struct avow_bytes modulus, exponent; /* RSA: without sign octet */
};
/* Reads RSA and EC keys; the caller compares with the canonical form. */
bool avow_spki_read(struct avow_bytes der, struct avow_spki_parts *out) AVOW_MUST_CHECK;
/* RSAPublicKey (RFC 8017, A.1.1) alone, as certificates carry it. */
bool avow_rsa_public_read(struct avow_bytes der, struct avow_spki_parts *out) AVOW_MUST_CHECK;
void avow_spki_put_ec(struct avow_buf *out, const struct avow_curve *curve,
                      struct avow_bytes point);
void avow_spki_put_rsa(struct avow_buf *out, struct avow_bytes modulus, uint32_t exponent);
/* ECDSA-Sig-Value (RFC 3279, 2.2.3) from two integers without leading zeros, of at most 66 bytes;
 * returns its length. On the path of every signature, so without a buffer of its own. */
#define AVOW_ECDSA_DER_MAX 144u
size_t avow_der_ecdsa_sig(struct avow_bytes r, struct avow_bytes s,
                          uint8_t out[AVOW_ECDSA_DER_MAX]);
/* Drops leading zero bytes. */
struct avow_bytes avow_uint_strip(struct avow_bytes b);
/* a < b for big-endian numbers of any length. */
bool avow_uint_less(struct avow_bytes a, struct avow_bytes b);

#endif
