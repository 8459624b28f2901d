#include "avow/base/bytes.h"

#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

static const uint8_t count_up[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};

static void test_rd_integers__both_orders__read_in_sequence(void **state)
{
    struct avow_rd r = avow_rd_make(AVOW_BYTES_OF(count_up));
    (void)state;
    assert_int_equal(avow_rd_left(&r), 18);
    assert_int_equal(avow_rd_u8(&r), 1);
    assert_int_equal(avow_rd_u16be(&r), 0x0203);
    assert_int_equal(avow_rd_u32be(&r), 0x04050607);
    assert_int_equal(avow_rd_u64be(&r), 0x08090a0b0c0d0e0full);
    assert_int_equal(avow_rd_left(&r), 3);
    assert_false(avow_rd_done(&r));
    r = avow_rd_make(AVOW_BYTES_OF(count_up));
    assert_int_equal(avow_rd_u16le(&r), 0x0201);
    assert_int_equal(avow_rd_u32le(&r), 0x06050403);
    assert_int_equal(avow_rd_u64le(&r), 0x0e0d0c0b0a090807ull);
    assert_int_equal(avow_rd_u32le(&r), 0x1211100f);
    assert_true(avow_rd_done(&r));
}

/* Every reader at every input that is too short: zero, bad, and bad for ever. */
static void test_rd_integers__truncated__are_zero_and_sticky(void **state)
{
    (void)state;
    for (size_t which = 0; which < 7; which++) {
        static const size_t sizes[] = {1, 2, 4, 8, 2, 4, 8};
        for (size_t len = 0; len < sizes[which]; len++) {
            uint8_t *exact = malloc(len ? len : 1); /* a sanitizer sees one byte too many */
            assert_non_null(exact);
            memset(exact, 0xff, len ? len : 1);
            struct avow_rd r = avow_rd_make(avow_bytes_make(exact, len));
            uint64_t v = which == 0   ? avow_rd_u8(&r)
                         : which == 1 ? avow_rd_u16be(&r)
                         : which == 2 ? avow_rd_u32be(&r)
                         : which == 3 ? avow_rd_u64be(&r)
                         : which == 4 ? avow_rd_u16le(&r)
                         : which == 5 ? avow_rd_u32le(&r)
                                      : avow_rd_u64le(&r);
            assert_int_equal(v, 0);
            assert_true(r.bad);
            assert_int_equal(avow_rd_u8(&r), 0);
            assert_int_equal(avow_rd_left(&r), 0);
            assert_null(avow_rd_take(&r, 0).ptr);
            assert_false(avow_rd_done(&r));
            free(exact);
        }
    }
}

static void test_rd_take__bounds__are_checked_before_use(void **state)
{
    struct avow_rd r = avow_rd_make(AVOW_BYTES_OF(count_up));
    (void)state;
    struct avow_bytes b = avow_rd_take(&r, 3);
    assert_ptr_equal(b.ptr, count_up);
    assert_int_equal(b.len, 3);
    assert_int_equal(avow_rd_take(&r, 0).len, 0);
    assert_false(r.bad);
    assert_int_equal(avow_rd_take(&r, SIZE_MAX).len, 0);
    assert_true(r.bad);
}

static void test_rd_make__null__is_empty_and_done(void **state)
{
    struct avow_rd r = avow_rd_make((struct avow_bytes){NULL, 0});
    (void)state;
    assert_true(avow_rd_done(&r));
    assert_int_equal(avow_rd_left(&r), 0);
    assert_int_equal(avow_rd_take(&r, 0).len, 0);
    assert_true(avow_rd_done(&r));
    assert_int_equal(avow_rd_u8(&r), 0);
    assert_false(avow_rd_done(&r));
}

static void test_rd_tpm2b__table__respects_max_and_end(void **state)
{
    static const struct {
        const char *name;
        const char *in;
        size_t in_len, max, len;
        bool bad;
    } cases[] = {
        {"empty", "\0\0", 2, 8, 0, false},
        {"three", "\0\3abc", 5, 3, 3, false},
        {"over max", "\0\3abc", 5, 2, 0, true},
        {"past the end", "\0\4abc", 5, 8, 0, true},
        {"half a length", "\0", 1, 8, 0, true},
        {"nothing", "", 0, 8, 0, true},
        {"largest length",
         "\xff\xff"
         "a",
         3, 65535, 0, true},
    };
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_rd r = avow_rd_make(avow_bytes_make(cases[i].in, cases[i].in_len));
        struct avow_bytes b = avow_rd_tpm2b(&r, cases[i].max);
        CHECK(cases[i].name, b.len == cases[i].len);
        CHECK(cases[i].name, r.bad == cases[i].bad);
        CHECK(cases[i].name, avow_rd_done(&r) == !cases[i].bad);
    }
}

static void test_put__all_widths__are_read_back(void **state)
{
    uint8_t raw[26];
    (void)state;
    avow_put_u16be(raw, 0x0102);
    avow_put_u32be(raw + 2, 0x03040506);
    avow_put_u64be(raw + 6, 0x0708090a0b0c0d0eull);
    avow_put_u32le(raw + 14, 0x1211100f);
    avow_put_u64le(raw + 18, 0x1a19181716151413ull);
    for (size_t i = 0; i < sizeof raw; i++)
        assert_int_equal(raw[i], i + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rd_integers__both_orders__read_in_sequence),
        cmocka_unit_test(test_rd_integers__truncated__are_zero_and_sticky),
        cmocka_unit_test(test_rd_take__bounds__are_checked_before_use),
        cmocka_unit_test(test_rd_make__null__is_empty_and_done),
        cmocka_unit_test(test_rd_tpm2b__table__respects_max_and_end),
        cmocka_unit_test(test_put__all_widths__are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
