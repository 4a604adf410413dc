/* SPDX-License-Identifier: Apache-2.0 */
/* What one operation costs without Python: run plainly it prints nanoseconds, under callgrind it counts instructions and
 * cache misses of the measured operations alone (benches/cost.py does both).
 *
 * usage: cost OPERATION IMAGE SIZE COUNT    COUNT times an operation below, on the SIZE entries in the memory image
 *        cost chase BYTES                   the latency of a load that waits for the one before it, in so many bytes
 *
 * Entry i has key i of the splitmix64 stream of benches/work.py and value i; a map holds entries 0..SIZE, a vec the
 * keys, a heap too. Rounds before the measured one fill the caches and do not count.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "memory/access.h"
#include "memory/memory.h"
#include "structures/btree.h"
#include "structures/heap.h"
#include "structures/vec.h"

#if defined(__has_include)
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#endif
#endif
#ifndef CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_START_INSTRUMENTATION ((void)0)
#define CALLGRIND_STOP_INSTRUMENTATION ((void)0)
#define CALLGRIND_ZERO_STATS ((void)0)
#endif

enum { MOST = 20000, ROUNDS = 9, CHASES = 500000 };

#define KEY_SEED UINT64_C(42)
#define PICK_SEED UINT64_C(43)

static uint64_t splitmix(uint64_t seed, uint64_t i) {
    uint64_t z = seed + (i + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "cost: %s\n", what);
    exit(2);
}

static void demand(int64_t status, const char *what) {
    if (status < 0) fail(what);
}

/* ---- what is measured ---- */

typedef struct subject {
    ss_memory *memory;
    ss_btree *map;
    ss_vec *vec;
    ss_heap *heap;
    uint64_t size;
    uint64_t scratch; /* a page that belongs to no structure */
} subject;

typedef struct batch {
    uint64_t count;
    uint64_t keys[MOST], values[MOST];
    uint8_t found[MOST];
} batch;

static uint64_t sink;

static void map_get(subject *s, batch *b) {
    for (uint64_t i = 0; i < b->count; i++) sink += ss_btree_get_u64_u64(s->map, b->keys[i]);
}

static void map_insert(subject *s, batch *b) {
    for (uint64_t i = 0; i < b->count; i++) sink += ss_btree_insert_u64_u64(s->map, b->keys[i], b->values[i]);
}

static void map_remove(subject *s, batch *b) {
    for (uint64_t i = 0; i < b->count; i++) sink += ss_btree_remove_u64_u64(s->map, b->keys[i]);
}

static ss_column column(const uint64_t *numbers) {
    return (ss_column){.data = (const uint8_t *)numbers, .size = 8, .native = 1};
}

static void map_get_many(subject *s, batch *b) {
    ss_column keys = column(b->keys);
    ss_output_column room = {.data = (uint8_t *)b->values, .size = 8, .native = 1};
    demand(ss_btree_get_many(s->map, &keys, b->count, &room, b->found), "get_many");
}

static void map_insert_many(subject *s, batch *b) {
    ss_column keys = column(b->keys), values = column(b->values);
    demand(ss_btree_insert_many(s->map, &keys, &values, b->count), "insert_many");
}

static void map_remove_many(subject *s, batch *b) {
    ss_column keys = column(b->keys);
    demand(ss_btree_remove_many(s->map, &keys, b->count, b->found), "remove_many");
}

static void vec_get(subject *s, batch *b) {
    for (uint64_t i = 0; i < b->count; i++) sink += ss_vec_get_u64(s->vec, b->values[i]);
}

static void vec_push(subject *s, batch *b) {
    for (uint64_t i = 0; i < b->count; i++) demand(ss_vec_push_u64(s->vec, b->keys[i]), "push");
}

static void heap_push(subject *s, batch *b) {
    for (uint64_t i = 0; i < b->count; i++) demand(ss_heap_push_u64(s->heap, b->keys[i]), "push");
}

static void heap_pop(subject *s, batch *b) {
    for (uint64_t i = 0; i < b->count; i++) sink += ss_heap_pop_u64(s->heap);
}

static void memory_write(subject *s, batch *b) {
    for (uint64_t i = 0; i < b->count; i++) {
        uint64_t at = s->scratch + b->keys[i] % (SS_PAGE_SIZE - 8);
        demand(ss_access_write(s->memory, at, &b->values[i], 8), "write");
    }
}

/* Picks out of what is there, or entries that are not there yet. */
enum source { PICKED, FRESH };

typedef struct operation {
    const char *name;
    enum source source;
    void (*prepare)(subject *, batch *); /* before each round, not measured */
    void (*run)(subject *, batch *);
    void (*restore)(subject *, batch *); /* after each round, not measured */
} operation;

static const operation operations[] = {
    {"map.get", PICKED, NULL, map_get, NULL},
    {"map.insert", FRESH, NULL, map_insert, map_remove},
    {"map.remove", FRESH, map_insert, map_remove, NULL},
    {"map.get_many", PICKED, NULL, map_get_many, NULL},
    {"map.insert_many", FRESH, NULL, map_insert_many, map_remove},
    {"map.remove_many", FRESH, map_insert, map_remove_many, NULL},
    {"memory.write", PICKED, NULL, memory_write, NULL},
    {"vec.get", PICKED, NULL, vec_get, NULL},
    {"vec.push", FRESH, NULL, vec_push, NULL},
    {"heap.push", FRESH, NULL, heap_push, heap_pop},
    {"heap.pop", FRESH, heap_push, heap_pop, NULL},
};

