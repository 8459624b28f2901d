/* exclude_literal.h - recognises expressions that are literal text. Private to lib/core. */
#ifndef AVOW_CORE_EXCLUDE_LITERAL_H
#define AVOW_CORE_EXCLUDE_LITERAL_H

#include "avow/base/bytes.h"

enum avow_literal_kind {
    AVOW_LITERAL_NONE = 0, /* a real expression */
    AVOW_LITERAL_PLAIN,    /* text */
    AVOW_LITERAL_REST,     /* text.* */
    AVOW_LITERAL_REST_END, /* text.*$ */
    AVOW_LITERAL_END       /* text$ */
};

/* Writes the text without escapes to `out` (room for pattern.len bytes). A leading ^ changes
 * nothing, as matching begins at the start anyway. */
enum avow_literal_kind avow_literal_parse(struct avow_str pattern, char *out, size_t *len);
/* Whether it matches, in the words of Python's re.match (prefix) or re.fullmatch (strict); newlines
 * included. */
bool avow_literal_match(enum avow_literal_kind kind, struct avow_str text, struct avow_str path,
                        bool strict);
/* Python has no verbs such as (*LIMIT_MATCH=...); PCRE2 would obey them. True if the pattern holds
 * one. */
bool avow_literal_has_verb(struct avow_str pattern);

#endif
