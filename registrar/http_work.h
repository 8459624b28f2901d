/* http_work.h - a bounded queue of jobs and the threads that do them, so that RSA, certificates,
 * the database and outsiders never hold up the threads that read sockets. Layer: registrar.
 * Thread-safe.
 */
#ifndef AVOW_REGISTRAR_HTTP_WORK_H
#define AVOW_REGISTRAR_HTTP_WORK_H

#include "avow/base/err.h"

#include <stdbool.h>
#include <stddef.h>

typedef void (*avow_work_fn)(void *arg);

struct avow_work;
/* `depth` jobs may wait. Errors: AVOW_NOMEM, AVOW_IO (no thread). */
enum avow_rc avow_work_new(unsigned threads, size_t depth, struct avow_work **out,
                           struct avow_err *err) AVOW_MUST_CHECK;
/* False: the queue is full; nothing was taken. */
bool avow_work_push(struct avow_work *w, avow_work_fn fn, void *arg) AVOW_MUST_CHECK;
/* Jobs that wait. */
size_t avow_work_waiting(struct avow_work *w);
/* Does what waits, then ends. NULL is fine. */
void avow_work_free(struct avow_work *w);

#endif
