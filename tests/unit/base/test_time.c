/* Token bucket, limit of log lines, clock. */
#include "avow/base/clock.h"
#include "avow/base/rate.h"
#include "log_limit.h"

#include "check.h"

#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

static void test_rate_take__burst_then_refill__follows_time(void **state)
{
    struct avow_rate r;
    (void)state;
    avow_rate_init(&r, 3, 100, 1000);
    for (int i = 0; i < 3; i++)
        assert_true(avow_rate_take(&r, 1000));
    assert_false(avow_rate_take(&r, 1000));
    assert_int_equal(avow_rate_wait_ms(&r, 1000), 100);
    assert_false(avow_rate_take(&r, 1099));
    assert_int_equal(avow_rate_wait_ms(&r, 1099), 1);
    assert_int_equal(avow_rate_wait_ms(&r, 1100), 0);
    assert_true(avow_rate_take(&r, 1100));
    assert_false(avow_rate_take(&r, 1199));
    assert_true(avow_rate_take(&r, 1250)); /* 50 ms of the next token are kept */
    assert_int_equal(avow_rate_wait_ms(&r, 1250), 50);
}

static void test_rate_take__long_pause__gives_no_more_than_the_burst(void **state)
{
    struct avow_rate r;
    (void)state;
    avow_rate_init(&r, 2, 10, 0);
    assert_true(avow_rate_take(&r, UINT64_MAX - 5));
    assert_true(avow_rate_take(&r, UINT64_MAX - 5));
    assert_false(avow_rate_take(&r, UINT64_MAX - 5));
    avow_rate_init(&r, 1, 10, 0);
    assert_true(avow_rate_take(&r, 5));
    assert_false(avow_rate_take(&r, 14)); /* time before the first take does not count twice */
    assert_true(avow_rate_take(&r, 15));
}

static void test_rate_take__polled_often__loses_no_fraction(void **state)
{
    struct avow_rate r;
    unsigned taken = 0;
    (void)state;
    avow_rate_init(&r, 1, 7, 0);
    assert_true(avow_rate_take(&r, 0));
    for (uint64_t now = 1; now <= 7000; now++)
        taken += avow_rate_take(&r, now) ? 1 : 0;
    assert_int_equal(taken, 1000);
}

static void test_rate_take__clock_steps_back__does_not_freeze(void **state)
{
    struct avow_rate r;
    (void)state;
    avow_rate_init(&r, 1, 10, 100000);
    assert_true(avow_rate_take(&r, 100000));
    assert_false(avow_rate_take(&r, 50));
    assert_true(avow_rate_wait_ms(&r, 50) <= 10);
    assert_true(avow_rate_take(&r, 60));
}

static void test_rate__no_burst__never_gives(void **state)
{
    struct avow_rate r;
    (void)state;
    avow_rate_init(&r, 0, 10, 0);
    assert_false(avow_rate_take(&r, 1000));
    assert_true(avow_rate_wait_ms(&r, 1000) == UINT64_MAX);
}

static void test_log_limit__over_the_limit__counts_and_tells(void **state)
{
    struct avow_log_limit l = {0};
    uint64_t n = 99;
    (void)state;
    assert_true(avow_log_limit_allows(&l, "a", 2, 1000, &n) && n == 0);
    assert_true(avow_log_limit_allows(&l, "a", 2, 1001, &n) && n == 0);
    assert_false(avow_log_limit_allows(&l, "a", 2, 1002, &n));
    assert_false(avow_log_limit_allows(&l, "a", 2, 60999, &n));
    assert_true(avow_log_limit_allows(&l, "b", 2, 60999, &n) && n == 0); /* its own count */
    assert_true(avow_log_limit_allows(&l, "a", 2, 61000, &n) && n == 2);
    assert_true(avow_log_limit_allows(&l, "a", 2, 61000, &n) && n == 0);
    assert_false(avow_log_limit_allows(&l, "a", 2, 61000, &n));
    assert_false(avow_log_limit_allows(&l, "never", 0, 61000, &n));
}

static void test_log_limit__more_events_than_places__share_the_last(void **state)
{
    static char names[AVOW_LOG_LIMIT_EVENTS + 10][8];
    struct avow_log_limit l = {0};
    uint64_t n = 0;
    (void)state;
    for (unsigned i = 0; i < AVOW_ARRAY_LEN(names); i++) {
        snprintf(names[i], sizeof names[i], "e%u", i);
        bool allowed = avow_log_limit_allows(&l, names[i], 1, 5, &n);
        assert_int_equal(allowed, i < AVOW_LOG_LIMIT_EVENTS);
    }
    assert_false(avow_log_limit_allows(&l, "e0", 1, 5, &n));
}

static void test_clock_format__known_moments__are_right(void **state)
{
    static const struct {
        uint64_t unix_ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {951868799999, "2000-02-29T23:59:59.999Z"},
        {951868800000, "2000-03-01T00:00:00.000Z"},
        {1709164800000, "2024-02-29T00:00:00.000Z"},
        {1735689599999, "2024-12-31T23:59:59.999Z"},
        {1795532645678, "2026-11-24T15:04:05.678Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {253402300800000, "9999-12-31T23:59:59.999Z"},
        {UINT64_MAX, "9999-12-31T23:59:59.999Z"},
    };
    char out[32];
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        avow_clock_format(out, cases[i].unix_ms);
        assert_string_equal(out, cases[i].text);
    }
}

static void test_clock__monotonic__does_not_go_back(void **state)
{
    uint64_t ns = avow_clock_mono_ns(), ms = avow_clock_mono_ms();
    (void)state;
    assert_true(ms >= ns / 1000000);
    assert_true(avow_clock_mono_ns() >= ns);
    avow_clock_sleep_ms(2);
    assert_true(avow_clock_mono_ns() >= ns + 2000000);
    assert_true(avow_clock_unix_ms() > 1700000000000u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate_take__burst_then_refill__follows_time),
        cmocka_unit_test(test_rate_take__long_pause__gives_no_more_than_the_burst),
        cmocka_unit_test(test_rate_take__polled_often__loses_no_fraction),
        cmocka_unit_test(test_rate_take__clock_steps_back__does_not_freeze),
        cmocka_unit_test(test_rate__no_burst__never_gives),
        cmocka_unit_test(test_log_limit__over_the_limit__counts_and_tells),
        cmocka_unit_test(test_log_limit__more_events_than_places__share_the_last),
        cmocka_unit_test(test_clock_format__known_moments__are_right),
        cmocka_unit_test(test_clock__monotonic__does_not_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
