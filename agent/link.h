/* link.h - the agent's side of Kafka: one consumer that is assigned trust and its partition of
 * epochs, one idempotent producer for evidence. No group is joined (PROTOCOL B3.1 step 3, R12).
 * Layer: agent. One thread. */
#ifndef AVOW_AGENT_LINK_H
#define AVOW_AGENT_LINK_H

#include "avow/bus/bus.h"

#define AVOW_LINK_TAIL                                                                             \
    64 /* the last record may be a transaction's control record, and others' directives are        \
          between */
#define AVOW_LINK_PREFIX_MAX 64u

struct avow_link;
/* Connects to nothing yet. Errors: AVOW_CONFIG (prefix), AVOW_NOMEM. */
enum avow_rc avow_link_new(struct avow_bus *bus, const char *prefix, const char *agent_id,
                           struct avow_link **out, struct avow_err *err) AVOW_MUST_CHECK;
void avow_link_free(struct avow_link *l);
AVOW_DEFINE_CLEANUP(struct avow_link, avow_link_free);

/* What to follow. partitions 0: no bundle is known yet, only trust is read. */
struct avow_link_plan {
    uint32_t partitions;
    uint32_t epoch_ms;
};
/* Opens or re-opens the consumer. Errors: AVOW_UNREACHABLE (try later), AVOW_BUS_FATAL, AVOW_NOMEM.
 */
enum avow_rc avow_link_follow(struct avow_link *l, const struct avow_link_plan *plan,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* Other topics from the next follow on. Errors: AVOW_CONFIG. */
enum avow_rc avow_link_set_prefix(struct avow_link *l, const char *prefix,
                                  struct avow_err *err) AVOW_MUST_CHECK;
const char *avow_link_prefix(const struct avow_link *l);
bool avow_link_following(const struct avow_link *l);
bool avow_link_on_mock(const struct avow_link *l);
int32_t avow_link_partition(const struct avow_link *l);

enum avow_link_kind { AVOW_LINK_NOTHING, AVOW_LINK_TRUST, AVOW_LINK_EPOCHS };
/* One record, borrowed until the next call; sleeps at most timeout_ms. Errors: AVOW_BUS (reading
 * goes on), AVOW_STATE (follow again), AVOW_BUS_FATAL. */
enum avow_rc avow_link_poll(struct avow_link *l, unsigned timeout_ms, enum avow_link_kind *kind,
                            struct avow_bus_msg *msg, struct avow_err *err) AVOW_MUST_CHECK;

/* Queues one evidence record. Errors: AVOW_LIMIT, AVOW_BUS, AVOW_BUS_FATAL. */
enum avow_rc avow_link_send(struct avow_link *l, struct avow_bytes record,
                            struct avow_err *err) AVOW_MUST_CHECK;
/* False while records are unacknowledged. */
bool avow_link_idle(struct avow_link *l);
/* The outcome of what was sent; purges what is still on its way. Errors: AVOW_BUS, AVOW_TIMEOUT,
 * AVOW_BUS_FATAL. */
enum avow_rc avow_link_settle(struct avow_link *l, struct avow_err *err) AVOW_MUST_CHECK;

#endif
