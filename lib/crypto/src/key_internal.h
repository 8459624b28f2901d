/* key_internal.h - the inside of keys, for the rest of lib/crypto. */
#ifndef AVOW_CRYPTO_KEY_INTERNAL_H
#define AVOW_CRYPTO_KEY_INTERNAL_H

#include "avow/crypto/key.h"
#include "spki.h"

#include <openssl/types.h>

#include <stdatomic.h>

/* An OpenSSL operation context that is ready for use. Setting up padding and digest is 15 % of an
 * RSA verification, so a key keeps one: who finds it free uses it, who finds it busy makes one of
 * its own. Nobody waits, no lock is held. */
struct avow_key_op {
    EVP_PKEY_CTX *ctx;
    enum avow_sig_scheme scheme;
    enum avow_hash hash;
};
struct avow_key_slot { /* apart from the key, which is const to its users */
    atomic_flag busy;
    struct avow_key_op op;
};
/* NULL: out of memory. */
struct avow_key_slot *avow_key_slot_new(void);
void avow_key_slot_free(struct avow_key_slot *s);
/* The slot's op, or `spare` (zeroed by this) while another thread has it. */
struct avow_key_op *avow_key_op_take(struct avow_key_slot *s, struct avow_key_op *spare);
/* Gives the slot's op back; frees what a spare holds. */
void avow_key_op_give(struct avow_key_slot *s, struct avow_key_op *op);

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
