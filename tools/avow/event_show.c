#include "event_show.h"

#include "avow/base/cleanup.h"
#include "avow/base/hex.h"
#include "context.h"
#include "json_out.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define TEXT_MAX (4u * AVOW_EVENT_DATA_MAX)
#define SENTENCE_MAX 1024u
#define DETAIL_SHOWN 100u /* characters of a cell */

/* --- What is wrong --- */

static void complain(struct avow_event_report *r, const struct avow_event_complaint *c)
{
    if (r->complaints_count < AVOW_EVENT_FINDINGS_SHOWN)
        r->complaints[r->complaints_count] = *c;
    r->complaints_count++;
}

static void refuse(struct avow_event_report *out, enum avow_finding_id id, const char *why)
{
    (void)avow_str_copy(out->refused, sizeof out->refused, avow_str_from(why));
    complain(out, &(struct avow_event_complaint){.id = id, .event = -1, .pcr = -1});
}

void avow_event_report_make(struct avow_bytes log, struct avow_event_report *out)
{
    struct avow_err err = {.rc = AVOW_OK};
    struct avow_event_walk w;
    struct avow_event e;
    *out = (struct avow_event_report){.complaints_count = 0};
    enum avow_rc rc = avow_event_log_parse(log, &out->log, &err);
    if (rc) {
        refuse(out,
               rc == AVOW_LIMIT ? AVOW_FINDING_BOOT_LOG_TOO_LARGE : AVOW_FINDING_BOOT_LOG_MALFORMED,
               err.msg);
        return;
    }
    avow_event_replay(&out->log, &out->replay);
    avow_event_walk_init(&w, &out->log);
    while (avow_event_walk_next(&w, &e)) {
        enum avow_finding_id id;
        if (avow_event_complaint(&e, &out->replay, &id))
            complain(out, &(struct avow_event_complaint){id, (int64_t)e.index, (int32_t)e.pcr,
                                                         e.untrusted_type, NULL});
    }
}

static void take_complaint(void *arg, const struct avow_boot_complaint *c)
{
    complain(arg, &(struct avow_event_complaint){
                      .id = c->id, .event = c->event, .pcr = c->pcr, .detail = c->detail});
}

enum avow_rc avow_event_report_judge(struct avow_event_report *r,
                                     const struct avow_boot_policy *policy,
                                     struct avow_arena *arena, struct avow_err *err)
{
    const struct avow_boot_judge j = {
        .log = &r->log, .replay = &r->replay, .arena = arena, .complain = take_complaint, .arg = r};
    return r->refused[0] ? AVOW_OK : avow_boot_policy_judge(policy, &j, err);
}

void avow_event_report_too_large(struct avow_event_report *out)
{
    char why[64];
    *out = (struct avow_event_report){.complaints_count = 0};
    (void)snprintf(why, sizeof why, "event log: more than %u bytes", AVOW_EVENT_LOG_MAX);
    refuse(out, AVOW_FINDING_BOOT_LOG_TOO_LARGE, why);
}

static void put_type(struct avow_buf *out, uint32_t type)
{
    const char *name = avow_event_type_name(type);
    if (name)
        avow_buf_put_str(out, name);
    else
        avow_buf_printf(out, "0x%08" PRIx32, type);
}

void avow_event_complaint_text(const struct avow_event_report *r, size_t i, struct avow_buf *out)
{
    const struct avow_event_complaint *c = &r->complaints[i];
    if (r->refused[0]) {
        avow_buf_put_str(out, r->refused);
        return;
    }
    if (c->detail) {
        avow_buf_printf(out, "%s: ", avow_finding_def_of(c->id)->text);
        if (c->event >= 0)
            avow_buf_printf(out, "event %" PRId64 " of ", c->event);
        if (c->pcr >= 0)
            avow_buf_printf(out, "PCR %" PRId32 ": ", c->pcr);
        avow_buf_put_str(out, c->detail);
        return;
    }
    avow_buf_printf(out, "event %" PRId64 " of PCR %" PRId32 " (", c->event, c->pcr);
    put_type(out, c->type);
    avow_buf_printf(out, "): %s", avow_finding_def_of(c->id)->text);
}

