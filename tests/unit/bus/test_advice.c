/* What a program tells an operator about Kafka. */
#include "avow/bus/advice.h"
#include "avow/base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

/* Messages as programs got them from librdkafka 2.0.2 and Kafka 4. */
static const struct {
    const char *message, *want;
} kafka[] = {
    {"no answer from Kafka: 127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection "
     "refused (after 0ms in state CONNECT)",
     "bootstrap.servers"},
    {"no answer from Kafka: nowhere.invalid:9092/bootstrap: Failed to resolve "
     "'nowhere.invalid:9092': Name or service not known",
     "DNS"},
    {"no answer from Kafka: login refused: ssl://127.0.0.1:1/bootstrap: SSL handshake failed: "
     "error:0A000086:SSL routines::certificate verify failed: broker certificate could not be "
     "verified",
     "ssl.ca.location"},
    {"login refused: ssl://127.0.0.1:1/bootstrap: error:0A00045C:SSL routines::tlsv13 alert "
     "certificate required: SSL alert number 116",
     "ssl.certificate.location"},
    {"login refused: sasl_ssl://127.0.0.1:1/bootstrap: SASL authentication error: Authentication "
     "failed: Invalid username or password",
     "sasl.password"},
    {"login refused: sasl_ssl://h: SASL SCRAM-SHA-1 mechanism handshake failed: Broker: "
     "Unsupported SASL mechanism",
     "sasl.mechanism"},
    {"no answer from Kafka: 127.0.0.1:1/bootstrap: Disconnected while requesting ApiVersion: might "
     "be caused by incorrect security.protocol configuration (connecting to a SSL listener?)",
     "security.protocol"},
    {"no answer from Kafka: login refused: ssl://127.0.0.1:1/bootstrap: SSL handshake failed: "
     "connecting to a PLAINTEXT broker listener?",
     "no TLS"},
    {"no answer from Kafka: ssl://127.0.0.1:1/bootstrap: Disconnected: verify that "
     "security.protocol is correctly configured, broker might require SASL authentication",
     "sasl_ssl"},
    {"avow.trust: Broker: Topic authorization failed", "rights"},
    {"topic avow.trust does not exist", "topics apply"},
    {"something new", "is the broker up"},
    {"", "is the broker up"},
};

static void test_bus_advice__table(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(kafka); i++) {
        const char *got = avow_bus_advice(kafka[i].message);
        if (!strstr(got, kafka[i].want))
            fail_msg("%s: %s", kafka[i].message, got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bus_advice__table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
