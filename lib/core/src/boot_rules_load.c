/* boot_rules_load.c - reads a boot policy in our own language: boot_rules.h, docs/BOOT-POLICY.md.
 */
#include "boot_rules.h"

#include "avow/base/hex.h"
#include "avow/base/num.h"

#include <stdlib.h>
#include <string.h>

#include "boot_load.h"

#include "avow/base/banned.h"

#define COMMAND_PCR 8u
#define UNLIMITED UINT32_MAX

/* For people: it is not kept. */
static enum avow_rc read_description(struct avow_json_read *r, void *out)
{
    struct avow_str s;
    (void)out;
    return avow_json_read_text(r, &s);
}

/* --- Texts --- */

static struct avow_boot_texts *new_texts(struct avow_json_read *r)
{
    struct avow_boot_rules *p = avow_boot_load_rules(r);
    struct avow_boot_texts *t = avow_arena_alloc(&p->arena, 1, sizeof *t);
    if (!t)
        return NULL;
    t->next = p->texts;
    p->texts = t;
    return t;
}

static enum avow_rc put_text(struct avow_json_read *r, struct avow_boot_texts *t, struct avow_str s)
{
    struct avow_err why = {.rc = AVOW_OK};
    if (s.len > AVOW_BOOT_TEXT_MAX)
        return avow_json_refuse(r, AVOW_LIMIT, "more than %u bytes", AVOW_BOOT_TEXT_MAX);
    if (avow_boot_load_rules(r)->expressions++ == AVOW_BOOT_EXPRESSIONS_MAX)
        return avow_json_refuse(r, AVOW_LIMIT, "more than %u expressions in all",
                                AVOW_BOOT_EXPRESSIONS_MAX);
    if (t->dot_is_newline && memchr(s.ptr, '.', s.len)) {
        const char *whole =
            avow_arena_printf(&avow_boot_load_rules(r)->arena, "(?s)%.*s", (int)s.len, s.ptr);
        if (!whole)
            return avow_boot_load_no_memory(r);
        s = avow_str_from(whole);
    }
    enum avow_rc rc = avow_excludes_put(&t->x, s, &why);
    return rc ? avow_json_refuse(r, rc, "%.120s", why.msg) : AVOW_OK;
}

static enum avow_rc read_expression(struct avow_json_read *r, void *out)
{
    struct avow_str s;
    enum avow_rc rc = avow_json_read_text(r, &s);
    return rc ? rc : put_text(r, out, s);
}

static enum avow_rc read_texts_as(struct avow_json_read *r, void *out, bool dot_is_newline)
{
    struct avow_boot_texts *t = new_texts(r);
    if (!t)
        return avow_boot_load_no_memory(r);
    t->dot_is_newline = dot_is_newline;
    enum avow_rc rc = avow_json_read_list(r, read_expression, t, AVOW_BOOT_TEXTS_MAX);
    if (!rc && !t->x.count)
        rc = avow_json_refuse(r, AVOW_PARSE, "empty");
    if (!rc && avow_excludes_finish(&t->x, NULL))
        rc = avow_boot_load_no_memory(r);
    *(const struct avow_boot_texts **)out = t;
    return rc;
}

static enum avow_rc read_texts(struct avow_json_read *r, void *out)
{
    return read_texts_as(r, out, false);
}

/* A newline within it must not hide what is forbidden. */
static enum avow_rc read_forbidden_texts(struct avow_json_read *r, void *out)
{
    return read_texts_as(r, out, true);
}

static enum avow_rc read_command_lines(struct avow_json_read *r, void *out)
{
    struct avow_boot_part *p = out;
    p->set->judged |= UINT32_C(1) << COMMAND_PCR;
    return read_texts(r, &p->set->command_lines);
}

static enum avow_rc read_commands(struct avow_json_read *r, void *out)
{
    struct avow_boot_part *p = out;
    struct avow_str s;
    p->set->judged |= UINT32_C(1) << COMMAND_PCR;
    if (avow_json_peek(&r->j) != AVOW_JSON_STRING)
        return read_texts(r, &p->set->commands);
    enum avow_rc rc = avow_json_read_text(r, &s);
    if (!rc && !avow_str_is(s, "any"))
        rc = avow_json_refuse(r, AVOW_PARSE, "neither a list nor \"any\"");
    p->set->any_command = true;
    return rc;
}

/* --- Steps --- */

