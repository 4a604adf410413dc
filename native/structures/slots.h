/* SPDX-License-Identifier: Apache-2.0 */
/* A sequence of slots of one size, with a length: what vec and heap are made of. Private to these two.
 *
 * The lock is held in every function, except in open, free and detach (those of the handle). An index given to find,
 * view, read or store is below the length, which the caller has from ss_slots_length.
 */
#ifndef SS_SLOTS_H
#define SS_SLOTS_H

#include "core/result.h"
#include "memory/structure.h"

#define SS_SLOTS_START UINT64_C(64)
/* Offsets; the picture is in slots.c. */
enum { SS_SLOTS_LENGTH_AT = 4, SS_SLOTS_MAX_SIZE_AT = 12, SS_SLOTS_FIXED_AT = 16 };
/* More bytes than any memory has, and far enough from 2^64 for sums. */
#define SS_SLOTS_LIMIT (UINT64_C(1) << 62)

typedef struct ss_slots {
    ss_handle handle;
    char magic[4];    /* with the version behind it */
    const char *name; /* "magic of a vec" */
    uint32_t max_size;
    bool fixed;
    uint32_t size_bytes; /* of the size in front of an element; 0 if all have max_size */
    uint64_t slot;       /* size_bytes + max_size */
    ss_scratch scratch;  /* of the operation */
    ss_scratch stored;   /* of one element that is written where it does not lie in one piece */
} ss_slots;

/* The bytes of an element: in place, or in a scratch until its next reset. */
typedef struct ss_element {
    const uint8_t *bytes;
    uint64_t size;
} ss_element;

/* Fills `slots` and opens the memory. On failure nothing is held. */
int ss_slots_open(ss_slots *slots, ss_memory *memory, int mode, const char *magic, uint32_t max_size, bool fixed);
void ss_slots_free(ss_slots *slots);

/* Checks the header and that all slots in use begin inside the memory. */
int ss_slots_length(const ss_slots *slots, uint64_t *length);
int ss_slots_set_length(ss_slots *slots, uint64_t length);

/* Address of the bytes of an element, behind its size. */
static inline uint64_t ss_slots_data(const ss_slots *slots, uint64_t index) {
    return SS_SLOTS_START + index * slots->slot + slots->size_bytes;
}
/* Where the bytes of an element lie, inside the memory, and how many. SS_CORRUPT if the size breaks the rules. */
int ss_slots_find(const ss_slots *slots, uint64_t index, uint64_t *address, uint64_t *size);
int ss_slots_view(const ss_slots *slots, uint64_t index, ss_scratch *scratch, ss_element *element);
int ss_slots_output(const ss_slots *slots, uint64_t index, ss_result_builder *result);

/* SS_BOUND_EXCEEDED unless an element may have this size. */
int ss_slots_accept(const ss_slots *slots, uint64_t size);
int ss_slots_accept_all(const ss_slots *slots, const uint64_t *ends, uint64_t count);
/* SS_INCOMPATIBLE unless the elements have a fixed size. */
int ss_slots_demand_fixed(const ss_slots *slots);
/* Makes room for `count` more elements, at least one, the last of `last_size` bytes: that one alone decides how far the
 * memory must reach. */
int ss_slots_reserve(ss_slots *slots, uint64_t length, uint64_t count, uint64_t last_size);
/* Makes the memory reach over an element of `size` bytes at `index`. */
int ss_slots_ensure(ss_slots *slots, uint64_t index, uint64_t size);
/* Writes size and bytes; the rest of the slot stays. The memory reaches over them. */
int ss_slots_store(ss_slots *slots, uint64_t index, const uint8_t *bytes, uint64_t size);

/* Fixed elements of 1, 2, 4 or 8 bytes as integers. SS_INCOMPATIBLE if the slots are not of that kind. */
int ss_slots_demand_int(const ss_slots *slots);
/* SS_BOUND_EXCEEDED if the value needs more bytes than the element has. */
int ss_slots_accept_int(const ss_slots *slots, uint64_t value);
int ss_slots_load_int(const ss_slots *slots, uint64_t index, uint64_t *value);
int ss_slots_store_int(ss_slots *slots, uint64_t index, uint64_t value);

/* `count` elements of fixed size, back to back as they lie in the memory. */
int ss_slots_store_run(ss_slots *slots, uint64_t index, const uint8_t *data, uint64_t count);
int ss_slots_read_run(const ss_slots *slots, uint64_t index, uint8_t *to, uint64_t count);
/* The same from and to this machine's integers, each XORed with `bias`. */
int ss_slots_store_ints(ss_slots *slots, uint64_t index, const uint8_t *native, uint64_t count, uint64_t bias);
int ss_slots_read_ints(ss_slots *slots, uint64_t index, uint8_t *native, uint64_t count, uint64_t bias);

/* Everything that can be wrong with header and sizes. *length becomes 0 if the header is unsound. */
int ss_slots_check(const ss_slots *slots, ss_check *check, uint64_t *length);
int ss_slots_usage(const ss_slots *slots, struct ss_usage *out);

#endif
