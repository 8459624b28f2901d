/* test_key.c - our own P-256 keys: files, encodings, signatures. */
#include "vec.h"

#include "avow/crypto/key.h"

#include "key_internal.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <pthread.h>
#include <sys/stat.h>

#include "avow/base/banned.h"

/* n of P-256 */
static const uint8_t ORDER[32] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
                                  0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
                                  0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};

struct pair {
    struct avow_privkey *priv;
    struct avow_pubkey *pub;
};

static int setup(void **state)
{
    static struct pair p;
    struct avow_err err = {0};
    assert_rc("generate", avow_privkey_generate(&p.priv, &err), AVOW_OK, &err);
    assert_rc("spki", avow_pubkey_from_spki(avow_privkey_spki(p.priv), &p.pub, &err), AVOW_OK,
              &err);
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    struct pair *p = *state;
    avow_privkey_free(p->priv);
    avow_pubkey_free(p->pub);
    rmdir(vec_scratch());
    return 0;
}

/* out = n - s */
static void negate(const uint8_t s[32], uint8_t out[32])
{
    int borrow = 0;
    for (int i = 31; i >= 0; i--) {
        int d = ORDER[i] - s[i] - borrow;
        borrow = d < 0;
        out[i] = (uint8_t)(d + (borrow ? 256 : 0));
    }
}

static bool is_low(const uint8_t s[32])
{
    uint8_t other[32];
    negate(s, other);
    return avow_bytes_cmp(avow_bytes_make(s, 32), AVOW_BYTES_OF(other)) <= 0;
}

static void test_sign__many__verifies_low_s_and_random(void **state)
{
    const struct pair *p = *state;
    struct avow_err err = {0};
    uint8_t first[64], sig[64];
    for (unsigned i = 0; i < 64; i++) { /* without normalisation half of them would have a high S */
        assert_rc("sign", avow_privkey_sign(p->priv, vec_text("data"), i ? sig : first, &err),
                  AVOW_OK, &err);
        const uint8_t *got = i ? sig : first;
        assert_true(is_low(got + 32));
        assert_true(avow_pubkey_verify_p256(p->pub, vec_text("data"), got));
        assert_false(avow_pubkey_verify_p256(p->pub, vec_text("Data"), got));
    }
    assert_memory_not_equal(first, sig, 64);
    const struct avow_bytes pieces[] = {vec_text("da"), vec_text(""), vec_text("ta")};
    assert_true(avow_pubkey_verify_p256_pieces(p->pub, pieces, 3, sig));
    assert_rc("sign", avow_privkey_sign_pieces(p->priv, pieces, 3, sig, &err), AVOW_OK, &err);
    assert_true(avow_pubkey_verify_p256(p->pub, vec_text("data"), sig));
}

