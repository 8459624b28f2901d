/* advice.h - what an operator can do about a failure. Layer: agent. Pure. One line each, never
 * NULL; the log shows it as `next` beside the failure. */
#ifndef AVOW_AGENT_ADVICE_H
#define AVOW_AGENT_ADVICE_H

#include "avow/base/err.h"

/* `message`: of the Kafka client. */
const char *avow_advice_kafka(const char *message);
/* A registration that failed; has_cert: the TPM holds an EK certificate. */
const char *avow_advice_registrar(const struct avow_err *why, bool has_cert);

#endif
