/* The command line of daemons, and the signals that stop them. */
#define _GNU_SOURCE /* setenv, kill */
#include "avow/base/clock.h"
#include "avow/base/cli.h"
#include "avow/base/log.h"

#include "check.h"
#include "conf_table.h"
#include "scratch.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

static struct avow_daemon_args args;

/* Runs the command line `words` (at most 7) and returns what came on the descriptor. */
static const char *start(int fd, const char *const *words)
{
    char storage[8][300];
    char *argv[9] = {storage[0]};
    int argc = 1;
    snprintf(storage[0], sizeof storage[0], "avow-test");
    for (; argc < 8 && words[argc - 1]; argc++) {
        snprintf(storage[argc], sizeof storage[argc], "%s", words[argc - 1]);
        argv[argc] = storage[argc];
    }
    argv[argc] = NULL;
    capture_begin(fd);
    avow_daemon_start(argc, argv, &test_spec, "tests", &args);
    return capture_end();
}

#define WORDS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static void test_daemon_start__run__gives_the_configuration(void **state)
{
    (void)state;
    const char *file = scratch_write("t.conf", "[test]\nname = file\n");
    assert_string_equal(start(STDOUT_FILENO, WORDS("--config", file, "--set=test.count=9", "--set",
                                                   "test.on=false", "--log-level=error")),
                        "");
    assert_false(args.done);
    assert_non_null(args.conf);
    assert_string_equal(avow_conf_str(args.conf, "test", "name"), "file");
    assert_int_equal(avow_conf_u64(args.conf, "test", "count"), 9);
    assert_false(avow_conf_bool(args.conf, "test", "on"));
    avow_conf_free(args.conf);
}

static void test_daemon_start__help_version_sample__go_to_stdout(void **state)
{
    static const struct {
        const char *flag, *first, *contains;
    } cases[] = {
        {"--help", "avow-test - tests\n", "  test.wait.max = 30s\n        a duration\n"},
        {"--version", "avow-test 0.1.0\n", ""},
        {"--sample-config", "# Configuration of avow-test", "\n[kafka]\n"},
        {"--print-config", "test.name = fallback  # default\n", "test.mode = fast  # default\n"},
        {"--check-config", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        const char *text = start(STDOUT_FILENO, WORDS(cases[i].flag));
        CHECK(cases[i].flag, avow_str_starts(avow_str_from(text), cases[i].first));
        CHECK(cases[i].flag, strstr(text, cases[i].contains));
        CHECK(cases[i].flag, args.done && args.code == AVOW_EXIT_OK && !args.conf);
    }
}

static void test_daemon_start__mistakes__are_usage_errors_on_stderr(void **state)
{
    static const struct {
        const char *words[3];
        const char *contains;
    } cases[] = {
        {{"--nonsense"}, "unknown option --nonsense"},
        {{"word"}, "unknown option word"},
        {{"--config"}, "a value is missing after --config"},
        {{"--help=x"}, "no value belongs to --help"},
        {{"--log-level", "loud"}, "not loud"},
        {{"--log-format=xml"}, "not xml"},
        {{"--set", "test.nmae=1"}, "--set: test.nmae: unknown key"},
        {{"--check-config", "--config=/nonexistent/x.conf"}, "/nonexistent/x.conf"},
    };
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        const char *text = start(STDERR_FILENO, cases[i].words);
        CHECK(cases[i].words[0], strstr(text, cases[i].contains));
        CHECK(cases[i].words[0], avow_str_starts(avow_str_from(text), "avow-test: "));
        CHECK(cases[i].words[0], args.done && args.code == AVOW_EXIT_USAGE && !args.conf);
    }
}

static void test_daemon_start__check_config_with_an_unknown_key__names_file_and_line(void **state)
{
    char want[300];
    (void)state;
    const char *file = scratch_write("t.conf", "[test]\nname = x\nbad = y\n");
    snprintf(want, sizeof want, "avow-test: %s:3: test.bad: unknown key\n", file);
    assert_string_equal(start(STDERR_FILENO, WORDS("--config", file, "--check-config")), want);
    assert_int_equal(args.code, AVOW_EXIT_USAGE);
}

static void test_daemon_start__log_level__command_line_over_environment(void **state)
{
    (void)state;
    setenv("AVOW_LOG_LEVEL", "debug", 1);
    setenv("AVOW_LOG_FORMAT", "json", 1);
    start(STDERR_FILENO, WORDS("--log-format=text"));
    unsetenv("AVOW_LOG_LEVEL");
    unsetenv("AVOW_LOG_FORMAT");
    avow_conf_free(args.conf);
    capture_begin(STDERR_FILENO);
    avow_log(DEBUG, "seen", AVOW_KV_U64("n", 1));
    assert_non_null(strstr(capture_end(), "avow-test: seen n=1"));
}

static void test_daemon_start__stdout_full__fails(void **state)
{
    (void)state;
    FILE *saved = stdout, *full = fopen("/dev/full", "w");
    assert_non_null(full);
    stdout = full;
    char name[] = "avow-test", flag[] = "--version";
    avow_daemon_start(2, (char *[]){name, flag, NULL}, &test_spec, "tests", &args);
    stdout = saved;
    fclose(full);
    assert_int_equal(args.code, AVOW_EXIT_FAILED);
}

/* Last: the flag stays set for the rest of the process. */
static void test_stop__sigterm__sets_the_flag_and_ends_a_sleep(void **state)
{
    (void)state;
    avow_stop_install();
    assert_false(avow_stop_requested());
    assert_int_equal(raise(SIGPIPE), 0);
    assert_false(avow_stop_requested());
    assert_int_equal(raise(SIGTERM), 0);
    assert_true(avow_stop_requested());
    uint64_t start_ms = avow_clock_mono_ms();
    avow_clock_sleep_ms(60000);
    assert_true(avow_clock_mono_ms() - start_ms < 30000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_daemon_start__run__gives_the_configuration),
        TEST(test_daemon_start__help_version_sample__go_to_stdout),
        TEST(test_daemon_start__mistakes__are_usage_errors_on_stderr),
        TEST(test_daemon_start__check_config_with_an_unknown_key__names_file_and_line),
        TEST(test_daemon_start__log_level__command_line_over_environment),
        TEST(test_daemon_start__stdout_full__fails),
        TEST(test_stop__sigterm__sets_the_flag_and_ends_a_sleep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
