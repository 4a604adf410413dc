/* SPDX-License-Identifier: Apache-2.0 */
/* A disk in memory that loses power: what a file system may do with what was not synced, and nothing it may not.
 *
 *   write     goes to the cache; until the next sync each of its 512-byte sectors may be on the disk, or not, or be garbage
 *   size      until the next sync any of the sizes that the file had since the last one
 *   names     until the next sync of the directory any moment since the last one
 *   sync      that fails: some sectors are on the disk, and none is tried again (the cache shows them all the same)
 *
 * A killed process leaves the cache as it is. Every call may be watched (snapshots) and made to fail.
 */
#ifndef SS_SIMULATED_DISK_H
#define SS_SIMULATED_DISK_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/checksum.h"
#include "memory/memory.h"
#include "storage/vfs.h"

#define DISK_SECTOR ((size_t)512)
#define DISK_BLOCK ((size_t)4096)
#define DISK_NAMES 3
#define DISK_FILES 64
#define DISK_PENDING 64
#define DISK_DIRECTORY 1000
#define DISK_NONE (-1)
#define DISK_LOCKS 5

enum disk_call {
    CALL_OPEN,
    CALL_STATUS,
    CALL_READ,
    CALL_WRITE,
    CALL_DIRECT,
    CALL_SYNC,
    CALL_RESIZE,
    CALL_RESERVE,
    CALL_RENAME,
    CALL_UNLINK,
    CALL_SYNC_DIRECTORY,
    CALL_LOCK,
    CALL_RANDOM
};

struct disk_block {
    uint32_t references;
    uint8_t bytes[DISK_BLOCK];
};

/* What a file holds; a block that is not there is zeros. */
struct disk_content {
    struct disk_block **blocks;
    size_t count;
    uint64_t size;
};

/* A write that is not synced; whole sectors. */
struct disk_write {
    uint32_t references;
    struct disk_write *older;
    uint64_t offset;
    size_t length;
    uint8_t bytes[];
};

struct disk_file {
    struct disk_content cache, durable;
    struct disk_write *pending; /* newest first */
    bool is_direct;             /* only whole blocks may be written, from memory that begins at one */
    uint64_t sizes[DISK_PENDING];
    int size_count;
};

struct disk_names {
    int file[DISK_NAMES];
};

static const char *const disk_name_texts[DISK_NAMES] = {"main", "main-wal", "main-wal.tmp"};

/* Of writing past the cache. */
enum disk_direct { DIRECT_WORKS, DIRECT_REFUSED, DIRECT_WRITES_REFUSED, DIRECT_KINDS };

struct disk {
    ss_vfs vfs;
    enum disk_direct direct;
    struct disk_file *files[DISK_FILES];
    int file_count;
    struct disk_names names, durable_names, pending_names[DISK_PENDING];
    int pending_name_count;
    uint64_t random;
    int locks[DISK_LOCKS];
    /* watching */
    long calls;
    void (*watch)(struct disk *disk, enum disk_call call);
    void *watch_self;
    long fail_at, fail_count; /* number of the first call that fails (0: none does), and how many more do at once after it */
    int fail_with;
    bool failed;
    enum disk_call failed_call;
    bool hiccups;       /* calls are interrupted, and writes and reads are short, without harm */
    bool off;           /* everything fails: a quick end for what is thrown away */
    const char *broken; /* a rule that the caller of the disk broke */
};

static inline uint64_t disk_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x2545F4914F6CDD1D);
}

static inline uint64_t disk_below(uint64_t *state, uint64_t limit) {
    return (disk_random(state) >> 11) % limit;
}

/* ---- content ---- */

static void content_copy(struct disk_content *to, const struct disk_content *from) {
    *to = *from;
    to->blocks = calloc(from->count + 1, sizeof *to->blocks);
    if (from->count > 0) memcpy(to->blocks, from->blocks, from->count * sizeof *to->blocks);
    for (size_t i = 0; i < to->count; i++) {
        if (to->blocks[i] != NULL) to->blocks[i]->references++;
    }
}

static void block_drop(struct disk_block *block) {
    if (block != NULL && --block->references == 0) free(block);
}

static void content_free(struct disk_content *content) {
    for (size_t i = 0; i < content->count; i++) block_drop(content->blocks[i]);
    free(content->blocks);
}

