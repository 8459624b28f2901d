/* link.h - what the hosts share of Kafka: one producer, the markers of all partitions, the bundle.
 * Layer: tools/loadgen. One thread. */
#ifndef AVOW_LOADGEN_LINK_H
#define AVOW_LOADGEN_LINK_H

#include "avow/bus/bus.h"
#include "avow/model/directive.h"
#include "avow/trust/bundle.h"
#include "host.h"

struct avow_load_link {
    struct avow_bus *bus;
    const char *prefix;
    char evidence[200], epochs[200];
    struct avow_root *root;
    struct avow_trust *trust;
    struct avow_bus_consumer *consumer;
    struct avow_bus_producer *producer;
    struct avow_load_marker *markers; /* one a partition */
    struct avow_arena arena;
};

/* Connects, reads and verifies the bundle, follows the epochs of every partition. `prefix` is
 * borrowed. Errors: AVOW_UNREACHABLE, AVOW_NOTFOUND (no bundle), AVOW_UNTRUSTED, AVOW_BUS. */
enum avow_rc avow_load_link_open(const struct avow_bus_property *kv, size_t n, const char *prefix,
                                 const char *root, struct avow_load_link *out,
                                 struct avow_err *err) AVOW_MUST_CHECK;
void avow_load_link_close(struct avow_load_link *l);
/* Takes what came within timeout_ms. *directive: it was a directive, which is in *what until the
 * next call. Markers are kept; records that do not prove themselves are logged and left. */
enum avow_rc avow_load_link_poll(struct avow_load_link *l, unsigned timeout_ms, bool *directive,
                                 struct avow_directive *what, struct avow_err *err) AVOW_MUST_CHECK;
/* Queues a record under the agent's id. */
enum avow_rc avow_load_link_send(struct avow_load_link *l, const char *topic, const char *id,
                                 struct avow_bytes value, struct avow_err *err) AVOW_MUST_CHECK;
/* Signs an enrolment that demands `policy` and queues it. Errors: AVOW_UNTRUSTED if the fleet's
 * bundle does not let `tenant` sign it. */
struct avow_load_enrolment {
    const struct avow_privkey *tenant;
    const char *policy;
    uint64_t generation, issued_ms;
};
enum avow_rc avow_load_link_enrol(struct avow_load_link *l, const struct avow_load_host *h,
                                  const struct avow_load_enrolment *e,
                                  struct avow_err *err) AVOW_MUST_CHECK;

#endif
