/* appraise_show.c - see appraise_show.h. */
#include "appraise_show.h"

#include "avow/base/hex.h"
#include "event_show.h"
#include "json_out.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>

#include "avow/base/banned.h"

/* Takes `value`; false when out of memory. */
static bool set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

/* `object`, or NULL when something did not get into it. */
static json_t *whole(json_t *object, bool ok)
{
    if (ok)
        return object;
    json_decref(object);
    return NULL;
}

static const char *scheme_text(const struct avow_appraise_out *out)
{
    if (!out->has_signature)
        return NULL;
    return out->signature.scheme == AVOW_SIG_RSASSA   ? "rsassa"
           : out->signature.scheme == AVOW_SIG_RSAPSS ? "rsapss"
                                                      : "ecdsa";
}

/* --- Findings --- */

static json_t *context_json(const struct avow_finding_context *c)
{
    json_t *out = json_object();
    bool ok = out != NULL;
    if (ok && c->entry >= 0)
        ok = set(out, "entry", json_integer(c->entry));
    if (ok && c->path.len)
        ok = set(out, "path", avow_json_str(c->path));
    if (ok && c->event >= 0)
        ok = set(out, "event", json_integer(c->event));
    if (ok && c->pcr >= 0)
        ok = set(out, "pcr", json_integer(c->pcr));
    return whole(out, ok);
}

static json_t *finding_json(const struct avow_appraise_out *out, size_t i)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf message;
    char event[AVOW_KEYLIME_EVENT_MAX];
    const struct avow_finding *f = &out->findings[i];
    bool known = out->ids[i] < AVOW_FINDING_COUNT;
    bool has_event = known && avow_finding_keylime_event_at(out->ids[i], &out->contexts[i], event);
    avow_buf_init(&message, 4096);
    avow_buf_printf(&message, "%s: %.*s: %.*s",
                    known ? avow_finding_def_of(out->ids[i])->text : "finding", (int)f->where.len,
                    f->where.ptr, (int)f->detail.len, f->detail.ptr);
    json_t *text = avow_buf_status(&message, NULL)
                       ? NULL
                       : avow_json_str((struct avow_str){(const char *)message.ptr, message.len});
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "id", avow_json_str(f->id), "severity",
                     avow_json_str(f->severity), "keylime_event_id",
                     has_event ? avow_json_cstr(event) : json_null(), "message", text, "context",
                     context_json(&out->contexts[i]));
}

static json_t *findings_json(const struct avow_appraise_out *out)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < out->findings_count && ok; i++)
        ok = json_array_append_new(list, finding_json(out, i)) == 0;
    return whole(list, ok);
}

/* --- Quote --- */

static json_t *bank_json(uint16_t hash)
{
    char other[16];
    const char *name = avow_hash_name((enum avow_hash)hash);
    (void)snprintf(other, sizeof other, "0x%04x", hash);
    return avow_json_cstr(name ? name : other);
}

static json_t *selection_json(const struct avow_pcr_selection *s)
{
    json_t *pcrs = json_array();
    bool ok = pcrs != NULL;
    for (unsigned i = 0; i < 32 && ok; i++) {
        if (s->pcrs & UINT32_C(1) << i)
            ok = json_array_append_new(pcrs, json_integer(i)) == 0;
    }
    return json_pack("{s:o,s:o}", "bank", bank_json(s->hash), "pcrs", whole(pcrs, ok));
}

static json_t *quote_json(const struct avow_appraise_out *out, bool details)
{
    const struct avow_quote *q = &out->quote;
    char firmware[17];
    if (!out->has_quote)
        return json_null();
    (void)snprintf(firmware, sizeof firmware, "%016" PRIx64, q->firmware);
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < q->selections_count && ok; i++)
        ok = json_array_append_new(list, selection_json(&q->selections[i])) == 0;
    json_t *object =
        json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:s}", "signer", avow_json_cstr(scheme_text(out)),
                  "hash", out->has_signature ? bank_json(out->signature.hash) : json_null(),
                  "selections", whole(list, ok), "clock", avow_json_u64(q->clock), "reset_count",
                  avow_json_u64(q->reset_count), "restart_count", avow_json_u64(q->restart_count),
                  "safe", (int)q->safe, "firmware_version", firmware);
    ok = object != NULL;
    if (ok && details)
        ok = set(object, "extra_data", avow_json_hex(q->extra_data)) &&
             set(object, "qualified_signer", avow_json_hex(q->qualified_signer)) &&
             set(object, "pcr_digest", avow_json_hex(q->pcr_digest));
    return whole(object, ok);
}

/* --- Values, list, log --- */

static json_t *values_of_bank(const struct avow_bank_values *b)
{
    json_t *out = json_object();
    bool ok = out != NULL;
    for (unsigned i = 0; i < AVOW_PCR_COUNT && ok; i++) {
        char index[8];
        (void)snprintf(index, sizeof index, "%u", i);
        if (b->v[i].len)
            ok = set(out, index, avow_json_hex(b->v[i]));
    }
    return whole(out, ok);
}

