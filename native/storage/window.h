/* SPDX-License-Identifier: Apache-2.0 */
/* A shared mapping of a file that we write, from its beginning: a store costs a fraction of a call, and a killed process
 * leaves it to the system just the same. Only bytes that were written by a call before may be stored to: the file system
 * has room for them, and a store without room ends the process.
 */
#ifndef SS_WINDOW_H
#define SS_WINDOW_H

#include "storage/vfs.h"

typedef struct ss_window {
    bool may_be_cloned; /* the file, by a user: on some file systems that takes its room away */
    uint8_t *bytes;
    uint64_t room;      /* of address space at `bytes` */
    uint64_t shown;     /* bytes [0, shown) of the file may be stored to; 0: no window yet */
    bool is_stale;      /* the pages are clean since a sync: a new mapping makes them writable many at once, not each by a fault */
    bool is_impossible; /* not here */
} ss_window;

/* Whether the window shows bytes [0, end) of the file, which has `size`; it is made, or made larger, where that is possible. */
bool ss_window_shows(ss_window *window, const ss_vfs *vfs, int file, uint64_t end, uint64_t size);
/* The file is cut to `size`. */
void ss_window_cut(ss_window *window, uint64_t size);
void ss_window_close(ss_window *window);

#endif
