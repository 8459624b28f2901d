/* standing.h - what a relying party may believe of an agent now. Layer: tools/avow. Pure. */
#ifndef AVOW_TOOLS_STANDING_H
#define AVOW_TOOLS_STANDING_H

#include "avow/model/verdict.h"

/* "trusted" only while now < trusted_until (PROTOCOL R26), then "expired"; else the verdict's
 * status. */
const char *avow_verdict_standing(const struct avow_verdict *v, uint64_t now_ms);
/* The same for an enrolled agent. No verdict (v NULL), or trust that an earlier enrolment earned:
 * "pending". */
const char *avow_agent_standing(const struct avow_verdict *v, uint64_t enrolled_generation,
                                uint64_t now_ms);

#endif
