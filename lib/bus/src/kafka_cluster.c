#include "kafka.h"

#include "avow/base/clock.h"
#include "avow/base/num.h"

#include <assert.h>

#include "avow/base/banned.h"

/* A consumer that never reads: unlike a producer's, its metadata requests do not create topics. */
static enum avow_rc cluster_handle(struct avow_kafka *k, struct avow_err *err)
{
    if (k->cluster)
        return AVOW_OK;
    AVOW_CLEANUP_VAL(avow_kafka_conf_deinit) struct avow_kafka_conf conf = {NULL};
    enum avow_rc rc = avow_kafka_conf_new(k, RD_KAFKA_CONSUMER, &k->health, &conf, err);
    return rc ? rc : avow_kafka_handle_new(&conf, RD_KAFKA_CONSUMER, &k->cluster, err);
}

static enum avow_rc cluster_unreachable(struct avow_kafka *k, struct avow_err *err,
                                        const char *what)
{
    (void)rd_kafka_poll(k->cluster, 0); /* serves the error callback */
    return avow_kafka_timed_out(&k->health, AVOW_UNREACHABLE, err, "%s", what);
}

static uint64_t left_ms(uint64_t deadline)
{
    uint64_t now = avow_clock_mono_ms();
    return deadline > now ? deadline - now : 0;
}

/* --- Which cluster --- */

enum avow_rc avow_kafka_is_mock(struct avow_bus *b, unsigned timeout_ms, bool *out,
                                struct avow_err *err)
{
    struct avow_kafka *k = (struct avow_kafka *)b;
    enum avow_rc rc = cluster_handle(k, err);
    if (rc)
        return rc;
    uint64_t deadline = avow_clock_mono_ms() + timeout_ms;
    while (k->mock < 0) {
        char *id =
            rd_kafka_clusterid(k->cluster, avow_kafka_ms(avow_min_u64(left_ms(deadline), 100)));
        if (id) {
            k->mock = strncmp(id, "mockCluster", 11) == 0 ? 1 : 0;
            rd_kafka_mem_free(k->cluster, id);
        } else if (left_ms(deadline) == 0) {
            return cluster_unreachable(k, err, "no answer from Kafka");
        }
        (void)rd_kafka_poll(k->cluster, 0);
        /* A refused login is final enough: do not sit out the rest of the time. */
        if (k->mock < 0 && k->health.refused[0])
            return cluster_unreachable(k, err, "no answer from Kafka");
    }
    avow_kafka_health_clear(&k->health);
    *out = k->mock == 1;
    return AVOW_OK;
}

void avow_kafka_rest(struct avow_bus *b)
{
    struct avow_kafka *k = (struct avow_kafka *)b;
    if (k->cluster)
        rd_kafka_destroy(k->cluster);
    k->cluster = NULL;
}

/* --- Topics --- */

