/* `avow appraise`: one quote and the logs beside it, judged as a worker would. No broker, no TPM.
 */
#include "commands.h"

#include "avow/base/file.h"
#include "avow/wire/body.h"
#include "avow/wire/state.h"
#include "appraise_show.h"
#include "offline.h"

#include <string.h>

#include "avow/base/banned.h"

#define BODY_MAX 8192u /* PROTOCOL B6 */
#define STATE_MAX (128u * 1024u)

struct appraise {
    const char *attest, *signature, *ak, *nonce, *pcrs, *ima, *boot_log;
    const char *agent_id, *fleet, *body, *marker_nonce;
    const char *selection, *require_pcrs, *state_in, *state_out;
    struct avow_offline o;

    struct avow_appraise_in in;
    struct avow_body decoded;
    struct avow_state prior;
    uint8_t nonce_bytes[AVOW_EXTRA_DATA_MAX];
};

static enum avow_rc check_options(const struct appraise *a, struct avow_err *err)
{
    bool protocol = a->agent_id || a->fleet || a->body || a->marker_nonce;
    bool all = a->agent_id && a->fleet && a->body && a->marker_nonce;
    if (!a->attest || !a->signature || !a->ak)
        return avow_err_set(err, AVOW_USAGE, 0, "--attest, --signature and --ak are needed");
    if (protocol && !all)
        return avow_err_set(err, AVOW_USAGE, 0,
                            "--agent-id, --fleet, --body and --marker-nonce belong together");
    if (!a->nonce == !protocol)
        return avow_err_set(err, AVOW_USAGE, 0,
                            "either --nonce, or --agent-id, --fleet, --body and --marker-nonce are "
                            "needed");
    if (a->selection && !avow_cstr_eq(a->selection, "any") && !avow_cstr_eq(a->selection, "avow"))
        return avow_err_set(err, AVOW_USAGE, 0, "--selection: any or avow is wanted");
    return AVOW_OK;
}

static enum avow_rc read_host_files(struct appraise *a, struct avow_err *err)
{
    const struct {
        const char *path;
        size_t max;
        struct avow_appraise_file *out;
    } files[] = {
        {a->signature, AVOW_SIGNATURE_MAX, &a->in.signature},
        {a->ak, 64u * 1024u, &a->in.ak},
        {a->pcrs, AVOW_APPRAISE_PCRS_MAX, &a->in.pcrs},
        {a->ima, AVOW_OFFLINE_LIST_MAX, &a->in.ima},
        {a->boot_log, AVOW_EVENT_LOG_MAX, &a->in.boot_log},
        {a->body, BODY_MAX, &a->in.body},
    };
    struct avow_appraise_file attest;
    enum avow_rc rc = avow_offline_read_host(&a->o.files, a->attest, AVOW_ATTEST_MAX, &attest, err);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(files) && !rc; i++)
        rc = avow_offline_read_host(&a->o.files, files[i].path, files[i].max, files[i].out, err);
    if (!rc)
        a->in.attest = attest.bytes;
    return rc;
}

/* What extraData must be: the nonce as it is, or PROTOCOL B4. */
static enum avow_rc read_nonce(struct appraise *a, struct avow_err *err)
{
    uint8_t fleet[16], marker[32];
    size_t len = 0, fleet_len, marker_len;
    enum avow_rc rc;
    if (a->nonce) {
        rc = avow_offline_hex("--nonce", a->nonce, a->nonce_bytes, AVOW_EXTRA_DATA_MAX, &len, err);
    } else {
        rc = avow_offline_hex("--fleet", a->fleet, fleet, sizeof fleet, &fleet_len, err);
        if (!rc)
            rc = avow_offline_hex("--marker-nonce", a->marker_nonce, marker, sizeof marker,
                                  &marker_len, err);
        if (!rc && (fleet_len != sizeof fleet || marker_len != sizeof marker))
            rc = avow_err_set(err, AVOW_USAGE, 0, "--fleet has 32 hex digits, --marker-nonce 64");
        if (!rc && !avow_name_is_valid(avow_str_from(a->agent_id)))
            rc = avow_err_set(err, AVOW_USAGE, 0, "--agent-id: not an id of an agent");
        if (rc)
            return rc;
        memcpy(a->o.demands.enrollment.fleet, fleet, sizeof fleet);
        a->o.demands.enrollment.key = avow_str_from(a->agent_id);
        len = 32;
        avow_qualifying_data(fleet, a->o.demands.enrollment.key, marker, a->in.body.bytes,
                             a->nonce_bytes);
    }
    a->in.nonce = (struct avow_appraise_file){true, avow_bytes_make(a->nonce_bytes, len)};
    return rc;
}

