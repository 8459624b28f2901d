#include "credential_internal.h"

#include "avow/crypto/rng.h"

#include "digest_internal.h"
#include "kdf.h"
#include "key_internal.h"
#include "openssl_err.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <string.h>

#include "avow/base/banned.h"

#define EC_FIELD_MAX 66u   /* P-521: FIPS 186-4, D.1.2.5 */
#define RSA_BYTES_MAX 512u /* RSA-4096 */
#define AES_KEY_MAX 32u    /* FIPS 197, 5 */
#define AES_BLOCK 16u      /* FIPS 197, 5 */

/* With its NUL (TPM 2.0 Part 1 r1.38, B.4: the label of OAEP is null-terminated). */
static const char IDENTITY[] = "IDENTITY";

AVOW_DEFINE_CLEANUP(EVP_PKEY, EVP_PKEY_free);
AVOW_DEFINE_CLEANUP(EVP_PKEY_CTX, EVP_PKEY_CTX_free);
AVOW_DEFINE_CLEANUP(EVP_CIPHER_CTX, EVP_CIPHER_CTX_free);

struct seed { /* wiped by its user */
    uint8_t bytes[AVOW_DIGEST_MAX];
    size_t len;
};

static void seed_wipe(struct seed *s)
{
    avow_wipe(s, sizeof *s);
}

static const EVP_CIPHER *aes_cfb(unsigned bits)
{
    switch (bits) {
    case 128:
        return EVP_aes_128_cfb128();
    case 192:
        return EVP_aes_192_cfb128();
    case 256:
        return EVP_aes_256_cfb128();
    default:
        return NULL;
    }
}

/* In place. The IV is zero because the key is used once (Part 1, 24.4). */
static bool encrypt_cfb(const EVP_CIPHER *cipher, const uint8_t *key, uint8_t *data, size_t len)
{
    static const uint8_t zero_iv[AES_BLOCK];
    int n = 0;
    AVOW_CLEANUP(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    return ctx && EVP_EncryptInit_ex2(ctx, cipher, key, zero_iv, NULL) == 1 &&
           EVP_EncryptUpdate(ctx, data, &n, data, (int)len) == 1 && (size_t)n == len;
}

enum avow_rc avow_credential_seal(const struct avow_credential_ek *ek, struct avow_bytes name,
                                  struct avow_bytes secret, struct avow_bytes seed,
                                  struct avow_buf *id_object, struct avow_err *err)
{
    const struct avow_bytes none = {NULL, 0};
    const EVP_CIPHER *cipher = aes_cfb(ek->aes_bits);
    size_t digest_len = avow_hash_len(ek->name_alg);
    if (!cipher || !digest_len || secret.len > digest_len)
        return avow_err_set(err, AVOW_LIMIT, 0,
                            "credential of %zu bytes, AES-%u, name hash %zu bytes", secret.len,
                            ek->aes_bits, digest_len);

    uint8_t identity[2 + AVOW_DIGEST_MAX]; /* TPM2B_DIGEST, encrypted with its size field */
    avow_put_u16be(identity, (uint16_t)secret.len);
    memcpy(identity + 2, secret.ptr, secret.len);
    struct avow_bytes encrypted = avow_bytes_make(identity, 2 + secret.len);

    uint8_t key[AES_KEY_MAX];
    avow_kdf_a(ek->name_alg, seed, "STORAGE", name, none, key, ek->aes_bits / 8u);
    bool good = encrypt_cfb(cipher, key, identity, encrypted.len);
    avow_wipe(key, sizeof key);
    if (!good) {
        avow_wipe(identity, sizeof identity);
        return avow_openssl_err(err, AVOW_CRYPTO, "encrypt a credential");
    }

    uint8_t mac_key[AVOW_DIGEST_MAX];
    struct avow_digest mac;
    avow_kdf_a(ek->name_alg, seed, "INTEGRITY", none, none, mac_key, digest_len);
    const struct avow_bytes macced[] = {encrypted, name};
    avow_hmac(ek->name_alg, avow_bytes_make(mac_key, digest_len), macced, 2, &mac);
    avow_wipe(mac_key, sizeof mac_key);

    /* TPMS_ID_OBJECT: TPM2B_DIGEST integrityHMAC, then encIdentity without a size of its own (Part
     * 2, 12.4.2) */
    avow_buf_put_u16be(id_object, (uint16_t)(2 + mac.len + encrypted.len));
    avow_buf_put_u16be(id_object, (uint16_t)mac.len);
    avow_buf_put(id_object, mac.bytes, mac.len);
    avow_buf_put(id_object, encrypted.ptr, encrypted.len);
    return avow_buf_status(id_object, err);
}

/* OPENSSL takes ownership of the label. */
static bool set_oaep(EVP_PKEY_CTX *ctx, enum avow_hash name_alg)
{
    const EVP_MD *md = avow_hash_evp(name_alg);
    void *label = OPENSSL_memdup(IDENTITY, sizeof IDENTITY);
    if (!label || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) != 1 ||
        EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) != 1 || EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) != 1 ||
        EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, label, (int)sizeof IDENTITY) != 1) {
        OPENSSL_free(label);
        return false;
    }
    return true;
}

