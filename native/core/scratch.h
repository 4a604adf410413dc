/* SPDX-License-Identifier: Apache-2.0 */
/* Working storage for one operation: allocations are freed together when the next operation resets it.
 *
 * A scratch keeps one block of at most SS_SCRATCH_KEPT bytes between operations, so that the usual operation
 * allocates nothing. Pointers stay valid until the reset.
 */
#ifndef SS_SCRATCH_H
#define SS_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

#define SS_SCRATCH_KEPT ((size_t)64 * 1024)

struct ss_scratch_block;

typedef struct ss_scratch {
    struct ss_scratch_block *block; /* the newest; the others hang behind it */
    size_t used;
} ss_scratch;

/* NULL if the process has no memory left (the failure is recorded). Aligned to 16 bytes. */
void *ss_scratch_take(ss_scratch *scratch, size_t size);
/* A place to come back to: everything taken after the mark is freed by the rewind. */
typedef struct ss_scratch_mark {
    struct ss_scratch_block *block;
    size_t used;
} ss_scratch_mark;

ss_scratch_mark ss_scratch_at(const ss_scratch *scratch);
void ss_scratch_rewind(ss_scratch *scratch, ss_scratch_mark mark);

void ss_scratch_reset(ss_scratch *scratch);
void ss_scratch_free(ss_scratch *scratch);

#endif
