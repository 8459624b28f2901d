/* boot.c - what ties the IMA list to the boot, and the boot's cached facts (PROTOCOL R7). */
#include "core_internal.h"

#include "avow/base/hex.h"
#include "avow/core/event_replay.h"

#include "avow/base/banned.h"

enum aggregate {
    AGGREGATE_UNKNOWN = 0, /* what it is of is not known */
    AGGREGATE_FITS,
    AGGREGATE_DIFFERS
};

static const struct avow_bytes *values_of(const struct avow_eval *ev, enum avow_hash alg)
{
    enum avow_hash_alg bank;
    if (alg == ev->bank_hash)
        return ev->values;
    return ev->other_banks && avow_hash_alg_of((uint16_t)alg, &bank) ? ev->other_banks[bank].v
                                                                     : NULL;
}

static bool are_known(const struct avow_bytes *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!values[i].len)
            return false;
    }
    return true;
}

static enum aggregate compare_given(const struct avow_eval *ev, struct avow_bytes digest)
{
    for (size_t i = 0; i < ev->aggregates_count; i++) {
        if (avow_bytes_eq(ev->aggregates[i], digest))
            return AGGREGATE_FITS;
    }
    return AGGREGATE_DIFFERS;
}

static const size_t lengths[] = {AVOW_AGGREGATE_LONG, AVOW_AGGREGATE_SHORT};

/* Values that were not quoted may be those of the firmware's log: what leads to the hash that the
 * kernel extended PCR 10 by is what was there. */
static bool log_leads_to(const struct avow_eval *ev, enum avow_hash alg, struct avow_bytes digest)
{
    const struct avow_event_replay *log = ev->boot_replay;
    for (size_t i = 0; log && i < log->banks_count; i++) {
        const struct avow_event_bank *bank = &log->banks[i];
        if (bank->alg != alg || bank->missing)
            continue;
        for (size_t n = 0; n < AVOW_ARRAY_LEN(lengths); n++) {
            struct avow_digest d;
            avow_event_aggregate(bank, lengths[n], &d);
            if (avow_bytes_eq(avow_digest_bytes(&d), digest))
                return true;
        }
    }
    return false;
}

static enum aggregate compare(const struct avow_eval *ev, enum avow_hash alg,
                              struct avow_bytes digest)
{
    const struct avow_bytes *values = values_of(ev, alg);
    bool all = values != NULL;
    if (ev->aggregates_count)
        return compare_given(ev, digest);
    for (size_t i = 0; values && i < AVOW_ARRAY_LEN(lengths); i++) {
        struct avow_digest d;
        if (!are_known(values, lengths[i])) {
            all = false;
            continue;
        }
        avow_digest_pieces(alg, values, lengths[i], &d);
        if (avow_bytes_eq(avow_digest_bytes(&d), digest))
            return AGGREGATE_FITS;
    }
    if (all)
        return AGGREGATE_DIFFERS;
    return log_leads_to(ev, alg, digest) ? AGGREGATE_FITS : AGGREGATE_UNKNOWN;
}

/* Of one file that an operator asks about nothing more is said than what was demanded. */
static bool is_demanded(const struct avow_eval *ev)
{
    const struct avow_runtime_policy *p = ev->in->policy->runtime;
    if (!ev->any_prefix)
        return true;
    return p && avow_runtime_policy_exclude(p, AVOW_STR_LIT("boot_aggregate"),
                                            ev->in->enrollment->flags.strict_excludes) !=
                    AVOW_POLICY_EXCLUDED;
}

static void bad_aggregate(struct avow_eval *ev, const struct avow_ima_file *f, const char *reason)
{
    if (avow_finding_list_count_only(&ev->findings))
        return;
    const char *file = avow_ima_file_text(ev, f);
    avow_finding_list_put(&ev->findings, AVOW_FINDING_IMA_BOOT_AGGREGATE, avow_ima_where(ev),
                          file ? avow_arena_printf(ev->arena, "%s %s", file, reason) : NULL);
}

