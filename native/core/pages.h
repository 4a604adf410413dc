/* SPDX-License-Identifier: Apache-2.0
 *
 * Address space and the pages in it: every mapping call of the core but those that go through a file's table of functions
 * (storage/vfs.h). This is the seam for a system without mmap (docs/versions.md#where-it-runs).
 *
 *   reserve ......... addresses, no memory, no access      release ... all of it back to the system
 *   commit .......... zeros that can be read and written    decommit .. no access again, memory given back
 *   renew ........... zeros in place of what was there      map ....... a file's bytes in place of what was there
 *
 * Lengths are multiples of the system's pages, but at the end of what was reserved. Every function that returns a bool
 * returns false with errno set if the system refuses, and then nothing has changed. */
#ifndef SS_PAGES_H
#define SS_PAGES_H

#include <stdbool.h>
#include <stdint.h>

/* What a store into mapped pages of a file does. */
typedef enum {
    SS_PAGES_PRIVATE, /* copies the page; the file stays */
    SS_PAGES_SHARED,  /* reaches the file */
    SS_PAGES_READ,    /* is a fault */
} ss_pages_kind;

void *ss_pages_reserve(uint64_t length); /* NULL if refused */
void *ss_pages_new(uint64_t length);     /* reserved and committed; NULL if refused */
void *ss_pages_of_file(int file, uint64_t length, ss_pages_kind kind);
void ss_pages_release(void *at, uint64_t length);

bool ss_pages_commit(void *at, uint64_t length);
bool ss_pages_decommit(void *at, uint64_t length);
bool ss_pages_renew(void *at, uint64_t length);
bool ss_pages_renew_readonly(void *at, uint64_t length);
bool ss_pages_map(void *at, int file, uint64_t offset, uint64_t length);

/* Moves pages over others in one step, so that no reader sees anything in between. False if the system has no such step. */
bool ss_pages_move(void *from, void *to, uint64_t length);

/* Private pages of a file show the file again; a hint for others. */
void ss_pages_forget(void *at, uint64_t length);

/* A hint: fewer, larger pages. */
void ss_pages_prefer_large(void *at, uint64_t length);

#endif
