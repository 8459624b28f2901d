/* fuzz_crl.c - revocation lists of any content beside a good store, and a verification by them. */
#include "avow/crypto/x509.h"

#include "avow/base/file.h"

#include "cert_store_internal.h"

#include <assert.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_MS UINT64_C(1795305600000)

static struct avow_cert *ek_of_vectors(void)
{
    static struct avow_cert *ek;
    struct avow_buf der;
    avow_buf_init(&der, AVOW_CERT_MAX);
    if (!ek) {
        enum avow_rc rc =
            avow_file_read(AVOW_TEST_VECTORS "/m1-direct/ek/nv_0x1c00002.der", &der, NULL);
        if (!rc)
            rc = avow_cert_from_der(avow_buf_bytes(&der), &ek, NULL);
        assert(rc == AVOW_OK);
    }
    avow_buf_deinit(&der);
    return ek;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct avow_cert_store *store = NULL;
    struct avow_crl_info info;
    enum avow_rc rc = avow_cert_store_load(AVOW_TEST_VECTORS "/m1-direct/ca", &store, NULL);
    assert(rc == AVOW_OK);
    rc = avow_crl_add(store, avow_bytes_make(data, size), "x", NULL);
    assert(rc || avow_cert_store_crl_count(store) > 0);
    for (size_t i = 0; i < avow_cert_store_crl_count(store); i++)
        avow_cert_store_crl_info(store, i, NOW_MS, &info);
    rc = avow_cert_verify_ek(ek_of_vectors(), NULL, 0, store, NOW_MS, NULL);
    assert(rc == AVOW_OK || rc == AVOW_UNTRUSTED);
    avow_cert_store_free(store);
    return 0;
}
