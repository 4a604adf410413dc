/* SPDX-License-Identifier: Apache-2.0 */
/* It races on purpose, so the thread sanitizer has nothing to say to it.
 *
 * A thread scribbles over the keys and values of every bulk operation while it runs. What goes in may be odd; the
 * structures stay sound, and (build with the address sanitizer) nothing outside of the columns is read.
 */
#include <pthread.h>
#include <stdlib.h>

#include "structures/heap.h"
#include "structures/log.h"
#include "structures/vec.h"
#include "support/check.h"
#include "support/maps.h"

enum { COUNT = 3000, WIDE = 16, ROUNDS = 12 };

typedef struct columns {
    uint8_t *keys, *values;
    uint64_t *ends;
    atomic_bool done;
} columns;

/* Single bytes, by stores that the compiler keeps. */
static void *scribble(void *of) {
    columns *on = of;
    rng random = {.state = 99};
    while (!atomic_load(&on->done)) {
        for (int i = 0; i < 64; i++) {
            uint64_t n = rng_next(&random);
            ((volatile uint8_t *)on->keys)[n % (COUNT * WIDE)] = (uint8_t)(n >> 40);
            ((volatile uint8_t *)on->values)[n % (COUNT * WIDE)] = (uint8_t)(n >> 32);
        }
    }
    return NULL;
}

/* Ascending keys, big-endian or (8 bytes) in this machine's order. */
static void fill(columns *on, uint32_t size, bool native) {
    for (uint64_t i = 0; i < COUNT; i++) {
        uint8_t *key = on->keys + i * size;
        memset(key, 0, size);
        if (native)
            ss_put64(key, i << 40);
        else
            ss_put_be(key, 8, i << 40);
        on->ends[i] = (i + 1) * size;
    }
}

static void count_violation(void *self, const struct ss_failure *violation) {
    fprintf(stderr, "%s at %" PRIu64 "\n", violation->rule, violation->address);
    ++*(int *)self;
}

static const map_kind kinds[] = {
    {"u64 -> u64", {TERM_BYTES(1, 8)}, 1, {8, 1, 0}, {8, 1, 0}, 0, 0},
    {"array<16> -> array<16>", {TERM_BYTES(1, WIDE)}, 1, {WIDE, 1, 0}, {WIDE, 1, 0}, 0, 0},
    {"bytes -> bytes", {TERM_BYTES(0, SS_UNBOUNDED)}, 1, NO_BOUND, NO_BOUND, 0, 0},
};

static ss_column column_of(const columns *on, uint8_t *data, const map_kind *kind) {
    bool native = kind == &kinds[0], fixed = kind->key.fixed != 0;
    return (ss_column){data, fixed ? NULL : on->ends, native ? 8u : fixed ? WIDE : 0u, native, 0, 0};
}

static void check_map(ss_btree *map) {
    int broken = 0;
    CHECK_EQ(ss_btree_check(map, count_violation, &broken), SS_OK);
    CHECK_EQ(broken, 0);
}

static void many_round(columns *on, const map_kind *kind, ss_btree *map, uint8_t *found) {
    ss_column keys = column_of(on, on->keys, kind), values = column_of(on, on->values, kind);
    uint8_t room[COUNT * WIDE];
    ss_output_column out = {room, keys.size, keys.native, 0};
    CHECK(ss_btree_insert_many(map, &keys, &values, COUNT) >= 0);
    check_map(map);
    if (kind->value.fixed) CHECK_EQ(ss_btree_get_many(map, &keys, COUNT, &out, found), SS_OK);
    CHECK(ss_btree_get_many_bytes(map, &keys, COUNT, found) >= 0);
    ss_result_drop();
    CHECK(ss_btree_remove_many(map, &keys, COUNT, found) >= 0);
    check_map(map);
}

/* A map is changed by keys that ascend, or it is refused with nothing changed. */
static void check_change(ss_btree *map, int64_t result, int64_t before) {
    CHECK(result >= 0 || result == SS_ARGUMENT);
    if (result < 0) CHECK_EQ(ss_btree_length(map), before);
    check_map(map);
}

/* The scribbler has little time to spoil few keys: some of these calls are done, others are refused. */
static void ascending_round(columns *on, const map_kind *kind, ss_btree *map, uint8_t *found) {
    ss_column keys = column_of(on, on->keys, kind), values = column_of(on, on->values, kind);
    for (uint64_t count = 16; count <= COUNT; count *= 5) {
        fill(on, kind->key.fixed ? (uint32_t)kind->key.max_size : WIDE, keys.native != 0);
        int64_t before = ss_btree_length(map);
        check_change(map, ss_btree_toggle_many(map, &keys, &values, count, found), before);
        fill(on, kind->key.fixed ? (uint32_t)kind->key.max_size : WIDE, keys.native != 0);
        before = ss_btree_length(map);
        check_change(map, ss_btree_retain_many(map, &keys, count), before);
    }
}

