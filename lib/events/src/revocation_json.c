#define _GNU_SOURCE /* gmtime_r */
#include "avow/events/revocation_json.h"

#include "avow/events/record_json.h"

#include "avow/base/cleanup.h"
#include "avow/base/clock.h"
#include "avow/base/hex.h"
#include "avow/base/num.h"
#include "avow/core/findings.h"
#include "avow/wire/json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "avow/base/banned.h"

/* Texts of records are UTF-8: the codec refuses others. */
static json_t *json_str(struct avow_str s)
{
    return json_stringn(s.ptr ? s.ptr : "", s.len);
}

/* Appends `taken` on one line; NULL is AVOW_NOMEM. */
static enum avow_rc put_line(json_t *taken, struct avow_buf *out, struct avow_err *err)
{
    char *text = taken ? json_dumps(taken, JSON_COMPACT) : NULL;
    json_decref(taken);
    if (!text)
        return avow_err_set(err, AVOW_NOMEM, 0, "event as JSON");
    avow_buf_put_str(out, text);
    free(text);
    return avow_buf_status(out, err);
}

enum avow_rc avow_revocation_cloudevent(const struct avow_revocation_source *s,
                                        struct avow_buf *out, struct avow_err *err)
{
    char id[33], at[32], type[64], source[64], fleet[33];
    const struct avow_revocation *r = s->revocation;
    json_t *data;
    enum avow_rc rc = avow_record_json(s->record, &data, err);
    if (rc)
        return rc;
    avow_hex_encode(id, AVOW_BYTES_OF(r->id));
    avow_hex_encode(fleet, AVOW_BYTES_OF(r->fleet));
    avow_clock_format(at, s->time_ms);
    snprintf(source, sizeof source, "/avow/%s", fleet);
    snprintf(type, sizeof type, "avow.%s", avow_revocation_class_text(r->class));
    return put_line(json_pack("{s:s,s:s,s:s,s:s,s:o,s:s,s:s,s:o}", "specversion", "1.0", "id", id,
                              "source", source, "type", type, "subject", json_str(r->key), "time",
                              at, "datacontenttype", "application/json", "data", data),
                    out, err);
}

/* "PCR 7": 7; -1: nothing like that. */
static int32_t pcr_of(struct avow_str where)
{
    uint64_t pcr;
    if (!avow_str_starts(where, "PCR ") ||
        !avow_num_parse_u64((struct avow_str){where.ptr + 4, where.len - 4}, 31, &pcr))
        return -1;
    return (int32_t)pcr;
}

/* Keylime's own name for what was found first, ours where it has none. */
static struct avow_str keylime_event(const struct avow_revocation *r,
                                     char room[AVOW_KEYLIME_EVENT_MAX])
{
    for (unsigned i = 0; r->findings_count && i < AVOW_FINDING_COUNT; i++) {
        enum avow_finding_id id = (enum avow_finding_id)i;
        if (avow_str_is(r->findings[0].id, avow_finding_def_of(id)->id))
            return avow_finding_keylime_event(id, pcr_of(r->findings[0].where), room)
                       ? avow_str_from(room)
                       : r->event_id;
    }
    return r->event_id;
}

/* What was found, by id; of several findings with one id, the details in order. */
static json_t *keylime_context(const struct avow_revocation *r)
{
    json_t *context = json_object();
    for (size_t i = 0; i < r->findings_count && context; i++) {
        const struct avow_finding *f = &r->findings[i];
        json_t *one =
            json_pack("{s:o,s:o}", "where", json_str(f->where), "detail", json_str(f->detail));
        json_t *list = json_object_getn(context, f->id.ptr, f->id.len);
        if (!list) {
            list = json_array();
            if (json_object_setn_new(context, f->id.ptr, f->id.len, list))
                list = NULL;
        }
        if (!list || json_array_append_new(list, one)) {
            json_decref(context);
            context = NULL;
        }
    }
    return context;
}

/* asctime without its newline, as Keylime's verifier writes it. */
static void keylime_time(char out[32], uint64_t ms)
{
    struct tm tm;
    time_t seconds = (time_t)(ms / 1000);
    out[0] = '\0';
    if (gmtime_r(&seconds, &tm))
        (void)strftime(out, 32, "%a %b %e %H:%M:%S %Y", &tm);
}

static char *keylime_msg(const struct avow_revocation_source *s)
{
    const struct avow_revocation *r = s->revocation;
    bool silent = r->class == AVOW_REVOCATION_CLASS_SILENT;
    char at[32], event[AVOW_KEYLIME_EVENT_MAX];
    json_t *context = keylime_context(r);
    char *context_text = context ? json_dumps(context, JSON_COMPACT) : NULL;
    json_decref(context);
    if (!context_text)
        return NULL;
    keylime_time(at, s->time_ms);
    json_t *msg = json_pack(
        "{s:s,s:s,s:o,s:i,s:s,s:o,s:s,s:o,s:o,s:s}", "type", silent ? "comm_error" : "revocation",
        "ip", "", "agent_id", json_str(r->key), "port", 0, "tpm_policy", "", "meta_data",
        json_str(r->metadata), "event_time", at, "event_id", json_str(keylime_event(r, event)),
        "severity_label", json_str(r->severity), "context", context_text);
    char *text = msg ? json_dumps(msg, JSON_COMPACT) : NULL;
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
    free(msg);
    return put_line(envelope, out, err);
}
