/* vectors.h - the files of tests/vectors/wire. Tests only. */
#ifndef AVOW_TESTS_VECTORS_H
#define AVOW_TESTS_VECTORS_H

#include "avow/base/buf.h"

#define VECTORS_MAX 64u

struct vectors {
    char name[VECTORS_MAX][64]; /* "marker-min", sorted */
    size_t count;
};
/* Every NAME.bin; the test fails if there is none. */
void vectors_list(struct vectors *out);
/* The file's bytes; owned by the caller (avow_buf_deinit). */
struct avow_buf vectors_read(const char *name, const char *suffix);

#endif
