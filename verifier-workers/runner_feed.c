/* runner_feed.c - records of our own topics: states, enrolments, markers. See runner.h. */
#include "runner_internal.h"

#include "avow/base/log.h"
#include "avow/base/num.h"
#include "avow/trust/records.h"
#include "avow/wire/marker.h"

#include <string.h>

#include "avow/base/banned.h"

/* A record that is not what it claims: counted and logged; whoever wrote it has no say. */
static void refuse(struct avow_runner *r, const struct avow_bus_msg *m, const char *why)
{
    r->ctx->counters.refused++;
    avow_log_limited(WARN, "record_refused", 30, AVOW_KV_STR("topic", m->topic),
                     AVOW_KV_I64("partition", m->partition), AVOW_KV_I64("offset", m->offset),
                     AVOW_KV_STR("error", why));
}

static bool is_ours(const struct avow_runner *r, struct avow_bytes key)
{
    struct avow_str id = {(const char *)key.ptr, key.len};
    return avow_name_is_valid(id) &&
           avow_bus_partition_of(key, avow_trust_bundle(r->ctx->trust)->partitions) == r->partition;
}

static struct avow_record_in record_of(const struct avow_bus_msg *m)
{
    return (struct avow_record_in){
        .kafka_key = m->key, .value = m->value, .partition = m->partition};
}

/* Resource failures are ours; everything else is about the record. */
static bool is_ours_to_fail(enum avow_rc rc)
{
    return rc == AVOW_NOMEM || rc == AVOW_CRYPTO;
}

/* --- State --- */

static enum avow_rc state_opened(struct avow_runner *r, const struct avow_bus_msg *m,
                                 const struct avow_state *s, struct avow_err *err)
{
    struct avow_agent *a;
    struct avow_agent_state state;
    enum avow_rc rc = avow_views_get(&r->views, s->key, &a, err);
    if (!rc)
        rc = avow_agent_state_make(s, m->value, &state, err);
    if (rc)
        return rc;
    avow_agent_state_put(a, state);
    r->bundle_version = avow_max_u64(r->bundle_version, s->bundle_version);
    return AVOW_OK;
}

enum avow_rc avow_runner_feed_state(struct avow_runner *r, const struct avow_bus_msg *m,
                                    struct avow_err *err)
{
    struct avow_agent *known = avow_views_find(&r->views, m->key);
    if (m->value_null) { /* as absent: the agent is asked for everything (PROTOCOL R10) */
        if (known)
            avow_agent_state_put(known, (struct avow_agent_state){0});
        return AVOW_OK;
    }
    if (!is_ours(r, m->key)) {
        refuse(r, m, "not a key of this partition");
        return AVOW_OK;
    }
    const struct avow_worker_keys *keys = r->ctx->keys;
    struct avow_record_in in = record_of(m);
    struct avow_state s;
    enum avow_rc rc = avow_open_state(avow_trust_bundle(r->ctx->trust)->fleet, keys->mac,
                                      keys->mac_count, &in, &r->ctx->arena, &s, err);
    if (rc && !is_ours_to_fail(rc)) {
        if (known)
            avow_agent_state_put(known, (struct avow_agent_state){0});
        r->states_rejected++;
        r->ctx->counters.state_rejected++;
        refuse(r, m, err->msg);
        rc = AVOW_OK;
    } else if (!rc) {
        r->states_restored++;
        rc = state_opened(r, m, &s, err);
    }
    avow_arena_reset(&r->ctx->arena);
    return rc;
}

/* --- Enrolments --- */

