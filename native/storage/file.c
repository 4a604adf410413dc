/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing, locks, forks; files without a log, and readers. What has to do with the log is in durable.c. */
#include <errno.h>
#include <stdlib.h>

#include "core/waiting.h"
#include "storage/file_private.h"
#include "storage/views.h"

#define DEFAULT_PERMISSIONS 0600u
#define LOG_BYTES (UINT64_C(1) << 20)
/* How long a log gets. A long one is emptied seldom, and has fewer whole blocks among what changed. */
#define CHECKPOINT_BYTES (UINT64_C(16) << 20)

/* ---- errors ---- */

int ss_file_failure(int error, const char *rule, uint64_t address) {
    bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
    return ss_fail(full ? SS_OUT_OF_MEMORY : SS_SYSTEM, rule, address, (uint64_t)error, 0);
}

int ss_file_die(ss_file *file, int status, const char *rule, uint64_t number, uint64_t limit) {
    file->root->closed = true;
    file->root->closed_because = rule;
    return ss_fail(status, rule, 0, number, limit);
}

/* ---- forks ---- */

/* A child has the parent's files, and its locks with them: a lock would outlive the parent. The list of open files is
 * for closing them there. */
static pthread_mutex_t open_files_mutex = PTHREAD_MUTEX_INITIALIZER;
static ss_file *open_files;

void ss_file_close_descriptors(ss_file *file) {
    int *all[] = {&file->wal.file, &file->main, &file->directory, &file->locks};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (*all[i] != SS_NO_FILE) file->vfs->close(file->vfs->self, *all[i]);
        *all[i] = SS_NO_FILE;
    }
}

static void before_fork(void) {
    pthread_mutex_lock(&open_files_mutex);
}

static void after_fork(void) {
    pthread_mutex_unlock(&open_files_mutex);
}

static void lose_window(ss_window *window) {
    ss_window_close(window);
    window->is_impossible = true;
}

/* The thread that forked may be in the midst of an operation, in a comparison of keys: what it stores from here on must
 * stay here. */
static void keep_stores_here(ss_file *file) {
    lose_window(&file->window);
    lose_window(&file->wal.window);
    bool shared = file->durability == SS_DURABLE_NONE && file->mode != SS_FILE_READ && file->vfs->map != NULL;
    if (!shared || file->mapped_pages == 0 || ss_file_map_all(file, SS_MAP_PRIVATE) == SS_OK) return;
    ss_root_zero(file->root, 0, file->mapped_pages);
}

static void after_fork_in_child(void) {
    for (ss_file *file = open_files; file != NULL; file = file->next) {
        keep_stores_here(file);
        ss_file_close_descriptors(file);
        ss_root_forked(file->root, "the file was opened before this process was forked: open it again here");
    }
    pthread_mutex_unlock(&open_files_mutex);
}

static void watch_forks(void) {
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

static void list_file(ss_file *file) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&open_files_mutex);
    file->next = open_files;
    file->link = &open_files;
    if (open_files != NULL) open_files->link = &file->next;
    open_files = file;
    pthread_mutex_unlock(&open_files_mutex);
}

static void unlist_file(ss_file *file) {
    pthread_mutex_lock(&open_files_mutex);
    if (file->link != NULL) {
        *file->link = file->next;
        if (file->next != NULL) file->next->link = file->link;
        file->link = NULL;
    }
    pthread_mutex_unlock(&open_files_mutex);
}

/* ---- locks ---- */

static int try_lock(ss_file *file, enum ss_file_lock lock, int kind) {
    bool both = lock == LOCK_GATE_AND_READ;
    int error;
    do {
        error = file->vfs->lock(file->vfs->self, file->locks, both ? LOCK_GATE : lock, both ? 2 : 1, kind);
    } while (error == EINTR);
    return error;
}

void ss_file_unlock(ss_file *file, enum ss_file_lock lock) {
    (void)try_lock(file, lock, SS_UNLOCK);
}

