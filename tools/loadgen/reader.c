#include "reader.h"

#include "avow/base/clock.h"
#include "avow/base/log.h"
#include "avow/base/num.h"
#include "avow/trust/records.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define TOPIC_MAX 200u
#define POLL_MS 50u
#define START_MS 15000u

struct avow_load_reader {
    struct avow_load_reader_opts o;
    char verdicts[TOPIC_MAX], revocations[TOPIC_MAX];
    struct avow_bus *bus;
    struct avow_bus_consumer *consumer;
    struct avow_arena arena;
    pthread_t thread;
    bool started;
    atomic_bool stop;

    pthread_mutex_t lock; /* guards what follows */
    struct avow_load_seen *seen;
    struct avow_load_totals totals;
    enum avow_rc rc;
    struct avow_err why;
};

static bool agent_of(const struct avow_load_reader *r, struct avow_str key, size_t *out)
{
    uint64_t index;
    size_t len = strlen(r->o.id_prefix);
    if (!avow_str_starts(key, r->o.id_prefix) || r->o.agents == 0)
        return false;
    struct avow_str digits = {key.ptr + len, key.len - len};
    if (!avow_num_parse_u64(digits, r->o.agents - 1, &index))
        return false;
    *out = (size_t)index;
    return true;
}

static void note_verdict(struct avow_load_reader *r, const struct avow_verdict *v, uint64_t now)
{
    size_t i;
    r->totals.verdicts++;
    if (!agent_of(r, v->key, &i))
        return;
    struct avow_load_seen *s = &r->seen[i];
    s->trusted = v->status == AVOW_STATUS_TRUSTED && !v->flags.stale;
    if (v->status == AVOW_STATUS_UNTRUSTED && !s->verdict_ns)
        s->verdict_ns = now;
}

static void note_revocation(struct avow_load_reader *r, const struct avow_revocation *v,
                            uint64_t now)
{
    size_t i;
    r->totals.revocations++;
    if (v->class == AVOW_REVOCATION_CLASS_REVOCATION && agent_of(r, v->key, &i) &&
        !r->seen[i].revocation_ns)
        r->seen[i].revocation_ns = now;
}

/* The time is taken after the signature: unverified news are none. */
static void take(struct avow_load_reader *r, const struct avow_bus_msg *m)
{
    const struct avow_record_in in = {
        .kafka_key = m->key, .value = m->value, .partition = m->partition};
    struct avow_verdict v;
    struct avow_revocation rev;
    struct avow_err err = {.rc = AVOW_OK};
    if (m->value_null)
        return;
    avow_arena_reset(&r->arena);
    bool is_verdict = avow_cstr_eq(m->topic, r->verdicts);
    enum avow_rc rc = is_verdict ? avow_open_verdict(r->o.trust, &in, &r->arena, &v, &err)
                                 : avow_open_revocation(r->o.trust, &in, &r->arena, &rev, &err);
    uint64_t now = avow_clock_mono_ns();
    pthread_mutex_lock(&r->lock);
    if (rc)
        r->totals.refused++;
    else if (is_verdict)
        note_verdict(r, &v, now);
    else
        note_revocation(r, &rev, now);
    pthread_mutex_unlock(&r->lock);
    if (rc)
        avow_log_limited(WARN, "record_refused", 10, AVOW_KV_STR("topic", m->topic),
                         AVOW_KV_ERR(&err));
}

