/* test_cert.c - reading certificates: DER, PEM, base64, padding, names, keys. */
#include "ca.h"

#include "avow/base/banned.h"

static const struct ca_spec SPEC = {.cn = "A certificate", .basic = "critical,CA:FALSE"};
static struct ca_cert made;
static struct avow_buf der; /* of it */

static int setup(void **state)
{
    (void)state;
    made = ca_make(&SPEC, EVP_EC_gen("P-256"), NULL);
    avow_buf_init(&der, VEC_MAX);
    ca_der(&made, &der);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ca_free(&made);
    avow_buf_deinit(&der);
    return 0;
}

static void test_from_der__what_follows__padding_only(void **state)
{
    (void)state;
    static const struct {
        const char *name, *hex;
        enum avow_rc want;
    } CASES[] = {
        {"nothing", "", AVOW_OK},
        {"zeros", "000000000000", AVOW_OK},
        {"erased NV", "ffffffff", AVOW_OK},
        {"other byte", "01", AVOW_PARSE},
        {"mixed", "00ff", AVOW_PARSE},
        {"more DER", "300030", AVOW_PARSE},
        {"zeros, then data", "0000000a", AVOW_PARSE},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        VEC_BUF in, tail;
        vec_hex(CASES[i].hex, &tail);
        avow_buf_init(&in, VEC_MAX);
        avow_buf_put(&in, der.ptr, der.len);
        avow_buf_put(&in, tail.ptr, tail.len);
        AVOW_CLEANUP(avow_cert_free) struct avow_cert *c = NULL;
        assert_rc(CASES[i].name, avow_cert_from_der(avow_buf_bytes(&in), &c, &err), CASES[i].want,
                  &err);
        if (c)
            assert_true(
                avow_bytes_eq(avow_cert_der(c), avow_buf_bytes(&der))); /* without the padding */
    }
}

static void test_from_der__every_prefix__is_parse_error(void **state)
{
    (void)state;
    for (size_t n = 0; n < der.len; n++) {
        struct avow_err err = {0};
        struct avow_cert *c = NULL;
        assert_rc("prefix", avow_cert_from_der(avow_bytes_make(der.ptr, n), &c, &err), AVOW_PARSE,
                  &err);
        assert_null(c);
    }
}

static void test_from_der__too_large__is_limit(void **state)
{
    (void)state;
    struct avow_err err = {0};
    struct avow_cert *c = NULL;
    static uint8_t big[AVOW_CERT_MAX + 1];
    memcpy(big, der.ptr, der.len);
    assert_rc("at the limit", avow_cert_from_der(avow_bytes_make(big, AVOW_CERT_MAX), &c, &err),
              AVOW_OK, &err);
    avow_cert_free(c);
    c = NULL;
    assert_rc("above", avow_cert_from_der(avow_bytes_make(big, AVOW_CERT_MAX + 1), &c, &err),
              AVOW_LIMIT, &err);
    assert_null(c);
}

static void put_pem(struct avow_buf *out, const char *label)
{
    avow_buf_printf(out, "-----BEGIN %s-----\r\n", label);
    avow_buf_put_base64(out, avow_buf_bytes(&der)); /* one long line, as some tools write it */
    avow_buf_printf(out, "\r\n-----END %s-----\r\n", label);
}

enum form {
    PEM,
    PEM_WITH_TEXT,
    DER,
    BASE64,
    BASE64_WRAPPED,
    PEM_OF_TWO_IN_ONE,
    PEM_THEN_KEY,
    GARBAGE
};

