/* http.h - one bounded HTTP client over libcurl. Layer: http. One handle per thread. */
#ifndef AVOW_HTTP_HTTP_H
#define AVOW_HTTP_HTTP_H

#include "avow/base/buf.h"
#include "avow/base/cleanup.h"

struct avow_http_opts {
    const char *ca_file;   /* NULL: plain HTTP only; https without it uses the system store */
    const char *cert_file; /* client certificate, NULL: none */
    const char *key_file;
    unsigned timeout_ms; /* whole request; 0: 10 000 */
    size_t response_max; /* 0: 1 MiB */
};
struct avow_http;
/* Errors: AVOW_CONFIG, AVOW_NOMEM. */
enum avow_rc avow_http_new(const struct avow_http_opts *opts, struct avow_http **out, struct avow_err *err) AVOW_MUST_CHECK;
void avow_http_free(struct avow_http *h);
AVOW_DEFINE_CLEANUP(struct avow_http, avow_http_free);
/* Never follows redirects, never changes from https to http. body NULL: none; it is sent as application/json.
 * *status receives the HTTP status, `response` the body. Errors: AVOW_UNREACHABLE (connect, TLS, time-out: the message
 * says which), AVOW_LIMIT (response too large). */
enum avow_rc avow_http_request(struct avow_http *h, const char *method, const char *url, const struct avow_bytes *body,
                               unsigned *status, struct avow_buf *response, struct avow_err *err) AVOW_MUST_CHECK;

#endif
