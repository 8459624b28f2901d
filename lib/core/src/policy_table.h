/* policy_table.h - names and their values, packed: one blob and an open-addressed index. Private to
 * lib/core. A name costs 4 bytes beside its own and 10 in the index, a value 1; so a path of 60
 * bytes with one SHA-256 takes 107 bytes. Immutable after finish. */
#ifndef AVOW_CORE_POLICY_TABLE_H
#define AVOW_CORE_POLICY_TABLE_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

struct avow_policy_slot {
    uint32_t offset; /* of a record, + 1; 0: empty */
    uint32_t tag;    /* upper half of the name's hash: another name's record is not even read */
};
struct avow_policy_table {
    uint8_t
        *blob; /* records: u16be name length, u16be values length, name, {u8 length, value}... */
    size_t len, cap;
    struct avow_policy_slot *slots;
    size_t slot_count;
    size_t last;          /* offset of the last record */
    size_t names, values; /* distinct names, values */
};

void avow_policy_table_deinit(struct avow_policy_table *t);
/* name at most 65535 bytes, value 1 to 255. Values of one name need not be put one after another,
 * but it is cheaper. Errors: AVOW_NOMEM, AVOW_LIMIT. */
enum avow_rc avow_policy_table_put(struct avow_policy_table *t, struct avow_str name,
                                   struct avow_bytes value, struct avow_err *err) AVOW_MUST_CHECK;
/* Call once, after the last put: gives back what growing left over. */
void avow_policy_table_finish(struct avow_policy_table *t);
bool avow_policy_table_has_name(const struct avow_policy_table *t, struct avow_str name);
bool avow_policy_table_has(const struct avow_policy_table *t, struct avow_str name,
                           struct avow_bytes value);
/* Every name and value of `a` is in `b`. False too when it cannot be found out without memory. */
bool avow_policy_table_is_subset(const struct avow_policy_table *a,
                                 const struct avow_policy_table *b);
size_t avow_policy_table_memory(const struct avow_policy_table *t);

#endif
