/* SPDX-License-Identifier: Apache-2.0 */
/* The write-ahead log, `<file>-wal`. Integers are little-endian, a block is 4096 bytes.
 *
 *   block 0        header of the even generations
 *   block 1        header of the odd generations; of two valid headers the one with the higher generation counts
 *   block 2...     records, one behind the other; behind the last one anything may lie
 *
 *   header                                        record
 *    0  u64 magic "SMWALv01"                       0  u32 magic "SMRC"
 *    8  u32 version 1                              4  u16 version 1
 *   12  u32 block size 4096                        6  u16 flags; bit 0: synced before it counted; bit 1: always set
 *   16  u64 generation                             8  u64 salt of the header
 *   24  u64 salt, random                          16  u64 sequence 1, 2, ...
 *   32  u64 pages of the file at its beginning    24  u64 sum of the record before (of the header for the first)
 *   40  u64 inode of the file, a hint             32  u64 pages of the memory after it
 *   48  u64 0                                     40  u32 number n of pieces
 *   56  u64 sum: XXH64(bytes 0..55, seed 0)       44  u32 0
 *                                                 48  u64 length of the data
 *                                                 56  u64 sum: XXH64(whole record with sum 0, seed: the sum before)
 *                                                 64  n * {u64 offset in the memory, u64 length}
 *                                                     the data, piece by piece, in the order of the offsets
 *
 * A record begins at a multiple of 64 behind the one before (mode normal), or at the next block if that one was synced
 * (mode full: zeros fill the rest of its last block).
 *
 * One record is one commit. The first record of a generation that changes a block has all of it, so that a block of the
 * file that was torn is healed before what changed in it later is put there.
 *
 * Invariants
 *  I2  A block reaches the file only after its record is durable (kept by durable.c).
 *  I3  The log is emptied only after a sync of the file that succeeded; the first record of a generation is written
 *      only after its header is durable.
 *  I4  A header that is the only valid one, and a record that was synced, are never overwritten in place.
 *  I5  A record that was synced has its blocks for itself: a torn write of the next one cannot damage it.
 *  I6  Recovery changes the file only after its copy of the log is durable. It never writes into the log that it found:
 *      after a failed sync, the system may show a record that the disk does not have, and a second sync succeeds.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/error.h"
#include "storage/wal_private.h"

#define NO_FILE (-1)
/* Longer records are not put together in memory of their own: copying costs more than the cache of the system then. */
#define SHORT_RECORD (16 * BLOCK)

void ss_wal_init(ss_wal *wal, const ss_wal_location *location) {
    *wal = (ss_wal){.location = location, .file = NO_FILE};
}

void ss_wal_close(ss_wal *wal) {
    if (wal->location != NULL) ss_wal_close_file(wal->location, &wal->file);
    ss_window_close(&wal->window);
    free(wal->blocks);
    free(wal->header);
    free(wal->parts);
    wal->blocks = wal->header = NULL;
    wal->parts = NULL;
    wal->header_room = wal->parts_room = 0;
}

/* ---- headers ---- */

static int new_salt(ss_wal *wal) {
    int error = ss_vfs_random(wal->location->vfs, &wal->salt, sizeof wal->salt);
    return error == 0 ? SS_OK : ss_fail_errno(error, "random number for a log", 0);
}

/* Makes `block` the header of the wal's generation and salt, and the log empty. */
static void put_header(ss_wal *wal, uint8_t *block) {
    memset(block, 0, BLOCK);
    ss_put64(block, HEADER_MAGIC);
    ss_put32(block + HEADER_VERSION, VERSION);
    ss_put32(block + HEADER_BLOCK_SIZE, (uint32_t)BLOCK);
    ss_put64(block + HEADER_GENERATION, wal->generation);
    ss_put64(block + HEADER_SALT, wal->salt);
    ss_put64(block + HEADER_PAGES, wal->base_pages);
    ss_put64(block + HEADER_INODE, wal->location->inode);
    wal->header_sum = ss_checksum_of(block, HEADER_SUM, 0);
    ss_put64(block + HEADER_SUM, wal->header_sum);
    ss_wal_forget_records(wal);
}

/* ---- a new log ---- */

/* Has what is written next go past the cache of the system or through it. */
static int set_direct(ss_wal *wal, bool is_direct) {
    if (wal->is_direct == is_direct) return 0;
    int error = ss_vfs_direct(wal->location->vfs, wal->file, is_direct);
    if (error == 0) wal->is_direct = is_direct;
    return error;
}

