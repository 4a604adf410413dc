/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "core/result.h"
#include "structures/heap.h"
#include "structures/slots.h"
#include "support/check.h"
#include "support/memories.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define MOST 400 /* elements of a twin */
#define SIZE 300 /* bytes of its largest element */

/* ---- element types ---- */

struct type {
    uint32_t max_size;
    int fixed;
    uint32_t term_count;
    ss_order_term terms[2];
};

#define BYTES(size, is_fixed) {.kind = SS_ORDER_BYTES, .fixed = is_fixed, .max_size = size, .part = {-1, -1, -1}}
#define OVER(order, size, is_fixed) {.kind = order, .fixed = is_fixed, .max_size = size, .part = {1, -1, -1}}
#define PLAIN(order, size) {.kind = order, .fixed = 1, .max_size = size, .part = {-1, -1, -1}}

static const struct type types[] = {
    {8, 1, 1, {BYTES(8, 1)}},
    {4, 1, 1, {BYTES(4, 1)}},
    {2, 1, 1, {BYTES(2, 1)}},
    {1, 1, 1, {BYTES(1, 1)}},
    {4, 1, 2, {OVER(SS_ORDER_REVERSE, 4, 1), BYTES(4, 1)}},
    {8, 1, 1, {PLAIN(SS_ORDER_FLOAT, 8)}},
    {4, 1, 1, {PLAIN(SS_ORDER_FLOAT, 4)}},
    {8, 1, 2, {OVER(SS_ORDER_REVERSE, 8, 1), PLAIN(SS_ORDER_FLOAT, 8)}},
    {8, 1, 1, {PLAIN(SS_ORDER_CALLBACK, 8)}},
    {5, 1, 1, {BYTES(5, 1)}},
    {40, 0, 1, {BYTES(40, 0)}},
    {SIZE, 0, 1, {BYTES(SIZE, 0)}},
    {SIZE, 0, 2, {OVER(SS_ORDER_REVERSE, SIZE, 0), BYTES(SIZE, 0)}},
    {29, 0, 1, {{.kind = SS_ORDER_LENGTH_FIRST, .max_size = 29, .part = {-1, -1, -1}}}},
    {SIZE, 0, 1, {{.kind = SS_ORDER_CALLBACK, .max_size = SIZE, .part = {-1, -1, -1}}}},
    {0, 1, 1, {BYTES(0, 1)}},
};

static const struct type *const blobs = &types[10], *const asked = &types[14], *const numbers = &types[0];

/* The user's comparison: as bytes, and failing at one call. */
static int64_t callback_fails_at = -1;

static int callback(void *self, const uint8_t *a, uint64_t a_size, const uint8_t *b, uint64_t b_size, int *result) {
    (void)self;
    if (callback_fails_at >= 0 && callback_fails_at-- == 0) return ss_fail(SS_CALLBACK, "comparison", 0, 0, 0);
    *result = ss_compare_bytes(a, a_size, b, b_size);
    return SS_OK;
}

static int try_open(ss_memory *memory, int mode, const struct type *type, ss_heap **heap) {
    return ss_heap_open(memory, mode, type->max_size, type->fixed, type->terms, type->term_count, callback, NULL, heap);
}

static ss_heap *open_heap(ss_memory *memory, int mode, const struct type *type) {
    ss_heap *heap;
    CHECK_EQ(try_open(memory, mode, type, &heap), SS_OK);
    return heap;
}

/* A random element; small alphabets, so that equal ones, NaNs and infinities come up. */
static uint64_t random_element(const struct type *type, uint8_t *to) {
    uint64_t size = type->fixed ? type->max_size : random_below((uint64_t)type->max_size + 1);
    for (uint64_t i = 0; i < size; i++) to[i] = (uint8_t)(i < 2 ? random_below(3) * 127 : random_below(2) * 240);
    if (random_below(2) == 0) random_bytes(to, size);
    return size;
}

