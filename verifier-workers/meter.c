/* meter.c - see meter.h. */
#define _GNU_SOURCE /* pthread_condattr_setclock */
#include "meter.h"

#include "avow/base/clock.h"
#include "avow/base/cli.h"
#include "avow/core/findings.h"
#include "avow/model/revocation.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "avow/base/banned.h"

#define P "avow_worker_"

const struct avow_prom_bounds avow_meter_appraisal_bounds = {
    .us = {50, 100, 250, 500, 1000, 2500, 5000, 10000, 50000, 250000, 1000000}, .count = 11};
const struct avow_prom_bounds avow_meter_latency_bounds = {
    .us = {5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000,
           30000000, 60000000},
    .count = 13};

struct avow_meter_slot {
    struct avow_meter *meter;
    atomic_bool wanted;
    _Atomic uint64_t pulse_mono_ms;
    uint64_t shown; /* how often; under the meter's mutex, as is the view */
    struct avow_meter_view view;
};
struct avow_meter {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned threads;
    struct avow_meter_slot *slots;
};

/* --- Life --- */

enum avow_rc avow_meter_new(unsigned threads, struct avow_meter **out, struct avow_err *err)
{
    struct avow_meter *m = calloc(1, sizeof *m);
    struct avow_meter_slot *slots = calloc(threads, sizeof *slots);
    if (!m || !slots) {
        free(m);
        free(slots);
        return avow_err_set(err, AVOW_NOMEM, 0, "meter");
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&m->mutex, NULL);
    m->threads = threads;
    m->slots = slots;
    uint64_t now = avow_clock_mono_ms();
    for (unsigned i = 0; i < threads; i++) {
        slots[i].meter = m;
        atomic_store(&slots[i].pulse_mono_ms, now);
    }
    *out = m;
    return AVOW_OK;
}

void avow_meter_free(struct avow_meter *m)
{
    if (!m)
        return;
    pthread_mutex_destroy(&m->mutex);
    pthread_cond_destroy(&m->changed);
    free(m->slots);
    free(m);
}

struct avow_meter_slot *avow_meter_slot(struct avow_meter *m, unsigned thread)
{
    return m && thread < m->threads ? &m->slots[thread] : NULL;
}

/* --- A thread of the worker --- */

bool avow_meter_pulse(struct avow_meter_slot *s)
{
    if (!s)
        return false;
    atomic_store_explicit(&s->pulse_mono_ms, avow_clock_mono_ms(), memory_order_relaxed);
    return atomic_load_explicit(&s->wanted, memory_order_relaxed);
}

struct avow_meter_view *avow_meter_show(struct avow_meter_slot *s)
{
    pthread_mutex_lock(&s->meter->mutex);
    return &s->view;
}

void avow_meter_shown(struct avow_meter_slot *s)
{
    s->shown++;
    atomic_store(&s->wanted, false);
    pthread_cond_broadcast(&s->meter->changed);
    pthread_mutex_unlock(&s->meter->mutex);
}

/* --- Those who ask --- */

static bool all_shown(const struct avow_meter *m, const uint64_t *before)
{
    for (unsigned i = 0; i < m->threads; i++) {
        if (m->slots[i].shown == before[i])
            return false;
    }
    return true;
}

/* Has every thread show itself, and returns with the mutex. A thread that takes too long stays as
 * it was. Without memory all do. */
