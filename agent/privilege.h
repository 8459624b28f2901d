/* privilege.h - gives up root once everything that needs it is open. Layer: agent.
 * Afterwards the process has one user and one group, no further groups, no capability in any set,
 * and no_new_privs: neither it nor a child gets anything back. */
#ifndef AVOW_AGENT_PRIVILEGE_H
#define AVOW_AGENT_PRIVILEGE_H

#include "avow/base/err.h"

#include <sys/types.h>

#define AVOW_PRIVILEGE_USER "avow" /* taken where agent.user is empty and the user exists */
#define AVOW_PRIVILEGE_USER_MAX 64u

struct avow_privilege {
    bool drop; /* root, and somebody to become */
    bool root; /* stays root */
    uid_t uid;
    gid_t gid;
    char user[AVOW_PRIVILEGE_USER_MAX];
};
/* `user`: agent.user. Errors: AVOW_CONFIG (no such user; or another user than the one who started
 * the agent, who is not root). */
enum avow_rc avow_privilege_plan(const char *user, struct avow_privilege *out,
                                 struct avow_err *err) AVOW_MUST_CHECK;
/* Makes the folder and its parents, and gives it and the named files in it to the user where they
 * are root's: `files` ends in NULL. Follows no symbolic link in what it gives away. Does nothing to
 * owners unless p->drop. Errors: AVOW_IO, AVOW_CONFIG (it belongs to a third user). */
enum avow_rc avow_privilege_folder(const struct avow_privilege *p, const char *path,
                                   const char *const *files, struct avow_err *err) AVOW_MUST_CHECK;
/* Once, before there are threads. Without p->drop only no_new_privs is set. Errors: AVOW_STATE (the
 * kernel refused, or something is left: the caller must end). */
enum avow_rc avow_privilege_drop(const struct avow_privilege *p,
                                 struct avow_err *err) AVOW_MUST_CHECK;
/* True if the user of the plan may read the file; asked in a child process, so that it is the
 * kernel's answer. errno tells why not. */
bool avow_privilege_can_read(const struct avow_privilege *p, const char *path);

#endif
