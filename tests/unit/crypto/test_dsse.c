/* test_dsse.c - envelopes around policies: Keylime's, OpenSSL's and our own. */
#include "vec.h"

#include "avow/crypto/dsse.h"
#include "avow/formats/dsse.h"

#include "failing_alloc.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "avow/base/banned.h"

#define PAYLOAD "{\"digests\":{}}"
#define PAE "DSSEv1 28 application/vnd.keylime+json 14 " PAYLOAD

static struct avow_pubkey *public_of(EVP_PKEY *pkey)
{
    struct avow_pubkey *pub = NULL;
    struct avow_err err = {0};
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(pkey, &der);
    assert_true(len > 0);
    assert_rc("spki", avow_pubkey_from_spki(avow_bytes_make(der, (size_t)len), &pub, &err), AVOW_OK,
              &err);
    OPENSSL_free(der);
    return pub;
}

/* A signature by OpenSSL over `text`, PSS if asked. */
static size_t sign_with(EVP_PKEY *pkey, const char *text, bool pss, uint8_t out[1024])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *kctx = NULL;
    size_t len = 1024;
    assert_int_equal(EVP_DigestSignInit(ctx, &kctx, EVP_sha256(), NULL, pkey), 1);
    if (pss)
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(kctx, RSA_PKCS1_PSS_PADDING), 1);
    assert_int_equal(EVP_DigestSign(ctx, out, &len, (const uint8_t *)text, strlen(text)), 1);
    EVP_MD_CTX_free(ctx);
    return len;
}

static void envelope_of(const uint8_t *sig, size_t len, struct avow_buf *out)
{
    avow_buf_init(out, 1u << 16);
    avow_buf_put_str(out, "{\"payload\":\"");
    avow_buf_put_base64(out, avow_bytes_make(PAYLOAD, sizeof PAYLOAD - 1));
    avow_buf_printf(out, "\",\"payloadType\":\"%s\",\"signatures\":[{\"sig\":\"",
                    AVOW_DSSE_PAYLOAD_TYPE);
    avow_buf_put_base64(out, avow_bytes_make(sig, len));
    avow_buf_put_str(out, "\"}]}");
}

static bool verify(struct avow_bytes text, const struct avow_pubkey *key)
{
    AVOW_CLEANUP_VAL(avow_dsse_deinit) struct avow_dsse d;
    struct avow_err err = {0};
    uint8_t pae[32];
    assert_rc("parse", avow_dsse_parse(text, &d, &err), AVOW_OK, &err);
    avow_dsse_pae_sha256(avow_buf_bytes(&d.payload), pae);
    return avow_dsse_verify(pae, avow_buf_bytes(&d.sigs), &key, 1, NULL);
}

/* Every kind of key against another implementation, and every bit of the signature matters. */
static void test_dsse_verify__keys_of_openssl__only_the_right_one(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool rsa, pss;
    } rows[] = {{"P-256", false, false},
                {"P-384", false, false},
                {"P-521", false, false},
                {"RSA", true, false},
                {"RSA", true, true}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(rows); i++) {
        EVP_PKEY *pkey = rows[i].rsa ? EVP_RSA_gen(2048) : EVP_EC_gen(rows[i].name);
        EVP_PKEY *other = rows[i].rsa ? EVP_RSA_gen(2048) : EVP_EC_gen(rows[i].name);
        assert_true(pkey && other);
        struct avow_pubkey *pub = public_of(pkey), *stranger = public_of(other);
        uint8_t sig[1024];
        size_t len = sign_with(pkey, PAE, rows[i].pss, sig);
        struct avow_buf good, bad;
        envelope_of(sig, len, &good);
        if (!verify(avow_buf_bytes(&good), pub) || verify(avow_buf_bytes(&good), stranger))
            fail_msg("%s %d", rows[i].name, rows[i].pss);
        for (size_t at = 0; at < len; at += rows[i].rsa ? 16 : 1) {
            sig[at] ^= 0x10;
            envelope_of(sig, len, &bad);
            sig[at] ^= 0x10;
            if (verify(avow_buf_bytes(&bad), pub))
                fail_msg("%s: byte %zu flipped, verifies", rows[i].name, at);
            avow_buf_deinit(&bad);
        }
        for (size_t cut = 1; cut < len; cut += 7) {
            envelope_of(sig, len - cut, &bad);
            assert_false(verify(avow_buf_bytes(&bad), pub));
            avow_buf_deinit(&bad);
        }
        len = sign_with(pkey, PAYLOAD, rows[i].pss, sig); /* not over the PAE */
        envelope_of(sig, len, &bad);
        assert_false(verify(avow_buf_bytes(&bad), pub));
        avow_buf_deinit(&bad);
        avow_buf_deinit(&good);
        avow_pubkey_free(pub);
        avow_pubkey_free(stranger);
        EVP_PKEY_free(pkey);
        EVP_PKEY_free(other);
    }
}

