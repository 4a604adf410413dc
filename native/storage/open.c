/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a memory file (file.h): what the options ask for chooses between shared.c, reader.c and durable.c. */
#include <errno.h>
#include <stdlib.h>

#include "core/waiting.h"
#include "storage/file_private.h"

#define DEFAULT_PERMISSIONS 0600u
#define LOG_BYTES (UINT64_C(1) << 20)
/* How long a log gets. A long one is emptied seldom, and has fewer whole blocks among what changed. */
#define CHECKPOINT_BYTES (UINT64_C(16) << 20)
/* How long it gets while readers need the file as it was: then they are asked to end their transactions. */
#define KEPT_BYTES (UINT64_C(256) << 20)

/* Whoever holds LOCK_WRITER without LOCK_READY is at work for a moment: a writer that opens, or a reader that puts into the file
 * what a killed writer has in its log. That one must not look as if a second writer had the file. */
static int lock_as_writer(ss_file *file) {
    uint64_t until = ss_deadline(ss_memory_patience(file->root));
    int error = ss_file_lock(file, LOCK_WRITER, SS_LOCK_EXCLUSIVE, 0);
    for (uint64_t now; error == EAGAIN && (now = ss_milliseconds()) < until && !ss_file_is_locked(file, LOCK_READY);) {
        if (ss_poll_signals() != SS_OK) return ECANCELED;
        error = ss_file_lock(file, LOCK_WRITER, SS_LOCK_EXCLUSIVE, until - now < SS_SLICE_MS ? (uint32_t)(until - now) : SS_SLICE_MS);
    }
    return error;
}

static int open_as_writer(ss_file *file) {
    int error = lock_as_writer(file);
    if (error != 0) return ss_file_lock_failure(error, "another handle has the file open for writing");
    int status = ss_file_check_name(file);
    if (status != SS_OK) return status;
    if (file->durability != SS_DURABLE_NONE) return ss_durable_open(file);
    status = ss_durable_settle(file); /* a log of an earlier handle */
    return status == SS_OK ? ss_shared_open(file) : status;
}

/* A file that we made and could not open goes again, unless another program has found it meanwhile: it has the lock then,
 * or has written it. */
static void delete_created(ss_file *file, int status) {
    ss_vfs_status now;
    bool ours =
        file->created && status != SS_LOCKED && ss_file_check_name(file) == SS_OK && ss_file_status(file, &now) == SS_OK && now.size == 0;
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
    file->kept_bytes = options->kept_bytes != 0 ? options->kept_bytes : KEPT_BYTES;
    file->location.bytes_prepared = file->checkpoint_bytes;
    ss_wal_init(&file->wal, &file->location);
    file->follower.wal = &file->wal;
    return file;
}

static int open_under(ss_memory *memory, const ss_file_options *options) {
    ss_root *root = memory->root;
    ss_file *file = new_file(options, root);
    if (file == NULL) return ss_fail(SS_NO_HEAP, "a file", 0, sizeof *file, 0);
    const ss_backing_ops *ops = file->mode == SS_FILE_READ            ? &ss_reader_ops
                                : file->durability == SS_DURABLE_NONE ? &ss_shared_ops
                                                                      : &ss_durable_ops;
    int status = ss_journal_attach(root, ops, file, options->patience != 0 ? options->patience : SS_PATIENCE_MS);
    if (status != SS_OK) {
        free(file);
        return status;
    }
    ss_file_list(file);
    status = ss_file_open_names(file, options->path);
    if (status == SS_OK) status = file->mode == SS_FILE_READ ? ss_reader_open(file) : open_as_writer(file);
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