static void fill(batch *b, enum source source, uint64_t size, uint64_t round) {
    for (uint64_t i = 0; i < b->count; i++) {
        uint64_t at = round * b->count + i;
        b->values[i] = source == PICKED ? splitmix(PICK_SEED, at) % size : size + at;
        b->keys[i] = splitmix(KEY_SEED, b->values[i]);
    }
}

/* ---- the structure ---- */

static void load(subject *s, const char *path) {
    FILE *file = fopen(path, "rb");
    uint8_t *page = malloc(SS_PAGE_SIZE);
    if (file == NULL || page == NULL) fail("the image cannot be read");
    demand(ss_memory_new_flat(SS_MAX_PAGES, &s->memory), "memory");
    for (uint64_t pages = 0; fread(page, SS_PAGE_SIZE, 1, file) == 1; pages++) {
        demand(ss_access_grow(s->memory, 1), "grow");
        demand(ss_access_write(s->memory, pages * SS_PAGE_SIZE, page, SS_PAGE_SIZE), "write");
    }
    s->scratch = (uint64_t)ss_access_grow(s->memory, 1) * SS_PAGE_SIZE;
    free(page);
    fclose(file);
}

static void open_structure(subject *s, const char *name) {
    static const ss_order_term number = {.kind = SS_ORDER_BYTES, .fixed = 1, .max_size = 8, .part = {-1, -1, -1}};
    ss_bound bound = {8, 1, 0};
    int status = strncmp(name, "memory", 6) == 0 ? SS_OK : SS_ARGUMENT;
    if (strncmp(name, "map", 3) == 0) status = ss_btree_open(s->memory, SS_LOAD, &number, 1, NULL, NULL, bound, bound, &s->map);
    if (strncmp(name, "vec", 3) == 0) status = ss_vec_open(s->memory, SS_LOAD, 8, 1, &s->vec);
    if (strncmp(name, "heap", 4) == 0) status = ss_heap_open(s->memory, SS_LOAD, 8, 1, &number, 1, NULL, NULL, &s->heap);
    demand(status, "the image does not hold the structure");
}

/* ---- measuring ---- */

static double one_round(const operation *o, subject *s, batch *b, uint64_t round, bool counted) {
    fill(b, o->source, s->size, round);
    if (o->prepare != NULL) o->prepare(s, b);
    if (counted) {
        CALLGRIND_START_INSTRUMENTATION; /* its caches begin empty */
        for (uint64_t warm = 0; warm < MOST; warm += b->count) {
            o->run(s, b);
            if (o->restore != NULL) o->restore(s, b);
            fill(b, o->source, s->size, ++round);
            if (o->prepare != NULL) o->prepare(s, b);
        }
        CALLGRIND_ZERO_STATS;
    }
    double start = now();
    o->run(s, b);
    double taken = now() - start;
    if (counted) CALLGRIND_STOP_INSTRUMENTATION;
    if (o->restore != NULL) o->restore(s, b);
    return taken / (double)b->count;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const operation *o, subject *s, uint64_t count) {
    batch *b = malloc(sizeof *b);
    if (b == NULL || count == 0 || count > MOST) fail("COUNT is from 1 to 20000");
    b->count = count;
#ifdef RUNNING_ON_VALGRIND
    if (RUNNING_ON_VALGRIND) {
        one_round(o, s, b, 0, true);
        free(b);
        return;
    }
#endif
    uint64_t rounds = ROUNDS * (MOST / count), warm = MOST / count;
    double *taken = malloc(rounds * sizeof *taken);
    if (taken == NULL) fail("no memory");
    for (uint64_t round = 0; round < rounds + warm; round++) {
        double ns = one_round(o, s, b, round, false);
        if (round >= warm) taken[round - warm] = ns;
    }
    qsort(taken, rounds, sizeof *taken, by_size);
    printf("%.1f\n", taken[rounds / 2]);
    free(taken);
    free(b);
}

/* A ring through all lines in random order. */
static void chase(uint64_t bytes) {
    uint64_t lines = bytes / 64, *at, *order = malloc(lines * sizeof *order);
    ss_memory *memory;
    demand(ss_memory_new_flat(SS_MAX_PAGES, &memory), "memory");
    demand(ss_access_grow(memory, bytes / SS_PAGE_SIZE + 1), "grow");
    uint8_t *base = memory->root->base;
    if (order == NULL) fail("no memory");
    for (uint64_t i = 0; i < lines; i++) order[i] = i;
    for (uint64_t i = lines - 1; i > 0; i--) {
        uint64_t j = splitmix(PICK_SEED, i) % i, held = order[i];
        order[i] = order[j];
        order[j] = held;
    }
    for (uint64_t i = 0; i < lines; i++) {
        at = (uint64_t *)(base + order[i] * 64);
        *at = order[(i + 1) % lines] * 64;
    }
    double best = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t offset = 0;
        double start = now();
        for (int i = 0; i < CHASES; i++) memcpy(&offset, base + offset, 8);
        double taken = now() - start;
        sink += offset;
        if (taken < best) best = taken;
    }
    printf("%.2f\n", best / CHASES);
    free(order);
    ss_memory_release(memory);
}

int main(int count, char **arguments) {
    if (count == 3 && strcmp(arguments[1], "chase") == 0) {
        chase(strtoull(arguments[2], NULL, 10));
        return 0;
    }
    if (count != 5) fail("usage: cost OPERATION IMAGE SIZE COUNT, or cost chase BYTES");
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (strcmp(operations[i].name, arguments[1]) != 0) continue;
        subject s = {.size = strtoull(arguments[3], NULL, 10)};
        load(&s, arguments[2]);
        open_structure(&s, arguments[1]);
        measure(&operations[i], &s, strtoull(arguments[4], NULL, 10));
        return 0;
    }
    fail("no such operation");
}
