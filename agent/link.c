#include "link.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define PROBE_MS 1000u
#define FETCH_WAIT_TRUST_MS 250u
#define FETCH_WAIT_MAX_MS 50000u             /* below librdkafka's socket.timeout.ms */
#define QUEUE_MAX_BYTES (2u * 1024u * 1024u) /* one evidence is in flight at most, part by part */
#define SETTLE_MS 50u
#define TOPIC_MAX (AVOW_LINK_PREFIX_MAX + 16u)

struct avow_link {
    struct avow_bus *bus; /* borrowed */
    const char *agent_id; /* borrowed */
    char prefix[AVOW_LINK_PREFIX_MAX + 1];
    char trust[TOPIC_MAX], epochs[TOPIC_MAX], evidence[TOPIC_MAX]; /* names in use */
    bool probed, on_mock;
    int32_t partition; /* -1: not known */
    struct avow_bus_consumer *consumer;
    struct avow_bus_producer *producer;
    char produced_to[TOPIC_MAX]; /* what the producer was opened for */
    bool lost;                   /* records were on their way when the producer was replaced */
};

enum avow_rc avow_link_set_prefix(struct avow_link *l, const char *prefix, struct avow_err *err)
{
    if (!avow_str_copy(l->prefix, sizeof l->prefix, avow_str_from(prefix)))
        return avow_err_set(err, AVOW_CONFIG, 0, "topic prefix of more than %u characters",
                            AVOW_LINK_PREFIX_MAX);
    return AVOW_OK;
}

