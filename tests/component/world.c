/* world.c - see world.h. */
#include "world.h"

#include "worker_internal.h"

#include "avow/base/hex.h"
#include "avow/bus/topics.h"
#include "avow/trust/records.h"
#include "avow/wire/deadletter.h"
#include "avow/wire/policy_chunk.h"

#include <assert.h>
#include <stdlib.h>

#include "avow/base/banned.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        struct avow_err ok_err = {0};                                                              \
        enum avow_rc ok_rc = (call);                                                               \
        if (ok_rc)                                                                                 \
            fail_msg("%s: %d %s", #call, (int)ok_rc, ok_err.msg);                                  \
    } while (0)

/* --- Clock --- */

static uint64_t unix_of(void *arg)
{
    return ((struct world *)arg)->unix_ms;
}

static uint64_t mono_of(void *arg)
{
    return ((struct world *)arg)->mono_ms;
}

void world_pass(struct world *w, uint64_t ms)
{
    w->unix_ms += ms;
    w->mono_ms += ms;
    avow_bus_mem_set_time(w->broker, w->unix_ms);
}

static void sleep_of(void *arg, uint64_t ms)
{
    world_pass(arg, ms);
}

static enum avow_rc random_of(void *arg, void *out, size_t len, struct avow_err *err)
{
    struct world *w = arg;
    uint8_t *p = out;
    (void)err;
    for (size_t i = 0; i < len; i++) {
        w->random = w->random * 1664525u + 1013904223u;
        p[i] = (uint8_t)(w->random >> 24);
    }
    return AVOW_OK;
}

/* --- Beginning and end --- */

static void no_report(void *arg, const struct avow_topic_report *r)
{
    (void)arg;
    (void)r;
}

static void make_root(struct world *w)
{
    struct avow_pubkey *pub = NULL;
    struct avow_buf pem;
    avow_buf_init(&pem, 4096);
    OK(avow_pubkey_from_spki(avow_privkey_spki(w->root_key), &pub, &ok_err));
    OK(avow_pubkey_pem(pub, &pem, &ok_err));
    OK(avow_root_parse(avow_buf_bytes(&pem), &w->root, &ok_err));
    avow_pubkey_free(pub);
    avow_buf_deinit(&pem);
}

void world_init(struct world *w, uint16_t partitions, enum avow_guarantee guarantee)
{
    *w = (struct world){.partitions = partitions,
                        .guarantee = guarantee,
                        .random = 1,
                        .unix_ms = WORLD_START_MS,
                        .mono_ms = 1000000};
    memset(w->fleet, 0xF1, sizeof w->fleet);
    avow_arena_init(&w->arena, 256u << 20);
    OK(avow_bus_mem_broker_new(&w->broker, &ok_err));
    OK(avow_bus_mem_new(w->broker, &w->bus, &ok_err));
    avow_bus_mem_set_time(w->broker, w->unix_ms);
    OK(avow_topics_apply(w->bus, "avow.", partitions, 1, no_report, NULL, &ok_err));
    struct avow_bus_producer_opts opts = {0};
    OK(avow_bus_producer_new(w->bus, &opts, &w->producer, &ok_err));
    OK(avow_privkey_generate(&w->root_key, &ok_err));
    OK(avow_privkey_generate(&w->tenant, &ok_err));
    OK(avow_privkey_generate(&w->worker_key, &ok_err));
    OK(avow_privkey_generate(&w->old_key, &ok_err));
    OK(avow_privkey_generate(&w->stray, &ok_err));
    make_root(w);
    uint8_t mac[32];
    memset(mac, 0x77, sizeof mac);
    w->keys.sign = w->worker_key;
    avow_mac_key_init(&w->keys.mac[0], mac);
    w->keys.mac_count = 1;
    world_bundle(w, NULL);
}

void world_deinit(struct world *w)
{
    for (unsigned i = 0; i < WORLD_WORKERS; i++)
        avow_worker_free(w->workers[i]);
    avow_trust_free(w->trust);
    avow_bus_producer_free(w->producer);
    avow_bus_free(w->bus);
    avow_bus_mem_broker_free(w->broker);
    avow_root_free(w->root);
    avow_privkey_free(w->root_key);
    avow_privkey_free(w->tenant);
    avow_privkey_free(w->worker_key);
    avow_privkey_free(w->old_key);
    avow_privkey_free(w->stray);
    avow_arena_deinit(&w->arena);
}

