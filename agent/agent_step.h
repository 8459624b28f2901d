/* agent_step.h - decides what the agent does next (PROTOCOL B3.1). Layer: agent. Pure: no I/O, no
 * clock, no randomness; the same state, event, time and random number give the same actions. The
 * loop only obeys.
 *
 * Times are monotonic milliseconds. Everything about triggers, coalescing, intervals, back-off,
 * directives and markers is decided here; what is in an evidence is decided in attest.c. */
#ifndef AVOW_AGENT_STEP_H
#define AVOW_AGENT_STEP_H

#include "avow/base/rate.h"
#include "avow/model/directive.h"

#define AVOW_AGENT_NEVER UINT64_MAX
#define AVOW_AGENT_COALESCE_MS 50u       /* B3.1 step 4 */
#define AVOW_AGENT_AGAIN_BURST 3u        /* B3.1 step 6 */
#define AVOW_AGENT_AGAIN_REFILL_MS 1000u /* B3.1 step 6 */
#define AVOW_AGENT_EPOCH_WINDOW 6u       /* R19 */
#define AVOW_AGENT_DIRECTIVES_KEPT                                                                 \
    64u /* obeyed ids of the last epochs; workers send one a minute at most */
#define AVOW_AGENT_HELD_MAX 8u
#define AVOW_AGENT_RETRY_BASE_MS 500u
#define AVOW_AGENT_RETRY_MAX_MS                                                                    \
    15000u /* below silent_after, so that one good answer still comes in time */
#define AVOW_AGENT_REGISTER_MIN_MS 5000u   /* B3.1 step 2 */
#define AVOW_AGENT_REGISTER_MAX_MS 300000u /* B3.1 step 2 */
#define AVOW_AGENT_REGISTER_SPREAD_MS                                                              \
    2000u                                 /* a fleet that starts together does not ask at once     \
                                           */
#define AVOW_AGENT_HEARTBEAT_MIN_MS 1000u /* B6 */
#define AVOW_AGENT_HEARTBEAT_MAX_MS 86400000u

/* The fleet's intervals, from the trust bundle. */
struct avow_agent_settings {
    uint32_t epoch_ms;
    uint32_t heartbeat_ms;
    uint32_t min_interval_ms;
    uint32_t resync_burst;
    uint32_t resync_refill_ms; /* > 0 */
};

enum avow_agent_phase {
    AVOW_AGENT_NO_TRUST,  /* no bundle yet */
    AVOW_AGENT_NO_MARKER, /* nothing to answer yet */
    AVOW_AGENT_IDLE,
    AVOW_AGENT_QUOTING, /* an ATTEST action is out */
    AVOW_AGENT_SENDING, /* a SEND action is out */
    AVOW_AGENT_STOPPED
};

/* What the next evidence has to carry besides what changed. */
struct avow_agent_want {
    bool now;      /* attest without waiting for a change or the heartbeat */
    bool boot_log; /* send the UEFI log */
    bool pcrs;     /* send all PCR values */
    uint64_t from; /* first IMA entry wanted; AVOW_AGENT_NEVER: go on where we are */
};

enum avow_agent_registration {
    AVOW_AGENT_REG_OFF,
    AVOW_AGENT_REG_DUE,
    AVOW_AGENT_REG_RUNNING,
    AVOW_AGENT_REG_DONE
};

struct avow_agent_state {
    enum avow_agent_phase phase;
    struct avow_agent_settings fleet;
    uint32_t own_heartbeat_ms;    /* of a settings directive; 0: the fleet's */
    uint32_t own_min_interval_ms; /* valid if own_heartbeat_ms is */
    uint32_t slow_ms;             /* of a slow_down directive; 0: none */
    bool followed;                /* the topics are being read */

    uint64_t epoch; /* of the newest marker, valid from AVOW_AGENT_IDLE on */
    uint64_t marker_ms;
    bool marker_warned;
    bool marker_old; /* the newest marker is of a partition that is no longer ours */
    bool marker_any; /* the bundle changed: the next marker counts whatever its epoch */

    uint64_t next;      /* first IMA entry that is not acknowledged */
    uint64_t log_count; /* entries the kernel says it has */
    uint64_t log_moot; /* a log_count that brought nothing when asked for; AVOW_AGENT_NEVER: none */
    uint64_t change_ms; /* when the log was first seen longer; AVOW_AGENT_NEVER: it is not */
    struct avow_agent_want want;
    struct avow_agent_want flight;     /* what the evidence in flight carries of it */
    uint64_t flight_start, flight_end; /* IMA entries of the evidence in flight */
    bool flight_more;

    bool attested;
    uint64_t attest_ms; /* start of the last attempt */
    uint64_t heartbeat_ms;
    uint64_t retry_ms;
    uint32_t failures;
    struct avow_rate again;

