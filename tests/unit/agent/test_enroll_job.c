/* The registration process as the agent sees it, played by shell scripts: it answers, dies, hangs,
 * talks nonsense, or is not there. */
#define _GNU_SOURCE /* nanosleep, chmod */
#include "avow/base/clock.h"
#include "enroll_job.h"
#include "pipe_io.h"
#include "scratch.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define SOON_MS 5000u

static const struct avow_enroll_self self = {.url = "http://r:1",
                                             .ca = "",
                                             .agent_id = "host-1",
                                             .ek_public = {(const uint8_t *)"ek", 2},
                                             .ak_public = {(const uint8_t *)"ak", 2},
                                             .ek_certs = {NULL, 0}};
static struct scratch scratch;
static const char *const names[] = {"program", "reply", "done", "heard"};
enum { PROGRAM, REPLY, DONE, HEARD };

static int set_up(void **state)
{
    (void)state;
    scratch_open(&scratch, names, AVOW_ARRAY_LEN(names));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_close(&scratch);
    return 0;
}

static void program(const char *body)
{
    scratch_append(scratch.path[PROGRAM], "#!/bin/sh\n", 10);
    scratch_append(scratch.path[PROGRAM], body, strlen(body));
    assert_int_equal(chmod(scratch.path[PROGRAM], 0700), 0);
}

static void append_reply(const char *path, const struct avow_err *failure,
                         const struct avow_enroll_challenge *c)
{
    struct avow_buf m;
    uint8_t head[4];
    avow_buf_init(&m, 4096);
    assert_int_equal(avow_enroll_put_reply(failure, c, &m, NULL), AVOW_OK);
    avow_put_u32be(head, (uint32_t)m.len);
    scratch_append(path, head, sizeof head);
    scratch_append(path, m.ptr, m.len);
    avow_buf_deinit(&m);
}

static struct avow_enroll_job *started(void)
{
    struct avow_enroll_job *j = NULL;
    assert_int_equal(avow_enroll_job_new(&self, scratch.path[PROGRAM], &j, NULL), AVOW_OK);
    assert_int_equal(avow_enroll_job_stage(j, 0, NULL), AVOW_ENROLL_IDLE);
    assert_null(avow_enroll_job_challenge(j));
    assert_int_equal(avow_enroll_job_start(j, 0, NULL), AVOW_OK);
    return j;
}

/* The stage that follows `now`, within a time that only a hanging test uses up. */
static enum avow_enroll_stage next_stage(struct avow_enroll_job *j, enum avow_enroll_stage now,
                                         struct avow_err *why)
{
    uint64_t deadline = avow_clock_mono_ms() + SOON_MS;
    for (;;) {
        enum avow_enroll_stage stage = avow_enroll_job_stage(j, 0, why);
        if (stage != now || avow_clock_mono_ms() > deadline)
            return stage;
        avow_clock_sleep_ms(2);
    }
}

static void test_job__whole_exchange(void **state)
{
    (void)state;
    struct avow_enroll_challenge c;
    char body[512];
    avow_enroll_challenge_init(&c);
    avow_buf_put(&c.id_object, "object", 6);
    avow_buf_put(&c.encrypted_secret, "secret", 6);
    append_reply(scratch.path[REPLY], NULL, &c);
    append_reply(scratch.path[DONE], NULL, NULL);
    snprintf(body, sizeof body, "cat %s; head -c 80 >%s; cat %s\n", scratch.path[REPLY],
             scratch.path[HEARD], scratch.path[DONE]);
    program(body);
    for (int i = 0; i < 2; i++) { /* a job is used again after months */
        struct avow_enroll_job *j = started();
        struct avow_err err = {.rc = AVOW_OK};
        assert_int_equal(next_stage(j, AVOW_ENROLL_ASKING, &err), AVOW_ENROLL_CHALLENGED);
        assert_int_equal(avow_enroll_job_start(j, 0, &err), AVOW_STATE);
        const struct avow_enroll_challenge *got = avow_enroll_job_challenge(j);
        assert_non_null(got);
        assert_true(avow_bytes_eq(avow_buf_bytes(&got->id_object), avow_buf_bytes(&c.id_object)));
        static const uint8_t secret[32] = {9};
        assert_int_equal(avow_enroll_job_answer(j, AVOW_BYTES_OF(secret), &err), AVOW_OK);
        assert_int_equal(avow_enroll_job_answer(j, AVOW_BYTES_OF(secret), &err), AVOW_STATE);
        assert_int_equal(next_stage(j, AVOW_ENROLL_ANSWERING, &err), AVOW_ENROLL_DONE);
        avow_enroll_job_free(j);
    }
    avow_enroll_challenge_deinit(&c);
}

