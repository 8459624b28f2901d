/* evaluate.c - the appraisal, in the order of PROTOCOL "Appraisal order per evidence". See
 * evaluate.h, core_internal.h. */
#include "core_internal.h"

#include "avow/base/num.h"

#include "avow/base/banned.h"

void *avow_eval_alloc(struct avow_eval *ev, size_t count, size_t size)
{
    void *p = avow_arena_alloc(ev->arena, count, size);
    if (!p)
        ev->nomem = true;
    return p;
}

struct avow_bytes avow_eval_copy(struct avow_eval *ev, struct avow_bytes b)
{
    struct avow_bytes c = avow_arena_bytes(ev->arena, b);
    if (b.len && !c.ptr) {
        ev->nomem = true;
        return (struct avow_bytes){NULL, 0};
    }
    return c;
}

void avow_eval_resync(struct avow_eval *ev, uint64_t ima_from, bool pcrs, const char *reason)
{
    struct avow_eval_resync *r = &ev->out->resync;
    r->ima_from = r->wanted ? avow_min_u64(r->ima_from, ima_from) : ima_from;
    r->wanted = true;
    r->pcrs |= pcrs;
    r->boot_log |= ima_from == 0;
    if (!r->reason)
        r->reason = reason;
}

/* What an enrolment names and this version cannot apply is a demand all the same: without it there
 * is no verdict, good or bad. */
const char *avow_eval_unavailable(const struct avow_enrollment *e,
                                  const struct avow_eval_policy *policy)
{
    if (policy->missing || (e->has_runtime_policy && !policy->runtime))
        return "a policy that the enrolment names is not available";
    if (e->has_boot_policy && !policy->boot)
        return "the boot policy that the enrolment names is not available";
    if (e->has_severity && !policy->severity)
        return "the severity policy that the enrolment names is not available";
    if (e->has_verify_keys && !policy->keys)
        return "the keys for file signatures that the enrolment names are not available";
    return NULL;
}

/* PROTOCOL R6: the parent is part of the name, so a key that was imported elsewhere shows. Learned
 * only from proven evidence. */
void avow_signer_judge(struct avow_eval *ev)
{
    const struct avow_enrollment *e = ev->in->enrollment;
    const struct avow_state *s = ev->next;
    struct avow_bytes signer = ev->quote.qualified_signer;
    for (size_t i = 0; i < e->qualified_signers_count; i++) {
        if (avow_bytes_eq(e->qualified_signers[i], signer))
            return;
    }
    if (!e->qualified_signers_count &&
        (!s->has_qualified_signer || avow_bytes_eq(s->qualified_signer, signer)))
        return;
    AVOW_FIND(ev, QUOTE_QUALIFIED_SIGNER, "attest", "%s",
              e->qualified_signers_count ? "not a parent that the enrolment accepts"
                                         : "not the parent of the evidence before");
}

void avow_signer_learn(struct avow_eval *ev)
{
    struct avow_state *s = ev->next;
    if (!ev->explained || s->has_qualified_signer || ev->in->enrollment->qualified_signers_count)
        return;
    s->has_qualified_signer = true;
    s->qualified_signer = avow_eval_copy(ev, ev->quote.qualified_signer);
}

static bool body_is_sound(struct avow_eval *ev)
{
    const struct avow_body *b = ev->in->body;
    const char *reason = NULL;
    if (b->version != AVOW_BODY_VERSION)
        reason = "unknown version";
    else if (ev->body_malformed)
        reason = "parts and links contradict one another";
    else if (!ev->ima_present && (b->ima_start || b->ima_count))
        reason = "entries of an IMA list that is not there";
    else if (!ev->ima_present && b->parts > 1)
        reason = "more parts than a boot log needs";
    else if (b->parts > 1 && ev->in->evidence->body.len > AVOW_OPEN_BODY_MAX)
        reason = "too large";
    if (reason)
        AVOW_FIND(ev, EVIDENCE_MALFORMED, "body", "%s", reason);
    return !reason;
}

