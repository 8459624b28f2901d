/* appraise_ima.c - a list of any form beside one quote, or alone. See appraise.h.
 *
 * It is walked twice. The first walk only counts and extends, in every bank and in both ways that
 * kernels have, until it meets the quoted value: with no file of values that value has to be found
 * first, and results show PCR 10 of every bank. The second one is the fold of avow_evaluate. */
#include "appraise_internal.h"

#include "avow/base/banned.h"

/* --- First walk --- */

static enum avow_hash hash_at(size_t bank)
{
    return avow_hash_of((enum avow_hash_alg)bank);
}

static void start_at_zero(struct avow_scan *s)
{
    for (size_t i = 0; i < AVOW_HASH_ALG_COUNT; i++) {
        s->native[i] = s->padded[i] = (struct avow_digest){.len = avow_hash_len(hash_at(i))};
        s->known[i] = true;
    }
}

static void load_value(struct avow_digest *d, struct avow_bytes v)
{
    d->len = v.len <= AVOW_DIGEST_MAX ? v.len : 0;
    if (d->len)
        memcpy(d->bytes, v.ptr, d->len);
}

/* A stored position knows its own bank. */
static void start_at_stored(struct avow_scan *s, const struct avow_ima_position *p)
{
    bool fits = p->pcrs_count && p->pcrs[0].index == AVOW_IMA_PCR &&
                p->pcrs[0].claimed.len == avow_hash_len(avow_hash_of(p->bank)) &&
                p->pcrs[0].proven.len == p->pcrs[0].claimed.len;
    if (!fits)
        return;
    bool undetermined = p->mode == AVOW_IMA_MODE_UNDETERMINED;
    load_value(&s->native[p->bank], p->pcrs[0].claimed);
    load_value(&s->padded[p->bank], undetermined ? p->pcrs[0].proven : p->pcrs[0].claimed);
    s->known[p->bank] = true;
}

static void extend_all(struct avow_scan *s, const struct avow_ima_entry *e)
{
    struct avow_digest sha1;
    avow_digest_pieces(AVOW_HASH_SHA1, e->hashed, e->hashed_count, &sha1);
    for (size_t i = 0; i < AVOW_HASH_ALG_COUNT; i++) {
        struct avow_ima_extension x;
        if (!s->known[i])
            continue;
        avow_ima_extension(hash_at(i), e, &sha1, &x);
        avow_ima_extend(hash_at(i), &s->native[i], &x.native);
        avow_ima_extend(hash_at(i), &s->padded[i], &x.padded);
    }
}

static bool is_value(const struct avow_digest *d, struct avow_bytes value)
{
    return value.len && avow_bytes_eq(avow_digest_bytes(d), value);
}

/* Kernels without the hashes of larger banks pad there; very old ones everywhere. */
static bool guess(struct avow_appraisal *a)
{
    const struct avow_scan *s = &a->scan;
    for (unsigned way = 0; way < 3; way++) {
        struct avow_digest pcr10[AVOW_HASH_ALG_COUNT];
        for (size_t i = 0; i < AVOW_HASH_ALG_COUNT; i++) {
            bool large = i == AVOW_HASH_ALG_SHA384 || i == AVOW_HASH_ALG_SHA512;
            pcr10[i] = way == 2 || (way == 1 && large) ? s->padded[i] : s->native[i];
            if (!s->known[i])
                pcr10[i].len = 0;
        }
        if (avow_appraise_values_guess(a, pcr10))
            return true;
    }
    return false;
}

/* The bytes that one of the running values must be. */
static struct avow_bytes target_of(const struct avow_appraisal *a)
{
    return a->in && a->values_proven ? a->values[a->ev.bank].v[AVOW_IMA_PCR] : a->ev.quoted_pcr10;
}

static bool is_quoted_here(struct avow_appraisal *a)
{
    enum avow_hash_alg bank = a->ev.bank;
    struct avow_bytes value = target_of(a);
    if (!value.len && a->in && a->selection_good && !a->values_given && !a->values_proven)
        return guess(a) && a->values[bank].v[AVOW_IMA_PCR].len;
    return a->scan.known[bank] &&
           (is_value(&a->scan.native[bank], value) || is_value(&a->scan.padded[bank], value));
}

