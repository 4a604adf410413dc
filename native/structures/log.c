/* SPDX-License-Identifier: Apache-2.0 */
/* The log.
 *
 *    index memory                              data memory
 *    offset  size  field                       offset  size  field
 *         0     3  "GLI"                            0     3  "GLD"
 *         3     1  layout version = 1               3     1  layout version = 1
 *         4    28  reserved, never written          4    28  reserved, never written
 *        32     8  number of entries N             32        entry 0, entry 1, ... back to back
 *        40   Nx8  end of each entry, counted
 *                  from byte 32 of the data
 *
 * Invariants
 *  L1  The N ends lie inside the index memory.
 *  L2  No end is below the one before it.
 *  L3  Every end lies inside the data memory.
 *
 * An append reserves both growths before it writes; the second may fail after the first, so growth begins an undo scope.
 */
#include "structures/log.h"

#include <stdlib.h>

#include "core/result.h"
#include "memory/magics.h"

#define VERSION 1

#define HEADER_SIZE 4

/* Ends are written this many at a time. */
#define ENDS_AT_ONCE 512

struct ss_log {
    ss_handle index, data;
};

/* ---- both memories ---- */

static bool shared(const ss_log *log) {
    return log->index.memory->root == log->data.memory->root;
}

/* One order for all logs, so that two threads cannot wait for each other. */
static bool index_first(const ss_memory *index, const ss_memory *data) {
    return (uintptr_t)index->root <= (uintptr_t)data->root;
}

static int enter_read(ss_log *log) {
    bool in_order = index_first(log->index.memory, log->data.memory);
    ss_handle *first = in_order ? &log->index : &log->data, *second = in_order ? &log->data : &log->index;
    int status = ss_handle_enter_read(first);
    if (status != SS_OK) return status;
    status = shared(log) ? ss_memory_refresh(second->memory) : ss_handle_enter_read(second);
    if (status != SS_OK) ss_leave_read(first->memory);
    return status;
}

static void leave_read(ss_log *log) {
    if (!shared(log)) ss_leave_read(log->data.memory);
    ss_leave_read(log->index.memory);
}

static int enter_write(ss_log *log) {
    bool in_order = index_first(log->index.memory, log->data.memory);
    ss_handle *first = in_order ? &log->index : &log->data, *second = in_order ? &log->data : &log->index;
    int status = ss_handle_enter_write(first);
    if (status != SS_OK) return status;
    status = shared(log) ? ss_memory_refresh(second->memory) : ss_handle_enter_write(second);
    if (status != SS_OK) return ss_leave_write(first->memory, status);
    if (!shared(log)) {
        /* The commit of one can fail when all is written. */
        ss_undo_begin(log->index.memory);
        ss_undo_begin(log->data.memory);
    }
    return SS_OK;
}

static int leave_write(ss_log *log, int status) {
    if (status == SS_OK) log->index.changes++;
    if (!shared(log)) status = ss_leave_write(log->data.memory, status);
    return ss_leave_write(log->index.memory, status);
}

/* ---- headers ---- */

static int check_header(const ss_memory *memory, const char *magic, const char *magic_rule, const char *version_rule) {
    uint8_t header[HEADER_SIZE];
    int status = ss_memory_read(memory, 0, header, HEADER_SIZE);
    if (status == SS_OUT_OF_BOUNDS) return ss_fail(SS_BAD_MAGIC, magic_rule, 0, 0, 0);
    if (status != SS_OK) return status;
    if (memcmp(header, magic, 3) != 0) return ss_fail(SS_BAD_MAGIC, magic_rule, 0, ss_get32(header) & 0xFFFFFF, 0);
    return header[3] == VERSION ? SS_OK : ss_fail(SS_BAD_VERSION, version_rule, 3, header[3], VERSION);
}

static int check_index_header(const ss_log *log) {
    return check_header(log->index.memory, SS_LOG_INDEX_MAGIC, "magic of a log's index memory", "layout version of a log's index memory");
}

static int check_data_header(const ss_log *log) {
    return check_header(log->data.memory, SS_LOG_DATA_MAGIC, "magic of a log's data memory", "layout version of a log's data memory");
}

