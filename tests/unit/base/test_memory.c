/* Buffer and arena: caps, growth, stickiness. */
#include "avow/base/arena.h"
#include "avow/base/buf.h"
#include "avow/base/num.h"

#include "check.h"

#include <string.h>

#include "avow/base/banned.h"

static void test_buf_put__up_to_the_limit__is_exact(void **state)
{
    struct avow_buf b;
    struct avow_err err;
    (void)state;
    avow_buf_init(&b, 5);
    avow_buf_put(&b, NULL, 0);
    avow_buf_put_str(&b, "abcde");
    assert_int_equal(avow_buf_status(&b, &err), AVOW_OK);
    assert_string_equal(avow_buf_cstr(&b), "abcde");
    avow_buf_put(&b, "", 0);
    assert_int_equal(avow_buf_status(&b, &err), AVOW_OK);
    avow_buf_put_u8(&b, 'f');
    assert_int_equal(avow_buf_status(&b, &err), AVOW_LIMIT);
    assert_string_equal(err.msg, "more than 5 bytes");
    assert_int_equal(b.len, 5);
    assert_true(b.cap <= 6);
    avow_buf_deinit(&b);
}

static void test_buf__after_a_failure__stays_failed_until_reset(void **state)
{
    struct avow_buf b;
    (void)state;
    avow_buf_init(&b, 4);
    avow_buf_put_u32be(&b, 0x01020304);
    avow_buf_put_u16be(&b, 1);
    assert_int_equal(b.failed, AVOW_LIMIT);
    b.len = 0;
    avow_buf_put_u8(&b, 1);
    avow_buf_printf(&b, "%d", 1);
    assert_null(avow_buf_extend(&b, 1));
    assert_string_equal(avow_buf_cstr(&b), "");
    assert_int_equal(b.len, 0);
    avow_buf_reset(&b);
    avow_buf_put_u8(&b, 7);
    assert_int_equal(avow_buf_status(&b, NULL), AVOW_OK);
    assert_int_equal(avow_buf_bytes(&b).ptr[0], 7);
    avow_buf_deinit(&b);
    avow_buf_deinit(&b); /* twice is fine */
}

static void test_buf_put_integers__all_widths__are_big_endian(void **state)
{
    struct avow_buf b;
    (void)state;
    avow_buf_init(&b, 64);
    avow_buf_put_u8(&b, 1);
    avow_buf_put_u16be(&b, 0x0203);
    avow_buf_put_u32be(&b, 0x04050607);
    avow_buf_put_u64be(&b, 0x08090a0b0c0d0e0full);
    assert_int_equal(b.len, 15);
    for (size_t i = 0; i < b.len; i++)
        assert_int_equal(b.ptr[i], i + 1);
    avow_buf_deinit(&b);
}

static void test_buf__many_appends__keep_their_content(void **state)
{
    struct avow_buf b;
    (void)state;
    avow_buf_init(&b, SIZE_MAX);
    for (unsigned i = 0; i < 20000; i++)
        avow_buf_printf(&b, "%u,", i);
    assert_int_equal(avow_buf_status(&b, NULL), AVOW_OK);
    struct avow_str s = {avow_buf_cstr(&b), b.len};
    assert_true(avow_str_starts(s, "0,1,2,"));
    assert_string_equal(s.ptr + s.len - 12, "19998,19999,");
    avow_buf_put(&b, "x", SIZE_MAX); /* length arithmetic must not wrap */
    assert_int_equal(b.failed, AVOW_LIMIT);
    avow_buf_deinit(&b);
}

static void test_buf_extend__reused_memory__is_zeroed(void **state)
{
    struct avow_buf b;
    (void)state;
    avow_buf_init(&b, 64);
    avow_buf_put_str(&b, "aaaaaaaaaaaaaaaa");
    avow_buf_reset(&b);
    uint8_t *p = avow_buf_extend(&b, 16);
    assert_non_null(p);
    assert_true(avow_bytes_all(avow_buf_bytes(&b), 0));
    assert_int_equal(b.len, 16);
    avow_buf_deinit(&b);
}

static void test_arena_alloc__limit__is_never_exceeded(void **state)
{
    struct avow_arena a;
    (void)state;
    avow_arena_init(&a, 100);
    assert_non_null(avow_arena_alloc(&a, 100, 1));
    assert_int_equal(a.used, 100);
    assert_null(avow_arena_alloc(&a, 1, 1));
    avow_arena_reset(&a);
    assert_int_equal(a.used, 0);
    assert_null(avow_arena_alloc(&a, 101, 1));
    assert_null(avow_arena_alloc(&a, SIZE_MAX, 2));         /* product wraps to SIZE_MAX - 1 */
    assert_null(avow_arena_alloc(&a, SIZE_MAX / 2 + 2, 2)); /* product wraps to 2 */
    unsigned n = 0;
    while (avow_arena_alloc(&a, 1, 1))
        n++;
    assert_true(n <= 100 && n >= 100 / sizeof(max_align_t));
    assert_true(a.used <= a.limit);
    avow_arena_deinit(&a);
    avow_arena_init(&a, SIZE_MAX);
    assert_null(avow_arena_alloc(&a, SIZE_MAX, 1));
    avow_arena_deinit(&a);
}

static void test_arena_alloc__small_pieces__cannot_exceed_the_cap_in_memory(void **state)
{
    struct avow_arena a;
    unsigned n = 0;
    (void)state;
    avow_arena_init(&a, 16 * 1024);
    while (avow_arena_alloc(&a, 0, 8)) /* empty arrays count too */
        n++;
    assert_true(n > 0 && n <= 16 * 1024 / _Alignof(max_align_t));
    avow_arena_deinit(&a);
}

