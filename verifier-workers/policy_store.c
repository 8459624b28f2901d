/* policy_store.c - see policy_store.h. */
#include "policy_store.h"

#include "avow/base/hex.h"
#include "avow/base/num.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

struct claim { /* a head's on a document */
    bool made;
    enum avow_policy_use use;
    uint8_t sha256[32];
};
struct head {
    char name[129];
    uint8_t *record; /* owned */
    size_t record_len;
    uint64_t generation;
    uint8_t content_sha256[32];
    bool require_dsse;
    struct claim now;    /* not made for kinds that no worker uses */
    struct claim before; /* the document before this one is kept for comparison */
    int author;          /* AVOW_POLICY_AUTHOR_*, of the document that is an envelope */
    enum { COMPARE_OPEN, COMPARE_SUPERSET, COMPARE_OTHER } compared;
};

static struct avow_bytes sha_key(const uint8_t sha256[32])
{
    return avow_bytes_make(sha256, 32);
}

static void head_free(void *p)
{
    struct head *h = p;
    free(h->record);
    free(h);
}

void avow_policy_store_init(struct avow_policy_store *s, uint64_t seed0, uint64_t seed1)
{
    *s = (struct avow_policy_store){0};
    avow_map_init(&s->heads, seed0, seed1);
    avow_map_init(&s->docs, seed1, seed0);
}

void avow_policy_store_deinit(struct avow_policy_store *s)
{
    avow_map_deinit(&s->heads, head_free);
    avow_map_deinit(&s->docs, avow_policy_doc_free);
}

static enum avow_rc doc_get(struct avow_policy_store *s, const uint8_t sha256[32],
                            struct avow_policy_doc **out, struct avow_err *err)
{
    *out = avow_map_find(&s->docs, sha_key(sha256));
    if (*out)
        return AVOW_OK;
    struct avow_policy_doc *d;
    enum avow_rc rc = avow_policy_doc_new(sha256, &d, err);
    if (rc)
        return rc;
    rc = avow_map_set(&s->docs, sha_key(sha256), d, NULL);
    if (rc) {
        avow_policy_doc_free(d);
        return avow_err_set(err, rc, 0, "policy document");
    }
    s->loose_bytes += avow_policy_doc_weight(d);
    *out = d;
    return AVOW_OK;
}

static void doc_remove(struct avow_policy_store *s, struct avow_policy_doc *d)
{
    if (avow_policy_doc_is_loose(d))
        s->loose_bytes -= avow_policy_doc_weight(d);
    void *removed = avow_map_remove(&s->docs, sha_key(d->sha256));
    assert(removed == d);
    avow_policy_doc_free(removed);
}

/* --- Who signed an envelope --- */

static bool ask_author(const struct avow_policy_store *s, struct avow_str name,
                       const struct avow_policy_doc *d)
{
    return s->author && s->author(s->author_arg, name, d->pae_sha256, avow_buf_bytes(&d->sigs));
}

/* The answer is kept until the trust bundle changes. */
static bool head_may_use(const struct avow_policy_store *s, struct head *h,
                         const struct avow_policy_doc *d)
{
    if (!d->is_envelope)
        return !h->require_dsse;
    if (h->author == AVOW_POLICY_AUTHOR_OPEN)
        h->author = ask_author(s, avow_str_from(h->name), d) ? AVOW_POLICY_AUTHOR_GOOD
                                                             : AVOW_POLICY_AUTHOR_BAD;
    return h->author == AVOW_POLICY_AUTHOR_GOOD;
}

static bool pin_may_use(const struct avow_policy_store *s, struct avow_policy_doc *d)
{
    if (d->is_envelope && d->author_of_pins == AVOW_POLICY_AUTHOR_OPEN)
        d->author_of_pins = ask_author(s, (struct avow_str){NULL, 0}, d) ? AVOW_POLICY_AUTHOR_GOOD
                                                                         : AVOW_POLICY_AUTHOR_BAD;
    return !d->is_envelope || d->author_of_pins == AVOW_POLICY_AUTHOR_GOOD;
}

