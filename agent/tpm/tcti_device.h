/* tcti_device.h - the TSS's way to a TPM through a descriptor that is open already: /dev/tpmrm0 is
 * opened once, as root, and used after root was given up. Layer: agent/tpm, internal. Spec: TSS 2.0
 * TCTI 1.0, 3.2; linux v6.6 drivers/char/tpm/tpm-dev-common.c. */
#ifndef AVOW_AGENT_TCTI_DEVICE_H
#define AVOW_AGENT_TCTI_DEVICE_H

#include <tss2/tss2_tcti.h>

/* `fd` is borrowed. A response that an interrupted exchange left behind is thrown away. NULL: out
 * of memory. */
TSS2_TCTI_CONTEXT *avow_tcti_device_new(int fd);
void avow_tcti_device_free(TSS2_TCTI_CONTEXT *tcti);

#endif
