/* test_cert_issue.c - the TLS material of a new installation, judged by OpenSSL at its strictest.
 */
#include "ca.h"

#include "avow/base/banned.h"

static const char *const NAMES[] = {"broker-1.example.org", "127.0.0.1", "::1", "localhost"};

struct issued {
    struct avow_privkey *key;
    struct avow_cert *cert;
    X509 *x; /* the same, as OpenSSL reads the PEM */
};

static void issued_free(struct issued *i)
{
    avow_privkey_free(i->key);
    avow_cert_free(i->cert);
    X509_free(i->x);
}

static void issue(const struct avow_cert_request *req, const struct issued *issuer,
                  struct issued *out)
{
    struct avow_err err = {0};
    struct avow_cert *certs[AVOW_CHAIN_MAX];
    size_t n = 0;
    VEC_BUF pem;
    avow_buf_init(&pem, VEC_MAX);
    *out = (struct issued){NULL, NULL, NULL};
    assert_rc("key", avow_privkey_generate(&out->key, &err), AVOW_OK, &err);
    assert_rc("issue",
              avow_cert_issue(req, out->key, issuer ? issuer->cert : NULL,
                              issuer ? issuer->key : NULL, &pem, &err),
              AVOW_OK, &err);
    assert_rc("parse", avow_cert_list_parse(avow_buf_bytes(&pem), certs, &n, &err), AVOW_OK, &err);
    assert_int_equal(n, 1);
    out->cert = certs[0];
    const unsigned char *p = avow_cert_der(out->cert).ptr;
    out->x = d2i_X509(NULL, &p, (long)avow_cert_der(out->cert).len);
    assert_non_null(out->x);
}

static const struct avow_cert_request CA_REQUEST = {
    .common_name = "Avow CA", .ca = true, .days = 3650, .now_ms = CA_NOW_MS};
static const struct avow_cert_request SERVER = {.common_name = "broker",
                                                .dns = NAMES,
                                                .n_dns = AVOW_ARRAY_LEN(NAMES),
                                                .server = true,
                                                .days = 825,
                                                .now_ms = CA_NOW_MS};
static const struct avow_cert_request CLIENT = {
    .common_name = "agent-7", .client = true, .days = 365, .now_ms = CA_NOW_MS};

/* X509_V_OK or the reason. */
static int verify(const struct issued *leaf, const struct issued *ca, int purpose, const char *host,
                  const char *ip, int64_t at_s)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_STORE_add_cert(store, ca->x);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, leaf->x, NULL), 1);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
    X509_VERIFY_PARAM_set_auth_level(param, 2);
    X509_VERIFY_PARAM_set_time(param, (time_t)((int64_t)(CA_NOW_MS / 1000) + at_s));
    X509_VERIFY_PARAM_set_purpose(param, purpose);
    if (host)
        X509_VERIFY_PARAM_set1_host(param, host, 0);
    if (ip)
        X509_VERIFY_PARAM_set1_ip_asc(param, ip);
    int result = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return result;
}

