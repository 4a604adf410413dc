/* SPDX-License-Identifier: Apache-2.0 */
/* Finding and reading the records of a log; the picture of it and its invariants stand in wal.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/error.h"
#include "storage/wal_private.h"

int ss_wal_no_heap(uint64_t size) {
    return ss_fail(SS_NO_HEAP, "reading or writing a log", 0, size, 0);
}

void ss_wal_close_file(const ss_wal_location *location, int *file) {
    if (*file != NO_FILE) location->vfs->close(location->vfs->self, *file);
    *file = NO_FILE;
}

/* ---- headers ---- */

void ss_wal_forget_records(ss_wal *wal) {
    wal->sequence = 0;
    wal->previous = wal->header_sum;
    wal->pages = wal->base_pages;
    wal->position = RECORDS_AT;
}

/* The same log, to be read from its first record on. */
ss_wal ss_wal_before_records(const ss_wal *wal) {
    ss_wal at = *wal;
    ss_wal_forget_records(&at);
    return at;
}

static bool is_header(const uint8_t *block) {
    return ss_get64(block) == HEADER_MAGIC && ss_get32(block + HEADER_VERSION) == VERSION && ss_get32(block + HEADER_BLOCK_SIZE) == BLOCK &&
           ss_get64(block + HEADER_SUM) == ss_checksum_of(block, HEADER_SUM, 0);
}

static void take_header(ss_wal *wal, const uint8_t *block) {
    wal->generation = ss_get64(block + HEADER_GENERATION);
    wal->salt = ss_get64(block + HEADER_SALT);
    wal->base_pages = ss_get64(block + HEADER_PAGES);
    wal->header_sum = ss_get64(block + HEADER_SUM);
    ss_wal_forget_records(wal);
}

int ss_wal_size_of(const ss_wal_location *location, int file, uint64_t *size) {
    ss_vfs_status status;
    int error = ss_vfs_status_of(location->vfs, file, &status);
    if (error != 0) return ss_fail_errno(error, "state of the log", 0);
    if (!status.regular) return ss_fail(SS_WAL_CORRUPT, "a log is a regular file", 0, 0, 0);
    *size = status.size;
    return SS_OK;
}

static bool is_written(const uint8_t *block) {
    for (size_t i = 0; i < HEADER_SUM + 8; i++) {
        if (block[i] != 0) return true;
    }
    return false;
}

/* A log comes into being by a rename of a complete file, so there is never one without a header. */
int ss_wal_read_header(ss_wal *wal, uint64_t size) {
    uint8_t blocks[RECORDS_AT];
    if (size < sizeof blocks) return ss_fail(SS_WAL_CORRUPT, "a log has two header blocks", 0, size, sizeof blocks);
    int error = ss_vfs_read_all(wal->location->vfs, wal->file, blocks, sizeof blocks, 0);
    if (error != 0) return ss_fail_errno(error, "reading the log", 0);
    const uint8_t *even = is_header(blocks) ? blocks : NULL;
    const uint8_t *odd = is_header(blocks + BLOCK) ? blocks + BLOCK : NULL;
    if (even == NULL && odd == NULL) return ss_fail(SS_WAL_CORRUPT, "one of the two headers of a log is valid", 0, 0, 0);
    bool takes_odd = even == NULL || (odd != NULL && ss_get64(odd + HEADER_GENERATION) > ss_get64(even + HEADER_GENERATION));
    take_header(wal, takes_odd ? odd : even);
    wal->header_torn = is_written(takes_odd ? blocks : blocks + BLOCK) && (takes_odd ? even : odd) == NULL;
    return SS_OK;
}

/* Opens the log and reads its header. SS_ABSENT if there is none. */
int ss_wal_open(ss_wal *wal, uint64_t *size) {
    const ss_wal_location *location = wal->location;
    int error = ss_vfs_open(location->vfs, location->directory, location->name, 0, 0, &wal->file);
    if (error != 0) wal->file = NO_FILE;
    if (ss_vfs_is_absent(error)) return SS_ABSENT;
    if (error == ELOOP) return ss_fail_errno(error, "a log is not a symbolic link", 0);
    if (error != 0) return ss_fail_errno(error, "opening the log", 0);
    int status = ss_wal_size_of(location, wal->file, size);
    wal->size = *size;
    return status == SS_OK ? ss_wal_read_header(wal, *size) : status;
}

