/* actions.h - what a step wants done. Layer: verifier-workers. Plain data; everything is borrowed
 * from the step's arena and inputs, so a step's actions are carried out before the arena is reset.
 */
#ifndef AVOW_WORKER_ACTIONS_H
#define AVOW_WORKER_ACTIONS_H

#include "avow/model/deadletter.h"
#include "avow/model/directive.h"
#include "avow/model/revocation.h"
#include "avow/model/state.h"
#include "avow/model/verdict.h"
#include "views.h"

#define AVOW_ALARM_DETAIL_MAX 200u

/* Something operators must hear of; published as a revocation of class alarm. Two alarms with the
 * same event, agent and `what` are one: the id is made of them. */
struct avow_alarm {
    const char *event;                 /* static text, dotted */
    char agent[AVOW_AGENT_ID_MAX + 1]; /* "": the whole fleet */
    uint8_t what[32];                  /* digest of what it is about */
    char detail[AVOW_ALARM_DETAIL_MAX];
};

enum avow_action_kind {
    AVOW_ACTION_STATE,  /* write the agent's state */
    AVOW_ACTION_FORGET, /* write a null for the agent's state, and drop the agent */
    AVOW_ACTION_VERDICT,
    AVOW_ACTION_REVOCATION,
    AVOW_ACTION_DIRECTIVE,
    AVOW_ACTION_DROP,        /* count `drop` */
    AVOW_ACTION_DEAD_LETTER, /* subject to the rate limit */
    AVOW_ACTION_ALARM,
    AVOW_ACTION_RESYNC_SENT,  /* a slot is taken until the agent answers */
    AVOW_ACTION_RESYNC_WAITS, /* no slot was free */
    AVOW_ACTION_RESYNC_DONE,  /* the agent answered */
    AVOW_ACTION_UNJUDGED,     /* nothing can be judged, and that is our fault */
};

struct avow_action {
    enum avow_action_kind kind;
    union {
        const struct avow_state *state;
        const struct avow_verdict *verdict;
        const struct avow_revocation *revocation;
        const struct avow_directive *directive;
        const struct avow_deadletter *dead_letter;
        enum avow_drop_reason drop;
        const struct avow_alarm *alarm;
    } u;
};

#define AVOW_ACTIONS_MAX 12u /* no step makes more */
struct avow_actions {
    struct avow_agent *agent; /* whom they concern; NULL: nobody known */
    bool status_changed;      /* commit soon */
    enum avow_status from, to;
    struct avow_action items[AVOW_ACTIONS_MAX];
    size_t count;
};

#endif
