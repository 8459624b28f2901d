/* Answers of a registrar: whatever comes, the agent gets a version that it knows or a well-formed
 * challenge, or an error. */
#include "enroll_client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct avow_bytes in = avow_bytes_make(data, size);
    char version[AVOW_ENROLL_VERSION_MAX] = "";
    if (!avow_enroll_parse_version(in, version, NULL)) {
        assert(strlen(version) == 3 && version[0] == '2' && version[1] == '.');
        assert(version[2] >= '1' && version[2] <= '6');
    } else {
        assert(!version[0]);
    }
    struct avow_enroll_challenge c;
    avow_enroll_challenge_init(&c);
    if (!avow_enroll_parse_challenge(in, &c, NULL)) {
        struct avow_rd id = avow_rd_make(avow_buf_bytes(&c.id_object));
        struct avow_rd enc = avow_rd_make(avow_buf_bytes(&c.encrypted_secret));
        (void)avow_rd_tpm2b(&id, AVOW_ENROLL_CREDENTIAL_MAX);
        (void)avow_rd_tpm2b(&enc, AVOW_ENROLL_CREDENTIAL_MAX);
        assert(avow_rd_done(&id) && avow_rd_done(&enc));
    }
    avow_enroll_challenge_deinit(&c);
    return 0;
}
