/* agent_demands.h - what an enrolment says beside its policies: deviations that are allowed, and
 * accepted PCR values. Layer: tools/avow. */
#ifndef AVOW_TOOLS_AGENT_DEMANDS_H
#define AVOW_TOOLS_AGENT_DEMANDS_H

#include "avow/base/arena.h"
#include "avow/base/err.h"
#include "avow/model/enrollment.h"
#include "opts.h"

/* The words of --allow, for --help. */
#define AVOW_ALLOW_WORDS "padded, kexec, log-trimmed, violations, tomtou, hibernate"

/* Sets the flags that the words of `list` name, each word a name or several with commas between, to
 * `value`. AVOW_USAGE for another word. */
enum avow_rc avow_allow_apply(const struct avow_opt_list *list, bool value,
                              struct avow_enroll_flags *flags,
                              struct avow_err *err) AVOW_MUST_CHECK;

/* Accepted values of PCRs, as Keylime's tpm_policy has them: {"7": ["hex", ...], "14": "hex",
 * "mask": "0x..."}. The length of a value tells its bank. A mask says which PCRs are to be quoted:
 * all that have values, and perhaps more (Keylime adds those of IMA and of the boot log). */
struct avow_pcr_policy {
    struct avow_arena arena;
    const struct avow_pcr_rule *rules;
    size_t count;
    uint32_t mask; /* bit i: PCR i; without one those that have values */
};
/* `source`: JSON text, or the name of a file that holds it. Errors: AVOW_CONFIG with the place,
 * AVOW_IO, AVOW_NOMEM. On failure *out is empty and needs no deinit. */
enum avow_rc avow_pcr_policy_read(const char *source, struct avow_pcr_policy *out,
                                  struct avow_err *err) AVOW_MUST_CHECK;
void avow_pcr_policy_deinit(
    struct avow_pcr_policy *p); /* fit for AVOW_CLEANUP_VAL, and for zeros */
bool avow_pcr_rules_eq(const struct avow_enrollment *a, const struct avow_enrollment *b);

#endif
