/* SPDX-License-Identifier: Apache-2.0 */
/* A memory that is only looked at: blocks of any source, read when they are needed and kept while there is room.
 *
 * It is a memory like any other (size, read; writing and growing are SS_READ_ONLY), so that every structure of the core
 * opens on it as it is, and it never needs more than its cache, however large the source is. Layout in cached.c.
 */
#ifndef SS_CACHED_H
#define SS_CACHED_H

#include "memory/memory.h"

#define SS_CACHE_BLOCK (UINT64_C(256) << 10)
#define SS_CACHE_DEFAULT (UINT64_C(64) << 20)
/* So many blocks are asked of a near source at once where they are read one behind the other, and at most of a far one. */
#define SS_CACHE_AHEAD UINT64_C(8)
#define SS_CACHE_FAR UINT64_C(32)

/* Where the bytes come from. The lock of the memory is held in each call. */
typedef struct ss_cached_source {
    void *self;
    /* Exactly `length` bytes from `offset` on, which lie inside the source; a status. */
    int (*fetch)(void *self, uint64_t offset, uint64_t length, void *to);
    /* The first range from `offset` on that need not be zeros, [*begin, *end); *begin is UINT64_MAX if none follows. May be NULL,
     * and may fail: then all of it is fetched. */
    int (*data)(void *self, uint64_t offset, uint64_t *begin, uint64_t *end);
    /* The memory is gone: frees `self`. May be NULL. */
    void (*free)(void *self);
    /* A small piece costs less than a block: the source is a file of this machine, whose system keeps what was read. Then blocks that
     * are touched here and there are not fetched whole. */
    bool is_near;
} ss_cached_source;

/* What was asked of the source so far. */
struct ss_cached_usage {
    uint64_t requests, bytes;
};

/* A memory of the `bytes` of a source, up to a whole page filled with zeros, with a cache of at most `cache` bytes (one block at
 * least). Frees the source, on failure too. */
int ss_memory_new_cached(ss_cached_source source, uint64_t bytes, uint64_t cache, ss_memory **out);
/* Of a memory that ss_memory_new_cached made: zeros of another one. */
void ss_cached_measure(ss_memory *memory, struct ss_cached_usage *usage);
/* Whether reading these bytes of such a memory asks the source for nothing. */
bool ss_cached_has(ss_memory *memory, uint64_t offset, uint64_t length);

/* The first `bytes` of the buckets that lie at these offsets of `base`, one behind the other, each of `bucket_bytes` (whole pages):
 * a virtual memory by a table that somebody else has read. Looked at only; keeps `base`. */
int ss_memory_new_pieces(ss_memory *base, const uint64_t *offsets, uint64_t count, uint64_t bucket_bytes, uint64_t bytes, ss_memory **out);

#endif
