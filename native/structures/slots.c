/* SPDX-License-Identifier: Apache-2.0 */
/* The slot array under vec and heap.
 *
 *    offset  size  field
 *         0     3  magic: "SVC" vec, "SMH" heap
 *         3     1  layout version = 1
 *         4     8  length L
 *        12     4  max element size M
 *        16     1  1 if every element has M bytes, else 0
 *        17    47  reserved, never written
 *        64        slot 0, slot 1, ...
 *
 * A slot is M bytes if the elements are fixed, else [size][M bytes] with a size of 1, 2 or 4 bytes as M <= 255,
 * <= 65,535, more. Growth reaches only to the end of the bytes that are written, so the last slot may stick out.
 *
 * Invariants
 *  S1  M and the fixed flag are those of the element type.
 *  S2  The size field of every slot below L, and with fixed elements the whole slot, lies inside the memory.
 *  S3  The size of every element below L is at most M, and its bytes lie inside the memory.
 */
#include "structures/slots.h"

#include "core/ints.h"
#include "memory/magics.h"

#define VERSION 1

#define HEADER_SIZE 17

/* ---- header ---- */

static int check_magic(const ss_slots *slots, const uint8_t *header) {
    uint32_t got = ss_get32(header), wanted;
    memcpy(&wanted, slots->magic, sizeof wanted);
    if (SS_LIKELY(got == wanted)) return SS_OK;
    if ((got & 0xFFFFFF) != (wanted & 0xFFFFFF)) return ss_fail(SS_BAD_MAGIC, slots->name, 0, got & 0xFFFFFF, wanted & 0xFFFFFF);
    return ss_fail(SS_BAD_VERSION, "layout version of a vec or heap", 3, header[3], VERSION);
}

static int check_type(const ss_slots *slots, const uint8_t *header) {
    uint32_t max_size = ss_get32(header + SS_SLOTS_MAX_SIZE_AT);
    if (header[SS_SLOTS_FIXED_AT] > 1)
        return ss_fail(SS_CORRUPT, "the fixed-size flag is 0 or 1", SS_SLOTS_FIXED_AT, header[SS_SLOTS_FIXED_AT], 1);
    if (max_size != slots->max_size) {
        return ss_fail(SS_INCOMPATIBLE, "max size of an element: stored, and of the type", SS_SLOTS_MAX_SIZE_AT, max_size, slots->max_size);
    }
    if (header[SS_SLOTS_FIXED_AT] == slots->fixed) return SS_OK;
    return ss_fail(SS_INCOMPATIBLE, "fixed-size flag: stored, and of the type", SS_SLOTS_FIXED_AT, header[SS_SLOTS_FIXED_AT], slots->fixed);
}

static int too_long(const ss_slots *slots, uint64_t length, uint64_t bytes, uint64_t needed) {
    uint64_t limit = bytes < SS_SLOTS_START + needed ? 0 : (bytes - SS_SLOTS_START - needed) / slots->slot + 1;
    return ss_fail(SS_CORRUPT, "length, against the size of the memory", SS_SLOTS_LENGTH_AT, length, limit);
}

/* S2: the start of the last slot and the part of it that must be there. */
static int check_length(const ss_slots *slots, uint64_t length) {
    uint64_t pages, start, needed = slots->fixed ? slots->slot : slots->size_bytes;
    if (length > INT64_MAX) return ss_fail(SS_CORRUPT, "length", SS_SLOTS_LENGTH_AT, length, INT64_MAX);
    if (length == 0 || slots->slot == 0) return SS_OK;
    int status = ss_memory_size(slots->handle.memory, &pages);
    if (status != SS_OK) return status;
    uint64_t bytes = pages * SS_PAGE_SIZE;
    bool fits =
        !__builtin_mul_overflow(length - 1, slots->slot, &start) && ss_add(start, SS_SLOTS_START + needed, &start) && start <= bytes;
    return SS_LIKELY(fits) ? SS_OK : too_long(slots, length, bytes, needed);
}

int ss_slots_length(const ss_slots *slots, uint64_t *length) {
    uint8_t copy[HEADER_SIZE];
    const ss_memory *memory = slots->handle.memory;
    const uint8_t *header = ss_memory_direct(memory, 0, HEADER_SIZE);
    if (SS_UNLIKELY(header == NULL)) {
        int status = ss_memory_read(memory, 0, copy, HEADER_SIZE);
        if (status == SS_OUT_OF_BOUNDS) return ss_fail(SS_BAD_MAGIC, "the memory holds nothing: it has no pages", 0, 0, 1);
        if (status != SS_OK) return status;
        header = copy;
    }
    int status = check_magic(slots, header);
    if (status == SS_OK) status = check_type(slots, header);
    *length = ss_get64(header + SS_SLOTS_LENGTH_AT);
    return status == SS_OK ? check_length(slots, *length) : status;
}

