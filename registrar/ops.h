/* ops.h - /metrics, /healthz and /readyz on metrics.listen. Layer: registrar. A listener of its
 * own, so that what operators watch is neither public nor held up by who registers. */
#ifndef AVOW_REGISTRAR_OPS_H
#define AVOW_REGISTRAR_OPS_H

#include "http_server.h"
#include "metrics.h"
#include "store.h"

#include <stdatomic.h>

struct avow_ops {
    struct avow_metrics *metrics;
    _Atomic(struct avow_store *) store; /* NULL: a standby that waits for its turn */
    atomic_bool serving;
    struct avow_work *work;
    _Atomic(struct avow_http_server *) http, https; /* NULL: off, or not yet */
    uint64_t (*now_ms)(void);
};
/* avow_server_fn; arg is the struct avow_ops. */
void avow_ops_answer(void *arg, const struct avow_server_request *req,
                     struct avow_server_reply *reply);

#endif