/* Lets the binding look about where the last time is long ago; whoever commits cannot be stopped, and goes without the lock. */
static int look_about(const ss_file *file, bool interrupted, uint64_t *looked) {
    uint64_t now = ss_milliseconds();
    if (file->committing) return interrupted ? EAGAIN : 0;
    if (!interrupted && now < *looked + SS_SLICE_MS) return 0;
    *looked = now;
    return ss_poll_signals() == SS_OK ? 0 : ECANCELED;
}

/* The system's own waiting has no end, so this asks again and again. */
int ss_file_lock(ss_file *file, enum ss_file_lock lock, int kind, uint32_t patience) {
    int error = try_lock(file, lock, kind);
    if (error != EAGAIN || patience == 0) return error;
    uint64_t looked = ss_milliseconds(), until = looked + patience;
    for (long pause = 20000; error == EAGAIN && ss_milliseconds() < until; pause = pause < 2000000 ? pause * 2 : pause) {
        bool interrupted = nanosleep(&(struct timespec){.tv_nsec = pause}, NULL) != 0;
        int stop = look_about(file, interrupted, &looked);
        if (stop != 0) return stop;
        error = try_lock(file, lock, kind);
    }
    return error;
}

bool ss_file_is_locked(ss_file *file, enum ss_file_lock lock) {
    bool held = false;
    return file->vfs->locked(file->vfs->self, file->locks, (unsigned)lock, &held) == 0 && held;
}

int ss_file_lock_failure(int error, const char *rule) {
    if (error == ECANCELED) return ss_fail(SS_CALLBACK, "a signal handler raised", 0, 0, 0);
    if (error == EAGAIN) return ss_fail(SS_LOCKED, rule, 0, 0, 0);
    return ss_file_failure(error, "locks of open files, which the file system must have", 0);
}

/* ---- what the file is now ---- */

int ss_file_status(ss_file *file, ss_vfs_status *status) {
    int error = file->vfs->status(file->vfs->self, file->main, status);
    return error == 0 ? SS_OK : ss_file_failure(error, "state of the file", 0);
}

int ss_file_check_size(ss_file *file, uint64_t size) {
    if (size % SS_PAGE_SIZE != 0)
        return ss_fail(SS_CORRUPT, "the size of a memory file is a multiple of 65,536 bytes", 0, size, SS_PAGE_SIZE);
    uint64_t pages = size / SS_PAGE_SIZE;
    if (pages > file->root->max_pages)
        return ss_fail(SS_OUT_OF_MEMORY, "the file is larger than the limit in pages", 0, pages, file->root->max_pages);
    if (size > file->root->reserved) return ss_fail(SS_OUT_OF_MEMORY, "address space for the file", 0, size, file->root->reserved);
    return SS_OK;
}

static int check_log(ss_file *file) {
    ss_vfs_status now;
    int error = file->vfs->status(file->vfs->self, file->wal.file, &now);
    if (error != 0) return ss_file_failure(error, "state of the log", 0);
    if (now.size >= file->wal.window.shown) return SS_OK;
    return ss_file_die(file, SS_CLOSED, "the log was cut by another program: open the file again", now.size, file->wal.window.shown);
}

/* A program that does not know the locks may have done it; missing pages of a mapping cannot even be read. */
int ss_file_check_unchanged(ss_file *file) {
    ss_vfs_status now;
    int status = ss_file_status(file, &now);
    if (status != SS_OK) return status;
    if (now.size < file->file_pages * SS_PAGE_SIZE) {
        return ss_file_die(file, SS_CLOSED, "the file was cut by another program: open it again", now.size,
                           file->file_pages * SS_PAGE_SIZE);
    }
    if (now.links == 0) return ss_file_die(file, SS_CLOSED, "the file was deleted or replaced by another program: open it again", 0, 0);
    return file->wal.window.shown == 0 ? SS_OK : check_log(file);
}

