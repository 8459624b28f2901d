/* open_fold.c - the fold between two parts of one evidence, as the state holds it (PROTOCOL R3,
 * B4). Nothing but the one next part is acceptable, so anybody may inject parts and disturbs
 * nothing; and a worker that takes the partition over goes on where the last one stopped. */
#include "core_internal.h"

#include "avow/base/num.h"

#include "avow/base/banned.h"

void avow_open_demands(const struct avow_eval_in *in, uint8_t out[32])
{
    const struct avow_eval_policy *p = in->policy;
    struct avow_bytes pieces[1 + 2 * 8]; /* heads: schemas/state.avsc */
    size_t n = 0;
    pieces[n++] = avow_bytes_make(in->enrollment_sha256, AVOW_SHA256_LEN);
    for (size_t i = 0; i < p->heads_count && n + 2 <= AVOW_ARRAY_LEN(pieces); i++) {
        pieces[n++] = avow_bytes_make(p->heads[i].name.ptr, p->heads[i].name.len);
        pieces[n++] = AVOW_BYTES_OF(p->heads[i].sha256);
    }
    avow_sha256_pieces(pieces, n, out);
}

static void close(struct avow_state *s)
{
    s->has_open = false;
    s->open = (struct avow_open_fold){0};
}

void avow_open_abandon(struct avow_eval *ev)
{
    close(ev->next);
    ev->out->abandoned = true;
}

/* --- To the state --- */

static const struct avow_bytes *values_out(struct avow_eval *ev, const struct avow_running *runs,
                                           size_t runs_count)
{
    size_t per = ev->fold.pcrs_count;
    struct avow_bytes *out = avow_eval_alloc(ev, runs_count * per, sizeof *out);
    for (size_t i = 0; out && i < runs_count * per; i++)
        out[i] = avow_eval_copy(ev, avow_digest_bytes(&runs[i / per].v[i % per]));
    return out;
}

static void chain_out(struct avow_eval *ev, const struct avow_chain *c, struct avow_fold_chain *out)
{
    size_t per = ev->fold.pcrs_count;
    *out = (struct avow_fold_chain){.mode = c->mode,
                                    .from_stored = c->from_stored,
                                    .now = values_out(ev, &c->now, 1),
                                    .now_count = per,
                                    .recent = values_out(ev, c->recent, c->recent_count),
                                    .recent_count = c->recent_count * per,
                                    .pending_found = c->pending_found};
    if (!c->pending_found)
        return;
    out->pending_at = c->pending_at;
    out->pending_values = values_out(ev, &c->pending_values, 1);
    out->pending_values_count = per;
}

static void fold_out(struct avow_eval *ev, struct avow_open_fold *o)
{
    const struct avow_fold *f = &ev->fold;
    struct avow_fold_chain *chains = avow_eval_alloc(ev, f->chains_count, sizeof *chains);
    uint16_t *pcrs = avow_eval_alloc(ev, f->pcrs_count, sizeof *pcrs);
    if (!chains || !pcrs)
        return;
    for (size_t i = 0; i < f->chains_count; i++)
        chain_out(ev, &f->chains[i], &chains[i]);
    memcpy(pcrs, f->pcrs, f->pcrs_count * sizeof *pcrs);
    o->chains = chains;
    o->chains_count = f->chains_count;
    o->pcrs = pcrs;
    o->pcrs_count = f->pcrs_count;
    o->into_rebase = f->into_rebase;
    o->from_zero = f->from_zero;
    o->repeated_aggregate = f->repeated_aggregate;
    o->known = f->known;
    o->next = f->index;
    o->proven_at = f->proven_count;
    if (f->proven_count) {
        o->proven = values_out(ev, &f->proven, 1);
        o->proven_count = f->pcrs_count;
    }
    o->keys = avow_learned_copy(ev);
    o->keys_count = f->keys_count;
    o->dm = avow_eval_copy(ev, avow_bytes_make(f->dm.bytes, f->dm.len));
}

void avow_open_store(struct avow_eval *ev)
{
    struct avow_state *s = ev->next;
    struct avow_open_fold o = s->open; /* what part 1 wrote stays */
    if (ev->part_index == 1) {
        o = (struct avow_open_fold){.offset = ev->head_offset,
                                    .epoch = ev->answers.epoch,
                                    .issued_ms = ev->answers.issued_ms,
                                    .service_ms = ev->answers.service_ms,
                                    .attest = avow_eval_copy(ev, ev->in->evidence->attest),
                                    .body = avow_eval_copy(ev, ev->in->evidence->body),
                                    .bank = ev->bank,
                                    .kexec = ev->kexec,
                                    .run_starts = ev->run_starts};
        memcpy(o.tag, ev->tag, sizeof o.tag);
        avow_open_demands(ev->in, o.demands);
        ev->nomem |= !avow_hash_alg_of(ev->signature.hash, &o.hash);
    }
    o.progress_service_ms = ev->in->service_ms;
    o.index = ev->part_index;
    o.bytes = (uint32_t)ev->parts_bytes; /* at most AVOW_EVIDENCE_BYTES_MAX: avow_ima_part */
    memcpy(o.expect, ev->part_next, sizeof o.expect);
    fold_out(ev, &o);
    s->has_open = true;
    s->open = o;
}

/* --- From the state --- */

