/* One batch of the outbox; the thread is in identity_publisher.c. */
#include "identity_publish.h"

#include "avow/base/log.h"
#include "avow/wire/identity.h"

#include <string.h>

#include "avow/base/banned.h"

#define BATCH_ARENA (AVOW_PUBLISH_BATCH * 256u)
#define ITEM_ARENA (256u * 1024u)
#define RECORD_MAX (64u * 1024u) /* PROTOCOL B2 */

static enum avow_rc list_certs(struct avow_bytes packed, struct avow_arena *arena,
                               struct avow_identity *out, struct avow_err *err)
{
    struct avow_bytes *list = avow_arena_alloc(arena, AVOW_CHAIN_MAX, sizeof *list), der;
    size_t n = 0;
    if (!list)
        return avow_err_set(err, AVOW_NOMEM, 0, "identity");
    while (n < AVOW_CHAIN_MAX && avow_certs_next(&packed, &der))
        list[n++] = der;
    out->ek_certs = list;
    out->ek_certs_count = n;
    return AVOW_OK;
}

enum avow_rc avow_identity_build(const uint8_t fleet[16], struct avow_str id,
                                 const struct avow_agent *a, struct avow_arena *arena,
                                 struct avow_identity *out, struct avow_err *err)
{
    const struct avow_ek_trust *t = &a->claim.trust;
    *out = (struct avow_identity){.key = id,
                                  .generation = a->generation,
                                  .status = a->status == AVOW_AGENT_ACTIVE
                                                ? AVOW_IDENTITY_STATUS_ACTIVE
                                                : AVOW_IDENTITY_STATUS_REMOVED,
                                  .ek_public = a->claim.ek_public,
                                  .ak_public = a->claim.ak_public,
                                  .ak_name = a->claim.ak_name,
                                  .trust = {.rule = t->rule,
                                            .trusted = t->trusted,
                                            .time_ms = t->time_ms,
                                            .detail = t->detail,
                                            .has_ek_cert_sha256 = t->has_cert_sha256},
                                  .regcount = a->regcount,
                                  .registered_ms = a->registered_ms};
    memcpy(out->fleet, fleet, sizeof out->fleet);
    memcpy(out->trust.ek_cert_sha256, t->cert_sha256, sizeof out->trust.ek_cert_sha256);
    struct avow_bytes iak = a->claim.iak_certs, idevid = a->claim.idevid_certs;
    out->has_iak = avow_certs_next(&iak, &out->iak);
    out->has_idevid = avow_certs_next(&idevid, &out->idevid);
    return list_certs(a->claim.ek_certs, arena, out, err);
}

/* Signs and checks as a reader would: a record that nobody accepts is not sent. */
static enum avow_rc seal(const struct avow_publish_job *job, struct avow_str id,
                         const struct avow_agent *a, struct avow_arena *arena,
                         struct avow_buf *record, struct avow_err *err)
{
    struct avow_identity v;
    const struct avow_bundle *b = avow_trust_bundle(job->trust);
    enum avow_rc rc = avow_identity_build(b->fleet, id, a, arena, &v, err);
    if (!rc)
        rc = avow_seal_identity(&v, job->key, record, err);
    if (!rc)
        rc = avow_trust_verify(job->trust, AVOW_ROLE_REGISTRAR, id, &avow_wire_identity_schema,
                               avow_buf_bytes(record), err);
    return rc;
}

static enum avow_rc send_item(const struct avow_publish_job *job,
                              const struct avow_outbox_item *item, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    struct avow_agent agent;
    avow_arena_init(&arena, ITEM_ARENA);
    avow_buf_init(&record, RECORD_MAX);
    enum avow_rc rc = avow_store_agent(job->store, item->id, &arena, &agent, err);
    if (rc)
        return rc;
    if (agent.status == AVOW_AGENT_NONE || agent.generation != item->generation)
        return AVOW_OK;
    rc = seal(job, item->id, &agent, &arena, &record, err);
    if (rc)
        return avow_err_wrap(err, rc, "identity of %.*s", (int)item->id.len, item->id.ptr);
    struct avow_bytes key = avow_bytes_make(item->id.ptr, item->id.len);
    struct avow_bus_record r = {
        .topic = job->topic,
        .partition = avow_bus_partition_of(key, avow_trust_bundle(job->trust)->partitions),
        .key = key,
        .value = avow_buf_bytes(&record)};
    return avow_bus_send(job->producer, &r, err);
}

enum avow_rc avow_publish_batch(const struct avow_publish_job *job, size_t *published,
                                struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
    struct avow_outbox_item items[AVOW_PUBLISH_BATCH];
    size_t n = 0;
    avow_arena_init(&arena, BATCH_ARENA);
    enum avow_rc rc = avow_store_outbox(job->store, AVOW_PUBLISH_BATCH, &arena, items, &n, err);
    for (size_t i = 0; i < n && !rc; i++)
        rc = send_item(job, &items[i], err);
    if (rc) {
        /* What was queued before the failure may still arrive: the same again later is harmless. */
        (void)!avow_bus_flush(job->producer, job->flush_timeout_ms, NULL);
        return rc;
    }
    if (n) {
        rc = avow_bus_flush(job->producer, job->flush_timeout_ms, err);
        if (!rc)
            rc = avow_store_outbox_done(job->store, items[n - 1].seq, err);
    }
    if (!rc)
        *published = n;
    return rc;
}