/* --- Publishing --- */

static void topic_name(const char *base, char out[64])
{
    (void)snprintf(out, 64, "avow.%s", base);
}

void world_put(struct world *w, const char *base, int32_t partition, const char *key,
               struct avow_bytes value)
{
    char topic[64];
    topic_name(base, topic);
    struct avow_bus_record rec = {.topic = topic,
                                  .partition = partition,
                                  .key = avow_bytes_make(key, strlen(key)),
                                  .value = value};
    OK(avow_bus_send(w->producer, &rec, &ok_err));
}

void world_put_null(struct world *w, const char *base, const char *key)
{
    char topic[64];
    topic_name(base, topic);
    struct avow_bus_record rec = {.topic = topic,
                                  .partition = AVOW_BUS_ANY_PARTITION,
                                  .key = avow_bytes_make(key, strlen(key)),
                                  .value_null = true};
    OK(avow_bus_send(w->producer, &rec, &ok_err));
}

int32_t world_partition(const struct world *w, const char *id)
{
    return avow_bus_partition_of(avow_bytes_make(id, strlen(id)), w->partitions);
}

static void bundle_key(struct avow_bundle_key *k, const struct avow_privkey *key,
                       enum avow_key_status status, const enum avow_role *roles, size_t n)
{
    *k = (struct avow_bundle_key){.alg = AVOW_KEY_ALG_ECDSA_P256,
                                  .spki = avow_privkey_spki(key),
                                  .roles = roles,
                                  .roles_count = n,
                                  .status = status};
    avow_key_id(k->spki, k->id);
}

void world_bundle(struct world *w, const struct world_bundle *changes)
{
    static const struct world_bundle none = {.old = AVOW_KEY_STATUS_VERIFY_ONLY};
    static const enum avow_role tenant_roles[] = {AVOW_ROLE_ENROLL, AVOW_ROLE_POLICY};
    static const enum avow_role worker_roles[] = {AVOW_ROLE_WORKER};
    const struct world_bundle *c = changes ? changes : &none;
    static const enum avow_role head_roles[] = {AVOW_ROLE_POLICY};
    static const enum avow_role envelope_roles[] = {AVOW_ROLE_POLICY_AUTHOR};
    struct avow_bundle_key keys[4];
    bundle_key(&keys[0], w->tenant, c->tenant, tenant_roles, 2);
    bundle_key(&keys[1], w->worker_key, AVOW_KEY_STATUS_ACTIVE, worker_roles, 1);
    bundle_key(&keys[2], w->old_key, c->old, worker_roles, 1);
    bundle_key(&keys[3], w->stray, c->author, c->author_of_envelopes ? envelope_roles : head_roles,
               1);
    uint64_t version = c->version ? c->version : w->bundle_version + 1;
    struct avow_bundle b = {.key = AVOW_STR_LIT("bundle"),
                            .version = version,
                            .issued_ms = w->unix_ms,
                            .topic_prefix = AVOW_STR_LIT("avow."),
                            .partitions = w->partitions,
                            .epoch_ms = WORLD_EPOCH_MS,
                            .heartbeat_ms = 20000,
                            .silent_after_ms = WORLD_SILENT_MS,
                            .validity_ms = 90000,
                            .verdict_refresh_ms = 30000,
                            .min_interval_ms = 200,
                            .first_contact_ms = 86400000,
                            .policy_grace_ms = 3600000,
                            .rebase_interval_ms = w->rebase_interval_ms,
                            .resync_burst = 3,
                            .resync_refill_ms = 300000,
                            .wire_version = 1,
                            .keys = keys,
                            .keys_count = c->has_author ? 4 : 3};
    struct avow_buf record;
    memcpy(b.fleet, w->fleet, 16);
    avow_buf_init(&record, 32768);
    OK(avow_seal_bundle(&b, c->signer ? c->signer : w->root_key, &record, &ok_err));
    world_put(w, "trust", 0, "bundle", avow_buf_bytes(&record));
    if (!c->signer && version > w->bundle_version) {
        w->bundle_version = version;
        avow_trust_free(w->trust);
        w->trust = NULL;
        OK(avow_trust_open(w->root, avow_bytes_make("bundle", 6), avow_buf_bytes(&record), 0, NULL,
                           &w->trust, &ok_err));
    }
    avow_buf_deinit(&record);
}

