/* mass_guard.h - holds back waves of silence. Layer: verifier-workers. Pure. PROTOCOL R8.
 * When more than max(20, 10 %) of a partition's agents would fall silent within 60 s, something of
 * ours is more likely at fault than they. They are held for one more silent_after, one alarm is
 * raised, and then they are let go at 50/s. */
#ifndef AVOW_WORKER_MASS_GUARD_H
#define AVOW_WORKER_MASS_GUARD_H

#include "avow/base/rate.h"

#include <stddef.h>

#define AVOW_MASS_GUARD_WINDOW_MS 60000u
#define AVOW_MASS_GUARD_MIN 20u
#define AVOW_MASS_GUARD_RATE 50u /* per second */

struct avow_mass_guard {
    uint64_t window_start_ms; /* service time */
    size_t crossed;           /* let go in this window */
    bool holding, releasing;
    uint64_t hold_until_ms; /* service time */
    struct avow_rate rate;  /* monotonic time */
};
struct avow_mass_guard_in {
    size_t crossing; /* agents that would fall silent now */
    size_t agents;   /* watched in this partition */
    uint64_t service_ms, mono_ms;
    uint64_t silent_after_ms;
};
struct avow_mass_guard_out {
    size_t allowed; /* how many of them may fall silent now */
    bool alarm;     /* a hold begins: say so once */
};
void avow_mass_guard_ask(struct avow_mass_guard *g, const struct avow_mass_guard_in *in,
                         struct avow_mass_guard_out *out);

#endif
