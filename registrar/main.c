/* avow-registrar: proves that an AK lives in a genuine TPM and publishes who that is. Tour:
 * docs/REGISTRAR.md. */
#include "conf.h"
#include "http_server.h"
#include "identity_publish.h"
#include "ops.h"
#include "privileges.h"
#include "revalidate.h"
#include "service.h"

#include "avow/base/cli.h"
#include "avow/base/clock.h"
#include "avow/base/log.h"
#include "avow/base/notify.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "avow/base/banned.h"

#define NOTES_MAX 4096u
#define TICK_MS 200u
#define PURGE_MS 10000u
#define GRACE_MS 5000u
#define STANDBY_MS 300u /* between two looks at the lock */
#define OPS_CONNECTIONS 64u
#define FILES_SPARE 256u /* descriptors for everything that is no connection */

struct registrar {
    struct avow_registrar_conf conf;
    struct avow_store *store;
    struct avow_authorities *authorities;
    struct avow_outside *outside;
    struct avow_revalidator *revalidator;
    struct avow_root *root;
    struct avow_privkey *key;
    struct avow_bus *bus;
    struct avow_publisher *publisher;
    struct avow_service service;
    struct avow_work *work;
    struct avow_ops ops;
    struct avow_http_server *http, *https, *metrics;
    struct avow_notify notify;
};

static void registrar_deinit(struct registrar *r)
{
    avow_outside_stop(r->outside);        /* the queue would wait for them */
    avow_http_server_stop(r->metrics, 0); /* it looks at all the others */
    avow_http_server_stop(r->http, GRACE_MS);
    avow_http_server_stop(r->https, GRACE_MS);
    avow_work_free(r->work);
    avow_revalidator_stop(r->revalidator);
    avow_publisher_stop(r->publisher);
    avow_bus_free(r->bus);
    avow_privkey_free(r->key);
    avow_root_free(r->root);
    avow_store_close(r->store);
    avow_outside_free(r->outside);
    avow_authorities_close(r->authorities);
    avow_limiter_free(r->service.per_address);
    avow_limiter_free(r->service.per_agent);
    avow_audit_close(r->service.audit);
    avow_metrics_free(r->service.metrics);
    avow_notify_close(&r->notify);
}

static void log_notes(struct avow_buf *notes)
{
    const char *line = avow_buf_cstr(notes);
    for (const char *end; (end = strchr(line, '\n')); line = end + 1)
        avow_log(WARN, "config.note",
                 AVOW_KV_STRN("note", ((struct avow_str){line, (size_t)(end - line)})));
}

/* A standby waits for the lock, which the kernel frees when its holder ends, however it ends. */
static enum avow_rc open_database(struct registrar *r, struct avow_err *err)
{
    enum avow_rc rc = avow_store_open(r->conf.db, avow_clock_unix_ms(), &r->store, err);
    if (rc != AVOW_EXISTS || !r->conf.standby)
        return rc;
    avow_log(INFO, "standby", AVOW_KV_STR("db", r->conf.db));
    avow_notify_ready(&r->notify);
    avow_notify_status(&r->notify, "standby");
    while (rc == AVOW_EXISTS && !avow_stop_requested()) {
        avow_notify_watchdog(&r->notify, avow_clock_mono_ms());
        avow_clock_sleep_ms(STANDBY_MS);
        rc = avow_store_open(r->conf.db, avow_clock_unix_ms(), &r->store, err);
    }
    if (!rc)
        avow_log(INFO, "standby.takes_over", AVOW_KV_STR("db", r->conf.db));
    return rc;
}

static enum avow_rc open_stores(struct registrar *r, struct avow_err *err)
{
    enum avow_rc rc = open_database(r, err);
    if (!rc)
        rc =
            avow_authorities_open(&r->conf.authorities, avow_clock_unix_ms(), &r->authorities, err);
    return rc ? rc : avow_outside_new(&r->conf.outside, &r->outside, err);
}

