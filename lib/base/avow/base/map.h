/* map.h - hash map from bytes to a pointer; keys are copied. Layer: base. Not thread-safe.
 * Hash: SipHash-1-3 keyed per map, so that chosen keys do not collide. Order of iteration is
 * insertion order until the first removal, and always deterministic for the same sequence of
 * operations. */
#ifndef AVOW_BASE_MAP_H
#define AVOW_BASE_MAP_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

struct avow_map_entry {
    uint8_t *key; /* owned by the map */
    size_t key_len;
    void *value; /* borrowed */
    uint64_t hash;
};
struct avow_map {
    struct avow_map_entry *entries;
    uint32_t *slots; /* index + 1; 0 is empty */
    size_t count;
    size_t cap;
    size_t slot_count;
    uint64_t seed[2];
};

void avow_map_init(struct avow_map *m, uint64_t seed0, uint64_t seed1);
/* Frees keys; calls free_value (may be NULL) on each value. */
void avow_map_deinit(struct avow_map *m, void (*free_value)(void *));
/* NULL if absent. */
void *avow_map_find(const struct avow_map *m, struct avow_bytes key);
/* Inserts or replaces; *old (may be NULL) receives the replaced value or NULL. Errors: AVOW_NOMEM.
 */
enum avow_rc avow_map_set(struct avow_map *m, struct avow_bytes key, void *value,
                          void **old) AVOW_MUST_CHECK;
/* Removes and returns the value, NULL if absent. The last entry takes the place of the removed one.
 */
void *avow_map_remove(struct avow_map *m, struct avow_bytes key);

#endif
