/* SPDX-License-Identifier: Apache-2.0 */
/* Layout, offsets in the map's memory, little-endian:
 *
 *    52  3  "BTA"                          chunk at c, c = 100 + i * (16 + size):
 *    55  1  version = 1                      c      3  "CHK"
 *    56  4  zero                             c + 3  1  version = 1
 *    60  8  size: bytes usable per chunk     c + 4  1  1 if allocated, else 0
 *    68  8  number of allocated chunks       c + 5  3  zero
 *    76  8  head of the free list            c + 8  8  next free chunk, NULL at the end
 *    84 16  zero                             c + 16 size  what the caller keeps there
 *
 * Invariants
 *  A1  The free list ends with the one chunk that was never used; its next is NULL and its header is the last thing
 *      that the memory must hold.
 *  A2  Every other chunk below that one is either allocated or on the free list once.
 *  A3  An allocated chunk's `next` is what it was when the chunk was free; it means nothing.
 */
#include "memory/allocator.h"

#include "memory/magics.h"

#define VERSION 1

static int save_header(ss_memory *memory, const ss_allocator *allocator) {
    uint8_t bytes[SS_ALLOCATOR_SIZE] = SS_ALLOCATOR_MAGIC;
    bytes[SS_VERSION_AT] = VERSION;
    ss_put64(bytes + SS_ALLOCATOR_SIZE_AT, allocator->size);
    ss_put64(bytes + SS_ALLOCATOR_COUNT_AT, allocator->allocated);
    ss_put64(bytes + SS_ALLOCATOR_HEAD_AT, allocator->head);
    return ss_memory_write_growing(memory, SS_ALLOCATOR_OFFSET, bytes, sizeof bytes);
}

static int save_chunk(ss_memory *memory, uint64_t chunk, bool allocated, uint64_t next) {
    uint8_t bytes[SS_CHUNK_HEADER] = SS_CHUNK_MAGIC;
    bytes[SS_VERSION_AT] = VERSION;
    bytes[SS_CHUNK_ALLOCATED_AT] = allocated;
    ss_put64(bytes + SS_CHUNK_NEXT_AT, next);
    return ss_memory_write_growing(memory, chunk, bytes, sizeof bytes);
}

/* A chunk lies on the grid of chunks. */
static bool on_grid(uint64_t size, uint64_t chunk) {
    return chunk >= SS_FIRST_CHUNK && (chunk - SS_FIRST_CHUNK) % (SS_CHUNK_HEADER + size) == 0;
}

int ss_chunk_load(const ss_memory *memory, uint64_t size, uint64_t chunk, bool *allocated, uint64_t *next) {
    uint8_t bytes[SS_CHUNK_HEADER];
    if (!on_grid(size, chunk)) return ss_fail(SS_CORRUPT, "a chunk's address lies on the grid of chunks", chunk, size, 0);
    int status = ss_memory_read(memory, chunk, bytes, sizeof bytes);
    if (status == SS_OUT_OF_BOUNDS) return ss_fail(SS_CORRUPT, "a chunk lies inside the memory", chunk, size, 0);
    if (status != SS_OK) return status;
    if (memcmp(bytes, SS_CHUNK_MAGIC, SS_MAGIC_SIZE) != 0) return ss_fail(SS_CORRUPT, "a chunk begins with CHK", chunk, 0, 0);
    if (bytes[SS_VERSION_AT] != VERSION) return ss_fail(SS_CORRUPT, "a chunk has version 1", chunk, bytes[SS_VERSION_AT], VERSION);
    if (bytes[SS_CHUNK_ALLOCATED_AT] > 1)
        return ss_fail(SS_CORRUPT, "a chunk's allocated flag is 0 or 1", chunk, bytes[SS_CHUNK_ALLOCATED_AT], 1);
    *allocated = bytes[SS_CHUNK_ALLOCATED_AT] == 1;
    *next = ss_get64(bytes + SS_CHUNK_NEXT_AT);
    return SS_OK;
}

int ss_chunk_check(const ss_memory *memory, uint64_t size, uint64_t address) {
    bool allocated;
    uint64_t next;
    int status = ss_chunk_load(memory, size, address - SS_CHUNK_HEADER, &allocated, &next);
    if (status != SS_OK) return status;
    return allocated ? SS_OK : ss_fail(SS_CORRUPT, "a chunk in use is marked as allocated", address, 0, 1);
}

