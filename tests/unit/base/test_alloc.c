/* Every allocation fails once, in turn: the caller gets AVOW_NOMEM, nothing leaks (the sanitizer
 * looks), and what was there before is still right. The linker sends malloc, calloc and realloc of
 * our objects here. */
#include "avow/base/arena.h"
#include "avow/base/conf.h"
#include "avow/base/hex.h"
#include "avow/base/map.h"

#include "check.h"
#include "conf_table.h"
#include "scratch.h"

#include <stdlib.h>
#include <string.h>

#include "failing_alloc.h"

#include "avow/base/banned.h"

/* Runs `body` with the k-th allocation failing for k = 1, 2, ... until it succeeds; returns how
 * many failed. */
static unsigned for_each_failure(enum avow_rc (*body)(void))
{
    for (unsigned k = 1; k < 10000; k++) {
        failing_alloc_at = k;
        enum avow_rc rc = body();
        bool was_reached = failing_alloc_at == 0;
        failing_alloc_at = 0;
        if (!was_reached) {
            assert_int_equal(rc, AVOW_OK);
            return k - 1;
        }
        assert_int_equal(rc, AVOW_NOMEM);
    }
    fail();
    return 0;
}

static enum avow_rc use_buf(void)
{
    struct avow_buf b;
    avow_buf_init(&b, 100000);
    for (unsigned i = 0; i < 1000; i++)
        avow_buf_printf(&b, "%u", i);
    avow_buf_put_base64(&b, avow_bytes_make("abc", 3));
    enum avow_rc rc = avow_buf_status(&b, NULL);
    avow_buf_deinit(&b);
    return rc;
}

static enum avow_rc use_arena(void)
{
    struct avow_arena a;
    bool ok = true;
    avow_arena_init(&a, 1000000);
    for (unsigned i = 0; ok && i < 200; i++)
        ok = avow_arena_alloc(&a, i, 10) && avow_arena_printf(&a, "%u", i) &&
             avow_arena_str(&a, AVOW_STR_LIT("x")).ptr;
    avow_arena_deinit(&a);
    return ok ? AVOW_OK : AVOW_NOMEM;
}

static enum avow_rc use_map(void)
{
    struct avow_map m;
    enum avow_rc rc = AVOW_OK;
    int n = 0, dummy = 0;
    avow_map_init(&m, 1, 2);
    for (; !rc && n < 100; n++)
        rc = avow_map_set(&m, avow_bytes_make(&n, sizeof n), &dummy, NULL);
    const int stored = rc ? n - 1 : n;
    unsigned left = failing_alloc_at;
    failing_alloc_at = 0;
    assert_int_equal(m.count, stored);
    for (int i = 0; i < stored; i++)
        assert_ptr_equal(avow_map_find(&m, avow_bytes_make(&i, sizeof i)), &dummy);
    failing_alloc_at = left;
    avow_map_deinit(&m, NULL);
    return rc;
}

static const char *conf_file;

static enum avow_rc use_conf(void)
{
    char name[] = "AVOW_TEST_NAME=e", pass[] = "AVOW_KAFKA_X_Y=z";
    char *env[] = {name, pass, NULL};
    const char *const sets[] = {"test.count=3", "kafka.q=r"};
    struct avow_conf *c = NULL;
    struct avow_err err;
    enum avow_rc rc = avow_conf_load(&test_spec, conf_file, sets, 2, env, &c, &err);
    assert_int_equal(rc == AVOW_OK, c != NULL);
    avow_conf_free(c);
    return rc;
}

static void test_every_allocation__fails__is_nomem_without_damage(void **state)
{
    char path[300];
    (void)state;
    scratch_write("t.conf.d/a.conf", "[test]\nname=b\n[kafka]\nc=d\n");
    avow_str_copy(path, sizeof path,
                  avow_str_from(scratch_write("t.conf", "[test]\nname=a\n[kafka]\nc=d\ne=f\n")));
    conf_file = path;
    assert_true(for_each_failure(use_buf) >= 4);
    assert_true(for_each_failure(use_arena) >= 4);
    assert_true(for_each_failure(use_map) >= 100);
    assert_true(for_each_failure(use_conf) >= 25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_allocation__fails__is_nomem_without_damage,
                                        scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
