/* findings.c - see findings.h. */
#include "avow/core/findings.h"

#include <assert.h>

#include "avow/base/banned.h"

static const struct avow_finding_def defs[AVOW_FINDING_COUNT] = {
#define X(name, id, severity, keylime, text) {id, severity, keylime, text},
    AVOW_FINDING_MAP(X)
#undef X
};

const struct avow_finding_def *avow_finding_def_of(enum avow_finding_id id)
{
    assert(id < AVOW_FINDING_COUNT);
    return &defs[id];
}

const struct avow_finding_def *avow_finding_def_find(struct avow_str id)
{
    for (size_t i = 0; i < AVOW_FINDING_COUNT; i++) {
        if (avow_str_is(id, defs[i].id))
            return &defs[i];
    }
    return NULL;
}

int avow_severity_rank(struct avow_str label)
{
    static const char *const labels[] = {"info",     "notice", "warning",  "error",
                                         "critical", "alert",  "emergency"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(labels); i++) {
        if (avow_str_is(label, labels[i]))
            return (int)i;
    }
    return -1;
}