static void test_verify_p256__every_bit_flipped__is_false(void **state)
{
    const struct pair *p = *state;
    uint8_t sig[64];
    assert_int_equal(avow_privkey_sign(p->priv, vec_text("data"), sig, NULL), AVOW_OK);
    for (unsigned bit = 0; bit < 512; bit++) {
        sig[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(avow_pubkey_verify_p256(p->pub, vec_text("data"), sig));
        sig[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(avow_pubkey_verify_p256(p->pub, vec_text("data"),
                                        sig)); /* control, with the context all that used */
}

/* n - s is the same signature to ECDSA; to us it is none, or a proof would have two forms (PROTOCOL
 * R14). */
static void test_verify_p256__high_s__is_false(void **state)
{
    const struct pair *p = *state;
    uint8_t sig[64], high[64];
    assert_int_equal(avow_privkey_sign(p->priv, vec_text("data"), sig, NULL), AVOW_OK);
    memcpy(high, sig, 32);
    negate(sig + 32, high + 32);
    assert_false(avow_pubkey_verify_p256(p->pub, vec_text("data"), high));
    /* TPMs make either form, so there both are good: that shows that only the rule refused it. */
    const struct avow_sig tpm = {
        AVOW_SIG_ECDSA, AVOW_HASH_SHA256, {NULL, 0}, {high, 32}, {high + 32, 32}};
    assert_true(avow_pubkey_verify_tpm(p->pub, &tpm, vec_text("data")));
}

static void test_verify_p256__r_or_s_out_of_range__is_false(void **state)
{
    const struct pair *p = *state;
    uint8_t good[64], sig[64];
    assert_int_equal(avow_privkey_sign(p->priv, vec_text("data"), good, NULL), AVOW_OK);
    for (unsigned part = 0; part < 2; part++) {
        memcpy(sig, good, 64);
        memset(sig + 32 * part, 0, 32);
        assert_false(avow_pubkey_verify_p256(p->pub, vec_text("data"), sig));
        memcpy(sig + 32 * part, ORDER, 32);
        assert_false(avow_pubkey_verify_p256(p->pub, vec_text("data"), sig));
        memset(sig + 32 * part, 0xff, 32);
        assert_false(avow_pubkey_verify_p256(p->pub, vec_text("data"), sig));
    }
    memset(sig, 0, 64);
    assert_false(avow_pubkey_verify_p256(p->pub, vec_text("data"), sig));
}

static void test_verify_p256__other_key__is_false(void **state)
{
    const struct pair *p = *state;
    uint8_t sig[64];
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *other = NULL;
    assert_int_equal(avow_privkey_generate(&other, NULL), AVOW_OK);
    assert_int_equal(avow_privkey_sign(other, vec_text("data"), sig, NULL), AVOW_OK);
    assert_false(avow_pubkey_verify_p256(p->pub, vec_text("data"), sig));
}

static void test_privkey__saved_and_loaded__is_the_same_and_private(void **state)
{
    const struct pair *p = *state;
    struct avow_err err = {0};
    struct stat st;
    char path[128];
    uint8_t sig[64];
    vec_scratch_path("key.pem", path);
    assert_rc("save", avow_privkey_save(p->priv, path, &err), AVOW_OK, &err);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *again = NULL;
    assert_rc("load", avow_privkey_load(path, &again, &err), AVOW_OK, &err);
    assert_true(avow_bytes_eq(avow_privkey_spki(p->priv), avow_privkey_spki(again)));
    assert_int_equal(avow_privkey_sign(again, vec_text("data"), sig, NULL), AVOW_OK);
    assert_true(avow_pubkey_verify_p256(p->pub, vec_text("data"), sig));
    unlink(path);
}

/* PEM text of an OpenSSL key in one of several dresses. */
enum dress { PKCS8, SEC1, ENCRYPTED, PUBLIC };
static void evp_pem(EVP_PKEY *key, enum dress dress, struct avow_buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    int ok = 0;
    assert_non_null(key);
    if (dress == SEC1)
        ok = PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL);
    else if (dress == PUBLIC)
        ok = PEM_write_bio_PUBKEY(bio, key);
    else
        ok = PEM_write_bio_PKCS8PrivateKey(bio, key, dress == ENCRYPTED ? EVP_aes_128_cbc() : NULL,
                                           dress == ENCRYPTED ? "secret" : NULL,
                                           dress == ENCRYPTED ? 6 : 0, NULL, NULL);
    assert_int_equal(ok, 1);
    long n = BIO_get_mem_data(bio, &text);
    avow_buf_init(out, VEC_MAX);
    avow_buf_put(out, text, (size_t)n);
    BIO_free(bio);
    EVP_PKEY_free(key);
}

static void test_privkey_load__not_a_plain_p256_key__says_why(void **state)
{
    (void)state;
    static const struct {
        const char *name, *curve; /* NULL curve: RSA */
        enum dress dress;
        const char *says;
    } CASES[] = {
        {"p384", "P-384", PKCS8, "not on P-256"},
        {"secp256k1", "secp256k1", PKCS8, "not on P-256"},
        {"rsa", NULL, PKCS8, "not on P-256"},
        {"sec1", "P-256", SEC1, "\"EC PRIVATE KEY\""},
        {"encrypted", "P-256", ENCRYPTED, "\"ENCRYPTED PRIVATE KEY\""},
        {"public", "P-256", PUBLIC, "\"PUBLIC KEY\""},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        char path[128];
        VEC_BUF pem;
        struct avow_privkey *k = NULL;
        evp_pem(CASES[i].curve ? EVP_EC_gen(CASES[i].curve) : EVP_RSA_gen(2048), CASES[i].dress,
                &pem);
        vec_scratch_write(CASES[i].name, avow_buf_bytes(&pem), path);
        assert_rc(CASES[i].name, avow_privkey_load(path, &k, &err), AVOW_PARSE, &err);
        assert_null(k);
        assert_says(CASES[i].name, &err, CASES[i].says);
        assert_says(CASES[i].name, &err, path);
        unlink(path);
    }
}

static void test_privkey_load__garbage__is_parse_error(void **state)
{
    (void)state;
    static const char *const CASES[] = {
        "",
        "garbage",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nMIGH!!!!\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PRIVATE\nKEY-----\nMIGH\n-----END PRIVATE\nKEY-----\n",
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        char path[128];
        struct avow_privkey *k = NULL;
        vec_scratch_write("garbage", vec_text(CASES[i]), path);
        assert_rc(CASES[i], avow_privkey_load(path, &k, &err), AVOW_PARSE, &err);
        assert_null(k);
        unlink(path);
    }
    struct avow_err err = {0};
    struct avow_privkey *k = NULL;
    assert_rc("absent", avow_privkey_load("/nonexistent/key.pem", &k, &err), AVOW_IO, &err);
    assert_says("absent", &err, "/nonexistent/key.pem");
}

/* A bit flip in the file changes the scalar and not the public point: signing with it would only
 * make noise. */
static void test_privkey_load__scalar_does_not_fit_point__is_parse_error(void **state)
{
    const struct pair *p = *state;
    struct avow_err err = {0};
    char path[128];
    vec_scratch_path("flip.pem", path);
    assert_int_equal(avow_privkey_save(p->priv, path, NULL), AVOW_OK);
    VEC_BUF pem;
    avow_buf_init(&pem, VEC_MAX);
    assert_int_equal(avow_file_read(path, &pem, NULL), AVOW_OK);
    char *at = strchr((char *)pem.ptr, '\n') + 1 + 52; /* inside the scalar: DER bytes 36 to 68 */
    *at = *at == 'A' ? 'B' : 'A';
    vec_scratch_write("flip.pem", avow_buf_bytes(&pem), path);
    struct avow_privkey *k = NULL;
    assert_rc("flipped", avow_privkey_load(path, &k, &err), AVOW_PARSE, &err);
    assert_says("flipped", &err, "does not fit its public key");
    unlink(path);
}

static void test_pubkey__any_kind__same_bytes_as_openssl(void **state)
{
    (void)state;
    static const struct {
        const char *curve;
        unsigned bits;
        enum avow_key_kind kind;
    } CASES[] = {
        {"P-256", 256, AVOW_KEY_EC_P256}, {"P-384", 384, AVOW_KEY_EC_P384},
        {"P-521", 521, AVOW_KEY_EC_P521}, {NULL, 2048, AVOW_KEY_RSA},
        {NULL, 3072, AVOW_KEY_RSA},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        EVP_PKEY *key = CASES[i].curve ? EVP_EC_gen(CASES[i].curve) : EVP_RSA_gen(CASES[i].bits);
        unsigned char *der = NULL;
        int len = i2d_PUBKEY(key, &der);
        VEC_BUF pem;
        evp_pem(key, PUBLIC, &pem);
        AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *a = NULL;
        AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *b = NULL;
        assert_rc("spki", avow_pubkey_from_spki(avow_bytes_make(der, (size_t)len), &a, &err),
                  AVOW_OK, &err);
        assert_rc("pem", avow_pubkey_from_pem(avow_buf_bytes(&pem), &b, &err), AVOW_OK, &err);
        assert_true(avow_pubkey_eq(a, b));
        assert_int_equal(avow_pubkey_kind(a), CASES[i].kind);
        assert_int_equal(avow_pubkey_bits(a), CASES[i].bits);
        assert_true(avow_bytes_eq(avow_pubkey_spki(a), avow_bytes_make(der, (size_t)len)));
        VEC_BUF again;
        avow_buf_init(&again, VEC_MAX);
        assert_rc("to pem", avow_pubkey_pem(a, &again, &err), AVOW_OK, &err);
        assert_true(avow_bytes_eq(avow_buf_bytes(&pem), avow_buf_bytes(&again)));
        /* No prefix, nothing longer, no second form is the same key. */
        for (size_t n = 0; n < (size_t)len; n += 1 + n / 40) {
            struct avow_pubkey *k = NULL;
            assert_rc("cut", avow_pubkey_from_spki(avow_bytes_make(der, n), &k, &err), AVOW_PARSE,
                      &err);
        }
        OPENSSL_free(der);
    }
}

static void test_pubkey_from_spki__malformed__is_parse_error(void **state)
{
    const struct pair *p = *state;
    struct avow_bytes good = avow_privkey_spki(p->priv);
    struct {
        const char *name;
        size_t at;
        uint8_t xor ;
        bool append;
    } cases[] = {
        {"trailing byte", 0, 0, true},
        {"outer tag", 0, 1, false},
        {"outer length", 1, 1, false},
        {"algorithm", 12, 1, false},
        {"curve", 20, 1, false},
        {"unused bits", 25, 1, false},
        {"compressed marker", 26, 6, false},
        {"hybrid marker", 26, 2, false},
        {"off the curve", good.len - 1, 1, false},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_err err = {0};
        struct avow_pubkey *k = NULL;
        VEC_BUF b;
        avow_buf_init(&b, VEC_MAX);
        avow_buf_put(&b, good.ptr, good.len);
        if (cases[i].append)
            avow_buf_put_u8(&b, 0);
        b.ptr[cases[i].at] ^= cases[i].xor ;
        assert_rc(cases[i].name, avow_pubkey_from_spki(avow_buf_bytes(&b), &k, &err), AVOW_PARSE,
                  &err);
        assert_null(k);
    }
    /* The same key with a length in long form: valid BER, another key id. */
    VEC_BUF ber;
    avow_buf_init(&ber, VEC_MAX);
    avow_buf_put(&ber, "\x30\x81", 2);
    avow_buf_put(&ber, good.ptr + 1, good.len - 1);
    struct avow_pubkey *k = NULL;
    struct avow_err err = {0};
    assert_rc("long form", avow_pubkey_from_spki(avow_buf_bytes(&ber), &k, &err), AVOW_PARSE, &err);
    assert_says("long form", &err, "canonical");
}

static void test_pubkey_from_rsa__bad_numbers__are_parse_errors(void **state)
{
    (void)state;
    uint8_t n[520];
    memset(n, 0xc5, sizeof n);
    const struct {
        const char *name;
        size_t len, skip;
        uint8_t first, last;
        uint32_t e;
        enum avow_rc want;
    } CASES[] = {
        {"control", 256, 0, 0xc5, 0xc5, 0, AVOW_OK},
        {"control 4096", 512, 0, 0xc5, 0xc5, 65537, AVOW_OK},
        {"leading zeros", 257, 0, 0x00, 0xc5, 65537, AVOW_OK},
        {"2047 bits", 256, 0, 0x45, 0xc5, 65537, AVOW_PARSE},
        {"1024 bits", 128, 0, 0xc5, 0xc5, 65537, AVOW_PARSE},
        {"4104 bits", 513, 0, 0xc5, 0xc5, 65537, AVOW_PARSE},
        {"even", 256, 0, 0xc5, 0xc4, 65537, AVOW_PARSE},
        {"e = 3", 256, 0, 0xc5, 0xc5, 3, AVOW_PARSE},
        {"e = 1", 256, 0, 0xc5, 0xc5, 1, AVOW_PARSE},
        {"e even", 256, 0, 0xc5, 0xc5, 65538, AVOW_PARSE},
        {"empty", 0, 0, 0xc5, 0xc5, 65537, AVOW_PARSE},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        uint8_t copy[520];
        memcpy(copy, n, sizeof n);
        copy[0] = CASES[i].first;
        copy[CASES[i].len ? CASES[i].len - 1 : 0] = CASES[i].last;
        AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *k = NULL;
        assert_rc(CASES[i].name,
                  avow_pubkey_from_rsa(avow_bytes_make(copy, CASES[i].len), CASES[i].e, &k, &err),
                  CASES[i].want, &err);
        assert_true((CASES[i].want == AVOW_OK) == (k != NULL));
    }
}

static void test_pubkey_list_from_pem__blocks__counted_and_checked(void **state)
{
    const struct pair *p = *state;
    VEC_BUF one;
    avow_buf_init(&one, VEC_MAX);
    assert_int_equal(avow_pubkey_pem(p->pub, &one, NULL), AVOW_OK);
    const char *pem = avow_buf_cstr(&one);
    static const char CERT[] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    static const char SECRET[] = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    const struct {
        const char *name, *a, *b, *c;
        enum avow_rc want;
        size_t n;
    } CASES[] = {
        {"one", pem, "", "", AVOW_OK, 1},
        {"text around", "# root\n", pem, "end\n", AVOW_OK, 1},
        {"two", pem, "\r\n", pem, AVOW_OK, 2},
        {"none", "nothing", "", "", AVOW_PARSE, 0},
        {"certificate", pem, CERT, "", AVOW_PARSE, 0},
        {"private key", pem, SECRET, "", AVOW_PARSE, 0},
        {"unfinished", pem, "-----BEGIN PUBLIC KEY-----\nAAAA", "", AVOW_PARSE, 0},
        {"three", "", "", "", AVOW_LIMIT, 0},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        VEC_BUF text;
        avow_buf_init(&text, VEC_MAX);
        if (CASES[i].want == AVOW_LIMIT)
            for (int j = 0; j < 3; j++)
                avow_buf_put_str(&text, pem);
        avow_buf_put_str(&text, CASES[i].a);
        avow_buf_put_str(&text, CASES[i].b);
        avow_buf_put_str(&text, CASES[i].c);
        struct avow_pubkey *keys[2] = {NULL, NULL};
        size_t n = 77;
        assert_rc(CASES[i].name,
                  avow_pubkey_list_from_pem(avow_buf_bytes(&text), 2, keys, &n, &err),
                  CASES[i].want, &err);
        if (CASES[i].want)
            assert_true(n == 77 && !keys[0] && !keys[1]);
        else
            assert_int_equal(n, CASES[i].n);
        avow_pubkey_free(keys[0]);
        avow_pubkey_free(keys[1]);
        struct avow_pubkey *single = NULL;
        enum avow_rc want = CASES[i].n == 1 ? AVOW_OK : AVOW_PARSE;
        assert_rc(CASES[i].name, avow_pubkey_from_pem(avow_buf_bytes(&text), &single, &err), want,
                  &err);
        avow_pubkey_free(single);
    }
}

static void *use_key(void *arg)
{
    const struct pair *p = arg;
    uintptr_t bad = 0;
    uint8_t sig[64];
    for (int i = 0; i < 100; i++) {
        bad += avow_privkey_sign(p->priv, vec_text("data"), sig, NULL) != AVOW_OK;
        bad += !avow_pubkey_verify_p256(p->pub, vec_text("data"), sig);
        sig[10] ^= 1;
        bad += avow_pubkey_verify_p256(p->pub, vec_text("data"), sig);
    }
    return (void *)bad; /* NOLINT: a count */
}

static void test_keys__several_threads__share_one_key(void **state)
{
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_key, *state), 0);
    for (size_t i = 0; i < 4; i++) {
        void *bad = NULL;
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
}

/* The context that a key keeps has one user at a time; the others make their own. */
static void test_key_op__taken_twice__second_is_a_spare(void **state)
{
    const struct pair *p = *state;
    struct avow_key_op spare, other;
    struct avow_key_op *first = avow_key_op_take(p->pub->slot, &spare);
    assert_ptr_equal(first, &p->pub->slot->op);
    struct avow_key_op *second = avow_key_op_take(p->pub->slot, &other);
    assert_ptr_equal(second, &other);
    assert_null(other.ctx);
    assert_null(use_key(*state)); /* everybody works meanwhile */
    avow_key_op_give(p->pub->slot, second);
    assert_ptr_equal(avow_key_op_take(p->pub->slot, &other),
                     &other); /* giving a spare frees nothing else */
    avow_key_op_give(p->pub->slot, first);
    assert_ptr_equal(avow_key_op_take(p->pub->slot, &other), first);
    avow_key_op_give(p->pub->slot, first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sign__many__verifies_low_s_and_random),
        cmocka_unit_test(test_verify_p256__every_bit_flipped__is_false),
        cmocka_unit_test(test_verify_p256__high_s__is_false),
        cmocka_unit_test(test_verify_p256__r_or_s_out_of_range__is_false),
        cmocka_unit_test(test_verify_p256__other_key__is_false),
        cmocka_unit_test(test_privkey__saved_and_loaded__is_the_same_and_private),
        cmocka_unit_test(test_privkey_load__not_a_plain_p256_key__says_why),
        cmocka_unit_test(test_privkey_load__garbage__is_parse_error),
        cmocka_unit_test(test_privkey_load__scalar_does_not_fit_point__is_parse_error),
        cmocka_unit_test(test_pubkey__any_kind__same_bytes_as_openssl),
        cmocka_unit_test(test_pubkey_from_spki__malformed__is_parse_error),
        cmocka_unit_test(test_pubkey_from_rsa__bad_numbers__are_parse_errors),
        cmocka_unit_test(test_pubkey_list_from_pem__blocks__counted_and_checked),
        cmocka_unit_test(test_keys__several_threads__share_one_key),
        cmocka_unit_test(test_key_op__taken_twice__second_is_a_spare),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
