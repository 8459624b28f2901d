/* SQLite: pages, counts, backup, check, everything into the outbox. */
#include "store_sqlite.h"

#include "avow/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define PATH_MAX_BYTES 4096u
#define PROBLEMS_MAX 64

static struct avow_str column_str(sqlite3_stmt *q, int i)
{
    const void *p = sqlite3_column_text(q, i);
    return (struct avow_str){p, p ? (size_t)sqlite3_column_bytes(q, i) : 0};
}

enum avow_rc avow_store_page(struct avow_store *s, const struct avow_page *page,
                             avow_store_line_fn fn, void *arg, struct avow_err *err)
{
    bool row = true;
    enum avow_rc rc = AVOW_OK;
    pthread_mutex_lock(&s->mutex);
    sqlite3_stmt *q = avow_sql_get(s, page->removed ? AVOW_SQL_PAGE_ALL : AVOW_SQL_PAGE);
    avow_sql_bind_str(q, 1, page->after.len ? page->after : AVOW_STR_LIT(""));
    avow_sql_bind_u64(q, 2, page->max);
    while (!rc && row) {
        rc = avow_sql_step(s, q, &row, err);
        if (rc || !row)
            continue;
        struct avow_agent_line line = {.id = column_str(q, 0),
                                       .status = avow_sql_u64(q, 1) == 1 ? AVOW_AGENT_ACTIVE
                                                                         : AVOW_AGENT_REMOVED,
                                       .generation = avow_sql_u64(q, 2),
                                       .regcount = (uint32_t)avow_sql_u64(q, 3),
                                       .registered_ms = avow_sql_u64(q, 4),
                                       .trust_rule = column_str(q, 5),
                                       .trusted = avow_sql_u64(q, 6) == 1,
                                       .ip = column_str(q, 7)};
        fn(arg, &line);
    }
    sqlite3_reset(q);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

enum avow_rc avow_store_counts(struct avow_store *s, uint64_t now_ms, struct avow_store_counts *out,
                               struct avow_err *err)
{
    bool row = false;
    pthread_mutex_lock(&s->mutex);
    sqlite3_stmt *q = avow_sql_get(s, AVOW_SQL_COUNTS);
    avow_sql_bind_u64(q, 1, now_ms);
    enum avow_rc rc = avow_sql_step(s, q, &row, err);
    if (!rc && row)
        *out =
            (struct avow_store_counts){avow_sql_u64(q, 0), avow_sql_u64(q, 1), avow_sql_u64(q, 2),
                                       avow_sql_u64(q, 3), avow_sql_u64(q, 4)};
    sqlite3_reset(q);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

enum avow_rc avow_store_probe(struct avow_store *s, struct avow_err *err)
{
    enum avow_rc rc = avow_store_begin(s, err);
    if (rc)
        return rc;
    bool try_it = s->disk_failed; /* the lock alone can be had on a disk that has failed */
    if (try_it) {
        sqlite3_stmt *q = avow_sql_get(s, AVOW_SQL_META_SET);
        avow_sql_bind_str(q, 1, AVOW_STR_LIT("probe"));
        sqlite3_bind_blob64(q, 2, "", 0, SQLITE_STATIC);
        rc = avow_sql_run(s, q, err);
    }
    if (!rc)
        return avow_store_end(s, try_it, err);
    (void)!avow_store_end(s, false, NULL);
    return rc;
}

enum avow_rc avow_store_republish(struct avow_store *s, uint64_t now_ms, uint64_t *queued,
                                  struct avow_err *err)
{
    enum avow_rc rc = avow_store_begin(s, err);
    if (rc)
        return rc;
    /* What waits is among all agents: nothing is lost by it, and numbers of rows are never used
     * again, so the publisher cannot take a new row for one that it has just sent. */
    rc = avow_sql_run(s, avow_sql_get(s, AVOW_SQL_OUTBOX_CLEAR), err);
    sqlite3_stmt *q = avow_sql_get(s, AVOW_SQL_REPUBLISH);
    avow_sql_bind_u64(q, 1, now_ms);
    if (!rc)
        rc = avow_sql_run(s, q, err);
    uint64_t n = rc ? 0 : (uint64_t)sqlite3_changes64(s->db);
    if (rc) {
        (void)!avow_store_end(s, false, NULL);
        return rc;
    }
    rc = avow_store_end(s, true, err);
    if (!rc)
        *queued = n;
    return rc;
}

/* --- Connections beside the one that serves
 * ------------------------------------------------------------------------- */
static enum avow_rc fail_on(sqlite3 *db, const char *what, struct avow_err *err)
{
    int code = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
    enum avow_rc rc = (code & 0xff) == SQLITE_FULL ? AVOW_LIMIT : AVOW_IO;
    return avow_err_set(err, rc, code, "%s: %s", what, db ? sqlite3_errmsg(db) : "out of memory");
}

static enum avow_rc run_on(sqlite3 *db, const char *sql, struct avow_err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? AVOW_OK : fail_on(db, sql, err);
}

/* The file as it is now, read without a lock that others would feel (WAL). */
static enum avow_rc open_reader(const struct avow_store *s, sqlite3 **out, struct avow_err *err)
{
    if (sqlite3_open_v2(s->path, out,
                        SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
                        NULL) != SQLITE_OK)
        return fail_on(*out, s->path, err);
    sqlite3_extended_result_codes(*out, 1);
    return AVOW_OK;
}

static enum avow_rc copy_pages(sqlite3 *from, sqlite3 *to, struct avow_err *err)
{
    sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
    if (!b)
        return fail_on(to, "backup", err);
    sqlite3_backup_step(b, -1); /* one read transaction: one moment */
    return sqlite3_backup_finish(b) == SQLITE_OK ? AVOW_OK : fail_on(to, "backup", err);
}

static enum avow_rc finish_copy(sqlite3 *to, struct avow_err *err)
{
    /* No WAL beside it, so that the backup is one file; deleted pages are overwritten. */
    return run_on(to,
                  "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; "
                  "PRAGMA secure_delete = ON; DELETE FROM pending; VACUUM",
                  err);
}

static enum avow_rc fill_copy(const struct avow_store *s, const char *path, struct avow_err *err)
{
    sqlite3 *from = NULL, *to = NULL;
    enum avow_rc rc = open_reader(s, &from, err);
    if (!rc && sqlite3_open_v2(path, &to,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
                               NULL) != SQLITE_OK)
        rc = fail_on(to, path, err);
    if (!rc)
        rc = copy_pages(from, to, err);
    sqlite3_close(from);
    if (!rc)
        rc = finish_copy(to, err);
    if (sqlite3_close(to) != SQLITE_OK && !rc)
        rc = avow_err_set(err, AVOW_IO, 0, "backup: cannot be closed");
    return rc;
}

/* Whole under its name or not there at all. */
static enum avow_rc settle(const char *partial, const char *path, uint64_t *bytes,
                           struct avow_err *err)
{
    struct stat st;
    int fd = open(partial, O_RDONLY | O_CLOEXEC);
    bool fine = fd >= 0 && !fsync(fd) && !fstat(fd, &st) && !link(partial, path);
    int e = errno;
    if (fd >= 0)
        close(fd);
    if (!fine)
        return avow_err_set(err, e == EEXIST ? AVOW_EXISTS : AVOW_IO, e, "%s: %s", path,
                            strerror(e));
    *bytes = (uint64_t)st.st_size;
    return AVOW_OK;
}

enum avow_rc avow_store_backup(struct avow_store *s, const char *path, uint64_t *bytes,
                               struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf name;
    avow_buf_init(&name, PATH_MAX_BYTES);
    avow_buf_printf(&name, "%s.partial", path);
    const char *partial = avow_buf_cstr(&name);
    enum avow_rc rc = avow_buf_status(&name, err);
    if (rc)
        return rc;
    int fd = open(partial, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return avow_err_set(err, errno == EEXIST ? AVOW_EXISTS : AVOW_IO, errno, "%s: %s", partial,
                            strerror(errno));
    close(fd);
    rc = fill_copy(s, partial, err);
    if (!rc)
        rc = settle(partial, path, bytes, err);
    unlink(partial);
    return rc;
}

/* --- Check
 * ---------------------------------------------------------------------------------------------- */
static const char *const rules[] = {
    "SELECT 'outbox row of an agent that does not exist: ' || o.id FROM outbox AS o "
    "LEFT JOIN agents AS a ON a.id = o.id WHERE a.id IS NULL LIMIT 64",
    "SELECT 'outbox row newer than its agent: ' || o.id FROM outbox AS o JOIN agents AS a "
    "ON a.id = o.id WHERE o.generation > a.generation LIMIT 64",
    "SELECT 'agent without keys: ' || id FROM agents WHERE length(ek_public) = 0 OR "
    "length(ak_public) = 0 OR length(ak_name) = 0 LIMIT 64",
};

static enum avow_rc gather(sqlite3 *db, const char *sql, struct avow_buf *problems,
                           struct avow_err *err)
{
    sqlite3_stmt *q = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) != SQLITE_OK)
        return fail_on(db, "store check", err);
    int code;
    for (int n = 0; (code = sqlite3_step(q)) == SQLITE_ROW && n < PROBLEMS_MAX; n++) {
        const char *text = (const char *)sqlite3_column_text(q, 0);
        if (text && !avow_cstr_eq(text, "ok"))
            avow_buf_printf(problems, "%s\n", text);
    }
    enum avow_rc rc =
        code == SQLITE_DONE || code == SQLITE_ROW ? AVOW_OK : fail_on(db, "store check", err);
    sqlite3_finalize(q);
    return rc;
}

enum avow_rc avow_store_check(struct avow_store *s, struct avow_buf *problems, struct avow_err *err)
{
    sqlite3 *db = NULL;
    enum avow_rc rc = open_reader(s, &db, err);
    if (!rc)
        rc = gather(db, "PRAGMA integrity_check(64)", problems, err);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0] && !rc; i++)
        rc = gather(db, rules[i], problems, err);
    sqlite3_close(db);
    return rc ? rc : avow_buf_status(problems, err);
}