/* A map is built, or refused with nothing changed. */
static void build_round(columns *on, const map_kind *kind) {
    ss_column keys = column_of(on, on->keys, kind), values = column_of(on, on->values, kind);
    ss_memory *memory;
    ss_btree *map;
    CHECK_EQ(ss_memory_new_flat(1000, &memory), SS_OK);
    CHECK_EQ(open_kind(memory, SS_INIT, kind, &map), SS_OK);
    fill(on, kind->key.fixed ? (uint32_t)kind->key.max_size : WIDE, keys.native != 0);
    int status = ss_btree_build(map, &keys, &values, COUNT);
    CHECK(status == SS_OK || status == SS_ARGUMENT);
    CHECK_EQ(ss_btree_length(map), status == SS_OK ? COUNT : 0);
    check_map(map);
    ss_btree_free(map);
    ss_memory_release(memory);
}

static void maps(columns *on, const map_kind *kind) {
    ss_memory *memory;
    ss_btree *map;
    uint8_t *found = malloc(COUNT);
    CHECK_EQ(ss_memory_new_flat(10000, &memory), SS_OK);
    CHECK_EQ(open_kind(memory, SS_INIT, kind, &map), SS_OK);
    fill(on, WIDE, false);
    for (int i = 0; i < ROUNDS; i++) many_round(on, kind, map, found);
    for (int i = 0; i < ROUNDS; i++) ascending_round(on, kind, map, found);
    for (int i = 0; i < ROUNDS; i++) build_round(on, kind);
    ss_btree_free(map);
    ss_memory_release(memory);
    free(found);
}

static void heaps(columns *on, uint32_t size, bool fixed) {
    const ss_order_term term = {SS_ORDER_BYTES, fixed, size, {-1, -1, -1}, 0};
    ss_memory *memory;
    ss_heap *heap;
    CHECK_EQ(ss_memory_new_flat(10000, &memory), SS_OK);
    CHECK_EQ(ss_heap_open(memory, SS_INIT, size, fixed, &term, 1, NULL, NULL, &heap), SS_OK);
    fill(on, size, false);
    for (int i = 0; i < ROUNDS; i++) {
        int broken = 0;
        CHECK_EQ(fixed ? ss_heap_push_many(heap, on->keys, COUNT) : ss_heap_push_many_var(heap, on->keys, on->ends, COUNT), SS_OK);
        if (size == 8) CHECK_EQ(ss_heap_push_many_ints(heap, on->keys, COUNT, 0), SS_OK);
        CHECK_EQ(ss_heap_check(heap, count_violation, &broken), SS_OK);
        CHECK_EQ(broken, 0);
    }
    ss_heap_free(heap);
    ss_memory_release(memory);
}

static void rows(columns *on) {
    ss_memory *memory[4];
    ss_vec *fixed, *variable;
    ss_log *log;
    int broken = 0;
    for (int i = 0; i < 4; i++) CHECK_EQ(ss_memory_new_flat(10000, &memory[i]), SS_OK);
    CHECK_EQ(ss_vec_open(memory[0], SS_INIT, 8, 1, &fixed), SS_OK);
    CHECK_EQ(ss_vec_open(memory[1], SS_INIT, WIDE, 0, &variable), SS_OK);
    CHECK_EQ(ss_log_open(memory[2], memory[3], SS_INIT, &log), SS_OK);
    fill(on, WIDE, false);
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_EQ(ss_vec_extend(fixed, on->keys, COUNT), SS_OK);
        CHECK_EQ(ss_vec_extend_ints(fixed, on->keys, COUNT, 1), SS_OK);
        CHECK_EQ(ss_vec_extend_var(variable, on->keys, on->ends, COUNT), SS_OK);
        CHECK_EQ(ss_log_extend(log, on->keys, on->ends, COUNT), SS_OK);
        CHECK_EQ(ss_access_write(memory[0], 0, on->keys, 0), SS_OK);
    }
    CHECK_EQ(ss_vec_check(fixed, count_violation, &broken), SS_OK);
    CHECK_EQ(ss_vec_check(variable, count_violation, &broken), SS_OK);
    CHECK_EQ(ss_log_check(log, count_violation, &broken), SS_OK);
    CHECK_EQ(broken, 0);
    ss_vec_free(fixed);
    ss_vec_free(variable);
    ss_log_free(log);
    for (int i = 0; i < 4; i++) ss_memory_release(memory[i]);
}

int main(void) {
    columns on = {.keys = calloc(COUNT, WIDE), .values = calloc(COUNT, WIDE), .ends = calloc(COUNT, 8)};
    pthread_t thread;
    if (!CHECK(on.keys != NULL && on.values != NULL && on.ends != NULL)) return 1;
    CHECK_EQ(pthread_create(&thread, NULL, scribble, &on), 0);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) maps(&on, &kinds[i]);
    heaps(&on, 8, true);
    heaps(&on, WIDE, true);
    heaps(&on, WIDE, false);
    rows(&on);
    atomic_store(&on.done, true);
    pthread_join(thread, NULL);
    free(on.keys);
    free(on.values);
    free(on.ends);
    return check_summary();
}
