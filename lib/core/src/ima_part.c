/* ima_part.c - the frames of a part (PROTOCOL B4): {u8 type, u32be length, bytes}. The part is
 * attributed when this runs, so what is malformed is a finding. */
#include "core_internal.h"

#include "avow/base/banned.h"

enum { FRAME_IMA = 1, FRAME_BOOT_LOG = 2 };

static bool malformed(struct avow_eval *ev, const char *reason)
{
    AVOW_FIND(ev, EVIDENCE_MALFORMED, avow_arena_printf(ev->arena, "part %u", ev->part_index), "%s",
              reason);
    return false;
}

bool avow_part_is_last(const struct avow_eval *ev)
{
    return ev->part_index >= ev->in->body->parts;
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

static bool take_boot_log(struct avow_eval *ev, struct avow_bytes log)
{
    if (ev->part_index > 1)
        return malformed(ev, "a boot log behind part 1");
    if (ev->boot_log_seen)
        return malformed(ev, "two boot logs");
    if (!avow_boot_log(ev, log))
        return malformed(ev, "the boot log is not the one that the body names");
    return true;
}

static bool take_frame(struct avow_eval *ev, uint8_t type, struct avow_bytes frame)
{
    switch (type) {
    case FRAME_IMA:
        return ev->ima_present ? walk_entries(ev, frame)
                               : malformed(ev, "IMA entries although there is no IMA list");
    case FRAME_BOOT_LOG:
        return take_boot_log(ev, frame);
    default:
        return malformed(ev, "unknown frame type");
    }
}

bool avow_ima_part(struct avow_eval *ev)
{
    struct avow_rd r = avow_rd_make(ev->part);
    if (ev->parts_bytes > AVOW_EVIDENCE_BYTES_MAX)
        return malformed(ev, "the parts are larger than an evidence may be");
    while (avow_rd_left(&r)) {
        uint8_t type = avow_rd_u8(&r);
        uint32_t len = avow_rd_u32be(&r);
        struct avow_bytes frame = avow_rd_take(&r, len);
        if (r.bad)
            return malformed(ev, "a frame ends after its part");
        if (!take_frame(ev, type, frame))
            return false;
    }
    if (ev->part_index == 1 && ev->in->body->has_boot_log && !ev->boot_log_seen)
        return malformed(ev, "the boot log that the body names is not in part 1");
    bool last = avow_part_is_last(ev);
    if (last && !avow_bytes_all(AVOW_BYTES_OF(ev->part_next), 0))
        return malformed(ev, "the last part names another one");
    if (!last && avow_bytes_all(AVOW_BYTES_OF(ev->part_next), 0))
        return malformed(ev, "fewer parts than the body announces");
    if (last && ev->fold.index != ev->fold.end)
        return malformed(ev, "fewer IMA entries than the body announces");
    return true;
}
