/* vec.h - what the tests of lib/crypto share: files of tests/vectors/, scratch files, hex. */
#ifndef AVOW_TESTS_CRYPTO_VEC_H
#define AVOW_TESTS_CRYPTO_VEC_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/buf.h"
#include "avow/base/cleanup.h"
#include "avow/base/file.h"
#include "avow/base/hex.h"

#define VEC_BUF AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf
#define VEC_MAX 1048576u

/* Appends the file tests/vectors/NAME. */
static inline void vec_read(const char *name, struct avow_buf *out)
{
    char path[512];
    struct avow_err err = {0};
    snprintf(path, sizeof path, "%s/%s", AVOW_TEST_VECTORS, name);
    avow_buf_init(out, VEC_MAX);
    if (avow_file_read(path, out, &err))
        fail_msg("%s", err.msg);
}

static inline void vec_hex(const char *hex, struct avow_buf *out)
{
    size_t n = strlen(hex) / 2;
    avow_buf_init(out, VEC_MAX);
    uint8_t *p = avow_buf_extend(out, n);
    assert_true(!n || (p && avow_hex_decode(p, n, avow_str_from(hex))));
}

static inline struct avow_bytes vec_text(const char *s)
{
    return avow_bytes_make(s, strlen(s));
}

static inline void assert_hex(const char *what, struct avow_bytes got, const char *want)
{
    VEC_BUF text;
    avow_buf_init(&text, VEC_MAX);
    avow_buf_put_hex(&text, got);
    if (!avow_cstr_eq(avow_buf_cstr(&text), want))
        fail_msg("%s: got %s, want %s", what, avow_buf_cstr(&text), want);
}

static inline void assert_rc(const char *what, enum avow_rc got, enum avow_rc want,
                             const struct avow_err *err)
{
    if (got != want)
        fail_msg("%s: got %s (%s), want %s", what, avow_rc_text(got), got ? err->msg : "",
                 avow_rc_text(want));
}

static inline void assert_says(const char *what, const struct avow_err *err, const char *text)
{
    if (!strstr(err->msg, text))
        fail_msg("%s: message \"%s\" lacks \"%s\"", what, err->msg, text);
}

/* A folder of its own for this process; vec_scratch_remove deletes the files named NAME in it. */
static inline const char *vec_scratch(void)
{
    static char dir[64];
    if (!dir[0]) {
        snprintf(dir, sizeof dir, "/tmp/avow-test-XXXXXX");
        if (!mkdtemp(dir))
            fail_msg("mkdtemp");
    }
    return dir;
}

static inline void vec_scratch_path(const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", vec_scratch(), name);
}

static inline void vec_scratch_write(const char *name, struct avow_bytes data, char out[128])
{
    struct avow_err err = {0};
    vec_scratch_path(name, out);
    assert_rc(name, avow_file_write(out, data, 0600, &err), AVOW_OK, &err);
}

#endif