int ss_slots_set_length(ss_slots *slots, uint64_t length) {
    uint8_t bytes[8];
    ss_put64(bytes, length);
    return ss_memory_write(slots->handle.memory, SS_SLOTS_LENGTH_AT, bytes, sizeof bytes);
}

static int write_header(ss_slots *slots) {
    uint8_t header[HEADER_SIZE] = {0};
    memcpy(header, slots->magic, sizeof slots->magic);
    ss_put32(header + SS_SLOTS_MAX_SIZE_AT, slots->max_size);
    header[SS_SLOTS_FIXED_AT] = slots->fixed;
    return ss_memory_write_growing(slots->handle.memory, 0, header, HEADER_SIZE);
}

/* ---- opening ---- */

static int load_or_create(ss_slots *slots, int mode) {
    uint64_t pages, length;
    int status = ss_memory_size(slots->handle.memory, &pages);
    if (status != SS_OK) return status;
    if (mode != SS_NEW && pages > 0) {
        status = ss_slots_length(slots, &length);
        /* The crate's init overwrites no memory that has pages. */
        if (status != SS_BAD_MAGIC || mode == SS_INIT_OVERWRITE) return status;
    }
    status = ss_handle_may_create(&slots->handle, mode);
    return status == SS_OK ? write_header(slots) : status;
}

static uint32_t size_bytes_for(uint32_t max_size) {
    if (max_size <= UINT8_MAX) return 1;
    return max_size <= UINT16_MAX ? 2 : 4;
}

int ss_slots_open(ss_slots *slots, ss_memory *memory, int mode, const char *magic, uint32_t max_size, bool fixed) {
    *slots = (ss_slots){.name = "magic of a vec or heap", .max_size = max_size, .fixed = fixed};
    memcpy(slots->magic, magic, SS_MAGIC_SIZE);
    slots->magic[SS_VERSION_AT] = VERSION;
    slots->size_bytes = fixed ? 0 : size_bytes_for(max_size);
    slots->slot = (uint64_t)slots->size_bytes + max_size;
    int status = ss_handle_begin(&slots->handle, memory, mode);
    return status == SS_OK ? ss_handle_end(&slots->handle, load_or_create(slots, mode)) : status;
}

void ss_slots_free(ss_slots *slots) {
    ss_handle_free(&slots->handle);
    ss_scratch_free(&slots->scratch);
    ss_scratch_free(&slots->stored);
}

/* ---- elements ---- */

static uint64_t address_of(const ss_slots *slots, uint64_t index) {
    return SS_SLOTS_START + index * slots->slot;
}

/* 1, 2 or 4 bytes. */
static uint64_t size_field(const ss_slots *slots, const uint8_t *bytes) {
    return slots->size_bytes == 1 ? bytes[0] : slots->size_bytes == 2 ? ss_get16(bytes) : ss_get32(bytes);
}

static int read_size(const ss_slots *slots, uint64_t address, uint64_t *size) {
    uint8_t copy[4];
    const uint8_t *bytes = ss_memory_direct(slots->handle.memory, address, slots->size_bytes);
    if (SS_UNLIKELY(bytes == NULL)) {
        int status = ss_memory_read(slots->handle.memory, address, copy, slots->size_bytes);
        if (status != SS_OK) return status;
        bytes = copy;
    }
    *size = size_field(slots, bytes);
    return SS_OK;
}

/* S3 */
static int check_element(const ss_slots *slots, uint64_t address, uint64_t size) {
    uint64_t pages;
    if (size > slots->max_size) return ss_fail(SS_CORRUPT, "size of an element", address, size, slots->max_size);
    int status = ss_memory_size(slots->handle.memory, &pages);
    if (status != SS_OK) return status;
    uint64_t end = address + slots->size_bytes + size;
    return end <= pages * SS_PAGE_SIZE ? SS_OK
                                       : ss_fail(SS_CORRUPT, "end of an element, against the memory", address, end, pages * SS_PAGE_SIZE);
}

