/* policy_store.c - see policy_store.h. */
#include "policy_store.h"

#include "avow/base/hex.h"
#include "avow/base/num.h"
#include "avow/crypto/digest.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

enum doc_state { DOC_INCOMPLETE, DOC_READY, DOC_BAD };

struct chunk {
    uint8_t *bytes; /* owned; NULL: not here yet */
    size_t len;
};
struct doc {
    uint8_t sha256[32];
    enum doc_state state;
    size_t heads, pins; /* who names it; both 0: loose */
    bool sized;         /* a head said how large it is */
    uint64_t size;
    uint32_t count; /* of chunks: the head's, else what the chunks claim, which only decides when to
                       try */
    struct chunk *chunks;
    size_t chunks_cap;
    size_t held; /* bytes of all chunks here */
    struct avow_runtime_policy *runtime;
};
struct head {
    char name[129];
    uint8_t *record; /* owned */
    size_t record_len;
    enum avow_policy_kind kind;
    uint64_t generation;
    uint8_t content_sha256[32];
    uint8_t sha256[32];
    bool require_dsse;
    bool has_previous; /* the document before this one is kept for comparison */
    uint8_t previous_sha256[32];
    enum { COMPARE_OPEN, COMPARE_SUPERSET, COMPARE_OTHER } compared;
};

static void doc_drop_chunks(struct doc *d)
{
    for (size_t i = 0; i < d->chunks_cap; i++)
        free(d->chunks[i].bytes);
    free(d->chunks);
    d->chunks = NULL;
    d->chunks_cap = 0;
    d->held = 0;
}

static void doc_free(void *p)
{
    struct doc *d = p;
    doc_drop_chunks(d);
    avow_runtime_policy_free(d->runtime);
    free(d);
}

static bool doc_is_loose(const struct doc *d)
{
    return !d->heads && !d->pins;
}

/* What a loose document costs: its bytes, and the tables that even an empty chunk makes. */
static size_t doc_weight(const struct doc *d)
{
    return sizeof *d + d->chunks_cap * sizeof *d->chunks + d->held;
}

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
    avow_map_deinit(&s->docs, doc_free);
}

static enum avow_rc doc_get(struct avow_policy_store *s, const uint8_t sha256[32], struct doc **out,
                            struct avow_err *err)
{
    *out = avow_map_find(&s->docs, sha_key(sha256));
    if (*out)
        return AVOW_OK;
    struct doc *d = calloc(1, sizeof *d);
    if (!d)
        return avow_err_set(err, AVOW_NOMEM, 0, "policy document");
    memcpy(d->sha256, sha256, 32);
    enum avow_rc rc = avow_map_set(&s->docs, sha_key(sha256), d, NULL);
    if (rc) {
        free(d);
        return avow_err_set(err, rc, 0, "policy document");
    }
    s->loose_bytes += doc_weight(d);
    *out = d;
    return AVOW_OK;
}

static void doc_remove(struct avow_policy_store *s, struct doc *d)
{
    if (doc_is_loose(d))
        s->loose_bytes -= doc_weight(d);
    void *removed = avow_map_remove(&s->docs, sha_key(d->sha256));
    assert(removed == d);
    doc_free(removed);
}

static bool doc_complete(const struct doc *d)
{
    if (!d->count || d->count > d->chunks_cap)
        return false;
    for (uint32_t i = 0; i < d->count; i++) {
        if (!d->chunks[i].bytes)
            return false;
    }
    return true;
}

static enum avow_rc doc_join(const struct doc *d, struct avow_buf *out, struct avow_err *err)
{
    for (uint32_t i = 0; i < d->count; i++)
        avow_buf_put(out, d->chunks[i].bytes, d->chunks[i].len);
    return avow_buf_status(out, err);
}

/* The document is whole and wanted: is it what its address says, and does it compile? Bytes are
 * hashed before anything parses them. */
static enum avow_rc doc_compile(struct doc *d, enum avow_policy_store_result *out,
                                struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf whole;
    avow_buf_init(&whole, AVOW_POLICY_MAX);
    char hex[65];
    avow_hex_encode(hex, sha_key(d->sha256));
    enum avow_rc rc = doc_join(d, &whole, err);
    if (rc == AVOW_NOMEM)
        return rc;
    uint8_t sha256[32];
    avow_sha256(avow_buf_bytes(&whole), sha256);
    d->state = DOC_BAD;
    *out = AVOW_POLICY_STORE_BAD;
    if (rc || (d->sized && whole.len != d->size) || !avow_ct_eq(sha256, d->sha256, 32)) {
        avow_err_set(err, AVOW_UNTRUSTED, 0, "policy %s: the chunks do not add up to this document",
                     hex);
        return AVOW_OK;
    }
    rc = avow_runtime_policy_load(avow_buf_bytes(&whole), &d->runtime, err);
    if (rc == AVOW_NOMEM)
        return rc;
    if (rc) {
        avow_err_wrap(err, rc, "policy %s", hex);
        return AVOW_OK;
    }
    doc_drop_chunks(d);
    d->state = DOC_READY;
    *out = AVOW_POLICY_STORE_CHANGED;
    return AVOW_OK;
}

