/* fixture.h - a fleet for the tests of lib/trust: root, keys with roles, a bundle, and one record
 * of each kind. */
#ifndef AVOW_TESTS_TRUST_FIXTURE_H
#define AVOW_TESTS_TRUST_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/hex.h"
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

#define FX_BUF AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf
#define FX_BUF_MAX 1048576u
#define FX_AGENT "agent-1"
#define FX_PARTITION 3

static const uint8_t FX_FLEET[16] = "production-fleet";
static const uint8_t FX_STAGING[16] = "staging-fleet---";
static const struct avow_bytes FX_BUNDLE_KEY = {(const uint8_t *)"bundle", 6};

/* One key per role, and one whose status is not active. */
enum fx_key {
    FX_ENROLL,
    FX_POLICY,
    FX_PAYLOAD,
    FX_OPS,
    FX_AUTHOR,
    FX_REGISTRAR,
    FX_WORKER,
    FX_KEX,
    FX_OLD,
    FX_GONE,
    FX_KEYS
};

struct fixture {
    struct avow_privkey *root_key, *other_root_key;
    struct avow_root *root;
    struct avow_privkey *keys[FX_KEYS];
    struct avow_bundle_key entries[FX_KEYS];
    enum avow_role roles[FX_KEYS][8];
    struct avow_bundle bundle; /* borrows from entries */
    struct avow_trust *trust;
};

static inline struct avow_bytes fx_text(const char *s)
{
    return avow_bytes_make(s, strlen(s));
}

static inline void assert_rc(const char *what, enum avow_rc got, enum avow_rc want,
                             const struct avow_err *err)
{
    if (got != want)
        fail_msg("%s: got %s (%s), want %s", what, avow_rc_text(got), got ? err->msg : "",
                 avow_rc_text(want));
}

static inline void assert_says(const char *what, const struct avow_err *err, const char *text)
{
    if (!strstr(err->msg, text))
        fail_msg("%s: message \"%s\" lacks \"%s\"", what, err->msg, text);
}

static inline struct avow_privkey *fx_key(void)
{
    struct avow_err err = {0};
    struct avow_privkey *k = NULL;
    assert_rc("generate", avow_privkey_generate(&k, &err), AVOW_OK, &err);
    return k;
}

static inline void fx_entry(struct fixture *f, enum fx_key i)
{
    static const enum avow_role ROLES[FX_KEYS] = {
        AVOW_ROLE_ENROLL,        AVOW_ROLE_POLICY,    AVOW_ROLE_PAYLOAD, AVOW_ROLE_OPS,
        AVOW_ROLE_POLICY_AUTHOR, AVOW_ROLE_REGISTRAR, AVOW_ROLE_WORKER,  AVOW_ROLE_WORKER_KEX,
        AVOW_ROLE_WORKER,        AVOW_ROLE_WORKER};
    struct avow_bundle_key *e = &f->entries[i];
    f->keys[i] = fx_key();
    f->roles[i][0] = ROLES[i];
    e->spki = avow_privkey_spki(f->keys[i]);
    avow_key_id(e->spki, e->id);
    e->alg = i == FX_KEX ? AVOW_KEY_ALG_ECDH_P256 : AVOW_KEY_ALG_ECDSA_P256;
    e->roles = f->roles[i];
    e->roles_count = 1;
    e->status = i == FX_OLD    ? AVOW_KEY_STATUS_VERIFY_ONLY
                : i == FX_GONE ? AVOW_KEY_STATUS_REVOKED
                               : AVOW_KEY_STATUS_ACTIVE;
}

/* The bundle as it stands in f->bundle, signed by `key`. */
static inline void fx_seal_bundle(const struct fixture *f, const struct avow_privkey *key,
                                  struct avow_buf *out)
{
    struct avow_err err = {0};
    avow_buf_init(out, FX_BUF_MAX);
    assert_rc("seal bundle", avow_seal_bundle(&f->bundle, key, out, &err), AVOW_OK, &err);
}

static inline enum avow_rc fx_open_bundle(const struct fixture *f, const struct avow_buf *record,
                                          uint64_t min_version, struct avow_trust **out,
                                          struct avow_err *err)
{
    return avow_trust_open(f->root, FX_BUNDLE_KEY, avow_buf_bytes(record), min_version, FX_FLEET,
                           out, err);
}

/* Seals and opens again: after a change of f->bundle that must be accepted. */
static inline void fx_reload(struct fixture *f)
{
    struct avow_err err = {0};
    FX_BUF record;
    fx_seal_bundle(f, f->root_key, &record);
    avow_trust_free(f->trust);
    f->trust = NULL;
    assert_rc("open bundle", fx_open_bundle(f, &record, 0, &f->trust, &err), AVOW_OK, &err);
}

static inline void fx_root_pem(const struct avow_privkey *k, struct avow_buf *out)
{
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *pub = NULL;
    assert_int_equal(avow_pubkey_from_spki(avow_privkey_spki(k), &pub, NULL), AVOW_OK);
    assert_int_equal(avow_pubkey_pem(pub, out, NULL), AVOW_OK);
}

