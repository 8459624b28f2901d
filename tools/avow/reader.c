#include "reader.h"

#include "avow/base/clock.h"

#include <stdlib.h>

#include "avow/base/banned.h"

#define METADATA_TIMEOUT_MS 8000u
#define READ_TIMEOUT_MS 60000u
#define POLL_MS 100u
#define PARTITIONS_MAX 512u /* PROTOCOL B6 */

struct reading {
    struct avow_bus_consumer *consumer;
    char topic[AVOW_TOPIC_NAME_MAX];
    struct avow_bus_tp tps[PARTITIONS_MAX];
    size_t count;
};

static enum avow_rc reading_open(struct avow_cli *cli, const char *base, const char *key,
                                 int64_t offset, struct reading *r, struct avow_err *err)
{
    enum avow_rc rc = avow_cli_bus(cli, err);
    if (rc)
        return rc;
    avow_cli_topic(cli, base, r->topic);
    uint32_t partitions = 0;
    rc = avow_bus_partition_count(cli->bus, r->topic, METADATA_TIMEOUT_MS, &partitions, err);
    if (rc == AVOW_NOTFOUND)
        return avow_err_set(err, rc, 0, "topic %s does not exist: run `avow topics apply` first",
                            r->topic);
    if (rc)
        return rc;
    if (partitions > PARTITIONS_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "topic %s has %u partitions, more than %u",
                            r->topic, partitions, PARTITIONS_MAX);
    r->count = 0;
    for (uint32_t i = 0; i < partitions; i++) {
        bool wanted = !key || avow_bus_partition_of(avow_bytes_make(key, avow_str_from(key).len),
                                                    partitions) == (int32_t)i;
        if (wanted)
            r->tps[r->count++] = (struct avow_bus_tp){r->topic, (int32_t)i, offset};
    }
    struct avow_bus_consumer_opts opts = {.isolation = AVOW_BUS_READ_COMMITTED,
                                          .on_mock = cli->on_mock};
    rc = avow_bus_consumer_new(cli->bus, &opts, &r->consumer, err);
    return rc ? rc : avow_bus_assign(r->consumer, r->tps, r->count, err);
}

static enum avow_rc reading_ends(struct reading *r, int64_t *ends, struct avow_err *err)
{
    for (size_t i = 0; i < r->count; i++) {
        int64_t low = 0;
        enum avow_rc rc = avow_bus_watermarks(r->consumer, r->topic, r->tps[i].partition,
                                              METADATA_TIMEOUT_MS, &low, &ends[i], err);
        if (rc)
            return rc;
        if (ends[i] <= low)
            ends[i] = 0; /* nothing to wait for */
    }
    return AVOW_OK;
}

static enum avow_rc reading_done(struct reading *r, const int64_t *ends, bool *done,
                                 struct avow_err *err)
{
    *done = true;
    for (size_t i = 0; i < r->count && *done; i++) {
        int64_t position = 0;
        if (ends[i] == 0)
            continue;
        enum avow_rc rc =
            avow_bus_position(r->consumer, r->topic, r->tps[i].partition, &position, err);
        if (rc)
            return rc;
        *done = position >= ends[i];
    }
    return AVOW_OK;
}

static enum avow_rc read_to(struct reading *r, const int64_t *ends, avow_reader_fn fn, void *arg,
                            struct avow_err *err)
{
    uint64_t deadline = avow_clock_mono_ms() + READ_TIMEOUT_MS;
    for (;;) {
        bool done = false;
        enum avow_rc rc = reading_done(r, ends, &done, err);
        if (rc || done)
            return rc;
        if (avow_clock_mono_ms() > deadline)
            return avow_err_set(err, AVOW_UNREACHABLE, 0, "reading %s took more than %u s",
                                r->topic, READ_TIMEOUT_MS / 1000u);
        struct avow_bus_msg msg;
        rc = avow_bus_poll(r->consumer, POLL_MS, &msg, err);
        if (rc == AVOW_BUS)
            continue; /* a broker-side hiccup: the deadline bounds it */
        if (rc)
            return rc;
        if (msg.topic)
            rc = fn(arg, &msg, err);
        if (rc)
            return rc == AVOW_STATE ? AVOW_OK : rc;
    }
}

enum avow_rc avow_read_topic(struct avow_cli *cli, const char *base, const char *key,
                             avow_reader_fn fn, void *arg, struct avow_err *err)
{
    struct reading r = {.consumer = NULL};
    int64_t ends[PARTITIONS_MAX];
    enum avow_rc rc = reading_open(cli, base, key, AVOW_BUS_BEGINNING, &r, err);
    if (!rc)
        rc = reading_ends(&r, ends, err);
    if (!rc)
        rc = read_to(&r, ends, fn, arg, err);
    avow_bus_consumer_free(r.consumer);
    return rc;
}

enum avow_rc avow_follow_topic(struct avow_cli *cli, const struct avow_follow *f,
                               struct avow_err *err)
{
    struct reading r = {.consumer = NULL};
    enum avow_rc rc = reading_open(cli, f->base, f->key,
                                   f->from_start ? AVOW_BUS_BEGINNING : AVOW_BUS_END, &r, err);
    uint64_t start = avow_clock_mono_ms();
    avow_stop_install();
    while (!rc && !avow_stop_requested()) {
        struct avow_bus_msg msg;
        if (f->timeout_ms && avow_clock_mono_ms() - start > f->timeout_ms) {
            rc = avow_err_set(err, AVOW_TIMEOUT, 0, "nothing within %llu s",
                              (unsigned long long)(f->timeout_ms / 1000));
            break;
        }
        rc = avow_bus_poll(r.consumer, POLL_MS, &msg, err);
        if (rc == AVOW_BUS)
            rc = AVOW_OK; /* the client reconnects by itself */
        else if (!rc && msg.topic)
            rc = f->fn(f->arg, &msg, err);
    }
    avow_bus_consumer_free(r.consumer);
    return rc == AVOW_STATE ? AVOW_OK : rc;
}