static enum avow_rc read_body(struct appraise *a, struct avow_err *err)
{
    struct avow_err why = {.rc = AVOW_OK};
    if (!a->in.body.given)
        return AVOW_OK;
    enum avow_rc rc = avow_body_decode(a->in.body.bytes, &a->o.arena, &a->decoded, &why);
    if (rc == AVOW_NOMEM)
        return avow_err_set(err, rc, 0, "%s", why.msg);
    if (!rc)
        a->in.decoded_body = &a->decoded; /* else it is the host's fault, and a finding */
    return AVOW_OK;
}

static enum avow_rc read_state(struct appraise *a, struct avow_err *err)
{
    struct avow_bytes bytes;
    if (!a->state_in)
        return AVOW_OK;
    enum avow_rc rc = avow_offline_read(&a->o.files, a->state_in, STATE_MAX, &bytes, err);
    if (rc)
        return rc;
    rc = avow_state_decode(bytes, &a->o.arena, &a->prior, err);
    if (!rc && !avow_str_eq(a->prior.key, a->o.demands.enrollment.key))
        rc = avow_err_set(err, AVOW_STATE, 0, "it is the state of another agent");
    if (rc)
        return avow_err_wrap(err, rc, "--state-in %.150s", a->state_in);
    a->in.prior = &a->prior;
    return AVOW_OK;
}

static enum avow_rc read_all(struct appraise *a, struct avow_err *err)
{
    enum avow_rc rc = check_options(a, err);
    if (!rc)
        rc = avow_offline_pcrs("--require-pcrs", a->require_pcrs, &a->in.require_pcrs, err);
    if (!rc)
        rc = avow_offline_demands_read(&a->o.options, &a->o.files, &a->o.demands, err);
    if (!rc)
        rc = read_host_files(a, err);
    if (!rc)
        rc = read_nonce(a, err);
    if (!rc)
        rc = read_body(a, err);
    if (!rc)
        rc = read_state(a, err);
    a->in.demands = &a->o.demands.enrollment;
    a->in.policy = &a->o.demands.policy;
    a->in.require_pcrs |= a->o.demands.mask;
    a->in.selection =
        a->selection && avow_cstr_eq(a->selection, "avow") ? AVOW_APPRAISE_AVOW : AVOW_APPRAISE_ANY;
    return rc;
}

static enum avow_rc write_state(const struct appraise *a, const struct avow_appraise_out *out,
                                struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf bytes;
    avow_buf_init(&bytes, STATE_MAX); /* before any return: it is freed at each */
    if (!a->state_out)
        return AVOW_OK;
    enum avow_rc rc = avow_state_encode(&out->next, &bytes, err);
    return rc ? rc : avow_file_write(a->state_out, avow_buf_bytes(&bytes), 0644, err);
}

static enum avow_rc run(const struct avow_cli *cli, struct appraise *a,
                        struct avow_appraise_out *out, struct avow_err *err)
{
    avow_offline_init(&a->o);
    enum avow_rc rc = read_all(a, err);
    if (!rc)
        rc = avow_appraise(&a->in, &a->o.arena, out, err);
    if (!rc)
        rc = write_state(a, out, err);
    return rc ? rc : avow_appraise_show(cli, out, AVOW_SUBJECT_EVIDENCE, err);
}

