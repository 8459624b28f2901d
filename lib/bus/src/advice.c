#include "avow/bus/advice.h"

#include "avow/base/bytes.h"

#include <string.h>

#include "avow/base/banned.h"

/* In this order: the first whose text is in the message. Texts are librdkafka's (2.0 to 2.6),
 * OpenSSL's and the broker's. */
static const struct advice {
    const char *text, *advice;
} advices[] = {
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
    {"alert certificate expired",
     "this program's certificate in kafka.ssl.certificate.location has "
     "expired"},
    {"alert", "the broker refused this program's certificate: kafka.ssl.certificate.location"},
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
    {"uthorization failed", "the broker knows this program and allows it too little: rights are in "
                            "deploy/README.md"},
    {"resolve", "no address for the name in kafka.bootstrap.servers: name or DNS"},
    {"refused", "nothing listens there: kafka.bootstrap.servers, or the broker is down"},
    {"does not exist", "the topics are not there yet: `avow topics apply`, and topic.prefix"},
    {"Unknown topic", "the topics are not there yet: `avow topics apply`, and topic.prefix"},
};

const char *avow_bus_advice(const char *message)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(advices); i++)
        if (strstr(message, advices[i].text))
            return advices[i].advice;
    return "is the broker up, and is the way to it open?";
}
