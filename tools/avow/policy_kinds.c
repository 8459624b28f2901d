/* policy_kinds.c - see policy_kinds.h. */
#include "policy_kinds.h"

#include "avow/base/hex.h"
#include "avow/base/num.h"
#include "avow/core/boot_policy.h"
#include "avow/core/ima_keys.h"
#include "avow/core/severity.h"
#include "avow/crypto/digest.h"
#include "avow/crypto/dsse.h"
#include "context.h"
#include "json_out.h"

#include "avow/base/banned.h"

#define STATIC_TEXT_MAX (1024u * 1024u)
#define STATIC_PCR_MAX 23u
#define STATIC_VALUES_MAX 64u /* as an enrolment holds */

void avow_policy_summary_deinit(struct avow_policy_summary *s)
{
    avow_runtime_policy_free(s->policy);
    s->policy = NULL;
    avow_boot_policy_free(s->boot);
    s->boot = NULL;
}

/* --- Static values: Keylime's tpm_policy --- */

static enum avow_rc check_value(const json_t *value, const char *pcr, struct avow_err *err)
{
    uint8_t digest[AVOW_DIGEST_MAX];
    struct avow_str hex = {json_string_value(value), json_string_length(value)};
    size_t len = hex.len / 2;
    bool known = len == 20 || len == 32 || len == 48 || len == 64;
    if (!json_is_string(value) || hex.len % 2 || !known || !avow_hex_decode(digest, len, hex))
        return avow_err_set(err, AVOW_PARSE, 0, "$[\"%s\"]: not a digest in hex", pcr);
    return AVOW_OK;
}

static enum avow_rc check_values(const char *pcr, const json_t *values, struct avow_err *err)
{
    if (!json_is_array(values))
        return check_value(values, pcr, err);
    size_t n = json_array_size(values);
    if (!n || n > STATIC_VALUES_MAX)
        return avow_err_set(err, AVOW_PARSE, 0, "$[\"%s\"]: not 1 to %u digests", pcr,
                            STATIC_VALUES_MAX);
    enum avow_rc rc = AVOW_OK;
    for (size_t i = 0; i < n && !rc; i++)
        rc = check_value(json_array_get(values, i), pcr, err);
    return rc;
}

/* PCR 10 is IMA's and 16 anybody's, who may reset it: no value of theirs proves anything. */
static enum avow_rc check_static_member(const char *key, const json_t *value, struct avow_err *err)
{
    uint64_t pcr;
    if (avow_cstr_eq(key, "mask")) {
        const char *mask = json_string_value(value);
        return mask && avow_str_starts(avow_str_from(mask), "0x")
                   ? AVOW_OK
                   : avow_err_set(err, AVOW_PARSE, 0, "$.mask: not a text like \"0x408000\"");
    }
    if (!avow_num_parse_u64(avow_str_from(key), STATIC_PCR_MAX, &pcr))
        return avow_err_set(err, AVOW_PARSE, 0, "$[\"%.80s\"]: not a PCR, 0 to %u", key,
                            STATIC_PCR_MAX);
    if (pcr == 10 || pcr == 16)
        return avow_err_set(err, AVOW_PARSE, 0, "$[\"%s\"]: this PCR cannot have a static value",
                            key);
    return check_values(key, value, err);
}

static enum avow_rc check_static(struct avow_bytes text, struct avow_err *err)
{
    json_error_t where;
    if (text.len > STATIC_TEXT_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "more than %u bytes", STATIC_TEXT_MAX);
    json_t *root = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &where);
    enum avow_rc rc = AVOW_OK;
    const char *key;
    json_t *value;
    if (!root)
        return avow_err_set(err, AVOW_PARSE, 0, "line %d, column %d: %s", where.line, where.column,
                            where.text);
    if (!json_is_object(root) || !json_object_size(root))
        rc = avow_err_set(err, AVOW_PARSE, 0, "$: not an object with at least one PCR");
    json_object_foreach(root, key, value)
    {
        if (rc)
            break;
        rc = check_static_member(key, value, err);
    }
    json_decref(root);
    return rc;
}

/* --- All kinds --- */

static enum avow_rc check_severity(struct avow_bytes text, struct avow_err *err)
{
    struct avow_severity *severity = NULL;
    enum avow_rc rc = avow_severity_load(text, &severity, err);
    avow_severity_free(severity);
    return rc;
}

static enum avow_rc check_runtime(struct avow_bytes text, struct avow_policy_summary *out,
                                  struct avow_err *err)
{
    enum avow_rc rc = avow_runtime_policy_load(text, &out->policy, err);
    if (!rc)
        avow_runtime_policy_stats_get(out->policy, &out->stats);
    return rc;
}

