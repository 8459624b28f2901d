#include "sources/uefi_reader.h"

#include "avow/base/cleanup.h"
#include "avow/base/file.h"

#include <errno.h>

#include "avow/base/banned.h"

enum avow_rc avow_uefi_read(const char *path, struct avow_buf *out, struct avow_err *err)
{
    struct avow_err why = {.rc = AVOW_OK};
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf log;
    avow_buf_init(&log, AVOW_UEFI_LOG_MAX);
    enum avow_rc rc = avow_file_read(path, &log, &why);
    if (rc)
        return avow_err_set(err, why.native == ENOENT || why.native == ENOTDIR ? AVOW_NOTFOUND : rc,
                            why.native, "%s", why.msg);
    avow_buf_put(out, log.ptr, log.len);
    return avow_buf_status(out, err);
}
