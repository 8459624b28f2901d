/* rig.h - a host with a TPM, made of software keys and arrays, so that a test can break exactly one
 * thing of genuine evidence.
 *
 * A test boots the rig, adds IMA entries, takes a shot (what the agent reads), changes what it
 * wants, seals it (hashes, quotes, signs) and has it judged. Between taking and sealing, the host
 * may go on: that is the race of PROTOCOL R2. */
#ifndef AVOW_TESTS_CORE_RIG_H
#define AVOW_TESTS_CORE_RIG_H

#include "avow/core/evaluate.h"
#include "avow/core/findings.h"
#include "avow/core/transition.h"
#include "avow/crypto/digest.h"
#include "avow/formats/quote.h"
#include "avow/wire/body.h"
#include "avow/wire/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RIG_ENTRIES_MAX 64u
#define RIG_PARTS_MAX 66u /* two more than an evidence may have */
#define RIG_EPOCH_MS 10000u
#define RIG_PARTITION 3

enum rig_key {
    RIG_RSASSA,
    RIG_RSAPSS,
    RIG_P256,
    RIG_P384,
    RIG_P521,
    RIG_KEYS,
    RIG_P256_OTHER = RIG_KEYS,
    RIG_ALL_KEYS
};

struct rig_entry {
    uint8_t bytes[1024];
    size_t len;
};
struct rig {
    struct avow_arena arena;
    struct avow_arena scratch; /* for what no later step reads */
    enum rig_key key;
    struct avow_ak *ak;
    struct avow_enrollment e;
    uint8_t e_sha256[32];
    const struct avow_enrollment *prior_e; /* handed to the evaluation */
    struct avow_runtime_policy *policy;
    const struct avow_ima_keys *keys;     /* of the enrolment; borrowed */
    const struct avow_severity *severity; /* the same */
    struct avow_boot_policy *boot;
    struct avow_head_ref head, boot_head; /* of `policy` and `boot` */
    struct avow_head_ref heads[2];        /* what the last judgement was by: results borrow them */
    bool policy_missing, superset;

    /* the host */
    enum avow_hash_alg bank;    /* that the agent quotes */
    bool padded;                /* kernel without the banks' hashes */
    struct avow_bytes firmware; /* log of the next boot; empty: none, and PCRs as a test rig has */
    uint8_t pcr[AVOW_HASH_ALG_COUNT][24][64];
    struct rig_entry log[RIG_ENTRIES_MAX];
    size_t log_count;
    uint32_t reset_count, restart_count;
    uint64_t clock;
    uint8_t boot_id[16];
    bool ima_absent;

    /* the agent and the worker */
    size_t next;         /* first entry not sent */
    bool send_pcrs;      /* all of them with the next shot */
    uint64_t epoch;      /* newest marker */
    uint64_t service_ms; /* 0: that of the newest marker */
    uint32_t silent_after_ms;
    uint64_t rebase_interval_ms;
    struct avow_state state;
    struct avow_eval_out out;              /* of the last judgement */
    struct avow_transition_out transition; /* of the last accepted one */
};

struct rig_selection {
    uint16_t hash;
    uint8_t bytes[4];
    uint8_t size;
};
struct rig_shot { /* everything that can be broken */
    struct avow_body body;
    struct avow_pcr_value pcrs[24];
    struct rig_entry log[RIG_ENTRIES_MAX]; /* entries that the part carries */
    size_t log_count;
    bool keep_count;         /* body.ima_count is not set to log_count */
    const uint8_t *boot_log; /* frame 2 if not NULL */
    size_t boot_log_len;
    bool keep_link;             /* body.link and parts are not computed */
    uint8_t trailing;           /* bytes after the last frame */
    struct avow_bytes raw_part; /* instead of frames, if not empty */
    struct avow_bytes raw_list; /* entries after those of `log`; count them in raw_count */
    uint32_t raw_count;
    uint8_t second_link[32]; /* evidence.next, with parts > 1 */

    /* Several parts: rig_cut. */
    size_t cuts_count;
    size_t cuts[RIG_PARTS_MAX];                 /* entries in each part */
    struct avow_bytes raw_parts[RIG_PARTS_MAX]; /* instead, if not empty */
    bool has_last_next;                         /* the last part names one after it */

