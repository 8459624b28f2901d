/* daemon.c - the command line that all daemons have (cli.h). */
#define _GNU_SOURCE /* environ */
#include "avow/base/cleanup.h"
#include "avow/base/cli.h"
#include "avow/base/log.h"
#include "conf_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define SETS_MAX 256u
#define OUTPUT_MAX (1024u * 1024u)

enum action { RUN, PRINT_CONFIG, CHECK_CONFIG, SAMPLE_CONFIG, HELP, VERSION };

struct request {
    enum action action;
    const char *config;
    const char *log_format;
    const char *log_level;
    const char *sets[SETS_MAX];
    size_t set_count;
};

static const struct {
    const char *name;
    const char *argument; /* NULL: none */
    enum action action;   /* if there is no argument */
    const char *doc;
} flags[] = {
    {"--config", "FILE", RUN, "read FILE and FILE.d/*.conf instead of the files in /etc/avow"},
    {"--set", "SECTION.KEY=VALUE", RUN, "set one value; wins over files and environment"},
    {"--log-level", "LEVEL", RUN, "error, warn, info or debug"},
    {"--log-format", "FORMAT", RUN, "text or json"},
    {"--print-config", NULL, PRINT_CONFIG, "show the effective values and where they come from"},
    {"--check-config", NULL, CHECK_CONFIG, "exit 0 if the configuration is good"},
    {"--sample-config", NULL, SAMPLE_CONFIG, "print a commented configuration file"},
    {"--version", NULL, VERSION, "print the version"},
    {"--help", NULL, HELP, "print this"},
};

static void put_help(const struct avow_conf_spec *spec, const char *about, struct avow_buf *out)
{
    avow_buf_printf(out, "%s - %s\n\nusage: %s [OPTION...]\n", spec->program, about, spec->program);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(flags); i++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", flags[i].name, flags[i].argument ? " " : "",
                 flags[i].argument ? flags[i].argument : "");
        avow_buf_printf(out, "  %-26s %s\n", left, flags[i].doc);
    }
    avow_buf_put_str(out, "\nsettings (file, environment AVOW_SECTION_KEY, --set):\n");
    for (size_t i = 0; i < spec->count; i++) {
        const struct avow_conf_option *o = &spec->options[i];
        avow_buf_printf(out, "  %s.%s", o->section, o->key);
        if (o->def)
            avow_buf_printf(out, " = %s", o->def);
        avow_buf_printf(out, "\n        %s\n", o->doc);
    }
    if (spec->passthrough)
        avow_buf_printf(out, "  %s.*\n        handed on as they are\n", spec->passthrough);
}

static bool usage_error(const struct avow_conf_spec *spec, const char *what, const char *word)
{
    fprintf(stderr, "%s: %s%s\ntry '%s --help'\n", spec->program, what, word, spec->program);
    return false;
}

static bool take_argument(struct request *r, const struct avow_conf_spec *spec, const char *name,
                          const char *value)
{
    if (avow_cstr_eq(name, "--config"))
        r->config = value;
    else if (avow_cstr_eq(name, "--log-level"))
        r->log_level = value;
    else if (avow_cstr_eq(name, "--log-format"))
        r->log_format = value;
    else if (r->set_count < SETS_MAX)
        r->sets[r->set_count++] = value;
    else
        return usage_error(spec, "too many --set", "");
    return true;
}

/* One option at argv[*i]; its value is behind '=' or in the next word. */
static bool parse_flag(struct request *r, const struct avow_conf_spec *spec, int argc, char **argv,
                       int *i)
{
    struct avow_str word = avow_str_from(argv[*i]);
    const char *eq = strchr(argv[*i], '=');
    struct avow_str name = {word.ptr, eq ? (size_t)(eq - word.ptr) : word.len};
    for (size_t k = 0; k < AVOW_ARRAY_LEN(flags); k++) {
        if (!avow_str_is(name, flags[k].name))
            continue;
        if (!flags[k].argument) {
            if (eq)
                return usage_error(spec, "no value belongs to ", flags[k].name);
            r->action = flags[k].action;
            return true;
        }
        if (!eq && *i + 1 >= argc)
            return usage_error(spec, "a value is missing after ", flags[k].name);
        return take_argument(r, spec, flags[k].name, eq ? eq + 1 : argv[++*i]);
    }
    return usage_error(spec, "unknown option ", argv[*i]);
}

