/* worker.h - one worker thread: its clients, its runners, its loop. Layer: verifier-workers.
 * PROTOCOL B3.2, R9. A worker is driven by avow_worker_tick and owns nothing global, so that
 * several threads can each have one; the root keys and the worker keys are shared and constant. */
#ifndef AVOW_WORKER_WORKER_H
#define AVOW_WORKER_WORKER_H

#include "batch.h"
#include "context.h"
#include "emit.h"
#include "meter.h"
#include "runner.h"

#define AVOW_WORKER_PARTITIONS_MAX 512u /* PROTOCOL B6 */
#define AVOW_WORKER_SESSION_MS                                                                     \
    6000u /* transaction.timeout.ms is the same: a dead owner's transaction ends with it */
#define AVOW_WORKER_UNSTABLE_MS                                                                    \
    1500u /* committed offsets unstable this long: fence the predecessor by name (R9) */

struct avow_worker_opts {
    struct avow_bus *bus;                /* borrowed */
    const struct avow_root *root;        /* borrowed */
    const struct avow_worker_keys *keys; /* borrowed */
    const char *prefix;                  /* of topics */
    const char *group;
    const char *instance; /* unique per process */
    unsigned thread;      /* index */
    enum avow_guarantee guarantee;
    uint64_t min_version; /* bundles below are refused; 0: none known */
    struct avow_worker_clock clock;
    bool (*stop_requested)(void); /* NULL: never; ends what may wait long */
    struct avow_worker_outputs outputs;
    const char *scratch_dir;       /* for poison_book.h; NULL: none is kept */
    struct avow_meter_slot *meter; /* NULL: nobody watches */
};

struct avow_worker;
/* Refuses exactly_once on the mock cluster (AVOW_CONFIG). Errors: AVOW_CONFIG, AVOW_UNREACHABLE,
 * AVOW_NOMEM. */
enum avow_rc avow_worker_new(const struct avow_worker_opts *opts, struct avow_worker **out,
                             struct avow_err *err) AVOW_MUST_CHECK;
/* Leaves without a commit; a clean end calls avow_worker_stop first. */
void avow_worker_free(struct avow_worker *w);
AVOW_DEFINE_CLEANUP(struct avow_worker, avow_worker_free);

/* One turn of the loop: waits at most `timeout_ms` for records, does what is due. What passes by
 * itself is logged and retried; an error means that the process has to end and be restarted. */
enum avow_rc avow_worker_tick(struct avow_worker *w, unsigned timeout_ms,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* Commits what is done and leaves the group. */
enum avow_rc avow_worker_stop(struct avow_worker *w, struct avow_err *err) AVOW_MUST_CHECK;

/* A bundle is there, the group has given us partitions (perhaps none), and all are served. */
bool avow_worker_is_ready(const struct avow_worker *w);
/* The runner of a partition, NULL if it is not owned. */
struct avow_runner *avow_worker_runner(const struct avow_worker *w, int32_t partition);
const struct avow_worker_counters *avow_worker_counters(const struct avow_worker *w);

#endif
