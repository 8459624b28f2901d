/* cli.h - what every program's main shares: options, exit codes, signals. Layer: base. */
#ifndef AVOW_BASE_CLI_H
#define AVOW_BASE_CLI_H

#include "avow/base/conf.h"
#include "avow/base/err.h"

/* Exit codes of every program (docs: README). */
enum avow_exit {
    AVOW_EXIT_OK = 0,
    AVOW_EXIT_FAILED = 1,
    AVOW_EXIT_USAGE = 2,
    AVOW_EXIT_UNREACHABLE = 3,
    AVOW_EXIT_UNTRUSTED = 4,
    AVOW_EXIT_NOTFOUND = 5
};
/* USAGE and CONFIG are usage errors: the operator must change what he gave, a restart does not
 * help. */
enum avow_exit avow_exit_of(enum avow_rc rc);

/* What a daemon's command line asks for; --config, --set, --print-config, --check-config,
 * --sample-config,
 * --help, --version, --log-format, --log-level. */
struct avow_daemon_args {
    bool done; /* help, version, print-config or check-config was served: exit with `code` */
    enum avow_exit code;
    struct avow_conf *conf; /* owned by the caller; NULL when done */
};
/* Parses, loads the configuration and initialises the log. Prints usage errors to stderr. `about`:
 * one line. Log level and format: command line, else log.level and log.format if the table has
 * them, else AVOW_LOG_LEVEL and AVOW_LOG_FORMAT, else info and text. */
void avow_daemon_start(int argc, char **argv, const struct avow_conf_spec *spec, const char *about,
                       struct avow_daemon_args *out);

/* Installs handlers for SIGTERM and SIGINT that only set a flag; SIGPIPE is ignored. */
void avow_stop_install(void);
bool avow_stop_requested(void);
/* SIGHUP sets a flag instead of ending the program; take tells whether it came since the last time.
 */
void avow_hup_install(void);
bool avow_hup_take(void);

extern const char avow_version[]; /* "0.1.0" */

#endif