void world_enroll(struct world *w, const struct rig_agent *a, const struct world_enroll *e)
{
    static const enum avow_agent_kind kinds[] = {AVOW_AGENT_KIND_AVOW};
    static const enum avow_sign_alg algs[] = {AVOW_SIGN_ALG_ECDSA};
    static const enum avow_hash_alg sha256[] = {AVOW_HASH_ALG_SHA256},
                                    sha384[] = {AVOW_HASH_ALG_SHA384};
    static const uint16_t ima_pcrs[] = {10};
    struct avow_enrollment r = {.key = avow_str_from(a->id),
                                .generation = e->generation,
                                .status = e->status,
                                .issued_ms = e->issued_ms ? e->issued_ms : w->unix_ms,
                                .has_ak_public = true,
                                .ak_public = avow_bytes_make(a->ak_public, a->ak_public_len),
                                .kinds = kinds,
                                .kinds_count = 1,
                                .sign_algs = algs,
                                .sign_algs_count = 1,
                                .sign_hashes = sha256,
                                .sign_hashes_count = 1,
                                .banks = e->other_banks ? sha384 : sha256,
                                .banks_count = 1,
                                .ima_pcrs = ima_pcrs,
                                .ima_pcrs_count = 1,
                                .recovery = e->recovery,
                                .paused_until_ms = e->paused_until_ms,
                                .validity_ms = e->validity_ms,
                                .metadata = AVOW_STR_LIT("rack 7")};
    if (e->policy) {
        r.has_runtime_policy = true;
        r.runtime_policy =
            (struct avow_policy_ref){.has_name = true, .name = avow_str_from(e->policy)};
    }
    struct avow_buf record;
    memcpy(r.fleet, e->fleet ? e->fleet : w->fleet, 16);
    avow_buf_init(&record, 32768);
    OK(avow_seal_enrollment(&r, e->signer ? e->signer : w->tenant, &record, &ok_err));
    const char *key = e->kafka_key ? e->kafka_key : a->id;
    world_put(w, "enrollments", world_partition(w, key), key, avow_buf_bytes(&record));
    avow_buf_deinit(&record);
}

void world_policy(struct world *w, const char *name, uint64_t generation, const char *const *paths,
                  size_t n)
{
    struct avow_buf doc;
    avow_buf_init(&doc, 1u << 20);
    avow_buf_put_str(&doc, "{\"meta\":{\"version\":1},\"release\":0,\"digests\":{");
    for (size_t i = 0; i < n; i++) {
        char hex[65];
        rig_digest_hex(paths[i], hex);
        avow_buf_printf(&doc, "%s\"%s\":[\"%s\"]", i ? "," : "", paths[i], hex);
    }
    avow_buf_put_str(&doc, "},\"excludes\":[]}");
    world_document(w, name, generation, avow_buf_bytes(&doc), w->tenant);
    avow_buf_deinit(&doc);
}

void world_document(struct world *w, const char *name, uint64_t generation, struct avow_bytes doc,
                    const struct avow_privkey *signer)
{
    struct avow_buf record;
    struct avow_policy_head h = {.generation = generation,
                                 .kind = AVOW_POLICY_KIND_RUNTIME,
                                 .bytes = doc.len,
                                 .chunks = 1,
                                 .issued_ms = w->unix_ms};
    char key[200], hex[65];
    avow_sha256(doc, h.sha256);
    avow_hex_encode(hex, AVOW_BYTES_OF(h.sha256));
    (void)snprintf(key, sizeof key, "blob/%s/0", hex);
    struct avow_policy_chunk c = {.index = 0, .count = 1, .bytes = doc};
    avow_buf_init(&record, 1u << 20);
    OK(avow_policy_chunk_encode(&c, &record, &ok_err));
    world_put(w, "policies", 0, key, avow_buf_bytes(&record));
    avow_buf_reset(&record);
    (void)snprintf(key, sizeof key, "head/%s", name);
    h.key = avow_str_from(key);
    memcpy(h.fleet, w->fleet, 16);
    OK(avow_seal_policy_head(&h, signer, &record, &ok_err));
    world_put(w, "policies", 0, key, avow_buf_bytes(&record));
    avow_buf_deinit(&record);
}

