/* context.h - what commands share: options, configuration, connection, output. Layer: tools/avow.
 * Everything is opened at first use, so that a command needs no more than it uses. */
#ifndef AVOW_TOOLS_CONTEXT_H
#define AVOW_TOOLS_CONTEXT_H

#include "avow/base/arena.h"
#include "avow/base/cli.h"
#include "avow/bus/bus.h"
#include "opts.h"
#include "trust_keeper.h"

#define AVOW_TOPIC_NAME_MAX 160u

enum avow_cli_format { AVOW_FORMAT_TABLE, AVOW_FORMAT_WIDE, AVOW_FORMAT_JSON };

/* What may stand before or after every command. */
struct avow_cli_globals {
    const char *config, *output, *log_level;
    struct avow_opt_list sets;
    bool help;
    bool version, print_config, check_config, sample_config; /* without a command only */
};

struct avow_cli {
    struct avow_cli_globals globals;
    struct avow_conf *conf; /* owned; NULL for offline commands */
    enum avow_cli_format format;
    bool color;             /* of standard output */
    struct avow_bus *bus;   /* owned; NULL until avow_cli_bus */
    bool on_mock;           /* known with bus */
    struct avow_root *root; /* owned; NULL until avow_cli_trust */
    struct avow_trust_keeper keeper;
    const struct avow_trust
        *trust;     /* keeper's; NULL until avow_cli_trust; replaced while following */
    char hint[400]; /* the next step, printed with the failure; "" if there is none */
};

/* The table of the CLI's configuration. */
extern const struct avow_conf_spec avow_cli_conf_spec;

void avow_cli_deinit(struct avow_cli *cli);
/* A broker is configured; nothing connects. Errors: AVOW_CONFIG with the next step. */
enum avow_rc avow_cli_check_broker(struct avow_cli *cli, struct avow_err *err) AVOW_MUST_CHECK;
/* Connects. Errors: AVOW_CONFIG (no bootstrap.servers), AVOW_UNREACHABLE within 8 s. */
enum avow_rc avow_cli_bus(struct avow_cli *cli, struct avow_err *err) AVOW_MUST_CHECK;
/* "<prefix><base>" into `out`. */
const char *avow_cli_topic(const struct avow_cli *cli, const char *base,
                           char out[AVOW_TOPIC_NAME_MAX]);
/* A path that the configuration must have: `key` of section [cli]. Errors: AVOW_CONFIG, which says
 * what it is for. */
enum avow_rc avow_cli_path(struct avow_cli *cli, const char *key, const char *what,
                           const char **out, struct avow_err *err) AVOW_MUST_CHECK;
/* A file that [cli] `key` names cannot be used: puts the key in front of the message. Returns
 * AVOW_CONFIG, because the operator must change what he gave. */
enum avow_rc avow_cli_bad_setting(struct avow_err *err, const char *key);
/* The tenant's signing key (configuration cli.tenant_key). */
enum avow_rc avow_cli_tenant_key(struct avow_cli *cli, struct avow_privkey **out,
                                 struct avow_err *err) AVOW_MUST_CHECK;
/* A record that the tenant key signed does not verify under the bundle: nobody would accept it.
 * Returns AVOW_CONFIG with the reason and the next step. */
enum avow_rc avow_cli_not_ours(struct avow_cli *cli, const char *role, struct avow_err *err);
/* Sends one record and waits for its acknowledgement. Errors: AVOW_UNREACHABLE when none comes. */
enum avow_rc avow_cli_produce(struct avow_cli *cli, const struct avow_bus_record *rec,
                              struct avow_err *err) AVOW_MUST_CHECK;

/* --- Diagnostics: stderr, one line each, cleaned (text.h). */
/* "avow: text" */
void avow_cli_note(const char *fmt, ...) AVOW_PRINTF(1, 2);
/* The next step for whoever reads the failure that is about to be returned. */
void avow_cli_hint(struct avow_cli *cli, const char *fmt, ...) AVOW_PRINTF(2, 3);
/* Prints the message and the hint; returns the exit code of `rc`. */
enum avow_exit avow_cli_fail(const struct avow_cli *cli, enum avow_rc rc,
                             const struct avow_err *err);
/* For a usage error: the message, and where help is. */
enum avow_exit avow_cli_usage(const char *command, const struct avow_err *err);
/* Nobody reads standard output any more: a pipe or terminal whose other end is closed. */
bool avow_cli_reader_left(void);

#endif
