/* rig_keys.c - see rig_keys.h. */
#include "rig_keys.h"

#include "avow/base/buf.h"
#include "avow/formats/tpm_public.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "avow/base/banned.h"

static const struct key_def {
    uint16_t type, scheme;
    enum avow_hash hash;
    const char *md, *group;
    uint16_t curve;
    size_t field;
} defs[RIG_ALL_KEYS] = {
    [RIG_RSASSA] = {AVOW_TPM_ALG_RSA, AVOW_TPM_ALG_RSASSA, AVOW_HASH_SHA256, "SHA256", NULL, 0, 0},
    [RIG_RSAPSS] = {AVOW_TPM_ALG_RSA, AVOW_TPM_ALG_RSAPSS, AVOW_HASH_SHA256, "SHA256", NULL, 0, 0},
    [RIG_P256] = {AVOW_TPM_ALG_ECC, AVOW_TPM_ALG_ECDSA, AVOW_HASH_SHA256, "SHA256", "P-256",
                  AVOW_TPM_ECC_NIST_P256, 32},
    [RIG_P256_OTHER] = {AVOW_TPM_ALG_ECC, AVOW_TPM_ALG_ECDSA, AVOW_HASH_SHA256, "SHA256", "P-256",
                        AVOW_TPM_ECC_NIST_P256, 32},
    [RIG_P384] = {AVOW_TPM_ALG_ECC, AVOW_TPM_ALG_ECDSA, AVOW_HASH_SHA384, "SHA384", "P-384",
                  AVOW_TPM_ECC_NIST_P384, 48},
    [RIG_P521] = {AVOW_TPM_ALG_ECC, AVOW_TPM_ALG_ECDSA, AVOW_HASH_SHA512, "SHA512", "P-521",
                  AVOW_TPM_ECC_NIST_P521, 66},
};

static EVP_PKEY *keys[RIG_ALL_KEYS]; /* for the life of the process */

static EVP_PKEY *key_of(enum rig_key key)
{
    if (!keys[key]) {
        keys[key] = defs[key].group ? EVP_EC_gen(defs[key].group) : EVP_RSA_gen(2048);
        assert_non_null(keys[key]);
    }
    return keys[key];
}

static void put_number(struct avow_buf *b, EVP_PKEY *k, const char *name, size_t len)
{
    BIGNUM *n = NULL;
    uint8_t bytes[512];
    assert_int_equal(EVP_PKEY_get_bn_param(k, name, &n), 1);
    assert_true(BN_bn2binpad(n, bytes, (int)len) > 0);
    avow_buf_put_u16be(b, (uint16_t)len);
    avow_buf_put(b, bytes, len);
    BN_free(n);
}

static size_t finish(struct avow_buf *b, uint8_t *out)
{
    size_t len = b->len;
    assert_int_equal(avow_buf_status(b, NULL), AVOW_OK);
    memcpy(out, b->ptr, len);
    avow_buf_deinit(b);
    return len;
}

size_t rig_key_public(enum rig_key key, uint8_t out[1024])
{
    const struct key_def *d = &defs[key];
    struct avow_buf b;
    avow_buf_init(&b, 1022);
    avow_buf_put_u16be(&b, d->type);
    avow_buf_put_u16be(&b, AVOW_HASH_SHA256);
    avow_buf_put_u32be(&b, AVOW_TPMA_FIXED_TPM | AVOW_TPMA_FIXED_PARENT |
                               AVOW_TPMA_SENSITIVE_DATA_ORIGIN | AVOW_TPMA_RESTRICTED |
                               AVOW_TPMA_SIGN);
    avow_buf_put_u16be(&b, 0); /* no auth policy */
    avow_buf_put_u16be(&b, AVOW_TPM_ALG_NULL);
    avow_buf_put_u16be(&b, d->scheme);
    avow_buf_put_u16be(&b, (uint16_t)d->hash);
    if (d->group) {
        avow_buf_put_u16be(&b, d->curve);
        avow_buf_put_u16be(&b, AVOW_TPM_ALG_NULL);
        put_number(&b, key_of(key), OSSL_PKEY_PARAM_EC_PUB_X, d->field);
        put_number(&b, key_of(key), OSSL_PKEY_PARAM_EC_PUB_Y, d->field);
    } else {
        avow_buf_put_u16be(&b, 2048);
        avow_buf_put_u32be(&b, 0);
        put_number(&b, key_of(key), OSSL_PKEY_PARAM_RSA_N, 256);
    }
    size_t len = finish(&b, out + 2);
    avow_put_u16be(out, (uint16_t)len);
    return len + 2;
}

enum avow_hash rig_key_hash(enum rig_key key)
{
    return defs[key].hash;
}

static void put_ecdsa(struct avow_buf *b, const uint8_t *der, size_t len, size_t field)
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
    uint8_t n[66];
    assert_non_null(sig);
    const BIGNUM *parts[] = {ECDSA_SIG_get0_r(sig), ECDSA_SIG_get0_s(sig)};
    for (size_t i = 0; i < 2; i++) {
        assert_true(BN_bn2binpad(parts[i], n, (int)field) > 0);
        avow_buf_put_u16be(b, (uint16_t)field);
        avow_buf_put(b, n, field);
    }
    ECDSA_SIG_free(sig);
}

size_t rig_key_sign(enum rig_key key, struct avow_bytes data, uint8_t out[1200])
{
    const struct key_def *d = &defs[key];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    uint8_t sig[600];
    size_t len = sizeof sig;
    assert_int_equal(EVP_DigestSignInit_ex(ctx, &pctx, d->md, NULL, NULL, key_of(key), NULL), 1);
    if (d->scheme == AVOW_TPM_ALG_RSAPSS)
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
    assert_int_equal(EVP_DigestSign(ctx, sig, &len, data.ptr, data.len), 1);
    EVP_MD_CTX_free(ctx);
    struct avow_buf b;
    avow_buf_init(&b, 1200);
    avow_buf_put_u16be(&b, d->scheme);
    avow_buf_put_u16be(&b, (uint16_t)d->hash);
    if (d->group) {
        put_ecdsa(&b, sig, len, d->field);
    } else {
        avow_buf_put_u16be(&b, (uint16_t)len);
        avow_buf_put(&b, sig, len);
    }
    return finish(&b, out);
}
