/* `avow policy diff` and `test`: what a runtime policy says and would say. No broker. */
#include "commands.h"

#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/formats/dsse.h"
#include "avow/formats/ima_list.h"
#include "cmd_policy_boot.h"
#include "json_out.h"
#include "policy_facts.h"
#include "policy_kinds.h"
#include "policy_rehearse.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define IMA_LOG_MAX (1024u * 1024u * 1024u)
#define SHOWN_MAX 100u

/* Reads a document, and what its envelope holds if it is one. */
static enum avow_rc read_document(const char *file, struct avow_buf *out, struct avow_err *err)
{
    avow_buf_init(out, AVOW_POLICY_MAX);
    enum avow_rc rc = avow_file_read(file, out, err);
    if (!rc)
        rc = avow_policy_unwrap(out, NULL, err);
    return rc && rc != AVOW_IO ? avow_err_wrap(err, rc, "%s", file) : rc;
}

/* --- diff --- */

struct side {
    struct avow_buf text;
    struct avow_policy_facts facts;
    struct avow_runtime_policy *policy;
};

static void side_deinit(struct side *s)
{
    avow_buf_deinit(&s->text);
    avow_policy_facts_deinit(&s->facts);
    avow_runtime_policy_free(s->policy);
}

/* The form of a document is no difference, and neither is what nobody reads. */
static void drop_notes(struct avow_policy_facts *f)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->count; i++) {
        if (f->items[i].kind != AVOW_POLICY_ITEM_LEGACY &&
            f->items[i].kind != AVOW_POLICY_ITEM_WARNING)
            f->items[kept++] = f->items[i];
    }
    f->count = kept;
}

static enum avow_rc side_read(const char *file, struct side *s, struct avow_err *err)
{
    avow_policy_facts_init(&s->facts);
    enum avow_rc rc = read_document(file, &s->text, err);
    if (rc)
        return rc;
    rc = avow_runtime_policy_load(avow_buf_bytes(&s->text), &s->policy, err);
    if (!rc)
        rc = avow_policy_facts_load(&s->facts, avow_buf_bytes(&s->text), err);
    if (rc)
        return avow_err_wrap(err, rc, "%s", file);
    drop_notes(&s->facts);
    avow_policy_facts_sort(&s->facts);
    return AVOW_OK;
}

struct diff {
    json_t *added, *removed; /* NULL: text is printed */
    size_t n_added, n_removed;
};

static enum avow_rc differs(struct diff *d, bool added, const struct avow_policy_fact *f,
                            struct avow_err *err)
{
    const char *kind = avow_policy_fact_kind_text(f->kind);
    *(added ? &d->n_added : &d->n_removed) += 1;
    if (!d->added) {
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf line;
        avow_buf_init(&line, 1024u * 1024u);
        avow_buf_printf(&line, "%c %s ", added ? '+' : '-', kind);
        if (f->value.len) {
            avow_buf_put_hex(&line, f->value);
            avow_buf_put_u8(&line, ' ');
        }
        avow_buf_put(&line, f->name.ptr, f->name.len);
        puts(avow_buf_cstr(&line));
        return AVOW_OK;
    }
    json_t *item = json_pack("{s:s,s:o}", "kind", kind, "name", avow_json_str(f->name));
    if (item && f->value.len && json_object_set_new(item, "digest", avow_json_hex(f->value))) {
        json_decref(item);
        item = NULL;
    }
    return json_array_append_new(added ? d->added : d->removed, item)
               ? avow_err_set(err, AVOW_NOMEM, 0, "difference")
               : AVOW_OK;
}

static enum avow_rc diff_facts(struct diff *d, const struct avow_policy_facts *a,
                               const struct avow_policy_facts *b, struct avow_err *err)
{
    size_t i = 0, k = 0;
    enum avow_rc rc = AVOW_OK;
    while (!rc && (i < a->count || k < b->count)) {
        int order = i == a->count   ? 1
                    : k == b->count ? -1
                                    : avow_policy_fact_cmp(&a->items[i], &b->items[k]);
        if (order < 0)
            rc = differs(d, false, &a->items[i++], err);
        else if (order > 0)
            rc = differs(d, true, &b->items[k++], err);
        else
            i++, k++;
    }
    return rc;
}

static enum avow_rc diff_report(const struct avow_cli *cli, struct diff *d, bool superset,
                                struct avow_err *err)
{
    bool equal = !d->n_added && !d->n_removed;
    if (cli->format == AVOW_FORMAT_JSON) {
        json_t *out = json_pack("{s:b,s:b,s:o,s:o}", "equal", (int)equal, "superset", (int)superset,
                                "added", d->added, "removed", d->removed);
        return avow_json_document(out, err);
    }
    if (!equal)
        avow_cli_note("%zu added, %zu removed; %s", d->n_added, d->n_removed,
                      superset ? "allows all that the first one does: trust is carried over"
                               : "allows less or demands more: agents are asked for their lists");
    return AVOW_OK;
}

