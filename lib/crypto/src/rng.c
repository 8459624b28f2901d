#include "avow/crypto/rng.h"

#include <openssl/err.h>
#include <openssl/rand.h>

#include "avow/base/banned.h"

#define RNG_CHUNK 65536u /* RAND_bytes counts in int */

enum avow_rc avow_rng_fill(void *out, size_t len, struct avow_err *err)
{
    uint8_t *p = out;
    while (len) {
        size_t n = len < RNG_CHUNK ? len : RNG_CHUNK;
        if (RAND_bytes(p, (int)n) != 1) {
            ERR_clear_error();
            return avow_err_set(err, AVOW_CRYPTO, 0, "the random generator is not seeded");
        }
        p += n;
        len -= n;
    }
    return AVOW_OK;
}
