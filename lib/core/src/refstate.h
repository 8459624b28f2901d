/* refstate.h - Keylime's reference state for measured boot, compiled, and judged as its policy
 * `example` means it. Private to lib/core. Immutable; shareable between threads. What the members
 * demand, and where this is stricter: docs/KEYLIME.md. */
#ifndef AVOW_CORE_REFSTATE_H
#define AVOW_CORE_REFSTATE_H

#include "boot_facts.h"
#include "boot_kind.h"
#include "boot_rules.h"

#define AVOW_REFSTATE_KERNELS_MAX 1024u
#define AVOW_REFSTATE_FIRMWARE_MAX 1024u
#define AVOW_REFSTATE_BLOBS_MAX 512u /* of one firmware */
#define AVOW_REFSTATE_DIGESTS_MAX 4096u
#define AVOW_REFSTATE_KEYS_MAX 65536u
#define AVOW_REFSTATE_CMDLINE_PREFIX "kernel_cmdline: "
#define AVOW_REFSTATE_CMDLINE_MAX 65536u /* bytes of an expression */

/* Sorted. An event is one of them by every proven bank that they have digests of. */
struct avow_refstate_digests {
    struct avow_boot_digest *items;
    size_t count, cap;
    uint32_t algs; /* bit i: the algorithm with TPM_ALG_ID i */
};
struct avow_refstate_firmware {
    struct avow_refstate_digests scrtm;
    struct avow_refstate_digests *blobs; /* in order */
    size_t count, cap;
};
struct avow_refstate_kernel {
    uint8_t shim[AVOW_SHA256_LEN], grub[AVOW_SHA256_LEN], kernel[AVOW_SHA256_LEN];
    uint8_t vmlinuz[AVOW_SHA256_LEN], initrd[AVOW_SHA256_LEN];
    bool has_kernel, has_vmlinuz;
    const struct avow_boot_texts *cmdline; /* one expression, with Keylime's prefix */
};

/* X(id, member, required) */
#define AVOW_REFSTATE_KEYS_MAP(X)                                                                  \
    X(PK, "pk", true)                                                                              \
    X(KEK, "kek", true)                                                                            \
    X(DB, "db", true)                                                                              \
    X(DBX, "dbx", true)                                                                            \
    X(VENDOR_DB, "vendor_db", false)
enum avow_refstate_keys {
#define X(id, member, required) AVOW_REFSTATE_##id,
    AVOW_REFSTATE_KEYS_MAP(X)
#undef X
        AVOW_REFSTATE_KEYS_COUNT
};

struct avow_refstate {
    struct avow_arena arena;
    struct avow_boot_texts *texts; /* all expressions: for free */
    bool secure_boot;
    struct avow_refstate_firmware *firmware;
    size_t firmware_count, firmware_cap;
    struct avow_boot_ids keys[AVOW_REFSTATE_KEYS_COUNT]; /* avow_refstate_key_id of each */
    struct avow_refstate_digests mok, mokx;
    bool has_grub_files;
    struct avow_refstate_digests grub_files; /* ours: Keylime ignores the member */
    struct avow_refstate_kernel *kernels;
    size_t kernels_count, kernels_cap;
    struct avow_str warnings[AVOW_BOOT_POLICY_WARNINGS_KEPT];
    size_t warnings_count; /* also of those that are not kept */
};

extern const struct avow_boot_kind avow_refstate_kind;

enum avow_rc avow_refstate_load(struct avow_bytes json, void **out, struct avow_err *err);
void avow_refstate_free(void *refstate);
/* Owner and data of a signature, and whether it is a SHA-256, which is no certificate. */
void avow_refstate_key_id(struct avow_bytes owner, struct avow_bytes data, bool is_sha256,
                          uint8_t out[AVOW_BOOT_ID_LEN]);

/* --- One judgement --- */

#define AVOW_REFSTATE_UNBOUND 4u     /* kinds of events in PCR 1 */
#define AVOW_REFSTATE_IMAGES_KEPT 5u /* one more than any boot may have */

struct avow_refstate_image {
    uint8_t digest[AVOW_SHA256_LEN];
    int64_t event;
};
struct avow_refstate_run {
    const struct avow_refstate *p;
    const struct avow_boot_judge *judge;
    bool has_sha256; /* a quoted bank */
    bool nomem;
    size_t complaints;
    struct avow_event e; /* the current one */
    struct avow_boot_fact fact;
    /* Seen so far. */
    uint32_t separated;      /* bit i: PCR i */
    uint32_t seen_variables; /* bit i: rule i of refstate_variable.c */
    unsigned unbound_count[AVOW_REFSTATE_UNBOUND], gpt_count;
    unsigned mok_next;           /* what of PCR 14 may come next */
    struct avow_event *firmware; /* of PCR 0, without separators: the first firmware_cap */
    size_t firmware_count, firmware_cap;
    struct avow_refstate_image images[AVOW_REFSTATE_IMAGES_KEPT];
    size_t images_count;
    size_t cmdlines_count;
    struct avow_buf cmdline; /* the first, with Keylime's prefix */
    int64_t cmdline_event;
    struct avow_refstate_image vmlinuz, initrd, last_file; /* event -1: there is none */
};
/* Where: an event, or -1; a PCR, or -1. */
void avow_refstate_complain_at(struct avow_refstate_run *run, int64_t event, int32_t pcr,
                               enum avow_finding_id id, const char *fmt, ...) AVOW_PRINTF(5, 6);
/* Where: the current event. */
#define avow_refstate_complain(run, id, ...)                                                       \
    avow_refstate_complain_at(run, (int64_t)(run)->e.index, (int32_t)(run)->e.pcr, id, __VA_ARGS__)
bool avow_refstate_has(const struct avow_refstate_run *run, const struct avow_refstate_digests *d,
                       const struct avow_event *e);
/* One event of PCR 7; what should have been there. */
void avow_refstate_judge_variable(struct avow_refstate_run *run);
void avow_refstate_end_variables(struct avow_refstate_run *run);
/* Firmware, images, files and command line, which are judged together. */
void avow_refstate_end_chain(struct avow_refstate_run *run);

#endif
