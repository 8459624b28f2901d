#include "avow/trust/bundle.h"

#include "avow/wire/bundle.h"

#include "avow/base/hex.h"

#include "glob.h"
#include "header.h"
#include "proof_internal.h"
#include "root.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define BUNDLE_KEYS_MAX 64u      /* avow.max_items of Bundle.keys */
#define BUNDLE_ARENA_MAX 262144u /* 64 keys with all their roles and names are 25 KiB */
#define PARTITIONS_MAX 512u      /* PROTOCOL B6 */

struct avow_trust {
    struct avow_buf record; /* what bundle borrows from */
    struct avow_arena arena;
    struct avow_bundle bundle;
    struct avow_pubkey *keys[BUNDLE_KEYS_MAX]; /* as in bundle.keys */
};

void avow_trust_free(struct avow_trust *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < BUNDLE_KEYS_MAX; i++)
        avow_pubkey_free(t->keys[i]);
    avow_arena_deinit(&t->arena);
    avow_buf_deinit(&t->record);
    free(t);
}

const struct avow_bundle *avow_trust_bundle(const struct avow_trust *t)
{
    return &t->bundle;
}

struct avow_bytes avow_trust_record(const struct avow_trust *t)
{
    return avow_buf_bytes(&t->record);
}

static bool has_role(const struct avow_bundle_key *k, enum avow_role role)
{
    for (size_t i = 0; i < k->roles_count; i++)
        if (k->roles[i] == role)
            return true;
    return false;
}

static const struct avow_bundle_key *find_key(const struct avow_trust *t, const uint8_t id[8],
                                              size_t *index)
{
    for (size_t i = 0; i < t->bundle.keys_count; i++) {
        if (avow_bytes_eq(AVOW_BYTES_OF(t->bundle.keys[i].id), avow_bytes_make(id, 8))) {
            *index = i;
            return &t->bundle.keys[i];
        }
    }
    return NULL;
}

/* A key that signs must never be used for key agreement, nor the other way. */
static enum avow_rc check_roles(const struct avow_bundle_key *k, const char *id,
                                struct avow_err *err)
{
    for (size_t i = 0; i < k->roles_count; i++) {
        bool kex = k->roles[i] == AVOW_ROLE_WORKER_KEX;
        if (kex != (k->alg == AVOW_KEY_ALG_ECDH_P256))
            return avow_err_set(err, AVOW_PARSE, 0, "key %s: role %s does not go with algorithm %s",
                                id, avow_role_text(k->roles[i]), avow_key_alg_text(k->alg));
    }
    return AVOW_OK;
}

static enum avow_rc load_key(struct avow_trust *t, size_t index, struct avow_err *err)
{
    const struct avow_bundle_key *k = &t->bundle.keys[index];
    uint8_t own[8];
    char id[17];
    size_t first;
    avow_hex_encode(id, AVOW_BYTES_OF(k->id));
    if (find_key(t, k->id, &first) && first != index)
        return avow_err_set(err, AVOW_PARSE, 0, "key %s stands twice in the bundle", id);
    avow_key_id(k->spki, own);
    if (!avow_bytes_eq(AVOW_BYTES_OF(own), AVOW_BYTES_OF(k->id)))
        return avow_err_set(err, AVOW_PARSE, 0, "key %s: its id is not that of its public key", id);
    enum avow_rc rc = avow_pubkey_from_spki(k->spki, &t->keys[index], err);
    if (rc)
        return avow_err_wrap(err, rc, "key %s", id);
    if (avow_pubkey_kind(t->keys[index]) != AVOW_KEY_EC_P256)
        return avow_err_set(err, AVOW_PARSE, 0, "key %s is not on P-256", id);
    return check_roles(k, id, err);
}

static enum avow_rc check_content(struct avow_trust *t, struct avow_err *err)
{
    const struct avow_bundle *b = &t->bundle;
    if (!b->version)
        return avow_err_set(err, AVOW_PARSE, 0, "bundle version 0");
    if (!b->partitions || b->partitions > PARTITIONS_MAX)
        return avow_err_set(err, AVOW_CONFIG, 0, "%u partitions; 1 to %u are allowed",
                            (unsigned)b->partitions, PARTITIONS_MAX);
    if (b->topic_prefix.len && !avow_name_is_valid(b->topic_prefix))
        return avow_err_set(err, AVOW_PARSE, 0,
                            "topic prefix with other than letters, digits, '.', '_', '-'");
    for (size_t i = 0; i < b->keys_count; i++) {
        enum avow_rc rc = load_key(t, i, err);
        if (rc)
            return rc;
    }
    return avow_trust_check_intervals(b, err);
}

