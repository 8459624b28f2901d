/* worker_feed.c - the topics that are read by hand: trust, policies, epochs, enrolments. See
 * worker_internal.h. */
#include "worker_internal.h"

#include "avow/base/log.h"
#include "avow/crypto/dsse.h"
#include "avow/trust/records.h"
#include "avow/wire/policy_chunk.h"

#include <string.h>

#include "avow/base/banned.h"

bool avow_worker_is_transient(enum avow_rc rc)
{
    return rc == AVOW_TIMEOUT || rc == AVOW_UNREACHABLE || rc == AVOW_BUS || rc == AVOW_NOTFOUND;
}

bool avow_worker_is_stopping(const struct avow_worker *w)
{
    return w->opts.stop_requested && w->opts.stop_requested();
}

enum avow_rc avow_worker_watermarks(struct avow_worker *w, enum avow_worker_topic topic,
                                    int32_t partition, int64_t *low, int64_t *high,
                                    struct avow_err *err)
{
    return avow_bus_watermarks(w->probe, w->topics.name[topic], partition,
                               AVOW_WORKER_BUS_TIMEOUT_MS, low, high, err);
}

enum avow_rc avow_worker_aux_assign(struct avow_worker *w, struct avow_err *err)
{
    struct avow_bus_tp tps[2 + 2 * AVOW_WORKER_PARTITIONS_MAX];
    size_t n = 0;
    tps[n++] = (struct avow_bus_tp){w->topics.name[AVOW_TOPIC_TRUST], 0, w->trust_next};
    tps[n++] = (struct avow_bus_tp){w->topics.name[AVOW_TOPIC_POLICIES], 0, w->policies_next};
    for (uint32_t p = 0; p < w->partitions; p++) {
        if (!w->slots[p].runner)
            continue;
        tps[n++] = (struct avow_bus_tp){w->topics.name[AVOW_TOPIC_EPOCHS], (int32_t)p,
                                        w->slots[p].epochs_next};
        tps[n++] = (struct avow_bus_tp){w->topics.name[AVOW_TOPIC_ENROLLMENTS], (int32_t)p,
                                        w->slots[p].enrollments_next};
    }
    return avow_bus_assign(w->aux, tps, n, err);
}

/* --- Trust --- */

static bool head_is_good(void *arg, struct avow_str key, struct avow_bytes record)
{
    struct avow_worker *w = arg;
    struct avow_record_in in = {.kafka_key = avow_bytes_make(key.ptr, key.len), .value = record};
    struct avow_policy_head head;
    struct avow_err ignored;
    bool good = !avow_open_policy_head(w->ctx.trust, &in, &w->ctx.arena, &head, &ignored);
    avow_arena_reset(&w->ctx.arena);
    return good;
}

static enum avow_rc replace_trust(struct avow_worker *w, struct avow_trust *fresh,
                                  struct avow_err *err)
{
    const struct avow_bundle *b = avow_trust_bundle(fresh);
    const struct avow_bundle *old = w->trust ? avow_trust_bundle(w->trust) : NULL;
    bool changes_shape = old && (old->partitions != b->partitions || old->epoch_ms != b->epoch_ms);
    avow_log(INFO, "bundle", AVOW_KV_U64("version", b->version),
             AVOW_KV_U64("partitions", b->partitions), AVOW_KV_U64("epoch_ms", b->epoch_ms));
    struct avow_trust *before = w->trust;
    w->trust = fresh;
    w->ctx.trust = fresh;
    avow_trust_free(before);
    if (changes_shape)
        return avow_err_set(err, AVOW_REFUSED, 0,
                            "bundle %llu changes partitions or epoch: a restart is needed",
                            (unsigned long long)b->version);
    avow_policy_store_distrust(&w->policies, head_is_good, w);
    for (uint32_t p = 0; p < w->partitions; p++) {
        w->slots[p].enrollments_reread = w->slots[p].runner != NULL;
        enum avow_rc rc =
            w->slots[p].runner ? avow_runner_trust_changed(w->slots[p].runner, err) : AVOW_OK;
        if (rc)
            return rc;
    }
    return AVOW_OK;
}