/* A random seed, RSAES-OAEP to the EK (Part 1, B.10.3). */
static enum avow_rc share_rsa(const struct avow_credential_ek *ek, struct seed *seed,
                              struct avow_buf *secret, struct avow_err *err)
{
    seed->len = avow_hash_len(ek->name_alg);
    enum avow_rc rc = avow_rng_fill(seed->bytes, seed->len, err);
    if (rc)
        return rc;
    uint8_t out[RSA_BYTES_MAX];
    size_t len = sizeof out;
    AVOW_CLEANUP(EVP_PKEY_CTX_free)
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, ek->key->pkey, NULL);
    if (!ctx || EVP_PKEY_encrypt_init(ctx) != 1 || !set_oaep(ctx, ek->name_alg) ||
        EVP_PKEY_encrypt(ctx, out, &len, seed->bytes, seed->len) != 1)
        return avow_openssl_err(err, AVOW_CRYPTO, "encrypt a seed to the EK");
    avow_buf_put_u16be(secret, (uint16_t)len);
    avow_buf_put(secret, out, len);
    return avow_buf_status(secret, err);
}

static bool derive_x(EVP_PKEY *ours, EVP_PKEY *theirs, uint8_t *z, size_t *len)
{
    AVOW_CLEANUP(EVP_PKEY_CTX_free)
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, ours, NULL);
    return ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, theirs) == 1 &&
           EVP_PKEY_derive(ctx, z, len) == 1;
}

static bool ec_point(EVP_PKEY *pkey, size_t field, uint8_t point[AVOW_EC_POINT_MAX])
{
    size_t len = 0;
    return EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, point, AVOW_EC_POINT_MAX,
                                           &len) == 1 &&
           len == 1 + 2 * field && point[0] == 0x04;
}

/* One-pass ECDH; the seed is KDFe over x coordinates padded to the field size (Part 1, C.6.1,
 * C.6.3). */
static enum avow_rc share_ecc(const struct avow_credential_ek *ek, struct seed *seed,
                              struct avow_buf *secret, struct avow_err *err)
{
    const struct avow_curve *curve = avow_curve_of(ek->key->kind);
    size_t field = curve->field;
    uint8_t ours[AVOW_EC_POINT_MAX], theirs[AVOW_EC_POINT_MAX], z[EC_FIELD_MAX];
    size_t z_len = sizeof z;
    AVOW_CLEANUP(EVP_PKEY_free) EVP_PKEY *ephemeral = EVP_EC_gen(curve->openssl_name);
    if (!ephemeral || !ec_point(ephemeral, field, ours) ||
        !ec_point(ek->key->pkey, field, theirs) || !derive_x(ephemeral, ek->key->pkey, z, &z_len) ||
        z_len != field)
        return avow_openssl_err(err, AVOW_CRYPTO, "agree on a seed with the EK");
    seed->len = avow_hash_len(ek->name_alg);
    avow_kdf_e(ek->name_alg, avow_bytes_make(z, field), IDENTITY, avow_bytes_make(ours + 1, field),
               avow_bytes_make(theirs + 1, field), seed->bytes, seed->len);
    avow_wipe(z, sizeof z);
    /* TPMS_ECC_POINT in a TPM2B_ENCRYPTED_SECRET */
    avow_buf_put_u16be(secret, (uint16_t)(2 * (2 + field)));
    for (size_t i = 0; i < 2; i++) {
        avow_buf_put_u16be(secret, (uint16_t)field);
        avow_buf_put(secret, ours + 1 + i * field, field);
    }
    return avow_buf_status(secret, err);
}

enum avow_rc avow_credential_make(const struct avow_credential_ek *ek, struct avow_bytes name,
                                  struct avow_bytes secret, struct avow_buf *id_object,
                                  struct avow_buf *encrypted_secret, struct avow_err *err)
{
    if (!secret.len)
        return avow_err_set(err, AVOW_LIMIT, 0,
                            "empty credential: activating it would prove nothing");
    if (!avow_hash_len(ek->name_alg))
        return avow_err_set(err, AVOW_LIMIT, 0, "unknown name hash of the EK");
    AVOW_CLEANUP_VAL(seed_wipe) struct seed seed = {.len = 0};
    size_t id_start = id_object->len, secret_start = encrypted_secret->len;
    enum avow_rc rc = ek->key->kind == AVOW_KEY_RSA ? share_rsa(ek, &seed, encrypted_secret, err)
                                                    : share_ecc(ek, &seed, encrypted_secret, err);
    if (!rc)
        rc = avow_credential_seal(ek, name, secret, avow_bytes_make(seed.bytes, seed.len),
                                  id_object, err);
    if (rc) {
        id_object->len = id_start;
        encrypted_secret->len = secret_start;
    }
    return rc;
}
