/* boot_run.c - see boot_run.h. Every event of a judged PCR must be explained: what it is labelled
 * as does not matter, so relabelling hides nothing; and what must be there must be there. */
#include "boot_run.h"

#include "avow/base/hex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define DETAIL_MAX 500u
#define SHOWN_DIGEST 8u
#define SHOWN_TEXT 200u
#define SEPARATED_PCRS 8u /* PFP 3.3.4: PCR 0 to 7 have a separator */
#define IMAGES_PCR 4u
#define COMMANDS_PCR 8u
#define OVERRIDES_PCR 12u /* systemd-stub: command line and credentials from outside the UKI */

/* --- Complaints --- */

void avow_boot_make_printable(char *text)
{
    size_t len = strlen(text);
    while (len && !avow_utf8_is_valid((struct avow_str){text, len})) /* cut within a character */
        len--;
    text[len] = 0;
    for (char *c = text; *c; c++)
        *c = (uint8_t)*c < ' ' || *c == 0x7F ? ' ' : *c;
}

AVOW_PRINTF(3, 0)
static const char *make_detail(struct avow_boot_run *run, int32_t pcr, const char *fmt,
                               va_list args)
{
    char text[DETAIL_MAX + 1];
    const char *of = NULL;
    int n = 0;
    if (run->complaints > AVOW_BOOT_DETAILED)
        return "the detail is left out";
    if (run->named)
        of = pcr == 0 && run->firmware ? run->firmware->name : run->boot ? run->boot->name : NULL;
    if (of)
        n = snprintf(text, sizeof text, "%s: ", of);
    (void)vsnprintf(text + n, sizeof text - (size_t)n, fmt, args);
    avow_boot_make_printable(text);
    const char *copy = avow_arena_cstr(run->judge->arena, avow_str_from(text));
    run->nomem |= !copy;
    return copy ? copy : "";
}

AVOW_PRINTF(3, 0)
static void tell(struct avow_boot_run *run, struct avow_boot_complaint *c, const char *fmt,
                 va_list args)
{
    run->complaints++;
    if (!run->report)
        return;
    c->detail = make_detail(run, c->pcr, fmt, args);
    if (!run->nomem)
        run->judge->complain(run->judge->arg, c);
}

void avow_boot_complain(struct avow_boot_run *run, enum avow_finding_id id, const char *fmt, ...)
{
    struct avow_boot_complaint c = {id, (int64_t)run->e.index, (int32_t)run->e.pcr, NULL};
    va_list args;
    va_start(args, fmt);
    tell(run, &c, fmt, args);
    va_end(args);
}

void avow_boot_complain_at(struct avow_boot_run *run, int32_t pcr, enum avow_finding_id id,
                           const char *fmt, ...)
{
    struct avow_boot_complaint c = {id, -1, pcr, NULL};
    va_list args;
    va_start(args, fmt);
    tell(run, &c, fmt, args);
    va_end(args);
}

/* --- Matching --- */

bool avow_boot_run_text(struct avow_boot_run *run, struct avow_str *out)
{
    if (!run->text_known) {
        run->text_known = true;
        run->text_is = avow_boot_fact_text(&run->fact, run->text);
        run->nomem |= run->text->failed == AVOW_NOMEM;
    }
    *out = (struct avow_str){(const char *)run->text->ptr, run->text_is ? run->text->len : 0};
    return run->text_is;
}

bool avow_boot_run_matches(struct avow_boot_run *run, const struct avow_boot_texts *texts)
{
    struct avow_str text;
    run->undecided = false;
    if (!texts)
        return false;
    if (!avow_boot_run_text(run, &text)) {
        run->undecided = run->fact.bound && run->fact.covered.len > AVOW_BOOT_TEXT_MAX;
        return false;
    }
    size_t tried = texts->x.count - texts->x.literals;
    if (tried > *run->tries) {
        run->undecided = true;
        return false;
    }
    *run->tries -= tried;
    enum avow_exclude_match m = avow_excludes_match(&texts->x, text, true);
    run->undecided = m == AVOW_EXCLUDE_UNDECIDED;
    return m == AVOW_EXCLUDE_YES;
}

static bool has_digest_in(const struct avow_boot_run *run, const struct avow_boot_step *s,
                          enum avow_hash alg)
{
    struct avow_boot_digest d = {.alg = (uint8_t)alg};
    struct avow_bytes there = avow_event_digest_of(&run->e, (uint16_t)alg);
    if (!there.len || there.len > sizeof d.bytes)
        return false;
    memcpy(d.bytes, there.ptr, there.len);
    return bsearch(&d, s->digests, s->digests_count, sizeof d, avow_boot_digest_cmp) != NULL;
}

/* In every proven bank of which the step has digests, and there is one. For what is forbidden one
 * is enough. */
