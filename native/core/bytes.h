/* SPDX-License-Identifier: Apache-2.0 */
/* Integers in byte order, read and written byte-wise: no struct is ever laid over stable memory. */
#ifndef SS_BYTES_H
#define SS_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "stable_structures supports little-endian machines only (x86-64, arm64)"
#endif
_Static_assert(sizeof(void *) == 8, "stable_structures needs a 64-bit address space");

#define SS_LIKELY(x) __builtin_expect(!!(x), 1)
#define SS_UNLIKELY(x) __builtin_expect(!!(x), 0)
/* For what is on the way of every lookup: a call, and results that go through memory, would cost more than the step. */
#define SS_ALWAYS_INLINE inline __attribute__((always_inline))

static inline uint16_t ss_get16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t ss_get32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t ss_get64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void ss_put16(uint8_t *p, uint16_t v) {
    memcpy(p, &v, sizeof v);
}

static inline void ss_put32(uint8_t *p, uint32_t v) {
    memcpy(p, &v, sizeof v);
}

static inline void ss_put64(uint8_t *p, uint64_t v) {
    memcpy(p, &v, sizeof v);
}

/* A big-endian unsigned integer of 1, 2, 4 or 8 bytes. */
static inline uint64_t ss_get_be(const uint8_t *p, uint32_t size) {
    switch (size) {
        case 8:
            return __builtin_bswap64(ss_get64(p));
        case 4:
            return __builtin_bswap32(ss_get32(p));
        case 2:
            return __builtin_bswap16(ss_get16(p));
        default:
            return p[0];
    }
}

static inline void ss_put_be(uint8_t *p, uint32_t size, uint64_t v) {
    if (size == 8) {
        ss_put64(p, __builtin_bswap64(v));
        return;
    }
    for (uint32_t i = size; i-- > 0; v >>= 8) p[i] = (uint8_t)v;
}

/* The least multiple of `step` that is not less than n. */
static inline uint64_t ss_round_up(uint64_t n, uint64_t step) {
    return (n + step - 1) / step * step;
}

/* a + b in *sum; false if it does not fit 64 bits. */
static inline bool ss_add(uint64_t a, uint64_t b, uint64_t *sum) {
    return !__builtin_add_overflow(a, b, sum);
}

#endif
