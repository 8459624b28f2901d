/* test_ak.c - names, and what an AK and an EK must look like (PROTOCOL R27; AI3). */
#include "vec.h"

#include "avow/crypto/ak.h"

#include "avow/base/banned.h"

static void read_key(const char *name, const char *suffix, struct avow_buf *out)
{
    char path[128];
    snprintf(path, sizeof path, "m1-direct/%s.%s", name, suffix);
    vec_read(path, out);
}

static void test_name_of__captured_keys__equal_the_tpm(void **state)
{
    (void)state;
    static const char *const KEYS[] = {"keys/ak_rsa",      "keys/ak_pss",     "keys/ak_ecc",
                                       "keys/ak_p384",     "keys/ek_rsa",     "keys/ek_ecc",
                                       "ek/ek_0x81010001", "ek/ek_0x81010016"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(KEYS); i++) {
        struct avow_err err = {0};
        struct avow_tpm_name got;
        VEC_BUF pub, want;
        read_key(KEYS[i], "tpm2b_public", &pub);
        read_key(KEYS[i], "name", &want);
        assert_rc(KEYS[i], avow_tpm_name_of(avow_buf_bytes(&pub), &got, &err), AVOW_OK, &err);
        if (!avow_bytes_eq(avow_tpm_name_bytes(&got), avow_buf_bytes(&want)))
            fail_msg("%s: wrong name", KEYS[i]);
    }
}

static void test_qualified_name__captured_keys__equal_the_tpm(void **state)
{
    (void)state;
    static const struct {
        const char *key, *parent;
    } CASES[] = {{"keys/ek_rsa", NULL},          {"keys/ek_ecc", NULL},
                 {"keys/ak_rsa", "keys/ek_rsa"}, {"keys/ak_pss", "keys/ek_rsa"},
                 {"keys/ak_ecc", "keys/ek_ecc"}, {"keys/ak_p384", "keys/ek_rsa"}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_tpm_name names[2], got;
        const struct avow_tpm_name *path[2] = {&names[0], &names[1]};
        size_t n = 0;
        VEC_BUF pub, want;
        if (CASES[i].parent) {
            VEC_BUF parent;
            read_key(CASES[i].parent, "tpm2b_public", &parent);
            assert_int_equal(avow_tpm_name_of(avow_buf_bytes(&parent), &names[n++], NULL), AVOW_OK);
        }
        read_key(CASES[i].key, "tpm2b_public", &pub);
        read_key(CASES[i].key, "qname", &want);
        assert_int_equal(avow_tpm_name_of(avow_buf_bytes(&pub), &names[n++], NULL), AVOW_OK);
        avow_tpm_qualified_name(path, n, &got);
        if (!avow_bytes_eq(avow_tpm_name_bytes(&got), avow_buf_bytes(&want)))
            fail_msg("%s under %s: wrong qualified name", CASES[i].key,
                     CASES[i].parent ? CASES[i].parent : "endorsement");
    }
}

static void test_ak_parse__captured_aks__scheme_hash_and_key(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        enum avow_sig_scheme scheme;
        enum avow_hash hash;
        enum avow_key_kind kind;
    } CASES[] = {{"keys/ak_rsa", AVOW_SIG_RSASSA, AVOW_HASH_SHA256, AVOW_KEY_RSA},
                 {"keys/ak_pss", AVOW_SIG_RSAPSS, AVOW_HASH_SHA256, AVOW_KEY_RSA},
                 {"keys/ak_ecc", AVOW_SIG_ECDSA, AVOW_HASH_SHA256, AVOW_KEY_EC_P256},
                 {"keys/ak_p384", AVOW_SIG_ECDSA, AVOW_HASH_SHA384, AVOW_KEY_EC_P384}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        VEC_BUF pub, name, want_pem, pem;
        read_key(CASES[i].key, "tpm2b_public", &pub);
        read_key(CASES[i].key, "name", &name);
        read_key(CASES[i].key, "pem", &want_pem);
        AVOW_CLEANUP(avow_ak_free) struct avow_ak *ak = NULL;
        assert_rc(CASES[i].key, avow_ak_parse(avow_buf_bytes(&pub), &ak, &err), AVOW_OK, &err);
        assert_int_equal(avow_ak_scheme(ak), CASES[i].scheme);
        assert_int_equal(avow_ak_hash(ak), CASES[i].hash);
        assert_int_equal(avow_pubkey_kind(avow_ak_key(ak)), CASES[i].kind);
        assert_true(avow_bytes_eq(avow_tpm_name_bytes(avow_ak_name(ak)), avow_buf_bytes(&name)));
        avow_buf_init(&pem, VEC_MAX);
        assert_rc("pem", avow_pubkey_pem(avow_ak_key(ak), &pem, &err), AVOW_OK, &err);
        assert_true(avow_bytes_eq(avow_buf_bytes(&pem), avow_buf_bytes(&want_pem)));
        struct avow_ek *ek = NULL; /* an AK is no EK */
        assert_rc("as EK", avow_ek_parse(avow_buf_bytes(&pub), &ek, &err), AVOW_REFUSED, &err);
        assert_null(ek);
    }
}

