#include "agent_demands.h"

#include "avow/base/buf.h"
#include "avow/base/cleanup.h"
#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/base/num.h"

#include <jansson.h>
#include <string.h>

#include "avow/base/banned.h"

#define PCRS 24u
#define BANKS 4u
#define RULES_MAX 64u            /* schemas/enrollment.avsc */
#define DIGESTS_MAX 64u          /* schemas/enrollment.avsc */
#define TEXT_MAX (256u * 1024u)  /* 64 rules of 64 values fit */
#define ARENA_MAX (512u * 1024u) /* of what is read from it */

/* --- Deviations --- */

static bool *flag_of(struct avow_enroll_flags *f, struct avow_str word)
{
    const struct {
        const char *word;
        bool *flag;
    } table[] = {
        {"padded", &f->allow_padded},           {"kexec", &f->allow_kexec},
        {"log-trimmed", &f->allow_log_trimmed}, {"violations", &f->allow_violations},
        {"tomtou", &f->allow_tomtou},           {"hibernate", &f->allow_hibernate},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(table); i++) {
        if (avow_str_is(word, table[i].word))
            return table[i].flag;
    }
    return NULL;
}

static enum avow_rc apply_words(const char *words, bool value, struct avow_enroll_flags *flags,
                                struct avow_err *err)
{
    for (;;) {
        size_t len = strcspn(words, ",");
        bool *flag = flag_of(flags, (struct avow_str){words, len});
        if (!flag)
            return avow_err_set(err, AVOW_USAGE, 0, "'%.*s' is none of " AVOW_ALLOW_WORDS,
                                (int)(len < 60 ? len : 60), words);
        *flag = value;
        if (!words[len])
            return AVOW_OK;
        words += len + 1;
    }
}

enum avow_rc avow_allow_apply(const struct avow_opt_list *list, bool value,
                              struct avow_enroll_flags *flags, struct avow_err *err)
{
    enum avow_rc rc = AVOW_OK;
    for (size_t i = 0; i < list->count && !rc; i++)
        rc = apply_words(list->items[i], value, flags, err);
    return rc;
}

/* --- Accepted PCR values --- */

struct reading {
    struct avow_arena *arena;
    struct avow_pcr_rule *rules;           /* RULES_MAX */
    struct avow_bytes *digests[RULES_MAX]; /* those of the rules, DIGESTS_MAX each */
    size_t count;
    uint32_t pcrs; /* bit i: PCR i has values */
    uint32_t mask;
};

static const struct {
    size_t len;
    enum avow_hash_alg alg;
} banks[BANKS] = {{20, AVOW_HASH_ALG_SHA1},
                  {32, AVOW_HASH_ALG_SHA256},
                  {48, AVOW_HASH_ALG_SHA384},
                  {64, AVOW_HASH_ALG_SHA512}};

/* Position of the rule, which is made if it is not there; RULES_MAX: no room. */
static size_t rule_of(struct reading *r, uint16_t index, enum avow_hash_alg bank)
{
    size_t i = 0;
    while (i < r->count && (r->rules[i].index != index || r->rules[i].bank != bank))
        i++;
    if (i < r->count || i == RULES_MAX)
        return i;
    r->digests[i] = avow_arena_alloc(r->arena, DIGESTS_MAX, sizeof *r->digests[i]);
    if (!r->digests[i])
        return RULES_MAX;
    r->rules[i] = (struct avow_pcr_rule){.index = index, .bank = bank, .digests = r->digests[i]};
    r->count++;
    return i;
}

static enum avow_rc add_value(struct reading *r, uint16_t index, const json_t *value,
                              struct avow_err *err)
{
    const char *hex = json_string_value(value);
    size_t chars = hex ? json_string_length(value) : 0, bank = 0;
    while (bank < BANKS && 2 * banks[bank].len != chars)
        bank++;
    if (bank == BANKS)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "PCR %u: a value is text of 40, 64, 96 or 128 hex digits", index);
    uint8_t *bytes = avow_arena_alloc(r->arena, 1, banks[bank].len);
    size_t rule = rule_of(r, index, banks[bank].alg);
    if (!bytes || rule == RULES_MAX || r->rules[rule].digests_count == DIGESTS_MAX)
        return avow_err_set(
            err, AVOW_CONFIG, 0,
            "PCR %u: more than %u values of one bank, or more than %u PCRs and banks", index,
            DIGESTS_MAX, RULES_MAX);
    if (!avow_hex_decode(bytes, banks[bank].len, (struct avow_str){hex, chars}))
        return avow_err_set(err, AVOW_CONFIG, 0, "PCR %u: not hex digits", index);
    r->digests[rule][r->rules[rule].digests_count++] = avow_bytes_make(bytes, banks[bank].len);
    r->pcrs |= 1u << index;
    return AVOW_OK;
}

