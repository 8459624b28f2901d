/* runner_clock.c - markers and silence. See runner.h; PROTOCOL R5, R8, R22, B3.3. */
#include "runner_internal.h"

#include "avow/base/log.h"
#include "avow/trust/records.h"
#include "avow/wire/marker.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define WATERMARK_LEAD_MS 1500u /* how long before a marker the high watermark is looked up */
#define RELEASE_EVERY_MS 100u   /* held agents are let go in small steps */

bool avow_runner_wants_watermark(const struct avow_runner *r)
{
    if (!r->serving || r->health != AVOW_EPOCH_BELL_HEALTHY)
        return false;
    uint64_t lead =
        r->bell.epoch_ms / 2 < WATERMARK_LEAD_MS ? r->bell.epoch_ms / 2 : WATERMARK_LEAD_MS;
    if (avow_epoch_bell_wait_ms(&r->bell, AVOW_WORKER_NOW(r->ctx)) > lead)
        return false;
    return !r->has_watermark || AVOW_WORKER_MONO(r->ctx) - r->watermark_mono_ms > lead;
}

void avow_runner_watermark(struct avow_runner *r, int64_t high)
{
    r->has_watermark = true;
    r->watermark = high;
    r->watermark_mono_ms = AVOW_WORKER_MONO(r->ctx);
}

void avow_runner_passed(struct avow_runner *r, int64_t position)
{
    if (r->rewind || r->moved || position <= r->next_offset)
        return;
    r->next_offset = r->committed_offset = position; /* nothing in between asks for a commit */
}

/* What is not committed is not processed: it may have to be done again. */
static bool caught_up(const struct avow_runner *r)
{
    return r->has_watermark && !r->rewind && r->committed_offset >= r->watermark &&
           AVOW_WORKER_MONO(r->ctx) - r->watermark_mono_ms <= AVOW_EPOCH_BELL_WATERMARK_MAX_MS;
}

/* --- Markers --- */

static enum avow_rc publish(struct avow_runner *r, const struct avow_marker *marker,
                            struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    avow_buf_init(&record, avow_wire_marker_schema.max_value);
    enum avow_rc rc = avow_seal_marker(marker, r->ctx->keys->sign, &record, err);
    if (rc)
        return avow_err_wrap(err, rc, "marker");
    struct avow_marker_book_add add = {.marker = marker,
                                       .record = avow_buf_bytes(&record),
                                       .own = true,
                                       .live = true,
                                       .unix_ms = marker->issued_ms};
    enum avow_marker_book_added added;
    rc = avow_marker_book_add(&r->book, &add, &added, err);
    if (rc)
        return rc;
    struct avow_bus_record rec = {.topic = r->ctx->topics->name[AVOW_TOPIC_EPOCHS],
                                  .partition = r->partition,
                                  .key = avow_bytes_make("marker", 6),
                                  .value = avow_buf_bytes(&record)};
    rc = avow_bus_send(r->ctx->markers, &rec, err);
    r->ctx->counters.markers++;
    if (rc == AVOW_BUS_FATAL)
        return rc;
    if (rc) /* not acknowledged, so the service clock stands still until one is */
        avow_log_limited(WARN, "marker_not_sent", 12, AVOW_KV_I64("partition", r->partition),
                         AVOW_KV_ERR(err));
    return AVOW_OK;
}

static enum avow_rc ring(struct avow_runner *r, struct avow_err *err)
{
    struct avow_marker marker = {.key = AVOW_STR_LIT("marker"),
                                 .partition = r->partition,
                                 .bundle_version = avow_trust_bundle(r->ctx->trust)->version,
                                 .owner = avow_str_from(r->ctx->owner)};
    enum avow_rc rc =
        r->ctx->clock.random(r->ctx->clock.arg, marker.nonce, sizeof marker.nonce, err);
    if (rc)
        return rc;
    struct avow_epoch_bell_ring in = {.unix_ms = AVOW_WORKER_NOW(r->ctx),
                                      .mono_ms = AVOW_WORKER_MONO(r->ctx),
                                      .ready = r->serving,
                                      .caught_up = caught_up(r),
                                      .nonce = marker.nonce};
    struct avow_epoch_bell_marker out;
    avow_epoch_bell_ring(&r->bell, &in, &out);
    if (out.gap_ms)
        avow_log(WARN, "service_gap", AVOW_KV_I64("partition", r->partition),
                 AVOW_KV_U64("gap_ms", out.gap_ms));
    memcpy(marker.fleet, avow_trust_bundle(r->ctx->trust)->fleet, sizeof marker.fleet);
    marker.epoch = out.epoch;
    marker.issued_ms = out.issued_ms;
    marker.service_ms = out.service_ms;
    marker.ticking = out.ticking;
    avow_log(DEBUG, "marker", AVOW_KV_I64("partition", r->partition),
             AVOW_KV_U64("epoch", out.epoch), AVOW_KV_U64("service_ms", out.service_ms),
             AVOW_KV_BOOL("ticking", out.ticking));
    return publish(r, &marker, err);
}

static void check_health(struct avow_runner *r)
{
    enum avow_epoch_bell_health now =
        avow_epoch_bell_check(&r->bell, AVOW_WORKER_NOW(r->ctx), AVOW_WORKER_MONO(r->ctx));
    if (now == r->health)
        return;
    r->health = now;
    if (now == AVOW_EPOCH_BELL_HEALTHY)
        avow_log(INFO, "clock_healthy", AVOW_KV_I64("partition", r->partition));
    else
        avow_log(ERROR, "unhealthy", AVOW_KV_STR("cause", "clock"),
                 AVOW_KV_STR("detail", avow_epoch_bell_health_text(now)),
                 AVOW_KV_I64("partition", r->partition),
                 AVOW_KV_STR("consequence", "no markers and no appraisal until the clock agrees"));
}

