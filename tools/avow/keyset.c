#include "keyset.h"

#include "avow/base/clock.h"
#include "avow/base/file.h"
#include "avow/trust/records.h"
#include "ledger.h"
#include "trust_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define BUNDLE_FILE_MAX (64u * 1024u)
#define PATH_LIMIT 4096u

static struct avow_bytes bundle_kafka_key(void)
{
    return avow_bytes_make("bundle", 6);
}

static enum avow_rc open_file(struct avow_cli *cli, const char *path, struct avow_trust **out,
                              struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    avow_buf_init(&record, BUNDLE_FILE_MAX);
    enum avow_rc rc = avow_file_read(path, &record, err);
    return rc ? rc
              : avow_trust_open(cli->root, bundle_kafka_key(), avow_buf_bytes(&record), 0, NULL,
                                out, err);
}

static enum avow_rc load_base(struct avow_keyset *k, struct avow_err *err)
{
    enum avow_rc rc = avow_cli_path(k->cli, "bundle", "the trust bundle", &k->path, err);
    if (!rc)
        rc = avow_cli_root(k->cli, err);
    if (rc)
        return rc;
    if (open_file(k->cli, k->path, &k->base, err)) {
        avow_cli_hint(k->cli, "do cli.bundle and cli.root belong to the same installation?");
        return avow_cli_bad_setting(err, "bundle");
    }
    struct avow_str s = avow_str_from(k->path);
    while (s.len && s.ptr[s.len - 1] != '/')
        s.len--;
    return avow_str_copy(k->folder, sizeof k->folder,
                         s.len ? (struct avow_str){s.ptr, s.len - 1} : AVOW_STR_LIT("."))
               ? AVOW_OK
               : avow_err_set(err, AVOW_LIMIT, 0, "cli.bundle: the path is too long");
}

/* Two bundles of one version would be a split view: the file must be the newest one known here. */
static enum avow_rc check_floor(struct avow_keyset *k, struct avow_err *err)
{
    char path[PATH_LIMIT];
    const char *ledger = avow_conf_str(k->cli->conf, "cli", "ledger");
    AVOW_CLEANUP(avow_trust_free) struct avow_trust *seen = NULL;
    struct avow_err why;
    uint64_t here = avow_trust_bundle(k->base)->version, known = 0, kept = 0;
    if (!ledger)
        return AVOW_OK;
    int n = snprintf(path, sizeof path, "%s/bundle.avro", ledger);
    if (n > 0 && (size_t)n < sizeof path && avow_file_exists(path) &&
        !open_file(k->cli, path, &seen, &why))
        known = avow_trust_bundle(seen)->version;
    enum avow_rc rc = avow_ledger_newest(k->cli, "bundles", "bundle", &kept, err);
    if (rc)
        return rc;
    known = known > kept ? known : kept;
    if (known <= here)
        return AVOW_OK;
    avow_cli_hint(k->cli,
                  "point cli.bundle at the newest bundle: %s/bundles/bundle keeps every "
                  "one that was signed here",
                  ledger);
    return avow_err_set(err, AVOW_ROLLBACK, 0,
                        "%s is version %" PRIu64 ", but version %" PRIu64 " is known here", k->path,
                        here, known);
}

static enum avow_rc load_root_key(struct avow_keyset *k, const char *path, struct avow_err *err)
{
    char beside[PATH_LIMIT + 16];
    if (!path) {
        snprintf(beside, sizeof beside, "%s/root.key", k->folder);
        path = beside;
    }
    enum avow_rc rc = avow_privkey_load(path, &k->root, err);
    if (!rc)
        return AVOW_OK;
    avow_cli_hint(k->cli, "only the root key can change the bundle: bring it back from where it "
                          "is kept offline, or run this there; --root-key FILE names it");
    return avow_err_wrap(err, AVOW_CONFIG, "root key");
}

enum avow_rc avow_keyset_open(struct avow_cli *cli, const struct avow_keyset_opts *o,
                              struct avow_keyset *k, struct avow_err *err)
{
    *k = (struct avow_keyset){.cli = cli, .publish = o->publish};
    enum avow_rc rc = load_base(k, err);
    if (!rc)
        rc = check_floor(k, err);
    if (!rc)
        rc = load_root_key(k, o->root_key, err);
    if (rc)
        return rc;
    k->bundle = *avow_trust_bundle(k->base);
    if (k->bundle.keys_count > AVOW_KEYSET_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "the bundle has too many keys");
    for (size_t i = 0; i < k->bundle.keys_count; i++)
        k->keys[i] = k->bundle.keys[i];
    k->bundle.keys = k->keys;
    return AVOW_OK;
}

