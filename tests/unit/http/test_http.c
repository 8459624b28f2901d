#define _GNU_SOURCE /* mkdtemp, setenv */
#include "avow/http/http.h"

#include "avow/base/clock.h"
#include "avow/base/file.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "avow/base/banned.h"

/* --- A server that answers one request with given bytes --- */

struct server {
    int listener;
    uint16_t port;
    const char *answer;
    size_t repeat; /* then this many times `filler` */
    const char *filler;
    bool hang;   /* keeps the connection open without a word more, until `done` */
    int done[2]; /* pipe: closed by the test */
    char request[4096];
    size_t request_len;
    pthread_t thread;
};

static void read_request(struct server *s, int fd)
{
    size_t want = SIZE_MAX; /* until the end of the header lines is known */
    while (s->request_len < sizeof(s->request) - 1 && s->request_len < want) {
        ssize_t n = read(fd, s->request + s->request_len, sizeof(s->request) - 1 - s->request_len);
        if (n <= 0)
            return;
        s->request_len += (size_t)n;
        s->request[s->request_len] = '\0';
        const char *end = strstr(s->request, "\r\n\r\n");
        const char *length = strstr(s->request, "Content-Length: ");
        if (end)
            want = (size_t)(end - s->request) + 4 +
                   (length ? (size_t)strtoumax(length + 16, NULL, 10) : 0);
    }
}

static void *serve(void *arg)
{
    struct server *s = arg;
    int fd = accept(s->listener, NULL, NULL);
    if (fd < 0)
        return NULL;
    read_request(s, fd);
    (void)!write(fd, s->answer, strlen(s->answer));
    for (size_t i = 0; i < s->repeat; i++) {
        if (send(fd, s->filler, strlen(s->filler), MSG_NOSIGNAL) < 0)
            break;
    }
    char byte;
    if (s->hang)
        (void)!read(s->done[0], &byte, 1);
    close(fd);
    return NULL;
}

static void server_start(struct server *s)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&in, &len), 0);
    s->port = ntohs(in.sin_port);
    assert_int_equal(pipe(s->done), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s)
{
    close(s->done[1]);
    (void)shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->done[0]);
    close(s->listener);
}

/* One request to a fresh client. */
struct call {
    struct avow_http_opts opts;
    const char *method;
    const char *url; /* NULL: http://127.0.0.1:port/x */
    const char *body;
    unsigned status;
    struct avow_buf response;
    struct avow_err err;
    enum avow_rc rc;
};

static void request(struct call *c, uint16_t port)
{
    char url[64];
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/x", port);
    struct avow_http *h = NULL;
    struct avow_bytes body = avow_bytes_make(c->body, c->body ? strlen(c->body) : 0);
    avow_buf_init(&c->response, 4u << 20);
    assert_int_equal(avow_http_new(&c->opts, &h, &c->err), AVOW_OK);
    c->status = 999;
    c->rc = avow_http_request(h, c->method ? c->method : "GET", c->url ? c->url : url,
                              c->body ? &body : NULL, &c->status, &c->response, &c->err);
    avow_http_free(h);
    if (c->rc) { /* outputs only on success */
        assert_int_equal(c->status, 999);
        assert_int_equal(c->response.len, 0);
        avow_buf_deinit(&c->response);
    }
    if (c->rc == AVOW_OK && c->err.rc)
        fail_msg("error written on success");
}

static void call_against(struct call *c, struct server *s)
{
    server_start(s);
    request(c, s->port);
    server_stop(s);
}

/* --- Plain HTTP --- */

