/* digest.h - hashes and HMAC; one algorithm table. Layer: crypto. Thread-safe, no I/O. */
#ifndef AVOW_CRYPTO_DIGEST_H
#define AVOW_CRYPTO_DIGEST_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

#define AVOW_DIGEST_MAX 64u /* SHA-512: FIPS 180-4, 1 */
#define AVOW_SHA256_LEN 32u

/* Values are TPM_ALG_ID (TCG Algorithm Registry r1.34, table 3). */
enum avow_hash {
    AVOW_HASH_SHA1 = 0x0004,
    AVOW_HASH_SHA256 = 0x000B,
    AVOW_HASH_SHA384 = 0x000C,
    AVOW_HASH_SHA512 = 0x000D
};

struct avow_digest {
    uint8_t bytes[AVOW_DIGEST_MAX];
    size_t len;
};

/* Length in bytes, 0 for an unknown algorithm. */
size_t avow_hash_len(enum avow_hash alg);
/* "sha256"; NULL for an unknown algorithm. */
const char *avow_hash_name(enum avow_hash alg);
bool avow_hash_from_name(struct avow_str name, enum avow_hash *out) AVOW_MUST_CHECK;

/* Digest of `n` concatenated pieces. Aborts on library failure (algorithms are checked at start),
 * so no rc. `alg` must be known. */
void avow_digest_pieces(enum avow_hash alg, const struct avow_bytes *pieces, size_t n,
                        struct avow_digest *out);
void avow_digest(enum avow_hash alg, struct avow_bytes in, struct avow_digest *out);
void avow_sha256(struct avow_bytes in, uint8_t out[32]);
void avow_sha256_pieces(const struct avow_bytes *pieces, size_t n, uint8_t out[32]);
void avow_hmac(enum avow_hash alg, struct avow_bytes key, const struct avow_bytes *pieces, size_t n,
               struct avow_digest *out);

struct avow_bytes avow_digest_bytes(const struct avow_digest *d);

#endif
