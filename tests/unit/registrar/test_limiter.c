/* Buckets by name: one's own limit, nobody else's, and no name can wash a limited one away. */
#include "limiter.h"

#include "avow/base/attrs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define NONE AVOW_STR_LIT("")

static struct avow_limiter *make(uint32_t per_minute)
{
    struct avow_limiter *l = NULL;
    struct avow_err err;
    assert_int_equal(avow_limiter_new(per_minute, &l, &err), AVOW_OK);
    return l;
}

static void test_limiter_take__burst_then_refill__says_when(void **state)
{
    (void)state;
    struct avow_limiter *l = make(6); /* one in 10 s */
    unsigned wait_s = 0;
    for (int i = 0; i < 6; i++)
        assert_true(avow_limiter_take(l, AVOW_STR_LIT("a"), NONE, 1000, &wait_s));
    assert_false(avow_limiter_take(l, AVOW_STR_LIT("a"), NONE, 1000, &wait_s));
    assert_int_equal(wait_s, 11);
    assert_true(avow_limiter_take(l, AVOW_STR_LIT("a"), AVOW_STR_LIT("b"), 1000, &wait_s));
    assert_true(avow_limiter_take(l, AVOW_STR_LIT("ab"), NONE, 1000, &wait_s));
    assert_false(avow_limiter_take(l, AVOW_STR_LIT("a"), NONE, 10999, &wait_s));
    assert_true(avow_limiter_take(l, AVOW_STR_LIT("a"), NONE, 11000, &wait_s));
    assert_false(avow_limiter_take(l, AVOW_STR_LIT("a"), NONE, 11000, &wait_s));
    avow_limiter_free(l);
}

static void test_limiter_take__no_limit__always(void **state)
{
    (void)state;
    unsigned wait_s = 0;
    struct avow_limiter *l = make(0);
    assert_null(l);
    for (int i = 0; i < 1000; i++)
        assert_true(avow_limiter_take(l, AVOW_STR_LIT("a"), NONE, 1, &wait_s));
}

/* 100 000 other names, six for each place of the table, ask once each. */
static void test_limiter_take__flood_of_names__limited_one_stays_limited(void **state)
{
    (void)state;
    struct avow_limiter *l = make(5);
    unsigned wait_s = 0;
    for (int i = 0; i < 5; i++)
        assert_true(avow_limiter_take(l, AVOW_STR_LIT("bad"), NONE, 1, &wait_s));
    for (int i = 0; i < 100000; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        assert_true(avow_limiter_take(l, avow_str_from(name), NONE, 1, &wait_s));
    }
    assert_false(avow_limiter_take(l, AVOW_STR_LIT("bad"), NONE, 1, &wait_s));
    avow_limiter_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limiter_take__burst_then_refill__says_when),
        cmocka_unit_test(test_limiter_take__no_limit__always),
        cmocka_unit_test(test_limiter_take__flood_of_names__limited_one_stays_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
