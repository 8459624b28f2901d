#include "avow/base/conf.h"

#include "avow/base/num.h"
#include "conf_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

const struct avow_conf_option *avow_conf_find_option(const struct avow_conf_spec *spec,
                                                     struct avow_str section, struct avow_str key)
{
    for (size_t i = 0; i < spec->count; i++)
        if (avow_str_is(section, spec->options[i].section) &&
            avow_str_is(key, spec->options[i].key))
            return &spec->options[i];
    return NULL;
}

static void value_clear(struct avow_conf_value *v)
{
    if (v->text)
        avow_wipe(v->text, strlen(v->text)); /* it may be a password */
    free(v->text);
    free(v->source);
    *v = (struct avow_conf_value){.pass = 0};
}

static char *copy_str(struct avow_str s)
{
    char *p = malloc(s.len + 1);
    if (p)
        avow_str_copy(p, s.len + 1, s);
    return p;
}

/* Replaces *v; `keep_text` false leaves it unset. */
static enum avow_rc value_set(struct avow_conf_value *v, const struct avow_conf_assign *a,
                              bool keep_text, uint64_t number, struct avow_err *err)
{
    char *text = keep_text ? copy_str(a->value) : NULL;
    char *source = copy_str(avow_str_from(a->source));
    if (!source || (keep_text && !text)) {
        free(text);
        free(source);
        return avow_err_set(err, AVOW_NOMEM, 0, "configuration");
    }
    value_clear(v);
    *v = (struct avow_conf_value){.text = text, .source = source, .number = number};
    return AVOW_OK;
}

static enum avow_rc refuse(const struct avow_conf_assign *a, struct avow_err *err, const char *why)
{
    return avow_err_set(err, AVOW_CONFIG, 0, "%s: %.*s.%.*s: %s", a->source,
                        (int)avow_min_u64(a->section.len, AVOW_CONF_KEY_MAX), a->section.ptr,
                        (int)avow_min_u64(a->key.len, AVOW_CONF_KEY_MAX), a->key.ptr, why);
}

static enum avow_rc mark(struct avow_conf *c, struct avow_conf_value *v,
                         const struct avow_conf_assign *a, struct avow_err *err)
{
    if (a->once && v->pass == c->pass)
        return refuse(a, err, "is set twice in this file");
    return AVOW_OK;
}

static enum avow_rc assign_option(struct avow_conf *c, const struct avow_conf_option *o,
                                  const struct avow_conf_assign *a, struct avow_err *err)
{
    struct avow_conf_value *v = &c->values[o - c->spec->options];
    char why[160];
    uint64_t number = 0;
    enum avow_rc rc = mark(c, v, a, err);
    if (rc)
        return rc;
    /* An empty value unsets an option that may be unset. */
    bool keep = a->value.len > 0 || o->def;
    if (keep && !avow_conf_check_value(o, a->value, &number, why, sizeof why))
        return refuse(a, err, why);
    rc = value_set(v, a, keep, number, err);
    if (!rc)
        v->pass = a->once ? c->pass : 0;
    return rc;
}

static struct avow_conf_pass *find_pass(struct avow_conf *c, struct avow_str key)
{
    for (size_t i = 0; i < c->passthrough_count; i++)
        if (avow_str_is(key, c->passthrough[i].key))
            return &c->passthrough[i];
    return NULL;
}

static struct avow_conf_pass *add_pass(struct avow_conf *c, struct avow_str key)
{
    size_t n = c->passthrough_count;
    struct avow_conf_pass *more = realloc(c->passthrough, (n + 1) * sizeof *more);
    if (!more)
        return NULL;
    c->passthrough = more;
    more[n] = (struct avow_conf_pass){.key = copy_str(key)};
    if (!more[n].key)
        return NULL;
    c->passthrough_count++;
    return &more[n];
}

static enum avow_rc assign_pass(struct avow_conf *c, const struct avow_conf_assign *a,
                                struct avow_err *err)
{
    struct avow_conf_pass *p = find_pass(c, a->key);
    if (!p && c->passthrough_count == AVOW_CONF_PASSTHROUGH_MAX)
        return refuse(a, err, "too many keys in this section");
    if (!p)
        p = add_pass(c, a->key);
    if (!p)
        return avow_err_set(err, AVOW_NOMEM, 0, "configuration");
    enum avow_rc rc = mark(c, &p->value, a, err);
    if (!rc)
        rc = value_set(&p->value, a, a->value.len > 0, 0, err);
    if (!rc)
        p->value.pass = a->once ? c->pass : 0;
    return rc;
}

enum avow_rc avow_conf_assign(struct avow_conf *c, const struct avow_conf_assign *a,
                              struct avow_err *err)
{
    const struct avow_conf_option *o = avow_conf_find_option(c->spec, a->section, a->key);
    if (a->value.len >= AVOW_CONF_VALUE_MAX)
        return refuse(a, err, "value is too long");
    if (!avow_utf8_is_valid(a->value))
        return refuse(a, err, "value is not UTF-8");
    if (o)
        return assign_option(c, o, a, err);
    if (c->spec->passthrough && avow_str_is(a->section, c->spec->passthrough))
        return assign_pass(c, a, err);
    return refuse(a, err, "unknown key");
}

