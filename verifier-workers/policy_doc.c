/* policy_doc.c - see policy_doc.h. */
#include "policy_doc.h"

#include "avow/base/hex.h"
#include "avow/crypto/digest.h"
#include "avow/crypto/dsse.h"
#include "avow/formats/dsse.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

bool avow_policy_use_of_kind(enum avow_policy_kind kind, enum avow_policy_use *out)
{
    switch (kind) {
    case AVOW_POLICY_KIND_RUNTIME:
        *out = AVOW_POLICY_USE_RUNTIME;
        return true;
    case AVOW_POLICY_KIND_REFSTATE:
    case AVOW_POLICY_KIND_BOOT:
        *out = AVOW_POLICY_USE_BOOT;
        return true;
    case AVOW_POLICY_KIND_KEYS:
        *out = AVOW_POLICY_USE_KEYS;
        return true;
    case AVOW_POLICY_KIND_SEVERITY:
        *out = AVOW_POLICY_USE_SEVERITY;
        return true;
    case AVOW_POLICY_KIND_STATIC:
    default:
        return false;
    }
}

void avow_policy_refs_of(const struct avow_enrollment *e,
                         const struct avow_policy_ref *out[AVOW_POLICY_USES])
{
    out[AVOW_POLICY_USE_RUNTIME] = e->has_runtime_policy ? &e->runtime_policy : NULL;
    out[AVOW_POLICY_USE_BOOT] = e->has_boot_policy ? &e->boot_policy : NULL;
    out[AVOW_POLICY_USE_KEYS] = e->has_verify_keys ? &e->verify_keys : NULL;
    out[AVOW_POLICY_USE_SEVERITY] = e->has_severity ? &e->severity : NULL;
}

enum avow_rc avow_policy_doc_new(const uint8_t sha256[32], struct avow_policy_doc **out,
                                 struct avow_err *err)
{
    struct avow_policy_doc *d = calloc(1, sizeof *d);
    if (!d)
        return avow_err_set(err, AVOW_NOMEM, 0, "policy document");
    memcpy(d->sha256, sha256, sizeof d->sha256);
    *out = d;
    return AVOW_OK;
}

static void drop_chunks(struct avow_policy_doc *d)
{
    for (size_t i = 0; i < d->chunks_cap; i++)
        free(d->chunks[i].bytes);
    free(d->chunks);
    d->chunks = NULL;
    d->chunks_cap = 0;
    d->held = 0;
}

void avow_policy_doc_free(void *doc)
{
    struct avow_policy_doc *d = doc;
    if (!d)
        return;
    drop_chunks(d);
    avow_runtime_policy_free(d->runtime);
    avow_ima_keys_free(d->keys);
    avow_severity_free(d->severity);
    avow_boot_policy_free(d->boot);
    avow_buf_deinit(&d->sigs);
    free(d);
}

bool avow_policy_doc_is_loose(const struct avow_policy_doc *d)
{
    for (size_t i = 0; i < AVOW_POLICY_USES; i++) {
        if (d->heads[i] || d->pins[i])
            return false;
    }
    return true;
}

size_t avow_policy_doc_weight(const struct avow_policy_doc *d)
{
    return sizeof *d + d->chunks_cap * sizeof *d->chunks + d->held;
}

bool avow_policy_doc_is_whole(const struct avow_policy_doc *d)
{
    if (!d->count || d->count > d->chunks_cap)
        return false;
    for (uint32_t i = 0; i < d->count; i++) {
        if (!d->chunks[i].bytes)
            return false;
    }
    return true;
}

static bool is_awaited_as(const struct avow_policy_doc *d, size_t use)
{
    return (d->heads[use] || d->pins[use]) && d->state[use] == AVOW_POLICY_FORM_OPEN;
}

bool avow_policy_doc_is_awaited(const struct avow_policy_doc *d)
{
    for (size_t i = 0; i < AVOW_POLICY_USES; i++) {
        if (is_awaited_as(d, i))
            return true;
    }
    return false;
}

static enum avow_rc grow_chunks(struct avow_policy_doc *d, size_t cap, struct avow_err *err)
{
    struct avow_policy_doc_chunk *grown = realloc(d->chunks, cap * sizeof *grown);
    if (!grown)
        return avow_err_set(err, AVOW_NOMEM, 0, "policy chunks");
    memset(grown + d->chunks_cap, 0, (cap - d->chunks_cap) * sizeof *grown);
    d->chunks = grown;
    d->chunks_cap = cap;
    return AVOW_OK;
}

enum avow_rc avow_policy_doc_put(struct avow_policy_doc *d, const struct avow_policy_chunk *c,
                                 struct avow_err *err)
{
    enum avow_rc rc =
        c->index >= d->chunks_cap ? grow_chunks(d, (size_t)c->index + 1, err) : AVOW_OK;
    if (rc)
        return rc;
    struct avow_policy_doc_chunk *slot = &d->chunks[c->index];
    if (d->held - slot->len + c->bytes.len > AVOW_POLICY_MAX)
        return AVOW_OK; /* cannot be a document of ours any more; it stays incomplete or wrong */
    uint8_t *copy = malloc(c->bytes.len ? c->bytes.len : 1);
    if (!copy)
        return avow_err_set(err, AVOW_NOMEM, 0, "policy chunk");
    if (c->bytes.len)
        memcpy(copy, c->bytes.ptr, c->bytes.len);
    free(slot->bytes);
    d->held = d->held - slot->len + c->bytes.len;
    *slot = (struct avow_policy_doc_chunk){copy, c->bytes.len};
    if (!d->sized)
        d->count = c->count;
    return AVOW_OK;
}

