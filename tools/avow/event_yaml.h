/* event_yaml.h - a firmware log as tpm2_eventlog of tpm2-tools 5.4 prints it
 * (--eventlog-version=1), for what reads that. Where it differs: docs/KEYLIME.md. Layer:
 * tools/avow. */
#ifndef AVOW_TOOLS_EVENT_YAML_H
#define AVOW_TOOLS_EVENT_YAML_H

#include "avow/core/event_replay.h"

/* On standard output. Errors: AVOW_NOMEM. */
enum avow_rc avow_event_yaml_print(const struct avow_event_log *log,
                                   const struct avow_event_replay *replay,
                                   struct avow_err *err) AVOW_MUST_CHECK;

#endif
