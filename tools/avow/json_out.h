/* json_out.h - results as JSON. Layer: tools/avow. All text goes through jansson or the wire JSON,
 * so that the output is valid JSON whatever the input was. */
#ifndef AVOW_TOOLS_JSON_OUT_H
#define AVOW_TOOLS_JSON_OUT_H

#include "avow/base/buf.h"

#include <jansson.h>

/* A string; bytes that are no UTF-8 become '?'. NULL when out of memory. */
json_t *avow_json_str(struct avow_str s);
json_t *avow_json_cstr(const char *s); /* NULL gives null */
json_t *avow_json_u64(uint64_t v);     /* larger than 2^63-1: 2^63-1 */
json_t *avow_json_hex(struct avow_bytes b);
/* Prints the value on one line, or indented; takes it. NULL is AVOW_NOMEM. */
enum avow_rc avow_json_line(json_t *taken, struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_json_document(json_t *taken, struct avow_err *err) AVOW_MUST_CHECK;

#endif
