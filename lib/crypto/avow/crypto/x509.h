/* x509.h - certificates: EK chains, and the TLS material of a new installation. Layer: crypto. */
#ifndef AVOW_CRYPTO_X509_H
#define AVOW_CRYPTO_X509_H

#include "avow/crypto/key.h"

#define AVOW_CERT_MAX 16384u
#define AVOW_CHAIN_MAX 8u
#define AVOW_CERT_SERIAL_MAX 64u /* RFC 5280 says 20 octets; vendors ship more */
#define AVOW_CERT_LIST_INPUT_MAX (AVOW_CHAIN_MAX * 24576u) /* a full chain as PEM */

struct avow_cert;
/* DER. NV indices are often larger than the certificate in them, so padding behind it is dropped if
 * all of it is 00 or all of it is FF; anything else behind it is AVOW_PARSE. Errors: AVOW_PARSE,
 * AVOW_LIMIT. */
enum avow_rc avow_cert_from_der(struct avow_bytes der, struct avow_cert **out,
                                struct avow_err *err) AVOW_MUST_CHECK;
void avow_cert_free(struct avow_cert *c);
AVOW_DEFINE_CLEANUP(struct avow_cert, avow_cert_free);
struct avow_bytes avow_cert_der(const struct avow_cert *c); /* borrowed */
enum avow_rc avow_cert_pubkey(const struct avow_cert *c, struct avow_pubkey **out,
                              struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_cert_issuer(const struct avow_cert *c, struct avow_buf *out,
                              struct avow_err *err) AVOW_MUST_CHECK; /* one-line text */
enum avow_rc avow_cert_subject(const struct avow_cert *c, struct avow_buf *out,
                               struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_cert_serial_hex(const struct avow_cert *c, struct avow_buf *out,
                                  struct avow_err *err) AVOW_MUST_CHECK;
/* Splits PEM text (any number of CERTIFICATE blocks, at most AVOW_CHAIN_MAX, no other blocks), or
 * base64 DER, or DER (one after another, as in the NV indices of EK chains; padding as above), into
 * certificates. *n receives the count, at least 1. Errors: AVOW_PARSE, AVOW_LIMIT. The caller frees
 * each. */
enum avow_rc avow_cert_list_parse(struct avow_bytes in, struct avow_cert *out[AVOW_CHAIN_MAX],
                                  size_t *n, struct avow_err *err) AVOW_MUST_CHECK;

struct avow_cert_store; /* trust anchors */
/* Every PEM or DER file of the folder (subfolders and hidden files not read; any other file must
 * hold certificates only). Each certificate becomes an anchor, intermediates too. An empty folder
 * is fine: nothing verifies then. At most 4096 certificates, 1 MiB per file. Errors: AVOW_LIMIT,
 * AVOW_IO, AVOW_PARSE with the file name. */
enum avow_rc avow_cert_store_load(const char *dir, struct avow_cert_store **out,
                                  struct avow_err *err) AVOW_MUST_CHECK;
void avow_cert_store_free(struct avow_cert_store *s);
AVOW_DEFINE_CLEANUP(struct avow_cert_store, avow_cert_store_free);
size_t avow_cert_store_count(const struct avow_cert_store *s);
/* Revocation lists beside the store: every PEM or DER file of the folder. Full lists only: one that
 * is a delta, indirect or limited to some reasons is AVOW_PARSE, as is one whose issuer is in the
 * store and did not sign it. To be called before the store is used. At most AVOW_CRLS_MAX lists,
 * 8 MiB per file. Errors: as avow_cert_store_load. */
#define AVOW_CRLS_MAX 256u
struct avow_crl_opts {
    bool required;    /* an issuer without a list: its certificates are not trusted */
    bool use_expired; /* a list past its next update goes on counting; else what it covers is not
                         trusted */
};
enum avow_rc avow_cert_store_add_crls(struct avow_cert_store *s, const char *dir,
                                      const struct avow_crl_opts *opts,
                                      struct avow_err *err) AVOW_MUST_CHECK;
size_t avow_cert_store_crl_count(const struct avow_cert_store *s);
/* The i-th list. */
struct avow_crl_info {
    const char *file;        /* its name without folder; borrowed */
    uint64_t next_update_ms; /* 0: it names none */
    bool expired;            /* at now_ms */
    size_t revoked;          /* entries */
};
void avow_cert_store_crl_info(const struct avow_cert_store *s, size_t i, uint64_t now_ms,
                              struct avow_crl_info *out);
/* Path building and validation of an EK certificate at time now_ms: chain of any length up to
 * AVOW_CHAIN_MAX using `extra` as untrusted intermediates; the critical subjectAltName of EK
 * certificates (TCG EK Credential Profile 2.6, 3.2) is accepted, as is an expiry in the year 9999.
 * The leaf must not be a CA, its key usage (if present) must allow key encipherment (RSA) or key
 * agreement (ECC), its extended key usage (if present) must name tcg-kp-EKCertificate. Signatures
 * with SHA-1 and keys below 112 bits are refused; so is what a revocation list of the store names.
 * AVOW_OK, or AVOW_UNTRUSTED with the reason in err->msg; AVOW_NOMEM. Thread-safe. */
enum avow_rc avow_cert_verify_ek(const struct avow_cert *leaf, struct avow_cert *const *extra,
                                 size_t n_extra, const struct avow_cert_store *store,
                                 uint64_t now_ms, struct avow_err *err) AVOW_MUST_CHECK;

/* The same path rules for a device's signing key (IAK, IDevID; IEEE 802.1AR-2018, 8): not a CA, and
 * its key usage, if present, allows signatures. `what` names it in the reasons. */
struct avow_cert_list { /* leaf first, then intermediates in any order; borrowed */
    struct avow_cert *certs[AVOW_CHAIN_MAX];
    size_t n; /* at least 1 */
};
enum avow_rc avow_cert_verify_device(const char *what, const struct avow_cert_list *chain,
                                     const struct avow_cert_store *store, uint64_t now_ms,
                                     struct avow_err *err) AVOW_MUST_CHECK;
/* Appends the serial number of the device itself: hwSerialNum of a HardwareModuleName or the value
 * of a PermanentIdentifier in the subjectAltName, else serialNumber of the subject (IEEE 802.1AR
 * 8.6, RFC 4108 5, RFC 4043); hex if it is not printable ASCII. Errors: AVOW_NOTFOUND, AVOW_LIMIT
 * (over AVOW_DEVICE_SERIAL_MAX characters), AVOW_PARSE. */
#define AVOW_DEVICE_SERIAL_MAX 256u
enum avow_rc avow_cert_device_serial(const struct avow_cert *c, struct avow_buf *out,
                                     struct avow_err *err) AVOW_MUST_CHECK;

/* TLS material for `avow init`: a CA (self-signed, or below another; it issues leaves only), and
 * leaves for servers and clients. All P-256. Valid from one hour before now_ms (clocks differ) for
 * `days`, but not longer than the issuer. */
struct avow_cert_request {
    const char *common_name;
    const char *const *dns; /* n_dns names and addresses; addresses are recognised */
    size_t n_dns;
    bool server, client, ca;
    unsigned days;
    uint64_t now_ms;
};
/* issuer_key/issuer NULL: self-signed. Appends PEM to `pem`. Errors: AVOW_CONFIG (request or issuer
 * does not fit), AVOW_CRYPTO, AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_cert_issue(const struct avow_cert_request *req,
                             const struct avow_privkey *subject_key, const struct avow_cert *issuer,
                             const struct avow_privkey *issuer_key, struct avow_buf *pem,
                             struct avow_err *err) AVOW_MUST_CHECK;

#endif
