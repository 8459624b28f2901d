/* keys_change.h - what the commands that change the trust bundle share. Layer: tools/avow. */
#ifndef AVOW_TOOLS_KEYS_CHANGE_H
#define AVOW_TOOLS_KEYS_CHANGE_H

#include "keyset.h"

struct avow_keys_opts {
    struct avow_keyset_opts set;
    const char *previous; /* worker: folder with the old mac.key, or "none" */
    const char *role;     /* retire */
    bool old, force;
    char next[700]; /* result: the step that follows */
};

#define AVOW_KEYS_SET_OPTIONS(o)                                                                   \
    AVOW_TEXT("--root-key", &(o).set.root_key, "FILE",                                             \
              "the root key (root.key beside the bundle file)"),                                   \
        AVOW_FLAG("--publish", &(o).set.publish, "publish the new bundle at once")

typedef enum avow_rc (*avow_keys_change_fn)(struct avow_keyset *k, struct avow_keys_opts *o,
                                            const char *word, struct avow_err *err);
/* Opens the bundle file and the root key, lets `change` make and commit the next version, and says
 * what comes next. */
enum avow_exit avow_keys_change(struct avow_cli *cli, struct avow_keys_opts *o, const char *word,
                                avow_keys_change_fn change) AVOW_MUST_CHECK;
void avow_keys_hex(const struct avow_bundle_key *key, char out[17]);

#endif
