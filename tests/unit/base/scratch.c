#define _GNU_SOURCE /* mkdtemp, nftw */
#include "scratch.h"

#include "avow/base/file.h"

#include "check.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define PATH_SIZE 256

static char folder[64];
static struct {
    int fd, saved;
    FILE *file;
    char text[65536];
} capture;

int scratch_setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/avow-unit.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

int scratch_teardown(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_path(const char *name)
{
    static char paths[8][PATH_SIZE];
    static unsigned next;
    char *out = paths[next++ % 8];
    snprintf(out, PATH_SIZE, "%s/%s", folder, name);
    return out;
}

const char *scratch_write(const char *name, const char *text)
{
    const char *path = scratch_path(name);
    char parent[PATH_SIZE];
    snprintf(parent, sizeof parent, "%s", path);
    *strrchr(parent, '/') = '\0';
    assert_int_equal(avow_file_mkdirs(parent, 0700, NULL), AVOW_OK);
    assert_int_equal(avow_file_write(path, avow_bytes_make(text, strlen(text)), 0600, NULL),
                     AVOW_OK);
    return path;
}

void capture_begin(int fd)
{
    fflush(NULL);
    capture.fd = fd;
    capture.saved = dup(fd);
    capture.file = tmpfile();
    assert_non_null(capture.file);
    assert_true(capture.saved >= 0 && dup2(fileno(capture.file), fd) == fd);
}

const char *capture_end(void)
{
    fflush(NULL);
    assert_int_equal(dup2(capture.saved, capture.fd), capture.fd);
    close(capture.saved);
    rewind(capture.file);
    size_t n = fread(capture.text, 1, sizeof capture.text - 1, capture.file);
    capture.text[n] = '\0';
    fclose(capture.file);
    return capture.text;
}
