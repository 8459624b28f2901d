/* evidence_build.h - cuts parts, hashes links, makes body, qualifyingData and records (PROTOCOL
 * B4). Layer: agent. Pure: no I/O, no TPM, no clock. General over n parts; the caller decides how
 * many an evidence may have. */
#ifndef AVOW_AGENT_EVIDENCE_BUILD_H
#define AVOW_AGENT_EVIDENCE_BUILD_H

#include "avow/base/buf.h"
#include "avow/model/body.h"

#define AVOW_EVIDENCE_PARTS_MAX 64u                   /* PROTOCOL B6 */
#define AVOW_EVIDENCE_PART_MAX (900u * 1024u)         /* PROTOCOL B6 */
#define AVOW_EVIDENCE_BYTES_MAX (32u * 1024u * 1024u) /* PROTOCOL B6 */
#define AVOW_EVIDENCE_FRAME_HEAD 5u                   /* u8 type, u32be length */
enum avow_frame_type { AVOW_FRAME_IMA = 1, AVOW_FRAME_UEFI = 2 };

/* Appends one frame. Errors: AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_evidence_put_frame(struct avow_buf *part, enum avow_frame_type type,
                                     struct avow_bytes content,
                                     struct avow_err *err) AVOW_MUST_CHECK;

/* c_1 .. c_n of the parts whose SHA-256 are given: c_i = SHA-256(sha_i || c_{i+1}), c_{n+1} = 32
 * zero bytes. */
void avow_evidence_links(const uint8_t (*part_sha256)[32], size_t n, uint8_t (*links)[32]);

/* SHA-256("avow/evidence/1" || 00 || fleet || u16be(len id) || id || nonce || SHA-256(body)). */
void avow_evidence_qualifying_data(const uint8_t fleet[16], struct avow_str agent_id,
                                   const uint8_t nonce[32], struct avow_bytes body,
                                   uint8_t out[32]);

/* All 24 PCRs of one bank. */
struct avow_pcr_bank {
    enum avow_hash_alg alg;
    size_t digest_len;
    uint8_t values[24][64];
};
/* SHA-256 over the values in index order; without PCR 10 while IMA is present. */
void avow_evidence_pcr_static(const struct avow_pcr_bank *bank, enum avow_ima_state ima,
                              uint8_t out[32]);
/* Fills `list` with the values that differ from `known` (NULL: all of them), never PCR 10 while IMA
 * is present. Borrows from `bank`. Returns the count. */
size_t avow_evidence_pcr_changes(const struct avow_pcr_bank *bank,
                                 const struct avow_pcr_bank *known, enum avow_ima_state ima,
                                 struct avow_pcr_value list[24]);
/* True if a value but PCR 10 (with IMA) differs; other banks differ always. */
bool avow_evidence_pcr_static_differs(const struct avow_pcr_bank *a, const struct avow_pcr_bank *b,
                                      enum avow_ima_state ima);

/* Record 1. next: c_2 or NULL. Appends the framed Evidence record. Errors: AVOW_LIMIT, AVOW_NOMEM.
 */
struct avow_evidence_head {
    struct avow_bytes attest, signature, body, part;
    const uint8_t *next;
};
enum avow_rc avow_evidence_encode_head(const struct avow_evidence_head *h, struct avow_buf *out,
                                       struct avow_err *err) AVOW_MUST_CHECK;
/* Record i >= 2. next: c_{i+1} or NULL for the last. */
struct avow_evidence_tail {
    struct avow_bytes attest;
    uint16_t index;
    struct avow_bytes part;
    const uint8_t *next;
};
enum avow_rc avow_evidence_encode_part(const struct avow_evidence_tail *t, struct avow_buf *out,
                                       struct avow_err *err) AVOW_MUST_CHECK;

#endif
