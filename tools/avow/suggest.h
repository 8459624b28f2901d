/* suggest.h - the word that a mistyped one was meant to be. Layer: tools/avow. Pure. */
#ifndef AVOW_TOOLS_SUGGEST_H
#define AVOW_TOOLS_SUGGEST_H

#include <stddef.h>

/* Edits (insert, delete, replace, swap of neighbours) between two words; words longer than 63
 * characters are infinitely far from all others. */
size_t avow_edit_distance(const char *a, const char *b);
/* The nearest of the names, NULL if none is near: at most one edit per three characters typed, and
 * at least one. The first of equally near ones. */
const char *avow_suggest(const char *typed, const char *const *names, size_t n);

#endif
