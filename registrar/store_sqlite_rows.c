/* SQLite: agents, challenges, outbox, small values. */
#include "store_sqlite.h"

#include "avow/base/clock.h"

#include <assert.h>
#include <string.h>

#include "avow/base/banned.h"

/* Columns of a claim, in the order of CLAIM_COLUMNS. */
enum {
    CLAIM_EK,
    CLAIM_AK,
    CLAIM_AK_NAME,
    CLAIM_CERTS,
    CLAIM_IP,
    CLAIM_PORT,
    CLAIM_MTLS,
    CLAIM_RULE,
    CLAIM_TRUSTED,
    CLAIM_TIME,
    CLAIM_DETAIL,
    CLAIM_CERT_SHA256,
    CLAIM_IAK,
    CLAIM_IDEVID,
    CLAIM_SERIAL
};

void avow_sql_bind_bytes(sqlite3_stmt *q, int i, struct avow_bytes b)
{
    if (b.ptr)
        sqlite3_bind_blob64(q, i, b.ptr, b.len, SQLITE_STATIC);
    else
        sqlite3_bind_null(q, i);
}

void avow_sql_bind_str(sqlite3_stmt *q, int i, struct avow_str s)
{
    if (s.ptr)
        sqlite3_bind_text64(q, i, s.ptr, s.len, SQLITE_STATIC, SQLITE_UTF8);
    else
        sqlite3_bind_null(q, i);
}

void avow_sql_bind_u64(sqlite3_stmt *q, int i, uint64_t v)
{
    sqlite3_bind_int64(q, i, v > INT64_MAX ? INT64_MAX : (int64_t)v);
}

uint64_t avow_sql_u64(sqlite3_stmt *q, int i)
{
    int64_t v = sqlite3_column_int64(q, i);
    return v < 0 ? 0 : (uint64_t)v;
}

enum avow_rc avow_sql_bytes(sqlite3_stmt *q, int i, struct avow_arena *a, struct avow_bytes *out,
                            struct avow_err *err)
{
    *out = (struct avow_bytes){0};
    if (sqlite3_column_type(q, i) == SQLITE_NULL)
        return AVOW_OK;
    const void *p = sqlite3_column_blob(q, i);
    struct avow_bytes in = avow_bytes_make(p, (size_t)sqlite3_column_bytes(q, i));
    if (!in.len)
        return AVOW_OK;
    *out = p ? avow_arena_bytes(a, in) : (struct avow_bytes){0};
    return out->ptr ? AVOW_OK : avow_err_set(err, AVOW_NOMEM, 0, "database row");
}

enum avow_rc avow_sql_str(sqlite3_stmt *q, int i, struct avow_arena *a, struct avow_str *out,
                          struct avow_err *err)
{
    *out = (struct avow_str){0};
    if (sqlite3_column_type(q, i) == SQLITE_NULL)
        return AVOW_OK;
    const void *p = sqlite3_column_text(q, i);
    struct avow_str in = {p, (size_t)sqlite3_column_bytes(q, i)};
    const char *copy = p ? avow_arena_cstr(a, in) : NULL;
    if (!copy)
        return avow_err_set(err, AVOW_NOMEM, 0, "database row");
    *out = (struct avow_str){copy, in.len};
    return AVOW_OK;
}

enum avow_rc avow_sql_fixed(sqlite3_stmt *q, int i, uint8_t *out, size_t len, struct avow_err *err)
{
    const void *p = sqlite3_column_blob(q, i);
    if (!p || (size_t)sqlite3_column_bytes(q, i) != len)
        return avow_err_set(err, AVOW_IO, 0, "database: column %s is not %zu bytes",
                            sqlite3_column_name(q, i), len);
    memcpy(out, p, len);
    return AVOW_OK;
}

