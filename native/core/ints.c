/* SPDX-License-Identifier: Apache-2.0 */
#include "core/ints.h"

/* Baseline x86-64 turns bytes round by shifts; AVX2, which nearly all machines have, by one shuffle of 32 bytes. */
#ifdef __x86_64__
#define AVX2 __attribute__((target("avx2")))

AVX2 static void encode_avx2(uint8_t *to, const uint8_t *from, uint64_t count, uint32_t size, uint64_t bias) {
    ss_ints_encode_here(to, from, count, size, bias);
}

AVX2 static void decode_avx2(uint8_t *to, const uint8_t *from, uint64_t count, uint32_t size, uint64_t bias) {
    ss_ints_decode_here(to, from, count, size, bias);
}
#endif

void ss_ints_encode(uint8_t *to, const uint8_t *from, uint64_t count, uint32_t size, uint64_t bias) {
#ifdef __x86_64__
    if (SS_LIKELY(__builtin_cpu_supports("avx2"))) {
        encode_avx2(to, from, count, size, bias);
        return;
    }
#endif
    ss_ints_encode_here(to, from, count, size, bias);
}

void ss_ints_decode(uint8_t *to, const uint8_t *from, uint64_t count, uint32_t size, uint64_t bias) {
#ifdef __x86_64__
    if (SS_LIKELY(__builtin_cpu_supports("avx2"))) {
        decode_avx2(to, from, count, size, bias);
        return;
    }
#endif
    ss_ints_decode_here(to, from, count, size, bias);
}
