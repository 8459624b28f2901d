#include "key_internal.h"

#include "avow/base/file.h"

#include "digest_internal.h"
#include "openssl_err.h"
#include "pem.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define KEY_FILE_MAX 16384u
#define P256_POINT_LEN 65u     /* 04 || X || Y: SEC 1 2.0, 2.3.3 */
#define ECDSA_P256_DER_MAX 80u /* RFC 3279, 2.2.3, needs 72 */

AVOW_DEFINE_CLEANUP(EVP_PKEY, EVP_PKEY_free);
AVOW_DEFINE_CLEANUP(EVP_PKEY_CTX, EVP_PKEY_CTX_free);
AVOW_DEFINE_CLEANUP(PKCS8_PRIV_KEY_INFO, PKCS8_PRIV_KEY_INFO_free);
AVOW_DEFINE_CLEANUP(ECDSA_SIG, ECDSA_SIG_free);
AVOW_DEFINE_CLEANUP(BIGNUM, BN_free);
AVOW_DEFINE_CLEANUP(BIO, BIO_free_all);

void avow_privkey_free(struct avow_privkey *k)
{
    if (!k)
        return;
    avow_key_slot_free(k->slot);
    EVP_PKEY_free(k->pkey); /* wipes the scalar */
    avow_buf_deinit(&k->spki);
    free(k);
}

static bool is_p256(EVP_PKEY *pkey)
{
    char group[32];
    return EVP_PKEY_is_a(pkey, "EC") &&
           EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) == 1 &&
           (avow_cstr_eq(group, "prime256v1") || avow_cstr_eq(group, "P-256"));
}

enum avow_rc avow_privkey_wrap(EVP_PKEY *pkey, struct avow_privkey **out, struct avow_err *err)
{
    AVOW_CLEANUP(EVP_PKEY_free) EVP_PKEY *owned = pkey;
    if (!is_p256(owned))
        return avow_err_set(err, AVOW_PARSE, 0, "private key is not on P-256");
    uint8_t point[P256_POINT_LEN];
    size_t len = 0;
    if (EVP_PKEY_get_octet_string_param(owned, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point,
                                        &len) != 1 ||
        len != sizeof point)
        return avow_openssl_err(err, AVOW_PARSE,
                                "private key without an uncompressed public point");
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *k = calloc(1, sizeof *k);
    if (!k)
        return avow_err_set(err, AVOW_NOMEM, 0, "private key");
    avow_buf_init(&k->spki, AVOW_SPKI_MAX);
    k->pkey = AVOW_STEAL(owned);
    k->slot = avow_key_slot_new();
    if (!k->slot)
        return avow_err_set(err, AVOW_NOMEM, 0, "private key");
    avow_spki_put_ec(&k->spki, avow_curve_of(AVOW_KEY_EC_P256), AVOW_BYTES_OF(point));
    enum avow_rc rc = avow_buf_status(&k->spki, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(k);
    return AVOW_OK;
}

enum avow_rc avow_privkey_generate(struct avow_privkey **out, struct avow_err *err)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    if (!pkey)
        return avow_openssl_err(err, AVOW_CRYPTO, "generate a P-256 key");
    return avow_privkey_wrap(pkey, out, err);
}

/* Scalar in range and public point its multiple: a damaged file must not sign what nobody can
 * verify. */
static bool is_consistent(EVP_PKEY *pkey)
{
    AVOW_CLEANUP(EVP_PKEY_CTX_free)
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    return ctx && EVP_PKEY_check(ctx) == 1;
}

static enum avow_rc privkey_from_pkcs8(struct avow_bytes der, struct avow_privkey **out,
                                       struct avow_err *err)
{
    const uint8_t *p = der.ptr;
    AVOW_CLEANUP(PKCS8_PRIV_KEY_INFO_free)
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, (long)der.len);
    if (!info || p != der.ptr + der.len)
        return avow_openssl_err(err, AVOW_PARSE, "not a PKCS#8 private key");
    AVOW_CLEANUP(EVP_PKEY_free) EVP_PKEY *pkey = EVP_PKCS82PKEY(info);
    if (!pkey)
        return avow_openssl_err(err, AVOW_PARSE, "not a PKCS#8 private key");
    if (is_p256(pkey) && !is_consistent(pkey))
        return avow_openssl_err(err, AVOW_PARSE, "private key does not fit its public key");
    return avow_privkey_wrap(AVOW_STEAL(pkey), out, err);
}

