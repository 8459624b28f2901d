/* agent_check.h - what no single setting shows: --check-config, and the first thing at each start.
 * Layer: agent. Reads files, connects to nothing. */
#ifndef AVOW_AGENT_CHECK_H
#define AVOW_AGENT_CHECK_H

#include "avow/base/conf.h"
#include "avow/bus/bus.h"
#include "privilege.h"

/* For avow_conf_spec.check: lines worth knowing go to `notes`. Errors: AVOW_CONFIG, beginning with
 * where the setting stands. */
enum avow_rc avow_agent_check(const struct avow_conf *c, struct avow_buf *notes,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* The files that are read again and again while the agent runs can be read by the user of `p`.
 * Errors: AVOW_CONFIG. */
enum avow_rc avow_agent_check_files(const struct avow_conf *c, const struct avow_privilege *p,
                                    struct avow_err *err) AVOW_MUST_CHECK;
/* librdkafka's settings, with those that the agent wants where nothing else is said. Borrows from
 * `c`. Returns how many there are. */
#define AVOW_AGENT_PROPERTIES_MAX 258u
size_t avow_agent_kafka_properties(const struct avow_conf *c,
                                   struct avow_bus_property out[AVOW_AGENT_PROPERTIES_MAX]);
/* "avow-agent-<id>", cut to what librdkafka takes. */
#define AVOW_AGENT_CLIENT_ID_MAX 64u
void avow_agent_client_id(const char *id, char out[AVOW_AGENT_CLIENT_ID_MAX + 1]);

#endif