static enum avow_rc start_revalidator(struct registrar *r, struct avow_err *err)
{
    const struct avow_revalidate_opts o = {.store = r->store,
                                           .authorities = r->authorities,
                                           .identity = r->conf.policy.identity,
                                           .now_ms = avow_clock_unix_ms,
                                           .changed = r->service.changed,
                                           .changed_arg = r->service.changed_arg};
    return avow_revalidator_start(&o, &r->revalidator, err);
}

static enum avow_rc start_publisher(struct registrar *r, struct avow_err *err)
{
    if (!r->conf.n_kafka)
        return AVOW_OK;
    enum avow_rc rc = avow_root_load(r->conf.root, &r->root, err);
    if (!rc)
        rc = avow_privkey_load(r->conf.sign_key, &r->key, err);
    if (!rc)
        rc = avow_bus_kafka_new(r->conf.kafka, r->conf.n_kafka, "avow-registrar", &r->bus, err);
    struct avow_publisher_opts o = {.store = r->store,
                                    .bus = r->bus,
                                    .root = r->root,
                                    .key = r->key,
                                    .bundle_file = r->conf.bundle,
                                    .topic_prefix = r->conf.topic_prefix,
                                    .metrics = r->service.metrics};
    return rc ? rc : avow_publisher_start(&o, &r->publisher, err);
}

static enum avow_rc listen_on(struct registrar *r, const char *address, bool tls,
                              struct avow_http_server **out, struct avow_err *err)
{
    struct avow_http_server_opts o = {.listen = address,
                                      .threads = r->conf.threads,
                                      .max_connections = r->conf.max_connections,
                                      .max_per_address = r->conf.max_per_address,
                                      .first = avow_service_first,
                                      .fn = avow_service_answer,
                                      .arg = &r->service,
                                      .work = r->work};
    if (!address)
        return AVOW_OK;
    if (tls) {
        o.tls_cert = r->conf.tls_cert;
        o.tls_key = r->conf.tls_key;
        o.tls_ca = r->conf.tls_ca;
    }
    enum avow_rc rc = avow_http_server_start(&o, out, err);
    if (!rc)
        avow_log(INFO, "listening", AVOW_KV_STR("address", address),
                 AVOW_KV_U64("port", avow_http_server_port(*out)), AVOW_KV_BOOL("tls", tls));
    return rc;
}

/* What needs no database: a standby has it, too. */
static enum avow_rc start_operation(struct registrar *r, struct avow_err *err)
{
    struct avow_service *s = &r->service;
    struct avow_http_server_opts o = {.listen = r->conf.metrics_listen,
                                      .threads = 1,
                                      .max_connections = OPS_CONNECTIONS,
                                      .max_per_address = OPS_CONNECTIONS,
                                      .fn = avow_ops_answer,
                                      .arg = &r->ops};
    enum avow_rc rc = avow_metrics_new(&s->metrics, err);
    if (!rc && r->conf.audit_log)
        rc = avow_audit_open(r->conf.audit_log, &s->audit, err);
    if (!rc)
        rc = avow_limiter_new(r->conf.rate_per_address, &s->per_address, err);
    if (!rc)
        rc = avow_limiter_new(r->conf.rate_per_agent, &s->per_agent, err);
    if (!rc)
        rc = avow_work_new(r->conf.work_threads, r->conf.queue, &r->work, err);
    r->ops.metrics = s->metrics;
    r->ops.work = r->work;
    r->ops.now_ms = avow_clock_unix_ms;
    if (!rc && r->conf.metrics_listen)
        rc = avow_http_server_start(&o, &r->metrics, err);
    if (!rc && r->metrics)
        avow_log(INFO, "metrics", AVOW_KV_STR("address", r->conf.metrics_listen),
                 AVOW_KV_U64("port", avow_http_server_port(r->metrics)));
    return rc;
}

