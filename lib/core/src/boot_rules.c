/* boot_rules.c - judges a log by a boot policy in our own language: boot_rules.h. */
#include "boot_rules.h"

#include <stdlib.h>
#include <string.h>

#include "boot_kind.h"
#include "boot_run.h"

#include "avow/base/banned.h"

#define FIRMWARE_PCRS 1u

struct judging {
    const struct avow_boot_rules *rules;
    const struct avow_boot_judge *judge;
    struct avow_boot_fact *facts;
    uint32_t *counts;
    struct avow_buf text, name;
    size_t tries;
    bool nomem;
};

static void deinit(struct judging *j)
{
    free(j->facts);
    free(j->counts);
    avow_buf_deinit(&j->text);
    avow_buf_deinit(&j->name);
}

/* Every event is hashed once, whatever number of alternatives there is. */
static void make_facts(struct judging *j)
{
    struct avow_event_walk w;
    struct avow_event e;
    avow_event_walk_init(&w, j->judge->log);
    while (avow_event_walk_next(&w, &e)) {
        if (e.untrusted_type != AVOW_EV_NO_ACTION && j->rules->pcrs & UINT32_C(1) << e.pcr)
            j->facts[e.index] = avow_boot_fact_of(&e, j->judge->replay);
    }
}

/* Number of complaints. */
static size_t run(struct judging *j, const struct avow_boot_firmware *firmware,
                  const struct avow_boot_set *boot, uint32_t pcrs, bool report)
{
    struct avow_boot_run r = {.rules = j->rules,
                              .judge = j->judge,
                              .facts = j->facts,
                              .boot = boot,
                              .firmware = firmware,
                              .pcrs = pcrs,
                              .counts = j->counts,
                              .text = &j->text,
                              .name = &j->name,
                              .tries = &j->tries,
                              .report = report,
                              .named = j->rules->boots_count > 1 || j->rules->firmware_count > 1};
    memset(j->counts, 0, j->rules->counters * sizeof *j->counts);
    avow_boot_run(&r);
    j->nomem |= r.nomem;
    return r.complaints;
}

/* The first that fits, or else the one with the fewest complaints. */
static const struct avow_boot_firmware *choose_firmware(struct judging *j)
{
    const struct avow_boot_rules *p = j->rules;
    const struct avow_boot_firmware *best = p->firmware_count ? &p->firmware[0] : NULL;
    size_t fewest = SIZE_MAX;
    for (size_t i = 0; p->firmware_count > 1 && i < p->firmware_count && fewest && !j->nomem; i++) {
        size_t n = run(j, &p->firmware[i], NULL, FIRMWARE_PCRS, false);
        if (n < fewest) {
            fewest = n;
            best = &p->firmware[i];
        }
    }
    return best;
}

static const struct avow_boot_set *choose_boot(struct judging *j)
{
    const struct avow_boot_rules *p = j->rules;
    const struct avow_boot_set *best = p->boots_count ? &p->boots[0] : NULL;
    uint32_t pcrs = p->has_firmware ? p->pcrs & ~FIRMWARE_PCRS : p->pcrs;
    size_t fewest = SIZE_MAX;
    for (size_t i = 0; p->boots_count > 1 && i < p->boots_count && fewest && !j->nomem; i++) {
        size_t n = run(j, NULL, &p->boots[i], pcrs, false);
        if (n < fewest) {
            fewest = n;
            best = &p->boots[i];
        }
    }
    return best;
}

enum avow_rc avow_boot_rules_judge(const void *rules, const struct avow_boot_judge *judge,
                                   struct avow_err *err)
{
    AVOW_CLEANUP_VAL(deinit)
    struct judging j = {.rules = rules, .judge = judge, .tries = AVOW_BOOT_TRIES_MAX};
    avow_buf_init(&j.text, AVOW_BOOT_TEXT_MAX);
    avow_buf_init(&j.name, AVOW_EVENT_DATA_MAX);
    j.facts = calloc(judge->log->count, sizeof *j.facts);
    j.counts = calloc(j.rules->counters + 1, sizeof *j.counts);
    if (!j.facts || !j.counts)
        return avow_err_set(err, AVOW_NOMEM, 0, "boot policy: judging");
    make_facts(&j);
    const struct avow_boot_firmware *firmware = choose_firmware(&j);
    const struct avow_boot_set *boot = choose_boot(&j);
    j.tries = AVOW_BOOT_TRIES_MAX; /* what fitted within it does so again */
    if (!j.nomem)
        (void)run(&j, firmware, boot, j.rules->pcrs, true);
    return j.nomem ? avow_err_set(err, AVOW_NOMEM, 0, "boot policy: judging") : AVOW_OK;
}

static uint32_t pcrs(const void *rules)
{
    return ((const struct avow_boot_rules *)rules)->pcrs;
}

const struct avow_boot_kind avow_boot_rules_kind = {.key = "avow_boot_policy",
                                                    .load = avow_boot_rules_load,
                                                    .free = avow_boot_rules_free,
                                                    .pcrs = pcrs,
                                                    .judge = avow_boot_rules_judge};
