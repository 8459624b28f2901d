/* fuzz_bundle.c - bytes as a trust bundle: never accepted as they are; signed by root, only if all
 * of it makes sense. */
#include "fleet.h"

#include "avow/wire/bundle.h"

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct avow_bytes KEY = {(const uint8_t *)"bundle", 6};

static void open_signed(const struct fleet *f, struct avow_bytes record)
{
    struct avow_trust *t = NULL, *again = NULL;
    enum avow_rc rc = avow_trust_open(f->root, KEY, record, 0, NULL, &t, NULL);
    assert((rc == AVOW_OK) == (t != NULL));
    if (rc)
        return;
    const struct avow_bundle *b = avow_trust_bundle(t);
    assert(b->version > 0 && b->partitions > 0 && b->silent_after_ms > 2 * b->epoch_ms);
    for (size_t i = 0; i < b->keys_count; i++) {
        uint8_t id[8];
        avow_key_id(b->keys[i].spki, id);
        assert(avow_bytes_eq(AVOW_BYTES_OF(id), AVOW_BYTES_OF(b->keys[i].id)));
    }
    rc = avow_trust_open(f->root, KEY, record, b->version, b->fleet, &again, NULL);
    assert(rc == AVOW_EXISTS && !again);
    avow_trust_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct fleet *f = fleet_get();
    struct avow_trust *t = NULL;
    enum avow_rc rc = avow_trust_open(f->root, KEY, avow_bytes_make(data, size), 0, NULL, &t, NULL);
    assert(rc != AVOW_OK && !t);
    struct avow_buf record;
    avow_buf_init(&record, FLEET_RECORD_MAX);
    avow_buf_put(&record, data, size);
    if (!record.failed &&
        avow_proof_sign(&avow_wire_bundle_schema, f->root_key, &record, NULL) == AVOW_OK)
        open_signed(f, avow_buf_bytes(&record));
    avow_buf_deinit(&record);
    return 0;
}