/* ---- reading records ---- */

int ss_wal_reader_begin(struct ss_wal_reader *reader, const ss_wal *wal, uint64_t size) {
    *reader = (struct ss_wal_reader){.wal = wal, .size = size, .buffer = malloc(COPY_SIZE)};
    return reader->buffer == NULL ? ss_wal_no_heap(COPY_SIZE) : SS_OK;
}

void ss_wal_reader_end(struct ss_wal_reader *reader) {
    free(reader->buffer);
    free(reader->header);
}

int ss_wal_read(const struct ss_wal_reader *reader, void *to, uint64_t length, uint64_t at) {
    int error = ss_vfs_read_all(reader->wal->location->vfs, reader->wal->file, to, (size_t)length, at);
    return error == 0 ? SS_OK : ss_fail_errno(error, "reading the log", at);
}

int ss_wal_header_room(uint8_t **header, size_t *room, uint64_t size) {
    if (*room >= size) return SS_OK;
    uint8_t *more = size > SIZE_MAX / 2 ? NULL : realloc(*header, (size_t)size);
    if (more == NULL) return ss_wal_no_heap(size);
    *header = more;
    *room = (size_t)size;
    return SS_OK;
}

uint64_t ss_wal_header_bytes(uint64_t pieces) {
    return RECORD_TABLE + pieces * PIECE_SIZE;
}

uint64_t ss_wal_record_length(const struct ss_wal_record *record) {
    return record->header_bytes + record->data_bytes;
}

static uint64_t end_of(const struct ss_wal_record *record) {
    return ss_round_up(record->at + ss_wal_record_length(record), PACKING);
}

/* SS_ABSENT where these bytes do not begin a record of this generation that lies inside the file. */
static int parse_record(const struct ss_wal_reader *reader, const uint8_t *bytes, uint64_t at, struct ss_wal_record *record) {
    record->at = at;
    record->flags = ss_get16(bytes + RECORD_FLAGS);
    bool ours = ss_get32(bytes) == RECORD_MAGIC && ss_get16(bytes + RECORD_VERSION) == VERSION &&
                ss_get64(bytes + RECORD_SALT) == reader->wal->salt && (record->flags & FLAG_ALWAYS);
    if (!ours) return SS_ABSENT;
    record->sequence = ss_get64(bytes + RECORD_SEQUENCE);
    record->previous = ss_get64(bytes + RECORD_PREVIOUS);
    record->pages = ss_get64(bytes + RECORD_PAGES);
    record->pieces = ss_get32(bytes + RECORD_PIECES);
    record->sum = ss_get64(bytes + RECORD_SUM);
    record->header_bytes = ss_wal_header_bytes(record->pieces);
    record->data_bytes = ss_get64(bytes + RECORD_LENGTH);
    uint64_t left = reader->size - at;
    bool fits = record->header_bytes <= left && record->data_bytes <= left - record->header_bytes;
    return fits ? SS_OK : SS_ABSENT;
}

static int sum_data(const struct ss_wal_reader *reader, const struct ss_wal_record *record, ss_checksum *sum) {
    uint64_t at = record->at + record->header_bytes, end = record->at + ss_wal_record_length(record);
    while (at < end) {
        uint64_t length = end - at < COPY_SIZE ? end - at : COPY_SIZE;
        int status = ss_wal_read(reader, reader->buffer, length, at);
        if (status != SS_OK) return status;
        ss_checksum_add(sum, reader->buffer, (size_t)length);
        at += length;
    }
    return SS_OK;
}

/* The sum of a record whose header, with the sum zeroed, is in reader->header. */
int ss_wal_sum_record(const struct ss_wal_reader *reader, const struct ss_wal_record *record, uint64_t seed, uint64_t *result) {
    ss_checksum sum;
    ss_checksum_begin(&sum, seed);
    ss_checksum_add(&sum, reader->header, (size_t)record->header_bytes);
    int status = sum_data(reader, record, &sum);
    *result = ss_checksum_end(&sum);
    return status;
}

