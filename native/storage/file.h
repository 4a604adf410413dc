/* SPDX-License-Identifier: Apache-2.0 */
/* A flat memory that is a file: at rest the bare image, pages * 65,536 bytes.
 *
 * Nothing is ever written but the file and its log, `<name>-wal` (and `<name>-wal.tmp` while the log is made).
 */
#ifndef SS_FILE_H
#define SS_FILE_H

#include "memory/memory.h"
#include "storage/vfs.h"

enum ss_file_mode {
    SS_FILE_READ = 0,  /* must exist; others may write it meanwhile */
    SS_FILE_WRITE = 1, /* created if absent */
    SS_FILE_CREATE = 2 /* must not exist */
};

enum ss_durability {
    SS_DURABLE_NONE = 0,   /* no log: a crash may leave a part of an operation in the file */
    SS_DURABLE_NORMAL = 1, /* a killed process loses nothing, a power loss the last commits */
    SS_DURABLE_FULL = 2    /* what was committed survives both */
};

/* Zeros everywhere but in path, mode, durability and max_pages are the usual choice. */
typedef struct ss_file_options {
    const char *path;
    int mode, durability;
    uint64_t max_pages;
    uint32_t permissions;      /* of a file that is created, reduced by the umask; 0: 0600 */
    uint32_t patience;         /* milliseconds to wait for other processes and threads; 0: SS_PATIENCE_MS */
    int exclusive;             /* full: write the file itself only at checkpoints, so readers see no more than those */
    int load;                  /* normal, full: read the file into memory instead of mapping it; damaged disks give errors then */
    uint64_t log_bytes;        /* size of a new log; 0: 1 MiB */
    uint64_t checkpoint_bytes; /* size of the log at which it is emptied; 0: 16 MiB */
    uint64_t kept_bytes;       /* how long the log may get because readers stay in their transactions; 0: 256 MiB */
    const ss_vfs *vfs;         /* NULL: the operating system */
} ss_file_options;

/* Opens the file as a memory of at most max_pages pages.
 *   SS_SYSTEM     the system refused; `number` of the failure is errno
 *   SS_LOCKED     another handle has it open for writing
 *   SS_CORRUPT    not a regular file, size not a multiple of a page, log of another file
 *   SS_WAL_CORRUPT, SS_OUT_OF_MEMORY (file larger than the limit), SS_NO_HEAP, SS_ARGUMENT
 */
int ss_file_open_with(const ss_file_options *options, ss_memory **out);
int ss_file_open(const char *path, int mode, int durability, uint64_t max_pages, ss_memory **out);

#endif
