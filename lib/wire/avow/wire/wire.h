/* wire.h - what all generated codecs share. Layer: wire. Pure; thread-safe.
 * Framing is Avro single-object encoding: C3 01, CRC-64-AVRO fingerprint (little-endian), body (Avro 1.11.1
 * specification, "Single object encoding"). Decoders take attacker-controlled bytes: every length, count, enum index,
 * union index and range is checked, strings are valid UTF-8, and the input ends exactly where the record does.
 *
 * tools/dev/gen-codec makes, for each schemas/NAME.avsc:
 *   lib/model/avow/model/NAME.h   struct avow_NAME and its parts (plain data; arrays and strings are borrowed)
 *   lib/wire/avow/wire/NAME.h     avow_wire_NAME_schema, avow_NAME_encode, avow_NAME_decode
 *   lib/wire/src/NAME.c
 * enum avow_rc avow_NAME_encode(const struct avow_NAME *v, struct avow_buf *out, struct avow_err *err);
 *   appends frame and body. Errors: AVOW_LIMIT (a cap is exceeded, message names the field), AVOW_NOMEM.
 * enum avow_rc avow_NAME_decode(struct avow_bytes in, struct avow_arena *arena, struct avow_NAME *out, struct avow_err *err);
 *   strings and bytes borrow from `in`, arrays from `arena`. Errors: AVOW_SCHEMA (frame or fingerprint unknown),
 *   AVOW_PARSE (message names the field), AVOW_LIMIT, AVOW_NOMEM. On failure *out is untouched.
 *
 * Names in C: record BundleKey is struct avow_bundle_key; a string is struct avow_str, bytes are struct avow_bytes, fixed
 * of N bytes is uint8_t[N]; int or long with avow.range u16, u31, u32, u63 is uint16_t, int32_t (never negative), uint32_t,
 * uint64_t; ["null", T] is `bool has_x; T x;` (x zeroed when absent); an array is `const T *x; size_t x_count;`; enum
 * DropReason is enum avow_drop_reason with AVOW_DROP_REASON_PART_HASH and so on, from 0 in schema order, with
 * const char *avow_drop_reason_text(enum) ("part_hash"; "?" out of range) and
 * bool avow_drop_reason_from_text(struct avow_str, enum *); a union of records named by avow.union is
 * `struct avow_directive_kind { enum avow_directive_kind_tag tag; union { struct avow_resync resync; ... } u; }`.
 * Types used by several schemas are the same in each and stand in avow/model/common.h; avow/model/model.h includes all. */
#ifndef AVOW_WIRE_WIRE_H
#define AVOW_WIRE_WIRE_H

#include "avow/base/arena.h"
#include "avow/base/buf.h"

#define AVOW_WIRE_FRAME_LEN 10u

struct avow_wire_schema {
    const char *name;     /* "avow.Marker" */
    uint64_t fingerprint; /* CRC-64-AVRO of the parsing canonical form */
    size_t max_value;     /* cap of an encoded record, frame included (PROTOCOL B2) */
    const char *json;     /* the schema's text, as in schemas/ */
};

/* Fingerprint of a framed record; false if there is no frame. */
bool avow_wire_frame(struct avow_bytes in, uint64_t *fingerprint) AVOW_MUST_CHECK;
/* Every compiled-in schema. */
const struct avow_wire_schema *const *avow_wire_schemas(size_t *n);

#endif
