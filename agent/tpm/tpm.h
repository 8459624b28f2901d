/* tpm.h - one TPM through a TCTI: connection, EK, AK, PCRs, quote, activation. Layer: agent/tpm,
 * the only user of ESAPI. Spec: TPM 2.0 Part 3 r1.38; TCG EK Credential Profile 2.5.
 *
 * One object, one thread. Every operation is bracketed by avow_tpm_open and avow_tpm_close. With
 * `hold` the connection and the loaded AK stay between rounds (a device behind a resource manager);
 * without, the TPM is left as it was found and the connection is closed, so that others may use a
 * TPM that serves one connection at a time (/dev/tpm0, swtpm). After an AVOW_TPM failure the
 * connection is dropped; the next avow_tpm_open makes a new one. No TSS type leaves this folder.
 * Keys have empty authorisation values: only a host's root opens its TPM, and an AK signs nothing
 * but quotes. */
#ifndef AVOW_AGENT_TPM_H
#define AVOW_AGENT_TPM_H

#include "avow/base/buf.h"
#include "avow/base/cleanup.h"
#include "avow/crypto/digest.h"

#define AVOW_TPM_PCRS 24u
#define AVOW_TPM_CERT_MAX (16u * 1024u) /* PROTOCOL B6 */
#define AVOW_TPM_CERTS_MAX 8u           /* PROTOCOL B6 */

/* The endorsement key's template (PROTOCOL R27). AUTO: the first one, in this order, whose
 * certificate is in the TPM's NV memory, else L-1. */
enum avow_tpm_ek {
    AVOW_TPM_EK_AUTO,
    AVOW_TPM_EK_L1, /* RSA 2048 */
    AVOW_TPM_EK_L2, /* P-256 */
    AVOW_TPM_EK_H1, /* RSA 2048 */
    AVOW_TPM_EK_H2, /* P-256 */
    AVOW_TPM_EK_H3, /* P-384 */
    AVOW_TPM_EK_H4, /* P-521 */
    AVOW_TPM_EK_H6, /* RSA 3072 */
    AVOW_TPM_EK_H7  /* RSA 4096 */
};
/* "auto", "L-1", ... */
bool avow_tpm_ek_parse(const char *text, enum avow_tpm_ek *out) AVOW_MUST_CHECK;
const char *avow_tpm_ek_name(enum avow_tpm_ek which);

struct avow_tpm;
struct avow_tpm_opts {
    const char *tcti; /* "device:/dev/tpmrm0", "swtpm:path=..."; NULL: the TSS's default */
    enum avow_tpm_ek ek;
    bool hold;
    bool startup; /* send TPM2_Startup(CLEAR) if nobody did: rigs only, firmware does it on hosts */
};
/* Connects to nothing yet. Errors: AVOW_NOMEM. */
enum avow_rc avow_tpm_new(const struct avow_tpm_opts *opts, struct avow_tpm **out,
                          struct avow_err *err) AVOW_MUST_CHECK;
void avow_tpm_free(struct avow_tpm *t);
AVOW_DEFINE_CLEANUP(struct avow_tpm, avow_tpm_free);
/* True if the text names a kind of TCTI that the TSS has (and a device, if it is one). */
bool avow_tpm_tcti_is_known(const char *tcti);
/* The path in "device:/dev/tpmrm0"; NULL for another TCTI. */
const char *avow_tpm_tcti_device(const char *tcti);
/* True for a TCTI of a device with a resource manager, where holding is free. */
bool avow_tpm_tcti_is_shared(const char *tcti);
/* Before the right to open the TPM is given up: with a "device:" TCTI that is open, the descriptor
 * stays open from now on and every later connection goes through it. Another TCTI is not affected.
 */
