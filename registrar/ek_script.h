/* ek_script.h - the operator's own check of an EK: a program that Keylime's users have
 * (ek_check_script). Layer: registrar. It runs with an environment of six variables and nothing
 * else, in a process group of its own that is killed when the time is up or the program ends.
 * Variables: AGENT_UUID, EK (PEM), EK_TPM (base64 of TPM2B_PUBLIC), EK_CERT (base64 DER, or empty),
 * PROVKEYS ("{}": Avow has none), TPM_CERT_STORE (folder, or empty). */
#ifndef AVOW_REGISTRAR_EK_SCRIPT_H
#define AVOW_REGISTRAR_EK_SCRIPT_H

#include "claim.h"

#include <stdatomic.h>

#define AVOW_SCRIPT_OUTPUT_MAX 256u

struct avow_script_call {
    const char *path; /* absolute */
    unsigned timeout_ms;
    struct avow_str id;
    const struct avow_ek *ek;
    const struct avow_claim *claim;
    const char *ek_cert_store; /* NULL: none */
    const atomic_bool *cancel; /* true: it is killed; NULL: never */
};
struct avow_script_result {
    bool passed;                              /* exit status 0 */
    char reason[AVOW_SCRIPT_OUTPUT_MAX + 64]; /* how it ended, and the first line it printed */
};
/* Exit status 0 passes; any other, and a signal, does not. Waits up to timeout_ms. Errors:
 * AVOW_TIMEOUT, AVOW_STATE (cancelled; both: killed), AVOW_IO (cannot be run), AVOW_NOMEM. @thread
 * any */
enum avow_rc avow_script_run(const struct avow_script_call *call, struct avow_script_result *out,
                             struct avow_err *err) AVOW_MUST_CHECK;

#endif
