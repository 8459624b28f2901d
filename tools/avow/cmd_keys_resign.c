/* `avow keys resign`: what is published, signed anew with the present tenant key (PROTOCOL B5). */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/base/hex.h"
#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "avow/wire/policy_head.h"
#include "enroll.h"
#include "fleet.h"
#include "json_out.h"
#include "ledger.h"
#include "markers.h"
#include "policies.h"
#include "trust_view.h"

#include <inttypes.h>
#include <stdio.h>

#include "avow/base/banned.h"

#define PAUSE_MS 500u

struct resign {
    struct avow_cli *cli;
    struct avow_privkey *signer; /* owned */
    uint8_t id[8];
    uint64_t timeout_s;
    bool force;
    uint64_t enrolments, policies, unchanged, failed;
};

/* The agents' and policies' names have at most 128 letters. */
struct name {
    char text[129];
};

static void note_failure(struct resign *r, const char *what, struct avow_err *err)
{
    avow_cli_note("%s: %s", what, err->msg);
    r->failed++;
}

/* A record that is older than what was signed here must not become the newest one. */
static enum avow_rc next_generation(struct resign *r, const char *topic, const char *name,
                                    uint64_t there, uint64_t *out, struct avow_err *err)
{
    uint64_t kept = 0;
    enum avow_rc rc = avow_ledger_newest(r->cli, topic, name, &kept, err);
    if (!rc && kept > there && !r->force)
        return avow_err_set(err, AVOW_ROLLBACK, 0,
                            "bus.rollback: the topic shows generation %" PRIu64
                            ", this ledger signed %" PRIu64,
                            there, kept);
    return rc ? rc
              : avow_ledger_next(r->cli, topic, name, there,
                                 avow_trust_bundle(r->cli->trust)->generation_floor, out, err);
}

static bool is_ours(const struct resign *r, const uint8_t proof[72])
{
    return avow_bytes_eq(avow_bytes_make(proof, 8), AVOW_BYTES_OF(r->id));
}

static enum avow_rc resign_enrolment(struct resign *r, const struct avow_fleet_agent *a,
                                     struct avow_err *err)
{
    struct name name;
    struct avow_enrollment e = a->enrollment;
    if (!avow_str_copy(name.text, sizeof name.text, a->id))
        return avow_err_set(err, AVOW_LIMIT, 0, "agent id");
    enum avow_rc rc =
        next_generation(r, "enrollments", name.text, e.generation, &e.generation, err);
    e.issued_ms = avow_clock_unix_ms();
    return rc ? rc : avow_enrollment_publish(r->cli, &e, err);
}

static enum avow_rc resign_head(struct resign *r, const struct avow_policy_entry *p,
                                struct avow_err *err)
{
    struct name name;
    char topic[AVOW_TOPIC_NAME_MAX];
    struct avow_policy_head head = p->head;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    avow_buf_init(&record, 16u * 1024u);
    if (!avow_str_copy(name.text, sizeof name.text, p->name))
        return avow_err_set(err, AVOW_LIMIT, 0, "policy name");
    enum avow_rc rc =
        next_generation(r, "policies", name.text, head.generation, &head.generation, err);
    head.issued_ms = avow_clock_unix_ms();
    if (!rc)
        rc = avow_seal_policy_head(&head, r->signer, &record, err);
    if (rc)
        return rc;
    if (avow_trust_verify(r->cli->trust, AVOW_ROLE_POLICY, p->name, &avow_wire_policy_head_schema,
                          avow_buf_bytes(&record), err))
        return avow_cli_not_ours(r->cli, "policy", err);
    rc = avow_ledger_put(r->cli, "policies", name.text, head.generation, avow_buf_bytes(&record),
                         err);
    struct avow_bus_record rec = {.topic = avow_cli_topic(r->cli, "policies", topic),
                                  .partition = 0,
                                  .key = avow_bytes_make(head.key.ptr, head.key.len),
                                  .value = avow_buf_bytes(&record)};
    return rc ? rc : avow_cli_produce(r->cli, &rec, err);
}

/* Policies first: an enrolment that is read again may name them. */
static enum avow_rc resign_policies(struct resign *r, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_policy_list_deinit) struct avow_policy_list list;
    enum avow_rc rc = avow_policy_list_read(r->cli, &list, err);
    for (size_t i = 0; i < list.count && !rc && !avow_stop_requested(); i++) {
        const struct avow_policy_entry *p = &list.items[i];
        struct avow_err why;
        char what[160];
        snprintf(what, sizeof what, "policy %.*s", (int)p->name.len, p->name.ptr);
        if (is_ours(r, p->head.proof))
            r->unchanged++;
        else if (resign_head(r, p, &why))
            note_failure(r, what, &why);
        else
            r->policies++;
    }
    return rc;
}

