#include "advice.h"

#include "avow/base/bytes.h"

#include <string.h>

#include "avow/base/banned.h"

/* In this order: the first whose text is in the message. libcurl's texts (7.88) and the
 * registrar's. */
static const struct advice {
    const char *text, *advice;
} registrar[] = {
    {"SSL certificate problem", "registrar.ca does not hold the CA of the registrar's certificate"},
    {"no alternative certificate subject name", "the registrar's certificate is for another name "
                                                "than registrar.url has"},
    {"wrong version number", "the port in registrar.url speaks no TLS; the agent never tries http "
                             "instead of https"},
    {"SSL_connect",
     "is the port in registrar.url one for TLS? The agent never tries http instead of "
     "https"},
    {"setting certificate", "registrar.ca holds no certificates"},
    {"CA file", "registrar.ca: the file is missing or not readable for the agent's user"},
    {"belongs to another TPM",
     "this agent.id is registered with another TPM: choose another id, or "
     "`avow registrar rm` the old host"},
    {"another AK", "the AK is new (see ak.replaced): `avow registrar rm`, then `avow agent "
                   "reaccept`"},
    {"is not trusted", "the registrar does not know the vendor of this TPM: its CA belongs into "
                       "the registrar's ek_cert_store"},
    {"installed completely", "avow-agent-register is missing: install it beside avow-agent or in "
                             "libexec/avow"},
    {"HTTP 429", "many hosts register at once: the agent tries again later"},
};

const char *avow_advice_registrar(const struct avow_err *why, bool has_cert)
{
    if (!has_cert && strstr(why->msg, "is not trusted"))
        return "this TPM holds no EK certificate where tpm.ek looks for it: get one from the TPM's "
               "vendor, or let the registrar accept hosts without (registrar.ek_policy)";
    for (size_t i = 0; i < AVOW_ARRAY_LEN(registrar); i++)
        if (strstr(why->msg, registrar[i].text))
            return registrar[i].advice;
    if (why->rc == AVOW_TPM)
        return "the TPM failed, not the registrar; the agent tries again";
    if (why->rc == AVOW_UNREACHABLE)
        return "is the registrar up, and registrar.url right? The agent attests meanwhile and "
               "keeps "
               "trying";
    return "the registrar's log tells more; the agent attests meanwhile and keeps trying";
}
