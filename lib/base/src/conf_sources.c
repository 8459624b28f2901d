/* conf_sources.c - where assignments come from: files and drop-ins, environment. */
#define _GNU_SOURCE /* scandir */
#include "avow/base/file.h"
#include "avow/base/num.h"
#include "conf_internal.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define CONF_FOLDER "/etc/avow"

static const char *short_name(const struct avow_conf_spec *spec)
{
    struct avow_str name = avow_str_from(spec->program);
    return avow_str_starts(name, "avow-") ? spec->program + strlen("avow-") : spec->program;
}

static enum avow_rc assign_from_file(void *arg, const struct avow_conf_assign *a,
                                     struct avow_err *err)
{
    return avow_conf_assign(arg, a, err);
}

static enum avow_rc load_file(struct avow_conf *c, const char *path, struct avow_err *err)
{
    struct avow_buf text;
    avow_buf_init(&text, AVOW_CONF_FILE_MAX);
    c->pass++;
    enum avow_rc rc = avow_file_read(path, &text, err);
    if (rc)
        rc = avow_err_wrap(err, rc == AVOW_NOMEM ? rc : AVOW_CONFIG, "configuration");
    else
        rc = avow_conf_ini_parse(path, (struct avow_str){(const char *)text.ptr, text.len},
                                 assign_from_file, c, err);
    if (text.len)
        avow_wipe(text.ptr, text.len); /* it may hold passwords */
    avow_buf_deinit(&text);
    return rc;
}

static int is_dropin(const struct dirent *e)
{
    size_t len = strlen(e->d_name);
    return e->d_name[0] != '.' && len > 5 && avow_cstr_eq(e->d_name + len - 5, ".conf");
}

/* Byte order, whatever the locale is. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static enum avow_rc load_dropin(struct avow_conf *c, const char *folder, const char *name,
                                struct avow_err *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (n < 0 || (size_t)n >= sizeof path)
        return avow_err_set(err, AVOW_CONFIG, ENAMETOOLONG, "%.100s: name too long", folder);
    return load_file(c, path, err);
}

static enum avow_rc load_folder(struct avow_conf *c, const char *folder, struct avow_err *err)
{
    struct dirent **names = NULL;
    int n = scandir(folder, &names, is_dropin, by_name);
    if (n < 0 && errno == ENOENT)
        return AVOW_OK;
    if (n < 0)
        return avow_err_set(err, AVOW_CONFIG, errno, "%s: %s", folder, strerror(errno));
    enum avow_rc rc = AVOW_OK;
    if ((unsigned)n > AVOW_CONF_DROPINS_MAX)
        rc = avow_err_set(err, AVOW_CONFIG, 0, "%s: more than %u files", folder,
                          AVOW_CONF_DROPINS_MAX);
    for (int i = 0; i < n; i++) {
        if (!rc)
            rc = load_dropin(c, folder, names[i]->d_name, err);
        free(names[i]);
    }
    free(names);
    return rc;
}

enum avow_rc avow_conf_load_files(struct avow_conf *c, const char *file, struct avow_err *err)
{
    char path[PATH_MAX], folder[PATH_MAX];
    int n = file ? snprintf(path, sizeof path, "%s", file)
                 : snprintf(path, sizeof path, CONF_FOLDER "/%s.conf", short_name(c->spec));
    int m = snprintf(folder, sizeof folder, "%s.d", path);
    if (n < 0 || m < 0 || (size_t)n >= sizeof path || (size_t)m >= sizeof folder)
        return avow_err_set(err, AVOW_CONFIG, ENAMETOOLONG, "%.100s: name too long", path);
    /* A file that somebody named must be there; the one in /etc may be missing. */
    if (file || avow_file_exists(path)) {
        enum avow_rc rc = load_file(c, path, err);
        if (rc)
            return rc;
    }
    return load_folder(c, folder, err);
}

static char upper(char c)
{
    if (c >= 'a' && c <= 'z')
        return (char)(c - 'a' + 'A');
    return c == '.' || c == '-' ? '_' : c;
}

static char lower(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c == '_' ? '.' : c;
}

/* Appends upper(text) and `tail`; the buffer is large enough for two keys of a table. */
static void env_append(char *out, size_t cap, const char *text, const char *tail)
{
    size_t n = strlen(out);
    for (; *text && n + 2 < cap; text++)
        out[n++] = upper(*text);
    for (; *tail && n + 1 < cap; tail++)
        out[n++] = *tail;
    out[n] = '\0';
}

#define ENV_MAX (2 * AVOW_CONF_KEY_MAX + 8)

