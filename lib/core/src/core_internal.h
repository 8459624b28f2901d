/* core_internal.h - what the pieces of one appraisal share. Private to lib/core.
 *
 * avow_evaluate (evaluate.c) walks: attribute.c (drops) -> order.c (order token) -> renew.c (boots,
 * enrolments, policies: what may continue) -> pcrs.c (selection, bank, static values) -> ima_part.c
 * (frames) -> ima_fold.c (running values) with ima_judge.c (entries:
 * ima_file.c, ima_buffer.c, ima_learned.c, dm_state.c) -> explain.c (quotes) ->
 * boot.c and boot_log.c -> pcrs.c (rules) -> status.c. All of them work on one struct avow_eval.
 * Evidence of several parts stops after part 1, keeps the fold in the state (open_fold.c), and goes
 * on there with each part; explain.c and what follows run at the last one. Memory is the caller's
 * arena; a failed allocation is sticky in `nomem`. */
#ifndef AVOW_CORE_INTERNAL_H
#define AVOW_CORE_INTERNAL_H

#include "avow/core/appraise.h"
#include "avow/core/evaluate.h"
#include "avow/core/event_replay.h"
#include "avow/core/findings.h"
#include "avow/crypto/digest.h"
#include "avow/formats/ima_list.h"
#include "avow/formats/quote.h"

#include "dm_state.h"

#define AVOW_IMA_PCR 10u              /* CONFIG_IMA_MEASURE_PCR_IDX of every distribution kernel */
#define AVOW_TRACKED_MAX 4u           /* PCRs that IMA may extend: schemas/state.avsc */
#define AVOW_LEARNED_MAX 12u          /* learned keys: schemas/state.avsc */
#define AVOW_LEARNED_SPKI_MAX 560u    /* the same; RSA-4096 has 550 */
#define AVOW_EXPLAIN_BACK 5u          /* R_N .. R_{N-4} (PROTOCOL R2) */
#define AVOW_CHAINS_MAX 4u            /* {from zeros, from the stored value} x {native, padded} */
#define AVOW_IMA_ENTRIES_MAX 4000000u /* PROTOCOL B6 */
#define AVOW_PARTS_MAX 64u            /* PROTOCOL B6 */
#define AVOW_EVIDENCE_BYTES_MAX (32u * 1024u * 1024u) /* of all parts: PROTOCOL B6 */
#define AVOW_OPEN_BODY_MAX                                                                         \
    4096u /* schemas/state.avsc; the largest body that decodes has 2.2 kB                          \
           */
#define AVOW_BODY_VERSION 1u
#define AVOW_ALL_PCRS 0x00FFFFFFu

/* Nowhere in particular. */
#define AVOW_FINDING_NOWHERE ((struct avow_finding_context){.entry = -1, .event = -1, .pcr = -1})

/* finding_list.c: findings of the current run, in order of discovery, without repetitions: those of
 * the prior state, and the first `limit` of the evidence at hand. What the evidence at hand shows
 * is kept whatever becomes of the past, and a list full of old findings hides none of it. Nor do a
 * thousand of one kind hide the first of another: it takes the place of the last repetition. */
struct avow_finding_list {
    struct avow_arena *arena;
    const struct avow_severity *severity; /* NULL: the usual labels */
    struct avow_finding *items;
    struct avow_finding_context *contexts; /* of items; those of the prior state have none */
    enum avow_finding_id *ids;             /* of items; AVOW_FINDING_COUNT: not of this table */
    bool *of_now;                          /* of items; found in the evidence at hand */
    struct avow_finding_context at; /* where the walk is: copied with each finding, but the path */
    size_t count, room, limit;
    size_t old;                    /* items that are not of_now */
    bool seen[AVOW_FINDING_COUNT]; /* among those that are */
    uint32_t counted;              /* of the evidence at hand, and not kept */
    uint32_t total;
    bool nomem;
};
void avow_finding_list_init(struct avow_finding_list *l, struct avow_arena *arena,
                            const struct avow_state *prior, size_t limit);
/* Both texts are valid UTF-8, within the caps of the schema and live as long as the arena; NULL:
 * out of memory. */
void avow_finding_list_put(struct avow_finding_list *l, enum avow_finding_id id, const char *where,
                           const char *detail);
