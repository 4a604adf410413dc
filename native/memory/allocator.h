/* SPDX-License-Identifier: Apache-2.0 */
/* Fixed-size chunks inside a map's memory, with a LIFO free list (docs/format.md#chunk-allocator; layout in allocator.c).
 *
 * Nothing is kept outside the memory: each function reads the allocator's header and checks it. Callers hold the
 * address behind the chunk header. An operation that allocates or frees must run in an undo scope.
 */
#ifndef SS_ALLOCATOR_H
#define SS_ALLOCATOR_H

#include "memory/memory.h"

#define SS_ALLOCATOR_OFFSET UINT64_C(52)
#define SS_ALLOCATOR_SIZE UINT64_C(48)
#define SS_CHUNK_HEADER UINT64_C(16)
#define SS_FIRST_CHUNK (SS_ALLOCATOR_OFFSET + SS_ALLOCATOR_SIZE)

/* Offsets in the allocator's header, and in that of a chunk; the picture is in allocator.c. */
enum { SS_ALLOCATOR_SIZE_AT = 8, SS_ALLOCATOR_COUNT_AT = 16, SS_ALLOCATOR_HEAD_AT = 24, SS_CHUNK_ALLOCATED_AT = 4, SS_CHUNK_NEXT_AT = 8 };

typedef struct ss_allocator {
    uint64_t size;      /* bytes usable per chunk */
    uint64_t allocated; /* chunks in use */
    uint64_t head;      /* address of the first free chunk */
} ss_allocator;

/* A fresh allocator with chunks of `size` bytes, as for a new or a cleared map. */
int ss_allocator_new(ss_memory *memory, uint64_t size);
/* Reads and checks the header; SS_CORRUPT where its chunks are not of `size` bytes. */
int ss_allocator_load(const ss_memory *memory, uint64_t size, ss_allocator *allocator);
/* A chunk: *address is where its `size` usable bytes begin. They exist; what they hold is stale. */
int ss_allocator_take(ss_memory *memory, uint64_t size, uint64_t *address);
int ss_allocator_give_back(ss_memory *memory, uint64_t size, uint64_t address);
/* That `address` is that of an allocated chunk. */
int ss_chunk_check(const ss_memory *memory, uint64_t size, uint64_t address);
/* Reads the header of the chunk at `chunk` (not behind it): whether it is in use, and the next of the free list. */
int ss_chunk_load(const ss_memory *memory, uint64_t size, uint64_t chunk, bool *allocated, uint64_t *next);

#endif