static int write_log(ss_wal *wal, const void *from, uint64_t length, uint64_t at) {
    int error = set_direct(wal, false);
    if (error == 0) error = ss_vfs_write_bytes(wal->location->vfs, wal->file, from, (size_t)length, at);
    return error == 0 ? SS_OK : ss_fail_errno(error, "writing the log", at);
}

/* Writes the record that reader->header describes to the end of `to`, as one of its generation. */
static int copy_record(struct ss_wal_reader *reader, const struct ss_wal_record *from, ss_wal *to) {
    struct ss_wal_record record = *from;
    record.sequence = to->sequence + 1;
    record.at = to->position;
    ss_put16(reader->header + RECORD_FLAGS, FLAG_ALWAYS | FLAG_SYNCED);
    ss_put64(reader->header + RECORD_SALT, to->salt);
    ss_put64(reader->header + RECORD_SEQUENCE, record.sequence);
    ss_put64(reader->header + RECORD_PREVIOUS, to->previous);
    int status = ss_wal_sum_record(reader, from, to->previous, &record.sum);
    if (status != SS_OK) return status;
    ss_put64(reader->header + RECORD_SUM, record.sum);
    status = write_log(to, reader->header, from->header_bytes, record.at);
    for (uint64_t done = from->header_bytes, end = ss_wal_record_length(from); status == SS_OK && done < end;) {
        uint64_t length = end - done < COPY_SIZE ? end - done : COPY_SIZE;
        status = ss_wal_read(reader, reader->buffer, length, from->at + done);
        if (status == SS_OK) status = write_log(to, reader->buffer, length, record.at + done);
        done += length;
    }
    ss_wal_pass_record(to, &record);
    return status;
}

static int copy_records(const ss_wal *from, ss_wal *to) {
    struct ss_wal_reader reader;
    struct ss_wal_record record;
    ss_wal at = ss_wal_before_records(from);
    int status = ss_wal_reader_begin(&reader, from, from->size);
    while (status == SS_OK && at.sequence < from->sequence) {
        status = ss_wal_next_record(&reader, &at, &record);
        if (status == SS_OK) status = copy_record(&reader, &record, to);
        if (status == SS_OK) ss_wal_pass_record(&at, &record);
    }
    ss_wal_reader_end(&reader);
    return status == SS_ABSENT ? ss_fail(SS_WAL_CORRUPT, "the log changed while it was read", at.position, 0, 0) : status;
}

/* Zeros up to the size of a new log, or to a whole block: blocks that were written once are cheaper to make durable. */
static int fill_log(ss_wal *wal) {
    static const uint8_t zeros[65536];
    wal->size = ss_round_up(wal->position > wal->location->bytes ? wal->position : wal->location->bytes, BLOCK);
    /* The last record may end before its position, and then nothing follows that would bring the file to its size. */
    int error = ss_vfs_resize(wal->location->vfs, wal->file, wal->size);
    int status = error == 0 ? SS_OK : ss_fail_errno(error, "making the log longer", wal->position);
    for (uint64_t at = wal->position; status == SS_OK && at < wal->size;) {
        uint64_t length = wal->size - at < sizeof zeros ? wal->size - at : sizeof zeros;
        status = write_log(wal, zeros, length, at);
        at += length;
    }
    return status;
}

static int fill_new_log(const ss_wal *from, ss_wal *to) {
    uint8_t blocks[RECORDS_AT] = {0};
    put_header(to, blocks + (to->generation % 2) * BLOCK);
    int status = write_log(to, blocks, sizeof blocks, 0);
    if (status == SS_OK && from->file != NO_FILE) status = copy_records(from, to);
    if (status == SS_OK) status = fill_log(to);
    return status == SS_OK ? ss_wal_sync(to) : status;
}

static int put_in_place(const ss_wal_location *location) {
    int error = ss_vfs_rename(location->vfs, location->directory, location->temporary, location->name);
    if (error == 0) error = ss_vfs_sync_directory(location->vfs, location->directory);
    return error == 0 ? SS_OK : ss_fail_errno(error, "putting the log in its place", 0);
}

int ss_wal_delete_temporary(const ss_wal_location *location) {
    int error = ss_vfs_unlink(location->vfs, location->directory, location->temporary);
    return error == 0 ? SS_OK : ss_fail_errno(error, "deleting what the making of a log left", 0);
}

