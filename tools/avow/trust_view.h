/* trust_view.h - the trust bundle as topic trust serves it, against what this machine has seen.
 * Layer: tools/avow. */
#ifndef AVOW_TOOLS_TRUST_VIEW_H
#define AVOW_TOOLS_TRUST_VIEW_H

#include "context.h"

/* Reads and verifies the newest bundle on topic trust (which implies avow_cli_bus); sets
 * cli->trust. The newest one seen is kept in the ledger, or in $XDG_STATE_HOME/avow.
 * Errors: AVOW_CONFIG (root key, topic prefix); AVOW_STATE if there is none; AVOW_ROLLBACK if it is
 * older than the one kept here; AVOW_UNTRUSTED if no record proves itself. */
enum avow_rc avow_cli_trust(struct avow_cli *cli, struct avow_err *err) AVOW_MUST_CHECK;
/* A record of topic trust that came while following: cli->trust may be replaced. */
void avow_cli_trust_offer(struct avow_cli *cli, const struct avow_bus_msg *msg);
/* Keeps the bundle in use as the newest one seen; a failure is a warning. */
void avow_cli_trust_keep(const struct avow_cli *cli, const struct avow_trust *t);
/* Loads [cli] root into cli->root, once. Errors: AVOW_CONFIG. */
enum avow_rc avow_cli_root(struct avow_cli *cli, struct avow_err *err) AVOW_MUST_CHECK;

#endif
