/* file.h - whole files, with caps. Layer: base. */
#ifndef AVOW_BASE_FILE_H
#define AVOW_BASE_FILE_H

#include "avow/base/buf.h"

/* Appends the whole file to `out` (its limit caps the size); "-" is standard input.
 * Errors: AVOW_IO with errno in native (message names the path), AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_file_read(const char *path, struct avow_buf *out,
                            struct avow_err *err) AVOW_MUST_CHECK;
/* Replaces `path` atomically (temporary file in the same folder, fsync, rename) with permission
 * bits `mode`. */
enum avow_rc avow_file_write(const char *path, struct avow_bytes data, unsigned mode,
                             struct avow_err *err) AVOW_MUST_CHECK;
/* Creates the folder and its parents; an existing folder is fine. */
enum avow_rc avow_file_mkdirs(const char *path, unsigned mode,
                              struct avow_err *err) AVOW_MUST_CHECK;
bool avow_file_exists(const char *path);

#endif
