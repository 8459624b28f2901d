#define _GNU_SOURCE /* truncate */
/* The reader over plain files that grow, shrink, are replaced and hold nonsense. */
#include "avow/formats/ima_list.h"
#include "scratch.h"
#include "sources/ima_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define MANY UINT32_MAX
#define BIG (1024u * 1024u)

struct rig {
    struct scratch dir; /* 0: the list, 1: its count, 2: another list, 3: securityfs' count */
    struct avow_ima_reader *r;
    struct avow_buf list; /* what was written */
    struct avow_buf out;
    struct avow_ima_chunk chunk;
    struct avow_err err;
};

static int setup(void **state)
{
    static struct rig rig;
    static const char *const names[] = {"binary_runtime_measurements",
                                        "binary_runtime_measurements.count", "other",
                                        "runtime_measurements_count"};
    scratch_open(&rig.dir, names, 4);
    avow_buf_init(&rig.list, 64 * BIG);
    avow_buf_init(&rig.out, 64 * BIG);
    assert_int_equal(avow_ima_reader_new(rig.dir.path[0], &rig.r, NULL), AVOW_OK);
    *state = &rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;
    avow_ima_reader_free(g->r);
    avow_buf_deinit(&g->list);
    avow_buf_deinit(&g->out);
    scratch_close(&g->dir);
    return 0;
}

static void add(struct rig *g, const char *path, size_t extra)
{
    size_t before = g->list.len;
    scratch_entry(&g->list, path, extra);
    scratch_append(g->dir.path[0], g->list.ptr + before, g->list.len - before);
}

static enum avow_rc get(struct rig *g, struct avow_ima_pos from, size_t max, uint32_t count_max)
{
    const struct avow_ima_want want = {from, max, count_max};
    avow_buf_reset(&g->out);
    return avow_ima_reader_read(g->r, &want, &g->out, &g->chunk, &g->err);
}

static const struct avow_ima_pos begin = {0, 0};

static void test_read__no_list__is_not_found(void **state)
{
    struct rig *g = *state;
    bool exact;
    uint64_t n;
    assert_int_equal(get(g, begin, BIG, MANY), AVOW_NOTFOUND);
    assert_int_equal(avow_ima_reader_count(g->r, &n, &exact, NULL), AVOW_NOTFOUND);
}

static void test_read__a_folder__is_an_error_not_absence(void **state)
{
    struct rig *g = *state;
    assert_int_equal(mkdir(g->dir.path[0], 0700), 0);
    assert_int_equal(get(g, begin, BIG, MANY), AVOW_IO);
    assert_int_equal(rmdir(g->dir.path[0]), 0);
}

static void test_read__growth__continues_where_it_was(void **state)
{
    struct rig *g = *state;
    add(g, "boot_aggregate", 0);
    add(g, "/a", 0);
    assert_int_equal(get(g, begin, BIG, MANY), AVOW_OK);
    assert_int_equal(g->chunk.count, 2);
    assert_false(g->chunk.more);
    assert_false(g->chunk.trimmed);
    assert_int_equal(g->chunk.end.index, 2);
    assert_int_equal(g->chunk.end.offset, g->list.len);
    assert_true(avow_bytes_eq(avow_buf_bytes(&g->out), avow_buf_bytes(&g->list)));
    struct avow_ima_pos pos = g->chunk.end;
    assert_int_equal(get(g, pos, BIG, MANY), AVOW_OK);
    assert_int_equal(g->chunk.count, 0);
    assert_int_equal(g->out.len, 0);
    add(g, "/b", 3);
    assert_int_equal(get(g, pos, BIG, MANY), AVOW_OK);
    assert_int_equal(g->chunk.count, 1);
    assert_int_equal(g->chunk.end.index, 3);
    assert_true(avow_bytes_eq(avow_buf_bytes(&g->out),
                              avow_bytes_make(g->list.ptr + pos.offset, g->list.len - pos.offset)));
}

/* Every length of a last entry that is being written: never taken, never `more`, taken whole once
 * it is complete. */
static void test_read__partial_last_entry__waits(void **state)
{
    struct rig *g = *state;
    add(g, "boot_aggregate", 0);
    struct avow_buf entry;
    avow_buf_init(&entry, 4096);
    scratch_entry(&entry, "/partial", 0);
    struct avow_ima_pos pos = {1, g->list.len};
    for (size_t i = 0; i < entry.len; i++) {
        assert_int_equal(get(g, pos, BIG, MANY), AVOW_OK);
        assert_int_equal(g->chunk.count, 0);
        assert_false(g->chunk.more);
        scratch_append(g->dir.path[0], entry.ptr + i, 1);
    }
    assert_int_equal(get(g, pos, BIG, MANY), AVOW_OK);
    assert_int_equal(g->chunk.count, 1);
    assert_true(avow_bytes_eq(avow_buf_bytes(&g->out), avow_buf_bytes(&entry)));
    avow_buf_deinit(&entry);
}

