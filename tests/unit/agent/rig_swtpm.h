/* rig_swtpm.h - a software TPM with an IMA list for one test program. Needs swtpm, swtpm-tools and
 * tpm2-tools. */
#ifndef AVOW_TEST_AGENT_RIG_SWTPM_H
#define AVOW_TEST_AGENT_RIG_SWTPM_H

#include "tpm/tpm.h"

struct swtpm_rig {
    char dir[64];
    char tcti[160];
    char list[128];    /* IMA list */
    char boot_id[128]; /* file */
};
/* Starts; 0 or -1 (the reason is on stderr). */
int swtpm_rig_start(struct swtpm_rig *r);
void swtpm_rig_stop(struct swtpm_rig *r);
/* Off and on: PCRs zero, resetCount + 1, objects gone, new boot id. */
void swtpm_rig_reboot(struct swtpm_rig *r);
/* Runs a shell command in the rig's folder with TCTI set for tpm2-tools; returns its exit code. */
int swtpm_rig_sh(const struct swtpm_rig *r, const char *command);
void swtpm_rig_write(const struct swtpm_rig *r, const char *name, struct avow_bytes data);
/* The emulator's commands. */
void swtpm_rig_ima_init(const struct swtpm_rig *r);
void swtpm_rig_ima_add(const struct swtpm_rig *r, const char *path);

#endif
