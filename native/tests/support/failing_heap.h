/* SPDX-License-Identifier: Apache-2.0 */
/* A heap that runs out: the n-th allocation fails; and how much was asked of it. Only one source of a program may have this; the linker
 * leads every call here (see CMakeLists.txt), where it can. */
#ifndef SS_TEST_FAILING_HEAP_H
#define SS_TEST_FAILING_HEAP_H

#include <stdbool.h>
#include <stddef.h>

/* How many allocations still succeed before one fails; -1: all. After the failure it is -1. */
static long allocations_left = -1;

static inline bool heap_is_empty(void) {
    return allocations_left >= 0 && allocations_left-- == 0;
}

#ifdef __linux__
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

/* By all allocations so far. */
static size_t bytes_asked;

void *__wrap_malloc(size_t size) {
    bytes_asked += size;
    return heap_is_empty() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    bytes_asked += count * size;
    return heap_is_empty() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size) {
    bytes_asked += size;
    return heap_is_empty() ? NULL : __real_realloc(old, size);
}
#endif

#endif
