/* inputs.h - hostile inputs of any size, for test_growth.c. */
#ifndef AVOW_TESTS_GROWTH_INPUTS_H
#define AVOW_TESTS_GROWTH_INPUTS_H

#include "avow/base/buf.h"

/* Each appends an input whose size is proportional to `n`. */
void growth_ima_entries(struct avow_buf *b, size_t n);
void growth_ima_violations(struct avow_buf *b, size_t n);
void growth_ima_long_entry(struct avow_buf *b, size_t n);
void growth_ima_lines(struct avow_buf *b, size_t n);
void growth_ima_long_line(struct avow_buf *b, size_t n);
void growth_ima_colons(struct avow_buf *b, size_t n);
void growth_pem_lines(struct avow_buf *b, size_t n);
void growth_policy_paths(struct avow_buf *b, size_t n);
void growth_policy_one_path(struct avow_buf *b, size_t n);
void growth_policy_deep(struct avow_buf *b, size_t n);
void growth_policy_escapes(struct avow_buf *b, size_t n);
void growth_policy_unknown(struct avow_buf *b, size_t n);
void growth_siglist_lists(struct avow_buf *b, size_t n);
void growth_siglist_one(struct avow_buf *b, size_t n);
void growth_siglist_empty(struct avow_buf *b, size_t n);
void growth_log_events(struct avow_buf *b, size_t n);
void growth_log_commands(struct avow_buf *b, size_t n);
void growth_log_long_event(struct avow_buf *b, size_t n);
void growth_envelope(struct avow_buf *b, size_t n);
void growth_envelope_deep(struct avow_buf *b, size_t n);

#endif
