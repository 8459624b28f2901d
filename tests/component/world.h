/* world.h - a fleet in memory: broker, clock, keys, tenant, agents, workers. Everything is
 * deterministic but the keys. */
#ifndef AVOW_TESTS_WORLD_H
#define AVOW_TESTS_WORLD_H

#include "rig.h"

#include "avow/base/arena.h"
#include "avow/bus/bus.h"
#include "avow/model/model.h"
#include "avow/trust/bundle.h"
#include "worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define WORLD_START_MS 1700000000000u /* an epoch boundary */
#define WORLD_EPOCH_MS 10000u
#define WORLD_SILENT_MS 70000u
#define WORLD_STEP_MS 100u /* one turn of a worker's loop */
#define WORLD_WORKERS 3u

struct world {
    struct avow_bus_mem_broker *broker;
    struct avow_bus *bus;
    struct avow_bus_producer *producer; /* agents and tenant */
    uint64_t unix_ms, mono_ms;
    uint32_t random; /* seed of nonces and ids */
    uint8_t fleet[16];
    uint16_t partitions;
    uint64_t bundle_version;
    struct avow_privkey *root_key, *tenant, *worker_key, *old_key, *stray;
    struct avow_root *root;
    struct avow_worker_keys keys;
    enum avow_guarantee guarantee;
    uint64_t min_version;
    uint32_t rebase_interval_ms; /* of the next bundle */
    const char *scratch_dir;     /* borrowed; of the next workers; NULL: none */
    struct avow_meter *meter;    /* borrowed; of WORLD_WORKERS threads; NULL: nobody watches */
    struct avow_worker *workers[WORLD_WORKERS];
    struct avow_trust *trust;
    struct avow_arena arena; /* of everything that is returned; until the end */
};

/* Topics, keys and the first bundle; no worker yet. */
void world_init(struct world *w, uint16_t partitions, enum avow_guarantee guarantee);
void world_deinit(struct world *w);
/* Time passes for everybody, without work. */
void world_pass(struct world *w, uint64_t ms);

/* Publishes a bundle; changes may be NULL. */
struct world_bundle {
    uint64_t version;                  /* 0: the next one */
    const struct avow_privkey *signer; /* NULL: root */
    enum avow_key_status tenant, old;  /* of the tenant's and the old worker key */
    bool has_author;                   /* w->stray may sign policies, and nothing else */
    enum avow_key_status author;
    bool author_of_envelopes; /* it may sign envelopes around them instead */
};
void world_bundle(struct world *w, const struct world_bundle *b);

/* Starts a worker; its first tick finds the bundle. */
void world_worker(struct world *w, unsigned i, const char *instance);
/* Lets worker i work for `ms`. Fails the test if it ends by itself. */
void world_run(struct world *w, unsigned i, uint64_t ms);
/* As world_run, but returns what a failing worker returns. */
enum avow_rc world_try(struct world *w, unsigned i, uint64_t ms, struct avow_err *err);
/* A clean end. */
void world_stop(struct world *w, unsigned i);
/* As SIGKILL: nothing is committed, the group notices later. */
void world_kill(struct world *w, unsigned i);

struct world_enroll {
    uint64_t generation;
    enum avow_enroll_status status;
    const char *policy;                /* head; NULL: none */
    const uint8_t *fleet;              /* NULL: this one */
    const struct avow_privkey *signer; /* NULL: tenant */
    const char *kafka_key;             /* NULL: the agent's id */
    uint32_t validity_ms;              /* makes another content */
    enum avow_recovery recovery;
    uint64_t paused_until_ms, issued_ms; /* issued_ms 0: now */
    bool other_banks;                    /* demands SHA-384 */
};
void world_enroll(struct world *w, const struct rig_agent *a, const struct world_enroll *e);
/* A document that allows each of `paths` with the content of its own name; and its head. */
void world_policy(struct world *w, const char *name, uint64_t generation, const char *const *paths,
                  size_t n);
/* Any document, and its head. */
void world_document(struct world *w, const char *name, uint64_t generation, struct avow_bytes doc,
                    const struct avow_privkey *signer);
/* Any record of any topic ("enrollments"); value NULL: a null. */
void world_put(struct world *w, const char *base, int32_t partition, const char *key,
               struct avow_bytes value);
void world_put_null(struct world *w, const char *base, const char *key);
int32_t world_partition(const struct world *w, const char *id);

/* Good markers of a partition, and the newest one. */
size_t world_markers(struct world *w, int32_t partition, struct avow_marker *last);
/* Newest good marker of the agent's partition; fails the test if there is none. */
void world_marker(struct world *w, const struct rig_agent *a, struct avow_marker *out);
/* The agent obeys what directives ask (resync) and sends the next evidence; returns its bytes. */
struct avow_bytes world_attest(struct world *w, struct rig_agent *a);
struct avow_bytes world_attest_with(struct world *w, struct rig_agent *a,
                                    const struct avow_marker *m, const struct rig_tamper *t);
void world_send(struct world *w, const struct rig_agent *a, struct avow_bytes evidence);
/* As world_attest, but in n parts, and nothing is sent: records[0] is the head. */
void world_cut(struct world *w, struct rig_agent *a, size_t n, struct avow_bytes *records);
/* Attests and lets worker i work for a second. */
void world_turn(struct world *w, unsigned i, struct rig_agent *a);

/* What readers see under read_committed. `last` may be NULL. */
size_t world_verdicts(struct world *w, const char *id, struct avow_verdict *last);
/* -1: any class. */
size_t world_revocations(struct world *w, const char *key, int class, struct avow_revocation *last);
size_t world_alarms(struct world *w, const char *event);
size_t world_states(struct world *w, const char *id, struct avow_state *last);
size_t world_dead_letters(struct world *w, enum avow_drop_reason reason);
size_t world_directives(struct world *w, const char *id, struct avow_directive *last);
/* Verdicts have rising seq, and transitions without a gap; no revocation id is there twice. */
void world_check_exactly_once(struct world *w, const char *id);
void world_expect(struct world *w, const char *id, enum avow_status status);

#endif
