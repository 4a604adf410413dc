/* SPDX-License-Identifier: Apache-2.0 */
/* The vec: the slot array (layout in slots.c) with the magic "SVC".
 *
 * Every change is: check, grow, write the elements, write the length. Growth is the last step that can fail, and past
 * the length nothing counts.
 */
#include "structures/vec.h"

#include <stdlib.h>

#include "core/ints.h"
#include "core/result.h"
#include "memory/magics.h"
#include "structures/slots.h"

struct ss_vec {
    ss_slots slots;
};

int ss_vec_open(ss_memory *memory, int mode, uint32_t max_size, int fixed, ss_vec **out) {
    *out = NULL;
    ss_vec *vec = malloc(sizeof *vec);
    if (vec == NULL) return ss_fail(SS_NO_HEAP, "a vec object", 0, sizeof *vec, 0);
    int status = ss_slots_open(&vec->slots, memory, mode, SS_VEC_MAGIC, max_size, fixed != 0);
    if (status == SS_OK)
        *out = vec;
    else
        free(vec);
    return status;
}

void ss_vec_free(ss_vec *vec) {
    if (vec == NULL) return;
    ss_slots_free(&vec->slots);
    free(vec);
}

void ss_vec_free_at(ss_vec **at) {
    ss_vec *vec = *at;
    *at = NULL;
    ss_vec_free(vec);
}

int ss_vec_detach(ss_vec *vec) {
    return ss_handle_detach(&vec->slots.handle);
}

/* ---- entering and leaving ---- */

static int enter_read(ss_vec *vec, uint64_t *length) {
    int status = ss_handle_enter_read(&vec->slots.handle);
    if (status != SS_OK) return status;
    status = ss_slots_length(&vec->slots, length);
    if (status != SS_OK) ss_leave_read(vec->slots.handle.memory);
    return status;
}

static int enter_write(ss_vec *vec, uint64_t *length) {
    int status = ss_handle_enter_write(&vec->slots.handle);
    if (status != SS_OK) return status;
    status = ss_slots_length(&vec->slots, length);
    return status == SS_OK ? SS_OK : ss_leave_write(vec->slots.handle.memory, status);
}

static void leave_read(ss_vec *vec) {
    ss_leave_read(vec->slots.handle.memory);
}

static int leave_write(ss_vec *vec, int status) {
    if (status == SS_OK) vec->slots.handle.changes++;
    return ss_leave_write(vec->slots.handle.memory, status);
}

int64_t ss_vec_length(ss_vec *vec) {
    uint64_t length;
    int status = enter_read(vec, &length);
    if (status != SS_OK) return status;
    leave_read(vec);
    return (int64_t)length;
}

uint64_t ss_vec_changes(ss_vec *vec) {
    int status = ss_handle_enter_read(&vec->slots.handle);
    if (status != SS_OK) return ss_result_number(status, 0);
    uint64_t changes = ss_handle_changes(&vec->slots.handle);
    leave_read(vec);
    return ss_result_number(SS_OK, changes);
}

int ss_vec_clear(ss_vec *vec) {
    uint64_t length;
    int status = enter_write(vec, &length);
    return status == SS_OK ? leave_write(vec, ss_slots_set_length(&vec->slots, 0)) : status;
}

/* ---- one element ---- */

static int check_index(uint64_t index, uint64_t length) {
    return index < length ? SS_OK : ss_fail(SS_OUT_OF_BOUNDS, "index of an element", 0, index, length);
}

static int append(ss_slots *slots, uint64_t length, const uint8_t *bytes, uint64_t size) {
    int status = ss_slots_reserve(slots, length, 1, size);
    if (status == SS_OK) status = ss_slots_store(slots, length, bytes, size);
    return status == SS_OK ? ss_slots_set_length(slots, length + 1) : status;
}

int ss_vec_push(ss_vec *vec, const uint8_t *bytes, uint64_t size) {
    uint64_t length;
    int status = ss_slots_accept(&vec->slots, size);
    if (status == SS_OK) status = enter_write(vec, &length);
    return status == SS_OK ? leave_write(vec, append(&vec->slots, length, bytes, size)) : status;
}