static uint8_t *content_block(struct disk_content *content, size_t index) {
    if (index >= content->count) {
        content->blocks = realloc(content->blocks, (index + 1) * sizeof *content->blocks);
        memset(content->blocks + content->count, 0, (index + 1 - content->count) * sizeof *content->blocks);
        content->count = index + 1;
    }
    struct disk_block *block = content->blocks[index];
    if (block != NULL && block->references == 1) return block->bytes;
    struct disk_block *own = calloc(1, sizeof *own);
    own->references = 1;
    if (block != NULL) memcpy(own->bytes, block->bytes, DISK_BLOCK);
    block_drop(block);
    content->blocks[index] = own;
    return own->bytes;
}

static void content_put(struct disk_content *content, uint64_t offset, const uint8_t *from, size_t length) {
    while (length > 0) {
        size_t inside = (size_t)(offset % DISK_BLOCK), piece = DISK_BLOCK - inside < length ? DISK_BLOCK - inside : length;
        memcpy(content_block(content, (size_t)(offset / DISK_BLOCK)) + inside, from, piece);
        offset += piece;
        from += piece;
        length -= piece;
    }
}

static void content_get(const struct disk_content *content, uint64_t offset, uint8_t *to, size_t length) {
    while (length > 0) {
        size_t index = (size_t)(offset / DISK_BLOCK), inside = (size_t)(offset % DISK_BLOCK);
        size_t piece = DISK_BLOCK - inside < length ? DISK_BLOCK - inside : length;
        const struct disk_block *block = index < content->count ? content->blocks[index] : NULL;
        if (block != NULL) {
            memcpy(to, block->bytes + inside, piece);
        } else {
            memset(to, 0, piece);
        }
        offset += piece;
        to += piece;
        length -= piece;
    }
}

/* What lies above a smaller size is gone, and comes back as zeros. */
static void content_resize(struct disk_content *content, uint64_t size) {
    size_t first = (size_t)((size + DISK_BLOCK - 1) / DISK_BLOCK), inside = (size_t)(size % DISK_BLOCK);
    if (inside > 0 && first <= content->count) memset(content_block(content, first - 1) + inside, 0, DISK_BLOCK - inside);
    for (size_t i = first; i < content->count; i++) {
        block_drop(content->blocks[i]);
        content->blocks[i] = NULL;
    }
    content->size = size;
}

/* ---- files and disks ---- */

static void writes_drop(struct disk_write *write) {
    while (write != NULL && --write->references == 0) {
        struct disk_write *older = write->older;
        free(write);
        write = older;
    }
}

static struct disk_file *file_copy(const struct disk_file *from) {
    struct disk_file *file = malloc(sizeof *file);
    *file = *from;
    content_copy(&file->cache, &from->cache);
    content_copy(&file->durable, &from->durable);
    if (file->pending != NULL) file->pending->references++;
    return file;
}

static void file_free(struct disk_file *file) {
    content_free(&file->cache);
    content_free(&file->durable);
    writes_drop(file->pending);
    free(file);
}

static void disk_free(struct disk *disk) {
    for (int i = 0; i < disk->file_count; i++) file_free(disk->files[i]);
    free(disk);
}

/* The same disk, cache and all, without the process that used it. */
static inline struct disk *disk_copy(const struct disk *from) {
    struct disk *disk = malloc(sizeof *disk);
    *disk = *from;
    disk->vfs.self = disk;
    for (int i = 0; i < disk->file_count; i++) disk->files[i] = file_copy(from->files[i]);
    memset(disk->locks, 0, sizeof disk->locks);
    disk->watch = NULL;
    disk->fail_at = 0;
    disk->hiccups = false;
    return disk;
}

/* ---- what is there after a power loss ---- */

enum disk_loss {
    LOSE_ALL,
    LOSE_NOTHING,
    LOSE_SECTORS,
    LOSE_WRITES,
    LOSE_ONE_SECTOR,
    KEEP_ONE_SECTOR,
    LOSE_BLOCKS,
    LOSE_LAST,
    LOSE_GARBAGE,
    LOSS_KINDS
};

struct loss {
    enum disk_loss kind;
    uint64_t *random;
    uint64_t chosen; /* number of the one sector, or of the writes that are kept */
    uint64_t sectors, writes;
};

