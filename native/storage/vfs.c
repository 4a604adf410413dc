/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/magic.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#endif

#include "core/error.h"

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif
#ifndef IOV_MAX
#define IOV_MAX 1024
#endif

#if defined(__linux__) && !defined(XFS_SUPER_MAGIC)
#define XFS_SUPER_MAGIC 0x58465342
#endif
#if defined(__linux__) && !defined(F2FS_SUPER_MAGIC)
#define F2FS_SUPER_MAGIC 0xF2F52010
#endif

/* Far behind every possible file. */
#define LOCK_BASE (INT64_C(1) << 62)

/* Older SDKs of macOS keep these names to themselves; the kernel has had them since 2015. */
#if defined(__APPLE__) && !defined(F_OFD_SETLK)
#define F_OFD_SETLK 90
#define F_OFD_GETLK 92
#endif

static int outcome(int result) {
    return result < 0 ? errno : 0;
}

/* ---- names ---- */

static int system_open_directory(void *self, const char *path, int *directory) {
    (void)self;
    *directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return outcome(*directory);
}

static int system_open(void *self, int directory, const char *name, unsigned flags, unsigned permissions, int *file) {
    (void)self;
    int how = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    how |= flags & SS_OPEN_WRITE ? O_RDWR : O_RDONLY;
    if (flags & SS_OPEN_CREATE) how |= O_CREAT | O_EXCL;
    *file = openat(directory, name, how, (mode_t)permissions);
    return outcome(*file);
}

static int system_close(void *self, int file) {
    (void)self;
    return outcome(close(file));
}

static void to_status(const struct stat *from, ss_vfs_status *to) {
    to->size = (uint64_t)from->st_size;
    to->inode = (uint64_t)from->st_ino;
    to->device = (uint64_t)from->st_dev;
    to->links = (uint64_t)from->st_nlink;
    to->permissions = (unsigned)from->st_mode & 0777u;
    to->regular = S_ISREG(from->st_mode);
}

#ifdef STATX_SIZE
/* What to_status takes, and no times. */
static int status_without_times(int file, struct stat *st) {
    struct statx got;
    int error = outcome(statx(file, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_INO | STATX_SIZE, &got));
    if (error != 0) return error;
    st->st_size = (off_t)got.stx_size;
    st->st_ino = (ino_t)got.stx_ino;
    st->st_dev = makedev(got.stx_dev_major, got.stx_dev_minor);
    st->st_nlink = (nlink_t)got.stx_nlink;
    st->st_mode = (mode_t)got.stx_mode;
    return 0;
}
#else
static int status_without_times(int file, struct stat *st) {
    (void)file, (void)st;
    return ENOSYS;
}
#endif

static int system_status(void *self, int file, ss_vfs_status *status) {
    (void)self;
    struct stat st;
    /* An old kernel or a strict sandbox may not have it. */
    if (status_without_times(file, &st) != 0 && fstat(file, &st) != 0) return errno;
    to_status(&st, status);
    return 0;
}

static int system_status_at(void *self, int directory, const char *name, ss_vfs_status *status) {
    (void)self;
    struct stat st;
    if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return errno;
    to_status(&st, status);
    return 0;
}

static int system_modified(void *self, int file, int64_t *nanoseconds) {
    (void)self;
    struct stat st;
    if (fstat(file, &st) != 0) return errno;
#ifdef __APPLE__
    const struct timespec *modified = &st.st_mtimespec;
#else
    const struct timespec *modified = &st.st_mtim;
#endif
    *nanoseconds = (int64_t)modified->tv_sec * 1000000000 + modified->tv_nsec;
    return 0;
}

static int system_rename(void *self, int directory, const char *from, const char *to) {
    (void)self;
    return outcome(renameat(directory, from, directory, to));
}

static int system_unlink(void *self, int directory, const char *name) {
    (void)self;
    return outcome(unlinkat(directory, name, 0));
}

static int system_sync_directory(void *self, int directory) {
    (void)self;
    return outcome(fsync(directory));
}

/* ---- bytes ---- */

/* Growing past RLIMIT_FSIZE would not only fail but send SIGXFSZ, which ends a process that does not expect it. */
static bool over_limit(uint64_t end) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return false;
    return end > (uint64_t)limit.rlim_cur;
}

static int system_read(void *self, int file, void *to, size_t length, uint64_t offset, size_t *done) {
    (void)self;
    ssize_t got = pread(file, to, length, (off_t)offset);
    if (got < 0) return errno;
    *done = (size_t)got;
    return 0;
}