/* Called whenever a wanted document may have become complete. */
static enum avow_rc doc_try(struct avow_policy_store *s, struct doc *d,
                            enum avow_policy_store_result *out, struct avow_err *err)
{
    if (d->state == DOC_READY || doc_is_loose(d))
        return AVOW_OK;
    if (!doc_complete(d)) {
        d->state = DOC_INCOMPLETE;
        return AVOW_OK;
    }
    enum avow_rc rc = doc_compile(d, out, err);
    if (!rc && *out == AVOW_POLICY_STORE_CHANGED)
        s->changes++;
    return rc;
}

/* Somebody names the document from now on. */
static void doc_want(struct avow_policy_store *s, struct doc *d, size_t *counter)
{
    if (doc_is_loose(d)) {
        s->loose_bytes -= doc_weight(d);
        if (d->state != DOC_READY && !doc_complete(d) && s->lost_loose)
            s->rescan_wanted = true;
    }
    ++*counter;
}

static void doc_unwant(struct avow_policy_store *s, struct doc *d, size_t *counter)
{
    assert(*counter > 0);
    --*counter;
    if (!doc_is_loose(d))
        return;
    s->loose_bytes += doc_weight(d);
    doc_remove(s, d);
    s->lost_loose = true;
}

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

/* `before` was the head's document: its claim passes to the head's memory of it. The same document
 * again changes nothing. */
static void keep_previous(struct avow_policy_store *s, struct head *h, struct doc *before)
{
    if (!before)
        return;
    if (avow_ct_eq(before->sha256, h->sha256, 32)) {
        doc_unwant(s, before, &before->heads);
        return;
    }
    struct doc *older =
        h->has_previous ? avow_map_find(&s->docs, sha_key(h->previous_sha256)) : NULL;
    if (older)
        doc_unwant(s, older, &older->heads);
    h->has_previous = true;
    h->compared = COMPARE_OPEN;
    memcpy(h->previous_sha256, before->sha256, 32);
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
    struct doc *d;
    enum avow_rc rc = doc_get(s, h->sha256, &d, err);
    struct doc *before = known ? avow_map_find(&s->docs, sha_key(known->sha256)) : NULL;
    if (!rc && !known)
        rc = head_make(s, name, &known, err);
    if (rc) {
        free(record);
        return rc;
    }
    free(known->record);
    known->record = record;
    known->record_len = in->record.len;
    doc_want(s, d, &d->heads);
    d->sized = true;
    d->size = h->bytes;
    d->count = h->chunks;
    known->kind = h->kind;
    known->generation = h->generation;
    known->require_dsse = h->require_dsse;
    memcpy(known->sha256, h->sha256, 32);
    memcpy(known->content_sha256, in->content_sha256, 32);
    keep_previous(s, known, before);
    s->changes++;
    *out = AVOW_POLICY_STORE_CHANGED;
    return h->kind == AVOW_POLICY_KIND_RUNTIME ? doc_try(s, d, out, err) : AVOW_OK;
}

static void head_forget(struct avow_policy_store *s, struct head *h)
{
    struct doc *now = avow_map_find(&s->docs, sha_key(h->sha256));
    if (now)
        doc_unwant(s, now, &now->heads);
    struct doc *previous =
        h->has_previous ? avow_map_find(&s->docs, sha_key(h->previous_sha256)) : NULL;
    if (previous)
        doc_unwant(s, previous, &previous->heads);
    struct avow_str name = avow_str_from(h->name);
    head_free(avow_map_remove(&s->heads, avow_bytes_make(name.ptr, name.len)));
}

void avow_policy_store_distrust(struct avow_policy_store *s, avow_policy_store_verify_fn verify,
                                void *arg)
{
    for (size_t i = 0; i < s->heads.count;) {
        struct head *h = s->heads.entries[i].value;
        char key[sizeof "head/" + sizeof h->name];
        (void)snprintf(key, sizeof key, "head/%s", h->name);
        if (verify(arg, avow_str_from(key), avow_bytes_make(h->record, h->record_len))) {
            i++;
            continue;
        }
        head_forget(s, h); /* the last entry takes its place */
        s->changes++;
    }
    s->rescan_wanted = true;
}

/* blob/<64 hex>/<i> */
static bool blob_of_key(struct avow_str key, uint8_t sha256[32], uint64_t *index)
{
    if (!avow_str_starts(key, "blob/") || key.len < 5 + 64 + 2 || key.ptr[5 + 64] != '/')
        return false;
    struct avow_str hex = {key.ptr + 5, 64}, tail = {key.ptr + 70, key.len - 70};
    return avow_hex_decode(sha256, 32, hex) &&
           avow_num_parse_u64(tail, AVOW_POLICY_STORE_CHUNKS_MAX - 1, index);
}

