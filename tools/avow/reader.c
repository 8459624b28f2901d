#include "reader.h"

#include "avow/base/clock.h"
#include "avow/base/rate.h"
#include "trust_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "avow/base/banned.h"

#define METADATA_TIMEOUT_MS 8000u
#define STALL_MS 20000u /* without a record and without an end */
#define POLL_MS 100u
#define PARTITIONS_MAX 512u     /* PROTOCOL B6 */
#define TROUBLE_EVERY_MS 30000u /* how often a lasting fault is said again */
#define PROBE_AFTER_MS 5000u    /* of silence: is the broker there at all? */
#define PROBE_TIMEOUT_MS 1500u

struct avow_reader {
    struct avow_bus_consumer *consumer; /* owned */
    char topic[AVOW_TOPIC_NAME_MAX];
    char trust_topic[AVOW_TOPIC_NAME_MAX]; /* "" when reading to the end only */
    struct avow_bus_tp tps[PARTITIONS_MAX + 1];
    int64_t ends[PARTITIONS_MAX + 1]; /* 0: nothing to wait for */
    size_t count;                     /* without trust */
};

void avow_reader_free(struct avow_reader *r)
{
    if (!r)
        return;
    avow_bus_consumer_free(r->consumer);
    free(r);
}

/* Topics that have one count of partitions whatever the bundle says. */
static bool has_own_count(const char *base)
{
    return avow_cstr_eq(base, "trust") || avow_cstr_eq(base, "policies") ||
           avow_cstr_eq(base, "deadletter");
}

static enum avow_rc count_partitions(struct avow_cli *cli, const char *base, const char *topic,
                                     uint32_t *out, struct avow_err *err)
{
    enum avow_rc rc = avow_cli_bus(cli, err);
    if (!rc)
        rc = avow_bus_partition_count(cli->bus, topic, METADATA_TIMEOUT_MS, out, err);
    if (rc == AVOW_NOTFOUND) {
        avow_cli_hint(cli,
                      "`avow topics apply` creates the topics; is topic.prefix (now '%s') "
                      "right?",
                      avow_conf_str(cli->conf, "topic", "prefix"));
        return avow_err_set(err, AVOW_STATE, 0, "topic %s does not exist", topic);
    }
    if (rc)
        return rc;
    /* A key's partition follows from the count: with another one, records are looked for where
     * nobody writes them (PROTOCOL R23). */
    if (cli->trust && !has_own_count(base) && *out != avow_trust_bundle(cli->trust)->partitions) {
        avow_cli_hint(cli, "`avow topics check` shows which topics differ");
        return avow_err_set(err, AVOW_CONFIG, 0, "topic %s has %u partitions, the bundle says %u",
                            topic, *out, avow_trust_bundle(cli->trust)->partitions);
    }
    if (*out > PARTITIONS_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "topic %s has %u partitions, more than %u", topic,
                            *out, PARTITIONS_MAX);
    return AVOW_OK;
}

static void choose_partitions(struct avow_reader *r, const char *key, uint32_t partitions)
{
    struct avow_str k = avow_str_from(key);
    r->count = 0;
    for (uint32_t i = 0; i < partitions; i++)
        if (!key || avow_bus_partition_of(avow_bytes_make(k.ptr, k.len), partitions) == (int32_t)i)
            r->tps[r->count++] = (struct avow_bus_tp){r->topic, (int32_t)i, AVOW_BUS_BEGINNING};
}

static enum avow_rc find_ends(struct avow_reader *r, struct avow_err *err)
{
    for (size_t i = 0; i < r->count; i++) {
        int64_t low = 0;
        enum avow_rc rc = avow_bus_watermarks(r->consumer, r->topic, r->tps[i].partition,
                                              METADATA_TIMEOUT_MS, &low, &r->ends[i], err);
        if (rc)
            return rc;
        if (r->ends[i] <= low)
            r->ends[i] = 0;
    }
    return AVOW_OK;
}

