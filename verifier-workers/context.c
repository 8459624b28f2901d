/* context.c - see context.h. */
#include "context.h"

#include "avow/base/clock.h"
#include "avow/base/file.h"
#include "avow/crypto/rng.h"

#include <stdio.h>

#include "avow/base/banned.h"

static uint64_t system_unix(void *arg)
{
    (void)arg;
    return avow_clock_unix_ms();
}

static uint64_t system_mono(void *arg)
{
    (void)arg;
    return avow_clock_mono_ms();
}

static void system_sleep(void *arg, uint64_t ms)
{
    (void)arg;
    avow_clock_sleep_ms(ms);
}

static enum avow_rc system_random(void *arg, void *out, size_t len, struct avow_err *err)
{
    (void)arg;
    return avow_rng_fill(out, len, err);
}

struct avow_worker_clock avow_worker_clock_system(void)
{
    return (struct avow_worker_clock){.unix_ms = system_unix,
                                      .mono_ms = system_mono,
                                      .sleep_ms = system_sleep,
                                      .random = system_random};
}

static enum avow_rc load_mac(const char *folder, const char *file, struct avow_worker_keys *k,
                             struct avow_err *err)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s", folder, file);
    if (n < 0 || (size_t)n >= sizeof path)
        return avow_err_set(err, AVOW_CONFIG, 0, "path of the worker keys is too long");
    enum avow_rc rc = avow_mac_key_load(path, &k->mac[k->mac_count], err);
    if (!rc)
        k->mac_count++;
    return rc;
}

enum avow_rc avow_worker_keys_load(const char *folder, struct avow_worker_keys *out,
                                   struct avow_err *err)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/sign.pem", folder);
    if (n < 0 || (size_t)n >= sizeof path)
        return avow_err_set(err, AVOW_CONFIG, 0, "path of the worker keys is too long");
    struct avow_worker_keys k = {0};
    enum avow_rc rc = avow_privkey_load(path, &k.sign, err);
    if (!rc)
        rc = load_mac(folder, "mac.key", &k, err);
    n = snprintf(path, sizeof path, "%s/mac.prev", folder);
    if (!rc && n > 0 && (size_t)n < sizeof path && avow_file_exists(path))
        rc = load_mac(folder, "mac.prev", &k, err);
    if (rc) {
        avow_worker_keys_deinit(&k);
        return rc;
    }
    *out = k;
    avow_wipe(&k, sizeof k);
    return AVOW_OK;
}

void avow_worker_keys_deinit(struct avow_worker_keys *k)
{
    avow_privkey_free(k->sign);
    avow_wipe(k->mac, sizeof k->mac);
    *k = (struct avow_worker_keys){0};
}

static const struct {
    const char *base;
    bool partitioned;
} topics[AVOW_TOPIC_COUNT] = {
    [AVOW_TOPIC_TRUST] = {"trust", false},
    [AVOW_TOPIC_ENROLLMENTS] = {"enrollments", true},
    [AVOW_TOPIC_POLICIES] = {"policies", false},
    [AVOW_TOPIC_EPOCHS] = {"epochs", true},
    [AVOW_TOPIC_EVIDENCE] = {"evidence", true},
    [AVOW_TOPIC_STATE] = {"state", true},
    [AVOW_TOPIC_VERDICTS] = {"verdicts", true},
    [AVOW_TOPIC_REVOCATIONS] = {"revocations", true},
    [AVOW_TOPIC_DEADLETTER] = {"deadletter", false},
    [AVOW_TOPIC_CLOUDEVENTS] = {"revocations.cloudevents", true},
    [AVOW_TOPIC_KEYLIME] = {"revocations.keylime", true},
};

bool avow_worker_topics_init(struct avow_worker_topics *t, const char *prefix)
{
    for (size_t i = 0; i < AVOW_TOPIC_COUNT; i++) {
        int n = snprintf(t->name[i], sizeof t->name[i], "%s%s", prefix, topics[i].base);
        if (n < 0 || (size_t)n >= sizeof t->name[i])
            return false;
    }
    return true;
}

bool avow_worker_topic_is_used(enum avow_worker_topic t, struct avow_worker_outputs o)
{
    return (t != AVOW_TOPIC_CLOUDEVENTS || o.cloudevents) && (t != AVOW_TOPIC_KEYLIME || o.keylime);
}

bool avow_worker_topic_is_partitioned(enum avow_worker_topic t)
{
    return topics[t].partitioned;
}