/* ---- the twin: the slots as the format tells it, one write after the other ---- */

struct twin {
    const struct type *type;
    ss_order order;
    uint64_t size_bytes, slot, length, reached; /* reached: the memory ends on the page of this byte */
    uint8_t bytes[64 + MOST * (SIZE + 2)];
};

static void twin_open(struct twin *twin, const struct type *type) {
    memset(twin, 0, sizeof *twin);
    twin->type = type;
    CHECK_EQ(ss_order_init(&twin->order, type->terms, type->term_count, callback, NULL), SS_OK);
    twin->size_bytes = type->fixed ? 0 : type->max_size <= 255 ? 1 : 2;
    twin->slot = twin->size_bytes + type->max_size;
    memcpy(twin->bytes, "SMH\x01", 4);
    memcpy(twin->bytes + 12, &type->max_size, 4);
    twin->bytes[16] = (uint8_t)type->fixed;
    twin->reached = 64;
}

static void twin_set_length(struct twin *twin, uint64_t length) {
    twin->length = length;
    memcpy(twin->bytes + 4, &length, 8);
}

static uint8_t *twin_get(struct twin *twin, uint64_t index, uint64_t *size) {
    uint8_t *at = twin->bytes + 64 + index * twin->slot;
    *size = twin->size_bytes == 0 ? twin->type->max_size : twin->size_bytes == 1 ? at[0] : ss_get16(at);
    return at + twin->size_bytes;
}

static void twin_set(struct twin *twin, uint64_t index, const uint8_t *bytes, uint64_t size) {
    uint8_t *at = twin->bytes + 64 + index * twin->slot;
    memcpy(at, &size, twin->size_bytes);
    memcpy(at + twin->size_bytes, bytes, size);
    uint64_t end = 64 + index * twin->slot + twin->size_bytes + size;
    if (end > twin->reached) twin->reached = end;
}

static bool twin_less(struct twin *twin, uint64_t index, const uint8_t *bytes, uint64_t size, bool swap) {
    int result;
    uint64_t other_size;
    const uint8_t *other = twin_get(twin, index, &other_size);
    if (swap)
        CHECK_EQ(ss_order_compare(&twin->order, bytes, size, other, other_size, &result), SS_OK);
    else
        CHECK_EQ(ss_order_compare(&twin->order, other, other_size, bytes, size, &result), SS_OK);
    return result == SS_LESS;
}

static void twin_move(struct twin *twin, uint64_t from, uint64_t to) {
    uint8_t copy[SIZE];
    uint64_t size;
    const uint8_t *bytes = twin_get(twin, from, &size);
    memcpy(copy, bytes, size);
    twin_set(twin, to, copy, size);
}

static void twin_push(struct twin *twin, const uint8_t *bytes, uint64_t size) {
    uint64_t index = twin->length;
    twin_set(twin, index, bytes, size);
    twin_set_length(twin, index + 1);
    while (index > 0 && twin_less(twin, (index - 1) / 2, bytes, size, true)) {
        twin_move(twin, (index - 1) / 2, index);
        index = (index - 1) / 2;
    }
    if (index < twin->length - 1) twin_set(twin, index, bytes, size);
}

static void twin_pop(struct twin *twin) {
    uint8_t last[SIZE];
    uint64_t size, index = 0, child_size;
    twin_set_length(twin, twin->length - 1);
    if (twin->length == 0) return;
    const uint8_t *bytes = twin_get(twin, twin->length, &size);
    memcpy(last, bytes, size);
    twin_set(twin, 0, last, size);
    for (uint64_t child; (child = 2 * index + 1) < twin->length; index = child) {
        const uint8_t *left = twin_get(twin, child, &child_size);
        if (child + 1 < twin->length && !twin_less(twin, child + 1, left, child_size, true)) child++;
        if (!twin_less(twin, child, last, size, false)) break;
        twin_move(twin, child, index);
    }
    if (index > 0) twin_set(twin, index, last, size);
}

