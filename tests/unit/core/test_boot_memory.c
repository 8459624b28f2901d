/* test_boot_memory.c - boot policies when memory runs out: every allocation fails once, in turn.
 * AVOW_NOMEM, nothing leaks, nothing half done is handed out, and no finding is made of it. */
#include "avow/core/boot_make.h"
#include "avow/core/boot_policy.h"

#include "avow/base/file.h"
#include "failing_alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define LOG_MAX (1u << 20)
#define ALLOCATIONS_MAX 100000u

static const char policy_text[] =
    "{\"avow_boot_policy\":1,\"secure_boot\":true,"
    "\"keys\":{\"db\":{\"contains\":[],\"allows\":[\"sha256:"
    "0000000000000000000000000000000000000000000000000000000000000000\"]}},"
    "\"authorities\":{\"db\":[\"0000000000000000000000000000000000000000000000000000000000000000\"]"
    "},"
    "\"variables\":[{\"name\":\"\\u0041uditMode\",\"guid\":\"8be4df61-93ca-11d2-aa0d-"
    "00e098032b8c\","
    "\"value\":[\"00\"]}],"
    "\"firmware\":[{\"events\":[]},{\"events\":[{\"any\":true,\"max\":9}]}],"
    "\"boots\":[{\"name\":\"a\",\"images\":[{\"digests\":[{\"sha256\":"
    "\"0000000000000000000000000000000000000000000000000000000000000000\"}]}]},"
    "{\"name\":\"b\",\"images\":[{\"any\":true,\"max\":9}]}],"
    "\"command_lines\":[\"/boot/vmlinuz-[0-9.]+.*\"],\"grub_commands\":[\"[a-z[](.|\\n)*\"],"
    "\"events\":[{\"pcr\":5,\"text\":[\"x\"],\"min\":0},{\"pcr\":5,\"any\":true}]}";

struct files {
    struct avow_buf file;
    struct avow_bytes bytes;
    struct avow_event_log log;
    struct avow_event_replay replay;
};

static void read_file(struct files *f)
{
    avow_buf_init(&f->file, LOG_MAX);
    assert_int_equal(avow_file_read(AVOW_TEST_VECTORS
                                    "/captures/m2-grub-sb/binary_bios_measurements",
                                    &f->file, NULL),
                     AVOW_OK);
    f->bytes = avow_buf_bytes(&f->file);
    assert_int_equal(avow_event_log_parse(f->bytes, &f->log, NULL), AVOW_OK);
    avow_event_replay(&f->log, &f->replay);
}

static void count(void *arg, const struct avow_boot_complaint *c)
{
    assert_non_null(c->detail);
    ++*(size_t *)arg;
}

static struct avow_boot_policy *load(void)
{
    struct avow_boot_policy *p = NULL;
    struct avow_err err = {.rc = AVOW_OK};
    if (avow_boot_policy_load(avow_bytes_make(policy_text, sizeof policy_text - 1), &p, &err))
        fail_msg("%s", err.msg);
    return p;
}

static void test_boot_policy_load__each_allocation_fails__nomem(void **state)
{
    (void)state;
    unsigned failures = 0;
    avow_boot_policy_free(load()); /* the thread's hash contexts are made once and for ever */
    for (unsigned k = 1; k < ALLOCATIONS_MAX; k++) {
        struct avow_boot_policy *p = NULL;
        failing_alloc_at = k;
        enum avow_rc rc =
            avow_boot_policy_load(avow_bytes_make(policy_text, sizeof policy_text - 1), &p, NULL);
        bool reached = failing_alloc_at == 0;
        failing_alloc_at = 0;
        if (!reached) {
            assert_int_equal(rc, AVOW_OK);
            avow_boot_policy_free(p);
            break;
        }
        assert_int_equal(rc, AVOW_NOMEM);
        assert_null(p);
        failures++;
    }
    assert_true(failures > 10);
}

static void test_boot_policy_judge__each_allocation_fails__nomem(void **state)
{
    (void)state;
    struct files f;
    struct avow_boot_policy *p = load();
    size_t all = 0, failures = 0;
    read_file(&f);
    for (unsigned k = 0; k < ALLOCATIONS_MAX; k++) {
        struct avow_arena arena;
        size_t complaints = 0;
        avow_arena_init(&arena, LOG_MAX);
        const struct avow_boot_judge j = {&f.log, &f.replay, &arena, count, &complaints};
        failing_alloc_at = k;
        enum avow_rc rc = avow_boot_policy_judge(p, &j, NULL);
        bool reached = failing_alloc_at == 0 && k;
        failing_alloc_at = 0;
        avow_arena_deinit(&arena);
        if (!reached) {
            assert_int_equal(rc, AVOW_OK);
            assert_true(k == 0 || complaints == all);
            all = complaints;
            if (k)
                break;
            continue;
        }
        assert_int_equal(rc, AVOW_NOMEM);
        failures++;
    }
    assert_true(all > 2 && failures > 3);
    avow_boot_policy_free(p);
    avow_buf_deinit(&f.file);
}

static void test_boot_policy_make__each_allocation_fails__nomem(void **state)
{
    (void)state;
    struct files f;
    size_t failures = 0;
    read_file(&f);
    const struct avow_boot_make make = {.logs = &f.bytes, .logs_count = 1};
    for (unsigned k = 1; k < ALLOCATIONS_MAX; k += 1 + k / 64) { /* thousands: not each of them */
        struct avow_buf out;
        avow_buf_init(&out, AVOW_BOOT_POLICY_MAX);
        failing_alloc_at = k;
        enum avow_rc rc = avow_boot_policy_make(&make, &out, NULL);
        bool reached = failing_alloc_at == 0;
        failing_alloc_at = 0;
        if (reached ? rc != AVOW_NOMEM || out.len : rc != AVOW_OK)
            fail_msg("allocation %u: %d", k, (int)rc);
        avow_buf_deinit(&out);
        if (!reached)
            break;
        failures++;
    }
    assert_true(failures > 50);
    avow_buf_deinit(&f.file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boot_policy_load__each_allocation_fails__nomem),
        cmocka_unit_test(test_boot_policy_judge__each_allocation_fails__nomem),
        cmocka_unit_test(test_boot_policy_make__each_allocation_fails__nomem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
