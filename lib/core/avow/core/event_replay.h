/* event_replay.h - what PCR values a firmware log explains, and whether the data of its events is
 * what was measured. Layer: core. Pure; thread-safe; allocates nothing.
 *
 * Both are about the log alone: it is proven only by comparing the values with quoted ones. */
#ifndef AVOW_CORE_EVENT_REPLAY_H
#define AVOW_CORE_EVENT_REPLAY_H

#include "avow/core/findings.h"
#include "avow/crypto/digest.h"
#include "avow/formats/event_log.h"

#define AVOW_EVENT_BANKS_MAX 4u /* of enum avow_hash */

struct avow_event_bank {
    enum avow_hash alg;
    struct avow_digest values[AVOW_EVENT_PCRS];
    uint32_t changed; /* bit i: PCR i is no longer what a TPM starts with by itself */
    size_t missing;   /* events that must extend a PCR, without a digest of this bank: if not 0,
                         the values explain nothing */
};
struct avow_event_replay {
    struct avow_event_bank banks[AVOW_EVENT_BANKS_MAX]; /* in the order of the log's header */
    size_t banks_count; /* without algorithms that are not in enum avow_hash */
    bool has_locality;
    uint8_t locality; /* PFP 10.4.5.3: PCR 0 began with it. Only believed before any event of PCR
                         0, so that nothing can be taken back */
};
/* Linear in the length of the log. */
void avow_event_replay(const struct avow_event_log *log, struct avow_event_replay *out);

/* PCR 0-7: SHA-1, always. Another bank only where the kernel has linux commit 6f1a1d103b48, from
 * when on boot_aggregate is not SHA-1 alone, without 20c59ce010f8, which added PCR 8 and 9: both
 * are in 5.8, but its first candidates and some backports have only the former (ima_crypto.c,
 * ima_calc_boot_aggregate_tfm). */
#define AVOW_AGGREGATE_SHORT 8u
#define AVOW_AGGREGATE_LONG 10u /* PCR 0-9: linux 5.8 and later, but not SHA-1 */
/* boot_aggregate as Linux makes it of the first `pcrs` PCRs (at most AVOW_EVENT_PCRS). */
void avow_event_aggregate(const struct avow_event_bank *bank, size_t pcrs, struct avow_digest *out);

/* Replay proves digests only. Data that no digest covers is what the sender of the log likes. */
enum avow_event_bound {
    AVOW_EVENT_UNBOUND = 0,   /* nothing says that the data belongs to the digests */
    AVOW_EVENT_BOUND,         /* `covered` is what was measured, in every bank asked for */
    AVOW_EVENT_MISMATCH,      /* its type says that the data was measured, but it was not */
    AVOW_EVENT_NOT_APPLICABLE /* digests of its type are over something that is not in the log */
};
/* "bound"; never NULL. */
const char *avow_event_bound_text(enum avow_event_bound bound);

struct avow_event_binding {
    enum avow_event_bound bound;
    struct avow_bytes covered; /* part of the event's data; empty unless bound. Neither the name of
                                  a boot variable nor what stands before "kernel_cmdline: "'s text
                                  need be in it. */
};
/* Judges by the digests of all of `banks`: which a TPM would have to quote for it to mean
 * something. An event that lacks one of them is not bound. */
struct avow_event_binding avow_event_bind(const struct avow_event *e,
                                          const struct avow_event_replay *banks);
/* True if the event contradicts itself: *id is boot.digest_missing or boot.data_unbound. */
bool avow_event_complaint(const struct avow_event *e, const struct avow_event_replay *banks,
                          enum avow_finding_id *id) AVOW_MUST_CHECK;

#endif