/* --- Workers --- */

void world_worker(struct world *w, unsigned i, const char *instance)
{
    struct avow_worker_opts opts = {.bus = w->bus,
                                    .root = w->root,
                                    .keys = &w->keys,
                                    .prefix = "avow.",
                                    .group = "avow-workers",
                                    .instance = instance,
                                    .guarantee = w->guarantee,
                                    .min_version = w->min_version,
                                    .scratch_dir = w->scratch_dir,
                                    .meter = avow_meter_slot(w->meter, i),
                                    .clock = {.arg = w,
                                              .unix_ms = unix_of,
                                              .mono_ms = mono_of,
                                              .sleep_ms = sleep_of,
                                              .random = random_of}};
    assert_null(w->workers[i]);
    OK(avow_worker_new(&opts, &w->workers[i], &ok_err));
}

enum avow_rc world_try(struct world *w, unsigned i, uint64_t ms, struct avow_err *err)
{
    for (uint64_t end = w->mono_ms + ms; w->mono_ms < end;) {
        enum avow_rc rc = avow_worker_tick(w->workers[i], 0, err);
        if (rc)
            return rc;
        world_pass(w, WORLD_STEP_MS);
    }
    return AVOW_OK;
}

void world_run(struct world *w, unsigned i, uint64_t ms)
{
    OK(world_try(w, i, ms, &ok_err));
}

void world_stop(struct world *w, unsigned i)
{
    OK(avow_worker_stop(w->workers[i], &ok_err));
    avow_worker_free(w->workers[i]);
    w->workers[i] = NULL;
}

void world_kill(struct world *w, unsigned i)
{
    avow_bus_mem_expire(w->workers[i]->evidence);
}

/* --- Reading --- */

typedef void (*each_fn)(struct world *w, void *arg, const struct avow_bus_msg *m);

static void each(struct world *w, const char *base, enum avow_bus_isolation isolation, each_fn fn,
                 void *arg)
{
    struct avow_bus_consumer *c = NULL;
    struct avow_bus_consumer_opts opts = {.isolation = isolation};
    struct avow_bus_tp tps[64];
    char topic[64];
    uint32_t n;
    topic_name(base, topic);
    OK(avow_bus_partition_count(w->bus, topic, 0, &n, &ok_err));
    for (uint32_t p = 0; p < n; p++)
        tps[p] = (struct avow_bus_tp){topic, (int32_t)p, AVOW_BUS_BEGINNING};
    OK(avow_bus_consumer_new(w->bus, &opts, &c, &ok_err));
    OK(avow_bus_assign(c, tps, n, &ok_err));
    for (;;) {
        struct avow_bus_msg m = {0};
        OK(avow_bus_poll(c, 0, &m, &ok_err));
        if (!m.topic)
            break;
        fn(w, arg, &m);
    }
    avow_bus_consumer_free(c);
}

static bool key_is(const struct avow_bus_msg *m, const char *key)
{
    return avow_bytes_eq(m->key, avow_bytes_make(key, strlen(key)));
}

static struct avow_record_in record_of(const struct avow_bus_msg *m)
{
    return (struct avow_record_in){
        .kafka_key = m->key, .value = m->value, .partition = m->partition};
}

struct find {
    const char *key;
    const char *event;
    int class;
    int reason;
    size_t count;
    void *last;
    uint64_t seq, transitions;
    uint8_t ids[256][16];
    size_t ids_count;
    int32_t partition;
};

