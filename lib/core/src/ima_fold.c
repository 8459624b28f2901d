/* ima_fold.c - running values of the PCRs that IMA extends. Kernels extend a bank with its own hash
 * of the template data, or, where that hash is not built in, with the SHA-1 one padded with zeros
 * (PROTOCOL R18). Which of the two a machine does is not known before a quote is explained, so
 * until then both are folded.
 *
 * Positions: state.ima is the stored one, proven up to proven_count and claimed beyond. A fold from
 * entry 0 beside it goes to state.rebase and replaces it once proven (R7). While a position's mode
 * is undetermined nothing of it is proven, and its `proven` values hold the running values of the
 * padded hypothesis, the `claimed` ones those of the native. */
#include "core_internal.h"

#include <assert.h>

#include "avow/base/banned.h"

/* PCR 17-22 start with ones, as no dynamic launch reset them (TCG PC Client PTP 1.05, 4.6.2). */
static void set_start(const struct avow_fold *f, struct avow_running *v)
{
    for (size_t i = 0; i < f->pcrs_count; i++) {
        v->v[i].len = f->bank_len;
        memset(v->v[i].bytes, f->pcrs[i] >= 17 && f->pcrs[i] <= 22 ? 0xFF : 0, f->bank_len);
    }
}

/* PCR 10 always; the others as enrolled, as many as state can hold. */
static void set_tracked(const struct avow_enrollment *e, struct avow_fold *f)
{
    f->pcrs[0] = AVOW_IMA_PCR;
    f->pcrs_count = 1;
    for (size_t i = 0; i < e->ima_pcrs_count && f->pcrs_count < AVOW_TRACKED_MAX; i++) {
        bool known = e->ima_pcrs[i] >= AVOW_PCR_COUNT;
        for (size_t k = 0; k < f->pcrs_count && !known; k++)
            known = f->pcrs[k] == e->ima_pcrs[i];
        if (!known)
            f->pcrs[f->pcrs_count++] = e->ima_pcrs[i];
    }
}

static bool is_usable(const struct avow_eval *ev, bool has, const struct avow_ima_position *p)
{
    const struct avow_fold *f = &ev->fold;
    if (!has || p->bank != ev->bank || p->pcrs_count != f->pcrs_count)
        return false;
    for (size_t i = 0; i < f->pcrs_count; i++) {
        const struct avow_ima_pcr *v = &p->pcrs[i];
        if (v->index != f->pcrs[i] || v->proven.len != f->bank_len || v->claimed.len != f->bank_len)
            return false;
    }
    return true;
}

static void load(const struct avow_ima_position *p, bool claimed, struct avow_running *out)
{
    for (size_t i = 0; i < p->pcrs_count; i++) {
        struct avow_bytes v = claimed ? p->pcrs[i].claimed : p->pcrs[i].proven;
        out->v[i].len = v.len;
        memcpy(out->v[i].bytes, v.ptr, v.len);
    }
}

static struct avow_chain *add_chain(struct avow_fold *f, enum avow_ima_mode mode, bool from_stored)
{
    assert(f->chains_count < AVOW_CHAINS_MAX);
    struct avow_chain *c = &f->chains[f->chains_count++];
    *c = (struct avow_chain){.mode = mode, .from_stored = from_stored};
    return c;
}

static void add_from_zero(struct avow_fold *f)
{
    set_start(f, &add_chain(f, AVOW_IMA_MODE_NATIVE, false)->now);
    if (f->bank != AVOW_HASH_SHA1) /* padding SHA-1 to SHA-1 changes nothing */
        set_start(f, &add_chain(f, AVOW_IMA_MODE_PADDED, false)->now);
}

static void add_from_stored(struct avow_fold *f, const struct avow_ima_position *p)
{
    if (p->mode == AVOW_IMA_MODE_UNDETERMINED) {
        load(p, true, &add_chain(f, AVOW_IMA_MODE_NATIVE, true)->now);
        load(p, false, &add_chain(f, AVOW_IMA_MODE_PADDED, true)->now);
    } else {
        load(p, true, &add_chain(f, p->mode, true)->now);
    }
}

