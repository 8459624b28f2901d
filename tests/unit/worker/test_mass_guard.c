/* test_mass_guard.c - waves of silence (PROTOCOL R8). */
#include "mass_guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "avow/base/banned.h"

#define SILENT_AFTER 70000u

static struct avow_mass_guard_out ask(struct avow_mass_guard *g, size_t crossing, size_t agents,
                                      uint64_t service_ms, uint64_t mono_ms)
{
    struct avow_mass_guard_in in = {.crossing = crossing,
                                    .agents = agents,
                                    .service_ms = service_ms,
                                    .mono_ms = mono_ms,
                                    .silent_after_ms = SILENT_AFTER};
    struct avow_mass_guard_out out;
    avow_mass_guard_ask(g, &in, &out);
    return out;
}

static void test_ask__thresholds__20_or_a_tenth_within_60_s(void **state)
{
    static const struct {
        const char *name;
        size_t agents, first, second;
        uint64_t second_after_ms;
        size_t want_first, want_second;
        bool want_alarm;
    } rows[] = {
        {"a few", 30, 3, 4, 10000, 3, 4, false},
        {"20 of a small partition", 30, 20, 0, 10000, 20, 0, false},
        {"21 of a small partition", 30, 21, 21, 10000, 0, 0, true},
        {"20 and one more within the window", 30, 20, 1, 50000, 20, 0, true},
        {"20 and 20 more in the next window", 30, 20, 20, 60000, 20, 20, false},
        {"a tenth of a large partition", 1600, 160, 0, 10000, 160, 0, false},
        {"more than a tenth", 1600, 161, 161, 10000, 0, 0, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct avow_mass_guard g = {0};
        struct avow_mass_guard_out a = ask(&g, rows[i].first, rows[i].agents, 1000000, 0);
        struct avow_mass_guard_out b =
            ask(&g, rows[i].second, rows[i].agents, 1000000 + rows[i].second_after_ms, 10000);
        if (a.allowed != rows[i].want_first || b.allowed != rows[i].want_second ||
            (a.alarm || b.alarm) != rows[i].want_alarm)
            fail_msg("%s: %zu %zu", rows[i].name, a.allowed, b.allowed);
    }
}

static void test_ask__wave_that_lasts__one_alarm_then_50_a_second(void **state)
{
    (void)state;
    struct avow_mass_guard g = {0};
    size_t left = 300, alarms = 0;
    uint64_t service = 1000000, mono = 0;
    for (; service < 1000000 + SILENT_AFTER; service += 10000, mono += 10000) {
        struct avow_mass_guard_out out = ask(&g, left, 1000, service, mono);
        alarms += out.alarm ? 1 : 0;
        assert_int_equal(out.allowed, 0);
    }
    assert_int_equal(alarms, 1);
    size_t in_first_second = 0;
    for (unsigned i = 0; left && i < 200; i++, mono += 100) {
        struct avow_mass_guard_out out = ask(&g, left, 1000, service, mono);
        assert_false(out.alarm);
        left -= out.allowed;
        if (i < 10)
            in_first_second += out.allowed;
    }
    assert_int_equal(left, 0);
    assert_in_range(in_first_second, 50, 100); /* the burst and the rate */
    assert_false(g.releasing);
}

static void test_ask__wave_that_passes__nobody_falls_silent(void **state)
{
    (void)state;
    struct avow_mass_guard g = {0};
    assert_true(ask(&g, 300, 1000, 1000000, 0).alarm);
    assert_int_equal(ask(&g, 0, 1000, 1000000 + SILENT_AFTER, 70000).allowed, 0);
    assert_false(g.holding || g.releasing);
    assert_int_equal(ask(&g, 1, 1000, 1000000 + SILENT_AFTER + 10000, 80000).allowed,
                     1); /* back to normal */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ask__thresholds__20_or_a_tenth_within_60_s),
        cmocka_unit_test(test_ask__wave_that_lasts__one_alarm_then_50_a_second),
        cmocka_unit_test(test_ask__wave_that_passes__nobody_falls_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
