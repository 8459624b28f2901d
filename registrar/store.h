/* store.h - what the registrar keeps, behind a narrow interface: another database is another file.
 * Layer: registrar. One implementation: store_sqlite.c. A handle may be used by all threads:
 * between begin and end it belongs to one, the single calls take and release it themselves. Every
 * change is durable when end(commit) or the call returns AVOW_OK. Errors everywhere: AVOW_IO (disk,
 * read-only, corrupt, full), AVOW_LIMIT (full), AVOW_NOMEM. */
#ifndef AVOW_REGISTRAR_STORE_H
#define AVOW_REGISTRAR_STORE_H

#include "enroll_step.h"

struct avow_store;

/* Opens or creates (mode 0600), upgrades the schema, checks the file. A second registrar on one
 * file is AVOW_EXISTS. */
enum avow_rc avow_store_open(const char *path, uint64_t now_ms, struct avow_store **out,
                             struct avow_err *err) AVOW_MUST_CHECK;
void avow_store_close(struct avow_store *s);
AVOW_DEFINE_CLEANUP(struct avow_store, avow_store_close);

/* --- One request: begin, load, apply, end
 * ------------------------------------------------------------------- */
struct avow_stored {         /* from the arena */
    struct avow_agent agent; /* status NONE if there is none */
    struct avow_pending pending[AVOW_PENDING_PER_ID];
    size_t n_pending; /* the newest AVOW_PENDING_PER_ID, oldest first */
    uint64_t pending_of_source;
    uint64_t pending_total;
};
/* Locks the store for writing. After AVOW_OK, end must be called. */
enum avow_rc avow_store_begin(struct avow_store *s, struct avow_err *err) AVOW_MUST_CHECK;
/* As begin, for changes of challenges alone: the transaction is whole after any crash, but a power
 * cut may take the last ones back, and their agents ask again. It waits for no disk. */
enum avow_rc avow_store_begin_challenge(struct avow_store *s, struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_store_load(struct avow_store *s, struct avow_str id, struct avow_str source,
                             uint64_t now_ms, struct avow_arena *arena, struct avow_stored *out,
                             struct avow_err *err) AVOW_MUST_CHECK;
/* Writes the changes; a changed agent is put into the outbox in the same transaction. */
enum avow_rc avow_store_apply(struct avow_store *s, struct avow_str id,
                              const struct avow_change *changes, size_t n,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* Unlocks. commit false: nothing of it happened; the result is then always AVOW_OK. */
enum avow_rc avow_store_end(struct avow_store *s, bool commit,
                            struct avow_err *err) AVOW_MUST_CHECK;

/* --- Single calls
 * ------------------------------------------------------------------------------------------- */
/* The agent alone, without a write lock. status NONE if there is none. */
enum avow_rc avow_store_agent(struct avow_store *s, struct avow_str id, struct avow_arena *arena,
                              struct avow_agent *out, struct avow_err *err) AVOW_MUST_CHECK;
/* Calls fn for each id that is active or has an open challenge, sorted, each once. */
typedef void (*avow_store_id_fn)(void *arg, struct avow_str id);
enum avow_rc avow_store_list(struct avow_store *s, uint64_t now_ms, avow_store_id_fn fn, void *arg,
                             struct avow_err *err) AVOW_MUST_CHECK;
/* Deletes challenges that expired. */
enum avow_rc avow_store_purge(struct avow_store *s, uint64_t now_ms,
                              struct avow_err *err) AVOW_MUST_CHECK;

struct avow_outbox_item {
    int64_t seq;
    struct avow_str id;  /* from the arena */
    uint64_t generation; /* of the change; the agent's row may be newer by now */
};
/* The oldest items, at most max. */
enum avow_rc avow_store_outbox(struct avow_store *s, size_t max, struct avow_arena *arena,
                               struct avow_outbox_item *out, size_t *n,
                               struct avow_err *err) AVOW_MUST_CHECK;
/* Removes the items up to and including seq: call it only once the broker has acknowledged them. */
enum avow_rc avow_store_outbox_done(struct avow_store *s, int64_t seq,
                                    struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_store_outbox_count(struct avow_store *s, uint64_t *out,
                                     struct avow_err *err) AVOW_MUST_CHECK;

/* --- For operators
 * ------------------------------------------------------------------------------------------- */
struct avow_agent_line { /* borrowed during the call */
    struct avow_str id;
    enum avow_agent_status status;
    uint64_t generation, registered_ms;
    uint32_t regcount;
    struct avow_str trust_rule;
    bool trusted;
    struct avow_str ip; /* ptr NULL: none */
};
typedef void (*avow_store_line_fn)(void *arg, const struct avow_agent_line *line);
/* At most `max` agents with ids behind `after` (empty: from the first), in order of ids; removed
 * ones too if `removed`. */
struct avow_page {
    struct avow_str after;
    size_t max;
    bool removed;
};
enum avow_rc avow_store_page(struct avow_store *s, const struct avow_page *page,
                             avow_store_line_fn fn, void *arg,
                             struct avow_err *err) AVOW_MUST_CHECK;
struct avow_store_counts {
    uint64_t active, removed, pending, outbox;
    uint64_t outbox_since_ms; /* when its oldest row was put there; 0: empty or unknown */
};
enum avow_rc avow_store_counts(struct avow_store *s, uint64_t now_ms, struct avow_store_counts *out,
                               struct avow_err *err) AVOW_MUST_CHECK;
/* Would the database take a write now? Writes nothing, unless the last write failed: then only
 * another one can tell. */
enum avow_rc avow_store_probe(struct avow_store *s, struct avow_err *err) AVOW_MUST_CHECK;
/* Puts every agent, removed ones too, into the outbox, once; one transaction. */
enum avow_rc avow_store_republish(struct avow_store *s, uint64_t now_ms, uint64_t *queued,
                                  struct avow_err *err) AVOW_MUST_CHECK;
/* A consistent copy into the new file `path`, mode 0600, without open challenges: their secrets
 * have no place in a backup. Others go on reading and writing. An existing file is AVOW_EXISTS. */
enum avow_rc avow_store_backup(struct avow_store *s, const char *path, uint64_t *bytes,
                               struct avow_err *err) AVOW_MUST_CHECK;
/* Reads everything, with a connection of its own: structure, indexes, and what our own rules
 * demand. `problems` receives a line for each, none if all is well. */
enum avow_rc avow_store_check(struct avow_store *s, struct avow_buf *problems,
                              struct avow_err *err) AVOW_MUST_CHECK;

/* Small values by name; AVOW_NOTFOUND. */
enum avow_rc avow_store_meta_get(struct avow_store *s, const char *name, struct avow_buf *out,
                                 struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_store_meta_set(struct avow_store *s, const char *name, struct avow_bytes value,
                                 struct avow_err *err) AVOW_MUST_CHECK;

#endif
