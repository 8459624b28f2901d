/* world.h - where the table of bus semantics runs: on bus_mem, or on the Kafka of $AVOW_TEST_KAFKA.
 * Tests only. */
#ifndef AVOW_TESTS_BUS_WORLD_H
#define AVOW_TESTS_BUS_WORLD_H

#include "avow/bus/bus.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define WAIT_MS 20000u /* for things that must happen on a real broker */
#define VALUES_MAX 64u

struct world {
    bool kafka;
    const char *bootstrap;
    struct avow_bus_mem_broker *mem;
    struct avow_bus *bus;
    char topic[64]; /* of the running case, fresh */
    unsigned cases;
};
extern struct world world;

bool world_open(const char *bootstrap); /* NULL: bus_mem */
void world_close(void);
/* A bus of its own, as another process would have. */
struct avow_bus *world_bus(void);
/* A fresh topic: its name in world.topic. kv: n settings. */
void world_topic(uint32_t partitions, const struct avow_bus_property *kv, size_t n);
/* A name that no other case uses. */
void world_name(char out[64], const char *base);
/* Deletes records below `offset` of world.topic. */
void world_delete_before(int32_t partition, int64_t offset);

/* --- What every case needs; all fail the test on an unexpected result --- */

struct avow_bus_producer *producer(const char *transactional_id);
struct avow_bus_consumer *reader(enum avow_bus_isolation isolation, int32_t partition,
                                 int64_t from);
/* Writes the value (and key) to partition p of world.topic, and flushes if the producer has no
 * transaction. */
void put(struct avow_bus_producer *p, int32_t partition, const char *value);
/* Reads until `n` values came; checks that they are the given ones, and that nothing more comes. */
void expect_values(struct avow_bus_consumer *c, size_t n, const char *const *values);
void expect_watermarks(struct avow_bus_consumer *c, int32_t partition, int64_t low, int64_t high);
/* Polls until the position is `offset`. */
void expect_position(struct avow_bus_consumer *c, int32_t partition, int64_t offset);
/* Polls once; AVOW_BUS (a broker that needs a moment) counts as nothing. */
enum avow_rc poll_quietly(struct avow_bus_consumer *c, struct avow_bus_msg *msg,
                          struct avow_err *err);

struct member { /* a consumer in a group, and what it was told */
    struct avow_bus_consumer *c;
    size_t owned;
    unsigned assigned, revoked, lost;
    int64_t start; /* offset at which it starts its partitions */
};
void member_open(struct member *m, struct avow_bus *bus, const char *group, const char *instance,
                 unsigned session_ms);
void member_close(struct member *m);
/* Polls until it owns `n` partitions. */
void member_wait(struct member *m, size_t n);

#define assert_rc(want, call)                                                                      \
    do {                                                                                           \
        struct avow_err rc_err = {0};                                                              \
        enum avow_rc rc_have = (call);                                                             \
        if (rc_have != (want))                                                                     \
            fail_msg("%s: %s (%s), not %s", #call, avow_rc_text(rc_have), rc_err.msg,              \
                     avow_rc_text(want));                                                          \
    } while (0)
#define ERR (&rc_err)

#endif
