/* test_credential.c - MakeCredential: the derivations against OpenSSL's own, the result opened with
 * the EK's private key, and known answers of Keylime where its vectors are at hand.
 * activate_swtpm.sh asks a TPM. */
#include "vec.h"

#include "avow/crypto/ak.h"

#include "credential_internal.h"
#include "kdf.h"

#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "avow/base/banned.h"

static const char *const MD_NAMES[] = {"SHA1", "SHA256", "SHA384", "SHA512"};
static const enum avow_hash ALGS[] = {AVOW_HASH_SHA1, AVOW_HASH_SHA256, AVOW_HASH_SHA384,
                                      AVOW_HASH_SHA512};

static OSSL_PARAM text_param(const char *key, const char *value)
{
    union {
        const char *in;
        char *out;
    } u = {value}; /* OpenSSL only reads it */
    return OSSL_PARAM_construct_utf8_string(key, u.out, 0);
}

static OSSL_PARAM bytes_param(const char *key, struct avow_bytes b)
{
    union {
        const uint8_t *in;
        void *out;
    } u = {b.ptr};
    return OSSL_PARAM_construct_octet_string(key, u.out, b.len);
}

static void openssl_kdf(const char *name, OSSL_PARAM *params, uint8_t *out, size_t len)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, name, NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    assert_int_equal(EVP_KDF_derive(ctx, out, len, params), 1);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

static void test_kdf_a__every_hash_and_length__equals_kbkdf(void **state)
{
    (void)state;
    uint8_t got[150], want[150];
    for (size_t h = 0; h < AVOW_ARRAY_LEN(ALGS); h++) {
        for (size_t len = 1; len <= sizeof got; len += 13) {
            OSSL_PARAM params[] = {
                text_param("mode", "counter"),
                text_param("mac", "HMAC"),
                text_param("digest", MD_NAMES[h]),
                bytes_param("key", vec_text("a secret seed")),
                bytes_param("salt", vec_text("STORAGE")),
                bytes_param("info", vec_text("context-u context-v")),
                OSSL_PARAM_construct_end(),
            };
            openssl_kdf("KBKDF", params, want, len);
            avow_kdf_a(ALGS[h], vec_text("a secret seed"), "STORAGE", vec_text("context-u"),
                       vec_text(" context-v"), got, len);
            assert_memory_equal(got, want, len);
        }
    }
}

static void test_kdf_e__every_hash_and_length__equals_sskdf(void **state)
{
    (void)state;
    uint8_t got[150], want[150];
    static const char INFO[] = "IDENTITY\0party u party v";
    for (size_t h = 0; h < AVOW_ARRAY_LEN(ALGS); h++) {
        for (size_t len = 1; len <= sizeof got; len += 13) {
            OSSL_PARAM params[] = {
                text_param("digest", MD_NAMES[h]),
                bytes_param("key", vec_text("shared x")),
                bytes_param("info", avow_bytes_make(INFO, sizeof INFO - 1)),
                OSSL_PARAM_construct_end(),
            };
            openssl_kdf("SSKDF", params, want, len);
            avow_kdf_e(ALGS[h], vec_text("shared x"), "IDENTITY", vec_text("party u"),
                       vec_text(" party v"), got, len);
            assert_memory_equal(got, want, len);
        }
    }
}

static void kbkdf(size_t md, struct avow_bytes seed, const char *label, const char *context,
                  uint8_t *out, size_t len)
{
    OSSL_PARAM params[] = {
        text_param("mode", "counter"),        text_param("mac", "HMAC"),
        text_param("digest", MD_NAMES[md]),   bytes_param("key", seed),
        bytes_param("salt", vec_text(label)), bytes_param("info", vec_text(context)),
        OSSL_PARAM_construct_end(),
    };
    openssl_kdf("KBKDF", params, out, len);
}

/* TPM2_ActivateCredential after the seed is known, with OpenSSL's primitives only (Part 1
 * r1.38, 24.7). */