enum avow_rc avow_link_new(struct avow_bus *bus, const char *prefix, const char *agent_id,
                           struct avow_link **out, struct avow_err *err)
{
    AVOW_CLEANUP(avow_link_free) struct avow_link *l = calloc(1, sizeof *l);
    if (!l)
        return avow_err_set(err, AVOW_NOMEM, 0, "link");
    l->bus = bus;
    l->agent_id = agent_id;
    l->partition = -1;
    enum avow_rc rc = avow_link_set_prefix(l, prefix, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(l);
    return AVOW_OK;
}

void avow_link_free(struct avow_link *l)
{
    if (!l)
        return;
    avow_bus_consumer_free(l->consumer);
    avow_bus_producer_free(l->producer);
    free(l);
}

const char *avow_link_prefix(const struct avow_link *l)
{
    return l->prefix;
}

bool avow_link_following(const struct avow_link *l)
{
    return l->consumer && l->partition >= 0;
}

bool avow_link_on_mock(const struct avow_link *l)
{
    return l->on_mock;
}

int32_t avow_link_partition(const struct avow_link *l)
{
    return l->partition;
}

static void name_topics(struct avow_link *l)
{
    snprintf(l->trust, sizeof l->trust, "%strust", l->prefix);
    snprintf(l->epochs, sizeof l->epochs, "%sepochs", l->prefix);
    snprintf(l->evidence, sizeof l->evidence, "%sevidence", l->prefix);
}

static void close_consumer(struct avow_link *l)
{
    avow_bus_consumer_free(l->consumer);
    l->consumer = NULL;
    l->partition = -1;
}

/* A long wait costs the broker least: markers end it anyway. On the mock cluster a fetch sleeps its
 * whole wait. */
static unsigned fetch_wait_ms(const struct avow_link_plan *plan)
{
    if (!plan->partitions)
        return FETCH_WAIT_TRUST_MS;
    return plan->epoch_ms < FETCH_WAIT_MAX_MS ? plan->epoch_ms : FETCH_WAIT_MAX_MS;
}

static enum avow_rc open_consumer(struct avow_link *l, const struct avow_link_plan *plan,
                                  struct avow_err *err)
{
    const struct avow_bus_consumer_opts opts = {
        /* A dead owner's open transaction must not withhold markers (B3.2). */
        .isolation = AVOW_BUS_READ_UNCOMMITTED,
        .fetch_wait_ms = fetch_wait_ms(plan),
        .on_mock = l->on_mock,
    };
    const struct avow_bytes key = avow_bytes_make(l->agent_id, strlen(l->agent_id));
    int32_t partition = plan->partitions ? avow_bus_partition_of(key, plan->partitions) : -1;
    const struct avow_bus_tp tps[] = {{l->trust, 0, AVOW_BUS_BEGINNING},
                                      {l->epochs, partition, AVOW_BUS_TAIL(AVOW_LINK_TAIL)}};
    enum avow_rc rc = avow_bus_consumer_new(l->bus, &opts, &l->consumer, err);
    if (!rc)
        rc = avow_bus_assign(l->consumer, tps, plan->partitions ? 2 : 1, err);
    if (rc)
        close_consumer(l);
    else
        l->partition = partition;
    return rc;
}

static enum avow_rc open_producer(struct avow_link *l, struct avow_err *err)
{
    const char *const topics[] = {l->evidence};
    const struct avow_bus_producer_opts opts = {
        .topics = topics, .n_topics = 1, .queue_max_bytes = QUEUE_MAX_BYTES};
    l->lost = l->lost || !avow_link_idle(l);
    avow_bus_producer_free(l->producer);
    l->producer = NULL;
    memcpy(l->produced_to, l->evidence, sizeof l->produced_to);
    return avow_bus_producer_new(l->bus, &opts, &l->producer, err);
}

enum avow_rc avow_link_follow(struct avow_link *l, const struct avow_link_plan *plan,
                              struct avow_err *err)
{
    enum avow_rc rc = AVOW_OK;
    close_consumer(l);
    if (!l->probed)
        rc = avow_bus_is_mock(l->bus, PROBE_MS, &l->on_mock, err);
    if (rc)
        return rc;
    avow_bus_rest(l->bus); /* it was the only question */
    l->probed = true;
    name_topics(l);
    rc = open_consumer(l, plan, err);
    bool current = l->producer && avow_cstr_eq(l->produced_to, l->evidence);
    if (!rc && plan->partitions && !current)
        rc = open_producer(l, err);
    if (rc)
        close_consumer(l);
    return rc;
}

enum avow_rc avow_link_poll(struct avow_link *l, unsigned timeout_ms, enum avow_link_kind *kind,
                            struct avow_bus_msg *msg, struct avow_err *err)
{
    *kind = AVOW_LINK_NOTHING;
    enum avow_rc rc = avow_bus_poll(l->consumer, timeout_ms, msg, err);
    if (rc == AVOW_NOTFOUND) /* what we stood at is no longer kept: take what is there */
        return avow_err_set(err, AVOW_STATE, 0, "the position is below the start of the log");
    if (rc || !msg->topic)
        return rc;
    if (avow_cstr_eq(msg->topic, l->trust))
        *kind = AVOW_LINK_TRUST;
    else if (avow_cstr_eq(msg->topic, l->epochs) && msg->partition == l->partition)
        *kind = AVOW_LINK_EPOCHS;
    return AVOW_OK;
}

enum avow_rc avow_link_send(struct avow_link *l, struct avow_bytes record, struct avow_err *err)
{
    assert(l->partition >= 0);
    if (!l->producer) { /* it broke and could not be replaced at once */
        enum avow_rc rc = open_producer(l, err);
        if (rc)
            return rc;
    }
    const struct avow_bus_record rec = {.topic = l->evidence,
                                        .partition = l->partition,
                                        .key = avow_bytes_make(l->agent_id, strlen(l->agent_id)),
                                        .value = record};
    return avow_bus_send(l->producer, &rec, err);
}

bool avow_link_idle(struct avow_link *l)
{
    return !l->producer || avow_bus_in_flight(l->producer) == 0;
}

enum avow_rc avow_link_settle(struct avow_link *l, struct avow_err *err)
{
    if (!l->producer || l->lost) {
        l->lost = false;
        return avow_err_set(err, AVOW_BUS, 0, "the connection was replaced");
    }
    enum avow_rc rc = avow_bus_flush(l->producer, SETTLE_MS, err);
    if (rc != AVOW_BUS_FATAL)
        return rc;
    /* An idempotent producer does not survive a gap in its sequence numbers; a new one has nothing
     * to lose. */
    struct avow_err again = {.rc = AVOW_OK};
    if (open_producer(l, &again))
        *err = again;
    l->lost = false;
    return rc;
}
