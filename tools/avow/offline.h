/* offline.h - what the offline commands share: files of a host, and what an operator demands of
 * them. Layer: tools/avow. No broker, no TPM. */
#ifndef AVOW_TOOLS_OFFLINE_H
#define AVOW_TOOLS_OFFLINE_H

#include "agent_demands.h"
#include "context.h"

#include "avow/core/appraise.h"

#define AVOW_EXTRA_DATA_MAX 66u /* sizeof(TPMT_HA) (Part 2, 10.4.3 TPM2B_DATA) */
#define AVOW_OFFLINE_LIST_MAX (1024u * 1024u * 1024u) /* 4 million entries of 256 bytes */

/* Files of one command, kept until it ends. Standard input (`-`) can be read once. */
struct avow_offline_files {
    struct avow_buf bufs[8 + 2 * AVOW_OPT_LIST_MAX];
    size_t count;
    bool stdin_used;
};
void avow_offline_files_deinit(struct avow_offline_files *f);
/* A file of ours, at most `max` bytes. Errors: AVOW_IO, AVOW_LIMIT, AVOW_USAGE (a second `-`). */
enum avow_rc avow_offline_read(struct avow_offline_files *f, const char *path, size_t max,
                               struct avow_bytes *out, struct avow_err *err) AVOW_MUST_CHECK;
/* A file of the host, of which `max` bytes are of use. One that is larger is the host's fault, so
 * that *out then is something larger, too. `path` NULL: not given. */
enum avow_rc avow_offline_read_host(struct avow_offline_files *f, const char *path, size_t max,
                                    struct avow_appraise_file *out,
                                    struct avow_err *err) AVOW_MUST_CHECK;

struct avow_offline_options {
    const char *runtime_policy, *boot_policy, *refstate, *tpm_policy, *severity;
    const char *accept_signing, *accept_hash;
    struct avow_opt_list keys, keyrings;
    bool check_signatures, allow_padded, allow_violations;
};
/* The options as an enrolment says them. */
struct avow_offline_demands {
    struct avow_enrollment enrollment;
    struct avow_eval_policy policy;
    uint32_t mask; /* PCRs that the TPM policy wants quoted */
    /* Storage. */
    struct avow_pcr_policy pcrs;
    struct avow_runtime_policy *runtime;
    struct avow_ima_keys *keys;
    struct avow_severity *severity;
    struct avow_boot_policy *boot;
    struct avow_head_ref heads[4];
    enum avow_sign_alg sign_algs[AVOW_SIGN_ALG_COUNT];
    enum avow_hash_alg hashes[AVOW_HASH_ALG_COUNT];
};
/* *out is to be deinitialised in any case. Errors: AVOW_USAGE, AVOW_IO, and those of the policies'
 * readers, with the name of the file. */
enum avow_rc avow_offline_demands_read(const struct avow_offline_options *o,
                                       struct avow_offline_files *files,
                                       struct avow_offline_demands *out,
                                       struct avow_err *err) AVOW_MUST_CHECK;
void avow_offline_demands_deinit(struct avow_offline_demands *d);

/* What each offline command works with. */
struct avow_offline {
    struct avow_offline_options options;
    struct avow_arena arena;
    struct avow_offline_files files;
    struct avow_offline_demands demands;
};
void avow_offline_init(struct avow_offline *o); /* leaves the options */
void avow_offline_deinit(struct avow_offline *o);

/* Hex digits of `option`, into `out` of `cap` bytes. None at all are what an empty variable of a
 * script gives, and refused. AVOW_USAGE. */
enum avow_rc avow_offline_hex(const char *option, const char *text, uint8_t *out, size_t cap,
                              size_t *len, struct avow_err *err) AVOW_MUST_CHECK;
/* "0,1,7" or "0-7,14" as bits. AVOW_USAGE. */
enum avow_rc avow_offline_pcrs(const char *option, const char *text, uint32_t *out,
                               struct avow_err *err) AVOW_MUST_CHECK;

#endif