static bool sector_lands(struct loss *loss, bool write_lands, bool block_lands) {
    bool chosen = loss->sectors++ == loss->chosen;
    switch (loss->kind) {
        case LOSE_ALL:
            return false;
        case LOSE_NOTHING:
            return true;
        case LOSE_WRITES:
            return write_lands;
        case LOSE_ONE_SECTOR:
            return !chosen;
        case KEEP_ONE_SECTOR:
            return chosen;
        case LOSE_BLOCKS:
            return block_lands;
        case LOSE_LAST:
            return loss->writes < loss->chosen || (loss->writes == loss->chosen && disk_below(loss->random, 2) == 0);
        default:
            return disk_below(loss->random, 2) == 0;
    }
}

static void land_write(struct disk_content *durable, const struct disk_write *write, struct loss *loss) {
    bool write_lands = disk_below(loss->random, 2) == 0, block_lands = false;
    for (size_t at = 0; at < write->length; at += DISK_SECTOR) {
        if (at == 0 || (write->offset + at) % DISK_BLOCK == 0) block_lands = disk_below(loss->random, 2) == 0;
        uint8_t garbage[DISK_SECTOR];
        const uint8_t *bytes = write->bytes + at;
        bool lands = sector_lands(loss, write_lands, block_lands);
        if (loss->kind == LOSE_GARBAGE && disk_below(loss->random, 10) == 0) {
            for (size_t i = 0; i < DISK_SECTOR; i++) garbage[i] = (uint8_t)disk_random(loss->random);
            bytes = garbage;
            lands = true;
        }
        if (lands) content_put(durable, write->offset + at, bytes, DISK_SECTOR);
    }
    loss->writes++;
}

/* The pending writes, oldest first, into `list`; returns their number and the number of their sectors. */
static size_t pending_list(const struct disk_file *file, const struct disk_write **list, size_t room, uint64_t *sectors) {
    size_t count = 0;
    for (const struct disk_write *write = file->pending; write != NULL && count < room; write = write->older) {
        list[count++] = write;
        *sectors += write->length / DISK_SECTOR;
    }
    for (size_t i = 0; i < count / 2; i++) {
        const struct disk_write *other = list[i];
        list[i] = list[count - 1 - i];
        list[count - 1 - i] = other;
    }
    return count;
}

static inline uint64_t landed_size(const struct disk_file *file, struct loss *loss) {
    if (loss->kind == LOSE_ALL || file->size_count == 0) return file->durable.size;
    if (loss->kind == LOSE_NOTHING) return file->cache.size;
    uint64_t pick = disk_below(loss->random, (uint64_t)file->size_count + 1);
    return pick == 0 ? file->durable.size : file->sizes[pick - 1];
}

static inline struct disk_file *file_after_loss(const struct disk_file *from, enum disk_loss kind, uint64_t *random) {
    const struct disk_write *list[512];
    struct disk_file *file = calloc(1, sizeof *file);
    struct loss loss = {.kind = kind, .random = random};
    uint64_t sectors = 0;
    size_t count = pending_list(from, list, 512, &sectors);
    loss.chosen = disk_below(random, (kind == LOSE_LAST ? count : sectors) + 1);
    content_copy(&file->durable, &from->durable);
    for (size_t i = 0; i < count; i++) land_write(&file->durable, list[i], &loss);
    content_resize(&file->durable, landed_size(from, &loss));
    content_copy(&file->cache, &file->durable);
    return file;
}

static inline struct disk *disk_after_loss(const struct disk *from, enum disk_loss kind, uint64_t *random) {
    struct disk *disk = malloc(sizeof *disk);
    *disk = *from;
    disk->vfs.self = disk;
    for (int i = 0; i < disk->file_count; i++) disk->files[i] = file_after_loss(from->files[i], kind, random);
    uint64_t pick = kind == LOSE_ALL       ? 0
                    : kind == LOSE_NOTHING ? (uint64_t)from->pending_name_count
                                           : disk_below(random, (uint64_t)from->pending_name_count + 1);
    disk->names = pick == 0 ? from->durable_names : from->pending_names[pick - 1];
    disk->durable_names = disk->names;
    disk->pending_name_count = 0;
    memset(disk->locks, 0, sizeof disk->locks);
    disk->watch = NULL;
    disk->fail_at = 0;
    disk->hiccups = false;
    return disk;
}

