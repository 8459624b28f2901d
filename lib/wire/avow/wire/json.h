/* json.h - records as JSON, for people, scripts and SIEMs. Layer: wire. */
#ifndef AVOW_WIRE_JSON_H
#define AVOW_WIRE_JSON_H

#include "avow/wire/wire.h"

enum avow_json_style {
    AVOW_JSON_PLAIN, /* bytes and fixeds as lower-case hex, unions as the bare value */
    AVOW_JSON_AVRO,  /* Avro 1.11 JSON encoding: bytes as code points 0-255, unions as {"branch": value} */
};
/* Appends one line of JSON (no newline) of a framed record of any compiled-in schema. The record is decoded with all of the
 * decoder's checks first. Errors: those of decoding, AVOW_NOMEM, AVOW_LIMIT. */
enum avow_rc avow_wire_to_json(struct avow_bytes record, enum avow_json_style style, struct avow_buf *out, struct avow_err *err) AVOW_MUST_CHECK;

#endif
