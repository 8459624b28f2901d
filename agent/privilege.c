#define _GNU_SOURCE /* setgroups, setresuid, syscall */
#include "privilege.h"

#include "avow/base/bytes.h"
#include "avow/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define CAPABILITIES_MAX 64
#define PATH_LEN_MAX 4096u

/* --- Who --- */

static void take(struct avow_privilege *p, const struct passwd *pw)
{
    p->uid = pw->pw_uid;
    p->gid = pw->pw_gid;
    avow_str_copy(p->user, sizeof p->user, avow_str_from(pw->pw_name));
}

/* Of /etc/passwd alone: the name service would load its modules into this process, for good. */
static const struct passwd *local_user(const char *name, uid_t uid)
{
    const struct passwd *found = NULL, *pw;
    FILE *f = fopen("/etc/passwd", "re");
    if (!f)
        return NULL;
    while (!found && (pw = fgetpwent(f)))
        if (name ? avow_cstr_eq(pw->pw_name, name) : pw->pw_uid == uid)
            found = pw;
    (void)fclose(f);
    return found; /* in static storage, until the next call */
}

static enum avow_rc plan_as_user(const char *user, struct avow_privilege *p, struct avow_err *err)
{
    p->uid = geteuid();
    p->gid = getegid();
    const struct passwd *pw = local_user(NULL, p->uid);
    if (!pw)
        pw = getpwuid(p->uid);
    if (pw)
        take(p, pw);
    if (*user && !avow_cstr_eq(user, p->user))
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "agent.user is %.64s, but avow-agent was started by %s: start it as "
                            "root, or leave agent.user empty",
                            user, p->user[0] ? p->user : "a user without a name");
    return AVOW_OK;
}

enum avow_rc avow_privilege_plan(const char *user, struct avow_privilege *out, struct avow_err *err)
{
    *out = (struct avow_privilege){.drop = false};
    if (geteuid() != 0)
        return plan_as_user(user, out, err);
    const char *name = *user ? user : AVOW_PRIVILEGE_USER;
    const struct passwd *pw = local_user(name, 0);
    if (!pw && *user)
        pw = getpwnam(name);
    if (pw && pw->pw_uid != 0) {
        take(out, pw);
        out->drop = true;
        return AVOW_OK;
    }
    if (!pw && *user)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "agent.user: there is no user %.64s; make one with `useradd --system "
                            "--no-create-home --shell /usr/sbin/nologin %.64s`",
                            user, user);
    out->root = true;
    avow_str_copy(out->user, sizeof out->user, avow_str_from("root"));
    return AVOW_OK;
}

/* --- Folders --- */

static enum avow_rc io(const char *path, struct avow_err *err)
{
    return avow_err_set(err, AVOW_IO, errno, "%s: %s", path, strerror(errno));
}

/* /var/lib/avow of /var/lib/avow/agent: whoever may look for the folder has to get there. */
static enum avow_rc make_parents(const char *path, struct avow_err *err)
{
    char parent[PATH_LEN_MAX];
    if (!avow_str_copy(parent, sizeof parent, avow_str_from(path)))
        return avow_err_set(err, AVOW_CONFIG, 0, "%.64s...: the path is too long", path);
    char *slash = strrchr(parent, '/');
    while (slash && slash > parent && !slash[1]) { /* slashes at the end */
        *slash = '\0';
        slash = strrchr(parent, '/');
    }
    if (!slash || slash == parent)
        return AVOW_OK;
    *slash = '\0';
    return avow_file_mkdirs(parent, 0755, err);
}

static enum avow_rc give_fd(const struct avow_privilege *p, int fd, const char *path,
                            struct avow_err *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return io(path, err);
    if (st.st_uid == p->uid)
        return AVOW_OK;
    /* A second name of a file may stand where others rely on it. */
    if (st.st_uid != 0 || (S_ISREG(st.st_mode) && st.st_nlink != 1))
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "%s belongs to another user: give it to %s, or choose another folder",
                            path, p->user);
    return fchown(fd, p->uid, p->gid) ? io(path, err) : AVOW_OK;
}

static enum avow_rc give_file(const struct avow_privilege *p, int dir, const char *path,
                              const char *name, struct avow_err *err)
{
    char text[PATH_LEN_MAX];
    (void)snprintf(text, sizeof text, "%s/%s", path, name);
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? AVOW_OK : io(text, err);
    enum avow_rc rc = give_fd(p, fd, text, err);
    close(fd);
    return rc;
}

/* ak.blob, ak.blob.old, and the temporary files of avow_file_write. */
static bool is_ours(const char *name, const char *const *files)
{
    for (size_t i = 0; files[i]; i++) {
        size_t len = strlen(files[i]);
        if (!strncmp(name, files[i], len) && (!name[len] || name[len] == '.'))
            return true;
    }
    return avow_cstr_eq(name, ".") || avow_cstr_eq(name, "..");
}