static enum avow_rc add_pcr(struct reading *r, const char *key, const json_t *values,
                            struct avow_err *err)
{
    uint64_t index;
    if (!avow_num_parse_u64(avow_str_from(key), PCRS - 1, &index))
        return avow_err_set(err, AVOW_CONFIG, 0, "'%.40s' is no PCR: 0 to %u, or mask", key,
                            PCRS - 1);
    if (json_is_string(values))
        return add_value(r, (uint16_t)index, values, err);
    if (!json_is_array(values) || !json_array_size(values))
        return avow_err_set(err, AVOW_CONFIG, 0, "PCR %u: a value or a list of values is wanted",
                            (unsigned)index);
    enum avow_rc rc = AVOW_OK;
    for (size_t i = 0; i < json_array_size(values) && !rc; i++)
        rc = add_value(r, (uint16_t)index, json_array_get(values, i), err);
    return rc;
}

static enum avow_rc read_mask(struct reading *r, const json_t *mask, struct avow_err *err)
{
    const char *text = json_string_value(mask);
    uint8_t bytes[4] = {0};
    uint32_t value = 0;
    size_t digits =
        text && text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? strlen(text + 2) : 0;
    if (!digits || digits > 8)
        return avow_err_set(err, AVOW_CONFIG, 0, "mask: text as 0x408000 is wanted");
    char padded[9] = "00000000";
    memcpy(padded + 8 - digits, text + 2, digits);
    if (!avow_hex_decode(bytes, sizeof bytes, avow_str_from(padded)))
        return avow_err_set(err, AVOW_CONFIG, 0, "mask: text as 0x408000 is wanted");
    for (size_t i = 0; i < sizeof bytes; i++)
        value = value << 8 | bytes[i];
    if (r->pcrs & ~value)
        return avow_err_set(err, AVOW_CONFIG, 0, "mask 0x%x lacks PCRs that have values (0x%x)",
                            value, r->pcrs);
    if (value >> PCRS)
        return avow_err_set(err, AVOW_CONFIG, 0, "mask 0x%x names PCRs above %u", value, PCRS - 1);
    r->mask = value;
    return AVOW_OK;
}

static enum avow_rc read_object(json_t *object, struct reading *r, struct avow_err *err)
{
    const char *key;
    json_t *value;
    const json_t *mask = NULL;
    enum avow_rc rc = AVOW_OK;
    json_object_foreach(object, key, value)
    {
        if (avow_cstr_eq(key, "mask"))
            mask = value;
        else if (!rc)
            rc = add_pcr(r, key, value, err);
    }
    if (!rc && !r->count)
        rc = avow_err_set(err, AVOW_CONFIG, 0, "no PCR is named");
    r->mask = r->pcrs;
    return rc || !mask ? rc : read_mask(r, mask, err);
}

static enum avow_rc parse(struct avow_bytes text, struct avow_pcr_policy *p, struct avow_err *err)
{
    json_error_t why;
    struct reading r = {.arena = &p->arena};
    r.rules = avow_arena_alloc(&p->arena, RULES_MAX, sizeof *r.rules);
    if (!r.rules)
        return avow_err_set(err, AVOW_NOMEM, 0, "PCR policy");
    json_t *object = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(object)) {
        json_decref(object);
        return avow_err_set(err, AVOW_CONFIG, 0, "no JSON object: %s",
                            object ? "another type" : why.text);
    }
    enum avow_rc rc = read_object(object, &r, err);
    json_decref(object);
    p->rules = r.rules;
    p->count = r.count;
    p->mask = r.mask;
    return rc;
}

enum avow_rc avow_pcr_policy_read(const char *source, struct avow_pcr_policy *out,
                                  struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf file;
    avow_buf_init(&file, TEXT_MAX);
    bool is_text = source[strspn(source, " \t\r\n")] == '{';
    struct avow_bytes text = avow_bytes_make(source, strlen(source));
    if (!is_text) {
        enum avow_rc rc = avow_file_read(source, &file, err);
        if (rc)
            return rc;
        text = avow_buf_bytes(&file);
    }
    struct avow_pcr_policy p = {.count = 0};
    avow_arena_init(&p.arena, ARENA_MAX);
    enum avow_rc rc = parse(text, &p, err);
    if (rc) {
        avow_pcr_policy_deinit(&p);
        return avow_err_wrap(err, rc, "%.150s", is_text ? "PCR policy" : source);
    }
    *out = p;
    return AVOW_OK;
}

void avow_pcr_policy_deinit(struct avow_pcr_policy *p)
{
    avow_arena_deinit(&p->arena);
    *p = (struct avow_pcr_policy){.count = 0};
}

static bool rule_eq(const struct avow_pcr_rule *a, const struct avow_pcr_rule *b)
{
    if (a->index != b->index || a->bank != b->bank || a->digests_count != b->digests_count)
        return false;
    for (size_t i = 0; i < a->digests_count; i++) {
        if (!avow_bytes_eq(a->digests[i], b->digests[i]))
            return false;
    }
    return true;
}

bool avow_pcr_rules_eq(const struct avow_enrollment *a, const struct avow_enrollment *b)
{
    if (a->pcrs_count != b->pcrs_count)
        return false;
    for (size_t i = 0; i < a->pcrs_count; i++) {
        if (!rule_eq(&a->pcrs[i], &b->pcrs[i]))
            return false;
    }
    return true;
}