/* ---- showing the file in memory ---- */

static int load_pages(ss_file *file, uint64_t offset, uint64_t length) {
    int status = ss_root_commit(file->root, offset + length);
    if (status != SS_OK) return status;
    int error = ss_vfs_read_all(file->vfs, file->main, file->root->base + offset, (size_t)length, offset);
    return error == 0 ? SS_OK : ss_file_failure(error, "reading the file", offset);
}

int ss_file_map(ss_file *file, uint64_t first, uint64_t end, int kind) {
    if (first >= end) return SS_OK;
    uint64_t offset = first * SS_PAGE_SIZE, length = (end - first) * SS_PAGE_SIZE;
    int status = SS_OK;
    if (file->load || file->vfs->map == NULL) {
        status = load_pages(file, offset, length);
    } else {
        int error = file->vfs->map(file->vfs->self, file->main, file->root->base + offset, offset, length, kind);
        if (error != 0) status = ss_file_failure(error, "mapping of the file", offset);
    }
    if (status == SS_OK) file->mapped_pages = end;
    return status;
}

int ss_file_map_all(ss_file *file, int kind) {
    int status = ss_file_map(file, 0, file->file_pages, kind);
    bool covers = status == SS_OK && file->covers && !file->load && file->vfs->map != NULL;
    return covers ? ss_holes_cover(file->vfs, file->main, file->root->base, file->file_pages * SS_PAGE_SIZE, kind) : status;
}

/* ---- durability none: the mapping is the file ---- */

#ifdef CLOCK_MONOTONIC_COARSE
#define COARSE_CLOCK CLOCK_MONOTONIC_COARSE
#else
#define COARSE_CLOCK CLOCK_MONOTONIC
#endif

/* Asking the system costs as much as a small operation. */
int ss_file_check_now_and_then(void *self) {
    ss_file *file = self;
    struct timespec now;
    if (file->vfs->map == NULL) return ss_file_check_unchanged(file);
    clock_gettime(COARSE_CLOCK, &now);
    if (now.tv_sec == file->checked.tv_sec && now.tv_nsec == file->checked.tv_nsec) return SS_OK;
    file->checked = now;
    return ss_file_check_unchanged(file);
}

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

static int shared_grow(void *self, uint64_t old_pages, uint64_t new_pages) {
    ss_file *file = self;
    uint64_t old_size = old_pages * SS_PAGE_SIZE;
    int error = 0;
    /* Left by a shrink that could not cut the file. */
    if (file->file_pages > old_pages) error = ss_vfs_resize(file->vfs, file->main, old_size);
    if (error == 0) file->file_pages = old_pages;
    if (error == 0) error = extend_file(file, old_size, new_pages * SS_PAGE_SIZE);
    if (error != 0) return ss_file_failure(error, "disk space for a growing file", old_size);
    int status = ss_file_map(file, old_pages, new_pages, SS_MAP_SHARED);
    if (status != SS_OK) {
        (void)ss_vfs_resize(file->vfs, file->main, old_size);
        return status;
    }
    file->file_pages = new_pages;
    return SS_OK;
}

/* The pages that go become private zeros first, so that a view of them does not fault when the file is cut. */
static void shared_shrink(void *self, uint64_t old_pages, uint64_t new_pages) {
    ss_file *file = self;
    ss_root_zero(file->root, new_pages, old_pages);
    file->mapped_pages = new_pages;
    if (ss_vfs_resize(file->vfs, file->main, new_pages * SS_PAGE_SIZE) == 0) file->file_pages = new_pages;
}

static int shared_make_room(void *self, uint64_t offset, uint64_t length) {
    ss_file *file = self;
    if (length == 0 || file->root->forked) return SS_OK;
    return ss_holes_fill(&file->holes, file->vfs, file->main, offset / SS_PAGE_SIZE, (offset + length - 1) / SS_PAGE_SIZE + 1);
}

