/* worker_meter.c - fills what a worker shows. See meter.h. */
#include "worker_internal.h"

#include <string.h>

#include "avow/base/banned.h"

_Static_assert(AVOW_METER_PARTITIONS_MAX == AVOW_WORKER_PARTITIONS_MAX, "one bound");

static void add_agents(struct avow_meter_view *v, const struct avow_runner *r)
{
    v->enrolled += r->views.watched;
    for (size_t i = 0; i < r->views.agents.count; i++) {
        const struct avow_agent *a = r->views.agents.entries[i].value;
        if (!avow_agent_is_watched(a))
            continue;
        if (a->state.record && (unsigned)a->state.hot.status < AVOW_STATUS_COUNT)
            v->agents[a->state.hot.status]++;
        else
            v->stateless++;
    }
}

static void add_partition(struct avow_worker *w, struct avow_meter_view *v, int32_t partition,
                          const struct avow_runner *r)
{
    struct avow_meter_partition *p = &v->partitions[v->n_partitions++];
    *p = (struct avow_meter_partition){.partition = partition};
    if (!r)
        return;
    uint64_t now = AVOW_WORKER_NOW(&w->ctx);
    p->serving = r->serving;
    p->has_lag = r->serving && r->has_watermark;
    if (p->has_lag && r->watermark > r->committed_offset)
        p->lag = (uint64_t)(r->watermark - r->committed_offset);
    p->has_marker = r->bell.has_topic;
    if (p->has_marker && now > r->bell.topic_issued_ms)
        p->marker_age_ms = now - r->bell.topic_issued_ms;
    v->states_restored += r->states_restored;
    v->states_rejected += r->states_rejected;
    v->enrollments_refused += r->enrollments_refused;
    add_agents(v, r);
}

static void fill(struct avow_worker *w, struct avow_meter_view *v)
{
    memset(v, 0, sizeof *v);
    v->ready = avow_worker_is_ready(w);
    v->bundle_version = w->trust ? avow_trust_bundle(w->trust)->version : 0;
    /* What an open batch counted is taken back if it is aborted; counters never go backwards. */
    v->counters = w->batch.open ? w->batch.counters_before : w->ctx.counters;
    v->counters.aborts = w->ctx.counters.aborts;
    v->counters.alarms = w->ctx.counters.alarms;
    v->appraisal = w->times.appraisal;
    v->verdict = w->times.verdict;
    v->transaction = w->times.transaction;
    for (uint32_t p = 0; p < w->partitions; p++) {
        if (w->slots[p].assigned)
            add_partition(w, v, (int32_t)p, w->slots[p].runner);
    }
}

void avow_worker_pulse(struct avow_worker *w)
{
    if (!avow_meter_pulse(w->opts.meter))
        return;
    fill(w, avow_meter_show(w->opts.meter));
    avow_meter_shown(w->opts.meter);
}

void avow_worker_took_evidence(struct avow_worker *w, const struct avow_bus_msg *m, uint64_t ns)
{
    avow_prom_observe(&w->times.appraisal, &avow_meter_appraisal_bounds, ns / 1000);
    if (m->timestamp_ms > 0 && w->times.count < AVOW_BATCH_RECORDS_MAX)
        w->times.stamps_ms[w->times.count++] = (uint64_t)m->timestamp_ms;
}

void avow_worker_took_batch(struct avow_worker *w, uint64_t ns)
{
    uint64_t now = AVOW_WORKER_NOW(&w->ctx);
    avow_prom_observe(&w->times.transaction, &avow_meter_latency_bounds, ns / 1000);
    for (size_t i = 0; i < w->times.count; i++) {
        uint64_t at = w->times.stamps_ms[i]; /* the broker's clock may be ahead of ours */
        avow_prom_observe(&w->times.verdict, &avow_meter_latency_bounds,
                          now > at ? (now - at) * 1000 : 0);
    }
    w->times.count = 0;
}