static void bind_claim(sqlite3_stmt *q, int at, const struct avow_claim *c)
{
    avow_sql_bind_bytes(q, at + CLAIM_EK, c->ek_public);
    avow_sql_bind_bytes(q, at + CLAIM_AK, c->ak_public);
    avow_sql_bind_bytes(q, at + CLAIM_AK_NAME, c->ak_name);
    if (c->ek_certs.len)
        avow_sql_bind_bytes(q, at + CLAIM_CERTS, c->ek_certs);
    avow_sql_bind_str(q, at + CLAIM_IP, c->ip);
    if (c->port)
        avow_sql_bind_u64(q, at + CLAIM_PORT, c->port);
    avow_sql_bind_str(q, at + CLAIM_MTLS, c->mtls_cert);
    avow_sql_bind_str(q, at + CLAIM_RULE, c->trust.rule);
    avow_sql_bind_u64(q, at + CLAIM_TRUSTED, c->trust.trusted ? 1 : 0);
    avow_sql_bind_u64(q, at + CLAIM_TIME, c->trust.time_ms);
    avow_sql_bind_str(q, at + CLAIM_DETAIL, c->trust.detail);
    if (c->trust.has_cert_sha256)
        avow_sql_bind_bytes(q, at + CLAIM_CERT_SHA256, AVOW_BYTES_OF(c->trust.cert_sha256));
    if (c->iak_certs.len)
        avow_sql_bind_bytes(q, at + CLAIM_IAK, c->iak_certs);
    if (c->idevid_certs.len)
        avow_sql_bind_bytes(q, at + CLAIM_IDEVID, c->idevid_certs);
    avow_sql_bind_str(q, at + CLAIM_SERIAL, c->device_serial);
}

static enum avow_rc read_trust(sqlite3_stmt *q, int at, struct avow_arena *a,
                               struct avow_ek_trust *t, struct avow_err *err)
{
    enum avow_rc rc = avow_sql_str(q, at + CLAIM_RULE, a, &t->rule, err);
    if (!rc)
        rc = avow_sql_str(q, at + CLAIM_DETAIL, a, &t->detail, err);
    t->trusted = avow_sql_u64(q, at + CLAIM_TRUSTED) == 1;
    t->time_ms = avow_sql_u64(q, at + CLAIM_TIME);
    t->has_cert_sha256 = sqlite3_column_type(q, at + CLAIM_CERT_SHA256) != SQLITE_NULL;
    if (!rc && t->has_cert_sha256)
        rc = avow_sql_fixed(q, at + CLAIM_CERT_SHA256, t->cert_sha256, sizeof t->cert_sha256, err);
    return rc;
}

static enum avow_rc read_claim(sqlite3_stmt *q, int at, struct avow_arena *a, struct avow_claim *c,
                               struct avow_err *err)
{
    enum avow_rc rc = avow_sql_bytes(q, at + CLAIM_EK, a, &c->ek_public, err);
    if (!rc)
        rc = avow_sql_bytes(q, at + CLAIM_AK, a, &c->ak_public, err);
    if (!rc)
        rc = avow_sql_bytes(q, at + CLAIM_AK_NAME, a, &c->ak_name, err);
    if (!rc)
        rc = avow_sql_bytes(q, at + CLAIM_CERTS, a, &c->ek_certs, err);
    if (!rc)
        rc = avow_sql_str(q, at + CLAIM_IP, a, &c->ip, err);
    if (!rc)
        rc = avow_sql_str(q, at + CLAIM_MTLS, a, &c->mtls_cert, err);
    if (!rc)
        rc = avow_sql_bytes(q, at + CLAIM_IAK, a, &c->iak_certs, err);
    if (!rc)
        rc = avow_sql_bytes(q, at + CLAIM_IDEVID, a, &c->idevid_certs, err);
    if (!rc)
        rc = avow_sql_str(q, at + CLAIM_SERIAL, a, &c->device_serial, err);
    c->port = (uint16_t)avow_sql_u64(q, at + CLAIM_PORT); /* NULL reads as 0 */
    return rc ? rc : read_trust(q, at, a, &c->trust, err);
}

static enum avow_rc load_agent(struct avow_store *s, struct avow_str id, struct avow_arena *a,
                               struct avow_agent *out, struct avow_err *err)
{
    sqlite3_stmt *q = avow_sql_get(s, AVOW_SQL_AGENT);
    bool row = false;
    *out = (struct avow_agent){.status = AVOW_AGENT_NONE};
    avow_sql_bind_str(q, 1, id);
    enum avow_rc rc = avow_sql_step(s, q, &row, err);
    if (!rc && row) {
        out->status = avow_sql_u64(q, 0) == 1 ? AVOW_AGENT_ACTIVE : AVOW_AGENT_REMOVED;
        out->generation = avow_sql_u64(q, 1);
        out->regcount = (uint32_t)avow_sql_u64(q, 2);
        out->registered_ms = avow_sql_u64(q, 3);
        out->tag_until_ms = avow_sql_u64(q, 4);
        rc = avow_sql_fixed(q, 5, out->tag_sha256, sizeof out->tag_sha256, err);
        out->allow_until_ms = avow_sql_u64(q, 6);
        if (!rc)
            rc = read_claim(q, 7, a, &out->claim, err);
    }
    sqlite3_reset(q);
    return rc;
}