static int shared_sync(void *self) {
    ss_file *file = self;
    int error = file->mapped_pages == 0 ? 0 : file->vfs->sync_map(file->vfs->self, file->root->base, file->mapped_pages * SS_PAGE_SIZE);
    if (error == 0) error = ss_vfs_sync(file->vfs, file->main);
    return error == 0 ? SS_OK : ss_file_die(file, SS_COMMIT_UNKNOWN, "the disk failed to store the file", (uint64_t)error, 0);
}

/* ---- closing ---- */

int ss_file_keep_views(ss_file *file, bool is_same) {
    ss_vfs_status now;
    bool mapped = file->opened && file->main != SS_NO_FILE && !file->load && file->vfs->map != NULL;
    if (!mapped || ss_file_status(file, &now) != SS_OK) return SS_OK;
    ss_shown shown = {file->mapped_pages * SS_PAGE_SIZE, now.size, file->vfs, file->main, is_same};
    int status = ss_views_keep(file->root, &shown);
    return file->root->closed ? SS_OK : status;
}

static int close_plain(void *self) {
    int status = ss_file_keep_views(self, true);
    return status == SS_OK ? ss_file_shut(self) : status;
}

int ss_file_shut(void *self) {
    ss_file *file = self;
    unlist_file(file);
    if (file->opened && file->mode != SS_FILE_READ && file->locks != SS_NO_FILE) {
        ss_file_unlock(file, LOCK_READY);
        ss_file_unlock(file, LOCK_WRITER);
    }
    ss_file_close_descriptors(file);
    return SS_OK;
}

uint64_t ss_file_data_after(void *self, uint64_t offset) {
    ss_file *file = self;
    uint64_t at = offset;
    if (file->main == SS_NO_FILE || file->vfs->data_after == NULL) return offset;
    return file->vfs->data_after(file->vfs->self, file->main, offset, &at) == 0 ? at : offset;
}

void ss_file_free(void *self) {
    ss_file *file = self;
    (void)ss_file_shut(file);
    ss_wal_close(&file->wal);
    ss_block_set_free(&file->pending);
    ss_block_set_free(&file->logged);
    ss_block_bits_free(&file->written);
    ss_window_close(&file->window);
    ss_holes_free(&file->holes);
    free(file->pieces);
    free(file->directory_path);
    free(file->name);
    free(file->log_name);
    free(file->temporary_name);
    free(file);
}

static const ss_backing_ops shared_ops = {
    .begin = ss_file_check_now_and_then,
    .grow = shared_grow,
    .shrink = shared_shrink,
    .make_room = shared_make_room,
    .data_after = ss_file_data_after,
    .sync = shared_sync,
    .checkpoint = shared_sync,
    .close = close_plain,
    .free = ss_file_free,
};

/* ---- opening ---- */

static char *join(const char *a, size_t length, const char *b) {
    size_t more = strlen(b);
    char *text = malloc(length + more + 1);
    if (text == NULL) return NULL;
    memcpy(text, a, length);
    memcpy(text + length, b, more + 1);
    return text;
}

static int split_path(ss_file *file, const char *path) {
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    if (*name == '\0') return ss_fail(SS_ARGUMENT, "the path of a file ends in a name", 0, 0, 0);
    file->directory_path = slash == NULL ? join(".", 1, "") : join(path, (size_t)(slash - path) + 1, "");
    file->name = join(name, strlen(name), "");
    file->log_name = join(name, strlen(name), "-wal");
    file->temporary_name = join(name, strlen(name), "-wal.tmp");
    bool all = file->directory_path && file->name && file->log_name && file->temporary_name;
    return all ? SS_OK : ss_fail(SS_NO_HEAP, "names of a file", 0, strlen(path), 0);
}

