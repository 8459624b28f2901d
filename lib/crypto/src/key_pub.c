#include "key_internal.h"

#include "openssl_err.h"
#include "pem.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define RSA_BITS_MIN 2048u /* PROTOCOL R27; NIST SP 800-131A r2, table 2 */
#define RSA_BITS_MAX 4096u
#define RSA_EXPONENT 65537u /* TPM 2.0 Part 2 r1.38, 12.2.3.5: what 0 stands for */

AVOW_DEFINE_CLEANUP(EVP_PKEY_CTX, EVP_PKEY_CTX_free);

struct avow_key_slot *avow_key_slot_new(void)
{
    struct avow_key_slot *s = calloc(1, sizeof *s);
    if (s)
        atomic_flag_clear(&s->busy);
    return s;
}

void avow_key_slot_free(struct avow_key_slot *s)
{
    if (!s)
        return;
    EVP_PKEY_CTX_free(s->op.ctx);
    free(s);
}

struct avow_key_op *avow_key_op_take(struct avow_key_slot *s, struct avow_key_op *spare)
{
    if (!atomic_flag_test_and_set_explicit(&s->busy, memory_order_acquire))
        return &s->op;
    *spare = (struct avow_key_op){.ctx = NULL};
    return spare;
}

void avow_key_op_give(struct avow_key_slot *s, struct avow_key_op *op)
{
    if (op == &s->op)
        atomic_flag_clear_explicit(&s->busy, memory_order_release);
    else
        EVP_PKEY_CTX_free(op->ctx);
}

void avow_pubkey_free(struct avow_pubkey *k)
{
    if (!k)
        return;
    avow_key_slot_free(k->slot);
    EVP_PKEY_free(k->pkey);
    avow_buf_deinit(&k->spki);
    free(k);
}

static struct avow_pubkey *pubkey_new(enum avow_key_kind kind, unsigned bits)
{
    struct avow_pubkey *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    avow_buf_init(&k->spki, AVOW_SPKI_MAX);
    k->kind = kind;
    k->bits = bits;
    k->bytes = (bits + 7u) / 8u;
    k->slot = avow_key_slot_new();
    if (k->slot)
        return k;
    avow_pubkey_free(k);
    return NULL;
}

/* OpenSSL's key from parameters; it checks that a point is on the curve. */
static EVP_PKEY *evp_from(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY *pkey = NULL;
    AVOW_CLEANUP(EVP_PKEY_CTX_free)
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        return NULL;
    return pkey;
}

/* On the curve, coordinates below the prime, not infinity: with cofactor 1 that is a full
 * validation (SP 800-56A r3, 5.6.2.3.3). */
static bool ec_is_valid(EVP_PKEY *pkey)
{
    AVOW_CLEANUP(EVP_PKEY_CTX_free)
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    return ctx && EVP_PKEY_public_check_quick(ctx) == 1;
}

enum avow_rc avow_pubkey_from_point(const struct avow_curve *curve, struct avow_bytes point,
                                    struct avow_pubkey **out, struct avow_err *err)
{
    if (point.len != 1 + 2 * curve->field || point.ptr[0] != 0x04)
        return avow_err_set(err, AVOW_PARSE, 0, "public key is not an uncompressed %s point",
                            curve->openssl_name);
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *k = pubkey_new(curve->kind, curve->bits);
    if (!k)
        return avow_err_set(err, AVOW_NOMEM, 0, "public key");
    uint8_t bytes[AVOW_EC_POINT_MAX];
    char name[8];
    memcpy(bytes, point.ptr, point.len);
    memcpy(name, curve->openssl_name, strlen(curve->openssl_name) + 1);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, bytes, point.len),
        OSSL_PARAM_construct_end(),
    };
    k->pkey = evp_from("EC", params);
    if (!k->pkey || !ec_is_valid(k->pkey)) {
        ERR_clear_error();
        return avow_err_set(err, AVOW_PARSE, 0, "public key is not a point of %s",
                            curve->openssl_name);
    }
    avow_spki_put_ec(&k->spki, curve, point);
    enum avow_rc rc = avow_buf_status(&k->spki, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(k);
    return AVOW_OK;
}

