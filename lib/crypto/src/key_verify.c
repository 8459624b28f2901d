#include "key_internal.h"

#include "digest_internal.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "avow/base/banned.h"

static bool op_set_scheme(EVP_PKEY_CTX *ctx, enum avow_sig_scheme scheme)
{
    switch (scheme) {
    case AVOW_SIG_RSASSA:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
    case AVOW_SIG_RSAPSS:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1;
    case AVOW_SIG_ECDSA:
        return true;
    }
    return false;
}

static void op_reset(struct avow_key_op *op)
{
    EVP_PKEY_CTX_free(op->ctx);
    op->ctx = NULL;
}

static bool verify_op_prepare(struct avow_key_op *op, const struct avow_pubkey *k,
                              enum avow_sig_scheme scheme, enum avow_hash hash)
{
    if (op->ctx && op->scheme == scheme && op->hash == hash)
        return true;
    op_reset(op);
    op->scheme = scheme;
    op->hash = hash;
    op->ctx = EVP_PKEY_CTX_new_from_pkey(NULL, k->pkey, NULL);
    if (op->ctx && EVP_PKEY_verify_init(op->ctx) == 1 && op_set_scheme(op->ctx, scheme) &&
        EVP_PKEY_CTX_set_signature_md(op->ctx, avow_hash_evp(hash)) == 1)
        return true;
    op_reset(op);
    return false;
}

static bool op_verify(struct avow_key_op *op, struct avow_bytes sig, const struct avow_digest *d)
{
    return EVP_PKEY_verify(op->ctx, sig.ptr, sig.len, d->bytes, d->len) == 1;
}

/* TPM 2.0 Part 1 r1.38, B.7: the salt is as long as the hash (FIPS 186-4), or as long as fits in
 * older TPMs. */
static bool op_verify_pss(struct avow_key_op *op, struct avow_bytes sig,
                          const struct avow_digest *d)
{
    static const int SALT_LENGTHS[] = {RSA_PSS_SALTLEN_DIGEST, RSA_PSS_SALTLEN_MAX};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(SALT_LENGTHS); i++) {
        if (EVP_PKEY_CTX_set_rsa_pss_saltlen(op->ctx, SALT_LENGTHS[i]) == 1 &&
            op_verify(op, sig, d))
            return true;
    }
    return false;
}

static bool verify_digest(const struct avow_pubkey *k, enum avow_sig_scheme scheme,
                          enum avow_hash hash, struct avow_bytes sig, const struct avow_digest *d)
{
    struct avow_key_op spare, *op = avow_key_op_take(k->slot, &spare);
    bool good = verify_op_prepare(op, k, scheme, hash) &&
                (scheme == AVOW_SIG_RSAPSS ? op_verify_pss(op, sig, d) : op_verify(op, sig, d));
    avow_key_op_give(k->slot, op);
    if (!good)
        ERR_clear_error();
    return good;
}

/* r and s in [1, n-1], neither longer than the field (FIPS 186-4, 6.4 with X9.62, 7.4.1). */
static bool verify_ecdsa(const struct avow_pubkey *k, enum avow_hash hash, struct avow_bytes r,
                         struct avow_bytes s, const struct avow_digest *d)
{
    const struct avow_curve *curve = avow_curve_of(k->kind);
    if (!curve || r.len > curve->field || s.len > curve->field)
        return false;
    r = avow_uint_strip(r);
    s = avow_uint_strip(s);
    if (!r.len || !s.len || !avow_uint_less(r, curve->order) || !avow_uint_less(s, curve->order))
        return false;
    uint8_t der[AVOW_ECDSA_DER_MAX];
    size_t len = avow_der_ecdsa_sig(r, s, der);
    return verify_digest(k, AVOW_SIG_ECDSA, hash, avow_bytes_make(der, len), d);
}

bool avow_pubkey_verify_tpm_digest(const struct avow_pubkey *k, const struct avow_sig *sig,
                                   const struct avow_digest *d)
{
    if (!d->len || d->len != avow_hash_len(sig->hash))
        return false;
    switch (sig->scheme) {
    case AVOW_SIG_RSASSA:
    case AVOW_SIG_RSAPSS:
        return k->kind == AVOW_KEY_RSA && sig->rsa.len == k->bytes &&
               verify_digest(k, sig->scheme, sig->hash, sig->rsa, d);
    case AVOW_SIG_ECDSA:
        return verify_ecdsa(k, sig->hash, sig->r, sig->s, d);
    }
    return false;
}

bool avow_pubkey_verify_tpm(const struct avow_pubkey *k, const struct avow_sig *sig,
                            struct avow_bytes data)
{
    struct avow_digest d;
    if (!avow_hash_len(sig->hash))
        return false;
    avow_digest(sig->hash, data, &d);
    return avow_pubkey_verify_tpm_digest(k, sig, &d);
}

/* s <= n/2, that is s <= n - s. */
static bool is_low_s(const uint8_t s[32])
{
    static const uint8_t HALF_ORDER_P256[32] = {0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00,
                                                0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                                0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42,
                                                0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8};
    return !avow_uint_less(AVOW_BYTES_OF(HALF_ORDER_P256), avow_bytes_make(s, 32));
}

bool avow_pubkey_verify_p256_pieces(const struct avow_pubkey *k, const struct avow_bytes *pieces,
                                    size_t n, const uint8_t sig[64])
{
    if (k->kind != AVOW_KEY_EC_P256 || !is_low_s(sig + 32))
        return false;
    struct avow_digest d;
    avow_digest_pieces(AVOW_HASH_SHA256, pieces, n, &d);
    return verify_ecdsa(k, AVOW_HASH_SHA256, avow_bytes_make(sig, 32),
                        avow_bytes_make(sig + 32, 32), &d);
}

bool avow_pubkey_verify_p256(const struct avow_pubkey *k, struct avow_bytes data,
                             const uint8_t sig[64])
{
    return avow_pubkey_verify_p256_pieces(k, &data, 1, sig);
}
