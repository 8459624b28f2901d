#include "next_file.h"

#include "avow/base/cleanup.h"
#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/base/num.h"

#include <inttypes.h>

#include "avow/base/banned.h"

#define PATH_MAX_LEN 4096u
#define TEXT_MAX 128u
#define HEX_LEN 32u

static bool path_of(const char *dir, char out[PATH_MAX_LEN])
{
    return *dir && snprintf(out, PATH_MAX_LEN, "%s/next", dir) < (int)PATH_MAX_LEN;
}

/* "<boot id> <fleet> <count>\n", hex and decimal */
bool avow_next_file_load(const char *dir, struct avow_next_file *out)
{
    char path[PATH_MAX_LEN];
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, TEXT_MAX);
    if (!path_of(dir, path) || avow_file_read(path, &text, NULL))
        return false;
    struct avow_rd r = avow_rd_make(avow_buf_bytes(&text));
    struct avow_bytes boot = avow_rd_take(&r, HEX_LEN);
    bool spaces = avow_rd_u8(&r) == ' ';
    struct avow_bytes fleet = avow_rd_take(&r, HEX_LEN);
    spaces = avow_rd_u8(&r) == ' ' && spaces;
    size_t left = avow_rd_left(&r);
    if (r.bad || !spaces || !left || r.end[-1] != '\n')
        return false;
    struct avow_next_file n;
    if (!avow_hex_decode(n.boot_id, sizeof n.boot_id,
                         (struct avow_str){(const char *)boot.ptr, boot.len}) ||
        !avow_hex_decode(n.fleet, sizeof n.fleet,
                         (struct avow_str){(const char *)fleet.ptr, fleet.len}) ||
        !avow_num_parse_u64((struct avow_str){(const char *)r.p, left - 1}, INT64_MAX, &n.count))
        return false;
    *out = n;
    return true;
}

enum avow_rc avow_next_file_save(const char *dir, const struct avow_next_file *n,
                                 struct avow_err *err)
{
    char path[PATH_MAX_LEN];
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, TEXT_MAX);
    if (!path_of(dir, path))
        return avow_err_set(err, AVOW_CONFIG, 0, "agent.run_dir is too long");
    avow_buf_put_hex(&text, AVOW_BYTES_OF(n->boot_id));
    avow_buf_put_str(&text, " ");
    avow_buf_put_hex(&text, AVOW_BYTES_OF(n->fleet));
    avow_buf_printf(&text, " %" PRIu64 "\n", n->count);
    enum avow_rc rc = avow_buf_status(&text, err);
    return rc ? rc : avow_file_write(path, avow_buf_bytes(&text), 0600, err);
}
