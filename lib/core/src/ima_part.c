/* ima_part.c - the frames of a part (PROTOCOL B4): {u8 type, u32be length, bytes}. The part is
 * attributed when this runs, so what is malformed is a finding. */
#include "core_internal.h"

#include "avow/base/banned.h"

enum { FRAME_IMA = 1, FRAME_BOOT_LOG = 2 };

static bool malformed(struct avow_eval *ev, const char *reason)
{
    AVOW_FIND(ev, EVIDENCE_MALFORMED, "part 1", "%s", reason);
    return false;
}

static bool walk_entries(struct avow_eval *ev, struct avow_bytes frame)
{
    struct avow_fold *f = &ev->fold;
    struct avow_rd r = avow_rd_make(frame);
    struct avow_ima_entry e;
    for (;;) {
        switch (avow_ima_entry_next(&r, &e)) {
        case AVOW_IMA_END:
            return true;
        case AVOW_IMA_ENTRY:
            break;
        case AVOW_IMA_TOO_LARGE:
            AVOW_FIND(ev, IMA_ENTRY_TOO_LARGE, avow_ima_where(ev), "more than %u bytes",
                      AVOW_IMA_ENTRY_MAX);
            return false;
        case AVOW_IMA_TRUNCATED:
            return malformed(ev, "an IMA entry ends after its frame");
        case AVOW_IMA_MALFORMED:
        default:
            return malformed(ev, "an IMA entry is malformed");
        }
        if (f->index == f->end)
            return malformed(ev, "more IMA entries than the body announces");
        avow_fold_entry(ev, &e);
    }
}

bool avow_ima_part(struct avow_eval *ev)
{
    struct avow_rd r = avow_rd_make(ev->in->evidence->part);
    bool log_seen = false;
    while (avow_rd_left(&r)) {
        uint8_t type = avow_rd_u8(&r);
        uint32_t len = avow_rd_u32be(&r);
        struct avow_bytes frame = avow_rd_take(&r, len);
        if (r.bad)
            return malformed(ev, "a frame ends after its part");
        if (type == FRAME_IMA) {
            if (!ev->ima_present)
                return malformed(ev, "IMA entries although there is no IMA list");
            if (!walk_entries(ev, frame))
                return false;
        } else if (type == FRAME_BOOT_LOG) {
            if (log_seen)
                return malformed(ev, "two boot logs");
            log_seen = true;
            if (!avow_boot_log(ev, frame))
                return malformed(ev, "the boot log is not the one that the body names");
        } else {
            return malformed(ev, "unknown frame type");
        }
    }
    if (ev->fold.index != ev->fold.end && ev->in->body->parts <= 1)
        return malformed(ev, "fewer IMA entries than the body announces");
    return true;
}
