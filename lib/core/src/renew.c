/* renew.c - what of the stored state may continue: boots (PROTOCOL R7), enrolments and policies
 * (R14, R15), sticky findings (B3.2). Nothing here believes the agent: forgetting a position only
 * means that the next quote must be explained by a whole log, from zeros. */
#include "core_internal.h"

#include "avow/base/banned.h"

static bool bytes_arrays_eq(const struct avow_bytes *a, size_t an, const struct avow_bytes *b,
                            size_t bn)
{
    if (an != bn)
        return false;
    for (size_t i = 0; i < an; i++) {
        if (!avow_bytes_eq(a[i], b[i]))
            return false;
    }
    return true;
}

static bool refs_eq(bool has_a, const struct avow_policy_ref *a, bool has_b,
                    const struct avow_policy_ref *b)
{
    if (has_a != has_b || !has_a)
        return has_a == has_b;
    return a->has_name == b->has_name && a->has_sha256 == b->has_sha256 &&
           avow_str_eq(a->name, b->name) && avow_ct_eq(a->sha256, b->sha256, sizeof a->sha256);
}

static bool rules_eq(const struct avow_enrollment *a, const struct avow_enrollment *b)
{
    if (a->pcrs_count != b->pcrs_count)
        return false;
    for (size_t i = 0; i < a->pcrs_count; i++) {
        const struct avow_pcr_rule *x = &a->pcrs[i], *y = &b->pcrs[i];
        if (x->index != y->index || x->bank != y->bank ||
            !bytes_arrays_eq(x->digests, x->digests_count, y->digests, y->digests_count))
            return false;
    }
    return true;
}

static bool flags_eq(const struct avow_enroll_flags *a, const struct avow_enroll_flags *b)
{
    return a->allow_padded == b->allow_padded && a->allow_kexec == b->allow_kexec &&
           a->allow_log_trimmed == b->allow_log_trimmed &&
           a->allow_violations == b->allow_violations && a->allow_tomtou == b->allow_tomtou &&
           a->allow_hibernate == b->allow_hibernate && a->check_signatures == b->check_signatures &&
           a->strict_excludes == b->strict_excludes;
}

static bool ima_pcrs_eq(const struct avow_enrollment *a, const struct avow_enrollment *b)
{
    if (a->ima_pcrs_count != b->ima_pcrs_count)
        return false;
    for (size_t i = 0; i < a->ima_pcrs_count; i++) {
        if (a->ima_pcrs[i] != b->ima_pcrs[i])
            return false;
    }
    return true;
}

static bool ak_eq(const struct avow_enrollment *a, const struct avow_enrollment *b)
{
    return a->has_ak_public && b->has_ak_public && avow_bytes_eq(a->ak_public, b->ak_public);
}

/* Everything that the appraisal of an entry or a value depends on; the documents behind the names
 * are compared as heads. */
static bool demands_eq(const struct avow_enrollment *a, const struct avow_enrollment *b)
{
    return ak_eq(a, b) && a->recovery == b->recovery &&
           bytes_arrays_eq(a->qualified_signers, a->qualified_signers_count, b->qualified_signers,
                           b->qualified_signers_count) &&
           refs_eq(a->has_runtime_policy, &a->runtime_policy, b->has_runtime_policy,
                   &b->runtime_policy) &&
           refs_eq(a->has_boot_policy, &a->boot_policy, b->has_boot_policy, &b->boot_policy) &&
           refs_eq(a->has_verify_keys, &a->verify_keys, b->has_verify_keys, &b->verify_keys) &&
           rules_eq(a, b) && flags_eq(&a->flags, &b->flags) && ima_pcrs_eq(a, b);
}

static void forget_pending(struct avow_state *s)
{
    s->has_pending = false;
    s->pending = (struct avow_pending_quote){0};
}

static void forget_rebase(struct avow_state *s)
{
    s->has_rebase = false;
    s->rebase = (struct avow_ima_position){0};
}

static void forget_positions(struct avow_state *s)
{
    forget_pending(s);
    forget_rebase(s);
    s->has_ima = s->has_boot = s->has_pcr_bank = s->has_open = false;
    s->ima = (struct avow_ima_position){0};
    s->boot = (struct avow_boot_result){0};
    s->open = (struct avow_open_fold){0};
    s->pcr_values = NULL;
    s->pcr_values_count = 0;
}

static void set_stale(struct avow_eval *ev)
{
    struct avow_state *s = ev->next;
    s->carried = false;
    forget_rebase(s); /* it was judged by what is no longer demanded */
    if (s->stale)
        return;
    s->stale = true;
    s->stale_since_service_ms = ev->in->service_ms;
}

static bool keep_none(enum avow_finding_id id)
{
    (void)id;
    return false;
}

static bool keep_all_but_counters(enum avow_finding_id id)
{
    return id != AVOW_FINDING_TPM_COUNTERS_REGRESSED;
}

/* Survives a reboot and a policy change. */
static bool keep_across_runs(enum avow_finding_id id)
{
    return id == AVOW_FINDING_TPM_COUNTERS_REGRESSED || id == AVOW_FINDING_STATE_LOST;
}

static void drop_sticky(struct avow_eval *ev)
{
    if (ev->in->enrollment->recovery == AVOW_RECOVERY_AUTO)
        avow_finding_list_forget(&ev->findings, keep_across_runs);
}

/* A higher generation with other demands, or over a host with findings: the operator wants a new
 * judgement. */