/* The table of a record whose sum is right: we wrote it, so it makes sense or the log is damaged by more than a crash. */
static int check_pieces(const struct ss_wal_reader *reader, const struct ss_wal_record *record) {
    uint64_t total = 0, end = 0;
    bool good = record->pages <= UINT64_MAX / PAGE;
    for (uint64_t i = 0; good && i < record->pieces; i++) {
        const uint8_t *piece = reader->header + RECORD_TABLE + i * PIECE_SIZE;
        uint64_t offset = ss_get64(piece), count = ss_get64(piece + 8);
        good = offset >= end && ss_add(offset, count, &end) && end <= record->pages * PAGE && ss_add(total, count, &total);
    }
    if (good && total == record->data_bytes) return SS_OK;
    return ss_fail(SS_WAL_CORRUPT, "pieces of a record (they are not in order, inside the memory and as long as its data)", record->at,
                   total, record->data_bytes);
}

/* Reads the record at `at` and checks its sum. SS_ABSENT if there is none, or one that is not complete. */
static int read_record(struct ss_wal_reader *reader, uint64_t at, struct ss_wal_record *record) {
    uint8_t block[BLOCK];
    if (at > reader->size || reader->size - at < RECORD_TABLE) return SS_ABSENT;
    uint64_t first = reader->size - at < BLOCK ? reader->size - at : BLOCK;
    int status = ss_wal_read(reader, block, first, at);
    if (status == SS_OK) status = parse_record(reader, block, at, record);
    if (status == SS_OK) status = ss_wal_header_room(&reader->header, &reader->header_room, record->header_bytes);
    if (status != SS_OK) return status;
    if (first > record->header_bytes) first = record->header_bytes;
    memcpy(reader->header, block, (size_t)first);
    status = ss_wal_read(reader, reader->header + first, record->header_bytes - first, at + first);
    ss_put64(reader->header + RECORD_SUM, 0);
    uint64_t sum;
    if (status == SS_OK) status = ss_wal_sum_record(reader, record, record->previous, &sum);
    if (status != SS_OK) return status;
    return sum == record->sum ? check_pieces(reader, record) : SS_ABSENT;
}

static int read_in_chain(struct ss_wal_reader *reader, const ss_wal *wal, uint64_t at, struct ss_wal_record *record) {
    int status = read_record(reader, at, record);
    if (status != SS_OK) return status;
    if (record->sequence != wal->sequence + 1 || record->previous != wal->previous) return SS_ABSENT;
    return record->pages >= wal->pages ? SS_OK : ss_fail(SS_WAL_CORRUPT, "a memory never shrinks", at, record->pages, wal->pages);
}

/* The next record of the chain: behind the last one, or at the next block. */
int ss_wal_next_record(struct ss_wal_reader *reader, const ss_wal *wal, struct ss_wal_record *record) {
    uint64_t block = ss_round_up(wal->position, BLOCK);
    int status = read_in_chain(reader, wal, wal->position, record);
    return status == SS_ABSENT && block != wal->position ? read_in_chain(reader, wal, block, record) : status;
}

void ss_wal_pass_record(ss_wal *wal, const struct ss_wal_record *record) {
    wal->sequence = record->sequence;
    wal->previous = record->sum;
    wal->pages = record->pages;
    wal->position = end_of(record);
}

/* The beginnings of records that a writer leaves do not overlap, so to sum what they claim to be costs no more than to read the log
 * once. Of bytes that somebody made up, so many times its size are summed. */
#define SUMMED_MOST UINT64_C(16)

/* Whether these bytes begin a record that was synced, behind one that is missing. */
static bool may_follow(const struct ss_wal_reader *reader, const ss_wal *wal, const uint8_t *bytes, uint64_t at, uint64_t *length) {
    struct ss_wal_record record;
    if (parse_record(reader, bytes, at, &record) != SS_OK) return false;
    *length = ss_wal_record_length(&record);
    return record.sequence > wal->sequence + 1 && (record.flags & FLAG_SYNCED);
}