/* A compiled document that a head names and may not use is told at once. */
static void check_authors(struct avow_policy_store *s, const struct avow_policy_doc *d,
                          enum avow_policy_store_result *out, struct avow_err *err)
{
    for (size_t i = 0; i < s->heads.count; i++) {
        struct head *h = s->heads.entries[i].value;
        if (!h->now.made || !avow_ct_eq(h->now.sha256, d->sha256, 32) ||
            d->state[h->now.use] != AVOW_POLICY_FORM_READY || head_may_use(s, h, d))
            continue;
        avow_err_set(err, AVOW_UNTRUSTED, 0, "policy %s: %s", h->name,
                     d->is_envelope ? "no policy author of the trust bundle signed the envelope"
                                    : "its head demands a signed envelope, and it is none");
        *out = AVOW_POLICY_STORE_BAD;
    }
}

/* --- Documents --- */

/* Called whenever a wanted document may have become complete. */
static enum avow_rc doc_try(struct avow_policy_store *s, struct avow_policy_doc *d,
                            enum avow_policy_store_result *out, struct avow_err *err)
{
    bool good = true;
    if (avow_policy_doc_is_awaited(d)) {
        if (!avow_policy_doc_is_whole(d))
            return AVOW_OK;
        enum avow_rc rc = avow_policy_doc_compile(d, &good, err);
        if (rc)
            return rc;
        *out = good ? AVOW_POLICY_STORE_CHANGED : AVOW_POLICY_STORE_BAD;
        s->changes++;
    }
    if (good)
        check_authors(s, d, out, err);
    return AVOW_OK;
}

/* Somebody names the document from now on. Its chunks may have been thrown away: when it was loose,
 * or after it was compiled as something else. */
static void doc_want(struct avow_policy_store *s, struct avow_policy_doc *d, size_t *counter)
{
    bool loose = avow_policy_doc_is_loose(d);
    if (loose)
        s->loose_bytes -= avow_policy_doc_weight(d);
    ++*counter;
    if (avow_policy_doc_is_awaited(d) && !avow_policy_doc_is_whole(d) && (!loose || s->lost_loose))
        s->rescan_wanted = true;
}

static void doc_unwant(struct avow_policy_store *s, struct avow_policy_doc *d, size_t *counter)
{
    assert(*counter > 0);
    --*counter;
    if (!avow_policy_doc_is_loose(d))
        return;
    s->loose_bytes += avow_policy_doc_weight(d);
    doc_remove(s, d);
    s->lost_loose = true;
}

static struct avow_policy_doc *claimed(const struct avow_policy_store *s, const struct claim *c)
{
    return c->made ? avow_map_find(&s->docs, sha_key(c->sha256)) : NULL;
}

static void claim_drop(struct avow_policy_store *s, struct claim *c)
{
    struct avow_policy_doc *d = claimed(s, c);
    if (d)
        doc_unwant(s, d, &d->heads[c->use]);
    c->made = false;
}

/* --- Heads --- */

static bool name_of_head(struct avow_str key, struct avow_str *name)
{
    if (!avow_str_starts(key, "head/"))
        return false;
    *name = (struct avow_str){key.ptr + 5, key.len - 5};
    return avow_name_is_valid(*name);
}

static enum avow_rc head_make(struct avow_policy_store *s, struct avow_str name, struct head **out,
                              struct avow_err *err)
{
    if (s->heads.count >= AVOW_POLICY_STORE_HEADS_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "more than %u policy heads",
                            AVOW_POLICY_STORE_HEADS_MAX);
    struct head *h = calloc(1, sizeof *h);
    if (!h)
        return avow_err_set(err, AVOW_NOMEM, 0, "policy head");
    (void)avow_str_copy(h->name, sizeof h->name, name);
    enum avow_rc rc = avow_map_set(&s->heads, avow_bytes_make(name.ptr, name.len), h, NULL);
    if (rc) {
        free(h);
        return avow_err_set(err, rc, 0, "policy head");
    }
    *out = h;
    return AVOW_OK;
}

