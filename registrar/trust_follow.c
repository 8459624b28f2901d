#include "trust_follow.h"

#include "avow/base/file.h"
#include "avow/base/log.h"

#include <string.h>

#include "avow/base/banned.h"

#define BUNDLE_MAX (64u * 1024u)
#define META_FLEET "fleet"
#define META_VERSION "bundle_version"

static enum avow_rc read_meta(struct avow_store *s, const char *name, uint8_t *out, size_t len,
                              bool *found, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf value;
    avow_buf_init(&value, 64);
    enum avow_rc rc = avow_store_meta_get(s, name, &value, err);
    *found = rc == AVOW_OK;
    if (rc == AVOW_NOTFOUND)
        return AVOW_OK;
    if (!rc && value.len != len)
        rc = avow_err_set(err, AVOW_STATE, 0, "database: value %s is damaged", name);
    if (!rc)
        memcpy(out, value.ptr, len);
    return rc;
}

enum avow_rc avow_trust_follow_init(struct avow_trust_follow *f, const struct avow_root *root,
                                    struct avow_store *store, struct avow_err *err)
{
    uint8_t version[8];
    bool found = false;
    *f = (struct avow_trust_follow){.root = root, .store = store};
    enum avow_rc rc = read_meta(store, META_FLEET, f->fleet, sizeof f->fleet, &f->has_fleet, err);
    if (!rc)
        rc = read_meta(store, META_VERSION, version, sizeof version, &found, err);
    if (!rc && found) {
        struct avow_rd r = avow_rd_make(AVOW_BYTES_OF(version));
        f->min_version = avow_rd_u64be(&r);
    }
    return rc;
}

void avow_trust_follow_deinit(struct avow_trust_follow *f)
{
    avow_trust_free(f->trust);
    f->trust = NULL;
}

static enum avow_rc remember(struct avow_trust_follow *f, const struct avow_bundle *b,
                             struct avow_err *err)
{
    uint8_t version[8];
    avow_put_u64be(version, b->version);
    enum avow_rc rc = avow_store_meta_set(f->store, META_FLEET, AVOW_BYTES_OF(b->fleet), err);
    return rc ? rc : avow_store_meta_set(f->store, META_VERSION, AVOW_BYTES_OF(version), err);
}

enum avow_rc avow_trust_follow_offer(struct avow_trust_follow *f, struct avow_bytes kafka_key,
                                     struct avow_bytes record, struct avow_err *err)
{
    AVOW_CLEANUP(avow_trust_free) struct avow_trust *t = NULL;
    /* After a restart the highest known version itself must be accepted again. */
    uint64_t floor = f->trust || !f->min_version ? f->min_version : f->min_version - 1;
    enum avow_rc rc =
        avow_trust_open(f->root, kafka_key, record, floor, f->has_fleet ? f->fleet : NULL, &t, err);
    if (rc == AVOW_EXISTS && f->trust)
        return AVOW_OK;
    if (rc == AVOW_EXISTS)
        return avow_err_set(err, AVOW_ROLLBACK, 0, "trust bundle: version %llu was known already",
                            (unsigned long long)f->min_version);
    if (rc)
        return rc;
    const struct avow_bundle *b = avow_trust_bundle(t);
    if (b->version > f->min_version || !f->has_fleet)
        rc = remember(f, b, err);
    if (rc)
        return rc;
    memcpy(f->fleet, b->fleet, sizeof f->fleet);
    f->has_fleet = true;
    f->min_version = b->version;
    avow_log(INFO, "trust.bundle", AVOW_KV_U64("version", b->version),
             AVOW_KV_U64("partitions", b->partitions),
             AVOW_KV_HEX("fleet", AVOW_BYTES_OF(b->fleet)));
    avow_trust_free(f->trust);
    f->trust = AVOW_STEAL(t);
    return AVOW_OK;
}

enum avow_rc avow_trust_follow_file(struct avow_trust_follow *f, const char *path,
                                    struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    const struct avow_str key = AVOW_STR_LIT("bundle");
    avow_buf_init(&record, BUNDLE_MAX);
    enum avow_rc rc = avow_file_read(path, &record, err);
    if (!rc)
        rc = avow_trust_follow_offer(f, avow_bytes_make(key.ptr, key.len), avow_buf_bytes(&record),
                                     err);
    return rc ? avow_err_wrap(err, rc, "%s", path) : AVOW_OK;
}

enum avow_rc avow_trust_follow_poll(struct avow_trust_follow *f, struct avow_bus_consumer *c,
                                    unsigned wait_ms, struct avow_err *err)
{
    for (struct avow_bus_msg msg = {.topic = ""}; msg.topic; wait_ms = 0) {
        struct avow_err e;
        msg.topic = NULL;
        enum avow_rc rc = avow_bus_poll(c, wait_ms, &msg, &e);
        if (rc == AVOW_BUS_FATAL)
            return avow_err_set(err, rc, e.native, "topic trust: %s", e.msg);
        if (rc) {
            avow_log_limited(WARN, "trust.poll", 10, AVOW_KV_ERR(&e));
            return AVOW_OK;
        }
        /* A null, or another key, means nothing (PROTOCOL R10). */
        if (!msg.topic || msg.value_null)
            continue;
        if (avow_trust_follow_offer(f, msg.key, msg.value, &e))
            avow_log_limited(WARN, "trust.refused", 10, AVOW_KV_I64("offset", msg.offset),
                             AVOW_KV_ERR(&e));
    }
    return AVOW_OK;
}
