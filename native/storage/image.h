/* SPDX-License-Identifier: Apache-2.0 */
/* Memories that begin with the bytes of a file. */
#ifndef SS_IMAGE_H
#define SS_IMAGE_H

#include "memory/memory.h"

/* Begins an empty anonymous memory with the first pages of a file, without copying them: they are read when they are looked at, and
 * what is written does not reach the file, which must stay as it is while the memory lives. SS_ARGUMENT if the memory is not
 * empty or not anonymous, SS_TRANSACTION, SS_SYSTEM if the file is short or cannot be mapped, SS_OUT_OF_MEMORY. */
int ss_memory_begin_with(ss_memory *memory, const char *path, uint64_t pages);

#endif