void avow_event_report_note(const struct avow_event_report *r)
{
    for (size_t i = 0; i < r->complaints_count && i < AVOW_EVENT_FINDINGS_SHOWN; i++) {
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
        avow_buf_init(&text, SENTENCE_MAX);
        avow_event_complaint_text(r, i, &text);
        avow_cli_note("%s: %s", avow_finding_def_of(r->complaints[i].id)->id, avow_buf_cstr(&text));
    }
    if (r->complaints_count > AVOW_EVENT_FINDINGS_SHOWN)
        avow_cli_note("and %zu more", r->complaints_count - AVOW_EVENT_FINDINGS_SHOWN);
}

/* --- JSON --- */

static json_t *buf_json(const struct avow_buf *b)
{
    return avow_buf_status(b, NULL)
               ? NULL
               : avow_json_str((struct avow_str){(const char *)b->ptr, b->len});
}

/* Takes `value`; false when out of memory. */
static bool set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static bool set_digest(json_t *object, const struct avow_event_digest *d)
{
    char other[16];
    const char *name = avow_hash_name((enum avow_hash)d->alg);
    (void)snprintf(other, sizeof other, "0x%04x", d->alg);
    return set(object, name ? name : other, avow_json_hex(d->value));
}

static json_t *variable_json(const struct avow_event_variable *v)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf name;
    char guid[AVOW_GUID_TEXT_MAX];
    avow_guid_text(v->guid, guid);
    avow_buf_init(&name, TEXT_MAX);
    avow_event_put_utf16(&name, v->name);
    return json_pack("{s:s,s:o,s:o}", "guid", guid, "name", buf_json(&name), "value",
                     avow_json_hex(v->value));
}

/* What the data says, where that is a variable, text or a locality. */
static bool set_meaning(json_t *object, const struct avow_event *e)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    struct avow_event_variable v;
    uint8_t locality;
    avow_buf_init(&text, TEXT_MAX);
    if (avow_event_has_variable(e) && avow_event_variable_parse(e->untrusted_data, &v))
        return set(object, "variable", variable_json(&v));
    if (avow_event_put_text(&text, e))
        return set(object, "text", buf_json(&text));
    if (avow_event_startup_locality(e, &locality))
        return set(object, "startup_locality", avow_json_u64(locality));
    return avow_buf_status(&text, NULL) == AVOW_OK;
}

static json_t *event_json(const struct avow_event_report *r, const struct avow_event *e)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf type;
    struct avow_event_binding b = avow_event_bind(e, &r->replay);
    json_t *digests = json_object();
    avow_buf_init(&type, SENTENCE_MAX);
    put_type(&type, e->untrusted_type);
    bool ok = digests != NULL;
    for (size_t i = 0; ok && i < e->digests_count; i++)
        ok = set_digest(digests, &e->digests[i]);
    json_t *out =
        json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:s}", "index", avow_json_u64(e->index), "pcr",
                  avow_json_u64(e->pcr), "type", buf_json(&type), "type_value",
                  avow_json_u64(e->untrusted_type), "digests", digests, "data",
                  avow_json_hex(e->untrusted_data), "binding", avow_event_bound_text(b.bound));
    if (out && b.bound == AVOW_EVENT_BOUND)
        ok = ok &&
             set(out, "covered",
                 json_pack("{s:o,s:o}", "offset",
                           avow_json_u64(b.covered.len
                                             ? (uint64_t)(b.covered.ptr - e->untrusted_data.ptr)
                                             : 0),
                           "length", avow_json_u64(b.covered.len)));
    if (out && ok && set_meaning(out, e))
        return out;
    json_decref(out);
    return NULL;
}

static json_t *bank_json(const struct avow_event_bank *b)
{
    json_t *out = json_object();
    bool ok = out != NULL;
    for (unsigned i = 0; ok && i < AVOW_EVENT_PCRS; i++) {
        char pcr[8];
        if (!(b->changed & (UINT32_C(1) << i)))
            continue;
        (void)snprintf(pcr, sizeof pcr, "%u", i);
        ok = set(out, pcr, avow_json_hex(avow_digest_bytes(&b->values[i])));
    }
    if (ok)
        return out;
    json_decref(out);
    return NULL;
}

