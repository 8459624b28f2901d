/* deadlines.c - see deadlines.h. */
#include "deadlines.h"

#include "avow/base/num.h"

#include <stdlib.h>

#include "avow/base/banned.h"

void avow_deadlines_deinit(struct avow_deadlines *l)
{
    for (size_t i = 0; i < l->count; i++)
        l->heap[i]->place = 0;
    free(l->heap);
    *l = (struct avow_deadlines){0};
}

static void put(struct avow_deadlines *l, size_t i, struct avow_deadline *n)
{
    l->heap[i] = n;
    n->place = i + 1;
}

static void sift_up(struct avow_deadlines *l, size_t i)
{
    struct avow_deadline *n = l->heap[i];
    while (i > 0 && l->heap[(i - 1) / 2]->due_service_ms > n->due_service_ms) {
        put(l, i, l->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(l, i, n);
}

static void sift_down(struct avow_deadlines *l, size_t i)
{
    struct avow_deadline *n = l->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= l->count)
            break;
        if (child + 1 < l->count &&
            l->heap[child + 1]->due_service_ms < l->heap[child]->due_service_ms)
            child++;
        if (l->heap[child]->due_service_ms >= n->due_service_ms)
            break;
        put(l, i, l->heap[child]);
        i = child;
    }
    put(l, i, n);
}

enum avow_rc avow_deadlines_set(struct avow_deadlines *l, struct avow_deadline *n,
                                uint64_t due_service_ms, struct avow_err *err)
{
    if (!n->place) {
        if (l->count == l->cap) {
            size_t cap = l->cap ? l->cap * 2 : 64, bytes;
            struct avow_deadline **grown =
                avow_size_mul(cap, sizeof *l->heap, &bytes) ? realloc(l->heap, bytes) : NULL;
            if (!grown)
                return avow_err_set(err, AVOW_NOMEM, 0, "deadlines");
            l->heap = grown;
            l->cap = cap;
        }
        put(l, l->count++, n);
    }
    n->due_service_ms = due_service_ms;
    sift_up(l, n->place - 1);
    sift_down(l, n->place - 1);
    return AVOW_OK;
}

void avow_deadlines_remove(struct avow_deadlines *l, struct avow_deadline *n)
{
    if (!n->place)
        return;
    size_t i = n->place - 1;
    struct avow_deadline *last = l->heap[--l->count];
    n->place = 0;
    if (last == n)
        return;
    put(l, i, last);
    sift_up(l, i);
    sift_down(l, last->place - 1);
}

struct avow_deadline *avow_deadlines_due(const struct avow_deadlines *l, uint64_t service_ms)
{
    return l->count && l->heap[0]->due_service_ms <= service_ms ? l->heap[0] : NULL;
}