static enum avow_rc privkey_from_pem(struct avow_bytes pem, struct avow_privkey **out,
                                     struct avow_err *err)
{
    struct avow_pem_block block;
    bool found;
    enum avow_rc rc = avow_pem_next(&pem, &block, &found, err);
    if (rc)
        return rc;
    if (!found)
        return avow_err_set(err, AVOW_PARSE, 0, "no PEM block \"PRIVATE KEY\"");
    if (!avow_str_is(block.label, "PRIVATE KEY"))
        return avow_err_set(err, AVOW_PARSE, 0,
                            "PEM block \"%.*s\"; \"PRIVATE KEY\" is needed (unencrypted PKCS#8: "
                            "openssl pkcs8 -topk8 -nocrypt)",
                            (int)(block.label.len < 40 ? block.label.len : 40), block.label.ptr);
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf der;
    avow_buf_init(&der, KEY_FILE_MAX);
    rc = avow_pem_decode(block.base64, &der, err);
    if (!rc)
        rc = privkey_from_pkcs8(avow_buf_bytes(&der), out, err);
    avow_wipe(der.ptr, der.len);
    return rc;
}

enum avow_rc avow_privkey_load(const char *path, struct avow_privkey **out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, KEY_FILE_MAX);
    enum avow_rc rc = avow_file_read(path, &text, err);
    if (!rc) {
        rc = privkey_from_pem(avow_buf_bytes(&text), out, err);
        if (rc)
            rc = avow_err_wrap(err, rc, "%s", path);
    }
    avow_wipe(text.ptr, text.len);
    return rc;
}

enum avow_rc avow_privkey_save(const struct avow_privkey *k, const char *path, struct avow_err *err)
{
    AVOW_CLEANUP(BIO_free_all) BIO *bio = BIO_new(BIO_s_secmem()); /* wiped when freed */
    char *text = NULL;
    if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, k->pkey, NULL, NULL, 0, NULL, NULL) != 1)
        return avow_openssl_err(err, AVOW_CRYPTO, "encode a private key");
    long len = BIO_get_mem_data(bio, &text);
    if (len <= 0)
        return avow_openssl_err(err, AVOW_CRYPTO, "encode a private key");
    return avow_file_write(path, avow_bytes_make(text, (size_t)len), 0600, err);
}

struct avow_bytes avow_privkey_spki(const struct avow_privkey *k)
{
    return avow_buf_bytes(&k->spki);
}

static bool sign_op_prepare(struct avow_key_op *op, const struct avow_privkey *k)
{
    if (op->ctx)
        return true;
    op->ctx = EVP_PKEY_CTX_new_from_pkey(NULL, k->pkey, NULL);
    if (op->ctx && EVP_PKEY_sign_init(op->ctx) == 1 &&
        EVP_PKEY_CTX_set_signature_md(op->ctx, avow_hash_evp(AVOW_HASH_SHA256)) == 1)
        return true;
    EVP_PKEY_CTX_free(op->ctx);
    op->ctx = NULL;
    return false;
}

/* Of the two valid values s and n - s the smaller one, so that nobody can make a second proof out
 * of a first. */
static bool put_low_s(const BIGNUM *s, uint8_t out[32])
{
    struct avow_bytes order = avow_curve_of(AVOW_KEY_EC_P256)->order;
    AVOW_CLEANUP(BN_free) BIGNUM *other = BN_bin2bn(order.ptr, (int)order.len, NULL);
    if (!other || !BN_sub(other, other, s))
        return false;
    return BN_bn2binpad(BN_cmp(s, other) > 0 ? other : s, out, 32) == 32;
}

static bool split_signature(struct avow_bytes der, uint8_t out[64])
{
    const uint8_t *p = der.ptr;
    AVOW_CLEANUP(ECDSA_SIG_free) ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)der.len);
    return sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, 32) == 32 &&
           put_low_s(ECDSA_SIG_get0_s(sig), out + 32);
}

enum avow_rc avow_privkey_sign_pieces(const struct avow_privkey *k, const struct avow_bytes *pieces,
                                      size_t n, uint8_t out[64], struct avow_err *err)
{
    uint8_t digest[AVOW_SHA256_LEN];
    avow_sha256_pieces(pieces, n, digest);
    struct avow_key_op spare, *op = avow_key_op_take(k->slot, &spare);
    uint8_t der[ECDSA_P256_DER_MAX], raw[64];
    size_t len = sizeof der;
    bool good = sign_op_prepare(op, k) &&
                EVP_PKEY_sign(op->ctx, der, &len, digest, sizeof digest) == 1 &&
                split_signature(avow_bytes_make(der, len), raw);
    avow_key_op_give(k->slot, op);
    if (!good)
        return avow_openssl_err(err, AVOW_CRYPTO, "sign");
    memcpy(out, raw, sizeof raw);
    return AVOW_OK;
}

enum avow_rc avow_privkey_sign(const struct avow_privkey *k, struct avow_bytes data,
                               uint8_t out[64], struct avow_err *err)
{
    return avow_privkey_sign_pieces(k, &data, 1, out, err);
}
