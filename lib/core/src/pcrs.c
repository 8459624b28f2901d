/* pcrs.c - which PCRs were quoted, what their values are, and the enrolment's rules for them.
 * PROTOCOL R18: an agent quotes all 24 PCRs of one bank, always, so there is nothing to negotiate
 * and nothing to leave out. Only the attest says what was quoted. */
#include "core_internal.h"

#include "avow/base/hex.h"

#include <assert.h>

#include "avow/base/banned.h"

bool avow_pcrs_bank_is_enrolled(const struct avow_enrollment *e, enum avow_hash_alg bank)
{
    for (size_t i = 0; i < e->banks_count; i++) {
        if (e->banks[i] == bank)
            return true;
    }
    return false;
}

bool avow_pcrs_selection(struct avow_eval *ev)
{
    const struct avow_quote *q = &ev->quote;
    const struct avow_pcr_selection *s = &q->selections[0];
    if (q->selections_count != 1) {
        AVOW_FIND(ev, QUOTE_SELECTION, "attest", "%zu banks in the selection", q->selections_count);
        return false;
    }
    if (s->size != 3 || s->pcrs != AVOW_ALL_PCRS) {
        AVOW_FIND(ev, QUOTE_SELECTION, "attest",
                  "the selection is %06x in %u bytes, not all 24 PCRs", s->pcrs, s->size);
        return false;
    }
    if (!avow_hash_alg_of(s->hash, &ev->bank)) {
        AVOW_FIND(ev, QUOTE_BANK, "attest", "bank 0x%04x is not known", s->hash);
        return false;
    }
    if (!avow_pcrs_bank_is_enrolled(ev->in->enrollment, ev->bank)) {
        AVOW_FIND(ev, QUOTE_BANK, "attest", "bank %s is not enrolled",
                  avow_hash_alg_text(ev->bank));
        return false;
    }
    if (ev->in->body->bank != ev->bank) {
        AVOW_FIND(ev, QUOTE_BANK, "body", "the body says %s, the attest %s",
                  avow_hash_alg_text(ev->in->body->bank), avow_hash_alg_text(ev->bank));
        return false;
    }
    ev->bank_hash = avow_hash_of(ev->bank);
    ev->bank_len = avow_hash_len(ev->bank_hash);
    return true;
}

static enum avow_pcrs_static malformed(struct avow_eval *ev, const char *reason)
{
    AVOW_FIND(ev, EVIDENCE_MALFORMED, "body.pcrs", "%s", reason);
    return AVOW_PCRS_MALFORMED;
}

void avow_pcrs_take_stored(struct avow_eval *ev)
{
    const struct avow_state *s = ev->next;
    if (!s->has_pcr_bank || s->pcr_bank != ev->bank)
        return;
    for (size_t i = 0; i < s->pcr_values_count && i < AVOW_PCR_COUNT; i++) {
        if (s->pcr_values[i].len == ev->bank_len)
            ev->values[i] = s->pcr_values[i];
    }
}

static bool take_sent(struct avow_eval *ev, enum avow_pcrs_static *failed)
{
    const struct avow_body *b = ev->in->body;
    uint32_t seen = 0;
    for (size_t i = 0; i < b->pcrs_count; i++) {
        const struct avow_pcr_value *v = &b->pcrs[i];
        if (v->index >= AVOW_PCR_COUNT || seen & (1u << v->index) || v->value.len != ev->bank_len) {
            *failed = malformed(
                ev, "a value is out of range, given twice, or not as long as the bank's digests");
            return false;
        }
        seen |= 1u << v->index;
        ev->values[v->index] = v->value;
    }
    return true;
}

static void store_values(struct avow_eval *ev)
{
    struct avow_bytes *values = avow_eval_alloc(ev, AVOW_PCR_COUNT, sizeof *values);
    if (!values)
        return;
    memcpy(values, ev->values, sizeof ev->values); /* of the prior state or the body: inputs */
    ev->next->has_pcr_bank = true;
    ev->next->pcr_bank = ev->bank;
    ev->next->pcr_values = values;
    ev->next->pcr_values_count = AVOW_PCR_COUNT;
}

/* A host at rest: nothing new is sent, and the quote is over what is stored. That says more than
 * the agent's digest of the static values, and has to be computed anyway. */
static bool quoted_as_stored(struct avow_eval *ev)
{
    const struct avow_body *b = ev->in->body;
    const struct avow_ima_position *p = &ev->next->ima;
    bool at_rest = ev->ima_present && ev->next->has_ima && !b->pcrs_count && !b->ima_count;
    if (!at_rest || p->bank != ev->bank || !p->pcrs_count || p->pcrs[0].index != AVOW_IMA_PCR ||
        p->pcrs[0].claimed.len != ev->bank_len)
        return false;
    struct avow_digest d;
    avow_pcrs_digest((enum avow_hash)ev->signature.hash, ev->values, p->pcrs[0].claimed, &d);
    if (!avow_bytes_eq(avow_digest_bytes(&d), ev->quote.pcr_digest))
        return false;
    ev->quoted_pcr10 = p->pcrs[0].claimed;
    return true;
}

static bool agent_agrees(const struct avow_eval *ev)
{
    uint8_t digest[AVOW_SHA256_LEN];
    avow_sha256_pieces(ev->values, AVOW_PCR_COUNT, digest);
    return avow_ct_eq(digest, ev->in->body->pcr_static, sizeof digest);
}

