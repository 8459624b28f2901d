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
 * holds this key (per-agent topics), NULL: all partitions. Errors: AVOW_STATE if there is no such
 * topic; AVOW_CONFIG if it does not have the bundle's number of partitions; AVOW_UNREACHABLE after
 * 20 s without progress; those of `fn`. */
enum avow_rc avow_read_topic(struct avow_cli *cli, const char *base, const char *key,
                             avow_reader_fn fn, void *arg, struct avow_err *err) AVOW_MUST_CHECK;

/* Nobody writes an agent's record elsewhere than in its key's partition, and "newest wins" holds
 * within one partition only. AVOW_OK, or AVOW_UNTRUSTED. Needs cli->trust. */
enum avow_rc avow_reader_at_home(const struct avow_cli *cli, const struct avow_bus_msg *msg,
                                 struct avow_err *err) AVOW_MUST_CHECK;

/* A place in a topic: what was there when it was opened is not read again, what comes later is. */
struct avow_reader;
struct avow_reader_opts {
    const char *base;
    const char *key; /* as above */
    bool from_start; /* instead of the present end */
};
enum avow_rc avow_reader_open(struct avow_cli *cli, const struct avow_reader_opts *opts,
                              struct avow_reader **out, struct avow_err *err) AVOW_MUST_CHECK;
void avow_reader_free(struct avow_reader *r);
AVOW_DEFINE_CLEANUP(struct avow_reader, avow_reader_free);

struct avow_follow {
    avow_reader_fn fn;
    enum avow_rc (*idle)(void *arg, struct avow_err *err); /* ten times a second; or NULL */
    void *arg;
    uint64_t timeout_ms; /* 0: none */
};
/* From the reader's place until `fn` ends it, SIGINT or SIGTERM, or nobody reads standard output.
 * The trust bundle is followed beside: cli->trust may change between two calls. A broker that is
 * away is reported and waited for. Errors: AVOW_TIMEOUT, and those of `fn` and `idle`. */
enum avow_rc avow_reader_follow(struct avow_cli *cli, struct avow_reader *r,
                                const struct avow_follow *f, struct avow_err *err) AVOW_MUST_CHECK;

#endif
