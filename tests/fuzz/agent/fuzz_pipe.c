/* Messages between the agent and its registration process: whatever comes, texts end and fields lie
 * within the input, or it is refused. */
#include "enroll_pipe.h"

#include <assert.h>
#include <string.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void within(struct avow_bytes in, const void *p, size_t len)
{
    const uint8_t *q = p;
    assert(!len || (q >= in.ptr && q + len <= in.ptr + in.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct avow_bytes in = avow_bytes_make(data, size);
    struct avow_enroll_self self;
    if (!avow_enroll_parse_request(in, &self, NULL)) {
        within(in, self.url, strlen(self.url) + 1);
        within(in, self.ca, strlen(self.ca) + 1);
        within(in, self.agent_id, strlen(self.agent_id) + 1);
        within(in, self.ek_public.ptr, self.ek_public.len);
        within(in, self.ak_public.ptr, self.ak_public.len);
        within(in, self.ek_certs.ptr, self.ek_certs.len);
        const struct avow_enroll_device *d = &self.device;
        const struct avow_bytes parts[] = {d->iak_public, d->iak_attest,    d->iak_sign,
                                           d->iak_certs,  d->idevid_public, d->idevid_certs};
        for (size_t i = 0; i < AVOW_ARRAY_LEN(parts); i++)
            within(in, parts[i].ptr, parts[i].len);
    }
    struct avow_enroll_challenge c;
    struct avow_err err = {.rc = AVOW_OK};
    avow_enroll_challenge_init(&c);
    enum avow_rc rc = avow_enroll_parse_reply(in, &c, &err);
    assert(rc == err.rc && rc < AVOW_RC_COUNT);
    assert(rc || (c.id_object.len && c.encrypted_secret.len));
    for (const char *p = err.msg; *p; p++)
        assert((unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7F);
    avow_enroll_challenge_deinit(&c);
    return 0;
}