static int read_number(const ss_memory *memory, uint64_t offset, uint64_t *number) {
    uint8_t bytes[8];
    int status = ss_memory_read(memory, offset, bytes, sizeof bytes);
    *number = ss_get64(bytes);
    return status;
}

static int write_number(ss_memory *memory, uint64_t offset, uint64_t number) {
    uint8_t bytes[8];
    ss_put64(bytes, number);
    return ss_memory_write(memory, offset, bytes, sizeof bytes);
}

/* How many of the memory's bytes follow the offset. */
static int room_after(const ss_memory *memory, uint64_t offset, uint64_t *room) {
    uint64_t pages;
    int status = ss_memory_size(memory, &pages);
    *room = status != SS_OK || pages == 0 ? 0 : pages * SS_PAGE_SIZE - offset;
    return status;
}

/* L1. Needs the lock of the index memory only. */
static int read_count(const ss_log *log, uint64_t *count) {
    uint64_t room;
    int status = check_index_header(log);
    if (status == SS_OK) status = room_after(log->index.memory, SS_LOG_ENDS_AT, &room);
    if (status == SS_OK) status = read_number(log->index.memory, SS_LOG_COUNT_AT, count);
    if (status != SS_OK) return status;
    return *count <= room / 8 ? SS_OK
                              : ss_fail(SS_CORRUPT, "number of entries, against the index memory", SS_LOG_COUNT_AT, *count, room / 8);
}

static uint64_t at_end(uint64_t index) {
    return SS_LOG_ENDS_AT + 8 * index;
}

/* Where entry `index`, which is below the count, begins and ends. L2 and L3 for it. */
static int read_entry(const ss_log *log, uint64_t index, uint64_t *start, uint64_t *end) {
    uint64_t room;
    *start = 0;
    int status = index == 0 ? SS_OK : read_number(log->index.memory, at_end(index - 1), start);
    if (status == SS_OK) status = read_number(log->index.memory, at_end(index), end);
    if (status == SS_OK) status = room_after(log->data.memory, SS_LOG_ENTRIES_AT, &room);
    if (status != SS_OK) return status;
    if (*end < *start) return ss_fail(SS_CORRUPT, "end of an entry, against the one before it (index memory)", at_end(index), *end, *start);
    return *end <= room ? SS_OK : ss_fail(SS_CORRUPT, "end of an entry, against the data memory", at_end(index), *end, room);
}

typedef struct extent {
    uint64_t count, end; /* entries, and their bytes */
} extent;

static int read_extent(const ss_log *log, extent *now) {
    uint64_t start;
    now->end = 0;
    int status = read_count(log, &now->count);
    if (status == SS_OK) status = check_data_header(log);
    return status == SS_OK && now->count > 0 ? read_entry(log, now->count - 1, &start, &now->end) : status;
}

/* ---- opening ---- */

static int write_header(ss_memory *memory, const char *magic) {
    uint8_t header[HEADER_SIZE];
    memcpy(header, magic, 3);
    header[3] = VERSION;
    return ss_memory_write_growing(memory, 0, header, HEADER_SIZE);
}

static int create(ss_log *log) {
    ss_undo_begin(log->index.memory);
    ss_undo_begin(log->data.memory);
    int status = write_header(log->index.memory, SS_LOG_INDEX_MAGIC);
    if (status == SS_OK) status = write_header(log->data.memory, SS_LOG_DATA_MAGIC);
    return status == SS_OK ? write_number(log->index.memory, SS_LOG_COUNT_AT, 0) : status;
}

/* Whether the index memory has the header of a log without entries, which a process that died while it made a log in two
 * files leaves behind: nothing is lost with it. */
static int index_was_begun(const ss_log *log, bool *begun) {
    uint64_t count = 1;
    int status = read_count(log, &count);
    *begun = status == SS_OK && count == 0;
    return status == SS_BAD_MAGIC || status == SS_BAD_VERSION || status == SS_CORRUPT ? SS_OK : status;
}

/* Neither memory may hold anything else. */
static int may_create(const ss_log *log, int mode) {
    bool begun = false;
    int status = ss_handle_may_create(&log->data, mode);
    if (status == SS_OK && mode == SS_INIT) status = index_was_begun(log, &begun);
    return status == SS_OK ? ss_handle_may_create(&log->index, begun ? SS_NEW : mode) : status;
}