static enum avow_rc find_topic(const struct rd_kafka_metadata *md, const char *topic, uint32_t *out,
                               struct avow_err *err)
{
    for (int i = 0; i < md->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *t = &md->topics[i];
        if (!avow_cstr_eq(t->topic, topic))
            continue;
        if (t->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            break;
        if (t->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
            return avow_err_set(err, AVOW_REFUSED, t->err, "topic %s: %s", topic,
                                rd_kafka_err2str(t->err));
        if (t->err && t->err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
            return avow_err_set(err, AVOW_BUS, t->err, "topic %s: %s", topic,
                                rd_kafka_err2str(t->err));
        if (t->partition_cnt <= 0)
            break;
        *out = (uint32_t)t->partition_cnt;
        return AVOW_OK;
    }
    return avow_err_set(err, AVOW_NOTFOUND, 0, "topic %s does not exist", topic);
}

enum avow_rc avow_kafka_partition_count(struct avow_bus *b, const char *topic, unsigned timeout_ms,
                                        uint32_t *out, struct avow_err *err)
{
    struct avow_kafka *k = (struct avow_kafka *)b;
    uint64_t deadline = avow_clock_mono_ms() + timeout_ms;
    bool mock = false;
    enum avow_rc rc = avow_kafka_is_mock(b, timeout_ms, &mock, err);
    if (rc)
        return rc;
    /* The mock cluster creates every topic that it is asked about, and a topic handle asks: take
     * the list. */
    rd_kafka_topic_t *rkt = mock ? NULL : rd_kafka_topic_new(k->cluster, topic, NULL);
    if (!rkt && !mock)
        return avow_err_set(err, AVOW_BUS, rd_kafka_last_error(), "topic %s: %s", topic,
                            rd_kafka_err2str(rd_kafka_last_error()));
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(k->cluster, mock, rkt, &md, avow_kafka_ms(left_ms(deadline)));
    if (rkt)
        rd_kafka_topic_destroy(rkt);
    if (code)
        return cluster_unreachable(k, err, "no answer from Kafka");
    rc = find_topic(md, topic, out, err);
    rd_kafka_metadata_destroy(md);
    return rc;
}

/* --- Administration --- */

struct admin {
    rd_kafka_queue_t *queue;
    rd_kafka_AdminOptions_t *options;
    rd_kafka_event_t *event;
};

static void admin_deinit(struct admin *a)
{
    if (a->event)
        rd_kafka_event_destroy(a->event);
    if (a->options)
        rd_kafka_AdminOptions_destroy(a->options);
    if (a->queue)
        rd_kafka_queue_destroy(a->queue);
}

static enum avow_rc admin_init(struct avow_kafka *k, rd_kafka_admin_op_t op, unsigned timeout_ms,
                               struct admin *a, struct avow_err *err)
{
    char text[200] = "";
    enum avow_rc rc = cluster_handle(k, err);
    if (rc)
        return rc;
    a->options = rd_kafka_AdminOptions_new(k->cluster, op);
    a->queue = rd_kafka_queue_new(k->cluster);
    int ms = avow_kafka_ms(timeout_ms);
    if (rd_kafka_AdminOptions_set_request_timeout(a->options, ms, text, sizeof(text)) ||
        (op == RD_KAFKA_ADMIN_OP_CREATETOPICS &&
         rd_kafka_AdminOptions_set_operation_timeout(a->options, ms, text, sizeof(text))))
        return avow_err_set(err, AVOW_CONFIG, 0, "Kafka request: %s", text);
    return AVOW_OK;
}

/* Waits for the result of the request; AVOW_UNREACHABLE or AVOW_BUS if the request as a whole
 * failed. */
static enum avow_rc admin_wait(struct avow_kafka *k, struct admin *a, unsigned timeout_ms,
                               struct avow_err *err)
{
    a->event = rd_kafka_queue_poll(a->queue, avow_kafka_ms((uint64_t)timeout_ms + 1000));
    rd_kafka_resp_err_t code =
        a->event ? rd_kafka_event_error(a->event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (!code)
        return AVOW_OK;
    if (code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__TRANSPORT)
        return cluster_unreachable(k, err, "no answer from Kafka");
    return avow_err_set(err, AVOW_BUS, code, "%s", rd_kafka_event_error_string(a->event));
}

static enum avow_rc new_topic(const struct avow_bus_topic_spec *spec, rd_kafka_NewTopic_t **out,
                              struct avow_err *err)
{
    char text[200];
    rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(spec->name, (int)spec->partitions,
                                                   spec->replication, text, sizeof(text));
    if (!t)
        return avow_err_set(err, AVOW_CONFIG, 0, "topic %s: %s", spec->name, text);
    for (size_t i = 0; i < spec->n_config; i++) {
        rd_kafka_resp_err_t code =
            rd_kafka_NewTopic_set_config(t, spec->config[i].name, spec->config[i].value);
        if (code) {
            rd_kafka_NewTopic_destroy(t);
            return avow_err_set(err, AVOW_CONFIG, code, "topic %s: setting %s", spec->name,
                                spec->config[i].name);
        }
    }
    *out = t;
    return AVOW_OK;
}

/* The controller has made the topic; the brokers hear of it a little later, and until then it "does
 * not exist". */
static enum avow_rc wait_visible(struct avow_bus *b, const char *topic, uint64_t deadline,
                                 struct avow_err *err)
{
    for (;;) {
        uint32_t n = 0;
        enum avow_rc rc = avow_kafka_partition_count(
            b, topic, (unsigned)avow_max_u64(left_ms(deadline), 1000), &n, err);
        if (rc != AVOW_NOTFOUND || left_ms(deadline) == 0)
            return rc;
        avow_clock_sleep_ms(10);
    }
}

enum avow_rc avow_kafka_topic_create(struct avow_bus *b, const struct avow_bus_topic_spec *spec,
                                     unsigned timeout_ms, struct avow_err *err)
{
    struct avow_kafka *k = (struct avow_kafka *)b;
    AVOW_CLEANUP_VAL(admin_deinit) struct admin a = {0};
    enum avow_rc rc = admin_init(k, RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout_ms, &a, err);
    if (rc)
        return rc;
    rd_kafka_NewTopic_t *topic = NULL;
    rc = new_topic(spec, &topic, err);
    if (rc)
        return rc;
    uint64_t deadline = avow_clock_mono_ms() + timeout_ms;
    rd_kafka_CreateTopics(k->cluster, &topic, 1, a.options, a.queue);
    rd_kafka_NewTopic_destroy(topic);
    rc = admin_wait(k, &a, timeout_ms, err);
    if (rc)
        return avow_err_wrap(err, rc, "creating topic %s", spec->name);
    /* The request succeeds as a whole; each topic has its own result. */
    size_t n = 0;
    const rd_kafka_CreateTopics_result_t *result = rd_kafka_event_CreateTopics_result(a.event);
    const rd_kafka_topic_result_t **topics = rd_kafka_CreateTopics_result_topics(result, &n);
    if (n != 1)
        return avow_err_set(err, AVOW_BUS, 0, "creating topic %s: %zu results", spec->name, n);
    rd_kafka_resp_err_t code = rd_kafka_topic_result_error(topics[0]);
    if (code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        return avow_err_set(err, AVOW_EXISTS, code, "topic %s is there already", spec->name);
    if (code) {
        const char *text = rd_kafka_topic_result_error_string(topics[0]);
        return avow_err_set(err, AVOW_BUS, code, "creating topic %s: %s", spec->name,
                            text ? text : rd_kafka_err2str(code));
    }
    return wait_visible(b, spec->name, deadline, err);
}

static enum avow_rc find_setting(const rd_kafka_ConfigResource_t *resource, const char *topic,
                                 const char *name, struct avow_buf *out, struct avow_err *err)
{
    rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(resource);
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return avow_err_set(err, AVOW_NOTFOUND, code, "topic %s does not exist", topic);
    if (code) {
        const char *text = rd_kafka_ConfigResource_error_string(resource);
        return avow_err_set(err, AVOW_BUS, code, "settings of topic %s: %s", topic,
                            text ? text : rd_kafka_err2str(code));
    }
    size_t n = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &n);
    for (size_t i = 0; i < n; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        if (!avow_cstr_eq(rd_kafka_ConfigEntry_name(entries[i]), name))
            continue;
        avow_buf_put_str(out, value ? value : "");
        return AVOW_OK;
    }
    return avow_err_set(err, AVOW_NOTFOUND, 0, "topic %s has no setting %s", topic, name);
}

enum avow_rc avow_kafka_topic_config(struct avow_bus *b, const char *topic, const char *name,
                                     unsigned timeout_ms, struct avow_buf *out,
                                     struct avow_err *err)
{
    struct avow_kafka *k = (struct avow_kafka *)b;
    AVOW_CLEANUP_VAL(admin_deinit) struct admin a = {0};
    enum avow_rc rc = admin_init(k, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout_ms, &a, err);
    if (rc)
        return rc;
    rd_kafka_ConfigResource_t *resource =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_DescribeConfigs(k->cluster, &resource, 1, a.options, a.queue);
    rd_kafka_ConfigResource_destroy(resource);
    rc = admin_wait(k, &a, timeout_ms, err);
    if (rc)
        return avow_err_wrap(err, rc, "settings of topic %s", topic);
    size_t n = 0;
    const rd_kafka_ConfigResource_t **found = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(a.event), &n);
    if (n != 1)
        return avow_err_set(err, AVOW_BUS, 0, "settings of topic %s: %zu results", topic, n);
    return find_setting(found[0], topic, name, out, err);
}
