/* appraise_show.h - the result of an appraisal of files, as JSON and as text. Layer: tools/avow. */
#ifndef AVOW_TOOLS_APPRAISE_SHOW_H
#define AVOW_TOOLS_APPRAISE_SHOW_H

#include "avow/core/appraise.h"
#include "context.h"

enum avow_appraise_subject { AVOW_SUBJECT_EVIDENCE, AVOW_SUBJECT_LIST, AVOW_SUBJECT_QUOTE };

/* As JSON, keys by subject: docs/man/avow-appraise.1, avow-ima.1, avow-quote.1; or for people: the
 * verdict, facts, and a table of the findings. Errors: AVOW_NOMEM. */
enum avow_rc avow_appraise_show(const struct avow_cli *cli, const struct avow_appraise_out *out,
                                enum avow_appraise_subject subject,
                                struct avow_err *err) AVOW_MUST_CHECK;
/* The exit code of a command that has shown `out`, or failed with `rc`; says why it failed. */
enum avow_exit avow_appraise_exit(struct avow_cli *cli, const char *command, enum avow_rc rc,
                                  const struct avow_appraise_out *out, const struct avow_err *err);

#endif
