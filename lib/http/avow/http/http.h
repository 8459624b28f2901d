/* http.h - one bounded HTTP client over libcurl. Layer: http. One handle per thread. */
#ifndef AVOW_HTTP_HTTP_H
#define AVOW_HTTP_HTTP_H

#include "avow/base/buf.h"
#include "avow/base/cleanup.h"

#include <stdatomic.h>

struct avow_http_opts {
    const char *ca_file;   /* the only authorities believed; NULL: https uses the system store */
    const char *cert_file; /* client certificate, NULL: none */
    const char *key_file;
    unsigned timeout_ms;       /* whole request; 0: 10 000 */
    size_t response_max;       /* 0: 1 MiB */
    const atomic_bool *cancel; /* true: a request under way ends within a second, AVOW_UNREACHABLE;
                                  NULL: never; borrowed */
};
struct avow_http;
/* Errors: AVOW_CONFIG (a file that cannot be read, a certificate without its key), AVOW_NOMEM. */
enum avow_rc avow_http_new(const struct avow_http_opts *opts, struct avow_http **out,
                           struct avow_err *err) AVOW_MUST_CHECK;
void avow_http_free(struct avow_http *h);
AVOW_DEFINE_CLEANUP(struct avow_http, avow_http_free);
/* Never follows redirects (their status is returned), never changes from https to http, never uses
 * a proxy: the environment's proxy variables are ignored, for the registrar is on the inside.
 * HTTP/1.1, TLS 1.2 or later. body NULL: none; it is sent as application/json. *status receives the
 * HTTP status; `response` is appended to, only on success. Errors: AVOW_UNREACHABLE (connect, TLS,
 * time-out: the message says which), AVOW_LIMIT (body over response_max or over the room in
 * `response`, header lines over 64 KiB), AVOW_CONFIG (no http URL, or a password in it),
 * AVOW_USAGE. */
enum avow_rc avow_http_request(struct avow_http *h, const char *method, const char *url,
                               const struct avow_bytes *body, unsigned *status,
                               struct avow_buf *response, struct avow_err *err) AVOW_MUST_CHECK;

#endif
