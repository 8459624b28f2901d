/* conf_print.c - the table and its values as text for people. */
#include "conf_internal.h"

#include <inttypes.h>
#include <string.h>

#include "avow/base/banned.h"

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), t = strlen(tail);
    return n >= t && avow_cstr_eq(s + n - t, tail);
}

/* ssl.key.pem is librdkafka's private key as text. */
static bool is_secret(const char *key)
{
    return ends_with(key, "password") || ends_with(key, "secret") || ends_with(key, "key.pem");
}

static void put_value(struct avow_buf *out, const char *text)
{
    struct avow_str s = avow_str_from(text);
    bool plain = s.len && text[0] != '"' && text[0] != '#' && text[0] != ' ' &&
                 text[s.len - 1] != ' ' && !strstr(text, " #");
    if (plain) {
        avow_buf_put(out, s.ptr, s.len);
        return;
    }
    avow_buf_put_u8(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            avow_buf_put_u8(out, '\\');
        avow_buf_put_u8(out, (uint8_t)*text);
    }
    avow_buf_put_u8(out, '"');
}

static void put_setting(struct avow_buf *out, const char *section, const char *key,
                        const struct avow_conf_value *v)
{
    avow_buf_printf(out, "%s.%s = ", section, key);
    if (v->text && is_secret(key))
        avow_buf_put_str(out, "***");
    else if (v->text)
        put_value(out, v->text);
    avow_buf_printf(out, "  # %s%s\n", v->source, v->text ? "" : " (unset)");
}

void avow_conf_print(const struct avow_conf *c, struct avow_buf *out)
{
    for (size_t i = 0; i < c->spec->count; i++)
        put_setting(out, c->spec->options[i].section, c->spec->options[i].key, &c->values[i]);
    for (size_t i = 0; i < c->passthrough_count; i++)
        put_setting(out, c->spec->passthrough, c->passthrough[i].key, &c->passthrough[i].value);
}

static void put_type(struct avow_buf *out, const struct avow_conf_option *o)
{
    switch (o->type) {
    case AVOW_CONF_STR:
        break;
    case AVOW_CONF_PATH:
        avow_buf_put_str(out, " (path)");
        break;
    case AVOW_CONF_U64:
        avow_buf_printf(out, " (%" PRIu64 " to %" PRIu64 ")", o->min, o->max);
        break;
    case AVOW_CONF_MS:
        avow_buf_printf(out, " (%" PRIu64 "ms to %" PRIu64 "ms)", o->min, o->max);
        break;
    case AVOW_CONF_BOOL:
        avow_buf_put_str(out, " (true or false)");
        break;
    case AVOW_CONF_ENUM:
        avow_buf_printf(out, " (%s)", o->values);
        break;
    }
}

/* Is this the first option of its section? */
static bool begins_section(const struct avow_conf_spec *spec, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (avow_cstr_eq(spec->options[k].section, spec->options[i].section))
            return false;
    return true;
}

static void put_section(const struct avow_conf_spec *spec, size_t first, struct avow_buf *out)
{
    avow_buf_printf(out, "\n[%s]\n", spec->options[first].section);
    for (size_t i = first; i < spec->count; i++) {
        const struct avow_conf_option *o = &spec->options[i];
        if (!avow_cstr_eq(o->section, spec->options[first].section))
            continue;
        avow_buf_printf(out, "# %s", o->doc);
        put_type(out, o);
        avow_buf_printf(out, "\n#%s = ", o->key);
        if (o->def)
            put_value(out, o->def);
        avow_buf_put_str(out, "\n");
    }
}

void avow_conf_sample(const struct avow_conf_spec *spec, struct avow_buf *out)
{
    avow_buf_printf(out, "# Configuration of %s. Values shown are the defaults.\n", spec->program);
    bool passthrough_seen = false;
    for (size_t i = 0; i < spec->count; i++) {
        if (!begins_section(spec, i))
            continue;
        put_section(spec, i, out);
        if (spec->passthrough && avow_cstr_eq(spec->passthrough, spec->options[i].section))
            passthrough_seen = true;
    }
    if (spec->passthrough && !passthrough_seen)
        avow_buf_printf(out, "\n[%s]\n# Keys of this section are handed on as they are.\n",
                        spec->passthrough);
}
