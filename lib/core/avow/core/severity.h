/* severity.h - severity labels by regular expression, as Keylime's severity policy has them. Layer:
 * core. Immutable; shareable between threads. Format: docs/POLICY.md. */
#ifndef AVOW_CORE_SEVERITY_H
#define AVOW_CORE_SEVERITY_H

#include "avow/base/bytes.h"
#include "avow/base/cleanup.h"
#include "avow/base/err.h"
#include "avow/core/findings.h"

#define AVOW_SEVERITY_TEXT_MAX (256u * 1024u)
#define AVOW_SEVERITY_RULES_MAX 256u
#define AVOW_SEVERITY_EXPRESSION_MAX 4096u
/* Matching of all rules on all ids, some 20 ns a unit; a full policy of ordinary expressions takes
 * half of it. */
#define AVOW_SEVERITY_UNITS_MAX 8000000u

struct avow_severity;
/* Keylime's list of {"event_id": expression, "severity_label": label}. Errors: AVOW_PARSE (the
 * message has the JSON path and the reason), AVOW_LIMIT (the text, the rules, an expression or what
 * they take to match), AVOW_NOMEM. */
enum avow_rc avow_severity_load(struct avow_bytes json, struct avow_severity **out,
                                struct avow_err *err) AVOW_MUST_CHECK;
void avow_severity_free(struct avow_severity *s);
AVOW_DEFINE_CLEANUP(struct avow_severity, avow_severity_free);
/* Label of a finding: the first rule whose expression fits its whole id, or Keylime's event id,
 * else its default. `pcr` is the one concerned, which is part of some of Keylime's ids; -1: none.
 * `s` may be NULL. Static. */
struct avow_str avow_severity_of(const struct avow_severity *s, enum avow_finding_id id,
                                 int32_t pcr);

#endif
