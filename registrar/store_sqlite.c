/* SQLite: opening, schema, transactions, statements. The rows are in store_sqlite_rows.c. */
#include "store_sqlite.h"

#include "registrar_sql.h" /* generated from sql/ */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define CLAIM_COLUMNS                                                                              \
    "ek_public, ak_public, ak_name, ek_certs, ip, port, mtls_cert, trust_rule, trust_trusted, "    \
    "trust_ms, trust_detail, ek_cert_sha256, iak_certs, idevid_certs, device_serial"
#define CLAIM_MARKS "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
#define LINE_COLUMNS                                                                               \
    "id, status, generation, regcount, registered_ms, trust_rule, trust_trusted, ip"
#define BUSY_MS 5000

static const char *const sql_texts[AVOW_SQL_COUNT] = {
    [AVOW_SQL_BEGIN] = "BEGIN IMMEDIATE",
    [AVOW_SQL_COMMIT] = "COMMIT",
    [AVOW_SQL_ROLLBACK] = "ROLLBACK",
    [AVOW_SQL_AGENT] = "SELECT status, generation, regcount, registered_ms, tag_until_ms, "
                       "tag_sha256, allow_until_ms, " CLAIM_COLUMNS " FROM agents WHERE id = ?",
    [AVOW_SQL_AGENT_PUT] = "INSERT OR REPLACE INTO agents (id, status, generation, regcount, "
                           "registered_ms, tag_until_ms, tag_sha256, allow_until_ms, " CLAIM_COLUMNS
                           ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, " CLAIM_MARKS ")",
    [AVOW_SQL_AGENT_ALLOW] = "UPDATE agents SET allow_until_ms = ? WHERE id = ? AND status = 1",
    [AVOW_SQL_PENDING] = "SELECT seq, digest, source, secret, issued_ms, expires_ms, attempts, "
                         "" CLAIM_COLUMNS " FROM pending WHERE id = ? ORDER BY seq DESC LIMIT ?",
    [AVOW_SQL_PENDING_OF_SOURCE] =
        "SELECT count(*) FROM pending WHERE source = ? AND expires_ms > ?",
    [AVOW_SQL_PENDING_TOTAL] = "SELECT count(*) FROM pending WHERE expires_ms > ?",
    [AVOW_SQL_PENDING_ADD] =
        "INSERT INTO pending (id, digest, source, secret, issued_ms, "
        "expires_ms, attempts, " CLAIM_COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, " CLAIM_MARKS ")",
    [AVOW_SQL_PENDING_ATTEMPTS] = "UPDATE pending SET attempts = ? WHERE seq = ? AND id = ?",
    [AVOW_SQL_PENDING_DROP] = "DELETE FROM pending WHERE seq = ? AND id = ?",
    [AVOW_SQL_PURGE] = "DELETE FROM pending WHERE expires_ms <= ?",
    [AVOW_SQL_LIST] = ("SELECT id FROM agents WHERE status = 1 UNION "
                       "SELECT id FROM pending WHERE expires_ms > ? ORDER BY 1"),
    [AVOW_SQL_OUTBOX_ADD] = "INSERT INTO outbox (id, generation, added_ms) VALUES (?, ?, ?)",
    [AVOW_SQL_OUTBOX] = "SELECT seq, id, generation FROM outbox ORDER BY seq LIMIT ?",
    [AVOW_SQL_OUTBOX_DONE] = "DELETE FROM outbox WHERE seq <= ?",
    [AVOW_SQL_OUTBOX_COUNT] = "SELECT count(*) FROM outbox",
    [AVOW_SQL_META_GET] = "SELECT value FROM meta WHERE name = ?",
    [AVOW_SQL_META_SET] = "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)",
    [AVOW_SQL_PAGE] = "SELECT " LINE_COLUMNS " FROM agents INDEXED BY agents_status "
                      "WHERE status = 1 AND id > ? ORDER BY id LIMIT ?",
    [AVOW_SQL_PAGE_ALL] = "SELECT " LINE_COLUMNS " FROM agents WHERE id > ? ORDER BY id LIMIT ?",
    [AVOW_SQL_COUNTS] = "SELECT (SELECT count(*) FROM agents WHERE status = 1), "
                        "(SELECT count(*) FROM agents WHERE status = 2), "
                        "(SELECT count(*) FROM pending WHERE expires_ms > ?), "
                        "(SELECT count(*) FROM outbox), "
                        "(SELECT added_ms FROM outbox ORDER BY seq LIMIT 1)",
    [AVOW_SQL_OUTBOX_CLEAR] = "DELETE FROM outbox",
    [AVOW_SQL_REPUBLISH] = "INSERT INTO outbox (id, generation, added_ms) "
                           "SELECT id, generation, ? FROM agents ORDER BY id",
};

/* Such a disk takes no write, or may not. */
static bool is_disk(int code)
{
    int primary = code & 0xff;
    return primary == SQLITE_FULL || primary == SQLITE_IOERR || primary == SQLITE_READONLY;
}