/* Results show the bank as its kernel extends it where that is known. */
static void show_values(struct avow_appraisal *a)
{
    struct avow_appraise_ima *out = &a->out->ima;
    for (size_t i = 0; i < AVOW_HASH_ALG_COUNT; i++) {
        struct avow_bytes quoted = i == a->ev.bank ? target_of(a) : a->values[i].v[AVOW_IMA_PCR];
        bool padded = is_value(&a->scan.padded[i], quoted);
        out->pcr10[i] = padded ? a->scan.padded[i] : a->scan.native[i];
        if (!a->scan.known[i])
            out->pcr10[i].len = 0;
    }
}

static void cover(struct avow_appraisal *a)
{
    a->out->ima.is_covered = true;
    a->out->ima.covered = a->out->ima.entries;
    show_values(a);
}

static void note_entry(struct avow_appraisal *a, const struct avow_ima_entry *e)
{
    struct avow_appraise_ima *out = &a->out->ima;
    struct avow_ima_file f;
    out->violations += avow_ima_entry_is_violation(e);
    if (out->entries == 0 && !avow_ima_file_parse(e, &f, NULL) && !f.has_buffer &&
        avow_str_is(f.path, "boot_aggregate"))
        out->boot_aggregate = avow_eval_copy(&a->ev, f.digest);
    out->entries++;
}

/* A list that begins with boot_aggregate is told from its beginning. */
static void choose_start(struct avow_appraisal *a, struct avow_bytes list)
{
    AVOW_CLEANUP_VAL(avow_ima_view_deinit) struct avow_ima_view v;
    struct avow_ima_entry e;
    struct avow_ima_file f;
    avow_ima_view_init(&v, list);
    bool from_zero = avow_ima_view_next(&v, &e) == AVOW_IMA_ENTRY &&
                     !avow_ima_file_parse(&e, &f, NULL) && !f.has_buffer &&
                     avow_str_is(f.path, "boot_aggregate");
    a->out->ima.kind = v.kind;
    if (!from_zero && a->prior.has_ima)
        a->out->ima.first = a->prior.ima.claimed_count;
}

void avow_appraise_scan(struct avow_appraisal *a, struct avow_bytes list)
{
    AVOW_CLEANUP_VAL(avow_ima_view_deinit) struct avow_ima_view v;
    struct avow_ima_entry e;
    struct avow_appraise_ima *out = &a->out->ima;
    out->judged = true;
    choose_start(a, list);
    if (out->first)
        start_at_stored(&a->scan, &a->prior.ima);
    else
        start_at_zero(&a->scan);
    if (out->first && is_quoted_here(a))
        cover(a);
    avow_ima_view_init(&v, list);
    while ((a->scan.end = avow_ima_view_next(&v, &e)) == AVOW_IMA_ENTRY &&
           out->first + out->entries < AVOW_IMA_ENTRIES_MAX) {
        note_entry(a, &e);
        if (e.pcr == AVOW_IMA_PCR)
            extend_all(&a->scan, &e);
        if (!out->is_covered && is_quoted_here(a))
            cover(a);
    }
    if (a->scan.end == AVOW_IMA_NO_MEMORY)
        avow_appraisal_fail(a, AVOW_NOMEM, "IMA list");
    if (!out->entries && !out->first && is_quoted_here(a))
        cover(a);
    if (!out->is_covered)
        show_values(a);
}

/* --- Second walk --- */

