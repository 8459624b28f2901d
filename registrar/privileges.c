#include "privileges.h"

#include "avow/base/log.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "avow/base/banned.h"

enum avow_rc avow_privileges_drop(const char *user, struct avow_err *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return avow_err_set(err, AVOW_IO, errno, "no_new_privs: %s", strerror(errno));
    if (!user) {
        if (geteuid() == 0)
            avow_log(WARN, "config.note",
                     AVOW_KV_STR("note", "running as root: set registrar.user"));
        return AVOW_OK;
    }
    errno = 0;
    const struct passwd *pw = getpwnam(user);
    if (!pw)
        return avow_err_set(err, AVOW_CONFIG, errno, "registrar.user: there is no user %s", user);
    if (geteuid() == pw->pw_uid)
        return AVOW_OK;
    if (geteuid() != 0)
        return avow_err_set(err, AVOW_CONFIG, 0, "registrar.user: only root can become %s", user);
    /* In this order: without root the groups could not be changed any more. Leaving uid 0 clears
     * the capabilities. */
    if (initgroups(user, pw->pw_gid) || setgid(pw->pw_gid) || setuid(pw->pw_uid))
        return avow_err_set(err, AVOW_IO, errno, "cannot become %s: %s", user, strerror(errno));
    if (setuid(0) == 0)
        return avow_err_set(err, AVOW_IO, 0, "root came back after becoming %s", user);
    return AVOW_OK;
}