uint64_t avow_known_entries(const struct avow_state *s)
{
    if (s->stale && !s->has_rebase)
        return 0;
    return s->has_rebase ? s->rebase.claimed_count : s->has_ima ? s->ima.claimed_count : 0;
}

/* An empty list explains a PCR 10 that nothing extended; a policy for the list is not satisfied by
 * that. */
void avow_ima_judge_empty(struct avow_eval *ev)
{
    if (ev->explained && ev->fold.from_zero && ev->fold.count == 0 && avow_ima_judges_files(ev))
        AVOW_FIND(ev, IMA_MISSING, "PCR 10", "the list is empty");
}

/* With the part at hand: the fold is kept open, ended because the part is bad, or concluded. True
 * in the last case. */
static bool fold_part(struct avow_eval *ev)
{
    struct avow_state *s = ev->next;
    bool good = avow_ima_part(ev);
    if (good && ev->part_index == 1)
        avow_boot_judge(ev);
    if (good && !avow_part_is_last(ev)) {
        avow_open_store(ev);
        return false;
    }
    s->has_open = false;
    s->open = (struct avow_open_fold){0};
    if (!good)
        return false;
    avow_explain(ev);
    avow_fold_store(ev);
    avow_explain_settle(ev);
    avow_ima_judge_empty(ev);
    avow_ima_judge_devices(ev);
    return true;
}

static void appraise_ima(struct avow_eval *ev)
{
    if (avow_fold_begin(ev) == AVOW_FOLD_READY)
        (void)fold_part(ev);
}

static void appraise_without_ima(struct avow_eval *ev)
{
    struct avow_state *s = ev->next;
    if (avow_ima_judges_files(ev))
        AVOW_FIND(ev, IMA_MISSING, "body", "the agent says that there is no list");
    avow_renew_start_run(ev);
    s->has_ima = s->has_rebase = false;
    s->ima = s->rebase = (struct avow_ima_position){0};
    if (!avow_ima_part(ev))
        return;
    avow_boot_judge(ev);
    avow_explain_without_ima(ev);
    if (ev->explained)
        s->stale = false;
    avow_explain_settle(ev);
    if (ev->kexec) {
        s->has_boot_id = true;
        memcpy(s->boot_id, ev->in->body->boot_id, sizeof s->boot_id);
    }
}

/* From the signer to the static PCRs; returns where nothing that follows would mean anything. */
static void appraise(struct avow_eval *ev)
{
    avow_signer_judge(ev);
    if (!body_is_sound(ev) || !avow_pcrs_selection(ev))
        return;
    enum avow_pcrs_static values = avow_pcrs_static(ev);
    if (values == AVOW_PCRS_UNKNOWN)
        avow_eval_resync(ev, avow_known_entries(ev->next), true, "PCR values are not known");
    if (values != AVOW_PCRS_KNOWN)
        return;
    avow_boot_values(ev);
    if (ev->can_judge && ev->ima_present)
        appraise_ima(ev);
    else if (ev->can_judge)
        appraise_without_ima(ev);
    avow_pcrs_rules(ev);
    avow_signer_learn(ev);
}

/* What every attributed evidence changes, whatever it shows. */
static void account(struct avow_eval *ev)
{
    const struct avow_eval_in *in = ev->in;
    struct avow_state *s = ev->next;
    if (s->has_open)
        avow_open_abandon(ev);
    s->epoch = in->marker->epoch;
    s->credit_ms = avow_max_u64(s->credit_ms, in->marker->service_ms);
    s->appraised++;
    s->partition = in->partition;
    s->has_evidence = true;
    s->evidence =
        (struct avow_evidence_ref){.partition = in->partition, .offset = (uint64_t)in->offset};
    memcpy(s->evidence.tag, ev->tag, sizeof ev->tag);
}

/* While something is to be judged anew, and this evidence neither began that nor went on with it:
 * the rest, please. */
static void ask_for_run(struct avow_eval *ev)
{
    const struct avow_state *s = ev->next;
    if (!s->stale || !ev->can_judge || ev->run_starts || ev->fold.into_rebase)
        return;
    if (s->has_rebase)
        avow_eval_resync(ev, s->rebase.claimed_count, false,
                         "the list under the new policy is not complete");
    else
        avow_eval_resync(ev, 0, true, "another policy or enrolment: everything is judged anew");
}