static enum avow_rc check_keys(struct avow_bytes text, struct avow_err *err)
{
    struct avow_ima_keys *keys = NULL;
    enum avow_rc rc = avow_ima_keys_load(text, &keys, err);
    if (!rc && !avow_ima_keys_count(keys))
        rc = avow_err_set(err, AVOW_PARSE, 0, "no key in the whole text");
    avow_ima_keys_free(keys);
    return rc;
}

/* Our own language and a reference state are told apart by content, whatever the kind is called. */
enum avow_rc avow_policy_check(enum avow_policy_kind kind, struct avow_bytes text,
                               struct avow_policy_summary *out, struct avow_err *err)
{
    *out = (struct avow_policy_summary){.policy = NULL};
    switch (kind) {
    case AVOW_POLICY_KIND_RUNTIME:
        return check_runtime(text, out, err);
    case AVOW_POLICY_KIND_KEYS:
        return check_keys(text, err);
    case AVOW_POLICY_KIND_STATIC:
        return check_static(text, err);
    case AVOW_POLICY_KIND_SEVERITY:
        return check_severity(text, err);
    case AVOW_POLICY_KIND_REFSTATE:
    case AVOW_POLICY_KIND_BOOT:
        return avow_boot_policy_load(text, &out->boot, err);
    default:
        return avow_err_set(err, AVOW_USAGE, 0, "this version does not read policies of kind %s",
                            avow_policy_kind_text(kind));
    }
}

void avow_boot_policy_print_warnings(const char *file, const struct avow_boot_policy *p)
{
    for (size_t i = 0; i < AVOW_BOOT_POLICY_WARNINGS_KEPT; i++) {
        struct avow_str text = avow_boot_policy_warning(p, i);
        if (text.len)
            avow_cli_note("warning: %s: %.*s", file, (int)text.len, text.ptr);
    }
}

void avow_policy_print_notes(const char *file, const struct avow_policy_summary *s)
{
    if (s->boot)
        avow_boot_policy_print_warnings(file, s->boot);
    if (!s->policy)
        return;
    for (size_t i = 0; i < s->stats.warnings; i++) {
        struct avow_str text = avow_runtime_policy_warning(s->policy, i);
        if (!text.len) {
            avow_cli_note("warning: %s: %zu more like these", file, s->stats.warnings - i);
            break;
        }
        avow_cli_note("warning: %s: %.*s", file, (int)text.len, text.ptr);
    }
    for (unsigned bit = 1; bit <= AVOW_POLICY_NOTE_BOOT_AGGREGATE; bit <<= 1)
        if (s->stats.notes & bit)
            avow_cli_note("note: %s: %s", file, avow_policy_note_text(bit));
    if (!s->stats.paths)
        avow_cli_note("warning: %s allows no file at all: every measured file will be a finding",
                      file);
}

_Static_assert(AVOW_BOOT_POLICY_WARNINGS_KEPT <= AVOW_POLICY_WARNINGS_KEPT, "one loop for both");

json_t *avow_policy_warnings_json(const struct avow_policy_summary *s)
{
    json_t *all = json_array();
    for (size_t i = 0; all && (s->policy || s->boot) && i < AVOW_POLICY_WARNINGS_KEPT; i++) {
        struct avow_str text = s->policy ? avow_runtime_policy_warning(s->policy, i)
                                         : avow_boot_policy_warning(s->boot, i);
        if (text.len && json_array_append_new(all, avow_json_str(text))) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

void avow_policy_seal_deinit(struct avow_policy_seal *s)
{
    avow_buf_deinit(&s->sigs);
}

enum avow_rc avow_policy_unwrap(struct avow_buf *text, struct avow_policy_seal *sealed,
                                struct avow_err *err)
{
    struct avow_dsse envelope;
    if (sealed)
        *sealed = (struct avow_policy_seal){.is_envelope = false};
    if (!avow_dsse_is_envelope(avow_buf_bytes(text)))
        return AVOW_OK;
    enum avow_rc rc = avow_dsse_parse(avow_buf_bytes(text), &envelope, err);
    if (rc)
        return rc;
    avow_buf_deinit(text);
    *text = envelope.payload;
    if (!sealed) {
        avow_buf_deinit(&envelope.sigs);
        return AVOW_OK;
    }
    sealed->is_envelope = true;
    avow_dsse_pae_sha256(avow_buf_bytes(text), sealed->pae_sha256);
    sealed->sigs = envelope.sigs;
    return AVOW_OK;
}
