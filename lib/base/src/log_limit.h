/* log_limit.h - how many lines of one event a minute may have. Layer: base. Pure: time is an
 * argument. */
#ifndef AVOW_BASE_LOG_LIMIT_H
#define AVOW_BASE_LOG_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define AVOW_LOG_LIMIT_EVENTS 64u /* further events share the last place */

struct avow_log_limit {
    struct {
        const char *event;  /* borrowed for ever: event names are literals; NULL: free */
        uint64_t window_ms; /* start of the minute */
        uint32_t lines;
        uint64_t suppressed;
    } events[AVOW_LOG_LIMIT_EVENTS];
};

/* May this line be written? If so, *suppressed receives how many were dropped since the last that
 * was. */
bool avow_log_limit_allows(struct avow_log_limit *l, const char *event, unsigned per_minute,
                           uint64_t now_ms, uint64_t *suppressed);

#endif
