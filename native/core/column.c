/* SPDX-License-Identifier: Apache-2.0 */
#include "core/column.h"

#include <stdlib.h>

/* A multiple of what bulk lookups fetch ahead. */
#define ITEMS_AT_ONCE UINT64_C(1024)

static uint64_t end_of(const ss_column *column, uint64_t count) {
    if (count == 0) return 0;
    return column->ends == NULL ? count * column->size : column->ends[count - 1];
}

/* How many items from `first` on make a part. */
static uint64_t count_items(const ss_column *column, uint64_t first, uint64_t count, uint64_t most_bytes) {
    if (most_bytes == UINT64_MAX) return count - first;
    uint64_t left = count - first, some = left < ITEMS_AT_ONCE ? left : ITEMS_AT_ONCE, begin = end_of(column, first);
    while (some > 1 && end_of(column, first + some) - begin > most_bytes) some /= 2;
    return some;
}

static int make_room(ss_column_part *part, uint64_t bytes, uint64_t some) {
    uint64_t need = bytes + 8 * some;
    if (part->copy != NULL && need <= part->room) return SS_OK;
    free(part->copy);
    part->copy = need < bytes || need > SIZE_MAX / 2 ? NULL : malloc((size_t)need + 1);
    part->room = part->copy == NULL ? 0 : (size_t)need;
    return part->copy != NULL ? SS_OK : ss_fail(SS_NO_HEAP, "a copy of keys or values", 0, bytes, 0);
}

/* The ends first (aligned), then the bytes. */
static void copy_items(ss_column_part *part, const ss_column *column, uint64_t first, uint64_t some) {
    uint64_t begin = end_of(column, first), *ends = NULL;
    uint8_t *bytes = part->copy;
    if (column->ends != NULL) {
        ends = (uint64_t *)(void *)part->copy;
        bytes += 8 * some;
        for (uint64_t i = 0; i < some; i++) ends[i] = column->ends[first + i] - begin;
    }
    uint64_t length = end_of(column, first + some) - begin;
    if (length > 0) memcpy(bytes, column->data + begin, (size_t)length);
    part->items = (ss_column){bytes, ends, column->size, column->native, column->bias, true};
    part->first = first;
    part->end = first + some;
}

static void take_as_it_is(ss_column_part *part, const ss_column *column, uint64_t count) {
    part->items = *column;
    part->first = 0;
    part->end = count;
}

static int take_copy(ss_column_part *part, const ss_column *column, uint64_t first, uint64_t some) {
    int status = make_room(part, end_of(column, first + some) - end_of(column, first), column->ends == NULL ? 0 : some);
    if (status == SS_OK) copy_items(part, column, first, some);
    return status;
}

int ss_column_take(ss_column_part *part, const ss_column *column, uint64_t first, uint64_t count, uint64_t most_bytes) {
    if (!column->native && !column->stable) return take_copy(part, column, first, count_items(column, first, count, most_bytes));
    take_as_it_is(part, column, count);
    return SS_OK;
}

int ss_column_copy(ss_column_part *part, const ss_column *column, uint64_t count) {
    if (!column->stable) return take_copy(part, column, 0, count);
    take_as_it_is(part, column, count);
    return SS_OK;
}

void ss_column_drop(ss_column_part *part) {
    free(part->copy);
    *part = (ss_column_part){0};
}