    struct avow_rate resync;
    uint8_t obeyed[AVOW_AGENT_DIRECTIVES_KEPT][16];
    uint64_t obeyed_epoch[AVOW_AGENT_DIRECTIVES_KEPT];
    uint32_t obeyed_count;
    /* Read before the first attempt, when the newest marker may still be behind them in the topic:
     * judged at the first attempt, or a restart would obey the past. */
    struct avow_directive held[AVOW_AGENT_HELD_MAX];
    uint32_t held_count;

    enum avow_agent_registration registration;
    uint64_t register_ms;
    uint32_t register_failures;
};

enum avow_agent_event_tag {
    AVOW_AGENT_EV_STARTED,
    AVOW_AGENT_EV_BUNDLE,
    AVOW_AGENT_EV_MARKER,
    AVOW_AGENT_EV_DIRECTIVE,
    AVOW_AGENT_EV_IMA_COUNT,
    AVOW_AGENT_EV_TIMER,
    AVOW_AGENT_EV_QUOTED,
    AVOW_AGENT_EV_QUOTE_FAILED,
    AVOW_AGENT_EV_SENT,
    AVOW_AGENT_EV_SEND_FAILED,
    AVOW_AGENT_EV_REGISTERED,
    AVOW_AGENT_EV_REGISTER_FAILED,
    AVOW_AGENT_EV_STOP
};

struct avow_agent_event {
    enum avow_agent_event_tag tag;
    union {
        struct {
            bool registrar; /* one is configured */
            bool new_ak;    /* nobody knows this AK yet */
            uint64_t next;  /* from /run/avow/next, or 0 */
        } started;
        struct { /* verified; version newer than the last */
            struct avow_agent_settings settings;
            bool moved; /* topics, partition or epoch length differ from what is followed */
        } bundle;
        uint64_t marker_epoch; /* a verified marker of our partition */
        const struct avow_directive
            *directive; /* verified, for this agent; borrowed during the call */
        uint64_t ima_count;
        struct {
            uint64_t start, end; /* entries carried: [start, end) */
            bool more;
            uint64_t log_count; /* what the kernel said after the quote */
        } quoted;
        bool register_refused; /* the registrar will say the same tomorrow */
    } u;
};

enum avow_agent_action_tag {
    AVOW_AGENT_DO_FOLLOW,      /* (re)open the consumers for the bundle's topics */
    AVOW_AGENT_DO_KEEP_MARKER, /* the marker of this event is the one to answer from now on */
    AVOW_AGENT_DO_ATTEST,      /* answer with QUOTED or QUOTE_FAILED */
    AVOW_AGENT_DO_SEND,        /* answer with SENT or SEND_FAILED */
    AVOW_AGENT_DO_DISCARD,     /* forget the evidence that was built */
    AVOW_AGENT_DO_COMMIT,   /* the evidence arrived: what it carried is known to the workers; `from`
                               is `next` */
    AVOW_AGENT_DO_REGISTER, /* answer with REGISTERED or REGISTER_FAILED */
    AVOW_AGENT_DO_WARN_MARKER, /* no marker for three epochs */
    AVOW_AGENT_DO_NOTE_DIRECTIVE,
    AVOW_AGENT_DO_EXIT
};

/* What became of a directive, for the log. */
enum avow_agent_directive_fate {
    AVOW_AGENT_OBEYED,
    AVOW_AGENT_IGNORED_EPOCH,
    AVOW_AGENT_IGNORED_TWICE,
    AVOW_AGENT_IGNORED_RATE,
    AVOW_AGENT_IGNORED_VALUE,
    AVOW_AGENT_IGNORED_UNSUPPORTED,
    AVOW_AGENT_HELD
};
const char *avow_agent_directive_fate_text(enum avow_agent_directive_fate f);

struct avow_agent_action {
    enum avow_agent_action_tag tag;
    uint64_t from;                       /* ATTEST, COMMIT */
    bool boot_log, pcrs;                 /* ATTEST */
    uint64_t elapsed_ms;                 /* WARN_MARKER */
    enum avow_agent_directive_fate fate; /* NOTE_DIRECTIVE */
};

#define AVOW_AGENT_ACTIONS_MAX (6u + AVOW_AGENT_HELD_MAX)
struct avow_agent_actions {
    struct avow_agent_action list[AVOW_AGENT_ACTIONS_MAX];
    uint32_t count;
};

void avow_agent_state_init(struct avow_agent_state *s);
/* Applies one event. `random`: any 64 random bits, fresh for each call. */
void avow_agent_step(struct avow_agent_state *s, const struct avow_agent_event *ev, uint64_t now_ms,
                     uint64_t random, struct avow_agent_actions *out);
/* While an evidence is on its way there is no heartbeat, so on a slow link evidences have to be
 * short. How many parts the next one may have, after one of `parts` that took `took_ms` to send;
 * `now` is the limit that it was made under, `max` that of the protocol. */
size_t avow_agent_parts_limit(size_t now, size_t max, size_t parts, uint64_t took_ms,
                              uint64_t heartbeat_ms);
/* When the next TIMER event is due; AVOW_AGENT_NEVER if only other events can change anything. */
uint64_t avow_agent_wake_ms(const struct avow_agent_state *s);

#endif
