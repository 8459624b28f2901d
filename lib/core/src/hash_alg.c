/* hash_alg.c - the records' hash names and the TPM's algorithm ids. See core_internal.h. */
#include "core_internal.h"

#include <assert.h>

#include "avow/base/banned.h"

static const enum avow_hash by_model[AVOW_HASH_ALG_COUNT] = {
    [AVOW_HASH_ALG_SHA1] = AVOW_HASH_SHA1,
    [AVOW_HASH_ALG_SHA256] = AVOW_HASH_SHA256,
    [AVOW_HASH_ALG_SHA384] = AVOW_HASH_SHA384,
    [AVOW_HASH_ALG_SHA512] = AVOW_HASH_SHA512,
};

enum avow_hash avow_hash_of(enum avow_hash_alg alg)
{
    assert(alg < AVOW_HASH_ALG_COUNT);
    return by_model[alg];
}

bool avow_hash_alg_of(uint16_t tpm_alg, enum avow_hash_alg *out)
{
    for (unsigned i = 0; i < AVOW_HASH_ALG_COUNT; i++) {
        if (by_model[i] == tpm_alg) {
            *out = (enum avow_hash_alg)i;
            return true;
        }
    }
    return false;
}
