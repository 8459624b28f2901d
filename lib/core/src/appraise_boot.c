/* appraise_boot.c - a firmware log beside one quote. See appraise.h. */
#include "appraise_internal.h"

#include "avow/base/banned.h"

/* Firmware and boot loaders: PCR 0-9, and 14, where shim measures. What an operating system extends
 * later is in no firmware log. */
#define FIRMWARE_PCRS 0x43FFu

/* The log is only read here, because its values may be needed to know what was quoted. */
void avow_appraise_boot_read(struct avow_appraisal *a)
{
    struct avow_appraise_boot *out = &a->out->boot;
    struct avow_err why = {.rc = AVOW_OK};
    if (!a->in->boot_log.given)
        return;
    enum avow_rc rc = avow_event_log_parse(a->in->boot_log.bytes, &out->log, &why);
    if (rc == AVOW_LIMIT)
        AVOW_FIND(&a->ev, BOOT_LOG_TOO_LARGE, "boot log", "%s", why.msg);
    else if (rc)
        AVOW_FIND(&a->ev, BOOT_LOG_MALFORMED, "boot log", "%s", why.msg);
    if (rc)
        return;
    avow_event_replay(&out->log, &out->replay);
    out->judged = true;
}

static void judge_event(struct avow_appraisal *a, const struct avow_event *e)
{
    struct avow_eval *ev = &a->ev;
    enum avow_finding_id id;
    if (!avow_event_complaint(e, &a->out->boot.replay, &id))
        return;
    ev->findings.at.event = (int64_t)e->index;
    ev->findings.at.pcr = (int32_t)e->pcr;
    if (!avow_finding_list_count_only(&ev->findings)) {
        const char *name = avow_event_type_name(e->untrusted_type);
        avow_finding_list_put(
            &ev->findings, id, avow_arena_printf(ev->arena, "event %zu", e->index),
            name ? avow_arena_printf(ev->arena, "PCR %u %s", e->pcr, name)
                 : avow_arena_printf(ev->arena, "PCR %u type 0x%08x", e->pcr, e->untrusted_type));
    }
    ev->findings.at = AVOW_FINDING_NOWHERE;
}

static void judge_value(struct avow_appraisal *a, const struct avow_event_bank *b,
                        enum avow_hash_alg bank, uint16_t pcr)
{
    struct avow_eval *ev = &a->ev;
    struct avow_bytes value = a->values[bank].v[pcr];
    if (!value.len || avow_bytes_eq(value, avow_digest_bytes(&b->values[pcr])))
        return;
    ev->findings.at.pcr = pcr;
    AVOW_FIND(ev, BOOT_PCR_MISMATCH, avow_arena_printf(ev->arena, "PCR %u", pcr),
              "the log leads to another value in bank %s", avow_hash_alg_text(bank));
    ev->findings.at = AVOW_FINDING_NOWHERE;
}

static uint32_t quoted_in(const struct avow_appraisal *a, enum avow_hash_alg bank)
{
    uint32_t pcrs = 0;
    for (size_t i = 0; i < AVOW_PCR_COUNT; i++)
        pcrs |= a->values[bank].v[i].len ? 1u << i : 0;
    return pcrs;
}

static void judge_bank(struct avow_appraisal *a, enum avow_hash_alg bank)
{
    const struct avow_event_replay *r = &a->out->boot.replay;
    const struct avow_event_bank *b = NULL;
    for (size_t i = 0; i < r->banks_count; i++) {
        if (r->banks[i].alg == avow_hash_of(bank))
            b = &r->banks[i];
    }
    if (!b) {
        AVOW_FIND(&a->ev, BOOT_PCR_MISMATCH, "boot log", "it has no digests of the quoted bank %s",
                  avow_hash_alg_text(bank));
        return;
    }
    for (uint16_t i = 0; i < AVOW_PCR_COUNT; i++) {
        if (FIRMWARE_PCRS & 1u << i)
            judge_value(a, b, bank, i);
    }
}

void avow_appraise_boot_judge(struct avow_appraisal *a)
{
    struct avow_event_walk w;
    struct avow_event e;
    if (!a->out->boot.judged)
        return;
    avow_event_walk_init(&w, &a->out->boot.log);
    while (avow_event_walk_next(&w, &e))
        judge_event(a, &e);
    for (unsigned i = 0; i < AVOW_HASH_ALG_COUNT; i++) {
        if (quoted_in(a, (enum avow_hash_alg)i) & FIRMWARE_PCRS)
            judge_bank(a, (enum avow_hash_alg)i);
    }
}
