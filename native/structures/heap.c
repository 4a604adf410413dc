/* SPDX-License-Identifier: Apache-2.0 */
/* The min-heap: the slot array (layout in slots.c) with the magic "SMH".
 *
 *  H1  No element is less than its parent: parent(i) = (i - 1) / 2, children 2i + 1 and 2i + 2. With floats this holds
 *      only as long as no NaN was ever in the heap: what is chosen beside a NaN need not be the least.
 *
 * Two ways to the same bytes:
 *  - Numbers: elements of fixed size 1, 2, 4 or 8 whose order is that of an integer or a float (or its reverse) are
 *    compared as such while they sift. Nothing can fail there after the growth, except on a foreign memory, whose root
 *    has an undo scope anyway.
 *  - Any other: all comparisons come first and give the path of the element; then the elements on it are moved. So a
 *    comparison that fails finds the heap unchanged. Moves can fail only where elements lie in several pieces, and have
 *    an undo scope there. What is written over what matters here: behind a shorter element the
 *    rest of a longer one stays in its slot.
 */
#include "structures/heap.h"

#include <stdlib.h>

#include "core/ints.h"
#include "core/result.h"
#include "memory/magics.h"
#include "structures/slots.h"

/* Levels of a heap of 2^63 elements. */
#define LEVELS 64

enum comparison { BY_ORDER, BY_INTEGER, BY_FLOAT };

struct ss_heap {
    ss_slots slots;
    ss_scratch step; /* for what lives during one step; slots.scratch lives as long as the operation */
    enum comparison comparison;
    bool reverse; /* of a number comparison */
    ss_order order;
};

/* ---- life ---- */

/* How the elements can be compared as numbers, if at all. */
static void choose_comparison(ss_heap *heap) {
    const ss_order_term *term = &heap->order.terms[0];
    heap->comparison = BY_ORDER;
    heap->reverse = term->kind == SS_ORDER_REVERSE;
    if (heap->reverse) term = &heap->order.terms[term->part[0]];
    if (ss_slots_demand_int(&heap->slots) != SS_OK || term->max_size != heap->slots.max_size) return;
    if (term->kind == SS_ORDER_BYTES && term->fixed) heap->comparison = BY_INTEGER;
    if (term->kind == SS_ORDER_FLOAT) heap->comparison = BY_FLOAT;
}

int ss_heap_open(ss_memory *memory, int mode, uint32_t max_size, int fixed, const ss_order_term *terms, uint32_t term_count,
                 ss_order_callback callback, void *self, ss_heap **out) {
    *out = NULL;
    ss_heap *heap = calloc(1, sizeof *heap);
    if (heap == NULL) return ss_fail(SS_NO_HEAP, "a heap object", 0, sizeof *heap, 0);
    int status = ss_order_init(&heap->order, terms, term_count, callback, self);
    if (status == SS_OK) status = ss_slots_open(&heap->slots, memory, mode, SS_HEAP_MAGIC, max_size, fixed != 0);
    if (status == SS_OK) {
        choose_comparison(heap);
        *out = heap;
    } else {
        free(heap);
    }
    return status;
}

void ss_heap_free(ss_heap *heap) {
    if (heap == NULL) return;
    ss_slots_free(&heap->slots);
    ss_scratch_free(&heap->step);
    free(heap);
}

void ss_heap_free_at(ss_heap **at) {
    ss_heap *heap = *at;
    *at = NULL;
    ss_heap_free(heap);
}

int ss_heap_detach(ss_heap *heap) {
    return ss_handle_detach(&heap->slots.handle);
}

/* ---- entering and leaving ---- */

static int enter_read(ss_heap *heap, uint64_t *length) {
    int status = ss_handle_enter_read(&heap->slots.handle);
    if (status != SS_OK) return status;
    status = ss_slots_length(&heap->slots, length);
    if (status != SS_OK) ss_leave_read(heap->slots.handle.memory);
    return status;
}

static int enter_write(ss_heap *heap, uint64_t *length) {
    int status = ss_handle_enter_write(&heap->slots.handle);
    if (status != SS_OK) return status;
    ss_scratch_reset(&heap->slots.scratch);
    status = ss_slots_length(&heap->slots, length);
    return status == SS_OK ? SS_OK : ss_leave_write(heap->slots.handle.memory, status);
}

