/* appraise_values.c - which PCRs a quote is over, and what their values are. Only the attest says
 * which; a file of values says nothing that the quote's digest does not confirm. See appraise.h. */
#include "appraise_internal.h"

#include "avow/base/banned.h"

/* The file that tpm2_quote and tpm2_checkquote exchange: structures of a little-endian machine.
 * tpm2-tools 5.4 lib/files.c (pcr_save), tpm2-tss TPML_PCR_SELECTION and TPML_DIGEST. */
#define FILE_SELECTIONS_LEN 132u
#define FILE_DIGESTS 8u
#define FILE_LIST_LEN (4u + FILE_DIGESTS * 66u)
#define FILE_DIGEST_MAX 64u

/* --- Selection --- */

static bool take_selection(struct avow_appraisal *a, const struct avow_pcr_selection *s)
{
    struct avow_eval *ev = &a->ev;
    enum avow_hash_alg bank;
    if (!s->pcrs)
        return true; /* a bank that the TPM has not, or does not use */
    if (!avow_hash_alg_of(s->hash, &bank)) {
        AVOW_FIND(ev, QUOTE_BANK, "attest", "bank 0x%04x is not known", s->hash);
        return false;
    }
    if (s->pcrs & ~AVOW_ALL_PCRS) {
        AVOW_FIND(ev, QUOTE_SELECTION, "attest", "PCRs above 23 are selected: %08x", s->pcrs);
        return false;
    }
    for (size_t i = 0; i < a->quoted_count; i++) {
        if (a->quoted[i].bank == bank) {
            AVOW_FIND(ev, QUOTE_SELECTION, "attest", "bank %s is selected twice",
                      avow_hash_alg_text(bank));
            return false;
        }
    }
    a->quoted[a->quoted_count++] =
        (struct avow_quoted_bank){bank, avow_hash_len(avow_hash_of(bank)), s->pcrs};
    return true;
}

/* Of the accepted banks, the one that says most: with PCR 10, with those of boot_aggregate, and the
 * one that kernels always extend with its own hash. A state goes on in its own bank. */
static unsigned rank_of(const struct avow_appraisal *a, const struct avow_quoted_bank *q)
{
    static const unsigned by_bank[AVOW_HASH_ALG_COUNT] = {
        [AVOW_HASH_ALG_SHA256] = 3, [AVOW_HASH_ALG_SHA384] = 2, [AVOW_HASH_ALG_SHA512] = 1};
    const uint32_t boot = 0x3FFu;
    unsigned rank = by_bank[q->bank];
    rank += (q->pcrs & boot) == boot ? 4 : 0;
    rank += q->pcrs & 1u << AVOW_IMA_PCR ? 8 : 0;
    rank += a->prior.has_ima && a->prior.ima.bank == q->bank ? 16 : 0;
    return rank + (avow_pcrs_bank_is_enrolled(a->ev.in->enrollment, q->bank) ? 32 : 0);
}

static void choose_bank(struct avow_appraisal *a)
{
    struct avow_eval *ev = &a->ev;
    size_t best = 0;
    for (size_t i = 1; i < a->quoted_count; i++) {
        if (rank_of(a, &a->quoted[i]) > rank_of(a, &a->quoted[best]))
            best = i;
    }
    ev->bank = a->quoted_count ? a->quoted[best].bank : AVOW_HASH_ALG_SHA256;
    ev->bank_hash = avow_hash_of(ev->bank);
    ev->bank_len = avow_hash_len(ev->bank_hash);
}

/* PCRs whose values something is judged by. */
static uint32_t judged_by(const struct avow_appraisal *a)
{
    const struct avow_enrollment *e = a->ev.in->enrollment;
    uint32_t need = 0;
    for (size_t i = 0; i < e->pcrs_count; i++)
        need |= e->pcrs[i].index < AVOW_PCR_COUNT ? 1u << e->pcrs[i].index : 0;
    if (a->in->ima.given || avow_ima_judges_files(&a->ev))
        need |= 1u << AVOW_IMA_PCR;
    return need;
}

