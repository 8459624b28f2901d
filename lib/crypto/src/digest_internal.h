/* digest_internal.h - OpenSSL's objects of our algorithm table, for the rest of lib/crypto.
 * Thread-safe. */
#ifndef AVOW_CRYPTO_DIGEST_INTERNAL_H
#define AVOW_CRYPTO_DIGEST_INTERNAL_H

#include "avow/crypto/digest.h"

#include <openssl/types.h>

/* Fetched once, lives as long as the process; NULL for an unknown algorithm. */
const EVP_MD *avow_hash_evp(enum avow_hash alg);
/* "SHA2-256"; NULL for an unknown algorithm. */
const char *avow_hash_openssl_name(enum avow_hash alg);

#endif