static enum avow_rc feed_trust(struct avow_worker *w, const struct avow_bus_msg *m,
                               struct avow_err *err)
{
    if (m->value_null)
        return AVOW_OK;
    uint64_t min = w->trust              ? avow_trust_bundle(w->trust)->version
                   : w->opts.min_version ? w->opts.min_version - 1
                                         : 0;
    const uint8_t *fleet = w->trust ? avow_trust_bundle(w->trust)->fleet : NULL;
    struct avow_trust *fresh = NULL;
    enum avow_rc rc = avow_trust_open(w->opts.root, m->key, m->value, min, fleet, &fresh, err);
    if (!rc && avow_trust_bundle(fresh)->partitions > AVOW_WORKER_PARTITIONS_MAX) {
        avow_trust_free(fresh);
        return avow_err_set(err, AVOW_CONFIG, 0, "the bundle names %u partitions; %u are the most",
                            avow_trust_bundle(fresh)->partitions, AVOW_WORKER_PARTITIONS_MAX);
    }
    if (!rc)
        return replace_trust(w, fresh, err);
    if (rc == AVOW_NOMEM)
        return rc;
    if (rc == AVOW_EXISTS)
        return AVOW_OK;
    w->ctx.counters.refused++;
    /* At the start an old bundle is followed by newer ones; when serving it is an attack or an
     * accident. */
    if (rc == AVOW_ROLLBACK && w->phase == AVOW_WORKER_RUNS && m->offset >= w->trust_next)
        avow_worker_alarm(w, "bus.rollback", m->value, err->msg);
    avow_log_limited(WARN, "bundle_refused", 12, AVOW_KV_ERR(err),
                     AVOW_KV_I64("offset", m->offset));
    return AVOW_OK;
}

/* --- Policies --- */

bool avow_worker_is_author(void *arg, struct avow_str name, const uint8_t pae_sha256[32],
                           struct avow_bytes sigs)
{
    const struct avow_worker *w = arg;
    const struct avow_pubkey *keys[AVOW_TRUST_KEYS_MAX];
    size_t n = w->trust ? avow_trust_keys(w->trust, AVOW_ROLE_POLICY_AUTHOR, name, keys) : 0;
    return avow_dsse_verify(pae_sha256, sigs, keys, n, NULL);
}

static enum avow_rc feed_head(struct avow_worker *w, const struct avow_bus_msg *m,
                              enum avow_policy_store_result *result, struct avow_err *err)
{
    struct avow_record_in in = {.kafka_key = m->key, .value = m->value, .partition = m->partition};
    struct avow_policy_head head;
    enum avow_rc rc = avow_open_policy_head(w->ctx.trust, &in, &w->ctx.arena, &head, err);
    if (rc)
        return rc;
    uint8_t sha256[32];
    avow_proof_content_sha256(m->value, sha256);
    struct avow_policy_store_head_in h = {.head = &head,
                                          .content_sha256 = sha256,
                                          .record = m->value,
                                          .floor =
                                              avow_trust_bundle(w->ctx.trust)->generation_floor};
    return avow_policy_store_head(&w->policies, &h, result, err);
}

static enum avow_rc feed_chunk(struct avow_worker *w, const struct avow_bus_msg *m,
                               enum avow_policy_store_result *result, struct avow_err *err)
{
    struct avow_policy_chunk chunk;
    struct avow_str key = {(const char *)m->key.ptr, m->key.len};
    enum avow_rc rc = avow_policy_chunk_decode(m->value, &w->ctx.arena, &chunk, err);
    return rc ? rc : avow_policy_store_chunk(&w->policies, key, &chunk, result, err);
}

static void policy_result(struct avow_worker *w, const struct avow_bus_msg *m,
                          enum avow_policy_store_result result, const struct avow_err *err)
{
    struct avow_str key = {(const char *)m->key.ptr, m->key.len};
    switch (result) {
    case AVOW_POLICY_STORE_CONFLICT:
        avow_worker_alarm(w, "policy.conflict", m->value,
                          "another policy head of the same generation; the first stays");
        break;
    case AVOW_POLICY_STORE_BAD:
        avow_worker_alarm(w, "policy.unavailable", m->value, err->msg);
        break;
    case AVOW_POLICY_STORE_CHANGED:
        avow_log(INFO, "policy", AVOW_KV_STRN("key", key), AVOW_KV_I64("offset", m->offset));
        break;
    case AVOW_POLICY_STORE_IGNORED:
    case AVOW_POLICY_STORE_KEPT:
        break;
    }
}

