/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences in a process that runs out of memory: an operation that fails at its n-th allocation, for each n, leaves every byte as it was
 * (M5). Elements are large, and buckets of other memories lie between those of the structure, so that an element is in several pieces. */
#include "structures/cell.h"
#include "structures/heap.h"
#include "structures/log.h"
#include "structures/vec.h"
#include "support/failing_heap.h"
#include "support/memories.h"

enum { ELEMENTS = 9, CHANGES = 3 };
static uint8_t large[1 << 18];

/* ---- structures ---- */

typedef struct structure {
    const char *name;
    uint32_t max_size;
    int fixed;
    void *(*open)(struct place *place, const struct structure *of);
    int (*fill)(void *self, uint64_t size, uint64_t number);
    int (*change[CHANGES])(void *self, uint64_t size);
    int (*check)(void *self);
    void (*free)(void *self);
} structure;

/* Less the higher the number is, so that each is pushed to the top of a heap. */
static const uint8_t *bytes_of(uint64_t size, uint64_t number) {
    memset(large, (int)(200 - number), size);
    return large;
}

static void *open_heap(struct place *place, const structure *of) {
    ss_heap *heap;
    const ss_order_term order = {SS_ORDER_BYTES, of->fixed, of->max_size, {-1, -1, -1}, 0};
    CHECK_EQ(ss_heap_open(place->memory, SS_INIT, of->max_size, of->fixed, &order, 1, NULL, NULL, &heap), SS_OK);
    return heap;
}

static int push_heap(void *self, uint64_t size, uint64_t number) {
    return ss_heap_push(self, bytes_of(size, number), size);
}

static int push_least(void *self, uint64_t size) {
    return push_heap(self, size, 100);
}

static int pop_heap(void *self, uint64_t size) {
    (void)size;
    return ss_heap_pop(self) < 0 ? SS_NO_HEAP : SS_OK;
}

static int push_many(void *self, uint64_t size) {
    uint64_t ends[2] = {size, 2 * size};
    memset(large, 3, 2 * size);
    return ss_heap_push_many_var(self, large, ends, 2);
}

static int check_heap(void *self) {
    return ss_heap_check(self, NULL, NULL);
}

static void free_heap(void *self) {
    ss_heap_free(self);
}

static void *open_vec(struct place *place, const structure *of) {
    ss_vec *vec;
    CHECK_EQ(ss_vec_open(place->memory, SS_INIT, of->max_size, of->fixed, &vec), SS_OK);
    return vec;
}

static int push_vec(void *self, uint64_t size, uint64_t number) {
    return ss_vec_push(self, bytes_of(size, number), size);
}

static int set_vec(void *self, uint64_t size) {
    return ss_vec_set(self, ELEMENTS / 2, bytes_of(size, 7), size);
}

static int pop_vec(void *self, uint64_t size) {
    (void)size;
    return ss_vec_pop(self) < 0 ? SS_NO_HEAP : SS_OK;
}

static int extend_vec(void *self, uint64_t size) {
    uint64_t ends[2] = {size, 2 * size};
    memset(large, 3, 2 * size);
    return ss_vec_extend_var(self, large, ends, 2);
}

static int check_vec(void *self) {
    return ss_vec_check(self, NULL, NULL);
}

static void free_vec(void *self) {
    ss_vec_free(self);
}

static void *open_cell(struct place *place, const structure *of) {
    (void)of;
    ss_cell *cell;
    CHECK_EQ(ss_cell_open(place->memory, SS_INIT, large, 1, &cell), SS_OK);
    return cell;
}

static int set_cell(void *self, uint64_t size, uint64_t number) {
    return ss_cell_set(self, bytes_of(size * (number + 1) / ELEMENTS, number), size * (number + 1) / ELEMENTS);
}

static int replace_cell(void *self, uint64_t size) {
    return ss_cell_replace(self, bytes_of(2 * size, 7), 2 * size) < 0 ? SS_NO_HEAP : SS_OK;
}

static int shrink_cell(void *self, uint64_t size) {
    return ss_cell_set(self, bytes_of(size / 2, 7), size / 2);
}

static int check_cell(void *self) {
    return ss_cell_check(self, NULL, NULL);
}

static void free_cell(void *self) {
    ss_cell_free(self);
}

static const structure structures[] = {
    {"heap", 50000, 0, open_heap, push_heap, {push_least, pop_heap, push_many}, check_heap, free_heap},
    {"heap, fixed", 20000, 1, open_heap, push_heap, {push_least, pop_heap, push_many}, check_heap, free_heap},
    {"heap, more than a bucket", 100000, 0, open_heap, push_heap, {push_least, pop_heap, push_many}, check_heap, free_heap},
    {"vec", 50000, 0, open_vec, push_vec, {set_vec, pop_vec, extend_vec}, check_vec, free_vec},
    {"vec, more than a bucket", 100000, 1, open_vec, push_vec, {set_vec, pop_vec, extend_vec}, check_vec, free_vec},
    {"cell", 100000, 0, open_cell, set_cell, {replace_cell, shrink_cell, shrink_cell}, check_cell, free_cell},
};

/* ---- failing ---- */

/* Opened again before the change, so that it has no working storage yet. True if it came to the n-th allocation. */
static bool fails_at(enum kind kind, const structure *of, int which, long n) {
    struct place place;
    place_open(&place, kind, 400);
    void *self = of->open(&place, of);
    for (uint64_t i = 0; i < ELEMENTS; i++) {
        CHECK_EQ(of->fill(self, of->max_size, i), SS_OK);
        place_interleave(&place);
    }
    of->free(self);
    self = of->open(&place, of);
    struct image before = image_of(place.root);
    allocations_left = n;
    int status = of->change[which](self, of->max_size);
    bool reached = allocations_left < 0;
    allocations_left = -1;
    CHECK_EQ(status, reached ? SS_NO_HEAP : SS_OK);
    if (reached && !CHECK(image_holds(&before, place.root)))
        fprintf(stderr, "    %s, kind %d, change %d, allocation %ld\n", of->name, kind, which, n);
    CHECK_EQ(of->check(self), SS_OK);
    image_free(&before);
    of->free(self);
    place_close(&place);
    return reached;
}

int main(void) {
    unsigned long failures = 0;
    for (size_t i = 0; i < sizeof structures / sizeof structures[0]; i++) {
        for (int which = 0; which < CHANGES; which++) {
            for (enum kind kind = FLAT; kind < KINDS; kind++) {
                for (long n = 0; fails_at(kind, &structures[i], which, n); n++) failures++;
            }
        }
    }
#ifdef __linux__
    CHECK(failures > 50);
#endif
    return check_summary();
}