/* State of another policy than this one does not come here: a new policy is judged from entry 0. */
void avow_fold_take_dm(struct avow_eval *ev, struct avow_bytes dm)
{
    const struct avow_runtime_policy *p = ev->in->policy->runtime;
    const struct avow_dm_policy *policy = p ? avow_runtime_policy_dm(p) : NULL;
    if (!policy || !avow_dm_state_load(policy, dm, &ev->fold.dm))
        ev->fold.dm.len = 0;
}

static enum avow_fold_begin continue_at(struct avow_eval *ev, const struct avow_ima_position *p,
                                        bool into_rebase)
{
    struct avow_fold *f = &ev->fold;
    f->known = f->count = p->claimed_count;
    f->into_rebase = into_rebase;
    if (p->mode != AVOW_IMA_MODE_UNDETERMINED) {
        f->proven_count = p->proven_count;
        load(p, false, &f->proven);
    }
    add_from_stored(f, p);
    avow_learned_load(ev, p->keys, p->keys_count, p->claimed_count);
    avow_fold_take_dm(ev, p->dm);
    return AVOW_FOLD_READY;
}

/* The list from entry 0: a first list, a new run, a rebase, or the new list of a kernel that was
 * started over another. */
static enum avow_fold_begin begin_at_zero(struct avow_eval *ev)
{
    struct avow_fold *f = &ev->fold;
    const struct avow_state *s = ev->next;
    bool has_ima = is_usable(ev, s->has_ima, &s->ima);
    if (ev->in->body->log_trimmed) {
        if (!ev->in->enrollment->flags.allow_log_trimmed)
            AVOW_FIND(ev, IMA_LOG_TRIMMED, "entry 0", "the agent says so");
        if (has_ima)
            avow_eval_resync(ev, s->ima.claimed_count, false, "the beginning of the list is gone");
        return AVOW_FOLD_GAP;
    }
    avow_renew_start_run(ev);
    f->from_zero = true;
    f->into_rebase = !ev->kexec && (has_ima || s->stale);
    add_from_zero(f);
    if (ev->kexec && has_ima)
        add_from_stored(f, &s->ima);
    return AVOW_FOLD_READY;
}

static enum avow_fold_begin gap(struct avow_eval *ev, uint64_t from)
{
    if (from == 0 && ev->in->body->log_trimmed && !ev->in->enrollment->flags.allow_log_trimmed)
        AVOW_FIND(ev, IMA_LOG_TRIMMED, "entry 0", "the agent says so");
    avow_eval_resync(ev, from, false, "entries are missing between those known and those sent");
    return AVOW_FOLD_GAP;
}

static enum avow_fold_begin choose(struct avow_eval *ev)
{
    const struct avow_state *s = ev->next;
    uint64_t start = ev->in->body->ima_start;
    if (start == 0)
        return begin_at_zero(ev);
    if (ev->kexec)
        return gap(ev, 0);
    bool has_ima = is_usable(ev, s->has_ima, &s->ima),
         has_rebase = is_usable(ev, s->has_rebase, &s->rebase);
    if (has_rebase && start <= s->rebase.claimed_count)
        return continue_at(ev, &s->rebase, true);
    if (has_ima && start <= s->ima.claimed_count)
        return continue_at(ev, &s->ima, false);
    if (s->stale && !has_rebase)
        return gap(ev, 0);
    return gap(ev, has_rebase ? s->rebase.claimed_count : has_ima ? s->ima.claimed_count : 0);
}

static void push_recent(struct avow_chain *c)
{
    memmove(&c->recent[1], &c->recent[0], (AVOW_EXPLAIN_BACK - 1) * sizeof c->recent[0]);
    c->recent[0] = c->now;
    if (c->recent_count < AVOW_EXPLAIN_BACK)
        c->recent_count++;
}

enum avow_fold_begin avow_fold_begin(struct avow_eval *ev)
{
    const struct avow_body *b = ev->in->body;
    struct avow_fold *f = &ev->fold;
    f->bank = ev->bank_hash;
    f->bank_len = ev->bank_len;
    f->index = b->ima_start;
    f->dm.len = 0;
    set_tracked(ev->in->enrollment, f);
    if (b->ima_start > AVOW_IMA_ENTRIES_MAX || b->ima_start + b->ima_count > AVOW_IMA_ENTRIES_MAX) {
        AVOW_FIND(ev, IMA_LOG_TOO_LARGE, "body", "%llu entries and more",
                  (unsigned long long)b->ima_start);
        return AVOW_FOLD_GAP;
    }
    f->end = b->ima_start + b->ima_count;
    if (choose(ev) == AVOW_FOLD_GAP)
        return AVOW_FOLD_GAP;
    for (size_t i = 0; i < f->chains_count; i++) {
        push_recent(&f->chains[i]);
        avow_explain_step(ev, &f->chains[i]);
    }
    return AVOW_FOLD_READY;
}