static bool twin_equals(const struct twin *twin, ss_memory *memory) {
    struct image image = image_of(memory);
    bool equal = image.pages == (twin->reached + SS_PAGE_SIZE - 1) / SS_PAGE_SIZE;
    uint64_t size = image.pages * SS_PAGE_SIZE < sizeof twin->bytes ? image.pages * SS_PAGE_SIZE : sizeof twin->bytes;
    equal = equal && memcmp(image.bytes, twin->bytes, size) == 0;
    image_free(&image);
    return equal;
}

/* ---- against the twin ---- */

static struct twin twin;

static void pop_both(ss_heap *heap) {
    uint64_t size;
    CHECK_EQ(ss_heap_length(heap), twin.length);
    if (twin.length == 0) {
        CHECK_EQ(ss_heap_peek(heap), SS_NO_VALUE);
        CHECK_EQ(ss_heap_pop(heap), SS_NO_VALUE);
        return;
    }
    const uint8_t *least = twin_get(&twin, 0, &size);
    CHECK(ss_heap_peek(heap) == (int64_t)size && memcmp(ss_result(), least, size) == 0);
    CHECK(ss_heap_pop(heap) == (int64_t)size && memcmp(ss_result(), least, size) == 0);
    twin_pop(&twin);
}

static void push_both(ss_heap *heap) {
    uint8_t bytes[SIZE];
    uint64_t size = random_element(twin.type, bytes);
    if (twin.length == MOST) return;
    twin_push(&twin, bytes, size);
    CHECK_EQ(ss_heap_push(heap, bytes, size), SS_OK);
}

static void push_many_both(ss_heap *heap) {
    static uint8_t data[50 * SIZE];
    uint64_t ends[50], count = random_below(COUNT(ends)), end = 0;
    if (twin.length + count > MOST) return;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t size = random_element(twin.type, data + end);
        twin_push(&twin, data + end, size);
        ends[i] = end += size;
    }
    bool packed = twin.type->fixed && random_below(2) == 0;
    CHECK_EQ(packed ? ss_heap_push_many(heap, data, count) : ss_heap_push_many_var(heap, data, ends, count), SS_OK);
}

static void a_heap_writes_what_the_format_says(enum kind kind, const struct type *type) {
    struct place place;
    place_open(&place, kind, 1000);
    twin_open(&twin, type);
    ss_heap *heap = open_heap(place.memory, SS_INIT, type);
    for (int i = 0; i < 500; i++) {
        uint64_t dice = random_below(40);
        if (dice < 18 || (i < 250 && dice < 25))
            push_both(heap);
        else if (dice < 37)
            pop_both(heap);
        else if (dice < 39)
            push_many_both(heap);
        else {
            ss_heap_free(heap);
            heap = open_heap(place.memory, i % 2 == 0 ? SS_INIT : SS_LOAD, type);
        }
        if (i % 25 == 0) {
            CHECK(twin_equals(&twin, place.memory));
            place_interleave(&place);
        }
    }
    CHECK_EQ(ss_heap_check(heap, NULL, NULL), SS_OK);
    while (twin.length > 0) pop_both(heap);
    pop_both(heap);
    CHECK(twin_equals(&twin, place.memory));
    CHECK_EQ(ss_heap_clear(heap), SS_OK);
    ss_heap_free(heap);
    place_close(&place);
}

/* ---- integers ---- */

