/* threads.h - several workers in one process, each with its own clients and its own partitions of
 * the group. Layer: verifier-workers. PROTOCOL B3.2.
 *
 * Threads share nothing that changes: a process of four is four processes of one, with less
 * overhead. */
#ifndef AVOW_WORKER_THREADS_H
#define AVOW_WORKER_THREADS_H

#include "worker.h"

#define AVOW_WORKER_THREADS_MAX 64u

struct avow_threads_opts {
    struct avow_worker_opts worker; /* of every thread; bus and thread are not looked at */
    unsigned count;                 /* 1 to AVOW_WORKER_THREADS_MAX */
    /* Makes the clients of one thread; the caller's thread calls it. */
    enum avow_rc (*new_bus)(void *arg, struct avow_bus **out, struct avow_err *err);
    void *arg;
    struct avow_meter *meter; /* borrowed; NULL: nobody watches */
    /* Called by the caller's thread now and then while the others work; NULL: not. */
    void (*meanwhile)(void *arg);
};
/* Runs until a signal asks for the end (avow_stop_requested) and every thread has committed and
 * left the group, or until one fails, which ends the others likewise. Errors: of the thread that
 * failed first; AVOW_NOMEM if a thread cannot be started. */
enum avow_rc avow_threads_run(const struct avow_threads_opts *opts,
                              struct avow_err *err) AVOW_MUST_CHECK;

#endif
