/* `avow ima`: a list without a quote, replayed and judged. No broker, no TPM. */
#include "commands.h"

#include "appraise_show.h"
#include "offline.h"

#include "avow/base/banned.h"

struct ima {
    const char *file, *bank, *pcr10;
    struct avow_opt_list aggregates;
    struct avow_offline o;

    uint8_t pcr10_bytes[AVOW_DIGEST_MAX];
    uint8_t aggregate_bytes[AVOW_OPT_LIST_MAX][AVOW_DIGEST_MAX];
    struct avow_bytes aggregate[AVOW_OPT_LIST_MAX];
};

static size_t bank_len(enum avow_hash_alg bank)
{
    enum avow_hash hash;
    return avow_hash_from_name(avow_str_from(avow_hash_alg_text(bank)), &hash) ? avow_hash_len(hash)
                                                                               : 0;
}

/* The length of the value tells the bank where none is named. */
static enum avow_rc read_bank(struct ima *i, struct avow_appraise_list_in *in, struct avow_err *err)
{
    size_t len = 0;
    enum avow_rc rc = AVOW_OK;
    in->bank = AVOW_HASH_ALG_SHA256;
    if (i->pcr10)
        rc = avow_offline_hex("--pcr10", i->pcr10, i->pcr10_bytes, AVOW_DIGEST_MAX, &len, err);
    if (rc)
        return rc;
    if (i->bank && !avow_hash_alg_from_text(avow_str_from(i->bank), &in->bank))
        return avow_err_set(err, AVOW_USAGE, 0, "--bank: sha1, sha256, sha384 or sha512 is wanted");
    for (unsigned k = 0; !i->bank && i->pcr10 && k < AVOW_HASH_ALG_COUNT; k++) {
        if (bank_len((enum avow_hash_alg)k) == len)
            in->bank = (enum avow_hash_alg)k;
    }
    if (i->pcr10 && bank_len(in->bank) != len)
        return avow_err_set(err, AVOW_USAGE, 0, "--pcr10: a value of bank %s has %zu hex digits",
                            avow_hash_alg_text(in->bank), 2 * bank_len(in->bank));
    in->pcr10 = avow_bytes_make(i->pcr10_bytes, len);
    return AVOW_OK;
}

static enum avow_rc read_aggregates(struct ima *i, struct avow_appraise_list_in *in,
                                    struct avow_err *err)
{
    enum avow_rc rc = AVOW_OK;
    for (size_t k = 0; k < i->aggregates.count && !rc; k++) {
        size_t len = 0;
        rc = avow_offline_hex("--boot-aggregate", i->aggregates.items[k], i->aggregate_bytes[k],
                              AVOW_DIGEST_MAX, &len, err);
        i->aggregate[k] = avow_bytes_make(i->aggregate_bytes[k], len);
    }
    in->boot_aggregates = i->aggregate;
    in->boot_aggregates_count = i->aggregates.count;
    return rc;
}

static enum avow_rc read_all(struct ima *i, struct avow_appraise_list_in *in, struct avow_err *err)
{
    struct avow_appraise_file list;
    enum avow_rc rc = read_bank(i, in, err);
    if (!rc)
        rc = read_aggregates(i, in, err);
    if (!rc)
        rc = avow_offline_demands_read(&i->o.options, &i->o.files, &i->o.demands, err);
    if (!rc)
        rc = avow_offline_read_host(&i->o.files, i->file, AVOW_OFFLINE_LIST_MAX, &list, err);
    if (rc)
        return rc;
    in->list = list.bytes;
    in->demands = &i->o.demands.enrollment;
    in->policy = &i->o.demands.policy;
    return AVOW_OK;
}

static enum avow_rc run(const struct avow_cli *cli, struct ima *i, struct avow_appraise_out *out,
                        struct avow_err *err)
{
    struct avow_appraise_list_in in = {.bank = AVOW_HASH_ALG_SHA256};
    avow_offline_init(&i->o);
    enum avow_rc rc = read_all(i, &in, err);
    if (!rc)
        rc = avow_appraise_list(&in, &i->o.arena, out, err);
    return rc ? rc : avow_appraise_show(cli, out, AVOW_SUBJECT_LIST, err);
}

enum avow_exit avow_cmd_ima(struct avow_cli *cli, int argc, char **argv)
{
    struct ima i = {.file = NULL};
    const struct avow_opt opts[] = {
        AVOW_TEXT("--runtime-policy", &i.o.options.runtime_policy, "FILE", "judge the list by it"),
        AVOW_FLAG("--check-signatures", &i.o.options.check_signatures, "judge files' signatures"),
        AVOW_LIST("--verification-key", &i.o.options.keys, "FILE",
                  "keys that may sign files (PEM or DER; repeatable)"),
        AVOW_LIST("--keyring", &i.o.options.keyrings, "FILE", "Keylime's keyring (repeatable)"),
        AVOW_TEXT("--severity", &i.o.options.severity, "FILE", "label findings by it"),
        AVOW_FLAG("--allow-padded", &i.o.options.allow_padded,
                  "accept a bank that IMA extends with padded SHA-1"),
        AVOW_FLAG("--allow-violations", &i.o.options.allow_violations,
                  "accept measurement violations"),
        AVOW_TEXT("--bank", &i.bank, "ALG", "of --pcr10 (default: by its length, else sha256)"),
        AVOW_TEXT("--pcr10", &i.pcr10, "HEX", "the value that the list must lead to"),
        AVOW_LIST("--boot-aggregate", &i.aggregates, "HEX",
                  "what boot_aggregate may be (repeatable)"),
    };
    const struct avow_command command = {
        .name = "ima",
        .words = "FILE",
        .about =
            "Replays an IMA list (binary or text; '-' is standard input) and judges it without "
            "a quote. Only a\nquote proves a list. Exit codes: 0 pass, 1 a file cannot be "
            "read, 2 usage, 4 fail.",
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
    i.file = pos[0];
    enum avow_rc rc = run(cli, &i, &out, &err);
    enum avow_exit end = avow_appraise_exit(cli, "ima", rc, &out, &err);
    avow_offline_deinit(&i.o);
    return end;
}
