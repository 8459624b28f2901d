#include "recode.h"

#include "avow/wire/all.h"

#include "avow/base/banned.h"

#define PATTERN 0xA5

#define X(name)                                                                                    \
    static enum avow_rc run_##name(struct avow_bytes in, struct avow_arena *arena,                 \
                                   struct avow_buf *out, struct avow_err *err)                     \
    {                                                                                              \
        struct avow_##name v;                                                                      \
        enum avow_rc rc = avow_##name##_decode(in, arena, &v, err);                                \
        return rc ? rc : avow_##name##_encode(&v, out, err);                                       \
    }                                                                                              \
    static bool spares_##name(struct avow_bytes in, struct avow_arena *arena, enum avow_rc *rc)    \
    {                                                                                              \
        struct avow_##name v;                                                                      \
        memset(&v, PATTERN, sizeof v);                                                             \
        *rc = avow_##name##_decode(in, arena, &v, NULL);                                           \
        return *rc == AVOW_OK || avow_bytes_all(avow_bytes_make(&v, sizeof v), PATTERN);           \
    }
AVOW_WIRE_RECORDS(X)
#undef X

const struct recode recodes[] = {
#define X(name) {&avow_wire_##name##_schema, run_##name, spares_##name},
    AVOW_WIRE_RECORDS(X)
#undef X
};
const size_t recodes_count = AVOW_ARRAY_LEN(recodes);

const struct recode *recode_find(const char *record)
{
    for (size_t i = 0; i < recodes_count; i++)
        if (avow_cstr_eq(recodes[i].schema->record, record))
            return &recodes[i];
    return NULL;
}

const struct recode *recode_of(struct avow_bytes framed)
{
    uint64_t fingerprint;
    if (!avow_wire_frame(framed, &fingerprint))
        return NULL;
    for (size_t i = 0; i < recodes_count; i++)
        if (recodes[i].schema->fingerprint == fingerprint)
            return &recodes[i];
    return NULL;
}