static void put_form(struct avow_buf *in, enum form form, size_t count)
{
    switch (form) {
    case PEM_WITH_TEXT:
        avow_buf_put_str(in, "subject=EK\n");
        /* fall through */
    case PEM:
    case PEM_THEN_KEY:
        for (size_t i = 0; i < count; i++)
            put_pem(in, "CERTIFICATE");
        if (form == PEM_THEN_KEY)
            put_pem(in, "PRIVATE KEY");
        break;
    case DER:
        for (size_t i = 0; i < count; i++)
            avow_buf_put(in, der.ptr, der.len);
        avow_buf_put(in, "\xff\xff\xff", 3);
        break;
    case BASE64:
        avow_buf_put_base64(in, avow_buf_bytes(&der));
        break;
    case BASE64_WRAPPED: {
        VEC_BUF text;
        avow_buf_init(&text, VEC_MAX);
        avow_buf_put_base64(&text, avow_buf_bytes(&der));
        for (size_t i = 0; i < text.len; i += 60) {
            avow_buf_put(in, text.ptr + i, text.len - i < 60 ? text.len - i : 60);
            avow_buf_put_str(in, "\n");
        }
        break;
    }
    case PEM_OF_TWO_IN_ONE: {
        VEC_BUF two;
        avow_buf_init(&two, VEC_MAX);
        avow_buf_put(&two, der.ptr, der.len);
        avow_buf_put(&two, der.ptr, der.len);
        avow_buf_put_str(in, "-----BEGIN CERTIFICATE-----\n");
        avow_buf_put_base64(in, avow_buf_bytes(&two));
        avow_buf_put_str(in, "\n-----END CERTIFICATE-----\n");
        break;
    }
    case GARBAGE:
        for (size_t i = 0; i < count; i++)
            avow_buf_put_str(in, "garbage!");
        break;
    }
}

static void test_list_parse__forms_and_counts__split(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum form form;
        size_t count;
        enum avow_rc want;
    } CASES[] = {
        {"one PEM", PEM, 1, AVOW_OK},
        {"eight PEM", PEM, 8, AVOW_OK},
        {"nine PEM", PEM, 9, AVOW_LIMIT},
        {"text", PEM_WITH_TEXT, 2, AVOW_OK},
        {"DER", DER, 1, AVOW_OK},
        {"a row of DER", DER, 8, AVOW_OK},
        {"nine DER", DER, 9, AVOW_LIMIT},
        {"base64", BASE64, 1, AVOW_OK},
        {"base64 in lines", BASE64_WRAPPED, 1, AVOW_OK},
        {"two in one block", PEM_OF_TWO_IN_ONE, 2, AVOW_PARSE},
        {"private key among them", PEM_THEN_KEY, 1, AVOW_PARSE},
        {"nothing", GARBAGE, 0, AVOW_PARSE},
        {"garbage", GARBAGE, 3, AVOW_PARSE},
        {"much garbage", GARBAGE, 40000, AVOW_LIMIT},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        struct avow_cert *certs[AVOW_CHAIN_MAX] = {NULL};
        size_t n = 99;
        VEC_BUF in;
        avow_buf_init(&in, VEC_MAX);
        put_form(&in, CASES[i].form, CASES[i].count);
        assert_rc(CASES[i].name, avow_cert_list_parse(avow_buf_bytes(&in), certs, &n, &err),
                  CASES[i].want, &err);
        assert_int_equal(n, CASES[i].want ? 99 : CASES[i].count);
        for (size_t k = 0; k < AVOW_CHAIN_MAX; k++) {
            assert_true((certs[k] != NULL) == (!CASES[i].want && k < n));
            if (certs[k])
                assert_true(avow_bytes_eq(avow_cert_der(certs[k]), avow_buf_bytes(&der)));
            avow_cert_free(certs[k]);
        }
    }
}