static void integers_come_out_in_order(enum kind kind, const struct type *type) {
    struct place place;
    uint64_t most = UINT64_MAX >> (64 - 8 * type->max_size), last = 0;
    place_open(&place, kind, 100);
    ss_heap *heap = open_heap(place.memory, SS_INIT, type);
    CHECK_EQ(ss_heap_pop_u64(heap), SS_NO_NUMBER);
    CHECK_EQ(ss_heap_peek_u64(heap), SS_NO_NUMBER);
    for (int i = 0; i < 1000; i++) CHECK_EQ(ss_heap_push_u64(heap, random_number() & most), SS_OK);
    CHECK_EQ(ss_heap_check(heap, NULL, NULL), SS_OK);
    CHECK_EQ(ss_heap_get_u64(heap, 1000), SS_NO_NUMBER);
    CHECK_EQ(ss_heap_get_u64(heap, 0), ss_heap_peek_u64(heap));
    CHECK_EQ(ss_heap_get(heap, 999), type->max_size);
    for (int i = 0; i < 1000; i++) {
        uint64_t next = ss_heap_pop_u64(heap);
        CHECK(next >= last && next <= most);
        last = next;
    }
    CHECK_EQ(ss_heap_length(heap), 0);
    if (type->max_size < 8) CHECK_EQ(ss_heap_push_u64(heap, most + 1), SS_BOUND_EXCEEDED);
    ss_heap_free(heap);
    place_close(&place);
}

/* Native arrays with a bias against the loop, on both ways to sift. */
static void bulk_integers_write_what_the_loop_writes(enum kind kind, const struct type *type) {
    static uint8_t native[8 * 20000 + 1];
    const uint64_t bias = UINT64_C(1) << (8 * type->max_size - 1), size = type->max_size, count = 20000;
    struct place bulk, loop;
    place_open(&bulk, kind, 100);
    place_open(&loop, kind, 100);
    ss_heap *heap = open_heap(bulk.memory, SS_INIT, type), *other = open_heap(loop.memory, SS_INIT, type);
    random_bytes(native, sizeof native);
    for (uint64_t done = 0, some; done < count; done += some) {
        some = random_below(count - done) + 1;
        CHECK_EQ(ss_heap_push_many_ints(heap, native + 1 + done * size, some, bias), SS_OK);
        for (uint64_t i = done; i < done + some; i++) {
            uint64_t value = 0;
            memcpy(&value, native + 1 + i * size, size);
            (void)ss_heap_push_u64(other, value ^ bias);
        }
    }
    struct image a = image_of(bulk.root), b = image_of(loop.root);
    CHECK(image_equal(&a, &b));
    CHECK_EQ(ss_heap_check(heap, NULL, NULL), SS_OK);
    image_free(&a);
    image_free(&b);
    ss_heap_free(heap);
    ss_heap_free(other);
    place_close(&bulk);
    place_close(&loop);
}

/* ---- failures ---- */

#define FEW 60

static void fill(ss_heap *heap, const struct type *type) {
    uint8_t bytes[SIZE];
    random_state = 1;
    for (int i = 0; i < FEW; i++) {
        uint64_t size = random_element(type, bytes);
        CHECK_EQ(ss_heap_push(heap, bytes, size), SS_OK);
    }
}

/* Every operation that changes something, on a heap that was filled. */
static int change(ss_heap *heap, const struct type *type, int which) {
    static uint8_t data[FEW * SIZE];
    uint64_t ends[FEW], end = 0;
    for (uint64_t i = 0; i < FEW; i++) {
        uint64_t size = type->fixed ? type->max_size : i % 20;
        memset(data + end, (int)(FEW - i), size);
        ends[i] = end += size;
    }
    switch (which) {
        case 0:
            return ss_heap_push(heap, data, ends[0]);
        case 1:
            return (int)ss_heap_pop(heap);
        case 2:
            return ss_heap_clear(heap);
        default:
            return ss_heap_push_many_var(heap, data, ends, FEW);
    }
}
#define CHANGES 4

