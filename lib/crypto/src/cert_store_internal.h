/* cert_store_internal.h - the inside of certificate stores and revocation lists, for lib/crypto. */
#ifndef AVOW_CRYPTO_CERT_STORE_INTERNAL_H
#define AVOW_CRYPTO_CERT_STORE_INTERNAL_H

#include "cert_internal.h"

#include <openssl/x509.h>

#define AVOW_CERT_STORE_MAX 4096u

struct avow_crl {
    X509_CRL *list;
    const X509 *signer; /* of the store, whose signature was verified; NULL: unknown so far */
    bool users_only, cas_only;
    char file[256]; /* its name without folder */
};

struct avow_crl_list {
    struct avow_crl entries[AVOW_CRLS_MAX];
    size_t n;
    struct avow_crl_opts opts;
};
void avow_crl_list_deinit(struct avow_crl_list *l);

struct avow_cert_store {
    X509_STORE *store; /* has its own locks */
    struct avow_cert *certs[AVOW_CERT_STORE_MAX];
    size_t count;
    struct avow_crl_list crls;
};

/* The lists in one file's content; `path` names it. Errors: as avow_cert_store_add_crls. */
enum avow_rc avow_crl_add(struct avow_cert_store *s, struct avow_bytes in, const char *path,
                          struct avow_err *err) AVOW_MUST_CHECK;
/* Why a certificate of the verified chain (leaf first) counts as revoked, or NULL. The chain is
 * followed beyond its anchor as far as the store knows issuers: an operator who stores an
 * intermediate does not exempt it from its root's list. *depth receives where. */
const char *avow_crl_check(const struct avow_cert_store *s, const STACK_OF(X509) * chain,
                           uint64_t now_ms, int *depth);

/* Calls fn for each regular file of the folder that is not hidden, until one fails. */
typedef enum avow_rc (*avow_folder_fn)(void *arg, const char *path, struct avow_err *err);
enum avow_rc avow_folder_walk(const char *dir, avow_folder_fn fn, void *arg,
                              struct avow_err *err) AVOW_MUST_CHECK;

#endif
