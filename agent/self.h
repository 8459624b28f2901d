/* self.h - who this agent is: EK, agent id, AK and certificates, from the TPM and the state folder.
 * Layer: agent. */
#ifndef AVOW_AGENT_SELF_H
#define AVOW_AGENT_SELF_H

#include "tpm/tpm.h"

#define AVOW_SELF_ID_MAX 128u /* PROTOCOL B6 */

struct avow_self_opts { /* borrowed during the call */
    const char *id;     /* "hash_ek" or an id */
    const char *state_dir;
    enum avow_tpm_ak_alg ak_alg;
};
struct avow_self {
    char id[AVOW_SELF_ID_MAX + 1];
    struct avow_buf ek_public;    /* TPM2B_PUBLIC */
    struct avow_buf ek_certs_pem; /* EK certificate first; empty: none */
    bool new_ak;                  /* made just now */
};
void avow_self_init(struct avow_self *s);
void avow_self_deinit(struct avow_self *s);
/* Reads the EK and computes the id; changes nothing. Errors: AVOW_TPM, AVOW_CONFIG (id),
 * AVOW_REFUSED (the EK). */
enum avow_rc avow_self_identify(struct avow_tpm *t, const struct avow_self_opts *o,
                                struct avow_self *s, struct avow_err *err) AVOW_MUST_CHECK;
/* After identify: reads certificates, loads the AK or makes and saves one (<state_dir>/ak.blob,
 * 0600). A blob that does not serve is put aside as ak.blob.old and replaced, which is logged: it
 * is damaged, or of another TPM, or was made for another tpm.ak_alg or tpm.ek. Workers refuse the
 * new AK until an operator accepts it. Errors: AVOW_TPM, AVOW_IO. */
enum avow_rc avow_self_load_ak(struct avow_tpm *t, const struct avow_self_opts *o,
                               struct avow_self *s, struct avow_err *err) AVOW_MUST_CHECK;

#endif