static void renew_enrollment(struct avow_eval *ev)
{
    const struct avow_eval_in *in = ev->in;
    struct avow_state *s = ev->next;
    if (avow_ct_eq(s->enrollment_sha256, in->enrollment_sha256, sizeof s->enrollment_sha256))
        return;
    bool higher = in->enrollment->generation > s->enrollment_generation;
    s->enrollment_generation = in->enrollment->generation;
    memcpy(s->enrollment_sha256, in->enrollment_sha256, sizeof s->enrollment_sha256);
    if (!in->prior->has_order)
        return;
    const struct avow_enrollment *old = in->prior_enrollment;
    if (old && demands_eq(old, in->enrollment) && !ev->findings.count)
        return;
    if (higher) { /* also over counters that went back, which this evidence may show */
        avow_finding_list_filter(&ev->findings, keep_all_but_counters);
        avow_finding_list_forget(&ev->findings, keep_none);
    }
    set_stale(ev);
    forget_pending(s);
    s->has_qualified_signer = false;
    s->qualified_signer = (struct avow_bytes){NULL, 0};
    if (old && ak_eq(old, in->enrollment) && ima_pcrs_eq(old, in->enrollment))
        return;
    /* Perhaps another TPM: nothing that was folded says anything about it. */
    forget_positions(s);
    s->has_boot_id = false;
}

static bool heads_eq(const struct avow_state *s, const struct avow_eval_policy *p)
{
    if (s->heads_count != p->heads_count)
        return false;
    for (size_t i = 0; i < p->heads_count; i++) {
        if (!avow_str_eq(s->heads[i].name, p->heads[i].name) ||
            !avow_ct_eq(s->heads[i].sha256, p->heads[i].sha256, sizeof p->heads[i].sha256))
            return false;
    }
    return true;
}

static void take_heads(struct avow_eval *ev)
{
    ev->next->heads = ev->in->policy->heads;
    ev->next->heads_count = ev->in->policy->heads_count;
}

static void renew_policy(struct avow_eval *ev)
{
    const struct avow_eval_policy *p = ev->in->policy;
    struct avow_state *s = ev->next;
    if (!ev->can_judge)
        return; /* what it demands is not known yet */
    if (heads_eq(s, p)) {
        take_heads(
            ev); /* a head may be signed again, with a higher generation, for the same document */
        return;
    }
    if (!s->has_ima && !s->has_rebase && !s->stale && !s->has_as_of && !ev->findings.count) {
        take_heads(ev); /* nothing was ever judged */
        return;
    }
    if (p->superset_of_prior && !s->stale && !ev->findings.count) {
        take_heads(ev);
        s->carried = true;
        return;
    }
    set_stale(ev);
}

/* A good outcome belongs to the values and the policy that it was found for, whichever boot they
 * are of: a host that boots as before need not send its log. A bad one is found again. */
static void forget_boot(struct avow_state *s)
{
    bool good = s->has_boot && s->boot.outcome == AVOW_OUTCOME_PASS;
    struct avow_boot_result boot = s->boot;
    forget_positions(s);
    s->has_boot = good;
    if (good)
        s->boot = boot;
}

/* PROTOCOL R7: counters decide only what may continue. */
static void renew_boot(struct avow_eval *ev)
{
    const struct avow_state *prior = ev->in->prior;
    const struct avow_body *b = ev->in->body;
    struct avow_state *s = ev->next;
    bool had_order = prior->has_order && !ev->counters_reset;
    bool reset = had_order && ev->quote.reset_count != prior->order.reset_count;
    bool restarted = had_order && ev->quote.restart_count != prior->order.restart_count;
    bool other_id = s->has_boot_id && !avow_ct_eq(s->boot_id, b->boot_id, sizeof s->boot_id);
    bool same_id = s->has_boot_id && !other_id;
    ev->new_boot = ev->counters_reset || reset || (restarted && other_id);
    ev->kexec = other_id && !ev->new_boot;
    if (ev->new_boot) {
        forget_boot(s);
        drop_sticky(ev);
        s->carried = false;
        if (s->stale &&
            ev->can_judge) /* the whole log of this boot will be judged by the new policy anyway */
            s->stale = false;
        if (ev->can_judge)
            take_heads(ev);
    }
    if (reset && same_id && !ev->in->enrollment->flags.allow_hibernate)
        AVOW_FIND(ev, BOOT_HIBERNATED, "boot_id",
                  "the TPM was reset, and the kernel is the same as before");
    if (ev->kexec) {
        forget_pending(s);
        forget_rebase(s);
        if (!ev->in->enrollment->flags.allow_kexec)
            AVOW_FIND(ev, BOOT_KEXEC, "boot_id", "another boot id, and the TPM was not reset");
    }
    if (!ev->kexec) {
        s->has_boot_id = true;
        memcpy(s->boot_id, b->boot_id, sizeof s->boot_id);
    }
}

void avow_renew(struct avow_eval *ev)
{
    const struct avow_eval_in *in = ev->in;
    renew_enrollment(ev);
    renew_policy(ev);
    renew_boot(ev);
    struct avow_state *s = ev->next;
    s->bundle_version = in->bundle_version;
    s->has_order = true;
    s->order = (struct avow_order_token){.reset_count = ev->quote.reset_count,
                                         .restart_count = ev->quote.restart_count,
                                         .clock = ev->quote.clock};
}

void avow_renew_start_run(struct avow_eval *ev)
{
    if (!ev->next->stale || ev->run_starts)
        return;
    ev->run_starts = true;
    take_heads(ev);
    drop_sticky(ev);
}
