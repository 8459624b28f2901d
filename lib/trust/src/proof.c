#include "proof_internal.h"

#include "avow/base/file.h"

#include "pae.h"

#include <string.h>

#include "avow/base/banned.h"

#define KEY_ID_LEN 8u
#define MAC_KEY_LEN 32u

static struct avow_bytes record_at(const struct avow_buf *out, size_t start)
{
    return avow_bytes_make(out->ptr + start, out->len - start);
}

static bool is_framed(const struct avow_wire_schema *schema, struct avow_bytes record)
{
    uint64_t fingerprint;
    return avow_wire_frame(record, &fingerprint) && fingerprint == schema->fingerprint;
}

enum avow_rc avow_proof_sign_at(const struct avow_wire_schema *schema,
                                const struct avow_privkey *key, struct avow_buf *out, size_t start,
                                struct avow_err *err)
{
    struct avow_pae pae;
    struct avow_bytes record = record_at(out, start);
    if (!is_framed(schema, record) || !avow_pae_init(&pae, schema, record, AVOW_PROOF_LEN))
        return avow_err_set(err, AVOW_SCHEMA, 0, "%zu bytes are no %s to sign", record.len,
                            schema->name);
    uint8_t signature[AVOW_P256_SIG_LEN];
    enum avow_rc rc = avow_privkey_sign_pieces(key, pae.pieces, 2, signature, err);
    if (rc)
        return rc;
    uint8_t *proof = out->ptr + out->len - AVOW_PROOF_LEN;
    avow_key_id(avow_privkey_spki(key), proof);
    memcpy(proof + KEY_ID_LEN, signature, sizeof signature);
    return AVOW_OK;
}

enum avow_rc avow_proof_sign(const struct avow_wire_schema *schema, const struct avow_privkey *key,
                             struct avow_buf *record, struct avow_err *err)
{
    return avow_proof_sign_at(schema, key, record, 0, err);
}

bool avow_proof_key_id(struct avow_bytes record, uint8_t out[8])
{
    if (record.len < AVOW_WIRE_FRAME_LEN + AVOW_PROOF_LEN)
        return false;
    memcpy(out, record.ptr + record.len - AVOW_PROOF_LEN, KEY_ID_LEN);
    return true;
}

bool avow_proof_signature_is_good(const struct avow_wire_schema *schema,
                                  const struct avow_pubkey *key, struct avow_bytes record)
{
    struct avow_pae pae;
    if (!is_framed(schema, record) || !avow_pae_init(&pae, schema, record, AVOW_PROOF_LEN))
        return false;
    return avow_pubkey_verify_p256_pieces(key, pae.pieces, 2,
                                          record.ptr + record.len - AVOW_P256_SIG_LEN);
}

bool avow_proof_verify(const struct avow_wire_schema *schema, const struct avow_pubkey *key,
                       struct avow_bytes record)
{
    uint8_t claimed[KEY_ID_LEN], own[KEY_ID_LEN];
    avow_key_id(avow_pubkey_spki(key), own);
    return avow_proof_key_id(record, claimed) &&
           avow_bytes_eq(AVOW_BYTES_OF(claimed), AVOW_BYTES_OF(own)) &&
           avow_proof_signature_is_good(schema, key, record);
}

void avow_proof_content_sha256(struct avow_bytes record, uint8_t out[32])
{
    struct avow_bytes content = {NULL, 0};
    if (record.len > AVOW_WIRE_FRAME_LEN + AVOW_PROOF_LEN)
        content = avow_bytes_make(record.ptr + AVOW_WIRE_FRAME_LEN,
                                  record.len - AVOW_WIRE_FRAME_LEN - AVOW_PROOF_LEN);
    avow_sha256(content, out);
}

void avow_mac_key_init(struct avow_mac_key *k, const uint8_t key[32])
{
    static const char DOMAIN[] = "avow/mac-id/1";
    uint8_t digest[AVOW_SHA256_LEN];
    const struct avow_bytes pieces[] = {avow_bytes_make(DOMAIN, sizeof DOMAIN - 1),
                                        avow_bytes_make(key, MAC_KEY_LEN)};
    avow_sha256_pieces(pieces, 2, digest);
    memcpy(k->key, key, MAC_KEY_LEN);
    memcpy(k->id, digest, KEY_ID_LEN);
}

enum avow_rc avow_mac_key_load(const char *path, struct avow_mac_key *out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf data;
    avow_buf_init(&data, MAC_KEY_LEN + 1); /* one more shows a file that is too long */
    enum avow_rc rc = avow_file_read(path, &data, err);
    if ((!rc && data.len != MAC_KEY_LEN) || rc == AVOW_LIMIT)
        rc = avow_err_set(err, AVOW_PARSE, 0, "%s: a MAC key file holds exactly %u raw bytes", path,
                          MAC_KEY_LEN);
    else if (!rc && (avow_bytes_all(avow_buf_bytes(&data), 0x00) ||
                     avow_bytes_all(avow_buf_bytes(&data), 0xff)))
        rc = avow_err_set(err, AVOW_PARSE, 0, "%s: no random bytes", path);
    if (!rc)
        avow_mac_key_init(out, data.ptr);
    avow_wipe(data.ptr, data.len);
    return rc;
}

static bool mac_compute(const struct avow_wire_schema *schema, const struct avow_mac_key *key,
                        struct avow_bytes record, struct avow_digest *out)
{
    struct avow_pae pae;
    if (!is_framed(schema, record) || !avow_pae_init(&pae, schema, record, AVOW_MAC_LEN))
        return false;
    avow_hmac(AVOW_HASH_SHA256, AVOW_BYTES_OF(key->key), pae.pieces, 2, out);
    return true;
}

enum avow_rc avow_mac_sign_at(const struct avow_wire_schema *schema, const struct avow_mac_key *key,
                              struct avow_buf *out, size_t start, struct avow_err *err)
{
    struct avow_digest mac;
    struct avow_bytes record = record_at(out, start);
    if (!mac_compute(schema, key, record, &mac))
        return avow_err_set(err, AVOW_SCHEMA, 0, "%zu bytes are no %s to authenticate", record.len,
                            schema->name);
    uint8_t *field = out->ptr + out->len - AVOW_MAC_LEN;
    memcpy(field, key->id, KEY_ID_LEN);
    memcpy(field + KEY_ID_LEN, mac.bytes, mac.len);
    return AVOW_OK;
}

enum avow_rc avow_mac_sign(const struct avow_wire_schema *schema, const struct avow_mac_key *key,
                           struct avow_buf *record, struct avow_err *err)
{
    return avow_mac_sign_at(schema, key, record, 0, err);
}

bool avow_mac_verify(const struct avow_wire_schema *schema, const struct avow_mac_key *keys,
                     size_t n, struct avow_bytes record)
{
    if (record.len < AVOW_WIRE_FRAME_LEN + AVOW_MAC_LEN)
        return false;
    const uint8_t *field = record.ptr + record.len - AVOW_MAC_LEN;
    for (size_t i = 0; i < n; i++) {
        struct avow_digest mac;
        if (!avow_bytes_eq(avow_bytes_make(field, KEY_ID_LEN), AVOW_BYTES_OF(keys[i].id)))
            continue;
        return mac_compute(schema, &keys[i], record, &mac) &&
               avow_ct_eq(field + KEY_ID_LEN, mac.bytes, mac.len);
    }
    return false;
}
