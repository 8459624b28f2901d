/* appraise.c - see appraise.h: an evaluation is made up around the files, and the stages of
 * avow_evaluate run over it. */
#include "appraise_internal.h"

#include "avow/base/hex.h"

#include "avow/base/banned.h"

void avow_appraisal_fail(struct avow_appraisal *a, enum avow_rc rc, const char *what)
{
    if (!a->failed)
        a->failed = avow_err_set(a->err, rc, 0, "%s", what);
}

/* --- The evaluation that is made up --- */

/* Other demands are another enrolment: what was judged by those of before does not count. */
static void demands_digest(const struct avow_enrollment *e, uint8_t out[AVOW_SHA256_LEN])
{
    uint8_t digest[AVOW_SHA256_LEN] = {0};
    const struct avow_enroll_flags *f = &e->flags;
    const uint8_t flags[] = {f->allow_padded,     f->allow_kexec,     f->allow_log_trimmed,
                             f->allow_violations, f->allow_tomtou,    f->allow_hibernate,
                             f->check_signatures, f->strict_excludes, (uint8_t)e->ima_pcrs_count};
    avow_sha256(AVOW_BYTES_OF(flags), digest);
    for (size_t i = 0; i < e->ima_pcrs_count; i++) {
        const uint8_t index[] = {(uint8_t)e->ima_pcrs[i]};
        const struct avow_bytes pieces[] = {AVOW_BYTES_OF(digest), AVOW_BYTES_OF(index)};
        avow_sha256_pieces(pieces, AVOW_ARRAY_LEN(pieces), digest);
    }
    for (size_t i = 0; i < e->pcrs_count; i++) {
        const struct avow_pcr_rule *r = &e->pcrs[i];
        const uint8_t rule[] = {(uint8_t)r->index, (uint8_t)r->bank, (uint8_t)r->digests_count};
        for (size_t d = 0; d < r->digests_count; d++) {
            const struct avow_bytes pieces[] = {AVOW_BYTES_OF(digest), AVOW_BYTES_OF(rule),
                                                r->digests[d]};
            avow_sha256_pieces(pieces, AVOW_ARRAY_LEN(pieces), digest);
        }
    }
    memcpy(out, digest, sizeof digest);
}

static struct avow_appraisal *make(struct avow_arena *arena, const struct avow_enrollment *demands,
                                   const struct avow_eval_policy *policy,
                                   const struct avow_state *prior)
{
    struct avow_appraisal *a = avow_arena_alloc(arena, 1, sizeof *a);
    if (!a)
        return NULL;
    demands_digest(demands, a->demands_sha256);
    if (prior)
        a->prior = *prior;
    else
        avow_state_first(demands, a->demands_sha256, 0, 0, &a->prior);
    a->marker = (struct avow_marker){.key = AVOW_STR_LIT("marker"), .epoch = a->prior.epoch + 1};
    a->body = (struct avow_body){.version = AVOW_BODY_VERSION, .bank = AVOW_HASH_ALG_SHA256};
    a->ev_in = (struct avow_eval_in){.body = &a->body,
                                     .enrollment = demands,
                                     .enrollment_sha256 = a->demands_sha256,
                                     .policy = policy,
                                     .prior = &a->prior,
                                     .marker = &a->marker};
    a->ev_out.next = a->prior;
    a->ev = (struct avow_eval){.in = &a->ev_in,
                               .arena = arena,
                               .out = &a->ev_out,
                               .next = &a->ev_out.next,
                               .can_judge = true,
                               .any_prefix = true,
                               .bank = AVOW_HASH_ALG_SHA256,
                               .bank_hash = AVOW_HASH_SHA256,
                               .bank_len = AVOW_SHA256_LEN};
    a->ev.signature.hash = AVOW_HASH_SHA256; /* until there is one */
    avow_finding_list_init(&a->ev.findings, arena, &a->prior, AVOW_APPRAISE_FINDINGS_MAX);
    a->ev.findings.severity = policy->severity;
    return a;
}

static enum avow_rc finish(struct avow_appraisal *a, struct avow_appraise_out *out)
{
    struct avow_eval *ev = &a->ev;
    struct avow_finding_list *l = &ev->findings;
    avow_learned_free(ev);
    if (!avow_finding_list_store(l, ev->next) || ev->nomem || l->nomem)
        avow_appraisal_fail(a, AVOW_NOMEM, "appraisal: no memory");
    if (a->failed)
        return a->failed;
    struct avow_appraise_out *result = a->out;
    result->pass = l->total == 0;
    result->findings = l->items;
    result->contexts = l->contexts;
    result->ids = l->ids;
    result->findings_count =
        l->count < AVOW_APPRAISE_FINDINGS_MAX ? l->count : AVOW_APPRAISE_FINDINGS_MAX;
    result->findings_total = l->total;
    memcpy(result->values, a->values, sizeof result->values);
    result->next = *ev->next;
    *out = *result;
    return AVOW_OK;
}

/* --- Attribution: findings here --- */