enum avow_exit avow_cmd_policy_diff(struct avow_cli *cli, int argc, char **argv)
{
    const struct avow_command command = {
        .name = "policy diff",
        .words = "OLD NEW",
        .about = "Says what NEW adds and removes, and whether it allows all that OLD does. Exit "
                 "codes: 0 the same,\n1 they differ.",
        .min_words = 2,
        .max_words = 2,
        .offline = true};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    AVOW_CLEANUP_VAL(side_deinit) struct side a = {.policy = NULL};
    AVOW_CLEANUP_VAL(side_deinit) struct side b = {.policy = NULL};
    struct diff d = {.n_added = 0};
    enum avow_rc rc = side_read(pos[0], &a, &err);
    if (!rc)
        rc = side_read(pos[1], &b, &err);
    if (!rc && cli->format == AVOW_FORMAT_JSON) {
        d.added = json_array();
        d.removed = json_array();
    }
    if (!rc)
        rc = diff_facts(&d, &a.facts, &b.facts, &err);
    if (!rc)
        rc = diff_report(cli, &d, avow_runtime_policy_is_superset(a.policy, b.policy), &err);
    if (rc)
        return avow_cli_fail(cli, rc, &err);
    return d.n_added || d.n_removed ? AVOW_EXIT_FAILED : AVOW_EXIT_OK;
}

/* --- test --- */

struct test {
    const struct avow_runtime_policy *policy;
    bool strict;
    size_t entries, allowed, excluded, refused, violations;
    json_t *list; /* NULL: text is printed */
};

static const char *reason_of(enum avow_policy_match match)
{
    switch (match) {
    case AVOW_POLICY_PATH_UNKNOWN:
        return "not listed";
    case AVOW_POLICY_DIGEST_UNKNOWN:
        return "listed with other digests";
    case AVOW_POLICY_REGEX_LIMIT:
        return "an exclude could not be decided";
    case AVOW_POLICY_ALLOWED:
    case AVOW_POLICY_EXCLUDED:
    case AVOW_POLICY_UNDECIDED:
    default:
        return "cannot be judged";
    }
}

static enum avow_rc refuse(struct test *t, struct avow_str path, struct avow_bytes digest,
                           const char *reason, struct avow_err *err)
{
    if (t->refused++ >= SHOWN_MAX)
        return AVOW_OK;
    if (!t->list) {
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf line;
        avow_buf_init(&line, 64u * 1024u);
        avow_buf_printf(&line, "entry %zu: ", t->entries);
        avow_buf_put(&line, path.ptr, path.len);
        avow_buf_printf(&line, " (%s", reason);
        if (digest.len) {
            avow_buf_put_str(&line, ", ");
            avow_buf_put_hex(&line, digest);
        }
        avow_buf_put_u8(&line, ')');
        avow_cli_note("%s", avow_buf_cstr(&line));
        return AVOW_OK;
    }
    json_t *item =
        json_pack("{s:o,s:o,s:o,s:s}", "entry", avow_json_u64(t->entries), "path",
                  avow_json_str(path), "digest", avow_json_hex(digest), "reason", reason);
    return json_array_append_new(t->list, item) ? avow_err_set(err, AVOW_NOMEM, 0, "entry")
                                                : AVOW_OK;
}

static enum avow_rc judge(struct test *t, struct avow_str path, struct avow_bytes digest,
                          struct avow_err *err)
{
    enum avow_policy_match m = avow_runtime_policy_match(t->policy, path, digest, t->strict);
    t->allowed += m == AVOW_POLICY_ALLOWED;
    t->excluded += m == AVOW_POLICY_EXCLUDED;
    return m == AVOW_POLICY_ALLOWED || m == AVOW_POLICY_EXCLUDED
               ? AVOW_OK
               : refuse(t, path, digest, reason_of(m), err);
}

/* Buffers and keys are judged by their own lists. boot_aggregate counts only if it is listed: the
 * verifier computes it. */
static enum avow_rc judge_entry(struct test *t, const struct avow_ima_entry *e,
                                struct avow_err *err)
{
    struct avow_ima_file f;
    if (avow_ima_entry_is_violation(e)) {
        t->violations++;
        return AVOW_OK;
    }
    if (avow_ima_file_parse(e, &f, NULL))
        return refuse(t, e->template_name, e->template_digest, "its template is not known", err);
    if (f.has_buffer) {
        bool ok =
            avow_runtime_policy_find_buffer(t->policy, f.path, f.digest) == AVOW_POLICY_ALLOWED ||
            avow_runtime_policy_find_keyring(t->policy, f.path, f.digest) == AVOW_POLICY_ALLOWED ||
            avow_runtime_policy_ignores_keyring(t->policy, f.path);
        t->allowed += ok;
        return ok ? AVOW_OK : refuse(t, f.path, f.digest, "not among keyrings and buffers", err);
    }
    if (avow_str_is(f.path, "boot_aggregate") && !avow_runtime_policy_has_path(t->policy, f.path)) {
        t->allowed++;
        return AVOW_OK;
    }
    return judge(t, f.path, f.digest, err);
}

