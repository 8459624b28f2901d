/* boot_log.c - a firmware log beside quoted values: what it explains, whether its data is what was
 * measured, and what the boot policy says of it. See core_internal.h. */
#include "core_internal.h"

#include "avow/base/banned.h"

/* Firmware and boot loaders: PCR 0-9, and 14, where shim measures. What an operating system extends
 * later is in no firmware log. */
#define FIRMWARE_PCRS 0x43FFu

struct judging {
    struct avow_eval *ev;
    const struct avow_event_log *log;
    const struct avow_event_replay *replay;
    bool complained, mismatched; /* about this log; findings of the past say nothing of it */
};

static uint32_t demanded(const struct avow_eval_policy *p)
{
    return p->boot ? avow_boot_policy_pcrs(p->boot) & ~(UINT32_C(1) << AVOW_IMA_PCR) : 0;
}

uint32_t avow_boot_pcrs(const struct avow_eval_policy *p)
{
    return FIRMWARE_PCRS | demanded(p);
}

bool avow_boot_log_read(struct avow_eval *ev, struct avow_bytes bytes, struct avow_event_log *log,
                        struct avow_event_replay *replay)
{
    struct avow_err why = {.rc = AVOW_OK};
    enum avow_rc rc = avow_event_log_parse(bytes, log, &why);
    if (rc == AVOW_LIMIT)
        AVOW_FIND(ev, BOOT_LOG_TOO_LARGE, "boot log", "%s", why.msg);
    else if (rc)
        AVOW_FIND(ev, BOOT_LOG_MALFORMED, "boot log", "%s", why.msg);
    if (rc)
        return false;
    avow_event_replay(log, replay);
    return true;
}

/* --- One complaint --- */

static const char *event_text(struct judging *j, const struct avow_event *e)
{
    const char *name = avow_event_type_name(e->untrusted_type);
    return name ? avow_arena_printf(j->ev->arena, "PCR %u %s", e->pcr, name)
                : avow_arena_printf(j->ev->arena, "PCR %u type 0x%08x", e->pcr, e->untrusted_type);
}

static void put(void *arg, const struct avow_boot_complaint *c)
{
    struct judging *j = arg;
    struct avow_finding_list *l = &j->ev->findings;
    const char *where = "boot log";
    j->complained = true;
    l->at.event = c->event;
    l->at.pcr = c->pcr;
    if (!avow_finding_list_skip(l, c->id)) {
        if (c->event >= 0)
            where = avow_arena_printf(j->ev->arena, "event %lld", (long long)c->event);
        else if (c->pcr >= 0)
            where = avow_arena_printf(j->ev->arena, "PCR %d", (int)c->pcr);
        avow_finding_list_put(l, c->id, where, c->detail);
    }
    l->at = AVOW_FINDING_NOWHERE;
}

static bool has_room(const struct judging *j, enum avow_finding_id id)
{
    return !avow_finding_list_is_full_of(&j->ev->findings, id);
}

/* --- Events --- */

static void judge_events(struct judging *j)
{
    struct avow_event_walk w;
    struct avow_event e;
    enum avow_finding_id id;
    avow_event_walk_init(&w, j->log);
    while (avow_event_walk_next(&w, &e)) {
        if (!avow_event_complaint(&e, j->replay, &id))
            continue;
        put(j, &(struct avow_boot_complaint){.id = id,
                                             .event = (int64_t)e.index,
                                             .pcr = e.pcr < AVOW_PCR_COUNT ? (int32_t)e.pcr : -1,
                                             .detail = has_room(j, id) ? event_text(j, &e) : NULL});
    }
}

/* --- Values --- */

static uint32_t quoted_in(const struct avow_eval *ev, enum avow_hash_alg bank)
{
    uint32_t pcrs = 0;
    for (uint16_t i = 0; i < AVOW_PCR_COUNT; i++)
        pcrs |= avow_pcrs_value(ev, bank, i).len ? UINT32_C(1) << i : 0;
    return pcrs;
}