/* What is given or demanded is only worth something if its PCR was quoted. */
static uint32_t needed(const struct avow_appraisal *a)
{
    return judged_by(a) | a->in->require_pcrs;
}

static const char *pcrs_text(struct avow_appraisal *a, uint32_t pcrs)
{
    const char *text = "";
    for (unsigned i = 0; text && i < AVOW_PCR_COUNT; i++) {
        if (pcrs & 1u << i)
            text = avow_arena_printf(a->ev.arena, "%s%s%u", text, text[0] ? ", " : "", i);
    }
    a->ev.nomem |= !text;
    return text ? text : "";
}

static void judge_selection(struct avow_appraisal *a)
{
    struct avow_eval *ev = &a->ev;
    uint32_t accepted = 0, all = 0;
    for (size_t i = 0; i < a->quoted_count; i++) {
        all |= a->quoted[i].pcrs;
        accepted |= avow_pcrs_bank_is_enrolled(a->ev.in->enrollment, a->quoted[i].bank)
                        ? a->quoted[i].pcrs
                        : 0;
    }
    uint32_t missing = needed(a) & ~all, weak = needed(a) & all & ~accepted;
    if (!all)
        AVOW_FIND(ev, QUOTE_SELECTION, "attest", "no PCR is selected");
    else if (missing)
        AVOW_FIND(ev, QUOTE_SELECTION, "attest", "PCR %s is not quoted", pcrs_text(a, missing));
    if (all && !accepted)
        AVOW_FIND(ev, QUOTE_BANK, "attest", "bank %s is not accepted",
                  avow_hash_alg_text(a->quoted[0].bank));
    else if (weak)
        AVOW_FIND(ev, QUOTE_BANK, "attest", "PCR %s is quoted in no accepted bank",
                  pcrs_text(a, weak));
}

void avow_appraise_selection(struct avow_appraisal *a)
{
    struct avow_eval *ev = &a->ev;
    const struct avow_quote *q = &ev->quote;
    bool good = true;
    for (size_t i = 0; i < q->selections_count && good; i++)
        good = take_selection(a, &q->selections[i]);
    choose_bank(a);
    if (!a->in->decoded_body)
        a->body.bank = ev->bank;
    if (!good)
        return;
    if (a->in->selection == AVOW_APPRAISE_AVOW) {
        enum avow_hash_alg bank = ev->bank;
        a->selection_good = avow_pcrs_selection(ev);
        ev->bank = bank; /* it may have been set before something was wrong */
        return;
    }
    judge_selection(a);
    a->selection_good = a->quoted_count > 0;
}

/* --- Values --- */

/* The digest of a quote is by the hash of its signature (Part 3, TPM2_Quote), which is known here.
 */
static bool quote_is_over(const struct avow_appraisal *a,
                          const struct avow_bank_values values[AVOW_HASH_ALG_COUNT])
{
    struct avow_bytes pieces[AVOW_HASH_ALG_COUNT * AVOW_PCR_COUNT];
    struct avow_digest d;
    size_t n = 0;
    for (size_t i = 0; i < a->quoted_count; i++) {
        for (unsigned pcr = 0; pcr < AVOW_PCR_COUNT; pcr++) {
            if (a->quoted[i].pcrs & 1u << pcr)
                pieces[n++] = values[a->quoted[i].bank].v[pcr];
        }
    }
    avow_digest_pieces((enum avow_hash)a->ev.signature.hash, pieces, n, &d);
    return avow_bytes_eq(avow_digest_bytes(&d), a->ev.quote.pcr_digest);
}

static bool refuse(struct avow_appraisal *a, const char *reason)
{
    AVOW_FIND(&a->ev, QUOTE_PCR_DIGEST, "pcrs", "%s", reason);
    return false;
}

/* Copies the next value of the file into the place that the attest says it has. */
struct place {
    size_t selection;
    unsigned pcr;
};

