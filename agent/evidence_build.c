#include "evidence_build.h"

#include "avow/crypto/digest.h"
#include "avow/wire/evidence.h"
#include "avow/wire/evidence_part.h"

#include <assert.h>
#include <string.h>

#include "avow/base/banned.h"

#define PCRS 24u
#define PCR_IMA 10u

enum avow_rc avow_evidence_put_frame(struct avow_buf *part, enum avow_frame_type type,
                                     struct avow_bytes content, struct avow_err *err)
{
    if (content.len > AVOW_EVIDENCE_PART_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "frame of %zu bytes", content.len);
    avow_buf_put_u8(part, (uint8_t)type);
    avow_buf_put_u32be(part, (uint32_t)content.len);
    avow_buf_put(part, content.ptr, content.len);
    return avow_buf_status(part, err);
}

void avow_evidence_links(const uint8_t (*part_sha256)[32], size_t n, uint8_t (*links)[32])
{
    uint8_t next[32] = {0};
    for (size_t i = n; i-- > 0;) {
        const struct avow_bytes pieces[] = {avow_bytes_make(part_sha256[i], 32),
                                            AVOW_BYTES_OF(next)};
        avow_sha256_pieces(pieces, AVOW_ARRAY_LEN(pieces), links[i]);
        memcpy(next, links[i], sizeof next);
    }
}

void avow_evidence_qualifying_data(const uint8_t fleet[16], struct avow_str agent_id,
                                   const uint8_t nonce[32], struct avow_bytes body, uint8_t out[32])
{
    static const char domain[] = "avow/evidence/1"; /* with its NUL: the 00 of the formula */
    uint8_t id_len[2], body_sha256[32];
    assert(agent_id.len <= UINT16_MAX);
    avow_put_u16be(id_len, (uint16_t)agent_id.len);
    avow_sha256(body, body_sha256);
    const struct avow_bytes pieces[] = {avow_bytes_make(domain, sizeof domain),
                                        avow_bytes_make(fleet, 16),
                                        AVOW_BYTES_OF(id_len),
                                        avow_bytes_make(agent_id.ptr, agent_id.len),
                                        avow_bytes_make(nonce, 32),
                                        AVOW_BYTES_OF(body_sha256)};
    avow_sha256_pieces(pieces, AVOW_ARRAY_LEN(pieces), out);
}

/* While the kernel measures, PCR 10 is computed from the log and never sent (R2). */
static bool is_sent(unsigned pcr, enum avow_ima_state ima)
{
    return pcr != PCR_IMA || ima == AVOW_IMA_STATE_ABSENT;
}

static struct avow_bytes value_of(const struct avow_pcr_bank *bank, unsigned pcr)
{
    return avow_bytes_make(bank->values[pcr], bank->digest_len);
}

void avow_evidence_pcr_static(const struct avow_pcr_bank *bank, enum avow_ima_state ima,
                              uint8_t out[32])
{
    struct avow_bytes pieces[PCRS];
    size_t n = 0;
    for (unsigned i = 0; i < PCRS; i++)
        if (is_sent(i, ima))
            pieces[n++] = value_of(bank, i);
    avow_sha256_pieces(pieces, n, out);
}

size_t avow_evidence_pcr_changes(const struct avow_pcr_bank *bank,
                                 const struct avow_pcr_bank *known, enum avow_ima_state ima,
                                 struct avow_pcr_value list[PCRS])
{
    bool all = !known || known->alg != bank->alg;
    size_t n = 0;
    for (unsigned i = 0; i < PCRS; i++)
        if (is_sent(i, ima) && (all || !avow_bytes_eq(value_of(bank, i), value_of(known, i))))
            list[n++] = (struct avow_pcr_value){.index = (uint16_t)i, .value = value_of(bank, i)};
    return n;
}

bool avow_evidence_pcr_static_differs(const struct avow_pcr_bank *a, const struct avow_pcr_bank *b,
                                      enum avow_ima_state ima)
{
    struct avow_pcr_value unused[PCRS];
    return avow_evidence_pcr_changes(a, b, ima, unused) > 0;
}

enum avow_rc avow_evidence_encode_head(const struct avow_evidence_head *h, struct avow_buf *out,
                                       struct avow_err *err)
{
    struct avow_evidence e = {.kind = AVOW_AGENT_KIND_AVOW,
                              .attest = h->attest,
                              .signature = h->signature,
                              .body = h->body,
                              .part = h->part,
                              .has_next = h->next != NULL};
    if (h->next)
        memcpy(e.next, h->next, sizeof e.next);
    return avow_evidence_encode(&e, out, err);
}

enum avow_rc avow_evidence_encode_part(const struct avow_evidence_tail *t, struct avow_buf *out,
                                       struct avow_err *err)
{
    uint8_t attest_sha256[32];
    struct avow_evidence_part p = {.index = t->index, .part = t->part, .has_next = t->next != NULL};
    avow_sha256(t->attest, attest_sha256);
    memcpy(p.tag, attest_sha256, sizeof p.tag);
    if (t->next)
        memcpy(p.next, t->next, sizeof p.next);
    return avow_evidence_part_encode(&p, out, err);
}