/* Nobody signed a null, so it means nothing, unless a signed removal came before (PROTOCOL R10). */
static void null_enrollment(struct avow_runner *r, const struct avow_bus_msg *m)
{
    struct avow_agent *a = avow_views_find(&r->views, m->key);
    if (!a || !a->enrollment.record)
        return;
    if (a->enrollment.status == AVOW_ENROLL_STATUS_REMOVED) {
        avow_views_unenroll(&r->views, a);
        avow_runner_review(r, a);
        return;
    }
    if (!r->serving)
        return; /* history; whether it is gone for good shows when compaction has been */
    uint8_t what[8];
    avow_put_u64be(what, (uint64_t)m->offset);
    r->ctx->counters.unsigned_deletes++;
    avow_runner_alarm(r, a, "enrollment.unsigned_delete", AVOW_BYTES_OF(what),
                      "a null was written for this enrolment; nobody signed it, it is ignored");
}

/* Whether `e` may replace what is known; alarms when two contents claim one generation. */
static bool is_newer(struct avow_runner *r, const struct avow_agent *a,
                     const struct avow_enrollment *e, const uint8_t sha256[32])
{
    const struct avow_agent_hot *h = &a->state.hot;
    bool in_memory = a->enrollment.record != NULL, in_state = a->state.record != NULL;
    if (e->generation < avow_trust_bundle(r->ctx->trust)->generation_floor)
        return false;
    uint64_t known = in_memory ? a->enrollment.generation : 0;
    const uint8_t *known_sha256 = in_memory ? a->enrollment.sha256 : NULL;
    if (in_state && (!in_memory || h->enrollment_generation > known)) {
        known = h->enrollment_generation;
        known_sha256 = h->enrollment_sha256;
    }
    if (!known_sha256 || e->generation > known)
        return true;
    bool same = avow_ct_eq(known_sha256, sha256, 32);
    if (e->generation == known && !same)
        avow_runner_alarm(r, a, "enrollment.conflict", avow_bytes_make(sha256, 32),
                          "another enrolment of the same generation; the first stays");
    if (e->generation < known && !in_memory) /* the topic shows less than the state has seen */
        avow_runner_alarm(r, a, "bus.rollback", avow_bytes_make(sha256, 32),
                          "the enrolment is older than the one the state was made with");
    return e->generation == known && same && !in_memory;
}

void avow_runner_unpin(struct avow_runner *r, const struct avow_agent *a)
{
    for (size_t i = 0; i < a->enrollment.pins_count; i++)
        avow_policy_store_unpin(r->ctx->policies, a->enrollment.pins[i].use,
                                a->enrollment.pins[i].sha256);
}

/* All or none. */
static enum avow_rc pin(struct avow_runner *r, const struct avow_enrollment *e,
                        struct avow_err *err)
{
    struct avow_agent_pin pins[AVOW_AGENT_PINS_MAX];
    size_t n = avow_enrollment_pins(e, pins), done = 0;
    enum avow_rc rc = AVOW_OK;
    while (done < n && !rc) {
        rc = avow_policy_store_pin(r->ctx->policies, pins[done].use, pins[done].sha256, err);
        done += !rc;
    }
    while (rc && done--)
        avow_policy_store_unpin(r->ctx->policies, pins[done].use, pins[done].sha256);
    return rc;
}

static enum avow_rc enroll(struct avow_runner *r, const struct avow_bus_msg *m,
                           const struct avow_enrollment *e, struct avow_err *err)
{
    struct avow_agent *a;
    uint8_t sha256[32];
    avow_proof_content_sha256(m->value, sha256);
    enum avow_rc rc = avow_views_get(&r->views, e->key, &a, err);
    if (rc || !is_newer(r, a, e, sha256))
        return rc;
    rc = pin(r, e, err);
    if (rc)
        return rc;
    avow_runner_unpin(r, a);
    struct avow_err ak_refused;
    rc = avow_views_enroll(&r->views, a, e, m->value, &ak_refused, err);
    if (rc)
        return rc;
    if (ak_refused.msg[0])
        avow_log_limited(WARN, "ak_refused", 30, AVOW_KV_STR("agent", a->id),
                         AVOW_KV_ERR(&ak_refused));
    if (r->serving)
        avow_log_limited(INFO, "enrollment", 60, AVOW_KV_STR("agent", a->id),
                         AVOW_KV_U64("generation", e->generation),
                         AVOW_KV_STR("status", avow_enroll_status_text(e->status)));
    avow_runner_review(r, a);
    return AVOW_OK;
}

