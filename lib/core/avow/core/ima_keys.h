/* ima_keys.h - keys that may have signed files, compiled once. Layer: core. Immutable; shareable
 * between threads. Formats: docs/POLICY.md. */
#ifndef AVOW_CORE_IMA_KEYS_H
#define AVOW_CORE_IMA_KEYS_H

#include "avow/base/bytes.h"
#include "avow/base/cleanup.h"
#include "avow/base/err.h"

#define AVOW_IMA_KEYS_MAX 256u
#define AVOW_IMA_KEYS_TEXT_MAX (1024u * 1024u)

struct avow_pubkey;
struct avow_ima_keys;
/* PEM (public keys and certificates, any number), one DER key or certificate, or Keylime's keyring
 * JSON; told apart by content. Errors: AVOW_PARSE (the message says which key), AVOW_LIMIT,
 * AVOW_NOMEM. */
enum avow_rc avow_ima_keys_load(struct avow_bytes text, struct avow_ima_keys **out,
                                struct avow_err *err) AVOW_MUST_CHECK;
/* Adds those of another text, before the set is shared. Errors: the same; the set may then hold
 * some of them. */
enum avow_rc avow_ima_keys_add(struct avow_ima_keys *k, struct avow_bytes text,
                               struct avow_err *err) AVOW_MUST_CHECK;
void avow_ima_keys_free(struct avow_ima_keys *k);
AVOW_DEFINE_CLEANUP(struct avow_ima_keys, avow_ima_keys_free);
size_t avow_ima_keys_count(const struct avow_ima_keys *k);
/* Keys of Keylime's keyring that no signature can be checked with here (secp256k1, RSA below 2048
 * bits): left out. In the other forms such a key is AVOW_PARSE. */
size_t avow_ima_keys_skipped(const struct avow_ima_keys *k);
/* The i-th; ordered by id, then by the key itself. */
uint32_t avow_ima_keys_id(const struct avow_ima_keys *k, size_t i);
const struct avow_pubkey *avow_ima_keys_get(const struct avow_ima_keys *k, size_t i);
/* Index of the first key with this id; the count if there is none. Those that follow it may have it
 * too: 32 bits are not unique. */
size_t avow_ima_keys_find(const struct avow_ima_keys *k, uint32_t id);
/* Every key of `a`, under the same id, is in `b`. NULL is an empty set. */
bool avow_ima_keys_is_subset(const struct avow_ima_keys *a, const struct avow_ima_keys *b);

#endif