static void test_job__refusal__is_told_and_it_starts_again(void **state)
{
    (void)state;
    char body[256];
    struct avow_err failure = {.rc = AVOW_REFUSED, .msg = "HTTP 403: no"}, why = {.rc = AVOW_OK};
    append_reply(scratch.path[REPLY], &failure, NULL);
    snprintf(body, sizeof body, "cat %s\n", scratch.path[REPLY]);
    program(body);
    struct avow_enroll_job *j = started();
    assert_int_equal(next_stage(j, AVOW_ENROLL_ASKING, &why), AVOW_ENROLL_FAILED);
    assert_int_equal(why.rc, AVOW_REFUSED);
    assert_string_equal(why.msg, "HTTP 403: no");
    assert_int_equal(avow_enroll_job_start(j, 0, NULL), AVOW_OK);
    avow_enroll_job_free(j);
}

static void test_job__process_that_fails__fails_the_job(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum avow_rc rc;
        const char *why;
    } cases[] = {
        {"exit 0\n", AVOW_IO, "died"},
        {"kill -9 $$\n", AVOW_IO, "died"},
        {"printf '\\000\\000'\n", AVOW_IO, "died"},
        {"printf '\\377\\377\\377\\377xxxx'; exec sleep 60\n", AVOW_LIMIT, "message of"},
        {"printf '\\000\\000\\000\\003abc'; exec sleep 60\n", AVOW_PARSE, "nonsense"},
        {"printf '\\000\\000\\000\\000'; exec sleep 60\n", AVOW_PARSE, "nonsense"},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_err why = {.rc = AVOW_OK};
        unlink(scratch.path[PROGRAM]);
        program(cases[i].body);
        struct avow_enroll_job *j = NULL;
        assert_int_equal(avow_enroll_job_new(&self, scratch.path[PROGRAM], &j, NULL), AVOW_OK);
        /* It may be gone before it was asked anything. */
        if (avow_enroll_job_start(j, 0, &why) == AVOW_OK) {
            assert_int_equal(next_stage(j, AVOW_ENROLL_ASKING, &why), AVOW_ENROLL_FAILED);
            assert_int_equal(why.rc, cases[i].rc);
            if (!strstr(why.msg, cases[i].why))
                fail_msg("%s: %s", cases[i].body, why.msg);
        }
        assert_int_equal(avow_enroll_job_stage(j, 0, NULL), AVOW_ENROLL_FAILED);
        avow_enroll_job_free(j);
    }
}

static void test_job__process_that_hangs__is_ended_at_its_deadline(void **state)
{
    (void)state;
    struct avow_err why = {.rc = AVOW_OK};
    program("exec sleep 60\n");
    struct avow_enroll_job *j = started();
    assert_int_equal(avow_enroll_job_stage(j, 44999, &why), AVOW_ENROLL_ASKING);
    uint64_t began = avow_clock_mono_ms();
    assert_int_equal(avow_enroll_job_stage(j, 45000, &why), AVOW_ENROLL_FAILED);
    assert_int_equal(why.rc, AVOW_UNREACHABLE);
    assert_true(avow_clock_mono_ms() - began < 1000);
    avow_enroll_job_free(j);
    j = started();
    began = avow_clock_mono_ms();
    avow_enroll_job_free(j);
    assert_true(avow_clock_mono_ms() - began < 1000);
}

