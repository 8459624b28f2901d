/* explain.c - which running value of PCR 10 is the quoted one? PROTOCOL R2, explain-by-next: the
 * log is read before the quote, so the quoted value may lie behind the entries sent, or just before
 * the last of them, which the kernel lists before it extends. A quote that the log does not explain
 * is held as pending; the next log was read after it and must pass through it. */
#include "core_internal.h"

#include <assert.h>

#include "avow/base/banned.h"

/* Other PCRs than 10 that IMA extends are among the static values, and the list must lead to those
 * as well. */
static bool others_are_at(const struct avow_fold *f, const struct avow_running *v,
                          const struct avow_bytes values[AVOW_PCR_COUNT])
{
    for (size_t i = 1; i < f->pcrs_count; i++) {
        if (!avow_bytes_eq(values[f->pcrs[i]], avow_digest_bytes(&v->v[i])))
            return false;
    }
    return true;
}

/* Only PCR 10 varies. */
static bool at_value(const struct avow_fold *f, const struct avow_running *v, enum avow_hash hash,
                     const struct avow_bytes values[AVOW_PCR_COUNT], struct avow_bytes digest)
{
    struct avow_digest got;
    if (!others_are_at(f, v, values))
        return false;
    avow_pcrs_digest(hash, values, avow_digest_bytes(&v->v[0]), &got);
    return avow_bytes_eq(avow_digest_bytes(&got), digest);
}

/* A pending quote of another bank or of a time without IMA can never be met. */
static bool pending_is_usable(const struct avow_eval *ev)
{
    const struct avow_state *s = ev->next;
    const struct avow_pending_quote *p = &s->pending;
    if (!s->has_pending || p->bank != ev->bank || p->values_count != AVOW_PCR_COUNT)
        return false;
    for (size_t i = 0; i < AVOW_PCR_COUNT; i++) {
        bool empty = ev->ima_present && i == AVOW_IMA_PCR;
        if (p->values[i].len != (empty ? 0 : ev->bank_len))
            return false;
    }
    return true;
}

static enum avow_hash scheme_hash(const struct avow_eval *ev)
{
    return (enum avow_hash)ev->signature
        .hash; /* Part 3, TPM2_Quote: pcrDigest uses the hash of the signature scheme */
}

static bool quote_is_at(const struct avow_eval *ev, const struct avow_running *v)
{
    if (ev->quoted_pcr10.len)
        return avow_bytes_eq(ev->quoted_pcr10, avow_digest_bytes(&v->v[0])) &&
               others_are_at(&ev->fold, v, ev->values);
    return at_value(&ev->fold, v, scheme_hash(ev), ev->values, ev->quote.pcr_digest);
}

static void set_explained(struct avow_chain *c, uint64_t at, const struct avow_running *v)
{
    c->explained = true;
    c->explained_at = at;
    c->explained_values = *v;
}

/* Before the first entry there is nothing to be met: else a PCR that nothing extends would be
 * proven by any list that is told from its beginning twice. */
void avow_explain_step(struct avow_eval *ev, struct avow_chain *c)
{
    if (!ev->fold.count)
        return;
    if (ev->any_prefix && !c->explained && ev->quoted_pcr10.len && quote_is_at(ev, &c->now))
        set_explained(c, ev->fold.count, &c->now);
    if (c->pending_found || !pending_is_usable(ev))
        return;
    const struct avow_pending_quote *p = &ev->next->pending;
    if (!at_value(&ev->fold, &c->now, avow_hash_of(p->hash), p->values, p->pcr_digest))
        return;
    c->pending_found = true;
    c->pending_at = ev->fold.count;
    c->pending_values = c->now;
}

/* R_N .. R_{N-4}. A list that is longer than nothing must be explained beyond its first entry: else
 * a PCR that nothing extends would explain every short list. */
static void explain_chain(const struct avow_eval *ev, struct avow_chain *c)
{
    const struct avow_fold *f = &ev->fold;
    for (uint64_t back = 0; back < c->recent_count && !c->explained; back++) {
        uint64_t at = f->count - back;
        if ((at > 0 || f->count == 0) && quote_is_at(ev, &c->recent[back]))
            set_explained(c, at, &c->recent[back]);
    }
    bool near = f->proven_count > 0 && f->proven_count <= f->count &&
                f->count - f->proven_count < AVOW_EXPLAIN_BACK;
    if (!c->explained && near && f->chains_count == 1 && quote_is_at(ev, &f->proven))
        set_explained(c, f->proven_count, &f->proven);
}