/* agent.state_dir = /tmp must not hand /tmp over. */
static enum avow_rc check_own(int fd, const char *path, const char *const *files,
                              struct avow_err *err)
{
    int again = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    DIR *dir = again < 0 ? NULL : fdopendir(again);
    if (!dir) {
        enum avow_rc rc = io(path, err);
        if (again >= 0)
            close(again);
        return rc;
    }
    const struct dirent *e;
    enum avow_rc rc = AVOW_OK;
    while (!rc && (e = readdir(dir)))
        if (!is_ours(e->d_name, files))
            rc = avow_err_set(err, AVOW_CONFIG, 0,
                              "%s holds other files, as %.64s: give avow-agent a folder of its own",
                              path, e->d_name);
    closedir(dir);
    return rc;
}

enum avow_rc avow_privilege_folder(const struct avow_privilege *p, const char *path,
                                   const char *const *files, struct avow_err *err)
{
    enum avow_rc rc = make_parents(path, err);
    if (!rc)
        rc = avow_file_mkdirs(path, 0700, err);
    if (rc || !p->drop)
        return rc;
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return io(path, err);
    rc = check_own(dir, path, files, err);
    for (size_t i = 0; files[i] && !rc; i++)
        rc = give_file(p, dir, path, files[i], err);
    if (!rc)
        rc = give_fd(p, dir, path, err);
    close(dir);
    return rc;
}

/* --- Giving up --- */

static enum avow_rc refused(const char *what, struct avow_err *err)
{
    return avow_err_set(err, AVOW_STATE, errno,
                        "privileges: %s: %s; CAP_SETUID, CAP_SETGID and CAP_SETPCAP are needed "
                        "to give root up",
                        what, strerror(errno));
}

/* glibc has no wrapper; libcap would be a library for two calls. */
static int set_no_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return (int)syscall(SYS_capset, &head, none);
}

static bool has_no_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (syscall(SYS_capget, &head, have))
        return false;
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        if (have[i].effective || have[i].permitted || have[i].inheritable)
            return false;
    for (int cap = 0; cap < CAPABILITIES_MAX; cap++)
        if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) > 0)
            return false;
    return true;
}

static enum avow_rc empty_bounding_set(struct avow_err *err)
{
    for (int cap = 0; cap < CAPABILITIES_MAX; cap++) {
        int had = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
        if (had < 0)
            break; /* the kernel knows no more */
        if (had && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0))
            return refused("bounding set", err);
    }
    /* Kernels before 4.3 have none. */
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
        return refused("ambient set", err);
    return AVOW_OK;
}

static enum avow_rc become(const struct avow_privilege *p, struct avow_err *err)
{
    if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0))
        return refused("keepcaps", err);
    if (setgroups(0, NULL))
        return refused("setgroups", err);
    if (setresgid(p->gid, p->gid, p->gid))
        return refused("setresgid", err);
    if (setresuid(p->uid, p->uid, p->uid))
        return refused("setresuid", err);
    if (set_no_capabilities())
        return refused("capset", err);
    return AVOW_OK;
}

/* What a kernel or a sandbox may have ignored. */
static bool is_gone(const struct avow_privilege *p)
{
    uid_t r, e, s;
    gid_t gr, ge, gs;
    if (getresuid(&r, &e, &s) || getresgid(&gr, &ge, &gs))
        return false;
    return r == p->uid && e == p->uid && s == p->uid && gr == p->gid && ge == p->gid &&
           gs == p->gid && getgroups(0, NULL) == 0 && setuid(0) == -1 && has_no_capabilities() &&
           prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
}

enum avow_rc avow_privilege_drop(const struct avow_privilege *p, struct avow_err *err)
{
    enum avow_rc rc = p->drop ? empty_bounding_set(err) : AVOW_OK;
    if (!rc && p->drop)
        rc = become(p, err);
    if (rc)
        return rc;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return refused("no_new_privs", err);
    if (p->drop && !is_gone(p))
        return avow_err_set(err, AVOW_STATE, 0, "privileges: some are left after giving them up");
    return AVOW_OK;
}

bool avow_privilege_can_read(const struct avow_privilege *p, const char *path)
{
    if (!p->drop)
        return access(path, R_OK) == 0;
    pid_t child = fork();
    if (child < 0)
        return false;
    if (child == 0) {
        int why = 0;
        if (setgroups(0, NULL) || setresgid(p->gid, p->gid, p->gid) ||
            setresuid(p->uid, p->uid, p->uid) || access(path, R_OK))
            why = errno;
        _exit(why & 0x7F);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
    return errno == 0;
}
