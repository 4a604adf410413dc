/* SPDX-License-Identifier: Apache-2.0 */
/* Threads on one memory: each operation is whole, and any mix behaves as some serial order.
 *
 * Each thread works on keys of its own in a map that all share, so that its own model says what every result must be;
 * a vec, a heap and a second map lie on the same memory, a cursor walks while others write. Build it with the thread
 * sanitizer to see that nothing is touched without the lock.
 */
#include <pthread.h>
#include <stdlib.h>

#include "structures/cursor.h"
#include "structures/heap.h"
#include "structures/vec.h"
#include "support/check.h"
#include "support/maps.h"

enum { THREADS = 8, STEPS = 4000, KEYS = 256 };

typedef struct shared {
    ss_memory *memory;
    ss_btree *map, *other;
    ss_vec *vec;
    ss_heap *heap;
} shared;

typedef struct worker {
    shared *on;
    uint64_t number;
    pthread_t thread;
} worker;

static const ss_order_term u64_order = TERM_BYTES(1, 8);
static const ss_bound u64_bound = {8, 1, 0};

/* Key k of this thread: the low bits tell the threads apart, so that their keys lie side by side in the nodes. */
static uint64_t own_key(const worker *self, uint64_t k) {
    return k * THREADS + self->number;
}

static void step_map(worker *self, rng *random, uint64_t model[KEYS]) {
    uint64_t k = rng_below(random, KEYS), key = own_key(self, k), value = rng_next(random) >> 1 | 1;
    uint64_t before = model[k] == 0 ? SS_NO_NUMBER : model[k];
    switch (rng_below(random, 4)) {
        case 0:
            CHECK(ss_btree_remove_u64_u64(self->on->map, key) == before);
            model[k] = 0;
            break;
        case 1:
            CHECK(ss_btree_get_u64_u64(self->on->map, key) == before);
            break;
        default:
            CHECK(ss_btree_insert_u64_u64(self->on->map, key, value) == before);
            model[k] = value;
    }
}

static void step_bulk(worker *self, rng *random, uint64_t model[KEYS]) {
    uint64_t keys[32], values[32], first = rng_below(random, KEYS - 32);
    uint8_t found[32];
    ss_output_column out = {(uint8_t *)values, 8, 1, 0};
    ss_column column = {(const uint8_t *)keys, NULL, 8, 1, 0, 0};
    for (uint64_t i = 0; i < 32; i++) keys[i] = own_key(self, first + i);
    CHECK_EQ(ss_btree_get_many(self->on->map, &column, 32, &out, found), SS_OK);
    for (uint64_t i = 0; i < 32; i++) {
        CHECK(found[i] == (model[first + i] != 0));
        CHECK(!found[i] || values[i] == model[first + i]);
    }
}

/* A walk either sees the map as it was, or reports that it changed. */
static void step_walk(worker *self) {
    ss_cursor *cursor;
    int status = ss_cursor_open(self->on->map, SS_FROM_FIRST, NULL, 0, SS_TO_LAST, NULL, 0, &cursor);
    CHECK_EQ(status, SS_OK);
    int64_t size = 24;
    for (int i = 0; i < 20 && size >= 24; i++) {
        size = ss_cursor_next(cursor, 16, 4096, SS_WANT_KEYS | SS_WANT_VALUES | SS_WANT_KEY_NUMBERS | SS_WANT_VALUE_NUMBERS, i & 1);
        CHECK(size >= 24 || size == SS_CHANGED);
    }
    ss_cursor_free(cursor);
}

static void step_others(worker *self, rng *random) {
    uint64_t value = rng_next(random) >> 1;
    CHECK_EQ(ss_vec_push_u64(self->on->vec, value), SS_OK);
    CHECK(ss_vec_pop_u64(self->on->vec) < SS_ASK);
    CHECK_EQ(ss_heap_push_u64(self->on->heap, value), SS_OK);
    CHECK(ss_heap_pop_u64(self->on->heap) < SS_ASK);
    CHECK(ss_btree_insert_u64_u64(self->on->other, value % 1000, value) != SS_ASK);
}

