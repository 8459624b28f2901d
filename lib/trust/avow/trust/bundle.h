/* bundle.h - the trust bundle: the one place that says who may sign what (PROTOCOL R1, B1). Layer:
 * trust. Immutable after load; share freely between threads. */
#ifndef AVOW_TRUST_BUNDLE_H
#define AVOW_TRUST_BUNDLE_H

#include "avow/model/bundle.h"
#include "avow/trust/proof.h"

/* root.pem: one or two P-256 public keys (or certificates are refused), PEM. */
struct avow_root;
enum avow_rc avow_root_load(const char *path, struct avow_root **out,
                            struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_root_parse(struct avow_bytes pem, struct avow_root **out,
                             struct avow_err *err) AVOW_MUST_CHECK;
void avow_root_free(struct avow_root *r);
AVOW_DEFINE_CLEANUP(struct avow_root, avow_root_free);

/* err->native of AVOW_UNTRUSTED: the check that failed, for counters by reason. */
enum avow_trust_cause {
    AVOW_CAUSE_FLEET = 1,
    AVOW_CAUSE_KEY, /* Kafka key, or a key that such a record cannot have */
    AVOW_CAUSE_PARTITION,
    AVOW_CAUSE_UNKNOWN_KEY, /* signed by nobody we know */
    AVOW_CAUSE_ROLE,
    AVOW_CAUSE_STATUS, /* verify_only or revoked */
    AVOW_CAUSE_NAME,   /* the signer may not sign for this agent or policy */
    AVOW_CAUSE_SIGNATURE
};

struct avow_trust; /* a verified bundle with parsed keys */
/* Decodes and verifies a record of topic trust. Refused unless key is "bundle", the signature is by
 * root, and version > min_version when one is known (equal is AVOW_EXISTS, lower is AVOW_ROLLBACK;
 * 0: none known); and fleet equals `fleet` unless that is NULL. Intervals that do not fit (PROTOCOL
 * R29) are AVOW_CONFIG. Key ids must be those of the keys, unique, on P-256; signing roles go with
 * ecdsa_p256 only, worker_kex with ecdh_p256 only. A bundle of a later release names roles or
 * algorithms that this one does not know only under another schema fingerprint: it is AVOW_SCHEMA
 * as a whole, the reader keeps the bundle that it has and says so. Admins keep `wire_version` low
 * until every program is upgraded (PROTOCOL R28), so this is a mistake, and failing closed is
 * right. Errors: AVOW_LIMIT, AVOW_PARSE, AVOW_SCHEMA, AVOW_UNTRUSTED, AVOW_ROLLBACK, AVOW_EXISTS,
 * AVOW_CONFIG, AVOW_NOMEM. */
enum avow_rc avow_trust_open(const struct avow_root *root, struct avow_bytes kafka_key,
                             struct avow_bytes record, uint64_t min_version, const uint8_t *fleet,
                             struct avow_trust **out, struct avow_err *err) AVOW_MUST_CHECK;
void avow_trust_free(struct avow_trust *t);
AVOW_DEFINE_CLEANUP(struct avow_trust, avow_trust_free);
/* The decoded bundle, borrowed. */
const struct avow_bundle *avow_trust_bundle(const struct avow_trust *t);
/* The record as it was read, borrowed: what agents keep on disk. */
struct avow_bytes avow_trust_record(const struct avow_trust *t);

/* Names: a key without patterns signs for any name. A pattern matches a whole name; '*' in it
 * stands for any characters, also none, and there are no other special characters. `name` is empty
 * for records about no single agent or policy (markers): only a key without patterns, or with the
 * pattern "*", signs those. Checks a signed record: last proof's key id is known, has `role`, is
 * active, may sign `name` (agent id or policy name, matched against the key's names), and the
 * signature is good. AVOW_OK, or AVOW_UNTRUSTED with the reason. Fleet, Kafka key and partition
 * inside the record are checked by avow_trust_check_header. */
enum avow_rc avow_trust_verify(const struct avow_trust *t, enum avow_role role,
                               struct avow_str name, const struct avow_wire_schema *schema,
                               struct avow_bytes record, struct avow_err *err) AVOW_MUST_CHECK;
/* As avow_trust_verify but also accepts verify_only keys; for displaying history, never for
 * deciding. */
enum avow_rc avow_trust_verify_history(const struct avow_trust *t, enum avow_role role,
                                       struct avow_str name, const struct avow_wire_schema *schema,
                                       struct avow_bytes record,
                                       struct avow_err *err) AVOW_MUST_CHECK;
/* The active keys that have `role` and may sign for `name`, for signatures that are no proof of a
 * record of ours (DSSE). Borrowed from `t`; returns how many. */
#define AVOW_TRUST_KEYS_MAX 64u
size_t avow_trust_keys(const struct avow_trust *t, enum avow_role role, struct avow_str name,
                       const struct avow_pubkey *out[AVOW_TRUST_KEYS_MAX]);
/* Fleet and Kafka key of the record against what was read. AVOW_OK or AVOW_UNTRUSTED. */
enum avow_rc avow_trust_check_header(const struct avow_trust *t, const uint8_t fleet[16],
                                     struct avow_str record_key, struct avow_bytes kafka_key,
                                     struct avow_err *err) AVOW_MUST_CHECK;
/* Intervals of a bundle against PROTOCOL R29 and B6. AVOW_OK or AVOW_CONFIG. */
enum avow_rc avow_trust_check_intervals(const struct avow_bundle *b,
                                        struct avow_err *err) AVOW_MUST_CHECK;

#endif
