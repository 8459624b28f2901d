#include "vectors.h"

#include "avow/base/file.h"

#include "cmocka_all.h"

#include <dirent.h>

#include "avow/base/banned.h"

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

void vectors_list(struct vectors *out)
{
    DIR *dir = opendir(AVOW_TEST_VECTORS "/wire");
    assert_non_null(dir);
    out->count = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        size_t len = strlen(e->d_name);
        if (len < 5 || strcmp(e->d_name + len - 4, ".bin"))
            continue;
        assert_true(out->count < VECTORS_MAX && len < sizeof out->name[0]);
        memcpy(out->name[out->count], e->d_name, len - 4);
        out->name[out->count++][len - 4] = '\0';
    }
    closedir(dir);
    assert_true(out->count > 0);
    qsort(out->name, out->count, sizeof out->name[0], by_name);
}

struct avow_buf vectors_read(const char *name, const char *suffix)
{
    char path[512];
    struct avow_buf b;
    struct avow_err err = {.rc = AVOW_OK};
    snprintf(path, sizeof path, "%s/wire/%s%s", AVOW_TEST_VECTORS, name, suffix);
    avow_buf_init(&b, 1u << 20);
    if (avow_file_read(path, &b, &err))
        fail_msg("%s", err.msg);
    return b;
}
