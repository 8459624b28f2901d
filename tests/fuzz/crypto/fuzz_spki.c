/* fuzz_spki.c - public keys as DER: what is accepted has one form, and survives a trip through PEM.
 */
#include "avow/crypto/key.h"

#include <assert.h>
#include <stdlib.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PEM_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct avow_pubkey *k = NULL, *again = NULL;
    enum avow_rc rc = avow_pubkey_from_spki(avow_bytes_make(data, size), &k, NULL);
    assert((rc == AVOW_OK) == (k != NULL));
    if (rc)
        return 0;
    assert(avow_bytes_eq(avow_pubkey_spki(k), avow_bytes_make(data, size)));
    struct avow_buf pem;
    avow_buf_init(&pem, PEM_MAX);
    rc = avow_pubkey_pem(k, &pem, NULL);
    assert(rc == AVOW_OK);
    rc = avow_pubkey_from_pem(avow_buf_bytes(&pem), &again, NULL);
    assert(rc == AVOW_OK && avow_pubkey_eq(k, again));
    avow_buf_deinit(&pem);
    avow_pubkey_free(again);
    avow_pubkey_free(k);
    return 0;
}
