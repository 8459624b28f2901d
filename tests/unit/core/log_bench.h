/* log_bench.h - a firmware log of a real machine that can be changed, and judged by a boot policy.
 * For tests. */
#ifndef AVOW_TESTS_LOG_BENCH_H
#define AVOW_TESTS_LOG_BENCH_H

#include "avow/core/boot_policy.h"

#include "avow/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define LOG_MAX (1u << 20)
#define EVENTS_MAX 256u

/* A log as events that can be changed. */
struct ev {
    uint32_t pcr, type;
    struct avow_event_digest digests[AVOW_EVENT_DIGESTS_MAX];
    size_t digests_count;
    struct avow_bytes data;
};
struct bench {
    struct avow_buf file, rebuilt;
    struct avow_event_log log;
    struct avow_event_replay replay;
    struct ev events[EVENTS_MAX];
    size_t count;
    struct avow_arena arena; /* of what a change made */
};

struct told {
    size_t count;
    size_t ids[AVOW_FINDING_COUNT];
    char text[4000];
};

void bench_init(struct bench *b, const char *machine);
void bench_deinit(struct bench *b);
/* The log of the changed events, as its sender would replay it. */
void rebuild(struct bench *b);
struct told judge(const struct bench *b, const char *policy);
struct avow_bytes keep(struct bench *b, const void *data, size_t len);
/* The event was of `what` from the beginning: what another boot measures. */
void measure(struct bench *b, struct ev *e, struct avow_bytes what);
/* The n-th event of a PCR, from 0. */
struct ev *nth(struct bench *b, uint32_t pcr, size_t n);
struct ev *with_text(struct bench *b, const char *text);
struct ev *with_variable(struct bench *b, uint32_t type, const char *name);
/* Anybody who owns the running system can extend a PCR once more. */
struct ev *extend(struct bench *b, const struct ev *like);
void drop(struct bench *b, struct ev *e);
void set_text(struct bench *b, struct ev *e, const char *label, const char *text);
/* The last byte of the data: the state of SecureBoot, a part of a hash in dbx or of a certificate.
 */
void change_last(struct bench *b, struct ev *e);

#endif
