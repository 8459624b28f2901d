/* fuzz_dm.c - events of the device mapper, one after another, under a fixed policy; and policies.
 * Input: u8 kind, text up to a NUL, again and again; a kind of 255 makes the rest a policy. Oracle:
 * the state can always be loaded again, and a refused event leaves its length within bounds. */
#include "dm_state.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static const char text[] =
    "{\"match_on\":\"name\",\"rules\":{\"r\":{\"required\":true,\"device_resume_required\":true,"
    "\"device_rename\":{\"valid_name\":\"d.*\",\"valid_uuid\":null},\"device_remove\":"
    "{\"allow_removal\":true},\"allow_clear\":true,\"table_load\":{\"allow_multiple_loads\":true,"
    "\"name\":\"[a-z]+\",\"uuid\":null,\"major\":253,\"minor\":null,\"minor_count\":null,"
    "\"num_targets\":1,\"targets\":[{\"target_name\":\"verity\",\"f\":false}]}}}}";

static void try_policy(struct avow_bytes in)
{
    struct avow_dm_policy *p = NULL;
    struct avow_err err = {0};
    enum avow_rc rc =
        avow_dm_policy_load((struct avow_str){(const char *)in.ptr, in.len}, &p, &err);
    CHECK((rc == AVOW_OK) == (p != NULL));
    CHECK(!rc || err.msg[0]);
    avow_dm_policy_free(p);
}

static void try_events(const struct avow_dm_policy *p, struct avow_bytes in)
{
    struct avow_dm_state s = {.len = 0}, again;
    while (in.len) {
        uint8_t kind = in.ptr[0];
        const uint8_t *end = memchr(in.ptr, 0, in.len);
        size_t len = end ? (size_t)(end - in.ptr) : in.len;
        struct avow_dm_fault fault;
        size_t at = 0, lacks = 0;
        if (kind == 255) {
            try_policy(avow_bytes_make(in.ptr + 1, in.len - 1));
            return;
        }
        if (len > 1 && !avow_dm_judge(p, (enum avow_dm_event_kind)(kind % 7),
                                      avow_bytes_make(in.ptr + 1, len - 1), &s, &fault))
            CHECK(fault.what && fault.id < AVOW_FINDING_COUNT);
        CHECK(avow_dm_state_load(p, avow_bytes_make(s.bytes, s.len), &again));
        while (avow_dm_next_lack(p, &s, &at, &fault))
            CHECK(lacks++ < 64);
        size_t taken = end ? len + 1 : len;
        in = avow_bytes_make(in.ptr + taken, in.len - taken);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct avow_dm_policy *policy;
    if (!policy)
        CHECK(!avow_dm_policy_load(AVOW_STR_LIT(text), &policy, NULL));
    try_events(policy, avow_bytes_make(data, size));
    return 0;
}
