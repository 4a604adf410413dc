/* SPDX-License-Identifier: Apache-2.0 */
/* XXH64, by the public specification of the algorithm: the sum over headers and records of the log. */
#ifndef SS_CHECKSUM_H
#define SS_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

typedef struct ss_checksum {
    uint64_t lanes[4];
    uint64_t seed, length;
    uint8_t waiting[32]; /* the last length % 32 bytes */
} ss_checksum;

void ss_checksum_begin(ss_checksum *sum, uint64_t seed);
void ss_checksum_add(ss_checksum *sum, const void *bytes, size_t length);
uint64_t ss_checksum_end(const ss_checksum *sum);

uint64_t ss_checksum_of(const void *bytes, size_t length, uint64_t seed);

#endif
