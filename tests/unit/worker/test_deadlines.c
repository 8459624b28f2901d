/* test_deadlines.c - the heap against a plain search. */
#include "deadlines.h"

#include "avow/base/attrs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include "avow/base/banned.h"

#define NODES 200u

/* Numerical Recipes' constants; any fixed sequence would do. */
static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static uint64_t least(const struct avow_deadline *nodes)
{
    uint64_t found = UINT64_MAX;
    for (size_t i = 0; i < NODES; i++) {
        if (nodes[i].place && nodes[i].due_service_ms < found)
            found = nodes[i].due_service_ms;
    }
    return found;
}

static void test_set_remove__random_sequence__earliest_is_first(void **state)
{
    (void)state;
    struct avow_deadline nodes[NODES] = {{0, 0}};
    struct avow_deadlines heap = {0};
    uint32_t seed = 42;
    for (unsigned step = 0; step < 20000; step++) {
        struct avow_deadline *n = &nodes[next_random(&seed) % NODES];
        struct avow_err err;
        if (next_random(&seed) % 3)
            assert_int_equal(avow_deadlines_set(&heap, n, next_random(&seed) % 1000, &err),
                             AVOW_OK);
        else
            avow_deadlines_remove(&heap, n);
        uint64_t want = least(nodes);
        const struct avow_deadline *first = avow_deadlines_due(&heap, UINT64_MAX);
        assert_int_equal(first ? first->due_service_ms : UINT64_MAX, want);
        if (want != UINT64_MAX && want > 0)
            assert_null(avow_deadlines_due(&heap, want - 1));
    }
    avow_deadlines_deinit(&heap);
    for (size_t i = 0; i < NODES; i++)
        assert_int_equal(nodes[i].place, 0);
}

static void test_remove__not_in_the_heap__nothing_happens(void **state)
{
    (void)state;
    struct avow_deadline n = {0, 0};
    struct avow_deadlines heap = {0};
    avow_deadlines_remove(&heap, &n);
    assert_null(avow_deadlines_due(&heap, UINT64_MAX));
    avow_deadlines_deinit(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_remove__random_sequence__earliest_is_first),
        cmocka_unit_test(test_remove__not_in_the_heap__nothing_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