static void advance(struct avow_eval *ev, struct avow_as_of to)
{
    struct avow_state *s = ev->next;
    if (avow_boot_is_open(s))
        return; /* R7: not before the log is here */
    if (s->stale && ev->in->service_ms > s->stale_since_service_ms &&
        ev->in->service_ms - s->stale_since_service_ms > AVOW_POLICY_GRACE_MS)
        return; /* trust under the policy of before has an end (R15) */
    if (s->has_as_of && to.epoch < s->as_of.epoch)
        return;
    s->has_as_of = true;
    s->as_of = to;
}

static void hold(struct avow_eval *ev)
{
    struct avow_state *s = ev->next;
    enum avow_hash_alg hash;
    struct avow_bytes *values = avow_eval_alloc(ev, AVOW_PCR_COUNT, sizeof *values);
    if (!values || !avow_hash_alg_of(ev->signature.hash, &hash))
        return;
    for (size_t i = 0; i < AVOW_PCR_COUNT; i++)
        values[i] = avow_eval_copy(ev, ev->values[i]);
    s->has_pending = true;
    s->pending = (struct avow_pending_quote){.offset = ev->head_offset,
                                             .hash = hash,
                                             .bank = ev->bank,
                                             .pcr_digest = avow_eval_copy(ev, ev->quote.pcr_digest),
                                             .epoch = ev->answers.epoch,
                                             .issued_ms = ev->answers.issued_ms,
                                             .service_ms = ev->answers.service_ms,
                                             .order = s->order,
                                             .from = ev->fold.count,
                                             .values = values,
                                             .values_count = AVOW_PCR_COUNT};
    memcpy(s->pending.tag, ev->tag, sizeof s->pending.tag);
    memcpy(s->pending.boot_id, ev->in->body->boot_id, sizeof s->pending.boot_id);
}

/* The pending quote: confirmed, refuted, or still open because more of the log is to come. */
static void settle_pending(struct avow_eval *ev, bool found)
{
    struct avow_state *s = ev->next;
    if (!s->has_pending || (!found && ev->more))
        return;
    /* Its values are proven; what is known of the boot may be about others. */
    bool judged = found && avow_boot_is_of(ev, s->pending.values);
    if (judged) {
        ev->pending_proven = true;
        advance(ev, (struct avow_as_of){.epoch = s->pending.epoch,
                                        .issued_ms = s->pending.issued_ms,
                                        .service_ms = s->pending.service_ms});
    } else if (!found) {
        AVOW_FIND(ev, IMA_PCR_MISMATCH, "PCR 10",
                  "the quote of epoch %llu is explained by none of the %llu entries%s",
                  (unsigned long long)s->pending.epoch, (unsigned long long)ev->fold.count,
                  ev->kexec ? " (another kernel was started)" : "");
    }
    s->has_pending = false;
    s->pending = (struct avow_pending_quote){0};
}

void avow_explain_settle(struct avow_eval *ev)
{
    settle_pending(ev, ev->pending_met);
    if (ev->explained)
        advance(ev, ev->answers);
    else if (!ev->more)
        hold(ev);
}

static const struct avow_chain *winner(const struct avow_fold *f)
{
    for (size_t i = 0; i < f->chains_count; i++) {
        if (f->chains[i].explained)
            return &f->chains[i];
    }
    for (size_t i = 0; i < f->chains_count; i++) {
        if (f->chains[i].pending_found)
            return &f->chains[i];
    }
    return NULL;
}

void avow_explain(struct avow_eval *ev)
{
    struct avow_fold *f = &ev->fold;
    for (size_t i = 0; i < f->chains_count; i++)
        explain_chain(ev, &f->chains[i]);
    const struct avow_chain *c = winner(f);
    ev->proven_chain = c;
    ev->explained = c && c->explained;
    if (c && c->mode == AVOW_IMA_MODE_PADDED && !ev->in->enrollment->flags.allow_padded)
        AVOW_FIND(ev, IMA_BANK_PADDED, "PCR 10", "bank %s has the strength of SHA-1",
                  avow_hash_alg_text(ev->bank));
    if (ev->explained)
        ev->pcr10 = avow_eval_copy(ev, avow_digest_bytes(&c->explained_values.v[0]));
    ev->pending_met = c && c->pending_found;
}

void avow_explain_without_ima(struct avow_eval *ev)
{
    struct avow_digest d;
    avow_pcrs_digest(scheme_hash(ev), ev->values, (struct avow_bytes){NULL, 0}, &d);
    ev->explained = avow_bytes_eq(avow_digest_bytes(&d), ev->quote.pcr_digest);
    if (pending_is_usable(ev)) {
        avow_pcrs_digest(avow_hash_of(ev->next->pending.hash), ev->values,
                         (struct avow_bytes){NULL, 0}, &d);
        ev->pending_met = avow_bytes_eq(avow_digest_bytes(&d), ev->next->pending.pcr_digest);
    }
}
