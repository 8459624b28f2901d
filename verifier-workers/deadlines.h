/* deadlines.h - who is due when, on the service clock. Layer: verifier-workers.
 * Pure. A binary heap whose nodes live inside their owners: set and remove are O(log n). PROTOCOL
 * B3.3. */
#ifndef AVOW_WORKER_DEADLINES_H
#define AVOW_WORKER_DEADLINES_H

#include "avow/base/err.h"

#include <stddef.h>

struct avow_deadline {
    uint64_t due_service_ms;
    size_t place; /* 1-based place in the heap; 0: not in it */
};
struct avow_deadlines {
    struct avow_deadline **heap; /* nodes are borrowed */
    size_t count, cap;
};

void avow_deadlines_deinit(struct avow_deadlines *l);
/* Inserts or moves. Errors: AVOW_NOMEM (only when inserting). */
enum avow_rc avow_deadlines_set(struct avow_deadlines *l, struct avow_deadline *n,
                                uint64_t due_service_ms, struct avow_err *err) AVOW_MUST_CHECK;
/* Fine if it is not in the heap. */
void avow_deadlines_remove(struct avow_deadlines *l, struct avow_deadline *n);
/* Earliest node if it is due at `service_ms`, else NULL. Stays in the heap. */
struct avow_deadline *avow_deadlines_due(const struct avow_deadlines *l, uint64_t service_ms);

#endif