static void a_change_on_a_foreign_memory_may_fail_at_every_call(enum kind kind, const struct type *type, int which) {
    for (int64_t n = 0;; n++) {
        struct place place;
        place_open(&place, kind, 100);
        ss_heap *heap = open_heap(place.memory, SS_INIT, type);
        fill(heap, type);
        struct image before = image_of(place.root);
        place.array.fail_at = n;
        int status = change(heap, type, which);
        bool reached = place.array.fail_at < 0;
        place.array.fail_at = -1;
        CHECK((status < 0) == reached);
        if (reached) CHECK(image_holds(&before, place.root));
        CHECK_EQ(ss_heap_check(heap, NULL, NULL), SS_OK);
        image_free(&before);
        ss_heap_free(heap);
        place_close(&place);
        if (!reached) break;
        if (n > 100) n += (int64_t)random_below(20);
    }
}

static void a_comparison_that_fails_leaves_the_heap_unchanged(enum kind kind, const struct type *type, int which) {
    for (int64_t n = 0;; n++) {
        struct place place;
        place_open(&place, kind, 100);
        ss_heap *heap = open_heap(place.memory, SS_INIT, type);
        fill(heap, type);
        struct image before = image_of(place.root);
        uint64_t changes = ss_heap_changes(heap);
        callback_fails_at = n;
        int status = change(heap, type, which);
        bool reached = callback_fails_at < 0;
        callback_fails_at = -1;
        CHECK(reached ? status == SS_CALLBACK : status >= 0);
        if (reached)
            CHECK(image_holds(&before, place.root));
        else
            CHECK(ss_heap_changes(heap) != changes);
        CHECK_EQ(ss_heap_check(heap, NULL, NULL), SS_OK);
        image_free(&before);
        ss_heap_free(heap);
        place_close(&place);
        if (!reached) break;
    }
}

/* Pages run out in pushes, also when it is a longer parent that needs the room. */
static void a_push_that_cannot_grow_changes_nothing(enum kind kind, uint64_t many) {
    static uint8_t data[3 * 30000];
    const struct type type = {30000, 0, 1, {BYTES(30000, 0)}};
    const uint64_t ends[3] = {many == 1 ? 29000 : 10, 29010, 58010};
    for (uint64_t limit = 4; limit < 10; limit++) {
        struct place place;
        place_open(&place, kind, limit);
        ss_heap *heap = open_heap(place.memory, SS_INIT, &type);
        int status = SS_OK;
        for (uint8_t round = 200; status == SS_OK; round--) {
            struct image before = image_of(place.root);
            memset(data, round, sizeof data);
            status = many == 1 ? ss_heap_push(heap, data, round % 2 == 0 ? 29000 : 1) : ss_heap_push_many_var(heap, data, ends, many);
            if (status != SS_OK) CHECK(image_holds(&before, place.root));
            image_free(&before);
        }
        CHECK_EQ(status, SS_OUT_OF_MEMORY);
        CHECK_EQ(ss_heap_check(heap, NULL, NULL), SS_OK);
        ss_heap_free(heap);
        place_close(&place);
    }
}

/* ---- damage ---- */

static void count_violation(void *self, const struct ss_failure *violation) {
    CHECK(violation->status < 0 && violation->rule != NULL);
    ++*(int *)self;
}

static void use_all(ss_heap *heap, const struct type *type) {
    uint8_t bytes[SIZE] = {0};
    uint64_t size = type->fixed ? type->max_size : 1;
    for (uint64_t i = 0; i < 7; i++) (void)ss_heap_get(heap, i);
    (void)ss_heap_push(heap, bytes, size);
    (void)ss_heap_pop(heap);
    (void)ss_heap_pop(heap);
    (void)ss_heap_push_many(heap, bytes, 1);
    (void)ss_heap_peek(heap);
    (void)ss_heap_check(heap, NULL, NULL);
}