static bool has_digest(const struct avow_boot_run *run, const struct avow_boot_step *s)
{
    const struct avow_event_replay *banks = run->judge->replay;
    size_t yes = 0, no = 0;
    for (size_t i = 0; i < banks->banks_count; i++) {
        if (!(s->algs & UINT32_C(1) << banks->banks[i].alg))
            continue;
        if (has_digest_in(run, s, banks->banks[i].alg))
            yes++;
        else
            no++;
    }
    return yes && (!no || s->forbidden);
}

/* Its data could be a text that is forbidden, and left out of the log. */
static bool may_hide_text(const struct avow_boot_run *run)
{
    return !run->fact.bound && run->forbids_text & UINT32_C(1) << run->e.pcr;
}

static bool matches(struct avow_boot_run *run, const struct avow_boot_step *s)
{
    if (s->has_type && s->type != run->e.untrusted_type)
        return false;
    return s->how == AVOW_BOOT_ANY    ? !may_hide_text(run)
           : s->how == AVOW_BOOT_TEXT ? avow_boot_run_matches(run, s->texts)
                                      : has_digest(run, s);
}

static enum avow_finding_id finding_of(uint32_t pcr, const struct avow_boot_step *s)
{
    static const enum avow_finding_id ids[AVOW_EVENT_PCRS] = {
        [0] = AVOW_FINDING_BOOT_FIRMWARE,
        [2] = AVOW_FINDING_BOOT_IMAGE,
        [IMAGES_PCR] = AVOW_FINDING_BOOT_IMAGE,
        [7] = AVOW_FINDING_BOOT_VARIABLE,
        [9] = AVOW_FINDING_BOOT_FILE,
        [11] = AVOW_FINDING_BOOT_FILE,
        [OVERRIDES_PCR] = AVOW_FINDING_BOOT_FILE,
        [13] = AVOW_FINDING_BOOT_FILE,
        [14] = AVOW_FINDING_BOOT_MOK,
    };
    if (s && s->how == AVOW_BOOT_TEXT && (pcr == COMMANDS_PCR || pcr == OVERRIDES_PCR))
        return AVOW_FINDING_BOOT_COMMAND_LINE;
    return ids[pcr] ? ids[pcr] : AVOW_FINDING_BOOT_EVENT_FORBIDDEN;
}

/* What the event is, for people. Text is what was measured; the type is what the sender says. */
static void describe(struct avow_boot_run *run, char *out, size_t cap)
{
    struct avow_str text;
    char hex[2 * SHOWN_DIGEST + 1] = "";
    const char *type = avow_event_type_name(run->e.untrusted_type);
    if (avow_boot_run_text(run, &text) && text.len) {
        text.len = text.len < SHOWN_TEXT ? text.len : SHOWN_TEXT;
        while (!avow_utf8_is_valid(text)) /* cut within a character */
            text.len--;
        (void)snprintf(out, cap, "\"%.*s\"", (int)text.len, text.ptr);
        return;
    }
    if (run->judge->replay->banks_count) {
        struct avow_bytes d =
            avow_event_digest_of(&run->e, (uint16_t)run->judge->replay->banks[0].alg);
        avow_hex_encode(hex, avow_bytes_make(d.ptr, d.len < SHOWN_DIGEST ? d.len : SHOWN_DIGEST));
    }
    (void)snprintf(out, cap, "%s..., labelled %s", hex, type ? type : "with an unknown type");
}

/* --- Sequences --- */

static const char *step_name(const struct avow_boot_step *s)
{
    return s->name ? s->name : "a step without a name";
}

static bool in_sequence(struct avow_boot_run *run)
{
    const struct avow_boot_steps *steps = run->sequences[run->e.pcr];
    for (size_t i = run->at[run->e.pcr]; steps && i < steps->count; i++) {
        const struct avow_boot_step *s = &steps->items[i];
        if (run->counts[s->at] < s->max && matches(run, s)) {
            run->counts[s->at]++;
            run->at[run->e.pcr] = i;
            return true;
        }
        if (run->counts[s->at] < s->min)
            return false;
    }
    return false;
}

/* The first step that still needs events; the count of steps if there is none. */
static size_t wanted(const struct avow_boot_run *run, const struct avow_boot_steps *steps,
                     size_t from)
{
    size_t i = from;
    while (i < steps->count && run->counts[steps->items[i].at] >= steps->items[i].min)
        i++;
    return i;
}

static void complain_missing(struct avow_boot_run *run, const struct avow_boot_step *s)
{
    avow_boot_complain_at(run, s->pcr, AVOW_FINDING_BOOT_EVENT_MISSING, "%.128s", step_name(s));
}

