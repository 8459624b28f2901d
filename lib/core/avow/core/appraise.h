/* appraise.h - the appraisal of files: one quote and the logs beside it, or a list alone, outside
 * of any fleet. Layer: core. Pure, as evaluate.h: the same input gives the same output, byte for
 * byte.
 *
 * The same stages as avow_evaluate run over the same rules. They differ in attribution: an operator
 * asks about this one quote, so a bad signature, nonce or key is a finding here and no reason to
 * drop the record; and in that the list may have been read long after the quote, so that any of its
 * prefixes may be what was quoted. What is wrong with a file of the host is a finding, never an
 * error. */
#ifndef AVOW_CORE_APPRAISE_H
#define AVOW_CORE_APPRAISE_H

#include "avow/core/evaluate.h"
#include "avow/core/event_replay.h"
#include "avow/crypto/digest.h"
#include "avow/formats/ima_list.h"
#include "avow/formats/quote.h"

#define AVOW_APPRAISE_FINDINGS_MAX 100u      /* the rest are counted */
#define AVOW_APPRAISE_PCRS_MAX (64u * 1024u) /* bytes of a file of PCR values */

enum avow_appraise_selection {
    AVOW_APPRAISE_ANY = 0, /* whatever was quoted; what the demands need must be in it */
    AVOW_APPRAISE_AVOW     /* all 24 PCRs of one bank (PROTOCOL R18) */
};
struct avow_appraise_file { /* of the host; untrusted */
    bool given;
    struct avow_bytes bytes;
};
struct avow_appraise_in {                    /* borrowed and const */
    struct avow_bytes attest;                /* TPMS_ATTEST */
    struct avow_appraise_file signature, ak; /* TPMT_SIGNATURE; TPM2B_PUBLIC, TPMT_PUBLIC or PEM.
                                                Without both nothing is verified. */
    struct avow_appraise_file nonce;         /* what extraData must be */
    struct avow_appraise_file pcrs; /* digests in the order of the selection, or the file of
                                       tpm2-tools; told apart by content. Without it the values must
                                       follow from the logs. */
    struct avow_appraise_file ima, boot_log;
    struct avow_appraise_file body;       /* of an evidence (PROTOCOL B4) */
    const struct avow_body *decoded_body; /* of body.bytes; NULL: it does not decode */
    /* Demands, as an enrolment says them: sign_algs, sign_hashes, banks, ima_pcrs, pcrs, flags, and
     * which policies; key and fleet name the state. */
    const struct avow_enrollment *demands;
    const struct avow_eval_policy *policy;
    enum avow_appraise_selection selection;
    uint32_t require_pcrs;          /* bit i: PCR i must be quoted */
    const struct avow_state *prior; /* what the last call left; NULL: none */
};

struct avow_bank_values {
    struct avow_bytes v[AVOW_PCR_COUNT]; /* empty: not quoted */
};

struct avow_appraise_ima {
    bool judged; /* a list was given */
    enum avow_ima_list_kind kind;
    uint64_t first;   /* index of its first entry: 0 but for a list that continues */
    uint64_t entries; /* whole ones in the file */
    uint64_t covered; /* of them, from the beginning, by the quote or by what was looked for */
    bool is_covered;
    uint64_t violations;
    struct avow_bytes boot_aggregate; /* the digest of entry 0; empty: there is none */
    /* PCR 10 after the covered entries, or after all of them if none are covered; length 0: not
     * known, for the list continues one of another bank. */
    struct avow_digest pcr10[AVOW_HASH_ALG_COUNT];
};
struct avow_appraise_boot {
    bool judged; /* a log was given and could be read */
    struct avow_event_log log;
    struct avow_event_replay replay;
};
struct avow_appraise_out {
    bool pass;     /* no finding, and everything that was given or demanded is proven */
    bool verified; /* the quote is signed by the key */
    const struct avow_finding *findings; /* in the order of discovery, at most 100 */
    const struct avow_finding_context *contexts;
    const enum avow_finding_id *ids;
    size_t findings_count;
    uint32_t findings_total;
    bool has_quote, has_signature;
    struct avow_quote quote;
    struct avow_tpm_signature signature;
    /* The quoted values by bank, empty where not quoted; all empty unless they are proven. */
    struct avow_bank_values values[AVOW_HASH_ALG_COUNT];
    struct avow_appraise_ima ima;
    struct avow_appraise_boot boot;
    struct avow_state next; /* for `prior` of the next call; findings in it are the first 32 */
};
/* Everything in *out lives in `arena` or borrows from the input. Errors: AVOW_NOMEM, also when the
 * arena is full; AVOW_STATE when `prior` does not fit (other demands than it was made by, and the
 * list does not begin at entry 0). */
enum avow_rc avow_appraise(const struct avow_appraise_in *in, struct avow_arena *arena,
                           struct avow_appraise_out *out, struct avow_err *err) AVOW_MUST_CHECK;

struct avow_appraise_list_in {
    struct avow_bytes list;
    const struct avow_enrollment *demands; /* ima_pcrs, flags, and which policies */
    const struct avow_eval_policy *policy;
    enum avow_hash_alg bank;
    struct avow_bytes pcr10; /* what a prefix of the list must lead to in `bank`; empty: nothing is
                                looked for, and nothing is proven */
    const struct avow_bytes *boot_aggregates; /* what entry 0 may say */
    size_t boot_aggregates_count;
};
/* A list without a quote: quote, boot and values of *out are empty. Errors: as avow_appraise. */
enum avow_rc avow_appraise_list(const struct avow_appraise_list_in *in, struct avow_arena *arena,
                                struct avow_appraise_out *out,
                                struct avow_err *err) AVOW_MUST_CHECK;

#endif