enum avow_rc avow_runner_feed_enrollment(struct avow_runner *r, const struct avow_bus_msg *m,
                                         struct avow_err *err)
{
    if (m->value_null) {
        null_enrollment(r, m);
        return AVOW_OK;
    }
    struct avow_record_in in = record_of(m);
    struct avow_enrollment e;
    enum avow_rc rc = avow_open_enrollment(r->ctx->trust, &in, &r->ctx->arena, &e, err);
    if (!rc && !is_ours(r, m->key))
        rc = avow_err_set(err, AVOW_UNTRUSTED, 0, "not a key of this partition");
    if (rc && !is_ours_to_fail(rc)) {
        r->enrollments_refused++;
        refuse(r, m, err->msg);
        rc = AVOW_OK;
    } else if (!rc) {
        rc = enroll(r, m, &e, err);
    }
    avow_arena_reset(&r->ctx->arena);
    return rc;
}

/* --- Markers --- */

bool avow_runner_verify_marker(void *arg, struct avow_bytes record)
{
    const struct avow_runner *r = arg;
    struct avow_err ignored;
    return !avow_trust_verify(r->ctx->trust, AVOW_ROLE_WORKER, AVOW_STR_LIT("marker"),
                              &avow_wire_marker_schema, record, &ignored);
}

static void see(struct avow_runner *r, const struct avow_bus_msg *m,
                const struct avow_marker *marker)
{
    struct avow_epoch_bell_seen seen = {
        .epoch = marker->epoch,
        .issued_ms = marker->issued_ms,
        .service_ms = marker->service_ms,
        .ticking = marker->ticking,
        .nonce = marker->nonce,
        .append_ms = m && m->timestamp_is_append ? (uint64_t)m->timestamp_ms : 0,
        .unix_ms = AVOW_WORKER_NOW(r->ctx),
        .mono_ms = AVOW_WORKER_MONO(r->ctx)};
    avow_epoch_bell_see(&r->bell, &seen);
}

/* Somebody else issues markers for a partition that is ours: the old owner for a moment, or a
 * stolen key. */
static void look_for_twin(struct avow_runner *r, const struct avow_marker *marker)
{
    uint64_t window = AVOW_RUNNER_TWIN_WINDOW_MS + 2 * r->bell.epoch_ms;
    if (!r->serving || !r->bell.has_own || marker->issued_ms < r->assigned_unix_ms ||
        AVOW_WORKER_MONO(r->ctx) < r->assigned_mono_ms + window)
        return;
    char detail[AVOW_ALARM_DETAIL_MAX];
    (void)snprintf(detail, sizeof detail, "partition %d, epoch %llu: %.*s issues markers, too",
                   (int)r->partition, (unsigned long long)marker->epoch, (int)marker->owner.len,
                   marker->owner.ptr);
    avow_runner_alarm(r, NULL, "epoch.twin", avow_bytes_make(marker->nonce, 32), detail);
}

/* Claims to be later than the broker says that it was written: its author's clock is ahead. If ours
 * were behind, the two would agree. */
static bool is_ahead(const struct avow_runner *r, const struct avow_bus_msg *m,
                     const struct avow_marker *marker)
{
    uint64_t latest = (uint64_t)m->timestamp_ms + AVOW_EPOCH_BELL_SKEW_MAX_MS;
    bool own = r->bell.has_own && avow_ct_eq(marker->nonce, r->bell.own_nonce, 32);
    return m->timestamp_is_append && !own &&
           (marker->issued_ms > latest || marker->epoch > latest / r->bell.epoch_ms);
}