static void test_request__ok__status_and_body(void **state)
{
    (void)state;
    struct server s = {.answer = "HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello"};
    struct call c = {.method = "PUT", .body = "{\"a\":1}"};
    call_against(&c, &s);
    assert_int_equal(c.rc, AVOW_OK);
    assert_int_equal(c.status, 201);
    assert_string_equal(avow_buf_cstr(&c.response), "hello");
    avow_buf_deinit(&c.response);
    assert_non_null(strstr(s.request, "PUT /x HTTP/1.1\r\n"));
    assert_non_null(strstr(s.request, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(s.request, "\r\n\r\n{\"a\":1}"));
    assert_null(strstr(s.request, "Expect:"));
}

static void test_request__error_status__is_not_an_error_of_ours(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        unsigned status;
        size_t len;
    } cases[] = {
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", 404, 2},
        {"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 500, 0},
        {"HTTP/1.1 204 No Content\r\n\r\n", 204, 0},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200, 3},
        {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/elsewhere\r\nContent-Length: "
         "0\r\n\r\n",
         302, 0},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct server s = {.answer = cases[i].answer};
        struct call c = {.method = "DELETE"};
        call_against(&c, &s);
        if (c.rc)
            fail_msg("case %zu: %s", i, c.err.msg);
        assert_int_equal(c.status, cases[i].status);
        assert_int_equal(c.response.len, cases[i].len);
        avow_buf_deinit(&c.response);
    }
}

static void test_request__head__waits_for_no_body(void **state)
{
    (void)state;
    struct server s = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", .hang = true};
    struct call c = {.method = "HEAD", .opts = {.timeout_ms = 5000}};
    call_against(&c, &s);
    assert_int_equal(c.rc, AVOW_OK);
    assert_int_equal(c.status, 200);
    avow_buf_deinit(&c.response);
}

static void test_request__answer_over_the_cap__is_a_limit(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct server server;
    } cases[] = {
        {"announced", {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", .hang = true}},
        {"not announced",
         {.answer = "HTTP/1.1 200 OK\r\n\r\n", .filler = "0123456789", .repeat = 101}},
        {"endless",
         {.answer = "HTTP/1.1 200 OK\r\n\r\n", .filler = "0123456789", .repeat = SIZE_MAX}},
        {"endless headers",
         {.answer = "HTTP/1.1 200 OK\r\n", .filler = "X-Y: 0123456789\r\n", .repeat = SIZE_MAX}},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct server s = cases[i].server;
        struct call c = {.opts = {.response_max = 1000}};
        call_against(&c, &s);
        if (c.rc != AVOW_LIMIT)
            fail_msg("%s: %s (%s)", cases[i].name, avow_rc_text(c.rc), c.err.msg);
    }
    struct server s = {.answer = "HTTP/1.1 200 OK\r\n\r\n", .filler = "0123456789", .repeat = 100};
    struct call c = {.opts = {.response_max = 1000}};
    call_against(&c, &s);
    assert_int_equal(c.rc, AVOW_OK); /* exactly the cap */
    assert_int_equal(c.response.len, 1000);
    avow_buf_deinit(&c.response);
}

static void test_request__broken_answer__is_unreachable(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "", "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(answers); i++) {
        struct server s = {.answer = answers[i]};
        struct call c = {.method = "POST", .body = ""};
        call_against(&c, &s);
        if (c.rc != AVOW_UNREACHABLE || c.err.msg[0] == '\0')
            fail_msg("case %zu: %s (%s)", i, avow_rc_text(c.rc), c.err.msg);
    }
}

static void test_request__silent_server__times_out(void **state)
{
    (void)state;
    struct server s = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", .hang = true};
    struct call c = {.opts = {.timeout_ms = 200}};
    uint64_t start = avow_clock_mono_ms();
    call_against(&c, &s);
    assert_int_equal(c.rc, AVOW_UNREACHABLE);
    assert_non_null(strstr(c.err.msg, "timed out"));
    assert_true(avow_clock_mono_ms() - start < 3000);
}

static void test_request__nobody_listens__is_unreachable(void **state)
{
    (void)state;
    struct call c = {.url = "http://127.0.0.1:1/"};
    request(&c, 0);
    assert_int_equal(c.rc, AVOW_UNREACHABLE);
    assert_non_null(strstr(c.err.msg, "127.0.0.1"));
}