/* ---- the calls ---- */

/* 0 if the call may go on, else what it fails with. */
static int disk_call(struct disk *disk, enum disk_call call) {
    if (disk->off) return EIO;
    if (disk->hiccups && disk_below(&disk->random, 8) == 0) {
        bool repeated = call != CALL_STATUS && call != CALL_RANDOM;
        if (repeated) return EINTR;
    }
    disk->calls++;
    if (disk->watch != NULL) disk->watch(disk, call);
    if (disk->fail_at == 0 || disk->calls < disk->fail_at || disk->calls > disk->fail_at + disk->fail_count) return 0;
    if (!disk->failed) disk->failed_call = call;
    disk->failed = true;
    return disk->fail_with;
}

static size_t disk_short(struct disk *disk, size_t length) {
    bool cut = disk->hiccups && length > DISK_SECTOR && disk_below(&disk->random, 4) == 0;
    return cut ? (size_t)disk_below(&disk->random, length / DISK_SECTOR) * DISK_SECTOR + DISK_SECTOR : length;
}

static int name_index(const char *name) {
    for (int i = 0; i < DISK_NAMES; i++) {
        if (strcmp(name, disk_name_texts[i]) == 0) return i;
    }
    return DISK_NONE;
}

static void names_changed(struct disk *disk) {
    if (disk->pending_name_count == DISK_PENDING) disk->broken = "the directory is synced now and then";
    if (disk->broken == NULL) disk->pending_names[disk->pending_name_count++] = disk->names;
}

static void size_changed(struct disk *disk, struct disk_file *file) {
    if (file->size_count == DISK_PENDING) {
        disk->broken = "files are synced now and then";
    } else {
        file->sizes[file->size_count++] = file->cache.size;
    }
}

static int disk_open_directory(void *self, const char *path, int *directory) {
    (void)self, (void)path;
    *directory = DISK_DIRECTORY;
    return 0;
}

static int disk_open(void *self, int directory, const char *name, unsigned flags, unsigned permissions, int *file) {
    struct disk *disk = self;
    int error = disk_call(disk, CALL_OPEN), index = name_index(name);
    (void)directory, (void)permissions;
    if (error != 0) return error;
    if (index == DISK_NONE) disk->broken = "only the file and its log are ever opened";
    if (disk->broken != NULL) return EACCES;
    bool exists = disk->names.file[index] != DISK_NONE;
    if (exists && (flags & SS_OPEN_CREATE)) return EEXIST;
    if (!exists && !(flags & SS_OPEN_CREATE)) return ENOENT;
    if (!exists) {
        if (disk->file_count == DISK_FILES) return ENOSPC;
        disk->files[disk->file_count] = calloc(1, sizeof(struct disk_file));
        disk->names.file[index] = disk->file_count++;
        names_changed(disk);
    }
    *file = disk->names.file[index];
    disk->files[*file]->is_direct = false;
    return 0;
}

/* Locks end before their descriptor is closed: it may have a copy in a program that is just being started. */
static int disk_close(void *self, int file) {
    struct disk *disk = self;
    for (int i = 0; i < DISK_LOCKS; i++) {
        if (!disk->off && file == disk->names.file[0] && disk->locks[i] != SS_UNLOCK) disk->broken = "a lock ends with its descriptor only";
    }
    return 0;
}

static int disk_status(void *self, int file, ss_vfs_status *status) {
    struct disk *disk = self;
    int error = disk_call(disk, CALL_STATUS);
    if (error != 0) return error;
    *status = (ss_vfs_status){
        .size = disk->files[file]->cache.size, .inode = (uint64_t)file + 1, .links = 1, .permissions = 0600, .regular = true};
    return 0;
}

static int disk_status_at(void *self, int directory, const char *name, ss_vfs_status *status) {
    struct disk *disk = self;
    (void)directory;
    return disk_status(self, disk->names.file[name_index(name)], status);
}

static int disk_read(void *self, int file, void *to, size_t length, uint64_t offset, size_t *done) {
    struct disk *disk = self;
    int error = disk_call(disk, CALL_READ);
    if (error != 0) return error;
    const struct disk_content *cache = &disk->files[file]->cache;
    uint64_t room = offset < cache->size ? cache->size - offset : 0;
    *done = disk_short(disk, room < length ? (size_t)room : length);
    content_get(cache, offset, to, *done);
    return 0;
}

