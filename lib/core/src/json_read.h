/* json_read.h - reads a document by tables of members and says where it is wrong. Private to
 * lib/core. Every member is known and there once, but where a table says otherwise; failures carry
 * the JSON path. No recursion but that of the tables. */
#ifndef AVOW_CORE_JSON_READ_H
#define AVOW_CORE_JSON_READ_H

#include "avow/formats/json_pull.h"

#define AVOW_JSON_PATH_MAX 160u
#define AVOW_JSON_MEMBERS_MAX 32u /* of one table */

struct avow_json_read {
    struct avow_json j;
    struct avow_err *err;
    void *ctx;                     /* the readers' */
    char path[AVOW_JSON_PATH_MAX]; /* "$.boots[0].images"; what does not fit is left out */
};
typedef enum avow_rc (*avow_json_reader)(struct avow_json_read *r, void *out);
struct avow_json_field {
    const char *name; /* NULL, only as the last: every member that has no field of its own */
    avow_json_reader read;
    void *out;
    bool required;
};
/* Reads one member of an object with free keys; `key` is valid until the next read. */
typedef enum avow_rc (*avow_json_key_reader)(struct avow_json_read *r, struct avow_str key,
                                             void *out);

/* The whole text is one object of these members. Errors: AVOW_PARSE, AVOW_NOMEM, those of the
 * readers. */
enum avow_rc avow_json_read_document(struct avow_bytes text, const struct avow_json_field *fields,
                                     size_t n, void *ctx, struct avow_err *err) AVOW_MUST_CHECK;

/* For readers. "PATH: reason", or what is wrong with the text itself. */
enum avow_rc avow_json_refuse(struct avow_json_read *r, enum avow_rc rc, const char *fmt, ...)
    AVOW_PRINTF(3, 4);
enum avow_rc avow_json_read_object(struct avow_json_read *r, const struct avow_json_field *fields,
                                   size_t n) AVOW_MUST_CHECK;
/* More than `max` elements: AVOW_LIMIT. */
enum avow_rc avow_json_read_list(struct avow_json_read *r, avow_json_reader read, void *out,
                                 size_t max) AVOW_MUST_CHECK;
enum avow_rc avow_json_read_keys(struct avow_json_read *r, avow_json_key_reader read, void *out,
                                 size_t max) AVOW_MUST_CHECK;
enum avow_rc avow_json_read_bool(struct avow_json_read *r, void *out) AVOW_MUST_CHECK;
/* uint32_t. */
enum avow_rc avow_json_read_u32(struct avow_json_read *r, void *out) AVOW_MUST_CHECK;
/* Valid until the next string is read. */
enum avow_rc avow_json_read_text(struct avow_json_read *r, struct avow_str *out) AVOW_MUST_CHECK;

#endif