static enum avow_rc check_root(const struct avow_root *root, struct avow_bytes record,
                               struct avow_err *err)
{
    uint8_t id[8];
    char hex[17];
    if (!avow_proof_key_id(record, id))
        return avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_SIGNATURE, "no proof");
    avow_hex_encode(hex, AVOW_BYTES_OF(id));
    const struct avow_pubkey *key = avow_root_find(root, id);
    if (!key)
        return avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_UNKNOWN_KEY,
                            "signed by %s, which is not in the root file", hex);
    if (!avow_proof_signature_is_good(&avow_wire_bundle_schema, key, record))
        return avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_SIGNATURE,
                            "signature of root key %s is wrong", hex);
    return AVOW_OK;
}

static enum avow_rc check_version(uint64_t version, uint64_t min_version, struct avow_err *err)
{
    if (min_version && version == min_version)
        return avow_err_set(err, AVOW_EXISTS, 0, "version %" PRIu64 " is known", version);
    if (version < min_version)
        return avow_err_set(err, AVOW_ROLLBACK, 0,
                            "version %" PRIu64 " is older than %" PRIu64 ", which is known",
                            version, min_version);
    return AVOW_OK;
}

static enum avow_rc decode(struct avow_trust *t, struct avow_bytes record, struct avow_err *err)
{
    if (record.len > avow_wire_bundle_schema.max_value)
        return avow_err_set(err, AVOW_LIMIT, 0, "%zu bytes; the limit is %zu", record.len,
                            avow_wire_bundle_schema.max_value);
    avow_buf_put(&t->record, record.ptr, record.len);
    enum avow_rc rc = avow_buf_status(&t->record, err);
    if (!rc)
        rc = avow_bundle_decode(avow_buf_bytes(&t->record), &t->arena, &t->bundle, err);
    if (rc == AVOW_SCHEMA) /* a newer release adds roles or algorithms by a new schema, so it is
                              refused here as a whole */
        rc = avow_err_wrap(
            err, rc, "not a bundle that this release can read; upgrade it, or lower wire_version");
    return rc;
}

static enum avow_rc check_names(const struct avow_trust *t, struct avow_bytes kafka_key,
                                const uint8_t *fleet, struct avow_err *err)
{
    static const char KEY[] = "bundle";
    struct avow_bytes inside = avow_bytes_make(t->bundle.key.ptr, t->bundle.key.len);
    if (!avow_bytes_eq(kafka_key, avow_bytes_make(KEY, sizeof KEY - 1)) ||
        !avow_bytes_eq(inside, kafka_key))
        return avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_KEY, "its key is not \"%s\"", KEY);
    if (fleet && !avow_bytes_eq(AVOW_BYTES_OF(t->bundle.fleet),
                                avow_bytes_make(fleet, sizeof t->bundle.fleet)))
        return avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_FLEET, "it is another fleet's");
    return AVOW_OK;
}

static enum avow_rc open_bundle(const struct avow_root *root, struct avow_bytes kafka_key,
                                struct avow_bytes record, uint64_t min_version,
                                const uint8_t *fleet, struct avow_trust *t, struct avow_err *err)
{
    enum avow_rc rc = decode(t, record, err);
    if (!rc)
        rc = check_names(t, kafka_key, fleet, err);
    if (!rc)
        rc = check_root(root, record, err);
    if (!rc)
        rc = check_version(t->bundle.version, min_version, err);
    if (!rc)
        rc = check_content(t, err);
    return rc;
}

enum avow_rc avow_trust_open(const struct avow_root *root, struct avow_bytes kafka_key,
                             struct avow_bytes record, uint64_t min_version, const uint8_t *fleet,
                             struct avow_trust **out, struct avow_err *err)
{
    AVOW_CLEANUP(avow_trust_free) struct avow_trust *t = calloc(1, sizeof *t);
    if (!t)
        return avow_err_set(err, AVOW_NOMEM, 0, "trust bundle");
    avow_buf_init(&t->record, avow_wire_bundle_schema.max_value);
    avow_arena_init(&t->arena, BUNDLE_ARENA_MAX);
    enum avow_rc rc = open_bundle(root, kafka_key, record, min_version, fleet, t, err);
    if (rc)
        return avow_err_wrap(err, rc, "trust bundle");
    *out = AVOW_STEAL(t);
    return AVOW_OK;
}

/* A key without patterns may sign for any name; `name` is empty for records about no single agent
 * or policy, which only a key that may sign for everything may sign. */
static bool may_sign_for(const struct avow_bundle_key *k, struct avow_str name)
{
    for (size_t i = 0; i < k->names_count; i++)
        if (avow_glob_matches(k->names[i], name))
            return true;
    return !k->names_count;
}

