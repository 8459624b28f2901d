/* vec.h - reads a test vector. */
#ifndef AVOW_TESTS_FORMATS_VEC_H
#define AVOW_TESTS_FORMATS_VEC_H

#include "avow/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static inline void vec_read(const char *name, struct avow_buf *out)
{
    struct avow_err err = {0};
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", AVOW_TEST_VECTORS, name);
    avow_buf_init(out, 1u << 20);
    if (avow_file_read(path, out, &err))
        fail_msg("%s", err.msg);
}

#endif
