/* ima_keys.h - keys that may have signed files, compiled once. Layer: core. Immutable; shareable
 * between threads. Formats: docs/POLICY.md. */
#ifndef AVOW_CORE_IMA_KEYS_H
#define AVOW_CORE_IMA_KEYS_H

#include "avow/base/bytes.h"
#include "avow/base/cleanup.h"
#include "avow/base/err.h"

#define AVOW_IMA_KEYS_MAX 256u
#define AVOW_IMA_KEYS_TEXT_MAX (1024u * 1024u)

struct avow_ima_keys;
/* PEM (public keys and certificates, any number), one DER key or certificate, or Keylime's keyring
 * JSON; told apart by content. Errors: AVOW_PARSE (the message says which key), AVOW_LIMIT,
 * AVOW_NOMEM. */
enum avow_rc avow_ima_keys_load(struct avow_bytes text, struct avow_ima_keys **out,
                                struct avow_err *err) AVOW_MUST_CHECK;
void avow_ima_keys_free(struct avow_ima_keys *k);
AVOW_DEFINE_CLEANUP(struct avow_ima_keys, avow_ima_keys_free);
size_t avow_ima_keys_count(const struct avow_ima_keys *k);

#endif