static void look(struct avow_meter *m)
{
    struct timespec until;
    pthread_mutex_lock(&m->mutex);
    uint64_t *before = calloc(m->threads, sizeof *before);
    if (!before)
        return;
    for (unsigned i = 0; i < m->threads; i++) {
        before[i] = m->slots[i].shown;
        atomic_store(&m->slots[i].wanted, true);
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += AVOW_METER_WAIT_MS / 1000;
    while (!all_shown(m, before) &&
           pthread_cond_timedwait(&m->changed, &m->mutex, &until) != ETIMEDOUT) {
    }
    free(before);
}

static void add_counters(struct avow_worker_counters *sum, const struct avow_worker_counters *c)
{
    /* Nothing but counters: see context.h. */
    _Static_assert(sizeof *sum % sizeof(uint64_t) == 0, "a counter is a uint64_t");
    uint64_t *to = (uint64_t *)(void *)sum;
    const uint64_t *from = (const uint64_t *)(const void *)c;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += from[i];
}

/* All threads as one, but for their partitions. Under the mutex. */
static void add_up(const struct avow_meter *m, struct avow_meter_view *sum)
{
    for (unsigned i = 0; i < m->threads; i++) {
        const struct avow_meter_view *v = &m->slots[i].view;
        sum->enrolled += v->enrolled;
        for (size_t s = 0; s < AVOW_STATUS_COUNT; s++)
            sum->agents[s] += v->agents[s];
        sum->stateless += v->stateless;
        sum->states_restored += v->states_restored;
        sum->states_rejected += v->states_rejected;
        sum->enrollments_refused += v->enrollments_refused;
        add_counters(&sum->counters, &v->counters);
        avow_prom_add(&sum->appraisal, &v->appraisal);
        avow_prom_add(&sum->verdict, &v->verdict);
        avow_prom_add(&sum->transaction, &v->transaction);
        sum->n_partitions += v->n_partitions;
        if (v->bundle_version > sum->bundle_version)
            sum->bundle_version = v->bundle_version;
    }
}

static void put_counters(struct avow_buf *out, const struct avow_worker_counters *c)
{
    const struct {
        const char *name, *help;
        uint64_t value;
    } list[] = {
        {P "evidence_consumed_total", "Records of evidence that were read.", c->consumed},
        {P "evidence_appraised_total", "Records of evidence that were judged.", c->appraised},
        {P "states_written_total", "Appraisal states written.", c->states},
        {P "directives_total", "Directives sent to agents.", c->directives},
        {P "markers_total", "Epoch markers issued.", c->markers},
        {P "alarms_total", "Alarms raised.", c->alarms},
        {P "dead_letters_total", "Records of evidence copied to the topic of dead letters.",
         c->dead_letters},
        {P "dead_letters_withheld_total", "Dead letters that the rate limit kept back.",
         c->dead_letters_withheld},
        {P "records_refused_total", "Records of Avow's own topics that were not accepted.",
         c->refused},
        {P "unsigned_deletes_total", "Nulls on enrolments that nobody had signed.",
         c->unsigned_deletes},
        {P "states_unreadable_total", "States that no key of ours had made.", c->state_rejected},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(list); i++)
        avow_prom_single(out, list[i].name, "counter", list[i].help, list[i].value);
}

static void put_labelled(struct avow_buf *out, const struct avow_worker_counters *c)
{
    avow_prom_head(out, P "evidence_dropped_total", "counter",
                   "Records of evidence that were not judged, by reason.");
    for (unsigned i = 0; i < AVOW_DROP_REASON_COUNT; i++)
        avow_prom_sample(out, P "evidence_dropped_total", "reason",
                         avow_drop_reason_text((enum avow_drop_reason)i), c->dropped[i]);
    avow_prom_head(out, P "verdicts_total", "counter", "Verdicts published, by status.");
    for (unsigned i = 0; i < AVOW_STATUS_COUNT; i++)
        avow_prom_sample(out, P "verdicts_total", "status", avow_status_text((enum avow_status)i),
                         c->verdicts_by[i]);
    avow_prom_head(out, P "revocations_total", "counter",
                   "Revocations and recoveries published, by class.");
    for (unsigned i = 0; i < AVOW_REVOCATION_CLASS_COUNT; i++)
        avow_prom_sample(out, P "revocations_total", "class",
                         avow_revocation_class_text((enum avow_revocation_class)i),
                         c->revocations_by[i]);
    avow_prom_head(out, P "findings_total", "counter",
                   "Findings in published verdicts, by id; only those that occurred.");
    for (unsigned i = 0; i < AVOW_FINDING_COUNT; i++) {
        if (c->findings[i])
            avow_prom_sample(out, P "findings_total", "id",
                             avow_finding_def_of((enum avow_finding_id)i)->id, c->findings[i]);
    }
    avow_prom_head(out, P "transactions_total", "counter", "Batches of results, by outcome.");
    avow_prom_sample(out, P "transactions_total", "outcome", "committed", c->commits);
    avow_prom_sample(out, P "transactions_total", "outcome", "aborted", c->aborts);
}

static void put_agents(struct avow_buf *out, const struct avow_meter_view *v)
{
    avow_prom_head(out, P "agents", "gauge",
                   "Enrolled agents of the partitions that are served here, by status.");
    for (unsigned i = 0; i < AVOW_STATUS_COUNT; i++)
        avow_prom_sample(out, P "agents", "status", avow_status_text((enum avow_status)i),
                         v->agents[i]);
    avow_prom_sample(out, P "agents", "status", "none", v->stateless);
    avow_prom_head(out, P "restored_records", "gauge",
                   "Records that the present partitions were restored from, by kind.");
    avow_prom_sample(out, P "restored_records", "kind", "state", v->states_restored);
    avow_prom_sample(out, P "restored_records", "kind", "state_rejected", v->states_rejected);
    avow_prom_sample(out, P "restored_records", "kind", "enrollment", v->enrolled);
    avow_prom_sample(out, P "restored_records", "kind", "enrollment_refused",
                     v->enrollments_refused);
}

typedef void put_partition(struct avow_buf *out, const char *id,
                           const struct avow_meter_partition *p);

static void put_serving(struct avow_buf *out, const char *id, const struct avow_meter_partition *p)
{
    avow_prom_sample(out, P "partition_serving", "partition", id, p->serving ? 1 : 0);
}

static void put_lag(struct avow_buf *out, const char *id, const struct avow_meter_partition *p)
{
    if (p->has_lag)
        avow_prom_sample(out, P "partition_lag_records", "partition", id, p->lag);
}

static void put_age(struct avow_buf *out, const char *id, const struct avow_meter_partition *p)
{
    if (p->has_marker)
        avow_buf_printf(out, P "marker_age_seconds{partition=\"%s\"} %" PRIu64 ".%03" PRIu64 "\n",
                        id, p->marker_age_ms / 1000, p->marker_age_ms % 1000);
}

static void put_partitions(struct avow_buf *out, const struct avow_meter *m)
{
    static const struct {
        const char *name, *help;
        put_partition *put;
    } gauges[] = {
        {P "partition_serving",
         "1 if the partition is restored and served, 0 while it is restored.", put_serving},
        {P "partition_lag_records", "Records of evidence behind the committed offset.", put_lag},
        {P "marker_age_seconds", "Age of the newest marker of the partition.", put_age},
    };
    for (size_t g = 0; g < AVOW_ARRAY_LEN(gauges); g++) {
        avow_prom_head(out, gauges[g].name, "gauge", gauges[g].help);
        for (unsigned t = 0; t < m->threads; t++) {
            const struct avow_meter_view *v = &m->slots[t].view;
            for (size_t i = 0; i < v->n_partitions; i++) {
                char id[16];
                (void)snprintf(id, sizeof id, "%d", (int)v->partitions[i].partition);
                gauges[g].put(out, id, &v->partitions[i]);
            }
        }
    }
}

bool avow_meter_metrics(void *arg, struct avow_buf *out)
{
    struct avow_meter *m = arg;
    struct avow_meter_view *sum = calloc(1, sizeof *sum);
    if (!sum)
        return false;
    look(m);
    add_up(m, sum);
    avow_prom_head(out, P "build_info", "gauge", "Always 1; the label tells the version.");
    avow_prom_sample(out, P "build_info", "version", avow_version, 1);
    avow_prom_single(out, P "threads", "gauge", "Worker threads.", m->threads);
    avow_prom_single(out, P "bundle_version", "gauge", "Version of the trust bundle; 0: none yet.",
                     sum->bundle_version);
    avow_prom_single(out, P "partitions_assigned", "gauge", "Partitions that the group gave us.",
                     sum->n_partitions);
    put_partitions(out, m);
    pthread_mutex_unlock(&m->mutex);
    put_agents(out, sum);
    put_counters(out, &sum->counters);
    put_labelled(out, &sum->counters);
    avow_prom_histogram(out, P "appraisal_seconds", "Time to judge one record of evidence.",
                        &sum->appraisal, &avow_meter_appraisal_bounds);
    avow_prom_histogram(out, P "evidence_to_verdict_seconds",
                        "From the time stamp of an evidence to the commit of what it led to.",
                        &sum->verdict, &avow_meter_latency_bounds);
    avow_prom_histogram(out, P "transaction_seconds", "Time to send and commit a batch of results.",
                        &sum->transaction, &avow_meter_latency_bounds);
    free(sum);
    return true;
}

bool avow_meter_healthy(void *arg, struct avow_buf *out)
{
    const struct avow_meter *m = arg;
    uint64_t now = avow_clock_mono_ms();
    bool fine = true;
    for (unsigned i = 0; i < m->threads; i++) {
        uint64_t pulse = atomic_load(&m->slots[i].pulse_mono_ms);
        if (now <= pulse || now - pulse < AVOW_METER_STALL_MS)
            continue;
        fine = false;
        avow_buf_printf(out, "thread %u has shown no sign of life for %" PRIu64 " s\n", i,
                        (now - pulse) / 1000);
    }
    if (fine)
        avow_buf_put_str(out, "ok\n");
    return fine;
}

bool avow_meter_ready(void *arg, struct avow_buf *out)
{
    struct avow_meter *m = arg;
    bool fine = true;
    look(m);
    for (unsigned i = 0; i < m->threads; i++) {
        const struct avow_meter_view *v = &m->slots[i].view;
        size_t serving = 0;
        for (size_t p = 0; p < v->n_partitions; p++)
            serving += v->partitions[p].serving ? 1 : 0;
        fine = fine && v->ready;
        if (!v->bundle_version)
            avow_buf_printf(out, "thread %u waits for a trust bundle\n", i);
        else
            avow_buf_printf(out, "thread %u serves %zu of %zu partitions%s\n", i, serving,
                            v->n_partitions, v->ready ? "" : ", and is not ready");
    }
    pthread_mutex_unlock(&m->mutex);
    return fine;
}