static void read_ak(struct avow_appraisal *a, struct avow_ak **out)
{
    struct avow_err why = {.rc = AVOW_OK};
    enum avow_rc rc = avow_ak_load(a->in->ak.bytes, out, &why);
    if (rc == AVOW_NOMEM)
        avow_appraisal_fail(a, rc, "AK");
    else if (rc)
        AVOW_FIND(&a->ev, QUOTE_AK, "ak", "%s", why.msg);
}

static bool read_signature(struct avow_appraisal *a)
{
    struct avow_err why = {.rc = AVOW_OK};
    struct avow_tpm_signature *s = &a->out->signature;
    if (avow_tpm_signature_parse(a->in->signature.bytes, s, &why)) {
        AVOW_FIND(&a->ev, QUOTE_MALFORMED, "signature", "%s", why.msg);
        return false;
    }
    a->out->has_signature = true;
    return true;
}

static const char *scheme_text(uint16_t scheme)
{
    return scheme == AVOW_SIG_RSASSA ? "rsassa" : scheme == AVOW_SIG_RSAPSS ? "rsapss" : "ecdsa";
}

/* By a hash that is not known nothing can be verified, and nothing below may hash by it. */
static void judge_signature(struct avow_appraisal *a, const struct avow_ak *ak)
{
    struct avow_eval *ev = &a->ev;
    const struct avow_tpm_signature *s = &a->out->signature;
    const char *hash = avow_hash_name((enum avow_hash)s->hash);
    struct avow_digest attest;
    if (hash)
        ev->signature = *s;
    a->ev_in.ak = ak;
    if (!hash) {
        AVOW_FIND(ev, QUOTE_ALGORITHM, "signature", "%s with hash 0x%04x", scheme_text(s->scheme),
                  s->hash);
        return;
    }
    if (!ak)
        return;
    if (!avow_attribute_algorithm(ev))
        AVOW_FIND(ev, QUOTE_ALGORITHM, "signature", "%s with %s is not accepted, or not the key's",
                  scheme_text(s->scheme), hash);
    avow_digest((enum avow_hash)s->hash, a->in->attest, &attest);
    a->out->verified = avow_attribute_signature(ev, &attest);
    if (!a->out->verified)
        AVOW_FIND(ev, QUOTE_SIGNATURE, "signature", "%s with %s does not verify",
                  scheme_text(s->scheme), hash);
    a->ev_in.ak = NULL; /* it does not outlive this function */
}

static void judge_key_and_signature(struct avow_appraisal *a)
{
    struct avow_ak *ak = NULL;
    if (a->in->ak.given)
        read_ak(a, &ak);
    if (a->in->signature.given && read_signature(a))
        judge_signature(a, ak);
    avow_ak_free(ak);
}

static void judge_nonce(struct avow_appraisal *a)
{
    struct avow_eval *ev = &a->ev;
    char hex[2 * 66 + 1]; /* the largest extraData */
    if (!a->in->nonce.given || avow_bytes_eq(a->in->nonce.bytes, ev->quote.extra_data))
        return;
    avow_hex_encode(hex, ev->quote.extra_data);
    AVOW_FIND(ev, QUOTE_NONCE_MISMATCH, "attest", "extraData is %s", hex[0] ? hex : "empty");
}

/* True if what follows would mean something. */
static bool attribute(struct avow_appraisal *a)
{
    struct avow_eval *ev = &a->ev;
    struct avow_err why = {.rc = AVOW_OK};
    bool read = !avow_quote_parse(a->in->attest, &ev->quote, &why);
    if (!read)
        AVOW_FIND(ev, QUOTE_MALFORMED, "attest", "%s", why.msg);
    judge_key_and_signature(a);
    if (!read)
        return false;
    a->out->has_quote = true;
    a->out->quote = ev->quote;
    bool is_quote = ev->quote.magic == AVOW_TPM_GENERATED && ev->quote.type == AVOW_ST_ATTEST_QUOTE;
    if (!is_quote)
        AVOW_FIND(ev, QUOTE_MAGIC, "attest", "magic 0x%08x, type 0x%04x", ev->quote.magic,
                  ev->quote.type);
    judge_nonce(a);
    if (ev->quote.clock > INT64_MAX) { /* owners set clocks; no record of ours holds this one */
        AVOW_FIND(ev, QUOTE_MALFORMED, "attest", "a clock of %llu ms",
                  (unsigned long long)ev->quote.clock);
        return false;
    }
    return is_quote;
}

/* --- Order and boots --- */

/* Files do not say which boot they are of, so the counters do: another reset is another boot; and
 * another restart is one, unless the list goes on. */
static void set_boot_id(struct avow_appraisal *a)
{
    const struct avow_quote *q = &a->ev.quote;
    const struct avow_state *s = &a->prior;
    bool same = s->has_order && s->has_boot_id && s->order.reset_count == q->reset_count &&
                (s->order.restart_count == q->restart_count || a->out->ima.first);
    if (a->in->decoded_body) {
        memcpy(a->body.boot_id, a->in->decoded_body->boot_id, sizeof a->body.boot_id);
    } else if (same) {
        memcpy(a->body.boot_id, s->boot_id, sizeof a->body.boot_id);
    } else {
        avow_put_u32be(a->body.boot_id, q->reset_count);
        avow_put_u32be(a->body.boot_id + 4, q->restart_count);
        avow_put_u64be(a->body.boot_id + 8, s->appraised + 1);
    }
}

