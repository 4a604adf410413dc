/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "memory/contents.h"
#include "structures/btree.h"
#include "structures/cell.h"
#include "structures/heap.h"
#include "structures/log.h"
#include "structures/order.h"
#include "structures/vec.h"
#include "support/check.h"
#include "support/memories.h"

/* ---- each structure, opened in a mode and given up at once ---- */

static int open_vec(ss_memory *memory, int mode) {
    ss_vec *vec;
    int status = ss_vec_open(memory, mode, 8, 1, &vec);
    ss_vec_free(vec);
    return status;
}

static int open_heap(ss_memory *memory, int mode) {
    ss_order_term term = {.kind = SS_ORDER_BYTES, .fixed = 1, .max_size = 8};
    ss_heap *heap;
    int status = ss_heap_open(memory, mode, 8, 1, &term, 1, NULL, NULL, &heap);
    ss_heap_free(heap);
    return status;
}

static int open_cell(ss_memory *memory, int mode) {
    ss_cell *cell;
    int status = ss_cell_open(memory, mode, (const uint8_t *)"abc", 3, &cell);
    ss_cell_free(cell);
    return status;
}

static int open_map(ss_memory *memory, int mode) {
    ss_order_term term = {.kind = SS_ORDER_BYTES, .fixed = 1, .max_size = 8};
    ss_bound bound = {8, 1, 0};
    ss_btree *tree;
    int status = ss_btree_open(memory, mode, &term, 1, NULL, NULL, bound, bound, &tree);
    ss_btree_free(tree);
    return status;
}

static int open_manager(ss_memory *memory, int mode) {
    ss_manager *manager;
    int status = ss_manager_open(memory, mode, 1, &manager);
    ss_manager_free(manager);
    return status;
}

static int open_index(ss_memory *memory, int mode) {
    ss_memory *data;
    ss_log *log;
    CHECK_EQ(ss_memory_new_flat(10, &data), SS_OK);
    int status = ss_log_open(memory, data, mode, &log);
    CHECK_EQ(ss_access_size(data), status == SS_OK);
    ss_log_free(log);
    ss_memory_release(data);
    return status;
}

static int open_data(ss_memory *memory, int mode) {
    ss_memory *index;
    ss_log *log;
    CHECK_EQ(ss_memory_new_flat(10, &index), SS_OK);
    int status = ss_log_open(index, memory, mode, &log);
    CHECK_EQ(ss_access_size(index), status == SS_OK);
    ss_log_free(log);
    ss_memory_release(index);
    return status;
}

static const struct {
    int (*open)(ss_memory *memory, int mode);
    const char *magic;
    bool overwrites; /* the crate's init does */
    bool alone;      /* lies in one memory */
} structures[] = {
    {open_vec, "SVC", false, true},    {open_heap, "SMH", false, true},  {open_cell, "SCL", true, true},  {open_map, "BTR", true, true},
    {open_manager, "MGR", true, true}, {open_index, "GLI", true, false}, {open_data, "GLD", true, false},
};

static const struct {
    const char *bytes, *rule;
    uint64_t size, at;
} others[] = {
    {"SVC\1", "it holds a StableVec", 4, 0},
    {"SMH\1", "it holds a StableMinHeap", 4, 0},
    {"SCL\1", "it holds a StableCell", 4, 0},
    {"BTR\2", "it holds a StableBTreeMap or StableBTreeSet", 4, 0},
    {"MGR\1", "it holds a MemoryManager", 4, 0},
    {"GLI\1", "it holds the index of a StableLog", 4, 0},
    {"GLD\1", "it holds the data of a StableLog", 4, 0},
    {"SQLite format 3", "it holds an SQLite database", 16, 0},
    {"\x1f\x8b\x08", "it holds a gzip", 3, 0},
    {"\0asm\1", "it holds a wasm module", 5, 0},
    {"plain text", "it holds text", 10, 0},
    {"\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f", "it holds text", 8, 0},
    {"\xc8\xc9\xca\xcb\xcc\xcd\xce\xcf", "it holds bytes of no kind that is known here", 8, 0},
    {"x", "it begins with zeros, and something else follows", 1, 64},
    {"x", "it begins with zeros, and something else follows", 1, 3 * SS_PAGE_SIZE - 1},
};

static void other_contents_are_named_and_stay(enum kind kind) {
    for (size_t s = 0; s < sizeof structures / sizeof structures[0]; s++) {
        for (size_t o = 0; o < sizeof others / sizeof others[0]; o++) {
            if (memcmp(others[o].bytes, structures[s].magic, 3) == 0) continue;
            struct place place;
            place_open(&place, kind, 20);
            CHECK(ss_access_grow(place.memory, 3) >= 0);
            CHECK_EQ(ss_access_write(place.memory, others[o].at, others[o].bytes, others[o].size), SS_OK);
            struct image before = image_of(place.memory);
            CHECK_EQ(structures[s].open(place.memory, SS_INIT), SS_BAD_MAGIC);
            CHECK(strcmp(ss_last_failure()->rule, others[o].rule) == 0);
            CHECK_EQ(ss_last_failure()->address, others[o].at);
            CHECK_EQ(structures[s].open(place.memory, SS_LOAD), SS_BAD_MAGIC);
            CHECK(image_holds(&before, place.memory));
            CHECK_EQ(structures[s].open(place.memory, SS_INIT_OVERWRITE), structures[s].overwrites ? SS_OK : SS_BAD_MAGIC);
            CHECK_EQ(image_holds(&before, place.memory), !structures[s].overwrites);
            CHECK_EQ(structures[s].open(place.memory, SS_NEW), SS_OK);
            if (structures[s].alone) CHECK_EQ(structures[s].open(place.memory, SS_LOAD), SS_OK);
            image_free(&before);
            place_close(&place);
        }
    }
}

static void an_empty_memory_gets_a_structure(enum kind kind) {
    for (size_t s = 0; s < sizeof structures / sizeof structures[0]; s++) {
        for (uint64_t pages = 0; pages < 4; pages += 3) {
            struct place place;
            place_open(&place, kind, 20);
            if (pages > 0) CHECK(ss_access_grow(place.memory, pages) >= 0);
            CHECK_EQ(structures[s].open(place.memory, SS_LOAD), SS_BAD_MAGIC);
            CHECK_EQ(structures[s].open(place.memory, SS_INIT), SS_OK);
            if (structures[s].alone) CHECK_EQ(structures[s].open(place.memory, SS_INIT), SS_OK);
            place_close(&place);
        }
    }
}

/* A memory that was never written to is not read; one that was is read up to a limit. */
static void looking_has_a_limit(void) {
    ss_memory *memory;
    CHECK_EQ(ss_memory_new_flat(3 * SS_LOOKED_AT / SS_PAGE_SIZE, &memory), SS_OK);
    CHECK_EQ(ss_access_grow(memory, 2 * SS_LOOKED_AT / SS_PAGE_SIZE), 0);
    CHECK_EQ(ss_contents_demand_empty(memory), SS_OK);
    CHECK_EQ(ss_access_write(memory, 0, "", 1), SS_OK);
    CHECK_EQ(ss_contents_demand_empty(memory), SS_BAD_MAGIC);
    CHECK_EQ(ss_last_failure()->address, SS_LOOKED_AT);
    ss_memory_release(memory);
}

int main(void) {
    for (enum kind kind = 0; kind < KINDS; kind++) {
        other_contents_are_named_and_stay(kind);
        an_empty_memory_gets_a_structure(kind);
    }
    looking_has_a_limit();
    return check_summary();
}
