/* dm_state.h - the devices that the device mapper has told of so far, as the state record holds
 * them, and the judgement of the next event. Private to lib/core. */
#ifndef AVOW_CORE_DM_STATE_H
#define AVOW_CORE_DM_STATE_H

#include "dm_event.h"
#include "dm_policy.h"

#include "avow/core/findings.h"

#define AVOW_DM_STATE_MAX 1024u /* schemas/state.avsc; 15 devices with names of 32 bytes */

struct avow_dm_state {
    size_t len;
    uint8_t bytes[AVOW_DM_STATE_MAX]; /* records: u8 key length, u8 rule, u8 flags, SHA-256 of the
                                         table, key */
};
/* False if it is none, or refers to rules that are not there. */
bool avow_dm_state_load(const struct avow_dm_policy *p, struct avow_bytes in,
                        struct avow_dm_state *out) AVOW_MUST_CHECK;

struct avow_dm_fault { /* why an event is not allowed; texts are static or borrow from the event */
    enum avow_finding_id id;
    const char *what;
    struct avow_str device, value;
};
/* True if the event is allowed; the state is what it leads to. `data` is its text. */
bool avow_dm_judge(const struct avow_dm_policy *p, enum avow_dm_event_kind kind,
                   struct avow_bytes data, struct avow_dm_state *s, struct avow_dm_fault *fault);
/* Faults of the whole, to be asked one after another with *at = 0 first: devices that were not
 * resumed, and rules that demand a device which is not there. */
bool avow_dm_next_lack(const struct avow_dm_policy *p, const struct avow_dm_state *s, size_t *at,
                       struct avow_dm_fault *fault);

#endif
