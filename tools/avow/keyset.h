/* keyset.h - the next version of the trust bundle (PROTOCOL B5). Layer: tools/avow.
 * The base is the file that cli.bundle names; the root key signs what comes after it. */
#ifndef AVOW_TOOLS_KEYSET_H
#define AVOW_TOOLS_KEYSET_H

#include "context.h"

#define AVOW_KEYSET_MAX 64u /* keys of a bundle */

struct avow_keyset_opts {
    const char *root_key; /* NULL: root.key beside the bundle file */
    bool publish;
};
struct avow_keyset {
    struct avow_cli *cli;
    struct avow_trust *base;   /* owned; the file as it is */
    struct avow_privkey *root; /* owned */
    struct avow_bundle bundle; /* the next version; borrows from base and `keys` */
    struct avow_bundle_key keys[AVOW_KEYSET_MAX];
    const char *path; /* of the bundle file */
    char folder[4096];
    bool publish;
};

/* Loads bundle and root key; nothing is written before both are there. Refuses a file that is older
 * than what this machine has seen. Initialises `k`, which is to be deinitialised in any case.
 * Errors: AVOW_CONFIG, AVOW_ROLLBACK. */
enum avow_rc avow_keyset_open(struct avow_cli *cli, const struct avow_keyset_opts *o,
                              struct avow_keyset *k, struct avow_err *err) AVOW_MUST_CHECK;
void avow_keyset_deinit(struct avow_keyset *k);
/* Appends an active key with the roles and names of `like`; borrows from both. */
enum avow_rc avow_keyset_add(struct avow_keyset *k, const struct avow_privkey *key,
                             const struct avow_bundle_key *like,
                             struct avow_err *err) AVOW_MUST_CHECK;
/* The same for a key whose private half is elsewhere; borrows `spki`, which must be canonical. */
enum avow_rc avow_keyset_add_public(struct avow_keyset *k, struct avow_bytes spki,
                                    const struct avow_bundle_key *like,
                                    struct avow_err *err) AVOW_MUST_CHECK;
/* The last active key that has the role; NULL if there is none. */
struct avow_bundle_key *avow_keyset_newest(struct avow_keyset *k, enum avow_role role);
bool avow_keyset_has_role(const struct avow_bundle_key *key, enum avow_role role);
/* Signs, checks, keeps in the ledger, replaces the file, and publishes if that was asked for.
 * Errors: AVOW_CONFIG when cli.root does not have the signing key, AVOW_ROLLBACK when the topic is
 * ahead of the file; file and bus errors. */
enum avow_rc avow_keyset_commit(struct avow_keyset *k, struct avow_err *err) AVOW_MUST_CHECK;

#endif
