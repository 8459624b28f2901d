/* json_pull.h - reads JSON text value by value, without a tree. Layer: formats. Pure. RFC 8259,
 * strict.
 *
 * A policy has up to 64 MiB, and a tree of it ten times as much. Above all a tree builder that
 * ignores a failed allocation drops a character of a digest or of an expression and says nothing;
 * here a string without escapes is borrowed from the text, and one with escapes is copied or the
 * read fails. No recursion. After a failure every further read fails. */
#ifndef AVOW_FORMATS_JSON_PULL_H
#define AVOW_FORMATS_JSON_PULL_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

#define AVOW_JSON_DEPTH_MAX 64u

enum avow_json_kind {
    AVOW_JSON_NOTHING, /* end of the text, or no value begins here */
    AVOW_JSON_OBJECT,
    AVOW_JSON_ARRAY,
    AVOW_JSON_STRING,
    AVOW_JSON_NUMBER,
    AVOW_JSON_BOOL,
    AVOW_JSON_NULL
};

struct avow_json {
    const uint8_t *start, *p, *end;
    enum avow_rc failed;
    const char *reason; /* static */
    char *copy[2];      /* owned: the last key and the last string that had escapes */
};

/* The whole text must be UTF-8 without NUL; fails at once otherwise. `text` must outlive the
 * reader. */
void avow_json_init(struct avow_json *j, struct avow_bytes text);
void avow_json_deinit(struct avow_json *j);

/* What the next value is; consumes white space only. */
enum avow_json_kind avow_json_peek(struct avow_json *j);
/* Steps into an object or array, which must be what comes next. */
bool avow_json_enter(struct avow_json *j, enum avow_json_kind kind);
/* Next member of an object: true and its key, which is valid until the next key is read. False at
 * the end, which is consumed, or on failure. *first must be true before the first call. */
bool avow_json_member(struct avow_json *j, bool *first, struct avow_str *key);
/* Next element of an array; the same without a key. */
bool avow_json_element(struct avow_json *j, bool *first);
/* Valid until the next string value is read. */
bool avow_json_string(struct avow_json *j, struct avow_str *out);
/* False and no failure if it is no integer of 0 to `max`. The number is consumed. */
bool avow_json_integer(struct avow_json *j, uint64_t max);
/* False and no failure if it is neither true nor false, which then is not consumed. */
bool avow_json_bool(struct avow_json *j, bool *out);
/* Consumes any value; *out, if not NULL, is its text. */
bool avow_json_skip(struct avow_json *j, struct avow_bytes *out);
/* True if nothing follows but white space. */
bool avow_json_end(struct avow_json *j);
/* AVOW_OK, or the failure with line and column. */
enum avow_rc avow_json_status(const struct avow_json *j, struct avow_err *err);

#endif