static void expect_opens(const struct avow_credential_ek *ek, size_t md, struct avow_bytes seed,
                         const struct avow_buf *id_object)
{
    static const uint8_t iv[16];
    uint8_t key[64], mac_key[64], mac[64], plain[128];
    size_t h = avow_hash_len(ek->name_alg), mac_len = 0;
    const uint8_t *p = id_object->ptr;
    assert_int_equal(p[0] << 8 | p[1], id_object->len - 2);
    assert_int_equal(p[2] << 8 | p[3], h);
    const uint8_t *encrypted = p + 4 + h;
    size_t n = id_object->len - 4 - h;
    kbkdf(md, seed, "INTEGRITY", "", mac_key, h);
    VEC_BUF macced;
    avow_buf_init(&macced, VEC_MAX);
    avow_buf_put(&macced, encrypted, n);
    avow_buf_put_str(&macced, "name");
    assert_non_null(EVP_Q_mac(NULL, "HMAC", NULL, MD_NAMES[md], NULL, mac_key, h, macced.ptr,
                              macced.len, mac, sizeof mac, &mac_len));
    assert_int_equal(mac_len, h);
    assert_memory_equal(mac, p + 4, h);
    kbkdf(md, seed, "STORAGE", "name", key, ek->aes_bits / 8);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    const EVP_CIPHER *cipher = ek->aes_bits == 128   ? EVP_aes_128_cfb128()
                               : ek->aes_bits == 192 ? EVP_aes_192_cfb128()
                                                     : EVP_aes_256_cfb128();
    int len = 0;
    assert_int_equal(EVP_DecryptInit_ex2(ctx, cipher, key, iv, NULL), 1);
    assert_int_equal(EVP_DecryptUpdate(ctx, plain, &len, encrypted, (int)n), 1);
    EVP_CIPHER_CTX_free(ctx);
    assert_int_equal(len, 18);
    assert_memory_equal(plain,
                        "\0\x10"
                        "0123456789abcdef",
                        18);
}

static struct avow_pubkey *pubkey_of(EVP_PKEY *key)
{
    unsigned char *der = NULL;
    struct avow_pubkey *pub = NULL;
    int len = i2d_PUBKEY(key, &der);
    assert_int_equal(avow_pubkey_from_spki(avow_bytes_make(der, (size_t)len), &pub, NULL), AVOW_OK);
    OPENSSL_free(der);
    return pub;
}

static size_t decrypt_oaep(EVP_PKEY *key, const char *md, struct avow_bytes in, uint8_t *out,
                           size_t cap)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    OSSL_PARAM params[] = {
        text_param("pad-mode", "oaep"), text_param("digest", md),
        text_param("mgf1-digest", md),  bytes_param("oaep-label", avow_bytes_make("IDENTITY", 9)),
        OSSL_PARAM_construct_end(),
    };
    size_t len = cap;
    assert_int_equal(EVP_PKEY_decrypt_init_ex(ctx, params), 1);
    int ok = EVP_PKEY_decrypt(ctx, out, &len, in.ptr, in.len);
    EVP_PKEY_CTX_free(ctx);
    return ok == 1 ? len : 0;
}

static void test_make__rsa_eks__private_key_opens(void **state)
{
    (void)state;
    static const struct {
        unsigned rsa_bits, aes_bits;
        size_t hash;
    } CASES[] = {{2048, 128, 1}, {3072, 256, 2}, {2048, 192, 3}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        uint8_t seed[512];
        EVP_PKEY *key = EVP_RSA_gen(CASES[i].rsa_bits);
        AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *pub = pubkey_of(key);
        const struct avow_credential_ek ek = {pub, ALGS[CASES[i].hash], CASES[i].aes_bits};
        VEC_BUF id, secret;
        avow_buf_init(&id, VEC_MAX);
        avow_buf_init(&secret, VEC_MAX);
        enum avow_rc rc = avow_credential_make(&ek, vec_text("name"), vec_text("0123456789abcdef"),
                                               &id, &secret, &err);
        assert_rc("make", rc, AVOW_OK, &err);
        assert_int_equal(secret.len, 2 + CASES[i].rsa_bits / 8);
        assert_int_equal(secret.ptr[0] << 8 | secret.ptr[1], CASES[i].rsa_bits / 8);
        size_t n = decrypt_oaep(key, MD_NAMES[CASES[i].hash],
                                avow_bytes_make(secret.ptr + 2, secret.len - 2), seed, sizeof seed);
        assert_int_equal(n, avow_hash_len(ek.name_alg));
        expect_opens(&ek, CASES[i].hash, avow_bytes_make(seed, n), &id);
        EVP_PKEY_free(key);
    }
}