static void begin_findings(struct avow_eval *ev)
{
    avow_finding_list_init(&ev->findings, ev->arena, ev->in->prior, AVOW_FINDINGS_KEPT);
    ev->findings.severity = ev->in->policy->severity;
}

static void judge(struct avow_eval *ev)
{
    begin_findings(ev);
    account(ev);
    if (!avow_order_judge(ev))
        return;
    ev->out->unavailable = avow_eval_unavailable(ev->in->enrollment, ev->in->policy);
    ev->can_judge = !ev->out->unavailable;
    ev->ima_present = ev->in->body->ima_state == AVOW_IMA_STATE_PRESENT;
    ev->more = ev->in->body->more;
    avow_renew(ev);
    appraise(ev);
    avow_boot_ask(ev);
    ask_for_run(ev);
}

static enum avow_rc finish(struct avow_eval *ev, struct avow_eval_out *out, struct avow_err *err)
{
    avow_learned_free(ev);
    if (!avow_finding_list_store(&ev->findings, ev->next) || ev->nomem || ev->findings.nomem)
        return avow_err_set(err, AVOW_NOMEM, 0, "evaluate: no memory");
    ev->out->kind = AVOW_EVAL_ACCEPTED;
    *out = *ev->out;
    return AVOW_OK;
}

enum avow_rc avow_evaluate(const struct avow_eval_in *in, struct avow_arena *arena,
                           struct avow_eval_out *out, struct avow_err *err)
{
    struct avow_eval_out result = {.next = *in->prior};
    struct avow_eval ev;
    memset(&ev, 0, offsetof(struct avow_eval, fold.chains)); /* the rest is 10 KiB */
    ev.in = in;
    ev.arena = arena;
    ev.out = &result;
    ev.next = &result.next;
    if (!avow_attribute(&ev, &result.drop)) {
        result.kind = AVOW_EVAL_DROPPED;
        *out = result;
        return AVOW_OK;
    }
    judge(&ev);
    avow_status_decide(&ev);
    return finish(&ev, out, err);
}

/* What is demanded is what the head was judged by; else half of the entries would be judged by one
 * policy and half by another. */
static bool demands_are_those_of_the_head(const struct avow_eval_in *in)
{
    uint8_t now[AVOW_SHA256_LEN];
    avow_open_demands(in, now);
    return avow_ct_eq(now, in->prior->open.demands, sizeof now);
}

static void judge_part(struct avow_eval *ev)
{
    ev->can_judge = true;
    ev->ima_present = true;
    ev->more = ev->in->body->more;
    if (fold_part(ev)) {
        avow_pcrs_rules_ima(ev);
        avow_signer_learn(ev);
        avow_boot_ask(ev);
        ask_for_run(ev);
    }
    avow_status_decide(ev);
}

enum avow_rc avow_evaluate_part(const struct avow_eval_in *in, struct avow_arena *arena,
                                struct avow_eval_out *out, struct avow_err *err)
{
    struct avow_eval_out result = {.next = *in->prior};
    struct avow_eval ev = {.in = in, .arena = arena, .out = &result, .next = &result.next};
    if (!avow_open_accepts(in, &result.drop)) {
        result.kind = AVOW_EVAL_DROPPED;
        *out = result;
        return AVOW_OK;
    }
    begin_findings(&ev);
    result.unavailable = avow_eval_unavailable(in->enrollment, in->policy);
    if (result.unavailable || !demands_are_those_of_the_head(in)) {
        avow_open_abandon(&ev);
        avow_eval_resync(&ev, avow_known_entries(ev.next), false,
                         "policy or enrolment changed meanwhile");
    } else if (!avow_open_load(&ev)) {
        avow_open_abandon(&ev);
        avow_eval_resync(&ev, 0, true, "the open fold cannot be continued");
    } else {
        judge_part(&ev);
    }
    return finish(&ev, out, err);
}
