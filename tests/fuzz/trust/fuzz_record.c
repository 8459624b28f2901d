/* fuzz_record.c - bytes as any signed record or as state: never accepted as they are; signed by a
 * key with every role, only if header and key fit. The first byte chooses the record and the key.
 */
#include "fleet.h"

#include "avow/wire/directive.h"
#include "avow/wire/enrollment.h"
#include "avow/wire/identity.h"
#include "avow/wire/marker.h"
#include "avow/wire/policy_head.h"
#include "avow/wire/revocation.h"
#include "avow/wire/state.h"
#include "avow/wire/verdict.h"

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PARTITION 3

#define OPEN(name)                                                                                 \
    static enum avow_rc open_##name(const struct avow_trust *t, const struct avow_record_in *in,   \
                                    struct avow_arena *arena)                                      \
    {                                                                                              \
        struct avow_##name v;                                                                      \
        enum avow_rc rc = avow_open_##name(t, in, arena, &v, NULL);                                \
        assert(rc || (avow_bytes_eq(avow_bytes_make(v.key.ptr, v.key.len), in->kafka_key) &&       \
                      avow_bytes_eq(AVOW_BYTES_OF(v.fleet), avow_bytes_make(FLEET_ID, 16))));      \
        return rc;                                                                                 \
    }
OPEN(identity)
OPEN(enrollment)
OPEN(policy_head)
OPEN(marker)
OPEN(directive)
OPEN(verdict)
OPEN(revocation)

static struct avow_mac_key mac_key;
static enum avow_rc open_state(const struct avow_trust *t, const struct avow_record_in *in,
                               struct avow_arena *arena)
{
    struct avow_state v;
    enum avow_rc rc =
        avow_open_state(avow_trust_bundle(t)->fleet, &mac_key, 1, in, arena, &v, NULL);
    assert(rc || v.partition == in->partition);
    return rc;
}

static const struct {
    const struct avow_wire_schema *schema;
    enum avow_rc (*open)(const struct avow_trust *t, const struct avow_record_in *in,
                         struct avow_arena *arena);
    const char *key;
} KINDS[] = {
    {&avow_wire_identity_schema, open_identity, "agent-1"},
    {&avow_wire_enrollment_schema, open_enrollment, "agent-1"},
    {&avow_wire_policy_head_schema, open_policy_head, "head/base"},
    {&avow_wire_marker_schema, open_marker, "marker"},
    {&avow_wire_directive_schema, open_directive, "agent-1"},
    {&avow_wire_verdict_schema, open_verdict, "agent-1"},
    {&avow_wire_revocation_schema, open_revocation, "agent-1"},
    {&avow_wire_state_schema, open_state, "agent-1"},
};
#define STATE_KIND (AVOW_ARRAY_LEN(KINDS) - 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct fleet *f = fleet_get();
    if (!size)
        return 0;
    size_t kind = data[0] % AVOW_ARRAY_LEN(KINDS);
    struct avow_arena arena;
    struct avow_buf record;
    avow_arena_init(&arena, AVOW_WIRE_ARENA_MAX);
    avow_buf_init(&record, FLEET_RECORD_MAX);
    struct avow_record_in in = {{(const uint8_t *)KINDS[kind].key, strlen(KINDS[kind].key)},
                                {data + 1, size - 1},
                                PARTITION};
    if (!mac_key.id[0])
        avow_mac_key_init(&mac_key, (const uint8_t *)"0123456789abcdef0123456789abcdef");
    if (kind != STATE_KIND) { /* a MAC key is fixed here, so its records may be in the corpus */
        enum avow_rc rc = KINDS[kind].open(f->trust, &in, &arena);
        assert(rc != AVOW_OK);
    }
    avow_buf_put(&record, data + 1, size - 1);
    enum avow_rc rc = record.failed ? record.failed
                      : kind == STATE_KIND
                          ? avow_mac_sign(KINDS[kind].schema, &mac_key, &record, NULL)
                          : avow_proof_sign(KINDS[kind].schema, f->key, &record, NULL);
    if (!rc) {
        in.value = avow_buf_bytes(&record);
        rc = KINDS[kind].open(f->trust, &in, &arena);
        assert(rc == AVOW_OK || rc == AVOW_LIMIT || rc == AVOW_PARSE || rc == AVOW_UNTRUSTED ||
               rc == AVOW_ROLLBACK);
    }
    avow_buf_deinit(&record);
    avow_arena_deinit(&arena);
    return 0;
}
