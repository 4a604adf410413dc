/* SPDX-License-Identifier: Apache-2.0 */
/* Views: bytes of a flat memory that are handed out in place. They stay readable until they are dropped, whatever becomes
 * of the memory: where its pages show a file, the views get memory of their own when the file is closed, since nobody
 * keeps a closed file from being cut, and reading a page that a file does not have any more ends the process.
 */
#ifndef SS_VIEWS_H
#define SS_VIEWS_H

#include "memory/memory.h"
#include "storage/vfs.h"

/* What the views of a file may hold, beside zeros, when it is closed: 1 GiB. */
#define SS_VIEWS_KEPT (UINT64_C(1) << 30)

typedef struct ss_view {
    const uint8_t *bytes;
    uint64_t offset, length;
    ss_memory *memory; /* which it keeps; NULL: none was taken */
    struct ss_view *next, **link;
} ss_view;

/* Bytes [offset, offset + length) of a flat memory, or from there to its end (length UINT64_MAX). SS_OUT_OF_BOUNDS, SS_CLOSED. */
int ss_view_take(ss_view *view, ss_memory *memory, uint64_t offset, uint64_t length);
/* Idempotent. */
void ss_view_drop(ss_view *view);

/* What the root shows of a file. */
typedef struct ss_shown {
    uint64_t bytes; /* [0, bytes) of the root */
    uint64_t there; /* size of the file now, which another program may have cut */
    const ss_vfs *vfs;
    int file;
    bool is_same; /* the root holds what the file holds, so holes of the file are zeros */
} ss_shown;

/* For storages, the lock is held: what views show of the file becomes memory of its own, with the same bytes (zeros for
 * those that the file has lost). SS_IN_USE if that is more than SS_VIEWS_KEPT, or more than the system gives; nothing
 * was changed then. */
int ss_views_keep(ss_root *root, const ss_shown *shown);

#endif