/* linux v6.6 ima_template.c, ima_queue.c: a violation is zeros in the list and ones in every bank.
 */
void avow_ima_extension(enum avow_hash bank, const struct avow_ima_entry *e,
                        const struct avow_digest *sha1, struct avow_ima_extension *x)
{
    size_t len = avow_hash_len(bank);
    x->native.len = x->padded.len = len;
    if (avow_ima_entry_is_violation(e)) {
        memset(x->native.bytes, 0xFF, len);
        memset(x->padded.bytes, 0xFF, len);
        return;
    }
    memset(x->padded.bytes, 0, len);
    memcpy(x->padded.bytes, sha1->bytes, sha1->len);
    if (bank == AVOW_HASH_SHA1)
        x->native = *sha1;
    else
        avow_digest_pieces(bank, e->hashed, e->hashed_count, &x->native);
}

void avow_ima_extend(enum avow_hash bank, struct avow_digest *value, const struct avow_digest *by)
{
    const struct avow_bytes pieces[] = {avow_digest_bytes(value), avow_digest_bytes(by)};
    struct avow_digest out;
    avow_digest_pieces(bank, pieces, AVOW_ARRAY_LEN(pieces), &out);
    *value = out;
}

static void extend(const struct avow_fold *f, struct avow_chain *c, size_t pcr,
                   const struct avow_ima_extension *x)
{
    avow_ima_extend(f->bank, &c->now.v[pcr],
                    c->mode == AVOW_IMA_MODE_PADDED ? &x->padded : &x->native);
}

/* Beside the attested list kernels show one for each bank, whose digests are of it. */
static bool template_hash_fits(const struct avow_ima_entry *e, const struct avow_digest *sha1)
{
    static const enum avow_hash by_bank[] = {AVOW_HASH_SHA256, AVOW_HASH_SHA384, AVOW_HASH_SHA512};
    struct avow_digest d = *sha1;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(by_bank); i++) {
        if (e->template_digest.len == avow_hash_len(by_bank[i]))
            avow_digest_pieces(by_bank[i], e->hashed, e->hashed_count, &d);
    }
    return avow_bytes_eq(e->template_digest, avow_digest_bytes(&d));
}

static void check_template_hash(struct avow_eval *ev, const struct avow_ima_entry *e,
                                const struct avow_digest *sha1)
{
    if (avow_ima_entry_is_violation(e) || template_hash_fits(e, sha1))
        return;
    ev->findings.at.entry = (int64_t)ev->fold.index;
    AVOW_FIND(ev, IMA_TEMPLATE_HASH, avow_ima_where(ev),
              "the list's digest is not that of the data");
    ev->findings.at = AVOW_FINDING_NOWHERE;
}

void avow_fold_entry(struct avow_eval *ev, const struct avow_ima_entry *e)
{
    struct avow_fold *f = &ev->fold;
    if (f->index < f->known) { /* overlap: folded and judged before, whatever is sent now */
        f->index++;
        return;
    }
    struct avow_digest sha1;
    struct avow_ima_extension x;
    avow_digest_pieces(AVOW_HASH_SHA1, e->hashed, e->hashed_count, &sha1);
    check_template_hash(ev, e, &sha1);
    avow_ima_judge(ev, e);
    avow_ima_extension(f->bank, e, &sha1, &x);
    f->index++;
    f->count = f->index;
    for (size_t i = 0; i < f->chains_count; i++) {
        struct avow_chain *c = &f->chains[i];
        for (size_t k = 0; k < f->pcrs_count; k++) {
            if (f->pcrs[k] == e->pcr)
                extend(f, c, k, &x);
        }
        if (f->end - f->index < AVOW_EXPLAIN_BACK)
            push_recent(c);
        avow_explain_step(ev, c);
    }
}

/* A list that a kernel carried over begins with that of the one before, so its second
 * boot_aggregate tells it from a list that begins anew over a PCR that was not reset. */
