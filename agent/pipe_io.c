#include "pipe_io.h"

#include "avow/base/num.h"
#include "enroll_pipe.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define HEAD 4u
#define CHUNK 4096u

static enum avow_rc write_all(int fd, struct avow_bytes b, struct avow_err *err)
{
    while (b.len) {
        ssize_t n = write(fd, b.ptr, b.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return avow_err_set(err, AVOW_IO, errno, "pipe: %s", strerror(errno));
        b.ptr += n;
        b.len -= (size_t)n;
    }
    return AVOW_OK;
}

enum avow_rc avow_pipe_write(int fd, struct avow_bytes message, struct avow_err *err)
{
    uint8_t head[HEAD];
    if (message.len > AVOW_ENROLL_MESSAGE_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "message of %zu bytes", message.len);
    avow_put_u32be(head, (uint32_t)message.len);
    enum avow_rc rc = write_all(fd, AVOW_BYTES_OF(head), err);
    return rc ? rc : write_all(fd, message, err);
}

/* Bytes of the message and its head, as far as it is known. */
static size_t wanted(const struct avow_buf *in)
{
    if (in->len < HEAD)
        return HEAD;
    struct avow_rd r = avow_rd_make(avow_buf_bytes(in));
    return HEAD + (size_t)avow_rd_u32be(&r);
}

enum avow_rc avow_pipe_read(int fd, struct avow_buf *in, bool *done, struct avow_err *err)
{
    for (;;) {
        size_t want = wanted(in);
        *done = in->len >= HEAD && in->len == want;
        if (*done)
            return AVOW_OK;
        if (want > HEAD + AVOW_ENROLL_MESSAGE_MAX)
            return avow_err_set(err, AVOW_LIMIT, 0, "message of %zu bytes", want - HEAD);
        uint8_t bytes[CHUNK];
        ssize_t n = read(fd, bytes, (size_t)avow_min_u64(sizeof bytes, want - in->len));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return AVOW_OK;
        if (n < 0)
            return avow_err_set(err, AVOW_IO, errno, "pipe: %s", strerror(errno));
        if (n == 0)
            return avow_err_set(err, AVOW_NOTFOUND, 0, "the pipe was closed");
        avow_buf_put(in, bytes, (size_t)n);
        avow_wipe(bytes, sizeof bytes); /* an answer's secret goes this way */
        enum avow_rc rc = avow_buf_status(in, err);
        if (rc)
            return rc;
    }
}

struct avow_bytes avow_pipe_message(const struct avow_buf *in)
{
    return avow_bytes_make(in->ptr + HEAD, in->len - HEAD);
}
