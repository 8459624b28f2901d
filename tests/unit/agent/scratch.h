/* scratch.h - a folder of its own for each test, and IMA entries to put into files. */
#ifndef AVOW_TEST_AGENT_SCRATCH_H
#define AVOW_TEST_AGENT_SCRATCH_H

#include "avow/base/buf.h"

struct scratch {
    char dir[64];
    char path[4][128]; /* files in it */
};
void scratch_open(struct scratch *s, const char *const *names, size_t n);
void scratch_close(struct scratch *s);
void scratch_append(const char *path, const void *data, size_t len);
/* Appends an ima-ng entry (sha256, arbitrary digest). `extra` bytes make the path longer. */
void scratch_entry(struct avow_buf *list, const char *path, size_t extra);

#endif
