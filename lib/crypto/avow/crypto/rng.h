/* rng.h - random bytes. Layer: crypto. Not for pure folders. */
#ifndef AVOW_CRYPTO_RNG_H
#define AVOW_CRYPTO_RNG_H

#include "avow/base/err.h"

#include <stddef.h>

/* Errors: AVOW_CRYPTO. */
enum avow_rc avow_rng_fill(void *out, size_t len, struct avow_err *err) AVOW_MUST_CHECK;

#endif
