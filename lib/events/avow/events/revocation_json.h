/* revocation_json.h - a verified revocation in the forms that SIEMs and Keylime's consumers read.
 * Layer: events. Pure; thread-safe. */
#ifndef AVOW_EVENTS_REVOCATION_JSON_H
#define AVOW_EVENTS_REVOCATION_JSON_H

#include "avow/base/buf.h"
#include "avow/model/revocation.h"

struct avow_revocation_source {
    const struct avow_revocation *revocation; /* decoded and verified */
    struct avow_bytes record;                 /* as on the topic */
    uint64_t time_ms;                         /* of the record on the topic, or now */
};

/* CloudEvents 1.0, structured JSON mode; the record's fields are `data`, its id lets consumers drop
 * repeats. Errors: AVOW_NOMEM, AVOW_LIMIT. */
enum avow_rc avow_revocation_cloudevent(const struct avow_revocation_source *s,
                                        struct avow_buf *out, struct avow_err *err) AVOW_MUST_CHECK;
/* Keylime's notification {"msg", "signature"}, unsigned: its consumers must trust whoever forwards
 * it. Recoveries and alarms have no form in Keylime: AVOW_NOTFOUND. */
enum avow_rc avow_revocation_keylime(const struct avow_revocation_source *s, struct avow_buf *out,
                                     struct avow_err *err) AVOW_MUST_CHECK;

#endif