static void damage_is_an_error_or_harmless(enum kind kind, const struct type *type) {
    struct place place;
    place_open(&place, kind, 20);
    ss_heap *heap = open_heap(place.memory, SS_INIT, type), *other;
    fill(heap, type);
    struct image sound = image_of(place.memory);
    for (uint64_t bit = 0; bit < 8 * 120; bit++) {
        uint8_t damaged = (uint8_t)(sound.bytes[bit / 8] ^ (1u << bit % 8));
        CHECK_EQ(ss_access_write(place.memory, bit / 8, &damaged, 1), SS_OK);
        int status = ss_heap_check(heap, NULL, NULL), violations = 0;
        CHECK_EQ(ss_heap_check(heap, count_violation, &violations), status == SS_OK ? SS_OK : SS_CORRUPT);
        CHECK((violations > 0) == (status != SS_OK));
        use_all(heap, type);
        ss_heap_free(heap);
        if (try_open(place.memory, SS_INIT, type, &other) == SS_OK) {
            use_all(other, type);
            ss_heap_free(other);
        }
        image_restore(&sound, place.memory);
        heap = open_heap(place.memory, SS_LOAD, type);
    }
    image_free(&sound);
    ss_heap_free(heap);
    place_close(&place);
}

static void each_rule_is_named(void) {
    struct place place;
    int violations = 0;
    place_open(&place, FLAT, 10);
    ss_heap *heap = open_heap(place.memory, SS_INIT, numbers);
    for (uint64_t i = 0; i < 10; i++) CHECK_EQ(ss_heap_push_u64(heap, i), SS_OK);
    CHECK_EQ(ss_access_write(place.memory, 64 + 8 * 1, "\1", 1), SS_OK);
    CHECK_EQ(ss_heap_check(heap, count_violation, &violations), SS_CORRUPT);
    CHECK_EQ(violations, 2);
    CHECK_EQ(ss_last_failure()->number, 3);
    CHECK_EQ(ss_last_failure()->limit, 1);
    CHECK_EQ(ss_last_failure()->address, 64 + 8 * 3);
    ss_heap_free(heap);
    place_close(&place);
}

/* A tuple whose inner size is damaged cannot be compared; the failure says where it lies. */
static void an_element_that_cannot_be_compared_is_corrupt(void) {
    const ss_order_term terms[] = {{.kind = SS_ORDER_TUPLE2, .fixed = 0, .max_size = 8, .part = {1, 2, -1}}, BYTES(3, 0), BYTES(3, 0)};
    struct place place;
    ss_heap *heap;
    place_open(&place, FLAT, 10);
    CHECK_EQ(ss_heap_open(place.memory, SS_INIT, 8, 0, terms, 3, NULL, NULL, &heap), SS_OK);
    for (uint8_t i = 9; i > 0; i--) {
        const uint8_t bytes[8] = {i, 0, 0, i, 0, 0, 1, 1};
        CHECK_EQ(ss_heap_push(heap, bytes, 8), SS_OK);
    }
    CHECK_EQ(ss_access_write(place.memory, 64 + 9 + 1 + 6, "\xFF", 1), SS_OK);
    struct image before = image_of(place.memory);
    CHECK_EQ(ss_heap_pop(heap), SS_CORRUPT);
    CHECK_EQ(ss_last_failure()->address, 64 + 9 + 1);
    CHECK(image_holds(&before, place.memory));
    CHECK_EQ(ss_heap_check(heap, NULL, NULL), SS_CORRUPT);
    image_free(&before);
    ss_heap_free(heap);
    place_close(&place);
}

/* They take no room, so a header may count any number of them: no operation looks at each. */
static void elements_without_bytes_are_of_any_number(void) {
    const ss_order_term term = PLAIN(0, 1);
    const uint64_t most = INT64_MAX;
    struct place place;
    struct ss_usage usage;
    ss_heap *heap;
    uint8_t length[8];
    place_open(&place, FLAT, 10);
    CHECK_EQ(ss_heap_open(place.memory, SS_INIT, 0, 1, &term, 1, NULL, NULL, &heap), SS_OK);
    ss_put64(length, most);
    CHECK_EQ(ss_access_write(place.memory, SS_SLOTS_LENGTH_AT, length, sizeof length), SS_OK);
    CHECK_EQ(ss_heap_length(heap), INT64_MAX);
    CHECK_EQ(ss_heap_check(heap, NULL, NULL), SS_OK);
    CHECK_EQ(ss_heap_push(heap, length, 0), SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_heap_pop(heap), 0);
    CHECK_EQ(ss_heap_push(heap, length, 0), SS_OK);
    CHECK_EQ(ss_heap_usage(heap, &usage), SS_OK);
    CHECK_EQ(usage.live, SS_SLOTS_START);
    ss_heap_free(heap);
    place_close(&place);
}