static void test_names__hostile_subject__escaped_text(void **state)
{
    (void)state;
    static const struct {
        const char *cn, *want;
    } CASES[] = {
        {"EK of host", "CN=EK of host"},
        {"a\x1b[31mred\n", "CN=a\\1B[31mred\\0A"},
        {"a,b+c=\"d\"", "CN=a\\,b\\+c=\\\"d\\\""},
        {"Gr\xc3\xbc\xc3\x9f"
         "e",
         "CN=Gr\xc3\xbc\xc3\x9f"
         "e"},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        const struct ca_spec spec = {.cn = CASES[i].cn};
        struct ca_cert c = ca_make(&spec, EVP_EC_gen("P-256"), NULL);
        AVOW_CLEANUP(avow_cert_free) struct avow_cert *cert = ca_cert_of(&c);
        VEC_BUF subject, issuer, small;
        avow_buf_init(&subject, VEC_MAX);
        avow_buf_init(&issuer, VEC_MAX);
        avow_buf_init(&small, 3);
        assert_rc("subject", avow_cert_subject(cert, &subject, &err), AVOW_OK, &err);
        assert_rc("issuer", avow_cert_issuer(cert, &issuer, &err), AVOW_OK, &err);
        assert_string_equal(avow_buf_cstr(&subject), CASES[i].want);
        assert_string_equal(avow_buf_cstr(&issuer), CASES[i].want);
        assert_rc("small", avow_cert_subject(cert, &small, &err), AVOW_LIMIT, &err);
        ca_free(&c);
    }
}

static void test_serial_hex__numbers__plain_hex(void **state)
{
    (void)state;
    static const struct {
        const char *set, *want;
    } CASES[] = {
        {"0", "00"},
        {"11", "11"},
        {"80", "80"},
        {"0123", "0123"},
        {"-7F", "-7f"},
        {"FFEEDDCCBBAA99887766554433221100FFEEDDCC", "ffeeddccbbaa99887766554433221100ffeeddcc"},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        BIGNUM *bn = NULL;
        assert_true(BN_hex2bn(&bn, CASES[i].set));
        X509 *x = X509_dup(made.x);
        assert_non_null(BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)));
        assert_true(X509_sign(x, made.key, EVP_sha256()) > 0);
        const struct ca_cert c = {x, NULL};
        AVOW_CLEANUP(avow_cert_free) struct avow_cert *cert = ca_cert_of(&c);
        VEC_BUF hex;
        avow_buf_init(&hex, VEC_MAX);
        assert_rc("serial", avow_cert_serial_hex(cert, &hex, &err), AVOW_OK, &err);
        assert_string_equal(avow_buf_cstr(&hex), CASES[i].want);
        BN_free(bn);
        X509_free(x);
    }
}

/* EK certificates may say id-RSAES-OAEP or id-RSASSA-PSS: the same key all the same. */
static void test_pubkey__any_rsa_algorithm__is_the_rsa_key(void **state)
{
    (void)state;
    static const int NIDS[] = {NID_rsaEncryption, NID_rsaesOaep, NID_rsassaPss};
    struct avow_err err = {0};
    struct ca_cert c = ca_make(&SPEC, EVP_RSA_gen(2048), NULL);
    unsigned char *spki = NULL;
    int len = i2d_PUBKEY(c.key, &spki);
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *want = NULL;
    assert_rc("spki", avow_pubkey_from_spki(avow_bytes_make(spki, (size_t)len), &want, &err),
              AVOW_OK, &err);
    OPENSSL_free(spki);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(NIDS); i++) {
        X509_ALGOR *alg = NULL;
        X509_PUBKEY_get0_param(NULL, NULL, NULL, &alg, X509_get_X509_PUBKEY(c.x));
        assert_int_equal(X509_ALGOR_set0(alg, OBJ_nid2obj(NIDS[i]),
                                         NIDS[i] == NID_rsaEncryption ? V_ASN1_NULL : V_ASN1_UNDEF,
                                         NULL),
                         1);
        assert_true(X509_sign(c.x, c.key, EVP_sha256()) > 0);
        AVOW_CLEANUP(avow_cert_free) struct avow_cert *cert = ca_cert_of(&c);
        AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *got = NULL;
        assert_rc("key", avow_cert_pubkey(cert, &got, &err), AVOW_OK, &err);
        assert_true(avow_pubkey_eq(got, want));
    }
    ca_free(&c);
}

