/* boot_run.h - one log against one choice among a policy's alternatives. Private to lib/core. */
#ifndef AVOW_CORE_BOOT_RUN_H
#define AVOW_CORE_BOOT_RUN_H

#include "boot_facts.h"
#include "boot_rules.h"

#define AVOW_BOOT_DETAILED 64u /* complaints with a detail of their own; a try ends here */

struct avow_boot_run {
    /* Of the caller. */
    const struct avow_boot_rules *rules;
    const struct avow_boot_judge *judge;
    const struct avow_boot_fact *facts;        /* by index of the event */
    const struct avow_boot_set *boot;          /* NULL: none, or only PCR 0 is looked at */
    const struct avow_boot_firmware *firmware; /* NULL: none */
    uint32_t pcrs;                             /* no others are looked at */
    uint32_t *counts;                          /* zeros, as many as the rules have counters */
    struct avow_buf *text, *name;
    size_t *tries; /* left */
    bool report;   /* else complaints are only counted */
    bool named;    /* there are several boots or firmwares: a complaint says of which it is */

    size_t complaints;
    bool nomem;

    /* The run's own. */
    const struct avow_boot_set *sets[2]; /* the common one first */
    size_t sets_count;
    const struct avow_boot_steps *sequences[AVOW_EVENT_PCRS];
    uint32_t judged;
    uint32_t forbids_text;      /* bit i: some text is forbidden in PCR i */
    size_t at[AVOW_EVENT_PCRS]; /* the step of the sequence that explained an event last */
    bool separated[AVOW_EVENT_PCRS];
    bool has_state, has_keys[AVOW_BOOT_KEY_COUNT], has_command_line;
    struct avow_event e; /* the current one */
    struct avow_boot_fact fact;
    bool text_known, text_is;
    bool undecided; /* the last expressions were not tried to their end, so "no" means little */
};

void avow_boot_run(struct avow_boot_run *run);

/* Cut within a character, or with controls: a detail of a complaint is neither. */
void avow_boot_make_printable(char *text);

/* For its parts. */
void avow_boot_complain(struct avow_boot_run *run, enum avow_finding_id id, const char *fmt, ...)
    AVOW_PRINTF(3, 4);
/* The same about no event; `pcr` -1: nor any PCR. */
void avow_boot_complain_at(struct avow_boot_run *run, int32_t pcr, enum avow_finding_id id,
                           const char *fmt, ...) AVOW_PRINTF(4, 5);
/* The text of the current event. False: it has none that can be believed. */
bool avow_boot_run_text(struct avow_boot_run *run, struct avow_str *out);
bool avow_boot_run_matches(struct avow_boot_run *run, const struct avow_boot_texts *texts);
/* What the current event's variable is to the policy. */
enum avow_boot_sense {
    AVOW_BOOT_NOTHING, /* it is no variable, or none that anything is said of */
    AVOW_BOOT_EXPLAINED,
    AVOW_BOOT_REFUSED /* a complaint was made */
};
enum avow_boot_sense avow_boot_judge_variable(struct avow_boot_run *run);
/* Variables that should have been there. */
void avow_boot_end_variables(struct avow_boot_run *run);

#endif
