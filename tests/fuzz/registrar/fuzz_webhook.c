/* Answers of a webhook: a decision is exactly one of two words, and the reason ends. */
#define _GNU_SOURCE /* memmem */
#include "ek_webhook.h"

#include <assert.h>
#include <string.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct avow_webhook_answer out = {.allow = true, .reason = "untouched"};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_rc rc = avow_webhook_answer_parse(avow_bytes_make(data, size), &out, &err);
    if (rc) {
        assert(err.rc == rc && out.allow && strcmp(out.reason, "untouched") == 0);
        return 0;
    }
    assert(size <= AVOW_WEBHOOK_ANSWER_MAX);
    assert(strlen(out.reason) <= AVOW_WEBHOOK_REASON_MAX);
    /* "allow" has no escapes that matter: whoever allows has the word, or an escape, in it. */
    assert(!out.allow || memmem(data, size, "allow", 5) || memchr(data, '\\', size));
    return 0;
}
