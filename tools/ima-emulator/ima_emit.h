/* ima_emit.h - makes entries of the kernel's measurement list. Layer: tools/ima-emulator. Pure.
 * Spec: linux v6.6 security/integrity/ima/ima_fs.c (ima_measurements_show), ima_template_lib.c
 * (d-ng, n-ng), ima_crypto.c (ima_calc_field_array_hash_tfm, ima_calc_boot_aggregate_tfm),
 * ima_queue.c (violations). */
#ifndef AVOW_IMA_EMIT_H
#define AVOW_IMA_EMIT_H

#include "avow/base/buf.h"
#include "avow/crypto/digest.h"
#include "tpm/tpm.h"

#define AVOW_IMA_EMIT_PATH_MAX 4096u

struct avow_ima_measurement { /* borrowed */
    enum avow_hash alg;       /* of the file's digest */
    struct avow_bytes digest; /* ignored for a violation */
    struct avow_str path;
    bool violation; /* opened for writing while measured: the list has zeros, the PCR ones */
};
/* Appends one entry of template ima-ng for PCR 10 and gives the values that extend it, one per
 * active bank. Errors: AVOW_LIMIT (path), AVOW_NOMEM. */
enum avow_rc avow_ima_emit(const struct avow_ima_measurement *m, const struct avow_tpm_banks *banks,
                           struct avow_buf *list, struct avow_tpm_extend out[AVOW_TPM_BANKS_MAX],
                           struct avow_err *err) AVOW_MUST_CHECK;
/* The first entry's digest: over PCR 0 to 9 of the bank (kernels since 5.8), for SHA-1 over PCR 0
 * to 7. */
void avow_ima_boot_aggregate(const struct avow_tpm_pcrs *pcrs, struct avow_digest *out);

#endif
