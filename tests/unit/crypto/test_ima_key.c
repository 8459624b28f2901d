/* test_ima_key.c - signatures that evmctl and a kernel made, key ids that they computed. */
#include "vec.h"

#include "avow/crypto/ima_key.h"
#include "avow/formats/ima_list.h"

#include "avow/base/banned.h"

struct found {
    struct avow_pubkey *key[4];
    uint32_t id[4];
    size_t n;
};

static enum avow_rc put(void *ctx, struct avow_pubkey *key, uint32_t id, struct avow_err *err)
{
    struct found *f = ctx;
    if (f->n == AVOW_ARRAY_LEN(f->key)) {
        avow_pubkey_free(key);
        return avow_err_set(err, AVOW_LIMIT, 0, "too many");
    }
    f->key[f->n] = key;
    f->id[f->n++] = id;
    return AVOW_OK;
}

static void load(const char *name, struct found *f)
{
    VEC_BUF in;
    struct avow_err err = {0};
    vec_read(name, &in);
    const struct avow_ima_key_sink sink = {f, put};
    if (avow_ima_key_read(avow_buf_bytes(&in), &sink, &err))
        fail_msg("%s: %s", name, err.msg);
}

static void drop(struct found *f)
{
    while (f->n)
        avow_pubkey_free(f->key[--f->n]);
}

static void test_key_read__keys_and_certificates__ids_of_evmctl(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        uint32_t id;
    } cases[] = {
        {"ima/keys/ima_rsa.cert.der", 0x9d893773},    {"ima/keys/ima_rsa.pub.pem", 0x9d893773},
        {"ima/keys/ima_ec.cert.der", 0x5a86fc72},     {"ima/keys/ima_ec.pub.pem", 0x5a86fc72},
        {"ima/keys/ima_unk.cert.der", 0x423ea89a},    {"ima/keys/evmctl_rsa.pub.pem", 0xff277a81},
        {"ima/keys/evmctl_p384.pub.pem", 0x009a2122},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct found f = {.n = 0};
        load(cases[i].file, &f);
        assert_int_equal(f.n, 1);
        assert_int_equal(f.id[0], cases[i].id);
        drop(&f);
    }
}

static void test_key_read__what_is_no_key__parse_error(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "x",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "0\x82\x01\x01"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct found f = {.n = 0};
        const struct avow_ima_key_sink sink = {&f, put};
        assert_int_equal(
            avow_ima_key_read(avow_bytes_make(cases[i], strlen(cases[i])), &sink, NULL),
            AVOW_PARSE);
        assert_int_equal(f.n, 0);
    }
}

/* What an independent implementation says about the signatures of a real list. */
static void test_sig_verify__list_of_a_real_kernel__same_verdicts(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool known, good;
    } want[] = {
        {"/usr/local/bin/sig_bad", true, false},      {"/usr/local/bin/sig_ecdsa", true, true},
        {"/usr/local/bin/sig_ecdsa384", true, true},  {"/usr/local/bin/sig_rsa", true, true},
        {"/usr/local/bin/sig_rsa1", true, true},      {"/usr/local/bin/sig_rsa384", true, true},
        {"/usr/local/bin/sig_rsa512", true, true},    {"/usr/local/bin/sig_script.sh", true, true},
        {"/usr/local/bin/sig_stale", true, true},     {"/usr/local/bin/sig_stale2", true, false},
        {"/usr/local/bin/sig_unknown", false, false},
    };
    struct found keys = {.n = 0};
    load("ima/keys/ima_rsa.cert.der", &keys);
    load("ima/keys/ima_ec.cert.der", &keys);
    VEC_BUF in;
    vec_read("ima/m5-c1.ima", &in);
    struct avow_rd r = avow_rd_make(avow_buf_bytes(&in));
    struct avow_ima_entry e;
    size_t n = 0;
    while (avow_ima_entry_next(&r, &e) == AVOW_IMA_ENTRY) {
        struct avow_ima_file f;
        struct avow_ima_sig sig;
        enum avow_hash hash;
        assert_int_equal(avow_ima_file_parse(&e, &f, NULL), AVOW_OK);
        if (!f.signature.len)
            continue;
        assert_int_equal(avow_ima_sig_parse(f.signature, &sig, NULL), AVOW_OK);
        assert_true(avow_hash_from_name(f.hash_alg, &hash));
        assert_in_range(n, 0, AVOW_ARRAY_LEN(want) - 1);
        bool known = false, good = false;
        for (size_t k = 0; k < keys.n; k++) {
            known |= keys.id[k] == sig.key_id;
            good |=
                keys.id[k] == sig.key_id && avow_ima_sig_verify(keys.key[k], &sig, hash, f.digest);
        }
        if (!avow_str_is(f.path, want[n].path) || known != want[n].known || good != want[n].good)
            fail_msg("signature %zu of %.*s: %d %d", n, (int)f.path.len, f.path.ptr, known, good);
        n++;
    }
    assert_int_equal(n, AVOW_ARRAY_LEN(want));
    drop(&keys);
}