static int system_write(void *self, int file, const struct iovec *parts, int count, uint64_t offset, size_t *done) {
    (void)self;
    uint64_t end = offset;
    for (int i = 0; i < count; i++) end += parts[i].iov_len;
    if (over_limit(end)) return EFBIG;
    ssize_t put = pwritev(file, parts, count, (off_t)offset);
    if (put < 0) return errno;
    *done = (size_t)put;
    return 0;
}

static int system_direct(void *self, int file, bool is_direct) {
    (void)self;
#ifdef O_DIRECT
    int flags = fcntl(file, F_GETFL);
    if (flags < 0) return errno;
    return outcome(fcntl(file, F_SETFL, is_direct ? flags | O_DIRECT : flags & ~O_DIRECT));
#else
    (void)file;
    return is_direct ? EOPNOTSUPP : 0;
#endif
}

static int system_sync(void *self, int file) {
    (void)self;
#ifdef __APPLE__
    /* fsync alone leaves the data in the drive's cache. */
    if (fcntl(file, F_FULLFSYNC) == 0) return 0;
    return outcome(fsync(file));
#else
    return outcome(fdatasync(file));
#endif
}

static int system_resize(void *self, int file, uint64_t size) {
    (void)self;
    struct stat st;
    if (over_limit(size) && (fstat(file, &st) != 0 || size > (uint64_t)st.st_size)) return EFBIG;
    return outcome(ftruncate(file, (off_t)size));
}

static int system_reserve(void *self, int file, uint64_t from, uint64_t end) {
    (void)self;
    if (over_limit(end)) return EFBIG;
#if defined(__linux__)
    return outcome(fallocate(file, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(end - from)));
#elif defined(__APPLE__)
    struct stat st;
    /* What is reserved comes behind the end of the file. */
    if (fstat(file, &st) != 0) return errno;
    if (end <= (uint64_t)st.st_size) return EOPNOTSUPP;
    fstore_t store = {.fst_flags = F_ALLOCATEALL, .fst_posmode = F_PEOFPOSMODE, .fst_length = (off_t)(end - from)};
    if (fcntl(file, F_PREALLOCATE, &store) == 0) return 0;
    return errno == ENOTSUP ? EOPNOTSUPP : errno;
#else
    (void)file, (void)from;
    return EOPNOTSUPP;
#endif
}

/* Space that is reserved and was never written counts as a hole: no harm, as reserving it again costs nothing. */
static int system_hole(void *self, int file, uint64_t from, uint64_t *begin, uint64_t *end) {
    (void)self;
#if defined(SEEK_HOLE) && defined(SEEK_DATA)
    struct stat st;
    off_t hole = lseek(file, (off_t)from, SEEK_HOLE);
    if (hole < 0 || fstat(file, &st) != 0) return errno;
    if (hole >= st.st_size) return ENXIO;
    off_t data = lseek(file, hole, SEEK_DATA);
    if (data < 0 && errno != ENXIO) return errno;
    *begin = (uint64_t)hole;
    *end = (uint64_t)(data < 0 ? st.st_size : data);
    return 0;
#else
    (void)file, (void)from, (void)begin, (void)end;
    return EOPNOTSUPP;
#endif
}

static int system_data_after(void *self, int file, uint64_t offset, uint64_t *at) {
    (void)self;
#if defined(SEEK_DATA)
    off_t found = lseek(file, (off_t)offset, SEEK_DATA);
    if (found < 0 && errno != ENXIO) return errno;
    *at = found < 0 ? UINT64_MAX : (uint64_t)found;
    return 0;
#else
    (void)file, (void)offset, (void)at;
    return EOPNOTSUPP;
#endif
}

/* Of the others, tmpfs does it, and what lies below an overlay is not seen. */
static bool system_loads_take_space(void *self, int file) {
    (void)self;
#ifdef __linux__
    struct statfs fs;
    if (fstatfs(file, &fs) != 0) return true;
    unsigned long type = (unsigned long)fs.f_type;
    return type != EXT4_SUPER_MAGIC && type != XFS_SUPER_MAGIC && type != BTRFS_SUPER_MAGIC && type != F2FS_SUPER_MAGIC;
#else
    (void)file;
    return false;
#endif
}

/* ---- locks ---- */

