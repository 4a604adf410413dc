/* SPDX-License-Identifier: Apache-2.0 */
/* Memories of every kind for the tests of structures, images of them, and random numbers. */
#ifndef SS_MEMORIES_H
#define SS_MEMORIES_H

#include <stdlib.h>

#include "core/result.h"
#include "memory/access.h"
#include "memory/manager.h"
#include "support/check.h"

/* ---- random numbers ---- */

static uint64_t random_state = 42;

static inline uint64_t random_number(void) {
    uint64_t z = random_state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static inline uint64_t random_below(uint64_t limit) {
    return random_number() % limit;
}

static inline void random_bytes(uint8_t *to, uint64_t size) {
    for (uint64_t i = 0; i < size; i++) to[i] = (uint8_t)random_number();
}

/* ---- a foreign memory over an array, which can fail ---- */

typedef struct array_memory {
    uint8_t *bytes;
    uint64_t pages, max_pages;
    int64_t fail_at; /* the call that fails, counted down; negative: none does */
    uint64_t read;   /* bytes, of all reads */
} array_memory;

static inline int array_fails(array_memory *array) {
    /* A callback is the user's code, and may itself use what answers in bytes. */
    memset(ss_result_buffer(300), '!', 300);
    return array->fail_at >= 0 && array->fail_at-- == 0;
}

static inline int array_size(void *self, uint64_t *pages) {
    *pages = ((array_memory *)self)->pages;
    return SS_OK;
}

static inline int array_grow(void *self, uint64_t pages, uint64_t *old) {
    array_memory *array = self;
    if (array_fails(array) || pages > array->max_pages - array->pages) return ss_fail(SS_OUT_OF_MEMORY, "array", 0, 0, 0);
    uint64_t bytes = (array->pages + pages) * SS_PAGE_SIZE;
    uint8_t *more = realloc(array->bytes, bytes == 0 ? 1 : bytes);
    if (more == NULL) return ss_fail(SS_NO_HEAP, "array", 0, bytes, 0);
    *old = array->pages;
    array->bytes = more;
    memset(array->bytes + array->pages * SS_PAGE_SIZE, 0, pages * SS_PAGE_SIZE);
    array->pages += pages;
    return SS_OK;
}

static inline int array_place(array_memory *array, uint64_t offset, uint64_t length) {
    uint64_t bytes = array->pages * SS_PAGE_SIZE;
    if (array_fails(array)) return ss_fail(SS_CALLBACK, "array", offset, length, 0);
    return offset <= bytes && length <= bytes - offset ? SS_OK : ss_fail(SS_OUT_OF_BOUNDS, "array", offset, length, bytes);
}

static inline int array_read(void *self, uint64_t offset, void *to, uint64_t length) {
    array_memory *array = self;
    int status = array_place(array, offset, length);
    array->read += length;
    if (status == SS_OK) memcpy(to, array->bytes + offset, length);
    return status;
}

static inline int array_write(void *self, uint64_t offset, const void *from, uint64_t length) {
    array_memory *array = self;
    int status = array_place(array, offset, length);
    if (status == SS_OK) memcpy(array->bytes + offset, from, length);
    return status;
}

static const ss_foreign_ops array_ops = {.size = array_size, .grow = array_grow, .read = array_read, .write = array_write};

/* ---- a memory of any kind ---- */

enum kind { FLAT, BUCKETS, RESTRICTED, FOREIGN, FOREIGN_BUCKETS, KINDS };

struct place {
    enum kind kind;
    ss_memory *root;
    ss_memory *memory; /* where the structure lives */
    ss_memory *other;  /* buckets: a second memory of the manager */
    ss_manager *manager;
    array_memory array;
};

/* The structure's memory may grow to max_pages pages of the root, bookkeeping included. */
static inline void place_open(struct place *place, enum kind kind, uint64_t max_pages) {
    memset(place, 0, sizeof *place);
    place->kind = kind;
    place->array = (array_memory){.max_pages = max_pages, .fail_at = -1};
    bool foreign = kind == FOREIGN || kind == FOREIGN_BUCKETS;
    CHECK_EQ(foreign ? ss_memory_new_foreign(&array_ops, &place->array, &place->root) : ss_memory_new_flat(max_pages, &place->root), SS_OK);
    if (kind == RESTRICTED) {
        CHECK_EQ(ss_memory_new_restricted(place->root, 2, max_pages, &place->memory), SS_OK);
    } else if (kind == BUCKETS || kind == FOREIGN_BUCKETS) {
        CHECK_EQ(ss_manager_open(place->root, SS_NEW, 1, &place->manager), SS_OK);
        CHECK_EQ(ss_manager_get(place->manager, 3, &place->memory), SS_OK);
        CHECK_EQ(ss_manager_get(place->manager, 9, &place->other), SS_OK);
    } else {
        place->memory = place->root;
        ss_memory_retain(place->memory);
    }
}

static inline void place_close(struct place *place) {
    ss_memory_release(place->memory);
    ss_memory_release(place->other);
    ss_manager_free(place->manager);
    ss_memory_release(place->root);
    free(place->array.bytes);
}

/* Puts a bucket of another memory between those of the structure, so that its bytes do not lie in one piece. */
static inline void place_interleave(struct place *place) {
    if (place->other != NULL) (void)ss_access_grow(place->other, 1);
}

/* ---- images ---- */

struct image {
    uint8_t *bytes;
    uint64_t pages;
};

static inline struct image image_of(ss_memory *memory) {
    struct image image = {.pages = (uint64_t)ss_access_size(memory)};
    image.bytes = malloc(image.pages * SS_PAGE_SIZE + 1);
    CHECK_EQ(ss_access_read(memory, 0, image.bytes, image.pages * SS_PAGE_SIZE), SS_OK);
    return image;
}

static inline void image_free(struct image *image) {
    free(image->bytes);
    image->bytes = NULL;
}

static inline bool image_equal(const struct image *a, const struct image *b) {
    return a->pages == b->pages && memcmp(a->bytes, b->bytes, a->pages * SS_PAGE_SIZE) == 0;
}

/* Is the memory as it was? What a foreign memory was grown by stays, but as zeros. */
static inline bool image_holds(const struct image *before, ss_memory *memory) {
    struct image now = image_of(memory);
    uint64_t size = before->pages * SS_PAGE_SIZE, size_now = now.pages * SS_PAGE_SIZE;
    bool holds = now.pages == before->pages || (memory->root->foreign && now.pages > before->pages);
    if (holds) holds = memcmp(now.bytes, before->bytes, size) == 0;
    for (uint64_t i = size; holds && i < size_now; i++) holds = now.bytes[i] == 0;
    image_free(&now);
    return holds;
}

static inline void image_restore(const struct image *image, ss_memory *memory) {
    CHECK_EQ(ss_access_write(memory, 0, image->bytes, image->pages * SS_PAGE_SIZE), SS_OK);
}

#endif
