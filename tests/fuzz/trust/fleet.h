/* fleet.h - one fleet per process for the fuzz targets of lib/trust. Keys are random, so no input
 * can be signed by them: the targets sign it themselves to get behind the signature. */
#ifndef AVOW_FUZZ_TRUST_FLEET_H
#define AVOW_FUZZ_TRUST_FLEET_H

#include "avow/trust/records.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FLEET_RECORD_MAX 131072u
#define FLEET_ID "production-fleet"

struct fleet {
    struct avow_privkey *root_key;
    struct avow_root *root;
    struct avow_privkey *key; /* has every signing role */
    struct avow_trust *trust;
};

static inline struct avow_bundle fleet_bundle(const struct avow_bundle_key *entry)
{
    struct avow_bundle b = {.key = AVOW_STR_LIT("bundle"),
                            .version = 1,
                            .topic_prefix = AVOW_STR_LIT("avow."),
                            .partitions = 64,
                            .epoch_ms = 10000,
                            .heartbeat_ms = 20000,
                            .silent_after_ms = 70000,
                            .validity_ms = 90000,
                            .verdict_refresh_ms = 30000,
                            .keys = entry,
                            .keys_count = 1};
    memcpy(b.fleet, FLEET_ID, 16);
    return b;
}

static inline const struct fleet *fleet_get(void)
{
    static struct fleet f;
    static const enum avow_role roles[] = {AVOW_ROLE_ENROLL, AVOW_ROLE_POLICY, AVOW_ROLE_REGISTRAR,
                                           AVOW_ROLE_WORKER};
    if (f.trust)
        return &f;
    struct avow_buf buf;
    struct avow_pubkey *pub = NULL;
    enum avow_rc rc = avow_privkey_generate(&f.root_key, NULL);
    assert(rc == AVOW_OK);
    rc = avow_privkey_generate(&f.key, NULL);
    assert(rc == AVOW_OK);
    rc = avow_pubkey_from_spki(avow_privkey_spki(f.root_key), &pub, NULL);
    assert(rc == AVOW_OK);
    avow_buf_init(&buf, FLEET_RECORD_MAX);
    rc = avow_pubkey_pem(pub, &buf, NULL);
    assert(rc == AVOW_OK);
    avow_pubkey_free(pub);
    rc = avow_root_parse(avow_buf_bytes(&buf), &f.root, NULL);
    assert(rc == AVOW_OK);
    struct avow_bundle_key entry = {.alg = AVOW_KEY_ALG_ECDSA_P256,
                                    .spki = avow_privkey_spki(f.key),
                                    .roles = roles,
                                    .roles_count = AVOW_ARRAY_LEN(roles),
                                    .status = AVOW_KEY_STATUS_ACTIVE};
    avow_key_id(entry.spki, entry.id);
    const struct avow_bundle b = fleet_bundle(&entry);
    avow_buf_reset(&buf);
    rc = avow_seal_bundle(&b, f.root_key, &buf, NULL);
    assert(rc == AVOW_OK);
    rc = avow_trust_open(f.root, avow_bytes_make("bundle", 6), avow_buf_bytes(&buf), 0, NULL,
                         &f.trust, NULL);
    assert(rc == AVOW_OK);
    avow_buf_deinit(&buf);
    return &f;
}

#endif
