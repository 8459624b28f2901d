#include "keys_change.h"

#include "avow/base/hex.h"
#include "json_out.h"

#include <inttypes.h>
#include <stdio.h>

#include "avow/base/banned.h"

static enum avow_rc report_change(const struct avow_keyset *k, const struct avow_keys_opts *o,
                                  struct avow_err *err)
{
    const struct avow_cli *cli = k->cli;
    if (cli->format == AVOW_FORMAT_JSON)
        return avow_json_document(json_pack("{s:o,s:o,s:b,s:o}", "bundle_version",
                                            avow_json_u64(k->bundle.version), "file",
                                            avow_json_cstr(k->path), "published", (int)k->publish,
                                            "next", avow_json_cstr(o->next)),
                                  err);
    printf("trust bundle version %" PRIu64 " signed%s: %s\n", k->bundle.version,
           k->publish ? " and published" : "", k->path);
    if (!k->publish)
        printf("next: `avow topics apply` publishes it\n");
    if (o->next[0])
        printf("%s %s\n", k->publish ? "next:" : "then:", o->next);
    return AVOW_OK;
}

void avow_keys_hex(const struct avow_bundle_key *key, char out[17])
{
    avow_hex_encode(out, AVOW_BYTES_OF(key->id));
}

enum avow_exit avow_keys_change(struct avow_cli *cli, struct avow_keys_opts *o, const char *word,
                                avow_keys_change_fn change)
{
    struct avow_err err = {.rc = AVOW_OK};
    AVOW_CLEANUP_VAL(avow_keyset_deinit) struct avow_keyset k;
    enum avow_rc rc = avow_keyset_open(cli, &o->set, &k, &err);
    if (!rc)
        rc = change(&k, o, word, &err);
    if (!rc)
        rc = report_change(&k, o, &err);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}