/* Which of the two is in a list depends on the kernel, except for SHA-1. */
static json_t *aggregates_json(const struct avow_event_bank *b)
{
    struct avow_digest s, l;
    avow_event_aggregate(b, AVOW_AGGREGATE_SHORT, &s);
    avow_event_aggregate(b, AVOW_AGGREGATE_LONG, &l);
    return b->alg == AVOW_HASH_SHA1 ? json_pack("[o]", avow_json_hex(avow_digest_bytes(&s)))
                                    : json_pack("[o,o]", avow_json_hex(avow_digest_bytes(&s)),
                                                avow_json_hex(avow_digest_bytes(&l)));
}

json_t *avow_event_boot_json(const struct avow_event_log *log,
                             const struct avow_event_replay *replay)
{
    json_t *replayed = json_object(), *aggregates = json_object();
    bool ok = replayed && aggregates;
    for (size_t i = 0; ok && i < replay->banks_count; i++) {
        const struct avow_event_bank *b = &replay->banks[i];
        const char *name = avow_hash_name(b->alg);
        ok = set(replayed, name, bank_json(b)) && set(aggregates, name, aggregates_json(b));
    }
    json_t *out = json_pack("{s:o,s:o,s:o}", "events", avow_json_u64(log->count), "replayed",
                            replayed, "boot_aggregate", aggregates);
    if (ok)
        return out;
    json_decref(out);
    return NULL;
}

/* `object`, or NULL when something did not get into it. */
static json_t *whole(json_t *object, bool ok)
{
    if (ok)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *complaint_json(const struct avow_event_report *r, size_t i)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    const struct avow_finding_def *def = avow_finding_def_of(r->complaints[i].id);
    avow_buf_init(&text, SENTENCE_MAX);
    avow_event_complaint_text(r, i, &text);
    json_t *context = json_object();
    if (context && r->complaints[i].event >= 0 &&
        !set(context, "event", json_integer(r->complaints[i].event)))
        return whole(context, false);
    if (context && r->complaints[i].pcr >= 0 &&
        !set(context, "pcr", json_integer(r->complaints[i].pcr)))
        return whole(context, false);
    return json_pack("{s:s,s:s,s:o,s:o,s:o}", "id", def->id, "severity", def->severity,
                     "keylime_event_id", avow_json_cstr(def->keylime_event), "message",
                     buf_json(&text), "context", context);
}

json_t *avow_event_verdict_json(const struct avow_event_report *r)
{
    json_t *findings = json_array();
    bool ok = findings != NULL;
    for (size_t i = 0; ok && i < r->complaints_count && i < AVOW_EVENT_FINDINGS_SHOWN; i++)
        ok = json_array_append_new(findings, complaint_json(r, i)) == 0;
    return json_pack("{s:s,s:o,s:o}", "verdict", r->complaints_count ? "fail" : "pass", "findings",
                     whole(findings, ok), "findings_total", avow_json_u64(r->complaints_count));
}

json_t *avow_event_report_json(const struct avow_event_report *r)
{
    struct avow_event_walk w;
    struct avow_event e;
    json_t *events = json_array(), *out = avow_event_verdict_json(r);
    bool ok = events != NULL;
    avow_event_walk_init(&w, &r->log);
    while (ok && avow_event_walk_next(&w, &e))
        ok = json_array_append_new(events, event_json(r, &e)) == 0;
    events = whole(events, ok);
    ok = out && set(out, "form", json_string(r->log.crypto_agile ? "crypto-agile" : "sha1")) &&
         set(out, "startup_locality",
             r->replay.has_locality ? avow_json_u64(r->replay.locality) : json_null()) &&
         set(out, "boot", avow_event_boot_json(&r->log, &r->replay));
    if (ok)
        return whole(out, set(out, "log", events));
    json_decref(events);
    return whole(out, false);
}

/* --- Text --- */