/* Only the data memory decides whether there is a log. */
static int load_or_create(ss_log *log, int mode) {
    extent now;
    int status = mode == SS_NEW ? SS_BAD_MAGIC : check_data_header(log);
    if (status == SS_OK) return read_extent(log, &now);
    if (status != SS_BAD_MAGIC) return status;
    status = may_create(log, mode);
    return status == SS_OK ? create(log) : status;
}

static int begin(ss_log *log, ss_memory *index, ss_memory *data, int mode) {
    bool in_order = index_first(index, data);
    ss_handle *first = in_order ? &log->index : &log->data, *second = in_order ? &log->data : &log->index;
    ss_memory *other = in_order ? data : index;
    int status = ss_handle_begin(first, in_order ? index : data, mode);
    if (status != SS_OK) return status;
    status = index->root == data->root ? ss_handle_begin_beside(second, other, first) : ss_handle_begin(second, other, mode);
    return status == SS_OK ? SS_OK : ss_handle_end(first, status);
}

/* The index commits first here: a log is there only once its data memory says so. */
static int end(ss_log *log, int status) {
    bool one_lock = shared(log);
    status = ss_handle_end(&log->index, status);
    if (!one_lock) {
        status = ss_handle_end(&log->data, status);
        if (status != SS_OK) ss_handle_free(&log->index);
    } else if (status != SS_OK) {
        ss_handle_free(&log->data);
    }
    return status;
}

int ss_log_open(ss_memory *index, ss_memory *data, int mode, ss_log **out) {
    *out = NULL;
    ss_log *log = calloc(1, sizeof *log);
    if (log == NULL) return ss_fail(SS_NO_HEAP, "a log object", 0, sizeof *log, 0);
    int status = begin(log, index, data, mode);
    if (status == SS_OK) status = end(log, load_or_create(log, mode));
    if (status == SS_OK)
        *out = log;
    else
        free(log);
    return status;
}

void ss_log_free(ss_log *log) {
    if (log == NULL) return;
    ss_handle_free(&log->index);
    ss_handle_free(&log->data);
    free(log);
}

void ss_log_free_at(ss_log **at) {
    ss_log *log = *at;
    *at = NULL;
    ss_log_free(log);
}

int ss_log_detach(ss_log *log) {
    int status = enter_read(log);
    if (status != SS_OK) return status;
    log->index.detached = true;
    log->data.detached = true;
    log->index.memory->root->generation++; /* iterators are to look again */
    leave_read(log);
    ss_memory_drop_lease(log->index.memory, &log->index);
    ss_memory_drop_lease(log->data.memory, &log->data);
    return SS_OK;
}

/* ---- sizes ---- */

static int read_count_locked(ss_log *log, uint64_t *count) {
    int status = ss_handle_enter_read(&log->index);
    if (status != SS_OK) return status;
    status = read_count(log, count);
    ss_leave_read(log->index.memory);
    return status;
}

static int read_extent_locked(ss_log *log, extent *now) {
    int status = enter_read(log);
    if (status != SS_OK) return status;
    status = read_extent(log, now);
    leave_read(log);
    return status;
}

int64_t ss_log_length(ss_log *log) {
    uint64_t count;
    int status = read_count_locked(log, &count);
    return status == SS_OK ? (int64_t)count : status;
}

int64_t ss_log_index_size_bytes(ss_log *log) {
    uint64_t count;
    int status = read_count_locked(log, &count);
    return status == SS_OK ? (int64_t)at_end(count) : status;
}

int64_t ss_log_data_size_bytes(ss_log *log) {
    extent now;
    int status = read_extent_locked(log, &now);
    return status == SS_OK ? (int64_t)(SS_LOG_ENTRIES_AT + now.end) : status;
}

int64_t ss_log_size_bytes(ss_log *log) {
    extent now;
    int status = read_extent_locked(log, &now);
    return status == SS_OK ? (int64_t)now.end : status;
}

uint64_t ss_log_changes(ss_log *log) {
    int status = enter_read(log);
    if (status != SS_OK) return ss_result_number(status, 0);
    uint64_t changes = ss_handle_changes(&log->index) + ss_handle_changes(&log->data);
    leave_read(log);
    return ss_result_number(SS_OK, changes);
}

