/* SPDX-License-Identifier: Apache-2.0 */
/* A system that interrupts each call once (EINTR), as one may where a signal comes, on files of the network and of other programs
 * (NFS, FUSE) in every call: nobody notices. So it is with a system that lacks the calls which need not be there. */
#include <errno.h>

#include "memory/access.h"
#include "support/files.h"

static ss_vfs interrupted;
static unsigned calls;

#define INTERRUPTS                          \
    do {                                    \
        if (++calls % 2 != 0) return EINTR; \
    } while (0)

static int open_directory(void *self, const char *path, int *directory) {
    INTERRUPTS;
    return ss_vfs_system.open_directory(self, path, directory);
}

static int open_file(void *self, int directory, const char *name, unsigned flags, unsigned permissions, int *file) {
    INTERRUPTS;
    return ss_vfs_system.open(self, directory, name, flags, permissions, file);
}

static int status(void *self, int file, ss_vfs_status *out) {
    INTERRUPTS;
    return ss_vfs_system.status(self, file, out);
}

static int status_at(void *self, int directory, const char *name, ss_vfs_status *out) {
    INTERRUPTS;
    return ss_vfs_system.status_at(self, directory, name, out);
}

static int modified(void *self, int file, int64_t *nanoseconds) {
    INTERRUPTS;
    return ss_vfs_system.modified(self, file, nanoseconds);
}

static int read_file(void *self, int file, void *to, size_t length, uint64_t offset, size_t *done) {
    INTERRUPTS;
    return ss_vfs_system.read(self, file, to, length, offset, done);
}

static int write_file(void *self, int file, const struct iovec *parts, int count, uint64_t offset, size_t *done) {
    INTERRUPTS;
    return ss_vfs_system.write(self, file, parts, count, offset, done);
}

static int direct(void *self, int file, bool is_direct) {
    INTERRUPTS;
    return ss_vfs_system.direct(self, file, is_direct);
}

static int sync_file(void *self, int file) {
    INTERRUPTS;
    return ss_vfs_system.sync(self, file);
}

static int resize(void *self, int file, uint64_t size) {
    INTERRUPTS;
    return ss_vfs_system.resize(self, file, size);
}

static int reserve(void *self, int file, uint64_t from, uint64_t end) {
    INTERRUPTS;
    return ss_vfs_system.reserve(self, file, from, end);
}

static int hole(void *self, int file, uint64_t from, uint64_t *begin, uint64_t *end) {
    INTERRUPTS;
    return ss_vfs_system.hole(self, file, from, begin, end);
}

static int data_after(void *self, int file, uint64_t offset, uint64_t *at) {
    INTERRUPTS;
    return ss_vfs_system.data_after(self, file, offset, at);
}

static int rename_file(void *self, int directory, const char *from, const char *to) {
    INTERRUPTS;
    return ss_vfs_system.rename(self, directory, from, to);
}

static int unlink_file(void *self, int directory, const char *name) {
    INTERRUPTS;
    return ss_vfs_system.unlink(self, directory, name);
}

static int sync_directory(void *self, int directory) {
    INTERRUPTS;
    return ss_vfs_system.sync_directory(self, directory);
}

static int lock(void *self, int file, unsigned first, unsigned count, int kind) {
    INTERRUPTS;
    return ss_vfs_system.lock(self, file, first, count, kind);
}

static int locked(void *self, int file, unsigned byte, bool *held) {
    INTERRUPTS;
    return ss_vfs_system.locked(self, file, byte, held);
}

static int map(void *self, int file, void *at, uint64_t offset, uint64_t length, int kind) {
    INTERRUPTS;
    return ss_vfs_system.map(self, file, at, offset, length, kind);
}

static int sync_map(void *self, void *at, uint64_t length) {
    INTERRUPTS;
    return ss_vfs_system.sync_map(self, at, length);
}

static int random_bytes(void *self, void *to, size_t length) {
    INTERRUPTS;
    return ss_vfs_system.random(self, to, length);
}

static void interrupt_all(void) {
    interrupted = ss_vfs_system;
    interrupted.open_directory = open_directory;
    interrupted.open = open_file;
    interrupted.status = status;
    interrupted.status_at = status_at;
    interrupted.modified = modified;
    interrupted.read = read_file;
    interrupted.write = write_file;
    interrupted.direct = direct;
    interrupted.sync = sync_file;
    interrupted.resize = resize;
    interrupted.reserve = reserve;
    interrupted.hole = hole;
    interrupted.data_after = data_after;
    interrupted.rename = rename_file;
    interrupted.unlink = unlink_file;
    interrupted.sync_directory = sync_directory;
    interrupted.lock = lock;
    interrupted.locked = locked;
    interrupted.map = map;
    interrupted.sync_map = sync_map;
    interrupted.random = random_bytes;
}

static ss_memory *open_on(const ss_vfs *vfs, int mode, int durability) {
    ss_file_options options = {
        .path = path_of("file"), .mode = mode, .durability = durability, .max_pages = 100, .patience = 1000, .vfs = vfs};
    ss_memory *memory = NULL;
    CHECK_EQ(ss_file_open_with(&options, &memory), SS_OK);
    return memory;
}

/* A file that begins with a hole, so that it has to be filled. */
static void live(const ss_vfs *vfs, int durability) {
    ss_memory *memory = open_on(vfs, SS_FILE_WRITE, durability), *reader = open_on(vfs, SS_FILE_READ, 0);
    if (memory == NULL || reader == NULL) return;
    CHECK_EQ(put(memory, 65530, "over the edge"), SS_OK);
    CHECK_EQ(grow(memory, 2), SS_OK);
    CHECK_EQ(put(memory, 3 * 65536, "grown"), SS_OK);
    CHECK_EQ(has(reader, 3 * 65536, "grown"), 1);
    CHECK_EQ(ss_memory_sync(memory), SS_OK);
    CHECK_EQ(ss_memory_checkpoint(memory), SS_OK);
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    CHECK_EQ(grow(memory, 1), SS_OK);
    CHECK_EQ(ss_transaction_rollback(memory), SS_OK);
    CHECK_EQ(has(reader, 65530, "over the edge"), 1);
    CHECK_EQ(ss_memory_close(memory), SS_OK);
    ss_memory_release(memory);
    CHECK_EQ(has(reader, 65530, "over the edge"), 1);
    ss_memory_release(reader);
    CHECK_EQ(size_of("file"), 4 * 65536);
    CHECK_EQ(size_of("file-wal"), -1);
}

static void live_on(const ss_vfs *vfs) {
    for (int durability = SS_DURABLE_NONE; durability <= SS_DURABLE_FULL; durability++) {
        FILE *file = fopen(path_of("file"), "wb");
        CHECK(file != NULL && ftruncate(fileno(file), 2 * 65536) == 0);
        fclose(file);
        live(vfs, durability);
        CHECK(unlink(path_of("file")) == 0);
    }
}

static int not_there(void *self, int file, uint64_t from, uint64_t end) {
    (void)self, (void)file, (void)from, (void)end;
    return ENOSYS;
}

int main(void) {
    make_directory();
    interrupt_all();
    live_on(&interrupted);
    ss_vfs lacking = ss_vfs_system;
    lacking.reserve = not_there;
    lacking.direct = NULL, lacking.hole = NULL, lacking.data_after = NULL, lacking.loads_take_space = NULL, lacking.modified = NULL;
    lacking.stores_in_place = NULL;
    live_on(&lacking);
    remove_directory();
    return check_summary();
}