int avow_boot_digest_cmp(const void *a, const void *b)
{
    const struct avow_boot_digest *x = a, *y = b;
    if (x->alg != y->alg)
        return x->alg < y->alg ? -1 : 1;
    return avow_bytes_cmp(AVOW_BYTES_OF(x->bytes), AVOW_BYTES_OF(y->bytes));
}

static enum avow_rc read_digest_value(struct avow_json_read *r, struct avow_str key, void *out)
{
    struct avow_boot_step *s = out;
    struct avow_str hex;
    enum avow_hash alg;
    if (!avow_hash_from_name(key, &alg))
        return avow_json_refuse(r, AVOW_PARSE, "not a hash algorithm");
    enum avow_rc rc = avow_json_read_text(r, &hex);
    if (rc)
        return rc;
    struct avow_boot_digest *items =
        avow_boot_load_add(r, s->digests, &s->digests_count, &s->digests_cap, sizeof *items);
    if (!items)
        return avow_boot_load_no_memory(r);
    s->digests = items;
    items[s->digests_count - 1].alg = (uint8_t)alg;
    s->algs |= UINT32_C(1) << alg;
    return avow_hex_decode(items[s->digests_count - 1].bytes, avow_hash_len(alg), hex)
               ? AVOW_OK
               : avow_json_refuse(r, AVOW_PARSE, "not a %s in hex", avow_hash_name(alg));
}

/* All digests of a step are of the same algorithms: one that is quoted must not leave out some. */
static enum avow_rc read_digest(struct avow_json_read *r, void *out)
{
    struct avow_boot_step *s = out;
    uint32_t before = s->algs;
    s->algs = 0;
    enum avow_rc rc = avow_json_read_keys(r, read_digest_value, s, AVOW_EVENT_BANKS_MAX);
    if (!rc && (!s->algs || (before && s->algs != before)))
        rc = avow_json_refuse(r, AVOW_PARSE,
                              s->algs ? "is of other algorithms than the one before" : "empty");
    return rc;
}

static enum avow_rc read_digests(struct avow_json_read *r, void *out)
{
    struct avow_boot_step *s = out;
    enum avow_rc rc = avow_json_read_list(r, read_digest, s, AVOW_BOOT_DIGESTS_MAX);
    if (!rc && !s->digests_count)
        rc = avow_json_refuse(r, AVOW_PARSE, "empty");
    if (!rc)
        qsort(s->digests, s->digests_count, sizeof *s->digests, avow_boot_digest_cmp);
    return rc;
}

