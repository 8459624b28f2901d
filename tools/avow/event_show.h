/* event_show.h - a firmware log as JSON and as text. Layer: tools/avow. */
#ifndef AVOW_TOOLS_EVENT_SHOW_H
#define AVOW_TOOLS_EVENT_SHOW_H

#include "avow/core/boot_policy.h"
#include "avow/core/event_replay.h"
#include "avow/core/findings.h"

#include <jansson.h>

#define AVOW_EVENT_FINDINGS_SHOWN 100u

/* What the log contradicts itself in, in its order; then what a boot policy says. */
struct avow_event_complaint {
    enum avow_finding_id id;
    int64_t event; /* -1: none in particular */
    int32_t pcr;   /* -1: none in particular */
    uint32_t type;
    const char *detail; /* NULL: of the log itself */
};
struct avow_event_report {
    struct avow_event_log log;
    struct avow_event_replay replay;
    struct avow_event_complaint complaints[AVOW_EVENT_FINDINGS_SHOWN];
    size_t complaints_count; /* also of those that are not kept */
    char refused[240];       /* why the log could not be read; "" if it could: then only
                                complaints[0] is set */
};
/* Parses, replays and judges. Never fails: what is wrong with the log is in the report, which
 * borrows from it. */
void avow_event_report_make(struct avow_bytes log, struct avow_event_report *out);
/* The file was larger than what is read. */
void avow_event_report_too_large(struct avow_event_report *out);

/* Adds what the policy complains about, as if the values that the log leads to had been quoted.
 * Nothing of a log that could not be read. Details are in the arena. Errors: AVOW_NOMEM. */
enum avow_rc avow_event_report_judge(struct avow_event_report *r,
                                     const struct avow_boot_policy *policy,
                                     struct avow_arena *arena,
                                     struct avow_err *err) AVOW_MUST_CHECK;

/* What a log explains, whether it is proven or not; NULL when out of memory. */
json_t *avow_event_boot_json(const struct avow_event_log *log,
                             const struct avow_event_replay *replay);
/* Verdict and findings alone, and all; NULL when out of memory. */
json_t *avow_event_verdict_json(const struct avow_event_report *r);
json_t *avow_event_report_json(const struct avow_event_report *r);
/* Events, and the values that they explain. `wide` shows a digest of each. Errors: AVOW_NOMEM. */
enum avow_rc avow_event_report_print(const struct avow_event_report *r, bool wide,
                                     struct avow_err *err) AVOW_MUST_CHECK;
/* One complaint as a sentence. */
void avow_event_complaint_text(const struct avow_event_report *r, size_t i, struct avow_buf *out);
/* All of them, on standard error. */
void avow_event_report_note(const struct avow_event_report *r);

#endif
