/* `avow quote`: what a quote says, and whether it is the key's. No broker, no TPM. */
#include "commands.h"

#include "appraise_show.h"
#include "offline.h"

#include "avow/base/banned.h"

struct quote {
    const char *file, *signature, *ak, *nonce;
    struct avow_offline o;

    uint8_t nonce_bytes[AVOW_EXTRA_DATA_MAX];
};

static enum avow_rc read_all(struct quote *q, struct avow_appraise_in *in, struct avow_err *err)
{
    struct avow_appraise_file attest;
    size_t len = 0;
    if (!q->signature != !q->ak)
        return avow_err_set(err, AVOW_USAGE, 0, "--signature and --ak belong together");
    enum avow_rc rc = avow_offline_demands_read(&q->o.options, &q->o.files, &q->o.demands, err);
    if (!rc)
        rc = avow_offline_read_host(&q->o.files, q->file, AVOW_ATTEST_MAX, &attest, err);
    if (!rc)
        rc = avow_offline_read_host(&q->o.files, q->signature, AVOW_SIGNATURE_MAX, &in->signature,
                                    err);
    if (!rc)
        rc = avow_offline_read_host(&q->o.files, q->ak, 64u * 1024u, &in->ak, err);
    if (!rc && q->nonce)
        rc = avow_offline_hex("--nonce", q->nonce, q->nonce_bytes, AVOW_EXTRA_DATA_MAX, &len, err);
    if (rc)
        return rc;
    in->attest = attest.bytes;
    if (q->nonce)
        in->nonce = (struct avow_appraise_file){true, avow_bytes_make(q->nonce_bytes, len)};
    in->demands = &q->o.demands.enrollment;
    in->policy = &q->o.demands.policy;
    return AVOW_OK;
}

static enum avow_rc run(const struct avow_cli *cli, struct quote *q, struct avow_appraise_out *out,
                        struct avow_err *err)
{
    struct avow_appraise_in in = {.selection = AVOW_APPRAISE_ANY};
    avow_offline_init(&q->o);
    enum avow_rc rc = read_all(q, &in, err);
    if (!rc)
        rc = avow_appraise(&in, &q->o.arena, out, err);
    return rc ? rc : avow_appraise_show(cli, out, AVOW_SUBJECT_QUOTE, err);
}

enum avow_exit avow_cmd_quote(struct avow_cli *cli, int argc, char **argv)
{
    struct quote q = {.file = NULL};
    const struct avow_opt opts[] = {
        AVOW_TEXT("--signature", &q.signature, "FILE", "TPMT_SIGNATURE of it"),
        AVOW_TEXT("--ak", &q.ak, "FILE", "its key: PEM, TPM2B_PUBLIC or TPMT_PUBLIC"),
        AVOW_TEXT("--nonce", &q.nonce, "HEX", "what the quote must answer"),
        AVOW_TEXT("--accept-signing", &q.o.options.accept_signing, "LIST",
                  "of rsassa, rsapss, ecdsa (default: all)"),
        AVOW_TEXT("--accept-hash", &q.o.options.accept_hash, "LIST",
                  "hashes and banks, of sha1, sha256, sha384, sha512 (default: all but sha1)"),
    };
    const struct avow_command command = {
        .name = "quote",
        .words = "FILE",
        .about =
            "Shows a quote (TPMS_ATTEST; '-' is standard input) and, with --signature and --ak, "
            "checks it. Exit\ncodes: 0 it is a quote, and what was given fits, 1 a file cannot "
            "be read, 2 usage, 4 it does not.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 1,
        .max_words = 1,
        .offline = true};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    struct avow_appraise_out out = {.pass = false};
    q.file = pos[0];
    enum avow_rc rc = run(cli, &q, &out, &err);
    enum avow_exit end = avow_appraise_exit(cli, "quote", rc, &out, &err);
    avow_offline_deinit(&q.o);
    return end;
}