static const struct avow_event_bank *replayed(const struct avow_event_replay *r,
                                              enum avow_hash_alg bank)
{
    for (size_t i = 0; i < r->banks_count; i++) {
        if (r->banks[i].alg == avow_hash_of(bank))
            return &r->banks[i];
    }
    return NULL;
}

static void mismatch(struct judging *j, int32_t pcr, const char *what, enum avow_hash_alg bank)
{
    j->mismatched = true;
    const char *detail =
        has_room(j, AVOW_FINDING_BOOT_PCR_MISMATCH)
            ? avow_arena_printf(j->ev->arena, "%s %s", what, avow_hash_alg_text(bank))
            : NULL;
    put(j, &(struct avow_boot_complaint){AVOW_FINDING_BOOT_PCR_MISMATCH, -1, pcr, detail});
}

/* True if the log leads to every quoted value of these PCRs. */
static bool judge_bank(struct judging *j, enum avow_hash_alg bank, uint32_t pcrs)
{
    const struct avow_event_bank *b = replayed(j->replay, bank);
    bool good = b != NULL;
    if (!b)
        mismatch(j, -1, "it has no digests of the quoted bank", bank);
    for (uint16_t i = 0; b && i < AVOW_PCR_COUNT; i++) {
        if (!(pcrs & UINT32_C(1) << i) ||
            avow_bytes_eq(avow_pcrs_value(j->ev, bank, i), avow_digest_bytes(&b->values[i])))
            continue;
        mismatch(j, i, "the log leads to another value in bank", bank);
        good = false;
    }
    return good;
}

/* --- The policy --- */

/* The policy is judged by the banks that prove all that it reads, and are accepted. */
static void judge_banks(struct judging *j, struct avow_event_replay *proven)
{
    const struct avow_eval_policy *p = j->ev->in->policy;
    for (unsigned i = 0; i < AVOW_HASH_ALG_COUNT; i++) {
        enum avow_hash_alg bank = (enum avow_hash_alg)i;
        uint32_t quoted = quoted_in(j->ev, bank);
        uint32_t judged = quoted & avow_boot_pcrs(p);
        const struct avow_event_bank *leads = replayed(j->replay, bank);
        if (judged && judge_bank(j, bank, judged) && leads && !(demanded(p) & ~quoted) &&
            avow_pcrs_bank_is_enrolled(j->ev->in->enrollment, bank))
            proven->banks[proven->banks_count++] = *leads;
    }
}

static void pcrs_missing(struct judging *j)
{
    struct avow_boot_complaint c = {AVOW_FINDING_BOOT_PCR_MISSING, -1, -1,
                                    "no accepted bank has all PCRs that the boot policy needs"};
    uint32_t missing = demanded(j->ev->in->policy) & ~quoted_in(j->ev, j->ev->bank);
    for (int32_t i = 0; i < (int32_t)AVOW_PCR_COUNT && missing; i++) {
        if (!(missing & UINT32_C(1) << i))
            continue;
        c.pcr = i;
        c.detail = "the boot policy needs its value";
        put(j, &c);
    }
    if (!missing)
        put(j, &c);
}

bool avow_boot_log_judge(struct avow_eval *ev, const struct avow_event_log *log,
                         const struct avow_event_replay *replay)
{
    struct judging j = {.ev = ev, .log = log, .replay = replay};
    struct avow_event_replay *proven = avow_eval_alloc(ev, 1, sizeof *proven);
    if (!proven)
        return false;
    judge_events(&j);
    judge_banks(&j, proven);
    if (!ev->in->policy->boot || j.mismatched)
        return !j.complained;
    if (!proven->banks_count) {
        pcrs_missing(&j);
        return false;
    }
    /* Only what the quote proves: digests of other banks are anybody's. */
    const struct avow_boot_judge judge = {
        .log = log, .replay = proven, .arena = ev->arena, .complain = put, .arg = &j};
    ev->nomem |= avow_boot_policy_judge(ev->in->policy->boot, &judge, NULL) != AVOW_OK;
    return !j.complained && !ev->nomem;
}
