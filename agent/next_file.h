/* next_file.h - how much of this boot's IMA list the workers have, across restarts of the agent
 * (PROTOCOL B3.1). An optimisation: without it, or with a wrong one, the workers ask for what they
 * miss. Layer: agent. */
#ifndef AVOW_AGENT_NEXT_FILE_H
#define AVOW_AGENT_NEXT_FILE_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

struct avow_next_file {
    uint8_t boot_id[16];
    uint8_t fleet[16];
    uint64_t count;
};
/* <dir>/next. False if there is none or it is not readable: start at 0. */
bool avow_next_file_load(const char *dir, struct avow_next_file *out) AVOW_MUST_CHECK;
enum avow_rc avow_next_file_save(const char *dir, const struct avow_next_file *n,
                                 struct avow_err *err) AVOW_MUST_CHECK;

#endif
