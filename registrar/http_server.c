#include "http_server.h"

#include "http_conns.h"

#include "avow/base/clock.h"
#include "avow/base/file.h"
#include "avow/base/log.h"
#include "avow/base/num.h"
#include "avow/http/listen.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "avow/base/banned.h"

/* Bytes of one connection for header, part of the body and reply header: the exact header limit is
 * checked besides. */
#define CONNECTION_MEMORY (48u * 1024u)
#define IDLE_S 10u /* libmicrohttpd's own limit between two bytes */
/* What is still read of a body over AVOW_BODY_MAX, so that the client sees the 413 and not a reset.
 */
#define DRAIN_MAX (1024u * 1024u)
#define PEM_MAX (256u * 1024u)
#define CLIENT_NAME_MAX 256u /* longer subjects are cut */
#define RETRY_FULL_S 1u
#define STOP_POLL_MS 10u
#define TLS_PRIORITIES                                                                             \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-CIPHER-ALL:+AES-256-GCM:+AES-128-GCM:+CHACHA20-"  \
    "POLY1305:-RSA"

struct avow_http_server {
    struct MHD_Daemon *daemon;
    struct avow_conns *conns;
    struct avow_buf cert, key, ca; /* PEM with final NUL, as libmicrohttpd wants it */
    avow_server_first_fn first;
    avow_server_fn fn;
    void *arg;
    struct avow_work *work; /* borrowed; may be NULL */
    atomic_uint queued;     /* requests in the work queue or in work */
    atomic_bool stopping;
    unsigned port;
    int fd; /* -1 once the daemon owns it */
    bool tls;
};

struct exchange { /* one request */
    struct avow_http_server *server;
    struct MHD_Connection *connection;
    struct avow_server_request req;
    struct avow_server_reply reply;
    bool answered; /* reply is ready */
    char source[AVOW_SOURCE_MAX];
    char client_name[CLIENT_NAME_MAX];
    struct avow_buf body;
    uint64_t received;
    unsigned refuse; /* status that the headers alone demand; 0: none */
};

static void log_message(void *arg, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
static void log_message(void *arg, const char *fmt, va_list ap)
{
    char text[256];
    (void)arg;
    vsnprintf(text, sizeof text, fmt, ap);
    text[strcspn(text, "\r\n")] = '\0';
    avow_log_limited(DEBUG, "http.library", 60, AVOW_KV_STR("message", text));
}

/* Paths are judged as sent: an id that needs %-escapes is no id. */
static size_t keep_escapes(void *arg, struct MHD_Connection *c, char *s)
{
    (void)arg;
    (void)c;
    return strlen(s);
}

static struct avow_conn *conn_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void on_connection(void *arg, struct MHD_Connection *c, void **slot,
                          enum MHD_ConnectionNotificationCode code)
{
    struct avow_http_server *s = arg;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        avow_conns_remove(s->conns, *slot);
        *slot = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    *slot = info
                ? avow_conns_add(s->conns, info->connect_fd, avow_clock_mono_ms() + AVOW_REQUEST_MS)
                : NULL;
}

static void set_deadline(struct avow_http_server *s, struct MHD_Connection *c, unsigned ms)
{
    avow_conns_deadline(s->conns, conn_of(c), avow_clock_mono_ms() + ms);
}

static void on_completed(void *arg, struct MHD_Connection *c, void **con_cls,
                         enum MHD_RequestTerminationCode code)
{
    struct avow_http_server *s = arg;
    struct exchange *x = *con_cls;
    if (!x)
        return;
    if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        set_deadline(s, c, AVOW_REQUEST_MS);
    avow_buf_deinit(&x->body);
    avow_buf_deinit(&x->reply.body);
    free(x);
    *con_cls = NULL;
    avow_conns_busy(s->conns, -1);
}

/* --- Headers
 * -------------------------------------------------------------------------------------------------
 */
struct framing {
    unsigned lengths, encodings;
    bool chunked, bad_length;
    uint64_t length;
};

static enum MHD_Result count_framing(void *arg, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
    struct framing *f = arg;
    (void)kind;
    if (!strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH)) {
        f->lengths++;
        f->bad_length |= !avow_num_parse_u64(avow_str_from(value), INT64_MAX, &f->length);
    } else if (!strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING)) {
        f->encodings++;
        f->chunked = value && !strcasecmp(value, "chunked");
    }
    return MHD_YES;
}

/* A proxy in front might see another end of the body than we do: only the two plain forms are
 * taken. */
