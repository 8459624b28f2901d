/* The exposition text: counted by kind, and nothing that a peer sends breaks its form. */
#include "metrics.h"

#include "avow/base/attrs.h"
#include "avow/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define HEAD "\x06\x03\x55\x04"

static const char *render(struct avow_metrics *m, struct avow_buf *out)
{
    const struct avow_metrics_gauges g = {.serving = true, .agents = 3, .outbox_age_ms = 1234};
    avow_buf_reset(out);
    avow_metrics_render(m, &g, out);
    return avow_buf_cstr(out);
}

static void assert_has(const char *text, const char *line)
{
    if (!strstr(text, line))
        fail_msg("no '%s' in\n%s", line, text);
}

static void test_metrics_render__requests__are_counted_by_kind(void **state)
{
    (void)state;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf out;
    struct avow_metrics *m = NULL;
    struct avow_err err;
    avow_buf_init(&out, 1024 * 1024);
    assert_int_equal(avow_metrics_new(&m, &err), AVOW_OK);
    const struct avow_metrics_request requests[] = {
        {"register", NULL, 200, 400000},  {"register", NULL, 200, 3000000},
        {"register", "rate", 429, 10000}, {"activate", NULL, 200, 99000000000},
        {"list", NULL, 200, 5},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(requests); i++)
        avow_metrics_request(m, &requests[i]);
    avow_metrics_published(m, 7);
    const char *text = render(m, &out);
    assert_has(text, "requests_total{action=\"register\",status=\"200\",reason=\"\"} 2\n");
    assert_has(text, "refusals_total{action=\"register\",reason=\"rate\",status=\"429\"} 1\n");
    assert_has(text, "avow_registrar_registrations_total 2\n");
    assert_has(text, "enroll_seconds_bucket{le=\"0.000500\"} 2\n");
    assert_has(text, "enroll_seconds_bucket{le=\"0.005000\"} 3\n");
    assert_has(text, "enroll_seconds_bucket{le=\"10.000000\"} 3\n");
    assert_has(text, "enroll_seconds_bucket{le=\"+Inf\"} 4\n");
    assert_has(text, "avow_registrar_published_total 7\n");
    assert_has(text, "avow_registrar_outbox_age_seconds 1.234\n");
    avow_metrics_free(m);
}

static void test_metrics_activation__vendors__come_from_the_issuer(void **state)
{
    (void)state;
    static const struct {
        const char *der;
        size_t len;
        const char *want;
    } cases[] = {
        {"", 0, "no certificate"},
        {"xx" HEAD "\x0a\x13\x05"
         "Maker" HEAD "\x0a\x13\x05"
         "Owner",
         28, "Maker"},
        {HEAD "\x03\x0c\x03"
              "CN1" HEAD "\x0a\x0c\x02"
              "O1",
         20, "O1"},
        {HEAD "\x03\x0c\x03"
              "CN2",
         10, "CN2"},
        {HEAD "\x0a\x0c\x04"
              "a\"\n\\",
         11, "a___"},
        {HEAD "\x0a\x0c\x7f"
              "short",
         12, "unknown"},
        {HEAD "\x0a\x0c\x81"
              "long form",
         16, "unknown"},
        {HEAD "\x0a", 5, "unknown"},
    };
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf out;
    char line[128];
    struct avow_err err;
    avow_buf_init(&out, 1024 * 1024);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_metrics *m = NULL;
        assert_int_equal(avow_metrics_new(&m, &err), AVOW_OK);
        avow_metrics_activation(m, avow_bytes_make(cases[i].der, cases[i].len));
        snprintf(line, sizeof line, "activations_total{vendor=\"%s\"} 1\n", cases[i].want);
        assert_has(render(m, &out), line);
        avow_metrics_free(m);
    }
}

static void test_metrics_activation__many_vendors__are_gathered(void **state)
{
    (void)state;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf out;
    struct avow_metrics *m = NULL;
    struct avow_err err;
    size_t lines = 0;
    avow_buf_init(&out, 1024 * 1024);
    assert_int_equal(avow_metrics_new(&m, &err), AVOW_OK);
    for (int i = 0; i < 1000; i++) {
        char der[32];
        int n = snprintf(der, sizeof der,
                         HEAD "\x0a\x0c\x06"
                              "V%05d",
                         i);
        avow_metrics_activation(m, avow_bytes_make(der, (size_t)n));
    }
    for (const char *p = render(m, &out); (p = strstr(p, "{vendor=")); p++)
        lines++;
    assert_int_equal(lines, 32);
    assert_has(avow_buf_cstr(&out), "{vendor=\"others\"} 969\n");
    avow_metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics_render__requests__are_counted_by_kind),
        cmocka_unit_test(test_metrics_activation__vendors__come_from_the_issuer),
        cmocka_unit_test(test_metrics_activation__many_vendors__are_gathered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