/* While IMA is present, PCR 10 is computed from the list; what a body says about it is ignored. */
enum avow_pcrs_static avow_pcrs_static(struct avow_eval *ev)
{
    enum avow_pcrs_static failed = AVOW_PCRS_UNKNOWN;
    avow_pcrs_take_stored(ev);
    if (!take_sent(ev, &failed))
        return failed;
    if (ev->ima_present)
        ev->values[AVOW_IMA_PCR] = (struct avow_bytes){NULL, 0};
    for (size_t i = 0; i < AVOW_PCR_COUNT; i++) {
        if (!ev->values[i].len && !(ev->ima_present && i == AVOW_IMA_PCR))
            return AVOW_PCRS_UNKNOWN;
    }
    if (!quoted_as_stored(ev) && !agent_agrees(ev))
        return AVOW_PCRS_UNKNOWN;
    store_values(ev);
    return AVOW_PCRS_KNOWN;
}

void avow_pcrs_digest(enum avow_hash hash, const struct avow_bytes values[AVOW_PCR_COUNT],
                      struct avow_bytes pcr10, struct avow_digest *out)
{
    struct avow_bytes pieces[AVOW_PCR_COUNT];
    for (size_t i = 0; i < AVOW_PCR_COUNT; i++)
        pieces[i] = i == AVOW_IMA_PCR && pcr10.len ? pcr10 : values[i];
    avow_digest_pieces(hash, pieces, AVOW_PCR_COUNT, out);
}

struct avow_bytes avow_pcrs_value(const struct avow_eval *ev, enum avow_hash_alg bank,
                                  uint16_t index)
{
    if (bank != ev->bank)
        return ev->other_banks ? ev->other_banks[bank].v[index] : (struct avow_bytes){NULL, 0};
    return index == AVOW_IMA_PCR && ev->ima_present ? ev->pcr10 : ev->values[index];
}

enum rule { RULE_NONE = 0, RULE_BROKEN, RULE_MET };

/* What the rules for this PCR and bank say of the value. */
static enum rule rule_of(const struct avow_enrollment *e, uint16_t index, enum avow_hash_alg bank,
                         struct avow_bytes value)
{
    enum rule found = RULE_NONE;
    for (size_t i = 0; i < e->pcrs_count; i++) {
        const struct avow_pcr_rule *r = &e->pcrs[i];
        if (r->index != index || r->bank != bank)
            continue;
        found = RULE_BROKEN;
        for (size_t d = 0; d < r->digests_count; d++) {
            if (avow_bytes_eq(r->digests[d], value))
                return RULE_MET;
        }
    }
    return found;
}

static const char *pcr_text(const struct avow_eval *ev, uint16_t index)
{
    return avow_arena_printf(ev->arena, "PCR %u", index);
}

static void not_enrolled(struct avow_eval *ev, uint16_t index, enum avow_hash_alg bank,
                         struct avow_bytes value)
{
    char hex[2 * AVOW_DIGEST_MAX + 1];
    assert(value.len <= AVOW_DIGEST_MAX);
    avow_hex_encode(hex, value);
    AVOW_FIND(ev, PCR_MISMATCH, pcr_text(ev, index), "%s:%s is not enrolled",
              avow_hash_alg_text(bank), hex);
}

/* In every bank whose value is known. Missing is failing: a rule for another bank is not satisfied
 * by this quote. */
static void judge_value(struct avow_eval *ev, uint16_t index)
{
    size_t values = 0, rules = 0;
    for (unsigned i = 0; i < AVOW_HASH_ALG_COUNT; i++) {
        enum avow_hash_alg bank = (enum avow_hash_alg)i;
        struct avow_bytes value = avow_pcrs_value(ev, bank, index);
        enum rule rule = value.len ? rule_of(ev->in->enrollment, index, bank, value) : RULE_NONE;
        values += value.len != 0;
        rules += rule != RULE_NONE;
        if (rule == RULE_BROKEN)
            not_enrolled(ev, index, bank, value);
    }
    if (values && !rules) /* without a value: PCR 10 of a quote that is not explained yet */
        AVOW_FIND(ev, PCR_MISMATCH, pcr_text(ev, index), "no rule is for the quoted bank %s",
                  avow_hash_alg_text(ev->bank));
}

static void judge_rule(struct avow_eval *ev, uint16_t index)
{
    ev->findings.at.pcr = index;
    if (index >= AVOW_PCR_COUNT)
        AVOW_FIND(ev, PCR_MISMATCH, pcr_text(ev, index), "there is no such PCR");
    else
        judge_value(ev, index);
    ev->findings.at.pcr = -1;
}

void avow_pcrs_rules_ima(struct avow_eval *ev)
{
    const struct avow_enrollment *e = ev->in->enrollment;
    for (size_t i = 0; i < e->pcrs_count; i++) {
        if (e->pcrs[i].index == AVOW_IMA_PCR) {
            judge_rule(ev, AVOW_IMA_PCR);
            return;
        }
    }
}

void avow_pcrs_rules(struct avow_eval *ev)
{
    const struct avow_enrollment *e = ev->in->enrollment;
    for (size_t i = 0; i < e->pcrs_count; i++) {
        bool judged = false;
        for (size_t k = 0; k < i && !judged; k++)
            judged = e->pcrs[k].index == e->pcrs[i].index;
        if (!judged)
            judge_rule(ev, e->pcrs[i].index);
    }
}