static enum avow_rc load_defaults(struct avow_conf *c, struct avow_err *err)
{
    for (size_t i = 0; i < c->spec->count; i++) {
        const struct avow_conf_option *o = &c->spec->options[i];
        const struct avow_conf_assign a = {.section = avow_str_from(o->section),
                                           .key = avow_str_from(o->key),
                                           .value = avow_str_from(o->def),
                                           .source = "default"};
        enum avow_rc rc = assign_option(c, o, &a, err);
        if (rc)
            return rc;
    }
    return AVOW_OK;
}

/* "section.key=value"; the key may have dots, the section may not. */
static enum avow_rc load_set(struct avow_conf *c, const char *set, struct avow_err *err)
{
    const char *eq = strchr(set, '=');
    const char *dot = eq ? memchr(set, '.', (size_t)(eq - set)) : NULL;
    if (!dot || dot == set || dot + 1 == eq)
        return avow_err_set(err, AVOW_CONFIG, 0, "--set %.60s: not section.key=value", set);
    const struct avow_conf_assign a = {.section = {set, (size_t)(dot - set)},
                                       .key = {dot + 1, (size_t)(eq - dot) - 1},
                                       .value = avow_str_from(eq + 1),
                                       .source = "--set"};
    return avow_conf_assign(c, &a, err);
}

static enum avow_rc load_all(struct avow_conf *c, const char *file, const char *const *sets,
                             size_t n, char *const *environ_, struct avow_err *err)
{
    enum avow_rc rc = load_defaults(c, err);
    if (!rc)
        rc = avow_conf_load_files(c, file, err);
    if (!rc)
        rc = avow_conf_load_environment(c, environ_, err);
    for (size_t i = 0; !rc && i < n; i++)
        rc = load_set(c, sets[i], err);
    return rc;
}

enum avow_rc avow_conf_load(const struct avow_conf_spec *spec, const char *file,
                            const char *const *sets, size_t n, char *const *environ_,
                            struct avow_conf **out, struct avow_err *err)
{
    struct avow_conf *c = calloc(1, sizeof *c);
    if (!c)
        return avow_err_set(err, AVOW_NOMEM, 0, "configuration");
    c->spec = spec;
    c->values = calloc(spec->count ? spec->count : 1, sizeof *c->values);
    enum avow_rc rc = c->values ? load_all(c, file, sets, n, environ_, err)
                                : avow_err_set(err, AVOW_NOMEM, 0, "configuration");
    if (rc)
        avow_conf_free(c);
    else
        *out = c;
    return rc;
}

void avow_conf_free(struct avow_conf *c)
{
    if (!c)
        return;
    for (size_t i = 0; c->values && i < c->spec->count; i++)
        value_clear(&c->values[i]);
    for (size_t i = 0; i < c->passthrough_count; i++) {
        value_clear(&c->passthrough[i].value);
        free(c->passthrough[i].key);
    }
    free(c->passthrough);
    free(c->values);
    free(c);
}

static const struct avow_conf_value *lookup(const struct avow_conf *c, const char *section,
                                            const char *key)
{
    const struct avow_conf_option *o =
        avow_conf_find_option(c->spec, avow_str_from(section), avow_str_from(key));
    assert(o);
    return &c->values[o - c->spec->options];
}

const char *avow_conf_str(const struct avow_conf *c, const char *section, const char *key)
{
    return lookup(c, section, key)->text;
}

uint64_t avow_conf_u64(const struct avow_conf *c, const char *section, const char *key)
{
    return lookup(c, section, key)->number;
}

bool avow_conf_bool(const struct avow_conf *c, const char *section, const char *key)
{
    return lookup(c, section, key)->number != 0;
}

const char *avow_conf_source(const struct avow_conf *c, const char *section, const char *key)
{
    if (avow_conf_find_option(c->spec, avow_str_from(section), avow_str_from(key)))
        return lookup(c, section, key)->source;
    assert(c->spec->passthrough && avow_cstr_eq(section, c->spec->passthrough));
    for (size_t i = 0; i < c->passthrough_count; i++)
        if (avow_cstr_eq(c->passthrough[i].key, key) && c->passthrough[i].value.text)
            return c->passthrough[i].value.source;
    return NULL;
}

void avow_conf_each_passthrough(const struct avow_conf *c,
                                void (*fn)(void *arg, const char *key, const char *value),
                                void *arg)
{
    for (size_t i = 0; i < c->passthrough_count; i++)
        if (c->passthrough[i].value.text)
            fn(arg, c->passthrough[i].key, c->passthrough[i].value.text);
}
