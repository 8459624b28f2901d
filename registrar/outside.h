/* outside.h - the operator's own judges of an EK: check script and webhook. Layer: registrar.
 * The script may only refuse, as with Keylime, unless ek_policy is cert-or-webhook: there an EK
 * without a certificate that verifies is trusted when all judges that are configured agree. What
 * they cannot say now is an error about us: the agent is asked to come again. */
#ifndef AVOW_REGISTRAR_OUTSIDE_H
#define AVOW_REGISTRAR_OUTSIDE_H

#include "enroll_step.h"

#define AVOW_OUTSIDE_CALLS_MAX 16u

struct avow_outside_conf {   /* borrowed for ever */
    const char *webhook_url; /* NULL: none */
    const char *webhook_ca, *webhook_cert, *webhook_key;
    unsigned webhook_timeout_ms; /* of one try */
    unsigned webhook_tries;
    const char *script; /* NULL: none */
    unsigned script_timeout_ms;
    const char *ek_cert_store; /* told to the script */
    unsigned calls;            /* at the same time, 1 to AVOW_OUTSIDE_CALLS_MAX */
};

struct avow_outside;
/* Errors: AVOW_CONFIG (a file that cannot be read or run), AVOW_NOMEM. */
enum avow_rc avow_outside_new(const struct avow_outside_conf *conf, struct avow_outside **out,
                              struct avow_err *err) AVOW_MUST_CHECK;
void avow_outside_free(struct avow_outside *o);
/* Nobody is asked any more, and who is being asked is not waited for: calls that are under way end
 * within about a second, with an error. NULL is fine. @thread any */
void avow_outside_stop(struct avow_outside *o);
AVOW_DEFINE_CLEANUP(struct avow_outside, avow_outside_free);

struct avow_outside_question { /* borrowed */
    struct avow_str id;
    struct avow_str source;
    const struct avow_ek *ek;
    const struct avow_enroll_policy *policy;
};
/* Asks those that have a say (avow_enroll_judges) and notes the answer in claim->trust, from the
 * arena. Errors: AVOW_STATE (too many are asking, or _stop was called), AVOW_UNREACHABLE,
 * AVOW_TIMEOUT, AVOW_IO (no answer), AVOW_NOMEM. @thread any, waits for outsiders */
enum avow_rc avow_outside_ask(struct avow_outside *o, const struct avow_outside_question *q,
                              struct avow_arena *arena, struct avow_claim *claim,
                              struct avow_err *err) AVOW_MUST_CHECK;

#endif
