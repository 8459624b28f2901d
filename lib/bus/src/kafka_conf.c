#include "kafka.h"

#include "avow/base/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <syslog.h>

#include "avow/base/banned.h"

/* --- What librdkafka tells us --- */

/* On librdkafka's threads. Anybody who can refuse connections can cause lines: they are limited. */
static void log_cb(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
    /* CONFWARN: properties of producers are given to consumers too, and the other way round. */
    bool warn = level <= LOG_WARNING && !avow_cstr_eq(fac, "CONFWARN");
    if (warn)
        avow_log_limited(WARN, "kafka_client", 12,
                         AVOW_KV_STR("client", rk ? rd_kafka_name(rk) : ""),
                         AVOW_KV_STR("facility", fac), AVOW_KV_STR("text", text));
    else
        avow_log(DEBUG, "kafka_client", AVOW_KV_STR("client", rk ? rd_kafka_name(rk) : ""),
                 AVOW_KV_STR("facility", fac), AVOW_KV_STR("text", text));
}

static void error_cb(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct avow_kafka_health *h = opaque;
    (void)rk;
    bool login = code == RD_KAFKA_RESP_ERR__AUTHENTICATION || code == RD_KAFKA_RESP_ERR__SSL ||
                 code == RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED;
    /* With TLS 1.3 the refusal of our certificate comes after the handshake, as a mere transport
     * error. */
    if (login || strstr(reason, "SSL routines")) {
        h->news = h->news || h->refused[0] == '\0';
        (void)avow_str_copy(h->refused, sizeof(h->refused), avow_str_from(reason));
        return;
    }
    /* "All brokers are down" says less than what came before it. */
    if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || h->trouble[0] == '\0')
        (void)avow_str_copy(h->trouble, sizeof(h->trouble), avow_str_from(reason));
}

void avow_kafka_health_clear(struct avow_kafka_health *h)
{
    *h = (struct avow_kafka_health){0};
}

enum avow_rc avow_kafka_timed_out(const struct avow_kafka_health *h, enum avow_rc rc,
                                  struct avow_err *err, const char *fmt, ...)
{
    char text[160];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (h->refused[0])
        return avow_err_set(err, AVOW_UNREACHABLE, 0, "%s: login refused: %s", text, h->refused);
    if (h->trouble[0])
        return avow_err_set(err, rc, 0, "%s: %s", text, h->trouble);
    return avow_err_set(err, rc, 0, "%s", text);
}

enum avow_rc avow_kafka_check_fatal(rd_kafka_t *rk, struct avow_err *err)
{
    char text[200];
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(rk, text, sizeof(text));
    if (code)
        return avow_err_set(err, AVOW_BUS_FATAL, code, "%s: %s", rd_kafka_err2name(code), text);
    return AVOW_OK;
}

/* --- Settings --- */

enum scope { BOTH, PRODUCER, CONSUMER };
struct setting {
    enum scope scope;
    const char *name;
    const char *value;
};

/* Before the user's: he may know better. Reasons: docs/KAFKA.md. */
static const struct setting defaults[] = {
    {BOTH, "socket.nagle.disable", "true"},
    {BOTH, "reconnect.backoff.max.ms", "10000"},
    {BOTH, "message.max.bytes", "1048576"},
    {PRODUCER, "queue.buffering.max.kbytes", "16384"},
    {PRODUCER, "topic.metadata.propagation.max.ms", "5000"},
    {CONSUMER, "fetch.message.max.bytes", "1048576"},
    {CONSUMER, "fetch.max.bytes", "4194304"},
    {CONSUMER, "receive.message.max.bytes", "8388608"},
    {CONSUMER, "queued.max.messages.kbytes", "4096"},
    {CONSUMER, "queued.min.messages", "1000"},
};

