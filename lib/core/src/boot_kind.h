/* boot_kind.h - one language in which a boot policy is written. Private to lib/core. */
#ifndef AVOW_CORE_BOOT_KIND_H
#define AVOW_CORE_BOOT_KIND_H

#include "avow/core/boot_policy.h"

struct avow_boot_kind {
    const char *key; /* a top-level member that only this language has; NULL: the others' rest */
    /* As the functions of boot_policy.h; `compiled` is what load made. */
    enum avow_rc (*load)(struct avow_bytes json, void **compiled, struct avow_err *err);
    void (*free)(void *compiled);
    uint32_t (*pcrs)(const void *compiled);
    enum avow_rc (*judge)(const void *compiled, const struct avow_boot_judge *j,
                          struct avow_err *err);
    /* NULL: this language has no warnings. */
    struct avow_str (*warning)(const void *compiled, size_t index);
};

#endif
