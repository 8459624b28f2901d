#include "advice.h"

#include "avow/base/bytes.h"

#include <string.h>

#include "avow/base/banned.h"

/* In this order: the first whose text is in the message. Texts are librdkafka's (2.0 to 2.6),
 * OpenSSL's and the broker's. */
static const struct advice {
    const char *text, *advice;
} kafka[] = {
    {"Hostname mismatch", "the broker's certificate is for another name: put that name into "
                          "kafka.bootstrap.servers and advertised.listeners"},
    {"IP address mismatch", "the broker's certificate is for another address: put its name into "
                            "kafka.bootstrap.servers and advertised.listeners"},
    {"certificate verify failed", "kafka.ssl.ca.location does not hold the CA of the broker's "
                                  "certificate"},
    {"broker certificate could not", "kafka.ssl.ca.location does not hold the CA of the broker's "
                                     "certificate"},
    {"alert certificate required", "the broker wants a client certificate: set "
                                   "kafka.ssl.certificate.location and kafka.ssl.key.location"},
    {"alert certificate expired", "the agent's certificate in kafka.ssl.certificate.location has "
                                  "expired"},
    {"alert", "the broker refused the agent's certificate: kafka.ssl.certificate.location"},
    {"PLAINTEXT broker listener", "this port speaks no TLS: kafka.security.protocol or another "
                                  "port in kafka.bootstrap.servers"},
    {"wrong version number", "this port speaks no TLS: kafka.security.protocol or another port in "
                             "kafka.bootstrap.servers"},
    {"incorrect security.protocol", "this port wants TLS or SASL: set kafka.security.protocol, or "
                                    "take another port in kafka.bootstrap.servers"},
    {"connecting to a SSL listener", "this port wants TLS: set kafka.security.protocol"},
    {"require SASL", "this port wants a login: kafka.security.protocol is sasl_ssl there"},
    {"Unsupported SASL mechanism", "kafka.sasl.mechanism is not one that the broker offers"},
    {"SASL", "the broker refused the login: kafka.sasl.username, kafka.sasl.password and "
             "kafka.sasl.mechanism"},
    {"uthentication failed", "the broker refused the login: kafka.sasl.username, "
                             "kafka.sasl.password and kafka.sasl.mechanism"},
    {"uthorization failed", "the broker knows the agent and allows it too little: rights are in "
                            "deploy/README.md"},
    {"resolve", "no address for the name in kafka.bootstrap.servers: name or DNS"},
    {"refused", "nothing listens there: kafka.bootstrap.servers, or the broker is down"},
    {"does not exist", "the topics are not there yet: `avow topics apply`, and topic.prefix"},
    {"Unknown topic", "the topics are not there yet: `avow topics apply`, and topic.prefix"},
};

/* libcurl's texts (7.88) and the registrar's. */
static const struct advice registrar[] = {
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

static const char *find(const struct advice *list, size_t n, const char *message)
{
    for (size_t i = 0; i < n; i++)
        if (strstr(message, list[i].text))
            return list[i].advice;
    return NULL;
}

const char *avow_advice_kafka(const char *message)
{
    const char *got = find(kafka, AVOW_ARRAY_LEN(kafka), message);
    return got ? got : "is the broker up, and is the way to it open? The agent keeps trying";
}

const char *avow_advice_registrar(const struct avow_err *why, bool has_cert)
{
    if (!has_cert && strstr(why->msg, "is not trusted"))
        return "this TPM holds no EK certificate where tpm.ek looks for it: get one from the TPM's "
               "vendor, or let the registrar accept hosts without (registrar.ek_policy)";
    const char *got = find(registrar, AVOW_ARRAY_LEN(registrar), why->msg);
    if (got)
        return got;
    if (why->rc == AVOW_TPM)
        return "the TPM failed, not the registrar; the agent tries again";
    if (why->rc == AVOW_UNREACHABLE)
        return "is the registrar up, and registrar.url right? The agent attests meanwhile and "
               "keeps "
               "trying";
    return "the registrar's log tells more; the agent attests meanwhile and keeps trying";
}
