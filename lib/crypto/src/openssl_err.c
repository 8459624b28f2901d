#include "openssl_err.h"

#include <openssl/err.h>

#include "avow/base/banned.h"

enum avow_rc avow_openssl_err(struct avow_err *err, enum avow_rc rc, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    if (!reason)
        return avow_err_set(err, rc, 0, "%s", what);
    return avow_err_set(err, rc, (int64_t)code, "%s: %s", what, reason);
}