static void judge_end(struct avow_appraisal *a)
{
    struct avow_eval *ev = &a->ev;
    switch (a->scan.end) {
    case AVOW_IMA_TRUNCATED:
        AVOW_FIND(ev, IMA_LOG_MALFORMED, avow_ima_where(ev), "the list ends within an entry");
        return;
    case AVOW_IMA_MALFORMED:
        AVOW_FIND(ev, IMA_LOG_MALFORMED, avow_ima_where(ev), "%s",
                  a->out->ima.kind == AVOW_IMA_LIST_UNKNOWN ? "this is no IMA list"
                                                            : "not an entry");
        return;
    case AVOW_IMA_TOO_LARGE:
        AVOW_FIND(ev, IMA_ENTRY_TOO_LARGE, avow_ima_where(ev), "more than %u bytes",
                  AVOW_IMA_ENTRY_MAX);
        return;
    case AVOW_IMA_ENTRY:
        AVOW_FIND(ev, IMA_LOG_TOO_LARGE, avow_ima_where(ev), "%u entries and more",
                  AVOW_IMA_ENTRIES_MAX);
        return;
    case AVOW_IMA_END:
    case AVOW_IMA_NO_MEMORY:
    default:
        return;
    }
}

static void fold(struct avow_appraisal *a, struct avow_bytes list)
{
    AVOW_CLEANUP_VAL(avow_ima_view_deinit) struct avow_ima_view v;
    struct avow_ima_entry e;
    avow_ima_view_init(&v, list);
    for (uint64_t i = 0; i < a->out->ima.entries; i++) {
        if (avow_ima_view_next(&v, &e) != AVOW_IMA_ENTRY) { /* it was there before */
            avow_appraisal_fail(a, AVOW_NOMEM, "IMA list");
            return;
        }
        avow_fold_entry(&a->ev, &e);
    }
    judge_end(a);
}

/* The fold is of one bank; what is quoted of PCR 10 in others must be what the same entries lead to
 * there. */
static void judge_other_banks(struct avow_appraisal *a)
{
    for (size_t i = 0; i < AVOW_HASH_ALG_COUNT; i++) {
        struct avow_bytes value = a->values[i].v[AVOW_IMA_PCR];
        if (i == a->ev.bank || !value.len || !a->scan.known[i])
            continue;
        if (!avow_bytes_eq(avow_digest_bytes(&a->out->ima.pcr10[i]), value))
            AVOW_FIND(&a->ev, IMA_PCR_MISMATCH, "PCR 10", "not that of bank %s",
                      avow_hash_alg_text((enum avow_hash_alg)i));
    }
}

static void settle(struct avow_appraisal *a)
{
    struct avow_eval *ev = &a->ev;
    if (!ev->explained && ev->quoted_pcr10.len) {
        ev->findings.at.pcr = AVOW_IMA_PCR;
        AVOW_FIND(ev, IMA_PCR_MISMATCH, "PCR 10",
                  "none of the %llu entries leads to the value in bank %s",
                  (unsigned long long)ev->fold.count, avow_hash_alg_text(ev->bank));
        ev->findings.at = AVOW_FINDING_NOWHERE;
    } else if (ev->explained && a->in) {
        judge_other_banks(a);
    }
}

static void refuse_state(struct avow_appraisal *a)
{
    avow_appraisal_fail(a, AVOW_STATE,
                        "the state was made by other demands or another bank: the whole list is "
                        "needed, from entry 0");
}

/* A worker goes on then, and asks for the whole list; here nobody would judge its beginning. */
static bool was_judged_by_others(const struct avow_eval *ev)
{
    return ev->next->stale && !ev->fold.from_zero && !ev->fold.into_rebase;
}

void avow_appraise_list_judge(struct avow_appraisal *a, struct avow_bytes list)
{
    struct avow_eval *ev = &a->ev;
    a->body.ima_start = a->out->ima.first;
    a->body.ima_count = (uint32_t)a->out->ima.entries;
    if (avow_fold_begin(ev) == AVOW_FOLD_GAP) {
        judge_end(a);
        if (a->ev_out.resync.wanted)
            refuse_state(a);
        return;
    }
    if (was_judged_by_others(ev)) {
        refuse_state(a);
        return;
    }
    fold(a, list);
    avow_explain(ev);
    avow_fold_store(ev);
    settle(a);
    avow_ima_judge_empty(ev);
    /* A list alone is judged as if it were proven. */
    bool proven = ev->explained;
    ev->explained |= !ev->quoted_pcr10.len && !a->in;
    avow_ima_judge_devices(ev);
    ev->explained = proven;
}
