/* ima_sig.c - see ima_sig.h. Layout: u8 type, u8 version, u8 hash, u32be key id, u16be size,
 * signature. */
#include "avow/formats/ima_sig.h"

#include "avow/base/banned.h"

enum { TYPE_DIGSIG = 3, TYPE_VERITY_DIGSIG = 6 }; /* integrity.h, enum evm_ima_xattr_type */

enum avow_rc avow_ima_sig_parse(struct avow_bytes xattr, struct avow_ima_sig *out,
                                struct avow_err *err)
{
    struct avow_rd r = avow_rd_make(xattr);
    struct avow_ima_sig s = {.type = avow_rd_u8(&r)};
    uint8_t version = avow_rd_u8(&r);
    if (r.bad)
        return avow_err_set(err, AVOW_PARSE, 0, "signature of %zu bytes", xattr.len);
    if (s.type == TYPE_DIGSIG && version == 2)
        s.kind = AVOW_IMA_SIG_OF_FILE;
    else if (s.type == TYPE_VERITY_DIGSIG && version == 3)
        s.kind = AVOW_IMA_SIG_OF_VERITY;
    else
        return avow_err_set(err, AVOW_REFUSED, 0, "signature of type %u, version %u", s.type,
                            version);
    s.hash_id = avow_rd_u8(&r);
    s.key_id = avow_rd_u32be(&r);
    size_t size = avow_rd_u16be(&r);
    s.sig = avow_rd_take(&r, size);
    if (!avow_rd_done(&r) || !size || size > AVOW_IMA_SIG_MAX)
        return avow_err_set(err, AVOW_PARSE, 0, "malformed signature");
    *out = s;
    return AVOW_OK;
}