/* After what does not fit: so that one event too many or too few is one complaint. */
static void out_of_sequence(struct avow_boot_run *run, const struct avow_boot_steps *steps)
{
    char what[300];
    size_t *at = &run->at[run->e.pcr];
    size_t want = wanted(run, steps, *at);
    describe(run, what, sizeof what);
    if (want == steps->count) {
        avow_boot_complain(run, finding_of(run->e.pcr, NULL), "%s is more than the policy explains",
                           what);
        return;
    }
    for (size_t i = want + 1; i < steps->count; i++) {
        const struct avow_boot_step *s = &steps->items[i];
        if (s->how == AVOW_BOOT_ANY || run->counts[s->at] == s->max || !matches(run, s))
            continue;
        for (; want < i; want = wanted(run, steps, want + 1))
            avow_boot_complain(run, AVOW_FINDING_BOOT_EVENT_MISSING, "%.128s is not before it",
                               step_name(&steps->items[want]));
        run->counts[s->at]++;
        *at = i;
        return;
    }
    const struct avow_boot_step *s = &steps->items[want];
    enum avow_finding_id id = finding_of(run->e.pcr, s);
    if ((s->how == AVOW_BOOT_TEXT && !run->fact.bound) || may_hide_text(run))
        id = AVOW_FINDING_BOOT_DATA_UNTRUSTED;
    avow_boot_complain(run, id, "%s is not %.128s", what, step_name(s));
    run->counts[s->at]++; /* stands in its place */
    *at = want;
}

/* --- One event --- */

/* What was not decided may be what is forbidden: else many harmless texts before it would hide it.
 */
static bool is_or_may_be(struct avow_boot_run *run, const struct avow_boot_step *s)
{
    run->undecided = false;
    return matches(run, s) || run->undecided;
}

static bool is_forbidden(struct avow_boot_run *run)
{
    for (size_t i = 0; i < run->sets_count; i++) {
        const struct avow_boot_steps *all = &run->sets[i]->forbidden;
        for (size_t k = 0; k < all->count; k++) {
            if (all->items[k].pcr != run->e.pcr || !is_or_may_be(run, &all->items[k]))
                continue;
            avow_boot_complain(run, AVOW_FINDING_BOOT_EVENT_FORBIDDEN, "%.128s%s",
                               step_name(&all->items[k]),
                               run->undecided ? ": not decided within the limits" : "");
            return true;
        }
    }
    return false;
}

static bool is_separator(struct avow_boot_run *run)
{
    if (run->e.pcr >= SEPARATED_PCRS || run->separated[run->e.pcr] ||
        !avow_boot_fact_is_separator(&run->fact))
        return false;
    run->separated[run->e.pcr] = true;
    return true;
}

static bool is_command(struct avow_boot_run *run)
{
    struct avow_str text;
    if (run->e.pcr != COMMANDS_PCR || !avow_boot_run_text(run, &text))
        return false;
    for (size_t i = 0; i < run->sets_count; i++) {
        if (avow_boot_run_matches(run, run->sets[i]->command_lines)) {
            run->has_command_line = true;
            return true;
        }
    }
    for (size_t i = 0; i < run->sets_count; i++) {
        if ((run->sets[i]->any_command && !avow_boot_text_is_command_line(text)) ||
            avow_boot_run_matches(run, run->sets[i]->commands))
            return true;
    }
    return false;
}

static bool is_action(struct avow_boot_run *run)
{
    struct avow_str text;
    return run->e.pcr == IMAGES_PCR && avow_boot_run_text(run, &text) &&
           avow_boot_text_is_action(text);
}

static bool is_listed(struct avow_boot_run *run)
{
    for (size_t i = 0; i < run->sets_count; i++) {
        const struct avow_boot_steps *all = &run->sets[i]->events;
        for (size_t k = 0; k < all->count; k++) {
            const struct avow_boot_step *s = &all->items[k];
            if (s->pcr != run->e.pcr || run->counts[s->at] == s->max || !matches(run, s))
                continue;
            run->counts[s->at]++;
            return true;
        }
    }
    return false;
}

static void unexplained(struct avow_boot_run *run)
{
    const struct avow_boot_steps *steps = run->sequences[run->e.pcr];
    enum avow_finding_id id = finding_of(run->e.pcr, NULL);
    struct avow_str text;
    char what[300];
    if (run->complaints < AVOW_BOOT_DETAILED && steps && steps->count) {
        out_of_sequence(run, steps);
        return;
    }
    if (run->e.pcr == COMMANDS_PCR && avow_boot_run_text(run, &text) &&
        avow_boot_text_is_command_line(text))
        id = AVOW_FINDING_BOOT_COMMAND_LINE;
    if (((run->e.pcr == COMMANDS_PCR || run->e.pcr == 7) && !run->fact.bound) || may_hide_text(run))
        id = AVOW_FINDING_BOOT_DATA_UNTRUSTED;
    if (!run->report) {
        run->complaints++;
        return;
    }
    describe(run, what, sizeof what);
    avow_boot_complain(run, id, "%s is nothing that the policy explains", what);
}

