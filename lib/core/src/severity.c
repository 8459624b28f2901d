/* severity.c - see severity.h. The table of findings is closed, so every expression is tried once,
 * when the policy is loaded; a label is then a look-up. */
#include "avow/core/severity.h"

#include "avow/formats/json_pull.h"
#include "avow/formats/quote.h"

#include "excludes.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define NO_PCR AVOW_PCR_COUNT /* the last column: no PCR is concerned */

struct avow_severity {
    const char *labels[AVOW_FINDING_COUNT][AVOW_PCR_COUNT + 1]; /* NULL: no rule matches */
    uint64_t units; /* of matching that are left for the rules to come */
};

struct trial { /* one rule on one finding, for columns `from` to `to` */
    struct avow_excludes *rule;
    const char *label;
    enum avow_finding_id id;
    size_t from, to;
};

void avow_severity_free(struct avow_severity *s)
{
    free(s);
}

/* Keylime's id of the finding names the PCR that is concerned. */
static bool is_per_pcr(enum avow_finding_id id)
{
    char without[AVOW_KEYLIME_EVENT_MAX], with[AVOW_KEYLIME_EVENT_MAX];
    return avow_finding_keylime_event(id, -1, without) && avow_finding_keylime_event(id, 0, with) &&
           !avow_cstr_eq(without, with);
}

/* Gives the label to the columns that have none, if the text matches. */
static enum avow_rc apply_to(struct avow_severity *s, const struct trial *t, struct avow_str text,
                             struct avow_err *err)
{
    switch (avow_excludes_match_within(t->rule, text, &s->units)) {
    case AVOW_EXCLUDE_YES:
        for (size_t pcr = t->from; pcr <= t->to; pcr++) {
            if (!s->labels[t->id][pcr])
                s->labels[t->id][pcr] = t->label;
        }
        return AVOW_OK;
    case AVOW_EXCLUDE_UNDECIDED:
        return avow_err_set(err, AVOW_LIMIT, 0,
                            ".event_id: takes too long to match, alone or after those before it");
    case AVOW_EXCLUDE_NO:
    default:
        return AVOW_OK;
    }
}

/* Python's re.fullmatch; the first rule that matches wins. Only ids that name a PCR are tried for
 * each. */
static enum avow_rc apply(struct avow_severity *s, struct avow_excludes *rule, const char *label,
                          struct avow_err *err)
{
    char event[AVOW_KEYLIME_EVENT_MAX];
    enum avow_rc rc = AVOW_OK;
    for (size_t i = 0; i < AVOW_FINDING_COUNT && !rc; i++) {
        enum avow_finding_id id = (enum avow_finding_id)i;
        struct trial t = {rule, label, id, 0, NO_PCR};
        rc = apply_to(s, &t, avow_str_from(avow_finding_def_of(id)->id), err);
        for (size_t pcr = is_per_pcr(id) ? 0 : NO_PCR; pcr <= NO_PCR && !rc; pcr++) {
            t.from = is_per_pcr(id) ? pcr : 0;
            t.to = pcr;
            if (avow_finding_keylime_event(id, pcr == NO_PCR ? -1 : (int32_t)pcr, event))
                rc = apply_to(s, &t, avow_str_from(event), err);
        }
    }
    return rc;
}

static enum avow_rc add_rule(struct avow_severity *s, struct avow_str pattern, const char *label,
                             struct avow_err *err)
{
    struct avow_excludes rule = {.count = 0};
    enum avow_rc rc = avow_excludes_put(&rule, pattern, err);
    if (!rc)
        rc = avow_excludes_finish(&rule, err);
    if (rc)
        rc = avow_err_wrap(err, rc, ".event_id");
    else
        rc = apply(s, &rule, label, err);
    avow_excludes_deinit(&rule);
    return rc;
}

struct reader {
    struct avow_json j;
    struct avow_err *err;
};

static enum avow_rc refuse(const struct reader *r, const char *reason)
{
    enum avow_rc rc = avow_json_status(&r->j, r->err);
    return rc ? rc : avow_err_set(r->err, AVOW_PARSE, 0, "%s", reason);
}