/* The file changes only while readers are kept out. */
static void check_locks(struct disk *disk, int file) {
    bool main_file = file == disk->names.file[0];
    if (main_file && (disk->locks[2] != SS_LOCK_EXCLUSIVE || disk->locks[3] != SS_LOCK_EXCLUSIVE || disk->locks[0] != SS_LOCK_EXCLUSIVE)) {
        disk->broken = "the file changes under the locks only (I8)";
    }
}

/* Sectors that are written in part go to the disk whole. */
static void write_piece(struct disk *disk, int file, const uint8_t *bytes, size_t length, uint64_t offset) {
    struct disk_file *at = disk->files[file];
    uint64_t first = offset / DISK_SECTOR * DISK_SECTOR;
    size_t whole = (size_t)(ss_round_up(offset + length, DISK_SECTOR) - first);
    struct disk_write *write = malloc(sizeof *write + whole);
    *write = (struct disk_write){.references = 1, .older = at->pending, .offset = first, .length = whole};
    at->pending = write;
    content_put(&at->cache, offset, bytes, length);
    content_get(&at->cache, first, write->bytes, whole);
    if (offset + length > at->cache.size) {
        at->cache.size = offset + length;
        size_changed(disk, at);
    }
}

static int disk_set_direct(void *self, int file, bool is_direct) {
    struct disk *disk = self;
    int error = disk_call(disk, CALL_DIRECT);
    if (error != 0) return error;
    if (is_direct && disk->direct == DIRECT_REFUSED) return EINVAL;
    disk->files[file]->is_direct = is_direct;
    return 0;
}

static bool may_be_direct(const struct disk *disk, const struct iovec *parts, int count, uint64_t offset) {
    bool may = disk->direct == DIRECT_WORKS && offset % DISK_BLOCK == 0;
    for (int i = 0; i < count; i++) may = may && (uintptr_t)parts[i].iov_base % DISK_BLOCK == 0 && parts[i].iov_len % DISK_BLOCK == 0;
    return may;
}

static int disk_write(void *self, int file, const struct iovec *parts, int count, uint64_t offset, size_t *done) {
    struct disk *disk = self;
    int error = disk_call(disk, CALL_WRITE);
    if (error == EINTR || disk->off) return error;
    if (error == 0 && disk->files[file]->is_direct && !may_be_direct(disk, parts, count, offset)) return EINVAL;
    check_locks(disk, file);
    size_t length = 0;
    for (int i = 0; i < count; i++) length += parts[i].iov_len;
    /* A write that fails may have done a part, or all of it. */
    size_t left = error != 0 ? length * (size_t)disk_below(&disk->random, 3) / 2 : disk_short(disk, length);
    left = disk->broken != NULL ? 0 : left;
    *done = left;
    for (int i = 0; i < count && left > 0; i++) {
        size_t piece = parts[i].iov_len < left ? parts[i].iov_len : left;
        write_piece(disk, file, parts[i].iov_base, piece, offset);
        offset += piece;
        left -= piece;
    }
    return error;
}

static int disk_sync(void *self, int number) {
    struct disk *disk = self;
    int error = disk_call(disk, CALL_SYNC);
    if (error == EINTR || disk->off) return error;
    struct disk_file *file = disk->files[number];
    if (error != 0) {
        const struct disk_write *list[512];
        uint64_t sectors = 0;
        struct loss loss = {.kind = LOSE_SECTORS, .random = &disk->random};
        size_t count = pending_list(file, list, 512, &sectors);
        for (size_t i = 0; i < count; i++) land_write(&file->durable, list[i], &loss);
    } else {
        /* Only what is still marked as changed is written. */
        for (const struct disk_write *write = file->pending; write != NULL; write = write->older) {
            for (size_t at = 0; at < write->length; at += DISK_SECTOR) {
                uint8_t sector[DISK_SECTOR];
                content_get(&file->cache, write->offset + at, sector, DISK_SECTOR);
                content_put(&file->durable, write->offset + at, sector, DISK_SECTOR);
            }
        }
        content_resize(&file->durable, file->size_count > 0 ? file->cache.size : file->durable.size);
    }
    writes_drop(file->pending);
    file->pending = NULL;
    file->size_count = 0;
    return error;
}

