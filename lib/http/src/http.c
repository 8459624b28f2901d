/* http.c - one bounded HTTP client over libcurl (http.h). */
#include "avow/http/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define TIMEOUT_DEFAULT_MS 10000u
#define RESPONSE_DEFAULT_MAX (1024u * 1024u)
#define CONNECT_MAX_MS 5000u
#define HEADERS_MAX (64u * 1024u) /* all header lines of an answer; libcurl 7.88 has no limit */

struct avow_http {
    CURL *curl;
    struct curl_slist *headers;
    char *ca_file, *cert_file, *key_file; /* owned; NULL: none */
    unsigned timeout_ms;
    size_t response_max;
    const atomic_bool *cancel; /* borrowed; NULL: none */
    char reason[CURL_ERROR_SIZE];
};

/* libcurl wants one initialisation before any thread uses it, and has no owner to undo it. */
static void global_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool keep(char **out, const char *text)
{
    if (!text)
        return true;
    size_t size = strlen(text) + 1;
    *out = malloc(size);
    if (*out)
        memcpy(*out, text, size);
    return *out != NULL;
}

void avow_http_free(struct avow_http *h)
{
    if (!h)
        return;
    curl_slist_free_all(h->headers);
    curl_easy_cleanup(h->curl);
    free(h->ca_file);
    free(h->cert_file);
    free(h->key_file);
    free(h);
}

static bool add_header(struct avow_http *h, const char *line)
{
    struct curl_slist *grown = curl_slist_append(h->headers, line);
    if (grown)
        h->headers = grown;
    return grown != NULL;
}

/* A file that cannot be read would otherwise look like a server that cannot be trusted, at every
 * request. */
static enum avow_rc check_file(const char *path, const char *what, struct avow_err *err)
{
    if (path && access(path, R_OK))
        return avow_err_set(err, AVOW_CONFIG, errno, "%s %s: %s", what, path, strerror(errno));
    return AVOW_OK;
}

enum avow_rc avow_http_new(const struct avow_http_opts *opts, struct avow_http **out,
                           struct avow_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, global_init);
    if (!opts->cert_file != !opts->key_file)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "a client certificate needs its key file, and the other way round");
    enum avow_rc rc = check_file(opts->ca_file, "CA file", err);
    if (!rc)
        rc = check_file(opts->cert_file, "client certificate", err);
    if (!rc)
        rc = check_file(opts->key_file, "client key", err);
    if (rc)
        return rc;
    AVOW_CLEANUP(avow_http_free) struct avow_http *h = calloc(1, sizeof *h);
    if (!h)
        return avow_err_set(err, AVOW_NOMEM, 0, "HTTP client");
    h->timeout_ms = opts->timeout_ms ? opts->timeout_ms : TIMEOUT_DEFAULT_MS;
    h->response_max = opts->response_max ? opts->response_max : RESPONSE_DEFAULT_MAX;
    h->cancel = opts->cancel;
    h->curl = curl_easy_init();
    /* "Expect:" would cost a round trip for each large body, which no server of ours needs. */
    if (!h->curl || !keep(&h->ca_file, opts->ca_file) || !keep(&h->cert_file, opts->cert_file) ||
        !keep(&h->key_file, opts->key_file) || !add_header(h, "Content-Type: application/json") ||
        !add_header(h, "Accept: application/json") || !add_header(h, "Expect:"))
        return avow_err_set(err, AVOW_NOMEM, 0, "HTTP client");
    *out = AVOW_STEAL(h);
    return AVOW_OK;
}

struct receiver {
    struct avow_buf body; /* the caller's gets it when all is well */
    size_t left;
    size_t headers_left;
    bool over;
};

static void receiver_deinit(struct receiver *r)
{
    avow_buf_deinit(&r->body);
}

/* Ends the transfer at the cap, so that a server cannot make us read for ever. */
static size_t receive(char *data, size_t size, size_t n, void *arg)
{
    struct receiver *r = arg;
    size_t len = size * n; /* libcurl: size is 1, n at most CURL_MAX_WRITE_SIZE */
    if (len > r->left) {
        r->over = true;
        return 0;
    }
    r->left -= len;
    avow_buf_put(&r->body, data, len);
    return r->body.failed ? 0 : len;
}

static size_t receive_header(char *data, size_t size, size_t n, void *arg)
{
    struct receiver *r = arg;
    (void)data;
    if (size * n > r->headers_left) {
        r->over = true;
        return 0;
    }
    r->headers_left -= size * n;
    return size * n;
}

/* libcurl calls it whenever something moves, and about once a second while nothing does. */
static int look_at_cancel(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct avow_http *h = arg;
    (void)a, (void)b, (void)c, (void)d;
    return atomic_load(h->cancel) ? 1 : 0;
}

static CURLcode configure_cancel(struct avow_http *h)
{
    if (!h->cancel)
        return CURLE_OK;
    CURLcode c = curl_easy_setopt(h->curl, CURLOPT_NOPROGRESS, 0L);
    if (!c)
        c = curl_easy_setopt(h->curl, CURLOPT_XFERINFOFUNCTION, look_at_cancel);
    return c ? c : curl_easy_setopt(h->curl, CURLOPT_XFERINFODATA, h);
}