int ss_wal_renew(ss_wal *wal, uint64_t base_pages) {
    const ss_wal_location *location = wal->location;
    ss_wal made;
    ss_wal_init(&made, location);
    made.generation = wal->file == NO_FILE ? 0 : wal->generation + 1;
    /* The size may have grown since by what a power loss takes back. */
    made.base_pages = wal->sequence > 0 ? wal->base_pages : base_pages;
    int status = new_salt(&made);
    if (status == SS_OK) status = ss_wal_delete_temporary(location);
    if (status != SS_OK) return status;
    int error = ss_vfs_open(location->vfs, location->directory, location->temporary, SS_OPEN_WRITE | SS_OPEN_CREATE, location->permissions,
                            &made.file);
    if (error != 0) return ss_fail_errno(error, "creating the log", 0);
    status = fill_new_log(wal, &made);
    if (status == SS_OK) status = put_in_place(location);
    if (status != SS_OK) {
        struct ss_failure reason = *ss_last_failure();
        ss_wal_close_file(location, &made.file);
        (void)ss_vfs_unlink(location->vfs, location->directory, location->temporary);
        return ss_fail(reason.status, reason.rule, reason.address, reason.number, reason.limit);
    }
    ss_wal_close(wal);
    *wal = made;
    return SS_OK;
}

/* ---- putting records into the file ---- */

struct replay {
    const struct ss_wal_reader *reader;
    int main_file;
};

static int replay_piece(void *self, uint64_t offset, uint64_t length, uint64_t at) {
    const struct replay *replay = self;
    const struct ss_wal_reader *reader = replay->reader;
    int status = SS_OK;
    for (uint64_t done = 0; status == SS_OK && done < length;) {
        uint64_t part = length - done < COPY_SIZE ? length - done : COPY_SIZE;
        status = ss_wal_read(reader, reader->buffer, part, at + done);
        if (status != SS_OK) return status;
        int error = ss_vfs_write_bytes(reader->wal->location->vfs, replay->main_file, reader->buffer, (size_t)part, offset + done);
        if (error != 0) status = ss_fail_errno(error, "writing what the log holds to the file", offset + done);
        done += part;
    }
    return status;
}

int ss_wal_replay(const ss_wal *wal, int main_file) {
    struct ss_wal_reader reader;
    struct ss_wal_record record;
    ss_wal at = ss_wal_before_records(wal);
    struct replay replay = {&reader, main_file};
    ss_wal_visitor visitor = {replay_piece, &replay};
    int status = ss_wal_reader_begin(&reader, wal, wal->size);
    while (status == SS_OK && at.sequence < wal->sequence) {
        status = ss_wal_next_record(&reader, &at, &record);
        if (status == SS_OK) status = ss_wal_visit_pieces(&reader, &record, &visitor);
        if (status == SS_OK) ss_wal_pass_record(&at, &record);
    }
    ss_wal_reader_end(&reader);
    return status == SS_ABSENT ? ss_fail(SS_WAL_CORRUPT, "the log changed while it was read", at.position, 0, 0) : status;
}

/* ---- writing records ---- */

static int record_room(ss_wal *wal, size_t pieces, bool full) {
    int status = ss_wal_header_room(&wal->header, &wal->header_room, ss_wal_header_bytes(pieces));
    if (status == SS_OK && full && wal->blocks == NULL) {
        wal->blocks = aligned_alloc(BLOCK, SHORT_RECORD);
        if (wal->blocks == NULL) return ss_wal_no_heap(SHORT_RECORD);
    }
    if (status != SS_OK || wal->parts_room >= pieces + 2) return status;
    size_t room = pieces * 2 + 16;
    struct iovec *parts = realloc(wal->parts, room * sizeof *parts);
    if (parts == NULL) return ss_wal_no_heap(room);
    wal->parts = parts;
    wal->parts_room = room;
    return SS_OK;
}

/* Fills the table of the header, and the parts behind the first with the pieces in memory. Returns their length. */
static uint64_t put_pieces(ss_wal *wal, uint8_t *base, const ss_wal_piece *pieces, size_t count) {
    uint8_t *entry = wal->header + RECORD_TABLE;
    uint64_t length = 0;
    for (size_t i = 0; i < count; i++, entry += PIECE_SIZE) {
        ss_put64(entry, pieces[i].offset);
        ss_put64(entry + 8, pieces[i].length);
        wal->parts[i + 1] = (struct iovec){base + pieces[i].offset, (size_t)pieces[i].length};
        length += pieces[i].length;
    }
    return length;
}