int ss_allocator_new(ss_memory *memory, uint64_t size) {
    ss_allocator fresh = {size, 0, SS_FIRST_CHUNK};
    int status = save_chunk(memory, fresh.head, false, SS_NULL);
    return status == SS_OK ? save_header(memory, &fresh) : status;
}

int ss_allocator_load(const ss_memory *memory, uint64_t size, ss_allocator *allocator) {
    uint8_t bytes[SS_ALLOCATOR_SIZE];
    int status = ss_memory_read(memory, SS_ALLOCATOR_OFFSET, bytes, sizeof bytes);
    if (status != SS_OK) return status;
    if (memcmp(bytes, SS_ALLOCATOR_MAGIC, SS_MAGIC_SIZE) != 0)
        return ss_fail(SS_CORRUPT, "the allocator begins with BTA", SS_ALLOCATOR_OFFSET, 0, 0);
    if (bytes[SS_VERSION_AT] != VERSION) {
        return ss_fail(SS_BAD_VERSION, "version of the chunk allocator", SS_ALLOCATOR_OFFSET, bytes[SS_VERSION_AT], VERSION);
    }
    *allocator = (ss_allocator){ss_get64(bytes + SS_ALLOCATOR_SIZE_AT), ss_get64(bytes + SS_ALLOCATOR_COUNT_AT),
                                ss_get64(bytes + SS_ALLOCATOR_HEAD_AT)};
    if (allocator->size == size) return SS_OK;
    return ss_fail(SS_CORRUPT, "the allocator's chunks have the map's page size", SS_ALLOCATOR_OFFSET, allocator->size, size);
}

/* Where the free list has only the never-used chunk, the one behind it becomes its new end (A1). */
static int advance_head(ss_memory *memory, ss_allocator *allocator, uint64_t next) {
    if (next != SS_NULL) {
        allocator->head = next;
        return SS_OK;
    }
    if (!ss_add(allocator->head, SS_CHUNK_HEADER + allocator->size, &allocator->head)) {
        return ss_fail(SS_CORRUPT, "the free list lies inside the memory", SS_ALLOCATOR_OFFSET, allocator->head, 0);
    }
    return save_chunk(memory, allocator->head, false, SS_NULL);
}

/* Of the free list, only the contents of its last chunk may lie behind the end of the memory (A1). */
static int check_inside(const ss_memory *memory, uint64_t size, uint64_t chunk, uint64_t next) {
    uint64_t pages = 0, end;
    if (next == SS_NULL) return SS_OK;
    int status = ss_memory_size(memory, &pages);
    bool fits = ss_add(chunk, SS_CHUNK_HEADER + size, &end) && end / SS_PAGE_SIZE + (end % SS_PAGE_SIZE != 0) <= pages;
    if (status != SS_OK || fits) return status;
    return ss_fail(SS_CORRUPT, "a chunk lies inside the memory", chunk, size, pages);
}

int ss_allocator_take(ss_memory *memory, uint64_t size, uint64_t *address) {
    ss_allocator allocator;
    bool allocated;
    uint64_t next;
    int status = ss_allocator_load(memory, size, &allocator);
    if (status == SS_OK) status = ss_chunk_load(memory, size, allocator.head, &allocated, &next);
    if (status == SS_OK) status = check_inside(memory, size, allocator.head, next);
    if (status != SS_OK) return status;
    uint64_t chunk = allocator.head;
    if (allocated) return ss_fail(SS_CORRUPT, "a chunk of the free list is not allocated", chunk, 1, 0);
    status = save_chunk(memory, chunk, true, next);
    if (status == SS_OK) status = advance_head(memory, &allocator, next);
    allocator.allocated++;
    if (status == SS_OK) status = save_header(memory, &allocator);
    *address = chunk + SS_CHUNK_HEADER;
    return status;
}

int ss_allocator_give_back(ss_memory *memory, uint64_t size, uint64_t address) {
    ss_allocator allocator;
    int status = ss_allocator_load(memory, size, &allocator);
    if (status == SS_OK) status = ss_chunk_check(memory, size, address);
    if (status == SS_OK && allocator.allocated == 0) {
        status = ss_fail(SS_CORRUPT, "the number of allocated chunks counts them", SS_ALLOCATOR_OFFSET + SS_ALLOCATOR_COUNT_AT, 0, 1);
    }
    if (status != SS_OK) return status;
    uint64_t chunk = address - SS_CHUNK_HEADER;
    status = save_chunk(memory, chunk, false, allocator.head);
    allocator.head = chunk;
    allocator.allocated--;
    return status == SS_OK ? save_header(memory, &allocator) : status;
}
