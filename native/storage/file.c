/* SPDX-License-Identifier: Apache-2.0 */
/* What all open memory files share: locks, forks, names, showing the file in memory, closing.
 *
 * open.c chooses what serves a file: shared.c (no log), durable.c (a log), reader.c (read only). They stand on this file.
 */
#include <errno.h>
#include <stdlib.h>

#include "core/waiting.h"
#include "storage/file_private.h"
#include "storage/views.h"

/* ---- errors ---- */

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

static void close_descriptors(ss_file *file) {
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

/* The thread that forked may be in the middle of an operation, in a comparison of keys: what it stores from here on must
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
        close_descriptors(file); /* and unlocks nothing: the locks are the parent's */
        ss_root_forked(file->root, "the file was opened before this process was forked: open it again here");
    }
    pthread_mutex_unlock(&open_files_mutex);
}

static void watch_forks(void) {
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

void ss_file_list(ss_file *file) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&open_files_mutex);
    file->next = open_files;
    file->link = &open_files;
    if (open_files != NULL) open_files->link = &file->next;
    open_files = file;
    pthread_mutex_unlock(&open_files_mutex);
}

void ss_file_unlist(ss_file *file) {
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
    return ss_vfs_lock(file->vfs, file->locks, both ? LOCK_GATE : lock, both ? 2 : 1, kind);
}

void ss_file_unlock(ss_file *file, enum ss_file_lock lock) {
    (void)try_lock(file, lock, SS_UNLOCK);
}

/* Unlocks first: where another thread is just starting a program, that has copies of the descriptors for a moment, and the locks
 * of an open file end with the last one. */
void ss_file_close_descriptors(ss_file *file) {
    if (file->locks != SS_NO_FILE) (void)ss_vfs_lock(file->vfs, file->locks, LOCK_WRITER, LOCK_LEAVE + 1, SS_UNLOCK);
    close_descriptors(file);
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
    uint64_t looked = ss_milliseconds(), until = ss_deadline(patience);
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
    return ss_vfs_locked(file->vfs, file->locks, (unsigned)lock, &held) == 0 && held;
}

int ss_file_lock_failure(int error, const char *rule) {
    if (error == ECANCELED) return ss_fail(SS_CALLBACK, "a signal handler raised", 0, 0, 0);
    if (error == EAGAIN) return ss_fail(SS_LOCKED, rule, 0, 0, 0);
    return ss_fail_errno(error, "locks of open files, which the file system must have", 0);
}

int ss_file_lock_for_change(ss_file *file, uint32_t patience) {
    int error = ss_file_lock(file, LOCK_GATE_AND_READ, SS_LOCK_EXCLUSIVE, 0);
    if (error == EAGAIN && patience > 0) {
        error = ss_file_lock(file, LOCK_GATE, SS_LOCK_EXCLUSIVE, patience);
        if (error == 0) error = ss_file_lock(file, LOCK_READ, SS_LOCK_EXCLUSIVE, patience);
        if (error != 0) ss_file_unlock(file, LOCK_GATE);
    }
    return error == 0 ? SS_OK : ss_file_lock_failure(error, "readers keep the file from being changed");
}

void ss_file_unlock_after_change(ss_file *file) {
    ss_file_unlock(file, LOCK_GATE_AND_READ);
}

/* ---- what the file is now ---- */

int ss_file_status(ss_file *file, ss_vfs_status *status) {
    int error = ss_vfs_status_of(file->vfs, file->main, status);
    return error == 0 ? SS_OK : ss_fail_errno(error, "state of the file", 0);
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
    int error = ss_vfs_status_of(file->vfs, file->wal.file, &now);
    if (error != 0) return ss_fail_errno(error, "state of the log", 0);
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
    return error == 0 ? SS_OK : ss_fail_errno(error, "reading the file", offset);
}

int ss_file_map(ss_file *file, uint64_t first, uint64_t end, int kind) {
    if (first >= end) return SS_OK;
    uint64_t offset = first * SS_PAGE_SIZE, length = (end - first) * SS_PAGE_SIZE;
    int status = SS_OK;
    if (file->load || file->vfs->map == NULL) {
        status = load_pages(file, offset, length);
    } else {
        int error = ss_vfs_map(file->vfs, file->main, file->root->base + offset, offset, length, kind);
        if (error != 0) status = ss_fail_errno(error, "mapping of the file", offset);
    }
    if (status == SS_OK) file->mapped_pages = end;
    return status;
}