static void put_detail(struct avow_buf *out, const struct avow_event *e)
{
    struct avow_event_variable v;
    uint8_t locality;
    if (avow_event_has_variable(e) && avow_event_variable_parse(e->untrusted_data, &v)) {
        char guid[AVOW_GUID_TEXT_MAX];
        avow_guid_text(v.guid, guid);
        avow_event_put_utf16(out, v.name);
        avow_buf_printf(out, " %s", guid);
    } else if (avow_event_startup_locality(e, &locality)) {
        avow_buf_printf(out, "StartupLocality %u", locality);
    } else if (!avow_event_put_text(out, e)) {
        avow_buf_printf(out, "%zu bytes", e->untrusted_data.len);
    }
}

static enum avow_rc event_row(struct avow_table *t, const struct avow_event_report *r,
                              const struct avow_event *e, bool wide, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf detail;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf type;
    char hex[2 * AVOW_EVENT_DIGEST_LEN_MAX + 1] = "-";
    avow_buf_init(&detail, TEXT_MAX);
    avow_buf_init(&type, SENTENCE_MAX);
    put_type(&type, e->untrusted_type);
    put_detail(&detail, e);
    avow_table_cell(t, "%zu", e->index);
    avow_table_cell(t, "%" PRIu32, e->pcr);
    avow_table_cell(t, "%s", avow_buf_cstr(&type));
    avow_table_cell(t, "%s", avow_event_bound_text(avow_event_bind(e, &r->replay).bound));
    if (wide) {
        if (e->digests_count)
            avow_hex_encode(hex, e->digests[e->digests_count - 1].value);
        avow_table_cell(t, "%s", hex);
    }
    avow_table_cell(t, "%.*s", (int)(wide ? detail.len : DETAIL_SHOWN), avow_buf_cstr(&detail));
    return avow_buf_status(&detail, err);
}

static enum avow_rc print_events(const struct avow_event_report *r, bool wide, struct avow_err *err)
{
    static const char *const narrow[] = {"EVENT", "PCR", "TYPE", "BINDING", "WHAT"};
    static const char *const broad[] = {"EVENT", "PCR", "TYPE", "BINDING", "DIGEST", "WHAT"};
    AVOW_CLEANUP_VAL(avow_table_deinit) struct avow_table t;
    struct avow_event_walk w;
    struct avow_event e;
    enum avow_rc rc = AVOW_OK;
    avow_table_init(&t, wide ? broad : narrow,
                    wide ? AVOW_ARRAY_LEN(broad) : AVOW_ARRAY_LEN(narrow));
    avow_event_walk_init(&w, &r->log);
    while (!rc && avow_event_walk_next(&w, &e))
        rc = event_row(&t, r, &e, wide, err);
    return rc ? rc : avow_table_print(&t, false, err);
}

static void print_bank(const struct avow_event_bank *b)
{
    char hex[2 * AVOW_DIGEST_MAX + 1];
    struct avow_digest d;
    printf("\n%s\n", avow_hash_name(b->alg));
    for (unsigned i = 0; i < AVOW_EVENT_PCRS; i++) {
        if (!(b->changed & (UINT32_C(1) << i)))
            continue;
        avow_hex_encode(hex, avow_digest_bytes(&b->values[i]));
        printf("  PCR %-2u %s\n", i, hex);
    }
    avow_event_aggregate(b, AVOW_AGGREGATE_SHORT, &d);
    avow_hex_encode(hex, avow_digest_bytes(&d));
    printf("  boot_aggregate of PCR 0-7 %s\n", hex);
    if (b->alg == AVOW_HASH_SHA1)
        return;
    avow_event_aggregate(b, AVOW_AGGREGATE_LONG, &d);
    avow_hex_encode(hex, avow_digest_bytes(&d));
    printf("  boot_aggregate of PCR 0-9 %s\n", hex);
}

enum avow_rc avow_event_report_print(const struct avow_event_report *r, bool wide,
                                     struct avow_err *err)
{
    if (r->refused[0])
        return AVOW_OK;
    enum avow_rc rc = print_events(r, wide, err);
    for (size_t i = 0; !rc && i < r->replay.banks_count; i++)
        print_bank(&r->replay.banks[i]);
    return rc;
}
