/* conf_ini.c - the text form of a configuration file. Pure. */
#include "conf_internal.h"

#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

struct ini {
    const char *name;
    unsigned line;
    char section[AVOW_CONF_KEY_MAX];
    char value[AVOW_CONF_VALUE_MAX];
    char source[512]; /* "name:line" */
};

static enum avow_rc bad(const struct ini *ini, struct avow_err *err, const char *what)
{
    return avow_err_set(err, AVOW_CONFIG, 0, "%s:%u: %s", ini->name, ini->line, what);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct avow_str trim(struct avow_str s)
{
    while (s.len && is_blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* Letters, digits and ". _ -". */
static bool is_key(struct avow_str s)
{
    return s.len < AVOW_CONF_KEY_MAX && avow_name_is_valid(s);
}

/* Nothing, or a comment. */
static bool is_rest_empty(struct avow_str s)
{
    s = trim(s);
    return !s.len || s.ptr[0] == '#';
}

/* s begins with the opening quote; \" and \\ are the only escapes. */
static const char *unquote(struct avow_str s, char *out, size_t cap)
{
    size_t n = 0, i = 1;
    for (; i < s.len && s.ptr[i] != '"'; i++) {
        if (s.ptr[i] == '\\') {
            if (++i == s.len || (s.ptr[i] != '"' && s.ptr[i] != '\\'))
                return "in quotes, \\ may only stand before \" and \\";
        }
        if (n + 1 >= cap)
            return "value is too long";
        out[n++] = s.ptr[i];
    }
    out[n] = '\0';
    if (i == s.len)
        return "the closing \" is missing";
    if (!is_rest_empty((struct avow_str){s.ptr + i + 1, s.len - i - 1}))
        return "text after the closing \"";
    return NULL;
}

/* A comment begins at a '#' after a blank; "a#b" is a value. */
static struct avow_str strip_comment(struct avow_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '#' && (i == 0 || is_blank(s.ptr[i - 1])))
            return trim((struct avow_str){s.ptr, i});
    return s;
}

static const char *read_value(struct avow_str s, char *out, size_t cap)
{
    if (s.len && s.ptr[0] == '"')
        return unquote(s, out, cap);
    return avow_str_copy(out, cap, strip_comment(s)) ? NULL : "value is too long";
}

static enum avow_rc section_line(struct ini *ini, struct avow_str s, struct avow_err *err)
{
    const char *close = memchr(s.ptr, ']', s.len);
    if (!close)
        return bad(ini, err, "the closing ] is missing");
    struct avow_str name = trim((struct avow_str){s.ptr + 1, (size_t)(close - s.ptr) - 1});
    if (!is_key(name))
        return bad(ini, err, "bad section name");
    if (!is_rest_empty((struct avow_str){close + 1, s.len - (size_t)(close - s.ptr) - 1}))
        return bad(ini, err, "text after ]");
    avow_str_copy(ini->section, sizeof ini->section, name);
    return AVOW_OK;
}

static enum avow_rc key_line(struct ini *ini, struct avow_str s, avow_conf_ini_fn *fn, void *arg,
                             struct avow_err *err)
{
    const char *eq = memchr(s.ptr, '=', s.len);
    if (!eq)
        return bad(ini, err, "neither [section] nor key = value");
    struct avow_str key = trim((struct avow_str){s.ptr, (size_t)(eq - s.ptr)});
    struct avow_str text = trim((struct avow_str){eq + 1, s.len - (size_t)(eq - s.ptr) - 1});
    if (!is_key(key))
        return bad(ini, err, "bad key");
    if (!ini->section[0])
        return bad(ini, err, "key before the first [section]");
    const char *why = read_value(text, ini->value, sizeof ini->value);
    if (why)
        return bad(ini, err, why);
    snprintf(ini->source, sizeof ini->source, "%s:%u", ini->name, ini->line);
    const struct avow_conf_assign a = {.section = avow_str_from(ini->section),
                                       .key = key,
                                       .value = avow_str_from(ini->value),
                                       .source = ini->source,
                                       .once = true};
    return fn(arg, &a, err);
}

static enum avow_rc one_line(struct ini *ini, struct avow_str s, avow_conf_ini_fn *fn, void *arg,
                             struct avow_err *err)
{
    if (is_rest_empty(s))
        return AVOW_OK;
    s = trim(s);
    if (!avow_utf8_is_valid(s))
        return bad(ini, err, "not UTF-8 text");
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 && s.ptr[i] != '\t')
            return bad(ini, err, "control character");
    return s.ptr[0] == '[' ? section_line(ini, s, err) : key_line(ini, s, fn, arg, err);
}

enum avow_rc avow_conf_ini_parse(const char *name, struct avow_str text, avow_conf_ini_fn *fn,
                                 void *arg, struct avow_err *err)
{
    struct ini ini = {.name = name};
    while (text.len) {
        const char *nl = memchr(text.ptr, '\n', text.len);
        struct avow_str line = {text.ptr, nl ? (size_t)(nl - text.ptr) : text.len};
        ini.line++;
        enum avow_rc rc = one_line(&ini, line, fn, arg, err);
        if (rc)
            return rc;
        size_t used = line.len + (nl ? 1 : 0);
        text.ptr += used;
        text.len -= used;
    }
    return AVOW_OK;
}
