/* boot_make.h - a boot policy out of firmware logs of machines that are known to be good. Layer:
 * core. Pure; thread-safe. Language: docs/BOOT-POLICY.md. */
#ifndef AVOW_CORE_BOOT_MAKE_H
#define AVOW_CORE_BOOT_MAKE_H

#include "avow/base/buf.h"
#include "avow/base/err.h"

#define AVOW_BOOT_MAKE_LOGS_MAX 64u

struct avow_boot_make { /* borrows */
    const struct avow_bytes *logs;
    size_t logs_count;
    bool no_firmware;         /* leave out PCR 0 and 2 */
    bool any_command;         /* accept whatever GRUB runs but command lines */
    const char *const *lines; /* expressions for command lines, in place of the logs' */
    size_t lines_count;
    const char *const *any_files; /* files of PCR 9 whose name has this text are not judged */
    size_t any_files_count;
    uint32_t sequences; /* bit i: PCR i too, event by event */
};
/* Appends a policy that every one of the logs passes: it is judged before it is handed out. What
 * the logs do not have in common becomes an alternative. The same input gives the same bytes.
 * Errors: AVOW_PARSE (a log is none, or contradicts itself; an expression is none), AVOW_LIMIT,
 * AVOW_REFUSED (a log would not pass; the message has its first complaint), AVOW_NOMEM; the message
 * begins with "log N", from 1. */
enum avow_rc avow_boot_policy_make(const struct avow_boot_make *in, struct avow_buf *out,
                                   struct avow_err *err) AVOW_MUST_CHECK;

#endif
