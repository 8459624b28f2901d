/* http_server.h - HTTP/1.1 with and without TLS, bounded; hands whole requests to one function.
 * Layer: registrar. The only user of libmicrohttpd and GnuTLS (docs/adr/0004-http-server.md). Knows
 * no route.
 *
 * Limits (PROTOCOL B6): header 16 KiB -> 431; body 256 KiB -> 413; a connection that completes no
 * request for 10 s is closed, however busily it drips bytes; connections in total and per address.
 */
#ifndef AVOW_REGISTRAR_HTTP_SERVER_H
#define AVOW_REGISTRAR_HTTP_SERVER_H

#include "enroll_step.h"
#include "http_work.h"
#include "request_json.h"

#define AVOW_HEADER_MAX (16u * 1024u)
#define AVOW_REQUEST_MS 10000u
#define AVOW_REPLY_MS 30000u /* for taking the answer; a list of a large fleet is megabytes */
#define AVOW_REPLY_MAX (64u * 1024u * 1024u)
#define AVOW_WORK_MS 120000u /* for a request in the queue and in work */
#define AVOW_REQUEST_ID_MAX 64u
#define AVOW_ARGS_MAX 4u

struct avow_server_arg { /* name=value of the query, as sent */
    struct avow_str name, value;
};

struct avow_server_request { /* borrowed during the call */
    struct avow_str method;
    struct avow_str path; /* as sent: not percent-decoded; without the query */
    struct avow_server_arg args[AVOW_ARGS_MAX];
    size_t n_args; /* over AVOW_ARGS_MAX: there were more, which are not here */
    struct avow_bytes body;
    struct avow_str content_type; /* empty: none */
    struct avow_str request_id;   /* X-Request-ID if it is [A-Za-z0-9._-]{1,64}, else empty */
    struct avow_str
        source; /* address of the client; of IPv6 the /64, which is one site's to choose from */
    bool tls;
    bool client_cert; /* a client certificate that the configured CA issued, for TLS clients */
    struct avow_str client_name; /* of it: the subject, RFC 4514; empty unless client_cert */
    bool authorization;          /* an Authorization header was sent */
};

struct avow_server_reply {
    unsigned status;
    struct avow_buf body;     /* empty: no body, no content type */
    const char *content_type; /* static; NULL: application/json */
    const char *allow;        /* static: header Allow, with 405; NULL: none */
    const char *reason;       /* static word for audit and metrics; NULL: none */
    unsigned retry_after_s;   /* 0: no header. Keylime's agents repeat a request that was answered
                              with it, even a 200 */
};

/* Fills the reply. @thread one of the work queue's; several at once */
typedef void (*avow_server_fn)(void *arg, const struct avow_server_request *req,
                               struct avow_server_reply *reply);
/* Looks at a whole request before it is queued. True: it is answered. Waits for nothing.
 * @thread one that reads sockets; several at once */
typedef bool (*avow_server_first_fn)(void *arg, const struct avow_server_request *req,
                                     struct avow_server_reply *reply);

struct avow_http_server_opts {
    const char *listen; /* host:port; [v6]:port; port 0: any free one */
    const char *tls_cert, *tls_key,
        *tls_ca; /* PEM files, all or none; tls_ca: issuer of client certificates */
    unsigned threads;
    unsigned max_connections;
    unsigned max_per_address;
    avow_server_first_fn first; /* NULL: none */
    avow_server_fn fn;
    void *arg;
    struct avow_work *work; /* borrowed; a full one is answered 503 with Retry-After. NULL: fn is
                               called on the threads that read sockets */
};

struct avow_http_server;
/* Errors: AVOW_CONFIG (address, TLS files), AVOW_IO (bind), AVOW_NOMEM. */
enum avow_rc avow_http_server_start(const struct avow_http_server_opts *opts,
                                    struct avow_http_server **out,
                                    struct avow_err *err) AVOW_MUST_CHECK;
/* Port that is really listened on. */
unsigned avow_http_server_port(const struct avow_http_server *s);
/* Open connections. */
size_t avow_http_server_connections(const struct avow_http_server *s);
/* Stops accepting, lets requests that are being answered finish for up to grace_ms (those in the
 * work queue in any case), closes the rest, frees. Before the work queue is freed. NULL is fine. */
void avow_http_server_stop(struct avow_http_server *s, unsigned grace_ms);

#endif