static enum avow_rc doc_put(struct avow_policy_store *s, struct doc *d,
                            const struct avow_policy_chunk *c, struct avow_err *err)
{
    if (c->index >= d->chunks_cap) {
        size_t cap = (size_t)c->index + 1;
        struct chunk *grown = realloc(d->chunks, cap * sizeof *grown);
        if (!grown)
            return avow_err_set(err, AVOW_NOMEM, 0, "policy chunks");
        memset(grown + d->chunks_cap, 0, (cap - d->chunks_cap) * sizeof *grown);
        if (doc_is_loose(d))
            s->loose_bytes += (cap - d->chunks_cap) * sizeof *grown;
        d->chunks = grown;
        d->chunks_cap = cap;
    }
    struct chunk *slot = &d->chunks[c->index];
    if (d->held - slot->len + c->bytes.len > AVOW_POLICY_MAX)
        return AVOW_OK; /* cannot be a document of ours any more; it stays incomplete or wrong */
    uint8_t *copy = malloc(c->bytes.len ? c->bytes.len : 1);
    if (!copy)
        return avow_err_set(err, AVOW_NOMEM, 0, "policy chunk");
    if (c->bytes.len)
        memcpy(copy, c->bytes.ptr, c->bytes.len);
    free(slot->bytes);
    if (doc_is_loose(d))
        s->loose_bytes = s->loose_bytes - slot->len + c->bytes.len;
    d->held = d->held - slot->len + c->bytes.len;
    *slot = (struct chunk){copy, c->bytes.len};
    return AVOW_OK;
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
    struct doc *d;
    enum avow_rc rc = doc_get(s, sha256, &d, err);
    if (rc)
        return rc;
    if (d->state == DOC_READY)
        return AVOW_OK;
    rc = doc_put(s, d, c, err);
    if (rc)
        return rc;
    if (!d->sized)
        d->count = c->count;
    *out = AVOW_POLICY_STORE_KEPT;
    rc = doc_try(s, d, out, err);
    if (!rc && s->loose_bytes > AVOW_POLICY_STORE_LOOSE_MAX)
        avow_policy_store_purge(s);
    return rc;
}

enum avow_rc avow_policy_store_pin(struct avow_policy_store *s, const uint8_t sha256[32],
                                   struct avow_err *err)
{
    struct doc *d;
    enum avow_rc rc = doc_get(s, sha256, &d, err);
    if (rc)
        return rc;
    doc_want(s, d, &d->pins);
    enum avow_policy_store_result ignored = AVOW_POLICY_STORE_KEPT;
    return doc_try(s, d, &ignored, err);
}

void avow_policy_store_unpin(struct avow_policy_store *s, const uint8_t sha256[32])
{
    struct doc *d = avow_map_find(&s->docs, sha_key(sha256));
    if (d)
        doc_unwant(s, d, &d->pins);
}

void avow_policy_store_purge(struct avow_policy_store *s)
{
    for (size_t i = 0; i < s->docs.count;) {
        struct doc *d = s->docs.entries[i].value;
        if (!doc_is_loose(d)) {
            i++;
            continue;
        }
        doc_remove(s, d); /* the last entry takes its place */
        s->lost_loose = true;
    }
}

static const struct doc *doc_ready(const struct avow_policy_store *s, const uint8_t sha256[32])
{
    const struct doc *d = avow_map_find(&s->docs, sha_key(sha256));
    return d && d->state == DOC_READY ? d : NULL;
}

bool avow_policy_store_resolve(const struct avow_policy_store *s, const struct avow_policy_ref *ref,
                               struct avow_policy_store_ref *out)
{
    *out = (struct avow_policy_store_ref){0};
    const uint8_t *sha256 = ref->has_sha256 ? ref->sha256 : NULL;
    if (!sha256 && ref->has_name) {
        const struct head *h =
            avow_map_find(&s->heads, avow_bytes_make(ref->name.ptr, ref->name.len));
        /* DSSE envelopes are not opened yet: a head that demands one does not resolve. */
        if (!h || h->kind != AVOW_POLICY_KIND_RUNTIME || h->require_dsse)
            return false;
        sha256 = h->sha256;
        out->head.name = avow_str_from(h->name);
        out->head.generation = h->generation;
    }
    const struct doc *d = sha256 ? doc_ready(s, sha256) : NULL;
    if (!d)
        return false;
    memcpy(out->head.sha256, sha256, 32);
    out->runtime = d->runtime;
    return true;
}

bool avow_policy_store_is_carried(struct avow_policy_store *s, struct avow_str name,
                                  const uint8_t old_sha256[32])
{
    struct head *h = avow_map_find(&s->heads, avow_bytes_make(name.ptr, name.len));
    if (!h || !h->has_previous || !avow_ct_eq(h->previous_sha256, old_sha256, 32))
        return false;
    const struct doc *old = doc_ready(s, h->previous_sha256), *now = doc_ready(s, h->sha256);
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