void avow_tpm_keep_device(struct avow_tpm *t);
/* Errors: AVOW_TPM with the TSS2_RC in native and its text in the message. */
enum avow_rc avow_tpm_open(struct avow_tpm *t, struct avow_err *err) AVOW_MUST_CHECK;
void avow_tpm_close(struct avow_tpm *t);
/* True once avow_tpm_open has found that the descriptor which was kept takes no command any more.
 * Nothing heals that within this process: it has to end, and be started again with the right to
 * open the device. */
bool avow_tpm_is_dead(const struct avow_tpm *t);

/* --- Identity (all need an open TPM) --- */
enum avow_tpm_ak_alg {
    AVOW_TPM_AK_RSASSA,    /* RSA 2048, SHA-256 */
    AVOW_TPM_AK_RSAPSS,    /* RSA 2048, SHA-256 */
    AVOW_TPM_AK_ECDSA,     /* P-256, SHA-256 */
    AVOW_TPM_AK_ECDSA_P384 /* P-384, SHA-384 */
};
/* "rsassa", "rsapss", "ecdsa", "ecdsa-p384". */
bool avow_tpm_ak_alg_parse(const char *text, enum avow_tpm_ak_alg *out) AVOW_MUST_CHECK;
const char *avow_tpm_ak_alg_name(enum avow_tpm_ak_alg alg);

/* EK: a persistent object at 0x810100xx that has the template and is of the endorsement hierarchy,
 * else a primary object made from it; the vendor's own template and nonce in NV memory count where
 * they are. Appends its TPM2B_PUBLIC. Errors: AVOW_TPM, AVOW_CONFIG (the TPM cannot make a key of
 * this template), AVOW_REFUSED (an EK whose policy we cannot satisfy). */
enum avow_rc avow_tpm_ek_public(struct avow_tpm *t, struct avow_buf *out,
                                struct avow_err *err) AVOW_MUST_CHECK;
/* What AUTO came to; AUTO before the EK was needed. */
enum avow_tpm_ek avow_tpm_ek(const struct avow_tpm *t);
/* DER certificates: [0] that of the EK, from its template's NV index, then those at 0x01C00100 to
 * 0x01C001FF. None is not an error. Each has its own buffer; the caller deinits all
 * AVOW_TPM_CERTS_MAX of them. Errors: AVOW_TPM. */
struct avow_tpm_certs {
    struct avow_buf der[AVOW_TPM_CERTS_MAX];
    size_t count;
};
void avow_tpm_certs_init(struct avow_tpm_certs *c);
void avow_tpm_certs_deinit(struct avow_tpm_certs *c);
enum avow_rc avow_tpm_ek_certs(struct avow_tpm *t, struct avow_tpm_certs *out,
                               struct avow_err *err) AVOW_MUST_CHECK;

/* Makes a restricted signing key below the EK and appends its blob (which EK, public and encrypted
 * private area, for a file). Errors: AVOW_TPM, AVOW_NOMEM, those of the EK. */
enum avow_rc avow_tpm_ak_create(struct avow_tpm *t, enum avow_tpm_ak_alg alg, struct avow_buf *blob,
                                struct avow_err *err) AVOW_MUST_CHECK;
/* Loads a blob of this TPM. Errors: AVOW_PARSE (not a blob), AVOW_CONFIG (made for another EK
 * template or algorithm than is configured: the message says which), AVOW_REFUSED (another TPM's),
 * AVOW_TPM. */