static void refuse_ahead(struct avow_runner *r, const struct avow_bus_msg *m,
                         const struct avow_marker *marker)
{
    refuse(r, m, "marker: from a clock that is ahead of the broker's");
    if (!r->serving || !avow_runner_verify_marker(r, m->value))
        return;
    char detail[AVOW_ALARM_DETAIL_MAX];
    (void)snprintf(detail, sizeof detail, "partition %d: the clock of %.*s is ahead",
                   (int)r->partition, (int)marker->owner.len, marker->owner.ptr);
    avow_runner_alarm(r, NULL, "epoch.ahead", avow_bytes_make(marker->nonce, 32), detail);
}

static enum avow_rc marker_read(struct avow_runner *r, const struct avow_bus_msg *m,
                                const struct avow_marker *marker, struct avow_err *err)
{
    if (is_ahead(r, m, marker)) {
        refuse_ahead(r, m, marker);
        return AVOW_OK;
    }
    struct avow_marker_book_add add = {.marker = marker,
                                       .record = m->value,
                                       .live = r->serving,
                                       .unix_ms = AVOW_WORKER_NOW(r->ctx)};
    enum avow_marker_book_added added;
    enum avow_rc rc = avow_marker_book_add(&r->book, &add, &added, err);
    if (rc)
        return rc;
    switch (added) {
    case AVOW_MARKER_BOOK_ADDED:
    case AVOW_MARKER_BOOK_TWIN:
        if (!r->serving)
            break; /* not verified yet: the newest good one counts when serving begins */
        look_for_twin(r, marker);
        see(r, m, marker);
        break;
    case AVOW_MARKER_BOOK_KNOWN:
        if (r->serving)
            see(r, m, marker);
        break;
    case AVOW_MARKER_BOOK_FUTURE:
        see(r, m, marker);
        break;
    case AVOW_MARKER_BOOK_REFUSED:
        refuse(r, m, "marker: signature, or too many of one epoch");
        break;
    case AVOW_MARKER_BOOK_OLD:
        break;
    }
    return AVOW_OK;
}

enum avow_rc avow_runner_feed_epoch(struct avow_runner *r, const struct avow_bus_msg *m,
                                    struct avow_err *err)
{
    if (m->value_null || !avow_bytes_eq(m->key, avow_bytes_make("marker", 6)))
        return AVOW_OK; /* directives are for agents */
    struct avow_marker marker;
    enum avow_rc rc = AVOW_PARSE;
    if (m->value.len <= avow_wire_marker_schema.max_value)
        rc = avow_marker_decode(m->value, &r->ctx->arena, &marker, err);
    else
        avow_err_set(err, AVOW_PARSE, 0, "marker of %zu bytes", m->value.len);
    if (!rc)
        rc = avow_trust_check_header(r->ctx->trust, marker.fleet, marker.key, m->key, err);
    if (!rc && marker.partition != r->partition)
        rc = avow_err_set(err, AVOW_UNTRUSTED, 0, "marker of partition %d", (int)marker.partition);
    if (rc && !is_ours_to_fail(rc)) {
        refuse(r, m, err->msg);
        rc = AVOW_OK;
    } else if (!rc) {
        rc = marker_read(r, m, &marker, err);
    }
    avow_arena_reset(&r->ctx->arena);
    return rc;
}

/* Decodes the newest good marker; false if there is none. */
static bool newest(struct avow_runner *r, struct avow_marker *out)
{
    struct avow_bytes record;
    struct avow_err ignored;
    return avow_marker_book_newest(&r->book, &record) &&
           !avow_marker_decode(record, &r->ctx->arena, out, &ignored);
}

bool avow_runner_predecessor(struct avow_runner *r, char out[AVOW_WORKER_OWNER_MAX + 1])
{
    struct avow_marker marker;
    bool found = newest(r, &marker) && avow_str_copy(out, AVOW_WORKER_OWNER_MAX + 1, marker.owner);
    avow_arena_reset(&r->ctx->arena);
    return found;
}

/* --- Serving begins --- */

