/* SPDX-License-Identifier: Apache-2.0 */
/* A binary heap with the least element first.
 *
 * What crosses, and how, is as in vec.h. Elements are ordered by terms (order.h); two that have no order are not less than each
 * other. Where the user's own comparison fails, the heap is unchanged.
 */
#ifndef SS_HEAP_H
#define SS_HEAP_H

#include "memory/structure.h"
#include "structures/order.h"

typedef struct ss_heap ss_heap;

/* Opens a heap whose elements have at most (fixed: exactly) max_size bytes. `callback` may be NULL if no term asks
 * for it. Free with ss_heap_free. */
int ss_heap_open(ss_memory *memory, int mode, uint32_t max_size, int fixed, const ss_order_term *terms, uint32_t term_count,
                 ss_order_callback callback, void *self, ss_heap **out);
void ss_heap_free(ss_heap *heap);
void ss_heap_free_at(ss_heap **at);
/* Releases the memory; the heap returns SS_CLOSED from now on. */
int ss_heap_detach(ss_heap *heap);

/* Elements, or a negative status. */
int64_t ss_heap_length(ss_heap *heap);
/* A number that differs after the heap may have changed. */
uint64_t ss_heap_changes(ss_heap *heap);
int ss_heap_clear(ss_heap *heap);

/* O(log n). */
int ss_heap_push(ss_heap *heap, const uint8_t *bytes, uint64_t size);
/* The least element; SS_NO_VALUE from an empty heap. */
int64_t ss_heap_pop(ss_heap *heap);
int64_t ss_heap_peek(ss_heap *heap);
/* The element in slot `index`, in no order but that of the heap; SS_NO_VALUE past the end. */
int64_t ss_heap_get(ss_heap *heap, uint64_t index);

int ss_heap_push_u64(ss_heap *heap, uint64_t value);
/* SS_NO_NUMBER from an empty heap and past the end. */
uint64_t ss_heap_pop_u64(ss_heap *heap);
uint64_t ss_heap_peek_u64(ss_heap *heap);
uint64_t ss_heap_get_u64(ss_heap *heap, uint64_t index);

/* As a loop of pushes, byte for byte, but all or nothing; the forms are those of ss_vec_extend. */
int ss_heap_push_many(ss_heap *heap, const uint8_t *data, uint64_t count);
int ss_heap_push_many_var(ss_heap *heap, const uint8_t *data, const uint64_t *ends, uint64_t count);
int ss_heap_push_many_ints(ss_heap *heap, const void *native, uint64_t count, uint64_t bias);

/* Walks everything; the first broken rule is the failure. With `report` each one is reported and the walk continues. */
int ss_heap_check(ss_heap *heap, ss_report report, void *self);
/* O(1). An element of variable size counts with its whole slot. */
int ss_heap_usage(ss_heap *heap, struct ss_usage *out);

#endif