int ss_file_map_all(ss_file *file, int kind) {
    int status = ss_file_map(file, 0, file->file_pages, kind);
    bool covers = status == SS_OK && file->covers && !file->load && file->vfs->map != NULL;
    return covers ? ss_holes_cover(file->vfs, file->main, file->root->base, file->file_pages * SS_PAGE_SIZE, kind) : status;
}

#ifdef CLOCK_MONOTONIC_COARSE
#define COARSE_CLOCK CLOCK_MONOTONIC_COARSE
#else
#define COARSE_CLOCK CLOCK_MONOTONIC
#endif

/* Asking the system more often would cost as much as a small operation. */
bool ss_file_is_time_to_check(ss_file *file) {
    struct timespec now;
    if (file->vfs->map == NULL) return true;
    clock_gettime(COARSE_CLOCK, &now);
    if (now.tv_sec == file->checked.tv_sec && now.tv_nsec == file->checked.tv_nsec) return false;
    file->checked = now;
    return true;
}

int ss_file_check_now_and_then(void *self) {
    ss_file *file = self;
    return ss_file_is_time_to_check(file) ? ss_file_check_unchanged(file) : SS_OK;
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

int ss_file_close_plain(void *self) {
    ss_file *file = self;
    int status = ss_file_keep_views(file, !file->has_records);
    return status == SS_OK ? ss_file_shut(self) : status;
}

int ss_file_shut(void *self) {
    ss_file *file = self;
    ss_file_unlist(file);
    ss_file_close_descriptors(file);
    return SS_OK;
}

uint64_t ss_file_data_after(void *self, uint64_t offset) {
    ss_file *file = self;
    uint64_t at = offset;
    if (file->main == SS_NO_FILE) return offset;
    return ss_vfs_data_after(file->vfs, file->main, offset, &at) == 0 ? at : offset;
}

void ss_file_free(void *self) {
    ss_file *file = self;
    (void)ss_file_shut(file);
    ss_wal_follow_end(&file->follower);
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

/* ---- names and descriptors ---- */

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

int ss_file_open_failure(int error) {
    const char *rule = error == ELOOP    ? "a memory file is not a symbolic link"
                       : error == EISDIR ? "a memory file is not a directory"
                       : error == EEXIST ? "mode x: the file must not exist"
                                         : "opening the file";
    return ss_fail_errno(error, rule, 0);
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
    return ss_file_open_failure(error);
}

static int check_same(const ss_vfs_status *one, const ss_vfs_status *other) {
    if (one->inode == other->inode && one->device == other->device) return SS_OK;
    return ss_fail(SS_LOCKED, "the file was replaced while it was opened", 0, 0, 0);
}

int ss_file_open_locks(ss_file *file) {
    ss_vfs_status opened, again;
    int status = ss_file_status(file, &opened);
    if (status != SS_OK) return status;
    if (!opened.regular) return ss_fail(SS_CORRUPT, "a memory file is a regular file", 0, 0, 0);
    unsigned access = file->mode == SS_FILE_READ ? 0 : SS_OPEN_WRITE;
    int error = ss_vfs_open(file->vfs, file->location.directory, file->name, access, 0, &file->locks);
    if (error == 0) error = ss_vfs_status_of(file->vfs, file->locks, &again);
    file->location.inode = opened.inode;
    file->location.permissions = opened.permissions;
    file->covers = file->vfs->loads_take_space != NULL && file->vfs->loads_take_space(file->vfs->self, file->main);
    return error == 0 ? check_same(&opened, &again) : ss_file_open_failure(error);
}

int ss_file_check_name(ss_file *file) {
    ss_vfs_status opened, named;
    int status = ss_file_status(file, &opened);
    if (status != SS_OK) return status;
    int error = ss_vfs_status_at(file->vfs, file->location.directory, file->name, &named);
    return error == 0 ? check_same(&opened, &named) : ss_file_open_failure(error);
}

int ss_file_open_names(ss_file *file, const char *path) {
    int status = split_path(file, path);
    if (status != SS_OK) return status;
    int error = ss_vfs_open_directory(file->vfs, file->directory_path, &file->directory);
    if (error != 0) {
        file->directory = SS_NO_FILE;
        return ss_fail_errno(error, "opening the directory of the file", 0);
    }
    file->location.vfs = file->vfs;
    file->location.directory = file->directory;
    file->location.name = file->log_name;
    file->location.temporary = file->temporary_name;
    status = open_main(file);
    return status == SS_OK ? ss_file_open_locks(file) : status;
}
