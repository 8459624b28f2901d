/* exclude_literal.c - see exclude_literal.h. */
#include "exclude_literal.h"

#include "avow/base/banned.h"

static bool is_special(char c)
{
    return c && strchr("^$*+?{}[]|()", c) != NULL;
}

static bool is_escapable(char c) /* after a backslash: means itself, in Python and in PCRE2 */
{
    return c >= 0x21 && c <= 0x7E && !(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') &&
           !(c >= 'a' && c <= 'z');
}

static enum avow_literal_kind kind_of_end(struct avow_str rest)
{
    if (!rest.len)
        return AVOW_LITERAL_PLAIN;
    if (avow_str_is(rest, ".*"))
        return AVOW_LITERAL_REST;
    if (avow_str_is(rest, ".*$"))
        return AVOW_LITERAL_REST_END;
    return avow_str_is(rest, "$") ? AVOW_LITERAL_END : AVOW_LITERAL_NONE;
}

enum avow_literal_kind avow_literal_parse(struct avow_str pattern, char *out, size_t *len)
{
    size_t i = pattern.len && pattern.ptr[0] == '^' ? 1 : 0, n = 0;
    for (; i < pattern.len; i++) {
        char c = pattern.ptr[i];
        if (c == '.' || is_special(c))
            break;
        if (c == '\\') {
            if (i + 1 == pattern.len || !is_escapable(pattern.ptr[i + 1]))
                return AVOW_LITERAL_NONE;
            c = pattern.ptr[++i];
        }
        out[n++] = c;
    }
    *len = n;
    return kind_of_end((struct avow_str){pattern.ptr + i, pattern.len - i});
}

bool avow_literal_match(enum avow_literal_kind kind, struct avow_str text, struct avow_str path,
                        bool strict)
{
    if (path.len < text.len || !avow_str_eq((struct avow_str){path.ptr, text.len}, text))
        return false;
    struct avow_str rest = {path.ptr + text.len, path.len - text.len};
    const char *newline = rest.len ? memchr(rest.ptr, '\n', rest.len) : NULL;
    bool newline_last = newline && newline == rest.ptr + rest.len - 1;
    switch (kind) {
    case AVOW_LITERAL_PLAIN:
        return !strict || !rest.len;
    case AVOW_LITERAL_REST: /* '.' is any character but a newline */
        return !strict || !newline;
    case AVOW_LITERAL_REST_END: /* '$' is also right before a closing newline */
        return !newline || (!strict && newline_last);
    case AVOW_LITERAL_END:
        return !rest.len || (!strict && rest.len == 1 && newline);
    case AVOW_LITERAL_NONE:
    default:
        return false;
    }
}

bool avow_literal_has_verb(struct avow_str pattern)
{
    bool in_class = false;
    for (size_t i = 0; i < pattern.len; i++) {
        char c = pattern.ptr[i];
        if (c == '\\') {
            i++;
        } else if (in_class) {
            in_class = c != ']';
        } else if (c == '[') {
            in_class = true;
            /* A ']' right after '[' or '[^' is a member. */
            if (i + 1 < pattern.len && pattern.ptr[i + 1] == '^')
                i++;
            if (i + 1 < pattern.len && pattern.ptr[i + 1] == ']')
                i++;
        } else if (c == '(' && i + 1 < pattern.len && pattern.ptr[i + 1] == '*') {
            return true;
        }
    }
    return false;
}
