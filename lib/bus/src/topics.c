#include "bus_impl.h"

#include "avow/bus/topics.h"

#include <assert.h>

#include "avow/base/banned.h"

#define TOPIC_TIMEOUT_MS 15000u

/* PROTOCOL B2. Common to all, besides: max.message.bytes for 1 000 000 B of value, and no leader
 * that lost records. */
#define COMMON                                                                                     \
    {"max.message.bytes", "1048576"},                                                              \
    {                                                                                              \
        "unclean.leader.election.enable", "false"                                                  \
    }
#define DAYS_7 "604800000"
#define DAYS_30 "2592000000"
#define DAYS_400 "34560000000"

static const struct avow_bus_property compacted[] = {COMMON, {"cleanup.policy", "compact"}};
/* A worker that was away for some days still sees the removal. */
static const struct avow_bus_property enrollments[] = {
    COMMON, {"cleanup.policy", "compact"}, {"delete.retention.ms", DAYS_7}};
/* Neither agents' clocks nor workers' decide: a broker refuses stamps an hour ahead (R22). */
static const struct avow_bus_property stamped[] = {COMMON,
                                                   {"cleanup.policy", "delete"},
                                                   {"retention.ms", DAYS_7},
                                                   {"message.timestamp.type", "LogAppendTime"}};
/* Rewritten at every appraisal: an hour's segment is compacted while it is small. */
static const struct avow_bus_property state[] = {COMMON,
                                                 {"cleanup.policy", "compact"},
                                                 {"min.compaction.lag.ms", "60000"},
                                                 {"segment.ms", "3600000"}};
static const struct avow_bus_property verdicts[] = {
    COMMON, {"cleanup.policy", "compact,delete"}, {"retention.ms", DAYS_30}};
static const struct avow_bus_property revocations[] = {
    COMMON, {"cleanup.policy", "delete"}, {"retention.ms", DAYS_400}};
static const struct avow_bus_property deadletter[] = {
    COMMON, {"cleanup.policy", "delete"}, {"retention.ms", DAYS_7}};

#define TOPIC(name, count, settings)                                                               \
    {                                                                                              \
        name, count, settings, AVOW_ARRAY_LEN(settings)                                            \
    }
static const struct avow_topic_def topics[] = {
    TOPIC("trust", 1, compacted),
    TOPIC("identities", 0, compacted),
    TOPIC("enrollments", 0, enrollments),
    TOPIC("policies", 1, compacted),
    TOPIC("epochs", 0, stamped),
    TOPIC("evidence", 0, stamped),
    TOPIC("state", 0, state),
    TOPIC("verdicts", 0, verdicts),
    TOPIC("revocations", 0, revocations),
    TOPIC("revocations.cloudevents", 0, revocations),
    TOPIC("revocations.keylime", 0, revocations),
    TOPIC("payloads", 0, compacted),
    TOPIC("deadletter", 4, deadletter),
};
/* The longest table above and min.insync.replicas. */
#define SETTINGS_MAX 8u

const struct avow_topic_def *avow_topic_defs(size_t *n)
{
    *n = AVOW_ARRAY_LEN(topics);
    return topics;
}

struct run {
    struct avow_bus *bus;
    const char *prefix;
    uint32_t partitions;
    int replication;
    avow_topic_report_fn report;
    void *arg;
    bool create;
    bool mock;
};

static uint32_t partitions_of(const struct run *r, const struct avow_topic_def *def)
{
    return def->partitions ? def->partitions : r->partitions;
}

static size_t settings_of(const struct run *r, const struct avow_topic_def *def,
                          struct avow_bus_property out[SETTINGS_MAX])
{
    assert(def->n_config < SETTINGS_MAX);
    for (size_t i = 0; i < def->n_config; i++)
        out[i] = def->config[i];
    out[def->n_config] =
        (struct avow_bus_property){"min.insync.replicas", r->replication >= 3 ? "2" : "1"};
    return def->n_config + 1;
}

/* --- Comparing --- */

/* True if `list` (a,b,c) has the word. */
static bool has_word(const char *list, struct avow_str word)
{
    while (*list) {
        size_t len = strcspn(list, ",");
        if (avow_str_eq((struct avow_str){list, len}, word))
            return true;
        list += len + (list[len] == ',' ? 1 : 0);
    }
    return false;
}

/* "compact,delete" and "delete,compact" say the same. */
static bool same_words(const char *a, const char *b)
{
    if (strlen(a) != strlen(b))
        return false;
    for (const char *p = a; *p;) {
        size_t len = strcspn(p, ",");
        if (!has_word(b, (struct avow_str){p, len}))
            return false;
        p += len + (p[len] == ',' ? 1 : 0);
    }
    return true;
}