static int open_failure(int error) {
    const char *rule = error == ELOOP    ? "a memory file is not a symbolic link"
                       : error == EISDIR ? "a memory file is not a directory"
                       : error == EEXIST ? "mode x: the file must not exist"
                                         : "opening the file";
    return ss_fail(SS_SYSTEM, rule, 0, (uint64_t)error, 0);
}

/* Another process may create or delete the file between the two attempts, so it goes round a few times. */
static int open_main(ss_file *file) {
    unsigned access = file->mode == SS_FILE_READ ? 0 : SS_OPEN_WRITE;
    int error = ENOENT;
    for (int attempt = 0; attempt < 10 && (error == ENOENT || error == EEXIST); attempt++) {
        if (file->mode != SS_FILE_CREATE) {
            error = ss_vfs_open(file->vfs, file->location.directory, file->name, access, 0, &file->main);
            if (error != ENOENT || file->mode == SS_FILE_READ) break;
        }
        error = ss_vfs_open(file->vfs, file->location.directory, file->name, access | SS_OPEN_CREATE, file->permissions, &file->main);
        file->created = error == 0;
        if (file->mode == SS_FILE_CREATE) break;
    }
    if (error == 0) return SS_OK;
    file->main = SS_NO_FILE;
    return open_failure(error);
}

static int check_same(const ss_vfs_status *one, const ss_vfs_status *other) {
    if (one->inode == other->inode && one->device == other->device) return SS_OK;
    return ss_fail(SS_LOCKED, "the file was replaced while it was opened", 0, 0, 0);
}

static int open_locks(ss_file *file) {
    ss_vfs_status opened, again;
    int status = ss_file_status(file, &opened);
    if (status != SS_OK) return status;
    if (!opened.regular) return ss_fail(SS_CORRUPT, "a memory file is a regular file", 0, 0, 0);
    unsigned access = file->mode == SS_FILE_READ ? 0 : SS_OPEN_WRITE;
    int error = ss_vfs_open(file->vfs, file->location.directory, file->name, access, 0, &file->locks);
    if (error == 0) error = file->vfs->status(file->vfs->self, file->locks, &again);
    file->location.inode = opened.inode;
    file->location.permissions = opened.permissions;
    file->covers = file->vfs->loads_take_space != NULL && file->vfs->loads_take_space(file->vfs->self, file->main);
    return error == 0 ? check_same(&opened, &again) : open_failure(error);
}

/* That what is locked is still the file of that name. */
static int check_name(ss_file *file) {
    ss_vfs_status opened, named;
    int status = ss_file_status(file, &opened);
    if (status != SS_OK) return status;
    int error = file->vfs->status_at(file->vfs->self, file->location.directory, file->name, &named);
    return error == 0 ? check_same(&opened, &named) : open_failure(error);
}

static int open_names(ss_file *file, const char *path) {
    int status = split_path(file, path);
    if (status != SS_OK) return status;
    int error = file->vfs->open_directory(file->vfs->self, file->directory_path, &file->directory);
    if (error != 0) {
        file->directory = SS_NO_FILE;
        return ss_fail(SS_SYSTEM, "opening the directory of the file", 0, (uint64_t)error, 0);
    }
    file->location.vfs = file->vfs;
    file->location.directory = file->directory;
    file->location.name = file->log_name;
    file->location.temporary = file->temporary_name;
    status = open_main(file);
    return status == SS_OK ? open_locks(file) : status;
}

/* ---- reading what others write ---- */

static int enter_as_reader(ss_file *file) {
    int error = ss_file_lock(file, LOCK_GATE, SS_LOCK_SHARED, ss_memory_patience(file->root));
    if (error == 0) {
        error = ss_file_lock(file, LOCK_READ, SS_LOCK_SHARED, ss_memory_patience(file->root));
        ss_file_unlock(file, LOCK_GATE);
    }
    return error == 0 ? SS_OK : ss_file_lock_failure(error, "a writer did not finish changing the file in time");
}