/* Behind the user's, and refused from him: the rest of Avow relies on them. NULL: set elsewhere. */
static const struct setting fixed[] = {
    {BOTH, "allow.auto.create.topics", "false"},
    {BOTH, "client.id", NULL},
    {PRODUCER, "enable.idempotence", "true"},
    {PRODUCER, "acks", "all"},
    {PRODUCER, "request.required.acks", NULL},
    {PRODUCER, "partitioner", "murmur2"},
    {PRODUCER, "transactional.id", NULL},
    {PRODUCER, "transaction.timeout.ms", NULL},
    {CONSUMER, "enable.auto.commit", "false"},
    {CONSUMER, "auto.commit.enable", NULL},
    {CONSUMER, "enable.auto.offset.store", "false"},
    {CONSUMER, "enable.partition.eof", "false"},
    {CONSUMER, "auto.offset.reset", "error"},
    {CONSUMER, "partition.assignment.strategy", "range"},
    {CONSUMER, "isolation.level", NULL},
    {CONSUMER, "group.id", NULL},
    {CONSUMER, "group.instance.id", NULL},
    {CONSUMER, "session.timeout.ms", NULL},
    {CONSUMER, "heartbeat.interval.ms", NULL},
};

static bool is_fixed(const char *name)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(fixed); i++) {
        if (avow_cstr_eq(fixed[i].name, name))
            return true;
    }
    return false;
}

static enum avow_rc set(rd_kafka_conf_t *conf, const char *name, const char *value,
                        struct avow_err *err)
{
    char text[200];
    switch (rd_kafka_conf_set(conf, name, value, text, sizeof(text))) {
    case RD_KAFKA_CONF_OK:
        return AVOW_OK;
    case RD_KAFKA_CONF_UNKNOWN:
        return avow_err_set(err, AVOW_CONFIG, 0, "kafka.%s: librdkafka %s has no such property",
                            name, rd_kafka_version_str());
    case RD_KAFKA_CONF_INVALID:
    default:
        return avow_err_set(err, AVOW_CONFIG, 0, "kafka.%s: %s", name, text);
    }
}

static enum avow_rc set_all(rd_kafka_conf_t *conf, const struct setting *settings, size_t n,
                            enum scope scope, struct avow_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!settings[i].value || (settings[i].scope != BOTH && settings[i].scope != scope))
            continue;
        enum avow_rc rc = set(conf, settings[i].name, settings[i].value, err);
        if (rc)
            return rc;
    }
    return AVOW_OK;
}

void avow_kafka_conf_deinit(struct avow_kafka_conf *c)
{
    if (c->conf)
        rd_kafka_conf_destroy(c->conf);
    c->conf = NULL;
}

enum avow_rc avow_kafka_conf_set(struct avow_kafka_conf *c, const char *name, const char *value,
                                 struct avow_err *err)
{
    return set(c->conf, name, value, err);
}

enum avow_rc avow_kafka_conf_set_u64(struct avow_kafka_conf *c, const char *name, uint64_t value,
                                     struct avow_err *err)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    return set(c->conf, name, text, err);
}

bool avow_kafka_is_set(const struct avow_kafka *k, const char *name)
{
    for (size_t i = 0; i < k->n; i++) {
        if (avow_cstr_eq(k->kv[i].name, name))
            return true;
    }
    return false;
}

enum avow_rc avow_kafka_conf_new(const struct avow_kafka *k, rd_kafka_type_t type,
                                 struct avow_kafka_health *health, struct avow_kafka_conf *out,
                                 struct avow_err *err)
{
    enum scope scope = type == RD_KAFKA_PRODUCER ? PRODUCER : CONSUMER;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    enum avow_rc rc = set_all(conf, defaults, AVOW_ARRAY_LEN(defaults), scope, err);
    for (size_t i = 0; !rc && i < k->n; i++)
        rc = set(conf, k->kv[i].name, k->kv[i].value, err);
    if (!rc)
        rc = set_all(conf, fixed, AVOW_ARRAY_LEN(fixed), scope, err);
    if (!rc)
        rc = set(conf, "client.id", k->client_id, err);
    if (rc) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    rd_kafka_conf_set_opaque(conf, health);
    rd_kafka_conf_set_log_cb(conf, log_cb);
    rd_kafka_conf_set_error_cb(conf, error_cb);
    out->conf = conf;
    return AVOW_OK;
}