static enum avow_rc read_pending(sqlite3_stmt *q, struct avow_arena *a, struct avow_pending *p,
                                 struct avow_err *err)
{
    p->seq = sqlite3_column_int64(q, 0);
    enum avow_rc rc = avow_sql_fixed(q, 1, p->digest, sizeof p->digest, err);
    if (!rc)
        rc = avow_sql_str(q, 2, a, &p->source, err);
    if (!rc)
        rc = avow_sql_fixed(q, 3, p->secret, sizeof p->secret, err);
    p->issued_ms = avow_sql_u64(q, 4);
    p->expires_ms = avow_sql_u64(q, 5);
    p->attempts = (uint32_t)avow_sql_u64(q, 6);
    return rc ? rc : read_claim(q, 7, a, &p->claim, err);
}

/* The newest come first from the database and are put in order, oldest first. */
static enum avow_rc load_pending(struct avow_store *s, struct avow_str id, struct avow_arena *a,
                                 struct avow_stored *out, struct avow_err *err)
{
    sqlite3_stmt *q = avow_sql_get(s, AVOW_SQL_PENDING);
    bool row = true;
    enum avow_rc rc = AVOW_OK;
    out->n_pending = 0;
    avow_sql_bind_str(q, 1, id);
    sqlite3_bind_int(q, 2, AVOW_PENDING_PER_ID);
    while (!rc && row && out->n_pending < AVOW_PENDING_PER_ID) {
        rc = avow_sql_step(s, q, &row, err);
        if (!rc && row) {
            memmove(out->pending + 1, out->pending, out->n_pending * sizeof out->pending[0]);
            out->pending[0] = (struct avow_pending){0};
            rc = read_pending(q, a, &out->pending[0], err);
            out->n_pending++;
        }
    }
    sqlite3_reset(q);
    return rc;
}

static enum avow_rc count(struct avow_store *s, sqlite3_stmt *q, uint64_t *out,
                          struct avow_err *err)
{
    bool row = false;
    enum avow_rc rc = avow_sql_step(s, q, &row, err);
    if (!rc)
        *out = row ? avow_sql_u64(q, 0) : 0;
    sqlite3_reset(q);
    return rc;
}

enum avow_rc avow_store_load(struct avow_store *s, struct avow_str id, struct avow_str source,
                             uint64_t now_ms, struct avow_arena *arena, struct avow_stored *out,
                             struct avow_err *err)
{
    enum avow_rc rc = load_agent(s, id, arena, &out->agent, err);
    if (!rc)
        rc = load_pending(s, id, arena, out, err);
    if (rc)
        return rc;
    sqlite3_stmt *q = avow_sql_get(s, AVOW_SQL_PENDING_OF_SOURCE);
    avow_sql_bind_str(q, 1, source);
    avow_sql_bind_u64(q, 2, now_ms);
    rc = count(s, q, &out->pending_of_source, err);
    if (rc)
        return rc;
    q = avow_sql_get(s, AVOW_SQL_PENDING_TOTAL);
    avow_sql_bind_u64(q, 1, now_ms);
    return count(s, q, &out->pending_total, err);
}

