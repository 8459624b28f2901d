#define _GNU_SOURCE /* gmtime_r */
#include "revocation_json.h"

#include "avow/base/clock.h"
#include "avow/base/hex.h"
#include "avow/core/findings.h"
#include "avow/wire/json.h"

#include <jansson.h>
#include <time.h>

#include "avow/base/banned.h"

enum avow_rc avow_revocation_cloudevent(const struct avow_revocation_source *s,
                                        struct avow_buf *out, struct avow_err *err)
{
    char id[33], fleet[33], at[32];
    const struct avow_revocation *r = s->revocation;
    avow_hex_encode(id, AVOW_BYTES_OF(r->id));
    avow_hex_encode(fleet, AVOW_BYTES_OF(r->fleet));
    avow_clock_format(at, s->time_ms);
    avow_buf_printf(out,
                    "{\"specversion\":\"1.0\",\"id\":\"%s\",\"source\":\"/avow/%s\","
                    "\"type\":\"avow.%s\",\"subject\":\"%.*s\",\"time\":\"%s\","
                    "\"datacontenttype\":\"application/json\",\"data\":",
                    id, fleet, avow_revocation_class_text(r->class), (int)r->key.len, r->key.ptr,
                    at);
    enum avow_rc rc = avow_wire_to_json(s->record, AVOW_JSON_PLAIN, out, err);
    if (rc)
        return rc;
    avow_buf_put_str(out, "}");
    return avow_buf_status(out, err);
}

/* Keylime's own name for what was found first, ours where it has none. */
static struct avow_str keylime_event(const struct avow_revocation *r)
{
    const struct avow_finding_def *def =
        r->findings_count ? avow_finding_def_find(r->findings[0].id) : NULL;
    return def && def->keylime_event ? avow_str_from(def->keylime_event) : r->event_id;
}

static json_t *json_text(struct avow_str s)
{
    return json_stringn(s.ptr ? s.ptr : "", s.len);
}

static char *keylime_msg(const struct avow_revocation_source *s)
{
    const struct avow_revocation *r = s->revocation;
    char at[32] = "";
    struct tm tm;
    time_t seconds = (time_t)(s->time_ms / 1000);
    if (gmtime_r(&seconds, &tm))
        strftime(at, sizeof at, "%a %b %e %H:%M:%S %Y", &tm);
    json_t *context = json_object();
    for (size_t i = 0; i < r->findings_count; i++)
        json_object_setn_new(context, r->findings[i].id.ptr, r->findings[i].id.len,
                             json_text(r->findings[i].detail));
    char *context_text = json_dumps(context, JSON_COMPACT);
    json_decref(context);
    json_t *msg = json_object();
    json_object_set_new(
        msg, "type",
        json_string(r->class == AVOW_REVOCATION_CLASS_SILENT ? "comm_error" : "revocation"));
    json_object_set_new(msg, "ip", json_string(""));
    json_object_set_new(msg, "agent_id", json_text(r->key));
    json_object_set_new(msg, "port", json_integer(0));
    json_object_set_new(msg, "tpm_policy", json_string(""));
    json_object_set_new(msg, "meta_data", json_text(r->metadata));
    json_object_set_new(msg, "event_time", json_string(at));
    json_object_set_new(msg, "event_id", json_text(keylime_event(r)));
    json_object_set_new(msg, "severity_label", json_text(r->severity));
    json_object_set_new(msg, "context", json_string(context_text ? context_text : "{}"));
    char *text = json_dumps(msg, JSON_COMPACT);
    free(context_text);
    json_decref(msg);
    return text;
}

enum avow_rc avow_revocation_keylime(const struct avow_revocation_source *s, struct avow_buf *out,
                                     struct avow_err *err)
{
    enum avow_revocation_class class = s->revocation->class;
    if (class != AVOW_REVOCATION_CLASS_REVOCATION && class != AVOW_REVOCATION_CLASS_SILENT)
        return avow_err_set(err, AVOW_NOTFOUND, 0, "Keylime has no message for a %s",
                            avow_revocation_class_text(class));
    char *msg = keylime_msg(s);
    json_t *envelope = msg ? json_pack("{s:s,s:s}", "msg", msg, "signature", "") : NULL;
    char *text = envelope ? json_dumps(envelope, JSON_COMPACT) : NULL;
    if (text)
        avow_buf_put_str(out, text);
    bool made = text != NULL;
    free(text);
    free(msg);
    json_decref(envelope);
    return made ? avow_buf_status(out, err) : avow_err_set(err, AVOW_NOMEM, 0, "message");
}