static bool parse_command_line(struct request *r, const struct avow_conf_spec *spec, int argc,
                               char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!parse_flag(r, spec, argc, argv, &i))
            return false;
    return true;
}

static void finish(struct avow_daemon_args *out, enum avow_exit code)
{
    *out = (struct avow_daemon_args){.done = true, .code = code};
}

/* Prints what was collected; a full disk behind stdout is a failure. */
static enum avow_exit print_out(struct avow_buf *text)
{
    if (avow_buf_status(text, NULL) || fputs(avow_buf_cstr(text), stdout) < 0 || fflush(stdout))
        return AVOW_EXIT_FAILED;
    return AVOW_EXIT_OK;
}

/* The command line wins over log.level and log.format, if the table has them, and over
 * AVOW_LOG_LEVEL and AVOW_LOG_FORMAT. */
static const char *log_setting(const struct avow_conf *c, const char *flag, const char *key,
                               const char *variable)
{
    if (flag)
        return flag;
    if (avow_conf_find_option(c->spec, AVOW_STR_LIT("log"), avow_str_from(key)))
        return avow_conf_str(c, "log", key);
    return getenv(variable);
}

static bool start_log(const struct request *r, const struct avow_conf *c)
{
    enum avow_log_level level = AVOW_LOG_INFO;
    enum avow_log_format format = AVOW_LOG_TEXT;
    const char *level_text = log_setting(c, r->log_level, "level", "AVOW_LOG_LEVEL");
    const char *format_text = log_setting(c, r->log_format, "format", "AVOW_LOG_FORMAT");
    if (level_text && !avow_log_level_parse(level_text, &level))
        return usage_error(c->spec, "the log level is error, warn, info or debug, not ",
                           level_text);
    if (format_text && !avow_log_format_parse(format_text, &format))
        return usage_error(c->spec, "the log format is text or json, not ", format_text);
    avow_log_init(c->spec->program, level, format);
    return true;
}

/* The program's own check. False: refused, and said why. */
static bool check_config(const struct avow_conf *c, struct avow_buf *notes)
{
    struct avow_err err;
    if (!c->spec->check || !c->spec->check(c, notes, &err))
        return true;
    fprintf(stderr, "%s: %s\n", c->spec->program, err.msg);
    return false;
}

static void serve_config(const struct request *r, struct avow_conf *c, struct avow_buf *text,
                         struct avow_daemon_args *out)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf notes;
    avow_buf_init(&notes, OUTPUT_MAX);
    bool fine = start_log(r, c);
    if (!fine || (r->action != PRINT_CONFIG && !check_config(c, &notes))) {
        avow_conf_free(c);
        finish(out, AVOW_EXIT_USAGE);
        return;
    }
    if (r->action == RUN) {
        *out = (struct avow_daemon_args){.conf = c};
        return;
    }
    if (r->action == PRINT_CONFIG)
        avow_conf_print(c, text);
    else
        avow_buf_put(text, notes.ptr, notes.len);
    avow_conf_free(c);
    finish(out, print_out(text));
}

void avow_daemon_start(int argc, char **argv, const struct avow_conf_spec *spec, const char *about,
                       struct avow_daemon_args *out)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    struct request r = {.action = RUN};
    struct avow_conf *c = NULL;
    struct avow_err err;
    avow_buf_init(&text, OUTPUT_MAX);
    if (!parse_command_line(&r, spec, argc, argv)) {
        finish(out, AVOW_EXIT_USAGE);
        return;
    }
    if (r.action == HELP)
        put_help(spec, about, &text);
    else if (r.action == VERSION)
        avow_buf_printf(&text, "%s %s\n", spec->program, avow_version);
    else if (r.action == SAMPLE_CONFIG)
        avow_conf_sample(spec, &text);
    if (text.len) {
        finish(out, print_out(&text));
        return;
    }
    enum avow_rc rc = avow_conf_load(spec, r.config, r.sets, r.set_count, environ, &c, &err);
    if (rc) {
        fprintf(stderr, "%s: %s\n", spec->program, err.msg);
        finish(out, avow_exit_of(rc));
        return;
    }
    serve_config(&r, c, &text, out);
}
