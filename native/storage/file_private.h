/* SPDX-License-Identifier: Apache-2.0 */
/* For file.c, shared.c, durable.c, reader.c and open.c only: an open memory file.
 *
 *   locks of the file          exclusive                                       shared
 *   LOCK_WRITER                the life of a handle that writes; a reader that
 *                              puts into the file what a killed one has left
 *   LOCK_READY                 from the end of the recovery to the close: the
 *                              file is an image, and a writer keeps it one
 *   LOCK_GATE                  no new readers                                  a reader on its way in
 *   LOCK_READ                  the file changes                                a reader reads
 *   LOCK_LEAVE                 readers are to end their transactions: the log
 *                              that keeps the file as they know it is too long
 *
 * Invariants
 *  I7  The size of the file is a committed size, where there is a log.
 *  I8  Where there is a log, the file changes only under exclusive LOCK_READ, by the holder of LOCK_WRITER.
 *      A change that failed half-way keeps that lock until it is finished or the handle is closed.
 *  I9  After a sync that failed the handle does no more input or output.
 */
#ifndef SS_FILE_PRIVATE_H
#define SS_FILE_PRIVATE_H

#include <time.h>

#include "storage/file.h"
#include "storage/holes.h"
#include "storage/journal.h"
#include "storage/wal_follow.h"

enum ss_file_lock { LOCK_WRITER, LOCK_READY, LOCK_GATE, LOCK_READ, LOCK_LEAVE, LOCK_GATE_AND_READ };

#define SS_NO_FILE (-1)

typedef struct ss_file {
    ss_root *root;
    const ss_vfs *vfs;
    int mode, durability;
    uint32_t permissions;
    bool exclusive, load;
    char *directory_path, *name, *log_name, *temporary_name;
    int directory, main;
    int locks;             /* the file once more: a mapping keeps what it maps open, and the locks must end before the mapping does */
    uint64_t file_pages;   /* size of the file; without a log it may be more than that of the memory (shared.c) */
    uint64_t mapped_pages; /* of the root, that show the file */
    ss_holes holes;
    bool covers;             /* the holes of its mapping */
    bool is_covered;         /* a reader's: there were some when it was shown last */
    struct timespec checked; /* when the size was last compared, by the coarse clock */
    uint64_t shown_size;     /* a reader's: the file as its last operation saw it */
    int64_t shown_modified;  /* when it was changed last; 0: nobody knows */
    bool shown_is_old;       /* a change since would have another time of modification */
    bool cannot_settle;      /* a reader's: putting what the log has into the file failed */
    bool is_kept;            /* a reader's: a writer keeps the file an image */
    bool began_while_asked;  /* a reader's: LOCK_LEAVE was held when its transaction began */
    bool is_expired;         /* a reader's: its transaction had to give up the state that it began with */
    bool has_records;        /* a reader's: records of the log lie over what the file shows, and writable copies under them */
    uint64_t log_pages;      /* of the memory after these records */
    bool created;            /* by us: the file was not there */
    bool opened;
    bool committing;              /* what waits must not fail: it makes way where a signal wants it to */
    struct ss_file *next, **link; /* in the list of open files */
    /* with a log */
    ss_wal_location location;
    ss_wal wal;               /* a reader's: the one that it follows */
    ss_wal_follower follower; /* a reader's */
    uint64_t checkpoint_bytes;
    uint64_t kept_bytes;     /* how long the log may get for readers that stay */
    bool asks_to_leave;      /* we hold LOCK_LEAVE */
    uint64_t checkpoint_at;  /* position in the log at which the next checkpoint is tried */
    uint64_t reserved_pages; /* disk space that the file has */
    ss_block_set pending;    /* were committed and are not in the file */
    ss_block_set logged;     /* the log has all of them, and whatever changed in them later */
    ss_block_bits written;   /* blocks that were written to the file by a call since it was opened */
    ss_window window;        /* of the file: these blocks are stored there when they change again */
    ss_wal_piece *pieces;    /* of the record in the making */
    size_t pieces_room;
    bool half_changed;       /* LOCK_GATE and LOCK_READ are kept: some of the pending blocks are in the file */
    uint64_t private_blocks; /* at most so many blocks of the mapping are copies of our own */
} ss_file;

