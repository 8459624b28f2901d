/* prom.h - what is counted, as text for Prometheus. Layer: http. Pure.
 * Spec: Prometheus text exposition format 0.0.4. Names follow its conventions: base units
 * (seconds),
 * `_total` for counters. */
#ifndef AVOW_HTTP_PROM_H
#define AVOW_HTTP_PROM_H

#include "avow/base/buf.h"

#define AVOW_PROM_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The two lines before the samples of a name; type: counter, gauge or histogram. */
void avow_prom_head(struct avow_buf *out, const char *name, const char *type, const char *help);
/* name{label="text"} value; label NULL: none. Quotes, backslashes and line feeds in `text` are
 * escaped. */
void avow_prom_sample(struct avow_buf *out, const char *name, const char *label, const char *text,
                      uint64_t value);
/* Head and the only sample. */
void avow_prom_single(struct avow_buf *out, const char *name, const char *type, const char *help,
                      uint64_t value);
/* As avow_prom_single, with a gauge of milliseconds shown in seconds. */
void avow_prom_seconds(struct avow_buf *out, const char *name, const char *help, uint64_t ms);

/* How often something took how long. */
#define AVOW_PROM_BOUNDS_MAX 16u
struct avow_prom_bounds { /* constant, ascending */
    uint64_t us[AVOW_PROM_BOUNDS_MAX];
    size_t count;
};
struct avow_prom_times {
    uint64_t buckets[AVOW_PROM_BOUNDS_MAX + 1]; /* the last one: above all bounds */
    uint64_t sum_us;
};
void avow_prom_observe(struct avow_prom_times *t, const struct avow_prom_bounds *b, uint64_t us);
/* sum += t, bucket by bucket. */
void avow_prom_add(struct avow_prom_times *sum, const struct avow_prom_times *t);
void avow_prom_histogram(struct avow_buf *out, const char *name, const char *help,
                         const struct avow_prom_times *t, const struct avow_prom_bounds *b);

#endif
