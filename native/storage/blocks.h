/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of blocks (4 KiB) of a memory: a bit for each block that the memory could have, and the list of those in the set. */
#ifndef SS_BLOCKS_H
#define SS_BLOCKS_H

#include "memory/memory.h"

#define SS_BLOCK_SIZE UINT64_C(4096)
#define SS_BLOCKS_PER_PAGE (SS_PAGE_SIZE / SS_BLOCK_SIZE)

/* The bits alone. Address space for all of them, memory only where there are some. */
typedef struct ss_block_bits {
    uint8_t *bytes; /* NULL until ss_block_bits_make */
    size_t size;
} ss_block_bits;

/* For a memory of at most so many bytes; all are clear. Once made they stay. */
int ss_block_bits_make(ss_block_bits *bits, uint64_t memory_bytes);
void ss_block_bits_free(ss_block_bits *bits);

static inline bool ss_block_bits_has(const ss_block_bits *bits, uint64_t block) {
    return (bits->bytes[block / 8] >> (block % 8) & 1) != 0;
}

static inline void ss_block_bits_set(ss_block_bits *bits, uint64_t block) {
    bits->bytes[block / 8] |= (uint8_t)(1u << (block % 8));
}

static inline void ss_block_bits_clear(ss_block_bits *bits, uint64_t block) {
    bits->bytes[block / 8] &= (uint8_t)~(1u << (block % 8));
}

typedef struct ss_block_set {
    ss_block_bits bits;
    uint64_t *list; /* each once */
    size_t count, room;
} ss_block_set;

int ss_block_set_make(ss_block_set *set, uint64_t memory_bytes);
void ss_block_set_free(ss_block_set *set);
/* Room for so many more. */
int ss_block_set_reserve(ss_block_set *set, size_t more);
/* There is room. */
void ss_block_set_add(ss_block_set *set, uint64_t block);
void ss_block_set_sort(ss_block_set *set);
/* O(blocks in the set). */
void ss_block_set_clear(ss_block_set *set);

static inline bool ss_block_set_has(const ss_block_set *set, uint64_t block) {
    return ss_block_bits_has(&set->bits, block);
}

#endif
