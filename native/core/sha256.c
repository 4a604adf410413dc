/* SPDX-License-Identifier: Apache-2.0 */
#include "core/sha256.h"

#include <string.h>

#include "core/bytes.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t right(uint32_t x, unsigned bits) {
    return x >> bits | x << (32 - bits);
}

static void schedule(uint32_t w[64], const uint8_t *at) {
    for (size_t i = 0; i < 16; i++) w[i] = (uint32_t)ss_get_be(at + 4 * i, 4);
    for (size_t i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        uint32_t low = right(a, 7) ^ right(a, 18) ^ a >> 3, high = right(b, 17) ^ right(b, 19) ^ b >> 10;
        w[i] = w[i - 16] + low + w[i - 7] + high;
    }
}

void ss_sha256_blocks_portable(uint32_t state[8], const uint8_t *at, uint64_t count) {
    uint32_t w[64], s[8];
    for (; count > 0; count--, at += SS_SHA256_BLOCK) {
        schedule(w, at);
        memcpy(s, state, sizeof s);
        for (size_t i = 0; i < 64; i++) {
            uint32_t e = s[4], a = s[0];
            uint32_t choice = (e & s[5]) ^ (~e & s[6]), majority = (a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]);
            uint32_t one = s[7] + (right(e, 6) ^ right(e, 11) ^ right(e, 25)) + choice + constants[i] + w[i];
            uint32_t two = (right(a, 2) ^ right(a, 13) ^ right(a, 22)) + majority;
            memmove(s + 1, s, 7 * sizeof *s);
            s[4] += one;
            s[0] = one + two;
        }
        for (size_t i = 0; i < 8; i++) state[i] += s[i];
    }
}

#if defined(__x86_64__)

#define SS_SHA_TARGET __attribute__((target("sha,sse4.1,ssse3")))

/* Four rounds; `words` are the four words of the schedule for them. */
SS_SHA_TARGET static inline void four_rounds(__m128i *abef, __m128i *cdgh, __m128i words, const uint32_t *k) {
    __m128i sum = _mm_add_epi32(words, _mm_loadu_si128((const void *)k));
    *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, sum);
    *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

/* The next four words of the schedule from the sixteen before them, which are in a, b, c, d. */
SS_SHA_TARGET static inline __m128i next_words(__m128i a, __m128i b, __m128i c, __m128i d) {
    __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(a, b), _mm_alignr_epi8(d, c, 4));
    return _mm_sha256msg2_epu32(sum, d);
}

SS_SHA_TARGET static void one_block(__m128i *abef, __m128i *cdgh, const uint8_t *at) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i w[4];
    for (size_t i = 0; i < 4; i++) {
        w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const void *)(at + 16 * i)), swap);
        four_rounds(abef, cdgh, w[i], constants + 4 * i);
    }
    for (size_t i = 16; i < 64; i += 16) {
        w[0] = next_words(w[0], w[1], w[2], w[3]);
        four_rounds(abef, cdgh, w[0], constants + i);
        w[1] = next_words(w[1], w[2], w[3], w[0]);
        four_rounds(abef, cdgh, w[1], constants + i + 4);
        w[2] = next_words(w[2], w[3], w[0], w[1]);
        four_rounds(abef, cdgh, w[2], constants + i + 8);
        w[3] = next_words(w[3], w[0], w[1], w[2]);
        four_rounds(abef, cdgh, w[3], constants + i + 12);
    }
}

/* The instructions want the state as the words a, b, e, f and c, d, g, h, from the highest lane down. */
SS_SHA_TARGET static void blocks_by_instructions(uint32_t state[8], const uint8_t *at, uint64_t count) {
    __m128i dcba = _mm_loadu_si128((const void *)state), hgfe = _mm_loadu_si128((const void *)(state + 4));
    __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1), efgh = _mm_shuffle_epi32(hgfe, 0x1b);
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8), cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
    for (; count > 0; count--, at += SS_SHA256_BLOCK) {
        __m128i first = abef, second = cdgh;
        one_block(&abef, &cdgh, at);
        abef = _mm_add_epi32(abef, first);
        cdgh = _mm_add_epi32(cdgh, second);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((void *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/* Bits of CPUID: SSSE3 and SSE4.1 in leaf 1, SHA in leaf 7. */
static bool has_instructions(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & 1u << 9) == 0 || (c & 1u << 19) == 0) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1u << 29) != 0;
}

void ss_sha256_blocks(uint32_t state[8], const uint8_t *at, uint64_t count) {
    static _Atomic int known; /* 0 not yet, 1 no, 2 yes */
    int what = known;
    if (SS_UNLIKELY(what == 0)) known = what = has_instructions() ? 2 : 1;
    if (what == 2) {
        blocks_by_instructions(state, at, count);
    } else {
        ss_sha256_blocks_portable(state, at, count);
    }
}

#else

void ss_sha256_blocks(uint32_t state[8], const uint8_t *at, uint64_t count) {
    ss_sha256_blocks_portable(state, at, count);
}

#endif

void ss_sha256_begin(ss_sha256 *hash) {
    static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(hash->state, first, sizeof first);
    hash->length = 0;
}

void ss_sha256_add(ss_sha256 *hash, const void *bytes, uint64_t length) {
    const uint8_t *at = bytes;
    uint64_t waiting = hash->length % SS_SHA256_BLOCK;
    hash->length += length;
    if (waiting > 0) {
        uint64_t more = SS_SHA256_BLOCK - waiting < length ? SS_SHA256_BLOCK - waiting : length;
        if (more > 0) memcpy(hash->waiting + waiting, at, (size_t)more);
        if (waiting + more < SS_SHA256_BLOCK) return;
        ss_sha256_blocks(hash->state, hash->waiting, 1);
        at += more;
        length -= more;
    }
    ss_sha256_blocks(hash->state, at, length / SS_SHA256_BLOCK);
    uint64_t rest = length % SS_SHA256_BLOCK;
    if (rest > 0) memcpy(hash->waiting, at + (length - rest), (size_t)rest);
}

void ss_sha256_end(ss_sha256 *hash, uint8_t digest[SS_SHA256_SIZE]) {
    uint64_t bits = hash->length * 8;
    size_t used = (size_t)(hash->length % SS_SHA256_BLOCK);
    hash->waiting[used++] = 0x80;
    if (used > SS_SHA256_BLOCK - 8) {
        memset(hash->waiting + used, 0, SS_SHA256_BLOCK - used);
        ss_sha256_blocks(hash->state, hash->waiting, 1);
        used = 0;
    }
    memset(hash->waiting + used, 0, SS_SHA256_BLOCK - 8 - used);
    ss_put_be(hash->waiting + SS_SHA256_BLOCK - 8, 8, bits);
    ss_sha256_blocks(hash->state, hash->waiting, 1);
    for (size_t i = 0; i < 8; i++) ss_put_be(digest + 4 * i, 4, hash->state[i]);
}