static enum avow_rc judge_log(struct test *t, const char *file, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf log;
    struct avow_ima_view view;
    struct avow_ima_entry e;
    enum avow_ima_next next = AVOW_IMA_END;
    avow_buf_init(&log, IMA_LOG_MAX);
    enum avow_rc rc = avow_file_read(file, &log, err);
    if (rc)
        return rc;
    avow_ima_view_init(&view, avow_buf_bytes(&log));
    while (!rc && log.len && (next = avow_ima_view_next(&view, &e)) == AVOW_IMA_ENTRY) {
        t->entries++;
        rc = judge_entry(t, &e, err);
    }
    avow_ima_view_deinit(&view);
    if (!rc && next != AVOW_IMA_END)
        rc = avow_err_set(err, AVOW_PARSE, 0, "%s: no measurement list after %zu entries", file,
                          t->entries);
    return rc;
}

static enum avow_rc judge_path(struct test *t, const char *path, const char *hex,
                               struct avow_err *err)
{
    uint8_t digest[64];
    size_t len = hex ? strlen(hex) / 2 : 0;
    if (len > sizeof digest || (hex && !avow_hex_decode(digest, len, avow_str_from(hex))))
        return avow_err_set(err, AVOW_USAGE, 0, "--digest: '%.150s' is no digest", hex);
    t->entries++;
    return judge(t, avow_str_from(path), avow_bytes_make(digest, len), err);
}

static enum avow_rc test_report(const struct avow_cli *cli, struct test *t,
                                const struct avow_policy_summary *facts, struct avow_err *err)
{
    if (cli->format == AVOW_FORMAT_JSON)
        return avow_json_document(
            json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:o,s:o}", "paths",
                      avow_json_u64(facts->stats.paths), "digests",
                      avow_json_u64(facts->stats.digests), "excludes",
                      avow_json_u64(facts->stats.excludes), "warnings",
                      avow_policy_warnings_json(facts), "entries", avow_json_u64(t->entries),
                      "allowed", avow_json_u64(t->allowed), "excluded", avow_json_u64(t->excluded),
                      "violations", avow_json_u64(t->violations), "ok", (int)!t->refused, "refused",
                      t->list, "refused_total", avow_json_u64(t->refused)),
            err);
    printf("%zu paths, %zu digests, %zu excludes", facts->stats.paths, facts->stats.digests,
           facts->stats.excludes);
    if (t->entries)
        printf("; %zu entries: %zu allowed, %zu excluded, %zu violations, %zu refused", t->entries,
               t->allowed, t->excluded, t->violations, t->refused);
    puts("");
    return AVOW_OK;
}

struct test_opts {
    const char *log, *path, *digest, *kind, *uefi_log;
    const char *against, *name, *agent; /* a rehearsal */
    bool strict;
};

/* Other kinds are only read. */
static enum avow_rc test_other(const char *file, enum avow_policy_kind kind, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    struct avow_policy_summary facts;
    enum avow_rc rc = read_document(file, &text, err);
    if (rc)
        return rc;
    rc = avow_policy_check(kind, avow_buf_bytes(&text), &facts, err);
    avow_policy_summary_deinit(&facts);
    if (rc)
        return avow_err_wrap(err, rc, "%s", file);
    printf("%s: a policy of kind %s\n", file, avow_policy_kind_text(kind));
    return AVOW_OK;
}

static enum avow_rc test_runtime(const struct avow_cli *cli, const char *file,
                                 const struct test_opts *o, bool *ok, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    struct avow_policy_summary facts = {.policy = NULL};
    struct test t = {.strict = o->strict};
    enum avow_rc rc = read_document(file, &text, err);
    if (!rc && avow_policy_check(AVOW_POLICY_KIND_RUNTIME, avow_buf_bytes(&text), &facts, err))
        rc = avow_err_wrap(err, err->rc, "%s", file);
    t.policy = facts.policy;
    t.list = !rc && cli->format == AVOW_FORMAT_JSON ? json_array() : NULL;
    if (!rc && o->log)
        rc = judge_log(&t, o->log, err);
    if (!rc && o->path)
        rc = judge_path(&t, o->path, o->digest, err);
    if (!rc)
        avow_policy_print_notes(file, &facts);
    if (rc)
        json_decref(t.list);
    else
        rc = test_report(cli, &t, &facts, err);
    avow_policy_summary_deinit(&facts);
    *ok = !t.refused;
    return rc;
}

