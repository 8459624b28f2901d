/* conf.h - configuration of avow-worker. Layer: verifier-workers. */
#ifndef AVOW_WORKER_CONF_H
#define AVOW_WORKER_CONF_H

#include "avow/base/conf.h"
#include "context.h"

extern const struct avow_conf_spec avow_worker_conf_spec;

struct avow_worker_conf { /* strings borrow from the avow_conf, or from `host` */
    const char *root, *keys, *group, *instance, *prefix;
    const char *scratch_dir, *metrics_listen; /* NULL: off */
    enum avow_guarantee guarantee;
    uint64_t min_version;
    struct avow_worker_outputs outputs;
    unsigned threads;
    char host[64]; /* hostname-pid, when worker.instance is not set */
};
/* Errors: AVOW_CONFIG. */
enum avow_rc avow_worker_conf_read(const struct avow_conf *c, struct avow_worker_conf *out,
                                   struct avow_err *err) AVOW_MUST_CHECK;

#endif
