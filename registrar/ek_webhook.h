/* ek_webhook.h - the operator's own service that decides about EKs. Layer: registrar.
 * POST of JSON, answered with 200 and {"decision": "allow" | "deny", "reason": text}. Shapes:
 * docs/REGISTRAR.md, "Trust webhook". The answer is hostile input: at most AVOW_WEBHOOK_ANSWER_MAX
 * bytes, strict types. */
#ifndef AVOW_REGISTRAR_EK_WEBHOOK_H
#define AVOW_REGISTRAR_EK_WEBHOOK_H

#include "claim.h"

#include "avow/http/http.h"

#include <stdatomic.h>

#define AVOW_WEBHOOK_ANSWER_MAX 16384u
#define AVOW_WEBHOOK_REASON_MAX 256u

struct avow_webhook_question { /* borrowed */
    struct avow_str id;
    struct avow_str source;
    const struct avow_ek *ek;
    const struct avow_claim *claim; /* judged: trust says why the certificates did not suffice */
};
struct avow_webhook_answer {
    bool allow;
    char reason[AVOW_WEBHOOK_REASON_MAX + 1];
};
/* Errors: AVOW_NOMEM, AVOW_LIMIT. */
enum avow_rc avow_webhook_encode(const struct avow_webhook_question *q, struct avow_buf *out,
                                 struct avow_err *err) AVOW_MUST_CHECK;
/* Errors: AVOW_LIMIT, AVOW_PARSE. On failure *out is untouched. */
enum avow_rc avow_webhook_answer_parse(struct avow_bytes body, struct avow_webhook_answer *out,
                                       struct avow_err *err) AVOW_MUST_CHECK;

struct avow_webhook_call {
    struct avow_http *http; /* its time-out is that of one try */
    const char *url;
    unsigned
        tries; /* between them 200 ms, twice that each time, and up to as much again by chance */
    const atomic_bool *cancel; /* true: no further try; `http` has it too. NULL: never */
};
/* What cannot be reached, and 408, 429 and 5xx, is tried again; any other status and any other body
 * is not. Errors: AVOW_UNREACHABLE (no decision), AVOW_NOMEM, AVOW_LIMIT, AVOW_CONFIG. */
enum avow_rc avow_webhook_ask(const struct avow_webhook_call *call,
                              const struct avow_webhook_question *q,
                              struct avow_webhook_answer *out,
                              struct avow_err *err) AVOW_MUST_CHECK;

#endif
