#include "standing.h"

#include "avow/base/banned.h"

const char *avow_verdict_standing(const struct avow_verdict *v, uint64_t now_ms)
{
    if (v->status == AVOW_STATUS_TRUSTED && now_ms >= v->trusted_until_ms)
        return "expired";
    return avow_status_text(v->status);
}

const char *avow_agent_standing(const struct avow_verdict *v, uint64_t enrolled_generation,
                                uint64_t now_ms)
{
    if (!v)
        return avow_status_text(AVOW_STATUS_PENDING);
    if (v->status == AVOW_STATUS_TRUSTED && v->enrollment_generation < enrolled_generation)
        return avow_status_text(AVOW_STATUS_PENDING);
    return avow_verdict_standing(v, now_ms);
}
