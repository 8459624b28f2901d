/* The listener that monitoring asks: its answers, and what it does with those who do not behave. */
#define _GNU_SOURCE
#include "avow/http/prom.h"
#include "avow/http/watch.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define BIG (1024u * 1024u)
#define PATIENCE_MS 300u

struct fixture {
    struct avow_watch *watch;
    atomic_bool is_ready;
    atomic_uint big; /* bytes of /metrics */
};

static bool metrics(void *arg, struct avow_buf *out)
{
    struct fixture *f = arg;
    avow_prom_single(out, "x_total", "counter", "How many.", 7);
    for (unsigned n = atomic_load(&f->big); n; n -= n < 64 ? n : 64)
        avow_buf_put_str(out, "# 3456789 123456789 123456789 123456789 123456789 123456789 1234\n");
    return true;
}

static bool healthy(void *arg, struct avow_buf *out)
{
    (void)arg;
    avow_buf_put_str(out, "ok\n");
    return true;
}

static bool ready(void *arg, struct avow_buf *out)
{
    struct fixture *f = arg;
    avow_buf_put_str(out, atomic_load(&f->is_ready) ? "ready\n" : "restoring\n");
    return atomic_load(&f->is_ready);
}

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);
    struct avow_err err;
    struct avow_watch_opts opts = {.listen = "127.0.0.1:0",
                                   .metrics = metrics,
                                   .healthy = healthy,
                                   .ready = ready,
                                   .arg = f,
                                   .patience_ms = PATIENCE_MS};
    if (avow_watch_start(&opts, &f->watch, &err))
        fail_msg("%s", err.msg);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    avow_watch_stop(f->watch);
    test_free(f);
    return 0;
}

static int dial(const struct fixture *f)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)avow_watch_port(f->watch)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = 20};
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

/* Reads to the end of the connection; a NUL follows. */
static size_t drain(int fd, char *out, size_t cap)
{
    size_t len = 0;
    for (ssize_t n; len + 1 < cap && (n = read(fd, out + len, cap - 1 - len)) > 0;)
        len += (size_t)n;
    out[len] = '\0';
    close(fd);
    return len;
}

static void put(int fd, const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void test_watch__requests__are_answered(void **state)
{
    static const struct {
        const char *request, *status, *body;
        bool is_ready;
    } cases[] = {
        {"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", "\nx_total 7\n", false},
        {"GET /metrics?name=x HTTP/1.0\r\n\r\n", "200 OK", "\nx_total 7\n", false},
        {"GET /healthz HTTP/1.1\r\n\r\n", "200 OK", "\nok\n", false},
        {"GET /readyz HTTP/1.1\r\n\r\n", "503 Service Unavailable", "\nrestoring\n", false},
        {"GET /readyz HTTP/1.1\r\n\r\n", "200 OK", "\nready\n", true},
        {"HEAD /healthz HTTP/1.1\r\n\r\n", "200 OK", "Content-Length: 3\r\n", false},
        {"POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed", "", false},
        {"GET / HTTP/1.1\r\n\r\n", "404 Not Found", "", false},
        {"GET /metricsx HTTP/1.1\r\n\r\n", "404 Not Found", "", false},
        {"GET /metrics\r\n\r\n", "400 Bad Request", "", false},
        {"GET /metrics FTP/1.1\r\n\r\n", "400 Bad Request", "", false},
        {"\r\n\r\n", "400 Bad Request", "", false},
        {"  \r\n\r\n", "400 Bad Request", "", false},
    };
    struct fixture *f = *state;
    char text[4096];
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        char status[64];
        int fd = dial(f);
        atomic_store(&f->is_ready, cases[i].is_ready);
        put(fd, cases[i].request);
        (void)drain(fd, text, sizeof text);
        snprintf(status, sizeof status, "HTTP/1.1 %s\r\n", cases[i].status);
        if (strncmp(text, status, strlen(status)) != 0 || !strstr(text, cases[i].body))
            fail_msg("%s: want %s with '%s', got %s", cases[i].request, cases[i].status,
                     cases[i].body, text);
    }
}

static void test_watch__head__has_no_body(void **state)
{
    char text[1024];
    int fd = dial(*state);
    put(fd, "HEAD /healthz HTTP/1.1\r\n\r\n");
    size_t len = drain(fd, text, sizeof text);
    assert_memory_equal(text + len - 4, "\r\n\r\n", 4);
}

static void test_watch__request_in_pieces__is_answered(void **state)
{
    char text[1024];
    static const char request[] = "GET /healthz HTTP/1.1\r\nA: b\r\n\r\n";
    int fd = dial(*state);
    for (size_t i = 0; i + 1 < sizeof request; i++)
        put(fd, (const char[]){request[i], '\0'});
    (void)drain(fd, text, sizeof text);
    assert_non_null(strstr(text, "\nok\n"));
}