static void account(struct avow_appraisal *a)
{
    struct avow_state *s = a->ev.next;
    s->epoch = a->marker.epoch;
    s->appraised++;
    s->has_open = false;
    s->open = (struct avow_open_fold){0};
    s->has_pending = false;
    s->pending = (struct avow_pending_quote){0};
}

/* The signed body says the same as the files. */
static void judge_body(struct avow_appraisal *a)
{
    struct avow_eval *ev = &a->ev;
    const struct avow_body *b = a->in->decoded_body;
    uint8_t digest[AVOW_SHA256_LEN];
    if (!a->in->body.given)
        return;
    if (!b) {
        AVOW_FIND(ev, EVIDENCE_MALFORMED, "body", "it does not decode");
        return;
    }
    if (b->version != AVOW_BODY_VERSION)
        AVOW_FIND(ev, EVIDENCE_MALFORMED, "body", "unknown version");
    a->body.bank = b->bank;
    a->body.log_trimmed = b->log_trimmed;
    if (!a->in->boot_log.given || !b->has_boot_log)
        return;
    avow_sha256(a->in->boot_log.bytes, digest);
    if (!avow_ct_eq(digest, b->boot_log, sizeof digest))
        AVOW_FIND(ev, EVIDENCE_MALFORMED, "body",
                  "the boot log is not the one that the body names");
}

/* --- The stages --- */

static void judge_values(struct avow_appraisal *a)
{
    struct avow_eval *ev = &a->ev;
    static const struct avow_digest as_it_starts[AVOW_HASH_ALG_COUNT];
    avow_appraise_selection(a);
    avow_appraise_values_given(a);
    if (a->in->ima.given)
        avow_appraise_scan(a, a->in->ima.bytes);
    else if (a->selection_good && !a->values_given)
        (void)avow_appraise_values_guess(a, as_it_starts);
    avow_appraise_values_settle(a);
    if (!ev->ima_present)
        ev->explained = a->values_proven;
}

static void judge_list(struct avow_appraisal *a)
{
    struct avow_eval *ev = &a->ev;
    struct avow_state *s = ev->next;
    if (a->in->ima.given) {
        avow_appraise_list_judge(a, a->in->ima.bytes);
        return;
    }
    if (avow_ima_judges_files(ev))
        AVOW_FIND(ev, IMA_MISSING, "ima", "no list was given");
    avow_renew_start_run(ev);
    s->stale = false;
}

static void appraise(struct avow_appraisal *a)
{
    struct avow_eval *ev = &a->ev;
    avow_appraise_boot_read(a);
    if (!attribute(a))
        return;
    account(a);
    judge_body(a);
    if (!avow_order_judge(ev))
        return;
    ev->ima_present = a->in->ima.given;
    a->body.ima_state = ev->ima_present ? AVOW_IMA_STATE_PRESENT : AVOW_IMA_STATE_ABSENT;
    judge_values(a);
    set_boot_id(a);
    avow_renew(ev);
    avow_signer_judge(ev);
    judge_list(a);
    avow_appraise_boot_judge(a);
    avow_pcrs_rules(ev);
    ev->explained &= a->out->verified;
    avow_signer_learn(ev);
    avow_status_decide(ev);
}

static enum avow_rc nomem(struct avow_err *err)
{
    return avow_err_set(err, AVOW_NOMEM, 0, "appraisal: no memory");
}

enum avow_rc avow_appraise(const struct avow_appraise_in *in, struct avow_arena *arena,
                           struct avow_appraise_out *out, struct avow_err *err)
{
    struct avow_appraisal *a = make(arena, in->demands, in->policy, in->prior);
    struct avow_appraise_out *result = avow_arena_alloc(arena, 1, sizeof *result);
    if (!a || !result)
        return nomem(err);
    a->in = in;
    a->out = result;
    a->err = err;
    appraise(a);
    return finish(a, out);
}

enum avow_rc avow_appraise_list(const struct avow_appraise_list_in *in, struct avow_arena *arena,
                                struct avow_appraise_out *out, struct avow_err *err)
{
    struct avow_appraisal *a = make(arena, in->demands, in->policy, NULL);
    struct avow_appraise_out *result = avow_arena_alloc(arena, 1, sizeof *result);
    if (!a || !result)
        return nomem(err);
    a->out = result;
    a->err = err;
    a->ev.bank = in->bank;
    a->ev.bank_hash = avow_hash_of(in->bank);
    a->ev.bank_len = avow_hash_len(a->ev.bank_hash);
    a->ev.ima_present = true;
    a->body.bank = in->bank;
    a->body.ima_state = AVOW_IMA_STATE_PRESENT;
    a->ev.quoted_pcr10 = in->pcr10;
    a->ev.aggregates = in->boot_aggregates;
    a->ev.aggregates_count = in->boot_aggregates_count;
    avow_appraise_scan(a, in->list);
    avow_appraise_list_judge(a, in->list);
    return finish(a, out);
}
