/* policy_store.h - heads, chunks and the compiled documents they name. Layer: verifier-workers. No
 * I/O. A document is content-addressed: it counts only when the assembled bytes have the SHA-256
 * under which they are wanted, and it is wanted only by a signed head or a signed enrolment
 * (PROTOCOL R14, B2 Chunk). Compiled documents never change; pointers to them stay good until the
 * next call that changes the store. */
#ifndef AVOW_WORKER_POLICY_STORE_H
#define AVOW_WORKER_POLICY_STORE_H

#include "avow/base/map.h"
#include "avow/model/enrollment.h"
#include "policy_doc.h"

#define AVOW_POLICY_STORE_CHUNKS_MAX 1024u /* of one document */
#define AVOW_POLICY_STORE_LOOSE_MAX                                                                \
    (64u * 1024u * 1024u) /* bytes of chunks that nothing names yet */
#define AVOW_POLICY_STORE_HEADS_MAX 4096u

/* True if one of the signatures over `pae_sha256` (crypto/dsse.h) is by a key that may author the
 * policy `name`, which is empty for a document that an enrolment pins. */
typedef bool (*avow_policy_store_author_fn)(void *arg, struct avow_str name,
                                            const uint8_t pae_sha256[32], struct avow_bytes sigs);

struct avow_policy_store {
    struct avow_map heads;              /* name -> struct head, owned */
    struct avow_map docs;               /* SHA-256 -> struct avow_policy_doc, owned */
    avow_policy_store_author_fn author; /* the caller sets both; NULL: no envelope is believed */
    void *author_arg;
    size_t loose_bytes;
    bool lost_loose; /* loose chunks were thrown away: a later head may need another reading of the
                        topic */
    bool rescan_wanted; /* the caller reads the topic again from its beginning and clears it */
    uint64_t changes;   /* counts changes of what references resolve to */
};

void avow_policy_store_init(struct avow_policy_store *s, uint64_t seed0, uint64_t seed1);
void avow_policy_store_deinit(struct avow_policy_store *s);

enum avow_policy_store_result {
    AVOW_POLICY_STORE_IGNORED,  /* older, known, or not wanted */
    AVOW_POLICY_STORE_KEPT,     /* stored; nothing resolves differently yet */
    AVOW_POLICY_STORE_CHANGED,  /* references resolve differently now */
    AVOW_POLICY_STORE_CONFLICT, /* the head's generation is known with other content: the first
                                   stays */
    AVOW_POLICY_STORE_BAD, /* a document is complete and wrong, does not compile, or is by no policy
                              author; err has the reason */
};
/* `h` is verified; `content_sha256` is that of the record without its proof. `floor`: heads below
 * this generation are refused. Errors: AVOW_NOMEM, AVOW_LIMIT. err is also filled for _BAD. */
struct avow_policy_store_head_in {
    const struct avow_policy_head *head;
    const uint8_t *content_sha256; /* [32] */
    struct avow_bytes record;      /* as it was read; copied */
    uint64_t floor;
};
enum avow_rc avow_policy_store_head(struct avow_policy_store *s,
                                    const struct avow_policy_store_head_in *in,
                                    enum avow_policy_store_result *out,
                                    struct avow_err *err) AVOW_MUST_CHECK;
/* The trust bundle changed: heads for whose record `verify` is false are forgotten, and the topic
 * is wanted again, which may hold what they replaced. */
typedef bool (*avow_policy_store_verify_fn)(void *arg, struct avow_str key,
                                            struct avow_bytes record);
void avow_policy_store_distrust(struct avow_policy_store *s, avow_policy_store_verify_fn verify,
                                void *arg);
/* `key`: the Kafka key, blob/<sha256>/<i>. The chunk is unsigned: it can make its own document fail
 * to assemble, and nothing else. Errors: as above. */
enum avow_rc avow_policy_store_chunk(struct avow_policy_store *s, struct avow_str key,
                                     const struct avow_policy_chunk *c,
                                     enum avow_policy_store_result *out,
                                     struct avow_err *err) AVOW_MUST_CHECK;
/* An enrolment pins a document for one use; unpin when it no longer does. Errors: AVOW_NOMEM. */
enum avow_rc avow_policy_store_pin(struct avow_policy_store *s, enum avow_policy_use use,
                                   const uint8_t sha256[32], struct avow_err *err) AVOW_MUST_CHECK;
void avow_policy_store_unpin(struct avow_policy_store *s, enum avow_policy_use use,
                             const uint8_t sha256[32]);
/* Throws away the chunks that nothing names. */
void avow_policy_store_purge(struct avow_policy_store *s);

/* What was used, and the one compiled form that fits the use. */
struct avow_policy_store_ref {
    const struct avow_runtime_policy *runtime;
    const struct avow_boot_policy *boot;
    const struct avow_ima_keys *keys;
    const struct avow_severity *severity;
    struct avow_head_ref head; /* name borrowed from the store */
};
/* False if the reference does not resolve to a compiled document that may be used: our problem,
 * never the agent's. A signed envelope must be by a policy author, whatever the head says; a head
 * that requires one accepts nothing else (PROTOCOL R27). */
bool avow_policy_store_resolve(struct avow_policy_store *s, enum avow_policy_use use,
                               const struct avow_policy_ref *ref,
                               struct avow_policy_store_ref *out);
/* True if the head's runtime policy was `old_sha256` before and allows everything that one did, so
 * that trust is carried over (PROTOCOL R15 a). The comparison is made once. */
bool avow_policy_store_is_carried(struct avow_policy_store *s, struct avow_str name,
                                  const uint8_t old_sha256[32]);
/* Newest known generation of a head; false if unknown. */
bool avow_policy_store_generation(const struct avow_policy_store *s, struct avow_str name,
                                  uint64_t *out);

#endif
