/* openssl_err.h - OpenSSL's error queue as one of our errors, for the rest of lib/crypto. */
#ifndef AVOW_CRYPTO_OPENSSL_ERR_H
#define AVOW_CRYPTO_OPENSSL_ERR_H

#include "avow/base/err.h"

/* "what: reason of the newest entry"; empties this thread's queue, so that it never grows or
 * misleads a later call. */
enum avow_rc avow_openssl_err(struct avow_err *err, enum avow_rc rc, const char *what);

#endif