static void on_verdict(struct world *w, void *arg, const struct avow_bus_msg *m)
{
    struct find *f = arg;
    if (!key_is(m, f->key))
        return;
    struct avow_record_in in = record_of(m);
    struct avow_verdict v;
    OK(avow_open_verdict(w->trust, &in, &w->arena, &v,
                         &ok_err)); /* every verdict is signed by a worker */
    if (f->count && v.seq <= f->seq)
        fail_msg("verdict of %s: seq %llu after %llu", f->key, (unsigned long long)v.seq,
                 (unsigned long long)f->seq);
    if (f->count && v.transitions > f->transitions + 1)
        fail_msg("verdict of %s: transitions %llu after %llu", f->key,
                 (unsigned long long)v.transitions, (unsigned long long)f->transitions);
    f->seq = v.seq;
    f->transitions = v.transitions;
    f->count++;
    if (f->last)
        *(struct avow_verdict *)f->last = v;
}

size_t world_verdicts(struct world *w, const char *id, struct avow_verdict *last)
{
    struct find f = {.key = id, .last = last};
    each(w, "verdicts", AVOW_BUS_READ_COMMITTED, on_verdict, &f);
    return f.count;
}

static void on_revocation(struct world *w, void *arg, const struct avow_bus_msg *m)
{
    struct find *f = arg;
    struct avow_record_in in = record_of(m);
    struct avow_revocation r;
    OK(avow_open_revocation(w->trust, &in, &w->arena, &r, &ok_err));
    if (f->key && !key_is(m, f->key))
        return;
    if (f->class >= 0 && (int)r.class != f->class)
        return;
    if (f->event && !avow_str_is(r.event_id, f->event))
        return;
    f->count++;
    if (f->ids_count < 256)
        memcpy(f->ids[f->ids_count++], r.id, 16);
    if (f->last)
        *(struct avow_revocation *)f->last = r;
}

size_t world_revocations(struct world *w, const char *key, int class, struct avow_revocation *last)
{
    struct find f = {.key = key, .class = class, .last = last};
    each(w, "revocations", AVOW_BUS_READ_COMMITTED, on_revocation, &f);
    return f.count;
}

size_t world_alarms(struct world *w, const char *event)
{
    struct find f = {.class = AVOW_REVOCATION_CLASS_ALARM, .event = event};
    each(w, "revocations", AVOW_BUS_READ_COMMITTED, on_revocation, &f);
    return f.count;
}

static void on_state(struct world *w, void *arg, const struct avow_bus_msg *m)
{
    struct find *f = arg;
    if (!key_is(m, f->key) || m->value_null)
        return;
    struct avow_record_in in = record_of(m);
    struct avow_state s;
    if (avow_open_state(w->fleet, w->keys.mac, w->keys.mac_count, &in, &w->arena, &s, NULL))
        return; /* tests put bad ones there */
    f->count++;
    if (f->last)
        *(struct avow_state *)f->last = s;
}

size_t world_states(struct world *w, const char *id, struct avow_state *last)
{
    struct find f = {.key = id, .last = last};
    each(w, "state", AVOW_BUS_READ_COMMITTED, on_state, &f);
    return f.count;
}

static void on_dead_letter(struct world *w, void *arg, const struct avow_bus_msg *m)
{
    struct find *f = arg;
    struct avow_deadletter d;
    OK(avow_deadletter_decode(m->value, &w->arena, &d, &ok_err));
    f->count += (int)d.reason == f->reason ? 1 : 0;
}

size_t world_dead_letters(struct world *w, enum avow_drop_reason reason)
{
    struct find f = {.reason = (int)reason};
    each(w, "deadletter", AVOW_BUS_READ_COMMITTED, on_dead_letter, &f);
    return f.count;
}

static void on_directive(struct world *w, void *arg, const struct avow_bus_msg *m)
{
    struct find *f = arg;
    if (!key_is(m, f->key) || m->value_null)
        return;
    struct avow_record_in in = record_of(m);
    struct avow_directive d;
    OK(avow_open_directive(w->trust, &in, &w->arena, &d, &ok_err));
    f->count++;
    if (f->last)
        *(struct avow_directive *)f->last = d;
}

size_t world_directives(struct world *w, const char *id, struct avow_directive *last)
{
    struct find f = {.key = id, .last = last};
    each(w, "epochs", AVOW_BUS_READ_COMMITTED, on_directive, &f);
    return f.count;
}

