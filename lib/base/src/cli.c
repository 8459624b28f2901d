#include "avow/base/cli.h"

#include "avow/base/bytes.h"

#include "avow/base/banned.h"

const char avow_version[] = AVOW_VERSION;

enum avow_exit avow_exit_of(enum avow_rc rc)
{
    switch (rc) {
    case AVOW_OK:
        return AVOW_EXIT_OK;
    case AVOW_USAGE:
    case AVOW_CONFIG: /* what the operator told the program must change; a restart does not help */
        return AVOW_EXIT_USAGE;
    case AVOW_UNREACHABLE:
        return AVOW_EXIT_UNREACHABLE;
    case AVOW_UNTRUSTED:
    case AVOW_ROLLBACK:
        return AVOW_EXIT_UNTRUSTED;
    case AVOW_NOTFOUND:
        return AVOW_EXIT_NOTFOUND;
    case AVOW_NOMEM:
    case AVOW_LIMIT:
    case AVOW_PARSE:
    case AVOW_SCHEMA:
    case AVOW_IO:
    case AVOW_TPM:
    case AVOW_BUS:
    case AVOW_BUS_RETRY:
    case AVOW_BUS_FATAL:
    case AVOW_CRYPTO:
    case AVOW_EXISTS:
    case AVOW_REFUSED:
    case AVOW_TIMEOUT:
    case AVOW_STATE:
    case AVOW_RC_COUNT:
        break;
    }
    return AVOW_EXIT_FAILED;
}
