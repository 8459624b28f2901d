#include "suggest.h"

#include <stdint.h>
#include <string.h>

#include "avow/base/banned.h"

#define WORD_MAX 63u

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Optimal string alignment: three rows of the usual table. */
size_t avow_edit_distance(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX + 1];
    size_t len_a = strlen(a), len_b = strlen(b);
    if (len_a > WORD_MAX || len_b > WORD_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= len_b; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= len_a; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= len_b; j++) {
            size_t replaced = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = min3(above[j] + 1, row[j - 1] + 1, replaced);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                two_above[j - 2] + 1 < row[j])
                row[j] = two_above[j - 2] + 1;
        }
    }
    return rows[len_a % 3][len_b];
}

const char *avow_suggest(const char *typed, const char *const *names, size_t n)
{
    size_t limit = strlen(typed) / 3, best = SIZE_MAX;
    const char *found = NULL;
    if (limit == 0)
        limit = 1;
    for (size_t i = 0; i < n; i++) {
        size_t d = avow_edit_distance(typed, names[i]);
        if (d <= limit && d < best) {
            best = d;
            found = names[i];
        }
    }
    return found;
}