static bool next_place(const struct avow_appraisal *a, struct place *p)
{
    while (p->selection < a->quoted_count) {
        for (; p->pcr < AVOW_PCR_COUNT; p->pcr++) {
            if (a->quoted[p->selection].pcrs & 1u << p->pcr)
                return true;
        }
        p->selection++;
        p->pcr = 0;
    }
    return false;
}

static bool put_value(struct avow_appraisal *a, struct place *p, struct avow_bytes value)
{
    if (!next_place(a, p))
        return refuse(a, "more values than PCRs were quoted");
    const struct avow_quoted_bank *q = &a->quoted[p->selection];
    if (value.len != q->len)
        return refuse(a, "a value is not as long as its bank's digests");
    a->values[q->bank].v[p->pcr++] = value;
    return true;
}

static bool is_tools_file(struct avow_bytes in)
{
    struct avow_rd r = avow_rd_make(in);
    (void)avow_rd_take(&r, FILE_SELECTIONS_LEN);
    uint32_t lists = avow_rd_u32le(&r);
    return !r.bad && avow_rd_left(&r) % FILE_LIST_LEN == 0 &&
           avow_rd_left(&r) / FILE_LIST_LEN == lists;
}

static bool read_list(struct avow_appraisal *a, struct avow_rd *r, struct place *p)
{
    uint32_t count = avow_rd_u32le(r);
    if (count > FILE_DIGESTS)
        return refuse(a, "a list of digests has more than 8");
    for (uint32_t i = 0; i < FILE_DIGESTS; i++) {
        uint16_t len = avow_rd_u16le(r);
        struct avow_bytes room = avow_rd_take(r, FILE_DIGEST_MAX);
        if (i >= count)
            continue;
        if (len > room.len)
            return refuse(a, "a digest is longer than its room");
        if (!put_value(a, p, avow_bytes_make(room.ptr, len)))
            return false;
    }
    return true;
}

static bool read_tools_file(struct avow_appraisal *a, struct avow_bytes in, struct place *p)
{
    struct avow_rd r = avow_rd_make(in);
    (void)avow_rd_take(&r,
                       FILE_SELECTIONS_LEN + 4u); /* unsigned: what it selects is not looked at */
    while (avow_rd_left(&r)) {
        if (!read_list(a, &r, p))
            return false;
    }
    return true;
}

static bool read_raw(struct avow_appraisal *a, struct avow_bytes in, struct place *p)
{
    struct avow_rd r = avow_rd_make(in);
    while (avow_rd_left(&r)) {
        if (!next_place(a, p))
            return refuse(a, "more bytes than the quoted PCRs have");
        struct avow_bytes value = avow_rd_take(&r, a->quoted[p->selection].len);
        if (r.bad)
            return refuse(a, "ends within a value");
        if (!put_value(a, p, value))
            return false;
    }
    return true;
}

/* All 24 values of the one bank, of which some were quoted. */
static bool take_whole_bank(struct avow_appraisal *a, struct avow_bytes in)
{
    const struct avow_quoted_bank *q = &a->quoted[0];
    if (a->quoted_count != 1 || in.len != AVOW_PCR_COUNT * q->len)
        return false;
    for (unsigned i = 0; i < AVOW_PCR_COUNT; i++) {
        if (q->pcrs & 1u << i)
            a->values[q->bank].v[i] = avow_bytes_make(in.ptr + i * q->len, q->len);
    }
    return true;
}

void avow_appraise_values_given(struct avow_appraisal *a)
{
    struct avow_bytes in = a->in->pcrs.bytes;
    struct place p = {0, 0};
    a->values_given = a->in->pcrs.given;
    if (!a->selection_good || !a->values_given)
        return;
    if (in.len > AVOW_APPRAISE_PCRS_MAX) {
        (void)refuse(a, "larger than all values of all PCRs");
        return;
    }
    if (!take_whole_bank(a, in)) {
        bool good = is_tools_file(in) ? read_tools_file(a, in, &p) : read_raw(a, in, &p);
        if (good && next_place(a, &p))
            good = refuse(a, "fewer values than PCRs were quoted");
        if (!good)
            return;
    }
    a->values_proven = quote_is_over(a, a->values);
    if (!a->values_proven)
        (void)refuse(a, "the quote is not over these values");
}

