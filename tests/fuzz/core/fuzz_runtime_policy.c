/* fuzz_runtime_policy.c - a policy, then paths to judge by it. Input: policy text, a NUL, then
 * paths that end in newlines. Oracle: a policy is a superset of itself; what is listed is allowed;
 * a strict exclude is also a prefix exclude. */
#include "avow/core/runtime_policy.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const struct avow_runtime_policy *p, struct avow_str path)
{
    static const uint8_t digest[32] = {1};
    enum avow_policy_match prefix =
        avow_runtime_policy_match(p, path, AVOW_BYTES_OF(digest), false);
    enum avow_policy_match strict = avow_runtime_policy_match(p, path, AVOW_BYTES_OF(digest), true);
    enum avow_policy_match found = avow_runtime_policy_find(p, path, AVOW_BYTES_OF(digest));
    if (prefix == AVOW_POLICY_UNDECIDED || strict == AVOW_POLICY_UNDECIDED)
        abort();
    if ((found == AVOW_POLICY_ALLOWED) != (prefix == AVOW_POLICY_ALLOWED))
        abort();
    if (strict == AVOW_POLICY_EXCLUDED && prefix != AVOW_POLICY_EXCLUDED &&
        prefix != AVOW_POLICY_REGEX_LIMIT)
        abort();
    if (avow_runtime_policy_has_path(p, path) != (found != AVOW_POLICY_PATH_UNKNOWN))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t len = end ? (size_t)(end - data) : size;
    struct avow_runtime_policy *p = NULL;
    struct avow_err err = {0};
    enum avow_rc rc = avow_runtime_policy_load(avow_bytes_make(data, len), &p, &err);
    if ((rc == AVOW_OK) != (p != NULL) || (rc && !err.msg[0]))
        abort();
    if (rc)
        return 0;
    if (!avow_runtime_policy_is_superset(p, p))
        abort();
    size_t paths = 0;
    for (size_t at = len + 1; at < size && paths < 8; paths++) {
        const uint8_t *newline = memchr(data + at, '\n', size - at);
        size_t n = newline ? (size_t)(newline - data) - at : size - at;
        judge(p, (struct avow_str){(const char *)data + at, n < 4096 ? n : 4096});
        at += n + 1;
    }
    avow_runtime_policy_free(p);
    return 0;
}
