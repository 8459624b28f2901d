/* emit.h - a batch to Kafka: one transaction, or the order that at_least_once needs. Layer:
 * verifier-workers. PROTOCOL R9, B3.2. */
#ifndef AVOW_WORKER_EMIT_H
#define AVOW_WORKER_EMIT_H

#include "batch.h"

#define AVOW_EMIT_TIMEOUT_MS                                                                       \
    5000u /* below transaction.timeout.ms, which is the session timeout                            \
           */

struct avow_emit {
    enum avow_guarantee guarantee;
    struct avow_bus_producer *producer; /* transactional iff exactly once */
    struct avow_bus_consumer *consumer; /* whose group the offsets are of */
    const struct avow_worker_topics *topics;
};
/* Next offsets to read, at least one, all real: without an offset a transaction would fence nobody
 * (PROTOCOL R9). exactly_once: begin, states, verdicts, revocations, directives, dead letters,
 * offsets, commit. at_least_once: everything but states, flush, states, flush, offsets: twins are
 * possible, losses are not. Errors: AVOW_BUS_RETRY (nothing was committed: take everything back and
 * redo), AVOW_BUS_FATAL (unknown or fenced: the process has to end; a restart reads the truth). */
enum avow_rc avow_emit_batch(const struct avow_emit *e, const struct avow_batch *b,
                             const struct avow_bus_tp *offsets, size_t n,
                             struct avow_err *err) AVOW_MUST_CHECK;

#endif
