/* fuzz_cert.c - certificates in every form, everything that we read from them, and the verification
 * of the first one with the others as intermediates. */
#include "avow/crypto/x509.h"

#include <assert.h>
#include <stdlib.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX 262144u
#define NOW_MS UINT64_C(1795305600000)

static const struct avow_cert_store *store_of_vectors(void)
{
    static struct avow_cert_store *store;
    if (!store) {
        enum avow_rc rc = avow_cert_store_load(AVOW_TEST_VECTORS "/m1-direct/ca", &store, NULL);
        assert(rc == AVOW_OK);
    }
    return store;
}

static void read_all(const struct avow_cert *c)
{
    struct avow_buf text;
    struct avow_pubkey *key = NULL;
    struct avow_cert *again = NULL;
    avow_buf_init(&text, TEXT_MAX);
    enum avow_rc rc = avow_cert_pubkey(c, &key, NULL);
    assert((rc == AVOW_OK) == (key != NULL));
    rc = avow_cert_issuer(c, &text, NULL);
    if (!rc)
        rc = avow_cert_subject(c, &text, NULL);
    if (!rc)
        rc = avow_cert_serial_hex(c, &text, NULL);
    struct avow_str s = {(const char *)text.ptr, text.len};
    assert(rc || avow_utf8_is_valid(s));
    for (size_t i = 0; i < text.len; i++)
        assert(text.ptr[i] >= 0x20 && text.ptr[i] != 0x7f); /* nothing that a terminal obeys */
    size_t before = text.len;
    rc = avow_cert_device_serial(c, &text, NULL);
    assert(rc == AVOW_OK || text.len == before);
    for (size_t i = before; i < text.len; i++)
        assert(text.ptr[i] >= 0x20 && text.ptr[i] < 0x7f);
    rc = avow_cert_from_der(avow_cert_der(c), &again, NULL);
    assert(rc == AVOW_OK);
    avow_cert_free(again);
    avow_pubkey_free(key);
    avow_buf_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct avow_cert *certs[AVOW_CHAIN_MAX] = {NULL};
    struct avow_err err = {0};
    size_t n = 0;
    enum avow_rc rc = avow_cert_list_parse(avow_bytes_make(data, size), certs, &n, &err);
    assert((rc == AVOW_OK) == (n > 0));
    for (size_t i = 0; i < n; i++)
        read_all(certs[i]);
    if (n) {
        rc = avow_cert_verify_ek(certs[0], certs + 1, n - 1, store_of_vectors(), NOW_MS, &err);
        assert(rc == AVOW_OK || rc == AVOW_UNTRUSTED);
        struct avow_cert_list chain = {.n = n};
        for (size_t i = 0; i < n; i++)
            chain.certs[i] = certs[i];
        rc = avow_cert_verify_device("device", &chain, store_of_vectors(), NOW_MS, &err);
        assert(rc == AVOW_OK || rc == AVOW_UNTRUSTED);
    }
    for (size_t i = 0; i < AVOW_CHAIN_MAX; i++)
        avow_cert_free(certs[i]);
    return 0;
}
