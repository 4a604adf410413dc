/* SPDX-License-Identifier: Apache-2.0 */
/* The holes of a file that is mapped: parts of it that have no disk space. A store into a mapped hole takes some, and on
 * some file systems a load does too; if the disk has none left, the system ends the process. So
 *
 *   stores   a page of the memory gets its disk space by a call before the first store to it, or the first commit of it
 *   loads    where they take space too, zeros of our own lie over the holes until then
 */
#ifndef SS_HOLES_H
#define SS_HOLES_H

#include "storage/blocks.h"
#include "storage/vfs.h"

typedef struct ss_holes {
    uint64_t pages;       /* of the file when it was looked at; 0: it had no holes. What it grows by later has its space */
    uint64_t unit;        /* pages that are filled together */
    ss_block_bits filled; /* a bit for each unit: it has its disk space */
    uint8_t *covered;     /* the memory, where zeros lie over its holes and are to go when they are filled; else NULL */
} ss_holes;

/* For what is stored through a mapping: the system caches files in pieces of up to 2 MiB, and a store to one of its bytes
 * asks for the disk space of the whole piece. */
#define SS_CACHED_PAGES UINT64_C(32)

/* Looks whether the file, of `pages` pages, has holes. */
int ss_holes_find(ss_holes *holes, const ss_vfs *vfs, int file, uint64_t pages, uint64_t unit);
/* Puts zeros over the holes among bytes [0, size) of the file, which is mapped at `base` in the given way. */
int ss_holes_cover(const ss_vfs *vfs, int file, uint8_t *base, uint64_t size, int kind);
/* The units of pages first..end get what they lack of disk space; what they hold stays. SS_OUT_OF_MEMORY if there is none. */
int ss_holes_fill(ss_holes *holes, const ss_vfs *vfs, int file, uint64_t first, uint64_t end);
void ss_holes_free(ss_holes *holes);

#endif
