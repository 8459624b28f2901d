/* topics.h - the topics of an installation and their settings (PROTOCOL B2): one table. Layer: bus.
 */
#ifndef AVOW_BUS_TOPICS_H
#define AVOW_BUS_TOPICS_H

#include "avow/bus/bus.h"

struct avow_topic_def {
    const char *base;    /* "evidence"; the topic is <prefix><base> */
    uint32_t partitions; /* 0: the bundle's count */
    const struct avow_bus_property *config;
    size_t n_config;
};
/* All topics, in the order in which they are created. */
const struct avow_topic_def *avow_topic_defs(size_t *n);

struct avow_topic_report { /* borrowed during the call */
    const char *topic;     /* with prefix */
    bool differs;          /* something is not as it should be */
    const char *text; /* one line: "created", "as it should be", "has 3 partitions, not 64: ..." */
};
typedef void (*avow_topic_report_fn)(void *arg, const struct avow_topic_report *r);

/* Creates the missing topics; those that exist are compared and reported, never changed.
 * replication: 1 or more; min.insync.replicas is 2 from three on, else 1. On the mock cluster,
 * which cannot create topics, existing ones are compared by partition count only. Errors:
 * AVOW_UNREACHABLE, AVOW_BUS (the first that failed; the rest are tried). */
enum avow_rc avow_topics_apply(struct avow_bus *b, const char *prefix, uint32_t partitions,
                               int replication, avow_topic_report_fn report, void *arg,
                               struct avow_err *err) AVOW_MUST_CHECK;
/* Only compares and reports. */
enum avow_rc avow_topics_check(struct avow_bus *b, const char *prefix, uint32_t partitions,
                               int replication, avow_topic_report_fn report, void *arg,
                               struct avow_err *err) AVOW_MUST_CHECK;

#endif
