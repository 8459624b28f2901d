#define _GNU_SOURCE /* getpid */
#include "world.h"

#include "avow/base/clock.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define QUIET_MS 300u /* how long nothing must come for "nothing more" */

struct world world;

struct avow_bus *world_bus(void)
{
    struct avow_bus *b = NULL;
    if (world.kafka) {
        struct avow_bus_property kv = {"bootstrap.servers", world.bootstrap};
        assert_rc(AVOW_OK, avow_bus_kafka_new(&kv, 1, "bus-test", &b, ERR));
    } else {
        assert_rc(AVOW_OK, avow_bus_mem_new(world.mem, &b, ERR));
    }
    return b;
}

bool world_open(const char *bootstrap)
{
    struct avow_err err = {0};
    world = (struct world){.kafka = bootstrap != NULL, .bootstrap = bootstrap};
    if (!world.kafka && avow_bus_mem_broker_new(&world.mem, &err))
        return false;
    world.bus = world_bus();
    return true;
}

void world_close(void)
{
    avow_bus_free(world.bus);
    avow_bus_mem_broker_free(world.mem);
}

void world_name(char out[64], const char *base)
{
    (void)snprintf(out, 64, "%s-%d-%u", base, (int)getpid(), world.cases++);
}

void world_topic(uint32_t partitions, const struct avow_bus_property *kv, size_t n)
{
    world_name(world.topic, "bus");
    struct avow_bus_topic_spec spec = {.name = world.topic,
                                       .partitions = partitions,
                                       .replication = -1,
                                       .config = kv,
                                       .n_config = n};
    assert_rc(AVOW_OK, avow_bus_topic_create(world.bus, &spec, WAIT_MS, ERR));
}

/* The bus has no such request, for no program needs it. */
static void kafka_delete_before(int32_t partition, int64_t offset)
{
    char text[200];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", world.bootstrap, text, sizeof(text));
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    assert_non_null(rk);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, world.topic, partition)->offset = offset;
    rd_kafka_DeleteRecords_t *request = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(rk, &request, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, (int)WAIT_MS);
    assert_non_null(event);
    assert_int_equal(rd_kafka_event_error(event), 0);
    const rd_kafka_topic_partition_list_t *done =
        rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event));
    assert_int_equal(done->elems[0].err, 0);
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteRecords_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
}

void world_delete_before(int32_t partition, int64_t offset)
{
    if (world.kafka)
        kafka_delete_before(partition, offset);
    else
        avow_bus_mem_delete_before(world.mem, world.topic, partition, offset);
}

/* --- Producers and readers --- */

struct avow_bus_producer *producer(const char *transactional_id)
{
    const char *topics[] = {world.topic};
    struct avow_bus_producer_opts opts = {.transactional_id = transactional_id,
                                          .txn_timeout_ms = transactional_id ? 30000 : 0,
                                          .topics = topics,
                                          .n_topics = 1};
    struct avow_bus_producer *p = NULL;
    assert_rc(AVOW_OK, avow_bus_producer_new(world.bus, &opts, &p, ERR));
    return p;
}

struct avow_bus_consumer *reader(enum avow_bus_isolation isolation, int32_t partition, int64_t from)
{
    struct avow_bus_consumer_opts opts = {.isolation = isolation};
    struct avow_bus_consumer *c = NULL;
    assert_rc(AVOW_OK, avow_bus_consumer_new(world.bus, &opts, &c, ERR));
    struct avow_bus_tp tp = {world.topic, partition, from};
    assert_rc(AVOW_OK, avow_bus_assign(c, &tp, 1, ERR));
    return c;
}

void put(struct avow_bus_producer *p, int32_t partition, const char *value)
{
    struct avow_bus_record rec = {.topic = world.topic,
                                  .partition = partition,
                                  .key = avow_bytes_make(value, strlen(value)),
                                  .value = avow_bytes_make(value, strlen(value))};
    assert_rc(AVOW_OK, avow_bus_send(p, &rec, ERR));
    /* Flushing inside a transaction is fine too: the records are there, but not committed. */
    assert_rc(AVOW_OK, avow_bus_flush(p, WAIT_MS, ERR));
}

enum avow_rc poll_quietly(struct avow_bus_consumer *c, struct avow_bus_msg *msg,
                          struct avow_err *err)
{
    enum avow_rc rc = avow_bus_poll(c, 50, msg, err);
    if (rc != AVOW_BUS)
        return rc;
    *msg = (struct avow_bus_msg){0};
    return AVOW_OK;
}