/* ---- file.c: what all of them share ---- */

/* The handle does no more input or output; what it knows of the file is not to be trusted. Returns `status`. */
int ss_file_die(ss_file *file, int status, const char *rule, uint64_t number, uint64_t limit);
/* EAGAIN where the lock does not come free within `patience` milliseconds, ECANCELED where the binding ends the wait. */
int ss_file_lock(ss_file *file, enum ss_file_lock lock, int kind, uint32_t patience);
void ss_file_unlock(ss_file *file, enum ss_file_lock lock);
bool ss_file_is_locked(ss_file *file, enum ss_file_lock lock);
/* LOCK_GATE and LOCK_READ, exclusively. In one call where nobody reads; else the gate first, which lets no new readers in while
 * those inside finish. */
int ss_file_lock_for_change(ss_file *file, uint32_t patience);
void ss_file_unlock_after_change(ss_file *file);
int ss_file_lock_failure(int error, const char *rule);
int ss_file_status(ss_file *file, ss_vfs_status *status);
/* That a file of so many bytes can be this memory. */
int ss_file_check_size(ss_file *file, uint64_t size);
/* That nobody cut or replaced the file; the handle dies else. */
int ss_file_check_unchanged(ss_file *file);
/* Whether the system's coarse clock has gone on since the last call. */
bool ss_file_is_time_to_check(ss_file *file);
/* The same check, once per tick of that clock. */
int ss_file_check_now_and_then(void *self);
/* Shows pages first..end of the file in the root, by a mapping or (load) by reading them. */
int ss_file_map(ss_file *file, uint64_t first, uint64_t end, int kind);
/* The same of all its pages, with its holes covered where that is needed. */
int ss_file_map_all(ss_file *file, int kind);
/* As in ss_storage_ops: what the file has no blocks for is zeros. */
uint64_t ss_file_data_after(void *self, uint64_t offset);
/* Opens the directory, the file and the descriptor of its locks. */
int ss_file_open_names(ss_file *file, const char *path);
int ss_file_open_locks(ss_file *file);
int ss_file_open_failure(int error);
/* That what is locked is still the file of that name. */
int ss_file_check_name(ss_file *file);
/* In the list of open files, whose descriptors a child of a fork closes. */
void ss_file_list(ss_file *file);
void ss_file_unlist(ss_file *file);
/* Ends the locks, then closes. */
void ss_file_close_descriptors(ss_file *file);
/* Before the file is shut: views of it get memory of their own. SS_IN_USE where they cannot, and the file is to stay
 * open. `is_same`: the file holds what the memory holds. */
int ss_file_keep_views(ss_file *file, bool is_same);
/* The end of a file without a log: nothing waits to be written. */
int ss_file_close_plain(void *self);
/* Forgets the file and frees it. */
int ss_file_shut(void *self);
void ss_file_free(void *self);

/* ---- shared.c ---- */

extern const ss_backing_ops ss_shared_ops;

/* Opens a locked file without a log. */
int ss_shared_open(ss_file *file);

/* ---- durable.c ---- */

extern const ss_backing_ops ss_durable_ops;

/* Opens a locked file with a log: recovers, makes a new log, maps. The file is ready for readers then. */
int ss_durable_open(ss_file *file);
/* Puts into the file what a log beside it holds, and deletes the log; the writer's lock is held. */
int ss_durable_settle(ss_file *file);

/* ---- reader.c ---- */

extern const ss_backing_ops ss_reader_ops;

/* Opens a file for reading. Each read settles a log that no writer keeps (ss_durable_settle). */
int ss_reader_open(ss_file *file);

#endif