/* A consumer for the topic, with its ends known and nothing assigned yet. */
static enum avow_rc reader_new(struct avow_cli *cli, const char *base, const char *key,
                               struct avow_reader **out, struct avow_err *err)
{
    uint32_t partitions = 0;
    AVOW_CLEANUP(avow_reader_free) struct avow_reader *r = calloc(1, sizeof *r);
    if (!r)
        return avow_err_set(err, AVOW_NOMEM, 0, "reader");
    avow_cli_topic(cli, base, r->topic);
    enum avow_rc rc = count_partitions(cli, base, r->topic, &partitions, err);
    if (rc)
        return rc;
    choose_partitions(r, key, partitions);
    struct avow_bus_consumer_opts opts = {.isolation = AVOW_BUS_READ_COMMITTED,
                                          .on_mock = cli->on_mock};
    rc = avow_bus_consumer_new(cli->bus, &opts, &r->consumer, err);
    if (!rc)
        rc = find_ends(r, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(r);
    return AVOW_OK;
}

/* --- To the present end --- */

static enum avow_rc is_done(struct avow_reader *r, bool *done, struct avow_err *err)
{
    *done = true;
    for (size_t i = 0; i < r->count && *done; i++) {
        int64_t position = 0;
        if (r->ends[i] == 0)
            continue;
        enum avow_rc rc =
            avow_bus_position(r->consumer, r->topic, r->tps[i].partition, &position, err);
        if (rc)
            return rc;
        *done = position >= r->ends[i];
    }
    return AVOW_OK;
}

/* The log begins later than where we were: retention was faster. */
static enum avow_rc skip_deleted(struct avow_reader *r, const struct avow_err *why,
                                 struct avow_err *err)
{
    struct avow_bus_tp tp = {r->topic, (int32_t)why->native, AVOW_BUS_BEGINNING};
    avow_cli_note("warning: %s: records were deleted before they were read", why->msg);
    return avow_bus_seek(r->consumer, &tp, err);
}

static enum avow_rc read_to_end(struct avow_reader *r, avow_reader_fn fn, void *arg,
                                struct avow_err *err)
{
    struct avow_err trouble = {.rc = AVOW_OK, .msg = ""};
    uint64_t deadline = avow_clock_mono_ms() + STALL_MS;
    for (;;) {
        bool done = false;
        struct avow_bus_msg msg = {.topic = NULL};
        enum avow_rc rc = is_done(r, &done, err);
        if (rc || done)
            return rc;
        if (avow_clock_mono_ms() > deadline)
            return avow_err_set(err, AVOW_UNREACHABLE, 0, "reading %s: nothing came for %u s%s%s",
                                r->topic, STALL_MS / 1000u, trouble.msg[0] ? ": " : "",
                                trouble.msg);
        rc = avow_bus_poll(r->consumer, POLL_MS, &msg, &trouble);
        if (rc == AVOW_BUS)
            continue; /* the client tries on; the deadline bounds it */
        if (rc == AVOW_NOTFOUND)
            rc = skip_deleted(r, &trouble, err);
        else if (rc)
            *err = trouble;
        if (!rc && msg.topic) {
            deadline = avow_clock_mono_ms() + STALL_MS;
            rc = fn(arg, &msg, err);
        }
        if (rc)
            return rc == AVOW_STATE ? AVOW_OK : rc;
    }
}

enum avow_rc avow_read_topic(struct avow_cli *cli, const char *base, const char *key,
                             avow_reader_fn fn, void *arg, struct avow_err *err)
{
    AVOW_CLEANUP(avow_reader_free) struct avow_reader *r = NULL;
    enum avow_rc rc = reader_new(cli, base, key, &r, err);
    if (!rc)
        rc = avow_bus_assign(r->consumer, r->tps, r->count, err);
    return rc ? rc : read_to_end(r, fn, arg, err);
}

enum avow_rc avow_reader_at_home(const struct avow_cli *cli, const struct avow_bus_msg *msg,
                                 struct avow_err *err)
{
    int32_t home = avow_bus_partition_of(msg->key, avow_trust_bundle(cli->trust)->partitions);
    if (msg->partition == home)
        return AVOW_OK;
    return avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_PARTITION,
                        "read from partition %" PRId32 ", but its key belongs to %" PRId32,
                        msg->partition, home);
}

