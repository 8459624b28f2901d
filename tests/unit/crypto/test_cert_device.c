/* test_cert_device.c - certificates of devices: whose they are, and whether they may sign. */
#include "vec.h"

#include "avow/crypto/x509.h"

#include "avow/base/banned.h"

#define NOW_MS UINT64_C(1795305600000) /* 2026-11-22 */

static struct avow_cert *read_cert(const char *name)
{
    char file[128];
    VEC_BUF der;
    struct avow_err err = {0};
    struct avow_cert *cert = NULL;
    snprintf(file, sizeof file, "iak/%s.der", name);
    vec_read(file, &der);
    assert_rc(name, avow_cert_from_der(avow_buf_bytes(&der), &cert, &err), AVOW_OK, &err);
    return cert;
}

static void test_device_serial__every_place__text_or_hex(void **state)
{
    (void)state;
    static const struct {
        const char *cert, *serial;
        enum avow_rc want;
    } CASES[] = {
        {"iak_cert", "SN-0001", AVOW_OK},     {"idevid_cert", "SN-0001", AVOW_OK},
        {"idevid_other", "SN-0002", AVOW_OK}, {"idevid_binary", "0102ff", AVOW_OK},
        {"idevid_none", NULL, AVOW_NOTFOUND}, {"idevid_empty", NULL, AVOW_NOTFOUND},
        {"idevid_long", NULL, AVOW_LIMIT},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        VEC_BUF serial;
        avow_buf_init(&serial, AVOW_DEVICE_SERIAL_MAX);
        AVOW_CLEANUP(avow_cert_free) struct avow_cert *cert = read_cert(CASES[i].cert);
        assert_rc(CASES[i].cert, avow_cert_device_serial(cert, &serial, &err), CASES[i].want, &err);
        assert_string_equal(avow_buf_cstr(&serial), CASES[i].serial ? CASES[i].serial : "");
    }
}

/* HPE's, as Keylime tests with: hwSerialNum in the subjectAltName, the subject without one. */
static void test_device_serial__keylime_vectors__is_one_device(void **state)
{
    (void)state;
    static const char *const FILES[] = {"cert_iak.der", "cert_idevid.der"};
    const char *dir = getenv("AVOW_KEYLIME_VECTORS");
    struct avow_buf serials[2];
    if (!dir) {
        print_message("Keylime's vectors are absent: set AVOW_KEYLIME_VECTORS to read its device "
                      "certificates\n");
        skip();
    }
    for (size_t i = 0; i < 2; i++) {
        struct avow_err err = {0};
        char path[512];
        VEC_BUF der;
        snprintf(path, sizeof path, "%s/vectors/%s", dir, FILES[i]);
        avow_buf_init(&der, VEC_MAX);
        avow_buf_init(&serials[i], AVOW_DEVICE_SERIAL_MAX);
        assert_rc(path, avow_file_read(path, &der, &err), AVOW_OK, &err);
        AVOW_CLEANUP(avow_cert_free) struct avow_cert *cert = NULL;
        assert_rc(path, avow_cert_from_der(avow_buf_bytes(&der), &cert, &err), AVOW_OK, &err);
        assert_rc(path, avow_cert_device_serial(cert, &serials[i], &err), AVOW_OK, &err);
        print_message("%s: %s\n", FILES[i], avow_buf_cstr(&serials[i]));
        assert_true(serials[i].len > 0);
    }
    assert_string_equal(avow_buf_cstr(&serials[0]), avow_buf_cstr(&serials[1]));
    avow_buf_deinit(&serials[0]);
    avow_buf_deinit(&serials[1]);
}

static void test_verify_device__table__each_reason(void **state)
{
    (void)state;
    static const struct {
        const char *cert;
        enum avow_rc want;
        const char *says;
    } CASES[] = {
        {"iak_cert", AVOW_OK, NULL},
        {"idevid_cert", AVOW_OK, NULL},
        {"idevid_ca", AVOW_UNTRUSTED, "IDevID certificate: it is a CA certificate"},
        {"idevid_agree", AVOW_UNTRUSTED, "IDevID certificate: key usage does not allow signatures"},
        {"idevid_old", AVOW_UNTRUSTED, "IDevID certificate: expired"},
    };
    struct avow_err err = {0};
    AVOW_CLEANUP(avow_cert_store_free) struct avow_cert_store *store = NULL;
    AVOW_CLEANUP(avow_cert_store_free) struct avow_cert_store *other = NULL;
    assert_rc("store", avow_cert_store_load(AVOW_TEST_VECTORS "/iak/ca", &store, &err), AVOW_OK,
              &err);
    assert_rc("other", avow_cert_store_load(AVOW_TEST_VECTORS "/m1-direct/ca", &other, &err),
              AVOW_OK, &err);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        AVOW_CLEANUP(avow_cert_free) struct avow_cert *cert = read_cert(CASES[i].cert);
        const struct avow_cert_list chain = {.certs = {cert}, .n = 1};
        assert_rc(CASES[i].cert,
                  avow_cert_verify_device("IDevID certificate", &chain, store, NOW_MS, &err),
                  CASES[i].want, &err);
        if (CASES[i].says)
            assert_says(CASES[i].cert, &err, CASES[i].says);
        assert_rc(CASES[i].cert,
                  avow_cert_verify_device("IDevID certificate", &chain, other, NOW_MS, &err),
                  AVOW_UNTRUSTED, &err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device_serial__every_place__text_or_hex),
        cmocka_unit_test(test_device_serial__keylime_vectors__is_one_device),
        cmocka_unit_test(test_verify_device__table__each_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
