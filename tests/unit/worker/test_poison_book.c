/* test_poison_book.c - what is remembered of records that were in hand at a death (PROTOCOL R21).
 */
#define _GNU_SOURCE
#include "poison_book.h"

#include "avow/base/attrs.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "avow/base/banned.h"

static const uint8_t fleet[16] = {1, 2, 3};

struct fixture {
    char folder[64];
    struct avow_poison_place place;
};

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);
    snprintf(f->folder, sizeof f->folder, "/tmp/avow-poison-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->place = (struct avow_poison_place){
        .folder = f->folder, .group = "a/group", .fleet = fleet, .partition = 3, .committed = 100};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", f->folder);
    assert_int_equal(system(command), 0);
    test_free(f);
    return 0;
}

static struct avow_poison_book open_book(const struct avow_poison_place *place, uint64_t *deaths)
{
    struct avow_poison_book b = {0};
    struct avow_err err;
    if (avow_poison_book_open(place, &b, deaths, &err))
        fail_msg("%s", err.msg);
    return b;
}

/* A life that ends with a record in hand: a process of its own, killed. */
static void die_with(const struct avow_poison_place *place, int64_t offset)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct avow_poison_book b = {0};
        uint64_t deaths;
        struct avow_err err;
        if (avow_poison_book_open(place, &b, &deaths, &err))
            _exit(1);
        avow_poison_book_take(&b, 42); /* a neighbour, which is fine */
        avow_poison_book_done(&b);
        avow_poison_book_take(&b, offset);
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void test_open__deaths__two_at_one_offset_are_poison(void **state)
{
    static const struct {
        const char *name;
        int64_t in_hand[3]; /* at successive deaths; 0: no more */
        int64_t committed;  /* at the last start */
        int64_t poison;
        uint64_t deaths;
    } cases[] = {
        {"never", {0}, 100, -1, 0},
        {"once", {105}, 100, -1, 1},
        {"twice", {105, 105}, 100, 105, 2},
        {"three times", {105, 105, 105}, 100, 105, 3},
        {"at two offsets", {105, 106}, 100, -1, 1},
        {"again after another", {105, 106, 105}, 100, -1, 1},
        {"twice, and it is committed", {105, 105}, 106, -1, 0},
        {"twice, and it is the next", {105, 105}, 105, 105, 2},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        uint64_t deaths;
        f->place.partition = (int32_t)i;
        f->place.committed = 100;
        for (size_t d = 0; d < 3 && cases[i].in_hand[d]; d++)
            die_with(&f->place, cases[i].in_hand[d]);
        f->place.committed = cases[i].committed;
        struct avow_poison_book b = open_book(&f->place, &deaths);
        if (b.poison != cases[i].poison || deaths != cases[i].deaths)
            fail_msg("%s: poison %lld, %llu deaths", cases[i].name, (long long)b.poison,
                     (unsigned long long)deaths);
        assert_int_equal(avow_poison_book_forbids(&b, 105), cases[i].poison == 105);
        assert_false(avow_poison_book_forbids(&b, 104));
        avow_poison_book_close(&b);
    }
}

static void test_open__ended_between_records__nothing_is_suspected(void **state)
{
    struct fixture *f = *state;
    uint64_t deaths;
    for (unsigned i = 0; i < 3; i++) {
        struct avow_poison_book b = open_book(&f->place, &deaths);
        avow_poison_book_take(&b, 105);
        avow_poison_book_done(&b);
        avow_poison_book_close(&b);
        assert_int_equal(deaths, 0);
    }
}

static void test_passed__the_poison_is_committed__forgotten(void **state)
{
    struct fixture *f = *state;
    uint64_t deaths;
    die_with(&f->place, 105);
    die_with(&f->place, 105);
    struct avow_poison_book b = open_book(&f->place, &deaths);
    avow_poison_book_passed(&b, 105);
    assert_true(avow_poison_book_forbids(&b, 105));
    avow_poison_book_passed(&b, 106);
    assert_false(avow_poison_book_forbids(&b, 105));
    avow_poison_book_close(&b);
    b = open_book(&f->place, &deaths);
    assert_int_equal(deaths, 0);
    avow_poison_book_close(&b);
}

static void test_open__file_of_another_fleet_or_cut__starts_anew(void **state)
{
    static const uint8_t other[16] = {9};
    struct fixture *f = *state;
    uint64_t deaths;
    die_with(&f->place, 105);
    die_with(&f->place, 105);
    struct avow_poison_place elsewhere = f->place;
    elsewhere.fleet = other;
    struct avow_poison_book b = open_book(&elsewhere, &deaths);
    assert_int_equal(deaths, 0);
    avow_poison_book_close(&b);

    char command[160];
    snprintf(command, sizeof command, "for f in '%s'/*; do echo short > $f; done", f->folder);
    assert_int_equal(system(command), 0);
    b = open_book(&f->place, &deaths);
    assert_int_equal(deaths, 0);
    avow_poison_book_take(&b, 105); /* no SIGBUS: the file has its size again */
    avow_poison_book_done(&b);
    avow_poison_book_close(&b);
}

static void test_open__held_by_another__state_error(void **state)
{
    struct fixture *f = *state;
    uint64_t deaths;
    struct avow_err err;
    struct avow_poison_book b = open_book(&f->place, &deaths), second = {0};
    assert_int_equal(avow_poison_book_open(&f->place, &second, &deaths, &err), AVOW_STATE);
    assert_null(second.page);
    avow_poison_book_close(&b);
}

static void test_open__no_folder__io_error(void **state)
{
    struct fixture *f = *state;
    uint64_t deaths;
    struct avow_err err;
    struct avow_poison_book b = {0};
    f->place.folder = "/nonexistent";
    assert_int_equal(avow_poison_book_open(&f->place, &b, &deaths, &err), AVOW_IO);
    avow_poison_book_take(&b, 1); /* a book that is not kept is no trouble */
    avow_poison_book_done(&b);
    avow_poison_book_passed(&b, 2);
    assert_false(avow_poison_book_forbids(&b, 0));
    avow_poison_book_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_open__deaths__two_at_one_offset_are_poison, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_open__ended_between_records__nothing_is_suspected,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_passed__the_poison_is_committed__forgotten, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_open__file_of_another_fleet_or_cut__starts_anew, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_open__held_by_another__state_error, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open__no_folder__io_error, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
