/* SPDX-License-Identifier: Apache-2.0 */
/* A memory as its owner outside the core uses it: the four operations, each under the lock. */
#ifndef SS_ACCESS_H
#define SS_ACCESS_H

#include "memory/memory.h"

/* Pages, or a negative status. */
int64_t ss_access_size(ss_memory *memory);
/* The size before, or a negative status. */
int64_t ss_access_grow(ss_memory *memory, uint64_t pages);
int ss_access_read(ss_memory *memory, uint64_t offset, void *to, uint64_t length);
int ss_access_write(ss_memory *memory, uint64_t offset, const void *from, uint64_t length);
/* Grows by the fewest pages first; writes nothing where it cannot. */
int ss_access_write_growing(ss_memory *memory, uint64_t offset, const void *from, uint64_t length);
/* Pages of the root, SS_CLOSED, or SS_IN_USE if another thread is working on it: waits for nobody, and records nothing. */
int64_t ss_access_glance(ss_memory *memory);
/* First byte of a flat memory, *bytes of them; NULL (failure recorded) for the other kinds and after a close. The address
 * holds until the memory is freed; more bytes follow it when the memory grows. */
const uint8_t *ss_access_base(ss_memory *memory, uint64_t *bytes);
/* The root's generation (memory.h); valid while the memory lives, to be read without the lock. */
const uint64_t *ss_access_generation(const ss_memory *memory);
/* Pages for which a flat memory has address space; 0 for the other kinds. */
uint64_t ss_access_reserved_pages(const ss_memory *memory);

#endif