/* The file may be no image where no writer keeps it one and there is a log. Only a reader that cannot settle it looks
 * whether it has commits: that takes reading all of it. */
static int is_unsettled(ss_file *file, bool *unsettled) {
    *unsettled = !ss_file_is_locked(file, LOCK_READY) && ss_wal_exists(&file->location);
    return *unsettled && file->cannot_settle ? ss_wal_has_records(&file->location, unsettled) : SS_OK;
}

static int settle_with(ss_file *writer) {
    int error = ss_vfs_open(writer->vfs, writer->location.directory, writer->name, SS_OPEN_WRITE, 0, &writer->main);
    if (error == EACCES || error == EROFS || error == EPERM) {
        return ss_fail(SS_READ_ONLY, "the log beside the file holds commits: open it once for writing", 0, (uint64_t)error, 0);
    }
    if (error != 0) return open_failure(error);
    int status = open_locks(writer);
    if (status != SS_OK) return status;
    error = ss_file_lock(writer, LOCK_WRITER, SS_LOCK_EXCLUSIVE, 0);
    if (error != 0) return ss_file_lock_failure(error, "another handle has the file open for writing");
    status = check_name(writer);
    return status == SS_OK ? ss_durable_settle(writer) : status;
}

/* Does for a moment what a writer does when it opens and closes. SS_LOCKED where one is just beginning. */
static int settle(ss_file *reader) {
    ss_file writer = {.root = reader->root,
                      .vfs = reader->vfs,
                      .mode = SS_FILE_WRITE,

                      .name = reader->name,
                      .directory = SS_NO_FILE,
                      .main = SS_NO_FILE,
                      .locks = SS_NO_FILE,
                      .location = reader->location};
    ss_wal_init(&writer.wal, &writer.location);
    list_file(&writer);
    int status = settle_with(&writer);
    unlist_file(&writer);
    ss_file_close_descriptors(&writer);
    ss_wal_close(&writer.wal);
    return status;
}

/* More than the clock of a file system is late, in nanoseconds. */
#define CLOCK_LAG INT64_C(20000000)

static int64_t age_of(int64_t modified) {
    struct timespec now;
    if (modified == 0 || clock_gettime(CLOCK_REALTIME, &now) != 0) return 0;
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - modified;
}

/* 0: nobody knows. */
static int64_t modified_at(ss_file *file) {
    int64_t modified = 0;
    bool known = file->vfs->modified != NULL && file->vfs->modified(file->vfs->self, file->main, &modified) == 0;
    return known ? modified : 0;
}

/* Whether the file is certainly as the last operation saw it, so that iterators may go on. With a writer about nothing
 * is certain: what it stores through a mapping changes no time. */
static bool is_as_shown(ss_file *file, uint64_t size) {
    return file->shown_is_old && size == file->shown_size && !ss_file_is_locked(file, LOCK_WRITER) &&
           modified_at(file) == file->shown_modified;
}

/* Remembers what this operation sees. A file that was changed within the lag of the clock could change again and keep
 * its time, so it is let grow older first; no writer may change it meanwhile, since we hold LOCK_READ. */
static void note_shown(ss_file *file, uint64_t size) {
    file->shown_is_old = false;
    file->root->behind_writer = ss_file_is_locked(file, LOCK_WRITER);
    if (file->root->behind_writer) return;
    file->shown_size = size;
    file->shown_modified = modified_at(file);
    int64_t age = age_of(file->shown_modified);
    if (age > 0 && age < CLOCK_LAG) nanosleep(&(struct timespec){.tv_nsec = CLOCK_LAG - age}, NULL);
    file->shown_is_old = age > 0;
}