static void test_make__ec_eks__private_key_opens(void **state)
{
    (void)state;
    static const struct {
        const char *curve;
        size_t field, hash;
        unsigned aes_bits;
    } CASES[] = {{"P-256", 32, 1, 128}, {"P-384", 48, 2, 256}, {"P-521", 66, 3, 256}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES) * 8;
         i++) { /* often: coordinates with leading zeros are 1 in 256 */
        struct avow_err err = {0};
        size_t c = i % AVOW_ARRAY_LEN(CASES), field = CASES[c].field;
        EVP_PKEY *key = EVP_EC_gen(CASES[c].curve);
        AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *pub = pubkey_of(key);
        const struct avow_credential_ek ek = {pub, ALGS[CASES[c].hash], CASES[c].aes_bits};
        VEC_BUF id, secret;
        avow_buf_init(&id, VEC_MAX);
        avow_buf_init(&secret, VEC_MAX);
        enum avow_rc rc = avow_credential_make(&ek, vec_text("name"), vec_text("0123456789abcdef"),
                                               &id, &secret, &err);
        assert_rc("make", rc, AVOW_OK, &err);
        assert_int_equal(secret.len, 6 + 2 * field);
        uint8_t point[133] = {4}, z[66], own[133], seed[64];
        size_t z_len = sizeof z, own_len = 0;
        memcpy(point + 1, secret.ptr + 4, field);
        memcpy(point + 1 + field, secret.ptr + 6 + field, field);
        EVP_PKEY *peer = EVP_PKEY_new();
        assert_int_equal(EVP_PKEY_copy_parameters(peer, key), 1);
        assert_int_equal(EVP_PKEY_set1_encoded_public_key(peer, point, 1 + 2 * field), 1);
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
        assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
        assert_int_equal(EVP_PKEY_derive_set_peer(ctx, peer), 1);
        assert_int_equal(EVP_PKEY_derive(ctx, z, &z_len), 1);
        assert_int_equal(EVP_PKEY_get_octet_string_param(key, "pub", own, sizeof own, &own_len), 1);
        avow_kdf_e(ek.name_alg, avow_bytes_make(z, z_len), "IDENTITY",
                   avow_bytes_make(point + 1, field), avow_bytes_make(own + 1, field), seed,
                   avow_hash_len(ek.name_alg));
        expect_opens(&ek, CASES[c].hash, avow_bytes_make(seed, avow_hash_len(ek.name_alg)), &id);
        EVP_PKEY_CTX_free(ctx);
        EVP_PKEY_free(peer);
        EVP_PKEY_free(key);
    }
}

