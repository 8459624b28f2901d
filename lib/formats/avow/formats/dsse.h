/* dsse.h - reads a signed envelope around a policy document. Layer: formats. Pure; thread-safe.
 * Spec: DSSE protocol and envelope v1.0.2 (github.com/secure-systems-lab/dsse). JSON with
 * `payload`, `payloadType` and `signatures`; binary values in base64 of either alphabet, or in hex,
 * which Keylime reads too. Proves nothing: crypto/dsse.h verifies. */
#ifndef AVOW_FORMATS_DSSE_H
#define AVOW_FORMATS_DSSE_H

#include "avow/base/buf.h"

#define AVOW_DSSE_PAYLOAD_TYPE "application/vnd.keylime+json" /* the one that is accepted */
#define AVOW_DSSE_SIGNATURES_MAX 16u
#define AVOW_DSSE_SIG_LEN_MAX 1024u
#define AVOW_DSSE_TEXT_MAX (64u * 1024u * 1024u) /* PROTOCOL B6: a policy document */

struct avow_dsse {
    struct avow_buf payload; /* decoded */
    struct avow_buf sigs;    /* u16be length and bytes, one after another */
    size_t sigs_count;
};
void avow_dsse_deinit(struct avow_dsse *d); /* fit for AVOW_CLEANUP_VAL; zeroed is fine too */

/* True if the text begins as an envelope does: an object whose first key is one of an envelope's.
 * Looks at the beginning only. */
bool avow_dsse_is_envelope(struct avow_bytes text);
/* Another payload type, no signature and a doubled key are refused; what else the envelope holds is
 * ignored, as the specification asks, and so are key ids: who may sign is not the signer's to say.
 * *out is initialised here and empty on failure. Errors: AVOW_PARSE, AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_dsse_parse(struct avow_bytes text, struct avow_dsse *out,
                             struct avow_err *err) AVOW_MUST_CHECK;
/* The i-th signature; empty if there is none. Borrowed. */
struct avow_bytes avow_dsse_sig(struct avow_bytes sigs, size_t i);

#endif