static void test_pubkey__unsupported__is_parse_error(void **state)
{
    (void)state;
    static const char *const TYPES[] = {"ED25519", "secp256k1", "RSA1024"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(TYPES); i++) {
        struct avow_err err = {0};
        EVP_PKEY *key = i == 0   ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
                        : i == 1 ? EVP_EC_gen("secp256k1")
                                 : EVP_RSA_gen(1024);
        struct ca_cert c = {X509_dup(made.x), key};
        X509_set_pubkey(c.x, key);
        assert_true(X509_sign(c.x, made.key, EVP_sha256()) > 0);
        AVOW_CLEANUP(avow_cert_free) struct avow_cert *cert = ca_cert_of(&c);
        struct avow_pubkey *got = NULL;
        assert_rc(TYPES[i], avow_cert_pubkey(cert, &got, &err), AVOW_PARSE, &err);
        assert_null(got);
        ca_free(&c);
    }
}

/* Real vendors' certificates: among them one that strict parsers refuse. */
static void test_from_der__vendor_certificates__are_read(void **state)
{
    (void)state;
    static const struct {
        const char *file, *serial;
        enum avow_key_kind kind;
    } CASES[] = {
        {"cert_nuvoton_ecdsa_sha256.der", "3f932f9d993c16bb", AVOW_KEY_EC_P256},
        {"cert_st_ecdsa_sha256.der", NULL, AVOW_KEY_EC_P256},
        {"cert_st_sha256_with_rsa.der", NULL, AVOW_KEY_RSA},
        {"cert_iak.der", "1001", AVOW_KEY_RSA},
        {"cert_idevid.der", "1002", AVOW_KEY_RSA},
    };
    const char *dir = getenv("AVOW_KEYLIME_VECTORS");
    if (!dir) {
        print_message("Keylime's vectors are absent: set AVOW_KEYLIME_VECTORS to read vendors' "
                      "certificates\n");
        skip();
    }
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        char path[512];
        VEC_BUF in, serial, issuer;
        snprintf(path, sizeof path, "%s/vectors/%s", dir, CASES[i].file);
        avow_buf_init(&in, VEC_MAX);
        avow_buf_init(&serial, VEC_MAX);
        avow_buf_init(&issuer, VEC_MAX);
        assert_rc(path, avow_file_read(path, &in, &err), AVOW_OK, &err);
        AVOW_CLEANUP(avow_cert_free) struct avow_cert *cert = NULL;
        AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *key = NULL;
        assert_rc(path, avow_cert_from_der(avow_buf_bytes(&in), &cert, &err), AVOW_OK, &err);
        assert_rc(path, avow_cert_pubkey(cert, &key, &err), AVOW_OK, &err);
        assert_int_equal(avow_pubkey_kind(key), CASES[i].kind);
        assert_rc(path, avow_cert_serial_hex(cert, &serial, &err), AVOW_OK, &err);
        assert_rc(path, avow_cert_issuer(cert, &issuer, &err), AVOW_OK, &err);
        if (CASES[i].serial)
            assert_string_equal(avow_buf_cstr(&serial), CASES[i].serial);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_der__what_follows__padding_only),
        cmocka_unit_test(test_from_der__every_prefix__is_parse_error),
        cmocka_unit_test(test_from_der__too_large__is_limit),
        cmocka_unit_test(test_list_parse__forms_and_counts__split),
        cmocka_unit_test(test_names__hostile_subject__escaped_text),
        cmocka_unit_test(test_serial_hex__numbers__plain_hex),
        cmocka_unit_test(test_pubkey__any_rsa_algorithm__is_the_rsa_key),
        cmocka_unit_test(test_pubkey__unsupported__is_parse_error),
        cmocka_unit_test(test_from_der__vendor_certificates__are_read),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