struct verify_in {
    const struct avow_trust *trust;
    enum avow_role role;
    struct avow_str name;
    const struct avow_wire_schema *schema;
    struct avow_bytes record;
    bool history;
};

static enum avow_rc check_authority(const struct verify_in *in, const struct avow_bundle_key *k,
                                    const char *id, struct avow_err *err)
{
    if (!has_role(k, in->role) || k->alg != AVOW_KEY_ALG_ECDSA_P256)
        return avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_ROLE, "key %s lacks the role %s for %s",
                            id, avow_role_text(in->role), in->schema->name);
    if (k->status != AVOW_KEY_STATUS_ACTIVE &&
        !(in->history && k->status == AVOW_KEY_STATUS_VERIFY_ONLY))
        return avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_STATUS, "key %s is %s", id,
                            avow_key_status_text(k->status));
    if (!may_sign_for(k, in->name))
        return avow_err_set(
            err, AVOW_UNTRUSTED, AVOW_CAUSE_NAME, "key %s may not sign for \"%.*s\"", id,
            (int)(in->name.len < 128 ? in->name.len : 128), in->name.len ? in->name.ptr : "");
    return AVOW_OK;
}

static enum avow_rc verify(const struct verify_in *in, struct avow_err *err)
{
    uint8_t id[8];
    char hex[17];
    size_t index;
    uint64_t fingerprint;
    if (in->record.len > in->schema->max_value)
        return avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_SIGNATURE,
                            "%zu bytes are too many for %s", in->record.len, in->schema->name);
    if (!avow_wire_frame(in->record, &fingerprint) || fingerprint != in->schema->fingerprint ||
        !avow_proof_key_id(in->record, id))
        return avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_SIGNATURE, "not a signed %s",
                            in->schema->name);
    avow_hex_encode(hex, AVOW_BYTES_OF(id));
    const struct avow_bundle_key *k = find_key(in->trust, id, &index);
    if (!k)
        return avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_UNKNOWN_KEY,
                            "signed by %s, which is not in the bundle", hex);
    enum avow_rc rc = check_authority(in, k, hex, err);
    if (rc)
        return rc;
    if (!avow_proof_signature_is_good(in->schema, in->trust->keys[index], in->record))
        return avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_SIGNATURE,
                            "signature of key %s is wrong", hex);
    return AVOW_OK;
}

enum avow_rc avow_trust_verify(const struct avow_trust *t, enum avow_role role,
                               struct avow_str name, const struct avow_wire_schema *schema,
                               struct avow_bytes record, struct avow_err *err)
{
    const struct verify_in in = {t, role, name, schema, record, false};
    return verify(&in, err);
}

enum avow_rc avow_trust_verify_history(const struct avow_trust *t, enum avow_role role,
                                       struct avow_str name, const struct avow_wire_schema *schema,
                                       struct avow_bytes record, struct avow_err *err)
{
    const struct verify_in in = {t, role, name, schema, record, true};
    return verify(&in, err);
}

size_t avow_trust_keys(const struct avow_trust *t, enum avow_role role, struct avow_str name,
                       const struct avow_pubkey *out[AVOW_TRUST_KEYS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < t->bundle.keys_count && n < AVOW_TRUST_KEYS_MAX; i++) {
        const struct avow_bundle_key *k = &t->bundle.keys[i];
        if (has_role(k, role) && k->alg == AVOW_KEY_ALG_ECDSA_P256 &&
            k->status == AVOW_KEY_STATUS_ACTIVE && may_sign_for(k, name))
            out[n++] = t->keys[i];
    }
    return n;
}

enum avow_rc avow_header_check(const uint8_t expected_fleet[16], const uint8_t fleet[16],
                               struct avow_str record_key, struct avow_bytes kafka_key,
                               struct avow_err *err)
{
    if (!avow_bytes_eq(avow_bytes_make(fleet, 16), avow_bytes_make(expected_fleet, 16)))
        return avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_FLEET, "record of another fleet");
    if (!avow_bytes_eq(avow_bytes_make(record_key.ptr, record_key.len), kafka_key))
        return avow_err_set(err, AVOW_UNTRUSTED, AVOW_CAUSE_KEY,
                            "record was written under another key");
    return AVOW_OK;
}

enum avow_rc avow_trust_check_header(const struct avow_trust *t, const uint8_t fleet[16],
                                     struct avow_str record_key, struct avow_bytes kafka_key,
                                     struct avow_err *err)
{
    return avow_header_check(t->bundle.fleet, fleet, record_key, kafka_key, err);
}