enum avow_rc avow_pubkey_from_ec(enum avow_key_kind curve_kind, struct avow_bytes x,
                                 struct avow_bytes y, struct avow_pubkey **out,
                                 struct avow_err *err)
{
    const struct avow_curve *curve = avow_curve_of(curve_kind);
    if (!curve)
        return avow_err_set(err, AVOW_PARSE, 0, "unsupported curve");
    if (x.len > curve->field || y.len > curve->field || !x.len || !y.len)
        return avow_err_set(err, AVOW_PARSE, 0, "coordinates of %zu and %zu bytes on %s", x.len,
                            y.len, curve->openssl_name);
    uint8_t point[AVOW_EC_POINT_MAX] = {0x04};
    memcpy(point + 1 + curve->field - x.len, x.ptr, x.len);
    memcpy(point + 1 + 2 * curve->field - y.len, y.ptr, y.len);
    return avow_pubkey_from_point(curve, avow_bytes_make(point, 1 + 2 * curve->field), out, err);
}

static unsigned bit_length(struct avow_bytes stripped)
{
    unsigned bits = (unsigned)stripped.len * 8u;
    for (uint8_t top = stripped.len ? stripped.ptr[0] : 0; top && !(top & 0x80);
         top = (uint8_t)(top << 1))
        bits--;
    return bits;
}

/* Structure only: proving that a modulus has no small factors takes 2.7 ms, and a bad one weakens
 * only its owner. */
static enum avow_rc rsa_check(struct avow_bytes modulus, uint32_t exponent, struct avow_err *err)
{
    if (modulus.len > RSA_BITS_MAX / 8u)
        return avow_err_set(err, AVOW_PARSE, 0, "RSA modulus of %zu bytes", modulus.len);
    unsigned bits = bit_length(modulus);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
        return avow_err_set(err, AVOW_PARSE, 0, "RSA key of %u bits; %u to %u are accepted", bits,
                            RSA_BITS_MIN, RSA_BITS_MAX);
    if (!(modulus.ptr[modulus.len - 1] & 1) || exponent < RSA_EXPONENT || !(exponent & 1))
        return avow_err_set(err, AVOW_PARSE, 0,
                            "RSA modulus even, or exponent %lu below 65537 or even",
                            (unsigned long)exponent);
    return AVOW_OK;
}

static EVP_PKEY *evp_rsa(struct avow_bytes modulus, uint32_t exponent)
{
    EVP_PKEY *pkey = NULL;
    BIGNUM *n = BN_bin2bn(modulus.ptr, (int)modulus.len, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    if (n && build && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) &&
        OSSL_PARAM_BLD_push_uint32(build, OSSL_PKEY_PARAM_RSA_E, exponent))
        params = OSSL_PARAM_BLD_to_param(build);
    if (params)
        pkey = evp_from("RSA", params);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    return pkey;
}

