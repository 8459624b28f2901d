/* marker_book.h - the markers of one partition that evidence may answer: read back from the topic
 * or issued here, nothing else (PROTOCOL R5). Layer: verifier-workers. No I/O: signatures are
 * checked through a callback, and only when a marker is asked for or has a twin, so that a restore
 * of 24 hours of markers costs no 8 640 signature checks. */
#ifndef AVOW_WORKER_MARKER_BOOK_H
#define AVOW_WORKER_MARKER_BOOK_H

#include "avow/base/arena.h"
#include "avow/base/err.h"
#include "avow/model/marker.h"

#define AVOW_MARKER_BOOK_TWINS 4u          /* nonces of one epoch (PROTOCOL B6) */
#define AVOW_MARKER_BOOK_MAX 100000u       /* entries; 24 h of 1 s epochs fit */
#define AVOW_MARKER_BOOK_KEEP_MS 86400000u /* 24 h */
#define AVOW_MARKER_BOOK_LATE_EPOCHS                                                               \
    3u /* live: older than the newest by more is ignored (PROTOCOL B2, Marker) */

/* True iff the record's signature is good and its key may sign markers now. */
typedef bool (*avow_marker_book_verify_fn)(void *arg, struct avow_bytes record);

struct avow_marker_book_entry;
struct avow_marker_book {
    struct avow_marker_book_entry *entries; /* by epoch, then arrival */
    size_t count, cap;
    uint64_t epoch_ms;
    avow_marker_book_verify_fn verify;
    void *arg;
};

void avow_marker_book_init(struct avow_marker_book *b, uint64_t epoch_ms,
                           avow_marker_book_verify_fn verify, void *arg);
void avow_marker_book_deinit(struct avow_marker_book *b);

enum avow_marker_book_added {
    AVOW_MARKER_BOOK_ADDED,
    AVOW_MARKER_BOOK_TWIN,    /* added, and its epoch has another nonce */
    AVOW_MARKER_BOOK_KNOWN,   /* this nonce is there already */
    AVOW_MARKER_BOOK_OLD,     /* beyond memory, or too late for a live record */
    AVOW_MARKER_BOOK_FUTURE,  /* more than one epoch ahead; signature good */
    AVOW_MARKER_BOOK_REFUSED, /* signature bad, or too many twins */
};
struct avow_marker_book_add {
    const struct avow_marker
        *marker;              /* decoded from `record`; fleet, key and partition are checked */
    struct avow_bytes record; /* copied */
    bool own;                 /* we signed it */
    bool live;                /* not a restore */
    uint64_t unix_ms;
};
/* Errors: AVOW_NOMEM. */
enum avow_rc avow_marker_book_add(struct avow_marker_book *b, const struct avow_marker_book_add *in,
                                  enum avow_marker_book_added *out,
                                  struct avow_err *err) AVOW_MUST_CHECK;

enum avow_marker_book_found {
    AVOW_MARKER_BOOK_UNKNOWN = 0,
    AVOW_MARKER_BOOK_EXPIRED,
    AVOW_MARKER_BOOK_FOUND
};
/* The marker that a body names by epoch and tag. *record is borrowed until the next call that adds.
 */
enum avow_marker_book_found avow_marker_book_find(struct avow_marker_book *b, uint64_t epoch,
                                                  const uint8_t tag[8], uint64_t unix_ms,
                                                  struct avow_bytes *record);
/* The newest marker whose signature is good; false if there is none. */
bool avow_marker_book_newest(struct avow_marker_book *b, struct avow_bytes *record);
/* The trust bundle changed: every signature is checked anew when it is next needed. */
void avow_marker_book_distrust(struct avow_marker_book *b);
/* First 8 bytes of SHA-256(nonce). */
void avow_marker_tag(const uint8_t nonce[32], uint8_t out[8]);

#endif
