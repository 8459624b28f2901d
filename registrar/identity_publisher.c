/* The publisher's thread: connects, follows topic trust, empties the outbox, backs off. */
#include "identity_publish.h"
#include "trust_follow.h"

#include "avow/base/clock.h"
#include "avow/base/log.h"
#include "avow/base/num.h"

#include <pthread.h>

#include "avow/base/banned.h"

#define POLL_MS 1000u /* topic trust is looked at this often */
#define BACKOFF_MIN_MS 500u
#define BACKOFF_MAX_MS 30000u
#define CONNECT_TIMEOUT_MS 3000u
#define FLUSH_TIMEOUT_MS 5000u
#define TOPIC_MAX 256u

struct avow_publisher {
    struct avow_publisher_opts o;
    struct avow_trust_follow follow;
    struct avow_bus_consumer *consumer; /* of topic trust; NULL: not connected */
    struct avow_bus_producer *producer;
    char trust_topic[TOPIC_MAX], identity_topic[TOPIC_MAX];
    unsigned backoff_ms;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool woken, stop; /* under mutex */
};

static enum avow_rc connect_bus(struct avow_publisher *p, struct avow_err *err)
{
    if (p->consumer)
        return AVOW_OK;
    bool mock = false;
    AVOW_CLEANUP(avow_bus_producer_free) struct avow_bus_producer *producer = NULL;
    AVOW_CLEANUP(avow_bus_consumer_free) struct avow_bus_consumer *consumer = NULL;
    enum avow_rc rc = avow_bus_is_mock(p->o.bus, CONNECT_TIMEOUT_MS, &mock, err);
    struct avow_bus_consumer_opts copts = {.isolation = AVOW_BUS_READ_COMMITTED, .on_mock = mock};
    const char *topic = p->identity_topic;
    struct avow_bus_producer_opts popts = {.topics = &topic, .n_topics = 1, .linger_ms = 5};
    const struct avow_bus_tp from = {p->trust_topic, 0, AVOW_BUS_BEGINNING};
    if (!rc)
        rc = avow_bus_producer_new(p->o.bus, &popts, &producer, err);
    if (!rc)
        rc = avow_bus_consumer_new(p->o.bus, &copts, &consumer, err);
    if (!rc)
        rc = avow_bus_assign(consumer, &from, 1, err);
    if (rc)
        return rc;
    p->producer = AVOW_STEAL(producer);
    p->consumer = AVOW_STEAL(consumer);
    avow_log(INFO, "bus.connected", AVOW_KV_BOOL("mock", mock));
    return AVOW_OK;
}

static void disconnect_bus(struct avow_publisher *p)
{
    avow_bus_consumer_free(p->consumer);
    avow_bus_producer_free(p->producer);
    p->consumer = NULL;
    p->producer = NULL;
}

/* Everything that can be done now. */
static enum avow_rc work(struct avow_publisher *p, struct avow_err *err)
{
    enum avow_rc rc = connect_bus(p, err);
    if (!rc)
        rc = avow_trust_follow_poll(&p->follow, p->consumer, 0, err);
    if (rc)
        return rc;
    if (!p->follow.trust) {
        avow_log_limited(WARN, "identities.no_bundle", 1, AVOW_KV_STR("topic", p->trust_topic));
        return AVOW_OK;
    }
    struct avow_publish_job job = {.store = p->o.store,
                                   .trust = p->follow.trust,
                                   .key = p->o.key,
                                   .producer = p->producer,
                                   .topic = p->identity_topic,
                                   .flush_timeout_ms = FLUSH_TIMEOUT_MS};
    size_t n = 1;
    while (!rc && n) {
        rc = avow_publish_batch(&job, &n, err);
        avow_metrics_published(p->o.metrics, rc ? 0 : n);
        if (!rc && n)
            avow_log(INFO, "identities.published", AVOW_KV_U64("count", n));
        pthread_mutex_lock(&p->mutex);
        if (p->stop)
            n = 0;
        pthread_mutex_unlock(&p->mutex);
    }
    return rc;
}

