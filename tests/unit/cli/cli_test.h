/* cli_test.h - what the CLI's unit tests share. */
#ifndef AVOW_TESTS_CLI_TEST_H
#define AVOW_TESTS_CLI_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/cleanup.h"
#include "avow/base/err.h"

static inline void assert_code(const char *what, enum avow_rc got, enum avow_rc want,
                               const struct avow_err *err)
{
    if (got != want)
        fail_msg("%s: got %s (%s), want %s", what, avow_rc_text(got), got ? err->msg : "",
                 avow_rc_text(want));
}

static inline void assert_contains(const char *what, const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("%s: \"%s\" lacks \"%s\"", what, text, part);
}

/* What `fn` prints on standard output, into `out`. */
static inline void capture(void (*fn)(void *arg), void *arg, char *out, size_t cap)
{
    FILE *whole = tmpfile(), *stdout_before = stdout;
    assert_non_null(whole);
    stdout = whole;
    fn(arg);
    stdout = stdout_before;
    rewind(whole);
    size_t n = fread(out, 1, cap - 1, whole);
    out[n] = '\0';
    fclose(whole);
}

#endif
