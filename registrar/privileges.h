/* privileges.h - what the process no longer needs. Layer: registrar. */
#ifndef AVOW_REGISTRAR_PRIVILEGES_H
#define AVOW_REGISTRAR_PRIVILEGES_H

#include "avow/base/err.h"

/* No program that is started may gain privileges any more. Started as root with a `user`: becomes
 * it, with its groups and no capabilities; `user` NULL: stays, and says so in the log. Before
 * threads. Errors: AVOW_CONFIG (no such user, or not root and somebody else), AVOW_IO. */
enum avow_rc avow_privileges_drop(const char *user, struct avow_err *err) AVOW_MUST_CHECK;

#endif
