/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are open for reading, with writers beside them: each operation shows the file as it is then, and over it what
 * a writer of mode normal has in its log.
 *
 *   who writes                    what the memory shows                           mapping
 *   nobody, or without a log      the file                                        shared
 *   mode full                     the file: the writer changes it when it may     shared
 *   mode normal                   the file, and over it the records of the log    private, from the first record on
 *
 * The records lie in copies of our own (wal_follow.h says why that is the committed image). They go when the writer has
 * emptied its log: the file is mapped again then.
 */
#include <errno.h>

#include "core/waiting.h"
#include "storage/file_private.h"

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
    file->is_kept = ss_file_is_locked(file, LOCK_READY);
    *unsettled = !file->is_kept && ss_wal_exists(&file->location);
    return *unsettled && file->cannot_settle ? ss_wal_has_records(&file->location, unsettled) : SS_OK;
}

static int settle_with(ss_file *writer) {
    int error = ss_vfs_open(writer->vfs, writer->location.directory, writer->name, SS_OPEN_WRITE, 0, &writer->main);
    if (error == EACCES || error == EROFS || error == EPERM) {
        return ss_fail(SS_READ_ONLY, "the log beside the file holds commits: open it once for writing", 0, (uint64_t)error, 0);
    }
    if (error != 0) return ss_file_open_failure(error);
    int status = ss_file_open_locks(writer);
    if (status != SS_OK) return status;
    error = ss_file_lock(writer, LOCK_WRITER, SS_LOCK_EXCLUSIVE, 0);
    if (error != 0) return ss_file_lock_failure(error, "another handle has the file open for writing");
    status = ss_file_check_name(writer);
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
    ss_file_list(&writer);
    int status = settle_with(&writer);
    ss_file_unlist(&writer);
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
    return ss_vfs_modified(file->vfs, file->main, &modified) == 0 ? modified : 0;
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
    if (ss_file_is_locked(file, LOCK_WRITER)) return;
    file->shown_size = size;
    file->shown_modified = modified_at(file);
    int64_t age = age_of(file->shown_modified);
    if (age > 0 && age < CLOCK_LAG) nanosleep(&(struct timespec){.tv_nsec = CLOCK_LAG - age}, NULL);
    file->shown_is_old = age > 0;
}

/* A writer fills holes, so those that were covered are shown again. */
static int map_with_covers(ss_file *file, uint64_t pages) {
    uint64_t begin, end;
    bool has_holes = ss_vfs_hole(file->vfs, file->main, 0, pages * SS_PAGE_SIZE, &begin, &end);
    if (!has_holes && !file->is_covered) return ss_file_map(file, file->mapped_pages, pages, SS_MAP_READ);
    file->is_covered = has_holes;
    file->file_pages = pages;
    return ss_file_map_all(file, SS_MAP_READ);
}

static bool has_copies(const ss_file *file) {
    return file->load || file->vfs->map == NULL;
}

static int show_pages(ss_file *file, uint64_t pages) {
    if (file->covers && !has_copies(file)) return map_with_covers(file, pages);
    return ss_file_map(file, has_copies(file) ? 0 : file->mapped_pages, pages, SS_MAP_READ);
}

/* ---- what a log has over the file ---- */

static int show_all(ss_file *file, int kind) {
    file->is_covered = file->covers;
    return ss_file_map_all(file, kind);
}

static int drop_records(void *self) {
    ss_file *file = self;
    ss_root *root = file->root;
    if (!file->has_records) return SS_OK;
    int status = show_all(file, SS_MAP_READ);
    if (status != SS_OK) return status;
    uint64_t own = root->committed / SS_PAGE_SIZE;
    if (own > file->file_pages) ss_root_zero(root, file->file_pages, own);
    file->has_records = false;
    return SS_OK;
}

/* Above the file lies memory of our own. */
static int make_room_for_records(void *self, uint64_t pages) {
    ss_file *file = self;
    ss_root *root = file->root;
    uint64_t file_bytes = file->file_pages * SS_PAGE_SIZE;
    int status = ss_file_check_size(file, pages * SS_PAGE_SIZE);
    if (status == SS_OK && !file->has_records && !has_copies(file)) status = show_all(file, SS_MAP_PRIVATE);
    if (status != SS_OK) return status;
    if (root->committed < file_bytes) root->committed = file_bytes;
    file->has_records = true;
    file->log_pages = pages;
    return ss_root_commit(root, pages * SS_PAGE_SIZE);
}