/* The sum of all parts, into the first, which has 0 there. */
static void put_sum(ss_wal *wal, size_t parts) {
    ss_checksum sum;
    ss_checksum_begin(&sum, wal->previous);
    for (size_t i = 0; i < parts; i++) ss_checksum_add(&sum, wal->parts[i].iov_base, wal->parts[i].iov_len);
    wal->next_sum = ss_checksum_end(&sum);
    ss_put64(wal->header + RECORD_SUM, wal->next_sum);
}

static void put_record(ss_wal *wal, size_t pieces, uint64_t length, uint64_t pages, unsigned flags) {
    uint8_t *header = wal->header;
    memset(header, 0, RECORD_TABLE);
    ss_put32(header, RECORD_MAGIC);
    ss_put16(header + RECORD_VERSION, VERSION);
    ss_put16(header + RECORD_FLAGS, (uint16_t)flags);
    ss_put64(header + RECORD_SALT, wal->salt);
    ss_put64(header + RECORD_SEQUENCE, wal->sequence + 1);
    ss_put64(header + RECORD_PREVIOUS, wal->previous);
    ss_put64(header + RECORD_PAGES, pages);
    ss_put32(header + RECORD_PIECES, (uint32_t)pieces);
    ss_put64(header + RECORD_LENGTH, length);
}

/* Blocks that were written once are cheaper to make durable than ones that make the file longer. No harm if it fails. */
static void prepare_blocks(ss_wal *wal, uint64_t end) {
    static const uint8_t zeros[65536];
    if (end <= wal->size || wal->position > wal->location->bytes_prepared) return;
    uint64_t from = ss_round_up(wal->position > wal->size ? wal->position : wal->size, BLOCK);
    for (uint64_t at = from, stop = end + wal->location->bytes; at < stop; at += sizeof zeros) {
        if (write_log(wal, zeros, sizeof zeros, at) != SS_OK) {
            wal->disk_full = true;
            return;
        }
        wal->size = at + sizeof zeros;
    }
}

static void store_parts(const ss_wal *wal, size_t parts) {
    uint8_t *to = wal->window.bytes + wal->position;
    for (size_t i = 0; i < parts; i++) {
        memcpy(to, wal->parts[i].iov_base, wal->parts[i].iov_len);
        to += wal->parts[i].iov_len;
    }
}

static int write_parts(ss_wal *wal, size_t parts) {
    int error = set_direct(wal, false);
    return error == 0 ? ss_vfs_write_all(wal->location->vfs, wal->file, wal->parts, parts, wal->position) : error;
}

/* A record that is stored gets its sum where it lies, in one piece; until then it is none. */
static int write_or_store(ss_wal *wal, size_t parts, uint64_t length) {
    bool can = ss_window_shows(&wal->window, wal->location->vfs, wal->file, wal->next_position, wal->size);
    if (!can) {
        put_sum(wal, parts);
        return write_parts(wal, parts);
    }
    uint8_t *record = wal->window.bytes + wal->position;
    store_parts(wal, parts);
    wal->next_sum = ss_checksum_of(record, (size_t)length, wal->previous);
    ss_put64(record + RECORD_SUM, wal->next_sum);
    return 0;
}

static int write_past_cache(ss_wal *wal, size_t parts, uint64_t whole) {
    uint8_t *to = wal->blocks, *end = wal->blocks + whole;
    for (size_t i = 0; i < parts; to += wal->parts[i++].iov_len) memcpy(to, wal->parts[i].iov_base, wal->parts[i].iov_len);
    memset(to, 0, (size_t)(end - to));
    int error = set_direct(wal, true);
    return error == 0 ? ss_vfs_write_bytes(wal->location->vfs, wal->file, wal->blocks, (size_t)whole, wal->position) : error;
}

/* Whole blocks, of which the system need not read what the record leaves over. */
static int write_blocks(ss_wal *wal, size_t parts) {
    static uint8_t zeros[BLOCK];
    uint64_t whole = wal->next_position - wal->position, length = 0;
    put_sum(wal, parts);
    if (whole <= SHORT_RECORD && !wal->direct_io_unsupported) {
        int error = write_past_cache(wal, parts, whole);
        if (error != EINVAL && error != EOPNOTSUPP) return error;
        /* Not every file system can, and one that says it can may refuse what it gets. */
        wal->direct_io_unsupported = true;
    }
    for (size_t i = 0; i < parts; i++) length += wal->parts[i].iov_len;
    wal->parts[parts] = (struct iovec){zeros, (size_t)(whole - length)};
    return write_parts(wal, parts + 1);
}