enum avow_rc avow_sql_error(struct avow_store *s, const char *what, struct avow_err *err)
{
    int code = s->db ? sqlite3_extended_errcode(s->db) : SQLITE_NOMEM;
    enum avow_rc rc = AVOW_IO;
    s->disk_failed = s->disk_failed || is_disk(code);
    if ((code & 0xff) == SQLITE_FULL)
        rc = AVOW_LIMIT;
    else if ((code & 0xff) == SQLITE_NOMEM)
        rc = AVOW_NOMEM;
    return avow_err_set(err, rc, code, "database: %s: %s", what,
                        s->db ? sqlite3_errmsg(s->db) : "out of memory");
}

sqlite3_stmt *avow_sql_get(struct avow_store *s, enum avow_sql which)
{
    sqlite3_stmt *q = s->statements[which];
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    return q;
}

enum avow_rc avow_sql_step(struct avow_store *s, sqlite3_stmt *q, bool *row, struct avow_err *err)
{
    int code = sqlite3_step(q);
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        enum avow_rc rc = avow_sql_error(s, sqlite3_sql(q), err);
        sqlite3_reset(q);
        return rc;
    }
    *row = code == SQLITE_ROW;
    return AVOW_OK;
}

enum avow_rc avow_sql_run(struct avow_store *s, sqlite3_stmt *q, struct avow_err *err)
{
    bool row = false;
    enum avow_rc rc = avow_sql_step(s, q, &row, err);
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    return rc;
}

static enum avow_rc exec(struct avow_store *s, const char *sql, struct avow_err *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? AVOW_OK
                                                                   : avow_sql_error(s, sql, err);
}

/* One whole number from a statement made for this once. */
static enum avow_rc query_number(struct avow_store *s, const char *sql, uint64_t *out,
                                 struct avow_err *err)
{
    sqlite3_stmt *q = NULL;
    if (sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) != SQLITE_OK)
        return avow_sql_error(s, sql, err);
    bool row = false;
    enum avow_rc rc = avow_sql_step(s, q, &row, err);
    if (!rc)
        *out = row ? avow_sql_u64(q, 0) : 0;
    sqlite3_finalize(q);
    return rc;
}

static enum avow_rc quick_check(struct avow_store *s, struct avow_err *err)
{
    sqlite3_stmt *q = NULL;
    if (sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &q, NULL) != SQLITE_OK)
        return avow_sql_error(s, "quick_check", err);
    bool row = false;
    enum avow_rc rc = avow_sql_step(s, q, &row, err);
    if (!rc && (!row || strcmp((const char *)sqlite3_column_text(q, 0), "ok") != 0))
        rc = avow_err_set(err, AVOW_IO, SQLITE_CORRUPT, "database: file is damaged: %s",
                          row ? (const char *)sqlite3_column_text(q, 0) : "no answer");
    sqlite3_finalize(q);
    return rc;
}

static enum avow_rc upgrade_to(struct avow_store *s, uint64_t version, const char *sql,
                               uint64_t now_ms, struct avow_err *err)
{
    char note[128];
    snprintf(note, sizeof note, "INSERT INTO migrations VALUES (%llu, %llu)",
             (unsigned long long)version, (unsigned long long)now_ms);
    enum avow_rc rc = exec(s, "BEGIN IMMEDIATE", err);
    if (rc)
        return rc;
    rc = exec(s, sql, err);
    if (!rc)
        rc = exec(s, note, err);
    if (!rc)
        rc = exec(s, "COMMIT", err);
    if (rc) {
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
        return avow_err_wrap(err, rc, "schema version %llu", (unsigned long long)version);
    }
    return AVOW_OK;
}

static enum avow_rc upgrade(struct avow_store *s, uint64_t now_ms, struct avow_err *err)
{
    const uint64_t newest = AVOW_ARRAY_LEN(avow_registrar_sql);
    uint64_t version = 0;
    enum avow_rc rc = exec(s,
                           "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, "
                           "applied_ms INTEGER NOT NULL) STRICT",
                           err);
    if (!rc)
        rc = query_number(s, "SELECT coalesce(max(version), 0) FROM migrations", &version, err);
    if (!rc && version > newest)
        return avow_err_set(err, AVOW_STATE, 0,
                            "database: schema version %llu is newer than this program (%llu)",
                            (unsigned long long)version, (unsigned long long)newest);
    for (; !rc && version < newest; version++)
        rc = upgrade_to(s, version + 1, avow_registrar_sql[version], now_ms, err);
    return rc;
}

static enum avow_rc prepare_all(struct avow_store *s, struct avow_err *err)
{
    for (size_t i = 0; i < AVOW_SQL_COUNT; i++)
        if (sqlite3_prepare_v3(s->db, sql_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &s->statements[i], NULL) != SQLITE_OK)
            return avow_sql_error(s, sql_texts[i], err);
    return AVOW_OK;
}