int ss_log_clear(ss_log *log) {
    uint64_t count;
    int status = ss_handle_enter_write(&log->index);
    if (status != SS_OK) return status;
    status = read_count(log, &count);
    if (status == SS_OK) status = write_number(log->index.memory, SS_LOG_COUNT_AT, 0);
    if (status == SS_OK) log->index.changes++;
    return ss_leave_write(log->index.memory, status);
}

/* ---- entries ---- */

static int get(const ss_log *log, uint64_t index, bool from_end, ss_result_builder *result) {
    uint64_t count, start, stop;
    int status = read_count(log, &count);
    if (status == SS_OK) status = check_data_header(log);
    if (status != SS_OK) return status;
    if (from_end) index += count;
    if (index >= count) return SS_ABSENT;
    status = read_entry(log, index, &start, &stop);
    return status == SS_OK ? ss_result_read(result, log->data.memory, SS_LOG_ENTRIES_AT + start, stop - start) : status;
}

static int64_t give_entry(ss_log *log, uint64_t index, bool from_end) {
    ss_result_builder result = {0};
    int status = enter_read(log);
    if (status != SS_OK) return status;
    status = get(log, index, from_end, &result);
    leave_read(log);
    return ss_result_finish(&result, status);
}

int64_t ss_log_get(ss_log *log, uint64_t index) {
    return give_entry(log, index, false);
}

int64_t ss_log_item(ss_log *log, int64_t index) {
    return give_entry(log, (uint64_t)index, index < 0);
}

static int reserve(ss_memory *memory, uint64_t bytes) {
    uint64_t room;
    int status = room_after(memory, 0, &room);
    if (status != SS_OK || bytes <= room) return status;
    ss_undo_begin(memory);
    return ss_memory_ensure(memory, bytes);
}

/* Room for `size` more bytes in `count` more entries; the data memory grows first. */
static int reserve_both(ss_log *log, const extent *now, uint64_t size, uint64_t count) {
    uint64_t limit = UINT64_MAX / 4 - SS_LOG_ENTRIES_AT - now->end;
    if (size > limit || count > (limit - now->count) / 8) {
        return ss_fail(SS_OUT_OF_MEMORY, "bytes that any memory can hold", 0, size, limit);
    }
    int status = reserve(log->data.memory, SS_LOG_ENTRIES_AT + now->end + size);
    return status == SS_OK ? reserve(log->index.memory, at_end(now->count + count)) : status;
}

static int append(ss_log *log, const uint8_t *bytes, uint64_t size, uint64_t *index) {
    extent now;
    int status = read_extent(log, &now);
    if (status != SS_OK) return status;
    *index = now.count;
    status = reserve_both(log, &now, size, 1);
    if (status == SS_OK) status = ss_memory_write(log->data.memory, SS_LOG_ENTRIES_AT + now.end, bytes, size);
    if (status == SS_OK) status = write_number(log->index.memory, at_end(now.count), now.end + size);
    return status == SS_OK ? write_number(log->index.memory, SS_LOG_COUNT_AT, now.count + 1) : status;
}

uint64_t ss_log_append(ss_log *log, const uint8_t *bytes, uint64_t size) {
    uint64_t index = 0;
    int status = enter_write(log);
    if (status == SS_OK) status = leave_write(log, append(log, bytes, size, &index));
    return ss_result_number(status, index);
}

/* ---- many ---- */

static int accept_ends(const uint64_t *ends, uint64_t count) {
    for (uint64_t i = 1; i < count; i++) {
        if (ends[i] < ends[i - 1]) return ss_fail(SS_ARGUMENT, "ends of entries never fall", 0, ends[i], ends[i - 1]);
    }
    return SS_OK;
}

static int write_ends(ss_log *log, const extent *now, const uint64_t *ends, uint64_t count) {
    uint8_t bytes[8 * ENDS_AT_ONCE];
    int status = SS_OK;
    for (uint64_t done = 0; done < count && status == SS_OK;) {
        uint64_t some = count - done < ENDS_AT_ONCE ? count - done : ENDS_AT_ONCE;
        for (uint64_t i = 0; i < some; i++) ss_put64(bytes + 8 * i, now->end + ends[done + i]);
        status = ss_memory_write(log->index.memory, at_end(now->count + done), bytes, 8 * some);
        done += some;
    }
    return status;
}

