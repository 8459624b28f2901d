/* store_sqlite.h - inside of the SQLite store; only store_sqlite*.c include it. Layer: registrar.
 */
#ifndef AVOW_REGISTRAR_STORE_SQLITE_H
#define AVOW_REGISTRAR_STORE_SQLITE_H

#include "store.h"

#include <pthread.h>
#include <sqlite3.h>

enum avow_sql {
    AVOW_SQL_BEGIN,
    AVOW_SQL_COMMIT,
    AVOW_SQL_ROLLBACK,
    AVOW_SQL_AGENT,
    AVOW_SQL_AGENT_PUT,
    AVOW_SQL_AGENT_ALLOW,
    AVOW_SQL_PENDING,
    AVOW_SQL_PENDING_OF_SOURCE,
    AVOW_SQL_PENDING_TOTAL,
    AVOW_SQL_PENDING_ADD,
    AVOW_SQL_PENDING_ATTEMPTS,
    AVOW_SQL_PENDING_DROP,
    AVOW_SQL_PURGE,
    AVOW_SQL_LIST,
    AVOW_SQL_OUTBOX_ADD,
    AVOW_SQL_OUTBOX,
    AVOW_SQL_OUTBOX_DONE,
    AVOW_SQL_OUTBOX_COUNT,
    AVOW_SQL_META_GET,
    AVOW_SQL_META_SET,
    AVOW_SQL_PAGE,
    AVOW_SQL_PAGE_ALL,
    AVOW_SQL_COUNTS,
    AVOW_SQL_OUTBOX_CLEAR,
    AVOW_SQL_REPUBLISH,
    AVOW_SQL_COUNT
};

struct avow_store {
    sqlite3 *db;
    sqlite3_stmt *statements[AVOW_SQL_COUNT];
    pthread_mutex_t mutex;
    char *path;
    bool sync_normal; /* commits do not wait for the disk now */
    bool disk_failed; /* the last thing that it was asked to write, it did not */
    int lock_fd;      /* holds the lock file; -1: none */
};

/* Whether commits are to wait for the disk (normal: they do not). Outside a transaction only. */
enum avow_rc avow_sql_sync(struct avow_store *s, bool normal, struct avow_err *err) AVOW_MUST_CHECK;
/* The prepared statement, reset and without bindings. */
sqlite3_stmt *avow_sql_get(struct avow_store *s, enum avow_sql which);
/* One step. *row receives whether there is a row. */
enum avow_rc avow_sql_step(struct avow_store *s, sqlite3_stmt *q, bool *row,
                           struct avow_err *err) AVOW_MUST_CHECK;
/* Runs a statement that gives no rows, and resets it. */
enum avow_rc avow_sql_run(struct avow_store *s, sqlite3_stmt *q,
                          struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_sql_error(struct avow_store *s, const char *what,
                            struct avow_err *err) AVOW_MUST_CHECK;

/* Values are bound by reference: they must live until the step. ptr NULL binds NULL. */
void avow_sql_bind_bytes(sqlite3_stmt *q, int i, struct avow_bytes b);
void avow_sql_bind_str(sqlite3_stmt *q, int i, struct avow_str s);
void avow_sql_bind_u64(sqlite3_stmt *q, int i, uint64_t v); /* clipped to 2^63 - 1 */
/* Copies into the arena. */
enum avow_rc avow_sql_bytes(sqlite3_stmt *q, int i, struct avow_arena *a, struct avow_bytes *out,
                            struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_sql_str(sqlite3_stmt *q, int i, struct avow_arena *a, struct avow_str *out,
                          struct avow_err *err) AVOW_MUST_CHECK;
uint64_t avow_sql_u64(sqlite3_stmt *q, int i); /* negative: 0 */
/* Exactly len bytes. Errors: AVOW_IO. */
enum avow_rc avow_sql_fixed(sqlite3_stmt *q, int i, uint8_t *out, size_t len,
                            struct avow_err *err) AVOW_MUST_CHECK;

#endif