/* Removals, too: with a retired key they would be refused like anything else. */
static enum avow_rc resign_enrolments(struct resign *r, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_fleet_deinit) struct avow_fleet fleet;
    enum avow_rc rc = avow_fleet_read(r->cli, AVOW_FLEET_ENROLLMENTS, NULL, &fleet, err);
    if (!rc)
        avow_fleet_warn(&fleet);
    for (size_t i = 0; i < fleet.count && !rc && !avow_stop_requested(); i++) {
        const struct avow_fleet_agent *a = &fleet.agents[i];
        struct avow_err why;
        char what[160];
        snprintf(what, sizeof what, "enrolment of %.*s", (int)a->id.len, a->id.ptr);
        if (!a->has_enrollment)
            continue;
        if (is_ours(r, a->enrollment.proof))
            r->unchanged++;
        else if (resign_enrolment(r, a, &why))
            note_failure(r, what, &why);
        else
            r->enrolments++;
    }
    return rc;
}

/* A worker that does not know the new key yet would refuse what it signs. */
static enum avow_rc wait_for_workers(struct resign *r, struct avow_err *err)
{
    uint64_t deadline = avow_clock_mono_ms() + r->timeout_s * 1000;
    uint64_t version = avow_trust_bundle(r->cli->trust)->version;
    while (!r->force) {
        AVOW_CLEANUP_VAL(avow_markers_deinit) struct avow_markers m;
        size_t behind = 0;
        enum avow_rc rc = avow_markers_read(r->cli, &m, err);
        if (rc)
            return rc;
        for (size_t i = 0; i < m.count; i++)
            behind += m.of[i].found && m.of[i].bundle_version < version;
        if (!behind)
            return AVOW_OK;
        if (avow_clock_mono_ms() > deadline || avow_stop_requested()) {
            avow_cli_hint(r->cli, "`avow doctor` shows the workers; --force does not wait for "
                                  "them");
            return avow_err_set(err, AVOW_STATE, 0,
                                "%zu partitions are served under an older bundle than version "
                                "%" PRIu64,
                                behind, version);
        }
        avow_clock_sleep_ms(PAUSE_MS);
    }
    return AVOW_OK;
}

static enum avow_rc resign_all(struct resign *r, struct avow_err *err)
{
    enum avow_rc rc = avow_cli_trust(r->cli, err);
    if (!rc)
        rc = avow_cli_tenant_key(r->cli, &r->signer, err);
    if (rc)
        return rc;
    avow_key_id(avow_privkey_spki(r->signer), r->id);
    rc = wait_for_workers(r, err);
    if (!rc)
        rc = resign_policies(r, err);
    if (!rc)
        rc = resign_enrolments(r, err);
    if (!rc && avow_stop_requested())
        rc = avow_err_set(err, AVOW_STATE, 0, "interrupted; run it again for the rest");
    return rc;
}

static enum avow_rc report(const struct resign *r, struct avow_err *err)
{
    if (r->cli->format == AVOW_FORMAT_JSON)
        return avow_json_document(
            json_pack("{s:o,s:o,s:o,s:o,s:o}", "key", avow_json_hex(AVOW_BYTES_OF(r->id)),
                      "enrollments", avow_json_u64(r->enrolments), "policies",
                      avow_json_u64(r->policies), "unchanged", avow_json_u64(r->unchanged),
                      "failed", avow_json_u64(r->failed)),
            err);
    printf("signed anew: %" PRIu64 " enrolments, %" PRIu64 " policies; %" PRIu64 " had this key "
           "already\n",
           r->enrolments, r->policies, r->unchanged);
    if (!r->failed)
        printf("next: `avow keys list`, then `avow keys retire ID` of the old key\n");
    return AVOW_OK;
}

enum avow_exit avow_cmd_keys_resign(struct avow_cli *cli, int argc, char **argv)
{
    struct resign r = {.cli = cli, .timeout_s = 60};
    const struct avow_opt opts[] = {
        AVOW_FLAG("--force", &r.force, "do not wait for workers, build on older generations too"),
        AVOW_NUMBER("--timeout", &r.timeout_s, "S", 1, 86400,
                    "how long workers may take to learn the new key (60)"),
    };
    const struct avow_command command = {
        .name = "keys resign",
        .words = "",
        .about = "Signs every enrolment and policy that another key signed anew with "
                 "cli.tenant_key: the same content,\nthe next generation. Waits until workers know "
                 "the key. Can be interrupted and run again.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts)};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    avow_stop_install();
    enum avow_rc rc = resign_all(&r, &err);
    if (!rc)
        rc = report(&r, &err);
    avow_privkey_free(r.signer);
    if (rc)
        return avow_cli_fail(cli, rc, &err);
    return r.failed ? AVOW_EXIT_FAILED : AVOW_EXIT_OK;
}