enum avow_rc avow_tpm_ak_load(struct avow_tpm *t, enum avow_tpm_ak_alg alg, struct avow_bytes blob,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* TPM2B_PUBLIC of the loaded AK, borrowed until the next load. */
struct avow_bytes avow_tpm_ak_public(const struct avow_tpm *t);
/* --- Keys of the device's maker at persistent handles. Errors beside their own: AVOW_NOTFOUND
 * (nothing is there), AVOW_TPM, AVOW_NOMEM. */
struct avow_tpm_certified {
    struct avow_buf public_area; /* TPM2B_PUBLIC of the key that certified */
    struct avow_buf attest;      /* TPMS_ATTEST of TPM2_Certify */
    struct avow_buf signature;   /* TPMT_SIGNATURE */
};
void avow_tpm_certified_init(struct avow_tpm_certified *c);
void avow_tpm_certified_deinit(struct avow_tpm_certified *c);
/* TPM2_Certify of the loaded AK by the key at `handle`; appends to *out. AVOW_STATE: no AK. */
enum avow_rc avow_tpm_certify_ak(struct avow_tpm *t, uint32_t handle, const uint8_t qualifying[32],
                                 struct avow_tpm_certified *out,
                                 struct avow_err *err) AVOW_MUST_CHECK;
/* Appends the TPM2B_PUBLIC of the key. */
enum avow_rc avow_tpm_key_public(struct avow_tpm *t, uint32_t handle, struct avow_buf *public_area,
                                 struct avow_err *err) AVOW_MUST_CHECK;
/* Appends the DER certificate in the NV index. */
enum avow_rc avow_tpm_key_cert(struct avow_tpm *t, uint32_t index, struct avow_buf *der,
                               struct avow_err *err) AVOW_MUST_CHECK;

/* TPM2_ActivateCredential with TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET (with their sizes).
 * Appends the secret; the caller wipes it. Errors: AVOW_PARSE, AVOW_REFUSED (not meant for this EK
 * and AK), AVOW_TPM. */
enum avow_rc avow_tpm_activate(struct avow_tpm *t, struct avow_bytes id_object,
                               struct avow_bytes encrypted_secret, struct avow_buf *secret,
                               struct avow_err *err) AVOW_MUST_CHECK;

/* --- PCRs and quotes (all need an open TPM) --- */
#define AVOW_TPM_BANKS_MAX 4u
struct avow_tpm_banks { /* banks in which all 24 PCRs are allocated; unknown hashes are left out */
    enum avow_hash list[AVOW_TPM_BANKS_MAX];
    size_t count;
};
enum avow_rc avow_tpm_banks_read(struct avow_tpm *t, struct avow_tpm_banks *out,
                                 struct avow_err *err) AVOW_MUST_CHECK;
bool avow_tpm_bank_is_active(const struct avow_tpm_banks *banks, enum avow_hash bank);
/* The first active one of sha256, sha384, sha512, sha1 (PROTOCOL B3.1); false if none is. */
bool avow_tpm_bank_best(const struct avow_tpm_banks *banks, enum avow_hash *out) AVOW_MUST_CHECK;

struct avow_tpm_pcrs {
    enum avow_hash bank;
    uint8_t values[AVOW_TPM_PCRS]
                  [AVOW_DIGEST_MAX]; /* the first avow_hash_len(bank) bytes of each */
};
/* Errors: AVOW_TPM, AVOW_NOTFOUND (the bank is not active). */
enum avow_rc avow_tpm_pcr_read(struct avow_tpm *t, enum avow_hash bank, struct avow_tpm_pcrs *out,
                               struct avow_err *err) AVOW_MUST_CHECK;
/* One command for all given banks. Errors: AVOW_TPM. */
struct avow_tpm_extend {
    enum avow_hash bank;
    struct avow_digest digest;
};
enum avow_rc avow_tpm_pcr_extend(struct avow_tpm *t, uint32_t pcr,
                                 const struct avow_tpm_extend *list, size_t n,
                                 struct avow_err *err) AVOW_MUST_CHECK;
/* TPM2_Quote of all 24 PCRs of one bank by the loaded AK. Appends TPMS_ATTEST and TPMT_SIGNATURE.
 * Errors: AVOW_STATE (no AK loaded), AVOW_TPM. */
enum avow_rc avow_tpm_quote(struct avow_tpm *t, enum avow_hash bank,
                            const uint8_t qualifying_data[32], struct avow_buf *attest,
                            struct avow_buf *signature, struct avow_err *err) AVOW_MUST_CHECK;

#endif