/* --- On and on --- */

enum avow_rc avow_reader_open(struct avow_cli *cli, const struct avow_reader_opts *opts,
                              struct avow_reader **out, struct avow_err *err)
{
    AVOW_CLEANUP(avow_reader_free) struct avow_reader *r = NULL;
    enum avow_rc rc = reader_new(cli, opts->base, opts->key, &r, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < r->count && !opts->from_start; i++)
        if (r->ends[i])
            r->tps[i].offset = r->ends[i];
    /* Keys may be exchanged while we follow (PROTOCOL B5): the bundle is followed, too. */
    avow_cli_topic(cli, "trust", r->trust_topic);
    r->tps[r->count] = (struct avow_bus_tp){r->trust_topic, 0, AVOW_BUS_BEGINNING};
    rc = avow_bus_assign(r->consumer, r->tps, r->count + 1, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(r);
    return AVOW_OK;
}

struct following {
    struct avow_cli *cli;
    struct avow_reader *reader;
    const struct avow_follow *f;
    struct avow_rate trouble;
    uint64_t quiet_since_ms;
    bool away; /* the broker did not answer, and it was said */
};

/* A broker that is gone and a topic on which nothing happens look the same to a consumer. */
static void probe(struct following *g)
{
    int64_t low, high;
    struct avow_err why;
    struct avow_reader *r = g->reader;
    if (avow_clock_mono_ms() - g->quiet_since_ms < PROBE_AFTER_MS)
        return;
    enum avow_rc rc = avow_bus_watermarks(r->consumer, r->topic, r->tps[0].partition,
                                          PROBE_TIMEOUT_MS, &low, &high, &why);
    g->quiet_since_ms = avow_clock_mono_ms();
    if (rc && avow_rate_take(&g->trouble, g->quiet_since_ms))
        avow_cli_note("Kafka does not answer: %s; waiting", why.msg);
    if (!rc && g->away)
        avow_cli_note("Kafka answers again");
    g->away = rc != AVOW_OK;
}

static enum avow_rc follow_once(struct following *g, struct avow_err *err)
{
    struct avow_bus_msg msg = {.topic = NULL};
    struct avow_err why;
    enum avow_rc rc = avow_bus_poll(g->reader->consumer, POLL_MS, &msg, &why);
    if (rc == AVOW_BUS) {
        if (avow_rate_take(&g->trouble, avow_clock_mono_ms()))
            avow_cli_note("Kafka: %s; waiting", why.msg);
        return AVOW_OK;
    }
    if (rc == AVOW_NOTFOUND)
        return skip_deleted(g->reader, &why, err);
    if (rc) {
        *err = why;
        return rc;
    }
    if (!msg.topic) {
        probe(g);
        return AVOW_OK;
    }
    g->quiet_since_ms = avow_clock_mono_ms();
    if (avow_cstr_eq(msg.topic, g->reader->trust_topic)) {
        avow_cli_trust_offer(g->cli, &msg);
        return AVOW_OK;
    }
    return g->f->fn(g->f->arg, &msg, err);
}

enum avow_rc avow_reader_follow(struct avow_cli *cli, struct avow_reader *r,
                                const struct avow_follow *f, struct avow_err *err)
{
    uint64_t start = avow_clock_mono_ms();
    struct following g = {.cli = cli, .reader = r, .f = f, .quiet_since_ms = start};
    enum avow_rc rc = AVOW_OK;
    avow_rate_init(&g.trouble, 1, TROUBLE_EVERY_MS, start);
    avow_stop_install();
    while (!rc && !avow_stop_requested() && !ferror(stdout) && !avow_cli_reader_left()) {
        if (f->timeout_ms && avow_clock_mono_ms() - start > f->timeout_ms)
            return avow_err_set(err, AVOW_TIMEOUT, 0, "nothing within %" PRIu64 " s",
                                f->timeout_ms / 1000);
        rc = follow_once(&g, err);
        if (!rc && f->idle)
            rc = f->idle(f->arg, err);
    }
    return rc == AVOW_STATE ? AVOW_OK : rc;
}