static void *work(void *of) {
    worker *self = of;
    rng random = {.state = self->number + 1};
    uint64_t *model = calloc(KEYS, sizeof *model);
    if (!CHECK(model != NULL)) return NULL;
    for (int i = 0; i < STEPS; i++) {
        uint64_t what = rng_below(&random, 64);
        if (what == 0)
            step_walk(self);
        else if (what < 4)
            step_bulk(self, &random, model);
        else if (what < 16)
            step_others(self, &random);
        else
            step_map(self, &random, model);
    }
    for (uint64_t k = 0; k < KEYS; k++) {
        CHECK(ss_btree_get_u64_u64(self->on->map, own_key(self, k)) == (model[k] == 0 ? SS_NO_NUMBER : model[k]));
    }
    free(model);
    return NULL;
}

static void open_all(shared *on, ss_manager *manager) {
    ss_memory *under[4];
    for (uint32_t i = 0; i < 4; i++) CHECK_EQ(ss_manager_get(manager, i, &under[i]), SS_OK);
    CHECK_EQ(ss_btree_open(under[0], SS_INIT, &u64_order, 1, NULL, NULL, u64_bound, u64_bound, &on->map), SS_OK);
    CHECK_EQ(ss_btree_open(under[1], SS_INIT, &u64_order, 1, NULL, NULL, u64_bound, u64_bound, &on->other), SS_OK);
    CHECK_EQ(ss_vec_open(under[2], SS_INIT, 8, 1, &on->vec), SS_OK);
    CHECK_EQ(ss_heap_open(under[3], SS_INIT, 8, 1, &u64_order, 1, NULL, NULL, &on->heap), SS_OK);
    for (uint32_t i = 0; i < 4; i++) ss_memory_release(under[i]);
}

static void close_all(shared *on) {
    CHECK_EQ(ss_btree_check(on->map, NULL, NULL), SS_OK);
    CHECK_EQ(ss_btree_check(on->other, NULL, NULL), SS_OK);
    CHECK_EQ(ss_vec_check(on->vec, NULL, NULL), SS_OK);
    CHECK_EQ(ss_heap_check(on->heap, NULL, NULL), SS_OK);
    ss_btree_free(on->map);
    ss_btree_free(on->other);
    ss_vec_free(on->vec);
    ss_heap_free(on->heap);
}

/* Threads that each see their own keys right, whatever the others do. */
static void test_shared_structures(void) {
    shared on;
    worker workers[THREADS];
    ss_manager *manager;
    CHECK_EQ(ss_memory_new_flat(SS_MAX_PAGES, &on.memory), SS_OK);
    CHECK_EQ(ss_manager_open(on.memory, SS_INIT, 1, &manager), SS_OK);
    open_all(&on, manager);
    for (uint64_t i = 0; i < THREADS; i++) {
        workers[i] = (worker){.on = &on, .number = i};
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(workers[i].thread, NULL);
    close_all(&on);
    ss_manager_free(manager);
    ss_memory_release(on.memory);
}

static void *work_until_closed(void *of) {
    worker *self = of;
    rng random = {.state = self->number};
    for (;;) {
        int status = ss_btree_set_u64_u64(self->on->map, rng_below(&random, 1000), 1);
        if (status == SS_CLOSED) return NULL;
        if (!CHECK(status == SS_OK || status == SS_ABSENT)) return NULL;
    }
}

/* Closing under working threads ends their work with SS_CLOSED. */
static void test_close_under_threads(void) {
    shared on;
    worker workers[2];
    CHECK_EQ(ss_memory_new_flat(SS_MAX_PAGES, &on.memory), SS_OK);
    CHECK_EQ(ss_btree_open(on.memory, SS_INIT, &u64_order, 1, NULL, NULL, u64_bound, u64_bound, &on.map), SS_OK);
    for (uint64_t i = 0; i < 2; i++) {
        workers[i] = (worker){.on = &on, .number = i};
        CHECK(pthread_create(&workers[i].thread, NULL, work_until_closed, &workers[i]) == 0);
    }
    while (ss_btree_length(on.map) < 900) {
    }
    CHECK_EQ(ss_memory_close(on.memory), SS_OK);
    for (int i = 0; i < 2; i++) pthread_join(workers[i].thread, NULL);
    ss_btree_free(on.map);
    ss_memory_release(on.memory);
}

int main(void) {
    test_shared_structures();
    test_close_under_threads();
    return check_summary();
}
