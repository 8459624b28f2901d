/* device_identity.h - the device's own keys beside the EK: the IAK certifies our AK, and IAK and
 * IDevID come with the certificates of the device's maker, for registrars that ask for them.
 * Layer: agent. Spec: TCG TPM 2.0 Keys for Device Identity and Attestation 1.0. */
#ifndef AVOW_AGENT_DEVICE_IDENTITY_H
#define AVOW_AGENT_DEVICE_IDENTITY_H

#include "avow/base/conf.h"
#include "enroll_pipe.h"
#include "tpm/tpm.h"

#define AVOW_DEVICE_PEM_MAX (24u * 1024u) /* of one chain; two of them fit beside the EK's */

/* Where a certificate is. */
struct avow_device_cert {
    uint32_t nv_index; /* 0: in the file */
    const char *file;  /* PEM or DER */
};
struct avow_device_opts { /* borrowed from the configuration */
    bool given;           /* false: this host has none */
    uint32_t iak, idevid; /* persistent handles */
    struct avow_device_cert iak_cert, idevid_cert;
};
/* tpm.iak, tpm.idevid, tpm.iak_cert and tpm.idevid_cert, all or none; `key` receives the one at
 * fault. Errors: AVOW_CONFIG. */
enum avow_rc avow_device_opts_read(const struct avow_conf *c, struct avow_device_opts *out,
                                   const char **key, struct avow_err *err) AVOW_MUST_CHECK;

struct avow_device_identity {
    struct avow_tpm_certified iak; /* empty: none */
    struct avow_buf idevid_public; /* TPM2B_PUBLIC */
    struct avow_buf iak_certs_pem, idevid_certs_pem;
};
void avow_device_identity_init(struct avow_device_identity *d);
void avow_device_identity_deinit(struct avow_device_identity *d);
/* Reads keys and certificates and has the IAK certify the loaded AK for this agent id. Says no
 * where a registrar would in any case. Errors: AVOW_CONFIG (not there, or a certificate that is not
 * for its key), AVOW_TPM, AVOW_IO, AVOW_NOMEM. */
enum avow_rc avow_device_identity_load(struct avow_tpm *t, const struct avow_device_opts *o,
                                       const char *agent_id, struct avow_device_identity *d,
                                       struct avow_err *err) AVOW_MUST_CHECK;
/* Borrowed. */
struct avow_enroll_device avow_device_identity_view(const struct avow_device_identity *d);

#endif