/* What the head named until now is kept for comparison, unless it is the same again. */
static void keep_previous(struct avow_policy_store *s, struct head *h, struct claim old)
{
    if (old.made && h->now.made && old.use == h->now.use &&
        avow_ct_eq(old.sha256, h->now.sha256, 32)) {
        claim_drop(s, &old);
        return;
    }
    claim_drop(s, &h->before);
    h->before = old;
    h->compared = COMPARE_OPEN;
}

/* Points the head at its new document. Errors: AVOW_NOMEM, and nothing is changed. */
static enum avow_rc claim_make(struct avow_policy_store *s, const struct avow_policy_head *h,
                               struct claim *out, struct avow_policy_doc **doc,
                               struct avow_err *err)
{
    *out = (struct claim){.made = false};
    out->made = avow_policy_use_of_kind(h->kind, &out->use);
    memcpy(out->sha256, h->sha256, 32);
    *doc = NULL;
    return out->made ? doc_get(s, h->sha256, doc, err) : AVOW_OK;
}

enum avow_rc avow_policy_store_head(struct avow_policy_store *s,
                                    const struct avow_policy_store_head_in *in,
                                    enum avow_policy_store_result *out, struct avow_err *err)
{
    const struct avow_policy_head *h = in->head;
    struct avow_str name;
    *out = AVOW_POLICY_STORE_IGNORED;
    if (!name_of_head(h->key, &name) || h->generation < in->floor || h->bytes > AVOW_POLICY_MAX ||
        h->chunks > AVOW_POLICY_STORE_CHUNKS_MAX)
        return AVOW_OK;
    struct head *known = avow_map_find(&s->heads, avow_bytes_make(name.ptr, name.len));
    if (known && h->generation <= known->generation) {
        if (h->generation == known->generation &&
            !avow_ct_eq(known->content_sha256, in->content_sha256, 32))
            *out = AVOW_POLICY_STORE_CONFLICT;
        return AVOW_OK;
    }
    uint8_t *record = malloc(in->record.len ? in->record.len : 1);
    if (!record)
        return avow_err_set(err, AVOW_NOMEM, 0, "policy head");
    if (in->record.len)
        memcpy(record, in->record.ptr, in->record.len);
    struct avow_policy_doc *d;
    struct claim now;
    enum avow_rc rc = claim_make(s, h, &now, &d, err);
    if (!rc && !known)
        rc = head_make(s, name, &known, err);
    if (rc) {
        free(record);
        return rc;
    }
    struct claim old = known->now;
    free(known->record);
    known->record = record;
    known->record_len = in->record.len;
    known->generation = h->generation;
    known->require_dsse = h->require_dsse;
    known->author = AVOW_POLICY_AUTHOR_OPEN;
    known->now = now;
    memcpy(known->content_sha256, in->content_sha256, 32);
    if (d) {
        d->sized = true;
        d->size = h->bytes;
        d->count = h->chunks;
        doc_want(s, d, &d->heads[now.use]);
    }
    keep_previous(s, known, old);
    s->changes++;
    *out = AVOW_POLICY_STORE_CHANGED;
    return d ? doc_try(s, d, out, err) : AVOW_OK;
}

static void head_forget(struct avow_policy_store *s, struct head *h)
{
    claim_drop(s, &h->now);
    claim_drop(s, &h->before);
    struct avow_str name = avow_str_from(h->name);
    head_free(avow_map_remove(&s->heads, avow_bytes_make(name.ptr, name.len)));
}

