#include "cli_test.h"

#include "avow/base/file.h"
#include "ledger.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A ledger in a folder of its own, without any Kafka. */
struct world {
    char dir[64];
    struct avow_cli cli;
};

static int start(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct avow_err err = {0};
    char set[128];
    assert_non_null(w);
    snprintf(w->dir, sizeof w->dir, "/tmp/avow-ledger-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(set, sizeof set, "cli.ledger=%s/ledger", w->dir);
    const char *sets[] = {set};
    char *none[] = {NULL};
    assert_code("conf",
                avow_conf_load(&avow_cli_conf_spec, "/dev/null", sets, 1, none, &w->cli.conf, &err),
                AVOW_OK, &err);
    *state = w;
    return 0;
}

static int end(void **state)
{
    struct world *w = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", w->dir);
    int failed = system(command);
    avow_cli_deinit(&w->cli);
    free(w);
    return failed;
}

static void put(struct world *w, const char *name, uint64_t generation)
{
    struct avow_err err = {0};
    assert_code(
        "put",
        avow_ledger_put(&w->cli, "policies", name, generation, avow_bytes_make("x", 1), &err),
        AVOW_OK, &err);
}

static uint64_t next(struct world *w, const char *name, uint64_t there, uint64_t floor)
{
    struct avow_err err = {0};
    uint64_t got = 0;
    assert_code("next", avow_ledger_next(&w->cli, "policies", name, there, floor, &got, &err),
                AVOW_OK, &err);
    return got;
}

static void test_ledger_next__is_above_topic_ledger_and_floor(void **state)
{
    struct world *w = *state;
    assert_int_equal(next(w, "p", 0, 0), 1);
    assert_int_equal(next(w, "p", 4, 0), 5);
    assert_int_equal(next(w, "p", 4, 9), 9);
    put(w, "p", 7);
    put(w, "p", 12);
    put(w, "p", 9);
    assert_int_equal(next(w, "p", 4, 0), 13); /* 5 was signed before, or may have been */
    assert_int_equal(next(w, "p", 20, 0), 21);
    assert_int_equal(next(w, "other", 0, 0), 1);
}

static void test_ledger_next__other_files__are_no_generations(void **state)
{
    static const char *const names[] = {"99",
                                        "99.avro.x1y2z3",
                                        "x99.avro",
                                        "99.AVRO",
                                        "-5.avro",
                                        ".avro",
                                        "9999999999999999999999.avro"};
    struct world *w = *state;
    struct avow_err err = {0};
    put(w, "p", 2);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[192];
        snprintf(path, sizeof path, "%s/ledger/policies/p/%s", w->dir, names[i]);
        assert_code(names[i], avow_file_write(path, avow_bytes_make("x", 1), 0600, &err), AVOW_OK,
                    &err);
    }
    assert_int_equal(next(w, "p", 0, 0), 3);
}

static void test_ledger_put__makes_private_files(void **state)
{
    struct world *w = *state;
    struct stat st;
    char path[192];
    put(w, "p", 1);
    snprintf(path, sizeof path, "%s/ledger/policies/p/1.avro", w->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, 1);
}

static void test_ledger_put__cannot_write__fails_with_the_next_step(void **state)
{
    struct world *w = *state;
    struct avow_err err = {0};
    uint64_t generation;
    char path[128];
    snprintf(path, sizeof path, "%s/ledger", w->dir);
    assert_code("file", avow_file_write(path, avow_bytes_make("x", 1), 0600, &err), AVOW_OK, &err);
    assert_code("put", avow_ledger_put(&w->cli, "policies", "p", 1, avow_bytes_make("x", 1), &err),
                AVOW_IO, &err);
    assert_contains("hint", w->cli.hint, "nothing was published");
    assert_code("next", avow_ledger_next(&w->cli, "policies", "p", 0, 0, &generation, &err),
                AVOW_IO, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ledger_next__is_above_topic_ledger_and_floor, start,
                                        end),
        cmocka_unit_test_setup_teardown(test_ledger_next__other_files__are_no_generations, start,
                                        end),
        cmocka_unit_test_setup_teardown(test_ledger_put__makes_private_files, start, end),
        cmocka_unit_test_setup_teardown(test_ledger_put__cannot_write__fails_with_the_next_step,
                                        start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
