/* conf.c - see conf.h. */
#define _GNU_SOURCE
#include "conf.h"

#include "avow/http/listen.h"
#include "threads.h"

#include <stdio.h>
#include <unistd.h>

#include "avow/base/banned.h"

static const struct avow_conf_option options[] = {
    {"worker", "root", AVOW_CONF_PATH, "/etc/avow/root.pem", 0, 0, NULL,
     "Public root key(s) of the fleet: the trust anchor.", NULL},
    {"worker", "keys", AVOW_CONF_PATH, "/etc/avow/worker", 0, 0, NULL,
     "Folder with sign.pem, mac.key, mac.prev (optional) and kex.pem.", NULL},
    {"worker", "group", AVOW_CONF_STR, "avow-workers", 0, 0, NULL,
     "Consumer group; the same for all workers of a fleet.", NULL},
    {"worker", "instance", AVOW_CONF_STR, NULL, 0, 0, NULL,
     "Name of this process, unique in the group; default: host name and process id.", NULL},
    {"worker", "threads", AVOW_CONF_U64, "1", 1, AVOW_WORKER_THREADS_MAX, NULL,
     "Worker threads: each is a member of the group with partitions and policies of its own.",
     NULL},
    {"worker", "scratch_dir", AVOW_CONF_PATH, "/var/lib/avow-worker", 0, 0, NULL,
     "Remembers beyond a crash which record was in hand, so that one that kills workers is skipped "
     "at the third start; a folder that does not exist: nothing is remembered.",
     NULL},
    {"processing", "guarantee", AVOW_CONF_ENUM, "exactly_once", 0, 0, "exactly_once|at_least_once",
     "at_least_once only where the broker has no transactions (avow-devbroker).", NULL},
    {"trust", "min_version", AVOW_CONF_U64, "0", 0, INT64_MAX, NULL,
     "Bundles below this version are refused; 0: none known.", NULL},
    {"metrics", "listen", AVOW_CONF_STR, NULL, 0, 0, NULL,
     "host:port for /metrics, /healthz and /readyz over plain HTTP; without it, off", NULL},
    {"output", "cloudevents", AVOW_CONF_BOOL, "no", 0, 0, NULL,
     "Publish revocations as CloudEvents, too, on the topic revocations.cloudevents.", NULL},
    {"output", "keylime", AVOW_CONF_BOOL, "no", 0, 0, NULL,
     "Publish revocations in Keylime's form, too, unsigned, on the topic revocations.keylime.",
     NULL},
    {"topic", "prefix", AVOW_CONF_STR, "avow.", 0, 0, NULL, "Prefix of all topics.", NULL},
};

const struct avow_conf_spec avow_worker_conf_spec = {.program = "avow-worker",
                                                     .options = options,
                                                     .count = AVOW_ARRAY_LEN(options),
                                                     .passthrough = "kafka"};

static bool is_instance_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

/* Host names may be longer than a transactional id allows, and the process id must survive the cut.
 */
static enum avow_rc default_instance(struct avow_worker_conf *c, struct avow_err *err)
{
    char host[256] = {0};
    if (gethostname(host, sizeof host - 1))
        return avow_err_set(err, AVOW_CONFIG, 0, "no host name; set worker.instance");
    for (char *p = host; *p; p++) {
        if (!is_instance_char(*p))
            *p = '-';
    }
    (void)snprintf(c->host, sizeof c->host, "%.20s-%ld", host, (long)getpid());
    c->instance = c->host;
    return AVOW_OK;
}

enum avow_rc avow_worker_conf_read(const struct avow_conf *c, struct avow_worker_conf *out,
                                   struct avow_err *err)
{
    *out = (struct avow_worker_conf){
        .root = avow_conf_str(c, "worker", "root"),
        .keys = avow_conf_str(c, "worker", "keys"),
        .group = avow_conf_str(c, "worker", "group"),
        .instance = avow_conf_str(c, "worker", "instance"),
        .prefix = avow_conf_str(c, "topic", "prefix"),
        .outputs = {.cloudevents = avow_conf_bool(c, "output", "cloudevents"),
                    .keylime = avow_conf_bool(c, "output", "keylime")},
        .scratch_dir = avow_conf_str(c, "worker", "scratch_dir"),
        .min_version = avow_conf_u64(c, "trust", "min_version"),
        .threads = (unsigned)avow_conf_u64(c, "worker", "threads"),
        .guarantee = avow_cstr_eq(avow_conf_str(c, "processing", "guarantee"), "exactly_once")
                         ? AVOW_EXACTLY_ONCE
                         : AVOW_AT_LEAST_ONCE,
    };
    out->metrics_listen = avow_conf_str(c, "metrics", "listen");
    char host[256], port[6];
    if (out->metrics_listen && avow_listen_split(out->metrics_listen, host, port, err))
        return avow_err_wrap(err, AVOW_CONFIG, "metrics.listen");
    return out->instance ? AVOW_OK : default_instance(out, err);
}
