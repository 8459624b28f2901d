/* policy_internal.h - what the readers of policy text share. Private to lib/formats. */
#ifndef AVOW_FORMATS_POLICY_INTERNAL_H
#define AVOW_FORMATS_POLICY_INTERNAL_H

#include "avow/formats/policy_text.h"

#define AVOW_POLICY_DIGEST_LEN_MAX 64u

struct avow_policy_reader {
    const struct avow_policy_sink *sink;
    size_t digests, excludes;
    struct avow_err *err;
};

/* Decodes `hex` and hands the digest on. Without a place in the message. */
enum avow_rc avow_policy_put_digest(struct avow_policy_reader *r, enum avow_policy_item item,
                                    struct avow_str name, struct avow_str hex);
/* A list of this name begins. */
enum avow_rc avow_policy_put_name(struct avow_policy_reader *r, enum avow_policy_item item,
                                  struct avow_str name);
enum avow_rc avow_policy_put(struct avow_policy_reader *r, enum avow_policy_item item,
                             struct avow_str name);

/* Something in the text is not used; the message begins with its place. */
enum avow_rc avow_policy_warn(struct avow_policy_reader *r, const char *fmt, ...) AVOW_PRINTF(2, 3);

enum avow_rc avow_policy_json_parse(struct avow_policy_reader *r, struct avow_bytes text);
enum avow_rc avow_policy_flat_parse(struct avow_policy_reader *r, struct avow_bytes text);

#endif