static enum avow_rc read_type(struct avow_json_read *r, void *out)
{
    struct avow_boot_step *s = out;
    struct avow_str text;
    uint8_t raw[4];
    enum avow_rc rc = avow_json_read_text(r, &text);
    if (rc)
        return rc;
    s->has_type = true;
#define X(name, value)                                                                             \
    if (avow_str_is(text, "EV_" #name)) {                                                          \
        s->type = (value);                                                                         \
        return AVOW_OK;                                                                            \
    }
    AVOW_EVENT_TYPE_MAP(X)
#undef X
    if (text.len != 10 || !avow_str_starts(text, "0x") ||
        !avow_hex_decode(raw, sizeof raw, (struct avow_str){text.ptr + 2, 8}))
        return avow_json_refuse(r, AVOW_PARSE, "neither a name like EV_IPL nor like 0x0000000d");
    struct avow_rd rd = avow_rd_make(AVOW_BYTES_OF(raw));
    s->type = avow_rd_u32be(&rd);
    return AVOW_OK;
}

enum step_place { IN_ORDER, WITHOUT_ORDER, FORBIDDEN };

static enum avow_rc check_step(struct avow_json_read *r, struct avow_boot_step *s, bool any,
                               enum step_place place)
{
    int given = (s->digests_count > 0) + (s->texts != NULL) + any;
    if (given != 1 || (any && place == FORBIDDEN))
        return avow_json_refuse(r, AVOW_PARSE, "needs one of \"digests\" and \"text\"%s",
                                place == FORBIDDEN ? "" : ", or \"any\"");
    s->how = s->texts ? AVOW_BOOT_TEXT : any ? AVOW_BOOT_ANY : AVOW_BOOT_DIGESTS;
    return avow_boot_load_counts(r, s->min, s->max);
}

static enum avow_rc read_step_at(struct avow_json_read *r, struct avow_boot_part *p,
                                 enum step_place place)
{
    bool any = false;
    struct avow_boot_step *items =
        avow_boot_load_add(r, p->steps->items, &p->steps->count, &p->steps->cap, sizeof *items);
    if (!items)
        return avow_boot_load_no_memory(r);
    p->steps->items = items;
    struct avow_boot_step *s = &items[p->steps->count - 1];
    *s = (struct avow_boot_step){.pcr = (uint8_t)p->pcr, .min = 1, .max = 1};
    s->at = avow_boot_load_rules(r)->counters++;
    s->forbidden = place == FORBIDDEN;
    if (place == WITHOUT_ORDER)
        s->max = UNLIMITED;
    const struct avow_json_field fields[] = {
        {"name", avow_boot_load_name, &s->name, false},
        {"type", read_type, s, false},
        {"digests", read_digests, s, false},
        {"text", s->forbidden ? read_forbidden_texts : read_texts, &s->texts, false},
        {"any", avow_json_read_bool, &any, false},
        {"min", avow_json_read_u32, &s->min, false},
        {"max", avow_json_read_u32, &s->max, false},
        {"pcr", avow_boot_load_pcr, &s->pcr, true}};
    size_t n = AVOW_ARRAY_LEN(fields);
    enum avow_rc rc = avow_json_read_object(r, fields, place == IN_ORDER ? n - 1 : n);
    /* Whoever writes the log chooses the type. */
    if (!rc && place == FORBIDDEN && s->has_type)
        rc = avow_json_refuse(r, AVOW_PARSE, "a type is covered by no digest: it hides nothing");
    return rc ? rc : check_step(r, s, any, place);
}

static enum avow_rc read_ordered(struct avow_json_read *r, void *out)
{
    return read_step_at(r, out, IN_ORDER);
}

static enum avow_rc read_event(struct avow_json_read *r, void *out)
{
    struct avow_boot_part *p = out;
    enum avow_rc rc = read_step_at(r, p, WITHOUT_ORDER);
    if (!rc)
        p->set->judged |= UINT32_C(1) << p->steps->items[p->steps->count - 1].pcr;
    return rc;
}

static enum avow_rc read_forbidden_step(struct avow_json_read *r, void *out)
{
    return read_step_at(r, out, FORBIDDEN);
}

static enum avow_rc read_events(struct avow_json_read *r, void *out)
{
    struct avow_boot_part p = *(struct avow_boot_part *)out;
    p.steps = &p.set->events;
    return avow_json_read_list(r, read_event, &p, AVOW_BOOT_STEPS_MAX);
}

static enum avow_rc read_forbidden(struct avow_json_read *r, void *out)
{
    struct avow_boot_part p = *(struct avow_boot_part *)out;
    p.steps = &p.set->forbidden;
    return avow_json_read_list(r, read_forbidden_step, &p, AVOW_BOOT_STEPS_MAX);
}

/* --- Sequences --- */

static enum avow_rc read_sequence(struct avow_json_read *r, struct avow_boot_set *set, unsigned pcr)
{
    struct avow_boot_part p = {.set = set, .steps = &set->sequences[pcr], .pcr = pcr};
    if (set->has_sequence & UINT32_C(1) << pcr)
        return avow_json_refuse(r, AVOW_PARSE, "PCR %u has two sequences", pcr);
    set->has_sequence |= UINT32_C(1) << pcr;
    set->judged |= UINT32_C(1) << pcr;
    return avow_json_read_list(r, read_ordered, &p, AVOW_BOOT_STEPS_MAX);
}

static enum avow_rc read_numbered(struct avow_json_read *r, struct avow_str key, void *out)
{
    struct avow_boot_part *p = out;
    uint64_t n;
    uint8_t pcr = 0;
    if (!avow_num_parse_u64(key, UINT32_MAX, &n))
        return avow_json_refuse(r, AVOW_PARSE, "not a PCR");
    enum avow_rc rc = avow_boot_load_pcr_number(r, (uint32_t)n, &pcr);
    return rc ? rc : read_sequence(r, p->set, pcr);
}

static enum avow_rc read_sequences(struct avow_json_read *r, void *out)
{
    return avow_json_read_keys(r, read_numbered, out, AVOW_EVENT_PCRS);
}

/* X(member, PCR): names of sequences. */
#define NAMED_MAP(X)                                                                               \
    X(drivers, 2)                                                                                  \
    X(images, 4)                                                                                   \
    X(files, 9)                                                                                    \
    X(uki, 11)                                                                                     \
    X(mok, 14)
#define X(member, pcr)                                                                             \
    static enum avow_rc read_##member(struct avow_json_read *r, void *out)                         \
    {                                                                                              \
        return read_sequence(r, ((struct avow_boot_part *)out)->set, (pcr));                       \
    }
NAMED_MAP(X)
#undef X

/* --- Boots --- */

#define BOOT_FIELDS(p)                                                                             \
    {"secure_boot", avow_boot_load_secure_boot, (p), false},                                       \
        {"keys", avow_boot_load_keys, (p), false},                                                 \
        {"authorities", avow_boot_load_authorities, (p), false},                                   \
        {"variables", avow_boot_load_variables, (p), false},                                       \
        {"command_lines", read_command_lines, (p), false},                                         \
        {"grub_commands", read_commands, (p), false}, {"sequences", read_sequences, (p), false},   \
        {"events", read_events, (p), false}, {"forbidden", read_forbidden, (p), false},            \
        {"images", read_images, (p), false}, {"drivers", read_drivers, (p), false},                \
        {"files", read_files, (p), false}, {"uki", read_uki, (p), false},                          \
    {                                                                                              \
        "mok", read_mok, (p), false                                                                \
    }

/* A member that holds for all boots is not in one of them too, and each PCR has one sequence. */
static const char *given_twice(const struct avow_boot_set *common, const struct avow_boot_set *b)
{
    if (common->secure_boot && b->secure_boot)
        return "secure_boot";
    if (common->has_keys && b->has_keys)
        return "keys";
    if (common->has_authorities && b->has_authorities)
        return "authorities";
    if (common->command_lines && b->command_lines)
        return "command_lines";
    if ((common->commands || common->any_command) && (b->commands || b->any_command))
        return "grub_commands";
    return common->has_sequence & b->has_sequence ? "a sequence" : NULL;
}

static enum avow_rc read_boot(struct avow_json_read *r, void *out)
{
    struct avow_boot_rules *p = out;
    struct avow_boot_set *items =
        avow_boot_load_add(r, p->boots, &p->boots_count, &p->boots_cap, sizeof *items);
    if (!items)
        return avow_boot_load_no_memory(r);
    p->boots = items;
    struct avow_boot_set *set = &items[p->boots_count - 1];
    struct avow_boot_part part = {.set = set};
    const struct avow_json_field fields[] = {{"name", avow_boot_load_name, &set->name, false},
                                             BOOT_FIELDS(&part)};
    return avow_json_read_object(r, fields, AVOW_ARRAY_LEN(fields));
}

static enum avow_rc read_boots(struct avow_json_read *r, void *out)
{
    struct avow_boot_rules *p = out;
    p->has_boots = true;
    enum avow_rc rc = avow_json_read_list(r, read_boot, p, AVOW_BOOT_BOOTS_MAX);
    if (!rc && !p->boots_count)
        rc = avow_json_refuse(r, AVOW_PARSE, "empty");
    return rc;
}

static enum avow_rc read_firmware_events(struct avow_json_read *r, void *out)
{
    struct avow_boot_part p = {.steps = out, .pcr = 0};
    return avow_json_read_list(r, read_ordered, &p, AVOW_BOOT_STEPS_MAX);
}

static enum avow_rc read_firmware_item(struct avow_json_read *r, void *out)
{
    struct avow_boot_rules *p = out;
    struct avow_boot_firmware *items =
        avow_boot_load_add(r, p->firmware, &p->firmware_count, &p->firmware_cap, sizeof *items);
    if (!items)
        return avow_boot_load_no_memory(r);
    p->firmware = items;
    struct avow_boot_firmware *f = &items[p->firmware_count - 1];
    const struct avow_json_field fields[] = {{"name", avow_boot_load_name, &f->name, false},
                                             {"events", read_firmware_events, &f->steps, true}};
    return avow_json_read_object(r, fields, AVOW_ARRAY_LEN(fields));
}

static enum avow_rc read_firmware(struct avow_json_read *r, void *out)
{
    struct avow_boot_rules *p = out;
    p->has_firmware = true;
    p->common.judged |= 1;
    enum avow_rc rc = avow_json_read_list(r, read_firmware_item, p, AVOW_BOOT_FIRMWARE_MAX);
    if (!rc && !p->firmware_count)
        rc = avow_json_refuse(r, AVOW_PARSE, "empty");
    return rc;
}

/* --- The whole --- */

static enum avow_rc read_version(struct avow_json_read *r, void *out)
{
    uint32_t n;
    (void)out;
    enum avow_rc rc = avow_json_read_u32(r, &n);
    return rc || n == 1 ? rc : avow_json_refuse(r, AVOW_PARSE, "not 1, the version that is known");
}

static uint32_t forbidden_pcrs(const struct avow_boot_set *set)
{
    uint32_t pcrs = 0;
    for (size_t i = 0; i < set->forbidden.count; i++)
        pcrs |= UINT32_C(1) << set->forbidden.items[i].pcr;
    return pcrs;
}

static bool hides_text(const struct avow_boot_set *set, uint32_t judged)
{
    for (size_t i = 0; i < set->forbidden.count; i++) {
        const struct avow_boot_step *s = &set->forbidden.items[i];
        if (s->how == AVOW_BOOT_TEXT && !(judged & UINT32_C(1) << s->pcr))
            return true;
    }
    return false;
}

static const char *contradiction(const struct avow_boot_rules *p, const struct avow_boot_set *b)
{
    const struct avow_boot_set *c = &p->common;
    if (hides_text(c, c->judged | b->judged) || hides_text(b, c->judged | b->judged))
        return "a text is forbidden in a PCR that is not judged: it could be left out of the log's "
               "data";
    if (p->has_firmware && (b->judged & 1 || forbidden_pcrs(b) & 1))
        return "PCR 0 is judged by \"firmware\"";
    return NULL;
}

static enum avow_rc check(const struct avow_boot_rules *p, struct avow_err *err)
{
    static const struct avow_boot_set none;
    const char *wrong = p->has_boots ? NULL : contradiction(p, &none);
    if (p->has_firmware && p->common.has_sequence & 1)
        wrong = "PCR 0 has two sequences";
    if (wrong)
        return avow_err_set(err, AVOW_PARSE, 0, "$: %s", wrong);
    for (size_t i = 0; i < p->boots_count; i++) {
        const char *twice = given_twice(&p->common, &p->boots[i]);
        wrong = contradiction(p, &p->boots[i]);
        if (twice)
            return avow_err_set(err, AVOW_PARSE, 0, "$.boots[%zu]: %s is given for all boots too",
                                i, twice);
        if (!p->boots[i].judged && !p->boots[i].forbidden.count)
            return avow_err_set(err, AVOW_PARSE, 0, "$.boots[%zu]: demands nothing", i);
        if (wrong)
            return avow_err_set(err, AVOW_PARSE, 0, "$.boots[%zu]: %s", i, wrong);
    }
    return p->pcrs ? AVOW_OK : avow_err_set(err, AVOW_PARSE, 0, "$: demands nothing");
}

static enum avow_rc load(struct avow_bytes json, struct avow_boot_rules *p, struct avow_err *err)
{
    struct avow_boot_part part = {.set = &p->common};
    const struct avow_json_field fields[] = {{"avow_boot_policy", read_version, NULL, true},
                                             {"description", read_description, NULL, false},
                                             {"firmware", read_firmware, p, false},
                                             {"boots", read_boots, p, false},
                                             BOOT_FIELDS(&part)};
    enum avow_rc rc = avow_json_read_document(json, fields, AVOW_ARRAY_LEN(fields), p, err);
    if (rc)
        return rc;
    p->pcrs = p->common.judged | forbidden_pcrs(&p->common);
    for (size_t i = 0; i < p->boots_count; i++)
        p->pcrs |= p->boots[i].judged | forbidden_pcrs(&p->boots[i]);
    return check(p, err);
}

enum avow_rc avow_boot_rules_load(struct avow_bytes json, void **out, struct avow_err *err)
{
    struct avow_boot_rules *p = calloc(1, sizeof *p);
    if (!p)
        return avow_err_set(err, AVOW_NOMEM, 0, "boot policy");
    avow_arena_init(&p->arena, AVOW_BOOT_POLICY_BYTES_MAX);
    enum avow_rc rc = load(json, p, err);
    if (rc) {
        avow_boot_rules_free(p);
        return avow_err_wrap(err, rc, "boot policy");
    }
    *out = p;
    return AVOW_OK;
}

void avow_boot_rules_free(void *rules)
{
    struct avow_boot_rules *p = rules;
    for (struct avow_boot_texts *t = p->texts; t; t = t->next)
        avow_excludes_deinit(&t->x);
    avow_arena_deinit(&p->arena);
    free(p);
}
