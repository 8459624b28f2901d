/* recode.h - decode and encode again, for any record by its schema. Tests only. */
#ifndef AVOW_TESTS_RECODE_H
#define AVOW_TESTS_RECODE_H

#include "avow/wire/wire.h"

#define RECODE_ARENA_MAX (2u * AVOW_WIRE_ARENA_MAX) /* a record, and its encoding again */

struct recode {
    const struct avow_wire_schema *schema;
    /* Decodes; on success appends the encoding of what was decoded. */
    enum avow_rc (*run)(struct avow_bytes in, struct avow_arena *arena, struct avow_buf *out,
                        struct avow_err *err);
    /* Decodes into a struct of a known pattern; true iff a failure left it alone. */
    bool (*spares_out)(struct avow_bytes in, struct avow_arena *arena, enum avow_rc *rc);
};
extern const struct recode recodes[];
extern const size_t recodes_count;

const struct recode *recode_find(const char *record);
/* By the fingerprint in the frame, else NULL. */
const struct recode *recode_of(struct avow_bytes framed);

#endif
