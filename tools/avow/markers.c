#include "markers.h"

#include "avow/base/clock.h"
#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "trust_view.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define TAIL 500 /* records per partition: directives stand between the markers */
#define METADATA_TIMEOUT_MS 8000u
#define READ_MS 15000u
#define POLL_MS 100u

struct marker_reading {
    struct avow_cli *cli;
    struct avow_markers *m;
    struct avow_bus_consumer *consumer; /* owned */
    struct avow_arena arena;
    struct avow_bus_tp *tps; /* owned */
    int64_t *ends;           /* owned; 0: nothing to wait for */
    char topic[AVOW_TOPIC_NAME_MAX];
};

void avow_markers_deinit(struct avow_markers *m)
{
    free(m->of);
    *m = (struct avow_markers){.count = 0};
}

static enum avow_rc find_tails(struct marker_reading *r, struct avow_err *err)
{
    for (size_t i = 0; i < r->m->count; i++) {
        int64_t low = 0, high = 0;
        enum avow_rc rc = avow_bus_watermarks(r->consumer, r->topic, (int32_t)i,
                                              METADATA_TIMEOUT_MS, &low, &high, err);
        if (rc)
            return rc;
        r->ends[i] = high > low ? high : 0;
        int64_t from = high - TAIL > low ? high - TAIL : low;
        r->tps[i] = (struct avow_bus_tp){r->topic, (int32_t)i, from};
    }
    return avow_bus_assign(r->consumer, r->tps, r->m->count, err);
}

static void take(struct marker_reading *r, const struct avow_bus_msg *msg)
{
    struct avow_marker marker;
    struct avow_err why;
    struct avow_str key = {(const char *)msg->key.ptr, msg->key.len};
    if (msg->value_null || msg->partition < 0 || (size_t)msg->partition >= r->m->count ||
        !avow_str_is(key, "marker"))
        return;
    avow_arena_reset(&r->arena);
    struct avow_record_in in = {
        .kafka_key = msg->key, .value = msg->value, .partition = msg->partition};
    if (avow_open_marker(r->cli->trust, &in, &r->arena, &marker, &why)) {
        r->m->refused++;
        return;
    }
    struct avow_marker_view *v = &r->m->of[msg->partition];
    if (v->found && marker.epoch < v->epoch)
        return;
    *v = (struct avow_marker_view){.found = true,
                                   .epoch = marker.epoch,
                                   .issued_ms = marker.issued_ms,
                                   .bundle_version = marker.bundle_version,
                                   .append_ms =
                                       msg->timestamp_is_append ? (uint64_t)msg->timestamp_ms : 0};
    memcpy(v->key_id, marker.proof, sizeof v->key_id);
}

static enum avow_rc at_ends(struct marker_reading *r, bool *done, struct avow_err *err)
{
    *done = true;
    for (size_t i = 0; i < r->m->count && *done; i++) {
        int64_t position = 0;
        if (!r->ends[i])
            continue;
        enum avow_rc rc = avow_bus_position(r->consumer, r->topic, (int32_t)i, &position, err);
        if (rc)
            return rc;
        *done = position >= r->ends[i];
    }
    return AVOW_OK;
}

static enum avow_rc read_tails(struct marker_reading *r, struct avow_err *err)
{
    uint64_t deadline = avow_clock_mono_ms() + READ_MS;
    for (;;) {
        bool done = false;
        struct avow_bus_msg msg = {.topic = NULL};
        enum avow_rc rc = at_ends(r, &done, err);
        if (rc || done)
            return rc;
        if (avow_clock_mono_ms() > deadline)
            return avow_err_set(err, AVOW_UNREACHABLE, 0, "reading %s: not done within %u s",
                                r->topic, READ_MS / 1000u);
        rc = avow_bus_poll(r->consumer, POLL_MS, &msg, err);
        if (rc == AVOW_OK && msg.topic)
            take(r, &msg);
        else if (rc && rc != AVOW_BUS) /* after that the client tries on; the deadline bounds it */
            return rc;
    }
}

static enum avow_rc begin(struct marker_reading *r, struct avow_err *err)
{
    uint32_t there = 0;
    enum avow_rc rc =
        avow_bus_partition_count(r->cli->bus, r->topic, METADATA_TIMEOUT_MS, &there, err);
    if (rc == AVOW_NOTFOUND)
        return avow_err_set(err, AVOW_STATE, 0, "topic %s does not exist", r->topic);
    if (rc)
        return rc;
    uint32_t named = avow_trust_bundle(r->cli->trust)->partitions;
    r->m->count = there < named ? there : named;
    r->m->of = calloc(r->m->count + 1, sizeof *r->m->of);
    r->tps = calloc(r->m->count + 1, sizeof *r->tps);
    r->ends = calloc(r->m->count + 1, sizeof *r->ends);
    if (!r->m->of || !r->tps || !r->ends)
        return avow_err_set(err, AVOW_NOMEM, 0, "markers");
    struct avow_bus_consumer_opts opts = {.isolation = AVOW_BUS_READ_UNCOMMITTED,
                                          .on_mock = r->cli->on_mock};
    return avow_bus_consumer_new(r->cli->bus, &opts, &r->consumer, err);
}

enum avow_rc avow_markers_read(struct avow_cli *cli, struct avow_markers *m, struct avow_err *err)
{
    struct marker_reading r = {.cli = cli, .m = m};
    *m = (struct avow_markers){.count = 0};
    enum avow_rc rc = avow_cli_trust(cli, err);
    if (rc)
        return rc;
    avow_cli_topic(cli, "epochs", r.topic);
    avow_arena_init(&r.arena, AVOW_WIRE_ARENA_MAX);
    rc = begin(&r, err);
    if (!rc)
        rc = find_tails(&r, err);
    if (!rc)
        rc = read_tails(&r, err);
    avow_bus_consumer_free(r.consumer);
    avow_arena_deinit(&r.arena);
    free(r.tps);
    free(r.ends);
    return rc;
}
