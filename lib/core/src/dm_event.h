/* dm_event.h - what the device mapper says of a device in the measurement list. Private to
 * lib/core. Spec: linux v6.6 drivers/md/dm-ima.c, Documentation/admin-guide/device-mapper/
 * dm-ima.rst. Input: attacker-controlled. */
#ifndef AVOW_CORE_DM_EVENT_H
#define AVOW_CORE_DM_EVENT_H

#include "avow/base/bytes.h"

enum avow_dm_event_kind {
    AVOW_DM_OTHER = 0, /* the name is none of these */
    AVOW_DM_TABLE_LOAD,
    AVOW_DM_DEVICE_RESUME,
    AVOW_DM_DEVICE_REMOVE,
    AVOW_DM_TABLE_CLEAR,
    AVOW_DM_DEVICE_RENAME,
    AVOW_DM_TARGET_UPDATE
};
enum avow_dm_event_kind avow_dm_event_kind(struct avow_str name);

struct avow_dm_event { /* borrows; values as they stand, with escapes */
    enum avow_dm_event_kind kind;
    struct avow_str meta[5];     /* name, uuid, major, minor, minor_count; those after uuid may be
                                    empty */
    struct avow_str num_targets; /* may be empty */
    struct avow_str table_hash;  /* of a resume: "sha256:" hex; empty if there is no table */
    struct avow_str new_name, new_uuid;
    struct avow_str targets; /* of a load or update: rows, each closed by ';' */
};
/* False if it is malformed. */
bool avow_dm_event_parse(enum avow_dm_event_kind kind, struct avow_str text,
                         struct avow_dm_event *out) AVOW_MUST_CHECK;
/* Cuts the next row off. False at the end; *rest is then empty unless the text is malformed. */
bool avow_dm_next_row(struct avow_str *rest, struct avow_str *row);
/* Value of an attribute within a row. */
bool avow_dm_row_get(struct avow_str row, const char *key, struct avow_str *value);
/* The text without escapes. False if it does not fit into `cap` bytes. */
bool avow_dm_unescape(struct avow_str in, char *buf, size_t cap, struct avow_str *out);

#endif