static void on_marker(struct world *w, void *arg, const struct avow_bus_msg *m)
{
    struct find *f = arg;
    struct avow_record_in in = record_of(m);
    struct avow_marker marker;
    struct avow_marker *last = f->last;
    if (m->partition != f->partition || !key_is(m, "marker") || m->value_null ||
        avow_open_marker(w->trust, &in, &w->arena, &marker, NULL)) /* as an agent does */
        return;
    if (f->count && marker.epoch < last->epoch)
        return;
    f->count++;
    *last = marker;
}

size_t world_markers(struct world *w, int32_t partition, struct avow_marker *last)
{
    struct find f = {.last = last, .partition = partition};
    each(w, "epochs", AVOW_BUS_READ_UNCOMMITTED, on_marker, &f);
    return f.count;
}

void world_marker(struct world *w, const struct rig_agent *a, struct avow_marker *out)
{
    if (!world_markers(w, world_partition(w, a->id), out))
        fail_msg("no marker for %s", a->id);
}

/* --- Agents --- */

void world_send(struct world *w, const struct rig_agent *a, struct avow_bytes evidence)
{
    world_put(w, "evidence", world_partition(w, a->id), a->id, evidence);
}

struct avow_bytes world_attest_with(struct world *w, struct rig_agent *a,
                                    const struct avow_marker *m, const struct rig_tamper *t)
{
    struct avow_buf out;
    avow_buf_init(&out, 1u << 20);
    rig_attest(a, m, t, &out);
    struct avow_bytes copy = avow_arena_bytes(&w->arena, avow_buf_bytes(&out));
    avow_buf_deinit(&out);
    world_send(w, a, copy);
    return copy;
}

static void obey(struct world *w, struct rig_agent *a)
{
    struct avow_directive d;
    size_t n = world_directives(w, a->id, &d);
    if (n > a->obeyed && d.kind.tag == AVOW_DIRECTIVE_KIND_RESYNC)
        rig_resync(a, (uint32_t)d.kind.u.resync.ima_from);
    a->obeyed = n;
}

struct avow_bytes world_attest(struct world *w, struct rig_agent *a)
{
    struct avow_marker m;
    obey(w, a);
    world_marker(w, a, &m);
    return world_attest_with(w, a, &m, NULL);
}

void world_cut(struct world *w, struct rig_agent *a, size_t n, struct avow_bytes *records)
{
    struct avow_marker m;
    struct avow_buf out[RIG_PARTS_MAX];
    obey(w, a);
    world_marker(w, a, &m);
    for (size_t i = 0; i < n; i++)
        avow_buf_init(&out[i], 1u << 20);
    rig_attest_cut(a, &m, n, out);
    for (size_t i = 0; i < n; i++) {
        records[i] = avow_arena_bytes(&w->arena, avow_buf_bytes(&out[i]));
        avow_buf_deinit(&out[i]);
    }
}

void world_turn(struct world *w, unsigned i, struct rig_agent *a)
{
    (void)world_attest(w, a);
    world_run(w, i, 1000);
}

/* --- Expectations --- */

void world_check_exactly_once(struct world *w, const char *id)
{
    struct find f = {.key = id, .class = -1};
    (void)world_verdicts(w, id, NULL);
    each(w, "revocations", AVOW_BUS_READ_COMMITTED, on_revocation, &f);
    for (size_t i = 0; i < f.ids_count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (avow_ct_eq(f.ids[i], f.ids[k], 16))
                fail_msg("%s: revocations %zu and %zu are twins", id, k, i);
        }
    }
}

void world_expect(struct world *w, const char *id, enum avow_status status)
{
    struct avow_verdict v;
    if (!world_verdicts(w, id, &v))
        fail_msg("%s has no verdict", id);
    if (v.status != status)
        fail_msg("%s is %s, not %s (%.*s %.*s)", id, avow_status_text(v.status),
                 avow_status_text(status), v.findings_count ? (int)v.findings[0].id.len : 0,
                 v.findings_count ? v.findings[0].id.ptr : "",
                 v.findings_count ? (int)v.findings[0].detail.len : 0,
                 v.findings_count ? v.findings[0].detail.ptr : "");
}
