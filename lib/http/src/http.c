/* http.c - one bounded HTTP client over libcurl (http.h). */
#include "avow/http/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define TIMEOUT_DEFAULT_MS 10000u
#define RESPONSE_DEFAULT_MAX (1024u * 1024u)

struct avow_http {
    CURL *curl;
    struct curl_slist *headers;
    char *ca_file, *cert_file, *key_file; /* owned; NULL: none */
    unsigned timeout_ms;
    size_t response_max;
    char reason[CURL_ERROR_SIZE];
};

/* libcurl wants one global initialisation before any thread uses it, and has no owner to undo it.
 */
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

enum avow_rc avow_http_new(const struct avow_http_opts *opts, struct avow_http **out,
                           struct avow_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, global_init);
    if (!opts->cert_file != !opts->key_file)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "a client certificate needs its key file, and the other way round");
    AVOW_CLEANUP(avow_http_free) struct avow_http *h = calloc(1, sizeof *h);
    if (!h)
        return avow_err_set(err, AVOW_NOMEM, 0, "HTTP client");
    h->timeout_ms = opts->timeout_ms ? opts->timeout_ms : TIMEOUT_DEFAULT_MS;
    h->response_max = opts->response_max ? opts->response_max : RESPONSE_DEFAULT_MAX;
    h->curl = curl_easy_init();
    /* "Expect:" would cost a round trip for each large body; servers that we talk to do not need
     * it. */
    if (!h->curl || !keep(&h->ca_file, opts->ca_file) || !keep(&h->cert_file, opts->cert_file) ||
        !keep(&h->key_file, opts->key_file) || !add_header(h, "Content-Type: application/json") ||
        !add_header(h, "Accept: application/json") || !add_header(h, "Expect:"))
        return avow_err_set(err, AVOW_NOMEM, 0, "HTTP client");
    *out = AVOW_STEAL(h);
    return AVOW_OK;
}

struct receiver {
    struct avow_buf *out;
    size_t left;
    bool over;
};

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
    avow_buf_put(r->out, data, len);
    return r->out->failed ? 0 : len;
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
                 {CURLOPT_CONNECTTIMEOUT_MS, (long)h->timeout_ms},
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
    if (r->out->failed)
        return avow_buf_status(r->out, err);
    if (c == CURLE_OUT_OF_MEMORY)
        return avow_err_set(err, AVOW_NOMEM, 0, "%s", url);
    return avow_err_set(err, AVOW_UNREACHABLE, (int64_t)c, "%s: %s", url,
                        h->reason[0] ? h->reason : curl_easy_strerror(c));
}

enum avow_rc avow_http_request(struct avow_http *h, const char *method, const char *url,
                               const struct avow_bytes *body, unsigned *status,
                               struct avow_buf *response, struct avow_err *err)
{
    struct avow_str u = avow_str_from(url);
    if (!avow_str_starts(u, "http://") && !avow_str_starts(u, "https://"))
        return avow_err_set(err, AVOW_CONFIG, 0, "'%s' is neither http:// nor https://", url);
    struct receiver r = {.out = response, .left = h->response_max};
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
    *status = (unsigned)code;
    return AVOW_OK;
}
