/* SPDX-License-Identifier: Apache-2.0 */
/* A growable array of elements of bounded size.
 *
 * Elements cross encoded, or as integers (_u64, _ints): elements of fixed size 1, 2, 4 or 8 as big-endian
 * unsigned integers; SS_INCOMPATIBLE on any other vec. Answers in bytes and in numbers follow result.h. The bulk functions
 * write all or nothing, and the same bytes as a loop.
 */
#ifndef SS_VEC_H
#define SS_VEC_H

#include "memory/structure.h"

typedef struct ss_vec ss_vec;

/* Opens a vec whose elements have at most (fixed: exactly) max_size bytes. Free with ss_vec_free. */
int ss_vec_open(ss_memory *memory, int mode, uint32_t max_size, int fixed, ss_vec **out);
void ss_vec_free(ss_vec *vec);
void ss_vec_free_at(ss_vec **at);
/* Releases the memory; the vec returns SS_CLOSED from now on. */
int ss_vec_detach(ss_vec *vec);

/* Elements, or a negative status. */
int64_t ss_vec_length(ss_vec *vec);
/* A number that differs after the vec may have changed. */
uint64_t ss_vec_changes(ss_vec *vec);
int ss_vec_clear(ss_vec *vec);

/* SS_BOUND_EXCEEDED for a wrong size; nothing is written then. */
int ss_vec_push(ss_vec *vec, const uint8_t *bytes, uint64_t size);
/* SS_NO_VALUE past the end, and from an empty vec. */
int64_t ss_vec_get(ss_vec *vec, uint64_t index);
/* The same for an index that counts from the end if it is negative, the last element having -1. */
int64_t ss_vec_item(ss_vec *vec, int64_t index);
int64_t ss_vec_pop(ss_vec *vec);
/* SS_OUT_OF_BOUNDS past the end. */
int ss_vec_set(ss_vec *vec, uint64_t index, const uint8_t *bytes, uint64_t size);
int ss_vec_set_item(ss_vec *vec, int64_t index, const uint8_t *bytes, uint64_t size);

/* SS_BOUND_EXCEEDED for a value that needs more bytes. */
int ss_vec_push_u64(ss_vec *vec, uint64_t value);
/* SS_NO_NUMBER past the end, and from an empty vec. */
uint64_t ss_vec_get_u64(ss_vec *vec, uint64_t index);
uint64_t ss_vec_item_u64(ss_vec *vec, int64_t index);
uint64_t ss_vec_pop_u64(ss_vec *vec);
int ss_vec_set_u64(ss_vec *vec, uint64_t index, uint64_t value);
int ss_vec_set_item_u64(ss_vec *vec, int64_t index, uint64_t value);

/* Other threads may change the elements meanwhile, which are read once; `ends` is the caller's own.
 *
 * Appends `count` elements of fixed size that lie back to back. */
int ss_vec_extend(ss_vec *vec, const uint8_t *data, uint64_t count);
/* Appends `count` elements back to back; element i ends at data + ends[i]. */
int ss_vec_extend_var(ss_vec *vec, const uint8_t *data, const uint64_t *ends, uint64_t count);
/* Appends an array of this machine's integers, each XORed with `bias`. */
int ss_vec_extend_ints(ss_vec *vec, const void *native, uint64_t count, uint64_t bias);

/* Elements [start, stop) of a vec of `length` elements, or SS_ANY_LENGTH; SS_OUT_OF_BOUNDS if it has another length, and unless
 * start <= stop <= length. Fixed size: back to back to `to`. */
int ss_vec_export(ss_vec *vec, uint64_t start, uint64_t stop, uint64_t length, uint8_t *to);
/* Any size: answers with the bytes back to back, and writes to ends[i] where element start + i ends among them. */
int64_t ss_vec_export_var(ss_vec *vec, uint64_t start, uint64_t stop, uint64_t length, uint64_t *ends);
/* As this machine's integers, each XORed with `bias`. */
int ss_vec_export_ints(ss_vec *vec, uint64_t start, uint64_t stop, uint64_t length, void *native, uint64_t bias);

/* Walks everything; the first broken rule is the failure. With `report` each one is reported and the walk continues. */
int ss_vec_check(ss_vec *vec, ss_report report, void *self);
/* O(1). An element of variable size counts with its whole slot. */
int ss_vec_usage(ss_vec *vec, struct ss_usage *out);

#endif
