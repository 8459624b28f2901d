/* fuzz_pem.c - PEM text as a list of public keys. */
#include "avow/crypto/key.h"

#include <assert.h>
#include <stdlib.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define KEYS_MAX 3u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct avow_pubkey *keys[KEYS_MAX] = {NULL};
    size_t n = 0;
    enum avow_rc rc =
        avow_pubkey_list_from_pem(avow_bytes_make(data, size), KEYS_MAX, keys, &n, NULL);
    assert(rc != AVOW_OK || (n > 0 && n <= KEYS_MAX));
    for (size_t i = 0; i < KEYS_MAX; i++) {
        assert((keys[i] != NULL) == (rc == AVOW_OK && i < n));
        avow_pubkey_free(keys[i]);
    }
    return 0;
}
