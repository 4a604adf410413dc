/* SPDX-License-Identifier: Apache-2.0 */
/* Files without a log (durability none): the mapping is the file, and every store is a change of the file.
 *
 * A rollback makes such a file shorter. A reader in another process may be looking at the pages that go, and a page that its file
 * does not have any more would end it: so the file is cut only while nobody reads. Until then it stays as long as it was, with zeros.
 */
#include <errno.h>

#include "storage/file_private.h"

static int write_zeros(ss_file *file, uint64_t from, uint64_t end) {
    static const uint8_t zeros[SS_PAGE_SIZE];
    int error = 0;
    while (error == 0 && from < end) {
        uint64_t length = end - from < sizeof zeros ? end - from : sizeof zeros;
        error = ss_vfs_write_bytes(file->vfs, file->main, zeros, (size_t)length, from);
        from += length;
    }
    return error;
}

/* Disk space first: a store into a mapped hole on a full disk would end the process. */
static int extend_file(ss_file *file, uint64_t from, uint64_t end) {
    int error = ss_vfs_reserve(file->vfs, file->main, from, end);
    if (error == 0) error = ss_vfs_resize(file->vfs, file->main, end);
    if (error == EOPNOTSUPP) error = write_zeros(file, from, end);
    if (error != 0) (void)ss_vfs_resize(file->vfs, file->main, from);
    return error;
}

static bool nobody_reads(ss_file *file) {
    return ss_file_lock(file, LOCK_GATE_AND_READ, SS_LOCK_EXCLUSIVE, 0) == 0;
}

static int cut_and_unlock(ss_file *file, uint64_t pages) {
    int error = ss_vfs_resize(file->vfs, file->main, pages * SS_PAGE_SIZE);
    if (error == 0) file->file_pages = pages;
    ss_file_unlock_after_change(file);
    return error;
}

static void try_to_cut(ss_file *file, uint64_t pages) {
    if (file->file_pages > pages && nobody_reads(file)) (void)cut_and_unlock(file, pages);
}

static int shared_begin(void *self) {
    ss_file *file = self;
    int status = ss_file_check_now_and_then(file);
    if (status == SS_OK) try_to_cut(file, file->root->pages);
    return status;
}

static int shared_grow(void *self, uint64_t old_pages, uint64_t new_pages) {
    ss_file *file = self;
    uint64_t size = file->file_pages * SS_PAGE_SIZE;
    int error = file->file_pages < new_pages ? extend_file(file, size, new_pages * SS_PAGE_SIZE) : 0;
    if (error != 0) return ss_fail_errno(error, "disk space for a growing file", size);
    if (file->file_pages < new_pages) file->file_pages = new_pages;
    int status = ss_file_map(file, old_pages, new_pages, SS_MAP_SHARED);
    if (status != SS_OK) try_to_cut(file, old_pages);
    return status;
}

/* The pages that go become private zeros first, so that a view of them does not fault when the file is cut. Those that the file keeps
 * are zeros when they come back. */
static void shared_shrink(void *self, uint64_t old_pages, uint64_t new_pages) {
    ss_file *file = self;
    uint64_t from = new_pages * SS_PAGE_SIZE, end = old_pages * SS_PAGE_SIZE;
    bool cuts = nobody_reads(file);
    if (!cuts) memset(file->root->base + from, 0, end - from);
    ss_root_zero(file->root, new_pages, old_pages);
    file->mapped_pages = new_pages;
    if (cuts && cut_and_unlock(file, new_pages) != 0) (void)write_zeros(file, from, end);
}

/* Waits for readers that stay, as the end of every file does; if they stay longer, the file keeps its pages of zeros. */
static int shared_close(void *self) {
    ss_file *file = self;
    bool longer = file->opened && !file->root->closed && file->file_pages > file->root->pages;
    int status = longer ? ss_file_lock_for_change(file, ss_memory_patience(file->root)) : SS_OK;
    if (longer && status == SS_OK) (void)cut_and_unlock(file, file->root->pages);
    struct ss_failure reason = *ss_last_failure();
    int closed = ss_file_close_plain(file);
    if (closed != SS_OK || status == SS_OK) return closed;
    return ss_fail(reason.status, reason.rule, reason.address, reason.number, reason.limit);
}

static int shared_make_room(void *self, uint64_t offset, uint64_t length) {
    ss_file *file = self;
    if (length == 0 || file->root->forked) return SS_OK;
    return ss_holes_fill(&file->holes, file->vfs, file->main, offset / SS_PAGE_SIZE, (offset + length - 1) / SS_PAGE_SIZE + 1);
}

static int shared_sync(void *self) {
    ss_file *file = self;
    int error = file->mapped_pages == 0 ? 0 : ss_vfs_sync_map(file->vfs, file->root->base, file->mapped_pages * SS_PAGE_SIZE);
    if (error == 0) error = ss_vfs_sync(file->vfs, file->main);
    return error == 0 ? SS_OK : ss_file_die(file, SS_COMMIT_UNKNOWN, "the disk failed to store the file", (uint64_t)error, 0);
}

const ss_backing_ops ss_shared_ops = {
    .begin = shared_begin,
    .grow = shared_grow,
    .shrink = shared_shrink,
    .make_room = shared_make_room,
    .data_after = ss_file_data_after,
    .sync = shared_sync,
    .checkpoint = shared_sync,
    .close = shared_close,
    .free = ss_file_free,
};

int ss_shared_open(ss_file *file) {
    ss_vfs_status now;
    int status = ss_file_status(file, &now);
    if (status == SS_OK) status = ss_file_check_size(file, now.size);
    if (status != SS_OK) return status;
    file->file_pages = file->root->pages = now.size / SS_PAGE_SIZE;
    status = ss_holes_find(&file->holes, file->vfs, file->main, file->file_pages, file->covers ? 1 : SS_CACHED_PAGES);
    if (status == SS_OK) status = ss_file_map_all(file, SS_MAP_SHARED);
    if (status != SS_OK) return status;
    if (file->holes.pages > 0) file->root->watch |= SS_WATCH_ROOM;
    if (file->covers) file->holes.covered = file->root->base;
    int error = ss_file_lock(file, LOCK_READY, SS_LOCK_EXCLUSIVE, 0);
    return error == 0 ? SS_OK : ss_file_lock_failure(error, "another handle has the file open for writing");
}
