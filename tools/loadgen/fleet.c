#include "fleet.h"

#include "avow/base/cli.h"
#include "avow/base/clock.h"
#include "avow/base/log.h"
#include "avow/base/num.h"
#include "avow/crypto/rng.h"
#include "link.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define NEVER UINT64_MAX
#define COALESCE_MS 50u /* AVOW_AGENT_COALESCE_MS */
#define STEP_MS 1u      /* the grain of all times */
#define DRAIN_MAX 64u
#define KEYS_MAX 64u
#define FLUSH_MS 10000u
#define ID_PREFIX "load-"
#define SETTLE_MS 1500u /* workers read the enrolments before the first evidence comes */

struct agent { /* of one host: what a real one keeps between two rounds */
    struct avow_load_host host;
    uint64_t look_ms;   /* at the list, next */
    uint64_t change_ms; /* the list was first seen longer; NEVER: it is not */
    uint64_t beat_ms;   /* heartbeat, next */
    uint64_t last_ms;   /* last evidence */
    bool now;           /* attest as soon as may be */

    bool in_flight; /* quoted, and the TPM is not done yet */
    uint64_t done_ms;
    uint64_t flight_end;
    struct avow_buf record;

    uint64_t run_ms; /* the tampered file is run then; NEVER */
    uint64_t append_ns, sent_ns;
    uint64_t tampered_at; /* index of its entry */
};

struct fleet {
    const struct avow_load_opts *o;
    struct avow_load_link link;
    struct avow_load_reader *reader;
    struct avow_load_key keys[KEYS_MAX];
    size_t keys_count;
    struct agent *agents;
    size_t count;
    uint64_t seed;
    uint64_t now_ms, deadline_ms;
};

static uint64_t draw(struct fleet *f, uint64_t below)
{
    f->seed = f->seed * 6364136223846793005u + 1442695040888963407u;
    return below ? (f->seed >> 33) % below : 0;
}

/* --- Agents --- */

static const struct avow_load_marker *marker_of(const struct fleet *f, const struct agent *a)
{
    struct avow_bytes key = avow_bytes_make(a->host.id, strlen(a->host.id));
    uint32_t n = avow_trust_bundle(f->link.trust)->partitions;
    const struct avow_load_marker *m = &f->link.markers[avow_bus_partition_of(key, n)];
    return m->known ? m : NULL;
}

static void set_beat(struct fleet *f, struct agent *a)
{
    uint64_t beat = avow_trust_bundle(f->link.trust)->heartbeat_ms, tenth = beat / 10;
    a->beat_ms = f->now_ms + beat - tenth + draw(f, 2 * tenth + 1);
}

static enum avow_rc quote(struct fleet *f, struct agent *a, const struct avow_load_marker *m,
                          struct avow_err *err)
{
    avow_buf_reset(&a->record);
    enum avow_rc rc = avow_load_host_attest(&a->host, avow_trust_bundle(f->link.trust)->fleet, m,
                                            f->now_ms, &a->record, &a->flight_end, err);
    a->in_flight = !rc;
    a->done_ms = f->now_ms + f->o->tpm_ms;
    a->now = false;
    a->change_ms = NEVER;
    a->last_ms = f->now_ms;
    set_beat(f, a);
    return rc;
}

static enum avow_rc send(struct fleet *f, struct agent *a, struct avow_err *err)
{
    enum avow_rc rc = avow_load_link_send(&f->link, f->link.evidence, a->host.id,
                                          avow_buf_bytes(&a->record), err);
    if (rc)
        return rc;
    if (a->append_ns && !a->sent_ns && a->flight_end > a->tampered_at)
        a->sent_ns = avow_clock_mono_ns();
    a->in_flight = false;
    a->host.next = a->flight_end;
    a->host.send_pcrs = false;
    return AVOW_OK;
}

static enum avow_rc run_tampered(struct agent *a, struct avow_err *err)
{
    a->run_ms = NEVER;
    a->tampered_at = a->host.entries;
    a->append_ns = avow_clock_mono_ns();
    return avow_load_host_run(&a->host, true, err);
}

static void look(struct fleet *f, struct agent *a)
{
    a->look_ms += f->o->poll_ms;
    if (a->host.entries != a->host.next && a->change_ms == NEVER)
        a->change_ms = f->now_ms;
}

static bool is_due(const struct fleet *f, const struct agent *a)
{
    uint64_t due = a->now ? 0 : a->beat_ms;
    if (a->change_ms != NEVER)
        due = avow_min_u64(due, a->change_ms + COALESCE_MS);
    uint64_t gate = a->last_ms + avow_trust_bundle(f->link.trust)->min_interval_ms;
    return f->now_ms >= due && f->now_ms >= gate;
}

static enum avow_rc step(struct fleet *f, struct agent *a, struct avow_err *err)
{
    enum avow_rc rc = AVOW_OK;
    if (f->now_ms >= a->run_ms)
        rc = run_tampered(a, err);
    if (f->now_ms >= a->look_ms)
        look(f, a);
    if (!rc && a->in_flight)
        return f->now_ms >= a->done_ms ? send(f, a, err) : AVOW_OK;
    const struct avow_load_marker *m = marker_of(f, a);
    if (!rc && m && is_due(f, a))
        rc = quote(f, a, m, err);
    if (!rc && a->in_flight && !f->o->tpm_ms)
        rc = send(f, a, err);
    return rc;
}

