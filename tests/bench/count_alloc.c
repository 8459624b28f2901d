/* count_alloc.c - glibc's allocator with a counter in front, for the whole process: libraries too.
 * Linked into benchmarks only. */
#include "bench.h"

#include <stdlib.h>

#include "avow/base/banned.h"

static _Thread_local uint64_t count; /* benchmarks count what one thread does */

uint64_t bench_allocations(void)
{
    return count;
}

/* A sanitizer has an allocator of its own, which must not be bypassed: then nothing is counted. */
#ifdef BENCH_COUNT_ALLOCATIONS
/* glibc's own names of its allocator. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);

void *malloc(size_t size)
{
    count++;
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    count++;
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    count++;
    return __libc_realloc(p, size);
}
#endif
