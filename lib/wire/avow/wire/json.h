/* json.h - records as JSON, for people, scripts and SIEMs. Layer: wire. */
#ifndef AVOW_WIRE_JSON_H
#define AVOW_WIRE_JSON_H

#include "avow/wire/wire.h"

enum avow_json_style {
    /* Bytes and fixeds as lower-case hex, optionals as the bare value or null, a union of records
     * as {"attest_now": {"reason": "x"}}. */
    AVOW_JSON_PLAIN,
    /* Avro 1.11 JSON encoding: bytes as code points 0-255, unions as {"branch": value}. */
    AVOW_JSON_AVRO,
};
/* Appends one line of JSON (no newline) of a framed record of any compiled-in schema. The record is
 * decoded with all of the decoder's checks first. Errors: those of decoding, AVOW_NOMEM,
 * AVOW_LIMIT. */
enum avow_rc avow_wire_to_json(struct avow_bytes record, enum avow_json_style style,
                               struct avow_buf *out, struct avow_err *err) AVOW_MUST_CHECK;

#endif