static int64_t get(ss_vec *vec, uint64_t index, bool from_end) {
    ss_result_builder result = {0};
    uint64_t length;
    int status = enter_read(vec, &length);
    if (status != SS_OK) return status;
    if (from_end) index += length;
    status = index < length ? ss_slots_output(&vec->slots, index, &result) : SS_ABSENT;
    leave_read(vec);
    return ss_result_finish(&result, status);
}

int64_t ss_vec_get(ss_vec *vec, uint64_t index) {
    return get(vec, index, false);
}

int64_t ss_vec_item(ss_vec *vec, int64_t index) {
    return get(vec, (uint64_t)index, index < 0);
}

int64_t ss_vec_pop(ss_vec *vec) {
    ss_result_builder result = {0};
    uint64_t length;
    int status = enter_write(vec, &length);
    if (status != SS_OK) return status;
    if (length == 0) return ss_result_size(ss_leave_write(vec->slots.handle.memory, SS_ABSENT), 0);
    status = ss_slots_output(&vec->slots, length - 1, &result);
    if (status == SS_OK) status = ss_slots_set_length(&vec->slots, length - 1);
    status = leave_write(vec, status);
    return ss_result_finish(&result, status);
}

static int set(ss_vec *vec, uint64_t index, bool from_end, const uint8_t *bytes, uint64_t size) {
    uint64_t length;
    int status = ss_slots_accept(&vec->slots, size);
    if (status == SS_OK) status = enter_write(vec, &length);
    if (status != SS_OK) return status;
    if (from_end) index += length;
    status = check_index(index, length);
    /* The last slot may reach past the end of the memory. */
    if (status == SS_OK) status = ss_slots_ensure(&vec->slots, index, size);
    if (status == SS_OK) status = ss_slots_store(&vec->slots, index, bytes, size);
    return leave_write(vec, status);
}

int ss_vec_set(ss_vec *vec, uint64_t index, const uint8_t *bytes, uint64_t size) {
    return set(vec, index, false, bytes, size);
}

int ss_vec_set_item(ss_vec *vec, int64_t index, const uint8_t *bytes, uint64_t size) {
    return set(vec, (uint64_t)index, index < 0, bytes, size);
}

/* ---- one integer ---- */

static int append_int(ss_slots *slots, uint64_t length, uint64_t value) {
    int status = ss_slots_ensure(slots, length, slots->max_size);
    if (status == SS_OK) status = ss_slots_store_int(slots, length, value);
    return status == SS_OK ? ss_slots_set_length(slots, length + 1) : status;
}

static int accept_int(const ss_vec *vec, uint64_t value) {
    int status = ss_slots_demand_int(&vec->slots);
    return status == SS_OK ? ss_slots_accept_int(&vec->slots, value) : status;
}

int ss_vec_push_u64(ss_vec *vec, uint64_t value) {
    uint64_t length;
    int status = accept_int(vec, value);
    if (status == SS_OK) status = enter_write(vec, &length);
    return status == SS_OK ? leave_write(vec, append_int(&vec->slots, length, value)) : status;
}

static uint64_t get_int(ss_vec *vec, uint64_t index, bool from_end) {
    uint64_t length, value = 0;
    int status = ss_slots_demand_int(&vec->slots);
    if (status == SS_OK) status = enter_read(vec, &length);
    if (status != SS_OK) return ss_result_number(status, 0);
    if (from_end) index += length;
    status = index < length ? ss_slots_load_int(&vec->slots, index, &value) : SS_ABSENT;
    leave_read(vec);
    return ss_result_number(status, value);
}

uint64_t ss_vec_get_u64(ss_vec *vec, uint64_t index) {
    return get_int(vec, index, false);
}

uint64_t ss_vec_item_u64(ss_vec *vec, int64_t index) {
    return get_int(vec, (uint64_t)index, index < 0);
}