static CURLcode configure_tls(struct avow_http *h)
{
    CURLcode c = curl_easy_setopt(h->curl, CURLOPT_SSL_VERIFYPEER, 1L);
    if (!c)
        c = curl_easy_setopt(h->curl, CURLOPT_SSL_VERIFYHOST, 2L);
    if (!c)
        c = curl_easy_setopt(h->curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (!c && h->ca_file)
        c = curl_easy_setopt(h->curl, CURLOPT_CAINFO, h->ca_file);
    /* Or the system's authorities would be believed beside the one that was named. */
    if (!c && h->ca_file)
        c = curl_easy_setopt(h->curl, CURLOPT_CAPATH, NULL);
    if (!c && h->cert_file)
        c = curl_easy_setopt(h->curl, CURLOPT_SSLCERT, h->cert_file);
    if (!c && h->key_file)
        c = curl_easy_setopt(h->curl, CURLOPT_SSLKEY, h->key_file);
    return c;
}

/* The scheme of the URL is the only protocol that the transfer may use: nothing turns https into
 * http. */
static CURLcode configure(struct avow_http *h, const char *method, const char *url,
                          struct receiver *r)
{
    curl_easy_reset(h->curl); /* keeps connections alive, forgets the last request */
    bool tls = avow_str_starts(avow_str_from(url), "https://");
    const struct {
        CURLoption option;
        long value;
    } longs[] = {{CURLOPT_NOSIGNAL, 1},
                 {CURLOPT_FOLLOWLOCATION, 0},
                 {CURLOPT_TIMEOUT_MS, (long)h->timeout_ms},
                 {CURLOPT_CONNECTTIMEOUT_MS,
                  (long)(h->timeout_ms < CONNECT_MAX_MS ? h->timeout_ms : CONNECT_MAX_MS)},
                 {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
                 {CURLOPT_NOBODY, strcmp(method, "HEAD") == 0},
                 {CURLOPT_MAXFILESIZE, (long)h->response_max},
                 {CURLOPT_TCP_NODELAY, 1}};
    CURLcode c = CURLE_OK;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(longs) && !c; i++)
        c = curl_easy_setopt(h->curl, longs[i].option, longs[i].value);
    if (!c)
        c = curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, h->reason);
    if (!c)
        c = curl_easy_setopt(h->curl, CURLOPT_PROTOCOLS_STR, tls ? "https" : "http");
    if (!c)
        c = curl_easy_setopt(h->curl, CURLOPT_URL, url);
    if (!c)
        c = curl_easy_setopt(h->curl, CURLOPT_PROXY, ""); /* never one from the environment */
    if (!c)
        c = curl_easy_setopt(h->curl, CURLOPT_CUSTOMREQUEST, method);
    if (!c)
        c = curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, h->headers);
    if (!c)
        c = curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, receive);
    if (!c)
        c = curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, r);
    if (!c)
        c = curl_easy_setopt(h->curl, CURLOPT_HEADERFUNCTION, receive_header);
    if (!c)
        c = curl_easy_setopt(h->curl, CURLOPT_HEADERDATA, r);
    if (!c)
        c = configure_cancel(h);
    return c ? c : configure_tls(h);
}

static CURLcode set_body(struct avow_http *h, const struct avow_bytes *body)
{
    CURLcode c = curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->len);
    return c ? c
             : curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS,
                                body->len ? body->ptr : (const uint8_t *)"");
}

static enum avow_rc failure(const struct avow_http *h, CURLcode c, const struct receiver *r,
                            const char *url, struct avow_err *err)
{
    if (r->over || c == CURLE_FILESIZE_EXCEEDED)
        return avow_err_set(err, AVOW_LIMIT, 0, "%s: the answer is longer than %zu bytes", url,
                            h->response_max);
    if (r->body.failed)
        return avow_buf_status(&r->body, err);
    if (c == CURLE_OUT_OF_MEMORY)
        return avow_err_set(err, AVOW_NOMEM, 0, "%s", url);
    return avow_err_set(err, AVOW_UNREACHABLE, (int64_t)c, "%s: %s", url,
                        h->reason[0] ? h->reason : curl_easy_strerror(c));
}

static enum avow_rc check(const char *method, const char *url, struct avow_err *err)
{
    struct avow_str u = avow_str_from(url);
    size_t scheme = avow_str_starts(u, "https://") ? 8 : avow_str_starts(u, "http://") ? 7 : 0;
    if (scheme == 0)
        return avow_err_set(err, AVOW_CONFIG, 0, "'%s' is neither http:// nor https://", url);
    /* A password in a URL ends up in logs. */
    if (memchr(url + scheme, '@', strcspn(url + scheme, "/?#")))
        return avow_err_set(err, AVOW_CONFIG, 0, "a URL with a user or password in it");
    if (method[0] == '\0' || method[strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] != '\0')
        return avow_err_set(err, AVOW_USAGE, 0, "'%s' is not an HTTP method", method);
    return AVOW_OK;
}

enum avow_rc avow_http_request(struct avow_http *h, const char *method, const char *url,
                               const struct avow_bytes *body, unsigned *status,
                               struct avow_buf *response, struct avow_err *err)
{
    enum avow_rc rc = check(method, url, err);
    if (rc)
        return rc;
    AVOW_CLEANUP_VAL(receiver_deinit)
    struct receiver r = {.left = h->response_max, .headers_left = HEADERS_MAX};
    avow_buf_init(&r.body, h->response_max);
    h->reason[0] = '\0';
    long code = 0;
    CURLcode c = configure(h, method, url, &r);
    if (!c && body)
        c = set_body(h, body);
    if (!c)
        c = curl_easy_perform(h->curl);
    if (!c)
        c = curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &code);
    if (c)
        return failure(h, c, &r, url, err);
    avow_buf_put(response, r.body.ptr, r.body.len);
    rc = avow_buf_status(response, err);
    if (!rc)
        *status = (unsigned)code;
    return rc;
}
