/* test_policy_memory.c - what a loaded policy costs, counted where it is allocated. The linker
 * sends malloc, calloc, realloc and free of our objects here. */
#include "avow/core/runtime_policy.h"

#include "avow/base/buf.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "avow/base/banned.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);
void __wrap_free(void *p);

static size_t live;

static void *counted(void *p)
{
    live += p ? malloc_usable_size(p) : 0;
    return p;
}

void *__wrap_malloc(size_t size)
{
    return counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *p, size_t size)
{
    size_t before = p ? malloc_usable_size(p) : 0;
    void *grown = __real_realloc(p, size);
    if (grown)
        live -= before;
    return counted(grown);
}

void __wrap_free(void *p)
{
    live -= p ? malloc_usable_size(p) : 0;
    __real_free(p);
}

/* Ratio of what a policy of `paths` such paths occupies to the raw bytes of paths and digests. */
static void check(const char *prefix, unsigned paths, int hex)
{
    struct avow_buf b;
    struct avow_runtime_policy *p = NULL;
    struct avow_runtime_policy_stats stats;
    size_t raw = 0;
    avow_buf_init(&b, 64u << 20);
    for (unsigned i = 0; i < paths; i++) {
        char path[128];
        int n = snprintf(path, sizeof path, "%s%u", prefix, i);
        avow_buf_printf(&b, "%0*x %s\n", hex, i, path);
        raw += (size_t)n + (size_t)hex / 2;
    }
    size_t before = live;
    assert_int_equal(avow_runtime_policy_load(avow_buf_bytes(&b), &p, NULL), AVOW_OK);
    size_t cost = live - before;
    avow_runtime_policy_stats_get(p, &stats);
    if (cost * 10 > raw * 13)
        fail_msg("%s: %zu bytes for %zu", prefix, cost, raw);
    if (stats.memory > cost || cost - stats.memory > cost / 50)
        fail_msg("%s: says %zu, costs %zu", prefix, stats.memory, cost);
    assert_int_equal(stats.digests, paths);
    avow_runtime_policy_free(p);
    assert_int_equal(live, before);
    avow_buf_deinit(&b);
}

static void test_load__100_000_digests__memory_below_1_3_of_paths_and_digests(void **state)
{
    (void)state;
    check("/usr/lib/x86_64-linux-gnu/package/file-", 100000, 64);
    check("/usr/lib/x86_64-linux-gnu/package/file-", 131073, 64); /* just grown */
    check("/usr/share/doc/package/file-", 50000, 40);
    check("/usr/bin/", 100000, 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load__100_000_digests__memory_below_1_3_of_paths_and_digests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
