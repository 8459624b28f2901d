/* state.c - states that no evidence makes. See evaluate.h, liveness.h. */
#include "core_internal.h"

#include "avow/core/liveness.h"

#include <assert.h>

#include "avow/base/banned.h"

void avow_state_first(const struct avow_enrollment *e, const uint8_t enrollment_sha256[32],
                      int32_t partition, uint64_t service_ms, struct avow_state *out)
{
    *out = (struct avow_state){.key = e->key,
                               .partition = partition,
                               .enrollment_generation = e->generation,
                               .first_seen_service_ms = service_ms,
                               .credit_ms = service_ms,
                               .status = AVOW_STATUS_PENDING,
                               .severity = AVOW_STR_LIT("")};
    memcpy(out->fleet, e->fleet, sizeof out->fleet);
    memcpy(out->enrollment_sha256, enrollment_sha256, sizeof out->enrollment_sha256);
}

void avow_state_silence(const struct avow_state *prior, struct avow_state *next)
{
    *next = *prior;
    next->status = AVOW_STATUS_SILENT;
}

enum avow_rc avow_state_add_finding(const struct avow_state *prior, const char *id,
                                    struct avow_arena *arena, struct avow_state *next,
                                    struct avow_err *err)
{
    const struct avow_finding_def *def = avow_finding_def_find(avow_str_from(id));
    assert(def);
    struct avow_finding_list list;
    struct avow_state result = *prior;
    avow_finding_list_init(&list, arena, prior, AVOW_FINDINGS_KEPT);
    for (size_t i = 0; i < AVOW_FINDING_COUNT; i++) {
        if (avow_finding_def_of((enum avow_finding_id)i) == def)
            avow_finding_list_put(&list, (enum avow_finding_id)i, "agent", def->text);
    }
    result.status = AVOW_STATUS_UNTRUSTED;
    if (list.nomem || !avow_finding_list_store(&list, &result))
        return avow_err_set(err, AVOW_NOMEM, 0, "finding %s", id);
    *next = result;
    return AVOW_OK;
}

enum avow_rc avow_state_unproven(const struct avow_state *prior, struct avow_arena *arena,
                                 struct avow_state *next, struct avow_err *err)
{
    return avow_state_add_finding(prior, avow_finding_def_of(AVOW_FINDING_EVIDENCE_UNPROVEN)->id,
                                  arena, next, err);
}
