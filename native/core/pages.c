/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pages.h"

#include <stddef.h>
#include <sys/mman.h>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif
#define FRESH (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
#define READ_WRITE (PROT_READ | PROT_WRITE)

static void *found(void *at) {
    return at == MAP_FAILED ? NULL : at;
}

void *ss_pages_reserve(uint64_t length) {
    return found(mmap(NULL, length, PROT_NONE, FRESH, -1, 0));
}

void *ss_pages_new(uint64_t length) {
    return found(mmap(NULL, length, READ_WRITE, FRESH, -1, 0));
}

void *ss_pages_of_file(int file, uint64_t length, ss_pages_kind kind) {
    int access = kind == SS_PAGES_READ ? PROT_READ : READ_WRITE, flags = kind == SS_PAGES_SHARED ? MAP_SHARED : MAP_PRIVATE;
    return found(mmap(NULL, length, access, flags | MAP_NORESERVE, file, 0));
}

void ss_pages_release(void *at, uint64_t length) {
    if (at != NULL && length > 0) munmap(at, length);
}

bool ss_pages_commit(void *at, uint64_t length) {
    return mprotect(at, length, READ_WRITE) == 0;
}

static bool replace(void *at, uint64_t length, int access) {
    return mmap(at, length, access, FRESH | MAP_FIXED, -1, 0) != MAP_FAILED;
}

bool ss_pages_decommit(void *at, uint64_t length) {
    return replace(at, length, PROT_NONE);
}

bool ss_pages_renew(void *at, uint64_t length) {
    return replace(at, length, READ_WRITE);
}

bool ss_pages_renew_readonly(void *at, uint64_t length) {
    return replace(at, length, PROT_READ);
}

bool ss_pages_map(void *at, int file, uint64_t offset, uint64_t length) {
    return mmap(at, length, READ_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file, (off_t)offset) != MAP_FAILED;
}

bool ss_pages_move(void *from, void *to, uint64_t length) {
#ifdef MREMAP_FIXED
    return mremap(from, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED;
#else
    (void)from, (void)to, (void)length;
    return false;
#endif
}

void ss_pages_forget(void *at, uint64_t length) {
    (void)madvise(at, length, MADV_DONTNEED);
}

void ss_pages_prefer_large(void *at, uint64_t length) {
#ifdef MADV_HUGEPAGE
    (void)madvise(at, length, MADV_HUGEPAGE);
#else
    (void)at, (void)length;
#endif
}
