/* reader.h - reads topics from the start to their present end, and follows them. Layer: tools/avow.
 */
#ifndef AVOW_TOOLS_READER_H
#define AVOW_TOOLS_READER_H

#include "context.h"

/* Called per record. A failure ends the reading and is returned; AVOW_STATE ends it as a success.
 */
typedef enum avow_rc (*avow_reader_fn)(void *arg, const struct avow_bus_msg *msg,
                                       struct avow_err *err);

/* Every record of topic <prefix><base> up to the end as it is now. key: only the partition that
 * holds this key (per-agent topics; needs cli->trust), NULL: all partitions. */
enum avow_rc avow_read_topic(struct avow_cli *cli, const char *base, const char *key,
                             avow_reader_fn fn, void *arg, struct avow_err *err) AVOW_MUST_CHECK;
/* From the start (`from_start`) or from now on, until fn ends it, SIGINT/SIGTERM, or timeout_ms
 * without end (0: none). `idle` (may be NULL) runs between polls. AVOW_TIMEOUT when the time is
 * over. */
struct avow_follow {
    const char *base;
    const char *key;
    bool from_start;
    uint64_t timeout_ms;
    avow_reader_fn fn;
    void *arg;
};
enum avow_rc avow_follow_topic(struct avow_cli *cli, const struct avow_follow *f,
                               struct avow_err *err) AVOW_MUST_CHECK;

#endif