/* No more of this evidence are kept, but for the first of a kind. */
bool avow_finding_list_is_full(const struct avow_finding_list *l);
/* The same; then one is counted. */
bool avow_finding_list_count_only(struct avow_finding_list *l);
/* True if one more of this kind would not be kept. */
bool avow_finding_list_is_full_of(const struct avow_finding_list *l, enum avow_finding_id id);
/* The same; then one is counted. */
bool avow_finding_list_skip(struct avow_finding_list *l, enum avow_finding_id id);
/* AVOW_FIND(ev, IMA_VIOLATION, where, "format", ...): the texts are only made when they are kept,
 * so that a list full of bad entries costs no memory. */
#define AVOW_FIND(ev, name, where, ...)                                                            \
    do {                                                                                           \
        if (!avow_finding_list_skip(&(ev)->findings, AVOW_FINDING_##name))                         \
            avow_finding_list_put(&(ev)->findings, AVOW_FINDING_##name, (where),                   \
                                  avow_arena_printf((ev)->arena, __VA_ARGS__));                    \
    } while (0)
/* Keeps only those for which `keep` is true. */
void avow_finding_list_filter(struct avow_finding_list *l, bool (*keep)(enum avow_finding_id id));
/* The same, but of those of the past only. */
void avow_finding_list_forget(struct avow_finding_list *l, bool (*keep)(enum avow_finding_id id));
bool avow_finding_list_has(const struct avow_finding_list *l, enum avow_finding_id id);
/* Copies what a state may hold of the list into its arrays. */
bool avow_finding_list_store(const struct avow_finding_list *l, struct avow_state *next);
/* Text for people from bytes of an attacker: what is not printable UTF-8 becomes \xNN, cut with
 * "..." at `max` bytes. */
struct avow_str avow_finding_text(struct avow_arena *arena, struct avow_str untrusted, size_t max);
/* Most severe label among them; "" if there are none. */
struct avow_str avow_findings_severity(const struct avow_finding *f, size_t n);

/* Running values of the tracked PCRs, in the order of avow_fold.pcrs. */
struct avow_running {
    struct avow_digest v[AVOW_TRACKED_MAX];
};
/* One hypothesis about where the fold started and how the kernel extends the bank. */
struct avow_chain {
    enum avow_ima_mode mode;
    bool from_stored;
    struct avow_running now;
    struct avow_running recent[AVOW_EXPLAIN_BACK]; /* recent[0] is R_N */
    size_t recent_count;
    bool pending_found;
    uint64_t pending_at;
    struct avow_running pending_values;
    bool explained;
    uint64_t explained_at;
    struct avow_running explained_values;
};
struct avow_fold {
    enum avow_hash bank;
    size_t bank_len;
    uint16_t pcrs[AVOW_TRACKED_MAX]; /* [0] is PCR 10 */
    size_t pcrs_count;
    uint64_t known;   /* entries before this index are skipped */
    uint64_t index;   /* of the entry that the walk is at */
    uint64_t end;     /* index after the last entry that the body announces */
    uint64_t count;   /* entries that the running values cover */
    bool into_rebase; /* the result goes to state.rebase */
    bool from_zero;   /* the chain began at entry 0 in this evidence */
    bool repeated_aggregate;
    uint64_t proven_count; /* of the stored position that is continued */
    struct avow_running proven;
    struct avow_key_ref keys[AVOW_LEARNED_MAX]; /* keys that the list has taught so far */
    size_t keys_count;
    size_t chains_count;
    struct avow_chain chains[AVOW_CHAINS_MAX]; /* 10 KiB, last: not zeroed before they begin */
    struct avow_dm_state dm; /* 1 KiB, likewise: avow_fold_begin sets its length */
};

struct avow_eval {
    const struct avow_eval_in *in;
    struct avow_arena *arena;
    struct avow_eval_out *out;
    struct avow_state *next; /* &out->next */
    bool nomem;

    /* attribute.c from the head, or open_fold.c from the state */
    struct avow_quote quote;
    struct avow_tpm_signature signature;
    uint8_t tag[16];
    struct avow_as_of answers; /* the marker that the head answers */
    uint64_t head_offset;
    bool body_malformed;    /* the signed body contradicts itself */
    struct avow_bytes part; /* the one at hand */
    uint16_t part_index;    /* from 1 */
    uint8_t part_next[32];  /* what the part after it must hash to; zeros: there is none */
    uint64_t parts_bytes;   /* of this part and those before it */

    /* order.c, renew.c */
    bool counters_reset; /* not newer, but the enrolment's generation lets it start afresh */
    bool new_boot;
    bool kexec;
    bool run_starts; /* everything is judged anew from entry 0 by this evidence */
    bool can_judge;  /* policies are there and this version can apply them */

    /* pcrs.c */
    enum avow_hash_alg bank;
    enum avow_hash bank_hash;
    size_t bank_len;
    struct avow_bytes
        values[AVOW_PCR_COUNT]; /* claimed static values; [10] empty while IMA is present */
    /* Values of other banks in the same quote, by bank; the row of `bank` is empty. NULL: none. */
    const struct avow_bank_values *other_banks;
    struct avow_bytes quoted_pcr10; /* the quote is over `values` and this; empty: not known yet */
    bool ima_present;
    bool more; /* the log is longer than this evidence */

    struct avow_finding_list findings;
    struct avow_pubkey *learned[AVOW_LEARNED_MAX]; /* owned; of next->learned, once needed */

    /* appraise.c only */
    bool any_prefix; /* one file is asked about: no later evidence will explain it, and it may have
                        been read long after the quote */
    const struct avow_bytes *aggregates; /* that boot_aggregate may be, instead of recomputing it */
    size_t aggregates_count;
    const struct avow_event_replay *boot_replay; /* of a log beside the quote; NULL: none */

    /* explain.c */
    const struct avow_chain *proven_chain; /* NULL: nothing was proven */
    bool explained;                        /* this quote: as_of is this marker */
    bool pending_met;                      /* the list passes through the pending quote's value */
    bool pending_proven;                   /* the pending one */
    bool boot_log_seen;
    struct avow_bytes boot_log; /* once seen; borrowed from the part */
    struct avow_bytes pcr10;    /* value of PCR 10 at the quote, once explained */

    struct avow_fold fold; /* last, as its chains are */
};

/* hash_alg.c: model's enum <-> crypto's. */
enum avow_hash avow_hash_of(enum avow_hash_alg alg);
bool avow_hash_alg_of(uint16_t tpm_alg, enum avow_hash_alg *out) AVOW_MUST_CHECK;

/* attribute.c: true if the evidence is this agent's, fresh and unaltered; else *why. Fills quote,
 * signature, tag, answers and part. */
bool avow_attribute(struct avow_eval *ev, enum avow_drop_reason *why) AVOW_MUST_CHECK;
/* The questions of it that are not about the record. `attest` is the hash of the quote. */
bool avow_attribute_algorithm(const struct avow_eval *ev);
bool avow_attribute_signature(const struct avow_eval *ev, const struct avow_digest *attest);
/* SHA-256(SHA-256(part) || next): what the record before names (PROTOCOL B4). */
void avow_part_link(struct avow_bytes part, const uint8_t next[32], uint8_t out[32]);

/* open_fold.c: a fold between two parts. */
/* Digest of the enrolment and policies that something is judged by. */
void avow_open_demands(const struct avow_eval_in *in, uint8_t out[32]);
/* Ends an open fold without its last part: counted, never a finding (PROTOCOL B4). */
void avow_open_abandon(struct avow_eval *ev);
/* The fold goes to next->open, to be continued with the next part. */
void avow_open_store(struct avow_eval *ev);
/* True if the part is the one that the open fold waits for; else *why. Costs one SHA-256. */
bool avow_open_accepts(const struct avow_eval_in *in, enum avow_drop_reason *why) AVOW_MUST_CHECK;
/* Everything of the head that judging goes on with. False if the state does not hold it. */
bool avow_open_load(struct avow_eval *ev) AVOW_MUST_CHECK;

/* order.c */
enum avow_order { AVOW_ORDER_REPLAY = 0, AVOW_ORDER_NEWER, AVOW_ORDER_REGRESSED };
enum avow_order avow_order_of(const struct avow_eval *ev);
/* False, and a finding, if the TPM's counters went back and the enrolment does not let it start
 * afresh. */
bool avow_order_judge(struct avow_eval *ev) AVOW_MUST_CHECK;

/* evaluate.c: where the AK is, judged and learned (PROTOCOL R6); a list that explains by being
 * empty. */
void avow_signer_judge(struct avow_eval *ev);
void avow_signer_learn(struct avow_eval *ev);
void avow_ima_judge_empty(struct avow_eval *ev);

/* renew.c: what of the stored state may continue. Runs after the order is accepted. */
void avow_renew(struct avow_eval *ev);
/* A run begins: the findings are those of this evidence and its successors. */
void avow_renew_start_run(struct avow_eval *ev);

/* pcrs.c */
bool avow_pcrs_selection(struct avow_eval *ev) AVOW_MUST_CHECK;
enum avow_pcrs_static { AVOW_PCRS_UNKNOWN = 0, AVOW_PCRS_MALFORMED, AVOW_PCRS_KNOWN };
enum avow_pcrs_static avow_pcrs_static(struct avow_eval *ev) AVOW_MUST_CHECK;
/* H_hash(values in index order), PCR 10 := pcr10 if that is not empty. */
void avow_pcrs_digest(enum avow_hash hash, const struct avow_bytes values[AVOW_PCR_COUNT],
                      struct avow_bytes pcr10, struct avow_digest *out);
bool avow_pcrs_bank_is_enrolled(const struct avow_enrollment *e, enum avow_hash_alg bank);
/* The quoted value; empty if it is not known, or not quoted. */
struct avow_bytes avow_pcrs_value(const struct avow_eval *ev, enum avow_hash_alg bank,
                                  uint16_t index);
void avow_pcrs_rules(struct avow_eval *ev);
/* The rules for PCR 10, whose value the last part shows. */
void avow_pcrs_rules_ima(struct avow_eval *ev);
/* Values that the agent sent before, in this bank. */
void avow_pcrs_take_stored(struct avow_eval *ev);

/* ima_part.c: walks the frames of the part at hand. False if it is malformed (finding added) or too
 * large. */
bool avow_ima_part(struct avow_eval *ev) AVOW_MUST_CHECK;
bool avow_part_is_last(const struct avow_eval *ev);

/* ima_fold.c */
enum avow_fold_begin { AVOW_FOLD_GAP = 0, AVOW_FOLD_READY };
enum avow_fold_begin avow_fold_begin(struct avow_eval *ev) AVOW_MUST_CHECK;
void avow_fold_entry(struct avow_eval *ev, const struct avow_ima_entry *e);
struct avow_ima_extension { /* what one entry extends a bank with */
    struct avow_digest native, padded;
};
/* `sha1` is the entry's template hash. */
void avow_ima_extension(enum avow_hash bank, const struct avow_ima_entry *e,
                        const struct avow_digest *sha1, struct avow_ima_extension *x);
void avow_ima_extend(enum avow_hash bank, struct avow_digest *value, const struct avow_digest *by);
/* Device-mapper state of a stored position or an open fold. */
void avow_fold_take_dm(struct avow_eval *ev, struct avow_bytes dm);
/* Stores the result of the fold as claimed or proven position. */
void avow_fold_store(struct avow_eval *ev);

/* ima_judge.c: findings of one entry that is folded for the first time. */
void avow_ima_judge(struct avow_eval *ev, const struct avow_ima_entry *e);
/* ima_file.c: a file by its digest and its signature. */
void avow_ima_judge_file(struct avow_eval *ev, const struct avow_ima_file *f);
/* Something is demanded of files. */
bool avow_ima_judges_files(const struct avow_eval *ev);
/* ima_buffer.c: a key that was loaded into a keyring, an event of the device mapper, or another
 * buffer. */
void avow_ima_judge_buffer(struct avow_eval *ev, const struct avow_ima_file *f);
/* Once the quote is explained: what a device-mapper policy requires. */
void avow_ima_judge_devices(struct avow_eval *ev);
/* The digest's length is that of the named algorithm: a policy digest has no name, so the length
 * alone would let another algorithm of that length pass. */
bool avow_ima_digest_is_sound(const struct avow_ima_file *f, enum avow_hash *alg);
/* "/usr/bin/x sha256:abcd (reason)"; NULL if there is no memory. */
const char *avow_ima_file_reason(const struct avow_eval *ev, const struct avow_ima_file *f,
                                 const char *reason);
#define AVOW_FIND_FILE(ev, name, f, reason)                                                        \
    do {                                                                                           \
        if (!avow_finding_list_skip(&(ev)->findings, AVOW_FINDING_##name))                         \
            avow_finding_list_put(&(ev)->findings, AVOW_FINDING_##name, avow_ima_where(ev),        \
                                  avow_ima_file_reason(ev, f, reason));                            \
    } while (0)

/* ima_learned.c: keys that the list itself teaches. */
/* Those of a stored position or an open fold; entries behind `end` are not of it. */
void avow_learned_load(struct avow_eval *ev, const struct avow_key_ref *keys, size_t count,
                       uint64_t end);
/* The entry at hand taught this key. */
void avow_learned_add(struct avow_eval *ev, struct avow_str keyring, uint32_t id,
                      struct avow_bytes spki);
/* Key of fold.keys[i] if it has this id; NULL otherwise. */
const struct avow_pubkey *avow_learned_find(struct avow_eval *ev, size_t i, uint32_t id);
/* A copy of fold.keys in the arena. */
const struct avow_key_ref *avow_learned_copy(struct avow_eval *ev);
void avow_learned_free(struct avow_eval *ev);

/* "entry 17": the one that the fold is at. */
const char *avow_ima_where(const struct avow_eval *ev);
/* "/usr/bin/x sha256:abcd"; NULL if there is no memory. */
const char *avow_ima_file_text(const struct avow_eval *ev, const struct avow_ima_file *f);

/* explain.c */
void avow_explain_step(struct avow_eval *ev,
                       struct avow_chain *c); /* is the chain at the pending quote's value? */
void avow_explain(struct avow_eval *ev);
void avow_explain_without_ima(struct avow_eval *ev);
/* After the position is stored: the pending quote, and as_of. */
void avow_explain_settle(struct avow_eval *ev);

/* boot.c */
void avow_boot_aggregate(struct avow_eval *ev, const struct avow_ima_file *f);
bool avow_boot_log(struct avow_eval *ev, struct avow_bytes log) AVOW_MUST_CHECK;
/* Once the frames of part 1 are read: what the boot is worth under the boot policy, from the log at
 * hand or from what was found for the same values before. */
void avow_boot_judge(struct avow_eval *ev);
/* What is known of the boot is about these static values (avow_boot_pcrs of them). */
bool avow_boot_is_of(const struct avow_eval *ev, const struct avow_bytes values[AVOW_PCR_COUNT]);
/* Once the static values are known: an outcome for others is forgotten, whether this evidence will
 * be judged or not. */
void avow_boot_values(struct avow_eval *ev);
/* The boot policy waits for a log: nothing is proven as of now. */
bool avow_boot_is_open(const struct avow_state *s);
/* Asks for the log if it is waited for. */
void avow_boot_ask(struct avow_eval *ev);

/* boot_log.c */
/* PCRs that a firmware log is to explain. */
uint32_t avow_boot_pcrs(const struct avow_eval_policy *p);
/* False, and a finding, if the log cannot be read. */
bool avow_boot_log_read(struct avow_eval *ev, struct avow_bytes bytes, struct avow_event_log *log,
                        struct avow_event_replay *replay) AVOW_MUST_CHECK;
/* The log by itself, beside the quoted values, and by the boot policy if there is one. True:
 * nothing was found. */
bool avow_boot_log_judge(struct avow_eval *ev, const struct avow_event_log *log,
                         const struct avow_event_replay *replay);

/* status.c */
void avow_status_decide(struct avow_eval *ev);

/* Entries from which on an agent has to send. */
uint64_t avow_known_entries(const struct avow_state *s);
/* Copies into the arena; sets ev->nomem on failure. */
struct avow_bytes avow_eval_copy(struct avow_eval *ev, struct avow_bytes b);
void *avow_eval_alloc(struct avow_eval *ev, size_t count, size_t size);
/* Asks the agent for more; the first reason is kept, the demands are joined. */
void avow_eval_resync(struct avow_eval *ev, uint64_t ima_from, bool pcrs, const char *reason);

#endif