/* --- The loop --- */

static struct agent *agent_named(struct fleet *f, struct avow_str id)
{
    uint64_t i;
    size_t len = sizeof ID_PREFIX - 1;
    if (!avow_str_starts(id, ID_PREFIX) ||
        !avow_num_parse_u64((struct avow_str){id.ptr + len, id.len - len}, f->count - 1, &i))
        return NULL;
    return &f->agents[i];
}

static void obey(struct fleet *f, const struct avow_directive *d)
{
    struct agent *a = agent_named(f, d->key);
    if (!a)
        return;
    a->now = true;
    if (d->kind.tag != AVOW_DIRECTIVE_KIND_RESYNC)
        return;
    a->host.next = avow_min_u64(a->host.next, d->kind.u.resync.ima_from);
    a->host.send_pcrs |= d->kind.u.resync.pcrs;
    a->in_flight = false; /* what was quoted for another beginning */
}

static enum avow_rc turn(struct fleet *f, struct avow_err *err)
{
    struct avow_directive d;
    bool directive = false;
    enum avow_rc rc = AVOW_OK;
    for (unsigned i = 0; i < DRAIN_MAX && !rc && (i == 0 || directive); i++) {
        rc = avow_load_link_poll(&f->link, i ? 0 : STEP_MS, &directive, &d, err);
        if (!rc && directive)
            obey(f, &d);
    }
    if (rc == AVOW_BUS) { /* a broker that is away for a moment */
        avow_log_limited(WARN, "kafka", 6, AVOW_KV_ERR(err));
        rc = AVOW_OK;
    }
    f->now_ms = avow_clock_mono_ms();
    for (size_t i = 0; i < f->count && !rc; i++)
        rc = step(f, &f->agents[i], err);
    (void)avow_bus_in_flight(f->link.producer); /* delivery reports */
    if (!rc && avow_stop_requested())
        return avow_err_set(err, AVOW_STATE, 0, "told to stop");
    return rc;
}

/* Turns until `done`, or the deadline of the run. */
static enum avow_rc turn_until(struct fleet *f, bool (*done)(struct fleet *f), bool *in_time,
                               struct avow_err *err)
{
    enum avow_rc rc = AVOW_OK;
    *in_time = false;
    while (!rc && !*in_time && f->now_ms < f->deadline_ms) {
        rc = turn(f, err);
        *in_time = !rc && done(f);
    }
    return rc;
}

static size_t count_trusted(struct fleet *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++)
        n += avow_load_reader_seen(f->reader, i).trusted ? 1 : 0;
    return n;
}

static bool all_trusted(struct fleet *f)
{
    return count_trusted(f) == f->count;
}

static bool all_reported(struct fleet *f)
{
    for (size_t i = 0; i < f->count; i++) {
        struct avow_load_seen s = avow_load_reader_seen(f->reader, i);
        if (!s.verdict_ns || !s.revocation_ns)
            return false;
    }
    return true;
}

static enum avow_rc wait_trusted(struct fleet *f, struct avow_err *err)
{
    bool in_time;
    enum avow_rc rc = turn_until(f, all_trusted, &in_time, err);
    if (rc || in_time)
        return rc;
    return avow_err_set(err, AVOW_TIMEOUT, 0,
                        "only %zu of %zu hosts became trusted: does a worker run, and does policy "
                        "\"%s\" allow " AVOW_LOAD_PATH "?",
                        count_trusted(f), f->count, f->o->policy);
}

/* --- Rounds --- */

static double ms_between(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (double)(to_ns - from_ns) / 1e6 : 0;
}

static void collect(struct fleet *f, struct avow_load_report *out)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct agent *a = &f->agents[i];
        struct avow_load_seen s = avow_load_reader_seen(f->reader, i);
        if (!a->append_ns || !a->sent_ns || !s.verdict_ns || !s.revocation_ns) {
            out->missing++;
            continue;
        }
        out->samples[out->count++] =
            (struct avow_load_sample){.sent = ms_between(a->append_ns, a->sent_ns),
                                      .verdict = ms_between(a->append_ns, s.verdict_ns),
                                      .revocation = ms_between(a->append_ns, s.revocation_ns)};
    }
}

static enum avow_rc reboot_all(struct fleet *f, struct avow_err *err)
{
    enum avow_rc rc = AVOW_OK;
    for (size_t i = 0; i < f->count && !rc; i++) {
        struct agent *a = &f->agents[i];
        avow_load_reader_arm(f->reader, i);
        a->in_flight = false;
        a->append_ns = a->sent_ns = 0;
        a->change_ms = NEVER;
        rc = avow_load_host_boot(&a->host, err);
    }
    return rc;
}

