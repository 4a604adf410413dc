/* SPDX-License-Identifier: Apache-2.0 */
/* A file with a log: commit, checkpoint, recovery, close. The picture of the log and its invariants stand in wal.c, those
 * of the file in file_private.h.
 *
 *   commit       what changed -> log [full: sync log] | from here on it is committed | [full: blocks -> file]
 *   checkpoint   [normal: sync log] blocks -> file, sync file, new generation -> log, sync log
 *   close        checkpoint, delete log
 *   open         find log, copy its records to a new log, sync, rename, blocks -> file, map
 *
 * The memory is a private mapping of the file and, above its size, anonymous: nothing that happens in it reaches the
 * file by itself. `pending` names the blocks that were committed and are not in the file; they are written from memory,
 * which at these moments is the committed image. `logged` names those that the log has as a whole in this generation: of
 * these a commit logs what differs.
 */
#include <errno.h>
#include <stdlib.h>

#include "storage/file_private.h"

/* When so many blocks of the mapping are copies of our own (64 MiB), they are given back. */
#define PRIVATE_BLOCKS_KEPT UINT64_C(16384)
/* Two differences with less between them than a piece costs are one piece. */
#define PIECE_GAP UINT64_C(24)
/* So many blocks are stored into the window of the file one by one; runs of more are cheaper by calls, which also need not
 * read a block that the system has dropped from its cache. */
#define STORED_MAX ((size_t)16)
/* How long a commit keeps new readers out, for those inside to finish, to empty a log that has become long; and how long
 * when it is so long that those who stay are asked to leave. */
#define CHECKPOINT_PATIENCE_MS 2u
#define LEAVE_PATIENCE_MS 50u

static bool is_full(const ss_file *file) {
    return file->durability == SS_DURABLE_FULL;
}

/* ---- from memory to the file ---- */

static int extend_to(ss_file *file, uint64_t pages) {
    if (file->file_pages >= pages) return SS_OK;
    int error = ss_vfs_resize(file->vfs, file->main, pages * SS_PAGE_SIZE);
    if (error != 0) return ss_fail_errno(error, "making the file longer", file->file_pages * SS_PAGE_SIZE);
    file->file_pages = pages;
    return SS_OK;
}

/* Not into a file with holes: a store asks for the disk space of what lies around it too (holes.h). */
static bool store_block(ss_file *file, uint64_t block) {
    uint64_t offset = block * SS_BLOCK_SIZE;
    bool can = file->holes.pages == 0 && file->pending.count <= STORED_MAX && ss_block_bits_has(&file->written, block) &&
               ss_window_shows(&file->window, file->vfs, file->main, offset + SS_BLOCK_SIZE, file->file_pages * SS_PAGE_SIZE);
    if (can) memcpy(file->window.bytes + offset, file->root->base + offset, SS_BLOCK_SIZE);
    return can;
}

/* One call for blocks that follow each other; `count` are pending from this one on. Returns how many were written, or an error. */
static int64_t write_run(ss_file *file, const uint64_t *blocks, size_t count) {
    size_t run = 1;
    while (run < count && blocks[run] == blocks[run - 1] + 1) run++;
    uint64_t offset = blocks[0] * SS_BLOCK_SIZE;
    int error = ss_vfs_write_bytes(file->vfs, file->main, file->root->base + offset, run * SS_BLOCK_SIZE, offset);
    if (error != 0) return ss_fail_errno(error, "writing committed blocks to the file", offset);
    for (size_t i = 0; i < run; i++) ss_block_bits_set(&file->written, blocks[i]);
    return (int64_t)run;
}

static int write_pending(ss_file *file) {
    bool grows = file->file_pages < file->wal.pages;
    int status = extend_to(file, file->wal.pages);
    if (status != SS_OK) return status;
    ss_block_set *pending = &file->pending;
    file->half_changed = grows || pending->count > 0;
    ss_block_set_sort(pending);
    for (size_t i = 0; i < pending->count;) {
        int64_t done = store_block(file, pending->list[i]) ? 1 : write_run(file, pending->list + i, pending->count - i);
        if (done < 0) return (int)done;
        i += (size_t)done;
    }
    ss_block_set_clear(pending);
    file->half_changed = false;
    return SS_OK;
}

static bool is_applied(const ss_file *file) {
    return file->pending.count == 0 && file->file_pages >= file->wal.pages;
}

/* After a failure the blocks stay pending: the log has them. Readers are kept out until the file is an image again. */
static int apply(ss_file *file, uint32_t patience) {
    if (is_applied(file)) return SS_OK;
    int status = file->half_changed ? SS_OK : ss_file_lock_for_change(file, patience);
    if (status != SS_OK) return status;
    status = write_pending(file);
    if (!file->half_changed) ss_file_unlock_after_change(file);
    return status;
}