/* SS_WAL_CORRUPT if they do, and the rest of it is there. `left` is how much may still be summed. */
static int check_no_record(struct ss_wal_reader *reader, const ss_wal *wal, const uint8_t *bytes, uint64_t at, uint64_t *left) {
    struct ss_wal_record record;
    uint64_t length;
    if (!may_follow(reader, wal, bytes, at, &length)) return SS_OK;
    if (length > *left) return ss_fail(SS_WAL_CORRUPT, "what looks like records, behind the last one, is no more than a log has", at, 0, 0);
    *left -= length;
    int status = read_record(reader, at, &record);
    if (status != SS_OK) return status == SS_ABSENT ? SS_OK : status;
    return ss_fail(SS_WAL_CORRUPT, "no record is missing before one that was stored", wal->position, wal->sequence + 1, record.sequence);
}

/* A record that was synced, behind the end of the chain: what is missing between was durable and is damaged now. */
static int check_nothing_follows(struct ss_wal_reader *reader, const ss_wal *wal) {
    uint8_t block[BLOCK];
    uint64_t left = reader->size > UINT64_MAX / SUMMED_MOST ? UINT64_MAX : reader->size * SUMMED_MOST;
    for (uint64_t at = wal->position; at < reader->size;) {
        uint64_t length = BLOCK - at % BLOCK < reader->size - at ? BLOCK - at % BLOCK : reader->size - at;
        int status = ss_wal_read(reader, block, length, at);
        for (uint64_t i = 0; status == SS_OK && i + RECORD_TABLE <= length; i += PACKING) {
            status = check_no_record(reader, wal, block + i, at + i, &left);
        }
        if (status != SS_OK) return status;
        at += length;
    }
    return SS_OK;
}

/* Tells of each piece of a record whose header is in reader->header. */
int ss_wal_visit_pieces(const struct ss_wal_reader *reader, const struct ss_wal_record *record, const ss_wal_visitor *visitor) {
    uint64_t from = record->at + record->header_bytes;
    int status = SS_OK;
    for (uint64_t i = 0; status == SS_OK && i < record->pieces; i++) {
        const uint8_t *piece = reader->header + RECORD_TABLE + i * PIECE_SIZE;
        uint64_t offset = ss_get64(piece), length = ss_get64(piece + 8);
        status = visitor->piece(visitor->self, offset, length, from);
        from += length;
    }
    return status;
}

int ss_wal_find_each(ss_wal *wal, const ss_wal_visitor *visitor) {
    uint64_t size = 0;
    struct ss_wal_reader reader;
    struct ss_wal_record record;
    int status = ss_wal_open(wal, &size);
    if (status != SS_OK) return status;
    status = ss_wal_reader_begin(&reader, wal, size);
    while (status == SS_OK) {
        status = ss_wal_next_record(&reader, wal, &record);
        if (status == SS_OK && visitor != NULL) status = ss_wal_visit_pieces(&reader, &record, visitor);
        if (status == SS_OK) ss_wal_pass_record(wal, &record);
    }
    if (status == SS_ABSENT) status = check_nothing_follows(&reader, wal);
    ss_wal_reader_end(&reader);
    if (status != SS_OK || !wal->header_torn || wal->sequence > 0) return status;
    /* A crash tears the header of the next generation only while the records of this one are still there. */
    return ss_fail(SS_WAL_CORRUPT, "a log with a damaged header has the records of the other one", 0, wal->generation, 0);
}

int ss_wal_find(ss_wal *wal) {
    return ss_wal_find_each(wal, NULL);
}

int ss_wal_check_file(const ss_wal *wal, uint64_t size) {
    if (wal->sequence == 0) return SS_OK;
    uint64_t pages = size / PAGE;
    bool fits = size % PAGE == 0 && pages >= wal->base_pages && pages <= wal->pages;
    if (fits) return SS_OK;
    return ss_fail(SS_WAL_CORRUPT, "size of the file that the log belongs to (was the file cut or replaced?)", 0, size, wal->pages * PAGE);
}

bool ss_wal_exists(const ss_wal_location *location) {
    int file, error = ss_vfs_open(location->vfs, location->directory, location->name, 0, 0, &file);
    if (error == 0) ss_wal_close_file(location, &file);
    return !ss_vfs_is_absent(error);
}

int ss_wal_has_records(const ss_wal_location *location, bool *has) {
    ss_wal wal;
    ss_wal_init(&wal, location);
    int status = ss_wal_find(&wal);
    *has = status == SS_OK && wal.sequence > 0;
    ss_wal_close(&wal);
    return status == SS_ABSENT ? SS_OK : status;
}