static void env_prefix(char out[ENV_MAX], const char *section)
{
    avow_str_copy(out, ENV_MAX, AVOW_STR_LIT("AVOW_"));
    env_append(out, ENV_MAX, section, "_");
}

static const char *env_find(char *const *environ_, const char *name)
{
    size_t len = strlen(name);
    for (char *const *e = environ_; e && *e; e++)
        if (!strncmp(*e, name, len) && (*e)[len] == '=')
            return *e + len + 1;
    return NULL;
}

static enum avow_rc assign_env(struct avow_conf *c, const char *name, struct avow_str section,
                               struct avow_str key, const char *value, struct avow_err *err)
{
    char source[ENV_MAX + 16];
    snprintf(source, sizeof source, "environment %.*s", (int)ENV_MAX, name);
    const struct avow_conf_assign a = {
        .section = section, .key = key, .value = avow_str_from(value), .source = source};
    return avow_conf_assign(c, &a, err);
}

static enum avow_rc load_options(struct avow_conf *c, char *const *environ_, struct avow_err *err)
{
    for (size_t i = 0; i < c->spec->count; i++) {
        const struct avow_conf_option *o = &c->spec->options[i];
        char name[ENV_MAX];
        env_prefix(name, o->section);
        env_append(name, sizeof name, o->key, "");
        const char *found = name, *value = env_find(environ_, name);
        if (!value && o->env) {
            found = o->env;
            value = env_find(environ_, o->env);
        }
        enum avow_rc rc = value ? assign_env(c, found, avow_str_from(o->section),
                                             avow_str_from(o->key), value, err)
                                : AVOW_OK;
        if (rc)
            return rc;
    }
    return AVOW_OK;
}

/* Does an option of the table own this variable? */
static bool is_option_variable(const struct avow_conf_spec *spec, struct avow_str name)
{
    for (size_t i = 0; i < spec->count; i++) {
        char own[ENV_MAX];
        env_prefix(own, spec->options[i].section);
        env_append(own, sizeof own, spec->options[i].key, "");
        if (avow_str_is(name, own) ||
            (spec->options[i].env && avow_str_is(name, spec->options[i].env)))
            return true;
    }
    return false;
}

static enum avow_rc load_pass_variable(struct avow_conf *c, const char *variable, size_t prefix_len,
                                       struct avow_err *err)
{
    const char *eq = strchr(variable, '=');
    char name[ENV_MAX], key[AVOW_CONF_KEY_MAX];
    if (!avow_str_copy(name, sizeof name, (struct avow_str){variable, (size_t)(eq - variable)}) ||
        strlen(name) - prefix_len >= sizeof key)
        return avow_err_set(err, AVOW_CONFIG, 0, "environment %.100s...: name too long", name);
    size_t n = 0;
    for (const char *p = name + prefix_len; *p; p++)
        key[n++] = lower(*p);
    key[n] = '\0';
    return assign_env(c, name, avow_str_from(c->spec->passthrough), avow_str_from(key), eq + 1,
                      err);
}

/* A variable of the program's own section that means nothing is a mistake; other sections are
 * shared with other programs, whose variables may stand in the same environment. */
static enum avow_rc check_own_variable(const struct avow_conf *c, const char *own_prefix,
                                       const char *variable, struct avow_err *err)
{
    const char *eq = strchr(variable, '=');
    struct avow_str name = {variable, (size_t)(eq - variable)};
    if (!avow_str_starts(name, own_prefix) || is_option_variable(c->spec, name))
        return AVOW_OK;
    return avow_err_set(err, AVOW_CONFIG, 0, "environment %.*s: unknown key",
                        (int)avow_min_u64(name.len, 100), name.ptr);
}

enum avow_rc avow_conf_load_environment(struct avow_conf *c, char *const *environ_,
                                        struct avow_err *err)
{
    char pass_prefix[ENV_MAX], own_prefix[ENV_MAX];
    env_prefix(own_prefix, short_name(c->spec));
    env_prefix(pass_prefix, c->spec->passthrough ? c->spec->passthrough : "");
    enum avow_rc rc = load_options(c, environ_, err);
    for (char *const *e = environ_; !rc && e && *e; e++) {
        const char *eq = strchr(*e, '=');
        if (!eq)
            continue;
        struct avow_str name = {*e, (size_t)(eq - *e)};
        if (c->spec->passthrough && avow_str_starts(name, pass_prefix) &&
            name.len > strlen(pass_prefix)) {
            if (!is_option_variable(c->spec, name))
                rc = load_pass_variable(c, *e, strlen(pass_prefix), err);
        } else {
            rc = check_own_variable(c, own_prefix, *e, err);
        }
    }
    return rc;
}
