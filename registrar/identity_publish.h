/* identity_publish.h - the outbox to topic identities: signed, in order, at least once. Layer:
 * registrar. A row leaves the outbox only when the broker has acknowledged it, so a crash at any
 * instant repeats a record and never loses one; the repeat has the same generation and content, and
 * readers ignore it (PROTOCOL B2, replay: generation). */
#ifndef AVOW_REGISTRAR_IDENTITY_PUBLISH_H
#define AVOW_REGISTRAR_IDENTITY_PUBLISH_H

#include "metrics.h"
#include "store.h"

#include "avow/bus/bus.h"
#include "avow/trust/records.h"

/* The record of an agent. Borrows from all arguments and the arena; not yet signed. Errors:
 * AVOW_NOMEM, AVOW_LIMIT. */
enum avow_rc avow_identity_build(const uint8_t fleet[16], struct avow_str id,
                                 const struct avow_agent *a, struct avow_arena *arena,
                                 struct avow_identity *out, struct avow_err *err) AVOW_MUST_CHECK;

struct avow_publish_job { /* borrowed */
    struct avow_store *store;
    const struct avow_trust *trust;
    const struct avow_privkey *key;
    struct avow_bus_producer *producer;
    const char *topic; /* with prefix */
    unsigned flush_timeout_ms;
};
/* Publishes up to AVOW_PUBLISH_BATCH items and removes them once acknowledged. *published receives
 * how many left the outbox; 0: it is empty. An item that a later one of the same agent has
 * overtaken is left out: the later one speaks. Errors: AVOW_UNTRUSTED (readers would not accept our
 * key: nothing is sent), AVOW_BUS, AVOW_TIMEOUT, AVOW_LIMIT, the store's. After an error the outbox
 * is as before. */
#define AVOW_PUBLISH_BATCH 64u
enum avow_rc avow_publish_batch(const struct avow_publish_job *job, size_t *published,
                                struct avow_err *err) AVOW_MUST_CHECK;

struct avow_publisher_opts { /* borrowed until the publisher is stopped */
    struct avow_store *store;
    struct avow_bus *bus; /* used by the publisher's thread alone */
    const struct avow_root *root;
    const struct avow_privkey *key;
    const char *bundle_file; /* NULL: from the topic only */
    const char *topic_prefix;
    struct avow_metrics *metrics; /* NULL: not counted */
};
struct avow_publisher;
/* Starts a thread that follows topic trust and empties the outbox, with back-off while the broker
 * is away. Errors: those of the bundle file, AVOW_IO. */
enum avow_rc avow_publisher_start(const struct avow_publisher_opts *opts,
                                  struct avow_publisher **out,
                                  struct avow_err *err) AVOW_MUST_CHECK;
/* There is something in the outbox. @thread any */
void avow_publisher_wake(void *publisher);
/* Ends the thread after its current batch; what is left waits in the outbox. NULL is fine. */
void avow_publisher_stop(struct avow_publisher *p);

#endif
