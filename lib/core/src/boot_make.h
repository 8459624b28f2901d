/* boot_make.h - the part of a boot policy that one log gives. Private to lib/core. */
#ifndef AVOW_CORE_SRC_BOOT_MAKE_H
#define AVOW_CORE_SRC_BOOT_MAKE_H

#include "avow/core/boot_make.h"
#include "avow/core/event_replay.h"

#include <jansson.h>

struct avow_boot_made {
    json_t *boot;     /* members of a boot */
    json_t *firmware; /* NULL, or an element of "firmware" */
};
/* Bit i: PCR i has an event. */
uint32_t avow_boot_make_seen(const struct avow_event_log *log);
/* Judges the PCRs in `seen`, even if this log has no event of one. What is in *out is the caller's
 * in any case. Errors: AVOW_NOMEM. */
enum avow_rc avow_boot_make_log(const struct avow_boot_make *in, const struct avow_event_log *log,
                                const struct avow_event_replay *replay, uint32_t seen,
                                struct avow_boot_made *out) AVOW_MUST_CHECK;

#endif