static void test_sig_verify__versions_2_and_3__over_their_own_digest_only(void **state)
{
    (void)state;
    static const struct {
        const char *key, *v2, *v3;
    } cases[] = {
        {"ima/keys/evmctl_rsa.pub.pem", "ima/keys/evmctl_rsa.v2", "ima/keys/evmctl_rsa.v3"},
        {"ima/keys/evmctl_p384.pub.pem", "ima/keys/evmctl_p384.v2", "ima/keys/evmctl_p384.v3"},
    };
    static const uint8_t zeros[100];
    uint8_t digest[AVOW_SHA256_LEN];
    avow_sha256(AVOW_BYTES_OF(zeros), digest);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        for (size_t v = 0; v < 2; v++) {
            struct found k = {.n = 0};
            struct avow_ima_sig s;
            VEC_BUF in;
            load(cases[i].key, &k);
            vec_read(v ? cases[i].v3 : cases[i].v2, &in);
            assert_int_equal(avow_ima_sig_parse(avow_buf_bytes(&in), &s, NULL), AVOW_OK);
            assert_int_equal(s.kind, v ? AVOW_IMA_SIG_OF_VERITY : AVOW_IMA_SIG_OF_FILE);
            assert_true(avow_ima_sig_verify(k.key[0], &s, AVOW_HASH_SHA256, AVOW_BYTES_OF(digest)));
            assert_false(
                avow_ima_sig_verify(k.key[0], &s, AVOW_HASH_SHA384, AVOW_BYTES_OF(digest)));
            assert_false(
                avow_ima_sig_verify(k.key[0], &s, AVOW_HASH_SHA256, avow_bytes_make(digest, 31)));
            for (size_t bit = 0; bit < 8 * sizeof digest; bit += 37) {
                digest[bit / 8] ^= (uint8_t)(1 << bit % 8);
                assert_false(
                    avow_ima_sig_verify(k.key[0], &s, AVOW_HASH_SHA256, AVOW_BYTES_OF(digest)));
                digest[bit / 8] ^= (uint8_t)(1 << bit % 8);
            }
            s.kind = v ? AVOW_IMA_SIG_OF_FILE : AVOW_IMA_SIG_OF_VERITY;
            assert_false(
                avow_ima_sig_verify(k.key[0], &s, AVOW_HASH_SHA256, AVOW_BYTES_OF(digest)));
            drop(&k);
        }
    }
}

static void test_sig_verify__any_byte_of_the_signature_changed__false(void **state)
{
    (void)state;
    static const uint8_t zeros[100];
    uint8_t digest[AVOW_SHA256_LEN];
    avow_sha256(AVOW_BYTES_OF(zeros), digest);
    struct found k = {.n = 0};
    VEC_BUF in;
    load("ima/keys/evmctl_p384.pub.pem", &k);
    vec_read("ima/keys/evmctl_p384.v2", &in);
    for (size_t i = 9; i < in.len; i++) {
        struct avow_ima_sig s;
        in.ptr[i] ^= 1;
        assert_int_equal(avow_ima_sig_parse(avow_buf_bytes(&in), &s, NULL), AVOW_OK);
        if (avow_ima_sig_verify(k.key[0], &s, AVOW_HASH_SHA256, AVOW_BYTES_OF(digest)))
            fail_msg("byte %zu", i);
        in.ptr[i] ^= 1;
    }
    drop(&k);
}

static void test_sig_parse__malformed_or_other__refused(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        enum avow_rc want;
    } cases[] = {
        {"", AVOW_PARSE},
        {"03", AVOW_PARSE},
        {"030204", AVOW_PARSE},
        {"0302049d8937730001", AVOW_PARSE}, /* shorter than it says */
        {"0302049d8937730001aa", AVOW_OK},
        {"0302049d8937730001aabb", AVOW_PARSE}, /* longer */
        {"0302049d8937730000", AVOW_PARSE},     /* none */
        {"0301049d8937730001aa", AVOW_REFUSED}, /* version 1 */
        {"0303049d8937730001aa", AVOW_REFUSED},
        {"0602049d8937730001aa", AVOW_REFUSED}, /* fs-verity is signed by version 3 only */
        {"0603049d8937730001aa", AVOW_OK},
        {"0502049d8937730001aa", AVOW_REFUSED}, /* EVM */
        {"0404f3f2905a8af34051", AVOW_REFUSED}, /* a digest */
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        VEC_BUF in;
        struct avow_ima_sig s = {.key_id = 1};
        vec_hex(cases[i].hex, &in);
        if (avow_ima_sig_parse(avow_buf_bytes(&in), &s, NULL) != cases[i].want)
            fail_msg("case %zu", i);
        assert_int_equal(s.key_id, cases[i].want ? 1 : 0x9d893773);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_read__keys_and_certificates__ids_of_evmctl),
        cmocka_unit_test(test_key_read__what_is_no_key__parse_error),
        cmocka_unit_test(test_sig_verify__list_of_a_real_kernel__same_verdicts),
        cmocka_unit_test(test_sig_verify__versions_2_and_3__over_their_own_digest_only),
        cmocka_unit_test(test_sig_verify__any_byte_of_the_signature_changed__false),
        cmocka_unit_test(test_sig_parse__malformed_or_other__refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
