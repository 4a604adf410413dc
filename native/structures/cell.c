/* SPDX-License-Identifier: Apache-2.0 */
/* The cell.
 *
 *    offset  size  field
 *         0     3  "SCL"
 *         3     1  layout version = 1
 *         4     4  length of the value
 *         8        the value
 *
 * Invariant
 *  D1  The value ends inside the memory.
 */
#include "structures/cell.h"

#include <stdlib.h>

#include "core/result.h"
#include "memory/magics.h"

#define VERSION 1

#define HEADER_SIZE SS_CELL_VALUE_AT

struct ss_cell {
    ss_handle handle;
};

static int check_header(const uint8_t *header) {
    if (memcmp(header, SS_CELL_MAGIC, SS_MAGIC_SIZE) != 0)
        return ss_fail(SS_BAD_MAGIC, "magic of a cell", 0, ss_get32(header) & 0xFFFFFF, 0);
    if (header[SS_VERSION_AT] == VERSION) return SS_OK;
    return ss_fail(SS_BAD_VERSION, "layout version of a cell", SS_VERSION_AT, header[SS_VERSION_AT], VERSION);
}

/* The size of the value, which lies inside the memory. */
static int read_header(const ss_memory *memory, uint64_t *size) {
    uint8_t header[HEADER_SIZE];
    uint64_t pages;
    int status = ss_memory_size(memory, &pages);
    if (status != SS_OK) return status;
    if (pages == 0) return ss_fail(SS_BAD_MAGIC, "the memory holds nothing: it has no pages", 0, 0, 1);
    status = ss_memory_read(memory, 0, header, HEADER_SIZE);
    if (status == SS_OK) status = check_header(header);
    if (status != SS_OK) return status;
    uint64_t limit = pages * SS_PAGE_SIZE - SS_CELL_VALUE_AT;
    *size = ss_get32(header + SS_CELL_LENGTH_AT);
    return *size <= limit ? SS_OK : ss_fail(SS_CORRUPT, "length of the value, against the memory", SS_CELL_LENGTH_AT, *size, limit);
}

static int accept(uint64_t size) {
    return size <= UINT32_MAX ? SS_OK : ss_fail(SS_BOUND_EXCEEDED, "size of a cell's value", 0, size, UINT32_MAX);
}

static int write_value(ss_memory *memory, const uint8_t *bytes, uint64_t size) {
    uint8_t header[HEADER_SIZE] = SS_CELL_MAGIC;
    header[SS_VERSION_AT] = VERSION;
    ss_put32(header + SS_CELL_LENGTH_AT, (uint32_t)size);
    int status = ss_memory_ensure(memory, SS_CELL_VALUE_AT + size);
    if (status == SS_OK) status = ss_memory_write(memory, 0, header, HEADER_SIZE);
    return status == SS_OK ? ss_memory_write(memory, SS_CELL_VALUE_AT, bytes, size) : status;
}

/* ---- life ---- */

static int load_or_create(ss_cell *cell, int mode, const uint8_t *bytes, uint64_t size) {
    uint64_t found;
    int status = mode == SS_NEW ? SS_BAD_MAGIC : read_header(cell->handle.memory, &found);
    if (status != SS_BAD_MAGIC) return status;
    status = ss_handle_may_create(&cell->handle, mode);
    return status == SS_OK ? write_value(cell->handle.memory, bytes, size) : status;
}

int ss_cell_open(ss_memory *memory, int mode, const uint8_t *bytes, uint64_t size, ss_cell **out) {
    *out = NULL;
    int status = accept(size);
    if (status != SS_OK) return status;
    ss_cell *cell = malloc(sizeof *cell);
    if (cell == NULL) return ss_fail(SS_NO_HEAP, "a cell object", 0, sizeof *cell, 0);
    status = ss_handle_begin(&cell->handle, memory, mode);
    if (status == SS_OK) status = ss_handle_end(&cell->handle, load_or_create(cell, mode, bytes, size));
    if (status == SS_OK)
        *out = cell;
    else
        free(cell);
    return status;
}

void ss_cell_free(ss_cell *cell) {
    if (cell == NULL) return;
    ss_handle_free(&cell->handle);
    free(cell);
}

void ss_cell_free_at(ss_cell **at) {
    ss_cell *cell = *at;
    *at = NULL;
    ss_cell_free(cell);
}

int ss_cell_detach(ss_cell *cell) {
    return ss_handle_detach(&cell->handle);
}

/* ---- value ---- */

static int read_value(const ss_memory *memory, ss_result_builder *result) {
    uint64_t size;
    int status = read_header(memory, &size);
    return status == SS_OK ? ss_result_read(result, memory, SS_CELL_VALUE_AT, size) : status;
}