static int system_lock(void *self, int file, unsigned first, unsigned count, int kind) {
    (void)self;
    struct flock lock = {.l_whence = SEEK_SET, .l_start = (off_t)(LOCK_BASE + first), .l_len = (off_t)count};
    lock.l_type = (short)(kind == SS_UNLOCK ? F_UNLCK : kind == SS_LOCK_SHARED ? F_RDLCK : F_WRLCK);
    if (fcntl(file, F_OFD_SETLK, &lock) == 0) return 0;
    return errno == EACCES ? EAGAIN : errno;
}

static int system_locked(void *self, int file, unsigned byte, bool *held) {
    (void)self;
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = (off_t)(LOCK_BASE + byte), .l_len = 1};
    if (fcntl(file, F_OFD_GETLK, &lock) != 0) return errno;
    *held = lock.l_type != F_UNLCK;
    return 0;
}

/* ---- mapping ---- */

static int system_map(void *self, int file, void *at, uint64_t offset, uint64_t length, int kind) {
    (void)self;
    int access = kind == SS_MAP_READ ? PROT_READ : PROT_READ | PROT_WRITE;
    int flags = kind == SS_MAP_PRIVATE ? MAP_PRIVATE | MAP_NORESERVE : MAP_SHARED;
    return mmap(at, length, access, flags | MAP_FIXED, file, (off_t)offset) == MAP_FAILED ? errno : 0;
}

static int system_sync_map(void *self, void *at, uint64_t length) {
    (void)self;
    return outcome(msync(at, length, MS_SYNC));
}

static bool system_stores_in_place(void *self, int file, bool may_be_cloned) {
    (void)self;
#ifdef __linux__
    struct statfs fs;
    if (fstatfs(file, &fs) != 0) return false;
    return fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == TMPFS_MAGIC || (fs.f_type == XFS_SUPER_MAGIC && !may_be_cloned);
#else
    (void)file, (void)may_be_cloned;
    return false;
#endif
}

static int system_random(void *self, void *to, size_t length) {
    (void)self;
    return outcome(getentropy(to, length));
}

const ss_vfs ss_vfs_system = {
    .open_directory = system_open_directory,
    .open = system_open,
    .close = system_close,
    .status = system_status,
    .status_at = system_status_at,
    .modified = system_modified,
    .read = system_read,
    .write = system_write,
    .direct = system_direct,
    .sync = system_sync,
    .resize = system_resize,
    .reserve = system_reserve,
    .hole = system_hole,
    .loads_take_space = system_loads_take_space,
    .data_after = system_data_after,
    .rename = system_rename,
    .unlink = system_unlink,
    .sync_directory = system_sync_directory,
    .lock = system_lock,
    .locked = system_locked,
    .map = system_map,
    .sync_map = system_sync_map,
    .stores_in_place = system_stores_in_place,
    .random = system_random,
};

/* ---- helpers ---- */

#define RETRY(call)               \
    do {                          \
        int error;                \
        do {                      \
            error = (call);       \
        } while (error == EINTR); \
        return error;             \
    } while (0)

int ss_vfs_read_all(const ss_vfs *vfs, int file, void *to, size_t length, uint64_t offset) {
    for (uint8_t *next = to; length > 0;) {
        size_t done = 0;
        int error = vfs->read(vfs->self, file, next, length, offset, &done);
        if (error == EINTR) continue;
        if (error != 0) return error;
        if (done == 0) return EIO;
        next += done;
        offset += done;
        length -= done;
    }
    return 0;
}

/* Drops the first `done` bytes of the parts; returns how many parts were used up. */
static size_t advance(struct iovec *parts, size_t count, size_t done) {
    size_t used = 0;
    while (used < count && done >= parts[used].iov_len) done -= parts[used++].iov_len;
    if (used < count) {
        parts[used].iov_base = (uint8_t *)parts[used].iov_base + done;
        parts[used].iov_len -= done;
    }
    return used;
}

int ss_vfs_write_all(const ss_vfs *vfs, int file, struct iovec *parts, size_t count, uint64_t offset) {
    while (count > 0) {
        size_t done = 0;
        int now = count < IOV_MAX ? (int)count : IOV_MAX;
        int error = vfs->write(vfs->self, file, parts, now, offset, &done);
        if (error == EINTR) continue;
        if (error != 0) return error;
        if (done == 0) return ENOSPC;
        offset += done;
        size_t used = advance(parts, count, done);
        parts += used;
        count -= used;
    }
    return 0;
}