static size_t unproven_chain(const struct avow_fold *f)
{
    for (size_t i = 0; i < f->chains_count; i++) {
        if (f->chains[i].from_stored != f->repeated_aggregate)
            return i;
    }
    return 0;
}

static bool is_undetermined(const struct avow_eval *ev, const struct avow_chain *c)
{
    const struct avow_fold *f = &ev->fold;
    size_t i = (size_t)(c - f->chains);
    bool has_twin = i + 1 < f->chains_count && f->chains[i + 1].from_stored == c->from_stored &&
                    c->mode == AVOW_IMA_MODE_NATIVE;
    return has_twin && (!ev->proven_chain || (c->explained && c->explained_at == 0));
}

static bool fill(struct avow_eval *ev, const struct avow_chain *c, struct avow_ima_position *p)
{
    const struct avow_fold *f = &ev->fold;
    struct avow_ima_pcr *pcrs = avow_eval_alloc(ev, f->pcrs_count, sizeof *pcrs);
    if (!pcrs)
        return false;
    struct avow_running proven = f->proven;
    *p = (struct avow_ima_position){.bank = ev->bank,
                                    .mode = c->mode,
                                    .proven_count = f->proven_count,
                                    .claimed_count = f->count};
    if (is_undetermined(ev, c)) {
        p->mode = AVOW_IMA_MODE_UNDETERMINED;
        p->proven_count = 0;
        proven = c[1].now;
    } else if (ev->proven_chain && c->explained) {
        p->proven_count = c->explained_at;
        proven = c->explained_values;
    } else if (ev->proven_chain && c->pending_found) {
        p->proven_count = c->pending_at;
        proven = c->pending_values;
    } else if (!f->proven.v[0].len) {
        set_start(f, &proven);
    }
    for (size_t i = 0; i < f->pcrs_count; i++) {
        pcrs[i].index = f->pcrs[i];
        pcrs[i].proven = avow_eval_copy(ev, avow_digest_bytes(&proven.v[i]));
        pcrs[i].claimed = avow_eval_copy(ev, avow_digest_bytes(&c->now.v[i]));
    }
    p->pcrs = pcrs;
    p->pcrs_count = f->pcrs_count;
    p->keys = avow_learned_copy(ev);
    p->keys_count = f->keys_count;
    p->dm = avow_eval_copy(ev, avow_bytes_make(f->dm.bytes, f->dm.len));
    return true;
}

/* Between half of the interval and the whole one, so that a fleet that was enrolled together does
 * not rebase together. */
static void set_rebase_due(struct avow_eval *ev)
{
    uint64_t half = ev->in->rebase_interval_ms / 2;
    ev->next->rebase_due_ms = 0;
    if (!ev->in->rebase_interval_ms)
        return;
    struct avow_rd r = avow_rd_make(AVOW_BYTES_OF(ev->tag));
    ev->next->rebase_due_ms = ev->in->service_ms + half + avow_rd_u64be(&r) % (half + 1);
}

/* This quote is explained, so the fold is where the TPM is now; or an older one is, at least as far
 * on as what was proven before. Only then does the new fold take the old one's place. */
static bool may_replace(const struct avow_eval *ev, const struct avow_ima_position *p)
{
    const struct avow_state *s = ev->next;
    return ev->explained || !s->has_ima || p->bank != s->ima.bank ||
           p->proven_count >= s->ima.proven_count;
}

void avow_fold_store(struct avow_eval *ev)
{
    struct avow_fold *f = &ev->fold;
    struct avow_state *s = ev->next;
    const struct avow_chain *c =
        ev->proven_chain ? ev->proven_chain : &f->chains[unproven_chain(f)];
    struct avow_ima_position p;
    if (!fill(ev, c, &p))
        return;
    if (ev->kexec) {
        s->has_boot_id = true;
        memcpy(s->boot_id, ev->in->body->boot_id, sizeof s->boot_id);
    }
    bool first_proof = ev->proven_chain && (f->into_rebase || !s->rebase_due_ms);
    if (f->into_rebase && !(ev->proven_chain && may_replace(ev, &p))) {
        s->has_rebase = true;
        s->rebase = p;
        return;
    }
    s->has_ima = true;
    s->ima = p;
    if (f->into_rebase) {
        s->has_rebase = false;
        s->rebase = (struct avow_ima_position){0};
        s->stale = false;
    }
    if (first_proof)
        set_rebase_due(ev);
}