static enum avow_rc compare_settings(const struct run *r, const struct avow_topic_def *def,
                                     const char *topic, struct avow_buf *text, struct avow_err *err)
{
    struct avow_bus_property want[SETTINGS_MAX];
    size_t n = settings_of(r, def, want);
    for (size_t i = 0; i < n; i++) {
        char have[200];
        enum avow_rc rc = avow_bus_topic_config(r->bus, topic, want[i].name, TOPIC_TIMEOUT_MS, have,
                                                sizeof(have), err);
        if (rc)
            return rc;
        if (!same_words(have, want[i].value))
            avow_buf_printf(text, "%s%s is %s, not %s", text->len ? "; " : "", want[i].name, have,
                            want[i].value);
    }
    return AVOW_OK;
}

static void say(const struct run *r, const char *topic, bool differs, const char *text)
{
    struct avow_topic_report report = {topic, differs, text};
    r->report(r->arg, &report);
}

static enum avow_rc compare(const struct run *r, const struct avow_topic_def *def,
                            const char *topic, uint32_t have, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, 2048);
    uint32_t want = partitions_of(r, def);
    if (have != want)
        avow_buf_printf(&text,
                        "has %u partitions, not %u: this cannot be changed later, "
                        "use another topic prefix or delete the topic",
                        have, want);
    enum avow_rc rc = r->mock ? AVOW_OK : compare_settings(r, def, topic, &text, err);
    if (!rc)
        rc = avow_buf_status(&text, err);
    if (rc)
        return rc;
    say(r, topic, text.len > 0, text.len ? avow_buf_cstr(&text) : "as it should be");
    return AVOW_OK;
}

/* --- One topic --- */

static enum avow_rc create(const struct run *r, const struct avow_topic_def *def, const char *topic,
                           struct avow_err *err)
{
    struct avow_bus_property settings[SETTINGS_MAX];
    struct avow_bus_topic_spec spec = {.name = topic,
                                       .partitions = partitions_of(r, def),
                                       .replication = r->replication,
                                       .config = settings,
                                       .n_config = settings_of(r, def, settings)};
    enum avow_rc rc = avow_bus_topic_create(r->bus, &spec, TOPIC_TIMEOUT_MS, err);
    if (!rc)
        say(r, topic, false, "created");
    return rc;
}

static enum avow_rc visit(const struct run *r, const struct avow_topic_def *def, const char *topic,
                          struct avow_err *err)
{
    uint32_t have = 0;
    enum avow_rc rc = avow_bus_partition_count(r->bus, topic, TOPIC_TIMEOUT_MS, &have, err);
    if (rc == AVOW_NOTFOUND && !r->create) {
        say(r, topic, true, "does not exist: `avow topics apply` creates it");
        return AVOW_OK;
    }
    if (rc == AVOW_NOTFOUND && r->mock) {
        rc = avow_err_set(err, AVOW_BUS, 0,
                          "topic %s does not exist, and the development broker makes topics only "
                          "when it starts: start avow-devbroker with this prefix",
                          topic);
        return rc;
    }
    if (rc == AVOW_NOTFOUND) {
        rc = create(r, def, topic, err);
        if (rc != AVOW_EXISTS)
            return rc;
        /* Somebody else was faster. */
        rc = avow_bus_partition_count(r->bus, topic, TOPIC_TIMEOUT_MS, &have, err);
    }
    return rc ? rc : compare(r, def, topic, have, err);
}

static enum avow_rc visit_all(struct run *r, struct avow_err *err)
{
    assert(r->partitions > 0 && r->replication > 0);
    enum avow_rc first = avow_bus_is_mock(r->bus, TOPIC_TIMEOUT_MS, &r->mock, err);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(topics) && first != AVOW_UNREACHABLE; i++) {
        char topic[AVOW_BUS_TOPIC_MAX + 1];
        int len = snprintf(topic, sizeof(topic), "%s%s", r->prefix, topics[i].base);
        if (len < 0 || (size_t)len >= sizeof(topic))
            return avow_err_set(err, AVOW_LIMIT, 0, "topic prefix %s is too long", r->prefix);
        struct avow_err one = {0};
        enum avow_rc rc = visit(r, &topics[i], topic, &one);
        if (!rc)
            continue;
        say(r, topic, true, one.msg);
        if (!first || rc == AVOW_UNREACHABLE)
            first = avow_err_set(err, rc == AVOW_UNREACHABLE ? rc : AVOW_BUS, one.native, "%s",
                                 one.msg);
    }
    return first;
}

enum avow_rc avow_topics_apply(struct avow_bus *b, const char *prefix, uint32_t partitions,
                               int replication, avow_topic_report_fn report, void *arg,
                               struct avow_err *err)
{
    struct run r = {.bus = b,
                    .prefix = prefix,
                    .partitions = partitions,
                    .replication = replication,
                    .report = report,
                    .arg = arg,
                    .create = true};
    return visit_all(&r, err);
}

enum avow_rc avow_topics_check(struct avow_bus *b, const char *prefix, uint32_t partitions,
                               int replication, avow_topic_report_fn report, void *arg,
                               struct avow_err *err)
{
    struct run r = {.bus = b,
                    .prefix = prefix,
                    .partitions = partitions,
                    .replication = replication,
                    .report = report,
                    .arg = arg};
    return visit_all(&r, err);
}
