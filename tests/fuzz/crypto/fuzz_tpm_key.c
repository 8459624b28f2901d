/* fuzz_tpm_key.c - public areas as AK and as EK: never both, and the name is that of the area. */
#include "avow/crypto/ak.h"

#include <assert.h>
#include <stdlib.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct avow_bytes in = avow_bytes_make(data, size);
    struct avow_ak *ak = NULL;
    struct avow_ek *ek = NULL;
    struct avow_tpm_name name;
    enum avow_rc rc_ak = avow_ak_parse(in, &ak, NULL);
    enum avow_rc rc_ek = avow_ek_parse(in, &ek, NULL);
    enum avow_rc rc_name = avow_tpm_name_of(in, &name, NULL);
    assert((rc_ak == AVOW_OK) == (ak != NULL));
    assert((rc_ek == AVOW_OK) == (ek != NULL));
    assert(!ak || !ek);
    if (ak || ek) {
        const struct avow_tpm_name *got = ak ? avow_ak_name(ak) : avow_ek_name(ek);
        assert(rc_name == AVOW_OK &&
               avow_bytes_eq(avow_tpm_name_bytes(got), avow_tpm_name_bytes(&name)));
    }
    avow_ak_free(ak);
    avow_ek_free(ek);
    return 0;
}