int ss_slots_find(const ss_slots *slots, uint64_t index, uint64_t *address, uint64_t *size) {
    uint64_t start = address_of(slots, index);
    *address = ss_slots_data(slots, index);
    *size = slots->max_size;
    /* A fixed element lies inside because the length was checked. */
    if (slots->fixed) return SS_OK;
    int status = read_size(slots, start, size);
    return status == SS_OK ? check_element(slots, start, *size) : status;
}

int ss_slots_view(const ss_slots *slots, uint64_t index, ss_scratch *scratch, ss_element *element) {
    uint64_t address;
    ss_pin pin;
    /* Most slots lie whole inside the memory, and in one piece. */
    const uint8_t *slot = ss_memory_direct(slots->handle.memory, address_of(slots, index), slots->slot);
    if (SS_LIKELY(slot != NULL)) {
        element->bytes = slot + slots->size_bytes;
        element->size = slots->fixed ? slots->max_size : size_field(slots, slot);
        return SS_LIKELY(element->size <= slots->max_size) ? SS_OK : check_element(slots, address_of(slots, index), element->size);
    }
    int status = ss_slots_find(slots, index, &address, &element->size);
    if (status == SS_OK) status = ss_pin_range(slots->handle.memory, address, element->size, scratch, &pin);
    if (status == SS_OK) element->bytes = pin.bytes;
    return status;
}

int ss_slots_output(const ss_slots *slots, uint64_t index, ss_result_builder *result) {
    uint64_t address, size;
    int status = ss_slots_find(slots, index, &address, &size);
    return status == SS_OK ? ss_result_read(result, slots->handle.memory, address, size) : status;
}

int ss_slots_accept(const ss_slots *slots, uint64_t size) {
    if (SS_LIKELY(slots->fixed ? size == slots->max_size : size <= slots->max_size)) return SS_OK;
    const char *rule = slots->fixed ? "size of an encoded element of fixed size" : "size of an encoded element";
    return ss_fail(SS_BOUND_EXCEEDED, rule, 0, size, slots->max_size);
}

int ss_slots_accept_all(const ss_slots *slots, const uint64_t *ends, uint64_t count) {
    uint64_t start = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (ends[i] < start) return ss_fail(SS_ARGUMENT, "ends of elements never fall", 0, ends[i], start);
        int status = ss_slots_accept(slots, ends[i] - start);
        if (status != SS_OK) return status;
        start = ends[i];
    }
    return SS_OK;
}

int ss_slots_demand_fixed(const ss_slots *slots) {
    return slots->fixed ? SS_OK : ss_fail(SS_INCOMPATIBLE, "the elements have no fixed size", 0, 0, 0);
}

int ss_slots_reserve(ss_slots *slots, uint64_t length, uint64_t count, uint64_t last_size) {
    uint64_t limit = INT64_MAX - length, bytes;
    bool fits = count <= limit && !__builtin_mul_overflow(count, slots->slot, &bytes) && bytes <= SS_SLOTS_LIMIT;
    if (!fits) return ss_fail(SS_OUT_OF_MEMORY, "elements that any memory can hold", 0, count, limit);
    return ss_slots_ensure(slots, length + count - 1, last_size);
}

int ss_slots_ensure(ss_slots *slots, uint64_t index, uint64_t size) {
    return ss_memory_ensure(slots->handle.memory, ss_slots_data(slots, index) + size);
}

int ss_slots_store(ss_slots *slots, uint64_t index, const uint8_t *bytes, uint64_t size) {
    ss_memory *memory = slots->handle.memory;
    uint64_t length = slots->size_bytes + size;
    uint8_t field[4];
    ss_pin pin;
    if (length == 0) return SS_OK;
    ss_put32(field, (uint32_t)size);
    ss_scratch_reset(&slots->stored);
    int status = ss_pin_range(memory, address_of(slots, index), length, &slots->stored, &pin);
    if (status == SS_OK) status = ss_pin_change(memory, &pin, 0, length);
    if (status != SS_OK) return status;
    memcpy(pin.bytes, field, slots->size_bytes);
    if (size > 0) memcpy(pin.bytes + slots->size_bytes, bytes, (size_t)size);
    return ss_pin_changed(memory, &pin, 0, length);
}

/* ---- integers ---- */

int ss_slots_demand_int(const ss_slots *slots) {
    uint32_t size = slots->max_size;
    if (SS_LIKELY(slots->fixed && size <= 8 && size != 0 && (size & (size - 1)) == 0)) return SS_OK;
    return ss_fail(SS_INCOMPATIBLE, "the elements are not integers of 1, 2, 4 or 8 bytes", 0, size, 8);
}

