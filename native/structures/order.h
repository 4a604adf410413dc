/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing two encoded keys by the order of their type (docs/format.md#types).
 *
 * An order is a short list of terms, parents before their parts; term 0 is the whole key. It is built once, checked,
 * and then compares without allocating. Encoded keys that come from memory may be damaged: a comparison that cannot
 * find the parts of a key gives SS_CORRUPT, it never reads outside the key.
 */
#ifndef SS_ORDER_H
#define SS_ORDER_H

#include "core/bytes.h"
#include "core/error.h"

enum ss_order_kind {
    SS_ORDER_BYTES = 0,        /* lexicographic, a prefix before what it begins */
    SS_ORDER_LENGTH_FIRST = 1, /* by length, then by bytes (principal) */
    SS_ORDER_OPTION = 2,       /* part 0 then the byte 1, or the single byte 0, which is least */
    SS_ORDER_REVERSE = 3,      /* the opposite of part 0 */
    SS_ORDER_TUPLE2 = 4,       /* parts 0 and 1, laid out as tuple<A,B> */
    SS_ORDER_TUPLE3 = 5,       /* parts 0 to 2, laid out as tuple<A,B,C> */
    SS_ORDER_FLOAT = 6,        /* big-endian IEEE 754 of max_size bytes; partial */
    SS_ORDER_CALLBACK = 7      /* only as term 0: ask the user */
};

#define SS_ORDER_TERMS 64
#define SS_UNBOUNDED UINT64_MAX

typedef struct ss_order_term {
    int32_t kind;
    int32_t fixed;     /* encoded form always has max_size bytes */
    uint64_t max_size; /* or SS_UNBOUNDED */
    int32_t part[3];   /* indices of later terms, -1 if there is none */
    int32_t reserved;
} ss_order_term;

/* What a comparison answers. */
enum { SS_LESS = -1, SS_EQUAL = 0, SS_GREATER = 1, SS_NO_ORDER = 2 };

/* The user's `<`: a status, and in *result one of the answers above. */
typedef int (*ss_order_callback)(void *self, const uint8_t *a, uint64_t a_size, const uint8_t *b, uint64_t b_size, int *result);

typedef struct ss_order {
    uint32_t count;
    uint32_t int_size; /* 1, 2, 4, 8: the key is a fixed big-endian integer; else 0 */
    ss_order_callback callback;
    void *self;
    ss_order_term terms[SS_ORDER_TERMS];
} ss_order;

/* Checks the terms (indices point forward, nesting is bounded) and copies them. SS_ARGUMENT where they make no sense. */
int ss_order_init(ss_order *order, const ss_order_term *terms, uint32_t count, ss_order_callback callback, void *self);

/* SS_OK and the result, SS_CORRUPT if a key cannot be taken apart, or what the callback gave. */
int ss_order_compare(const ss_order *order, const uint8_t *a, uint64_t a_size, const uint8_t *b, uint64_t b_size, int *result);

/* Lexicographic; the common case, for callers that know it. Most keys differ in their first bytes. */
static inline int ss_compare_bytes(const uint8_t *a, uint64_t a_size, const uint8_t *b, uint64_t b_size) {
    if (a_size >= 8 && b_size >= 8) {
        uint64_t x = ss_get_be(a, 8), y = ss_get_be(b, 8);
        if (x != y) return x < y ? SS_LESS : SS_GREATER;
    }
    uint64_t n = a_size < b_size ? a_size : b_size;
    int d = n == 0 ? 0 : memcmp(a, b, (size_t)n);
    if (d != 0) return d < 0 ? SS_LESS : SS_GREATER;
    return (a_size > b_size) - (a_size < b_size);
}

#endif
