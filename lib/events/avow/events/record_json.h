/* record_json.h - a framed record as a JSON value. Layer: events. Pure; thread-safe. */
#ifndef AVOW_EVENTS_RECORD_JSON_H
#define AVOW_EVENTS_RECORD_JSON_H

#include "avow/base/buf.h"

#include <jansson.h>

/* In plain style (wire/json.h). Errors: those of avow_wire_to_json, AVOW_NOMEM. */
enum avow_rc avow_record_json(struct avow_bytes record, json_t **out,
                              struct avow_err *err) AVOW_MUST_CHECK;

#endif
