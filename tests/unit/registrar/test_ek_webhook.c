/* The webhook's answers: what is a decision, and what is none. */
#include "ek_webhook.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

static void test_answer_parse__table(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        enum avow_rc want;
        bool allow;
        const char *reason;
    } cases[] = {
        {"{\"decision\":\"allow\"}", AVOW_OK, true, ""},
        {"{\"decision\":\"deny\",\"reason\":\"no\"}", AVOW_OK, false, "no"},
        {" {\"reason\":\"yes\",\"more\":[{}],\"decision\":\"allow\"}\n", AVOW_OK, true, "yes"},
        {"{\"decision\":\"Allow\"}", AVOW_PARSE, false, NULL},
        {"{\"decision\":true}", AVOW_PARSE, false, NULL},
        {"{\"decision\":\"\"}", AVOW_PARSE, false, NULL},
        {"{\"decision\":null}", AVOW_PARSE, false, NULL},
        {"{\"decision\":\"allow\",\"reason\":7}", AVOW_PARSE, false, NULL},
        {"{\"decision\":\"deny\",\"decision\":\"allow\"}", AVOW_PARSE, false, NULL},
        {"{\"Decision\":\"allow\"}", AVOW_PARSE, false, NULL},
        {"[\"allow\"]", AVOW_PARSE, false, NULL},
        {"\"allow\"", AVOW_PARSE, false, NULL},
        {"{\"decision\":\"allow\"}x", AVOW_PARSE, false, NULL},
        {"{\"decision\":\"allow\"", AVOW_PARSE, false, NULL},
        {"{\"decision\":\"allow\\u0000\"}", AVOW_PARSE, false, NULL},
        {"", AVOW_PARSE, false, NULL},
        {"[[[[[[[[[]]]]]]]]]", AVOW_LIMIT, false, NULL},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_webhook_answer out = {.allow = true, .reason = "untouched"};
        struct avow_bytes in = avow_bytes_make(cases[i].json, strlen(cases[i].json));
        enum avow_rc rc = avow_webhook_answer_parse(in, &out, NULL);
        if (rc != cases[i].want)
            fail_msg("%s: got %d", cases[i].json, (int)rc);
        assert_string_equal(out.reason, rc ? "untouched" : cases[i].reason);
        assert_int_equal(out.allow, rc ? true : cases[i].allow);
    }
}

static void test_answer_parse__too_long__is_limit(void **state)
{
    (void)state;
    static char body[AVOW_WEBHOOK_ANSWER_MAX + 1];
    struct avow_webhook_answer out;
    const char good[] = "{\"decision\":\"allow\"}";
    memset(body, ' ', sizeof body);
    memcpy(body, good, sizeof good - 1);
    assert_int_equal(avow_webhook_answer_parse(avow_bytes_make(body, sizeof body - 1), &out, NULL),
                     AVOW_OK);
    assert_int_equal(avow_webhook_answer_parse(avow_bytes_make(body, sizeof body), &out, NULL),
                     AVOW_LIMIT);
}

static void test_answer_parse__long_reason__is_cut(void **state)
{
    (void)state;
    char body[1024];
    struct avow_webhook_answer out;
    int n = snprintf(body, sizeof body, "{\"decision\":\"deny\",\"reason\":\"%0700d\"}", 0);
    assert_int_equal(avow_webhook_answer_parse(avow_bytes_make(body, (size_t)n), &out, NULL),
                     AVOW_OK);
    assert_int_equal(strlen(out.reason), AVOW_WEBHOOK_REASON_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer_parse__table),
        cmocka_unit_test(test_answer_parse__too_long__is_limit),
        cmocka_unit_test(test_answer_parse__long_reason__is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