static void test_request__proxy_in_the_environment__is_ignored(void **state)
{
    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    struct server s = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};
    struct call c = {0};
    call_against(&c, &s);
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
    assert_int_equal(c.rc, AVOW_OK);
    avow_buf_deinit(&c.response);
}

static void test_request__bad_arguments__are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        const char *method;
        enum avow_rc rc;
    } cases[] = {
        {"ftp://127.0.0.1/", "GET", AVOW_CONFIG},
        {"file:///etc/passwd", "GET", AVOW_CONFIG},
        {"127.0.0.1:8891", "GET", AVOW_CONFIG},
        {"", "GET", AVOW_CONFIG},
        {"http://user:secret@127.0.0.1/", "GET", AVOW_CONFIG},
        {"http://127.0.0.1:1/a@b", "GET", AVOW_UNREACHABLE}, /* an at-sign in the path is fine */
        {"http://127.0.0.1:1/", "GET / HTTP/1.1\r\nX: y", AVOW_USAGE},
        {"http://127.0.0.1:1/", "", AVOW_USAGE},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct call c = {.url = cases[i].url, .method = cases[i].method};
        request(&c, 0);
        if (c.rc != cases[i].rc)
            fail_msg("case %zu: %s (%s)", i, avow_rc_text(c.rc), c.err.msg);
        assert_null(strstr(c.err.msg, "secret"));
    }
}

static void test_new__missing_files__are_a_configuration_error(void **state)
{
    (void)state;
    static const struct avow_http_opts cases[] = {
        {.ca_file = "/nonexistent/ca.pem"},
        {.cert_file = "/nonexistent/c.pem", .key_file = "/nonexistent/k.pem"},
        {.cert_file = "/dev/null"},
        {.key_file = "/dev/null"},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_http *h = NULL;
        struct avow_err err = {0};
        assert_int_equal(avow_http_new(&cases[i], &h, &err), AVOW_CONFIG);
        assert_null(h);
    }
}

/* --- HTTPS --- */

struct tls {
    char folder[64];
    char good[96];  /* certificate of the server, which is its own CA */
    char other[96]; /* somebody else's */
    struct MHD_Daemon *daemon;
    uint16_t port;
};

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(cert, e, -1), 1);
    X509_EXTENSION_free(e);
}

static void append_bio(BIO *bio, struct avow_buf *out)
{
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);
    avow_buf_put(out, data, (size_t)len);
    avow_buf_put_u8(out, 0); /* for microhttpd, which wants text */
    BIO_free(bio);
}

/* A self-signed certificate for an address, as PEM texts. */
static void make_cert(const char *san, struct avow_buf *cert_pem, struct avow_buf *key_pem)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    assert_non_null(key);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), (long)avow_clock_mono_ns() & 0xffffff);
    X509_set_version(cert, 2);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)"http test", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_set_pubkey(cert, key);
    add_extension(cert, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(cert, NID_subject_alt_name, san);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, cert);
    append_bio(bio, cert_pem);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    append_bio(bio, key_pem);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static enum MHD_Result answer(void *cls, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *data_size, void **con_cls)
{
    static char body[] = "secure";
    (void)cls, (void)url, (void)method, (void)version, (void)data, (void)con_cls;
    *data_size = 0;
    struct MHD_Response *r =
        MHD_create_response_from_buffer(sizeof(body) - 1, body, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result = MHD_queue_response(connection, 200, r);
    MHD_destroy_response(r);
    return result;
}

static void write_cert(const char *path, const struct avow_buf *pem)
{
    struct avow_err err = {0};
    assert_int_equal(avow_file_write(path, avow_bytes_make(pem->ptr, pem->len - 1), 0600, &err), 0);
}

static void tls_start(struct tls *t, const char *san)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct avow_buf cert;
    struct avow_buf key;
    avow_buf_init(&cert, 16384);
    avow_buf_init(&key, 16384);
    (void)snprintf(t->folder, sizeof(t->folder), "/tmp/avow-test-http-XXXXXX");
    assert_non_null(mkdtemp(t->folder));
    (void)snprintf(t->other, sizeof(t->other), "%s/other.pem", t->folder);
    (void)snprintf(t->good, sizeof(t->good), "%s/good.pem", t->folder);
    make_cert(san, &cert, &key);
    write_cert(t->other, &cert);
    avow_buf_reset(&cert);
    avow_buf_reset(&key);
    make_cert(san, &cert, &key);
    write_cert(t->good, &cert);
    t->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_TLS, 0, NULL, NULL,
                                 answer, NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&in,
                                 MHD_OPTION_HTTPS_MEM_KEY, (char *)key.ptr,
                                 MHD_OPTION_HTTPS_MEM_CERT, (char *)cert.ptr, MHD_OPTION_END);
    assert_non_null(t->daemon);
    t->port = MHD_get_daemon_info(t->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    avow_buf_deinit(&cert);
    avow_buf_deinit(&key);
}

