/* SPDX-License-Identifier: Apache-2.0 */
/* The heap of a Wasm canister: bytes at an address that never moves, which can be put back to the last committed state.
 *
 *   base     what the instance runs on
 *   image    the committed state
 *
 * Two kinds. *Mapped*: image is a file in memory, base a private mapping of it; the kernel knows which pages differ, so a commit
 * costs O(pages changed) and a rollback one system call. *Copying*, where the system has no such file or does not tell the
 * pages: image is a second range, compared and copied whole, O(size).
 *
 * A mapped heap may stand on a file of the user (a snapshot), which is never written: chunks that no commit has touched are
 * mapped from it.
 *
 * Rules
 *  W1  base never moves; the range [0, size) of it is readable and writable; whatever is above traps.
 *  W2  Bytes above the committed size read as zeros when they come back.
 *  W3  After a fork parent and child have a heap each: whoever commits first to an image that a fork saw makes its own.
 */
#ifndef SS_HEAP_IMAGE_H
#define SS_HEAP_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ss_heap_image ss_heap_image;

enum ss_heap_kind { SS_HEAP_ANY, SS_HEAP_MAPPED, SS_HEAP_COPYING };

/* An empty heap of at most `max` bytes (a multiple of 64 KiB) in `reserved` bytes of address space. SS_HEAP_ANY: mapped where that
 * works here, which is tried once per process. SS_OUT_OF_MEMORY, SS_NO_HEAP, SS_ARGUMENT; SS_SYSTEM where it must be mapped and cannot. */
int ss_heap_image_new(uint64_t max, uint64_t reserved, int kind, ss_heap_image **out);
/* A copying or mapped heap of the same limits that holds what `heap` holds now, committed. */
int ss_heap_image_clone(const ss_heap_image *heap, ss_heap_image **out);
/* The heap goes with the last holder. NULL is allowed. */
void ss_heap_image_retain(ss_heap_image *heap);
void ss_heap_image_release(ss_heap_image *heap);
/* The same for one whose address is stored here, which may be NULL: afterwards it is. */
void ss_heap_image_release_at(ss_heap_image **at);

uint8_t *ss_heap_image_base(const ss_heap_image *heap);
uint64_t ss_heap_image_size(const ss_heap_image *heap);
uint64_t ss_heap_image_max(const ss_heap_image *heap);
uint64_t ss_heap_image_reserved(const ss_heap_image *heap);
bool ss_heap_image_is_mapped(const ss_heap_image *heap);
/* Pages of 4 KiB that the last commit kept. */
uint64_t ss_heap_image_changed(const ss_heap_image *heap);

/* Makes the heap `size` bytes; it never becomes smaller. SS_OUT_OF_MEMORY. */
int ss_heap_image_grow(ss_heap_image *heap, uint64_t size);
/* What base holds now is the committed state. */
int ss_heap_image_commit(ss_heap_image *heap);
/* Base holds the committed state again. 1 (SS_ABSENT) if it became smaller: an instance on it must be made again. */
int ss_heap_image_rollback(ss_heap_image *heap);

/* Begins a mapped heap with the bytes of a file, which must stay as it is while the heap lives. Copies where it is a copying one. */
int ss_heap_image_load(ss_heap_image *heap, const char *path, uint64_t size);
int ss_heap_image_read(const ss_heap_image *heap, uint64_t offset, void *to, uint64_t length);
int ss_heap_image_write(ss_heap_image *heap, uint64_t offset, const void *from, uint64_t length);

/* Whether mapped heaps work in this process. */
bool ss_heap_image_can_map(void);

#endif
