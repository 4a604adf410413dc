/* SPDX-License-Identifier: Apache-2.0 */
/* An answer in bytes while it is being made.
 *
 * It goes straight to the buffer of result.h, except from foreign memories: their callbacks run the user's code between
 * here and the end of the operation, and that code may call functions which use the buffer. There the answer waits in a
 * copy until it is given.
 */
#ifndef SS_ANSWER_H
#define SS_ANSWER_H

#include "memory/memory.h"

typedef struct ss_answer { /* starts as {0} */
    uint8_t *copy;
    uint64_t size;
} ss_answer;

/* Where to put `size` bytes read from `memory`; NULL (failure recorded) where the process has no memory left. */
uint8_t *ss_answer_room(ss_answer *answer, const ss_memory *memory, uint64_t size);
/* Takes the answer from the memory. */
int ss_answer_read(ss_answer *answer, const ss_memory *memory, uint64_t offset, uint64_t size);
/* Ends every function that has an answer, after the lock was left: what the function returns. */
int64_t ss_answer_give(ss_answer *answer, int status);

#endif
