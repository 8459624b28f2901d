/* conf.h - configuration as a table: file, drop-ins, environment, --set; unknown keys are errors.
 * Layer: base. Files are INI: `[section]`, `key = value`, `#` comments; a value may be quoted with
 * "". Order, later wins: defaults, /etc/avow/NAME.conf, /etc/avow/NAME.conf.d/ *.conf (sorted),
 * environment AVOW_SECTION_KEY (dots become underscores, upper case), --set section.key=value. With
 * --config FILE only that file and FILE.d/ *.conf are read instead of /etc/avow. A comment begins
 * with '#' at the start or after a blank; in quotes, \" and \\ are escapes. Durations (MS) are a
 * number with ms, s, m, h or d; without a unit, milliseconds. An empty value unsets an option that
 * has no default and is "" for a text option that has one. A key that stands twice in one file is
 * an error, and so is a variable AVOW_<PROGRAM>_X that the program does not know (other sections
 * are shared with other programs). */
#ifndef AVOW_BASE_CONF_H
#define AVOW_BASE_CONF_H

#include "avow/base/buf.h"

enum avow_conf_type {
    AVOW_CONF_STR,
    AVOW_CONF_PATH,
    AVOW_CONF_U64,
    AVOW_CONF_MS,
    AVOW_CONF_BOOL,
    AVOW_CONF_ENUM
};

struct avow_conf_option {
    const char *section; /* "agent" */
    const char *key;     /* "state_dir"; dots allowed */
    enum avow_conf_type type;
    const char *def;    /* default as text; NULL: unset */
    uint64_t min, max;  /* U64, MS */
    const char *values; /* ENUM: "a|b|c" */
    const char *doc;    /* one line */
    const char *env;    /* further environment name, or NULL */
};

/* A section whose keys are not in the table but passed through, e.g. "kafka"; environment
 * AVOW_KAFKA_X_Y gives key "x.y". */
struct avow_conf; /* opaque, immutable after load */
struct avow_conf_spec {
    const char *program; /* "avow-agent"; files are /etc/avow/<name>.conf without "avow-" */
    const struct avow_conf_option *options;
    size_t count;
    const char *passthrough; /* section name or NULL */
    /* What no single value shows (two that contradict each other), or NULL. `notes` receives lines
     * worth knowing; --check-config prints them. Errors: AVOW_CONFIG. */
    enum avow_rc (*check)(const struct avow_conf *c, struct avow_buf *notes, struct avow_err *err);
};

/* `file`: --config or NULL. `sets`: n strings "section.key=value". `environ_`: NULL-terminated as
 * environ. Errors: AVOW_CONFIG, with file:line or the variable's name in the message. */
enum avow_rc avow_conf_load(const struct avow_conf_spec *spec, const char *file,
                            const char *const *sets, size_t n, char *const *environ_,
                            struct avow_conf **out, struct avow_err *err) AVOW_MUST_CHECK;
void avow_conf_free(struct avow_conf *c);

/* The option must be in the table (asserted). NULL if unset; never NULL if it has a default.
 * Borrowed. */
const char *avow_conf_str(const struct avow_conf *c, const char *section, const char *key);
uint64_t avow_conf_u64(const struct avow_conf *c, const char *section, const char *key);
bool avow_conf_bool(const struct avow_conf *c, const char *section, const char *key);
/* Where the value comes from: "file:line", "environment NAME", "--set" or "default". Also for keys
 * of the pass-through section; NULL if such a key is not set. Borrowed. */
const char *avow_conf_source(const struct avow_conf *c, const char *section, const char *key);
/* Calls fn for each pass-through key in order. */
void avow_conf_each_passthrough(const struct avow_conf *c,
                                void (*fn)(void *arg, const char *key, const char *value),
                                void *arg);
/* Every effective value and where it came from, one a line: `section.key = value  # source`; values
 * of keys that end in password or secret are shown as ***. */
void avow_conf_print(const struct avow_conf *c, struct avow_buf *out);
/* Sample file: every option with its doc and default, commented out. */
void avow_conf_sample(const struct avow_conf_spec *spec, struct avow_buf *out);

#endif