/* --- Silence --- */

struct due_list {
    struct avow_agent **agents;
    size_t count, cap;
};

static struct avow_agent *agent_of(struct avow_deadline *d)
{
    return (struct avow_agent *)(void *)((char *)d - offsetof(struct avow_agent, due));
}

/* Takes everything that is due out of the heap, the ones that would fall silent first. */
static enum avow_rc take_due(struct avow_runner *r, const struct avow_step_env *env,
                             struct due_list *list, size_t *crossing, struct avow_err *err)
{
    struct avow_deadline *d;
    while ((d = avow_deadlines_due(&r->deadlines, env->service_ms))) {
        if (list->count == list->cap) {
            size_t cap = list->cap ? list->cap * 2 : 256;
            struct avow_agent **grown = realloc(list->agents, cap * sizeof *grown);
            if (!grown)
                return avow_err_set(err, AVOW_NOMEM, 0, "due agents");
            list->agents = grown;
            list->cap = cap;
        }
        avow_deadlines_remove(&r->deadlines, d);
        struct avow_agent *a = agent_of(d);
        bool silent;
        list->agents[list->count++] = a;
        enum avow_rc rc =
            avow_worker_step_would_fall_silent(env, a, &r->ctx->timer_arena, &silent, err);
        avow_arena_reset(&r->ctx->timer_arena);
        if (rc)
            return rc;
        if (silent) {
            list->agents[list->count - 1] = list->agents[*crossing];
            list->agents[(*crossing)++] = a;
        }
    }
    return AVOW_OK;
}

static void mass_alarm(struct avow_runner *r, size_t crossing)
{
    char detail[AVOW_ALARM_DETAIL_MAX];
    uint8_t what[12];
    avow_put_u64be(what, r->bell.service_ms);
    avow_put_u32be(what + 8, (uint32_t)r->partition);
    (void)snprintf(detail, sizeof detail,
                   "partition %d: %zu of %zu agents would fall silent at once; they are held",
                   (int)r->partition, crossing, r->views.watched);
    avow_runner_alarm(r, NULL, "fleet.mass_silence", AVOW_BYTES_OF(what), detail);
}

/* Still due, because it was held, is paused or found no room: looked at again with the next marker.
 */
static enum avow_rc put_back(struct avow_runner *r, struct avow_agent *a, struct avow_err *err)
{
    enum avow_rc rc = avow_runner_deadline(r, a, err);
    if (!rc && a->due.place && a->due.due_service_ms <= r->bell.service_ms)
        rc = avow_deadlines_set(&r->deadlines, &a->due, r->bell.service_ms + 1, err);
    return rc;
}

/* Whatever happens, every agent of the list is in the heap again at the end. */
static enum avow_rc act_on(struct avow_runner *r, const struct due_list *list, size_t crossing,
                           size_t allowed, struct avow_err *err)
{
    enum avow_rc first = AVOW_OK;
    for (size_t i = 0; i < list->count; i++) {
        struct avow_agent *a = list->agents[i];
        bool held = i < crossing && i >= allowed;
        struct avow_err own;
        enum avow_rc rc = AVOW_OK;
        if (!held && !first && !avow_batch_is_full(r->ctx->batch))
            rc = avow_runner_review_now(r, a, i < crossing, &own);
        enum avow_rc back = put_back(r, a, rc ? &(struct avow_err){0} : &own);
        rc = rc ? rc : back;
        if (rc && !first) {
            first = rc;
            *err = own;
        }
    }
    return first;
}

static enum avow_rc look_for_silence(struct avow_runner *r, struct avow_err *err)
{
    struct due_list list = {0};
    size_t crossing = 0;
    struct avow_step_env env = {.bundle = avow_trust_bundle(r->ctx->trust),
                                .unix_ms = AVOW_WORKER_NOW(r->ctx),
                                .service_ms = r->bell.service_ms};
    r->guard_mono_ms = AVOW_WORKER_MONO(r->ctx);
    enum avow_rc rc = take_due(r, &env, &list, &crossing, err);
    if (!rc) { /* without memory the process ends anyway */
        struct avow_mass_guard_in in = {.crossing = crossing,
                                        .agents = r->views.watched,
                                        .service_ms = r->bell.service_ms,
                                        .mono_ms = r->guard_mono_ms,
                                        .silent_after_ms = env.bundle->silent_after_ms};
        struct avow_mass_guard_out out;
        avow_mass_guard_ask(&r->guard, &in, &out);
        if (out.alarm)
            mass_alarm(r, crossing);
        rc = act_on(r, &list, crossing, out.allowed, err);
    }
    free(list.agents);
    return rc;
}

enum avow_rc avow_runner_clock_tick(struct avow_runner *r, struct avow_err *err)
{
    check_health(r);
    if (r->health != AVOW_EPOCH_BELL_HEALTHY)
        return AVOW_OK;
    bool rang = avow_epoch_bell_due(&r->bell, AVOW_WORKER_NOW(r->ctx));
    enum avow_rc rc = rang ? ring(r, err) : AVOW_OK;
    if (rc)
        return rc;
    bool releasing =
        r->guard.releasing && AVOW_WORKER_MONO(r->ctx) - r->guard_mono_ms >= RELEASE_EVERY_MS;
    return (rang && r->bell.ticking) || releasing ? look_for_silence(r, err) : AVOW_OK;
}
