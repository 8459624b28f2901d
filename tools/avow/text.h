/* text.h - text from elsewhere, fit for a terminal. Layer: tools/avow. Pure.
 * What agents, registrars and brokers send must not steer a terminal, hide itself, or turn the
 * reading direction: every control, format and undecodable character is shown as '?'. */
#ifndef AVOW_TOOLS_TEXT_H
#define AVOW_TOOLS_TEXT_H

#include "avow/base/buf.h"

/* Appends `s` cleaned: valid UTF-8, one line, no C0, DEL or C1 controls (8-bit terminals take
 * U+009B as an escape), no bidirectional, zero-width or tag characters. */
void avow_text_put(struct avow_buf *out, struct avow_str s);
/* The same into a fixed buffer, cut at a character if it does not fit; always terminated. */
void avow_text_clean(char *out, size_t cap, struct avow_str s);
/* Columns on a terminal: code points. `s` is clean. */
size_t avow_text_width(const char *s);

#endif