static enum avow_rc feed_policy(struct avow_worker *w, const struct avow_bus_msg *m,
                                struct avow_err *err)
{
    struct avow_str key = {(const char *)m->key.ptr, m->key.len};
    enum avow_policy_store_result result = AVOW_POLICY_STORE_IGNORED;
    enum avow_rc rc = AVOW_OK;
    if (m->value_null) /* nobody signed it (PROTOCOL R10) */
        return AVOW_OK;
    err->msg[0] = '\0';
    if (avow_str_starts(key, "head/"))
        rc = feed_head(w, m, &result, err);
    else if (avow_str_starts(key, "blob/"))
        rc = feed_chunk(w, m, &result, err);
    avow_arena_reset(&w->ctx.arena);
    if (rc == AVOW_NOMEM)
        return rc;
    if (rc) {
        w->ctx.counters.refused++;
        avow_log_limited(WARN, "record_refused", 30, AVOW_KV_STR("topic", m->topic),
                         AVOW_KV_I64("offset", m->offset), AVOW_KV_ERR(err));
        return AVOW_OK;
    }
    policy_result(w, m, result, err);
    return AVOW_OK;
}

/* --- Dispatch --- */

static bool is_topic(const struct avow_worker *w, const struct avow_bus_msg *m,
                     enum avow_worker_topic t)
{
    return avow_cstr_eq(m->topic, w->topics.name[t]);
}

static enum avow_rc dispatch(struct avow_worker *w, const struct avow_bus_msg *m,
                             struct avow_err *err)
{
    enum avow_rc rc = AVOW_OK;
    if (is_topic(w, m, AVOW_TOPIC_TRUST)) {
        rc = feed_trust(w, m, err);
        w->trust_next = m->offset + 1;
        return rc;
    }
    if (is_topic(w, m, AVOW_TOPIC_POLICIES)) {
        if (w->ctx.trust) /* heads need it; the topic is read again from its beginning once it is
                             there */
            rc = feed_policy(w, m, err);
        w->policies_next = m->offset + 1;
        return rc;
    }
    if (m->partition < 0 || (uint32_t)m->partition >= w->partitions ||
        !w->slots[m->partition].runner)
        return AVOW_OK;
    struct avow_worker_slot *slot = &w->slots[m->partition];
    if (is_topic(w, m, AVOW_TOPIC_EPOCHS)) {
        rc = avow_runner_feed_epoch(slot->runner, m, err);
        slot->epochs_next = m->offset + 1;
    } else if (is_topic(w, m, AVOW_TOPIC_ENROLLMENTS)) {
        rc = avow_runner_feed_enrollment(slot->runner, m, err);
        slot->enrollments_next = m->offset + 1;
    }
    return rc;
}

/* Retention overtook us on some topic: everything goes on at its log start or where it was,
 * whichever is later. */
static enum avow_rc clamp(struct avow_worker *w, enum avow_worker_topic topic, int32_t partition,
                          int64_t *next, struct avow_err *err)
{
    int64_t low, high;
    enum avow_rc rc = avow_worker_watermarks(w, topic, partition, &low, &high, err);
    if (!rc && *next >= 0 && *next < low)
        *next = low;
    return rc;
}

static enum avow_rc overtaken(struct avow_worker *w, struct avow_err *err)
{
    enum avow_rc rc = clamp(w, AVOW_TOPIC_TRUST, 0, &w->trust_next, err);
    if (!rc)
        rc = clamp(w, AVOW_TOPIC_POLICIES, 0, &w->policies_next, err);
    for (uint32_t p = 0; p < w->partitions && !rc; p++) {
        struct avow_worker_slot *slot = &w->slots[p];
        if (!slot->runner)
            continue;
        rc = clamp(w, AVOW_TOPIC_EPOCHS, (int32_t)p, &slot->epochs_next, err);
        if (!rc)
            rc = clamp(w, AVOW_TOPIC_ENROLLMENTS, (int32_t)p, &slot->enrollments_next, err);
    }
    return rc ? rc : avow_worker_aux_assign(w, err);
}