    /* quote */
    uint32_t magic;
    uint16_t type;
    uint8_t signer[34];
    uint64_t clock;
    uint32_t reset_count, restart_count;
    uint64_t firmware;
    struct rig_selection selections[3];
    size_t selections_count;
    bool has_pcr10; /* quote this value of PCR 10 instead of the host's */
    uint8_t pcr10[64];
    enum rig_key sign_with;
    struct avow_marker marker;
    uint8_t fleet[16]; /* hashed into qualifyingData */
    const char *id;

    /* sealed */
    uint8_t attest[1024], signature[1200], body_bytes[8192], part[64 * 1024];
    size_t attest_len, signature_len, body_len, part_len;
    struct avow_evidence evidence;
    struct avow_evidence_part parts[RIG_PARTS_MAX]; /* [0] is not used: it is in the head */
    struct avow_body sealed_body;
};

/* The firmware's log of a captured machine, in the rig's arena. */
struct avow_bytes rig_capture(struct rig *r, const char *machine);
/* Enrolled with everything allowed but deviations, booted, one entry: boot_aggregate. */
void rig_init(struct rig *r, enum rig_key key);
void rig_deinit(struct rig *r);
void rig_policy(struct rig *r, const char *json);
void rig_boot_policy(struct rig *r, const char *json);
/* Changes to `e` take effect with a higher generation. */
void rig_enroll_again(struct rig *r);

/* The PCRs start as `firmware` explains; the next shot carries it. */
void rig_boot(struct rig *r);
void rig_restart(struct rig *r); /* TPM Restart: PCRs zeroed, resetCount unchanged */
/* Appends to the list and extends the PCRs. */
void rig_run(struct rig *r, const char *path);
void rig_list_only(struct rig *r, const char *path);
void rig_violate(struct rig *r, const char *path);
struct rig_entry rig_entry_make(uint32_t pcr, const char *template, const char *alg,
                                struct avow_bytes digest, const char *path);
/* The same with template data as it is. */
struct rig_entry rig_entry_raw(uint32_t pcr, const char *template, struct avow_bytes data);
void rig_list(struct rig *r, const struct rig_entry *e);
void rig_extend(struct rig *r, const struct rig_entry *e);
/* Digest that rig_run gives the file. */
void rig_file_digest(const char *path, uint8_t out[32]);
void rig_boot_aggregate(const struct rig *r, enum avow_hash_alg bank, struct avow_digest *out);
/* {"/a": ..., "/b": ...} of files that rig_run runs, as a policy with these excludes ("[]" for
 * none). NULL ends the paths. */
const char *rig_policy_text(struct rig *r, const char *excludes, ...);

void rig_tick(struct rig *r); /* the next epoch */
void rig_marker(const struct rig *r, uint64_t epoch, struct avow_marker *out);
struct rig_shot *rig_take(struct rig *r);
void rig_seal(struct rig *r, struct rig_shot *s);
/* Cuts the entries of the shot into n parts of about equal size. */
void rig_cut(struct rig_shot *s, size_t n);
/* Judges a sealed shot; takes the new state over. */
void rig_judge(struct rig *r, struct rig_shot *s);
/* Judges a part. */
void rig_judge_part(struct rig *r, const struct avow_evidence_part *p);
/* Part `index` of the shot, which must be accepted; the fold is open afterwards unless it is the
 * last. */
void rig_part(struct rig *r, struct rig_shot *s, uint16_t index);
/* Head and all parts. */
void rig_deliver(struct rig *r, struct rig_shot *s);
void rig_expect_part_drop(struct rig *r, const struct avow_evidence_part *p,
                          enum avow_drop_reason why);
/* take, seal, judge; the agent's next moves on. */
void rig_attest(struct rig *r);

/* Fails with names. */
void rig_expect_drop(struct rig *r, struct rig_shot *s, enum avow_drop_reason why);
void rig_expect_accepted(struct rig *r, struct rig_shot *s);
void rig_expect_status(const struct rig *r, enum avow_status status);
/* Exactly these ids, NULL-terminated. */
void rig_expect_findings(const struct rig *r, ...);
#define RIG_EXPECT_NO_FINDINGS(r) rig_expect_findings(r, (const char *)NULL)
void rig_expect_as_of(const struct rig *r, uint64_t epoch);

#endif
