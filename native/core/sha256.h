/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4): what the platform's hash trees are hashed with. */
#ifndef SS_SHA256_H
#define SS_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SS_SHA256_SIZE 32
#define SS_SHA256_BLOCK 64

typedef struct ss_sha256 {
    uint32_t state[8];
    uint64_t length;
    uint8_t waiting[SS_SHA256_BLOCK];
} ss_sha256;

void ss_sha256_begin(ss_sha256 *hash);
void ss_sha256_add(ss_sha256 *hash, const void *bytes, uint64_t length);
void ss_sha256_end(ss_sha256 *hash, uint8_t digest[SS_SHA256_SIZE]);

/* Mixes whole blocks into the state: with the processor's instructions for it if it has them, else as the next one. */
void ss_sha256_blocks(uint32_t state[8], const uint8_t *at, uint64_t count);
void ss_sha256_blocks_portable(uint32_t state[8], const uint8_t *at, uint64_t count);

#endif
