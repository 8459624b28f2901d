#include "link.h"

#include "avow/base/clock.h"
#include "avow/base/log.h"
#include "avow/trust/records.h"
#include "avow/wire/enrollment.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define CONNECT_MS 10000u
#define BUNDLE_MS 10000u
#define MARKERS_TAIL 64 /* as agents do: the last record may be a control record */
#define RECORD_MAX 65536u

static const char *topic_of(const struct avow_load_link *l, const char *base, char out[200])
{
    (void)snprintf(out, 200, "%s%s", l->prefix, base);
    return out;
}

static enum avow_rc read_bundle(struct avow_load_link *l, bool on_mock, struct avow_err *err)
{
    AVOW_CLEANUP(avow_bus_consumer_free) struct avow_bus_consumer *c = NULL;
    char topic[200];
    const struct avow_bus_consumer_opts opts = {.on_mock = on_mock};
    const struct avow_bus_tp tp = {topic_of(l, "trust", topic), 0, AVOW_BUS_BEGINNING};
    uint64_t end = avow_clock_mono_ms() + BUNDLE_MS;
    int64_t low, high, position = 0;
    enum avow_rc rc = avow_bus_consumer_new(l->bus, &opts, &c, err);
    if (!rc)
        rc = avow_bus_watermarks(c, topic, 0, CONNECT_MS, &low, &high, err);
    if (!rc)
        rc = avow_bus_assign(c, &tp, 1, err);
    while (!rc && avow_clock_mono_ms() < end && position < high) {
        struct avow_bus_msg m;
        rc = avow_bus_poll(c, 100, &m, err);
        if (rc || !m.topic)
            continue;
        position = m.offset + 1;
        struct avow_trust *t = NULL;
        uint64_t known = l->trust ? avow_trust_bundle(l->trust)->version : 0;
        if (m.value_null || avow_trust_open(l->root, m.key, m.value, known, NULL, &t, err))
            continue; /* not newer, or not the root's: whoever has to know is told elsewhere */
        avow_trust_free(l->trust);
        l->trust = t;
    }
    if (!rc && !l->trust)
        return avow_err_set(err, AVOW_NOTFOUND, 0, "no bundle on %s: run `avow topics apply` first",
                            topic);
    return rc;
}

static enum avow_rc follow_epochs(struct avow_load_link *l, bool on_mock, struct avow_err *err)
{
    uint32_t n = avow_trust_bundle(l->trust)->partitions;
    const struct avow_bus_consumer_opts opts = {.isolation = AVOW_BUS_READ_UNCOMMITTED,
                                                .on_mock = on_mock};
    struct avow_bus_tp *tps = calloc(n, sizeof *tps);
    l->markers = calloc(n, sizeof *l->markers);
    enum avow_rc rc = tps && l->markers ? avow_bus_consumer_new(l->bus, &opts, &l->consumer, err)
                                        : avow_err_set(err, AVOW_NOMEM, 0, "markers");
    for (uint32_t i = 0; i < n && !rc; i++)
        tps[i] = (struct avow_bus_tp){l->epochs, (int32_t)i, AVOW_BUS_TAIL(MARKERS_TAIL)};
    if (!rc)
        rc = avow_bus_assign(l->consumer, tps, n, err);
    free(tps);
    return rc;
}

static enum avow_rc open_all(struct avow_load_link *l, const struct avow_bus_property *kv, size_t n,
                             const char *root, struct avow_err *err)
{
    char enrollments[200];
    bool on_mock = false;
    enum avow_rc rc = avow_root_load(root, &l->root, err);
    if (!rc)
        rc = avow_bus_kafka_new(kv, n, "avow-loadgen", &l->bus, err);
    if (!rc)
        rc = avow_bus_is_mock(l->bus, CONNECT_MS, &on_mock, err);
    if (!rc)
        rc = read_bundle(l, on_mock, err);
    if (rc)
        return rc;
    (void)topic_of(l, "evidence", l->evidence);
    (void)topic_of(l, "epochs", l->epochs);
    const char *const topics[] = {l->evidence, topic_of(l, "enrollments", enrollments)};
    const struct avow_bus_producer_opts opts = {.topics = topics, .n_topics = 2};
    rc = follow_epochs(l, on_mock, err);
    return rc ? rc : avow_bus_producer_new(l->bus, &opts, &l->producer, err);
}

enum avow_rc avow_load_link_open(const struct avow_bus_property *kv, size_t n, const char *prefix,
                                 const char *root, struct avow_load_link *out, struct avow_err *err)
{
    *out = (struct avow_load_link){.prefix = prefix};
    avow_arena_init(&out->arena, AVOW_WIRE_ARENA_MAX);
    enum avow_rc rc = open_all(out, kv, n, root, err);
    if (rc)
        avow_load_link_close(out);
    return rc;
}