/* A kernel computes it in the bank of ima_hash if the TPM has that, else in SHA-256 or SHA-1. Of
 * another bank than a quoted one it cannot be recomputed, and is accepted only if the policy
 * names the value. */
void avow_boot_aggregate(struct avow_eval *ev, const struct avow_ima_file *f)
{
    const struct avow_runtime_policy *p = ev->in->policy->runtime;
    struct avow_str path = AVOW_STR_LIT("boot_aggregate");
    enum avow_hash alg;
    bool sound = f->digest_type == AVOW_IMA_OF_FILE && avow_ima_digest_is_sound(f, &alg);
    bool pinned = p && avow_runtime_policy_has_path(p, path);
    bool pin_fits =
        pinned && sound && avow_runtime_policy_find(p, path, f->digest) == AVOW_POLICY_ALLOWED;
    enum aggregate how = sound ? compare(ev, alg, f->digest) : AGGREGATE_UNKNOWN;
    ev->findings.at.listed = pinned;
    if (!sound)
        bad_aggregate(ev, f, "(unknown algorithm)");
    else if (how == AGGREGATE_UNKNOWN && !pinned && is_demanded(ev))
        bad_aggregate(ev, f,
                      "(not of quoted PCRs, so it cannot be recomputed; the policy does not name "
                      "it)");
    else if (how == AGGREGATE_DIFFERS)
        bad_aggregate(ev, f,
                      ev->aggregates_count ? "(not a value that was given)"
                                           : "(not the hash of the quoted PCRs)");
    else if (pinned && !pin_fits)
        bad_aggregate(ev, f, "(the policy names other values)");
}

bool avow_boot_log(struct avow_eval *ev, struct avow_bytes log)
{
    const struct avow_body *b = ev->in->body;
    uint8_t digest[AVOW_SHA256_LEN];
    avow_sha256(log, digest);
    if (!b->has_boot_log || !avow_ct_eq(digest, b->boot_log, sizeof digest))
        return false;
    ev->boot_log_seen = true;
    ev->boot_log = log;
    return true;
}

/* --- What the boot is worth (PROTOCOL R7) --- */

static bool is_same_policy(const struct avow_eval *ev)
{
    const struct avow_boot_result *b = &ev->next->boot;
    const struct avow_eval_policy *p = ev->in->policy;
    return b->has_policy_sha256 == (p->boot != NULL) &&
           (!p->boot || avow_ct_eq(b->policy_sha256, p->boot_sha256, sizeof b->policy_sha256));
}

/* A value that the boot policy depends on is not that of the evidence before. */
static bool values_moved(const struct avow_eval *ev)
{
    const struct avow_state *prior = ev->in->prior;
    uint32_t pcrs = avow_boot_pcrs(ev->in->policy);
    for (size_t i = 0; i < AVOW_PCR_COUNT; i++) {
        if (pcrs & UINT32_C(1) << i &&
            (i >= prior->pcr_values_count || !avow_bytes_eq(prior->pcr_values[i], ev->values[i])))
            return true;
    }
    return false;
}

static void values_digest(const struct avow_eval *ev, const struct avow_bytes from[AVOW_PCR_COUNT],
                          uint8_t out[AVOW_SHA256_LEN])
{
    struct avow_bytes values[AVOW_PCR_COUNT];
    uint32_t pcrs = avow_boot_pcrs(ev->in->policy);
    size_t n = 0;
    for (size_t i = 0; i < AVOW_PCR_COUNT; i++) {
        if (pcrs & UINT32_C(1) << i)
            values[n++] = from[i];
    }
    avow_sha256_pieces(values, n, out);
}

bool avow_boot_is_of(const struct avow_eval *ev, const struct avow_bytes values[AVOW_PCR_COUNT])
{
    const struct avow_boot_result *b = &ev->next->boot;
    uint8_t digest[AVOW_SHA256_LEN];
    if (!ev->in->policy->boot)
        return true;
    values_digest(ev, values, digest);
    return ev->next->has_boot && avow_ct_eq(b->values_sha256, digest, sizeof digest);
}

