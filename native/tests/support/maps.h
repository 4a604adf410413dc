/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the B-tree and the fuzzers share: random numbers, kinds of maps, a memory behind callbacks. */
#ifndef SS_TEST_MAPS_H
#define SS_TEST_MAPS_H

#include <stdio.h>
#include <stdlib.h>

#include "memory/access.h"
#include "memory/manager.h"
#include "structures/btree.h"
#include "structures/cursor.h"
#include "structures/node.h"

/* ---- random numbers (splitmix64) ---- */

/* Where there are bytes, they make the choices until they are used up (a fuzzer's input). */
typedef struct rng {
    uint64_t state;
    const uint8_t *bytes;
    size_t left;
} rng;

static inline uint64_t rng_mixed(rng *random) {
    uint64_t z = (random->state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static inline uint64_t rng_sized(rng *random, size_t size) {
    uint64_t number = 0;
    if (random->left < size) random->left = 0;
    if (random->left == 0) return rng_mixed(random);
    memcpy(&number, random->bytes, size);
    random->bytes += size;
    random->left -= size;
    return number;
}

static inline uint64_t rng_next(rng *random) {
    return rng_sized(random, 8);
}

/* Takes no more bytes than a small choice needs, so that a change of one byte changes one choice. */
static inline uint64_t rng_below(rng *random, uint64_t n) {
    return rng_sized(random, n <= 256 ? 1 : n <= 65536 ? 2 : 8) % n;
}

/* ---- kinds of maps ---- */

enum { KEY_ROOM = 3000, VALUE_ROOM = 6000 };

/* A key and value type, and how big the test makes them. */
typedef struct map_kind {
    const char *name;
    ss_order_term terms[4];
    uint32_t term_count;
    ss_bound key, value;
    uint32_t long_keys, long_values; /* one in so many is long; 0 is none */
} map_kind;

#define TERM_BYTES(is_fixed, max) {SS_ORDER_BYTES, is_fixed, max, {-1, -1, -1}, 0}
#define NO_BOUND {SS_UNBOUNDED, 0, 0}

static const map_kind map_kinds[] = {
    {"u64 -> u64", {TERM_BYTES(1, 8)}, 1, {8, 1, 0}, {8, 1, 0}, 0, 0},
    {"bytes -> bytes", {TERM_BYTES(0, SS_UNBOUNDED)}, 1, NO_BOUND, NO_BOUND, 7, 5},
    {"blob<29> -> blob<60>", {TERM_BYTES(0, 29)}, 1, {29, 0, 0}, {60, 0, 0}, 0, 0},
    {"u32 -> unit", {TERM_BYTES(1, 4)}, 1, {4, 1, 0}, {0, 0, 0}, 0, 0},
    {"principal -> bytes", {{SS_ORDER_LENGTH_FIRST, 0, 29, {-1, -1, -1}, 0}}, 1, {29, 0, 0}, NO_BOUND, 0, 9},
    {"bytes -> u64", {TERM_BYTES(0, SS_UNBOUNDED)}, 1, NO_BOUND, {8, 1, 0}, 3, 0},
    {"tuple<blob<8>,u16> -> u8",
     {{SS_ORDER_TUPLE2, 1, 11, {1, 2, -1}, 0}, TERM_BYTES(0, 8), TERM_BYTES(1, 2)},
     3,
     {11, 1, 0},
     {1, 1, 0},
     0,
     0},
};
enum { MAP_KINDS = sizeof map_kinds / sizeof map_kinds[0], U64_MAP = 0, BYTES_MAP = 1 };

static inline int open_kind(ss_memory *memory, int mode, const map_kind *kind, ss_btree **tree) {
    return ss_btree_open(memory, mode, kind->terms, kind->term_count, NULL, NULL, kind->key, kind->value, tree);
}

static inline ss_span random_bytes(rng *random, uint8_t *room, uint64_t size) {
    uint8_t next = (uint8_t)rng_below(random, 256);
    for (uint64_t i = 0; i < size; i++, next = (uint8_t)(next + 31)) room[i] = next;
    return (ss_span){room, size};
}

static inline uint64_t size_within(rng *random, ss_bound bound, uint32_t one_in, uint64_t room) {
    if (bound.fixed) return bound.max_size;
    uint64_t most = bound.max_size < 40 ? bound.max_size : 40;
    if (one_in != 0 && rng_below(random, one_in) == 0) most = room;
    if (bound.max_size < room && rng_below(random, 8) == 0) most = bound.max_size;
    return rng_below(random, most + 1);
}

/* The key number `n` of a kind: the same each time. */
static inline ss_span key_number(const map_kind *kind, uint64_t n, uint8_t room[KEY_ROOM]) {
    rng random = {.state = n * 7919 + 3};
    ss_span key = random_bytes(&random, room, size_within(&random, kind->key, kind->long_keys, KEY_ROOM));
    for (uint64_t i = 0; i < key.size && i < 8; i++) room[i] = (uint8_t)(rng_next(&random));
    if (kind->terms[0].kind == SS_ORDER_TUPLE2) {
        uint8_t size = (uint8_t)rng_below(&random, 9);
        memset(room + size, 0, 8u - size);
        room[10] = size;
    }
    return key;
}

static inline ss_span random_value(const map_kind *kind, rng *random, uint8_t room[VALUE_ROOM]) {
    return random_bytes(random, room, size_within(random, kind->value, kind->long_values, VALUE_ROOM));
}

/* Keys `n`, `n` + 1, ... and a value for each, as the functions for many take them. */
enum { MANY = 12 };

typedef struct many {
    uint8_t keys[MANY * KEY_ROOM], values[MANY * VALUE_ROOM], found[MANY];
    uint64_t key_ends[MANY], value_ends[MANY];
    ss_column key_column, value_column;
} many;

static inline void make_many(many *made, const map_kind *kind, rng *random, uint64_t n) {
    uint64_t key_end = 0, value_end = 0;
    for (uint64_t i = 0; i < MANY; i++) {
        made->key_ends[i] = key_end += key_number(kind, n + i, made->keys + key_end).size;
        made->value_ends[i] = value_end += random_value(kind, random, made->values + value_end).size;
    }
    made->key_column = (ss_column){made->keys, made->key_ends, 0, 0, 0, 0};
    made->value_column = (ss_column){made->values, made->value_ends, 0, 0, 0, 0};
}

/* ---- a memory behind callbacks ---- */

typedef struct buffer_memory {
    uint8_t *bytes;
    uint64_t pages, limit;
    long calls_left; /* 0: the next counted call fails; negative: none does */
    int fail_kind;   /* which calls are counted: one of those below */
} buffer_memory;

enum { FAIL_NONE, FAIL_SIZE, FAIL_GROW, FAIL_READ, FAIL_WRITE };

static inline int buffer_fails(buffer_memory *self, int kind) {
    return self->fail_kind == kind && self->calls_left >= 0 && self->calls_left-- == 0;
}

static int buffer_size(void *self, uint64_t *pages) {
    if (buffer_fails(self, FAIL_SIZE)) return SS_CALLBACK;
    *pages = ((buffer_memory *)self)->pages;
    return SS_OK;
}

static int buffer_grow(void *self, uint64_t pages, uint64_t *old) {
    buffer_memory *memory = self;
    if (buffer_fails(self, FAIL_GROW)) return SS_CALLBACK;
    if (pages > memory->limit || memory->pages > memory->limit - pages) return ss_fail(SS_OUT_OF_MEMORY, NULL, 0, pages, memory->limit);
    *old = memory->pages;
    uint8_t *bytes = realloc(memory->bytes, (memory->pages + pages) * SS_PAGE_SIZE + 1);
    if (bytes == NULL) return ss_fail(SS_NO_HEAP, "a test's memory", 0, 0, 0);
    memset(bytes + memory->pages * SS_PAGE_SIZE, 0, pages * SS_PAGE_SIZE);
    memory->bytes = bytes;
    memory->pages += pages;
    return SS_OK;
}

static int buffer_read(void *self, uint64_t offset, void *to, uint64_t length) {
    const buffer_memory *memory = self;
    if (buffer_fails(self, FAIL_READ)) return SS_CALLBACK;
    uint64_t size = memory->pages * SS_PAGE_SIZE;
    if (offset > size || length > size - offset) return ss_fail(SS_OUT_OF_BOUNDS, NULL, offset, length, size);
    memcpy(to, memory->bytes + offset, length);
    return SS_OK;
}

static int buffer_write(void *self, uint64_t offset, const void *from, uint64_t length) {
    buffer_memory *memory = self;
    if (buffer_fails(self, FAIL_WRITE)) return SS_CALLBACK;
    uint64_t size = memory->pages * SS_PAGE_SIZE;
    if (offset > size || length > size - offset) return ss_fail(SS_OUT_OF_BOUNDS, NULL, offset, length, size);
    memcpy(memory->bytes + offset, from, length);
    return SS_OK;
}

static const ss_foreign_ops buffer_ops = {buffer_size, buffer_grow, buffer_read, buffer_write};

/* ---- a memory in each of its kinds ---- */

enum place { IN_FLAT, IN_SCATTERED, IN_RESTRICTED, IN_FOREIGN, IN_SCATTERED_FOREIGN, PLACES };

static const char *const place_names[] = {"flat", "scattered buckets", "restricted", "foreign", "scattered buckets of a foreign memory"};

/* `memory` is the one to use; no two of its pages lie one behind the other where it is scattered. */
typedef struct test_memory {
    ss_memory *root, *memory, *neighbour;
    ss_manager *manager;
    buffer_memory buffer;
} test_memory;

static inline void require(bool held, const char *what) {
    if (held) return;
    fprintf(stderr, "cannot go on: %s (%s)\n", what, ss_status_text(ss_last_failure()->status));
    abort();
}

static inline void test_memory_new(test_memory *made, enum place place, uint64_t limit) {
    *made = (test_memory){.buffer = {.limit = limit, .fail_kind = FAIL_NONE}};
    bool foreign = place == IN_FOREIGN || place == IN_SCATTERED_FOREIGN;
    int status = foreign ? ss_memory_new_foreign(&buffer_ops, &made->buffer, &made->root) : ss_memory_new_flat(limit, &made->root);
    require(status == SS_OK, "a new memory");
    made->memory = made->root;
    if (place == IN_RESTRICTED) require(ss_memory_new_restricted(made->root, 2, limit, &made->memory) == SS_OK, "a restricted memory");
    if (place != IN_SCATTERED && place != IN_SCATTERED_FOREIGN) return;
    require(ss_manager_open(made->root, SS_NEW, 1, &made->manager) == SS_OK, "a manager");
    require(ss_manager_get(made->manager, 3, &made->memory) == SS_OK, "a virtual memory");
    require(ss_manager_get(made->manager, 9, &made->neighbour) == SS_OK, "its neighbour");
}

/* Between operations: the next page will not follow the last one. */
static inline void test_memory_scatter(test_memory *made) {
    if (made->neighbour == NULL) return;
    int64_t size = ss_access_size(made->memory), other = ss_access_size(made->neighbour);
    if (other < size) require(ss_access_grow(made->neighbour, 1) >= 0, "a neighbour that grows");
}

static inline void test_memory_free(test_memory *made) {
    if (made->memory != made->root) ss_memory_release(made->memory);
    ss_memory_release(made->neighbour);
    ss_manager_free(made->manager);
    ss_memory_release(made->root);
    free(made->buffer.bytes);
}

#endif
