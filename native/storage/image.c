/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/image.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/pages.h"
#include "memory/access.h"
#include "storage/journal.h"

/* Maps the file over the pages, which exist already. */
static int map_over(ss_root *root, int file, uint64_t bytes) {
    struct stat about;
    if (fstat(file, &about) != 0) return ss_fail_errno(errno, "the file of an image", 0);
    if ((uint64_t)about.st_size < bytes) return ss_fail(SS_SYSTEM, "the file of an image is short", (uint64_t)about.st_size, EIO, bytes);
    if (!ss_pages_map(root->base, file, 0, bytes)) {
        return ss_fail_errno(errno, "the file of an image cannot be mapped", 0);
    }
    root->watch &= ~(unsigned)SS_WATCH_FRESH;
    return SS_OK;
}

static int begin_with(ss_memory *memory, int file, uint64_t pages) {
    uint64_t old = 0;
    if (memory->root->pages != 0) return ss_fail(SS_ARGUMENT, "only an empty memory begins with a file", 0, memory->root->pages, 0);
    int status = ss_memory_grow(memory, pages, &old);
    if (status != SS_OK || pages == 0) return status;
    status = map_over(memory->root, file, pages * SS_PAGE_SIZE);
    if (status != SS_OK) ss_root_shrink(memory->root, 0);
    return status;
}

int ss_memory_begin_with(ss_memory *memory, const char *path, uint64_t pages) {
    if (memory->kind != SS_FLAT)
        return ss_fail(SS_ARGUMENT, "only an anonymous memory begins with a file", 0, (uint64_t)memory->kind, SS_FLAT);
    int64_t now = ss_access_size(memory);
    if (now < 0) return (int)now;
    /* Whoever may shrink is anonymous and in no transaction; to the size that it has, nothing happens. */
    int status = ss_memory_shrink(memory, (uint64_t)now);
    if (status != SS_OK) return status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return ss_fail_errno(errno, "the file of an image cannot be opened", 0);
    status = ss_enter_write(memory);
    if (status == SS_OK) status = ss_leave_write(memory, begin_with(memory, file, pages));
    close(file);
    return status;
}