/* ---- checkpoint ---- */

/* Drops our own copies of the file's pages. By a new mapping, not by advice to the system, whose meaning differs. */
static void drop_private(ss_file *file) {
    bool many = file->private_blocks > PRIVATE_BLOCKS_KEPT;
    if (!many || file->load || file->vfs->map == NULL) return;
    file->private_blocks = 0;
    if (ss_file_map_all(file, SS_MAP_PRIVATE) == SS_OK) return;
    /* The old mapping may be gone by now, and views of it with it. */
    ss_root_zero(file->root, 0, file->file_pages);
    (void)ss_file_die(file, SS_SYSTEM, "the file could not be mapped again: open it again", 0, 0);
}

static void ask_to_leave(ss_file *file) {
    if (!file->asks_to_leave) file->asks_to_leave = ss_file_lock(file, LOCK_LEAVE, SS_LOCK_EXCLUSIVE, 0) == 0;
}

static void stop_asking(ss_file *file) {
    if (file->asks_to_leave) ss_file_unlock(file, LOCK_LEAVE);
    file->asks_to_leave = false;
}

static int empty_log(ss_file *file) {
    int status = ss_vfs_sync(file->vfs, file->main);
    file->window.is_stale = true;
    if (status != 0) {
        return ss_file_die(file, SS_COMMIT_UNKNOWN, "the disk failed to store the file; its log has everything: open it again",
                           (uint64_t)status, 0);
    }
    status = ss_wal_reset(&file->wal, file->file_pages);
    if (status != SS_OK) {
        return ss_file_die(file, SS_COMMIT_UNKNOWN, "the disk failed to empty the log: open the file again", ss_last_failure()->number, 0);
    }
    ss_block_set_clear(&file->logged);
    ss_wal_trim(&file->wal, 2 * file->checkpoint_bytes);
    file->checkpoint_at = file->checkpoint_bytes;
    stop_asking(file);
    drop_private(file);
    return SS_OK;
}

static int sync_log(ss_file *file) {
    if (ss_wal_sync(&file->wal) == SS_OK) return SS_OK;
    const char *rule = "the disk failed while commits were made durable; opening the file again shows what it has";
    return ss_file_die(file, SS_COMMIT_UNKNOWN, rule, ss_last_failure()->number, 0);
}

static int checkpoint(ss_file *file, uint32_t patience) {
    if (file->wal.sequence == 0) return SS_OK;
    int status = is_full(file) ? SS_OK : sync_log(file);
    if (status == SS_OK) status = apply(file, patience);
    return status == SS_OK ? empty_log(file) : status;
}

/* Whether the file could be changed now. A sync costs more than finding out. */
static bool is_free_of_readers(ss_file *file, uint32_t patience) {
    if (file->half_changed || is_applied(file)) return true;
    if (ss_file_lock_for_change(file, patience) != SS_OK) return false;
    ss_file_unlock_after_change(file);
    return true;
}

/* Readers that stay do not stop the writer: the log goes on, up to a length at which they lose what they read. Those who were
 * asked may be gone at any commit from then on, so each of them looks; few wait. */
static int checkpoint_without_waiting(ss_file *file) {
    bool is_due = file->wal.position > file->checkpoint_at, is_too_long = file->wal.position > file->kept_bytes;
    if (is_due && is_too_long) ask_to_leave(file);
    uint32_t patience = !is_due ? 0 : is_too_long ? LEAVE_PATIENCE_MS : CHECKPOINT_PATIENCE_MS;
    if (!is_free_of_readers(file, patience)) return SS_LOCKED;
    int status = is_full(file) ? SS_OK : sync_log(file);
    return status == SS_OK ? apply(file, CHECKPOINT_PATIENCE_MS) : status;
}

/* Within a commit, which has succeeded already: only what makes that untrue is its failure. */
static int checkpoint_in_commit(ss_file *file) {
    file->committing = true;
    int status = checkpoint_without_waiting(file);
    file->committing = false;
    if (status == SS_COMMIT_UNKNOWN) return status;
    if (status == SS_OK) status = empty_log(file);
    if (status != SS_OK && file->wal.position > file->checkpoint_at) {
        file->checkpoint_at = file->wal.position + file->checkpoint_bytes / 4;
    }
    return SS_OK;
}

/* ---- commit ---- */

