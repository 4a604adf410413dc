/* SPDX-License-Identifier: Apache-2.0 */
/* The write-ahead log of a memory file: its bytes, and how they are written, found again and put into the file. It knows
 * files only, no memory; when to do what is decided in durable.c.
 */
#ifndef SS_WAL_H
#define SS_WAL_H

#include "storage/window.h"

#define SS_WAL_BLOCK UINT64_C(4096)

/* Where a log is and what it belongs to. */
typedef struct ss_wal_location {
    const ss_vfs *vfs;
    int directory;
    const char *name, *temporary;
    unsigned permissions;    /* of a new log */
    uint64_t inode;          /* of the file */
    uint64_t bytes;          /* size of a new log, and by how much it grows */
    uint64_t bytes_prepared; /* it is made ready in advance up to here */
} ss_wal_location;

typedef struct ss_wal {
    const ss_wal_location *location;
    int file;         /* -1: none */
    bool header_torn; /* one of the two headers was written and is not valid */
    uint64_t generation, salt, header_sum;
    uint64_t base_pages;                          /* size of the file when the generation began */
    uint64_t sequence, previous;                  /* number and sum of the last record; 0 and header_sum if there is none */
    uint64_t pages;                               /* after the last record; base_pages if there is none */
    uint64_t position;                            /* behind the last record */
    uint64_t size;                                /* of the file, as far as it is known to have blocks */
    bool disk_full;                               /* it could not grow; for the caller to clear */
    uint64_t next_sum, next_position, next_pages; /* of the record that was appended and not accepted */
    ss_window window;                             /* records that are not synced are stored there */
    uint8_t *blocks;                              /* room for a short record that will be synced */
    bool is_direct;                               /* blocks that are written go past the cache of the system */
    bool direct_io_unsupported;                   /* they cannot */
    uint8_t *header;                              /* of the record in the making */
    size_t header_room;
    struct iovec *parts;
    size_t parts_room;
} ss_wal;

void ss_wal_init(ss_wal *wal, const ss_wal_location *location);
void ss_wal_close(ss_wal *wal);

/* Opens the log and finds its last record. SS_ABSENT if there is no log, SS_WAL_CORRUPT if its bytes cannot be
 * what we wrote. Nothing is written. */
int ss_wal_find(ss_wal *wal);
/* Told of the bytes that the records hold, in the order of the log: `length` bytes of the memory from `offset` on lie in the
 * log from `at` on. What is not SS_OK ends the reading. */
typedef struct ss_wal_visitor {
    int (*piece)(void *self, uint64_t offset, uint64_t length, uint64_t at);
    void *self;
} ss_wal_visitor;
/* The same, and tells of each piece (visitor NULL: of none). Where the log is damaged, `wal` is as the last good record left it. */
int ss_wal_find_each(ss_wal *wal, const ss_wal_visitor *visitor);
/* That a file of so many bytes can be the one that the records belong to. */
int ss_wal_check_file(const ss_wal *wal, uint64_t size);
/* Whether there is a log, or something else under its name. */
bool ss_wal_exists(const ss_wal_location *location);
/* Whether there is a log that has records; SS_WAL_CORRUPT as from ss_wal_find. Reads all of it. */
int ss_wal_has_records(const ss_wal_location *location, bool *has);

/* Puts a new log of the next generation, with the records of this one, in the place of what is there. After a failure
 * the old one is there, or a new one with the same records. */
int ss_wal_renew(ss_wal *wal, uint64_t base_pages);
/* Writes the blocks of all records into the file, which is long enough. */
int ss_wal_replay(const ss_wal *wal, int main_file);

/* Bytes of the memory that a record holds. */
typedef struct ss_wal_piece {
    uint64_t offset, length;
} ss_wal_piece;

/* Writes one record behind the last: pieces (ascending) of the memory at `base`; full: it will be synced before it counts.
 * Call ss_wal_accept when it counts, and ss_wal_withdraw after a failure. */
int ss_wal_append(ss_wal *wal, uint8_t *base, const ss_wal_piece *pieces, size_t count, uint64_t pages, bool full);
void ss_wal_accept(ss_wal *wal);
/* In case all of a record is there in spite of a failure to write it: sees to it that nobody finds it. */
int ss_wal_withdraw(ss_wal *wal);
int ss_wal_sync(ss_wal *wal);
/* Begins the next generation, empty. After a failure nobody knows which one counts. */
int ss_wal_reset(ss_wal *wal, uint64_t base_pages);
/* Makes the log no longer than a new one if it has grown beyond `limit`. No harm if that fails. */
void ss_wal_trim(ss_wal *wal, uint64_t limit);
/* Deletes the empty log. */
int ss_wal_delete(ss_wal *wal);
/* Deletes what the making of a log left. */
int ss_wal_delete_temporary(const ss_wal_location *location);

#endif