static unsigned judge_headers(struct MHD_Connection *c)
{
    struct framing f = {0};
    const union MHD_ConnectionInfo *size =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    MHD_get_connection_values(c, MHD_HEADER_KIND, count_framing, &f);
    if (!size || size->header_size > AVOW_HEADER_MAX)
        return MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    if (f.lengths + f.encodings > 1 || f.bad_length || (f.encodings && !f.chunked))
        return MHD_HTTP_BAD_REQUEST;
    return f.length > DRAIN_MAX ? MHD_HTTP_CONTENT_TOO_LARGE : 0;
}

static struct avow_str header(struct MHD_Connection *c, const char *name)
{
    return avow_str_from(MHD_lookup_connection_value(c, MHD_HEADER_KIND, name));
}

static struct avow_str request_id(struct MHD_Connection *c)
{
    struct avow_str s = header(c, "X-Request-ID");
    for (size_t i = 0; i < s.len; i++) {
        char ch = s.ptr[i];
        bool fine = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') ||
                    (ch >= 'A' && ch <= 'Z') || ch == '.' || ch == '_' || ch == '-';
        if (!fine || i >= AVOW_REQUEST_ID_MAX)
            return (struct avow_str){0};
    }
    return s;
}

/* Did the client prove to hold a certificate that our CA issued for clients? */
static bool client_cert_is_good(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (!info || !info->tls_session)
        return false;
    gnutls_session_t session = info->tls_session;
    unsigned n = 0, status = 0;
    if (!gnutls_certificate_get_peers(session, &n) || !n)
        return false;
    unsigned char purpose_oid[] = GNUTLS_KP_TLS_WWW_CLIENT;
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID, .data = purpose_oid};
    return !gnutls_certificate_verify_peers(session, &purpose, 1, &status) && status == 0;
}

/* For the audit trail only: what may be done depends on the issuer alone. */
static struct avow_str client_name(struct MHD_Connection *c, char out[CLIENT_NAME_MAX])
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    unsigned n = 0;
    const gnutls_datum_t *der = info ? gnutls_certificate_get_peers(info->tls_session, &n) : NULL;
    gnutls_x509_crt_t cert;
    size_t size = CLIENT_NAME_MAX;
    out[0] = '\0';
    if (!der || !n || gnutls_x509_crt_init(&cert))
        return (struct avow_str){0};
    if (gnutls_x509_crt_import(cert, der, GNUTLS_X509_FMT_DER) ||
        gnutls_x509_crt_get_dn(cert, out, &size))
        out[0] = '\0';
    gnutls_x509_crt_deinit(cert);
    return avow_str_from(out);
}

/* --- Answers
 * -------------------------------------------------------------------------------------------------
 */
static enum MHD_Result add_headers(struct MHD_Connection *c, struct MHD_Response *m,
                                   const struct avow_server_reply *r, bool close_after)
{
    char seconds[16];
    struct avow_str id = request_id(c);
    enum MHD_Result ok = MHD_YES;
    if (r->body.len)
        ok &= MHD_add_response_header(m, MHD_HTTP_HEADER_CONTENT_TYPE,
                                      r->content_type ? r->content_type : "application/json");
    if (id.len)
        ok &= MHD_add_response_header(m, "X-Request-ID", id.ptr);
    if (r->allow)
        ok &= MHD_add_response_header(m, MHD_HTTP_HEADER_ALLOW, r->allow);
    if (r->retry_after_s) {
        snprintf(seconds, sizeof seconds, "%u", r->retry_after_s);
        ok &= MHD_add_response_header(m, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
    if (close_after)
        ok &= MHD_add_response_header(m, MHD_HTTP_HEADER_CONNECTION, "close");
    return ok;
}

static enum MHD_Result send_reply(struct MHD_Connection *c, const struct avow_server_reply *r,
                                  bool close_after)
{
    struct MHD_Response *m =
        MHD_create_response_from_buffer(r->body.len, r->body.ptr, MHD_RESPMEM_MUST_COPY);
    if (!m)
        return MHD_NO;
    enum MHD_Result ok = add_headers(c, m, r, close_after);
    if (ok == MHD_YES)
        ok = MHD_queue_response(c, r->status, m);
    MHD_destroy_response(m);
    return ok;
}

static enum MHD_Result send_status(struct MHD_Connection *c, unsigned status)
{
    return send_reply(c, &(struct avow_server_reply){.status = status}, true);
}

/* What the client gets, once `reply` is filled. */
static enum MHD_Result send_answer(struct exchange *x)
{
    struct avow_http_server *s = x->server;
    if (x->reply.body.failed) {
        avow_log_limited(ERROR, "http.reply_too_large", 10, AVOW_KV_STRN("path", x->req.path));
        avow_buf_reset(&x->reply.body);
        x->reply.status = MHD_HTTP_SERVICE_UNAVAILABLE;
    }
    set_deadline(s, x->connection, AVOW_REPLY_MS);
    return send_reply(x->connection, &x->reply, atomic_load(&s->stopping));
}

static enum MHD_Result add_arg(void *arg, enum MHD_ValueKind kind, const char *name,
                               const char *value)
{
    struct avow_server_request *req = arg;
    (void)kind;
    if (req->n_args < AVOW_ARGS_MAX)
        req->args[req->n_args] =
            (struct avow_server_arg){avow_str_from(name), avow_str_from(value)};
    req->n_args++;
    return MHD_YES;
}

/* Everything borrowed here belongs to the connection until the request is completed. */
static void fill_request(struct exchange *x, const char *method, const char *path)
{
    struct MHD_Connection *c = x->connection;
    const union MHD_ConnectionInfo *addr =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    avow_listen_source(addr ? addr->client_addr : NULL, x->source, sizeof x->source);
    x->req = (struct avow_server_request){.method = avow_str_from(method),
                                          .path = avow_str_from(path),
                                          .body = avow_buf_bytes(&x->body),
                                          .content_type = header(c, MHD_HTTP_HEADER_CONTENT_TYPE),
                                          .request_id = request_id(c),
                                          .source = avow_str_from(x->source),
                                          .tls = x->server->tls,
                                          .client_cert = x->server->tls && client_cert_is_good(c)};
    if (x->req.client_cert)
        x->req.client_name = client_name(c, x->client_name);
    x->req.authorization =
        MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION) != NULL;
    MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, add_arg, &x->req);
}