struct test_run { /* one run of the command */
    const char *file;
    const struct test_opts *o;
    enum avow_policy_kind kind;
};

static enum avow_rc run_test(struct avow_cli *cli, const struct test_run *t, bool *ok,
                             struct avow_err *err)
{
    if (t->o->against) {
        struct avow_rehearsal r = {t->file, t->o->name, t->kind, t->o->agent};
        return avow_policy_rehearse(cli, &r, ok, err);
    }
    if (t->o->uefi_log)
        return avow_boot_test(cli, t->file, t->o->uefi_log, ok, err);
    return t->kind == AVOW_POLICY_KIND_RUNTIME ? test_runtime(cli, t->file, t->o, ok, err)
                                               : test_other(t->file, t->kind, err);
}

/* What is wrong with the options, or NULL. */
static const char *test_usage(const struct test_opts *o, enum avow_policy_kind kind)
{
    if (o->against && !avow_cstr_eq(o->against, "evidence"))
        return "--against: only 'evidence'";
    if (o->against && (!o->name || o->log || o->path || o->uefi_log))
        return "--against needs --name, and judges no file";
    if (!o->against && (o->name || o->agent))
        return "--name and --agent need --against";
    bool boot = kind == AVOW_POLICY_KIND_BOOT || kind == AVOW_POLICY_KIND_REFSTATE;
    if (kind != AVOW_POLICY_KIND_RUNTIME && (o->log || o->path))
        return "only a runtime policy judges lists and paths";
    if (o->uefi_log && !boot)
        return "only a boot policy judges firmware logs";
    return o->digest && !o->path ? "--digest needs --path" : NULL;
}

/* Only a rehearsal has a use for the configuration. */
static bool asks_a_broker(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (avow_str_starts(avow_str_from(argv[i]), "--against"))
            return true;
    }
    return false;
}

enum avow_exit avow_cmd_policy_test(struct avow_cli *cli, int argc, char **argv)
{
    struct test_opts o = {.kind = NULL};
    const struct avow_opt opts[] = {
        AVOW_TEXT("--ima-log", &o.log, "FILE", "judge this measurement list, any form"),
        AVOW_TEXT("--path", &o.path, "PATH", "judge this path"),
        AVOW_TEXT("--digest", &o.digest, "HEX", "with this digest"),
        AVOW_FLAG("--strict-excludes", &o.strict, "as enrolments with strict_excludes do"),
        AVOW_TEXT("--uefi-log", &o.uefi_log, "FILE", "judge this firmware log by a boot policy"),
        AVOW_TEXT("--kind", &o.kind, "KIND",
                  "of the policy: runtime, or boot with --uefi-log; others are only read"),
        AVOW_TEXT("--against", &o.against, "evidence",
                  "rehearsal: judge what Kafka still has of the agents"),
        AVOW_TEXT("--name", &o.name, "NAME", "whose enrolments name this policy"),
        AVOW_TEXT("--agent", &o.agent, "ID", "of this agent only")};
    const struct avow_command command = {
        .name = "policy test",
        .words = "FILE",
        .about = "Reads a policy as workers would, and judges a measurement list, a path or a "
                 "firmware log by it.\nNothing proves the list or the log here. Exit codes: 0 all "
                 "is allowed, 4 something is not.\n\nWith --against evidence the policy takes the "
                 "place of the one of that name, before it is pushed:\nthe evidence that is "
                 "recorded is appraised by both. Exit code 4: an agent would change its status.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 1,
        .max_words = 1,
        .offline = !asks_a_broker(argc, argv)};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_policy_kind kind;
    enum avow_exit code;
    bool ok = true;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    if (!o.kind)
        o.kind = o.uefi_log ? "boot" : "runtime";
    if (!avow_policy_kind_from_text(avow_str_from(o.kind), &kind)) {
        (void)avow_err_set(&err, AVOW_USAGE, 0, "policy test: --kind: '%.60s' is no kind", o.kind);
        return avow_cli_usage(command.name, &err);
    }
    const char *wrong = test_usage(&o, kind);
    if (wrong) {
        (void)avow_err_set(&err, AVOW_USAGE, 0, "policy test: %s", wrong);
        return avow_cli_usage(command.name, &err);
    }
    enum avow_rc rc = run_test(cli, &(struct test_run){pos[0], &o, kind}, &ok, &err);
    if (rc)
        return avow_cli_fail(cli, rc, &err);
    return ok ? AVOW_EXIT_OK : AVOW_EXIT_UNTRUSTED;
}
