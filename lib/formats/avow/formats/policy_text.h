/* policy_text.h - reads the text of a runtime policy, item by item. Layer: formats. Pure;
 * thread-safe. Three forms: Keylime's runtime policy (JSON, meta.version 0 or 1), its older JSON
 * allowlist ("hashes" instead of "digests"), and a flat allowlist, one "digest path" a line. Format
 * and decisions: docs/POLICY.md. */
#ifndef AVOW_FORMATS_POLICY_TEXT_H
#define AVOW_FORMATS_POLICY_TEXT_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

#define AVOW_POLICY_TEXT_MAX (64u * 1024u * 1024u) /* PROTOCOL B6 */
#define AVOW_POLICY_DIGESTS_MAX 4000000u           /* PROTOCOL B6; keyrings and buffers included */
#define AVOW_POLICY_EXCLUDES_MAX 1024u             /* PROTOCOL B6 */
#define AVOW_POLICY_EXCLUDE_LEN_MAX 4096u          /* PROTOCOL B6 */
#define AVOW_POLICY_NAME_LEN_MAX 4096u             /* PATH_MAX of Linux */

/* DIGEST, KEYRING and IMA_BUF with an empty value: a list of that name begins; refuse it if the
 * name was there before. */
enum avow_policy_item {
    AVOW_POLICY_ITEM_DIGEST,          /* name: path; value: digest of 20, 28, 32, 48 or 64 bytes */
    AVOW_POLICY_ITEM_EXCLUDE,         /* name: expression */
    AVOW_POLICY_ITEM_KEYRING,         /* name, value: digest */
    AVOW_POLICY_ITEM_IMA_BUF,         /* name, value: digest */
    AVOW_POLICY_ITEM_IGNORED_KEYRING, /* name */
    AVOW_POLICY_ITEM_VERIFICATION_KEYS, /* name: the text, not empty */
    AVOW_POLICY_ITEM_DM_POLICY,         /* name: canonical JSON text */
    AVOW_POLICY_ITEM_LEGACY,            /* one of the older forms */
    AVOW_POLICY_ITEM_STRICT_EXCLUDES,   /* our header: excludes match whole paths */
    AVOW_POLICY_ITEM_WARNING            /* name: the JSON path of what is not used, and why */
};
/* Called for each item in the order of the text; name and value are borrowed for the call. A
 * failure ends the parse, and its message gets the place in front. */
struct avow_policy_sink {
    void *ctx;
    enum avow_rc (*item)(void *ctx, enum avow_policy_item item, struct avow_str name,
                         struct avow_bytes value, struct avow_err *err);
};

/* An unknown key is a warning in Keylime's sections, as Keylime ignores it too, and an error in our
 * own ("avow"). Unknown digest lengths, duplicate keys and wrong types are errors. Errors:
 * AVOW_PARSE (the message has the JSON path or the line, and the reason), AVOW_LIMIT, AVOW_NOMEM,
 * and the sink's. */
enum avow_rc avow_policy_text_parse(struct avow_bytes text, const struct avow_policy_sink *sink,
                                    struct avow_err *err) AVOW_MUST_CHECK;

#endif