static enum avow_rc start(struct registrar *r, struct avow_err *err)
{
    enum avow_rc rc = start_operation(r, err);
    if (!rc)
        rc = open_stores(r, err);
    if (!rc)
        rc = start_publisher(r, err);
    r->service.store = r->store;
    r->service.authorities = r->authorities;
    r->service.outside = r->outside;
    r->service.policy = r->conf.policy;
    r->service.now_ms = avow_clock_unix_ms;
    r->service.changed = r->publisher ? avow_publisher_wake : NULL;
    r->service.changed_arg = r->publisher;
    r->service.backup_dir = r->conf.backup_dir;
    atomic_store(&r->ops.store, r->store);
    if (!rc)
        rc = start_revalidator(r, err);
    if (!rc)
        rc = listen_on(r, r->conf.http_listen, false, &r->http, err);
    if (!rc)
        rc = listen_on(r, r->conf.https_listen, true, &r->https, err);
    if (rc)
        return rc;
    atomic_store(&r->ops.http, r->http);
    atomic_store(&r->ops.https, r->https);
    atomic_store(&r->ops.serving, true);
    return AVOW_OK;
}

static void run(struct registrar *r)
{
    struct avow_err err;
    uint64_t purge_ms = 0;
    avow_notify_ready(&r->notify);
    avow_notify_status(&r->notify, "serving");
    while (!avow_stop_requested()) {
        uint64_t now_ms = avow_clock_mono_ms();
        avow_notify_watchdog(&r->notify, now_ms);
        if (avow_hup_take())
            avow_revalidator_wake(r->revalidator);
        if (now_ms >= purge_ms) {
            purge_ms = now_ms + PURGE_MS;
            if (avow_store_purge(r->store, avow_clock_unix_ms(), &err))
                avow_log_limited(ERROR, "store.failed", 10, AVOW_KV_ERR(&err));
        }
        avow_clock_sleep_ms(TICK_MS);
    }
    avow_notify_stopping(&r->notify);
    avow_log(INFO, "stopping", AVOW_KV_STR("cause", "signal"));
}

/* Connections are descriptors: fewer than are configured would be a limit that nobody set. */
static void raise_file_limit(const struct avow_registrar_conf *c)
{
    struct rlimit l;
    rlim_t want = 2 * (rlim_t)c->max_connections + FILES_SPARE;
    if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur == RLIM_INFINITY || l.rlim_cur >= want)
        return;
    l.rlim_cur = l.rlim_max == RLIM_INFINITY || l.rlim_max > want ? want : l.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur < want)
        avow_log(WARN, "config.note",
                 AVOW_KV_STR("note", "the limit of open files is below registrar.max_connections"));
}

static enum avow_exit serve(const struct avow_conf *conf)
{
    AVOW_CLEANUP_VAL(registrar_deinit) struct registrar r = {.store = NULL};
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf notes;
    struct avow_err err;
    avow_buf_init(&notes, NOTES_MAX);
    avow_notify_open(&r.notify);
    enum avow_rc rc = avow_registrar_conf_read(conf, &r.conf, &notes, &err);
    if (!rc) {
        log_notes(&notes);
        raise_file_limit(&r.conf);
        rc = avow_privileges_drop(r.conf.user, &err);
    }
    if (!rc)
        rc = start(&r, &err);
    if (rc && avow_stop_requested())
        return AVOW_EXIT_OK; /* a standby that was not needed */
    if (rc) {
        avow_log(ERROR, "start.failed", AVOW_KV_ERR(&err));
        return avow_exit_of(rc);
    }
    run(&r);
    return AVOW_EXIT_OK;
}

/* Challenges and secrets pass through this memory; a file size limit is a full disk, answered with
 * 503, and no reason to die. */
static void set_process_limits(void)
{
    const struct rlimit none = {0, 0};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_CORE, &none))
        avow_log(WARN, "core_dumps", AVOW_KV_STR("state", "could not be turned off"));
}

int main(int argc, char **argv)
{
    struct avow_daemon_args args;
    avow_daemon_start(argc, argv, &avow_registrar_conf_spec,
                      "registers TPMs, proves them genuine and publishes their identities", &args);
    if (args.done)
        return (int)args.code;
    set_process_limits();
    avow_stop_install();
    avow_hup_install();
    enum avow_exit code = serve(args.conf);
    avow_conf_free(args.conf);
    return (int)code;
}
