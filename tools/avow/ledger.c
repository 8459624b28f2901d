#define _GNU_SOURCE /* opendir */
#include "ledger.h"

#include "avow/base/file.h"
#include "avow/base/num.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "avow/base/banned.h"

#define PATH_LIMIT 4096u
#define SUFFIX ".avro"

/* False without a ledger. */
static bool folder_of(const struct avow_cli *cli, const char *topic, const char *name,
                      struct avow_buf *out)
{
    const char *ledger = avow_conf_str(cli->conf, "cli", "ledger");
    if (!ledger)
        return false;
    avow_buf_printf(out, "%s/%s/%s", ledger, topic, name);
    return true;
}

static enum avow_rc not_kept(struct avow_cli *cli, enum avow_rc rc, struct avow_err *err)
{
    avow_cli_hint(cli, "nothing was published: every signed record is kept first. Make cli.ledger "
                       "writable, or set it to a folder that is");
    return avow_err_wrap(err, rc, "ledger");
}

enum avow_rc avow_ledger_put(struct avow_cli *cli, const char *topic, const char *name,
                             uint64_t generation, struct avow_bytes record, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf path;
    avow_buf_init(&path, PATH_LIMIT);
    if (!folder_of(cli, topic, name, &path))
        return AVOW_OK;
    enum avow_rc rc = avow_buf_status(&path, err);
    if (!rc)
        rc = avow_file_mkdirs(avow_buf_cstr(&path), 0700, err);
    avow_buf_printf(&path, "/%" PRIu64 SUFFIX, generation);
    if (!rc)
        rc = avow_buf_status(&path, err);
    if (!rc)
        rc = avow_file_write(avow_buf_cstr(&path), record, 0600, err);
    return rc ? not_kept(cli, rc, err) : AVOW_OK;
}

/* "17.avro" is 17; 0 for any other name. */
static uint64_t generation_of(const char *file)
{
    size_t len = strlen(file), tail = sizeof SUFFIX - 1;
    uint64_t v = 0;
    if (len <= tail || !avow_cstr_eq(file + len - tail, SUFFIX) ||
        !avow_num_parse_u64((struct avow_str){file, len - tail}, INT64_MAX, &v))
        return 0;
    return v;
}

static enum avow_rc newest(const char *folder, uint64_t *out, struct avow_err *err)
{
    DIR *dir = opendir(folder);
    *out = 0;
    if (!dir && errno == ENOENT)
        return AVOW_OK;
    if (!dir)
        return avow_err_set(err, AVOW_IO, errno, "open folder %s: %s", folder, strerror(errno));
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir))
        *out = avow_max_u64(*out, generation_of(e->d_name));
    closedir(dir);
    return AVOW_OK;
}

enum avow_rc avow_ledger_newest(struct avow_cli *cli, const char *topic, const char *name,
                                uint64_t *out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf path;
    avow_buf_init(&path, PATH_LIMIT);
    *out = 0;
    if (!folder_of(cli, topic, name, &path))
        return AVOW_OK;
    enum avow_rc rc = avow_buf_status(&path, err);
    return rc ? rc : newest(avow_buf_cstr(&path), out, err);
}

enum avow_rc avow_ledger_get(struct avow_cli *cli, const char *topic, const char *name,
                             uint64_t generation, struct avow_buf *out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf path;
    avow_buf_init(&path, PATH_LIMIT);
    if (!folder_of(cli, topic, name, &path))
        return avow_err_set(err, AVOW_NOTFOUND, 0, "there is no ledger");
    avow_buf_printf(&path, "/%" PRIu64 SUFFIX, generation);
    enum avow_rc rc = avow_buf_status(&path, err);
    return rc ? rc : avow_file_read(avow_buf_cstr(&path), out, err);
}

enum avow_rc avow_ledger_next(struct avow_cli *cli, const char *topic, const char *name,
                              uint64_t there, uint64_t floor, uint64_t *out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf path;
    uint64_t kept = 0;
    avow_buf_init(&path, PATH_LIMIT);
    if (folder_of(cli, topic, name, &path)) {
        enum avow_rc rc = avow_buf_status(&path, err);
        if (!rc)
            rc = newest(avow_buf_cstr(&path), &kept, err);
        if (rc)
            return not_kept(cli, rc, err);
    }
    if (kept > there)
        avow_cli_note("warning: topic %s shows generation %" PRIu64 " of %s, this ledger signed "
                      "%" PRIu64 ": an earlier attempt failed, or somebody shows an old view "
                      "(bus.rollback)",
                      topic, there, name, kept);
    *out = avow_max_u64(avow_max_u64(kept, there) + 1, floor);
    return AVOW_OK;
}