int ss_slots_accept_int(const ss_slots *slots, uint64_t value) {
    uint64_t most = UINT64_MAX >> (64 - 8 * slots->max_size);
    return SS_LIKELY(value <= most) ? SS_OK : ss_fail(SS_BOUND_EXCEEDED, "value of an integer element", 0, value, most);
}

int ss_slots_load_int(const ss_slots *slots, uint64_t index, uint64_t *value) {
    uint8_t copy[8];
    uint64_t address = address_of(slots, index);
    const uint8_t *bytes = ss_memory_direct(slots->handle.memory, address, slots->max_size);
    if (SS_UNLIKELY(bytes == NULL)) {
        int status = ss_memory_read(slots->handle.memory, address, copy, slots->max_size);
        if (status != SS_OK) return status;
        bytes = copy;
    }
    *value = ss_get_be(bytes, slots->max_size);
    return SS_OK;
}

int ss_slots_store_int(ss_slots *slots, uint64_t index, uint64_t value) {
    uint8_t bytes[8];
    ss_put_be(bytes, slots->max_size, value);
    return ss_memory_write(slots->handle.memory, address_of(slots, index), bytes, slots->max_size);
}

/* ---- runs ---- */

int ss_slots_store_run(ss_slots *slots, uint64_t index, const uint8_t *data, uint64_t count) {
    return ss_memory_write(slots->handle.memory, address_of(slots, index), data, count * slots->slot);
}

int ss_slots_read_run(const ss_slots *slots, uint64_t index, uint8_t *to, uint64_t count) {
    return ss_memory_read(slots->handle.memory, address_of(slots, index), to, count * slots->slot);
}

/* Pins the integers from `index` on, at most `count` and at most up to the end of the page: no integer straddles pages,
 * and a page lies in one piece in every memory that has its bytes in place. */
static int pin_ints(ss_slots *slots, uint64_t index, uint64_t count, ss_pin *pin) {
    uint64_t address = address_of(slots, index), length = count * slots->slot, left = SS_PAGE_SIZE - address % SS_PAGE_SIZE;
    ss_scratch_reset(&slots->scratch);
    return ss_pin_range(slots->handle.memory, address, length < left ? length : left, &slots->scratch, pin);
}

int ss_slots_store_ints(ss_slots *slots, uint64_t index, const uint8_t *native, uint64_t count, uint64_t bias) {
    ss_memory *memory = slots->handle.memory;
    ss_pin pin;
    while (count > 0) {
        int status = pin_ints(slots, index, count, &pin);
        if (status == SS_OK) status = ss_pin_change(memory, &pin, 0, pin.length);
        if (status != SS_OK) return status;
        uint64_t done = pin.length / slots->slot;
        ss_ints_encode(pin.bytes, native, done, slots->max_size, bias);
        status = ss_pin_changed(memory, &pin, 0, pin.length);
        if (status != SS_OK) return status;
        native += pin.length;
        index += done;
        count -= done;
    }
    return SS_OK;
}

int ss_slots_read_ints(ss_slots *slots, uint64_t index, uint8_t *native, uint64_t count, uint64_t bias) {
    ss_pin pin;
    while (count > 0) {
        int status = pin_ints(slots, index, count, &pin);
        if (status != SS_OK) return status;
        uint64_t done = pin.length / slots->slot;
        ss_ints_decode(native, pin.bytes, done, slots->max_size, bias);
        native += pin.length;
        index += done;
        count -= done;
    }
    return SS_OK;
}

/* ---- check, usage ---- */

int ss_slots_check(const ss_slots *slots, ss_check *check, uint64_t *length) {
    uint64_t address, size;
    int status = ss_slots_length(slots, length);
    if (status != SS_OK) {
        *length = 0;
        return ss_check_note(check, status);
    }
    for (uint64_t i = 0; i < *length && !slots->fixed && status == SS_OK; i++) {
        status = ss_check_note(check, ss_slots_find(slots, i, &address, &size));
    }
    return status;
}

int ss_slots_usage(const ss_slots *slots, struct ss_usage *out) {
    uint64_t length;
    int status = ss_slots_length(slots, &length);
    if (status != SS_OK) return status;
    out->allocated = address_of(slots, length);
    out->live = out->allocated;
    return ss_memory_reserved(slots->handle.memory, &out->reserved);
}
