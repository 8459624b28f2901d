/* wire_rt.h - what the generated codecs are made of. Layer: wire. Private to lib/wire.
 * Readers and writers are sticky: after the first failure every call does nothing and returns zero,
 * so generated code asks once, at the end. The first failure fills the caller's error with the path
 * of the field. Spec: Avro 1.11.1, "Binary Encoding" and "Single object encoding". Input:
 * attacker-controlled. */
#ifndef AVOW_WIRE_RT_H
#define AVOW_WIRE_RT_H

#include "avow/wire/json.h"

#define AVOW_WIRE_DEPTH_MAX 8u /* the generator refuses schemas that nest deeper */
#define AVOW_WIRE_VARINT_MAX 10u

/* Where in the record we are, for messages: "state.findings[3]". */
struct avow_wire_path {
    const char *record;
    struct avow_wire_step {
        const char *name;
        size_t index; /* SIZE_MAX: not an array */
    } step[AVOW_WIRE_DEPTH_MAX];
    size_t depth;
};
void avow_path_push(struct avow_wire_path *p, const char *name, size_t index);
void avow_path_pop(struct avow_wire_path *p);
/* "state.findings[3].id"; name NULL: the path itself. */
void avow_path_text(const struct avow_wire_path *p, const char *name, char *out, size_t cap);

/* -- reader -- */
struct avow_dec {
    const uint8_t *p;
    const uint8_t *end;
    struct avow_arena *arena; /* may be NULL if the record has no arrays */
    struct avow_err *err;
    enum avow_rc rc;
    struct avow_wire_path path;
};
/* Size cap, frame and fingerprint. Errors: AVOW_LIMIT, AVOW_SCHEMA. */
enum avow_rc avow_dec_start(struct avow_dec *d, const struct avow_wire_schema *schema,
                            struct avow_bytes in, struct avow_arena *arena,
                            struct avow_err *err) AVOW_MUST_CHECK;
/* Exact end of the input, and the verdict. */
enum avow_rc avow_dec_finish(struct avow_dec *d) AVOW_MUST_CHECK;

/* `name` is the field, NULL for an item of an array. */
uint16_t avow_dec_u16(struct avow_dec *d, const char *name);
int32_t avow_dec_u31(struct avow_dec *d, const char *name);
uint32_t avow_dec_u32(struct avow_dec *d, const char *name);
uint64_t avow_dec_u63(struct avow_dec *d, const char *name);
bool avow_dec_bool(struct avow_dec *d, const char *name);
void avow_dec_fixed(struct avow_dec *d, const char *name, uint8_t *out, size_t len);
struct avow_bytes avow_dec_bytes(struct avow_dec *d, const char *name, size_t max);
struct avow_str avow_dec_str(struct avow_dec *d, const char *name, size_t max);
/* Index of an enum symbol or of a union branch, less than `count`. */
uint32_t avow_dec_index(struct avow_dec *d, const char *name, uint32_t count);
/* Branch of ["null", T]: true if T follows. */
bool avow_dec_some(struct avow_dec *d, const char *name);
void avow_dec_enter(struct avow_dec *d, const char *name);
void avow_dec_leave(struct avow_dec *d);

struct avow_dec_array {
    void *items; /* from the arena */
    size_t count;
    size_t cap;
    size_t max;
    size_t item_size;         /* in memory */
    size_t item_min;          /* least bytes on the wire, > 0 */
    size_t left;              /* of the current block */
    const uint8_t *block_end; /* where a block that told its size must end, or NULL */
};
struct avow_dec_array avow_dec_array(struct avow_dec *d, const char *name, size_t max,
                                     size_t item_size, size_t item_min);
/* Next zeroed item to fill, or NULL at the end and after a failure. */
void *avow_dec_next(struct avow_dec *d, struct avow_dec_array *a);
/* Leaves the array; returns the count. */
size_t avow_dec_array_end(struct avow_dec *d, const struct avow_dec_array *a);

/* -- writer: the same caps and ranges -- */
struct avow_enc {
    struct avow_buf *out;
    size_t start; /* out->len before the record; restored on failure */
    size_t max_value;
    struct avow_err *err;
    enum avow_rc rc;
    struct avow_wire_path path;
};
void avow_enc_start(struct avow_enc *e, const struct avow_wire_schema *schema, struct avow_buf *out,
                    struct avow_err *err);
enum avow_rc avow_enc_finish(struct avow_enc *e) AVOW_MUST_CHECK;

void avow_enc_u16(struct avow_enc *e, const char *name, uint16_t v);
void avow_enc_u31(struct avow_enc *e, const char *name, int32_t v);
void avow_enc_u32(struct avow_enc *e, const char *name, uint32_t v);
void avow_enc_u63(struct avow_enc *e, const char *name, uint64_t v);
void avow_enc_bool(struct avow_enc *e, bool v);
void avow_enc_fixed(struct avow_enc *e, const uint8_t *v, size_t len);
void avow_enc_bytes(struct avow_enc *e, const char *name, size_t max, struct avow_bytes v);
void avow_enc_str(struct avow_enc *e, const char *name, size_t max, struct avow_str v);
void avow_enc_index(struct avow_enc *e, const char *name, uint32_t count, uint32_t v);
/* Writes the branch of ["null", T]; returns `has`. */
bool avow_enc_some(struct avow_enc *e, bool has);
void avow_enc_enter(struct avow_enc *e, const char *name);
void avow_enc_leave(struct avow_enc *e);
/* Writes the block count; returns how many items to write, 0 if the cap is exceeded. */
size_t avow_enc_array(struct avow_enc *e, const char *name, size_t max, size_t count);
void avow_enc_item(struct avow_enc *e, size_t index);
void avow_enc_array_end(struct avow_enc *e);

/* -- JSON -- */
struct avow_js {
    struct avow_buf *out;
    enum avow_json_style style;
    bool comma; /* the next value needs one in front */
};
/* `name` NULL: an item of an array, or the value of an optional. */
void avow_js_u64(struct avow_js *j, const char *name, uint64_t v);
void avow_js_bool(struct avow_js *j, const char *name, bool v);
void avow_js_bytes(struct avow_js *j, const char *name, struct avow_bytes v);
void avow_js_str(struct avow_js *j, const char *name, struct avow_str v);
void avow_js_open(struct avow_js *j, const char *name, char bracket);
void avow_js_close(struct avow_js *j, char bracket);
/* Optional value: null, or (true) the value follows, then avow_js_some_end. `branch`: Avro's name
 * of T. */
bool avow_js_some(struct avow_js *j, const char *name, const char *branch, bool has);
void avow_js_some_end(struct avow_js *j);
/* Union of records: the branch's fields follow, then avow_js_branch_end. */
void avow_js_branch(struct avow_js *j, const char *name, const char *avro, const char *plain);
void avow_js_branch_end(struct avow_js *j);

/* One row per schema (schemas.c). */
struct avow_wire_codec {
    const struct avow_wire_schema *schema;
    enum avow_rc (*print)(struct avow_bytes record, struct avow_arena *arena, struct avow_js *j,
                          struct avow_err *err);
};
extern const struct avow_wire_codec avow_wire_codecs[];
extern const size_t avow_wire_codecs_count;

#endif