/* Offsets in a TPM2B_PUBLIC without authPolicy: size 0, type 2, nameAlg 4, attributes 6, policy
 * size 10, then parameters. */
enum { AT_NAME_ALG = 4, AT_ATTRIBUTES = 6, AT_AK_SYM = 12, AT_AK_SCHEME = 14, AT_AK_HASH = 16 };

static void put16(struct avow_buf *b, size_t at, unsigned v)
{
    avow_put_u16be(b->ptr + at, (uint16_t)v);
}

static void flip32(struct avow_buf *b, uint32_t bit)
{
    uint8_t *p = b->ptr + AT_ATTRIBUTES;
    for (int i = 0; i < 4; i++)
        p[i] ^= (uint8_t)(bit >> (24 - 8 * i));
}

static void test_ak_parse__one_rule_broken__is_refused_with_its_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t flip;
        size_t at;
        unsigned value;
        enum avow_rc want;
    } CASES[] = {
        {"fixedTPM", 0x00000002, 0, 0, AVOW_REFUSED},
        {"fixedParent", 0x00000010, 0, 0, AVOW_REFUSED},
        {"sensitiveDataOrigin", 0x00000020, 0, 0, AVOW_REFUSED},
        {"restricted", 0x00010000, 0, 0, AVOW_REFUSED},
        {"decrypt", 0x00020000, 0, 0, AVOW_REFUSED},
        {"sign", 0x00040000, 0, 0, AVOW_REFUSED},
        {"nameAlg", 0, AT_NAME_ALG, 0x0004, AVOW_REFUSED},
        {"nameAlg", 0, AT_NAME_ALG, 0x0012, AVOW_REFUSED}, /* SM3 */
        {"hash", 0, AT_AK_HASH, 0x0012, AVOW_REFUSED},
        {"scheme", 0, AT_AK_SCHEME, 0x0017, AVOW_REFUSED}, /* OAEP */
        {"", 0, AT_AK_SCHEME, 0x0010, AVOW_PARSE}, /* null scheme: the hash becomes keyBits */
        {"", 0, 2, 0x0008, AVOW_PARSE},            /* keyed hash */
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        VEC_BUF pub;
        read_key("keys/ak_rsa", "tpm2b_public", &pub);
        if (CASES[i].flip)
            flip32(&pub, CASES[i].flip);
        else
            put16(&pub, CASES[i].at, CASES[i].value);
        struct avow_ak *ak = NULL;
        assert_rc(CASES[i].name, avow_ak_parse(avow_buf_bytes(&pub), &ak, &err), CASES[i].want,
                  &err);
        assert_null(ak);
        assert_says(CASES[i].name, &err, CASES[i].name);
    }
}

static void test_ak_parse__null_scheme__is_refused(void **state)
{
    (void)state;
    struct avow_err err = {0};
    VEC_BUF pub, cut;
    read_key("keys/ak_rsa", "tpm2b_public", &pub);
    avow_buf_init(&cut, VEC_MAX); /* scheme null has no hash after it: two bytes less */
    avow_buf_put(&cut, pub.ptr, AT_AK_HASH);
    avow_buf_put(&cut, pub.ptr + AT_AK_HASH + 2, pub.len - AT_AK_HASH - 2);
    put16(&cut, AT_AK_SCHEME, 0x0010);
    put16(&cut, 0, (unsigned)(cut.len - 2));
    struct avow_ak *ak = NULL;
    assert_rc("null scheme", avow_ak_parse(avow_buf_bytes(&cut), &ak, &err), AVOW_REFUSED, &err);
    assert_says("null scheme", &err, "scheme 0x0010");
}

static void test_ak_parse__unrestricted_captured_key__is_refused(void **state)
{
    (void)state;
    struct avow_err err = {0};
    VEC_BUF pub;
    read_key("keys/unrestricted", "tpm2b_public", &pub); /* AQ8 */
    struct avow_ak *ak = NULL;
    assert_rc("unrestricted", avow_ak_parse(avow_buf_bytes(&pub), &ak, &err), AVOW_REFUSED, &err);
    assert_says("unrestricted", &err, "restricted");
}