static void test_arena_alloc__any_size__is_aligned_zeroed_and_disjoint(void **state)
{
    struct avow_arena a;
    uint8_t *last = NULL;
    size_t last_len = 0;
    (void)state;
    avow_arena_init(&a, 1 << 20);
    for (int round = 0; round < 2; round++) {
        for (size_t n = 0; n < 300; n++) {
            uint8_t *p = avow_arena_alloc(&a, n, 3);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
            assert_true(avow_bytes_all(avow_bytes_make(p, n * 3), 0));
            memset(p, 0xee, n * 3);
            assert_true(!last || p >= last + last_len || p + n * 3 <= last);
            last = p;
            last_len = n * 3;
        }
        avow_arena_reset(&a); /* the second round reuses a dirty block */
        last = NULL;
    }
    avow_arena_deinit(&a);
}

static void test_arena_copies__table__are_equal_and_owned(void **state)
{
    struct avow_arena a;
    uint8_t raw[] = {1, 2, 3};
    (void)state;
    avow_arena_init(&a, 4096);
    struct avow_bytes b = avow_arena_bytes(&a, AVOW_BYTES_OF(raw));
    raw[0] = 9;
    assert_int_equal(b.len, 3);
    assert_int_equal(b.ptr[0], 1);
    assert_int_equal(avow_arena_bytes(&a, (struct avow_bytes){NULL, 0}).len, 0);
    assert_true(avow_str_is(avow_arena_str(&a, AVOW_STR_LIT("text")), "text"));
    assert_string_equal(avow_arena_cstr(&a, (struct avow_str){"abcdef", 3}), "abc");
    assert_string_equal(avow_arena_cstr(&a, avow_str_from(NULL)), "");
    assert_string_equal(avow_arena_printf(&a, "%s-%d", "x", 42), "x-42");
    avow_arena_deinit(&a);
    avow_arena_init(&a, 8);
    b = avow_arena_bytes(&a, avow_bytes_make("123456789", 9));
    assert_true(b.ptr == NULL && b.len == 9);
    assert_null(avow_arena_cstr(&a, AVOW_STR_LIT("12345678")));
    assert_null(avow_arena_printf(&a, "%s", "12345678"));
    assert_string_equal(avow_arena_cstr(&a, AVOW_STR_LIT("1234567")), "1234567");
    avow_arena_deinit(&a);
}

static void test_num_parse_u64__table__is_strict(void **state)
{
    static const struct {
        struct avow_str text;
        uint64_t max, want;
        bool ok;
    } cases[] = {
        {{"0", 1}, 0, 0, true},
        {{"42", 2}, 100, 42, true},
        {{"100", 3}, 100, 100, true},
        {{"101", 3}, 100, 0, false},
        {{"18446744073709551615", 20}, UINT64_MAX, UINT64_MAX, true},
        {{"18446744073709551616", 20}, UINT64_MAX, 0, false},
        {{"99999999999999999999", 20}, UINT64_MAX, 0, false},
        {{"184467440737095516150", 21}, UINT64_MAX, 0, false},
        {{"", 0}, 9, 0, false},
        {{NULL, 0}, 9, 0, false},
        {{"-1", 2}, 9, 0, false},
        {{"+1", 2}, 9, 0, false},
        {{" 1", 2}, 9, 0, false},
        {{"1 ", 2}, 9, 0, false},
        {{"1\0", 2}, 9, 0, false},
        {{"0x1", 3}, 9, 0, false},
        {{"1/", 2}, 99, 0, false},
        {{"1:", 2}, 99, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        uint64_t v = 12345;
        CHECK(cases[i].text.ptr ? cases[i].text.ptr : "null",
              avow_num_parse_u64(cases[i].text, cases[i].max, &v) == cases[i].ok);
        CHECK("value", v == (cases[i].ok ? cases[i].want : 12345));
    }
}

static void test_size_mul__overflow__is_refused(void **state)
{
    size_t out = 7;
    (void)state;
    assert_true(avow_size_mul(0, SIZE_MAX, &out) && out == 0);
    assert_true(avow_size_mul(SIZE_MAX, 0, &out) && out == 0);
    assert_true(avow_size_mul(SIZE_MAX, 1, &out) && out == SIZE_MAX);
    assert_true(avow_size_mul(6, 7, &out) && out == 42);
    assert_false(avow_size_mul(SIZE_MAX / 2 + 1, 2, &out));
    assert_false(avow_size_mul(SIZE_MAX, SIZE_MAX, &out));
    assert_int_equal(out, 42);
    assert_int_equal(avow_min_u64(3, 4), 3);
    assert_int_equal(avow_max_u64(3, 4), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_put__up_to_the_limit__is_exact),
        cmocka_unit_test(test_buf__after_a_failure__stays_failed_until_reset),
        cmocka_unit_test(test_buf_put_integers__all_widths__are_big_endian),
        cmocka_unit_test(test_buf__many_appends__keep_their_content),
        cmocka_unit_test(test_buf_extend__reused_memory__is_zeroed),
        cmocka_unit_test(test_arena_alloc__limit__is_never_exceeded),
        cmocka_unit_test(test_arena_alloc__small_pieces__cannot_exceed_the_cap_in_memory),
        cmocka_unit_test(test_arena_alloc__any_size__is_aligned_zeroed_and_disjoint),
        cmocka_unit_test(test_arena_copies__table__are_equal_and_owned),
        cmocka_unit_test(test_num_parse_u64__table__is_strict),
        cmocka_unit_test(test_size_mul__overflow__is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