static void leave_read(ss_heap *heap) {
    ss_leave_read(heap->slots.handle.memory);
}

static int leave_write(ss_heap *heap, int status) {
    if (status == SS_OK) heap->slots.handle.changes++;
    return ss_leave_write(heap->slots.handle.memory, status);
}

int64_t ss_heap_length(ss_heap *heap) {
    uint64_t length;
    int status = enter_read(heap, &length);
    if (status != SS_OK) return status;
    leave_read(heap);
    return (int64_t)length;
}

uint64_t ss_heap_changes(ss_heap *heap) {
    int status = ss_handle_enter_read(&heap->slots.handle);
    if (status != SS_OK) return ss_result_number(status, 0);
    uint64_t changes = ss_handle_changes(&heap->slots.handle);
    leave_read(heap);
    return ss_result_number(SS_OK, changes);
}

int ss_heap_clear(ss_heap *heap) {
    uint64_t length;
    int status = enter_write(heap, &length);
    return status == SS_OK ? leave_write(heap, ss_slots_set_length(&heap->slots, 0)) : status;
}

/* ---- sifting numbers ---- */

/* The elements as numbers: through one pin where they lie in one piece, else one by one. */
typedef struct numbers {
    ss_slots *slots;
    ss_pin pin;
    bool direct;
} numbers;

static numbers row_of(ss_slots *slots, uint64_t length) {
    numbers row = {.slots = slots};
    ss_memory *memory = slots->handle.memory;
    uint64_t bytes = length * slots->slot;
    row.direct = ss_memory_direct(memory, SS_SLOTS_START, bytes) != NULL &&
                 ss_pin_range(memory, SS_SLOTS_START, bytes, &slots->scratch, &row.pin) == SS_OK;
    return row;
}

static inline int row_load(const numbers *row, uint64_t index, uint64_t *value) {
    if (SS_UNLIKELY(!row->direct)) return ss_slots_load_int(row->slots, index, value);
    *value = ss_get_be(row->pin.bytes + index * row->slots->max_size, row->slots->max_size);
    return SS_OK;
}

static inline int row_store(numbers *row, uint64_t index, uint64_t value) {
    if (SS_UNLIKELY(!row->direct)) return ss_slots_store_int(row->slots, index, value);
    uint32_t size = row->slots->max_size;
    ss_memory *memory = row->slots->handle.memory;
    int status = ss_pin_change(memory, &row->pin, index * size, size);
    if (status != SS_OK) return status;
    ss_put_be(row->pin.bytes + index * size, size, value);
    return ss_pin_changed(memory, &row->pin, index * size, size);
}

