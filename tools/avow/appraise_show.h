/* appraise_show.h - the result of an appraisal of files, as JSON and as text. Layer: tools/avow. */
#ifndef AVOW_TOOLS_APPRAISE_SHOW_H
#define AVOW_TOOLS_APPRAISE_SHOW_H

#include "avow/core/appraise.h"

#include <jansson.h>

enum avow_appraise_subject { AVOW_SUBJECT_EVIDENCE, AVOW_SUBJECT_LIST, AVOW_SUBJECT_QUOTE };

/* Keys by subject: docs/man/avow-appraise.1, avow-ima.1, avow-quote.1. NULL when out of memory. */
json_t *avow_appraise_json(const struct avow_appraise_out *out, enum avow_appraise_subject subject);
/* The same for people: the verdict, facts, and a table of the findings. Errors: AVOW_NOMEM. */
enum avow_rc avow_appraise_print(const struct avow_appraise_out *out,
                                 enum avow_appraise_subject subject,
                                 struct avow_err *err) AVOW_MUST_CHECK;

#endif