static void test_read__max__cuts_at_entries_and_says_more(void **state)
{
    struct rig *g = *state;
    add(g, "boot_aggregate", 0);
    size_t first = g->list.len;
    add(g, "/a", 0);
    size_t second = g->list.len;
    add(g, "/b", 0);
    static const struct {
        const char *name;
        int delta;
        uint32_t count;
        bool more;
    } cases[] = {{"one byte short of two", -1, 1, true},
                 {"exactly two", 0, 2, true},
                 {"one byte more", 1, 2, true}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        assert_int_equal(get(g, begin, (size_t)((int)second + cases[i].delta), MANY), AVOW_OK);
        if (g->chunk.count != cases[i].count || g->chunk.more != cases[i].more)
            fail_msg("%s: %u", cases[i].name, g->chunk.count);
    }
    assert_int_equal(get(g, begin, g->list.len, MANY), AVOW_OK);
    assert_int_equal(g->chunk.count, 3);
    assert_false(g->chunk.more);
    assert_int_equal(get(g, begin, BIG, 1), AVOW_OK);
    assert_int_equal(g->chunk.count, 1);
    assert_true(g->chunk.more);
    assert_int_equal(g->chunk.end.offset, first);
    assert_int_equal(get(g, begin, 1, MANY), AVOW_OK); /* one is always taken */
    assert_int_equal(g->chunk.count, 1);
}

static void test_read__huge_entries__one_at_a_time(void **state)
{
    struct rig *g = *state;
    add(g, "boot_aggregate", 0);
    for (int i = 0; i < 3; i++)
        add(g, "/huge", 500u * 1024u);
    struct avow_ima_pos pos = begin;
    size_t total = 0;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(get(g, pos, 512u * 1024u, MANY), AVOW_OK);
        assert_int_equal(g->chunk.count, i ? 1 : 2); /* boot_aggregate and the first fit together */
        pos = g->chunk.end;
        total += g->out.len;
        if (!g->chunk.more)
            break;
    }
    assert_int_equal(total, g->list.len);
}

static void test_read__many_entries__in_small_steps_equals_the_list(void **state)
{
    struct rig *g = *state;
    struct avow_buf all;
    avow_buf_init(&all, 64 * BIG);
    add(g, "boot_aggregate", 0);
    for (unsigned i = 0; i < 3000; i++)
        add(g, "/usr/bin/x", (size_t)(i * 37 % 301));
    struct avow_ima_pos pos = begin;
    do {
        assert_int_equal(get(g, pos, 9999, MANY), AVOW_OK);
        avow_buf_put(&all, g->out.ptr, g->out.len);
        pos = g->chunk.end;
    } while (g->chunk.more);
    assert_int_equal(pos.index, 3001);
    assert_true(avow_bytes_eq(avow_buf_bytes(&all), avow_buf_bytes(&g->list)));
    avow_buf_deinit(&all);
}

static void test_read__malformed_entry__goods_before_it_first_then_error(void **state)
{
    struct rig *g = *state;
    static const uint8_t bad[64] = {10}; /* template name of length 0 */
    add(g, "boot_aggregate", 0);
    scratch_append(g->dir.path[0], bad, sizeof bad);
    assert_int_equal(get(g, begin, BIG, MANY), AVOW_OK);
    assert_int_equal(g->chunk.count, 1);
    assert_true(g->chunk.more);
    assert_int_equal(get(g, g->chunk.end, BIG, MANY), AVOW_PARSE);
}

static void test_read__too_large_entry__is_limit(void **state)
{
    struct rig *g = *state;
    scratch_entry(&g->list, "/x", 0);
    avow_put_u32le(g->list.ptr + 34, AVOW_IMA_ENTRY_MAX + 1);
    scratch_append(g->dir.path[0], g->list.ptr, g->list.len);
    assert_int_equal(get(g, begin, BIG, MANY), AVOW_LIMIT);
}

static void test_read__shrunk__is_another_list(void **state)
{
    struct rig *g = *state;
    add(g, "boot_aggregate", 0);
    add(g, "/a", 0);
    assert_int_equal(get(g, begin, BIG, MANY), AVOW_OK);
    struct avow_ima_pos pos = g->chunk.end;
    assert_int_equal(truncate(g->dir.path[0], 0), 0);
    avow_buf_reset(&g->list);
    add(g, "boot_aggregate", 0);
    assert_int_equal(get(g, pos, BIG, MANY), AVOW_STATE);
    assert_int_equal(get(g, begin, BIG, MANY), AVOW_OK);
    assert_int_equal(g->chunk.count, 1);
}