static void *run(void *arg)
{
    struct avow_load_reader *r = arg;
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_rc rc = AVOW_OK;
    while (!atomic_load(&r->stop) && rc != AVOW_BUS_FATAL) {
        struct avow_bus_msg m;
        rc = avow_bus_poll(r->consumer, POLL_MS, &m, &err);
        if (!rc && m.topic)
            take(r, &m);
        else if (rc)
            avow_log_limited(WARN, "reader", 10, AVOW_KV_ERR(&err));
    }
    pthread_mutex_lock(&r->lock);
    r->rc = rc == AVOW_BUS_FATAL ? rc : AVOW_OK;
    r->why = err;
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* The ends as they are now, as offsets: where a consumer stands that asked for "the end" shows only
 * later. */
static enum avow_rc assign(struct avow_load_reader *r, struct avow_err *err)
{
    const char *const topics[] = {r->verdicts, r->revocations};
    uint32_t partitions = avow_trust_bundle(r->o.trust)->partitions;
    struct avow_bus_tp *tps = calloc(2u * partitions, sizeof *tps);
    if (!tps)
        return avow_err_set(err, AVOW_NOMEM, 0, "reader");
    enum avow_rc rc = AVOW_OK;
    for (uint32_t i = 0; i < 2 * partitions && !rc; i++) {
        int64_t low;
        tps[i] = (struct avow_bus_tp){topics[i / partitions], (int32_t)(i % partitions), 0};
        rc = avow_bus_watermarks(r->consumer, tps[i].topic, tps[i].partition, START_MS, &low,
                                 &tps[i].offset, err);
    }
    if (!rc)
        rc = avow_bus_assign(r->consumer, tps, 2u * partitions, err);
    free(tps);
    return rc;
}

static enum avow_rc open(struct avow_load_reader *r, struct avow_err *err)
{
    bool on_mock = false;
    enum avow_rc rc = avow_bus_kafka_new(r->o.kv, r->o.n_kv, "avow-loadgen-reader", &r->bus, err);
    if (!rc)
        rc = avow_bus_is_mock(r->bus, START_MS, &on_mock, err);
    if (rc)
        return rc;
    const struct avow_bus_consumer_opts opts = {.isolation = AVOW_BUS_READ_COMMITTED,
                                                .on_mock = on_mock};
    rc = avow_bus_consumer_new(r->bus, &opts, &r->consumer, err);
    return rc ? rc : assign(r, err);
}

enum avow_rc avow_load_reader_start(const struct avow_load_reader_opts *o,
                                    struct avow_load_reader **out, struct avow_err *err)
{
    AVOW_CLEANUP(avow_load_reader_free) struct avow_load_reader *r = calloc(1, sizeof *r);
    if (!r)
        return avow_err_set(err, AVOW_NOMEM, 0, "reader");
    r->o = *o;
    avow_arena_init(&r->arena, AVOW_WIRE_ARENA_MAX);
    (void)snprintf(r->verdicts, sizeof r->verdicts, "%sverdicts", o->prefix);
    (void)snprintf(r->revocations, sizeof r->revocations, "%srevocations", o->prefix);
    if (pthread_mutex_init(&r->lock, NULL))
        return avow_err_set(err, AVOW_NOMEM, 0, "reader");
    r->seen = calloc(o->agents, sizeof *r->seen);
    if (!r->seen)
        return avow_err_set(err, AVOW_NOMEM, 0, "reader");
    enum avow_rc rc = open(r, err);
    if (rc)
        return avow_err_wrap(err, rc, "reader");
    if (pthread_create(&r->thread, NULL, run, r))
        return avow_err_set(err, AVOW_NOMEM, 0, "thread of the reader");
    r->started = true;
    *out = AVOW_STEAL(r);
    return AVOW_OK;
}

void avow_load_reader_free(struct avow_load_reader *r)
{
    if (!r)
        return;
    if (r->started) {
        atomic_store(&r->stop, true);
        pthread_join(r->thread, NULL);
    }
    avow_bus_consumer_free(r->consumer);
    avow_bus_free(r->bus);
    avow_arena_deinit(&r->arena);
    free(r->seen);
    free(r);
}

void avow_load_reader_arm(struct avow_load_reader *r, size_t agent)
{
    pthread_mutex_lock(&r->lock);
    r->seen[agent] = (struct avow_load_seen){.trusted = false};
    pthread_mutex_unlock(&r->lock);
}

struct avow_load_seen avow_load_reader_seen(struct avow_load_reader *r, size_t agent)
{
    pthread_mutex_lock(&r->lock);
    struct avow_load_seen s = r->seen[agent];
    pthread_mutex_unlock(&r->lock);
    return s;
}

enum avow_rc avow_load_reader_totals(struct avow_load_reader *r, struct avow_load_totals *out,
                                     struct avow_err *err)
{
    pthread_mutex_lock(&r->lock);
    enum avow_rc rc = r->rc;
    *out = r->totals;
    if (rc && err)
        *err = r->why;
    pthread_mutex_unlock(&r->lock);
    return rc;
}
