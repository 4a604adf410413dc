/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal_follow.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/error.h"
#include "storage/wal_private.h"

/* ---- which log it is ---- */

static void close_log(ss_wal_follower *follower) {
    ss_wal *wal = follower->wal;
    const ss_wal_location *location = wal->location;
    ss_wal_close(wal);
    ss_wal_init(wal, location);
}

void ss_wal_follow_end(ss_wal_follower *follower) {
    if (follower->wal != NULL) close_log(follower);
    if (follower->reader != NULL) ss_wal_reader_end(follower->reader);
    free(follower->reader);
    follower->reader = NULL;
}

/* A log goes when its writer closes the file, and another one takes its name when the next writer opens it. */
static int keep_log_open(ss_wal_follower *follower) {
    ss_wal *wal = follower->wal;
    ss_vfs_status now;
    if (wal->file != NO_FILE) {
        int error = ss_vfs_status_of(wal->location->vfs, wal->file, &now);
        if (error != 0) return ss_fail_errno(error, "state of the log", 0);
        wal->size = now.size;
        if (now.links > 0) return SS_OK;
        close_log(follower);
    }
    follower->opened = true;
    return ss_wal_open(wal, &wal->size);
}

static int is_same_generation(const ss_wal *wal, bool *same) {
    ss_wal now = *wal;
    int status = ss_wal_read_header(&now, wal->size);
    *same = now.generation == wal->generation && now.header_sum == wal->header_sum;
    return status;
}

/* A writer that could not finish a commit takes its record back, and another one comes to its place. */
static int has_last_record(const ss_wal_follower *follower, bool *has) {
    const ss_wal *wal = follower->wal;
    uint8_t bytes[RECORD_TABLE];
    *has = true;
    if (wal->sequence == 0) return SS_OK;
    int error = ss_vfs_read_all(wal->location->vfs, wal->file, bytes, sizeof bytes, follower->last_at);
    *has = error == 0 && ss_get64(bytes + RECORD_SALT) == wal->salt && ss_get64(bytes + RECORD_SUM) == wal->previous;
    return SS_OK;
}

/* Whether what was read of the log still is what it holds. */
static int is_as_read(const ss_wal_follower *follower, bool *same) {
    *same = false;
    if (follower->opened || follower->from_start) return SS_OK;
    int status = is_same_generation(follower->wal, same);
    return status == SS_OK && *same ? has_last_record(follower, same) : status;
}

static int begin_anew(ss_wal_follower *follower, const ss_wal_image *image) {
    int status = ss_wal_read_header(follower->wal, follower->wal->size);
    if (status == SS_OK) status = image->anew(image->self);
    follower->from_start = status != SS_OK;
    return status;
}

/* ---- its records ---- */

static bool begins_record(const ss_wal *wal, uint64_t at) {
    uint8_t bytes[RECORD_TABLE];
    if (at > wal->size || wal->size - at < sizeof bytes) return false;
    if (ss_vfs_read_all(wal->location->vfs, wal->file, bytes, sizeof bytes, at) != 0) return false;
    return ss_get32(bytes) == RECORD_MAGIC && ss_get64(bytes + RECORD_SALT) == wal->salt &&
           ss_get64(bytes + RECORD_SEQUENCE) == wal->sequence + 1;
}

/* Cheap; what it finds need not be a record yet. */
static bool may_have_more(const ss_wal *wal) {
    uint64_t block = ss_round_up(wal->position, BLOCK);
    return begins_record(wal, wal->position) || (block != wal->position && begins_record(wal, block));
}

bool ss_wal_follow_is_behind(const ss_wal_follower *follower) {
    ss_vfs_status status;
    ss_wal now = *follower->wal;
    const ss_vfs *vfs = now.location->vfs;
    bool same = false, has_last = false;
    if (now.file == NO_FILE || follower->from_start || ss_vfs_status_of(vfs, now.file, &status) != 0 || status.links == 0) return true;
    now.size = status.size;
    if (is_same_generation(&now, &same) != SS_OK || !same) return true;
    (void)has_last_record(follower, &has_last);
    return !has_last || may_have_more(&now);
}

struct put {
    const struct ss_wal_reader *reader;
    const struct ss_wal_record *record;
    uint8_t *base;
};

static int put_piece(void *self, uint64_t offset, uint64_t length, uint64_t at) {
    const struct put *put = self;
    if (put->record->data_bytes > COPY_SIZE) return ss_wal_read(put->reader, put->base + offset, length, at);
    memcpy(put->base + offset, put->reader->buffer + (at - put->record->at - put->record->header_bytes), (size_t)length);
    return SS_OK;
}

static int put_record(const struct ss_wal_reader *reader, const struct ss_wal_record *record, const ss_wal_image *image) {
    if (record->flags & FLAG_SYNCED) return SS_OK;
    int status = image->room(image->self, record->pages);
    struct put put = {reader, record, image->base};
    return status == SS_OK ? ss_wal_visit_pieces(reader, record, &(ss_wal_visitor){put_piece, &put}) : status;
}

static int make_reader(ss_wal_follower *follower) {
    if (follower->reader == NULL) {
        struct ss_wal_reader *reader = malloc(sizeof *reader);
        int status = reader == NULL ? ss_wal_no_heap(sizeof *reader) : ss_wal_reader_begin(reader, follower->wal, 0);
        if (status != SS_OK) {
            free(reader);
            return status;
        }
        follower->reader = reader;
    }
    follower->reader->size = follower->wal->size;
    return SS_OK;
}

/* Up to the last record that is complete. */
static int put_new_records(ss_wal_follower *follower, const ss_wal_image *image, bool *moved) {
    struct ss_wal_record record;
    int status = make_reader(follower);
    while (status == SS_OK) {
        status = ss_wal_next_record(follower->reader, follower->wal, &record);
        if (status != SS_OK) break;
        *moved = true;
        status = put_record(follower->reader, &record, image);
        if (status != SS_OK) break;
        follower->last_at = record.at;
        ss_wal_pass_record(follower->wal, &record);
    }
    return status == SS_ABSENT ? SS_OK : status;
}

/* The writer may empty the log meanwhile, where the file holds all of it, and begin the next generation over the records
 * that are being read; but it writes the header of that first. So what was read under one header is right. */
static int follow_once(ss_wal_follower *follower, const ss_wal_image *image, bool *moved, bool *same) {
    int status = keep_log_open(follower);
    if (status == SS_OK) status = is_as_read(follower, same);
    if (status == SS_OK && !*same) {
        *moved = true;
        status = begin_anew(follower, image);
    }
    *same = true;
    if (status != SS_OK || !may_have_more(follower->wal)) return status;
    status = put_new_records(follower, image, moved);
    struct ss_failure reason = *ss_last_failure();
    int looked = is_same_generation(follower->wal, same);
    /* A record that was put in part is put once more. */
    follower->from_start = status != SS_OK || looked != SS_OK || !*same;
    if (status == SS_OK || !*same) return looked;
    return ss_fail(reason.status, reason.rule, reason.address, reason.number, reason.limit);
}

int ss_wal_follow(ss_wal_follower *follower, const ss_wal_image *image, bool *moved) {
    bool same = false;
    int status;
    *moved = follower->opened = false;
    do {
        status = follow_once(follower, image, moved, &same);
    } while (status == SS_OK && !same);
    return status;
}
