/* scratch.h - a temporary folder per test, and what a call writes to stdout or stderr. */
#ifndef AVOW_TEST_BASE_SCRATCH_H
#define AVOW_TEST_BASE_SCRATCH_H

#include <stddef.h>

/* cmocka set-up and tear-down: the folder is made before a test and removed after it. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

/* "<folder>/<name>"; valid until the eighth next call. */
const char *scratch_path(const char *name);
/* Writes a file; folders of `name` are made. Returns its path. */
const char *scratch_write(const char *name, const char *text);

/* From now on the descriptor goes to a file; end puts it back and returns the text, valid until the
 * next call. */
void capture_begin(int fd);
const char *capture_end(void);

#endif
