#include "opts.h"

#include "avow/base/bytes.h"
#include "avow/base/num.h"

#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

static const struct avow_opt *opt_find(const struct avow_opt *opts, size_t n, const char *word,
                                       size_t len)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(opts[i].name) == len && !strncmp(opts[i].name, word, len))
            return &opts[i];
    return NULL;
}

static enum avow_rc opt_store(const struct avow_opt *o, const char *value, struct avow_err *err)
{
    if (o->kind == AVOW_OPT_STR) {
        *(const char **)o->out = value;
        return AVOW_OK;
    }
    if (o->kind == AVOW_OPT_LIST) {
        struct avow_opt_list *list = o->out;
        if (list->count == AVOW_OPT_LIST_MAX)
            return avow_err_set(err, AVOW_USAGE, 0, "%s: given more than %u times", o->name,
                                AVOW_OPT_LIST_MAX);
        list->items[list->count++] = value;
        return AVOW_OK;
    }
    if (!avow_num_parse_u64(avow_str_from(value), UINT64_MAX, o->out))
        return avow_err_set(err, AVOW_USAGE, 0, "%s: '%s' is not a number", o->name, value);
    return AVOW_OK;
}

static enum avow_rc opt_take(const struct avow_opt *opts, size_t n, int argc, char **argv, int *i,
                             struct avow_err *err)
{
    const char *word = argv[*i];
    const char *equals = strchr(word, '=');
    size_t len = equals ? (size_t)(equals - word) : strlen(word);
    const struct avow_opt *o = opt_find(opts, n, word, len);
    if (!o)
        return avow_err_set(err, AVOW_USAGE, 0, "unknown option '%.*s'", (int)len, word);
    if (o->kind == AVOW_OPT_FLAG) {
        if (equals)
            return avow_err_set(err, AVOW_USAGE, 0, "%s takes no value", o->name);
        *(bool *)o->out = true;
        return AVOW_OK;
    }
    if (!equals && *i + 1 == argc)
        return avow_err_set(err, AVOW_USAGE, 0, "%s needs a value (%s)", o->name, o->value);
    return opt_store(o, equals ? equals + 1 : argv[++*i], err);
}

enum avow_rc avow_opts_parse(const struct avow_opt *opts, size_t n_opts, int argc, char **argv,
                             const char **pos, size_t max_pos, size_t *n_pos, struct avow_err *err)
{
    size_t count = 0;
    bool only_words = false;
    for (int i = 0; i < argc; i++) {
        if (!only_words && avow_cstr_eq(argv[i], "--")) {
            only_words = true;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0') {
            enum avow_rc rc = opt_take(opts, n_opts, argc, argv, &i, err);
            if (rc)
                return rc;
        } else {
            if (count == max_pos)
                return avow_err_set(err, AVOW_USAGE, 0, "unexpected argument '%s'", argv[i]);
            pos[count++] = argv[i];
        }
    }
    *n_pos = count;
    return AVOW_OK;
}

void avow_opts_help(const struct avow_opt *opts, size_t n_opts)
{
    for (size_t i = 0; i < n_opts; i++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", opts[i].name, opts[i].value ? " " : "",
                 opts[i].value ? opts[i].value : "");
        printf("  %-32s %s\n", left, opts[i].doc);
    }
}