static enum avow_rc put_agent(struct avow_store *s, struct avow_str id, const struct avow_agent *a,
                              struct avow_err *err)
{
    assert(!s->sync_normal); /* what is answered 200 survives a power cut */
    sqlite3_stmt *q = avow_sql_get(s, AVOW_SQL_AGENT_PUT);
    avow_sql_bind_str(q, 1, id);
    avow_sql_bind_u64(q, 2, a->status == AVOW_AGENT_ACTIVE ? 1 : 2);
    avow_sql_bind_u64(q, 3, a->generation);
    avow_sql_bind_u64(q, 4, a->regcount);
    avow_sql_bind_u64(q, 5, a->registered_ms);
    avow_sql_bind_u64(q, 6, a->tag_until_ms);
    avow_sql_bind_bytes(q, 7, AVOW_BYTES_OF(a->tag_sha256));
    avow_sql_bind_u64(q, 8, a->allow_until_ms);
    bind_claim(q, 9, &a->claim);
    enum avow_rc rc = avow_sql_run(s, q, err);
    if (rc)
        return rc;
    q = avow_sql_get(s, AVOW_SQL_OUTBOX_ADD);
    avow_sql_bind_str(q, 1, id);
    avow_sql_bind_u64(q, 2, a->generation);
    avow_sql_bind_u64(q, 3, avow_clock_unix_ms());
    return avow_sql_run(s, q, err);
}

static enum avow_rc add_pending(struct avow_store *s, struct avow_str id,
                                const struct avow_pending *p, struct avow_err *err)
{
    sqlite3_stmt *q = avow_sql_get(s, AVOW_SQL_PENDING_ADD);
    avow_sql_bind_str(q, 1, id);
    avow_sql_bind_bytes(q, 2, AVOW_BYTES_OF(p->digest));
    avow_sql_bind_str(q, 3, p->source);
    avow_sql_bind_bytes(q, 4, AVOW_BYTES_OF(p->secret));
    avow_sql_bind_u64(q, 5, p->issued_ms);
    avow_sql_bind_u64(q, 6, p->expires_ms);
    avow_sql_bind_u64(q, 7, p->attempts);
    bind_claim(q, 8, &p->claim);
    return avow_sql_run(s, q, err);
}

static enum avow_rc apply_one(struct avow_store *s, struct avow_str id, const struct avow_change *c,
                              struct avow_err *err)
{
    sqlite3_stmt *q;
    switch (c->kind) {
    case AVOW_CHANGE_PENDING_ADD:
        return add_pending(s, id, &c->pending, err);
    case AVOW_CHANGE_PENDING_ATTEMPTS:
        q = avow_sql_get(s, AVOW_SQL_PENDING_ATTEMPTS);
        avow_sql_bind_u64(q, 1, c->attempts);
        sqlite3_bind_int64(q, 2, c->seq);
        avow_sql_bind_str(q, 3, id);
        return avow_sql_run(s, q, err);
    case AVOW_CHANGE_PENDING_DROP:
        q = avow_sql_get(s, AVOW_SQL_PENDING_DROP);
        sqlite3_bind_int64(q, 1, c->seq);
        avow_sql_bind_str(q, 2, id);
        return avow_sql_run(s, q, err);
    case AVOW_CHANGE_AGENT:
        return put_agent(s, id, &c->agent, err);
    case AVOW_CHANGE_ALLOW:
        q = avow_sql_get(s, AVOW_SQL_AGENT_ALLOW);
        avow_sql_bind_u64(q, 1, c->allow_until_ms);
        avow_sql_bind_str(q, 2, id);
        return avow_sql_run(s, q, err);
    }
    return avow_err_set(err, AVOW_STATE, 0, "unknown change %d", (int)c->kind);
}

enum avow_rc avow_store_apply(struct avow_store *s, struct avow_str id,
                              const struct avow_change *changes, size_t n, struct avow_err *err)
{
    enum avow_rc rc = AVOW_OK;
    for (size_t i = 0; i < n && !rc; i++)
        rc = apply_one(s, id, &changes[i], err);
    return rc;
}