/* @thread of the work queue. After resume the exchange belongs to the server's thread again. */
static void work_on(void *arg)
{
    struct exchange *x = arg;
    struct avow_http_server *s = x->server;
    s->fn(s->arg, &x->req, &x->reply);
    x->answered = true;
    MHD_resume_connection(x->connection);
    atomic_fetch_sub(&s->queued, 1);
}

/* The connection sleeps until the answer is there; its deadline stays. */
static enum MHD_Result queue_up(struct exchange *x)
{
    struct avow_http_server *s = x->server;
    set_deadline(s, x->connection, AVOW_WORK_MS);
    atomic_fetch_add(&s->queued, 1);
    MHD_suspend_connection(x->connection);
    if (!atomic_load(&s->stopping) && avow_work_push(s->work, work_on, x))
        return MHD_YES;
    x->reply.status = MHD_HTTP_SERVICE_UNAVAILABLE;
    x->reply.retry_after_s = RETRY_FULL_S;
    x->answered = true;
    avow_log_limited(WARN, "http.queue_full", 6, AVOW_KV_STRN("source", x->req.source));
    MHD_resume_connection(x->connection);
    atomic_fetch_sub(&s->queued, 1);
    return MHD_YES;
}

static enum MHD_Result answer(struct exchange *x, const char *method, const char *path)
{
    struct avow_http_server *s = x->server;
    fill_request(x, method, path);
    x->reply.status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    if (!s->first || !s->first(s->arg, &x->req, &x->reply)) {
        if (s->work)
            return queue_up(x);
        s->fn(s->arg, &x->req, &x->reply);
    }
    return send_answer(x);
}

static struct exchange *exchange_new(struct avow_http_server *s)
{
    struct exchange *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->server = s;
    avow_buf_init(&x->body, AVOW_BODY_MAX);
    avow_buf_init(&x->reply.body, AVOW_REPLY_MAX);
    avow_conns_busy(s->conns, 1);
    return x;
}

/* Called once after the headers, once per piece of the body, once at the end, and once more when an
 * answer comes out of the work queue. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **con_cls)
{
    struct avow_http_server *s = arg;
    struct exchange *x = *con_cls;
    (void)version;
    if (!x) {
        *con_cls = x = exchange_new(s);
        if (!x)
            return MHD_NO;
        x->connection = c;
        x->refuse = judge_headers(c);
        return x->refuse ? send_status(c, x->refuse) : MHD_YES;
    }
    if (x->answered)
        return send_answer(x);
    if (*size) {
        x->received += *size;
        if (x->received > DRAIN_MAX)
            return MHD_NO; /* chunked without end: no answer is possible before it, so close */
        if (x->received <= AVOW_BODY_MAX)
            avow_buf_put(&x->body, data, *size);
        *size = 0;
        return x->body.failed ? MHD_NO : MHD_YES;
    }
    if (x->received > AVOW_BODY_MAX)
        return send_status(c, MHD_HTTP_CONTENT_TOO_LARGE);
    return answer(x, method, url);
}

