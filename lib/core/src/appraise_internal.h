/* appraise_internal.h - what the pieces of avow_appraise share. Private to lib/core.
 *
 * appraise.c walks: attribution -> order.c -> renew.c -> appraise_values.c (selection, values) ->
 * appraise_ima.c (scan, then fold and judge) -> appraise_boot.c -> pcrs.c (rules). */
#ifndef AVOW_CORE_APPRAISE_INTERNAL_H
#define AVOW_CORE_APPRAISE_INTERNAL_H

#include "avow/core/appraise.h"

#include "core_internal.h"

struct avow_quoted_bank { /* one selection of the attest */
    enum avow_hash_alg bank;
    size_t len;
    uint32_t pcrs;
};
struct avow_scan { /* of the list, before anything is judged */
    struct avow_digest native[AVOW_HASH_ALG_COUNT], padded[AVOW_HASH_ALG_COUNT];
    bool known[AVOW_HASH_ALG_COUNT];
    enum avow_ima_next end; /* why it stopped */
};
struct avow_appraisal {
    const struct avow_appraise_in *in; /* NULL for a list alone */
    struct avow_appraise_out *out;
    struct avow_err *err;
    enum avow_rc failed; /* sticky; err is set */

    struct avow_eval ev;
    struct avow_eval_in ev_in;
    struct avow_eval_out ev_out;
    struct avow_state prior;
    struct avow_marker marker;
    struct avow_body body;
    uint8_t demands_sha256[AVOW_SHA256_LEN];

    /* appraise_values.c */
    struct avow_quoted_bank quoted[AVOW_QUOTE_SELECTIONS_MAX];
    size_t quoted_count;
    bool selection_good;
    struct avow_bank_values values[AVOW_HASH_ALG_COUNT]; /* claimed, then proven */
    bool values_given, values_proven;

    struct avow_scan scan; /* appraise_ima.c */
};

/* Remembers an error of ours. */
void avow_appraisal_fail(struct avow_appraisal *a, enum avow_rc rc, const char *what);

/* appraise_values.c: the selection, and the values of the file. */
void avow_appraise_selection(struct avow_appraisal *a);
void avow_appraise_values_given(struct avow_appraisal *a);
/* True if the quote is over what the logs and the body lead to, with these values of PCR 10 by bank
 * (length 0: as it starts). Then they are proven. */
bool avow_appraise_values_guess(struct avow_appraisal *a,
                                const struct avow_digest pcr10[AVOW_HASH_ALG_COUNT]);
/* Findings where values are wanted and not proven; hands proven ones to the evaluation. */
void avow_appraise_values_settle(struct avow_appraisal *a);

/* appraise_ima.c: counts entries and finds the prefix that was quoted. */
void avow_appraise_scan(struct avow_appraisal *a, struct avow_bytes list);
/* Folds and judges. */
void avow_appraise_list_judge(struct avow_appraisal *a, struct avow_bytes list);

/* appraise_boot.c */
void avow_appraise_boot_read(struct avow_appraisal *a);
void avow_appraise_boot_judge(struct avow_appraisal *a);

#endif