static void judge_event(struct avow_boot_run *run)
{
    run->fact = run->facts[run->e.index];
    run->text_known = false;
    if (is_forbidden(run) || !(run->judged & UINT32_C(1) << run->e.pcr))
        return;
    if (is_separator(run) || avow_boot_judge_variable(run) != AVOW_BOOT_NOTHING ||
        is_command(run) || is_action(run) || in_sequence(run) || is_listed(run))
        return;
    unexplained(run);
}

/* --- The log --- */

static void end_steps(struct avow_boot_run *run, const struct avow_boot_steps *steps)
{
    for (size_t i = 0; steps && i < steps->count; i++) {
        const struct avow_boot_step *s = &steps->items[i];
        if (run->pcrs & UINT32_C(1) << s->pcr && run->counts[s->at] < s->min)
            complain_missing(run, s);
    }
}

/* What is forbidden by digests of banks that nothing proves cannot be excluded. */
static void end_forbidden(struct avow_boot_run *run, const struct avow_boot_steps *steps)
{
    uint32_t proven = 0;
    for (size_t i = 0; i < run->judge->replay->banks_count; i++)
        proven |= UINT32_C(1) << run->judge->replay->banks[i].alg;
    for (size_t i = 0; i < steps->count; i++) {
        const struct avow_boot_step *s = &steps->items[i];
        if (run->pcrs & UINT32_C(1) << s->pcr && s->how == AVOW_BOOT_DIGESTS && !(s->algs & proven))
            avow_boot_complain_at(run, (int32_t)s->pcr, AVOW_FINDING_BOOT_DATA_UNTRUSTED,
                                  "%.128s: no quoted bank has its digests", step_name(s));
    }
}

static void end(struct avow_boot_run *run)
{
    bool wants_line = false;
    for (uint32_t i = 0; i < SEPARATED_PCRS; i++) {
        if (run->judged & UINT32_C(1) << i && !run->separated[i])
            avow_boot_complain_at(run, (int32_t)i, AVOW_FINDING_BOOT_EVENT_MISSING,
                                  "it has no separator");
    }
    avow_boot_end_variables(run);
    for (size_t i = 0; i < AVOW_EVENT_PCRS; i++)
        end_steps(run, run->sequences[i]);
    for (size_t i = 0; i < run->sets_count; i++) {
        end_steps(run, &run->sets[i]->events);
        end_forbidden(run, &run->sets[i]->forbidden);
        wants_line |= run->sets[i]->command_lines != NULL;
    }
    if (wants_line && run->pcrs & UINT32_C(1) << COMMANDS_PCR && !run->has_command_line)
        avow_boot_complain_at(run, (int32_t)COMMANDS_PCR, AVOW_FINDING_BOOT_COMMAND_LINE,
                              "no event is an accepted command line");
}

static uint32_t forbidden_texts(const struct avow_boot_steps *steps)
{
    uint32_t pcrs = 0;
    for (size_t i = 0; i < steps->count; i++) {
        if (steps->items[i].how == AVOW_BOOT_TEXT)
            pcrs |= UINT32_C(1) << steps->items[i].pcr;
    }
    return pcrs;
}

static void begin(struct avow_boot_run *run)
{
    run->sets[run->sets_count++] = &run->rules->common;
    if (run->boot)
        run->sets[run->sets_count++] = run->boot;
    for (size_t i = 0; i < run->sets_count; i++) {
        run->judged |= run->sets[i]->judged & run->pcrs;
        run->forbids_text |= forbidden_texts(&run->sets[i]->forbidden);
        for (size_t k = 0; k < AVOW_EVENT_PCRS; k++) {
            if (run->sets[i]->has_sequence & run->pcrs & UINT32_C(1) << k)
                run->sequences[k] = &run->sets[i]->sequences[k];
        }
    }
    if (run->firmware && run->pcrs & 1)
        run->sequences[0] = &run->firmware->steps;
}

void avow_boot_run(struct avow_boot_run *run)
{
    struct avow_event_walk w;
    begin(run);
    avow_event_walk_init(&w, run->judge->log);
    while (!run->nomem && avow_event_walk_next(&w, &run->e)) {
        if (!run->report && run->complaints >= AVOW_BOOT_DETAILED)
            return;
        if (run->e.untrusted_type == AVOW_EV_NO_ACTION || !(run->pcrs & UINT32_C(1) << run->e.pcr))
            continue;
        judge_event(run);
    }
    if (!run->nomem)
        end(run);
}