enum avow_rc avow_store_agent(struct avow_store *s, struct avow_str id, struct avow_arena *arena,
                              struct avow_agent *out, struct avow_err *err)
{
    pthread_mutex_lock(&s->mutex);
    enum avow_rc rc = load_agent(s, id, arena, out, err);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

enum avow_rc avow_store_list(struct avow_store *s, uint64_t now_ms, avow_store_id_fn fn, void *arg,
                             struct avow_err *err)
{
    bool row = true;
    enum avow_rc rc = AVOW_OK;
    pthread_mutex_lock(&s->mutex);
    sqlite3_stmt *q = avow_sql_get(s, AVOW_SQL_LIST);
    avow_sql_bind_u64(q, 1, now_ms);
    while (!rc && row) {
        rc = avow_sql_step(s, q, &row, err);
        const void *id = !rc && row ? sqlite3_column_text(q, 0) : NULL;
        if (id)
            fn(arg, (struct avow_str){id, (size_t)sqlite3_column_bytes(q, 0)});
    }
    sqlite3_reset(q);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

enum avow_rc avow_store_purge(struct avow_store *s, uint64_t now_ms, struct avow_err *err)
{
    pthread_mutex_lock(&s->mutex);
    sqlite3_stmt *q = avow_sql_get(s, AVOW_SQL_PURGE);
    avow_sql_bind_u64(q, 1, now_ms);
    enum avow_rc rc = avow_sql_sync(s, true, err);
    if (!rc)
        rc = avow_sql_run(s, q, err);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

static enum avow_rc read_outbox(struct avow_store *s, sqlite3_stmt *q, struct avow_arena *arena,
                                struct avow_outbox_item *out, size_t max, size_t *n,
                                struct avow_err *err)
{
    bool row = true;
    size_t got = 0;
    enum avow_rc rc = AVOW_OK;
    while (!rc && row && got < max) {
        rc = avow_sql_step(s, q, &row, err);
        if (!rc && row) {
            out[got].seq = sqlite3_column_int64(q, 0);
            out[got].generation = avow_sql_u64(q, 2);
            rc = avow_sql_str(q, 1, arena, &out[got++].id, err);
        }
    }
    if (!rc)
        *n = got;
    return rc;
}

enum avow_rc avow_store_outbox(struct avow_store *s, size_t max, struct avow_arena *arena,
                               struct avow_outbox_item *out, size_t *n, struct avow_err *err)
{
    pthread_mutex_lock(&s->mutex);
    sqlite3_stmt *q = avow_sql_get(s, AVOW_SQL_OUTBOX);
    avow_sql_bind_u64(q, 1, max);
    enum avow_rc rc = read_outbox(s, q, arena, out, max, n, err);
    sqlite3_reset(q);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

enum avow_rc avow_store_outbox_done(struct avow_store *s, int64_t seq, struct avow_err *err)
{
    pthread_mutex_lock(&s->mutex);
    sqlite3_stmt *q = avow_sql_get(s, AVOW_SQL_OUTBOX_DONE);
    sqlite3_bind_int64(q, 1, seq);
    enum avow_rc rc = avow_sql_sync(s, true, err);
    if (!rc)
        rc = avow_sql_run(s, q, err);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

enum avow_rc avow_store_outbox_count(struct avow_store *s, uint64_t *out, struct avow_err *err)
{
    pthread_mutex_lock(&s->mutex);
    enum avow_rc rc = count(s, avow_sql_get(s, AVOW_SQL_OUTBOX_COUNT), out, err);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

enum avow_rc avow_store_meta_get(struct avow_store *s, const char *name, struct avow_buf *out,
                                 struct avow_err *err)
{
    bool row = false;
    pthread_mutex_lock(&s->mutex);
    sqlite3_stmt *q = avow_sql_get(s, AVOW_SQL_META_GET);
    avow_sql_bind_str(q, 1, avow_str_from(name));
    enum avow_rc rc = avow_sql_step(s, q, &row, err);
    if (!rc && !row)
        rc = avow_err_set(err, AVOW_NOTFOUND, 0, "database: no value %s", name);
    if (!rc) {
        const void *p = sqlite3_column_blob(q, 0);
        avow_buf_put(out, p, (size_t)sqlite3_column_bytes(q, 0));
        rc = avow_buf_status(out, err);
    }
    sqlite3_reset(q);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

enum avow_rc avow_store_meta_set(struct avow_store *s, const char *name, struct avow_bytes value,
                                 struct avow_err *err)
{
    pthread_mutex_lock(&s->mutex);
    sqlite3_stmt *q = avow_sql_get(s, AVOW_SQL_META_SET);
    avow_sql_bind_str(q, 1, avow_str_from(name));
    sqlite3_bind_blob64(q, 2, value.ptr ? (const void *)value.ptr : "", value.len, SQLITE_STATIC);
    enum avow_rc rc = avow_sql_sync(s, false, err);
    if (!rc)
        rc = avow_sql_run(s, q, err);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}
