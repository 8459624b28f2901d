/* wire.h - what all generated codecs share. Layer: wire. Pure; thread-safe.
 * Framing is Avro single-object encoding: C3 01, CRC-64-AVRO fingerprint (little-endian), body
 * (Avro 1.11.1, "Single object encoding"). Decoders take attacker-controlled bytes: every length,
 * count, enum index, union index and range is checked, numbers are in their shortest form, strings
 * are valid UTF-8 without NUL, and the input ends exactly where the record does.
 *
 * tools/dev/gen-codec makes, for each schemas/NAME.avsc:
 *   lib/model/avow/model/NAME.h   struct avow_NAME and its parts: plain data, arrays and strings
 *                                 are borrowed
 *   lib/wire/avow/wire/NAME.h     avow_wire_NAME_schema, avow_NAME_encode, avow_NAME_decode
 *   lib/wire/src/NAME.c
 *
 * enum avow_rc avow_NAME_encode(const struct avow_NAME *v, struct avow_buf *out,
 *                               struct avow_err *err);
 *   appends frame and body. Errors: AVOW_LIMIT (a cap or range is exceeded, the message names the
 *   field), AVOW_PARSE (a string is not UTF-8 or holds a NUL), AVOW_NOMEM. On failure out->len is
 *   as before.
 * enum avow_rc avow_NAME_decode(struct avow_bytes in, struct avow_arena *arena,
 *                               struct avow_NAME *out, struct avow_err *err);
 *   strings and bytes borrow from `in`, arrays from `arena`, which may be NULL where the record has
 *   none. Errors: AVOW_SCHEMA (frame or fingerprint unknown), AVOW_PARSE (the message names the
 *   field), AVOW_LIMIT (a cap, or the arena's limit), AVOW_NOMEM. On failure *out is untouched.
 *
 * Names in C:
 *   record BundleKey     struct avow_bundle_key
 *   string, bytes        struct avow_str, struct avow_bytes
 *   fixed of N bytes     uint8_t[N]
 *   int or long with avow.range u16, u31, u32, u63
 *                        uint16_t, int32_t (never negative), uint32_t, uint64_t (below 2^63)
 *   ["null", T]          bool has_x; T x; (zeroed when absent)
 *   array                const T *x; size_t x_count;
 *   enum DropReason      enum avow_drop_reason: AVOW_DROP_REASON_PART_HASH ... from 0 in schema
 *                        order; AVOW_DROP_REASON_COUNT;
 *                        const char *avow_drop_reason_text(v): "part_hash", "?" out of range;
 *                        bool avow_drop_reason_from_text(struct avow_str, enum avow_drop_reason *)
 *   union of records named by avow.union
 *                        struct avow_directive_kind { enum avow_directive_kind_tag tag;
 *                                                     union { struct avow_resync resync; ... } u; }
 * Types that several schemas use are the same in each and stand in avow/model/common.h;
 * avow/model/model.h includes all. */
#ifndef AVOW_WIRE_WIRE_H
#define AVOW_WIRE_WIRE_H

#include "avow/base/arena.h"
#include "avow/base/buf.h"

#define AVOW_WIRE_FRAME_LEN 10u
/* An arena with this limit is enough for the arrays of any one record (checked at compile time). */
#define AVOW_WIRE_ARENA_MAX (2u * 1024u * 1024u)

struct avow_wire_schema {
    const char *name;     /* "avow.Marker" */
    const char *record;   /* "marker": file and C name */
    uint64_t fingerprint; /* CRC-64-AVRO of the parsing canonical form */
    size_t max_value;     /* cap of an encoded record, frame included (PROTOCOL B2) */
    const char *json;     /* the schema's text, as in schemas/ */
};

/* Fingerprint of a framed record; false if there is no frame. */
bool avow_wire_frame(struct avow_bytes in, uint64_t *fingerprint) AVOW_MUST_CHECK;
/* Every compiled-in schema. */
const struct avow_wire_schema *const *avow_wire_schemas(size_t *n);

#endif