enum avow_exit avow_cmd_appraise(struct avow_cli *cli, int argc, char **argv)
{
    struct appraise a = {.attest = NULL};
    const struct avow_opt opts[] = {
        AVOW_TEXT("--attest", &a.attest, "FILE", "TPMS_ATTEST of the quote (required)"),
        AVOW_TEXT("--signature", &a.signature, "FILE", "TPMT_SIGNATURE of it (required)"),
        AVOW_TEXT("--ak", &a.ak, "FILE", "its key: PEM, TPM2B_PUBLIC or TPMT_PUBLIC (required)"),
        AVOW_TEXT("--nonce", &a.nonce, "HEX", "what the quote must answer"),
        AVOW_TEXT("--pcrs", &a.pcrs, "FILE",
                  "PCR values: digests in the order of the selection, or tpm2-tools' file"),
        AVOW_TEXT("--ima-log", &a.ima, "FILE", "IMA list, binary or text"),
        AVOW_TEXT("--uefi-log", &a.boot_log, "FILE", "firmware log, binary"),
        AVOW_TEXT("--runtime-policy", &a.o.options.runtime_policy, "FILE", "judge the list by it"),
        AVOW_FLAG("--check-signatures", &a.o.options.check_signatures, "judge files' signatures"),
        AVOW_LIST("--verification-key", &a.o.options.keys, "FILE",
                  "keys that may sign files (PEM, DER, keyring; repeatable)"),
        AVOW_TEXT("--boot-policy", &a.o.options.boot_policy, "FILE",
                  "judge the firmware log by it"),
        AVOW_TEXT("--refstate", &a.o.options.refstate, "FILE",
                  "the same, Keylime's reference state"),
        AVOW_TEXT("--tpm-policy", &a.o.options.tpm_policy, "JSON",
                  "accepted PCR values, Keylime's tpm_policy; JSON or a file"),
        AVOW_TEXT("--severity", &a.o.options.severity, "FILE", "label findings by it"),
        AVOW_TEXT("--selection", &a.selection, "any|avow",
                  "any PCRs (default), or all 24 of one bank"),
        AVOW_TEXT("--require-pcrs", &a.require_pcrs, "LIST", "must be quoted, as 0-7,14"),
        AVOW_TEXT("--agent-id", &a.agent_id, "ID",
                  "with the next three: what an agent of a fleet signs"),
        AVOW_TEXT("--fleet", &a.fleet, "HEX", "id of the fleet"),
        AVOW_TEXT("--body", &a.body, "FILE", "body of the evidence"),
        AVOW_TEXT("--marker-nonce", &a.marker_nonce, "HEX", "nonce of the marker"),
        AVOW_TEXT("--accept-signing", &a.o.options.accept_signing, "LIST",
                  "of rsassa, rsapss, ecdsa (default: all)"),
        AVOW_TEXT("--accept-hash", &a.o.options.accept_hash, "LIST",
                  "hashes and banks, of sha1, sha256, sha384, sha512 (default: all but sha1)"),
        AVOW_FLAG("--allow-padded", &a.o.options.allow_padded,
                  "accept a bank that IMA extends with padded SHA-1"),
        AVOW_FLAG("--allow-violations", &a.o.options.allow_violations,
                  "accept measurement violations"),
        AVOW_TEXT("--state-in", &a.state_in, "FILE", "continue from what a call before left"),
        AVOW_TEXT("--state-out", &a.state_out, "FILE", "leave it for the next call"),
    };
    const struct avow_command command = {
        .name = "appraise",
        .words = "",
        .about =
            "Judges one quote, and the lists and logs beside it, as a worker does. '-' as FILE "
            "is standard input.\nWithout --pcrs the values must follow from the logs. Exit "
            "codes: 0 pass, 1 a file cannot be read,\n2 usage, 4 fail.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .offline = true};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    struct avow_appraise_out out = {.pass = false};
    enum avow_rc rc = run(cli, &a, &out, &err);
    enum avow_exit end = avow_appraise_exit(cli, "appraise", rc, &out, &err);
    avow_offline_deinit(&a.o);
    return end;
}
