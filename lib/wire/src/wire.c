#include "wire_rt.h"

#include "avow/base/banned.h"

bool avow_wire_frame(struct avow_bytes in, uint64_t *fingerprint)
{
    struct avow_rd r = avow_rd_make(in);
    uint16_t marker = avow_rd_u16be(&r);
    uint64_t value = avow_rd_u64le(&r);
    if (r.bad || marker != 0xC301)
        return false;
    *fingerprint = value;
    return true;
}