static void tls_stop(struct tls *t)
{
    MHD_stop_daemon(t->daemon);
    (void)unlink(t->good);
    (void)unlink(t->other);
    (void)rmdir(t->folder);
}

static void test_request__https__only_with_the_named_authority(void **state)
{
    (void)state;
    struct tls t;
    char url[64];
    tls_start(&t, "IP:127.0.0.1");
    (void)snprintf(url, sizeof(url), "https://127.0.0.1:%u/", t.port);
    struct call good = {.url = url, .opts = {.ca_file = t.good}};
    request(&good, 0);
    if (good.rc)
        fail_msg("%s", good.err.msg);
    assert_string_equal(avow_buf_cstr(&good.response), "secure");
    avow_buf_deinit(&good.response);

    struct call other = {.url = url, .opts = {.ca_file = t.other}};
    request(&other, 0);
    assert_int_equal(other.rc, AVOW_UNREACHABLE);
    assert_non_null(strstr(other.err.msg, "certificate"));
    struct call none = {.url = url};
    request(&none, 0);
    assert_int_equal(none.rc, AVOW_UNREACHABLE);
    tls_stop(&t);
}

static void test_request__https_with_another_name__is_unreachable(void **state)
{
    (void)state;
    struct tls t;
    char url[64];
    tls_start(&t, "IP:127.0.0.2,DNS:registrar.example");
    (void)snprintf(url, sizeof(url), "https://127.0.0.1:%u/", t.port);
    struct call c = {.url = url, .opts = {.ca_file = t.good}};
    request(&c, 0);
    assert_int_equal(c.rc, AVOW_UNREACHABLE);
    tls_stop(&t);
}

static void test_request__https_to_a_plain_server__is_unreachable(void **state)
{
    (void)state;
    char url[64];
    struct server s = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};
    server_start(&s);
    (void)snprintf(url, sizeof(url), "https://127.0.0.1:%u/", s.port);
    struct call c = {.url = url, .opts = {.timeout_ms = 1000}};
    request(&c, 0);
    server_stop(&s);
    assert_int_equal(c.rc, AVOW_UNREACHABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request__ok__status_and_body),
        cmocka_unit_test(test_request__error_status__is_not_an_error_of_ours),
        cmocka_unit_test(test_request__head__waits_for_no_body),
        cmocka_unit_test(test_request__answer_over_the_cap__is_a_limit),
        cmocka_unit_test(test_request__broken_answer__is_unreachable),
        cmocka_unit_test(test_request__silent_server__times_out),
        cmocka_unit_test(test_request__nobody_listens__is_unreachable),
        cmocka_unit_test(test_request__proxy_in_the_environment__is_ignored),
        cmocka_unit_test(test_request__bad_arguments__are_refused),
        cmocka_unit_test(test_new__missing_files__are_a_configuration_error),
        cmocka_unit_test(test_request__https__only_with_the_named_authority),
        cmocka_unit_test(test_request__https_with_another_name__is_unreachable),
        cmocka_unit_test(test_request__https_to_a_plain_server__is_unreachable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