/* ---- life ---- */

static void other_memories_and_orders_are_refused(void) {
    struct place place;
    ss_heap *heap;
    place_open(&place, FLAT, 10);
    ss_order_term term = PLAIN(99, 8);
    CHECK_EQ(ss_heap_open(place.memory, SS_INIT, 8, 1, &term, 1, NULL, NULL, &heap), SS_ARGUMENT);
    CHECK_EQ(ss_access_size(place.memory), 0);
    CHECK_EQ(ss_access_write_growing(place.memory, 0, "SVC\1", 4), SS_OK);
    CHECK_EQ(try_open(place.memory, SS_INIT, numbers, &heap), SS_BAD_MAGIC);
    CHECK_EQ(try_open(place.memory, SS_NEW, numbers, &heap), SS_OK);
    CHECK_EQ(ss_heap_push(heap, (const uint8_t *)"123", 3), SS_BOUND_EXCEEDED);
    CHECK_EQ(ss_heap_detach(heap), SS_OK);
    CHECK_EQ(ss_heap_pop(heap), SS_CLOSED);
    ss_heap *second = open_heap(place.memory, SS_LOAD, numbers);
    ss_heap_free(heap);
    struct ss_usage usage;
    CHECK_EQ(ss_heap_push_u64(second, 1), SS_OK);
    CHECK_EQ(ss_heap_usage(second, &usage), SS_OK);
    CHECK(usage.live == 72 && usage.allocated == 72 && usage.reserved == SS_PAGE_SIZE);
    CHECK_EQ(try_open(place.memory, SS_LOAD, blobs, &heap), SS_IN_USE);
    ss_heap_free(second);
    CHECK_EQ(try_open(place.memory, SS_LOAD, blobs, &heap), SS_INCOMPATIBLE);
    ss_heap_free(NULL);
    place_close(&place);
}

int main(void) {
    elements_without_bytes_are_of_any_number();
    for (int kind = 0; kind < KINDS; kind++) {
        for (uint64_t i = 0; i < COUNT(types); i++) a_heap_writes_what_the_format_says(kind, &types[i]);
        for (uint64_t i = 0; i < 4; i++) integers_come_out_in_order(kind, &types[i]);
        integers_come_out_in_order(kind, &types[8]);
        bulk_integers_write_what_the_loop_writes(kind, &types[0]);
        bulk_integers_write_what_the_loop_writes(kind, &types[2]);
        for (uint64_t many = 1; many <= 3; many++) a_push_that_cannot_grow_changes_nothing(kind, many);
        damage_is_an_error_or_harmless(kind, numbers);
        damage_is_an_error_or_harmless(kind, blobs);
        for (int which = 0; which < CHANGES; which++) {
            if (which != 2) a_comparison_that_fails_leaves_the_heap_unchanged(kind, asked, which);
        }
    }
    for (int which = 0; which < CHANGES; which++) {
        a_change_on_a_foreign_memory_may_fail_at_every_call(FOREIGN, numbers, which);
        a_change_on_a_foreign_memory_may_fail_at_every_call(FOREIGN, blobs, which);
        a_change_on_a_foreign_memory_may_fail_at_every_call(FOREIGN_BUCKETS, blobs, which);
    }
    each_rule_is_named();
    an_element_that_cannot_be_compared_is_corrupt();
    other_memories_and_orders_are_refused();
    return check_summary();
}