/* Without the book everything works as well, until there is poison. */
static void open_poison_book(struct avow_runner *r, int64_t offset)
{
    struct avow_poison_place place = {.folder = r->ctx->scratch_dir,
                                      .group = r->ctx->group,
                                      .fleet = avow_trust_bundle(r->ctx->trust)->fleet,
                                      .partition = r->partition,
                                      .committed = offset};
    uint64_t deaths = 0;
    struct avow_err err;
    if (!place.folder)
        return;
    if (avow_poison_book_open(&place, &r->poison, &deaths, &err))
        avow_log_limited(WARN, "poison_book", 4, AVOW_KV_ERR(&err),
                         AVOW_KV_STR("consequence", "a record that kills workers is not skipped"));
    else if (deaths)
        avow_log(WARN, "died_with_evidence_in_hand", AVOW_KV_I64("partition", r->partition),
                 AVOW_KV_U64("times", deaths), AVOW_KV_I64("from", offset),
                 AVOW_KV_BOOL("skipped", r->poison.poison >= 0));
}

enum avow_rc avow_runner_serve(struct avow_runner *r, int64_t offset, struct avow_err *err)
{
    struct avow_marker marker;
    if (newest(r, &marker)) {
        see(r, NULL, &marker);
        r->bundle_version = avow_max_u64(r->bundle_version, marker.bundle_version);
    }
    avow_arena_reset(&r->ctx->arena);
    uint64_t version = avow_trust_bundle(r->ctx->trust)->version;
    if (r->bundle_version > version)
        return avow_err_set(err, AVOW_ROLLBACK, 0,
                            "bus.rollback: partition %d was served under bundle %llu, the topic "
                            "shows %llu: not serving",
                            (int)r->partition, (unsigned long long)r->bundle_version,
                            (unsigned long long)version);
    r->next_offset = r->committed_offset = offset;
    r->serving = true;
    open_poison_book(r, offset);
    if (r->states_rejected) {
        char detail[AVOW_ALARM_DETAIL_MAX];
        (void)snprintf(detail, sizeof detail,
                       "partition %d: %zu states cannot be read; these agents start anew",
                       (int)r->partition, r->states_rejected);
        avow_runner_alarm(r, NULL, "state.rejected", avow_bytes_make(detail, strlen(detail)),
                          detail);
        avow_log(ERROR, "states_rejected", AVOW_KV_I64("partition", r->partition),
                 AVOW_KV_U64("count", r->states_rejected));
    }
    for (size_t i = 0; i < r->views.agents.count; i++) {
        enum avow_rc rc = avow_runner_deadline(r, r->views.agents.entries[i].value, err);
        if (rc)
            return rc;
    }
    avow_runner_review_all(r);
    return AVOW_OK;
}

enum avow_rc avow_runner_trust_changed(struct avow_runner *r, struct avow_err *err)
{
    avow_marker_book_distrust(&r->book);
    struct avow_marker marker;
    r->bell.has_topic = false; /* what it saw may have been signed by a key that is revoked now */
    if (newest(r, &marker))
        see(r, NULL, &marker);
    avow_arena_reset(&r->ctx->arena);
    for (size_t i = 0; i < r->views.agents.count; i++) {
        struct avow_agent *a = r->views.agents.entries[i].value;
        if (!a->enrollment.record)
            continue;
        struct avow_record_in in = {.kafka_key = avow_bytes_make(a->id, a->id_len),
                                    .value =
                                        avow_bytes_make(a->enrollment.record, a->enrollment.len),
                                    .partition = r->partition};
        struct avow_enrollment e;
        enum avow_rc rc = avow_open_enrollment(r->ctx->trust, &in, &r->ctx->arena, &e, err);
        avow_arena_reset(&r->ctx->arena);
        if (is_ours_to_fail(rc))
            return rc;
        if (rc) { /* as after a restart: its signer has no say any more */
            avow_log_limited(WARN, "enrollment_refused", 30, AVOW_KV_STR("agent", a->id),
                             AVOW_KV_ERR(err));
            avow_runner_unpin(r, a);
            avow_views_unenroll(&r->views, a);
        }
        avow_runner_review(r, a);
    }
    return AVOW_OK;
}
