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

bool avow_finding_keylime_event(enum avow_finding_id id, int32_t pcr,
                                char out[AVOW_KEYLIME_EVENT_MAX])
{
    const char *event = avow_finding_def_of(id)->keylime_event;
    if (!event)
        return false;
    struct avow_str text = avow_str_from(event);
    bool per_pcr = text.len && text.ptr[text.len - 1] == '_';
    if (per_pcr && (pcr < 0 || pcr > 99))
        text.len--;
    bool fits = avow_str_copy(out, AVOW_KEYLIME_EVENT_MAX - 2, text);
    assert(fits);
    (void)fits;
    if (per_pcr && pcr >= 0 && pcr <= 99) {
        char *end = out + text.len;
        if (pcr >= 10)
            *end++ = (char)('0' + pcr / 10);
        *end++ = (char)('0' + pcr % 10);
        *end = 0;
    }
    return true;
}

bool avow_finding_keylime_event_at(enum avow_finding_id id, const struct avow_finding_context *at,
                                   char out[AVOW_KEYLIME_EVENT_MAX])
{
    static const char *const names[] = {"ima.validation.ima-ng.not_in_allowlist",
                                        "ima.validation.ima-ng.runtime_policy_hash"};
    if (!avow_finding_keylime_event(id, at->pcr, out))
        return false;
    if (avow_cstr_eq(out, names[0]) || avow_cstr_eq(out, names[1]))
        return avow_str_copy(out, AVOW_KEYLIME_EVENT_MAX, avow_str_from(names[at->listed]));
    return true;
}

static const char *const labels[] = {"info",     "notice", "warning",  "error",
                                     "critical", "alert",  "emergency"};

int avow_severity_rank(struct avow_str label)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(labels); i++) {
        if (avow_str_is(label, labels[i]))
            return (int)i;
    }
    return -1;
}

const char *avow_severity_label(size_t rank)
{
    return rank < AVOW_ARRAY_LEN(labels) ? labels[rank] : NULL;
}