void avow_boot_values(struct avow_eval *ev)
{
    if (!values_moved(ev))
        return;
    ev->next->has_boot = false;
    ev->next->boot = (struct avow_boot_result){0};
}

/* What was found is kept for as long as the values and the policy that it belongs to. Where the
 * findings are dropped because everything is judged anew, so is a bad outcome. */
static void keep_or_forget(struct avow_eval *ev)
{
    struct avow_state *s = ev->next;
    const struct avow_eval_policy *p = ev->in->policy;
    uint8_t digest[AVOW_SHA256_LEN];
    values_digest(ev, ev->values, digest);
    bool dropped = ev->run_starts && s->boot.outcome == AVOW_OUTCOME_FAIL;
    if (s->has_boot && !dropped && is_same_policy(ev) &&
        avow_ct_eq(s->boot.values_sha256, digest, sizeof digest))
        return;
    s->has_boot = true;
    s->boot = (struct avow_boot_result){.outcome = AVOW_OUTCOME_UNDECIDED,
                                        .has_policy_sha256 = p->boot != NULL};
    memcpy(s->boot.values_sha256, digest, sizeof digest);
    if (p->boot)
        memcpy(s->boot.policy_sha256, p->boot_sha256, sizeof s->boot.policy_sha256);
}

static bool keep_when_sent(enum avow_finding_id id)
{
    return id != AVOW_FINDING_BOOT_LOG_MISSING;
}

static void take_log(struct avow_eval *ev)
{
    struct avow_boot_result *b = &ev->next->boot;
    struct avow_event_log log;
    b->has_log_sha256 = true;
    avow_sha256(ev->boot_log, b->log_sha256);
    if (!ev->in->policy->boot)
        return;
    struct avow_event_replay *replay = avow_eval_alloc(ev, 1, sizeof *replay);
    if (!replay)
        return;
    bool good =
        avow_boot_log_read(ev, ev->boot_log, &log, replay) && avow_boot_log_judge(ev, &log, replay);
    b->outcome = good ? AVOW_OUTCOME_PASS : AVOW_OUTCOME_FAIL;
    if (ev->in->enrollment->recovery == AVOW_RECOVERY_AUTO)
        avow_finding_list_filter(&ev->findings, keep_when_sent);
}

/* An agent that tells everything from the beginning tells the log as well, if there is one. */
static bool has_none(const struct avow_eval *ev)
{
    const struct avow_body *b = ev->in->body;
    size_t all = AVOW_PCR_COUNT - (ev->ima_present ? 1 : 0);
    return ev->any_prefix || (!b->has_boot_log && !b->ima_start && b->pcrs_count >= all);
}

void avow_boot_judge(struct avow_eval *ev)
{
    struct avow_state *s = ev->next;
    bool anew = !s->stale || ev->run_starts || ev->fold.into_rebase;
    if (!anew && s->has_boot)
        return; /* by the policy of before, until everything is judged by the new one (R15) */
    keep_or_forget(ev);
    if (ev->boot_log_seen) {
        take_log(ev);
    } else if (avow_boot_is_open(s) && has_none(ev)) {
        AVOW_FIND(ev, BOOT_LOG_MISSING, "body", "there is none");
        s->boot.outcome = AVOW_OUTCOME_FAIL;
    }
}

bool avow_boot_is_open(const struct avow_state *s)
{
    return s->has_boot && s->boot.has_policy_sha256 && s->boot.outcome == AVOW_OUTCOME_UNDECIDED;
}

void avow_boot_ask(struct avow_eval *ev)
{
    if (!avow_boot_is_open(ev->next))
        return;
    avow_eval_resync(ev, avow_known_entries(ev->next), false, "the boot policy needs the boot log");
    ev->out->resync.boot_log = true;
}