enum avow_rc avow_pubkey_from_rsa(struct avow_bytes modulus, uint32_t exponent,
                                  struct avow_pubkey **out, struct avow_err *err)
{
    struct avow_bytes n = avow_uint_strip(modulus);
    uint32_t e = exponent ? exponent : RSA_EXPONENT;
    enum avow_rc rc = rsa_check(n, e, err);
    if (rc)
        return rc;
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *k = pubkey_new(AVOW_KEY_RSA, bit_length(n));
    if (!k)
        return avow_err_set(err, AVOW_NOMEM, 0, "public key");
    k->pkey = evp_rsa(n, e);
    if (!k->pkey)
        return avow_openssl_err(err, AVOW_PARSE, "RSA public key");
    avow_spki_put_rsa(&k->spki, n, e);
    rc = avow_buf_status(&k->spki, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(k);
    return AVOW_OK;
}

enum avow_rc avow_pubkey_from_parts(const struct avow_spki_parts *parts, struct avow_pubkey **out,
                                    struct avow_err *err)
{
    if (parts->kind != AVOW_KEY_RSA)
        return avow_pubkey_from_point(avow_curve_of(parts->kind), parts->point, out, err);
    if (parts->exponent.len > 4)
        return avow_err_set(err, AVOW_PARSE, 0, "RSA exponent of %zu bytes", parts->exponent.len);
    uint32_t e = 0;
    for (size_t i = 0; i < parts->exponent.len; i++)
        e = e << 8 | parts->exponent.ptr[i];
    if (!e)
        return avow_err_set(err, AVOW_PARSE, 0, "RSA exponent 0");
    return avow_pubkey_from_rsa(parts->modulus, e, out, err);
}

enum avow_rc avow_pubkey_from_spki(struct avow_bytes spki, struct avow_pubkey **out,
                                   struct avow_err *err)
{
    struct avow_spki_parts parts;
    if (spki.len > AVOW_SPKI_MAX || !avow_spki_read(spki, &parts))
        return avow_err_set(err, AVOW_PARSE, 0,
                            "not a DER public key of type RSA, P-256, P-384 or P-521");
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *k = NULL;
    enum avow_rc rc = avow_pubkey_from_parts(&parts, &k, err);
    if (rc)
        return rc;
    if (!avow_bytes_eq(avow_buf_bytes(&k->spki),
                       spki)) /* two encodings would give one key two ids */
        return avow_err_set(err, AVOW_PARSE, 0, "public key is not in canonical DER");
    *out = AVOW_STEAL(k);
    return AVOW_OK;
}

static enum avow_rc pem_pubkey(const struct avow_pem_block *block, struct avow_pubkey **out,
                               struct avow_err *err)
{
    if (!avow_str_is(block->label, "PUBLIC KEY"))
        return avow_err_set(err, AVOW_PARSE, 0, "PEM block \"%.*s\" where \"PUBLIC KEY\" belongs",
                            (int)(block->label.len < 40 ? block->label.len : 40), block->label.ptr);
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf der;
    avow_buf_init(&der, AVOW_SPKI_MAX);
    enum avow_rc rc = avow_pem_decode(block->base64, &der, err);
    if (!rc)
        rc = avow_pubkey_from_spki(avow_buf_bytes(&der), out, err);
    return rc;
}

static enum avow_rc pem_pubkeys(struct avow_bytes pem, size_t max, struct avow_pubkey **keys,
                                size_t *n, struct avow_err *err)
{
    for (;;) {
        struct avow_pem_block block;
        bool found;
        enum avow_rc rc = avow_pem_next(&pem, &block, &found, err);
        if (rc || !found)
            return rc;
        if (*n == max)
            return avow_err_set(err, AVOW_LIMIT, 0, "more than %zu public keys", max);
        rc = pem_pubkey(&block, &keys[*n], err);
        if (rc)
            return rc;
        ++*n;
    }
}

enum avow_rc avow_pubkey_list_from_pem(struct avow_bytes pem, size_t max, struct avow_pubkey **out,
                                       size_t *n, struct avow_err *err)
{
    size_t count = 0;
    enum avow_rc rc = pem_pubkeys(pem, max, out, &count, err);
    if (!rc && !count)
        rc = avow_err_set(err, AVOW_PARSE, 0, "no PEM block \"PUBLIC KEY\"");
    if (!rc) {
        *n = count;
        return AVOW_OK;
    }
    while (count) {
        avow_pubkey_free(out[--count]);
        out[count] = NULL;
    }
    return rc;
}

enum avow_rc avow_pubkey_from_pem(struct avow_bytes pem, struct avow_pubkey **out,
                                  struct avow_err *err)
{
    struct avow_pubkey *k = NULL;
    size_t n;
    enum avow_rc rc = avow_pubkey_list_from_pem(pem, 1, &k, &n, err);
    if (rc)
        return rc == AVOW_LIMIT ? avow_err_set(err, AVOW_PARSE, 0, "more than one public key") : rc;
    *out = k;
    return AVOW_OK;
}

enum avow_key_kind avow_pubkey_kind(const struct avow_pubkey *k)
{
    return k->kind;
}

unsigned avow_pubkey_bits(const struct avow_pubkey *k)
{
    return k->bits;
}

struct avow_bytes avow_pubkey_spki(const struct avow_pubkey *k)
{
    return avow_buf_bytes(&k->spki);
}

bool avow_pubkey_eq(const struct avow_pubkey *a, const struct avow_pubkey *b)
{
    return avow_bytes_eq(avow_buf_bytes(&a->spki), avow_buf_bytes(&b->spki));
}

enum avow_rc avow_pubkey_pem(const struct avow_pubkey *k, struct avow_buf *out,
                             struct avow_err *err)
{
    avow_pem_put(out, "PUBLIC KEY", avow_buf_bytes(&k->spki));
    return avow_buf_status(out, err);
}

void avow_key_id(struct avow_bytes spki, uint8_t out[8])
{
    uint8_t digest[AVOW_SHA256_LEN];
    avow_sha256(spki, digest);
    memcpy(out, digest, 8);
}
