/* audit.h - every decision, one JSON object a line, in a file of its own that nothing thins out.
 * Layer: registrar. Thread-safe. A file that was moved away (logrotate) is made anew. */
#ifndef AVOW_REGISTRAR_AUDIT_H
#define AVOW_REGISTRAR_AUDIT_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

struct avow_audit;
/* Opens or creates `path`, mode 0640. Errors: AVOW_IO, AVOW_NOMEM. */
enum avow_rc avow_audit_open(const char *path, struct avow_audit **out,
                             struct avow_err *err) AVOW_MUST_CHECK;
void avow_audit_close(struct avow_audit *a);

struct avow_audit_entry { /* borrowed; empty strings are left out */
    uint64_t time_ms;
    const char *action; /* "register" */
    unsigned status;
    const char *reason; /* NULL: none */
    struct avow_str agent, source, request, admin;
};
/* A line that cannot be written is logged: what it tells of has happened already. `a` NULL:
 * nothing.
 */
void avow_audit_write(struct avow_audit *a, const struct avow_audit_entry *e);

#endif