int ss_wal_append(ss_wal *wal, uint8_t *base, const ss_wal_piece *pieces, size_t count, uint64_t pages, bool full) {
    wal->next_position = wal->position;
    if (count > UINT32_MAX) return ss_fail(SS_NO_HEAP, "pieces of one record of the log", 0, count, UINT32_MAX);
    int status = record_room(wal, count, full);
    if (status != SS_OK) return status;
    uint64_t length = put_pieces(wal, base, pieces, count);
    put_record(wal, count, length, pages, full ? FLAG_ALWAYS | FLAG_SYNCED : FLAG_ALWAYS);
    wal->parts[0] = (struct iovec){wal->header, (size_t)ss_wal_header_bytes(count)};
    length += wal->parts[0].iov_len;
    wal->next_position = ss_round_up(wal->position + length, full ? BLOCK : PACKING);
    wal->next_pages = pages;
    prepare_blocks(wal, wal->next_position);
    int error = full ? write_blocks(wal, count + 1) : write_or_store(wal, count + 1, length);
    if (error == 0) return SS_OK;
    status = ss_fail_errno(error, "writing a commit to the log", wal->position);
    if (status == SS_OUT_OF_MEMORY) wal->disk_full = true;
    return status;
}

/* Whether the record that was written last may be there. */
static bool begins_record(const ss_wal *wal) {
    const ss_vfs *vfs = wal->location->vfs;
    uint8_t bytes[RECORD_TABLE];
    size_t done = 0;
    int error;
    do {
        error = vfs->read(vfs->self, wal->file, bytes, sizeof bytes, wal->position, &done);
    } while (error == EINTR);
    if (error != 0 || done < sizeof bytes) return error != 0;
    return ss_get64(bytes + RECORD_SALT) == wal->salt && ss_get64(bytes + RECORD_SEQUENCE) == wal->sequence + 1;
}

/* Zeros where it begins. A full disk has no room for them only where it had none for the record. */
int ss_wal_withdraw(ss_wal *wal) {
    static const uint8_t zeros[BLOCK];
    uint64_t length = wal->next_position - wal->position;
    int status = write_log(wal, zeros, length < sizeof zeros ? length : sizeof zeros, wal->position);
    bool gone = status == SS_OK || (status == SS_OUT_OF_MEMORY && !begins_record(wal));
    return gone ? ss_wal_sync(wal) : status;
}

void ss_wal_accept(ss_wal *wal) {
    wal->sequence++;
    wal->previous = wal->next_sum;
    wal->position = wal->next_position;
    wal->pages = wal->next_pages;
}

int ss_wal_sync(ss_wal *wal) {
    int error = ss_vfs_sync(wal->location->vfs, wal->file);
    if (error != 0) return ss_fail_errno(error, "making the log durable", 0);
    wal->window.is_stale = true;
    wal->position = ss_round_up(wal->position, BLOCK);
    return SS_OK;
}

int ss_wal_reset(ss_wal *wal, uint64_t base_pages) {
    uint8_t block[BLOCK];
    int status = new_salt(wal);
    if (status != SS_OK) return status;
    wal->generation++;
    wal->base_pages = base_pages;
    put_header(wal, block);
    status = write_log(wal, block, BLOCK, (wal->generation % 2) * BLOCK);
    return status == SS_OK ? ss_wal_sync(wal) : status;
}

void ss_wal_trim(ss_wal *wal, uint64_t limit) {
    uint64_t size;
    if (ss_wal_size_of(wal->location, wal->file, &size) == SS_OK && size > limit) {
        if (ss_vfs_resize(wal->location->vfs, wal->file, wal->location->bytes) != 0) return;
        wal->size = wal->location->bytes;
        ss_window_cut(&wal->window, wal->size);
    }
}

int ss_wal_delete(ss_wal *wal) {
    const ss_wal_location *location = wal->location;
    ss_wal_close_file(location, &wal->file);
    int error = ss_vfs_unlink(location->vfs, location->directory, location->name);
    if (error == 0) error = ss_vfs_sync_directory(location->vfs, location->directory);
    return error == 0 ? SS_OK : ss_fail_errno(error, "deleting the empty log", 0);
}
