/* ima_learned.c - keys that entries of the list teach (a key was loaded into a keyring that the
 * policy lists). They are stored with the index of their entry: they are proven with it (PROTOCOL
 * R2), and good for entries behind it. docs/adr/0009 says why that suffices, and why there are
 * twelve. */
#include "core_internal.h"

#include "avow/crypto/key.h"

#include "avow/base/banned.h"

void avow_learned_load(struct avow_eval *ev, const struct avow_key_ref *keys, size_t count,
                       uint64_t end)
{
    struct avow_fold *f = &ev->fold;
    f->keys_count = 0;
    for (size_t i = 0; i < count && f->keys_count < AVOW_LEARNED_MAX; i++) {
        if (keys[i].key < ev->next->learned_count && keys[i].entry < end)
            f->keys[f->keys_count++] = keys[i];
    }
}

static bool refers(const struct avow_key_ref *keys, size_t count, size_t slot)
{
    for (size_t i = 0; i < count; i++) {
        if (keys[i].key == slot)
            return true;
    }
    return false;
}

static bool is_used(const struct avow_eval *ev, size_t slot)
{
    const struct avow_state *s = ev->next;
    return refers(ev->fold.keys, ev->fold.keys_count, slot) ||
           (s->has_ima && refers(s->ima.keys, s->ima.keys_count, slot)) ||
           (s->has_rebase && refers(s->rebase.keys, s->rebase.keys_count, slot)) ||
           (s->has_open && refers(s->open.keys, s->open.keys_count, slot));
}

/* Where the key is already, or may be put; AVOW_LEARNED_MAX if there is no room. */
static size_t choose_slot(const struct avow_eval *ev, uint32_t id, struct avow_bytes spki,
                          bool *known)
{
    const struct avow_state *s = ev->next;
    *known = false;
    for (size_t i = 0; i < s->learned_count; i++) {
        if (s->learned[i].key_id == id && avow_bytes_eq(s->learned[i].spki, spki)) {
            *known = true;
            return i;
        }
    }
    for (size_t i = 0; i < s->learned_count; i++) {
        if (!is_used(ev, i))
            return i;
    }
    return s->learned_count;
}

static void store(struct avow_eval *ev, size_t slot, const struct avow_learned_key *key)
{
    struct avow_state *s = ev->next;
    struct avow_learned_key *mine = avow_eval_alloc(ev, AVOW_LEARNED_MAX, sizeof *mine);
    if (!mine)
        return;
    for (size_t i = 0; i < s->learned_count; i++)
        mine[i] = s->learned[i];
    mine[slot] = *key;
    avow_pubkey_free(ev->learned[slot]);
    ev->learned[slot] = NULL;
    s->learned = mine;
    if (slot == s->learned_count)
        s->learned_count++;
}

void avow_learned_add(struct avow_eval *ev, struct avow_str keyring, uint32_t id,
                      struct avow_bytes spki)
{
    struct avow_fold *f = &ev->fold;
    bool known;
    size_t slot = choose_slot(ev, id, spki, &known);
    if (known && refers(f->keys, f->keys_count, slot))
        return;
    if (slot >= AVOW_LEARNED_MAX || f->keys_count == AVOW_LEARNED_MAX ||
        spki.len > AVOW_LEARNED_SPKI_MAX) {
        AVOW_FIND(ev, IMA_KEYRING_FULL, avow_ima_where(ev), "key %08x; %u are kept", id,
                  AVOW_LEARNED_MAX);
        return;
    }
    if (!known) {
        struct avow_str name = avow_finding_text(ev->arena, keyring, 64); /* schemas/state.avsc */
        struct avow_bytes copy = avow_eval_copy(ev, spki);
        ev->nomem |= !name.ptr;
        if (ev->nomem)
            return;
        store(ev, slot, &(struct avow_learned_key){.keyring = name, .key_id = id, .spki = copy});
    }
    f->keys[f->keys_count++] = (struct avow_key_ref){.key = (uint16_t)slot, .entry = f->index};
}

const struct avow_pubkey *avow_learned_find(struct avow_eval *ev, size_t i, uint32_t id)
{
    size_t slot = ev->fold.keys[i].key;
    const struct avow_learned_key *k = &ev->next->learned[slot];
    if (k->key_id != id)
        return NULL;
    if (!ev->learned[slot] &&
        avow_pubkey_from_spki(k->spki, &ev->learned[slot], NULL) == AVOW_NOMEM)
        ev->nomem = true;
    return ev->learned[slot];
}

const struct avow_key_ref *avow_learned_copy(struct avow_eval *ev)
{
    const struct avow_fold *f = &ev->fold;
    struct avow_key_ref *copy = avow_eval_alloc(ev, f->keys_count, sizeof *copy);
    for (size_t i = 0; copy && i < f->keys_count; i++)
        copy[i] = f->keys[i];
    return copy;
}

void avow_learned_free(struct avow_eval *ev)
{
    for (size_t i = 0; i < AVOW_LEARNED_MAX; i++)
        avow_pubkey_free(ev->learned[i]);
}