/* A writer fills holes, so those that were covered are shown anew. */
static int map_with_covers(ss_file *file, uint64_t pages) {
    uint64_t begin, end;
    bool has_holes = ss_vfs_hole(file->vfs, file->main, 0, pages * SS_PAGE_SIZE, &begin, &end);
    if (!has_holes && !file->is_covered) return ss_file_map(file, file->mapped_pages, pages, SS_MAP_READ);
    file->is_covered = has_holes;
    file->file_pages = pages;
    return ss_file_map_all(file, SS_MAP_READ);
}

static int show_pages(ss_file *file, uint64_t pages) {
    bool copies = file->load || file->vfs->map == NULL;
    if (file->covers && !copies) return map_with_covers(file, pages);
    return ss_file_map(file, copies ? 0 : file->mapped_pages, pages, SS_MAP_READ);
}

static int show_file(ss_file *file) {
    ss_vfs_status now;
    int status = ss_file_status(file, &now);
    if (status != SS_OK) return status;
    if (now.links == 0) return ss_file_die(file, SS_CLOSED, "the file was deleted or replaced: open it again", 0, 0);
    if (is_as_shown(file, now.size)) return SS_OK;
    /* A writer without a log may be in the middle of growing it. */
    if (now.size % SS_PAGE_SIZE != 0 && ss_file_is_locked(file, LOCK_READY)) now.size -= now.size % SS_PAGE_SIZE;
    status = ss_file_check_size(file, now.size);
    uint64_t pages = now.size / SS_PAGE_SIZE;
    if (status == SS_OK) status = show_pages(file, pages);
    if (status != SS_OK) return status;
    file->file_pages = file->root->pages = pages;
    file->root->epoch++;
    note_shown(file, now.size);
    return SS_OK;
}

static int reader_begin(void *self) {
    ss_file *file = self;
    uint64_t until = ss_milliseconds() + ss_memory_patience(file->root);
    for (bool unsettled = true;;) {
        int status = enter_as_reader(file);
        if (status != SS_OK) return status;
        status = is_unsettled(file, &unsettled);
        if (status == SS_OK && !unsettled) status = show_file(file);
        if (status == SS_OK && !unsettled) return SS_OK;
        ss_file_unlock(file, LOCK_READ);
        if (status != SS_OK) return status;
        status = settle(file);
        if (status == SS_LOCKED && ss_milliseconds() < until) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
            status = ss_poll_signals();
            if (status != SS_OK) return status;
            continue;
        }
        if (status == SS_LOCKED || (status != SS_OK && file->cannot_settle)) return status;
        file->cannot_settle = status != SS_OK;
    }
}

static void reader_end(void *self) {
    ss_file *file = self;
    ss_file_unlock(file, LOCK_READ);
}

static const ss_backing_ops reader_ops = {
    .read_begin = reader_begin,
    .read_end = reader_end,
    .close = close_plain,
    .free = ss_file_free,
};

static int open_as_reader(ss_file *file) {
    file->root->read_only = true;
    int status = reader_begin(file);
    if (status == SS_OK) reader_end(file);
    return status;
}

/* ---- opening for writing ---- */