void avow_policy_store_distrust(struct avow_policy_store *s, avow_policy_store_verify_fn verify,
                                void *arg)
{
    for (size_t i = 0; i < s->docs.count; i++)
        ((struct avow_policy_doc *)s->docs.entries[i].value)->author_of_pins =
            AVOW_POLICY_AUTHOR_OPEN;
    for (size_t i = 0; i < s->heads.count;) {
        struct head *h = s->heads.entries[i].value;
        char key[sizeof "head/" + sizeof h->name];
        h->author = AVOW_POLICY_AUTHOR_OPEN;
        (void)snprintf(key, sizeof key, "head/%s", h->name);
        if (verify(arg, avow_str_from(key), avow_bytes_make(h->record, h->record_len))) {
            i++;
            continue;
        }
        head_forget(s, h); /* the last entry takes its place */
    }
    s->changes++; /* also what an author who is gone has signed */
    s->rescan_wanted = true;
}

/* --- Chunks --- */

/* blob/<64 hex>/<i> */
static bool blob_of_key(struct avow_str key, uint8_t sha256[32], uint64_t *index)
{
    if (!avow_str_starts(key, "blob/") || key.len < 5 + 64 + 2 || key.ptr[5 + 64] != '/')
        return false;
    struct avow_str hex = {key.ptr + 5, 64}, tail = {key.ptr + 70, key.len - 70};
    return avow_hex_decode(sha256, 32, hex) &&
           avow_num_parse_u64(tail, AVOW_POLICY_STORE_CHUNKS_MAX - 1, index);
}

static enum avow_rc doc_put(struct avow_policy_store *s, struct avow_policy_doc *d,
                            const struct avow_policy_chunk *c, struct avow_err *err)
{
    size_t before = avow_policy_doc_weight(d);
    enum avow_rc rc = avow_policy_doc_put(d, c, err);
    if (avow_policy_doc_is_loose(d))
        s->loose_bytes = s->loose_bytes - before + avow_policy_doc_weight(d);
    return rc;
}

enum avow_rc avow_policy_store_chunk(struct avow_policy_store *s, struct avow_str key,
                                     const struct avow_policy_chunk *c,
                                     enum avow_policy_store_result *out, struct avow_err *err)
{
    uint8_t sha256[32];
    uint64_t index;
    *out = AVOW_POLICY_STORE_IGNORED;
    if (!blob_of_key(key, sha256, &index) || index != c->index ||
        c->count > AVOW_POLICY_STORE_CHUNKS_MAX)
        return AVOW_OK;
    struct avow_policy_doc *d;
    enum avow_rc rc = doc_get(s, sha256, &d, err);
    if (rc)
        return rc;
    if (!avow_policy_doc_is_loose(d) && !avow_policy_doc_is_awaited(d))
        return AVOW_OK; /* judged already, once for all: its bytes are what their address says */
    rc = doc_put(s, d, c, err);
    if (rc)
        return rc;
    *out = AVOW_POLICY_STORE_KEPT;
    rc = doc_try(s, d, out, err);
    if (!rc && s->loose_bytes > AVOW_POLICY_STORE_LOOSE_MAX)
        avow_policy_store_purge(s);
    return rc;
}

enum avow_rc avow_policy_store_pin(struct avow_policy_store *s, enum avow_policy_use use,
                                   const uint8_t sha256[32], struct avow_err *err)
{
    struct avow_policy_doc *d;
    enum avow_rc rc = doc_get(s, sha256, &d, err);
    if (rc)
        return rc;
    doc_want(s, d, &d->pins[use]);
    enum avow_policy_store_result ignored = AVOW_POLICY_STORE_KEPT;
    return doc_try(s, d, &ignored, err);
}

void avow_policy_store_unpin(struct avow_policy_store *s, enum avow_policy_use use,
                             const uint8_t sha256[32])
{
    struct avow_policy_doc *d = avow_map_find(&s->docs, sha_key(sha256));
    if (d)
        doc_unwant(s, d, &d->pins[use]);
}

