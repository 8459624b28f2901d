#include "avow/base/err.h"

#include "avow/base/num.h"

#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#undef avow_err_set
#undef avow_err_wrap

enum avow_rc avow_err_set(struct avow_err *err, enum avow_rc rc, int64_t native, const char *fmt,
                          ...)
{
    if (!err)
        return rc;
    char msg[sizeof err->msg]; /* an argument may be the old message */
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    err->rc = rc;
    err->native = native;
    memcpy(err->msg, msg, sizeof msg);
    return rc;
}

enum avow_rc avow_err_wrap(struct avow_err *err, enum avow_rc rc, const char *fmt, ...)
{
    if (!err)
        return rc;
    char msg[sizeof err->msg];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    size_t used = n < 0 ? 0 : avow_min_u64((uint64_t)n, sizeof msg - 1);
    struct avow_str cause = avow_str_from(err->msg);
    if (used && used + 2 < sizeof msg) {
        msg[used++] = ':';
        msg[used++] = ' ';
    }
    avow_str_copy(msg + used, sizeof msg - used, cause); /* what does not fit is cut off */
    err->rc = rc;
    memcpy(err->msg, msg, sizeof msg);
    return rc;
}

const char *avow_rc_text(enum avow_rc rc)
{
    switch (rc) {
#define X(name, text)                                                                              \
    case AVOW_##name:                                                                              \
        return text;
        AVOW_ERR_MAP(X)
#undef X
    case AVOW_RC_COUNT:
        break;
    }
    return "unknown error";
}

enum avow_rc_class avow_rc_class(enum avow_rc rc)
{
    switch (rc) {
    case AVOW_OK:
        return AVOW_CLASS_OK;
    case AVOW_IO:
    case AVOW_TPM:
    case AVOW_BUS:
    case AVOW_BUS_RETRY:
    case AVOW_UNREACHABLE:
    case AVOW_TIMEOUT:
        return AVOW_CLASS_RETRY; /* the world may be better in a moment */
    case AVOW_LIMIT:
    case AVOW_PARSE:
    case AVOW_SCHEMA:
    case AVOW_UNTRUSTED:
    case AVOW_ROLLBACK:
    case AVOW_NOTFOUND:
    case AVOW_EXISTS:
    case AVOW_REFUSED:
        return AVOW_CLASS_SKIP; /* this input will never be better */
    case AVOW_NOMEM:
    case AVOW_BUS_FATAL:
    case AVOW_CRYPTO:
    case AVOW_CONFIG:
    case AVOW_USAGE:
    case AVOW_STATE:
    case AVOW_RC_COUNT:
        break;
    }
    return AVOW_CLASS_FATAL;
}