int64_t ss_cell_get(ss_cell *cell) {
    ss_result_builder result = {0};
    int status = ss_handle_enter_read(&cell->handle);
    if (status != SS_OK) return status;
    status = read_value(cell->handle.memory, &result);
    ss_leave_read(cell->handle.memory);
    return ss_result_finish(&result, status);
}

int64_t ss_cell_replace(ss_cell *cell, const uint8_t *bytes, uint64_t size) {
    ss_result_builder old = {0};
    int status = accept(size);
    if (status == SS_OK) status = ss_handle_enter_write(&cell->handle);
    if (status != SS_OK) return status;
    status = read_value(cell->handle.memory, &old);
    if (status == SS_OK) status = write_value(cell->handle.memory, bytes, size);
    status = ss_leave_write(cell->handle.memory, status);
    return ss_result_finish(&old, status);
}

int ss_cell_set(ss_cell *cell, const uint8_t *bytes, uint64_t size) {
    uint64_t old;
    int status = accept(size);
    if (status == SS_OK) status = ss_handle_enter_write(&cell->handle);
    if (status != SS_OK) return status;
    status = read_header(cell->handle.memory, &old);
    if (status == SS_OK) status = write_value(cell->handle.memory, bytes, size);
    return ss_leave_write(cell->handle.memory, status);
}

/* ---- value, as an integer ---- */

static int accept_int(uint32_t size, uint64_t value) {
    if (size != 1 && size != 2 && size != 4 && size != 8) {
        return ss_fail(SS_INCOMPATIBLE, "numbers are for integer types of 1, 2, 4 or 8 bytes", 0, size, 8);
    }
    if (size == 8 || value >> (8 * size) == 0) return SS_OK;
    return ss_fail(SS_BOUND_EXCEEDED, "largest integer of the value's type", 0, value, (UINT64_C(1) << (8 * size)) - 1);
}

static int read_int(const ss_memory *memory, uint32_t size, uint64_t *value) {
    uint8_t bytes[8];
    uint64_t found;
    int status = read_header(memory, &found);
    if (status != SS_OK) return status;
    if (found != size) return ss_fail(SS_CORRUPT, "a fixed-size value has its size", SS_CELL_LENGTH_AT, found, size);
    status = ss_memory_read(memory, SS_CELL_VALUE_AT, bytes, size);
    if (status == SS_OK) *value = ss_get_be(bytes, size);
    return status;
}

uint64_t ss_cell_get_u64(ss_cell *cell, uint32_t size) {
    uint64_t value = 0;
    int status = accept_int(size, 0);
    if (status == SS_OK) status = ss_handle_enter_read(&cell->handle);
    if (status != SS_OK) return ss_result_number(status, 0);
    status = read_int(cell->handle.memory, size, &value);
    ss_leave_read(cell->handle.memory);
    return ss_result_number(status, value);
}

uint64_t ss_cell_replace_u64(ss_cell *cell, uint32_t size, uint64_t value) {
    uint8_t bytes[8];
    uint64_t old = 0;
    int status = accept_int(size, value);
    if (status == SS_OK) status = ss_handle_enter_write(&cell->handle);
    if (status != SS_OK) return ss_result_number(status, 0);
    ss_put_be(bytes, size, value);
    status = read_int(cell->handle.memory, size, &old);
    if (status == SS_OK) status = write_value(cell->handle.memory, bytes, size);
    return ss_result_number(ss_leave_write(cell->handle.memory, status), old);
}

int ss_cell_set_u64(ss_cell *cell, uint32_t size, uint64_t value) {
    uint8_t bytes[8];
    int status = accept_int(size, value);
    if (status != SS_OK) return status;
    ss_put_be(bytes, size, value);
    return ss_cell_set(cell, bytes, size);
}

/* ---- check, usage ---- */

int ss_cell_check(ss_cell *cell, ss_report report, void *self) {
    ss_check check = {.report = report, .self = self};
    uint64_t size;
    int status = ss_handle_enter_read(&cell->handle);
    if (status != SS_OK) return status;
    status = ss_check_end(&check, ss_check_note(&check, read_header(cell->handle.memory, &size)));
    ss_leave_read(cell->handle.memory);
    return status;
}

int ss_cell_usage(ss_cell *cell, struct ss_usage *out) {
    uint64_t size;
    int status = ss_handle_enter_read(&cell->handle);
    if (status != SS_OK) return status;
    status = read_header(cell->handle.memory, &size);
    if (status == SS_OK) {
        out->live = SS_CELL_VALUE_AT + size;
        out->allocated = out->live;
        status = ss_memory_reserved(cell->handle.memory, &out->reserved);
    }
    ss_leave_read(cell->handle.memory);
    return status;
}
