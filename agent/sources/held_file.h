/* held_file.h - a file that stays open, because the process may lose the right to open it again:
 * the kernel's measurement lists are root's, and the agent gives root up (agent/privilege.h).
 * Layer: agent/sources. Notices when another file has taken the path. One object, one thread. */
#ifndef AVOW_AGENT_HELD_FILE_H
#define AVOW_AGENT_HELD_FILE_H

#include "avow/base/buf.h"

#include <sys/types.h>

struct avow_held_file {
    char *path; /* owned */
    int fd;     /* -1: closed */
    dev_t dev;
    ino_t ino;
    uint64_t size; /* at the last look; securityfs says 0 */
};
/* Opens nothing yet. Errors: AVOW_NOMEM. */
enum avow_rc avow_held_init(struct avow_held_file *f, const char *path,
                            struct avow_err *err) AVOW_MUST_CHECK;
void avow_held_deinit(struct avow_held_file *f); /* fit for all zeros but fd = -1 */
/* Opens the file, or looks whether the path still names the one that is open; opens anew if not.
 * *changed: another file was open before. Errors: AVOW_NOTFOUND (the path names nothing), AVOW_IO
 * (with errno; the message says what to do where rights are missing). */
enum avow_rc avow_held_look(struct avow_held_file *f, bool *changed,
                            struct avow_err *err) AVOW_MUST_CHECK;
/* pread(2), again after a signal. *got 0: end of file. Errors: AVOW_IO. */
enum avow_rc avow_held_read(const struct avow_held_file *f, uint8_t *out, size_t size, uint64_t at,
                            size_t *got, struct avow_err *err) AVOW_MUST_CHECK;

#endif
