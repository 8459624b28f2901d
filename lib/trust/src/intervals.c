#include "avow/trust/bundle.h"

#include <inttypes.h>

#include "avow/base/banned.h"

#define SECOND_MS 1000u
#define EPOCH_MIN_MS SECOND_MS
#define EPOCH_MAX_MS (300u * SECOND_MS)
#define DAY_MS 86400000u
#define HEARTBEAT_MIN_MS SECOND_MS
#define HEARTBEAT_MAX_MS DAY_MS

/* PROTOCOL B6: one row per field with limits of its own. */
static enum avow_rc check_range(const char *name, uint32_t value, uint32_t min, uint32_t max,
                                struct avow_err *err)
{
    if (value >= min && value <= max)
        return AVOW_OK;
    return avow_err_set(err, AVOW_CONFIG, 0,
                        "%s is %" PRIu32 "; %" PRIu32 " to %" PRIu32 " are allowed", name, value,
                        min, max);
}

static enum avow_rc check_ranges(const struct avow_bundle *b, struct avow_err *err)
{
    const struct {
        const char *name;
        uint32_t value, min, max;
    } rows[] = {
        {"epoch_ms", b->epoch_ms, EPOCH_MIN_MS, EPOCH_MAX_MS},
        {"heartbeat_ms", b->heartbeat_ms, HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS},
        {"verdict_refresh_ms", b->verdict_refresh_ms, 1, DAY_MS},
        {"min_interval_ms", b->min_interval_ms, 0, b->heartbeat_ms},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(rows); i++) {
        enum avow_rc rc = check_range(rows[i].name, rows[i].value, rows[i].min, rows[i].max, err);
        if (rc)
            return rc;
    }
    return AVOW_OK;
}

enum avow_rc avow_trust_check_intervals(const struct avow_bundle *b, struct avow_err *err)
{
    enum avow_rc rc = check_ranges(b, err);
    if (rc)
        return rc;
    /* Times ten, so that 1.1 and 2.2 heartbeats are whole numbers; 64 bits hold every sum of 32-bit
     * values. */
    uint64_t heartbeat = b->heartbeat_ms, epoch = b->epoch_ms;
    uint64_t proven = 10 * (uint64_t)b->verdict_refresh_ms + 11 * heartbeat + 10 * epoch;
    uint64_t heard = 22 * heartbeat + 20 * epoch;
    if (10 * (uint64_t)b->validity_ms <= proven)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "validity_ms is %" PRIu32
                            "; it must be more than verdict_refresh + 1.1 heartbeat + epoch = "
                            "%" PRIu64 ", or trust runs out between two verdicts",
                            b->validity_ms, proven / 10);
    if (10 * (uint64_t)b->silent_after_ms <= heard)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "silent_after_ms is %" PRIu32
                            "; it must be more than 2.2 heartbeat + 2 epochs = %" PRIu64
                            ", or one lost heartbeat is silence",
                            b->silent_after_ms, heard / 10);
    if (3 * (uint64_t)b->verdict_refresh_ms > b->validity_ms)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "verdict_refresh_ms is %" PRIu32
                            "; it must be at most a third of validity_ms, %" PRIu32,
                            b->verdict_refresh_ms, b->validity_ms / 3);
    return AVOW_OK;
}