/* The pattern is copied: it is used after the next value was read. */
static enum avow_rc read_pattern(struct reader *r, char **out, size_t *len)
{
    struct avow_str text;
    if (*out)
        return refuse(r, ".event_id: twice");
    if (avow_json_peek(&r->j) != AVOW_JSON_STRING || !avow_json_string(&r->j, &text))
        return refuse(r, ".event_id: not a text");
    if (text.len > AVOW_SEVERITY_EXPRESSION_MAX)
        return avow_err_set(r->err, AVOW_LIMIT, 0, ".event_id: more than %u bytes",
                            AVOW_SEVERITY_EXPRESSION_MAX);
    if (!(*out = malloc(text.len + 1)))
        return avow_err_set(r->err, AVOW_NOMEM, 0, "severity policy");
    if (text.len)
        memcpy(*out, text.ptr, text.len);
    *len = text.len;
    return AVOW_OK;
}

static enum avow_rc read_label(struct reader *r, const char **out)
{
    struct avow_str text;
    if (*out)
        return refuse(r, ".severity_label: twice");
    if (avow_json_peek(&r->j) != AVOW_JSON_STRING || !avow_json_string(&r->j, &text))
        return refuse(r, ".severity_label: not a text");
    int rank = avow_severity_rank(text);
    if (rank < 0)
        return refuse(r, ".severity_label: none of " AVOW_SEVERITY_LABELS);
    *out = avow_severity_label((size_t)rank);
    return AVOW_OK;
}

/* What Keylime does not read in a rule is not read here. */
static enum avow_rc read_members(struct reader *r, char **pattern, size_t *len, const char **label)
{
    bool first = true;
    struct avow_str key;
    if (avow_json_peek(&r->j) != AVOW_JSON_OBJECT || !avow_json_enter(&r->j, AVOW_JSON_OBJECT))
        return refuse(r, "not an object");
    while (avow_json_member(&r->j, &first, &key)) {
        enum avow_rc rc = AVOW_OK;
        if (avow_str_is(key, "event_id"))
            rc = read_pattern(r, pattern, len);
        else if (avow_str_is(key, "severity_label"))
            rc = read_label(r, label);
        else
            (void)avow_json_skip(&r->j, NULL);
        if (rc)
            return rc;
    }
    if (r->j.failed || !*pattern || !*label)
        return refuse(r, "event_id and severity_label are wanted");
    return AVOW_OK;
}

static enum avow_rc read_rule(struct reader *r, struct avow_severity *s)
{
    char *pattern = NULL;
    size_t len = 0;
    const char *label = NULL;
    enum avow_rc rc = read_members(r, &pattern, &len, &label);
    if (!rc)
        rc = add_rule(s, (struct avow_str){pattern, len}, label, r->err);
    free(pattern);
    return rc;
}

static enum avow_rc read_rules(struct reader *r, struct avow_severity *s)
{
    bool first = true;
    size_t n = 0;
    if (avow_json_peek(&r->j) != AVOW_JSON_ARRAY || !avow_json_enter(&r->j, AVOW_JSON_ARRAY))
        return refuse(r, "$: not a list of rules");
    while (avow_json_element(&r->j, &first)) {
        if (n == AVOW_SEVERITY_RULES_MAX)
            return avow_err_set(r->err, AVOW_LIMIT, 0, "more than %u rules",
                                AVOW_SEVERITY_RULES_MAX);
        enum avow_rc rc = read_rule(r, s);
        if (rc)
            return avow_err_wrap(r->err, rc, "$[%zu]", n);
        n++;
    }
    return avow_json_end(&r->j) ? AVOW_OK : refuse(r, "$: something follows the list");
}

enum avow_rc avow_severity_load(struct avow_bytes json, struct avow_severity **out,
                                struct avow_err *err)
{
    if (json.len > AVOW_SEVERITY_TEXT_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "severity policy of %zu bytes; the limit is %u",
                            json.len, AVOW_SEVERITY_TEXT_MAX);
    AVOW_CLEANUP(avow_severity_free) struct avow_severity *s = calloc(1, sizeof *s);
    if (!s)
        return avow_err_set(err, AVOW_NOMEM, 0, "severity policy");
    s->units = AVOW_SEVERITY_UNITS_MAX;
    struct reader r = {.err = err};
    avow_json_init(&r.j, json);
    enum avow_rc rc = read_rules(&r, s);
    avow_json_deinit(&r.j);
    if (rc)
        return rc;
    *out = AVOW_STEAL(s);
    return AVOW_OK;
}

struct avow_str avow_severity_of(const struct avow_severity *s, enum avow_finding_id id,
                                 int32_t pcr)
{
    bool known = pcr >= 0 && pcr < (int32_t)AVOW_PCR_COUNT;
    const char *label = s ? s->labels[id][known ? (size_t)pcr : NO_PCR] : NULL;
    return avow_str_from(label ? label : avow_finding_def_of(id)->severity);
}
