/* What the agent tells an operator about a failure. */
#include "advice.h"
#include "avow/base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

/* Messages as the agent got them from librdkafka 2.0.2 and Kafka 4. */
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
    {"something new", "keeps trying"},
    {"", "keeps trying"},
};

static void test_advice_kafka__table(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(kafka); i++) {
        const char *got = avow_advice_kafka(kafka[i].message);
        if (!strstr(got, kafka[i].want))
            fail_msg("%s: %s", kafka[i].message, got);
    }
}

static const struct {
    enum avow_rc rc;
    const char *message;
    bool has_cert;
    const char *want;
} registrar[] = {
    {AVOW_UNREACHABLE,
     "https://r:8891/version: SSL certificate problem: unable to get local issuer "
     "certificate",
     true, "registrar.ca"},
    {AVOW_UNREACHABLE, "https://r:8890/version: error:0A00010B:SSL routines::wrong version number",
     true, "never tries http"},
    {AVOW_UNREACHABLE, "http://r:8890/version: Failed to connect to r port 8890", true,
     "registrar.url"},
    {AVOW_REFUSED, "POST /v2.6/agents/x: HTTP 403: the EK is not trusted: no certificate", false,
     "no EK certificate"},
    {AVOW_REFUSED, "POST /v2.6/agents/x: HTTP 403: the EK is not trusted: unknown issuer", true,
     "ek_cert_store"},
    {AVOW_REFUSED, "POST /v2.6/agents/x: HTTP 403: this agent id belongs to another TPM", true,
     "another id"},
    {AVOW_IO,
     "/usr/bin/avow-agent-register: No such file or directory; is avow-agent installed "
     "completely?",
     true, "libexec"},
    {AVOW_IO, "GET /version: HTTP 500", true, "registrar's log"},
};

static void test_advice_registrar__table(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(registrar); i++) {
        struct avow_err why = {.rc = registrar[i].rc};
        avow_str_copy(why.msg, sizeof why.msg, avow_str_from(registrar[i].message));
        const char *got = avow_advice_registrar(&why, registrar[i].has_cert);
        if (!strstr(got, registrar[i].want))
            fail_msg("%s: %s", registrar[i].message, got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_advice_kafka__table),
                                       cmocka_unit_test(test_advice_registrar__table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
