/* pipe_io.h - length-prefixed messages over pipes. Layer: agent. */
#ifndef AVOW_AGENT_PIPE_IO_H
#define AVOW_AGENT_PIPE_IO_H

#include "avow/base/buf.h"

/* Writes all. Errors: AVOW_IO, AVOW_LIMIT (over AVOW_ENROLL_MESSAGE_MAX). */
enum avow_rc avow_pipe_write(int fd, struct avow_bytes message,
                             struct avow_err *err) AVOW_MUST_CHECK;
/* Appends what there is of one message to `in`, whose first 4 bytes are its length; does not wait
 * where the descriptor does not block. *done: it is complete, behind the first 4 bytes. Errors:
 * AVOW_IO, AVOW_NOTFOUND (the other end is closed), AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_pipe_read(int fd, struct avow_buf *in, bool *done,
                            struct avow_err *err) AVOW_MUST_CHECK;
struct avow_bytes avow_pipe_message(const struct avow_buf *in);

#endif
