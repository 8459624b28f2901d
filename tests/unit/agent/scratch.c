#define _GNU_SOURCE /* mkdtemp */
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "avow/base/banned.h"

void scratch_open(struct scratch *s, const char *const *names, size_t n)
{
    snprintf(s->dir, sizeof s->dir, "/tmp/avow-agent-test-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    assert_true(n <= 4);
    for (size_t i = 0; i < 4; i++)
        snprintf(s->path[i], sizeof s->path[i], "%s/%s", s->dir, i < n ? names[i] : "-");
}

void scratch_close(struct scratch *s)
{
    for (size_t i = 0; i < 4; i++)
        unlink(s->path[i]);
    assert_int_equal(rmdir(s->dir), 0);
}

void scratch_append(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "ab");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static void put_u32le(struct avow_buf *b, size_t v)
{
    uint8_t bytes[4];
    avow_put_u32le(bytes, (uint32_t)v);
    avow_buf_put(b, bytes, 4);
}

void scratch_entry(struct avow_buf *list, const char *path, size_t extra)
{
    static const uint8_t digest[32] = {0x5A};
    size_t path_len = strlen(path);
    put_u32le(list, 10);
    avow_buf_put(list, digest, 20);
    put_u32le(list, 6);
    avow_buf_put(list, "ima-ng", 6);
    put_u32le(list, 4 + 8 + 32 + 4 + path_len + extra + 1);
    put_u32le(list, 40);
    avow_buf_put(list, "sha256:", 8);
    avow_buf_put(list, digest, 32);
    put_u32le(list, path_len + extra + 1);
    avow_buf_put(list, path, path_len);
    for (size_t i = 0; i < extra; i++)
        avow_buf_put_u8(list, 'x');
    avow_buf_put_u8(list, 0);
    assert_int_equal(avow_buf_status(list, NULL), AVOW_OK);
}
