/* batch_end.c - where a batch ends that cannot be read. Its header would say so, but librdkafka
 * shows no headers. What it shows: fetching at an offset inside the batch fails for this batch, at
 * an offset behind it does not. The distance is doubled until one is behind, and then halved. */
#include "bus_impl.h"

#include "avow/base/clock.h"

#include "avow/base/banned.h"

#define TRY_MS 10000u /* of one offset */
#define POLL_MS 100u
#define WATERMARKS_MS 5000u

enum place { INSIDE, BEHIND };

/* Whether fetching at `tp` fails for the batch at `base`. */
static enum avow_rc look(struct avow_bus_consumer *c, const struct avow_bus_tp *tp, int64_t base,
                         enum place *out, struct avow_err *err)
{
    uint64_t began = avow_clock_mono_ms();
    enum avow_rc rc = avow_bus_assign(c, tp, 1, err);
    while (!rc) {
        struct avow_bus_msg m = {0};
        int64_t at;
        rc = avow_bus_poll(c, POLL_MS, &m, err);
        if (rc == AVOW_PARSE) {
            *out = m.offset == base ? INSIDE : BEHIND; /* another one, further on */
            return AVOW_OK;
        }
        if (!rc && m.topic) {
            *out = BEHIND;
            return AVOW_OK;
        }
        if (!rc) /* nothing but control records */
            rc = avow_bus_position(c, tp->topic, tp->partition, &at, err);
        if (!rc && at > tp->offset) {
            *out = BEHIND;
            return AVOW_OK;
        }
        if (!rc && avow_clock_mono_ms() - began > TRY_MS)
            rc = avow_err_set(err, AVOW_TIMEOUT, 0, "%s[%d]: nothing at %lld", tp->topic,
                              (int)tp->partition, (long long)tp->offset);
    }
    return rc;
}

/* base <= inside < end <= behind. */
static enum avow_rc narrow(struct avow_bus_consumer *c, const struct avow_bus_tp *batch,
                           int64_t high, int64_t *out, struct avow_err *err)
{
    int64_t inside = batch->offset, behind = high, step = 1;
    bool doubling = true;
    while (behind - inside > 1) {
        struct avow_bus_tp tp = *batch;
        enum place place;
        tp.offset = doubling ? inside + step : inside + (behind - inside) / 2;
        if (tp.offset >= behind)
            tp.offset = inside + (behind - inside) / 2;
        enum avow_rc rc = look(c, &tp, batch->offset, &place, err);
        if (rc)
            return rc;
        if (place == INSIDE)
            inside = tp.offset;
        else
            behind = tp.offset;
        doubling = doubling && place == INSIDE;
        step *= 2;
    }
    *out = behind;
    return AVOW_OK;
}

enum avow_rc avow_bus_batch_end(struct avow_bus *b, const struct avow_bus_tp *batch, int64_t *out,
                                struct avow_err *err)
{
    AVOW_CLEANUP(avow_bus_consumer_free) struct avow_bus_consumer *c = NULL;
    struct avow_bus_consumer_opts opts = {
        .isolation = AVOW_BUS_READ_UNCOMMITTED, .fetch_wait_ms = 10, .error_backoff_ms = 10};
    int64_t low, high = 0;
    enum avow_rc rc = avow_bus_consumer_new(b, &opts, &c, err);
    if (!rc)
        rc =
            avow_bus_watermarks(c, batch->topic, batch->partition, WATERMARKS_MS, &low, &high, err);
    if (rc)
        return rc;
    if (high <= batch->offset)
        return avow_err_set(err, AVOW_TIMEOUT, 0, "%s[%d] ends at %lld", batch->topic,
                            (int)batch->partition, (long long)high);
    return narrow(c, batch, high, out, err);
}
