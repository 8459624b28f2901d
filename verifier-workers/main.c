/* main.c - avow-worker: configuration, keys, and the threads until a signal. */
#include "conf.h"
#include "threads.h"

#include "avow/base/cli.h"
#include "avow/base/log.h"
#include "avow/base/clock.h"
#include "avow/base/file.h"
#include "avow/base/notify.h"
#include "avow/bus/advice.h"
#include "avow/http/watch.h"

#include "avow/base/banned.h"

#define PROPERTIES_MAX 128u

struct properties {
    struct avow_bus_property items[PROPERTIES_MAX];
    size_t count;
};
struct process {
    struct properties kafka;
    struct avow_meter *meter;
    struct avow_notify notify;
};

static void add_property(void *arg, const char *key, const char *value)
{
    struct properties *p = arg;
    if (p->count < PROPERTIES_MAX)
        p->items[p->count++] = (struct avow_bus_property){key, value};
}

static enum avow_rc new_bus(void *arg, struct avow_bus **out, struct avow_err *err)
{
    const struct process *p = arg;
    return avow_bus_kafka_new(p->kafka.items, p->kafka.count, "avow-worker", out, err);
}

/* The service manager hears what monitoring would be told. */
static void meanwhile(void *arg)
{
    struct process *p = arg;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, AVOW_WATCH_ANSWER_MAX);
    if (p->notify.fd < 0)
        return;
    if (avow_meter_healthy(p->meter, &text))
        avow_notify_watchdog(&p->notify, avow_clock_mono_ms());
    avow_buf_reset(&text);
    if (!p->notify.ready && avow_meter_ready(p->meter, &text))
        avow_notify_ready(&p->notify);
}

static enum avow_rc watch(const char *listen, struct avow_meter *meter, struct avow_watch **out,
                          struct avow_err *err)
{
    const struct avow_watch_opts opts = {.listen = listen,
                                         .metrics = avow_meter_metrics,
                                         .healthy = avow_meter_healthy,
                                         .ready = avow_meter_ready,
                                         .arg = meter};
    enum avow_rc rc = listen ? avow_watch_start(&opts, out, err) : AVOW_OK;
    if (rc)
        return avow_err_wrap(err, rc, "metrics.listen");
    if (listen)
        avow_log(INFO, "metrics", AVOW_KV_STR("address", listen),
                 AVOW_KV_U64("port", avow_watch_port(*out)));
    return AVOW_OK;
}

static const char *scratch_dir(const struct avow_worker_conf *c)
{
    if (c->scratch_dir && avow_file_exists(c->scratch_dir))
        return c->scratch_dir;
    avow_log(INFO, "no_scratch_dir", AVOW_KV_STR("folder", c->scratch_dir ? c->scratch_dir : ""),
             AVOW_KV_STR("consequence", "a record that kills workers is not skipped"));
    return NULL;
}

static enum avow_rc serve(const struct avow_conf *conf, struct avow_err *err)
{
    struct avow_worker_conf c;
    struct process p = {.notify = {.fd = -1}};
    AVOW_CLEANUP(avow_root_free) struct avow_root *root = NULL;
    AVOW_CLEANUP(avow_meter_free) struct avow_meter *meter = NULL;
    AVOW_CLEANUP(avow_watch_stop) struct avow_watch *watcher = NULL; /* ends before the meter */
    AVOW_CLEANUP_VAL(avow_worker_keys_deinit) struct avow_worker_keys keys = {0};
    enum avow_rc rc = avow_worker_conf_read(conf, &c, err);
    if (!rc)
        rc = avow_root_load(c.root, &root, err);
    if (!rc)
        rc = avow_worker_keys_load(c.keys, &keys, err);
    if (!rc)
        rc = avow_meter_new(c.threads, &meter, err);
    if (!rc)
        rc = watch(c.metrics_listen, meter, &watcher, err);
    if (rc)
        return rc;
    p.meter = meter;
    avow_notify_open(&p.notify);
    avow_conf_each_passthrough(conf, add_property, &p.kafka);
    struct avow_threads_opts opts = {.worker = {.root = root,
                                                .keys = &keys,
                                                .prefix = c.prefix,
                                                .group = c.group,
                                                .instance = c.instance,
                                                .guarantee = c.guarantee,
                                                .min_version = c.min_version,
                                                .outputs = c.outputs,
                                                .scratch_dir = scratch_dir(&c),
                                                .clock = avow_worker_clock_system(),
                                                .stop_requested = avow_stop_requested},
                                     .count = c.threads,
                                     .new_bus = new_bus,
                                     .arg = &p,
                                     .meter = meter,
                                     .meanwhile = meanwhile};
    rc = avow_threads_run(&opts, err);
    avow_notify_close(&p.notify);
    return rc;
}

static const char *next_step(enum avow_rc rc, const struct avow_err *err)
{
    switch (avow_exit_of(rc)) {
    case AVOW_EXIT_UNREACHABLE:
        return avow_bus_advice(err->msg);
    case AVOW_EXIT_USAGE:
        return "correct the configuration; --print-config shows where each value comes from";
    default:
        if (rc == AVOW_BUS)
            return avow_bus_advice(err->msg);
        return rc == AVOW_IO || rc == AVOW_PARSE
                   ? "worker.root is the fleet's root.pem, worker.keys the folder `worker` that "
                     "`avow init` made"
                   : "the service manager starts the worker again";
    }
}

int main(int argc, char **argv)
{
    struct avow_daemon_args args;
    avow_daemon_start(argc, argv, &avow_worker_conf_spec,
                      "Appraises evidence and publishes verdicts.", &args);
    if (args.done)
        return (int)args.code;
    avow_stop_install();
    struct avow_err err = {0};
    enum avow_rc rc = serve(args.conf, &err);
    if (rc)
        avow_log(ERROR, "exit", AVOW_KV_ERR(&err), AVOW_KV_STR("kind", avow_rc_text(rc)),
                 AVOW_KV_STR("next", next_step(rc, &err)));
    avow_conf_free(args.conf);
    return (int)avow_exit_of(rc);
}
