/* What the agent tells an operator about a failure. */
#include "advice.h"
#include "avow/base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_advice_registrar__table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