/* Returns false when the thread is to end. */
static bool wait_for_work(struct avow_publisher *p, unsigned ms, bool wakeable)
{
    uint64_t until_ns = avow_clock_mono_ns() + (uint64_t)ms * 1000000u;
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u),
                             .tv_nsec = (long)(until_ns % 1000000000u)};
    int e = 0;
    pthread_mutex_lock(&p->mutex);
    while (!p->stop && !(wakeable && p->woken) && !e)
        e = pthread_cond_timedwait(&p->cond, &p->mutex, &until);
    p->woken = false;
    bool go_on = !p->stop;
    pthread_mutex_unlock(&p->mutex);
    return go_on;
}

static void *run(void *arg)
{
    struct avow_publisher *p = arg;
    struct avow_err err;
    unsigned wait_ms = 0;
    bool failed = false;
    while (wait_for_work(p, wait_ms, !failed)) {
        enum avow_rc rc = work(p, &err);
        failed = rc != AVOW_OK;
        if (!failed) {
            p->backoff_ms = BACKOFF_MIN_MS;
            wait_ms = POLL_MS;
            continue;
        }
        avow_log_limited(WARN, "identities.waiting", 10, AVOW_KV_ERR(&err),
                         AVOW_KV_U64("retry_ms", p->backoff_ms));
        if (rc == AVOW_BUS_FATAL)
            disconnect_bus(p);
        wait_ms = p->backoff_ms;
        p->backoff_ms = (unsigned)avow_min_u64(2ull * p->backoff_ms, BACKOFF_MAX_MS);
    }
    disconnect_bus(p);
    return NULL;
}

static void publisher_free(struct avow_publisher *p)
{
    if (!p)
        return;
    avow_trust_follow_deinit(&p->follow);
    pthread_cond_destroy(&p->cond);
    pthread_mutex_destroy(&p->mutex);
    free(p);
}

static void publisher_init(struct avow_publisher *p, const struct avow_publisher_opts *o)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&p->mutex, NULL);
    p->o = *o;
    p->backoff_ms = BACKOFF_MIN_MS;
    snprintf(p->trust_topic, sizeof p->trust_topic, "%strust", o->topic_prefix);
    snprintf(p->identity_topic, sizeof p->identity_topic, "%sidentities", o->topic_prefix);
}

/* A file that is older than what the topic once said is no reason not to start: the topic will say
 * it again. */
static enum avow_rc read_bundle_file(struct avow_publisher *p, struct avow_err *err)
{
    if (!p->o.bundle_file)
        return AVOW_OK;
    enum avow_rc rc = avow_trust_follow_file(&p->follow, p->o.bundle_file, err);
    if (rc != AVOW_ROLLBACK)
        return rc;
    avow_log(WARN, "trust.file_is_old", AVOW_KV_ERR(err));
    return AVOW_OK;
}

enum avow_rc avow_publisher_start(const struct avow_publisher_opts *o, struct avow_publisher **out,
                                  struct avow_err *err)
{
    struct avow_publisher *p = calloc(1, sizeof *p);
    if (!p)
        return avow_err_set(err, AVOW_NOMEM, 0, "publisher");
    publisher_init(p, o);
    enum avow_rc rc = avow_trust_follow_init(&p->follow, o->root, o->store, err);
    if (!rc)
        rc = read_bundle_file(p, err);
    if (!rc) {
        int e = pthread_create(&p->thread, NULL, run, p);
        rc = e ? avow_err_set(err, AVOW_IO, e, "cannot start a thread") : AVOW_OK;
    }
    if (rc) {
        publisher_free(p);
        return rc;
    }
    *out = p;
    return AVOW_OK;
}

void avow_publisher_wake(void *publisher)
{
    struct avow_publisher *p = publisher;
    pthread_mutex_lock(&p->mutex);
    p->woken = true;
    pthread_cond_signal(&p->cond);
    pthread_mutex_unlock(&p->mutex);
}

void avow_publisher_stop(struct avow_publisher *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->mutex);
    p->stop = true;
    pthread_cond_signal(&p->cond);
    pthread_mutex_unlock(&p->mutex);
    pthread_join(p->thread, NULL);
    publisher_free(p);
}
