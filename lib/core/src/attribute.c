/* attribute.c - is this evidence the agent's, fresh and unaltered? PROTOCOL R4: what cannot be
 * attributed is dropped and counted, never judged, because anybody may have written it. The order
 * of the checks is PROTOCOL "Appraisal order". */
#include "core_internal.h"

#include "avow/base/banned.h"

static bool drop(enum avow_drop_reason *out, enum avow_drop_reason why)
{
    *out = why;
    return false;
}

static bool is_kind_enrolled(const struct avow_enrollment *e, enum avow_agent_kind kind)
{
    for (size_t i = 0; i < e->kinds_count; i++) {
        if (e->kinds[i] == kind)
            return true;
    }
    return false;
}

static bool scheme_is_enrolled(const struct avow_enrollment *e, uint16_t scheme)
{
    static const uint16_t by_model[AVOW_SIGN_ALG_COUNT] = {[AVOW_SIGN_ALG_RSASSA] = AVOW_SIG_RSASSA,
                                                           [AVOW_SIGN_ALG_RSAPSS] = AVOW_SIG_RSAPSS,
                                                           [AVOW_SIGN_ALG_ECDSA] = AVOW_SIG_ECDSA};
    for (size_t i = 0; i < e->sign_algs_count; i++) {
        if (e->sign_algs[i] < AVOW_SIGN_ALG_COUNT && by_model[e->sign_algs[i]] == scheme)
            return true;
    }
    return false;
}

static bool hash_is_enrolled(const struct avow_enrollment *e, uint16_t hash)
{
    enum avow_hash_alg alg;
    if (!avow_hash_alg_of(hash, &alg))
        return false;
    for (size_t i = 0; i < e->sign_hashes_count; i++) {
        if (e->sign_hashes[i] == alg)
            return true;
    }
    return false;
}

/* The scheme is fixed in a restricted key's public area, so a TPM cannot sign with another one. A
 * key without one comes from an operator, never from an enrolment. */
static bool algorithm_is_the_keys(const struct avow_tpm_signature *s, const struct avow_ak *ak)
{
    return !avow_ak_name(ak)->len ||
           (s->scheme == (uint16_t)avow_ak_scheme(ak) && s->hash == (uint16_t)avow_ak_hash(ak));
}

/* Empty lists allow nothing. */
bool avow_attribute_algorithm(const struct avow_eval *ev)
{
    const struct avow_tpm_signature *s = &ev->signature;
    return algorithm_is_the_keys(s, ev->in->ak) &&
           scheme_is_enrolled(ev->in->enrollment, s->scheme) &&
           hash_is_enrolled(ev->in->enrollment, s->hash);
}

bool avow_attribute_signature(const struct avow_eval *ev, const struct avow_digest *attest)
{
    const struct avow_tpm_signature *s = &ev->signature;
    struct avow_sig sig = {.scheme = (enum avow_sig_scheme)s->scheme,
                           .hash = (enum avow_hash)s->hash,
                           .rsa = s->rsa,
                           .r = s->r,
                           .s = s->s};
    return avow_pubkey_verify_tpm_digest(avow_ak_key(ev->in->ak), &sig, attest);
}

/* The caller looked the marker up by epoch and tag; a marker of another partition or fleet is none
 * of this agent's. */
static bool marker_fits(const struct avow_eval *ev)
{
    const struct avow_marker *m = ev->in->marker;
    const struct avow_body *b = ev->in->body;
    uint8_t digest[AVOW_SHA256_LEN];
    avow_sha256(AVOW_BYTES_OF(m->nonce), digest);
    return m->epoch == b->epoch && m->partition == ev->in->partition &&
           avow_ct_eq(m->fleet, ev->in->enrollment->fleet, sizeof m->fleet) &&
           avow_ct_eq(digest, b->marker_tag, sizeof b->marker_tag);
}

void avow_qualifying_data(const uint8_t fleet[16], struct avow_str agent_id,
                          const uint8_t nonce[32], struct avow_bytes body, uint8_t out[32])
{
    uint8_t body_digest[AVOW_SHA256_LEN], length[2];
    avow_sha256(body, body_digest);
    avow_put_u16be(length, (uint16_t)agent_id.len);
    const struct avow_bytes pieces[] = {
        avow_bytes_make("avow/evidence/1",
                        sizeof "avow/evidence/1"), /* with its NUL: the 00 of PROTOCOL B4 */
        avow_bytes_make(fleet, 16),
        AVOW_BYTES_OF(length),
        avow_bytes_make(agent_id.ptr, agent_id.len),
        avow_bytes_make(nonce, 32),
        AVOW_BYTES_OF(body_digest),
    };
    avow_sha256_pieces(pieces, AVOW_ARRAY_LEN(pieces), out);
}

