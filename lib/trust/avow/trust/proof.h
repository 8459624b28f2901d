/* proof.h - the trailing proof of signed records and the MAC of state records (PROTOCOL B2). Layer:
 * trust. Works on encoded records: frame C3 01 + 8 fingerprint bytes, Avro body, of which the last
 * 72 (40) bytes are the proof (MAC). Signed bytes: DSSE PAE("avow.<Record>;<%016x fingerprint>",
 * body without the proof). */
#ifndef AVOW_TRUST_PROOF_H
#define AVOW_TRUST_PROOF_H

#include "avow/crypto/key.h"
#include "avow/wire/wire.h"

#define AVOW_PROOF_LEN 72u
#define AVOW_MAC_LEN 40u

/* Overwrites the last 72 bytes of the encoded record. Deterministic input, randomised output. */
enum avow_rc avow_proof_sign(const struct avow_wire_schema *schema, const struct avow_privkey *key,
                             struct avow_buf *record, struct avow_err *err) AVOW_MUST_CHECK;
/* True iff the proof verifies under `key` and its key id is that key's. The record is framed, as
 * read. */
bool avow_proof_verify(const struct avow_wire_schema *schema, const struct avow_pubkey *key,
                       struct avow_bytes record);
/* Key id of the proof: the first 8 of the last 72 bytes; false if the record is too short. */
bool avow_proof_key_id(struct avow_bytes record, uint8_t out[8]) AVOW_MUST_CHECK;
/* SHA-256 of the record's body without its proof: what "same content" and *_sha256 fields mean
 * (PROTOCOL R14). */
void avow_proof_content_sha256(struct avow_bytes record, uint8_t out[32]);

struct avow_mac_key { /* secret; wipe with avow_wipe */
    uint8_t key[32];
    uint8_t id[8]; /* SHA-256("avow/mac-id/1" || key)[0..8] (PROTOCOL R28) */
};
void avow_mac_key_init(struct avow_mac_key *k, const uint8_t key[32]);
/* 32 raw bytes from a file. Errors: AVOW_IO, AVOW_PARSE. */
enum avow_rc avow_mac_key_load(const char *path, struct avow_mac_key *out,
                               struct avow_err *err) AVOW_MUST_CHECK;
/* Overwrites the last 40 bytes of the encoded record. */
enum avow_rc avow_mac_sign(const struct avow_wire_schema *schema, const struct avow_mac_key *key,
                           struct avow_buf *record, struct avow_err *err) AVOW_MUST_CHECK;
/* Constant time; tries the key whose id the record names. False for any failure. */
bool avow_mac_verify(const struct avow_wire_schema *schema, const struct avow_mac_key *keys,
                     size_t n, struct avow_bytes record);

#endif
