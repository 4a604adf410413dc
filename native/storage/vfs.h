/* SPDX-License-Identifier: Apache-2.0 */
/* All that this library asks of the operating system about files, in one table: tests put a simulated disk here.
 *
 * A function returns 0 or an errno; none is repeated on EINTR and none completes a short transfer, the helpers below
 * the table do that. Files live in a directory that is held open, so that nothing depends on the working directory.
 * Locks are locks of the open file (two opens of one file exclude each other, in one process too), on bytes far behind
 * the end of the file: no byte is written and the size does not change.
 */
#ifndef SS_VFS_H
#define SS_VFS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum ss_vfs_open_flag {
    SS_OPEN_WRITE = 1, /* for reading and writing; else for reading */
    SS_OPEN_CREATE = 2 /* must not exist (EEXIST) */
};

enum ss_vfs_lock_kind { SS_UNLOCK, SS_LOCK_SHARED, SS_LOCK_EXCLUSIVE };

enum ss_vfs_map_kind {
    SS_MAP_PRIVATE, /* readable and writable; changes stay in this process */
    SS_MAP_SHARED,  /* readable and writable; changes are changes of the file */
    SS_MAP_READ     /* readable; shows the file */
};

typedef struct ss_vfs_status {
    uint64_t size, inode, device, links;
    unsigned permissions;
    bool regular;
} ss_vfs_status;

typedef struct ss_vfs {
    void *self;
    int (*open_directory)(void *self, const char *path, int *directory);
    /* Follows no symbolic link in the last place (ELOOP), never blocks on a pipe. */
    int (*open)(void *self, int directory, const char *name, unsigned flags, unsigned permissions, int *file);
    int (*close)(void *self, int file);
    int (*status)(void *self, int file, ss_vfs_status *status);
    int (*status_at)(void *self, int directory, const char *name, ss_vfs_status *status);
    /* When the file was last modified, in nanoseconds since 1970, as coarse as the file system's clock. Not part of its
     * status: where Linux was asked for the time, the next write notes a new one, which makes syncs of other files slower.
     * May be NULL: not known. */
    int (*modified)(void *self, int file, int64_t *nanoseconds);
    int (*read)(void *self, int file, void *to, size_t length, uint64_t offset, size_t *done);
    int (*write)(void *self, int file, const struct iovec *parts, int count, uint64_t offset, size_t *done);
    /* Whether what is written goes past the cache of the system: then memory, place and length must be whole blocks (EINVAL
     * else), and the next sync has less to do. Readers see the same bytes either way. May be NULL, and may fail. */
    int (*direct)(void *self, int file, bool is_direct);
    /* Data and size of the file are on the medium afterwards. */
    int (*sync)(void *self, int file);
    int (*resize)(void *self, int file, uint64_t size);
    /* Disk space for bytes [from, end), so that storing there cannot fail later; the size stays. EOPNOTSUPP where the
     * file system cannot; after any other failure some space may be taken, which (behind the end) a resize returns. */
    int (*reserve)(void *self, int file, uint64_t from, uint64_t end);
    /* The first bytes [*begin, *end) from `from` on, inside the file, that may have no disk space; ENXIO where all have it.
     * May be NULL: all have it. */
    int (*hole)(void *self, int file, uint64_t from, uint64_t *begin, uint64_t *end);
    /* Whether a load from a mapped hole may take disk space, as a store does. May be NULL: no. */
    bool (*loads_take_space)(void *self, int file);
    /* Where, from `offset` on, the first byte lies that the file has a block for; UINT64_MAX if none follows. May be NULL, and
     * may fail: not known. */
    int (*data_after)(void *self, int file, uint64_t offset, uint64_t *at);
    int (*rename)(void *self, int directory, const char *from, const char *to);
    int (*unlink)(void *self, int directory, const char *name);
    int (*sync_directory)(void *self, int directory);
    /* All of `count` bytes or none. Does not wait: EAGAIN where another open file holds the lock of one. */
    int (*lock)(void *self, int file, unsigned first, unsigned count, int kind);
    int (*locked)(void *self, int file, unsigned byte, bool *held);
    /* Bytes [offset, offset + length) of the file at address `at`, in place of what is there; NULL if files cannot be
     * mapped (then they are read). */
    int (*map)(void *self, int file, void *at, uint64_t offset, uint64_t length, int kind);
    int (*sync_map)(void *self, void *at, uint64_t length);
    /* Whether storing into bytes of the file that were written before never needs new disk space: then a mapping of them
     * can be stored to on a full disk. Not where the file system copies on write; nor, where the file may be cloned by a
     * user, where it does that after a clone. May be NULL: no. */
    bool (*stores_in_place)(void *self, int file, bool may_be_cloned);
    int (*random)(void *self, void *to, size_t length);
} ss_vfs;

/* The operating system itself. */
extern const ss_vfs ss_vfs_system;

/* The same, repeated on EINTR and until everything is done. Reading past the end is EIO, a write that makes no progress
 * ENOSPC. `parts` is used up. */
int ss_vfs_read_all(const ss_vfs *vfs, int file, void *to, size_t length, uint64_t offset);
int ss_vfs_write_all(const ss_vfs *vfs, int file, struct iovec *parts, size_t count, uint64_t offset);
int ss_vfs_write_bytes(const ss_vfs *vfs, int file, const void *from, size_t length, uint64_t offset);
int ss_vfs_sync(const ss_vfs *vfs, int file);
int ss_vfs_resize(const ss_vfs *vfs, int file, uint64_t size);
int ss_vfs_status_of(const ss_vfs *vfs, int file, ss_vfs_status *status);
int ss_vfs_status_at(const ss_vfs *vfs, int directory, const char *name, ss_vfs_status *status);
int ss_vfs_lock(const ss_vfs *vfs, int file, unsigned first, unsigned count, int kind);
int ss_vfs_locked(const ss_vfs *vfs, int file, unsigned byte, bool *held);
int ss_vfs_map(const ss_vfs *vfs, int file, void *at, uint64_t offset, uint64_t length, int kind);
int ss_vfs_sync_map(const ss_vfs *vfs, void *at, uint64_t length);
int ss_vfs_random(const ss_vfs *vfs, void *to, size_t length);
/* EOPNOTSUPP also where the table, or the system, has no such function. */
int ss_vfs_direct(const ss_vfs *vfs, int file, bool is_direct);
int ss_vfs_reserve(const ss_vfs *vfs, int file, uint64_t from, uint64_t end);
int ss_vfs_modified(const ss_vfs *vfs, int file, int64_t *nanoseconds);
int ss_vfs_data_after(const ss_vfs *vfs, int file, uint64_t offset, uint64_t *at);
/* The first hole from `from` on and before `size`, cut there; false if there is none, or nobody knows. */
bool ss_vfs_hole(const ss_vfs *vfs, int file, uint64_t from, uint64_t size, uint64_t *begin, uint64_t *end);
int ss_vfs_open_directory(const ss_vfs *vfs, const char *path, int *directory);
int ss_vfs_open(const ss_vfs *vfs, int directory, const char *name, unsigned flags, unsigned permissions, int *file);
int ss_vfs_sync_directory(const ss_vfs *vfs, int directory);
int ss_vfs_rename(const ss_vfs *vfs, int directory, const char *from, const char *to);
/* Whether a call failed because there is no such name, or can be none: that of a log is longer than that of its file. */
static inline bool ss_vfs_is_absent(int error) {
    return error == ENOENT || error == ENAMETOOLONG;
}
/* 0 also if there is no such name. */
int ss_vfs_unlink(const ss_vfs *vfs, int directory, const char *name);

#endif
