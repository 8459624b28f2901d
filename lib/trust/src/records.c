#include "avow/trust/records.h"

#include "avow/wire/bundle.h"
#include "avow/wire/directive.h"
#include "avow/wire/enrollment.h"
#include "avow/wire/identity.h"
#include "avow/wire/marker.h"
#include "avow/wire/policy_head.h"
#include "avow/wire/revocation.h"
#include "avow/wire/state.h"
#include "avow/wire/verdict.h"

#include "header.h"
#include "proof_internal.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "avow/base/banned.h"

#define ABSENT SIZE_MAX

enum key_form { KEY_BUNDLE, KEY_AGENT, KEY_HEAD, KEY_MARKER };

typedef enum avow_rc decode_fn(struct avow_bytes in, struct avow_arena *arena, void *out,
                               struct avow_err *err);
typedef enum avow_rc encode_fn(const void *v, struct avow_buf *out, struct avow_err *err);

/* What differs between records. The offsets are those of fields in the decoded struct, ABSENT where
 * there is none. */
struct record_type {
    const struct avow_wire_schema *schema;
    decode_fn *decode;
    encode_fn *encode;
    size_t size;
    size_t fleet, key, partition, generation;
    enum avow_role role;
    enum key_form form;
};

/* Room for any decoded record, so that the caller's struct is written on success only. */
union any_record {
    struct avow_identity identity;
    struct avow_enrollment enrollment;
    struct avow_policy_head policy_head;
    struct avow_marker marker;
    struct avow_directive directive;
    struct avow_verdict verdict;
    struct avow_revocation revocation;
    struct avow_state state;
};

#define CODEC(name)                                                                                \
    static enum avow_rc decode_##name(struct avow_bytes in, struct avow_arena *arena, void *out,   \
                                      struct avow_err *err)                                        \
    {                                                                                              \
        return avow_##name##_decode(in, arena, out, err);                                          \
    }                                                                                              \
    static enum avow_rc encode_##name(const void *v, struct avow_buf *out, struct avow_err *err)   \
    {                                                                                              \
        return avow_##name##_encode(v, out, err);                                                  \
    }

#define TYPE(name, partition_at, generation_at, role_, form_)                                      \
    static const struct record_type type_##name = {.schema = &avow_wire_##name##_schema,           \
                                                   .decode = decode_##name,                        \
                                                   .encode = encode_##name,                        \
                                                   .size = sizeof(struct avow_##name),             \
                                                   .fleet = offsetof(struct avow_##name, fleet),   \
                                                   .key = offsetof(struct avow_##name, key),       \
                                                   .partition = (partition_at),                    \
                                                   .generation = (generation_at),                  \
                                                   .role = (role_),                                \
                                                   .form = (form_)}

CODEC(bundle)
CODEC(identity)
CODEC(enrollment)
CODEC(policy_head)
CODEC(marker)
CODEC(directive)
CODEC(verdict)
CODEC(revocation)
CODEC(state)

/* The table of PROTOCOL B1 and B2: which role signs which record, under which key. `generation` is
 * given where the bundle's generation_floor applies. A bundle is signed by root and state has a
 * MAC: their role is not looked at. */
TYPE(bundle, ABSENT, ABSENT, AVOW_ROLE_COUNT, KEY_BUNDLE);
TYPE(identity, ABSENT, ABSENT, AVOW_ROLE_REGISTRAR, KEY_AGENT);
TYPE(enrollment, ABSENT, offsetof(struct avow_enrollment, generation), AVOW_ROLE_ENROLL, KEY_AGENT);
TYPE(policy_head, ABSENT, offsetof(struct avow_policy_head, generation), AVOW_ROLE_POLICY,
     KEY_HEAD);
TYPE(marker, offsetof(struct avow_marker, partition), ABSENT, AVOW_ROLE_WORKER, KEY_MARKER);
TYPE(directive, offsetof(struct avow_directive, partition), ABSENT, AVOW_ROLE_WORKER, KEY_AGENT);
TYPE(verdict, ABSENT, ABSENT, AVOW_ROLE_WORKER, KEY_AGENT);
TYPE(revocation, ABSENT, ABSENT, AVOW_ROLE_WORKER, KEY_AGENT);
TYPE(state, offsetof(struct avow_state, partition), ABSENT, AVOW_ROLE_COUNT, KEY_AGENT);

/* A field by its offset; a copy, because the object's type is not known here. */
static void get(const union any_record *v, size_t offset, void *out, size_t size)
{
    memcpy(out, (const uint8_t *)v + offset, size);
}

static bool key_is_well_formed(enum key_form form, struct avow_str key, struct avow_str *name)
{
    static const char HEAD[] = "head/";
    *name = (struct avow_str){NULL, 0};
    switch (form) {
    case KEY_BUNDLE:
        return avow_str_is(key, "bundle");
    case KEY_MARKER:
        return avow_str_is(key,
                           "marker"); /* about a partition: signed by who may sign for everybody */
    case KEY_AGENT:
        *name = key;
        return avow_name_is_valid(key);
    case KEY_HEAD:
        if (!avow_str_starts(key, HEAD))
            return false;
        *name = (struct avow_str){key.ptr + sizeof HEAD - 1, key.len - (sizeof HEAD - 1)};
        return avow_name_is_valid(*name);
    }
    return false;
}

/* Size, frame, decoding, then fleet, key and partition: everything before authority. */
static enum avow_rc open_unsigned(const struct record_type *type, const uint8_t fleet[16],
                                  const struct avow_record_in *in, struct avow_arena *arena,
                                  union any_record *v, struct avow_str *name, struct avow_err *err)
{
    uint8_t record_fleet[16];
    struct avow_str key;
    int32_t partition = in->partition;
    if (in->value.len > type->schema->max_value)
        return avow_err_set(err, AVOW_LIMIT, 0, "%zu bytes; the limit is %zu", in->value.len,
                            type->schema->max_value);
    enum avow_rc rc = type->decode(in->value, arena, v, err);
    if (rc)
        return rc;
    get(v, type->fleet, record_fleet, sizeof record_fleet);
    get(v, type->key, &key, sizeof key);
    rc = avow_header_check(fleet, record_fleet, key, in->kafka_key, err);
    if (rc)
        return rc;
    if (!key_is_well_formed(type->form, key, name))
        return avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_KEY,
                            "such a record cannot have this key");
    if (type->partition != ABSENT)
        get(v, type->partition, &partition, sizeof partition);
    if (partition != in->partition)
        return avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_PARTITION,
                            "written for partition %" PRId32 ", read from %" PRId32, partition,
                            in->partition);
    return AVOW_OK;
}

