/* advice.h - what an operator can do about a failed registration; avow/bus/advice.h has what
 * concerns Kafka. Layer: agent. Pure. One line each, never
 * NULL; the log shows it as `next` beside the failure. */
#ifndef AVOW_AGENT_ADVICE_H
#define AVOW_AGENT_ADVICE_H

#include "avow/base/err.h"

/* A registration that failed; has_cert: the TPM holds an EK certificate. */
const char *avow_advice_registrar(const struct avow_err *why, bool has_cert);

#endif
