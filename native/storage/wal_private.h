/* SPDX-License-Identifier: Apache-2.0 */
/* For wal.c, wal_read.c and wal_follow.c only: the bytes of a log, and reading them. The picture stands in wal.c. */
#ifndef SS_WAL_PRIVATE_H
#define SS_WAL_PRIVATE_H

#include "core/checksum.h"
#include "storage/wal.h"

#define BLOCK SS_WAL_BLOCK
#define PAGE UINT64_C(65536)
#define PACKING UINT64_C(64)
#define RECORDS_AT (2 * BLOCK)
#define COPY_SIZE ((size_t)256 * 1024)
#define NO_FILE (-1)
#define VERSION 1u

#define HEADER_MAGIC UINT64_C(0x3130764C41574D53) /* "SMWALv01" */
#define HEADER_VERSION 8
#define HEADER_BLOCK_SIZE 12
#define HEADER_GENERATION 16
#define HEADER_SALT 24
#define HEADER_PAGES 32
#define HEADER_INODE 40
#define HEADER_SUM 56

#define RECORD_MAGIC UINT32_C(0x43524D53) /* "SMRC" */
#define RECORD_VERSION 4
#define RECORD_FLAGS 6
#define RECORD_SALT 8
#define RECORD_SEQUENCE 16
#define RECORD_PREVIOUS 24
#define RECORD_PAGES 32
#define RECORD_PIECES 40
#define RECORD_LENGTH 48
#define RECORD_SUM 56
#define RECORD_TABLE 64
#define PIECE_SIZE 16
#define FLAG_SYNCED 1u
#define FLAG_ALWAYS 2u

/* A record as its header describes it. */
struct ss_wal_record {
    uint64_t at, sequence, previous, pages, sum;
    uint64_t header_bytes, data_bytes;
    uint32_t pieces;
    unsigned flags;
};

/* Reading the records of one file. */
struct ss_wal_reader {
    const ss_wal *wal;
    uint64_t size;   /* of the file */
    uint8_t *header; /* of the record that was read last, its sum zeroed */
    size_t header_room;
    uint8_t *buffer; /* COPY_SIZE bytes */
};

int ss_wal_no_heap(uint64_t size);
void ss_wal_close_file(const ss_wal_location *location, int *file);

/* ---- headers ---- */

void ss_wal_forget_records(ss_wal *wal);
/* The same log, to be read from its first record on. */
ss_wal ss_wal_before_records(const ss_wal *wal);
/* Opens the log and reads its header. SS_ABSENT if there is none. */
int ss_wal_open(ss_wal *wal, uint64_t *size);
/* Makes the log empty: no record of it was read yet. */
int ss_wal_read_header(ss_wal *wal, uint64_t size);
/* Of a log, in bytes. */
int ss_wal_size_of(const ss_wal_location *location, int file, uint64_t *size);

/* ---- records ---- */

int ss_wal_reader_begin(struct ss_wal_reader *reader, const ss_wal *wal, uint64_t size);
void ss_wal_reader_end(struct ss_wal_reader *reader);
int ss_wal_read(const struct ss_wal_reader *reader, void *to, uint64_t length, uint64_t at);
/* Makes room for a record's header of `size` bytes. */
int ss_wal_header_room(uint8_t **header, size_t *room, uint64_t size);
uint64_t ss_wal_header_bytes(uint64_t pieces);
uint64_t ss_wal_record_length(const struct ss_wal_record *record);
/* The sum of a record whose header, with the sum zeroed, is in reader->header. Data of at most COPY_SIZE bytes is in the
 * buffer afterwards. */
int ss_wal_sum_record(const struct ss_wal_reader *reader, const struct ss_wal_record *record, uint64_t seed, uint64_t *result);
/* The next record of the chain, read and checked; SS_ABSENT if there is none. */
int ss_wal_next_record(struct ss_wal_reader *reader, const ss_wal *wal, struct ss_wal_record *record);
/* Makes it the last one that was read. */
void ss_wal_pass_record(ss_wal *wal, const struct ss_wal_record *record);
/* Tells of each piece of a record whose header is in reader->header. */
int ss_wal_visit_pieces(const struct ss_wal_reader *reader, const struct ss_wal_record *record, const ss_wal_visitor *visitor);

#endif
