/* event_data.c - what types and data of events say: event_log.h. */
#include "avow/formats/event_log.h"

#include "avow/base/hex.h"

#include <string.h>

#include "avow/base/banned.h"

#define GUID_LEN 16u
#define LOCALITY_EVENT_LEN 17u

static const struct {
    uint32_t type;
    const char *name;
} types[] = {
#define X(name, value) {(value), "EV_" #name},
    AVOW_EVENT_TYPE_MAP(X)
#undef X
};

const char *avow_event_type_name(uint32_t type)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(types); i++) {
        if (types[i].type == type)
            return types[i].name;
    }
    return NULL;
}

bool avow_event_has_variable(const struct avow_event *e)
{
    return e->untrusted_type == AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG ||
           e->untrusted_type == AVOW_EV_EFI_VARIABLE_BOOT ||
           e->untrusted_type == AVOW_EV_EFI_VARIABLE_BOOT2 ||
           e->untrusted_type == AVOW_EV_EFI_VARIABLE_AUTHORITY ||
           e->untrusted_type == AVOW_EV_EFI_SPDM_DEVICE_POLICY ||
           e->untrusted_type == AVOW_EV_EFI_SPDM_DEVICE_AUTHORITY;
}

bool avow_event_variable_parse(struct avow_bytes data, struct avow_event_variable *out)
{
    struct avow_rd r = avow_rd_make(data);
    struct avow_event_variable v = {.guid = avow_rd_take(&r, GUID_LEN)};
    uint64_t characters = avow_rd_u64le(&r);
    uint64_t bytes = avow_rd_u64le(&r);
    if (r.bad || characters > data.len / 2 || bytes > data.len)
        return false;
    v.name = avow_rd_take(&r, 2 * (size_t)characters);
    v.value = avow_rd_take(&r, (size_t)bytes);
    if (!avow_rd_done(&r))
        return false;
    *out = v;
    return true;
}

/* RFC 4122 text; UEFI 2.10, appendix A: EFI_GUID. */
void avow_guid_text(struct avow_bytes guid, char out[AVOW_GUID_TEXT_MAX])
{
    static const uint8_t order[GUID_LEN] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    char *to = out;
    for (size_t i = 0; i < GUID_LEN; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        avow_hex_encode(to, (struct avow_bytes){guid.ptr + order[i], 1});
        to += 2;
    }
}

bool avow_event_startup_locality(const struct avow_event *e, uint8_t *out)
{
    static const uint8_t signature[] = "StartupLocality";
    struct avow_bytes begin = {e->untrusted_data.ptr, sizeof signature};
    if (e->untrusted_type != AVOW_EV_NO_ACTION || e->untrusted_data.len != LOCALITY_EVENT_LEN ||
        !avow_bytes_eq(begin, AVOW_BYTES_OF(signature)))
        return false;
    *out = e->untrusted_data.ptr[sizeof signature];
    return true;
}
