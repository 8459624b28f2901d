#include "log_limit.h"

#include "avow/base/bytes.h"

#include "avow/base/banned.h"

#define WINDOW_MS 60000u

static unsigned place_of(const struct avow_log_limit *l, const char *event)
{
    unsigned i = 0;
    while (i < AVOW_LOG_LIMIT_EVENTS - 1 && l->events[i].event &&
           !avow_cstr_eq(l->events[i].event, event))
        i++;
    return i;
}

bool avow_log_limit_allows(struct avow_log_limit *l, const char *event, unsigned per_minute,
                           uint64_t now_ms, uint64_t *suppressed)
{
    unsigned i = place_of(l, event);
    if (!l->events[i].event || now_ms < l->events[i].window_ms ||
        now_ms - l->events[i].window_ms >= WINDOW_MS) {
        l->events[i].event = event;
        l->events[i].window_ms = now_ms;
        l->events[i].lines = 0;
    }
    if (l->events[i].lines >= per_minute) {
        l->events[i].suppressed++;
        return false;
    }
    l->events[i].lines++;
    *suppressed = l->events[i].suppressed;
    l->events[i].suppressed = 0;
    return true;
}
