/* epoch_bell.h - when a marker is due, and the service clock it carries. Layer: verifier-workers.
 * Pure: time is an argument. One bell per owned partition. Rules: docs/PROTOCOL.md R8 (service
 * clock), R22 (clock sanity).
 *
 * The service clock advances only while this worker serves the partition: between two of its own
 * markers, if it is ready, has processed everything below a recent high watermark, and saw its
 * previous marker on the topic. Whatever happens otherwise (take-over, outage, stall) adds nothing,
 * so that an outage of ours never makes an agent silent. It is measured with the monotonic clock,
 * so that steps of the wall clock add nothing either. */
#ifndef AVOW_WORKER_EPOCH_BELL_H
#define AVOW_WORKER_EPOCH_BELL_H

#include "avow/base/bytes.h"

#define AVOW_EPOCH_BELL_GAP_EPOCHS 3u        /* a gap this long freezes the clock for a while */
#define AVOW_EPOCH_BELL_FREEZE_MAX_MS 60000u /* agents have reconnected by then */
#define AVOW_EPOCH_BELL_SKEW_MAX_MS 5000u    /* against LogAppendTime */
#define AVOW_EPOCH_BELL_CORRECTED_MS                                                               \
    1000u /* a step of the wall clock that is worth another try                                    \
           */
#define AVOW_EPOCH_BELL_WATERMARK_MAX_MS                                                           \
    5000u /* age of the watermark that "caught up" refers to                                       \
           */

enum avow_epoch_bell_health {
    AVOW_EPOCH_BELL_HEALTHY,
    AVOW_EPOCH_BELL_FUTURE, /* a marker on the topic is more than one epoch ahead of our clock */
    AVOW_EPOCH_BELL_SKEWED, /* the broker stamped our marker more than 5 s away from our clock */
};

struct avow_epoch_bell {
    uint64_t epoch_ms;
    uint64_t service_ms; /* of the newest marker; what credits are compared with */
    bool ticking;        /* whether that marker advanced the clock */
    bool has_topic;      /* a marker was read from the topic */
    uint64_t topic_epoch, topic_issued_ms; /* of the newest on the topic */
    bool has_own;
    uint64_t own_epoch, own_unix_ms, own_mono_ms;
    uint8_t own_nonce[32];
    bool own_acked;                /* read back from the topic */
    uint64_t frozen_until_mono_ms; /* 0: never frozen */
    bool skewed;
    int64_t skewed_offset_ms; /* wall minus monotonic clock when the skew was seen */
};

void avow_epoch_bell_init(struct avow_epoch_bell *b, uint64_t epoch_ms);

struct avow_epoch_bell_seen { /* a verified marker, as it was read from the topic */
    uint64_t epoch, issued_ms, service_ms;
    bool ticking;
    const uint8_t *nonce;      /* [32] */
    uint64_t append_ms;        /* LogAppendTime; 0: the broker does not stamp */
    uint64_t unix_ms, mono_ms; /* now */
};
/* Learns from the topic. Before the first own marker the service clock continues from the newest
 * one; afterwards only the own marker's arrival counts. */
void avow_epoch_bell_see(struct avow_epoch_bell *b, const struct avow_epoch_bell_seen *m);

/* May change from SKEWED back to HEALTHY when the wall clock has been corrected. */
enum avow_epoch_bell_health avow_epoch_bell_check(struct avow_epoch_bell *b, uint64_t unix_ms,
                                                  uint64_t mono_ms);
/* "clock.future_marker", "clock.skew"; "" when healthy. */
const char *avow_epoch_bell_health_text(enum avow_epoch_bell_health h);

/* True iff a marker should be issued now. A new owner that finds a marker of this epoch waits for
 * the next epoch. */
bool avow_epoch_bell_due(const struct avow_epoch_bell *b, uint64_t unix_ms);
/* Milliseconds until it will be due; 0 if it is. */
uint64_t avow_epoch_bell_wait_ms(const struct avow_epoch_bell *b, uint64_t unix_ms);

struct avow_epoch_bell_ring { /* in */
    uint64_t unix_ms, mono_ms;
    bool ready;           /* state and policies are held */
    bool caught_up;       /* all below a high watermark seen at most 5 s ago is processed */
    const uint8_t *nonce; /* [32], random */
};
struct avow_epoch_bell_marker { /* out: what the marker says */
    uint64_t epoch, issued_ms, service_ms;
    bool ticking;
    uint64_t gap_ms; /* length of the interruption that was noticed; 0: none */
};
/* Issues one marker. Call only when due and healthy. */
void avow_epoch_bell_ring(struct avow_epoch_bell *b, const struct avow_epoch_bell_ring *in,
                          struct avow_epoch_bell_marker *out);

#endif