/* bus_mem never waits, so a few empty polls are enough there. */
static bool time_is_up(uint64_t start, uint64_t limit_ms, unsigned polls)
{
    return world.kafka ? avow_clock_mono_ms() - start > limit_ms : polls > 20;
}

void expect_values(struct avow_bus_consumer *c, size_t n, const char *const *values)
{
    struct avow_bus_msg msg;
    size_t got = 0;
    uint64_t start = avow_clock_mono_ms();
    for (unsigned polls = 0; got < n && !time_is_up(start, WAIT_MS, polls); polls++) {
        assert_rc(AVOW_OK, poll_quietly(c, &msg, ERR));
        if (!msg.topic)
            continue;
        if (!avow_bytes_eq(msg.value, avow_bytes_make(values[got], strlen(values[got]))))
            fail_msg("value %zu is \"%.*s\", not \"%s\"", got, (int)msg.value.len,
                     (const char *)msg.value.ptr, values[got]);
        got++;
        polls = 0;
    }
    if (got < n)
        fail_msg("%zu of %zu values came", got, n);
    start = avow_clock_mono_ms();
    for (unsigned polls = 0; !time_is_up(start, QUIET_MS, polls); polls++) {
        assert_rc(AVOW_OK, poll_quietly(c, &msg, ERR));
        if (msg.topic)
            fail_msg("unexpected value \"%.*s\"", (int)msg.value.len, (const char *)msg.value.ptr);
    }
}

void expect_watermarks(struct avow_bus_consumer *c, int32_t partition, int64_t low, int64_t high)
{
    int64_t have_low = -1;
    int64_t have_high = -1;
    assert_rc(AVOW_OK,
              avow_bus_watermarks(c, world.topic, partition, WAIT_MS, &have_low, &have_high, ERR));
    assert_int_equal(have_low, low);
    assert_int_equal(have_high, high);
}

void expect_position(struct avow_bus_consumer *c, int32_t partition, int64_t offset)
{
    struct avow_bus_msg msg;
    int64_t have = -1;
    uint64_t start = avow_clock_mono_ms();
    for (unsigned polls = 0; have != offset && !time_is_up(start, WAIT_MS, polls); polls++) {
        assert_rc(AVOW_OK, poll_quietly(c, &msg, ERR));
        assert_rc(AVOW_OK, avow_bus_position(c, world.topic, partition, &have, ERR));
    }
    assert_int_equal(have, offset);
}

/* --- Members of a group --- */

static void on_assigned(void *arg, const int32_t *partitions, size_t n)
{
    struct member *m = arg;
    struct avow_bus_tp tps[VALUES_MAX];
    assert_true(n <= VALUES_MAX);
    for (size_t i = 0; i < n; i++)
        tps[i] = (struct avow_bus_tp){world.topic, partitions[i], m->start};
    m->assigned++;
    m->owned = n;
    assert_rc(AVOW_OK, avow_bus_assign(m->c, tps, n, ERR));
}

static void on_revoked(void *arg, const int32_t *partitions, size_t n, bool lost)
{
    struct member *m = arg;
    (void)partitions;
    assert_int_equal(n, m->owned);
    m->revoked++;
    m->lost += lost ? 1 : 0;
    m->owned = 0;
}

void member_open(struct member *m, struct avow_bus *bus, const char *group, const char *instance,
                 unsigned session_ms)
{
    *m = (struct member){.start = AVOW_BUS_BEGINNING};
    struct avow_bus_consumer_opts opts = {.group = group,
                                          .subscribe = world.topic,
                                          .instance_id = instance,
                                          .session_timeout_ms = session_ms,
                                          .rebalance = {m, on_assigned, on_revoked},
                                          .isolation = AVOW_BUS_READ_COMMITTED};
    assert_rc(AVOW_OK, avow_bus_consumer_new(bus, &opts, &m->c, ERR));
}

void member_close(struct member *m)
{
    avow_bus_consumer_free(m->c);
    m->c = NULL;
}

void member_wait(struct member *m, size_t n)
{
    struct avow_bus_msg msg;
    uint64_t start = avow_clock_mono_ms();
    for (unsigned polls = 0; m->owned != n && !time_is_up(start, 2 * WAIT_MS, polls); polls++)
        assert_rc(AVOW_OK, poll_quietly(m->c, &msg, ERR));
    assert_int_equal(m->owned, n);
}