static int extend(ss_log *log, const uint8_t *data, const uint64_t *ends, uint64_t count) {
    extent now;
    int status = read_extent(log, &now);
    if (status != SS_OK || count == 0) return status;
    uint64_t size = ends[count - 1];
    status = reserve_both(log, &now, size, count);
    if (status == SS_OK) status = ss_memory_write(log->data.memory, SS_LOG_ENTRIES_AT + now.end, data, size);
    if (status == SS_OK) status = write_ends(log, &now, ends, count);
    return status == SS_OK ? write_number(log->index.memory, SS_LOG_COUNT_AT, now.count + count) : status;
}

int ss_log_extend(ss_log *log, const uint8_t *data, const uint64_t *ends, uint64_t count) {
    int status = accept_ends(ends, count);
    if (status == SS_OK) status = enter_write(log);
    return status == SS_OK ? leave_write(log, extend(log, data, ends, count)) : status;
}

/* Fills `ends` with those of the entries, counted from the first one. */
static int read_ends(const ss_log *log, uint64_t first, uint64_t count, uint64_t *ends, uint64_t *origin) {
    uint64_t start, stop;
    *origin = 0;
    for (uint64_t i = 0; i < count; i++) {
        int status = read_entry(log, first + i, &start, &stop);
        if (status != SS_OK) return status;
        if (i == 0) *origin = start;
        ends[i] = stop - *origin;
    }
    return SS_OK;
}

static int export(const ss_log *log, uint64_t start, uint64_t stop, uint64_t count, uint64_t *ends, ss_result_builder *result) {
    extent now;
    uint64_t origin;
    int status = read_extent(log, &now);
    if (status != SS_OK) return status;
    bool counted = count == SS_ANY_LENGTH || count == now.count;
    if (start > stop || stop > now.count || !counted) return ss_fail(SS_OUT_OF_BOUNDS, "range of entries", 0, stop, now.count);
    status = read_ends(log, start, stop - start, ends, &origin);
    if (status != SS_OK) return status;
    uint64_t size = start < stop ? ends[stop - start - 1] : 0;
    return ss_result_read(result, log->data.memory, SS_LOG_ENTRIES_AT + origin, size);
}

int64_t ss_log_export(ss_log *log, uint64_t start, uint64_t stop, uint64_t count, uint64_t *ends) {
    ss_result_builder result = {0};
    int status = enter_read(log);
    if (status != SS_OK) return status;
    status = export(log, start, stop, count, ends, &result);
    leave_read(log);
    return ss_result_finish(&result, status);
}

/* ---- check, usage ---- */

static int check_all(const ss_log *log, ss_check *check) {
    uint64_t count = 0, start, stop;
    int status = ss_check_note(check, check_data_header(log));
    if (status != SS_OK) return status;
    status = read_count(log, &count);
    /* An unsound count leaves nothing to walk. */
    if (status != SS_OK) return ss_check_note(check, status);
    for (uint64_t i = 0; i < count && status == SS_OK; i++) status = ss_check_note(check, read_entry(log, i, &start, &stop));
    return status;
}

int ss_log_check(ss_log *log, ss_report report, void *self) {
    ss_check check = {.report = report, .self = self};
    int status = enter_read(log);
    if (status != SS_OK) return status;
    status = ss_check_end(&check, check_all(log, &check));
    leave_read(log);
    return status;
}

static int measure(const ss_log *log, struct ss_usage *out) {
    extent now;
    uint64_t index_reserved, data_reserved;
    int status = read_extent(log, &now);
    if (status == SS_OK) status = ss_memory_reserved(log->index.memory, &index_reserved);
    if (status == SS_OK) status = ss_memory_reserved(log->data.memory, &data_reserved);
    if (status != SS_OK) return status;
    out->live = at_end(now.count) + SS_LOG_ENTRIES_AT + now.end;
    out->allocated = out->live;
    out->reserved = index_reserved + data_reserved;
    return SS_OK;
}

int ss_log_usage(ss_log *log, struct ss_usage *out) {
    int status = enter_read(log);
    if (status != SS_OK) return status;
    status = measure(log, out);
    leave_read(log);
    return status;
}