static void test_watch__endless_request__is_refused(void **state)
{
    char text[1024], line[AVOW_WATCH_REQUEST_MAX + 1];
    int fd = dial(*state);
    memset(line, 'a', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    put(fd, line);
    (void)drain(fd, text, sizeof text);
    assert_memory_equal(text, "HTTP/1.1 431 ", 13);
}

static void test_watch__large_answer__arrives_whole(void **state)
{
    struct fixture *f = *state;
    char *text = test_malloc(2 * BIG);
    atomic_store(&f->big, BIG);
    int fd = dial(f);
    put(fd, "GET /metrics HTTP/1.1\r\n\r\n");
    size_t len = drain(fd, text, 2 * BIG);
    const char *body = strstr(text, "\r\n\r\n");
    assert_non_null(body);
    const char *claimed = strstr(text, "Content-Length: ");
    assert_non_null(claimed);
    assert_int_equal(strtoumax(claimed + 16, NULL, 10), len - (size_t)(body + 4 - text));
    test_free(text);
}

/* Those who hold a connection have it for a while, and then others are served. */
static void test_watch__all_connections_held__others_are_served_in_time(void **state)
{
    struct fixture *f = *state;
    int held[AVOW_WATCH_CONNECTIONS];
    char text[1024];
    for (size_t i = 0; i < AVOW_WATCH_CONNECTIONS; i++) {
        held[i] = dial(f);
        put(held[i], "GET /hea");
    }
    int fd = dial(f);
    put(fd, "GET /healthz HTTP/1.1\r\n\r\n");
    (void)drain(fd, text, sizeof text);
    assert_non_null(strstr(text, "\nok\n"));
    for (size_t i = 0; i < AVOW_WATCH_CONNECTIONS; i++)
        assert_int_equal(drain(held[i], text, sizeof text), 0);
}

static void test_watch_start__no_address__is_config_error(void **state)
{
    static const char *const bad[] = {"", "9100", "127.0.0.1:", "127.0.0.1:99999", "::1:9100"};
    struct avow_watch *w = NULL;
    struct avow_err err;
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(bad); i++) {
        struct avow_watch_opts opts = {.listen = bad[i]};
        assert_int_equal(avow_watch_start(&opts, &w, &err), AVOW_CONFIG);
        assert_null(w);
    }
}

static void test_watch_start__address_in_use__is_io_error(void **state)
{
    struct fixture *f = *state;
    struct avow_watch *w = NULL;
    struct avow_err err;
    char at[32];
    snprintf(at, sizeof at, "127.0.0.1:%u", avow_watch_port(f->watch));
    struct avow_watch_opts opts = {.listen = at};
    assert_int_equal(avow_watch_start(&opts, &w, &err), AVOW_IO);
    assert_non_null(strstr(err.msg, at));
}

static void test_prom_histogram__observations__are_cumulative(void **state)
{
    static const struct avow_prom_bounds bounds = {.us = {1000, 2500000}, .count = 2};
    struct avow_prom_times t = {0}, sum = {0};
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf out;
    (void)state;
    avow_buf_init(&out, 4096);
    avow_prom_observe(&t, &bounds, 0);
    avow_prom_observe(&t, &bounds, 1000);
    avow_prom_observe(&t, &bounds, 1001);
    avow_prom_observe(&t, &bounds, 9000000);
    avow_prom_add(&sum, &t);
    avow_prom_add(&sum, &t);
    avow_prom_histogram(&out, "x_seconds", "Time.", &sum, &bounds);
    assert_string_equal(avow_buf_cstr(&out), "# HELP x_seconds Time.\n"
                                             "# TYPE x_seconds histogram\n"
                                             "x_seconds_bucket{le=\"0.001000\"} 4\n"
                                             "x_seconds_bucket{le=\"2.500000\"} 6\n"
                                             "x_seconds_bucket{le=\"+Inf\"} 8\n"
                                             "x_seconds_sum 18.004002\n"
                                             "x_seconds_count 8\n");
}

static void test_prom_sample__label_with_quotes__is_escaped(void **state)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf out;
    (void)state;
    avow_buf_init(&out, 4096);
    avow_prom_sample(&out, "x", "l", "a\"b\\c\nd", 1);
    avow_prom_seconds(&out, "y", "Age.", 1234);
    assert_string_equal(avow_buf_cstr(&out), "x{l=\"a\\\"b\\\\c\\nd\"} 1\n"
                                             "# HELP y Age.\n# TYPE y gauge\ny 1.234\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_watch__requests__are_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch__head__has_no_body, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch__request_in_pieces__is_answered, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_watch__endless_request__is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch__large_answer__arrives_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch__all_connections_held__others_are_served_in_time,
                                        setup, teardown),
        cmocka_unit_test(test_watch_start__no_address__is_config_error),
        cmocka_unit_test_setup_teardown(test_watch_start__address_in_use__is_io_error, setup,
                                        teardown),
        cmocka_unit_test(test_prom_histogram__observations__are_cumulative),
        cmocka_unit_test(test_prom_sample__label_with_quotes__is_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