enum avow_rc avow_kafka_handle_new(struct avow_kafka_conf *c, rd_kafka_type_t type,
                                   rd_kafka_t **out, struct avow_err *err)
{
    char text[200];
    rd_kafka_t *rk = rd_kafka_new(type, c->conf, text, sizeof(text));
    if (!rk) /* the configuration stays ours */
        return avow_err_set(err, AVOW_CONFIG, 0, "Kafka client: %s", text);
    c->conf = NULL;
    *out = rk;
    return AVOW_OK;
}

/* --- The bus --- */

static void kafka_free(struct avow_bus *b)
{
    struct avow_kafka *k = (struct avow_kafka *)b;
    if (k->cluster)
        rd_kafka_destroy(k->cluster);
    for (size_t i = 0; i < k->n; i++) {
        if (k->kv[i].value)
            avow_wipe(k->kv[i].value, strlen(k->kv[i].value)); /* some are passwords */
        free(k->kv[i].value);
        free(k->kv[i].name);
    }
    free(k->kv);
    free(k->client_id);
    free(k);
}

static const struct avow_bus_vtable kafka_vtable = {
    .free = kafka_free,
    .is_mock = avow_kafka_is_mock,
    .rest = avow_kafka_rest,
    .partition_count = avow_kafka_partition_count,
    .topic_create = avow_kafka_topic_create,
    .topic_config = avow_kafka_topic_config,
    .producer_new = avow_kafka_producer_new,
    .consumer_new = avow_kafka_consumer_new,
};

static enum avow_rc copy_properties(struct avow_kafka *k, const struct avow_bus_property *kv,
                                    size_t n, struct avow_err *err)
{
    if (n == 0)
        return AVOW_OK;
    k->kv = calloc(n, sizeof(*k->kv));
    if (!k->kv)
        return avow_err_set(err, AVOW_NOMEM, 0, "Kafka properties");
    for (size_t i = 0; i < n; i++) {
        if (is_fixed(kv[i].name))
            return avow_err_set(err, AVOW_CONFIG, 0, "kafka.%s is set by Avow itself", kv[i].name);
        k->n = i + 1;
        k->kv[i].name = avow_bus_strdup(kv[i].name);
        k->kv[i].value = avow_bus_strdup(kv[i].value);
        if (!k->kv[i].name || !k->kv[i].value)
            return avow_err_set(err, AVOW_NOMEM, 0, "Kafka properties");
    }
    return AVOW_OK;
}

enum avow_rc avow_bus_kafka_new(const struct avow_bus_property *kv, size_t n, const char *client_id,
                                struct avow_bus **out, struct avow_err *err)
{
    AVOW_CLEANUP(avow_bus_free) struct avow_bus *b = NULL;
    struct avow_kafka *k = calloc(1, sizeof(*k));
    if (!k)
        return avow_err_set(err, AVOW_NOMEM, 0, "Kafka client");
    k->base.vt = &kafka_vtable;
    k->mock = -1;
    b = &k->base;
    /* librdkafka before 2.5.0 can crash on a long client.id. */
    k->client_id = avow_bus_strdup(client_id);
    if (!k->client_id)
        return avow_err_set(err, AVOW_NOMEM, 0, "Kafka client");
    if (strlen(client_id) > 64)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "client id \"%.64s...\" has more than 64 characters", client_id);
    enum avow_rc rc = copy_properties(k, kv, n, err);
    if (rc)
        return rc;
    if (!avow_kafka_is_set(k, "bootstrap.servers") && !avow_kafka_is_set(k, "metadata.broker.list"))
        return avow_err_set(err, AVOW_CONFIG, 0, "kafka.bootstrap.servers is not set");
    /* Tried now, so that a misspelt name is found when a program starts. */
    AVOW_CLEANUP_VAL(avow_kafka_conf_deinit) struct avow_kafka_conf trial = {NULL};
    rc = avow_kafka_conf_new(k, RD_KAFKA_CONSUMER, &k->health, &trial, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(b);
    return AVOW_OK;
}
