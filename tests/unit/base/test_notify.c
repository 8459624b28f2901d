#define _GNU_SOURCE /* setenv */
#include "avow/base/notify.h"

#include "check.h"
#include "scratch.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "avow/base/banned.h"

/* The service manager's end. */
static int listen_at(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    assert_true(len < sizeof at.sun_path);
    memcpy(at.sun_path, name, len);
    if (name[0] == '@')
        at.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, size), 0);
    return fd;
}

static const char *heard(int fd)
{
    static char text[1024];
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    if (n < 0)
        return NULL;
    text[n] = '\0';
    return text;
}

static void in_environment(const char *socket_name, const char *usec, const char *pid)
{
    const char *const pairs[][2] = {
        {"NOTIFY_SOCKET", socket_name}, {"WATCHDOG_USEC", usec}, {"WATCHDOG_PID", pid}};
    for (size_t i = 0; i < 3; i++) {
        if (pairs[i][1])
            assert_int_equal(setenv(pairs[i][0], pairs[i][1], 1), 0);
        else
            assert_int_equal(unsetenv(pairs[i][0]), 0);
    }
}

static void test_notify__path_and_abstract_name__hear_the_life_of_a_service(void **state)
{
    char abstract[64];
    (void)state;
    assert_true(snprintf(abstract, sizeof abstract, "@avow-test-%d", (int)getpid()) > 0);
    const char *const names[] = {scratch_path("notify"), abstract};
    for (size_t i = 0; i < 2; i++) {
        struct avow_notify n;
        int manager = listen_at(names[i]);
        in_environment(names[i], "2000000", NULL);
        avow_notify_open(&n);
        assert_null(getenv("NOTIFY_SOCKET"));
        assert_null(getenv("WATCHDOG_USEC"));
        avow_notify_status(&n, "waiting for %s\nREADY=1", "Kafka");
        assert_string_equal(heard(manager), "STATUS=waiting for Kafka READY=1");
        avow_notify_ready(&n);
        avow_notify_ready(&n);
        assert_string_equal(heard(manager), "READY=1");
        assert_null(heard(manager)); /* once */
        assert_int_equal(n.watchdog_ms, 1000);
        avow_notify_watchdog(&n, 50000);
        assert_string_equal(heard(manager), "WATCHDOG=1");
        avow_notify_watchdog(&n, 50999);
        assert_null(heard(manager));
        avow_notify_watchdog(&n, 51000);
        assert_string_equal(heard(manager), "WATCHDOG=1");
        avow_notify_stopping(&n);
        assert_string_equal(heard(manager), "STOPPING=1");
        avow_notify_close(&n);
        avow_notify_stopping(&n); /* nobody hears it */
        assert_null(heard(manager));
        close(manager);
    }
}

static void test_notify__long_status__is_cut(void **state)
{
    struct avow_notify n;
    char text[2000];
    (void)state;
    int manager = listen_at(scratch_path("notify"));
    in_environment(scratch_path("notify"), NULL, NULL);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    avow_notify_open(&n);
    avow_notify_status(&n, "%s", text);
    const char *got = heard(manager);
    assert_non_null(got);
    assert_true(strlen(got) < 1024);
    avow_notify_close(&n);
    close(manager);
}

static void test_notify_open__watchdog_of_another_process_or_none__is_off(void **state)
{
    static const struct {
        const char *usec, *pid;
    } cases[] = {{"2000000", "1"}, {NULL, NULL}, {"soon", NULL}, {"2000000", "me"}};
    (void)state;
    int manager = listen_at(scratch_path("notify"));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct avow_notify n;
        in_environment(scratch_path("notify"), cases[i].usec, cases[i].pid);
        avow_notify_open(&n);
        assert_true(n.fd >= 0);
        avow_notify_watchdog(&n, 10);
        avow_notify_watchdog(&n, 1000000);
        assert_null(heard(manager));
        avow_notify_close(&n);
    }
    close(manager);
}

static void test_notify_open__no_manager_or_a_bad_name__does_nothing(void **state)
{
    char too_long[300];
    (void)state;
    memset(too_long, 'a', sizeof too_long - 1);
    too_long[0] = '/';
    too_long[sizeof too_long - 1] = '\0';
    const char *const names[] = {NULL,    "", "@", "/", "vsock:2:1234", "/nonexistent/notify",
                                 too_long};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct avow_notify n;
        in_environment(names[i], "2000000", NULL);
        avow_notify_open(&n);
        assert_int_equal(n.fd, -1);
        avow_notify_ready(&n);
        avow_notify_status(&n, "x");
        avow_notify_watchdog(&n, 1);
        avow_notify_stopping(&n);
        avow_notify_close(&n);
    }
}

static void test_notify__manager_went_away__goes_on(void **state)
{
    struct avow_notify n;
    (void)state;
    int manager = listen_at(scratch_path("notify"));
    in_environment(scratch_path("notify"), NULL, NULL);
    avow_notify_open(&n);
    close(manager);
    avow_notify_ready(&n);
    avow_notify_status(&n, "x");
    avow_notify_close(&n);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_notify__path_and_abstract_name__hear_the_life_of_a_service),
        TEST(test_notify__long_status__is_cut),
        TEST(test_notify_open__watchdog_of_another_process_or_none__is_off),
        TEST(test_notify_open__no_manager_or_a_bad_name__does_nothing),
        TEST(test_notify__manager_went_away__goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
