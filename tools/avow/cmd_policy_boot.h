/* cmd_policy_boot.h - boot policies out of firmware logs, and logs judged by them: parts of `avow
 * policy create`, `policy test` and `eventlog`. Layer: tools/avow. No broker. */
#ifndef AVOW_TOOLS_CMD_POLICY_BOOT_H
#define AVOW_TOOLS_CMD_POLICY_BOOT_H

#include "context.h"

#include "avow/core/boot_policy.h"

#define AVOW_BOOT_DETAILS_MAX (1024u * 1024u) /* of what is found in one log */

/* Options of `policy create boot`. */
struct avow_boot_create {
    struct avow_opt_list logs, lines, any_files;
    const char *pcrs; /* NULL: none */
    bool no_firmware, any_command;
};
/* True if one of them was given. */
bool avow_boot_create_given(const struct avow_boot_create *c);
/* Writes the policy to `out`, or to standard output. Errors: AVOW_USAGE, AVOW_IO, those of
 * avow_boot_policy_make. */
enum avow_rc avow_boot_create(const struct avow_boot_create *c, const char *out,
                              struct avow_err *err) AVOW_MUST_CHECK;

/* Reads a boot policy of any kind, in an envelope or not; its warnings go to stderr. Errors:
 * AVOW_IO, those of its reader with the name of the file. */
enum avow_rc avow_boot_policy_read(const char *file, struct avow_boot_policy **out,
                                   struct avow_err *err) AVOW_MUST_CHECK;
/* Judges the log by the policy and says so. *ok: nothing was found. */
enum avow_rc avow_boot_test(const struct avow_cli *cli, const char *policy, const char *log,
                            bool *ok, struct avow_err *err) AVOW_MUST_CHECK;

#endif