static void test_dsse_sign__verify__round_trip(void **state)
{
    (void)state;
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *key = NULL;
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *pub = NULL;
    struct avow_err err = {0};
    assert_rc("key", avow_privkey_generate(&key, &err), AVOW_OK, &err);
    assert_rc("pub", avow_pubkey_from_spki(avow_privkey_spki(key), &pub, &err), AVOW_OK, &err);
    for (unsigned i = 0; i < 200; i++) { /* r and s of every length that comes along */
        char payload[32];
        VEC_BUF text;
        avow_buf_init(&text, 4096);
        (void)snprintf(payload, sizeof payload, "{\"n\":%u}", i);
        assert_rc("sign", avow_dsse_sign(key, vec_text(payload), &text, &err), AVOW_OK, &err);
        assert_true(avow_dsse_is_envelope(avow_buf_bytes(&text)));
        if (!verify(avow_buf_bytes(&text), pub))
            fail_msg("%s", avow_buf_cstr(&text));
        AVOW_CLEANUP_VAL(avow_dsse_deinit) struct avow_dsse d;
        assert_rc("parse", avow_dsse_parse(avow_buf_bytes(&text), &d, &err), AVOW_OK, &err);
        assert_true(avow_bytes_eq(avow_buf_bytes(&d.payload), vec_text(payload)));
        d.payload.ptr[3] ^= 1;
        uint8_t pae[32];
        avow_dsse_pae_sha256(avow_buf_bytes(&d.payload), pae);
        const struct avow_pubkey *keys[] = {pub};
        assert_false(avow_dsse_verify(pae, avow_buf_bytes(&d.sigs), keys, 1, NULL));
    }
}