static json_t *values_json(const struct avow_appraise_out *out)
{
    json_t *all = json_object();
    bool ok = all != NULL;
    for (unsigned i = 0; i < AVOW_HASH_ALG_COUNT && ok; i++) {
        json_t *bank = values_of_bank(&out->values[i]);
        if (bank && !json_object_size(bank))
            json_decref(bank);
        else
            ok = set(all, avow_hash_alg_text((enum avow_hash_alg)i), bank);
    }
    return whole(all, ok);
}

static json_t *pcr10_json(const struct avow_appraise_ima *ima)
{
    json_t *all = json_object();
    bool ok = all != NULL;
    for (unsigned i = 0; i < AVOW_HASH_ALG_COUNT && ok; i++) {
        if (ima->pcr10[i].len)
            ok = set(all, avow_hash_alg_text((enum avow_hash_alg)i),
                     avow_json_hex(avow_digest_bytes(&ima->pcr10[i])));
    }
    return whole(all, ok);
}

/* Takes a reference of `keyrings`' list for the name; NULL when out of memory. */
static json_t *keyring_of(json_t *keyrings, const char *name)
{
    json_t *list = json_object_get(keyrings, name);
    if (list)
        return list;
    list = json_array();
    return list && set(keyrings, name, list) ? list : NULL;
}

static bool add_key(json_t *keyrings, const struct avow_learned_key *k)
{
    char id[9], name[128];
    (void)snprintf(id, sizeof id, "%08" PRIx32, k->key_id);
    if (!avow_str_copy(name, sizeof name, k->keyring))
        return true; /* longer than a state holds */
    json_t *list = keyring_of(keyrings, name);
    return list && json_array_append_new(list, json_string(id)) == 0;
}

static json_t *keyrings_json(const struct avow_appraise_out *out)
{
    const struct avow_state *s = &out->next;
    const struct avow_ima_position *p = s->has_rebase ? &s->rebase : &s->ima;
    json_t *all = json_object();
    bool ok = all != NULL;
    for (size_t i = 0; i < p->keys_count && ok; i++) {
        if (p->keys[i].key < s->learned_count)
            ok = add_key(all, &s->learned[p->keys[i].key]);
    }
    return whole(all, ok);
}

static json_t *ima_json(const struct avow_appraise_out *out)
{
    const struct avow_appraise_ima *ima = &out->ima;
    return ima->judged
               ? json_pack(
                     "{s:s,s:o,s:o,s:o,s:o,s:o,s:o}", "form", avow_ima_list_kind_text(ima->kind),
                     "first", avow_json_u64(ima->first), "entries_in_log",
                     avow_json_u64(ima->entries), "entries_covered", avow_json_u64(ima->covered),
                     "violations", avow_json_u64(ima->violations), "boot_aggregate",
                     ima->boot_aggregate.len ? avow_json_hex(ima->boot_aggregate) : json_null(),
                     "keyrings_learned", keyrings_json(out))
               : json_null();
}

static json_t *as_json(const struct avow_appraise_out *out, enum avow_appraise_subject subject)
{
    bool open = subject == AVOW_SUBJECT_QUOTE && out->pass && !out->verified;
    json_t *object =
        json_pack("{s:o,s:o,s:o}", "verdict",
                  open ? json_null() : avow_json_cstr(out->pass ? "pass" : "fail"), "findings",
                  findings_json(out), "findings_total", avow_json_u64(out->findings_total));
    bool ok = object != NULL;
    if (ok && subject == AVOW_SUBJECT_QUOTE)
        ok = set(object, "verified", json_boolean(out->verified));
    if (ok && subject != AVOW_SUBJECT_LIST)
        ok = set(object, "quote", quote_json(out, subject == AVOW_SUBJECT_QUOTE));
    if (ok && subject == AVOW_SUBJECT_EVIDENCE)
        ok = set(object, "pcrs", values_json(out));
    if (ok && subject != AVOW_SUBJECT_QUOTE)
        ok = set(object, "ima", ima_json(out));
    if (ok && subject == AVOW_SUBJECT_LIST)
        ok = set(object, "pcr10", pcr10_json(&out->ima));
    if (ok && subject == AVOW_SUBJECT_EVIDENCE)
        ok = set(object, "boot",
                 out->boot.judged ? avow_event_boot_json(&out->boot.log, &out->boot.replay)
                                  : json_null());
    return whole(object, ok);
}

/* --- Text --- */

static void print_hex(const char *what, struct avow_bytes b)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf hex;
    avow_buf_init(&hex, 2u * AVOW_ATTEST_MAX + 1u);
    avow_buf_put_hex(&hex, b);
    printf("%-17s %s\n", what, b.len ? avow_buf_cstr(&hex) : "-");
}

