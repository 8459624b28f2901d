#include "trust_keeper.h"

#include <inttypes.h>
#include <string.h>

#include "avow/base/banned.h"

void avow_trust_keeper_init(struct avow_trust_keeper *k, const struct avow_root *root)
{
    *k = (struct avow_trust_keeper){.root = root};
}

void avow_trust_keeper_deinit(struct avow_trust_keeper *k)
{
    avow_trust_free(k->trust);
    k->trust = NULL;
}

void avow_trust_keeper_remember(struct avow_trust_keeper *k, uint64_t version,
                                const uint8_t fleet[16])
{
    if (version > k->floor)
        k->floor = version;
    memcpy(k->fleet, fleet, sizeof k->fleet);
    k->has_fleet = true;
}

enum avow_rc avow_trust_keeper_offer(struct avow_trust_keeper *k, struct avow_bytes kafka_key,
                                     struct avow_bytes record, bool *newer, struct avow_err *err)
{
    AVOW_CLEANUP(avow_trust_free) struct avow_trust *t = NULL;
    /* Until a bundle is held, the remembered version itself is wanted. */
    uint64_t below = k->trust || !k->floor ? k->floor : k->floor - 1;
    enum avow_rc rc =
        avow_trust_open(k->root, kafka_key, record, below, k->has_fleet ? k->fleet : NULL, &t, err);
    *newer = false;
    if (rc == AVOW_EXISTS && k->trust)
        return AVOW_OK;
    if (rc == AVOW_EXISTS || rc == AVOW_ROLLBACK)
        return avow_err_set(err, AVOW_ROLLBACK, 0,
                            "trust bundle: older than version %" PRIu64 ", which is known",
                            k->floor);
    if (rc)
        return rc;
    const struct avow_bundle *b = avow_trust_bundle(t);
    avow_trust_keeper_remember(k, b->version, b->fleet);
    avow_trust_free(k->trust);
    k->trust = AVOW_STEAL(t);
    *newer = true;
    return AVOW_OK;
}