static void test_dsse_parse__refused__with_path_and_reason(void **state)
{
    (void)state;
#define TYPE "\"payloadType\":\"application/vnd.keylime+json\""
#define SIGS "\"signatures\":[{\"sig\":\"AAAA\"}]"
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"[]", "$: not an object"},
        {"{\"payload\":1," TYPE "," SIGS "}", "$.payload: not a string"},
        {"{\"payload\":\"\"," TYPE "," SIGS "}", "$.payload: empty"},
        {"{\"payload\":\"e30*\"," TYPE "," SIGS "}", "$.payload"},
        {"{\"payload\":\"e30\"," TYPE "," SIGS "}", "$.payload"},
        {"{\"payload\":\"e30=\",\"payload\":\"e30=\"," TYPE "," SIGS "}", "twice"},
        {"{\"payload\":\"e30=\",\"payloadType\":\"application/json\"," SIGS "}", "$.payloadType"},
        {"{\"payload\":\"e30=\"," SIGS "}", "is missing"},
        {"{\"payload\":\"e30=\"," TYPE "}", "is missing"},
        {"{\"payload\":\"e30=\"," TYPE ",\"signatures\":{}}", "$.signatures: not a list"},
        {"{\"payload\":\"e30=\"," TYPE ",\"signatures\":[]}", "$.signatures: empty"},
        {"{\"payload\":\"e30=\"," TYPE ",\"signatures\":[{\"keyid\":\"x\"}]}", "no sig"},
        {"{\"payload\":\"e30=\"," TYPE ",\"signatures\":[{\"sig\":\"\"}]}", "empty"},
        {"{\"payload\":\"e30=\"," TYPE ",\"signatures\":[{\"sig\":\"AAAA\",\"sig\":\"AAAA\"}]}",
         "duplicate"},
        {"{\"payload\":\"e30=\"," TYPE ",\"signatures\":[7]}", "$.signatures[0]: not an object"},
        {"{\"payload\":\"e30=\"," TYPE "," SIGS "} x", "line 1"},
        {"{\"payload\":\"e30=\"," TYPE "," SIGS, "line 1"},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(rows); i++) {
        struct avow_dsse d;
        struct avow_err err = {0};
        if (!avow_dsse_parse(vec_text(rows[i].text), &d, &err))
            fail_msg("accepted: %s", rows[i].text);
        assert_says(rows[i].text, &err, rows[i].says);
        assert_null(d.payload.ptr);
    }
}

static void test_dsse_parse__caps__limit(void **state)
{
    (void)state;
    VEC_BUF text;
    struct avow_dsse d;
    avow_buf_init(&text, 1u << 20);
    avow_buf_put_str(&text, "{\"payload\":\"e30=\"," TYPE ",\"signatures\":[{\"sig\":\"AAAA\"}");
    for (unsigned i = 0; i < AVOW_DSSE_SIGNATURES_MAX; i++)
        avow_buf_put_str(&text, ",{\"sig\":\"AAAA\"}");
    avow_buf_put_str(&text, "]}");
    assert_int_equal(avow_dsse_parse(avow_buf_bytes(&text), &d, NULL), AVOW_LIMIT);
    avow_buf_reset(&text);
    avow_buf_put_str(&text, "{\"payload\":\"e30=\"," TYPE ",\"signatures\":[{\"sig\":\"");
    for (unsigned i = 0; i <= AVOW_DSSE_SIG_LEN_MAX; i++)
        avow_buf_put_str(&text, "aa");
    avow_buf_put_str(&text, "\"}]}");
    assert_int_equal(avow_dsse_parse(avow_buf_bytes(&text), &d, NULL), AVOW_LIMIT);
}

static void test_dsse_parse__hex_and_url_alphabet__as_keylime_reads_them(void **state)
{
    (void)state;
    static const char *const sigs[] = {"fbefbe", "++++", "----", "FBEFBE"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(sigs); i++) {
        char text[256];
        struct avow_err err = {0};
        AVOW_CLEANUP_VAL(avow_dsse_deinit) struct avow_dsse d;
        (void)snprintf(text, sizeof text,
                       "{\"x\":[],\"payload\":\"e30=\"," TYPE
                       ",\"signatures\":[{\"sig\":\"AAAA\"},{\"cert\":{},\"sig\":\"%s\"}]}",
                       sigs[i]);
        assert_rc(text, avow_dsse_parse(vec_text(text), &d, &err), AVOW_OK, &err);
        assert_int_equal(d.sigs_count, 2);
        assert_hex(sigs[i], avow_dsse_sig(avow_buf_bytes(&d.sigs), 1), "fbefbe");
        assert_int_equal(avow_dsse_sig(avow_buf_bytes(&d.sigs), 2).len, 0);
        assert_hex("payload", avow_buf_bytes(&d.payload), "7b7d");
    }
}

