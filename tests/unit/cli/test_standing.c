#include "cli_test.h"

#include "standing.h"

#define UNTIL 1000u

static void test_agent_standing__table(void **state)
{
    static const struct {
        enum avow_status status;
        uint64_t of_generation, enrolled, now;
        const char *want;
    } cases[] = {
        {AVOW_STATUS_TRUSTED, 3, 3, UNTIL - 1, "trusted"},
        {AVOW_STATUS_TRUSTED, 3, 3, UNTIL, "expired"},
        {AVOW_STATUS_TRUSTED, 3, 3, UINT64_MAX, "expired"},
        {AVOW_STATUS_TRUSTED, 2, 3, UNTIL - 1, "pending"}, /* earned by another enrolment */
        {AVOW_STATUS_TRUSTED, 2, 3, UNTIL, "pending"},
        {AVOW_STATUS_TRUSTED, 4, 3, UNTIL - 1, "trusted"}, /* we see an older enrolment */
        {AVOW_STATUS_UNTRUSTED, 3, 3, 0, "untrusted"},
        {AVOW_STATUS_UNTRUSTED, 2, 3, 0, "untrusted"}, /* bad news stays */
        {AVOW_STATUS_SILENT, 3, 3, 0, "silent"},
        {AVOW_STATUS_PENDING, 3, 3, 0, "pending"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct avow_verdict v = {.status = cases[i].status,
                                 .trusted_until_ms = UNTIL,
                                 .enrollment_generation = cases[i].of_generation};
        const char *got = avow_agent_standing(&v, cases[i].enrolled, cases[i].now);
        if (strcmp(got, cases[i].want))
            fail_msg("case %zu: got %s, want %s", i, got, cases[i].want);
    }
    assert_string_equal(avow_agent_standing(NULL, 1, 0), "pending");
}

static void test_verdict_standing__trust_without_an_end__is_expired(void **state)
{
    struct avow_verdict v = {.status = AVOW_STATUS_TRUSTED};
    (void)state;
    assert_string_equal(avow_verdict_standing(&v, 0), "expired");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agent_standing__table),
        cmocka_unit_test(test_verdict_standing__trust_without_an_end__is_expired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
