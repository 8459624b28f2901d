/* policy_doc.h - one policy document: its chunks, and what it compiles to. Layer: verifier-workers.
 * Pure; private to policy_store.c. The bytes are hashed before anything parses them. */
#ifndef AVOW_WORKER_POLICY_DOC_H
#define AVOW_WORKER_POLICY_DOC_H

#include "avow/base/buf.h"
#include "avow/core/evaluate.h"
#include "avow/model/policy_chunk.h"
#include "avow/model/policy_head.h"

/* What an enrolment uses a document as. */
enum avow_policy_use {
    AVOW_POLICY_USE_RUNTIME,
    AVOW_POLICY_USE_BOOT, /* our own boot policy, or a reference state */
    AVOW_POLICY_USE_KEYS,
    AVOW_POLICY_USE_SEVERITY
};
#define AVOW_POLICY_USES 4u
/* The references of an enrolment by use; NULL: it names none. */
void avow_policy_refs_of(const struct avow_enrollment *e,
                         const struct avow_policy_ref *out[AVOW_POLICY_USES]);
/* False for a kind that no worker needs: static values stand in the enrolments. */
bool avow_policy_use_of_kind(enum avow_policy_kind kind, enum avow_policy_use *out);

enum avow_policy_form_state {
    AVOW_POLICY_FORM_OPEN, /* not compiled: not whole, or not wanted as this */
    AVOW_POLICY_FORM_READY,
    AVOW_POLICY_FORM_REFUSED /* it is what its address says, and not a policy of this kind */
};
struct avow_policy_doc_chunk {
    uint8_t *bytes; /* owned; NULL: not here yet */
    size_t len;
};
struct avow_policy_doc {
    uint8_t sha256[32];
    size_t heads[AVOW_POLICY_USES], pins[AVOW_POLICY_USES]; /* who names it; all 0: loose */
    bool sized;                                             /* a head said how large it is */
    uint64_t size;
    uint32_t count; /* of chunks: the head's, else what the chunks claim, which only decides when to
                       try */
    struct avow_policy_doc_chunk *chunks;
    size_t chunks_cap;
    size_t held; /* bytes of all chunks here */
    enum avow_policy_form_state state[AVOW_POLICY_USES];
    struct avow_runtime_policy *runtime;
    struct avow_boot_policy *boot;
    struct avow_ima_keys *keys;
    struct avow_severity *severity;
    /* Of a signed envelope: enough to ask again who signed it. */
    bool is_envelope;
    uint8_t pae_sha256[32];
    struct avow_buf sigs;
    enum {
        AVOW_POLICY_AUTHOR_OPEN,
        AVOW_POLICY_AUTHOR_GOOD,
        AVOW_POLICY_AUTHOR_BAD
    } author_of_pins;
};

/* Errors: AVOW_NOMEM. */
enum avow_rc avow_policy_doc_new(const uint8_t sha256[32], struct avow_policy_doc **out,
                                 struct avow_err *err) AVOW_MUST_CHECK;
void avow_policy_doc_free(void *doc);
bool avow_policy_doc_is_loose(const struct avow_policy_doc *d);
/* What a loose document costs: its bytes, and the tables that even an empty chunk makes. */
size_t avow_policy_doc_weight(const struct avow_policy_doc *d);
/* Every chunk is here. */
bool avow_policy_doc_is_whole(const struct avow_policy_doc *d);
/* Somebody wants it as something that it is not compiled as yet, nor refused. */
bool avow_policy_doc_is_awaited(const struct avow_policy_doc *d);
/* Replaces the chunk of this index; one that makes the document too large is ignored. Errors:
 * AVOW_NOMEM. */
enum avow_rc avow_policy_doc_put(struct avow_policy_doc *d, const struct avow_policy_chunk *c,
                                 struct avow_err *err) AVOW_MUST_CHECK;
/* Joins, hashes, unwraps and compiles a whole document as all that it is wanted as. *good: at least
 * one form became ready, and none was refused; else *err says why (also with AVOW_OK). The chunks
 * of a document that does not add up stay, because one of them may be replaced. Errors: AVOW_NOMEM.
 */
enum avow_rc avow_policy_doc_compile(struct avow_policy_doc *d, bool *good,
                                     struct avow_err *err) AVOW_MUST_CHECK;

#endif
