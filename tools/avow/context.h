/* context.h - what commands share: configuration, connection, trust, output. Layer: tools/avow.
 * Everything is opened at first use, so that offline commands need nothing. */
#ifndef AVOW_TOOLS_CONTEXT_H
#define AVOW_TOOLS_CONTEXT_H

#include "avow/base/arena.h"
#include "avow/base/cli.h"
#include "avow/bus/bus.h"
#include "avow/trust/bundle.h"
#include "opts.h"

#define AVOW_TOPIC_NAME_MAX 160u

enum avow_cli_format { AVOW_FORMAT_TABLE, AVOW_FORMAT_WIDE, AVOW_FORMAT_JSON };

struct avow_cli {
    struct avow_conf *conf;
    enum avow_cli_format format;
    bool color;
    struct avow_bus *bus;     /* owned; NULL until avow_cli_bus */
    bool on_mock;             /* known with bus */
    struct avow_trust *trust; /* owned; NULL until avow_cli_trust */
};

/* The table of the CLI's configuration. */
extern const struct avow_conf_spec avow_cli_conf_spec;

void avow_cli_deinit(struct avow_cli *cli);
/* Connects. Errors: AVOW_CONFIG (no bootstrap.servers), AVOW_UNREACHABLE. */
enum avow_rc avow_cli_bus(struct avow_cli *cli, struct avow_err *err) AVOW_MUST_CHECK;
/* Reads and verifies the newest bundle on topic trust (which implies avow_cli_bus). A bundle older
 * than the one this machine has seen is AVOW_ROLLBACK. Errors: AVOW_NOTFOUND if there is none. */
enum avow_rc avow_cli_trust(struct avow_cli *cli, struct avow_err *err) AVOW_MUST_CHECK;
/* "<prefix><base>" into `out`. */
const char *avow_cli_topic(const struct avow_cli *cli, const char *base,
                           char out[AVOW_TOPIC_NAME_MAX]);
/* The tenant's signing key (configuration cli.tenant_key). */
enum avow_rc avow_cli_tenant_key(const struct avow_cli *cli, struct avow_privkey **out,
                                 struct avow_err *err) AVOW_MUST_CHECK;
/* Sends one record and waits for its acknowledgement. */
enum avow_rc avow_cli_produce(struct avow_cli *cli, const struct avow_bus_record *rec,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* Keeps a copy of a record that this CLI signed (configuration cli.ledger; unset: none kept). */
enum avow_rc avow_cli_ledger_put(const struct avow_cli *cli, const char *topic, const char *key,
                                 uint64_t generation, struct avow_bytes record,
                                 struct avow_err *err) AVOW_MUST_CHECK;

/* Prints "avow: message" and a hint for the next step on stderr; returns the exit code of `rc`. */
enum avow_exit avow_cli_fail(enum avow_rc rc, const struct avow_err *err);
/* For a usage error: the message, and where help is. */
enum avow_exit avow_cli_usage(const char *command, const struct avow_err *err);

#endif
