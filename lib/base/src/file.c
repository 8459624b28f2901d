#define _GNU_SOURCE /* mkostemp, O_CLOEXEC */
#include "avow/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define READ_CHUNK 65536u

static enum avow_rc io_error(struct avow_err *err, const char *what, const char *path)
{
    int native = errno;
    return avow_err_set(err, AVOW_IO, native, "%s %s: %s", what, path, strerror(native));
}

static enum avow_rc read_all(int fd, const char *path, struct avow_buf *out, struct avow_err *err)
{
    for (;;) {
        uint8_t chunk[READ_CHUNK];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return io_error(err, "read", path);
        if (n == 0)
            return AVOW_OK;
        avow_buf_put(out, chunk, (size_t)n);
        enum avow_rc rc = avow_buf_status(out, err);
        if (rc)
            return avow_err_wrap(err, rc, "read %s", path);
    }
}

enum avow_rc avow_file_read(const char *path, struct avow_buf *out, struct avow_err *err)
{
    const size_t start = out->len;
    if (avow_cstr_eq(path, "-")) {
        enum avow_rc rc = read_all(STDIN_FILENO, "standard input", out, err);
        if (rc)
            out->len = start;
        return rc;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return io_error(err, "open", path);
    enum avow_rc rc = read_all(fd, path, out, err);
    close(fd);
    if (rc)
        out->len = start;
    return rc;
}

static bool write_all(int fd, struct avow_bytes data)
{
    while (data.len) {
        ssize_t n = write(fd, data.ptr, data.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data.ptr += n;
        data.len -= (size_t)n;
    }
    return true;
}

/* "dir/file" -> "dir", "file" -> "."; false if it does not fit. */
static bool parent_of(const char *path, char out[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return avow_str_copy(out, PATH_MAX, AVOW_STR_LIT("."));
    size_t len = slash == path ? 1 : (size_t)(slash - path);
    return avow_str_copy(out, PATH_MAX, (struct avow_str){path, len});
}

/* The new name is durable only when its folder is. */
static bool sync_folder(const char *path)
{
    char dir[PATH_MAX];
    if (!parent_of(path, dir)) {
        errno = ENAMETOOLONG;
        return false;
    }
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    int failed = fsync(fd);
    int saved = errno;
    close(fd);
    errno = saved;
    return !failed || saved == EINVAL; /* EINVAL: a file system without folders to sync */
}

static bool fill_temporary(int fd, struct avow_bytes data, unsigned mode)
{
    bool ok = !fchmod(fd, (mode_t)mode) && write_all(fd, data) && !fsync(fd);
    int saved = errno;
    if (close(fd) && ok)
        return false;
    errno = saved;
    return ok;
}

enum avow_rc avow_file_write(const char *path, struct avow_bytes data, unsigned mode,
                             struct avow_err *err)
{
    char tmp[PATH_MAX];
    int n = snprintf(tmp, sizeof tmp, "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof tmp)
        return avow_err_set(err, AVOW_IO, ENAMETOOLONG, "write %s: the name is too long", path);
    int fd = mkostemp(tmp, O_CLOEXEC); /* mode 0600 until it is complete */
    if (fd < 0)
        return io_error(err, "create a file beside", path);
    if (!fill_temporary(fd, data, mode) || rename(tmp, path)) {
        enum avow_rc rc = io_error(err, "write", path);
        unlink(tmp);
        return rc;
    }
    return sync_folder(path) ? AVOW_OK : io_error(err, "sync the folder of", path);
}

static bool make_folder(const char *path, unsigned mode)
{
    struct stat st;
    if (!mkdir(path, (mode_t)mode))
        return true;
    if (errno != EEXIST && errno != EROFS) /* a read-only parent may say EROFS before EEXIST */
        return false;
    int saved = errno;
    if (stat(path, &st)) {
        errno = saved;
        return false;
    }
    errno = ENOTDIR;
    return S_ISDIR(st.st_mode);
}

enum avow_rc avow_file_mkdirs(const char *path, unsigned mode, struct avow_err *err)
{
    char part[PATH_MAX];
    if (!*path || !avow_str_copy(part, sizeof part, avow_str_from(path)))
        return avow_err_set(err, AVOW_IO, *path ? ENAMETOOLONG : ENOENT,
                            "make folder %.100s: bad name", path);
    for (char *p = part + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (!make_folder(part, mode))
            return io_error(err, "make folder", part);
        *p = '/';
    }
    return make_folder(part, mode) ? AVOW_OK : io_error(err, "make folder", path);
}

bool avow_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}