/* Extends the last piece where the new one follows it closely, else adds it. */
static int add_piece(ss_file *file, size_t *count, uint64_t offset, uint64_t length) {
    ss_wal_piece *last = *count > 0 ? &file->pieces[*count - 1] : NULL;
    if (last != NULL && offset - (last->offset + last->length) <= PIECE_GAP) {
        last->length = offset + length - last->offset;
        return SS_OK;
    }
    if (*count == file->pieces_room) {
        size_t room = *count * 2 > 64 ? *count * 2 : 64;
        ss_wal_piece *pieces = realloc(file->pieces, room * sizeof *pieces);
        if (pieces == NULL) return ss_fail(SS_NO_HEAP, "pieces of a commit", 0, room, 0);
        file->pieces = pieces;
        file->pieces_room = room;
    }
    file->pieces[(*count)++] = (ss_wal_piece){offset, length};
    return SS_OK;
}

/* Adds the parts of a block in which it differs from what it held. */
static int add_differences(ss_file *file, size_t *count, const ss_change *change) {
    uint64_t start = change->block * SS_BLOCK_SIZE;
    const uint8_t *now = file->root->base + start, *before = change->before;
    int status = SS_OK;
    for (uint64_t lines = change->lines; status == SS_OK && lines != 0; lines &= lines - 1) {
        uint64_t first = (uint64_t)__builtin_ctzll(lines) * SS_LINE_SIZE, last = first + SS_LINE_SIZE - 8;
        if (memcmp(now + first, before + first, SS_LINE_SIZE) == 0) continue;
        while (ss_get64(now + first) == ss_get64(before + first)) first += 8;
        while (ss_get64(now + last) == ss_get64(before + last)) last -= 8;
        status = add_piece(file, count, start + first, last + 8 - first);
    }
    return status;
}

/* What a record must have of the changes: whole blocks, or what differs where the log has the block already. */
static int collect_pieces(ss_file *file, const ss_change *changes, size_t count, size_t *pieces) {
    int status = SS_OK;
    for (size_t i = 0; status == SS_OK && i < count; i++) {
        bool whole = changes[i].before == NULL || !ss_block_set_has(&file->logged, changes[i].block);
        status =
            whole ? add_piece(file, pieces, changes[i].block * SS_BLOCK_SIZE, SS_BLOCK_SIZE) : add_differences(file, pieces, &changes[i]);
    }
    return status;
}

/* A commit that is reported as failed must not be found by the next open. */
static int append(ss_file *file, size_t pieces) {
    int status = ss_wal_append(&file->wal, file->root->base, file->pieces, pieces, file->root->pages, is_full(file));
    if (status == SS_OK) return SS_OK;
    struct ss_failure reason = *ss_last_failure();
    if (ss_wal_withdraw(&file->wal) != SS_OK) {
        return ss_file_die(file, SS_COMMIT_UNKNOWN,
                           "the disk failed to write a commit and to withdraw it; opening the file again shows what it has", reason.number,
                           0);
    }
    return ss_fail(reason.status, reason.rule, reason.address, reason.number, reason.limit);
}

/* Disk space in the file for blocks that lie in its holes, so that a full disk says so now and not after the commit. */
static int fill_holes(ss_file *file, const ss_change *changes, size_t count) {
    int status = SS_OK;
    for (size_t i = 0; status == SS_OK && i < count; i++) {
        uint64_t page = changes[i].block / SS_BLOCKS_PER_PAGE;
        if (page >= file->holes.pages) break;
        status = ss_holes_fill(&file->holes, file->vfs, file->main, page, page + 1);
    }
    if (status == SS_OUT_OF_MEMORY) file->wal.disk_full = true;
    return status;
}

static int durable_commit(void *self, const ss_change *changes, size_t count) {
    ss_file *file = self;
    size_t pieces = 0;
    if (file->root->forked) return ss_fail(SS_CLOSED, file->root->closed_because, 0, 0, 0);
    /* Whatever can fail comes before the record is complete. */
    int status = ss_block_set_reserve(&file->pending, count);
    if (status == SS_OK) status = ss_block_set_reserve(&file->logged, count);
    if (status == SS_OK) status = fill_holes(file, changes, count);
    if (status == SS_OK) status = collect_pieces(file, changes, count, &pieces);
    if (status == SS_OK && pieces == 0 && file->root->pages == file->wal.pages) return SS_OK;
    if (status == SS_OK) status = append(file, pieces);
    if (status == SS_OK && is_full(file)) status = sync_log(file);
    if (status != SS_OK) return status;
    ss_wal_accept(&file->wal);
    for (size_t i = 0; i < count; i++) {
        ss_block_set_add(&file->pending, changes[i].block);
        ss_block_set_add(&file->logged, changes[i].block);
    }
    file->private_blocks += count;
    if (is_full(file) && !file->exclusive) (void)apply(file, 0);
    return file->wal.position > file->checkpoint_at || file->asks_to_leave ? checkpoint_in_commit(file) : SS_OK;
}

