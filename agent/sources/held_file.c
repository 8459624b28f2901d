#define _GNU_SOURCE /* pread, O_CLOEXEC */
#include "sources/held_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "avow/base/banned.h"

static enum avow_rc failed(const char *path, int error, struct avow_err *err)
{
    const char *next = error == EACCES || error == EPERM
                           ? "; start avow-agent as root, it gives the rights up by itself"
                           : "";
    return avow_err_set(err, error == ENOENT || error == ENOTDIR ? AVOW_NOTFOUND : AVOW_IO, error,
                        "%s: %s%s", path, strerror(error), next);
}

enum avow_rc avow_held_init(struct avow_held_file *f, const char *path, struct avow_err *err)
{
    size_t size = strlen(path) + 1;
    *f = (struct avow_held_file){.path = malloc(size), .fd = -1};
    if (!f->path)
        return avow_err_set(err, AVOW_NOMEM, 0, "%s", path);
    memcpy(f->path, path, size);
    return AVOW_OK;
}

static void close_file(struct avow_held_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

void avow_held_deinit(struct avow_held_file *f)
{
    close_file(f);
    free(f->path);
    f->path = NULL;
}

static enum avow_rc open_file(struct avow_held_file *f, struct avow_err *err)
{
    struct stat st;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        return failed(f->path, error, err);
    }
    close_file(f);
    f->fd = fd;
    f->dev = st.st_dev;
    f->ino = st.st_ino;
    f->size = st.st_size > 0 ? (uint64_t)st.st_size : 0;
    return AVOW_OK;
}

enum avow_rc avow_held_look(struct avow_held_file *f, bool *changed, struct avow_err *err)
{
    struct stat st;
    bool had = f->fd >= 0;
    *changed = false;
    if (stat(f->path, &st)) {
        int error = errno;
        if (error == ENOENT || error == ENOTDIR)
            close_file(f); /* what is not there cannot have been kept */
        return failed(f->path, error, err);
    }
    if (had && st.st_dev == f->dev && st.st_ino == f->ino) {
        f->size = st.st_size > 0 ? (uint64_t)st.st_size : 0;
        return AVOW_OK;
    }
    enum avow_rc rc = open_file(f, err);
    *changed = had && !rc;
    return rc;
}

enum avow_rc avow_held_read(const struct avow_held_file *f, uint8_t *out, size_t size, uint64_t at,
                            size_t *got, struct avow_err *err)
{
    ssize_t n;
    do {
        n = pread(f->fd, out, size, (off_t)at);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return failed(f->path, errno, err);
    *got = (size_t)n;
    return AVOW_OK;
}