bool avow_open_accepts(const struct avow_eval_in *in, enum avow_drop_reason *why)
{
    static const uint8_t zeros[AVOW_SHA256_LEN];
    const struct avow_open_fold *o = &in->prior->open;
    const struct avow_evidence_part *p = in->part;
    uint8_t link[AVOW_SHA256_LEN];
    *why = AVOW_DROP_REASON_UNENROLLED;
    if (!in->enrollment || in->enrollment->status != AVOW_ENROLL_STATUS_ACTIVE)
        return false;
    *why = AVOW_DROP_REASON_PART_ORDER;
    if (!in->prior->has_open || !in->body || !avow_ct_eq(p->tag, o->tag, sizeof p->tag) ||
        p->index != o->index + 1u)
        return false;
    *why = AVOW_DROP_REASON_PART_HASH;
    avow_part_link(p->part, p->has_next ? p->next : zeros, link);
    return avow_ct_eq(link, o->expect, sizeof link);
}

static bool values_in(const struct avow_fold *f, const struct avow_bytes *values, size_t count,
                      struct avow_running *runs)
{
    for (size_t i = 0; i < count; i++) {
        if (values[i].len != f->bank_len)
            return false;
        struct avow_digest *d = &runs[i / f->pcrs_count].v[i % f->pcrs_count];
        d->len = values[i].len;
        memcpy(d->bytes, values[i].ptr, values[i].len);
    }
    return true;
}

static bool chain_in(const struct avow_fold *f, const struct avow_fold_chain *in,
                     struct avow_chain *c)
{
    size_t per = f->pcrs_count;
    if (in->now_count != per || in->recent_count % per ||
        in->recent_count > AVOW_EXPLAIN_BACK * per ||
        in->pending_values_count != (in->pending_found ? per : 0))
        return false;
    *c = (struct avow_chain){.mode = in->mode,
                             .from_stored = in->from_stored,
                             .recent_count = in->recent_count / per,
                             .pending_found = in->pending_found,
                             .pending_at = in->pending_at};
    return values_in(f, in->now, per, &c->now) &&
           values_in(f, in->recent, in->recent_count, c->recent) &&
           values_in(f, in->pending_values, in->pending_values_count, &c->pending_values);
}

static bool fold_in(const struct avow_open_fold *o, const struct avow_body *b, struct avow_fold *f)
{
    if (!o->pcrs_count || o->pcrs_count > AVOW_TRACKED_MAX || !o->chains_count ||
        o->chains_count > AVOW_CHAINS_MAX || o->proven_count != (o->proven_at ? o->pcrs_count : 0))
        return false;
    f->pcrs_count = o->pcrs_count;
    memcpy(f->pcrs, o->pcrs, o->pcrs_count * sizeof *o->pcrs);
    f->into_rebase = o->into_rebase;
    f->from_zero = o->from_zero;
    f->repeated_aggregate = o->repeated_aggregate;
    f->known = o->known;
    f->index = o->next;
    f->count = avow_max_u64(o->known, o->next);
    f->end = b->ima_start + b->ima_count;
    f->proven_count = o->proven_at;
    f->chains_count = o->chains_count;
    bool good = values_in(f, o->proven, o->proven_count, &f->proven) && f->index <= f->end;
    for (size_t i = 0; i < o->chains_count && good; i++)
        good = chain_in(f, &o->chains[i], &f->chains[i]);
    return good;
}

static bool values_are_known(struct avow_eval *ev)
{
    avow_pcrs_take_stored(ev);
    ev->values[AVOW_IMA_PCR] = (struct avow_bytes){NULL, 0};
    for (size_t i = 0; i < AVOW_PCR_COUNT; i++) {
        if (i != AVOW_IMA_PCR && !ev->values[i].len)
            return false;
    }
    return true;
}

bool avow_open_load(struct avow_eval *ev)
{
    const struct avow_open_fold *o = &ev->in->prior->open;
    const struct avow_evidence_part *p = ev->in->part;
    if (avow_quote_parse(o->attest, &ev->quote, NULL))
        return false;
    memcpy(ev->tag, o->tag, sizeof ev->tag);
    ev->signature.hash = (uint16_t)avow_hash_of(o->hash);
    ev->answers = (struct avow_as_of){
        .epoch = o->epoch, .issued_ms = o->issued_ms, .service_ms = o->service_ms};
    ev->head_offset = o->offset;
    ev->kexec = o->kexec;
    ev->run_starts = o->run_starts;
    ev->bank = o->bank;
    ev->bank_hash = ev->fold.bank = avow_hash_of(o->bank);
    ev->bank_len = ev->fold.bank_len = avow_hash_len(ev->bank_hash);
    ev->part = p->part;
    ev->part_index = p->index;
    ev->parts_bytes = (uint64_t)o->bytes + p->part.len;
    if (p->has_next)
        memcpy(ev->part_next, p->next, sizeof ev->part_next);
    if (!fold_in(o, ev->in->body, &ev->fold))
        return false;
    avow_learned_load(ev, o->keys, o->keys_count, ev->fold.count);
    avow_fold_take_dm(ev, o->dm);
    return values_are_known(ev);
}

/* --- Given up --- */

void avow_state_abandon(const struct avow_state *prior, struct avow_state *next,
                        struct avow_eval_resync *ask)
{
    *next = *prior;
    close(next);
    uint64_t from = avow_known_entries(next);
    *ask = (struct avow_eval_resync){.wanted = true,
                                     .boot_log = from == 0,
                                     .ima_from = from,
                                     .reason = "parts of an evidence did not come"};
}