uint64_t ss_vec_pop_u64(ss_vec *vec) {
    uint64_t length, value = 0;
    int status = ss_slots_demand_int(&vec->slots);
    if (status == SS_OK) status = enter_write(vec, &length);
    if (status != SS_OK) return ss_result_number(status, 0);
    if (length == 0) return ss_result_number(ss_leave_write(vec->slots.handle.memory, SS_ABSENT), 0);
    status = ss_slots_load_int(&vec->slots, length - 1, &value);
    if (status == SS_OK) status = ss_slots_set_length(&vec->slots, length - 1);
    return ss_result_number(leave_write(vec, status), value);
}

static int set_int(ss_vec *vec, uint64_t index, bool from_end, uint64_t value) {
    uint64_t length;
    int status = accept_int(vec, value);
    if (status == SS_OK) status = enter_write(vec, &length);
    if (status != SS_OK) return status;
    if (from_end) index += length;
    status = check_index(index, length);
    if (status == SS_OK) status = ss_slots_store_int(&vec->slots, index, value);
    return leave_write(vec, status);
}

int ss_vec_set_u64(ss_vec *vec, uint64_t index, uint64_t value) {
    return set_int(vec, index, false, value);
}

int ss_vec_set_item_u64(ss_vec *vec, int64_t index, uint64_t value) {
    return set_int(vec, (uint64_t)index, index < 0, value);
}

/* ---- many ---- */

int ss_vec_extend(ss_vec *vec, const uint8_t *data, uint64_t count) {
    ss_slots *slots = &vec->slots;
    uint64_t length;
    int status = ss_slots_demand_fixed(&vec->slots);
    if (status == SS_OK) status = enter_write(vec, &length);
    if (status != SS_OK) return status;
    if (count == 0) return ss_leave_write(slots->handle.memory, SS_OK);
    status = ss_slots_reserve(slots, length, count, slots->max_size);
    if (status == SS_OK) status = ss_slots_store_run(slots, length, data, count);
    if (status == SS_OK) status = ss_slots_set_length(slots, length + count);
    return leave_write(vec, status);
}

int ss_vec_extend_var(ss_vec *vec, const uint8_t *data, const uint64_t *ends, uint64_t count) {
    ss_slots *slots = &vec->slots;
    uint64_t length, start = 0;
    int status = ss_slots_accept_all(slots, ends, count);
    if (status == SS_OK) status = enter_write(vec, &length);
    if (status != SS_OK) return status;
    if (count == 0) return ss_leave_write(slots->handle.memory, SS_OK);
    status = ss_slots_reserve(slots, length, count, ends[count - 1] - (count > 1 ? ends[count - 2] : 0));
    for (uint64_t i = 0; i < count && status == SS_OK; i++) {
        status = ss_slots_store(slots, length + i, data + start, ends[i] - start);
        start = ends[i];
    }
    if (status == SS_OK) status = ss_slots_set_length(slots, length + count);
    return leave_write(vec, status);
}

int ss_vec_extend_ints(ss_vec *vec, const void *native, uint64_t count, uint64_t bias) {
    ss_slots *slots = &vec->slots;
    uint64_t length;
    int status = ss_slots_demand_int(slots);
    if (status == SS_OK) status = enter_write(vec, &length);
    if (status != SS_OK) return status;
    if (count == 0) return ss_leave_write(slots->handle.memory, SS_OK);
    status = ss_slots_reserve(slots, length, count, slots->max_size);
    if (status == SS_OK) status = ss_slots_store_ints(slots, length, native, count, bias);
    if (status == SS_OK) status = ss_slots_set_length(slots, length + count);
    return leave_write(vec, status);
}

/* enter_read for elements [start, stop), of a vec of `wanted` elements. */
static int enter_range(ss_vec *vec, uint64_t start, uint64_t stop, uint64_t wanted) {
    uint64_t length;
    int status = enter_read(vec, &length);
    if (status != SS_OK || (start <= stop && stop <= length && (wanted == SS_ANY_LENGTH || wanted == length))) return status;
    leave_read(vec);
    return ss_fail(SS_OUT_OF_BOUNDS, "range of elements", 0, start <= stop ? stop : start, start <= stop ? length : stop);
}

