#include "pae.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define TYPE_MAX 96u

bool avow_pae_init(struct avow_pae *p, const struct avow_wire_schema *schema,
                   struct avow_bytes record, size_t tail)
{
    char type[TYPE_MAX];
    if (record.len < AVOW_WIRE_FRAME_LEN + tail)
        return false;
    size_t len = record.len - AVOW_WIRE_FRAME_LEN - tail;
    int n = snprintf(type, sizeof type, "%s;%016" PRIx64, schema->name, schema->fingerprint);
    assert(n > 0 && (size_t)n < sizeof type); /* names are compiled in */
    n = snprintf(p->head, sizeof p->head, "DSSEv1 %d %s %zu ", n, type, len);
    assert(n > 0 && (size_t)n < sizeof p->head);
    p->pieces[0] = avow_bytes_make(p->head, (size_t)n);
    p->pieces[1] = avow_bytes_make(record.ptr + AVOW_WIRE_FRAME_LEN, len);
    return true;
}
