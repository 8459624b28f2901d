/* metrics.h - counters of the registrar, as Prometheus reads them. Layer: registrar. Thread-safe.
 * Names that a peer chooses (TPM vendors) are bounded in number and cleaned. */
#ifndef AVOW_REGISTRAR_METRICS_H
#define AVOW_REGISTRAR_METRICS_H

#include "avow/base/buf.h"
#include "avow/base/err.h"

struct avow_metrics;
enum avow_rc avow_metrics_new(struct avow_metrics **out, struct avow_err *err) AVOW_MUST_CHECK;
void avow_metrics_free(struct avow_metrics *m);

/* One request was answered. action and reason are static words. All calls take m NULL. */
struct avow_metrics_request {
    const char *action;
    const char *reason; /* NULL: none */
    unsigned status;
    uint64_t took_ns;
};
void avow_metrics_request(struct avow_metrics *m, const struct avow_metrics_request *r);
/* An agent became active or was renewed; ek_cert is the DER of its EK certificate, empty: none. */
void avow_metrics_activation(struct avow_metrics *m, struct avow_bytes ek_cert);
void avow_metrics_published(struct avow_metrics *m, uint64_t n);

/* What is read at the moment of asking. */
struct avow_metrics_gauges {
    bool serving; /* the database is open: not a standby */
    bool store_ok;
    uint64_t agents, removed, pending, outbox;
    uint64_t outbox_age_ms; /* of its oldest row; 0: empty */
    uint64_t work_waiting, http_connections, https_connections;
};
void avow_metrics_render(struct avow_metrics *m, const struct avow_metrics_gauges *g,
                         struct avow_buf *out);

#endif
