/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/blocks.h"

#include <stdlib.h>

#include "core/pages.h"

int ss_block_bits_make(ss_block_bits *bits, uint64_t memory_bytes) {
    if (bits->bytes != NULL) return SS_OK;
    size_t size = (size_t)(memory_bytes / SS_BLOCK_SIZE / 8 + 1);
    void *got = ss_pages_new(size);
    if (got == NULL) return ss_fail(SS_NO_HEAP, "table of the changed blocks", 0, size, 0);
    *bits = (ss_block_bits){.bytes = got, .size = size};
    return SS_OK;
}

void ss_block_bits_free(ss_block_bits *bits) {
    ss_pages_release(bits->bytes, bits->size);
    *bits = (ss_block_bits){0};
}

int ss_block_set_make(ss_block_set *set, uint64_t memory_bytes) {
    return ss_block_bits_make(&set->bits, memory_bytes);
}

void ss_block_set_free(ss_block_set *set) {
    ss_block_bits_free(&set->bits);
    free(set->list);
    *set = (ss_block_set){0};
}

int ss_block_set_reserve(ss_block_set *set, size_t more) {
    size_t need = set->count + more;
    if (need <= set->room) return SS_OK;
    size_t room = need * 2 > 256 ? need * 2 : 256;
    uint64_t *list = realloc(set->list, room * sizeof *list);
    if (list == NULL) return ss_fail(SS_NO_HEAP, "list of the committed blocks", 0, room, 0);
    set->list = list;
    set->room = room;
    return SS_OK;
}

void ss_block_set_add(ss_block_set *set, uint64_t block) {
    if (ss_block_set_has(set, block)) return;
    ss_block_bits_set(&set->bits, block);
    set->list[set->count++] = block;
}

static int compare_blocks(const void *a, const void *b) {
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

void ss_block_set_sort(ss_block_set *set) {
    if (set->count > 1) qsort(set->list, set->count, sizeof *set->list, compare_blocks);
}

void ss_block_set_clear(ss_block_set *set) {
    for (size_t i = 0; i < set->count; i++) ss_block_bits_clear(&set->bits, set->list[i]);
    set->count = 0;
}