/* *as_before: the image is certainly the one that the last operation saw. */
static int show_log(ss_file *file, bool *as_before) {
    ss_wal_image image = {file, drop_records, make_room_for_records, file->root->base};
    bool moved = true;
    int status = file->is_kept ? ss_wal_follow(&file->follower, &image, &moved) : SS_ABSENT;
    bool has_log = status == SS_OK;
    if (status == SS_ABSENT) {
        ss_wal_follow_end(&file->follower);
        status = drop_records(file);
    }
    bool complete = file->has_records || file->wal.sequence == 0;
    file->root->behind_writer = has_log && !complete;
    *as_before = has_log && complete && !moved;
    return status;
}

/* ---- what an operation sees ---- */

static int show_size(ss_file *file, uint64_t size) {
    uint64_t pages = size / SS_PAGE_SIZE;
    int status = ss_file_check_size(file, size);
    if (status != SS_OK) return status;
    /* Over a file that grows the records are laid once more: what lay behind its end was memory of our own. */
    if (file->has_records && pages != file->file_pages) file->follower.from_start = true;
    if (!file->has_records) status = show_pages(file, pages);
    file->file_pages = pages;
    return status;
}

static int show_file(ss_file *file) {
    ss_vfs_status now;
    bool as_before;
    int status = ss_file_status(file, &now);
    if (status != SS_OK) return status;
    if (now.links == 0) return ss_file_die(file, SS_CLOSED, "the file was deleted or replaced: open it again", 0, 0);
    if (is_as_shown(file, now.size)) return SS_OK;
    /* A writer without a log may be in the middle of growing it. */
    if (now.size % SS_PAGE_SIZE != 0 && file->is_kept) now.size -= now.size % SS_PAGE_SIZE;
    status = show_size(file, now.size);
    if (status == SS_OK) status = show_log(file, &as_before);
    if (status != SS_OK) return status;
    file->root->pages = file->has_records && file->log_pages > file->file_pages ? file->log_pages : file->file_pages;
    if (as_before) return SS_OK;
    file->root->epoch++;
    note_shown(file, now.size);
    return SS_OK;
}

/* A log that was opened just now may be the one of a writer that is only recovering what a killed one has left. */
static int show_if_kept(ss_file *file, bool *unsettled) {
    int status = show_file(file);
    *unsettled = status == SS_OK && file->is_kept && file->follower.opened && !ss_file_is_locked(file, LOCK_READY);
    return status;
}

static int reader_begin(void *self) {
    ss_file *file = self;
    uint64_t until = ss_deadline(ss_memory_patience(file->root));
    file->is_expired = false;
    for (bool unsettled = true;;) {
        int status = enter_as_reader(file);
        if (status != SS_OK) return status;
        status = is_unsettled(file, &unsettled);
        if (status == SS_OK && !unsettled) status = show_if_kept(file, &unsettled);
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

static int reader_begin_transaction(void *self) {
    ss_file *file = self;
    file->began_while_asked = ss_file_is_locked(file, LOCK_LEAVE);
    return SS_OK;
}

/* The writer goes on asking until its next commit. Who began meanwhile was not meant, unless a commit came since: else no
 * transaction could last while the writer does nothing. */
static bool is_asked_to_leave(ss_file *file) {
    if (!ss_file_is_locked(file, LOCK_LEAVE)) return false;
    return !file->began_while_asked || ss_wal_follow_is_behind(&file->follower);
}

/* A transaction keeps the writer from changing the file, whose log keeps all commits meanwhile. Once that is too long, the
 * writer asks for the lock, and who comes back to the transaction does not find its state any more. */
static int reader_on(void *self) {
    ss_file *file = self;
    if (!file->is_expired && ss_file_is_time_to_check(file) && is_asked_to_leave(file)) {
        file->is_expired = true;
        file->root->epoch++;
        ss_file_unlock(file, LOCK_READ);
    }
    if (!file->is_expired) return SS_OK;
    return ss_fail(SS_TRANSACTION,
                   "the state that this transaction of a reader began with is gone: so much was committed meanwhile that the log became "
                   "too long; begin a new one, and keep it shorter",
                   0, 0, 0);
}

const ss_backing_ops ss_reader_ops = {
    .begin = reader_begin_transaction,
    .read_begin = reader_begin,
    .read_on = reader_on,
    .read_end = reader_end,
    .close = ss_file_close_plain,
    .free = ss_file_free,
};

int ss_reader_open(ss_file *file) {
    file->root->read_only = true;
    int status = reader_begin(file);
    if (status == SS_OK) reader_end(file);
    return status;
}