/* What PCRs begin with (TCG PC Client PTP 1.05, 4.6.2), unless something says more. */
static struct avow_bytes likely_value(const struct avow_appraisal *a, enum avow_hash_alg bank,
                                      unsigned pcr)
{
    static const uint8_t zeros[AVOW_DIGEST_MAX];
    static const uint8_t ones[AVOW_DIGEST_MAX] = {
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    const struct avow_body *b = a->in->decoded_body;
    size_t len = avow_hash_len(avow_hash_of(bank));
    for (size_t i = 0; b && b->bank == bank && i < b->pcrs_count; i++) {
        if (b->pcrs[i].index == pcr && b->pcrs[i].value.len == len)
            return b->pcrs[i].value;
    }
    for (size_t i = 0; a->out->boot.judged && i < a->out->boot.replay.banks_count; i++) {
        const struct avow_event_bank *e = &a->out->boot.replay.banks[i];
        if (e->alg == avow_hash_of(bank))
            return avow_digest_bytes(&e->values[pcr]);
    }
    return avow_bytes_make(pcr >= 17 && pcr <= 22 ? ones : zeros, len);
}

bool avow_appraise_values_guess(struct avow_appraisal *a,
                                const struct avow_digest pcr10[AVOW_HASH_ALG_COUNT])
{
    struct avow_bank_values values[AVOW_HASH_ALG_COUNT] = {{{{NULL, 0}}}};
    for (size_t i = 0; i < a->quoted_count; i++) {
        enum avow_hash_alg bank = a->quoted[i].bank;
        for (unsigned pcr = 0; pcr < AVOW_PCR_COUNT; pcr++) {
            if (a->quoted[i].pcrs & 1u << pcr)
                values[bank].v[pcr] = pcr == AVOW_IMA_PCR && pcr10[bank].len
                                          ? avow_digest_bytes(&pcr10[bank])
                                          : likely_value(a, bank, pcr);
        }
    }
    if (!quote_is_over(a, values))
        return false;
    for (size_t i = 0; i < AVOW_HASH_ALG_COUNT * AVOW_PCR_COUNT; i++)
        a->values[i / AVOW_PCR_COUNT].v[i % AVOW_PCR_COUNT] =
            avow_eval_copy(&a->ev, values[i / AVOW_PCR_COUNT].v[i % AVOW_PCR_COUNT]);
    a->values_proven = true;
    return true;
}

static void judge_unproven(struct avow_appraisal *a)
{
    uint32_t selected = 0;
    for (size_t i = 0; i < a->quoted_count; i++)
        selected |= a->quoted[i].pcrs;
    if (a->values_given || !a->selection_good)
        return; /* said already */
    if (a->in->ima.given && selected == 1u << AVOW_IMA_PCR)
        AVOW_FIND(&a->ev, IMA_PCR_MISMATCH, "PCR 10", "no entry leads to the quoted value");
    else if (judged_by(a) || a->in->boot_log.given || a->ev.in->policy->boot)
        (void)refuse(a, "no values were given, and the logs do not lead to those that were quoted");
}

void avow_appraise_values_settle(struct avow_appraisal *a)
{
    struct avow_eval *ev = &a->ev;
    if (!a->values_proven) {
        memset(a->values, 0, sizeof a->values);
        judge_unproven(a);
        return;
    }
    for (size_t i = 0; i < AVOW_PCR_COUNT; i++)
        ev->values[i] = a->values[ev->bank].v[i];
    ev->other_banks = a->values;
    if (ev->ima_present) {
        ev->quoted_pcr10 = ev->values[AVOW_IMA_PCR];
        ev->values[AVOW_IMA_PCR] = (struct avow_bytes){NULL, 0};
    }
}