static void print_selection(const struct avow_pcr_selection *s)
{
    const char *name = avow_hash_name((enum avow_hash)s->hash);
    printf("%-17s", "selection");
    if (name)
        printf(" %s:", name);
    else
        printf(" 0x%04x:", s->hash);
    const char *before = "";
    for (unsigned i = 0; i < 32; i++) {
        if (!(s->pcrs & UINT32_C(1) << i))
            continue;
        printf("%s%u", before, i);
        before = ",";
    }
    puts(*before ? "" : "none");
}

static void print_quote(const struct avow_appraise_out *out, bool details)
{
    const struct avow_quote *q = &out->quote;
    if (!out->has_quote)
        return;
    if (out->has_signature) {
        const char *hash = avow_hash_name((enum avow_hash)out->signature.hash);
        printf("%-17s %s %s, %s\n", "signature", scheme_text(out), hash ? hash : "?",
               out->verified ? "verified" : "not verified");
    }
    for (size_t i = 0; i < q->selections_count; i++)
        print_selection(&q->selections[i]);
    printf("%-17s %" PRIu64 " ms, reset %" PRIu32 ", restart %" PRIu32 "%s\n", "clock", q->clock,
           q->reset_count, q->restart_count, q->safe ? "" : ", not safe");
    printf("%-17s %016" PRIx64 "\n", "firmware", q->firmware);
    if (!details)
        return;
    print_hex("extra data", q->extra_data);
    print_hex("qualified signer", q->qualified_signer);
    print_hex("PCR digest", q->pcr_digest);
}

/* Of a list alone nothing is covered unless a value was looked for. */
static void print_ima(const struct avow_appraise_ima *ima, bool alone)
{
    if (!ima->judged)
        return;
    printf("%-17s %" PRIu64 " entries (%s)", "list", ima->entries,
           avow_ima_list_kind_text(ima->kind));
    if (!alone || ima->is_covered)
        printf(", %" PRIu64 " covered", ima->covered);
    printf(", %" PRIu64 " violations\n", ima->violations);
    for (unsigned i = 0; i < AVOW_HASH_ALG_COUNT && alone; i++) {
        char what[32];
        (void)snprintf(what, sizeof what, "PCR 10 %s", avow_hash_alg_text((enum avow_hash_alg)i));
        if (ima->pcr10[i].len)
            print_hex(what, avow_digest_bytes(&ima->pcr10[i]));
    }
}

static enum avow_rc print_findings(const struct avow_appraise_out *out, struct avow_err *err)
{
    static const char *const titles[] = {"FINDING", "SEVERITY", "WHERE", "DETAIL"};
    AVOW_CLEANUP_VAL(avow_table_deinit) struct avow_table t;
    avow_table_init(&t, titles, AVOW_ARRAY_LEN(titles));
    for (size_t i = 0; i < out->findings_count; i++) {
        const struct avow_finding *f = &out->findings[i];
        const struct avow_str cells[] = {f->id, f->severity, f->where, f->detail};
        for (size_t c = 0; c < AVOW_ARRAY_LEN(cells); c++)
            avow_table_cell(&t, "%.*s", (int)cells[c].len, cells[c].ptr);
    }
    enum avow_rc rc = AVOW_OK;
    if (out->findings_count) {
        printf("\n");
        rc = avow_table_print(&t, false, err);
    }
    if (!rc && out->findings_total > out->findings_count)
        printf("and %zu more\n", (size_t)out->findings_total - out->findings_count);
    return rc;
}

static enum avow_rc print(const struct avow_appraise_out *out, enum avow_appraise_subject subject,
                          struct avow_err *err)
{
    if (subject != AVOW_SUBJECT_QUOTE || out->verified || !out->pass)
        printf("%-17s %s\n", "verdict", out->pass ? "pass" : "fail");
    if (subject != AVOW_SUBJECT_LIST)
        print_quote(out, subject == AVOW_SUBJECT_QUOTE);
    if (subject != AVOW_SUBJECT_QUOTE)
        print_ima(&out->ima, subject == AVOW_SUBJECT_LIST);
    if (out->boot.judged)
        printf("%-17s %zu events\n", "firmware log", out->boot.log.count);
    return print_findings(out, err);
}

enum avow_rc avow_appraise_show(const struct avow_cli *cli, const struct avow_appraise_out *out,
                                enum avow_appraise_subject subject, struct avow_err *err)
{
    if (cli->format == AVOW_FORMAT_JSON)
        return avow_json_document(as_json(out, subject), err);
    return print(out, subject, err);
}

enum avow_exit avow_appraise_exit(struct avow_cli *cli, const char *command, enum avow_rc rc,
                                  const struct avow_appraise_out *out, const struct avow_err *err)
{
    if (rc == AVOW_USAGE)
        return avow_cli_usage(command, err);
    if (rc)
        return avow_cli_fail(cli, rc, err);
    return out->pass ? AVOW_EXIT_OK : AVOW_EXIT_UNTRUSTED;
}