static enum avow_rc check_floor(const struct record_type *type, const struct avow_trust *t,
                                const union any_record *v, struct avow_err *err)
{
    uint64_t generation, floor = avow_trust_bundle(t)->generation_floor;
    if (type->generation == ABSENT)
        return AVOW_OK;
    get(v, type->generation, &generation, sizeof generation);
    if (generation >= floor)
        return AVOW_OK;
    return avow_err_set(err, AVOW_ROLLBACK, 0,
                        "generation %" PRIu64 " is below the bundle's floor %" PRIu64, generation,
                        floor);
}

static enum avow_rc open_signed(const struct record_type *type, const struct avow_trust *t,
                                const struct avow_record_in *in, struct avow_arena *arena,
                                void *out, struct avow_err *err)
{
    union any_record v;
    struct avow_str name;
    enum avow_rc rc = open_unsigned(type, avow_trust_bundle(t)->fleet, in, arena, &v, &name, err);
    if (!rc)
        rc = avow_trust_verify(t, type->role, name, type->schema, in->value, err);
    if (!rc)
        rc = check_floor(type, t, &v, err);
    if (rc)
        return avow_err_wrap(err, rc, "%s", type->schema->name);
    memcpy(out, &v, type->size);
    return AVOW_OK;
}

static enum avow_rc seal_signed(const struct record_type *type, const void *v,
                                const struct avow_privkey *key, struct avow_buf *out,
                                struct avow_err *err)
{
    size_t start = out->len;
    enum avow_rc rc = type->encode(v, out, err);
    if (!rc)
        rc = avow_proof_sign_at(type->schema, key, out, start, err);
    if (!rc)
        return AVOW_OK;
    if (out->len > start)
        out->len = start;
    return avow_err_wrap(err, rc, "%s", type->schema->name);
}

#define DEFINE_OPEN(name)                                                                          \
    enum avow_rc avow_open_##name(const struct avow_trust *t, const struct avow_record_in *in,     \
                                  struct avow_arena *arena, struct avow_##name *out,               \
                                  struct avow_err *err)                                            \
    {                                                                                              \
        return open_signed(&type_##name, t, in, arena, out, err);                                  \
    }
#define DEFINE_SEAL(name)                                                                          \
    enum avow_rc avow_seal_##name(const struct avow_##name *v, const struct avow_privkey *key,     \
                                  struct avow_buf *out, struct avow_err *err)                      \
    {                                                                                              \
        return seal_signed(&type_##name, v, key, out, err);                                        \
    }

DEFINE_OPEN(identity)
DEFINE_OPEN(enrollment)
DEFINE_OPEN(policy_head)
DEFINE_OPEN(marker)
DEFINE_OPEN(directive)
DEFINE_OPEN(verdict)
DEFINE_OPEN(revocation)
DEFINE_SEAL(bundle)
DEFINE_SEAL(identity)
DEFINE_SEAL(enrollment)
DEFINE_SEAL(policy_head)
DEFINE_SEAL(marker)
DEFINE_SEAL(directive)
DEFINE_SEAL(verdict)
DEFINE_SEAL(revocation)

enum avow_rc avow_open_state(const uint8_t fleet[16], const struct avow_mac_key *keys, size_t n,
                             const struct avow_record_in *in, struct avow_arena *arena,
                             struct avow_state *out, struct avow_err *err)
{
    union any_record v;
    struct avow_str name;
    enum avow_rc rc = open_unsigned(&type_state, fleet, in, arena, &v, &name, err);
    if (!rc && !avow_mac_verify(type_state.schema, keys, n, in->value))
        rc = avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_SIGNATURE,
                          "MAC is wrong, or by a key that we do not have");
    if (rc)
        return avow_err_wrap(err, rc, "%s", type_state.schema->name);
    *out = v.state;
    return AVOW_OK;
}

enum avow_rc avow_seal_state(const struct avow_state *v, const struct avow_mac_key *key,
                             struct avow_buf *out, struct avow_err *err)
{
    size_t start = out->len;
    enum avow_rc rc = encode_state(v, out, err);
    if (!rc)
        rc = avow_mac_sign_at(type_state.schema, key, out, start, err);
    if (!rc)
        return AVOW_OK;
    if (out->len > start)
        out->len = start;
    return avow_err_wrap(err, rc, "%s", type_state.schema->name);
}