static inline struct fixture *fx_new(void)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct avow_err err = {0};
    FX_BUF pem;
    assert_non_null(f);
    f->root_key = fx_key();
    f->other_root_key = fx_key();
    avow_buf_init(&pem, FX_BUF_MAX);
    fx_root_pem(f->root_key, &pem);
    assert_rc("root", avow_root_parse(avow_buf_bytes(&pem), &f->root, &err), AVOW_OK, &err);
    for (enum fx_key i = 0; i < FX_KEYS; i++)
        fx_entry(f, i);
    f->bundle = (struct avow_bundle){.key = AVOW_STR_LIT("bundle"),
                                     .version = 7,
                                     .topic_prefix = AVOW_STR_LIT("avow."),
                                     .partitions = 64,
                                     .epoch_ms = 10000,
                                     .heartbeat_ms = 20000,
                                     .silent_after_ms = 70000,
                                     .validity_ms = 90000,
                                     .verdict_refresh_ms = 30000,
                                     .min_interval_ms = 200,
                                     .rebase_interval_ms = 259200000,
                                     .first_contact_ms = 86400000,
                                     .policy_grace_ms = 3600000,
                                     .resync_burst = 3,
                                     .resync_refill_ms = 300000,
                                     .wire_version = 1,
                                     .generation_floor = 2,
                                     .keys = f->entries,
                                     .keys_count = FX_KEYS};
    memcpy(f->bundle.fleet, FX_FLEET, sizeof FX_FLEET);
    fx_reload(f);
    return f;
}

static inline void fx_free(struct fixture *f)
{
    for (enum fx_key i = 0; i < FX_KEYS; i++)
        avow_privkey_free(f->keys[i]);
    avow_trust_free(f->trust);
    avow_root_free(f->root);
    avow_privkey_free(f->root_key);
    avow_privkey_free(f->other_root_key);
    free(f);
}

/* What the header of a record says. */
struct fx_header {
    const uint8_t *fleet;
    const char *key;
    int32_t partition;
    uint64_t generation;
};

/* One row per signed record: how to make it, how to open it, who must have signed it. */
struct fx_kind {
    const char *name;
    const struct avow_wire_schema *schema;
    enum fx_key signer;
    const char *key;
    bool has_partition;
    void (*seal)(const struct fx_header *h, const struct avow_privkey *k, struct avow_buf *out);
    enum avow_rc (*open)(const struct avow_trust *t, const struct avow_record_in *in,
                         struct avow_err *err);
};

#define FX_SEAL(name, ...)                                                                         \
    static inline void fx_seal_##name(const struct fx_header *h, const struct avow_privkey *k,     \
                                      struct avow_buf *out)                                        \
    {                                                                                              \
        struct avow_err err = {0};                                                                 \
        struct avow_##name v = {.key = avow_str_from(h->key), __VA_ARGS__};                        \
        memcpy(v.fleet, h->fleet, sizeof v.fleet);                                                 \
        assert_rc("seal " #name, avow_seal_##name(&v, k, out, &err), AVOW_OK, &err);               \
    }
/* The caller's struct must stay as it was if opening fails. */
#define FX_OPEN(name)                                                                              \
    static inline enum avow_rc fx_open_##name(                                                     \
        const struct avow_trust *t, const struct avow_record_in *in, struct avow_err *err)         \
    {                                                                                              \
        struct avow_##name v, before;                                                              \
        struct avow_arena arena;                                                                   \
        memset(&v, 0xa5, sizeof v);                                                                \
        memset(&before, 0xa5, sizeof before);                                                      \
        avow_arena_init(&arena, FX_BUF_MAX);                                                       \
        enum avow_rc rc = avow_open_##name(t, in, &arena, &v, err);                                \
        if (rc)                                                                                    \
            assert_memory_equal(&v, &before, sizeof v);                                            \
        else                                                                                       \
            assert_true(avow_bytes_eq(avow_bytes_make(v.key.ptr, v.key.len), in->kafka_key));      \
        avow_arena_deinit(&arena);                                                                 \
        return rc;                                                                                 \
    }

FX_SEAL(identity, .generation = h->generation)
FX_SEAL(enrollment, .generation = h->generation)
FX_SEAL(policy_head, .generation = h->generation)
FX_SEAL(marker, .partition = h->partition, .epoch = 9)
FX_SEAL(directive, .partition = h->partition, .epoch = 9)
FX_SEAL(verdict, .seq = 1)
FX_SEAL(revocation, .seq = 1)
FX_OPEN(identity)
FX_OPEN(enrollment)
FX_OPEN(policy_head)
FX_OPEN(marker)
FX_OPEN(directive)
FX_OPEN(verdict)
FX_OPEN(revocation)

#define FX_ROW(name_, signer_, key_, partition_)                                                   \
    {                                                                                              \
        .name = #name_, .schema = &avow_wire_##name_##_schema, .signer = (signer_), .key = (key_), \
        .has_partition = (partition_), .seal = fx_seal_##name_, .open = fx_open_##name_            \
    }
static const struct fx_kind FX_KINDS[] = {
    FX_ROW(identity, FX_REGISTRAR, FX_AGENT, false),
    FX_ROW(enrollment, FX_ENROLL, FX_AGENT, false),
    FX_ROW(policy_head, FX_POLICY, "head/base", false),
    FX_ROW(marker, FX_WORKER, "marker", true),
    FX_ROW(directive, FX_WORKER, FX_AGENT, true),
    FX_ROW(verdict, FX_WORKER, FX_AGENT, false),
    FX_ROW(revocation, FX_WORKER, FX_AGENT, false),
};
#define FX_KIND_COUNT AVOW_ARRAY_LEN(FX_KINDS)

/* A good record of the kind, signed by `k`. */
static inline void fx_seal(const struct fx_kind *kind, const struct avow_privkey *k,
                           struct avow_buf *out)
{
    const struct fx_header h = {FX_FLEET, kind->key, FX_PARTITION, 5};
    avow_buf_init(out, FX_BUF_MAX);
    kind->seal(&h, k, out);
}

static inline enum avow_rc fx_open(const struct fx_kind *kind, const struct fixture *f,
                                   const struct avow_buf *record, struct avow_err *err)
{
    const struct avow_record_in in = {fx_text(kind->key), avow_buf_bytes(record), FX_PARTITION};
    return kind->open(f->trust, &in, err);
}

#endif