/* A long read of elements [start, stop) that others need not wait for (M6), by slots of its own. */
typedef struct long_read {
    ss_slots slots;
    bool shared;
} long_read;

static int begin_long_read(ss_vec *vec, uint64_t start, uint64_t stop, uint64_t length, long_read *reading) {
    int status = enter_range(vec, start, stop, length);
    if (status != SS_OK) return status;
    reading->slots = vec->slots;
    reading->slots.scratch = reading->slots.stored = (ss_scratch){0};
    reading->shared = ss_share_read(vec->slots.handle.memory);
    return SS_OK;
}

static void end_long_read(long_read *reading) {
    ss_scratch_free(&reading->slots.scratch);
    ss_leave_shared(reading->slots.handle.memory, reading->shared);
}

int ss_vec_export(ss_vec *vec, uint64_t start, uint64_t stop, uint64_t length, uint8_t *to) {
    int status = ss_slots_demand_fixed(&vec->slots);
    long_read reading;
    if (status == SS_OK) status = begin_long_read(vec, start, stop, length, &reading);
    if (status != SS_OK) return status;
    status = ss_slots_read_run(&reading.slots, start, to, stop - start);
    end_long_read(&reading);
    return status;
}

/* Fills `ends` and returns the sum of the sizes. */
static int measure(const ss_slots *slots, uint64_t start, uint64_t stop, uint64_t *ends, uint64_t *total) {
    uint64_t address, size = 0;
    *total = 0;
    for (uint64_t i = start; i < stop; i++) {
        int status = ss_slots_find(slots, i, &address, &size);
        if (status != SS_OK) return status;
        *total += size;
        ends[i - start] = *total;
    }
    return SS_OK;
}

int64_t ss_vec_export_var(ss_vec *vec, uint64_t start, uint64_t stop, uint64_t length, uint64_t *ends) {
    ss_result_builder result = {0};
    uint64_t total = 0, done = 0;
    long_read reading;
    int status = begin_long_read(vec, start, stop, length, &reading);
    if (status != SS_OK) return status;
    const ss_slots *slots = &reading.slots;
    status = measure(slots, start, stop, ends, &total);
    uint8_t *room = status == SS_OK ? ss_result_reserve(&result, slots->handle.memory, total) : NULL;
    if (status == SS_OK && room == NULL) status = SS_NO_HEAP;
    for (uint64_t i = start; i < stop && status == SS_OK; i++) {
        status = ss_memory_read(slots->handle.memory, ss_slots_data(slots, i), room + done, ends[i - start] - done);
        done = ends[i - start];
    }
    end_long_read(&reading);
    return ss_result_finish(&result, status);
}

int ss_vec_export_ints(ss_vec *vec, uint64_t start, uint64_t stop, uint64_t length, void *native, uint64_t bias) {
    int status = ss_slots_demand_int(&vec->slots);
    long_read reading;
    if (status == SS_OK) status = begin_long_read(vec, start, stop, length, &reading);
    if (status != SS_OK) return status;
    status = ss_slots_read_ints(&reading.slots, start, native, stop - start, bias);
    end_long_read(&reading);
    return status;
}

/* ---- check, usage ---- */

int ss_vec_check(ss_vec *vec, ss_report report, void *self) {
    ss_check check = {.report = report, .self = self};
    uint64_t length;
    int status = ss_handle_enter_read(&vec->slots.handle);
    if (status != SS_OK) return status;
    status = ss_check_end(&check, ss_slots_check(&vec->slots, &check, &length));
    leave_read(vec);
    return status;
}

int ss_vec_usage(ss_vec *vec, struct ss_usage *out) {
    int status = ss_handle_enter_read(&vec->slots.handle);
    if (status != SS_OK) return status;
    status = ss_slots_usage(&vec->slots, out);
    leave_read(vec);
    return status;
}
