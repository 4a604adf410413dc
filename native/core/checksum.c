/* SPDX-License-Identifier: Apache-2.0 */
/* Four lanes take eight bytes each of every 32-byte stripe; at the end they are merged, the last length % 32 bytes are
 * mixed in, and the bits are spread. */
#include "core/checksum.h"

#include <string.h>

#include "core/bytes.h"

#define PRIME1 UINT64_C(0x9E3779B185EBCA87)
#define PRIME2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define PRIME3 UINT64_C(0x165667B19E3779F9)
#define PRIME4 UINT64_C(0x85EBCA77C2B2AE63)
#define PRIME5 UINT64_C(0x27D4EB2F165667C5)
#define STRIPE ((size_t)32)

static inline uint64_t rotate(uint64_t x, unsigned bits) {
    return x << bits | x >> (64 - bits);
}

static inline uint64_t mix_lane(uint64_t lane, uint64_t input) {
    return rotate(lane + input * PRIME2, 31) * PRIME1;
}

static inline uint64_t merge_lane(uint64_t hash, uint64_t lane) {
    return (hash ^ mix_lane(0, lane)) * PRIME1 + PRIME4;
}

void ss_checksum_begin(ss_checksum *sum, uint64_t seed) {
    sum->lanes[0] = seed + PRIME1 + PRIME2;
    sum->lanes[1] = seed + PRIME2;
    sum->lanes[2] = seed;
    sum->lanes[3] = seed - PRIME1;
    sum->seed = seed;
    sum->length = 0;
}

static const uint8_t *mix_stripes(ss_checksum *sum, const uint8_t *at, size_t count) {
    uint64_t a = sum->lanes[0], b = sum->lanes[1], c = sum->lanes[2], d = sum->lanes[3];
    for (; count > 0; count--, at += STRIPE) {
        a = mix_lane(a, ss_get64(at));
        b = mix_lane(b, ss_get64(at + 8));
        c = mix_lane(c, ss_get64(at + 16));
        d = mix_lane(d, ss_get64(at + 24));
    }
    sum->lanes[0] = a;
    sum->lanes[1] = b;
    sum->lanes[2] = c;
    sum->lanes[3] = d;
    return at;
}

void ss_checksum_add(ss_checksum *sum, const void *bytes, size_t length) {
    const uint8_t *at = bytes;
    size_t waiting = (size_t)(sum->length % STRIPE);
    sum->length += length;
    if (waiting > 0) {
        size_t more = STRIPE - waiting < length ? STRIPE - waiting : length;
        memcpy(sum->waiting + waiting, at, more);
        at += more;
        length -= more;
        if (waiting + more < STRIPE) return;
        mix_stripes(sum, sum->waiting, 1);
    }
    at = mix_stripes(sum, at, length / STRIPE);
    if (length % STRIPE > 0) memcpy(sum->waiting, at, length % STRIPE);
}

static uint64_t mix_tail(uint64_t hash, const uint8_t *at, size_t length) {
    for (; length >= 8; length -= 8, at += 8) hash = rotate(hash ^ mix_lane(0, ss_get64(at)), 27) * PRIME1 + PRIME4;
    if (length >= 4) {
        hash = rotate(hash ^ (uint64_t)ss_get32(at) * PRIME1, 23) * PRIME2 + PRIME3;
        length -= 4;
        at += 4;
    }
    for (; length > 0; length--, at++) hash = rotate(hash ^ (uint64_t)*at * PRIME5, 11) * PRIME1;
    return hash;
}

uint64_t ss_checksum_end(const ss_checksum *sum) {
    uint64_t hash = sum->seed + PRIME5;
    if (sum->length >= STRIPE) {
        const uint64_t *lanes = sum->lanes;
        hash = rotate(lanes[0], 1) + rotate(lanes[1], 7) + rotate(lanes[2], 12) + rotate(lanes[3], 18);
        for (int i = 0; i < 4; i++) hash = merge_lane(hash, lanes[i]);
    }
    hash = mix_tail(hash + sum->length, sum->waiting, (size_t)(sum->length % STRIPE));
    hash = (hash ^ hash >> 33) * PRIME2;
    hash = (hash ^ hash >> 29) * PRIME3;
    return hash ^ hash >> 32;
}

uint64_t ss_checksum_of(const void *bytes, size_t length, uint64_t seed) {
    ss_checksum sum;
    ss_checksum_begin(&sum, seed);
    ss_checksum_add(&sum, bytes, length);
    return ss_checksum_end(&sum);
}
