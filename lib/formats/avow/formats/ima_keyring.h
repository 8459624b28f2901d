/* ima_keyring.h - Keylime's keyring of file signing keys: {"pubkeys": [base64 DER], "keyids":
 * [number]}, as it is or once more as a JSON string. Layer: formats. Pure; thread-safe. */
#ifndef AVOW_FORMATS_IMA_KEYRING_H
#define AVOW_FORMATS_IMA_KEYRING_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

#define AVOW_IMA_KEYRING_MAX 256u /* keys */
#define AVOW_IMA_KEYRING_TEXT_MAX (1024u * 1024u)

struct avow_ima_keyring_sink {
    void *ctx;
    /* `id` is NULL where the text gives none. `der` is borrowed for the call. */
    enum avow_rc (*key)(void *ctx, struct avow_bytes der, const uint32_t *id, struct avow_err *err);
};
/* True if the text is to be read by this and not as PEM or DER. */
bool avow_ima_keyring_is(struct avow_bytes text);
/* Errors: AVOW_PARSE (the message has the JSON path), AVOW_LIMIT, AVOW_NOMEM, and the sink's. */
enum avow_rc avow_ima_keyring_parse(struct avow_bytes text,
                                    const struct avow_ima_keyring_sink *sink,
                                    struct avow_err *err) AVOW_MUST_CHECK;

#endif