/* Two registrars on one file would each trust their own idea of the outbox. */
static enum avow_rc take_lock(struct avow_store *s, const char *path, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf name;
    avow_buf_init(&name, 4096);
    avow_buf_printf(&name, "%s.lock", path);
    enum avow_rc rc = avow_buf_status(&name, err);
    if (rc)
        return rc;
    s->lock_fd = open(avow_buf_cstr(&name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        return avow_err_set(err, AVOW_IO, errno, "%s: %s", avow_buf_cstr(&name), strerror(errno));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB))
        return avow_err_set(err, AVOW_EXISTS, errno, "%s: another registrar uses this database",
                            path);
    return AVOW_OK;
}

/* Secrets of open challenges are in it: nobody else may read it. SQLite gives its side files the
 * same mode. */
static enum avow_rc create_private(const char *path, struct avow_err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return avow_err_set(err, AVOW_IO, errno, "%s: %s", path, strerror(errno));
    close(fd);
    return AVOW_OK;
}

static enum avow_rc configure(struct avow_store *s, struct avow_err *err)
{
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, BUSY_MS);
    /* FULL: a commit that was answered survives a power cut. */
    return exec(s,
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;"
                "PRAGMA cell_size_check = ON; PRAGMA secure_delete = ON",
                err);
}

enum avow_rc avow_store_open(const char *path, uint64_t now_ms, struct avow_store **out,
                             struct avow_err *err)
{
    AVOW_CLEANUP(avow_store_close) struct avow_store *s = calloc(1, sizeof *s);
    if (!s)
        return avow_err_set(err, AVOW_NOMEM, 0, "store");
    s->lock_fd = -1;
    pthread_mutex_init(&s->mutex, NULL);
    s->path = strdup(path);
    if (!s->path)
        return avow_err_set(err, AVOW_NOMEM, 0, "store");
    enum avow_rc rc = take_lock(s, path, err);
    if (!rc)
        rc = create_private(path, err);
    if (!rc && sqlite3_open_v2(path, &s->db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
                               NULL) != SQLITE_OK)
        rc = avow_sql_error(s, path, err);
    if (!rc)
        rc = configure(s, err);
    if (!rc)
        rc = quick_check(s, err);
    if (!rc)
        rc = upgrade(s, now_ms, err);
    if (!rc)
        rc = prepare_all(s, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(s);
    return AVOW_OK;
}

void avow_store_close(struct avow_store *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < AVOW_SQL_COUNT; i++)
        sqlite3_finalize(s->statements[i]);
    sqlite3_close(s->db);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    pthread_mutex_destroy(&s->mutex);
    free(s->path);
    free(s);
}

/* With a WAL, SQLite goes on writing into a file that was moved away or deleted: what is answered
 * 200 would be in no database that anybody finds again. */
static enum avow_rc check_in_place(struct avow_store *s, struct avow_err *err)
{
    int moved = 0;
    if (sqlite3_file_control(s->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved)
        return avow_err_set(err, AVOW_IO, 0, "database: %s was moved away or deleted", s->path);
    return AVOW_OK;
}

/* SQLite obeys this pragma while it compiles it, not while it runs it: a prepared one does nothing
 * but at its first use, or whenever it happens to be compiled again. */
enum avow_rc avow_sql_sync(struct avow_store *s, bool normal, struct avow_err *err)
{
    if (s->sync_normal == normal)
        return AVOW_OK;
    enum avow_rc rc =
        exec(s, normal ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL", err);
    if (!rc)
        s->sync_normal = normal;
    return rc;
}

static enum avow_rc begin(struct avow_store *s, bool challenge, struct avow_err *err)
{
    pthread_mutex_lock(&s->mutex);
    enum avow_rc rc = check_in_place(s, err);
    if (!rc)
        rc = avow_sql_sync(s, challenge, err);
    if (!rc)
        rc = avow_sql_run(s, avow_sql_get(s, AVOW_SQL_BEGIN), err);
    if (rc)
        pthread_mutex_unlock(&s->mutex);
    return rc;
}

enum avow_rc avow_store_begin(struct avow_store *s, struct avow_err *err)
{
    return begin(s, false, err);
}

enum avow_rc avow_store_begin_challenge(struct avow_store *s, struct avow_err *err)
{
    return begin(s, true, err);
}

enum avow_rc avow_store_end(struct avow_store *s, bool commit, struct avow_err *err)
{
    enum avow_rc rc = AVOW_OK;
    if (commit)
        rc = avow_sql_run(s, avow_sql_get(s, AVOW_SQL_COMMIT), err);
    if (commit && !rc)
        s->disk_failed = false;
    /* A COMMIT that failed leaves the transaction open (a full disk) or has ended it. */
    if (!sqlite3_get_autocommit(s->db) &&
        avow_sql_run(s, avow_sql_get(s, AVOW_SQL_ROLLBACK), NULL) && commit && !rc)
        rc = AVOW_IO;
    pthread_mutex_unlock(&s->mutex);
    return rc;
}