static int disk_resize(void *self, int number, uint64_t size) {
    struct disk *disk = self;
    int error = disk_call(disk, CALL_RESIZE);
    if (error != 0) return error;
    struct disk_file *file = disk->files[number];
    if (size != file->cache.size) check_locks(disk, number);
    content_resize(&file->cache, size);
    size_changed(disk, file);
    return 0;
}

static int disk_reserve(void *self, int file, uint64_t from, uint64_t end) {
    (void)file, (void)from, (void)end;
    return disk_call(self, CALL_RESERVE);
}

static int disk_rename(void *self, int directory, const char *from, const char *to) {
    struct disk *disk = self;
    int error = disk_call(disk, CALL_RENAME);
    (void)directory;
    if (error != 0) return error;
    disk->names.file[name_index(to)] = disk->names.file[name_index(from)];
    disk->names.file[name_index(from)] = DISK_NONE;
    names_changed(disk);
    return 0;
}

static int disk_unlink(void *self, int directory, const char *name) {
    struct disk *disk = self;
    (void)directory;
    if (!disk->off && disk->names.file[name_index(name)] == DISK_NONE) return ENOENT;
    int error = disk_call(disk, CALL_UNLINK);
    if (error != 0) return error;
    disk->names.file[name_index(name)] = DISK_NONE;
    names_changed(disk);
    return 0;
}

static int disk_sync_directory(void *self, int directory) {
    struct disk *disk = self;
    int error = disk_call(disk, CALL_SYNC_DIRECTORY);
    (void)directory;
    if (error != 0) return error;
    disk->durable_names = disk->names;
    disk->pending_name_count = 0;
    return 0;
}

static int disk_lock(void *self, int file, unsigned first, unsigned count, int kind) {
    struct disk *disk = self;
    int error = kind == SS_UNLOCK ? 0 : disk_call(disk, CALL_LOCK);
    (void)file;
    for (unsigned byte = first; error == 0 && byte < first + count; byte++) disk->locks[byte] = kind;
    return error;
}

static int disk_locked(void *self, int file, unsigned byte, bool *held) {
    struct disk *disk = self;
    (void)file;
    *held = disk->locks[byte] != SS_UNLOCK;
    return 0;
}

static int disk_random_bytes(void *self, void *to, size_t length) {
    struct disk *disk = self;
    int error = disk_call(disk, CALL_RANDOM);
    if (error != 0) return error;
    uint64_t value = disk_random(&disk->random);
    memcpy(to, &value, length < sizeof value ? length : sizeof value);
    return 0;
}

static struct disk *disk_new(uint64_t seed) {
    struct disk *disk = calloc(1, sizeof *disk);
    disk->vfs = (ss_vfs){
        .self = disk,
        .open_directory = disk_open_directory,
        .open = disk_open,
        .close = disk_close,
        .status = disk_status,
        .status_at = disk_status_at,
        .read = disk_read,
        .write = disk_write,
        .direct = disk_set_direct,
        .sync = disk_sync,
        .resize = disk_resize,
        .reserve = disk_reserve,
        .rename = disk_rename,
        .unlink = disk_unlink,
        .sync_directory = disk_sync_directory,
        .lock = disk_lock,
        .locked = disk_locked,
        .random = disk_random_bytes,
    };
    for (int i = 0; i < DISK_NAMES; i++) disk->names.file[i] = disk->durable_names.file[i] = DISK_NONE;
    disk->random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    disk->direct = (enum disk_direct)(seed % DIRECT_KINDS);
    return disk;
}

/* ---- a memory on it ---- */

/* Ends the handle as a kill does: nothing reaches the disk any more. */
static inline void abandon(struct disk *disk, ss_memory *memory) {
    disk->off = true;
    ss_memory_release(memory);
    disk->off = false;
    memset(disk->locks, 0, sizeof disk->locks);
}

static inline uint64_t sum_of(const ss_memory *memory) {
    uint64_t pages = memory->root->pages;
    return ss_checksum_of(memory->root->base, (size_t)(pages * SS_PAGE_SIZE), pages);
}

#endif
