/* test_marker_book.c - which nonces may be answered (PROTOCOL R5), and that forgeries do not crowd
 * out the genuine. */
#include "marker_book.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "avow/base/banned.h"

#define EPOCH 10000u
#define NOW 1700000005000u
#define E (NOW / EPOCH)

/* A record is "g<nonce>" when its signature is good, "b<nonce>" when it is not. */
static bool verify(void *arg, struct avow_bytes record)
{
    unsigned *calls = arg;
    ++*calls;
    return record.len > 0 && record.ptr[0] == 'g';
}

static enum avow_marker_book_added add(struct avow_marker_book *b, uint64_t epoch, uint8_t n,
                                       char kind, bool own, bool live)
{
    struct avow_marker m = {.epoch = epoch};
    memset(m.nonce, n, sizeof m.nonce);
    uint8_t record[2] = {(uint8_t)kind, n};
    struct avow_marker_book_add in = {
        .marker = &m, .record = AVOW_BYTES_OF(record), .own = own, .live = live, .unix_ms = NOW};
    enum avow_marker_book_added out;
    struct avow_err err;
    assert_int_equal(avow_marker_book_add(b, &in, &out, &err), AVOW_OK);
    return out;
}

static enum avow_marker_book_found find(struct avow_marker_book *b, uint64_t epoch, uint8_t n)
{
    uint8_t nonce[32], tag[8];
    struct avow_bytes record;
    memset(nonce, n, sizeof nonce);
    avow_marker_tag(nonce, tag);
    return avow_marker_book_find(b, epoch, tag, NOW, &record);
}

struct fixture {
    struct avow_marker_book book;
    unsigned calls;
};

static int setup(void **state)
{
    static struct fixture f;
    f.calls = 0;
    avow_marker_book_init(&f.book, EPOCH, verify, &f.calls);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    avow_marker_book_deinit(&f->book);
    return 0;
}

static void test_find__restored__checks_only_what_is_asked_for(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(add(&f->book, E - 1000 + i, (uint8_t)i, i == 7 ? 'b' : 'g', false, false),
                         AVOW_MARKER_BOOK_ADDED);
    assert_int_equal(f->calls, 0);
    assert_int_equal(find(&f->book, E - 1000 + 6, 6), AVOW_MARKER_BOOK_FOUND);
    assert_int_equal(find(&f->book, E - 1000 + 6, 6), AVOW_MARKER_BOOK_FOUND);
    assert_int_equal(f->calls, 1);
    assert_int_equal(find(&f->book, E - 1000 + 7, 7), AVOW_MARKER_BOOK_UNKNOWN); /* a forgery */
    assert_int_equal(find(&f->book, E - 1000 + 6, 7), AVOW_MARKER_BOOK_UNKNOWN);
    assert_int_equal(find(&f->book, E + 5, 6), AVOW_MARKER_BOOK_UNKNOWN);
    assert_int_equal(find(&f->book, E - 8641, 6), AVOW_MARKER_BOOK_EXPIRED);
}

static void test_add__twins__four_good_ones_and_no_forgery(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(add(&f->book, E, 1, 'g', true, true), AVOW_MARKER_BOOK_ADDED);
    assert_int_equal(add(&f->book, E, 1, 'g', false, true), AVOW_MARKER_BOOK_KNOWN);
    assert_int_equal(add(&f->book, E, 2, 'b', false, true), AVOW_MARKER_BOOK_REFUSED);
    assert_int_equal(add(&f->book, E, 3, 'g', false, true), AVOW_MARKER_BOOK_TWIN);
    assert_int_equal(add(&f->book, E, 4, 'g', false, true), AVOW_MARKER_BOOK_TWIN);
    assert_int_equal(add(&f->book, E, 5, 'g', false, true), AVOW_MARKER_BOOK_TWIN);
    assert_int_equal(add(&f->book, E, 6, 'g', false, true), AVOW_MARKER_BOOK_REFUSED);
    assert_int_equal(find(&f->book, E, 3), AVOW_MARKER_BOOK_FOUND);
    assert_int_equal(find(&f->book, E, 2), AVOW_MARKER_BOOK_UNKNOWN);
    assert_int_equal(find(&f->book, E, 6), AVOW_MARKER_BOOK_UNKNOWN);
}

static void test_add__forgery_restored_first__gives_way(void **state)
{
    struct fixture *f = *state;
    /* The same nonce with a bad signature, placed before the genuine record. */
    assert_int_equal(add(&f->book, E - 1, 1, 'b', false, false), AVOW_MARKER_BOOK_ADDED);
    assert_int_equal(add(&f->book, E - 1, 1, 'g', false, false), AVOW_MARKER_BOOK_ADDED);
    assert_int_equal(find(&f->book, E - 1, 1), AVOW_MARKER_BOOK_FOUND);
    assert_int_equal(f->book.count, 1);
}

static void test_add__old_and_future__not_in_the_book(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(add(&f->book, E, 1, 'g', false, true), AVOW_MARKER_BOOK_ADDED);
    assert_int_equal(add(&f->book, E - 3, 2, 'g', false, true), AVOW_MARKER_BOOK_ADDED);
    assert_int_equal(add(&f->book, E - 4, 3, 'g', false, true), AVOW_MARKER_BOOK_OLD);
    assert_int_equal(add(&f->book, E - 8641, 4, 'g', false, false), AVOW_MARKER_BOOK_OLD);
    assert_int_equal(add(&f->book, E + 1, 5, 'g', false, true), AVOW_MARKER_BOOK_ADDED);
    assert_int_equal(add(&f->book, E + 2, 6, 'g', false, true), AVOW_MARKER_BOOK_FUTURE);
    assert_int_equal(add(&f->book, E + 2, 7, 'b', false, true), AVOW_MARKER_BOOK_REFUSED);
    assert_int_equal(find(&f->book, E + 2, 6), AVOW_MARKER_BOOK_UNKNOWN);
}

static void test_newest__forgeries_on_top__skipped(void **state)
{
    struct fixture *f = *state;
    struct avow_bytes record;
    assert_false(avow_marker_book_newest(&f->book, &record));
    (void)add(&f->book, E - 2, 1, 'g', false, false);
    (void)add(&f->book, E - 1, 2, 'b', false, false);
    (void)add(&f->book, E, 3, 'b', false, false);
    assert_true(avow_marker_book_newest(&f->book, &record));
    assert_int_equal(record.ptr[1], 1);
}

static void test_distrust__own_marker__checked_anew(void **state)
{
    struct fixture *f = *state;
    (void)add(&f->book, E, 1, 'b', true, true); /* ours, although the check would refuse it */
    assert_int_equal(find(&f->book, E, 1), AVOW_MARKER_BOOK_FOUND);
    avow_marker_book_distrust(&f->book);
    assert_int_equal(find(&f->book, E, 1), AVOW_MARKER_BOOK_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_find__restored__checks_only_what_is_asked_for, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_add__twins__four_good_ones_and_no_forgery, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_add__forgery_restored_first__gives_way, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_add__old_and_future__not_in_the_book, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newest__forgeries_on_top__skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_distrust__own_marker__checked_anew, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
