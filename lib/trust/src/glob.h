/* glob.h - name patterns of bundle keys. Pure. */
#ifndef AVOW_TRUST_GLOB_H
#define AVOW_TRUST_GLOB_H

#include "avow/base/bytes.h"

/* '*' stands for any characters, also none; everything else for itself; the whole name must match.
 * At most pattern.len * name.len steps. */
bool avow_glob_matches(struct avow_str pattern, struct avow_str name);

#endif