static double float_of(const ss_heap *heap, uint64_t bits) {
    if (heap->slots.max_size == 8) {
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    uint32_t narrow_bits = (uint32_t)bits;
    float narrow;
    memcpy(&narrow, &narrow_bits, sizeof narrow);
    return (double)narrow;
}

static inline bool less(const ss_heap *heap, uint64_t a, uint64_t b) {
    uint64_t x = heap->reverse ? b : a, y = heap->reverse ? a : b;
    return SS_LIKELY(heap->comparison == BY_INTEGER) ? x < y : float_of(heap, x) < float_of(heap, y);
}

/* Puts `value` into the free slot `index`, or on the way up from there. */
static int raise_number(const ss_heap *heap, numbers *row, uint64_t index, uint64_t value) {
    int status = SS_OK;
    while (index > 0 && status == SS_OK) {
        uint64_t above = (index - 1) / 2, parent;
        status = row_load(row, above, &parent);
        if (status != SS_OK || !less(heap, value, parent)) break;
        status = row_store(row, index, parent);
        index = above;
    }
    return status == SS_OK ? row_store(row, index, value) : status;
}

/* The child of `index` that goes up if any does: the right one unless the left one is less. */
static inline int choose_number(const ss_heap *heap, const numbers *row, uint64_t length, uint64_t index, uint64_t *child,
                                uint64_t *value) {
    uint64_t right;
    *child = 2 * index + 1;
    int status = row_load(row, *child, value);
    if (status != SS_OK || *child + 1 >= length) return status;
    status = row_load(row, *child + 1, &right);
    if (status == SS_OK && !less(heap, *value, right)) {
        *value = right;
        ++*child;
    }
    return status;
}

/* Puts `value` into the free slot 0, or on the way down among `length` elements. */
static int lower_number(const ss_heap *heap, numbers *row, uint64_t length, uint64_t value) {
    uint64_t index = 0, child, least;
    int status = SS_OK;
    while (2 * index + 1 < length && status == SS_OK) {
        status = choose_number(heap, row, length, index, &child, &least);
        if (status != SS_OK || !less(heap, least, value)) break;
        status = row_store(row, index, least);
        index = child;
    }
    return status == SS_OK ? row_store(row, index, value) : status;
}

static int push_number(ss_heap *heap, uint64_t length, uint64_t value) {
    int status = ss_slots_reserve(&heap->slots, length, 1, heap->slots.max_size);
    if (status != SS_OK) return status;
    numbers row = row_of(&heap->slots, length + 1);
    status = raise_number(heap, &row, length, value);
    return status == SS_OK ? ss_slots_set_length(&heap->slots, length + 1) : status;
}

/* The heap is not empty. */
static int pop_number(ss_heap *heap, uint64_t length, uint64_t *least) {
    numbers row = row_of(&heap->slots, length);
    uint64_t last;
    int status = row_load(&row, 0, least);
    if (status == SS_OK) status = row_load(&row, length - 1, &last);
    if (status == SS_OK) status = ss_slots_set_length(&heap->slots, length - 1);
    return status == SS_OK && length > 1 ? lower_number(heap, &row, length - 1, last) : status;
}

/* ---- sifting anything ---- */

static int view_step(ss_heap *heap, uint64_t index, ss_element *element) {
    return ss_slots_view(&heap->slots, index, &heap->step, element);
}

/* Is a less than b? `index` is the slot that a failure is about. */
static int compare(const ss_heap *heap, const ss_element *a, const ss_element *b, uint64_t index, bool *is_less) {
    int result;
    int status = ss_order_compare(&heap->order, a->bytes, a->size, b->bytes, b->size, &result);
    *is_less = status == SS_OK && result == SS_LESS;
    if (status != SS_CORRUPT) return status;
    const struct ss_failure reason = *ss_last_failure();
    return ss_fail(SS_CORRUPT, reason.rule, ss_slots_data(&heap->slots, index), reason.number, reason.limit);
}

/* Where an element that is appended at `index` comes to rest, and the size of what moves into its first slot. */
static int plan_raise(ss_heap *heap, uint64_t index, const ss_element *item, uint64_t *rest, uint64_t *moved_size) {
    ss_element parent;
    *moved_size = item->size;
    for (*rest = index; *rest > 0;) {
        uint64_t above = (*rest - 1) / 2;
        bool is_less;
        ss_scratch_reset(&heap->step);
        int status = view_step(heap, above, &parent);
        if (status == SS_OK) status = compare(heap, item, &parent, above, &is_less);
        if (status != SS_OK) return status;
        if (!is_less) break;
        if (*rest == index) *moved_size = parent.size;
        *rest = above;
    }
    return SS_OK;
}

static int move(ss_heap *heap, uint64_t from, uint64_t to) {
    ss_element element;
    ss_scratch_reset(&heap->step);
    int status = view_step(heap, from, &element);
    return status == SS_OK ? ss_slots_store(&heap->slots, to, element.bytes, element.size) : status;
}

/* Before elements move in a heap of `length` slots: where one does not lie in one piece, it needs storage, which may fail when others have
 * moved already (M5). */
static void begin_moves(ss_heap *heap, uint64_t length) {
    ss_memory *memory = heap->slots.handle.memory;
    if (SS_LIKELY(memory->kind == SS_FLAT)) return;
    if (ss_memory_direct(memory, SS_SLOTS_START, length * heap->slots.slot) == NULL) ss_undo_begin(memory);
}

static int push_element(ss_heap *heap, uint64_t length, const ss_element *item) {
    ss_slots *slots = &heap->slots;
    uint64_t rest, moved_size;
    int status = plan_raise(heap, length, item, &rest, &moved_size);
    if (status == SS_OK) status = ss_slots_reserve(slots, length, 1, item->size > moved_size ? item->size : moved_size);
    if (status != SS_OK) return status;
    begin_moves(heap, length + 1);
    status = ss_slots_store(slots, length, item->bytes, item->size);
    if (status == SS_OK) status = ss_slots_set_length(slots, length + 1);
    for (uint64_t i = length; i > rest && status == SS_OK; i = (i - 1) / 2) status = move(heap, (i - 1) / 2, i);
    return status == SS_OK && rest < length ? ss_slots_store(slots, rest, item->bytes, item->size) : status;
}

/* The child of `index` that goes up if any does, as with numbers. Resets the step's scratch. */
static int choose_child(ss_heap *heap, uint64_t length, uint64_t index, uint64_t *child, ss_element *element) {
    ss_element right;
    bool is_less;
    *child = 2 * index + 1;
    ss_scratch_reset(&heap->step);
    int status = view_step(heap, *child, element);
    if (status != SS_OK || *child + 1 >= length) return status;
    status = view_step(heap, *child + 1, &right);
    if (status == SS_OK) status = compare(heap, element, &right, *child, &is_less);
    if (status == SS_OK && !is_less) {
        *element = right;
        ++*child;
    }
    return status;
}

/* The slots that an element passes on its way down from 0 among `length` elements. */
static int plan_lower(ss_heap *heap, uint64_t length, const ss_element *item, uint64_t path[LEVELS], uint32_t *steps) {
    uint64_t index = 0;
    for (*steps = 0; 2 * index + 1 < length; ++*steps) {
        ss_element element;
        bool is_less;
        int status = choose_child(heap, length, index, &index, &element);
        if (status == SS_OK) status = compare(heap, &element, item, index, &is_less);
        if (status != SS_OK || !is_less) return status;
        path[*steps] = index;
    }
    return SS_OK;
}

/* Takes the last of `length` elements, two at least, into slot 0 and down the path. */
static int lower_last(ss_heap *heap, uint64_t length, const ss_element *last, const uint64_t path[LEVELS], uint32_t steps) {
    uint64_t to = 0;
    begin_moves(heap, length);
    int status = ss_slots_set_length(&heap->slots, length - 1);
    if (status == SS_OK) status = ss_slots_store(&heap->slots, 0, last->bytes, last->size);
    for (uint32_t i = 0; i < steps && status == SS_OK; i++) {
        status = move(heap, path[i], to);
        to = path[i];
    }
    return status == SS_OK && steps > 0 ? ss_slots_store(&heap->slots, to, last->bytes, last->size) : status;
}

/* The heap is not empty. The result is read after the last comparison: the user's code may use the same buffer. */
static int pop_element(ss_heap *heap, uint64_t length, ss_result_builder *result) {
    ss_slots *slots = &heap->slots;
    uint64_t path[LEVELS];
    uint32_t steps = 0;
    ss_element last;
    int status = ss_slots_view(slots, length - 1, &slots->scratch, &last);
    if (status == SS_OK && length > 1) status = plan_lower(heap, length - 1, &last, path, &steps);
    if (status == SS_OK) status = ss_slots_output(slots, 0, result);
    if (status != SS_OK) return status;
    return length == 1 ? ss_slots_set_length(slots, 0) : lower_last(heap, length, &last, path, steps);
}

/* ---- one element ---- */

static int push(ss_heap *heap, uint64_t length, const uint8_t *bytes, uint64_t size) {
    if (heap->comparison != BY_ORDER) return push_number(heap, length, ss_get_be(bytes, heap->slots.max_size));
    const ss_element item = {bytes, size};
    return push_element(heap, length, &item);
}

/* SS_ABSENT from an empty heap. */
static int pop(ss_heap *heap, uint64_t length, ss_result_builder *result) {
    uint64_t least;
    if (length == 0) return SS_ABSENT;
    if (heap->comparison == BY_ORDER) return pop_element(heap, length, result);
    int status = ss_slots_output(&heap->slots, 0, result);
    return status == SS_OK ? pop_number(heap, length, &least) : status;
}

int ss_heap_push(ss_heap *heap, const uint8_t *bytes, uint64_t size) {
    uint64_t length;
    int status = ss_slots_accept(&heap->slots, size);
    if (status == SS_OK) status = enter_write(heap, &length);
    return status == SS_OK ? leave_write(heap, push(heap, length, bytes, size)) : status;
}

int64_t ss_heap_pop(ss_heap *heap) {
    ss_result_builder result = {0};
    uint64_t length;
    int status = enter_write(heap, &length);
    if (status != SS_OK) return status;
    status = leave_write(heap, pop(heap, length, &result));
    return ss_result_finish(&result, status);
}

int64_t ss_heap_get(ss_heap *heap, uint64_t index) {
    ss_result_builder result = {0};
    uint64_t length;
    int status = enter_read(heap, &length);
    if (status != SS_OK) return status;
    status = index < length ? ss_slots_output(&heap->slots, index, &result) : SS_ABSENT;
    leave_read(heap);
    return ss_result_finish(&result, status);
}

int64_t ss_heap_peek(ss_heap *heap) {
    ss_result_builder result = {0};
    uint64_t length;
    int status = enter_read(heap, &length);
    if (status != SS_OK) return status;
    status = length > 0 ? ss_slots_output(&heap->slots, 0, &result) : SS_ABSENT;
    leave_read(heap);
    return ss_result_finish(&result, status);
}

/* ---- one integer ---- */

int ss_heap_push_u64(ss_heap *heap, uint64_t value) {
    uint8_t bytes[8];
    uint64_t length;
    int status = ss_slots_demand_int(&heap->slots);
    if (status == SS_OK) status = ss_slots_accept_int(&heap->slots, value);
    if (status == SS_OK) status = enter_write(heap, &length);
    if (status != SS_OK) return status;
    ss_put_be(bytes, heap->slots.max_size, value);
    return leave_write(heap, push(heap, length, bytes, heap->slots.max_size));
}

static int pop_int(ss_heap *heap, uint64_t length, uint64_t *least) {
    ss_result_builder result = {0};
    if (length == 0) return SS_ABSENT;
    if (heap->comparison != BY_ORDER) return pop_number(heap, length, least);
    int status = ss_slots_load_int(&heap->slots, 0, least);
    if (status == SS_OK) status = pop_element(heap, length, &result);
    free(result.copy);
    return status;
}

uint64_t ss_heap_pop_u64(ss_heap *heap) {
    uint64_t length, least = 0;
    int status = ss_slots_demand_int(&heap->slots);
    if (status == SS_OK) status = enter_write(heap, &length);
    if (status != SS_OK) return ss_result_number(status, 0);
    status = leave_write(heap, pop_int(heap, length, &least));
    return ss_result_number(status, least);
}

uint64_t ss_heap_get_u64(ss_heap *heap, uint64_t index) {
    uint64_t length, value = 0;
    int status = ss_slots_demand_int(&heap->slots);
    if (status == SS_OK) status = enter_read(heap, &length);
    if (status != SS_OK) return ss_result_number(status, 0);
    status = index < length ? ss_slots_load_int(&heap->slots, index, &value) : SS_ABSENT;
    leave_read(heap);
    return ss_result_number(status, value);
}

uint64_t ss_heap_peek_u64(ss_heap *heap) {
    uint64_t length, value = 0;
    int status = ss_slots_demand_int(&heap->slots);
    if (status == SS_OK) status = enter_read(heap, &length);
    if (status != SS_OK) return ss_result_number(status, 0);
    status = length > 0 ? ss_slots_load_int(&heap->slots, 0, &value) : SS_ABSENT;
    leave_read(heap);
    return ss_result_number(status, value);
}

/* ---- many ---- */

/* `count` big-endian numbers; the length is written once, since nobody sees it in between. */
static int push_numbers(ss_heap *heap, uint64_t length, const uint8_t *data, uint64_t count) {
    ss_slots *slots = &heap->slots;
    int status = ss_slots_reserve(slots, length, count, slots->max_size);
    if (status != SS_OK) return status;
    numbers row = row_of(slots, length + count);
    for (uint64_t i = 0; i < count && status == SS_OK; i++) {
        status = raise_number(heap, &row, length + i, ss_get_be(data + i * slots->max_size, slots->max_size));
    }
    return status == SS_OK ? ss_slots_set_length(slots, length + count) : status;
}

/* Elements of any order: one may fail after others went in. `ends` is NULL if all have the fixed size. Each is compared
 * and stored from a copy: another thread may change the user's bytes in between. */
static int push_elements(ss_heap *heap, uint64_t length, const uint8_t *data, const uint64_t *ends, uint64_t count) {
    ss_scratch copies = {0};
    uint64_t start = 0;
    int status = SS_OK;
    ss_undo_begin(heap->slots.handle.memory);
    for (uint64_t i = 0; i < count && status == SS_OK; i++) {
        uint64_t end = ends == NULL ? start + heap->slots.max_size : ends[i];
        uint8_t *copy = ss_scratch_take(&copies, (size_t)(end - start));
        const ss_element item = {copy, end - start};
        if (copy != NULL && item.size > 0) memcpy(copy, data + start, (size_t)item.size);
        status = copy == NULL ? SS_NO_HEAP : push_element(heap, length + i, &item);
        ss_scratch_reset(&copies);
        start = end;
    }
    ss_scratch_free(&copies);
    return status;
}

static int push_all(ss_heap *heap, const uint8_t *data, const uint64_t *ends, uint64_t count) {
    uint64_t length;
    int status = enter_write(heap, &length);
    if (status != SS_OK) return status;
    if (count == 0) return ss_leave_write(heap->slots.handle.memory, SS_OK);
    if (heap->comparison == BY_ORDER) return leave_write(heap, push_elements(heap, length, data, ends, count));
    return leave_write(heap, push_numbers(heap, length, data, count));
}

int ss_heap_push_many(ss_heap *heap, const uint8_t *data, uint64_t count) {
    int status = ss_slots_demand_fixed(&heap->slots);
    return status == SS_OK ? push_all(heap, data, NULL, count) : status;
}

int ss_heap_push_many_var(ss_heap *heap, const uint8_t *data, const uint64_t *ends, uint64_t count) {
    int status = ss_slots_accept_all(&heap->slots, ends, count);
    return status == SS_OK ? push_all(heap, data, ends, count) : status;
}

int ss_heap_push_many_ints(ss_heap *heap, const void *native, uint64_t count, uint64_t bias) {
    uint32_t size = heap->slots.max_size;
    int status = ss_slots_demand_int(&heap->slots);
    if (status != SS_OK) return status;
    uint8_t *data = count > SIZE_MAX / 16 ? NULL : malloc(count == 0 ? 1 : (size_t)count * size);
    if (data == NULL) return ss_fail(SS_NO_HEAP, "elements in big-endian order", 0, count, 0);
    ss_ints_encode(data, native, count, size, bias);
    status = push_all(heap, data, NULL, count);
    free(data);
    return status;
}

/* ---- check, usage ---- */

static bool is_total(const ss_order *order) {
    for (uint32_t i = 0; i < order->count; i++) {
        if (order->terms[i].kind == SS_ORDER_FLOAT) return false;
    }
    return true;
}

/* H1 for one element. Damaged elements were told already. */
static int check_pair(ss_heap *heap, uint64_t index) {
    ss_element item, parent;
    bool is_less;
    ss_scratch_reset(&heap->step);
    int status = view_step(heap, index, &item);
    if (status == SS_OK) status = view_step(heap, (index - 1) / 2, &parent);
    if (status != SS_OK) return status == SS_CORRUPT ? SS_OK : status;
    status = compare(heap, &item, &parent, index, &is_less);
    if (status != SS_OK || !is_less) return status;
    return ss_fail(SS_CORRUPT, "an element is less than its parent (their indices)", ss_slots_data(&heap->slots, index), index,
                   (index - 1) / 2);
}

static int check_all(ss_heap *heap, ss_check *check) {
    uint64_t length;
    int status = ss_slots_check(&heap->slots, check, &length);
    if (!is_total(&heap->order)) return status;
    /* Elements without bytes are all the same, and of any number, since they take no room. */
    if (heap->slots.slot == 0 && length > 2) length = 2;
    for (uint64_t i = 1; i < length && status == SS_OK; i++) status = ss_check_note(check, check_pair(heap, i));
    return status;
}

int ss_heap_check(ss_heap *heap, ss_report report, void *self) {
    ss_check check = {.report = report, .self = self};
    int status = ss_handle_enter_read(&heap->slots.handle);
    if (status != SS_OK) return status;
    status = ss_check_end(&check, check_all(heap, &check));
    leave_read(heap);
    return status;
}

int ss_heap_usage(ss_heap *heap, struct ss_usage *out) {
    int status = ss_handle_enter_read(&heap->slots.handle);
    if (status != SS_OK) return status;
    status = ss_slots_usage(&heap->slots, out);
    leave_read(heap);
    return status;
}
