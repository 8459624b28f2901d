/* meter.h - what a worker process shows to those who watch it: metrics, health, readiness. Layer:
 * verifier-workers.
 *
 * A thread of the worker counts for itself alone. Only when somebody asks does it copy what it has
 * into its slot, at the end of its turn; the asking thread waits for that, adds the slots up and
 * writes the text. So counting costs the worker nothing but counting, and a mutex is taken a few
 * times a minute. A thread that is busy for longer is shown as it last was. */
#ifndef AVOW_WORKER_METER_H
#define AVOW_WORKER_METER_H

#include "avow/base/buf.h"
#include "avow/base/cleanup.h"
#include "avow/http/prom.h"
#include "avow/model/common.h"
#include "context.h"

#define AVOW_METER_WAIT_MS 1000u       /* how long an answer waits for busy threads */
#define AVOW_METER_STALL_MS 60000u     /* a thread without a sign of life for so long hangs */
#define AVOW_METER_PARTITIONS_MAX 512u /* of one thread: AVOW_WORKER_PARTITIONS_MAX */

struct avow_meter_partition {
    int32_t partition;
    bool serving; /* restored; else it is being restored */
    bool has_lag;
    uint64_t lag; /* records of evidence that are not committed */
    bool has_marker;
    uint64_t marker_age_ms;
};

/* One thread at one moment. */
struct avow_meter_view {
    bool ready;
    uint64_t bundle_version; /* 0: none */
    uint64_t enrolled;
    uint64_t agents[AVOW_STATUS_COUNT]; /* enrolled ones, by status */
    uint64_t stateless;                 /* enrolled ones without a state */
    uint64_t states_restored, states_rejected, enrollments_refused;
    struct avow_worker_counters counters;
    struct avow_prom_times appraisal, verdict, transaction;
    struct avow_meter_partition partitions[AVOW_METER_PARTITIONS_MAX]; /* assigned ones */
    size_t n_partitions;
};
extern const struct avow_prom_bounds avow_meter_appraisal_bounds, avow_meter_latency_bounds;

struct avow_meter;
struct avow_meter_slot; /* of one thread */
/* Errors: AVOW_NOMEM. */
enum avow_rc avow_meter_new(unsigned threads, struct avow_meter **out,
                            struct avow_err *err) AVOW_MUST_CHECK;
void avow_meter_free(struct avow_meter *m);
AVOW_DEFINE_CLEANUP(struct avow_meter, avow_meter_free);
struct avow_meter_slot *avow_meter_slot(struct avow_meter *m, unsigned thread);

/* --- @thread the slot's. NULL is fine: nobody watches. */
/* A sign of life; true: a view is wanted. */
bool avow_meter_pulse(struct avow_meter_slot *s);
/* The view to fill; avow_meter_shown follows. */
struct avow_meter_view *avow_meter_show(struct avow_meter_slot *s);
void avow_meter_shown(struct avow_meter_slot *s);

/* --- @thread any: the answers of avow/http/watch.h; arg is the struct avow_meter. */
bool avow_meter_metrics(void *arg, struct avow_buf *out);
/* No thread hangs. */
bool avow_meter_healthy(void *arg, struct avow_buf *out);
/* Every thread has what it needs and serves every partition that it was given. */
bool avow_meter_ready(void *arg, struct avow_buf *out);

#endif