static void test_job__program_missing__is_told(void **state)
{
    (void)state;
    struct avow_err err = {.rc = AVOW_OK};
    struct avow_enroll_job *j = NULL;
    assert_int_equal(avow_enroll_job_new(&self, "/nonexistent/register", &j, NULL), AVOW_OK);
    assert_int_equal(avow_enroll_job_start(j, 0, &err), AVOW_IO);
    assert_non_null(strstr(err.msg, "/nonexistent/register"));
    assert_non_null(strstr(err.msg, "installed"));
    assert_int_equal(avow_enroll_job_stage(j, 0, NULL), AVOW_ENROLL_FAILED);
    avow_enroll_job_free(j);
}

static void test_job__secret_too_long_or_given_up__has_failed(void **state)
{
    (void)state;
    struct avow_enroll_challenge c;
    struct avow_err err = {.rc = AVOW_OK};
    char body[256];
    static const uint8_t secret[AVOW_ENROLL_SECRET_MAX + 1];
    avow_enroll_challenge_init(&c);
    avow_buf_put(&c.id_object, "object", 6);
    avow_buf_put(&c.encrypted_secret, "secret", 6);
    append_reply(scratch.path[REPLY], NULL, &c);
    snprintf(body, sizeof body, "cat %s; exec sleep 60\n", scratch.path[REPLY]);
    program(body);
    struct avow_enroll_job *j = started();
    assert_int_equal(next_stage(j, AVOW_ENROLL_ASKING, &err), AVOW_ENROLL_CHALLENGED);
    assert_int_equal(avow_enroll_job_answer(j, AVOW_BYTES_OF(secret), &err), AVOW_LIMIT);
    assert_int_equal(avow_enroll_job_stage(j, 0, NULL), AVOW_ENROLL_FAILED);
    assert_int_equal(avow_enroll_job_start(j, 0, NULL), AVOW_OK);
    assert_int_equal(next_stage(j, AVOW_ENROLL_ASKING, &err), AVOW_ENROLL_CHALLENGED);
    avow_err_set(&err, AVOW_TPM, 0, "the TPM is busy");
    avow_enroll_job_give_up(j, &err);
    struct avow_err why = {.rc = AVOW_OK};
    assert_int_equal(avow_enroll_job_stage(j, 0, &why), AVOW_ENROLL_FAILED);
    assert_string_equal(why.msg, "the TPM is busy");
    avow_enroll_job_free(j);
    avow_enroll_challenge_deinit(&c);
}

static size_t open_descriptors(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void test_job__many_failures__leak_nothing(void **state)
{
    (void)state;
    program("exit 1\n");
    size_t before = open_descriptors();
    for (int i = 0; i < 20; i++) {
        struct avow_enroll_job *j = NULL;
        assert_int_equal(avow_enroll_job_new(&self, scratch.path[PROGRAM], &j, NULL), AVOW_OK);
        if (!avow_enroll_job_start(j, 0, NULL))
            assert_int_equal(next_stage(j, AVOW_ENROLL_ASKING, NULL), AVOW_ENROLL_FAILED);
        avow_enroll_job_free(j);
    }
    assert_int_equal(open_descriptors(), before);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as avow_stop_install does */
    const struct CMUnitTest tests[] = {
        TEST(test_job__whole_exchange),
        TEST(test_job__refusal__is_told_and_it_starts_again),
        TEST(test_job__process_that_fails__fails_the_job),
        TEST(test_job__process_that_hangs__is_ended_at_its_deadline),
        TEST(test_job__program_missing__is_told),
        TEST(test_job__secret_too_long_or_given_up__has_failed),
        TEST(test_job__many_failures__leak_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