/* Whoever wrote it may not be who may write here, and would stop everything if it were waited for:
 * reading goes on behind the batch. */
static enum avow_rc unreadable(struct avow_worker *w, const struct avow_bus_msg *m,
                               struct avow_err *err)
{
    int64_t end, *next = NULL;
    struct avow_bus_tp tp = {NULL, m->partition, m->offset};
    bool owned = m->partition >= 0 && (uint32_t)m->partition < w->partitions;
    avow_log_limited(ERROR, "records_unreadable", 12, AVOW_KV_ERR(err));
    w->ctx.counters.refused++;
    for (size_t t = 0; t < AVOW_TOPIC_COUNT; t++) {
        if (is_topic(w, m, (enum avow_worker_topic)t))
            tp.topic = w->topics.name[t];
    }
    if (is_topic(w, m, AVOW_TOPIC_TRUST))
        next = &w->trust_next;
    else if (is_topic(w, m, AVOW_TOPIC_POLICIES))
        next = &w->policies_next;
    else if (owned)
        next = is_topic(w, m, AVOW_TOPIC_EPOCHS) ? &w->slots[m->partition].epochs_next
                                                 : &w->slots[m->partition].enrollments_next;
    if (!next)
        return AVOW_OK;
    enum avow_rc rc = avow_bus_batch_end(w->opts.bus, &tp, &end, err);
    if (!rc)
        *next = end;
    enum avow_rc again = avow_worker_aux_assign(w, err); /* or the partition stands still */
    return rc ? rc : again;
}

enum avow_rc avow_worker_aux_poll(struct avow_worker *w, unsigned timeout_ms, size_t max, size_t *n,
                                  struct avow_err *err)
{
    size_t handled = 0;
    enum avow_rc rc = AVOW_OK;
    while (handled < max && !rc) {
        struct avow_bus_msg m = {0};
        rc = avow_bus_poll(w->aux, handled ? 0 : timeout_ms, &m, err);
        if (rc == AVOW_NOTFOUND)
            rc = overtaken(w, err);
        if (rc == AVOW_PARSE) {
            rc = unreadable(w, &m, err);
            m.topic = NULL;
        }
        if (avow_worker_is_transient(rc)) {
            avow_worker_kafka_trouble(err);
            rc = AVOW_OK;
            break;
        }
        if (rc || !m.topic)
            break;
        handled++;
        rc = dispatch(w, &m, err);
    }
    if (n)
        *n = handled;
    return rc;
}

enum avow_rc avow_worker_aux_read_until(struct avow_worker *w, enum avow_worker_topic topic,
                                        int32_t partition, int64_t high, struct avow_err *err)
{
    const char *name = w->topics.name[topic];
    uint64_t progress = AVOW_WORKER_MONO(&w->ctx);
    for (;;) {
        int64_t at;
        size_t n;
        enum avow_rc rc = avow_bus_position(w->aux, name, partition, &at, err);
        if (rc || at >= high)
            return rc;
        rc = avow_worker_aux_poll(w, 100, 1000, &n, err);
        avow_worker_pulse(w);
        if (rc)
            return rc;
        uint64_t now = AVOW_WORKER_MONO(&w->ctx);
        if (n) {
            progress = now;
            continue;
        }
        if (now - progress > AVOW_WORKER_RESTORE_STALL_MS || avow_worker_is_stopping(w))
            return avow_err_set(err, AVOW_TIMEOUT, 0, "%s[%d]: no progress at %lld of %lld", name,
                                (int)partition, (long long)at, (long long)high);
        w->ctx.clock.sleep_ms(w->ctx.clock.arg, 1);
    }
}

enum avow_rc avow_worker_aux_read_to_end(struct avow_worker *w, enum avow_worker_topic topic,
                                         int32_t partition, struct avow_err *err)
{
    int64_t low, high;
    enum avow_rc rc = avow_worker_watermarks(w, topic, partition, &low, &high, err);
    return rc ? rc : avow_worker_aux_read_until(w, topic, partition, high, err);
}
