/* key_internal.h - the inside of keys, for the rest of lib/crypto. */
#ifndef AVOW_CRYPTO_KEY_INTERNAL_H
#define AVOW_CRYPTO_KEY_INTERNAL_H

#include "avow/crypto/key.h"
#include "spki.h"

#include <openssl/types.h>

/* An OpenSSL operation context that is ready for use. A key keeps at most one: a caller swaps it
 * out, uses it alone and swaps it back, so that setting up padding and digest (15 % of an RSA
 * verification) is not paid each time and no lock is held. A second thread meanwhile makes its own.
 */
struct avow_key_op {
    EVP_PKEY_CTX *ctx;
    enum avow_sig_scheme scheme;
    enum avow_hash hash;
};
struct avow_key_slot {
    _Atomic(struct avow_key_op *) op;
};
struct avow_key_op *avow_key_slot_take(struct avow_key_slot *s);
/* Takes op. */
void avow_key_slot_put(struct avow_key_slot *s, struct avow_key_op *op);
void avow_key_op_free(struct avow_key_op *op);
AVOW_DEFINE_CLEANUP(struct avow_key_op, avow_key_op_free);

struct avow_pubkey {
    EVP_PKEY *pkey;
    enum avow_key_kind kind;
    unsigned bits;
    size_t bytes; /* modulus or coordinate */
    struct avow_key_slot *slot;
    struct avow_buf spki;
};

struct avow_privkey {
    EVP_PKEY *pkey;
    struct avow_key_slot *slot;
    struct avow_buf spki;
};

/* Takes pkey in any case. Must be P-256. Errors: AVOW_PARSE, AVOW_NOMEM. */
enum avow_rc avow_privkey_wrap(EVP_PKEY *pkey, struct avow_privkey **out,
                               struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_pubkey_from_parts(const struct avow_spki_parts *parts, struct avow_pubkey **out,
                                    struct avow_err *err) AVOW_MUST_CHECK;
/* 04 || X || Y from 04 || X || Y, checked. Used by ECDH too. */
enum avow_rc avow_pubkey_from_point(const struct avow_curve *curve, struct avow_bytes point,
                                    struct avow_pubkey **out, struct avow_err *err) AVOW_MUST_CHECK;

#endif
