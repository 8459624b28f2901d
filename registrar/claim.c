/* Claims: who judged, and certificates packed into one value. */
#include "claim.h"

#include "avow/base/banned.h"

bool avow_trust_is_by_judge(const struct avow_ek_trust *t)
{
    return avow_str_is(t->rule, AVOW_RULE_WEBHOOK) || avow_str_is(t->rule, AVOW_RULE_SCRIPT);
}

bool avow_certs_next(struct avow_bytes *rest, struct avow_bytes *der)
{
    struct avow_rd r = avow_rd_make(*rest);
    uint32_t len = avow_rd_u32be(&r);
    struct avow_bytes out = avow_rd_take(&r, len);
    if (r.bad)
        return false;
    *rest = avow_bytes_make(r.p, avow_rd_left(&r));
    *der = out;
    return true;
}

void avow_certs_put(struct avow_buf *packed, struct avow_bytes der)
{
    avow_buf_put_u32be(packed, (uint32_t)der.len);
    avow_buf_put(packed, der.ptr, der.len);
}
