/* agent_await.h - waits until a worker has judged an agent by a generation of its enrolment
 * (PROTOCOL R14: its author finds a roll-back). Layer: tools/avow. */
#ifndef AVOW_TOOLS_AGENT_AWAIT_H
#define AVOW_TOOLS_AGENT_AWAIT_H

#include "reader.h"

struct avow_await {
    const char *id;
    uint64_t generation;
    uint64_t timeout_s;
};
/* Follows `verdicts`, which was opened before the enrolment was published, to the first verdict of
 * the generation that is more than pending, and prints it. 0 if the agent is trusted, 4 if not, 1
 * if none came. */
enum avow_exit avow_await_verdict(struct avow_cli *cli, const struct avow_await *o,
                                  struct avow_reader *verdicts) AVOW_MUST_CHECK;

#endif
