/* host.h - one host without a TPM: PCRs, a measurement list, and the evidence that its agent would
 * send. Layer: tools/loadgen. Pure: no I/O, no clock. Bank SHA-256, template ima-ng. */
#ifndef AVOW_LOADGEN_HOST_H
#define AVOW_LOADGEN_HOST_H

#include "avow/base/arena.h"
#include "keys.h"

#define AVOW_LOAD_LIST_MAX (64u * 1024u) /* bytes of a list: some hundred entries a boot */
#define AVOW_LOAD_ENTRIES_MAX 512u
/* The one file that the policy of a load test has to allow, with the digest of its name. */
#define AVOW_LOAD_PATH "/usr/bin/avow-load"

struct avow_load_host {
    char id[32];
    const struct avow_load_key *key; /* borrowed */
    uint8_t boot_id[16];
    uint32_t reset_count;
    uint64_t last_clock;
    uint8_t pcr[24][32];
    struct avow_buf list;
    size_t offsets[AVOW_LOAD_ENTRIES_MAX + 1]; /* where each entry begins, and the end */
    uint64_t entries;
    uint64_t next;  /* first entry that was not sent */
    bool send_pcrs; /* all values with the next evidence */
};

struct avow_load_marker { /* the newest one of a partition */
    bool known;
    uint64_t epoch;
    uint8_t nonce[32];
};

/* `key` must outlive it. The host is not booted yet. */
void avow_load_host_init(struct avow_load_host *h, const char *id, const struct avow_load_key *key);
void avow_load_host_deinit(struct avow_load_host *h);
/* A new list with boot_aggregate and one good entry. Errors: AVOW_NOMEM. */
enum avow_rc avow_load_host_boot(struct avow_load_host *h, struct avow_err *err) AVOW_MUST_CHECK;
/* Runs the file, as it is allowed or tampered with: appended and extended. Errors: AVOW_LIMIT,
 * AVOW_NOMEM. */
enum avow_rc avow_load_host_run(struct avow_load_host *h, bool tampered,
                                struct avow_err *err) AVOW_MUST_CHECK;
/* The framed evidence of what is new, quoted now; appended to `out`. *end receives the index after
 * the last entry that it carries: `next`, once it is sent. clock_ms must grow. */
enum avow_rc avow_load_host_attest(struct avow_load_host *h, const uint8_t fleet[16],
                                   const struct avow_load_marker *m, uint64_t clock_ms,
                                   struct avow_buf *out, uint64_t *end,
                                   struct avow_err *err) AVOW_MUST_CHECK;

#endif