/* --- Life cycle
 * ---------------------------------------------------------------------------------------------- */
static enum avow_rc read_pem(const char *path, struct avow_buf *out, struct avow_err *err)
{
    enum avow_rc rc = avow_file_read(path, out, err);
    if (rc)
        return avow_err_wrap(err, AVOW_CONFIG, "TLS");
    avow_buf_cstr(out);
    return avow_buf_status(out, err);
}

static enum avow_rc load_tls(struct avow_http_server *s, const struct avow_http_server_opts *o,
                             struct avow_err *err)
{
    if (!o->tls_cert && !o->tls_key && !o->tls_ca)
        return AVOW_OK;
    if (!o->tls_cert || !o->tls_key || !o->tls_ca)
        return avow_err_set(err, AVOW_CONFIG, 0, "TLS needs tls_cert, tls_key and tls_ca");
    s->tls = true;
    enum avow_rc rc = read_pem(o->tls_cert, &s->cert, err);
    if (!rc)
        rc = read_pem(o->tls_key, &s->key, err);
    return rc ? rc : read_pem(o->tls_ca, &s->ca, err);
}

static enum avow_rc start_daemon(struct avow_http_server *s, const struct avow_http_server_opts *o,
                                 struct avow_err *err)
{
    unsigned flags =
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, s->cert.ptr},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, s->key.ptr},
        {MHD_OPTION_HTTPS_MEM_TRUST, 0, s->ca.ptr}, /* asks for a certificate, demands none */
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem pool[] = {{MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)o->threads, NULL},
                                    {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem none = {MHD_OPTION_END, 0, NULL};
    if (s->tls)
        flags |= MHD_USE_TLS;
    s->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, log_message, NULL,
        MHD_OPTION_LISTEN_SOCKET, s->fd, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes,
        NULL, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S,
        MHD_OPTION_CONNECTION_LIMIT, o->max_connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        o->max_per_address, MHD_OPTION_ARRAY, o->threads > 1 ? pool : &none, MHD_OPTION_ARRAY,
        s->tls ? tls : &none, MHD_OPTION_END);
    if (!s->daemon)
        return avow_err_set(err, s->tls ? AVOW_CONFIG : AVOW_IO, 0,
                            "cannot serve on %s%s; --log-level debug says why", o->listen,
                            s->tls ? " (is the certificate of the key?)" : "");
    s->fd = -1;
    return AVOW_OK;
}

static void server_free(struct avow_http_server *s)
{
    avow_conns_free(s->conns);
    if (s->fd >= 0)
        close(s->fd);
    avow_wipe(s->key.ptr, s->key.len);
    avow_buf_deinit(&s->cert);
    avow_buf_deinit(&s->key);
    avow_buf_deinit(&s->ca);
    free(s);
}

enum avow_rc avow_http_server_start(const struct avow_http_server_opts *o,
                                    struct avow_http_server **out, struct avow_err *err)
{
    struct avow_http_server *s = calloc(1, sizeof *s);
    if (!s)
        return avow_err_set(err, AVOW_NOMEM, 0, "server");
    s->fd = -1;
    s->first = o->first;
    s->fn = o->fn;
    s->arg = o->arg;
    s->work = o->work;
    avow_buf_init(&s->cert, PEM_MAX);
    avow_buf_init(&s->key, PEM_MAX);
    avow_buf_init(&s->ca, PEM_MAX);
    enum avow_rc rc = load_tls(s, o, err);
    if (!rc)
        rc = avow_conns_new(&s->conns, err);
    if (!rc)
        rc = avow_listen_open(o->listen, &s->fd, &s->port, err);
    if (!rc)
        rc = start_daemon(s, o, err);
    if (rc) {
        server_free(s);
        return rc;
    }
    *out = s;
    return AVOW_OK;
}

size_t avow_http_server_connections(const struct avow_http_server *s)
{
    return avow_conns_count(s->conns);
}

unsigned avow_http_server_port(const struct avow_http_server *s)
{
    return s->port;
}

void avow_http_server_stop(struct avow_http_server *s, unsigned grace_ms)
{
    if (!s)
        return;
    int fd = MHD_quiesce_daemon(s->daemon);
    if (fd != MHD_INVALID_SOCKET)
        close(fd);
    atomic_store(&s->stopping, true);
    /* The library may not end while a connection sleeps; work has time limits of its own. */
    while (atomic_load(&s->queued))
        avow_conns_pause(s->conns, STOP_POLL_MS);
    avow_conns_wait_idle(s->conns, grace_ms);
    MHD_stop_daemon(s->daemon);
    server_free(s);
}
