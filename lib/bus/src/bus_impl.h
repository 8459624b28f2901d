/* bus_impl.h - what an implementation of the bus provides. Layer: bus, internal.
 * Every object starts with a pointer to its operations; bus.c checks arguments and dispatches. */
#ifndef AVOW_BUS_BUS_IMPL_H
#define AVOW_BUS_BUS_IMPL_H

#include "avow/base/buf.h"
#include "avow/bus/bus.h"

#include <stdlib.h>
#include <string.h>

struct avow_bus_vtable {
    void (*free)(struct avow_bus *b);
    enum avow_rc (*is_mock)(struct avow_bus *b, unsigned timeout_ms, bool *out,
                            struct avow_err *err);
    void (*rest)(struct avow_bus *b); /* NULL: nothing to end */
    enum avow_rc (*partition_count)(struct avow_bus *b, const char *topic, unsigned timeout_ms,
                                    uint32_t *out, struct avow_err *err);
    enum avow_rc (*topic_create)(struct avow_bus *b, const struct avow_bus_topic_spec *spec,
                                 unsigned timeout_ms, struct avow_err *err);
    enum avow_rc (*topic_config)(struct avow_bus *b, const char *topic, const char *name,
                                 unsigned timeout_ms, struct avow_buf *out, struct avow_err *err);
    enum avow_rc (*producer_new)(struct avow_bus *b, const struct avow_bus_producer_opts *opts,
                                 struct avow_bus_producer **out, struct avow_err *err);
    enum avow_rc (*consumer_new)(struct avow_bus *b, const struct avow_bus_consumer_opts *opts,
                                 struct avow_bus_consumer **out, struct avow_err *err);
};

struct avow_bus_producer_vtable {
    void (*free)(struct avow_bus_producer *p);
    enum avow_rc (*send)(struct avow_bus_producer *p, const struct avow_bus_record *rec,
                         struct avow_err *err);
    enum avow_rc (*flush)(struct avow_bus_producer *p, unsigned timeout_ms, struct avow_err *err);
    size_t (*in_flight)(struct avow_bus_producer *p);
    enum avow_rc (*txn_begin)(struct avow_bus_producer *p, struct avow_err *err);
    enum avow_rc (*txn_send_offsets)(struct avow_bus_producer *p, struct avow_bus_consumer *c,
                                     const struct avow_bus_tp *offsets, size_t n,
                                     struct avow_err *err);
    enum avow_rc (*txn_commit)(struct avow_bus_producer *p, unsigned timeout_ms,
                               struct avow_err *err);
    enum avow_rc (*txn_abort)(struct avow_bus_producer *p, unsigned timeout_ms,
                              struct avow_err *err);
};

struct avow_bus_consumer_vtable {
    void (*free)(struct avow_bus_consumer *c);
    enum avow_rc (*assign)(struct avow_bus_consumer *c, const struct avow_bus_tp *tps, size_t n,
                           struct avow_err *err);
    enum avow_rc (*seek)(struct avow_bus_consumer *c, const struct avow_bus_tp *tp,
                         struct avow_err *err);
    enum avow_rc (*poll)(struct avow_bus_consumer *c, unsigned timeout_ms, struct avow_bus_msg *msg,
                         struct avow_err *err);
    enum avow_rc (*position)(struct avow_bus_consumer *c, const struct avow_bus_tp *tp,
                             int64_t *out, struct avow_err *err);
    enum avow_rc (*committed)(struct avow_bus_consumer *c, const struct avow_bus_tp *tp,
                              unsigned timeout_ms, int64_t *out, struct avow_err *err);
    enum avow_rc (*commit)(struct avow_bus_consumer *c, const struct avow_bus_tp *offsets, size_t n,
                           struct avow_err *err);
    enum avow_rc (*watermarks)(struct avow_bus_consumer *c, const struct avow_bus_tp *tp,
                               unsigned timeout_ms, int64_t *low, int64_t *high,
                               struct avow_err *err);
};

struct avow_bus {
    const struct avow_bus_vtable *vt;
};
struct avow_bus_producer {
    const struct avow_bus_producer_vtable *vt;
};
struct avow_bus_consumer {
    const struct avow_bus_consumer_vtable *vt;
};

/* Kafka's own limits are wider; no topic of Avow is near 200 characters. */
#define AVOW_BUS_TOPIC_MAX 200u

struct avow_bus_kv { /* owned */
    char *name;
    char *value;
};

/* Owned copy, NULL when memory is exhausted; NULL for NULL. */
char *avow_bus_strdup(const char *s);

#endif