static enum avow_rc play_round(struct fleet *f, struct avow_load_report *out, struct avow_err *err)
{
    bool in_time;
    for (size_t i = 0; i < f->count; i++) {
        avow_load_reader_arm(f->reader, i);
        f->agents[i].run_ms = f->now_ms + draw(f, f->o->spread_ms + 1);
    }
    enum avow_rc rc = turn_until(f, all_reported, &in_time, err);
    if (rc)
        return rc;
    collect(f, out);
    rc = in_time ? reboot_all(f, err) : AVOW_OK;
    return rc || !in_time ? rc : wait_trusted(f, err);
}

/* --- Setting up --- */

static enum avow_rc make_agents(struct fleet *f, struct avow_err *err)
{
    f->count = (size_t)f->o->agents;
    f->agents = calloc(f->count, sizeof *f->agents);
    if (!f->agents)
        return avow_err_set(err, AVOW_NOMEM, 0, "%zu agents", f->count);
    enum avow_rc rc = avow_rng_fill(&f->seed, sizeof f->seed, err);
    size_t keys = f->count < KEYS_MAX ? f->count : KEYS_MAX;
    for (; f->keys_count < keys && !rc; f->keys_count++)
        rc = avow_load_key_init(&f->keys[f->keys_count], err);
    for (size_t i = 0; i < f->count && !rc; i++) {
        struct agent *a = &f->agents[i];
        char id[32];
        (void)snprintf(id, sizeof id, ID_PREFIX "%zu", i);
        avow_load_host_init(&a->host, id, &f->keys[i % keys]);
        avow_buf_init(&a->record, AVOW_BUS_VALUE_MAX);
        a->run_ms = a->change_ms = NEVER;
        a->look_ms = f->now_ms + draw(f, f->o->poll_ms);
        a->now = true;
        rc = avow_load_host_boot(&a->host, err);
    }
    return rc;
}

static enum avow_rc enrol_all(struct fleet *f, struct avow_err *err)
{
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *tenant = NULL;
    uint64_t now = avow_clock_unix_ms();
    enum avow_rc rc = avow_privkey_load(f->o->tenant_key, &tenant, err);
    const struct avow_load_enrolment e = {
        .tenant = tenant, .policy = f->o->policy, .generation = now, .issued_ms = now};
    for (size_t i = 0; i < f->count && !rc; i++)
        rc = avow_load_link_enrol(&f->link, &f->agents[i].host, &e, err);
    return rc ? rc : avow_bus_flush(f->link.producer, FLUSH_MS, err);
}

static enum avow_rc set_up(struct fleet *f, const struct avow_bus_property *kv, size_t n,
                           struct avow_err *err)
{
    enum avow_rc rc = avow_load_link_open(kv, n, f->o->prefix, f->o->root, &f->link, err);
    if (!rc)
        rc = make_agents(f, err);
    if (rc)
        return rc;
    const struct avow_load_reader_opts r = {.kv = kv,
                                            .n_kv = n,
                                            .prefix = f->o->prefix,
                                            .trust = f->link.trust,
                                            .id_prefix = ID_PREFIX,
                                            .agents = f->count};
    rc = avow_load_reader_start(&r, &f->reader, err);
    if (!rc)
        rc = enrol_all(f, err);
    if (!rc)
        avow_clock_sleep_ms(SETTLE_MS);
    return rc;
}

static void tear_down(struct fleet *f)
{
    avow_load_reader_free(f->reader);
    for (size_t i = 0; i < f->count && f->agents; i++) {
        avow_load_host_deinit(&f->agents[i].host);
        avow_buf_deinit(&f->agents[i].record);
    }
    free(f->agents);
    for (size_t i = 0; i < f->keys_count; i++)
        avow_load_key_deinit(&f->keys[i]);
    avow_load_link_close(&f->link);
}

static enum avow_rc play(struct fleet *f, struct avow_load_report *out, struct avow_err *err)
{
    enum avow_rc rc = wait_trusted(f, err);
    for (uint64_t i = 0; i < f->o->rounds && !rc && !out->missing; i++)
        rc = play_round(f, out, err);
    if (!rc)
        rc = avow_bus_flush(f->link.producer, FLUSH_MS, err);
    return rc ? rc : avow_load_reader_totals(f->reader, &out->read, err);
}

enum avow_rc avow_load_run(const struct avow_load_opts *o, struct avow_load_report *out,
                           struct avow_err *err)
{
    const struct avow_bus_property kv[] = {{"bootstrap.servers", o->bootstrap}};
    struct fleet *f = calloc(1, sizeof *f);
    *out = (struct avow_load_report){
        .samples = calloc((size_t)(o->agents * o->rounds), sizeof *out->samples)};
    enum avow_rc rc = AVOW_OK;
    if (!f || !out->samples)
        rc = avow_err_set(err, AVOW_NOMEM, 0, "load");
    if (!rc) {
        f->o = o;
        f->now_ms = avow_clock_mono_ms();
        f->deadline_ms = f->now_ms + o->timeout_s * 1000;
        rc = set_up(f, kv, AVOW_ARRAY_LEN(kv), err);
        if (!rc)
            rc = play(f, out, err);
        tear_down(f);
    }
    free(f);
    if (rc) {
        free(out->samples);
        out->samples = NULL;
    }
    return rc;
}
