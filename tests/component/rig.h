/* rig.h - an agent without a TPM for tests: a software key signs genuine quotes over an IMA list
 * that it keeps. */
#ifndef AVOW_TESTS_RIG_H
#define AVOW_TESTS_RIG_H

#include "avow/base/buf.h"
#include "avow/crypto/key.h"
#include "avow/model/marker.h"

#define RIG_ENTRIES_MAX 64u
#define RIG_PARTS_MAX 16u

struct rig_agent {
    char id[65];
    struct avow_privkey *ak;
    uint8_t ak_public[256]; /* TPM2B_PUBLIC */
    size_t ak_public_len;
    uint8_t pcrs[24][32];
    struct avow_buf list; /* binary_runtime_measurements */
    size_t offsets[RIG_ENTRIES_MAX + 1];
    uint32_t count;
    uint32_t next;   /* first entry that was not sent yet */
    bool all_values; /* the next evidence carries all PCR values */
    uint64_t clock;
    uint32_t reset_count, restart_count;
    uint8_t boot_id[16];
    uint8_t fleet[16];
    size_t obeyed; /* directives seen */
};

void rig_init(struct rig_agent *a, const char *id, const uint8_t fleet[16]);
void rig_deinit(struct rig_agent *a);
/* The kernel measures a file: entry and PCR 10. */
void rig_measure(struct rig_agent *a, const char *path, const char *content);
/* As the agent program does after a restart or a resync directive. */
void rig_resync(struct rig_agent *a, uint32_t from);
/* Another boot: PCR 10 and the list start anew. */
void rig_reboot(struct rig_agent *a);
/* Hex digest of what rig_measure measures for `content`. */
void rig_digest_hex(const char *content, char out[65]);

struct rig_tamper {                     /* what is done to the finished record; zero: nothing */
    bool attest, signature, body, part; /* flip one bit of it */
    const uint8_t *nonce;               /* another nonce than the marker's */
};
/* The next evidence for this marker, encoded; advances clock and `next`. */
void rig_attest(struct rig_agent *a, const struct avow_marker *marker,
                const struct rig_tamper *tamper, struct avow_buf *out);
/* The same in n parts: records[0] is the head. The caller initialises the buffers. */
void rig_attest_cut(struct rig_agent *a, const struct avow_marker *marker, size_t n,
                    struct avow_buf *records);

#endif
