/* conf_internal.h - what the parts of the configuration share. Layer: base, private. */
#ifndef AVOW_BASE_CONF_INTERNAL_H
#define AVOW_BASE_CONF_INTERNAL_H

#include "avow/base/conf.h"

#define AVOW_CONF_FILE_MAX (256u * 1024u)
#define AVOW_CONF_VALUE_MAX 4096u
#define AVOW_CONF_KEY_MAX 128u
#define AVOW_CONF_PASSTHROUGH_MAX 256u
#define AVOW_CONF_DROPINS_MAX 256u

struct avow_conf_value {
    char *text;      /* owned; NULL: unset */
    char *source;    /* owned */
    uint64_t number; /* U64, MS, BOOL */
    unsigned pass;   /* number of the file that set it, to find keys that stand twice in one */
};

struct avow_conf_pass {
    char *key; /* owned */
    struct avow_conf_value value;
};

struct avow_conf {
    const struct avow_conf_spec *spec;
    struct avow_conf_value *values; /* one per option */
    struct avow_conf_pass *passthrough;
    size_t passthrough_count;
    unsigned pass;
};

/* One assignment, wherever it comes from. `source` names it in messages and in --print-config. */
struct avow_conf_assign {
    struct avow_str section, key, value;
    const char *source;
    bool once; /* a second assignment in the same pass is an error */
};
enum avow_rc avow_conf_assign(struct avow_conf *c, const struct avow_conf_assign *a,
                              struct avow_err *err) AVOW_MUST_CHECK;

/* The INI text of a file: each assignment goes to `fn`. Messages begin with "name:line: ". */
typedef enum avow_rc avow_conf_ini_fn(void *arg, const struct avow_conf_assign *a,
                                      struct avow_err *err);
enum avow_rc avow_conf_ini_parse(const char *name, struct avow_str text, avow_conf_ini_fn *fn,
                                 void *arg, struct avow_err *err) AVOW_MUST_CHECK;

/* NULL if the table has no such option. */
const struct avow_conf_option *avow_conf_find_option(const struct avow_conf_spec *spec,
                                                     struct avow_str section, struct avow_str key);
/* Text of a typed value as a number; `why` receives what is wrong. STR and PATH give 0. */
bool avow_conf_check_value(const struct avow_conf_option *o, struct avow_str text, uint64_t *number,
                           char *why, size_t why_size) AVOW_MUST_CHECK;

/* Files of the configuration: `file` and its drop-ins, or those in /etc/avow. */
enum avow_rc avow_conf_load_files(struct avow_conf *c, const char *file,
                                  struct avow_err *err) AVOW_MUST_CHECK;
/* AVOW_SECTION_KEY variables. */
enum avow_rc avow_conf_load_environment(struct avow_conf *c, char *const *environ_,
                                        struct avow_err *err) AVOW_MUST_CHECK;

#endif