static bool qualifying_data_fits(const struct avow_eval *ev)
{
    uint8_t expected[AVOW_SHA256_LEN];
    avow_qualifying_data(ev->in->enrollment->fleet, ev->in->enrollment->key, ev->in->marker->nonce,
                         ev->in->evidence->body, expected);
    struct avow_bytes extra = ev->quote.extra_data;
    return extra.len == sizeof expected && avow_ct_eq(extra.ptr, expected, sizeof expected);
}

void avow_part_link(struct avow_bytes part, const uint8_t next[32], uint8_t out[32])
{
    uint8_t digest[AVOW_SHA256_LEN];
    avow_sha256(part, digest);
    const struct avow_bytes pieces[] = {AVOW_BYTES_OF(digest),
                                        avow_bytes_make(next, AVOW_SHA256_LEN)};
    avow_sha256_pieces(pieces, AVOW_ARRAY_LEN(pieces), out);
}

/* c_1 = SHA-256(SHA-256(part_1) || c_2), c_{n+1} = zeros (PROTOCOL B4). What the signed body alone
 * contradicts is a finding; what differs between body and record was altered on the way. A `next`
 * of zeros hashes as none and is taken for none: whether it is spelled out is not signed. */
static bool part_fits(struct avow_eval *ev)
{
    const struct avow_evidence *e = ev->in->evidence;
    const struct avow_body *b = ev->in->body;
    if (!b->has_link) {
        ev->body_malformed |= b->parts > 0;
        return !e->part.len && !e->has_next;
    }
    uint8_t link[AVOW_SHA256_LEN];
    if (e->has_next)
        memcpy(ev->part_next, e->next, sizeof ev->part_next);
    avow_part_link(e->part, ev->part_next, link);
    bool has_next = !avow_bytes_all(AVOW_BYTES_OF(ev->part_next), 0);
    ev->body_malformed |= b->parts == 0 || b->parts > AVOW_PARTS_MAX || (b->parts > 1) != has_next;
    return avow_ct_eq(link, b->link, sizeof link);
}

/* Most AKs sign a SHA-256, which is hashed already. */
static void set_tag(struct avow_eval *ev, const struct avow_digest *attest)
{
    uint8_t digest[AVOW_SHA256_LEN];
    if (ev->signature.hash == AVOW_HASH_SHA256)
        memcpy(digest, attest->bytes, sizeof digest);
    else
        avow_sha256(ev->in->evidence->attest, digest);
    memcpy(ev->tag, digest, sizeof ev->tag);
}

bool avow_attribute(struct avow_eval *ev, enum avow_drop_reason *why)
{
    const struct avow_eval_in *in = ev->in;
    const struct avow_evidence *e = in->evidence;
    if (!in->body || avow_quote_parse(e->attest, &ev->quote, NULL) ||
        avow_tpm_signature_parse(e->signature, &ev->signature, NULL))
        return drop(why, AVOW_DROP_REASON_PARSE);
    if (!in->enrollment || in->enrollment->status != AVOW_ENROLL_STATUS_ACTIVE || !in->ak)
        return drop(why, AVOW_DROP_REASON_UNENROLLED);
    if (e->kind != AVOW_AGENT_KIND_AVOW || !is_kind_enrolled(in->enrollment, e->kind))
        return drop(why, AVOW_DROP_REASON_KIND);
    if (!avow_attribute_algorithm(ev))
        return drop(why, AVOW_DROP_REASON_ALGORITHM);
    struct avow_digest attest; /* an enrolled hash is known */
    avow_digest((enum avow_hash)ev->signature.hash, e->attest, &attest);
    if (!avow_attribute_signature(ev, &attest))
        return drop(why, AVOW_DROP_REASON_SIGNATURE);
    if (ev->quote.magic != AVOW_TPM_GENERATED || ev->quote.type != AVOW_ST_ATTEST_QUOTE)
        return drop(why, AVOW_DROP_REASON_MAGIC);
    if (ev->quote.clock > INT64_MAX) /* owners set clocks; no record of ours holds this one */
        return drop(why, AVOW_DROP_REASON_PARSE);
    if (!in->marker)
        return drop(why,
                    in->marker_expired ? AVOW_DROP_REASON_MARKER_EXPIRED : AVOW_DROP_REASON_MARKER);
    if (!marker_fits(ev))
        return drop(why, AVOW_DROP_REASON_MARKER);
    if (!qualifying_data_fits(ev))
        return drop(why, AVOW_DROP_REASON_QUALIFYING_DATA);
    if (!part_fits(ev))
        return drop(why, AVOW_DROP_REASON_PART_HASH);
    if (avow_order_of(ev) == AVOW_ORDER_REPLAY)
        return drop(why, AVOW_DROP_REASON_REPLAY);
    set_tag(ev, &attest);
    ev->answers = (struct avow_as_of){.epoch = in->marker->epoch,
                                      .issued_ms = in->marker->issued_ms,
                                      .service_ms = in->marker->service_ms};
    ev->head_offset = (uint64_t)in->offset;
    ev->part = e->part;
    ev->part_index = 1;
    ev->parts_bytes = e->part.len;
    return true;
}
