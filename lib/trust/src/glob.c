#include "glob.h"

#include "avow/base/banned.h"

bool avow_glob_matches(struct avow_str pattern, struct avow_str name)
{
    size_t p = 0, n = 0;
    size_t star = SIZE_MAX, retry = 0; /* the last '*', and where the text after it was tried */
    while (n < name.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = p++;
            retry = n;
        } else if (p < pattern.len && pattern.ptr[p] == name.ptr[n]) {
            p++;
            n++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            n = ++retry;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*')
        p++;
    return p == pattern.len;
}
