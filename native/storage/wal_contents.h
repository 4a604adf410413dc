/* SPDX-License-Identifier: Apache-2.0 */
/* What a log holds, for programs that look and never write: what recovery would put into the file, found by the same code. */
#ifndef SS_WAL_CONTENTS_H
#define SS_WAL_CONTENTS_H

#include "core/error.h"
#include "storage/wal.h"

/* `length` bytes of the memory from `offset` on lie in the log from `at` on. */
typedef struct ss_wal_span {
    uint64_t offset, length, at;
} ss_wal_span;

/* `spans` are those of the records that count, oldest first: where two hold the same byte, the later one is right. `damage`
 * has a negative status where recovery would refuse the log; the records are then those before what is wrong. */
typedef struct ss_wal_contents {
    uint64_t generation, records;
    uint64_t base_pages; /* of the file when the generation began */
    uint64_t pages;      /* of the memory after the last record */
    uint64_t end;        /* behind the last record */
    const ss_wal_span *spans;
    uint64_t span_count;
    struct ss_failure damage;
} ss_wal_contents;

/* Reads the log of that path. Takes no lock, changes nothing. O(length). A log of up to 32 MiB is kept as it was at this
 * moment; of a longer one, a writer may overwrite what is read later. SS_ABSENT if there is none, SS_SYSTEM or SS_NO_HEAP
 * where it cannot be read; SS_OK else, also where it is damaged. */
int ss_wal_contents_new(const char *path, ss_wal_contents **out);
/* The same of a log that was read elsewhere, which is copied. */
int ss_wal_contents_of(const void *bytes, uint64_t size, ss_wal_contents **out);
void ss_wal_contents_free(ss_wal_contents *contents);
/* SS_WAL_CORRUPT where recovery would refuse these records for a file of so many bytes. */
int ss_wal_contents_fit(const ss_wal_contents *contents, uint64_t file_bytes);
/* Bytes of the log. */
int ss_wal_contents_read(const ss_wal_contents *contents, uint64_t at, void *to, uint64_t length);

#endif