static int open_shared(ss_file *file) {
    ss_vfs_status now;
    int status = ss_durable_settle(file);
    if (status == SS_OK) status = ss_file_status(file, &now);
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

static int open_as_writer(ss_file *file) {
    int error = ss_file_lock(file, LOCK_WRITER, SS_LOCK_EXCLUSIVE, 0);
    if (error != 0) return ss_file_lock_failure(error, "another handle has the file open for writing");
    int status = check_name(file);
    if (status != SS_OK) return status;
    return file->durability == SS_DURABLE_NONE ? open_shared(file) : ss_durable_open(file);
}

/* A file that we made and could not open goes again, unless another program has found it meanwhile: it has the lock then,
 * or has written it. */
static void delete_created(ss_file *file, int status) {
    ss_vfs_status now;
    bool ours = file->created && status != SS_LOCKED && check_name(file) == SS_OK && ss_file_status(file, &now) == SS_OK && now.size == 0;
    if (ours) (void)ss_vfs_unlink(file->vfs, file->location.directory, file->name);
}

static int check_options(const ss_file_options *options) {
    if (options->path == NULL || options->path[0] == '\0') return ss_fail(SS_ARGUMENT, "path of a file", 0, 0, 0);
    if (options->mode < SS_FILE_READ || options->mode > SS_FILE_CREATE) return ss_fail(SS_ARGUMENT, "mode of a file", 0, 0, 0);
    if (options->durability < SS_DURABLE_NONE || options->durability > SS_DURABLE_FULL) {
        return ss_fail(SS_ARGUMENT, "durability of a file", 0, 0, 0);
    }
    if (options->load && options->durability == SS_DURABLE_NONE && options->mode != SS_FILE_READ) {
        return ss_fail(SS_ARGUMENT, "a file without a log is mapped, not loaded", 0, 0, 0);
    }
    return SS_OK;
}

static ss_file *new_file(const ss_file_options *options, ss_root *root) {
    ss_file *file = calloc(1, sizeof *file);
    if (file == NULL) return NULL;
    file->root = root;
    file->vfs = options->vfs != NULL ? options->vfs : &ss_vfs_system;
    file->mode = options->mode;
    file->durability = options->durability;
    file->permissions = options->permissions != 0 ? options->permissions : DEFAULT_PERMISSIONS;
    file->directory = file->main = file->locks = SS_NO_FILE;
    file->exclusive = options->exclusive != 0;
    file->load = options->load != 0;
    file->window = (ss_window){.may_be_cloned = true, .is_impossible = file->load};
    file->location.bytes = options->log_bytes != 0 ? options->log_bytes : LOG_BYTES;
    file->checkpoint_bytes = options->checkpoint_bytes != 0 ? options->checkpoint_bytes : CHECKPOINT_BYTES;
    file->location.bytes_prepared = file->checkpoint_bytes;
    ss_wal_init(&file->wal, &file->location);
    return file;
}

static int open_under(ss_memory *memory, const ss_file_options *options) {
    ss_root *root = memory->root;
    ss_file *file = new_file(options, root);
    if (file == NULL) return ss_fail(SS_NO_HEAP, "a file", 0, sizeof *file, 0);
    const ss_backing_ops *ops = file->mode == SS_FILE_READ            ? &reader_ops
                                : file->durability == SS_DURABLE_NONE ? &shared_ops
                                                                      : &ss_durable_ops;
    int status = ss_journal_attach(root, ops, file, options->patience != 0 ? options->patience : SS_PATIENCE_MS);
    if (status != SS_OK) {
        free(file);
        return status;
    }
    list_file(file);
    status = open_names(file, options->path);
    if (status == SS_OK) status = file->mode == SS_FILE_READ ? open_as_reader(file) : open_as_writer(file);
    file->opened = status == SS_OK;
    if (file->opened) return SS_OK;
    struct ss_failure reason = *ss_last_failure();
    delete_created(file, status);
    return ss_fail(reason.status, reason.rule, reason.address, reason.number, reason.limit);
}

int ss_file_open_with(const ss_file_options *options, ss_memory **out) {
    *out = NULL;
    int status = check_options(options);
    ss_memory *memory = NULL;
    if (status == SS_OK) status = ss_memory_new_flat(options->max_pages, &memory);
    if (status != SS_OK) return status;
    status = open_under(memory, options);
    if (status == SS_OK) {
        *out = memory;
        return SS_OK;
    }
    struct ss_failure reason = *ss_last_failure();
    ss_memory_release(memory);
    return ss_fail(reason.status, reason.rule, reason.address, reason.number, reason.limit);
}

int ss_file_open(const char *path, int mode, int durability, uint64_t max_pages, ss_memory **out) {
    ss_file_options options = {.path = path, .mode = mode, .durability = durability, .max_pages = max_pages};
    return ss_file_open_with(&options, out);
}