/* ---- growth ---- */

/* The size of the file stays until the growth is committed, but its disk space is taken, so that a full disk says so
 * now and not after the commit. */
static int durable_grow(void *self, uint64_t old_pages, uint64_t new_pages) {
    ss_file *file = self;
    (void)old_pages;
    if (new_pages > file->reserved_pages) {
        int error = ss_vfs_reserve(file->vfs, file->main, file->reserved_pages * SS_PAGE_SIZE, new_pages * SS_PAGE_SIZE);
        if (error != 0 && error != EOPNOTSUPP) {
            /* Some of it may have been taken; what an earlier growth of this transaction took must stay. */
            if (file->reserved_pages == file->file_pages) (void)ss_vfs_resize(file->vfs, file->main, file->file_pages * SS_PAGE_SIZE);
            file->wal.disk_full = true;
            return ss_fail_errno(error, "disk space for a growing file", file->reserved_pages * SS_PAGE_SIZE);
        }
        file->reserved_pages = new_pages;
    }
    return ss_root_commit(file->root, new_pages * SS_PAGE_SIZE);
}

static void durable_shrink(void *self, uint64_t old_pages, uint64_t new_pages) {
    ss_file *file = self;
    ss_root_zero(file->root, new_pages, old_pages);
}

/* ---- recovery ---- */

/* Sets even a size that the file seems to have: after a sync that failed, the disk may not have it. */
static int put_log_into_file(ss_file *file) {
    int status = ss_file_lock_for_change(file, ss_memory_patience(file->root));
    if (status != SS_OK) return status;
    int error = ss_vfs_resize(file->vfs, file->main, file->wal.pages * SS_PAGE_SIZE);
    if (error == 0) {
        file->file_pages = file->wal.pages;
        status = ss_wal_replay(&file->wal, file->main);
    } else {
        status = ss_fail_errno(error, "making the file longer", file->file_pages * SS_PAGE_SIZE);
    }
    ss_file_unlock_after_change(file);
    return status;
}

/* Of a file without a log, or with an empty one. Returns disk space that was reserved and never used. */
static int check_plain_file(ss_file *file, uint64_t size) {
    if (size % SS_PAGE_SIZE != 0) return ss_file_check_size(file, size);
    int error = ss_vfs_resize(file->vfs, file->main, size);
    return error == 0 ? SS_OK : ss_fail_errno(error, "setting the size of the file", size);
}

/* After success there is a log of our own, and all that it holds is in the file too. `found` says whether there was one
 * before; without one, none is made unless `makes`. */
static int recover(ss_file *file, bool makes, bool *found) {
    ss_vfs_status now;
    int status = ss_wal_find(&file->wal);
    *found = status == SS_OK;
    if (status == SS_OK || status == SS_ABSENT) status = ss_file_status(file, &now);
    /* A file that the log cannot belong to is left alone. */
    if (status == SS_OK && *found) status = ss_wal_check_file(&file->wal, now.size);
    if (status == SS_OK && file->wal.sequence == 0) status = check_plain_file(file, now.size);
    /* A file that cannot be opened gets no log, and none of what a log has. */
    if (status == SS_OK && !*found && makes) status = ss_file_check_size(file, now.size);
    if (status == SS_OK && file->wal.sequence > 0) status = ss_file_check_size(file, file->wal.pages * SS_PAGE_SIZE);
    if (status != SS_OK) return status;
    file->file_pages = now.size / SS_PAGE_SIZE;
    if (!*found && makes) {
        /* The records of a log are changes of a file that is durable; who wrote it last may not have cared. */
        int error = ss_vfs_sync(file->vfs, file->main);
        if (error != 0) return ss_fail_errno(error, "making the file durable", 0);
    }
    if (!*found && !makes) return ss_wal_delete_temporary(&file->location);
    status = ss_wal_renew(&file->wal, file->file_pages);
    return status == SS_OK && file->wal.sequence > 0 ? put_log_into_file(file) : status;
}

int ss_durable_settle(ss_file *file) {
    bool found;
    int status = recover(file, false, &found);
    if (status != SS_OK || !found) return status;
    int error = ss_vfs_sync(file->vfs, file->main);
    if (error != 0) return ss_fail_errno(error, "making the file durable", 0);
    /* Should the deletion get lost, the log that comes back is empty. */
    if (file->wal.sequence > 0) status = ss_wal_reset(&file->wal, file->file_pages);
    return status == SS_OK ? ss_wal_delete(&file->wal) : status;
}