static void test_ak_parse__small_rsa_key__is_refused(void **state)
{
    (void)state;
    struct avow_err err = {0};
    VEC_BUF pub;
    read_key("keys/ak_rsa", "tpm2b_public", &pub);
    put16(&pub, 0, 280 - 128);
    put16(&pub, 18, 1024); /* keyBits */
    put16(&pub, 24, 128);  /* size of the modulus */
    struct avow_ak *ak = NULL;
    enum avow_rc rc = avow_ak_parse(avow_bytes_make(pub.ptr, 282 - 128), &ak, &err);
    assert_rc("1024", rc, AVOW_PARSE, &err);
    assert_says("1024", &err, "bits");
}

static void test_ak_parse__every_prefix__is_parse_error(void **state)
{
    (void)state;
    VEC_BUF pub;
    read_key("keys/ak_ecc", "tpm2b_public", &pub);
    for (size_t n = 0; n < pub.len; n++) {
        struct avow_err err = {0};
        struct avow_ak *ak = NULL;
        assert_rc("prefix", avow_ak_parse(avow_bytes_make(pub.ptr, n), &ak, &err), AVOW_PARSE,
                  &err);
    }
    avow_buf_put_u8(&pub, 0);
    struct avow_err err = {0};
    struct avow_ak *ak = NULL;
    assert_rc("trailing", avow_ak_parse(avow_buf_bytes(&pub), &ak, &err), AVOW_PARSE, &err);
    pub.ptr[pub.len - 2] ^= 1; /* last byte of y: off the curve */
    assert_rc("off the curve", avow_ak_parse(avow_bytes_make(pub.ptr, pub.len - 1), &ak, &err),
              AVOW_PARSE, &err);
    assert_says("off the curve", &err, "not a point");
}

static void test_ek_parse__captured_eks__credential_parameters_and_id(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        enum avow_hash name_alg;
        unsigned aes_bits;
        const char *id; /* sha256sum of the .pem file, NULL: not looked at */
    } CASES[] = {
        {"ek/ek_0x81010001", AVOW_HASH_SHA256, 128,
         "ac634627eda73a8aee969b435254f0aec4eece652552fcc13e25310c0f6a4242"},
        {"ek/ek_0x81010016", AVOW_HASH_SHA384, 256,
         "716c84b1ae02145e2015bac5c550568e1be91855c6657c30d919ee75ba97df5b"},
        {"keys/ek_rsa", AVOW_HASH_SHA256, 128, NULL},
        {"keys/ek_ecc", AVOW_HASH_SHA256, 128, NULL},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        VEC_BUF pub;
        char id[65];
        read_key(CASES[i].key, "tpm2b_public", &pub);
        AVOW_CLEANUP(avow_ek_free) struct avow_ek *ek = NULL;
        assert_rc(CASES[i].key, avow_ek_parse(avow_buf_bytes(&pub), &ek, &err), AVOW_OK, &err);
        struct avow_credential_ek c = avow_ek_credential(ek);
        assert_ptr_equal(c.key, avow_ek_key(ek));
        assert_int_equal(c.name_alg, CASES[i].name_alg);
        assert_int_equal(c.aes_bits, CASES[i].aes_bits);
        assert_rc("id", avow_ek_hash_id(ek, id, &err), AVOW_OK, &err);
        if (CASES[i].id)
            assert_string_equal(id, CASES[i].id);
        struct avow_ak *ak = NULL; /* an EK is no AK */
        assert_rc("as AK", avow_ak_parse(avow_buf_bytes(&pub), &ak, &err), AVOW_REFUSED, &err);
        assert_null(ak);
    }
}

/* The high-range templates allow the user role by password, too; vendors' own have more freedom. */
static void test_ek_parse__attributes_that_templates_differ_in__are_accepted(void **state)
{
    (void)state;
    static const uint32_t FLIPS[] = {0x00000040, 0x00000080,
                                     0x00000400}; /* userWithAuth,
                                                     adminWithPolicy, noDA */
    for (size_t i = 0; i < AVOW_ARRAY_LEN(FLIPS); i++) {
        struct avow_err err = {0};
        VEC_BUF pub;
        read_key("ek/ek_0x81010001", "tpm2b_public", &pub);
        flip32(&pub, FLIPS[i]);
        AVOW_CLEANUP(avow_ek_free) struct avow_ek *ek = NULL;
        assert_rc("EK", avow_ek_parse(avow_buf_bytes(&pub), &ek, &err), AVOW_OK, &err);
    }
}

