/* SPDX-License-Identifier: Apache-2.0 */
/* A map with hashes under a failing heap and a memory that cannot grow: what fails changes nothing in either map. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "memory/access.h"
#include "memory/manager.h"
#include "structures/certified.h"
#include "support/check.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);

static long left = -1; /* allocations that still succeed; -1: all */

static int allowed(void) {
    if (left < 0) return 1;
    if (left == 0) return 0;
    left--;
    return 1;
}

void *__wrap_malloc(size_t size) {
    return allowed() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size) {
    return allowed() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *at, size_t size) {
    return allowed() ? __real_realloc(at, size) : NULL;
}

typedef struct fixture {
    ss_memory *root, *data, *hashes;
    ss_manager *manager;
    ss_btree *map;
} fixture;

static int open_map(fixture *f) {
    ss_order_term bytes = {.kind = SS_ORDER_BYTES, .max_size = SS_UNBOUNDED, .part = {-1, -1, -1}};
    ss_bound any = {.max_size = SS_UNBOUNDED};
    return ss_certified_open(f->data, f->hashes, SS_INIT, &bytes, 1, NULL, NULL, any, any, &f->map);
}

static int attach_to_map(fixture *f) {
    ss_order_term bytes = {.kind = SS_ORDER_BYTES, .max_size = SS_UNBOUNDED, .part = {-1, -1, -1}};
    ss_bound any = {.max_size = SS_UNBOUNDED};
    int status = ss_btree_open(f->data, SS_INIT, &bytes, 1, NULL, NULL, any, any, &f->map);
    if (status != SS_OK) return status;
    status = ss_certified_attach(f->map, f->hashes, SS_INIT);
    if (status != SS_OK) ss_btree_free_at(&f->map);
    return status;
}

/* The whole memory, which the caller frees. */
static uint8_t *image_of(fixture *f, uint64_t *size) {
    *size = (uint64_t)ss_access_size(f->root) * SS_PAGE_SIZE;
    uint8_t *image = __real_malloc((size_t)*size + 1);
    CHECK(image != NULL && ss_access_read(f->root, 0, image, *size) == SS_OK);
    return image;
}

static bool is_as_before(fixture *f, const uint8_t *before, uint64_t size) {
    uint64_t now;
    uint8_t *image = image_of(f, &now);
    bool same = now == size && memcmp(image, before, (size_t)size) == 0;
    free(image);
    return same;
}

static void begin(fixture *f, uint64_t pages) {
    memset(f, 0, sizeof *f);
    CHECK(ss_memory_new_flat(pages, &f->root) == SS_OK);
    CHECK(ss_manager_open(f->root, SS_INIT, 1, &f->manager) == SS_OK);
    CHECK(ss_manager_get(f->manager, 0, &f->data) == SS_OK);
    CHECK(ss_manager_get(f->manager, 1, &f->hashes) == SS_OK);
}

static void end(fixture *f) {
    ss_btree_free_at(&f->map);
    ss_memory_release(f->data);
    ss_memory_release(f->hashes);
    ss_manager_free(f->manager);
    ss_memory_release(f->root);
}

static int put(fixture *f, uint32_t number) {
    uint8_t key[4];
    ss_put_be(key, 4, number * 2654435761u);
    int status = ss_btree_set_bytes_bytes(f->map, key, 4, key, number % 5);
    return status < 0 ? status : SS_OK;
}

static int take(fixture *f, uint32_t number) {
    uint8_t key[4];
    ss_put_be(key, 4, number * 2654435761u);
    int64_t size = ss_btree_remove_bytes_bytes(f->map, key, 4);
    if (size >= 0) ss_result_drop();
    return size < 0 ? (int)size : SS_OK;
}

static void root_of(fixture *f, uint8_t root[32]) {
    long kept = left;
    left = -1;
    CHECK(ss_certified_root(f->map) == 32);
    memcpy(root, ss_result(), 32);
    ss_result_drop();
    left = kept;
}

static void test_failing_heap(void) {
    fixture f;
    begin(&f, 100);
    CHECK(open_map(&f) == SS_OK);
    for (uint32_t i = 0; i < 200; i++) CHECK(put(&f, i) == SS_OK);
    for (uint32_t i = 200; i < 230; i++) {
        uint8_t before[32], after[32];
        int status = SS_NO_HEAP;
        root_of(&f, before);
        for (long n = 0; status != SS_OK; n++) {
            left = n;
            status = i % 3 == 0 ? take(&f, i - 150) : put(&f, i);
            left = -1;
            CHECK(status == SS_OK || status == SS_NO_HEAP);
            root_of(&f, after);
            CHECK((memcmp(before, after, 32) == 0) == (status != SS_OK));
            CHECK(ss_btree_check(f.map, NULL, NULL) == SS_OK);
        }
    }
    for (long n = 0;; n++) {
        uint8_t key[4] = {1, 2, 3, 4};
        left = n;
        int64_t size = ss_certified_witness_range(f.map, 1, key, 4, 0, NULL, 0);
        left = -1;
        CHECK(size > 0 || size == SS_NO_HEAP);
        if (size <= 0) continue;
        ss_result_drop();
        break;
    }
    end(&f);
}

static void open_at_each_failure(fixture *f, int (*open)(fixture *f)) {
    uint64_t size;
    uint8_t *before = image_of(f, &size);
    int status = SS_NO_HEAP;
    for (long n = 0; status != SS_OK; n++) {
        left = n;
        status = open(f);
        left = -1;
        CHECK(status == SS_OK || status == SS_NO_HEAP);
        CHECK(status == SS_OK || is_as_before(f, before, size));
    }
    free(before);
    CHECK(ss_btree_check(f->map, NULL, NULL) == SS_OK);
}

/* Hashes that are there, hashes of an empty map, and hashes of a map that had none. */
static void test_opening_under_a_failing_heap(void) {
    fixture f;
    for (int attached = 0; attached < 2; attached++) {
        begin(&f, 100);
        if (!attached) open_at_each_failure(&f, open_map);
        if (attached) CHECK(open_map(&f) == SS_OK);
        for (uint32_t i = 0; i < 100; i++) CHECK(put(&f, i) == SS_OK);
        ss_btree_free_at(&f.map);
        open_at_each_failure(&f, attached ? attach_to_map : open_map);
        ss_btree_free_at(&f.map);
        ss_memory_release(f.hashes);
        CHECK(ss_manager_get(f.manager, 2, &f.hashes) == SS_OK);
        open_at_each_failure(&f, attached ? attach_to_map : open_map);
        end(&f);
    }
}

static void test_full_memory(void) {
    for (uint64_t pages = 3; pages < 9; pages++) {
        fixture f;
        begin(&f, pages);
        uint64_t size;
        uint8_t *empty = image_of(&f, &size);
        int opened = open_map(&f);
        CHECK(opened == SS_OK || is_as_before(&f, empty, size));
        free(empty);
        if (opened == SS_OK) {
            int status = SS_OK;
            uint8_t before[32], after[32];
            uint32_t i = 0;
            for (; status == SS_OK && i < 100000; i++) {
                root_of(&f, before);
                status = put(&f, i);
            }
            CHECK(status == SS_OUT_OF_MEMORY);
            root_of(&f, after);
            CHECK(memcmp(before, after, 32) == 0);
            CHECK(ss_btree_check(f.map, NULL, NULL) == SS_OK);
            CHECK(ss_btree_length(f.map) == (int64_t)i - 1);
        }
        end(&f);
    }
}

int main(void) {
    test_failing_heap();
    test_opening_under_a_failing_heap();
    test_full_memory();
    return check_summary();
}