static void test_issue__server_and_client__strict_verification(void **state)
{
    (void)state;
    AVOW_CLEANUP_VAL(issued_free) struct issued ca = {0};
    AVOW_CLEANUP_VAL(issued_free) struct issued other = {0};
    AVOW_CLEANUP_VAL(issued_free) struct issued server = {0};
    AVOW_CLEANUP_VAL(issued_free) struct issued client = {0};
    issue(&CA_REQUEST, NULL, &ca);
    issue(&CA_REQUEST, NULL, &other);
    issue(&SERVER, &ca, &server);
    issue(&CLIENT, &ca, &client);
    const struct {
        const char *name;
        const struct issued *leaf, *ca;
        int purpose;
        const char *host, *ip;
        int64_t at_s;
        int want;
    } cases[] = {
        {"host", &server, &ca, X509_PURPOSE_SSL_SERVER, NAMES[0], NULL, 0, X509_V_OK},
        {"localhost", &server, &ca, X509_PURPOSE_SSL_SERVER, "localhost", NULL, 0, X509_V_OK},
        {"IPv4", &server, &ca, X509_PURPOSE_SSL_SERVER, NULL, "127.0.0.1", 0, X509_V_OK},
        {"IPv6", &server, &ca, X509_PURPOSE_SSL_SERVER, NULL, "::1", 0, X509_V_OK},
        {"clock 59 min behind", &server, &ca, X509_PURPOSE_SSL_SERVER, NULL, NULL, -59 * 60,
         X509_V_OK},
        {"client", &client, &ca, X509_PURPOSE_SSL_CLIENT, NULL, NULL, 0, X509_V_OK},
        {"other host", &server, &ca, X509_PURPOSE_SSL_SERVER, "example.org", NULL, 0,
         X509_V_ERR_HOSTNAME_MISMATCH},
        {"CN is no host", &server, &ca, X509_PURPOSE_SSL_SERVER, "broker", NULL, 0,
         X509_V_ERR_HOSTNAME_MISMATCH},
        {"other address", &server, &ca, X509_PURPOSE_SSL_SERVER, NULL, "127.0.0.2", 0,
         X509_V_ERR_IP_ADDRESS_MISMATCH},
        {"server as client", &server, &ca, X509_PURPOSE_SSL_CLIENT, NULL, NULL, 0,
         X509_V_ERR_INVALID_PURPOSE},
        {"client as server", &client, &ca, X509_PURPOSE_SSL_SERVER, NULL, NULL, 0,
         X509_V_ERR_INVALID_PURPOSE},
        {"too early", &server, &ca, X509_PURPOSE_SSL_SERVER, NULL, NULL, -61 * 60,
         X509_V_ERR_CERT_NOT_YET_VALID},
        {"too late", &client, &ca, X509_PURPOSE_SSL_CLIENT, NULL, NULL, 366 * CA_DAY_S,
         X509_V_ERR_CERT_HAS_EXPIRED},
        {"other CA of the same name", &server, &other, X509_PURPOSE_SSL_SERVER, NULL, NULL, 0,
         X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        int got = verify(cases[i].leaf, cases[i].ca, cases[i].purpose, cases[i].host, cases[i].ip,
                         cases[i].at_s);
        if (got != cases[i].want)
            fail_msg("%s: got \"%s\", want \"%s\"", cases[i].name,
                     X509_verify_cert_error_string(got),
                     X509_verify_cert_error_string(cases[i].want));
    }
}

static void test_issue__serials__128_random_bits(void **state)
{
    (void)state;
    VEC_BUF first, second;
    for (int i = 0; i < 2; i++) {
        struct avow_err err = {0};
        struct avow_buf *hex = i ? &second : &first;
        AVOW_CLEANUP_VAL(issued_free) struct issued ca = {0};
        issue(&CA_REQUEST, NULL, &ca);
        avow_buf_init(hex, VEC_MAX);
        assert_rc("serial", avow_cert_serial_hex(ca.cert, hex, &err), AVOW_OK, &err);
        assert_int_equal(hex->len, 32);
    }
    assert_false(avow_bytes_eq(avow_buf_bytes(&first), avow_buf_bytes(&second)));
}

static void test_issue__leaf_longer_than_ca__ends_with_it(void **state)
{
    (void)state;
    AVOW_CLEANUP_VAL(issued_free) struct issued ca = {0};
    AVOW_CLEANUP_VAL(issued_free) struct issued leaf = {0};
    struct avow_cert_request req = CA_REQUEST;
    req.days = 30;
    issue(&req, NULL, &ca);
    issue(&CLIENT, &ca, &leaf);
    assert_int_equal(ASN1_TIME_compare(X509_get0_notAfter(ca.x), X509_get0_notAfter(leaf.x)), 0);
}

static void test_issue__bad_requests__are_config_errors(void **state)
{
    (void)state;
    AVOW_CLEANUP_VAL(issued_free) struct issued ca = {0};
    AVOW_CLEANUP_VAL(issued_free) struct issued leaf = {0};
    issue(&CA_REQUEST, NULL, &ca);
    issue(&CLIENT, &ca, &leaf);
    static const char *const BAD_NAME[] = {"a b"};
    static const char *const EMPTY_NAME[] = {""};
    static const char *const STAR_INSIDE[] = {"a.*.org"};
    static const char LONG_CN[] =
        "0123456789012345678901234567890123456789012345678901234567890123x";
#define REQ(cn, names, n, ...)                                                                     \
    {                                                                                              \
        .common_name = (cn), .dns = (names), .n_dns = (n), .now_ms = CA_NOW_MS, __VA_ARGS__        \
    }
    const struct {
        const char *name;
        struct avow_cert_request req;
        const struct issued *issuer;
        bool without_key;
    } cases[] = {
        {"no name", REQ("", NULL, 0, .client = true, .days = 1), &ca, false},
        {"long name", REQ(LONG_CN, NULL, 0, .client = true, .days = 1), &ca, false},
        {"no days", REQ("x", NULL, 0, .client = true), &ca, false},
        {"too many days", REQ("x", NULL, 0, .client = true, .days = 40000), &ca, false},
        {"for nothing", REQ("x", NULL, 0, .days = 1), &ca, false},
        {"CA and server", REQ("x", NAMES, 1, .ca = true, .server = true, .days = 1), &ca, false},
        {"server without names", REQ("x", NULL, 0, .server = true, .days = 1), &ca, false},
        {"blank in a name", REQ("x", BAD_NAME, 1, .server = true, .days = 1), &ca, false},
        {"empty host", REQ("x", EMPTY_NAME, 1, .server = true, .days = 1), &ca, false},
        {"star inside", REQ("x", STAR_INSIDE, 1, .server = true, .days = 1), &ca, false},
        {"issuer is no CA", REQ("x", NULL, 0, .client = true, .days = 1), &leaf, false},
        {"issuer without key", REQ("x", NULL, 0, .client = true, .days = 1), &ca, true},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_err err = {0};
        VEC_BUF pem;
        avow_buf_init(&pem, VEC_MAX);
        enum avow_rc rc =
            avow_cert_issue(&cases[i].req, leaf.key, cases[i].issuer->cert,
                            cases[i].without_key ? NULL : cases[i].issuer->key, &pem, &err);
        assert_rc(cases[i].name, rc, AVOW_CONFIG, &err);
        assert_int_equal(pem.len, 0);
    }
    struct avow_err err = {0};
    VEC_BUF pem;
    avow_buf_init(&pem, VEC_MAX);
    assert_rc("other key", avow_cert_issue(&CLIENT, leaf.key, ca.cert, leaf.key, &pem, &err),
              AVOW_CONFIG, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_issue__server_and_client__strict_verification),
        cmocka_unit_test(test_issue__serials__128_random_bits),
        cmocka_unit_test(test_issue__leaf_longer_than_ca__ends_with_it),
        cmocka_unit_test(test_issue__bad_requests__are_config_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
