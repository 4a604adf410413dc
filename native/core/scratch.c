/* SPDX-License-Identifier: Apache-2.0 */
#include "core/scratch.h"

#include <stdlib.h>

#include "core/bytes.h"
#include "core/error.h"

struct ss_scratch_block {
    struct ss_scratch_block *older;
    size_t size;
    _Alignas(16) uint8_t bytes[];
};

static struct ss_scratch_block *add_block(ss_scratch *scratch, size_t size) {
    size_t room = size < SS_SCRATCH_KEPT ? SS_SCRATCH_KEPT : size;
    struct ss_scratch_block *block = malloc(sizeof *block + room);
    if (block == NULL) {
        ss_fail(SS_NO_HEAP, "working storage for an operation", 0, size, 0);
        return NULL;
    }
    block->older = scratch->block;
    block->size = room;
    scratch->block = block;
    scratch->used = 0;
    return block;
}

void *ss_scratch_take(ss_scratch *scratch, size_t size) {
    if (size > SIZE_MAX / 2) {
        ss_fail(SS_NO_HEAP, "working storage for an operation", 0, size, SIZE_MAX / 2);
        return NULL;
    }
    size_t rounded = (size_t)ss_round_up(size, 16);
    if (scratch->block == NULL || scratch->block->size - scratch->used < rounded) {
        if (add_block(scratch, rounded) == NULL) return NULL;
    }
    void *taken = scratch->block->bytes + scratch->used;
    scratch->used += rounded;
    return taken;
}

ss_scratch_mark ss_scratch_at(const ss_scratch *scratch) {
    return (ss_scratch_mark){scratch->block, scratch->used};
}

/* Frees the newest blocks down to `upto`. */
static void drop_blocks(ss_scratch *scratch, const struct ss_scratch_block *upto) {
    while (scratch->block != upto) {
        struct ss_scratch_block *older = scratch->block->older;
        free(scratch->block);
        scratch->block = older;
    }
}

void ss_scratch_rewind(ss_scratch *scratch, ss_scratch_mark mark) {
    drop_blocks(scratch, mark.block);
    scratch->used = mark.used;
}

/* Frees all blocks but the oldest, and that one too if it is larger than what may be kept. */
void ss_scratch_reset(ss_scratch *scratch) {
    while (scratch->block != NULL && (scratch->block->older != NULL || scratch->block->size > SS_SCRATCH_KEPT)) {
        struct ss_scratch_block *older = scratch->block->older;
        free(scratch->block);
        scratch->block = older;
    }
    scratch->used = 0;
}

void ss_scratch_free(ss_scratch *scratch) {
    drop_blocks(scratch, NULL);
    scratch->used = 0;
}
