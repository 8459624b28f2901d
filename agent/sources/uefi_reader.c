#include "sources/uefi_reader.h"

#include "avow/base/banned.h"

#define READ_SIZE 4096u

enum avow_rc avow_uefi_read(struct avow_held_file *f, struct avow_buf *out, struct avow_err *err)
{
    bool changed = false;
    uint64_t at = 0;
    enum avow_rc rc = avow_held_look(f, &changed, err);
    while (!rc) { /* securityfs tells no size: read until nothing comes */
        uint8_t bytes[READ_SIZE];
        size_t got = 0;
        rc = avow_held_read(f, bytes, sizeof bytes, at, &got, err);
        if (rc || !got)
            break;
        at += got;
        if (at > AVOW_UEFI_LOG_MAX)
            return avow_err_set(err, AVOW_LIMIT, 0, "%s: more than %u bytes", f->path,
                                AVOW_UEFI_LOG_MAX);
        avow_buf_put(out, bytes, got);
    }
    return rc ? rc : avow_buf_status(out, err);
}
