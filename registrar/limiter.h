/* limiter.h - token buckets by name in a table of fixed size. Layer: registrar. Thread-safe.
 * Whose bucket falls where is decided by a hash with a secret key, so nobody can choose whom to
 * share a place with; where places run short the bucket that has spent least gives way: whoever is
 * limited stays so. Memory is fixed, whatever names come. */
#ifndef AVOW_REGISTRAR_LIMITER_H
#define AVOW_REGISTRAR_LIMITER_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

struct avow_limiter;
/* per_minute tokens flow into a bucket, and as many fit. 0: no limit. Errors: AVOW_NOMEM,
 * AVOW_CRYPTO. */
enum avow_rc avow_limiter_new(uint32_t per_minute, struct avow_limiter **out,
                              struct avow_err *err) AVOW_MUST_CHECK;
void avow_limiter_free(struct avow_limiter *l);
/* Takes a token from the bucket of the two names together. False: there is none, and *wait_s
 * receives the seconds until there is one. `l` NULL: true. */
bool avow_limiter_take(struct avow_limiter *l, struct avow_str a, struct avow_str b,
                       uint64_t now_ms, unsigned *wait_s) AVOW_MUST_CHECK;

#endif