void avow_policy_store_purge(struct avow_policy_store *s)
{
    for (size_t i = 0; i < s->docs.count;) {
        struct avow_policy_doc *d = s->docs.entries[i].value;
        if (!avow_policy_doc_is_loose(d)) {
            i++;
            continue;
        }
        doc_remove(s, d); /* the last entry takes its place */
        s->lost_loose = true;
    }
}

/* --- Looks --- */

static struct avow_policy_doc *doc_ready(const struct avow_policy_store *s,
                                         enum avow_policy_use use, const uint8_t sha256[32])
{
    struct avow_policy_doc *d = avow_map_find(&s->docs, sha_key(sha256));
    return d && d->state[use] == AVOW_POLICY_FORM_READY ? d : NULL;
}

static const struct avow_policy_doc *resolve_pin(struct avow_policy_store *s,
                                                 enum avow_policy_use use, const uint8_t sha256[32])
{
    struct avow_policy_doc *d = doc_ready(s, use, sha256);
    return d && pin_may_use(s, d) ? d : NULL;
}

static const struct avow_policy_doc *resolve_head(struct avow_policy_store *s,
                                                  enum avow_policy_use use, struct avow_str name,
                                                  struct avow_head_ref *out)
{
    struct head *h = avow_map_find(&s->heads, avow_bytes_make(name.ptr, name.len));
    if (!h || !h->now.made || h->now.use != use)
        return NULL;
    const struct avow_policy_doc *d = doc_ready(s, use, h->now.sha256);
    if (!d || !head_may_use(s, h, d))
        return NULL;
    out->name = avow_str_from(h->name);
    out->generation = h->generation;
    return d;
}

bool avow_policy_store_resolve(struct avow_policy_store *s, enum avow_policy_use use,
                               const struct avow_policy_ref *ref, struct avow_policy_store_ref *out)
{
    *out = (struct avow_policy_store_ref){.runtime = NULL};
    const struct avow_policy_doc *d = ref->has_sha256 ? resolve_pin(s, use, ref->sha256)
                                      : ref->has_name ? resolve_head(s, use, ref->name, &out->head)
                                                      : NULL;
    if (!d)
        return false;
    memcpy(out->head.sha256, d->sha256, 32);
    out->runtime = use == AVOW_POLICY_USE_RUNTIME ? d->runtime : NULL;
    out->boot = use == AVOW_POLICY_USE_BOOT ? d->boot : NULL;
    out->keys = use == AVOW_POLICY_USE_KEYS ? d->keys : NULL;
    out->severity = use == AVOW_POLICY_USE_SEVERITY ? d->severity : NULL;
    return true;
}

bool avow_policy_store_is_carried(struct avow_policy_store *s, struct avow_str name,
                                  const uint8_t old_sha256[32])
{
    struct head *h = avow_map_find(&s->heads, avow_bytes_make(name.ptr, name.len));
    if (!h || !h->before.made || !h->now.made || h->before.use != AVOW_POLICY_USE_RUNTIME ||
        h->now.use != AVOW_POLICY_USE_RUNTIME || !avow_ct_eq(h->before.sha256, old_sha256, 32))
        return false;
    const struct avow_policy_doc *old = doc_ready(s, AVOW_POLICY_USE_RUNTIME, old_sha256);
    const struct avow_policy_doc *now = doc_ready(s, AVOW_POLICY_USE_RUNTIME, h->now.sha256);
    if (!old || !now)
        return false;
    if (h->compared == COMPARE_OPEN)
        h->compared = avow_runtime_policy_is_superset(old->runtime, now->runtime) ? COMPARE_SUPERSET
                                                                                  : COMPARE_OTHER;
    return h->compared == COMPARE_SUPERSET;
}

bool avow_policy_store_generation(const struct avow_policy_store *s, struct avow_str name,
                                  uint64_t *out)
{
    const struct head *h = avow_map_find(&s->heads, avow_bytes_make(name.ptr, name.len));
    if (h)
        *out = h->generation;
    return h != NULL;
}
