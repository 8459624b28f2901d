/* records.h - open (decode and check) and seal (encode and sign) each signed record in one call, so
 * that no caller can forget a step. Layer: trust. Order of checks as PROTOCOL B2: size cap -> frame
 * and schema -> bounded decode -> fleet, key, partition -> key id known, role right, status active
 * -> signature. The replay rule is the caller's. */
#ifndef AVOW_TRUST_RECORDS_H
#define AVOW_TRUST_RECORDS_H

#include "avow/base/arena.h"
#include "avow/model/model.h"
#include "avow/trust/bundle.h"
#include "avow/wire/wire.h"

struct avow_record_in { /* as it was read from Kafka; borrowed */
    struct avow_bytes kafka_key;
    struct avow_bytes value;
    int32_t partition; /* compared for records that carry one */
};

/* Which role must have signed: identity registrar; enrollment enroll; policy_head policy; marker,
 * directive, verdict, revocation worker. The decoded record borrows from in->value and `arena`. The
 * key must be one that such a record can have: an agent id, "marker", or "head/" and a policy name.
 * Enrollments and heads below the bundle's generation_floor are AVOW_ROLLBACK. Errors: AVOW_LIMIT,
 * AVOW_SCHEMA, AVOW_PARSE, AVOW_UNTRUSTED (native: enum avow_trust_cause), AVOW_ROLLBACK,
 * AVOW_NOMEM. On failure *out is untouched. @thread any, with an arena of its own. */
#define AVOW_RECORD_OPEN(name)                                                                     \
    enum avow_rc avow_open_##name(const struct avow_trust *t, const struct avow_record_in *in,     \
                                  struct avow_arena *arena, struct avow_##name *out,               \
                                  struct avow_err *err) AVOW_MUST_CHECK
AVOW_RECORD_OPEN(identity);
AVOW_RECORD_OPEN(enrollment);
AVOW_RECORD_OPEN(policy_head);
AVOW_RECORD_OPEN(marker);
AVOW_RECORD_OPEN(directive);
AVOW_RECORD_OPEN(verdict);
AVOW_RECORD_OPEN(revocation);

/* Appends the framed, signed record to `out` (the proof field of `v` is ignored). Errors:
 * AVOW_LIMIT, AVOW_NOMEM, AVOW_CRYPTO. */
#define AVOW_RECORD_SEAL(name)                                                                     \
    enum avow_rc avow_seal_##name(const struct avow_##name *v, const struct avow_privkey *key,     \
                                  struct avow_buf *out, struct avow_err *err) AVOW_MUST_CHECK
AVOW_RECORD_SEAL(bundle);
AVOW_RECORD_SEAL(identity);
AVOW_RECORD_SEAL(enrollment);
AVOW_RECORD_SEAL(policy_head);
AVOW_RECORD_SEAL(marker);
AVOW_RECORD_SEAL(directive);
AVOW_RECORD_SEAL(verdict);
AVOW_RECORD_SEAL(revocation);

/* State is MACed, not signed: keys[0] makes MACs, all n are accepted. Same order of checks and
 * errors. */
enum avow_rc avow_open_state(const uint8_t fleet[16], const struct avow_mac_key *keys, size_t n,
                             const struct avow_record_in *in, struct avow_arena *arena,
                             struct avow_state *out, struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_seal_state(const struct avow_state *v, const struct avow_mac_key *key,
                             struct avow_buf *out, struct avow_err *err) AVOW_MUST_CHECK;

#endif