/* --- Compiling --- */

static enum avow_rc load_runtime(struct avow_policy_doc *d, struct avow_bytes text,
                                 struct avow_err *err)
{
    return avow_runtime_policy_load(text, &d->runtime, err);
}

static enum avow_rc load_keys(struct avow_policy_doc *d, struct avow_bytes text,
                              struct avow_err *err)
{
    return avow_ima_keys_load(text, &d->keys, err);
}

static enum avow_rc load_severity(struct avow_policy_doc *d, struct avow_bytes text,
                                  struct avow_err *err)
{
    return avow_severity_load(text, &d->severity, err);
}

static enum avow_rc load_boot(struct avow_policy_doc *d, struct avow_bytes text,
                              struct avow_err *err)
{
    return avow_boot_policy_load(text, &d->boot, err);
}

static const struct {
    const char *name;
    enum avow_rc (*load)(struct avow_policy_doc *d, struct avow_bytes text, struct avow_err *err);
} loaders[AVOW_POLICY_USES] = {
    [AVOW_POLICY_USE_RUNTIME] = {"runtime policy", load_runtime},
    [AVOW_POLICY_USE_BOOT] = {"boot policy", load_boot},
    [AVOW_POLICY_USE_KEYS] = {"keys", load_keys},
    [AVOW_POLICY_USE_SEVERITY] = {"severity policy", load_severity},
};

/* The document is what its address says. */
static enum avow_rc join(const struct avow_policy_doc *d, struct avow_buf *out,
                         struct avow_err *err)
{
    uint8_t sha256[32];
    for (uint32_t i = 0; i < d->count; i++)
        avow_buf_put(out, d->chunks[i].bytes, d->chunks[i].len);
    enum avow_rc rc = avow_buf_status(out, err);
    if (rc == AVOW_NOMEM)
        return rc;
    avow_sha256(avow_buf_bytes(out), sha256);
    if (rc || (d->sized && out->len != d->size) || !avow_ct_eq(sha256, d->sha256, 32))
        return avow_err_set(err, AVOW_UNTRUSTED, 0, "the chunks do not add up to this document");
    return AVOW_OK;
}

/* The text of the policy: the document, or what its envelope holds. */
static enum avow_rc unwrap(struct avow_policy_doc *d, struct avow_buf *whole, struct avow_err *err)
{
    struct avow_dsse envelope;
    if (!avow_dsse_is_envelope(avow_buf_bytes(whole)))
        return AVOW_OK;
    enum avow_rc rc = avow_dsse_parse(avow_buf_bytes(whole), &envelope, err);
    if (rc)
        return rc;
    avow_dsse_pae_sha256(avow_buf_bytes(&envelope.payload), d->pae_sha256);
    avow_buf_deinit(whole);
    *whole = envelope.payload;
    avow_buf_deinit(&d->sigs);
    d->sigs = envelope.sigs;
    d->is_envelope = true;
    d->author_of_pins = AVOW_POLICY_AUTHOR_OPEN;
    return AVOW_OK;
}

static void refuse(struct avow_policy_doc *d)
{
    for (size_t i = 0; i < AVOW_POLICY_USES; i++) {
        if (is_awaited_as(d, i))
            d->state[i] = AVOW_POLICY_FORM_REFUSED;
    }
}

static enum avow_rc compile_forms(struct avow_policy_doc *d, struct avow_bytes text, bool *good,
                                  struct avow_err *err)
{
    bool refused = false;
    for (size_t i = 0; i < AVOW_POLICY_USES; i++) {
        struct avow_err why = {.rc = AVOW_OK};
        if (!is_awaited_as(d, i))
            continue;
        enum avow_rc rc = loaders[i].load(d, text, &why);
        if (rc == AVOW_NOMEM)
            return avow_err_set(err, rc, 0, "%s", loaders[i].name);
        d->state[i] = rc ? AVOW_POLICY_FORM_REFUSED : AVOW_POLICY_FORM_READY;
        if (rc)
            avow_err_set(err, rc, 0, "as %s: %s", loaders[i].name, why.msg);
        refused |= rc != AVOW_OK;
    }
    *good = !refused;
    return AVOW_OK;
}

enum avow_rc avow_policy_doc_compile(struct avow_policy_doc *d, bool *good, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf whole;
    char hex[65];
    avow_hex_encode(hex, AVOW_BYTES_OF(d->sha256));
    avow_buf_init(&whole, AVOW_POLICY_MAX);
    *good = false;
    enum avow_rc rc = join(d, &whole, err);
    bool proven = rc == AVOW_OK;
    if (!rc)
        rc = unwrap(d, &whole, err);
    if (rc == AVOW_NOMEM)
        return rc;
    if (rc && proven)
        refuse(d);
    if (!rc)
        rc = compile_forms(d, avow_buf_bytes(&whole), good, err);
    if (rc == AVOW_NOMEM)
        return rc;
    if (!*good)
        avow_err_wrap(err, err ? err->rc : AVOW_PARSE, "policy %s", hex);
    if (proven)
        drop_chunks(d);
    return AVOW_OK;
}
