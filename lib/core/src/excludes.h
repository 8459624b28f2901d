/* excludes.h - expressions that exclude paths. Private to lib/core. PROTOCOL R30: what is a literal
 * prefix, with or without a closing .* or $, is looked up; the rest go to PCRE2's interpreter with
 * fixed limits, so that judging depends on no machine. */
#ifndef AVOW_CORE_EXCLUDES_H
#define AVOW_CORE_EXCLUDES_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

struct avow_exclude;
struct avow_exclude_index { /* sorted literals, borrowed from the excludes */
    struct avow_str *items;
    size_t count;
};
struct avow_excludes {
    struct avow_exclude *items;
    size_t count, cap;
    size_t literals, open; /* open: literals that as prefixes cover sibling names */
    /* Built by finish, one per way of matching: [0] prefixes as Keylime, [1] whole paths. */
    struct avow_exclude_index prefixes[2], exacts[2];
    void *limits; /* pcre2_match_context */
};

enum avow_exclude_match { AVOW_EXCLUDE_NO, AVOW_EXCLUDE_YES, AVOW_EXCLUDE_UNDECIDED };

void avow_excludes_deinit(struct avow_excludes *x);
/* Errors: AVOW_PARSE (not an expression), AVOW_NOMEM. */
enum avow_rc avow_excludes_put(struct avow_excludes *x, struct avow_str pattern,
                               struct avow_err *err) AVOW_MUST_CHECK;
/* Call once, after the last put. Errors: AVOW_NOMEM. */
enum avow_rc avow_excludes_finish(struct avow_excludes *x, struct avow_err *err) AVOW_MUST_CHECK;
enum avow_exclude_match avow_excludes_match(const struct avow_excludes *x, struct avow_str path,
                                            bool strict);
/* The same for whole paths, at the expense of `units`, which are fewer afterwards: some twenty
 * nanoseconds each. What was charged depends on no machine. Undecided if they do not suffice. */
enum avow_exclude_match avow_excludes_match_within(struct avow_excludes *x, struct avow_str path,
                                                   uint64_t *units) AVOW_MUST_CHECK;
/* Every expression of `a` is in `b`, letter for letter. */
bool avow_excludes_is_subset(const struct avow_excludes *a, const struct avow_excludes *b);

#endif
