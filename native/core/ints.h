/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays of unsigned integers of 1, 2, 4 or 8 bytes between this machine's byte order and big-endian.
 *
 * `bias` is XORed to the native value: its top bit turns a signed integer into the unsigned one of the same order.
 * The loops are plain, so that the compiler can vectorise them; neither array need be aligned.
 */
#ifndef SS_INTS_H
#define SS_INTS_H

#include "core/bytes.h"

/* Inlined always, so that each caller has loops for its own machine. */
#define SS_INTS_HERE static inline __attribute__((always_inline))

#define SS_INTS_LOOPS(bits, swap)                                                                                               \
    SS_INTS_HERE void ss_ints_encode##bits(uint8_t *restrict to, const uint8_t *restrict from, uint64_t count, uint64_t bias) { \
        for (uint64_t i = 0; i < count; i++) {                                                                                  \
            uint##bits##_t v;                                                                                                   \
            memcpy(&v, from + i * sizeof v, sizeof v);                                                                          \
            v = (uint##bits##_t)swap((uint##bits##_t)(v ^ bias));                                                               \
            memcpy(to + i * sizeof v, &v, sizeof v);                                                                            \
        }                                                                                                                       \
    }                                                                                                                           \
    SS_INTS_HERE void ss_ints_decode##bits(uint8_t *restrict to, const uint8_t *restrict from, uint64_t count, uint64_t bias) { \
        for (uint64_t i = 0; i < count; i++) {                                                                                  \
            uint##bits##_t v;                                                                                                   \
            memcpy(&v, from + i * sizeof v, sizeof v);                                                                          \
            v = (uint##bits##_t)(swap(v) ^ bias);                                                                               \
            memcpy(to + i * sizeof v, &v, sizeof v);                                                                            \
        }                                                                                                                       \
    }

#define SS_INTS_SAME(v) (v)
SS_INTS_LOOPS(8, SS_INTS_SAME)
SS_INTS_LOOPS(16, __builtin_bswap16)
SS_INTS_LOOPS(32, __builtin_bswap32)
SS_INTS_LOOPS(64, __builtin_bswap64)
#undef SS_INTS_SAME
#undef SS_INTS_LOOPS

SS_INTS_HERE void ss_ints_encode_here(uint8_t *to, const uint8_t *from, uint64_t count, uint32_t size, uint64_t bias) {
    if (size == 8)
        ss_ints_encode64(to, from, count, bias);
    else if (size == 4)
        ss_ints_encode32(to, from, count, bias);
    else if (size == 2)
        ss_ints_encode16(to, from, count, bias);
    else
        ss_ints_encode8(to, from, count, bias);
}

SS_INTS_HERE void ss_ints_decode_here(uint8_t *to, const uint8_t *from, uint64_t count, uint32_t size, uint64_t bias) {
    if (size == 8)
        ss_ints_decode64(to, from, count, bias);
    else if (size == 4)
        ss_ints_decode32(to, from, count, bias);
    else if (size == 2)
        ss_ints_decode16(to, from, count, bias);
    else
        ss_ints_decode8(to, from, count, bias);
}

/* The same with what this machine can do. */
void ss_ints_encode(uint8_t *to, const uint8_t *from, uint64_t count, uint32_t size, uint64_t bias);
void ss_ints_decode(uint8_t *to, const uint8_t *from, uint64_t count, uint32_t size, uint64_t bias);

#endif
