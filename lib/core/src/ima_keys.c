/* ima_keys.c - see ima_keys.h. */
#include "avow/core/ima_keys.h"

#include "avow/crypto/ima_key.h"
#include "avow/formats/ima_keyring.h"

#include <stdlib.h>

#include "avow/base/banned.h"

struct entry {
    uint32_t id;
    struct avow_pubkey *key; /* owned */
};
struct avow_ima_keys {
    struct entry *entries;
    size_t count, cap;
    size_t skipped;
    const uint32_t *given; /* id that the text gives for the key at hand; while loading */
};

void avow_ima_keys_free(struct avow_ima_keys *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < k->count; i++)
        avow_pubkey_free(k->entries[i].key);
    free(k->entries);
    free(k);
}

static int compare(const struct avow_ima_keys *k, size_t i, uint32_t id,
                   const struct avow_pubkey *key)
{
    const struct entry *e = &k->entries[i];
    if (e->id != id)
        return e->id < id ? -1 : 1;
    return avow_bytes_cmp(avow_pubkey_spki(e->key), avow_pubkey_spki(key));
}

static bool grow(struct avow_ima_keys *k)
{
    if (k->count < k->cap)
        return true;
    size_t cap = k->cap ? 2 * k->cap : 4;
    struct entry *e = realloc(k->entries, cap * sizeof *e);
    if (!e)
        return false;
    k->entries = e;
    k->cap = cap;
    return true;
}

/* In order; one that is there already changes nothing. */
static enum avow_rc insert(struct avow_ima_keys *k, struct avow_pubkey *key, uint32_t id,
                           struct avow_err *err)
{
    size_t at = k->count;
    while (at && compare(k, at - 1, id, key) >= 0)
        at--;
    if (at < k->count && compare(k, at, id, key) == 0) {
        avow_pubkey_free(key);
        return AVOW_OK;
    }
    bool full = k->count == AVOW_IMA_KEYS_MAX;
    if (full || !grow(k)) {
        avow_pubkey_free(key);
        return full ? avow_err_set(err, AVOW_LIMIT, 0, "more than %u keys", AVOW_IMA_KEYS_MAX)
                    : avow_err_set(err, AVOW_NOMEM, 0, "keys");
    }
    memmove(&k->entries[at + 1], &k->entries[at], (k->count - at) * sizeof *k->entries);
    k->entries[at] = (struct entry){id, key};
    k->count++;
    return AVOW_OK;
}

static enum avow_rc put(void *ctx, struct avow_pubkey *key, uint32_t id, struct avow_err *err)
{
    struct avow_ima_keys *k = ctx;
    return insert(k, key, k->given ? *k->given : id, err);
}

/* Keylime takes more curves and sizes than we verify; a keyring of its own must load all the same.
 * A key that is left out allows nothing. */
static enum avow_rc put_json(void *ctx, struct avow_bytes der, const uint32_t *id,
                             struct avow_err *err)
{
    struct avow_ima_keys *k = ctx;
    const struct avow_ima_key_sink sink = {k, put};
    k->given = id;
    enum avow_rc rc = avow_ima_key_read(der, &sink, err);
    k->given = NULL;
    if (rc != AVOW_PARSE || !avow_ima_key_is(der))
        return rc;
    k->skipped++;
    return AVOW_OK;
}

enum avow_rc avow_ima_keys_add(struct avow_ima_keys *k, struct avow_bytes text,
                               struct avow_err *err)
{
    if (text.len > AVOW_IMA_KEYS_TEXT_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "keys of %zu bytes; the limit is %u", text.len,
                            AVOW_IMA_KEYS_TEXT_MAX);
    const struct avow_ima_key_sink sink = {k, put};
    const struct avow_ima_keyring_sink json = {k, put_json};
    return avow_ima_keyring_is(text) ? avow_ima_keyring_parse(text, &json, err)
                                     : avow_ima_key_read(text, &sink, err);
}

enum avow_rc avow_ima_keys_load(struct avow_bytes text, struct avow_ima_keys **out,
                                struct avow_err *err)
{
    AVOW_CLEANUP(avow_ima_keys_free) struct avow_ima_keys *k = calloc(1, sizeof *k);
    if (!k)
        return avow_err_set(err, AVOW_NOMEM, 0, "keys");
    enum avow_rc rc = avow_ima_keys_add(k, text, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(k);
    return AVOW_OK;
}

size_t avow_ima_keys_count(const struct avow_ima_keys *k)
{
    return k->count;
}

size_t avow_ima_keys_skipped(const struct avow_ima_keys *k)
{
    return k->skipped;
}

uint32_t avow_ima_keys_id(const struct avow_ima_keys *k, size_t i)
{
    return k->entries[i].id;
}

const struct avow_pubkey *avow_ima_keys_get(const struct avow_ima_keys *k, size_t i)
{
    return k->entries[i].key;
}

size_t avow_ima_keys_find(const struct avow_ima_keys *k, uint32_t id)
{
    size_t low = 0, high = k->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (k->entries[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < k->count && k->entries[low].id == id ? low : k->count;
}

bool avow_ima_keys_is_subset(const struct avow_ima_keys *a, const struct avow_ima_keys *b)
{
    size_t at = 0;
    for (size_t i = 0; a && i < a->count; i++) {
        while (b && at < b->count && compare(b, at, a->entries[i].id, a->entries[i].key) < 0)
            at++;
        if (!b || at == b->count || compare(b, at, a->entries[i].id, a->entries[i].key) != 0)
            return false;
    }
    return true;
}