void avow_load_link_close(struct avow_load_link *l)
{
    avow_bus_producer_free(l->producer);
    avow_bus_consumer_free(l->consumer);
    avow_bus_free(l->bus);
    avow_trust_free(l->trust);
    avow_root_free(l->root);
    avow_arena_deinit(&l->arena);
    free(l->markers);
    *l = (struct avow_load_link){.bus = NULL};
}

static void take_marker(struct avow_load_link *l, const struct avow_record_in *in)
{
    struct avow_marker m;
    struct avow_err err = {.rc = AVOW_OK};
    if (avow_open_marker(l->trust, in, &l->arena, &m, &err)) {
        avow_log_limited(WARN, "marker_refused", 6, AVOW_KV_ERR(&err));
        return;
    }
    struct avow_load_marker *known = &l->markers[in->partition];
    if (known->known && m.epoch < known->epoch)
        return;
    known->known = true;
    known->epoch = m.epoch;
    memcpy(known->nonce, m.nonce, sizeof known->nonce);
}

enum avow_rc avow_load_link_poll(struct avow_load_link *l, unsigned timeout_ms, bool *directive,
                                 struct avow_directive *what, struct avow_err *err)
{
    struct avow_bus_msg m;
    *directive = false;
    enum avow_rc rc = avow_bus_poll(l->consumer, timeout_ms, &m, err);
    if (rc || !m.topic || m.value_null)
        return rc;
    const struct avow_record_in in = {
        .kafka_key = m.key, .value = m.value, .partition = m.partition};
    avow_arena_reset(&l->arena);
    if (avow_str_is((struct avow_str){(const char *)m.key.ptr, m.key.len}, "marker")) {
        take_marker(l, &in);
        return AVOW_OK;
    }
    struct avow_err why = {.rc = AVOW_OK};
    *directive = avow_open_directive(l->trust, &in, &l->arena, what, &why) == AVOW_OK;
    if (!*directive)
        avow_log_limited(WARN, "directive_refused", 6, AVOW_KV_ERR(&why));
    return AVOW_OK;
}

enum avow_rc avow_load_link_send(struct avow_load_link *l, const char *topic, const char *id,
                                 struct avow_bytes value, struct avow_err *err)
{
    struct avow_bytes key = avow_bytes_make(id, strlen(id));
    const struct avow_bus_record r = {
        .topic = topic,
        .partition = avow_bus_partition_of(key, avow_trust_bundle(l->trust)->partitions),
        .key = key,
        .value = value};
    return avow_bus_send(l->producer, &r, err);
}

enum avow_rc avow_load_link_enrol(struct avow_load_link *l, const struct avow_load_host *h,
                                  const struct avow_load_enrolment *e, struct avow_err *err)
{
    static const enum avow_agent_kind kinds[] = {AVOW_AGENT_KIND_AVOW};
    static const enum avow_sign_alg algs[] = {AVOW_SIGN_ALG_ECDSA};
    static const enum avow_hash_alg hashes[] = {AVOW_HASH_ALG_SHA256};
    static const uint16_t ima_pcrs[] = {10};
    const struct avow_bytes signers[] = {avow_tpm_name_bytes(&h->key->signer)};
    struct avow_enrollment v = {
        .key = avow_str_from(h->id),
        .generation = e->generation,
        .status = AVOW_ENROLL_STATUS_ACTIVE,
        .issued_ms = e->issued_ms,
        .has_ak_public = true,
        .ak_public = avow_bytes_make(h->key->public, h->key->public_len),
        .qualified_signers = signers,
        .qualified_signers_count = 1,
        .kinds = kinds,
        .kinds_count = 1,
        .sign_algs = algs,
        .sign_algs_count = 1,
        .sign_hashes = hashes,
        .sign_hashes_count = 1,
        .banks = hashes,
        .banks_count = 1,
        .ima_pcrs = ima_pcrs,
        .ima_pcrs_count = 1,
        .has_runtime_policy = true,
        .runtime_policy = {.has_name = true, .name = avow_str_from(e->policy)},
        .recovery = AVOW_RECOVERY_AUTO,
        .metadata = AVOW_STR_LIT("{}"),
    };
    char topic[200];
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    avow_buf_init(&record, RECORD_MAX);
    memcpy(v.fleet, avow_trust_bundle(l->trust)->fleet, sizeof v.fleet);
    enum avow_rc rc = avow_seal_enrollment(&v, e->tenant, &record, err);
    if (!rc)
        rc = avow_trust_verify(l->trust, AVOW_ROLE_ENROLL, v.key, &avow_wire_enrollment_schema,
                               avow_buf_bytes(&record), err);
    if (!rc)
        rc = avow_load_link_send(l, topic_of(l, "enrollments", topic), h->id,
                                 avow_buf_bytes(&record), err);
    return rc ? avow_err_wrap(err, rc, "enrolment of %s", h->id) : AVOW_OK;
}