/* As a vendor's template with a password only; and a key that nobody could use. */
static void test_ek_parse__no_policy__needs_user_with_auth(void **state)
{
    (void)state;
    enum { POLICY = 10, POLICY_LEN = 32 };
    for (int with_auth = 0; with_auth < 2; with_auth++) {
        struct avow_err err = {0};
        VEC_BUF pub;
        read_key("ek/ek_0x81010001", "tpm2b_public", &pub);
        if (with_auth)
            flip32(&pub, 0x00000040);
        memmove(pub.ptr + POLICY + 2, pub.ptr + POLICY + 2 + POLICY_LEN,
                pub.len - POLICY - 2 - POLICY_LEN);
        pub.len -= POLICY_LEN;
        put16(&pub, POLICY, 0);
        put16(&pub, 0, (unsigned)pub.len - 2);
        AVOW_CLEANUP(avow_ek_free) struct avow_ek *ek = NULL;
        assert_rc("EK", avow_ek_parse(avow_buf_bytes(&pub), &ek, &err),
                  with_auth ? AVOW_OK : AVOW_REFUSED, &err);
        if (!with_auth)
            assert_says("EK", &err, "authPolicy of 0 bytes");
    }
}

static void test_ek_parse__one_rule_broken__is_refused_with_its_name(void **state)
{
    (void)state;
    enum {
        SYM = 12 + 32,
        SYM_BITS = SYM + 2,
        SYM_MODE = SYM + 4,
        SCHEME = SYM + 6
    }; /* after the 32 bytes of authPolicy */
    static const struct {
        const char *name;
        uint32_t flip;
        size_t at;
        unsigned value;
        enum avow_rc want;
    } CASES[] = {
        {"fixedTPM", 0x00000002, 0, 0, AVOW_REFUSED},
        {"fixedParent", 0x00000010, 0, 0, AVOW_REFUSED},
        {"sensitiveDataOrigin", 0x00000020, 0, 0, AVOW_REFUSED},
        {"restricted", 0x00010000, 0, 0, AVOW_REFUSED},
        {"decrypt", 0x00020000, 0, 0, AVOW_REFUSED},
        {"sign", 0x00040000, 0, 0, AVOW_REFUSED},
        {"stClear", 0x00000004, 0, 0, AVOW_REFUSED},
        {"encryptedDuplication", 0x00000800, 0, 0, AVOW_REFUSED},
        {"attributes 0x00000001", 0x00000001, 0, 0, AVOW_REFUSED}, /* reserved */
        {"attributes 0x00080000", 0x00080000, 0, 0, AVOW_REFUSED}, /* x509sign */
        {"nameAlg", 0, AT_NAME_ALG, 0x0004, AVOW_REFUSED},
        {"authPolicy of 32 bytes", 0, AT_NAME_ALG, 0x000C, AVOW_REFUSED},
        {"symmetric", 0, SYM, 0x0013, AVOW_REFUSED}, /* SM4 */
        {"symmetric", 0, SYM_BITS, 512, AVOW_REFUSED},
        {"symmetric", 0, SYM_MODE, 0x0042, AVOW_REFUSED}, /* CBC */
        {"scheme", 0, SCHEME, 0x0015, AVOW_REFUSED},      /* RSAES */
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        VEC_BUF pub;
        read_key("ek/ek_0x81010001", "tpm2b_public", &pub);
        if (CASES[i].flip)
            flip32(&pub, CASES[i].flip);
        else
            put16(&pub, CASES[i].at, CASES[i].value);
        struct avow_ek *ek = NULL;
        assert_rc(CASES[i].name, avow_ek_parse(avow_buf_bytes(&pub), &ek, &err), CASES[i].want,
                  &err);
        assert_null(ek);
        assert_says(CASES[i].name, &err, CASES[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_of__captured_keys__equal_the_tpm),
        cmocka_unit_test(test_qualified_name__captured_keys__equal_the_tpm),
        cmocka_unit_test(test_ak_parse__captured_aks__scheme_hash_and_key),
        cmocka_unit_test(test_ak_parse__one_rule_broken__is_refused_with_its_name),
        cmocka_unit_test(test_ak_parse__null_scheme__is_refused),
        cmocka_unit_test(test_ak_parse__unrestricted_captured_key__is_refused),
        cmocka_unit_test(test_ak_parse__small_rsa_key__is_refused),
        cmocka_unit_test(test_ak_parse__every_prefix__is_parse_error),
        cmocka_unit_test(test_ek_parse__captured_eks__credential_parameters_and_id),
        cmocka_unit_test(test_ek_parse__attributes_that_templates_differ_in__are_accepted),
        cmocka_unit_test(test_ek_parse__no_policy__needs_user_with_auth),
        cmocka_unit_test(test_ek_parse__one_rule_broken__is_refused_with_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