static void test_read__replaced_by_a_longer_one__is_another_list(void **state)
{
    struct rig *g = *state;
    add(g, "boot_aggregate", 0);
    assert_int_equal(get(g, begin, BIG, MANY), AVOW_OK);
    struct avow_ima_pos pos = g->chunk.end;
    avow_buf_reset(&g->list);
    for (int i = 0; i < 9; i++)
        scratch_entry(&g->list, "boot_aggregate", 7);
    scratch_append(g->dir.path[2], g->list.ptr, g->list.len);
    assert_int_equal(rename(g->dir.path[2], g->dir.path[0]), 0);
    assert_int_equal(get(g, pos, BIG, MANY), AVOW_STATE);
    assert_int_equal(get(g, begin, BIG, MANY), AVOW_OK);
    assert_int_equal(g->chunk.count, 9);
    assert_true(avow_bytes_eq(avow_buf_bytes(&g->out), avow_buf_bytes(&g->list)));
}

static void test_read__first_entry__tells_a_trimmed_list(void **state)
{
    struct rig *g = *state;
    add(g, "/usr/bin/late", 0);
    add(g, "/usr/bin/later", 0);
    assert_int_equal(get(g, begin, BIG, MANY), AVOW_OK);
    assert_true(g->chunk.trimmed);
    struct avow_ima_pos second = {1, 0};
    assert_int_equal(avow_ima_reader_find(g->r, 1, &second, NULL), AVOW_OK);
    assert_int_equal(get(g, second, BIG, MANY), AVOW_OK);
    assert_false(g->chunk.trimmed); /* only entry 0 tells */
}

static void test_find__any_order(void **state)
{
    struct rig *g = *state;
    uint64_t offsets[20];
    for (size_t i = 0; i < 20; i++) {
        offsets[i] = g->list.len;
        add(g, "/f", i * 11);
    }
    static const uint64_t order[] = {0, 19, 3, 3, 18, 1, 0, 20};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(order); i++) {
        struct avow_ima_pos pos;
        assert_int_equal(avow_ima_reader_find(g->r, order[i], &pos, NULL), AVOW_OK);
        assert_int_equal(pos.index, order[i]);
        assert_int_equal(pos.offset, order[i] < 20 ? offsets[order[i]] : g->list.len);
    }
    struct avow_ima_pos pos;
    assert_int_equal(avow_ima_reader_find(g->r, 21, &pos, NULL), AVOW_STATE);
}

static void test_count__where_the_kernel_or_the_rig_puts_it(void **state)
{
    struct rig *g = *state;
    bool exact;
    uint64_t n;
    add(g, "boot_aggregate", 0);
    assert_int_equal(avow_ima_reader_count(g->r, &n, &exact, NULL), AVOW_OK);
    assert_false(exact);
    assert_int_equal(n, g->list.len);
    scratch_append(g->dir.path[1], "12\n", 3);
    assert_int_equal(avow_ima_reader_count(g->r, &n, &exact, NULL), AVOW_OK);
    assert_true(exact);
    assert_int_equal(n, 12);
    assert_int_equal(unlink(g->dir.path[1]), 0);
    scratch_append(g->dir.path[3], "4294967297", 10);
    assert_int_equal(avow_ima_reader_count(g->r, &n, &exact, NULL), AVOW_OK);
    assert_int_equal(n, 4294967297u);
}

static void test_count__nonsense__is_an_error(void **state)
{
    struct rig *g = *state;
    static const char *const bad[] = {"",   "\n", "-1", "12x", "99999999999999999999999",
                                      " 1", "1 2"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(bad); i++) {
        bool exact;
        uint64_t n = 77;
        unlink(g->dir.path[1]);
        scratch_append(g->dir.path[1], bad[i], strlen(bad[i]));
        if (avow_ima_reader_count(g->r, &n, &exact, NULL) != AVOW_PARSE)
            fail_msg("\"%s\" was taken for %llu", bad[i], (unsigned long long)n);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_read__no_list__is_not_found),
        TEST(test_read__a_folder__is_an_error_not_absence),
        TEST(test_read__growth__continues_where_it_was),
        TEST(test_read__partial_last_entry__waits),
        TEST(test_read__max__cuts_at_entries_and_says_more),
        TEST(test_read__huge_entries__one_at_a_time),
        TEST(test_read__many_entries__in_small_steps_equals_the_list),
        TEST(test_read__malformed_entry__goods_before_it_first_then_error),
        TEST(test_read__too_large_entry__is_limit),
        TEST(test_read__shrunk__is_another_list),
        TEST(test_read__replaced_by_a_longer_one__is_another_list),
        TEST(test_read__first_entry__tells_a_trimmed_list),
        TEST(test_find__any_order),
        TEST(test_count__where_the_kernel_or_the_rig_puts_it),
        TEST(test_count__nonsense__is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
