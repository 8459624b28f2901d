/* x509.h - certificates: EK chains, and the TLS material of a new installation. Layer: crypto. */
#ifndef AVOW_CRYPTO_X509_H
#define AVOW_CRYPTO_X509_H

#include "avow/crypto/key.h"

#define AVOW_CERT_MAX 16384u
#define AVOW_CHAIN_MAX 8u

struct avow_cert;
/* DER. Errors: AVOW_PARSE, AVOW_LIMIT. */
enum avow_rc avow_cert_from_der(struct avow_bytes der, struct avow_cert **out, struct avow_err *err) AVOW_MUST_CHECK;
void avow_cert_free(struct avow_cert *c);
AVOW_DEFINE_CLEANUP(struct avow_cert, avow_cert_free);
struct avow_bytes avow_cert_der(const struct avow_cert *c); /* borrowed */
enum avow_rc avow_cert_pubkey(const struct avow_cert *c, struct avow_pubkey **out, struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_cert_issuer(const struct avow_cert *c, struct avow_buf *out, struct avow_err *err) AVOW_MUST_CHECK; /* one-line text */
enum avow_rc avow_cert_subject(const struct avow_cert *c, struct avow_buf *out, struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_cert_serial_hex(const struct avow_cert *c, struct avow_buf *out, struct avow_err *err) AVOW_MUST_CHECK;
/* Splits PEM text (any number of CERTIFICATE blocks, at most AVOW_CHAIN_MAX), or base64 DER, or DER, into
 * certificates. *n receives the count. Errors: AVOW_PARSE, AVOW_LIMIT. The caller frees each. */
enum avow_rc avow_cert_list_parse(struct avow_bytes in, struct avow_cert *out[AVOW_CHAIN_MAX], size_t *n, struct avow_err *err) AVOW_MUST_CHECK;

struct avow_cert_store; /* trust anchors */
/* Every PEM or DER file of the folder (subfolders not read). Errors: AVOW_IO, AVOW_PARSE with the file name. */
enum avow_rc avow_cert_store_load(const char *dir, struct avow_cert_store **out, struct avow_err *err) AVOW_MUST_CHECK;
void avow_cert_store_free(struct avow_cert_store *s);
size_t avow_cert_store_count(const struct avow_cert_store *s);
/* Path building and validation of an EK certificate at time now_ms: chain of any length up to AVOW_CHAIN_MAX using
 * `extra` as untrusted intermediates; the critical subjectAltName of EK certificates (TCG EK Credential Profile
 * 2.6, 3.2) is accepted. AVOW_OK, or AVOW_UNTRUSTED with the reason in err->msg. */
enum avow_rc avow_cert_verify_ek(const struct avow_cert *leaf, struct avow_cert *const *extra, size_t n_extra,
                                 const struct avow_cert_store *store, uint64_t now_ms, struct avow_err *err) AVOW_MUST_CHECK;

/* TLS material for `avow init`: a CA, and leaves for servers and clients. All P-256. `not_before_ms` to +days. */
struct avow_cert_request {
    const char *common_name;
    const char *const *dns; /* n_dns names and addresses; addresses are recognised */
    size_t n_dns;
    bool server, client, ca;
    unsigned days;
    uint64_t now_ms;
};
/* issuer_key/issuer NULL: self-signed. Appends PEM to `pem`. */
enum avow_rc avow_cert_issue(const struct avow_cert_request *req, const struct avow_privkey *subject_key,
                             const struct avow_cert *issuer, const struct avow_privkey *issuer_key,
                             struct avow_buf *pem, struct avow_err *err) AVOW_MUST_CHECK;

#endif