static void test_dsse_is_envelope__by_the_first_key(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is;
    } rows[] = {{"{\"payload\":", true},
                {" \n{ \"payloadType\"", true},
                {"{\"signatures\":", true},
                {"{\"digests\":{}}", false},
                {"[\"payload\"]", false},
                {"{\"payload", false},
                {"{\"payloads\":1}", false},
                {"", false},
                {"{", false},
                {"payload", false}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(rows); i++) {
        if (avow_dsse_is_envelope(vec_text(rows[i].text)) != rows[i].is)
            fail_msg("%s", rows[i].text);
    }
}

static void test_dsse_parse__each_allocation_fails__nomem(void **state)
{
    (void)state;
    static const char text[] = "{\"payload\":\"e30=\"," TYPE
                               ",\"signatures\":[{\"sig\":\"++++\"},{\"sig\":\"--\\u002d-\"}]}";
    unsigned failures = 0;
    for (unsigned k = 1; k < 1000; k++) {
        struct avow_dsse d;
        failing_alloc_at = k;
        enum avow_rc rc = avow_dsse_parse(avow_bytes_make(text, sizeof text - 1), &d, NULL);
        bool reached = failing_alloc_at == 0;
        failing_alloc_at = 0;
        assert_int_equal(rc, reached ? AVOW_NOMEM : AVOW_OK);
        assert_true((rc == AVOW_OK) == (d.payload.ptr != NULL));
        avow_dsse_deinit(&d);
        if (!reached)
            break;
        failures++;
    }
    assert_true(failures > 4);
}

static void keylime(const char *name, struct avow_buf *out)
{
    char path[512];
    struct avow_err err = {0};
    snprintf(path, sizeof path, "%s/vectors/%s", getenv("AVOW_KEYLIME_VECTORS"), name);
    avow_buf_init(out, VEC_MAX);
    assert_rc(path, avow_file_read(path, out, &err), AVOW_OK, &err);
}

static void test_dsse_verify__keylimes_vectors__as_keylime_judges_them(void **state)
{
    (void)state;
    if (!getenv("AVOW_KEYLIME_VECTORS")) {
        print_message("AVOW_KEYLIME_VECTORS is not set: Keylime's envelopes are not checked\n");
        skip();
    }
    struct avow_buf good, bad, plain, pem;
    struct avow_err err = {0};
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *key = NULL;
    keylime("runtime-policy-test-signed.json", &good);
    keylime("runtime-policy-test-signed-bad.json", &bad);
    keylime("runtime-policy-test.json", &plain);
    keylime("runtime-policy-pubkey.pub", &pem);
    assert_rc("key", avow_pubkey_from_pem(avow_buf_bytes(&pem), &key, &err), AVOW_OK, &err);
    assert_true(avow_dsse_is_envelope(avow_buf_bytes(&good)));
    assert_true(verify(avow_buf_bytes(&good), key));
    struct avow_dsse d; /* its signature is cut, and no base64 any more */
    assert_int_equal(avow_dsse_parse(avow_buf_bytes(&bad), &d, &err), AVOW_PARSE);
    assert_says("bad", &err, "$.signatures[0]: sig");
    assert_false(avow_dsse_is_envelope(avow_buf_bytes(&plain)));
    print_message("2 envelopes of Keylime's judged\n");
    avow_buf_deinit(&good);
    avow_buf_deinit(&bad);
    avow_buf_deinit(&plain);
    avow_buf_deinit(&pem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dsse_verify__keys_of_openssl__only_the_right_one),
        cmocka_unit_test(test_dsse_sign__verify__round_trip),
        cmocka_unit_test(test_dsse_parse__refused__with_path_and_reason),
        cmocka_unit_test(test_dsse_parse__caps__limit),
        cmocka_unit_test(test_dsse_parse__hex_and_url_alphabet__as_keylime_reads_them),
        cmocka_unit_test(test_dsse_is_envelope__by_the_first_key),
        cmocka_unit_test(test_dsse_parse__each_allocation_fails__nomem),
        cmocka_unit_test(test_dsse_verify__keylimes_vectors__as_keylime_judges_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