static int take_image(ss_file *file) {
    int status = ss_file_check_size(file, file->file_pages * SS_PAGE_SIZE);
    if (status == SS_OK) status = ss_holes_find(&file->holes, file->vfs, file->main, file->file_pages, 1);
    if (status == SS_OK) status = ss_file_map_all(file, SS_MAP_PRIVATE);
    if (status != SS_OK) return status;
    ss_root *root = file->root;
    file->reserved_pages = root->pages = file->file_pages;
    if (root->committed < root->pages * SS_PAGE_SIZE) root->committed = root->pages * SS_PAGE_SIZE;
    return SS_OK;
}

static int make_sets(ss_file *file) {
    int status = ss_block_set_make(&file->pending, file->root->reserved);
    if (status == SS_OK) status = ss_block_set_make(&file->logged, file->root->reserved);
    return status == SS_OK ? ss_block_bits_make(&file->written, file->root->reserved) : status;
}

/* The end of an opening: the memory shows the file, and readers may come. */
static int show_image(ss_file *file) {
    int status = take_image(file);
    if (status != SS_OK) return status;
    int error = ss_file_lock(file, LOCK_READY, SS_LOCK_EXCLUSIVE, 0);
    return error == 0 ? SS_OK : ss_file_lock_failure(error, "another handle has the file open for writing");
}

int ss_durable_open(ss_file *file) {
    bool found = false;
    file->checkpoint_at = file->checkpoint_bytes;
    int status = make_sets(file);
    if (status == SS_OK) status = recover(file, true, &found);
    if (status != SS_OK) return status;
    status = show_image(file);
    if (status == SS_OK || found) return status;
    /* If nothing was opened, nothing is left. */
    struct ss_failure reason = *ss_last_failure();
    (void)ss_wal_delete(&file->wal);
    return ss_fail(reason.status, reason.rule, reason.address, reason.number, reason.limit);
}

/* ---- the end, and what a user asks for ---- */

/* Something found no room on the disk: an empty log needs none, and returns what it has. If readers do not let it
 * be emptied now, the next failure tries again. */
static int make_room(ss_file *file) {
    file->wal.disk_full = false;
    int status = checkpoint(file, 0);
    if (status == SS_LOCKED) ask_to_leave(file);
    if (status == SS_OK) ss_wal_trim(&file->wal, file->location.bytes);
    return file->root->closed ? ss_last_failure()->status : SS_OK;
}

static int durable_begin(void *self) {
    ss_file *file = self;
    int status = is_full(file) ? ss_file_check_unchanged(file) : ss_file_check_now_and_then(file);
    return status == SS_OK && file->wal.disk_full ? make_room(file) : status;
}

static int durable_sync(void *self) {
    ss_file *file = self;
    return is_full(file) || file->wal.sequence == 0 ? SS_OK : sync_log(file);
}

static int durable_checkpoint(void *self) {
    ss_file *file = self;
    return checkpoint(file, ss_memory_patience(file->root));
}

/* Leaves the bare image. Where readers or the disk do not allow it, the log stays, and the next open goes on. */
static int durable_close(void *self) {
    ss_file *file = self;
    bool open = file->opened && !file->root->closed;
    int status = open ? checkpoint(file, ss_memory_patience(file->root)) : SS_OK;
    struct ss_failure reason = *ss_last_failure();
    /* Behind the checkpoint, which may map the file again. */
    int kept = ss_file_keep_views(file, open && status == SS_OK && !file->root->closed);
    if (kept != SS_OK) return kept;
    if (status != SS_OK) ss_fail(reason.status, reason.rule, reason.address, reason.number, reason.limit);
    if (open && !file->root->closed) {
        if (status == SS_OK && file->reserved_pages > file->file_pages) {
            (void)ss_vfs_resize(file->vfs, file->main, file->file_pages * SS_PAGE_SIZE);
        }
        if (status == SS_OK) status = ss_wal_delete(&file->wal);
    }
    (void)ss_file_shut(file);
    return status;
}

const ss_backing_ops ss_durable_ops = {
    .logged = true,
    .begin = durable_begin,
    .grow = durable_grow,
    .shrink = durable_shrink,
    .data_after = ss_file_data_after,
    .commit = durable_commit,
    .sync = durable_sync,
    .checkpoint = durable_checkpoint,
    .close = durable_close,
    .free = ss_file_free,
};