void avow_keyset_deinit(struct avow_keyset *k)
{
    avow_trust_free(k->base);
    avow_privkey_free(k->root);
    k->base = NULL;
    k->root = NULL;
}

bool avow_keyset_has_role(const struct avow_bundle_key *key, enum avow_role role)
{
    for (size_t i = 0; i < key->roles_count; i++)
        if (key->roles[i] == role)
            return true;
    return false;
}

struct avow_bundle_key *avow_keyset_newest(struct avow_keyset *k, enum avow_role role)
{
    for (size_t i = k->bundle.keys_count; i-- > 0;)
        if (k->keys[i].status == AVOW_KEY_STATUS_ACTIVE && avow_keyset_has_role(&k->keys[i], role))
            return &k->keys[i];
    return NULL;
}

enum avow_rc avow_keyset_add(struct avow_keyset *k, const struct avow_privkey *key,
                             const struct avow_bundle_key *like, struct avow_err *err)
{
    return avow_keyset_add_public(k, avow_privkey_spki(key), like, err);
}

enum avow_rc avow_keyset_add_public(struct avow_keyset *k, struct avow_bytes spki,
                                    const struct avow_bundle_key *like, struct avow_err *err)
{
    if (k->bundle.keys_count == AVOW_KEYSET_MAX) {
        avow_cli_hint(k->cli, "revoked and retired keys count, too; a new installation is due");
        return avow_err_set(err, AVOW_LIMIT, 0, "the bundle has %u keys, which is all it can hold",
                            AVOW_KEYSET_MAX);
    }
    struct avow_bundle_key *fresh = &k->keys[k->bundle.keys_count++];
    *fresh = *like;
    fresh->spki = spki;
    fresh->status = AVOW_KEY_STATUS_ACTIVE;
    avow_key_id(fresh->spki, fresh->id);
    return AVOW_OK;
}

static enum avow_rc publish(struct avow_keyset *k, const struct avow_trust *next,
                            struct avow_err *err)
{
    char topic[AVOW_TOPIC_NAME_MAX];
    struct avow_bus_record rec = {.topic = avow_cli_topic(k->cli, "trust", topic),
                                  .partition = 0,
                                  .key = bundle_kafka_key(),
                                  .value = avow_trust_record(next)};
    enum avow_rc rc = avow_cli_produce(k->cli, &rec, err);
    if (!rc)
        avow_cli_trust_keep(k->cli, next);
    return rc;
}

/* Before anything is written: a version that the topic has already must not be signed twice. */
static enum avow_rc check_topic(struct avow_keyset *k, struct avow_err *err)
{
    enum avow_rc rc = avow_cli_trust(k->cli, err);
    if (rc)
        return rc;
    uint64_t there = avow_trust_bundle(k->cli->trust)->version;
    if (there < k->bundle.version)
        return AVOW_OK;
    return avow_err_set(err, AVOW_ROLLBACK, 0,
                        "topic trust serves bundle version %" PRIu64 ", newer than the file %s",
                        there, k->path);
}

enum avow_rc avow_keyset_commit(struct avow_keyset *k, struct avow_err *err)
{
    AVOW_CLEANUP(avow_trust_free) struct avow_trust *next = NULL;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    avow_buf_init(&record, BUNDLE_FILE_MAX);
    k->bundle.version++;
    k->bundle.issued_ms = avow_clock_unix_ms();
    enum avow_rc rc = k->publish ? check_topic(k, err) : AVOW_OK;
    if (!rc)
        rc = avow_seal_bundle(&k->bundle, k->root, &record, err);
    if (rc)
        return rc;
    rc = avow_trust_open(k->cli->root, bundle_kafka_key(), avow_buf_bytes(&record), 0, NULL, &next,
                         err);
    if (rc == AVOW_UNTRUSTED) {
        avow_cli_hint(k->cli, "cli.root must hold the public half of the key that signs: during "
                              "a change of root it is the root.pem with two keys");
        return avow_err_wrap(err, AVOW_CONFIG, "nobody here would accept this bundle");
    }
    if (!rc)
        rc = avow_ledger_put(k->cli, "bundles", "bundle", k->bundle.version,
                             avow_buf_bytes(&record), err);
    if (!rc)
        rc = avow_file_write(k->path, avow_buf_bytes(&record), 0644, err);
    if (!rc && k->publish)
        rc = publish(k, next, err);
    return rc;
}