int ss_vfs_write_bytes(const ss_vfs *vfs, int file, const void *from, size_t length, uint64_t offset) {
    struct iovec part;
    memcpy(&part.iov_base, &from, sizeof from); /* iovec knows no const */
    part.iov_len = length;
    return length == 0 ? 0 : ss_vfs_write_all(vfs, file, &part, 1, offset);
}

int ss_vfs_sync(const ss_vfs *vfs, int file) {
    RETRY(vfs->sync(vfs->self, file));
}

int ss_vfs_resize(const ss_vfs *vfs, int file, uint64_t size) {
    RETRY(vfs->resize(vfs->self, file, size));
}

int ss_vfs_status_of(const ss_vfs *vfs, int file, ss_vfs_status *status) {
    RETRY(vfs->status(vfs->self, file, status));
}

int ss_vfs_status_at(const ss_vfs *vfs, int directory, const char *name, ss_vfs_status *status) {
    RETRY(vfs->status_at(vfs->self, directory, name, status));
}

int ss_vfs_lock(const ss_vfs *vfs, int file, unsigned first, unsigned count, int kind) {
    RETRY(vfs->lock(vfs->self, file, first, count, kind));
}

int ss_vfs_locked(const ss_vfs *vfs, int file, unsigned byte, bool *held) {
    RETRY(vfs->locked(vfs->self, file, byte, held));
}

int ss_vfs_map(const ss_vfs *vfs, int file, void *at, uint64_t offset, uint64_t length, int kind) {
    RETRY(vfs->map(vfs->self, file, at, offset, length, kind));
}

int ss_vfs_sync_map(const ss_vfs *vfs, void *at, uint64_t length) {
    RETRY(vfs->sync_map(vfs->self, at, length));
}

int ss_vfs_random(const ss_vfs *vfs, void *to, size_t length) {
    RETRY(vfs->random(vfs->self, to, length));
}

int ss_vfs_direct(const ss_vfs *vfs, int file, bool is_direct) {
    if (vfs->direct == NULL) return EOPNOTSUPP;
    RETRY(vfs->direct(vfs->self, file, is_direct));
}

int ss_vfs_reserve(const ss_vfs *vfs, int file, uint64_t from, uint64_t end) {
    int error;
    do {
        error = vfs->reserve(vfs->self, file, from, end);
    } while (error == EINTR);
    return error == ENOSYS ? EOPNOTSUPP : error;
}

int ss_vfs_modified(const ss_vfs *vfs, int file, int64_t *nanoseconds) {
    if (vfs->modified == NULL) return EOPNOTSUPP;
    RETRY(vfs->modified(vfs->self, file, nanoseconds));
}

int ss_vfs_data_after(const ss_vfs *vfs, int file, uint64_t offset, uint64_t *at) {
    if (vfs->data_after == NULL) return EOPNOTSUPP;
    RETRY(vfs->data_after(vfs->self, file, offset, at));
}

static int find_hole(const ss_vfs *vfs, int file, uint64_t from, uint64_t *begin, uint64_t *end) {
    RETRY(vfs->hole(vfs->self, file, from, begin, end));
}

bool ss_vfs_hole(const ss_vfs *vfs, int file, uint64_t from, uint64_t size, uint64_t *begin, uint64_t *end) {
    if (from >= size || vfs->hole == NULL || find_hole(vfs, file, from, begin, end) != 0 || *begin >= size) return false;
    if (*end > size) *end = size;
    return *begin < *end;
}

int ss_vfs_open_directory(const ss_vfs *vfs, const char *path, int *directory) {
    RETRY(vfs->open_directory(vfs->self, path, directory));
}

int ss_vfs_open(const ss_vfs *vfs, int directory, const char *name, unsigned flags, unsigned permissions, int *file) {
    RETRY(vfs->open(vfs->self, directory, name, flags, permissions, file));
}

int ss_vfs_sync_directory(const ss_vfs *vfs, int directory) {
    RETRY(vfs->sync_directory(vfs->self, directory));
}

int ss_vfs_rename(const ss_vfs *vfs, int directory, const char *from, const char *to) {
    RETRY(vfs->rename(vfs->self, directory, from, to));
}

int ss_vfs_unlink(const ss_vfs *vfs, int directory, const char *name) {
    int error;
    do {
        error = vfs->unlink(vfs->self, directory, name);
    } while (error == EINTR);
    return ss_vfs_is_absent(error) ? 0 : error;
}
