/* uefi_reader.h - reads the firmware's event log whole: it does not change after boot. Layer:
 * agent/sources. */
#ifndef AVOW_AGENT_UEFI_READER_H
#define AVOW_AGENT_UEFI_READER_H

#include "sources/held_file.h"

#define AVOW_UEFI_LOG_MAX (900u * 1024u - 5u) /* PROTOCOL B6; one frame in one part */

/* Appends the log. Errors: AVOW_NOTFOUND (this host has none), AVOW_LIMIT, AVOW_IO, AVOW_NOMEM. */
enum avow_rc avow_uefi_read(struct avow_held_file *f, struct avow_buf *out,
                            struct avow_err *err) AVOW_MUST_CHECK;

#endif