static void test_make__bad_parameters__are_refused_and_write_nothing(void **state)
{
    (void)state;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *pub = pubkey_of(key);
    uint8_t secret[65] = {0};
    static const struct {
        const char *name;
        int hash;
        unsigned aes_bits;
        size_t secret_len;
        enum avow_rc want;
    } CASES[] = {
        {"control", AVOW_HASH_SHA256, 128, 32, AVOW_OK},
        {"one byte", AVOW_HASH_SHA256, 128, 1, AVOW_OK},
        {"longer than the digest", AVOW_HASH_SHA256, 128, 33, AVOW_LIMIT},
        {"empty", AVOW_HASH_SHA256, 128, 0, AVOW_LIMIT},
        {"AES-512", AVOW_HASH_SHA256, 512, 32, AVOW_LIMIT},
        {"no AES", AVOW_HASH_SHA256, 0, 32, AVOW_LIMIT},
        {"unknown hash", 0x12, 128, 32, AVOW_LIMIT},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        const struct avow_credential_ek ek = {pub, (enum avow_hash)CASES[i].hash,
                                              CASES[i].aes_bits};
        VEC_BUF id, enc;
        avow_buf_init(&id, VEC_MAX);
        avow_buf_init(&enc, VEC_MAX);
        enum avow_rc rc = avow_credential_make(
            &ek, vec_text("name"), avow_bytes_make(secret, CASES[i].secret_len), &id, &enc, &err);
        assert_rc(CASES[i].name, rc, CASES[i].want, &err);
        assert_true((rc == AVOW_OK) == (id.len && enc.len));
        assert_true((rc == AVOW_OK) || (!id.len && !enc.len));
    }
    EVP_PKEY_free(key);
}

/* The value of "key" as text, found without a JSON parser: the file is a plain list of hex strings.
 */
static bool next_string(const char **p, char *out, size_t cap)
{
    const char *start = strchr(*p, '"');
    const char *end = start ? strchr(start + 1, '"') : NULL;
    if (!end)
        return false;
    *p = end + 1;
    return avow_str_copy(out, cap, (struct avow_str){start + 1, (size_t)(end - start - 1)});
}

/* Keylime's own test makes its seed of bytes 0x12; only the part before the encrypted secret does
 * not depend on OAEP. */
static void test_seal__keylime_vector__is_byte_exact(void **state)
{
    (void)state;
    const char *dir = getenv("AVOW_KEYLIME_VECTORS");
    if (!dir) {
        print_message(
            "Keylime's vectors are absent: set AVOW_KEYLIME_VECTORS to compare with them\n");
        skip();
    }
    char path[512], text[4096];
    struct avow_err err = {0};
    VEC_BUF json, ek_bytes, secret, name, want, got;
    snprintf(path, sizeof path, "%s/vectors/makecredential.json", dir);
    avow_buf_init(&json, VEC_MAX);
    assert_rc(path, avow_file_read(path, &json, &err), AVOW_OK, &err);
    const char *p = strstr(avow_buf_cstr(&json), "\"args\"");
    assert_non_null(p);
    p += strlen("\"args\"");
    struct avow_buf *parts[] = {&ek_bytes, &secret, &name};
    for (size_t i = 0; i < 3; i++) {
        assert_true(next_string(&p, text, sizeof text));
        vec_hex(text, parts[i]);
    }
    assert_true(next_string(&p, text, sizeof text)); /* "result" */
    assert_true(next_string(&p, text, sizeof text));
    vec_hex(text, &want);
    AVOW_CLEANUP(avow_ek_free) struct avow_ek *ek = NULL;
    assert_rc("EK", avow_ek_parse(avow_buf_bytes(&ek_bytes), &ek, &err), AVOW_OK, &err);
    const struct avow_credential_ek c = avow_ek_credential(ek);
    uint8_t seed[32];
    memset(seed, 0x12, sizeof seed);
    avow_buf_init(&got, VEC_MAX);
    assert_rc("seal",
              avow_credential_seal(&c, avow_buf_bytes(&name), avow_buf_bytes(&secret),
                                   AVOW_BYTES_OF(seed), &got, &err),
              AVOW_OK, &err);
    assert_int_equal(got.len, 70);
    assert_true(want.len > 80);
    assert_memory_equal(got.ptr, want.ptr + 8, got.len); /* after tpm2-tools' magic and version */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kdf_a__every_hash_and_length__equals_kbkdf),
        cmocka_unit_test(test_kdf_e__every_hash_and_length__equals_sskdf),
        cmocka_unit_test(test_make__rsa_eks__private_key_opens),
        cmocka_unit_test(test_make__ec_eks__private_key_opens),
        cmocka_unit_test(test_make__bad_parameters__are_refused_and_write_nothing),
        cmocka_unit_test(test_seal__keylime_vector__is_byte_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
