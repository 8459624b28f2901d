/* conf.h - the registrar's settings: one table, and the checks that no single value shows. Layer:
 * registrar. */
#ifndef AVOW_REGISTRAR_CONF_H
#define AVOW_REGISTRAR_CONF_H

#include "authorities.h"
#include "outside.h"

#include "avow/base/conf.h"
#include "avow/bus/bus.h"

extern const struct avow_conf_spec avow_registrar_conf_spec;

#define AVOW_KAFKA_PROPERTIES_MAX 128u

struct avow_registrar_conf {  /* borrows from the avow_conf */
    const char *http_listen;  /* NULL: off */
    const char *https_listen; /* NULL: off */
    const char *tls_cert, *tls_key, *tls_ca;
    const char *db;
    struct avow_authorities_conf authorities;
    struct avow_outside_conf outside;
    struct avow_enroll_policy policy;
    unsigned threads, max_connections, max_per_address;
    unsigned work_threads;
    size_t queue;
    uint32_t rate_per_address, rate_per_agent; /* a minute; 0: no limit */
    bool standby;
    const char *backup_dir, *audit_log, *user, *metrics_listen; /* NULL: none */
    const char *sign_key, *root, *bundle;                       /* NULL: not given */
    const char *topic_prefix;
    struct avow_bus_property kafka[AVOW_KAFKA_PROPERTIES_MAX];
    size_t n_kafka; /* 0, or with bootstrap.servers: publish */
};
/* Errors: AVOW_CONFIG, naming the keys. `notes` receives lines worth knowing. */
enum avow_rc avow_registrar_conf_read(const struct avow_conf *c, struct avow_registrar_conf *out,
                                      struct avow_buf *notes, struct avow_err *err) AVOW_MUST_CHECK;

#endif
