/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <string.h>

#include "memory/manager.h"
#include "structures/cell.h"
#include "structures/vec.h"
#include "support/check.h"
#include "support/memories.h"

enum { AT_VERSION = 3, AT_ALLOCATED = 4, AT_BUCKET = 6, AT_RESERVED = 8, AT_SIZES = 40, AT_OWNERS = 2080, TABLES = 2080 + 32768 };

static ss_memory *new_flat(uint64_t max_pages) {
    ss_memory *memory;
    CHECK_EQ(ss_memory_new_flat(max_pages, &memory), SS_OK);
    return memory;
}

static ss_manager *open_manager(ss_memory *base, int mode, uint32_t bucket_pages) {
    ss_manager *manager;
    CHECK_EQ(ss_manager_open(base, mode, bucket_pages, &manager), SS_OK);
    return manager;
}

static ss_memory *get(ss_manager *manager, uint32_t id) {
    ss_memory *memory;
    CHECK_EQ(ss_manager_get(manager, id, &memory), SS_OK);
    return memory;
}

static uint8_t byte_at(ss_memory *memory, uint64_t offset) {
    uint8_t byte = 0;
    CHECK_EQ(ss_access_read(memory, offset, &byte, 1), SS_OK);
    return byte;
}

static void put16(ss_memory *memory, uint64_t offset, uint16_t value) {
    CHECK_EQ(ss_access_write(memory, offset, &value, 2), SS_OK);
}

static void put64(ss_memory *memory, uint64_t offset, uint64_t value) {
    CHECK_EQ(ss_access_write(memory, offset, &value, 8), SS_OK);
}

/* ---- format ---- */

static void a_new_manager_writes_its_tables_and_nothing_else(void) {
    ss_memory *base = new_flat(10);
    ss_manager *manager = open_manager(base, SS_INIT, 258);
    struct image image = image_of(base);
    static uint8_t wanted[SS_PAGE_SIZE];
    memcpy(wanted, "MGR\x01\x00\x00\x02\x01", 8);
    memset(wanted + AT_OWNERS, 0xFF, 32768);
    CHECK_EQ(image.pages, 1);
    CHECK(memcmp(image.bytes, wanted, sizeof wanted) == 0);
    image_free(&image);
    ss_manager_free(manager);
    ss_memory_release(base);
}

static void growth_gives_the_next_buckets_and_whole_buckets_below(void) {
    ss_memory *base = new_flat(100);
    ss_manager *manager = open_manager(base, SS_INIT, 4);
    ss_memory *a = get(manager, 7), *b = get(manager, 0);
    CHECK_EQ(ss_access_grow(a, 1), 0);
    CHECK_EQ(ss_access_size(base), 5);
    CHECK_EQ(ss_access_grow(b, 5), 0);
    CHECK_EQ(ss_access_size(base), 13);
    CHECK_EQ(ss_access_grow(a, 3), 1);
    CHECK_EQ(ss_access_size(base), 13);
    CHECK_EQ(ss_access_grow(a, 1), 4);
    CHECK_EQ(ss_access_grow(a, 0), 5);
    CHECK_EQ(ss_access_size(base), 17);
    const uint8_t owners[] = {7, 0, 0, 7, 255};
    for (uint32_t i = 0; i < sizeof owners; i++) CHECK_EQ(byte_at(base, AT_OWNERS + i), owners[i]);
    CHECK_EQ(byte_at(base, AT_ALLOCATED), 4);
    CHECK_EQ(byte_at(base, AT_SIZES + 8 * 7), 5);
    CHECK_EQ(byte_at(base, AT_SIZES), 5);
    CHECK_EQ(ss_manager_check(manager, NULL, NULL), SS_OK);
    ss_memory_release(a);
    ss_memory_release(b);
    ss_manager_free(manager);
    ss_memory_release(base);
}

static void the_stored_bucket_size_wins_and_reserved_bytes_become_zero(void) {
    ss_memory *base = new_flat(1000);
    ss_manager_free(open_manager(base, SS_INIT, 3));
    put16(base, AT_RESERVED + 30, 0xABCD);
    ss_manager *manager = open_manager(base, SS_INIT, 128);
    struct ss_manager_info info;
    CHECK_EQ(ss_manager_info(manager, &info), SS_OK);
    CHECK_EQ(info.bucket_pages, 3);
    ss_memory *memory = get(manager, 1);
    CHECK_EQ(ss_access_grow(memory, 1), 0);
    CHECK_EQ(byte_at(base, AT_RESERVED + 30), 0);
    CHECK_EQ(ss_access_size(base), 4);
    ss_memory_release(memory);
    ss_manager_free(manager);
    ss_memory_release(base);
}

static void modes_decide_what_is_made(void) {
    ss_memory *base = new_flat(10);
    ss_manager *manager;
    CHECK_EQ(ss_manager_open(base, SS_LOAD, 1, &manager), SS_BAD_MAGIC);
    CHECK_EQ(ss_manager_open(base, 3, 1, &manager), SS_ARGUMENT);
    CHECK_EQ(ss_manager_open(base, SS_INIT, 0, &manager), SS_ARGUMENT);
    CHECK_EQ(ss_manager_open(base, SS_INIT, 65536, &manager), SS_ARGUMENT);
    CHECK_EQ(ss_access_size(base), 0);
    CHECK_EQ(ss_access_write_growing(base, 0, "SVC", 3), SS_OK);
    CHECK_EQ(ss_manager_open(base, SS_LOAD, 1, &manager), SS_BAD_MAGIC);
    CHECK_EQ(ss_manager_open(base, SS_INIT, 1, &manager), SS_BAD_MAGIC);
    manager = open_manager(base, SS_INIT_OVERWRITE, 1);
    ss_memory *memory = get(manager, 0);
    CHECK_EQ(ss_access_grow(memory, 2), 0);
    ss_memory_release(memory);
    ss_manager_free(manager);
    manager = open_manager(base, SS_NEW, 1);
    memory = get(manager, 0);
    CHECK_EQ(ss_access_size(memory), 0);
    ss_memory_release(memory);
    ss_manager_free(manager);
    ss_memory_release(base);
}

/* ---- bytes of virtual memories ---- */

#define MODELS 3
#define MODEL_PAGES 12

/* Virtual memories against arrays: growth, reads and writes over the borders of pages and buckets. */
static void virtual_memories_hold_what_is_written(enum kind kind, uint32_t bucket_pages) {
    struct place place;
    static uint8_t models[MODELS][MODEL_PAGES * SS_PAGE_SIZE], buffer[3 * SS_PAGE_SIZE];
    place_open(&place, kind, 1000);
    ss_manager *manager = open_manager(place.memory, SS_INIT, bucket_pages);
    ss_memory *memories[MODELS];
    uint64_t pages[MODELS] = {0};
    memset(models, 0, sizeof models);
    for (uint32_t i = 0; i < MODELS; i++) memories[i] = get(manager, i * 100);
    for (int step = 0; step < 400; step++) {
        uint64_t which = random_below(MODELS), size = pages[which] * SS_PAGE_SIZE;
        ss_memory *memory = memories[which];
        if (pages[which] < MODEL_PAGES && random_below(8) == 0) {
            CHECK_EQ(ss_access_grow(memory, 1), pages[which]++);
            place_interleave(&place);
            continue;
        }
        uint64_t offset = size == 0 ? 0 : random_below(size), length = random_below(sizeof buffer);
        random_bytes(buffer, length < 100 ? length : 100);
        bool fits = length <= size - offset;
        if (step % 2 == 0) {
            CHECK_EQ(ss_access_write(memory, offset, buffer, length), fits ? SS_OK : SS_OUT_OF_BOUNDS);
            if (fits) memcpy(models[which] + offset, buffer, length);
        } else {
            CHECK_EQ(ss_access_read(memory, offset, buffer, length), fits ? SS_OK : SS_OUT_OF_BOUNDS);
            if (fits) CHECK(memcmp(models[which] + offset, buffer, length) == 0);
        }
    }
    for (uint32_t i = 0; i < MODELS; i++) {
        struct image image = image_of(memories[i]);
        CHECK(image.pages == pages[i] && memcmp(image.bytes, models[i], pages[i] * SS_PAGE_SIZE) == 0);
        image_free(&image);
        ss_memory_release(memories[i]);
    }
    CHECK_EQ(ss_manager_check(manager, NULL, NULL), SS_OK);
    ss_manager_free(manager);
    place_close(&place);
}

/* ---- failures ---- */

static void growth_that_fails_changes_nothing(void) {
    for (uint64_t limit = 1; limit < 12; limit++) {
        ss_memory *base = new_flat(limit);
        ss_manager *manager = open_manager(base, SS_INIT, 2);
        ss_memory *memory = get(manager, 4);
        for (uint64_t pages = 0;; pages++) {
            struct image before = image_of(base);
            int64_t grown = ss_access_grow(memory, 1);
            if (grown >= 0)
                CHECK_EQ(grown, pages);
            else
                CHECK(image_holds(&before, base));
            image_free(&before);
            CHECK_EQ(ss_access_size(memory), (int64_t)(pages + (grown >= 0)));
            if (grown < 0) {
                CHECK_EQ(grown, SS_OUT_OF_MEMORY);
                CHECK_EQ(pages, (limit - 1) / 2 * 2);
                break;
            }
        }
        CHECK_EQ(ss_manager_check(manager, NULL, NULL), SS_OK);
        ss_memory_release(memory);
        ss_manager_free(manager);
        ss_memory_release(base);
    }
}

static void growth_on_a_foreign_memory_may_fail_at_every_call(void) {
    for (int64_t n = 0;; n++) {
        struct place place;
        place_open(&place, FOREIGN_BUCKETS, 100);
        CHECK_EQ(ss_access_grow(place.memory, 2), 0);
        struct image before = image_of(place.root);
        place.array.fail_at = n;
        int64_t grown = ss_access_grow(place.memory, 3);
        bool reached = place.array.fail_at < 0;
        place.array.fail_at = -1;
        if (reached) {
            CHECK(grown < 0);
            CHECK(image_holds(&before, place.root));
            CHECK_EQ(ss_access_size(place.memory), 2);
        }
        image_free(&before);
        CHECK_EQ(ss_access_grow(place.memory, 1), reached ? 2 : 5);
        CHECK_EQ(ss_manager_check(place.manager, NULL, NULL), SS_OK);
        place_close(&place);
        if (!reached) break;
    }
}

static void opening_on_a_foreign_memory_may_fail_at_every_call(void) {
    for (int64_t n = 0;; n++) {
        struct place place;
        ss_manager *manager;
        place_open(&place, FOREIGN, 100);
        place.array.fail_at = n;
        int status = ss_manager_open(place.root, SS_INIT, 1, &manager);
        bool reached = place.array.fail_at < 0;
        place.array.fail_at = -1;
        CHECK((status == SS_OK) == !reached);
        if (status != SS_OK) manager = open_manager(place.root, SS_INIT, 1);
        ss_manager_free(manager);
        place_close(&place);
        if (!reached) break;
    }
}

static void the_table_of_buckets_can_be_full(void) {
    ss_memory *base = new_flat(40000);
    ss_manager *manager = open_manager(base, SS_INIT, 1);
    ss_memory *a = get(manager, 0), *b = get(manager, 1);
    CHECK_EQ(ss_access_grow(a, 32769), SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_access_grow(a, UINT64_MAX), SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_access_grow(a, 32760), 0);
    CHECK_EQ(ss_access_grow(b, 9), SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_access_grow(b, 8), 0);
    CHECK_EQ(ss_access_grow(b, 1), SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_access_size(base), 32769);
    ss_memory_release(a);
    ss_memory_release(b);
    ss_manager_free(manager);
    manager = open_manager(base, SS_LOAD, 1);
    CHECK_EQ(ss_manager_check(manager, NULL, NULL), SS_OK);
    ss_manager_free(manager);
    ss_memory_release(base);
}

/* ---- damage ---- */

static void count_violation(void *self, const struct ss_failure *violation) {
    CHECK(violation->status < 0 && violation->rule != NULL);
    ++*(int *)self;
}

static void use_all(ss_manager *manager) {
    for (uint32_t id = 0; id < 3; id++) {
        ss_memory *memory;
        uint8_t byte;
        if (ss_manager_get(manager, id, &memory) != SS_OK) continue;
        int64_t pages = ss_access_size(memory);
        if (pages > 0) CHECK_EQ(ss_access_read(memory, (uint64_t)pages * SS_PAGE_SIZE - 1, &byte, 1), SS_OK);
        (void)ss_access_grow(memory, 1);
        ss_memory_release(memory);
    }
}

/* Every bit of the header and of the owners that matter, at rest: opening refuses, or what opens can be used. */
static void damaged_tables_are_refused_or_harmless(void) {
    ss_memory *base = new_flat(40);
    ss_manager *manager = open_manager(base, SS_INIT, 2);
    for (uint32_t id = 0; id < 3; id++) {
        ss_memory *memory = get(manager, id);
        CHECK_EQ(ss_access_grow(memory, 3), 0);
        ss_memory_release(memory);
    }
    ss_manager_free(manager);
    struct image sound = image_of(base);
    for (uint64_t bit = 0; bit < 8 * (AT_OWNERS + 10); bit++) {
        uint64_t offset = bit / 8;
        if (offset >= AT_SIZES + 8 * 4 && offset < AT_OWNERS - 8) continue;
        uint8_t damaged = (uint8_t)(sound.bytes[offset] ^ (1u << bit % 8));
        CHECK_EQ(ss_access_write(base, offset, &damaged, 1), SS_OK);
        int status = ss_manager_open(base, SS_LOAD, 2, &manager);
        if (status == SS_OK) {
            (void)ss_manager_check(manager, NULL, NULL);
            use_all(manager);
            ss_manager_free(manager);
        } else {
            CHECK(status == SS_CORRUPT || status == SS_BAD_MAGIC || status == SS_BAD_VERSION);
        }
        image_restore(&sound, base);
    }
    image_free(&sound);
    ss_memory_release(base);
}

/* The same under the feet of a live manager. */
static void damage_under_a_live_manager_is_an_error_at_every_entry(void) {
    ss_memory *base = new_flat(40);
    ss_manager *manager = open_manager(base, SS_INIT, 2);
    ss_memory *memory = get(manager, 1);
    CHECK_EQ(ss_access_grow(memory, 3), 0);
    struct image sound = image_of(base);
    for (uint64_t bit = 0; bit < 8 * (AT_OWNERS + 10); bit++) {
        uint64_t offset = bit / 8;
        if (offset >= AT_SIZES + 8 * 4 && offset < AT_OWNERS - 8) continue;
        uint8_t damaged = (uint8_t)(sound.bytes[offset] ^ (1u << bit % 8)), byte;
        CHECK_EQ(ss_access_write(base, offset, &damaged, 1), SS_OK);
        int64_t pages = ss_access_size(memory);
        if (pages > 0) CHECK_EQ(ss_access_read(memory, (uint64_t)pages * SS_PAGE_SIZE - 1, &byte, 1), SS_OK);
        if (pages < 0) CHECK_EQ(ss_access_read(memory, 0, &byte, 1), pages);
        (void)ss_access_grow(memory, 1);
        struct image now = image_of(base);
        image_restore(&sound, base);
        if (now.pages == sound.pages) CHECK_EQ(ss_access_size(memory), 3);
        image_free(&now);
    }
    image_free(&sound);
    ss_memory_release(memory);
    ss_manager_free(manager);
    ss_memory_release(base);
}

static void each_rule_is_named(void) {
    ss_memory *base = new_flat(40);
    ss_manager *manager = open_manager(base, SS_INIT, 2);
    ss_memory *memory = get(manager, 1);
    CHECK_EQ(ss_access_grow(memory, 3), 0);
    struct image sound = image_of(base);
    int violations = 0;
    put64(base, AT_SIZES + 8, 5);
    put64(base, AT_SIZES + 16, 1);
    put16(base, AT_OWNERS + 20, 0x0202);
    CHECK_EQ(ss_manager_check(manager, count_violation, &violations), SS_CORRUPT);
    CHECK_EQ(violations, 4);
    CHECK_EQ(ss_last_failure()->address, AT_OWNERS + 20);
    CHECK_EQ(ss_access_size(memory), SS_CORRUPT);
    CHECK_EQ(ss_last_failure()->address, AT_SIZES + 8);
    image_restore(&sound, base);
    put16(base, AT_OWNERS + 2, 1);
    CHECK_EQ(ss_access_grow(memory, 2), SS_CORRUPT);
    CHECK_EQ(ss_last_failure()->address, AT_OWNERS + 2);
    image_restore(&sound, base);
    CHECK_EQ(ss_access_grow(memory, 2), 3);
    image_free(&sound);
    ss_memory_release(memory);
    ss_manager_free(manager);
    ss_memory_release(base);
}

/* What was found at rest, when the manager is opened. */
static void damaged_tables_are_refused_on_opening(void) {
    ss_memory *base = new_flat(40);
    ss_manager *manager = open_manager(base, SS_INIT, 2);
    ss_memory *memory = get(manager, 1);
    CHECK_EQ(ss_access_grow(memory, 3), 0);
    ss_memory_release(memory);
    ss_manager_free(manager);
    put16(base, AT_OWNERS + 20, 0x0202);
    CHECK_EQ(ss_manager_open(base, SS_LOAD, 2, &manager), SS_CORRUPT);
    CHECK_EQ(ss_last_failure()->address, AT_OWNERS + 20);
    put16(base, AT_OWNERS + 20, 0xFFFF);
    put64(base, AT_SIZES + 8, 5);
    CHECK_EQ(ss_manager_open(base, SS_LOAD, 2, &manager), SS_CORRUPT);
    CHECK_EQ(ss_last_failure()->address, AT_SIZES + 8);
    put64(base, AT_SIZES + 8, 4);
    ss_manager_free(open_manager(base, SS_LOAD, 2));
    ss_memory_release(base);
}

/* A bucket that a memory owns beyond its size is not in use: it need not even exist, and comes last when the memory grows. */
static void a_bucket_beyond_the_size_does_not_matter(void) {
    ss_memory *base = new_flat(40);
    ss_manager *manager = open_manager(base, SS_INIT, 2);
    ss_memory *memory = get(manager, 1);
    CHECK_EQ(ss_access_grow(memory, 4), 0);
    put16(base, AT_ALLOCATED, 3);
    CHECK_EQ(ss_access_write(base, AT_OWNERS + 2, "\1", 1), SS_OK);
    CHECK_EQ(ss_manager_check(manager, NULL, NULL), SS_OK);
    CHECK_EQ(ss_access_grow(memory, 1), 4);
    CHECK_EQ(ss_access_size(base), 9);
    CHECK_EQ(byte_at(base, AT_ALLOCATED), 4);
    CHECK_EQ(byte_at(base, AT_OWNERS + 3), 1);
    CHECK_EQ(ss_access_write(memory, 4 * SS_PAGE_SIZE, "here", 4), SS_OK);
    CHECK_EQ(byte_at(base, 5 * SS_PAGE_SIZE), 'h');
    ss_memory_release(memory);
    ss_manager_free(manager);
    ss_memory_release(base);
}

/* Buckets at the end of the image are gone: the memory that has them fails, the other one goes on. */
static void a_truncated_image_serves_what_it_still_has(void) {
    ss_memory *whole = new_flat(40), *base = new_flat(40);
    ss_manager *manager = open_manager(whole, SS_INIT, 2);
    ss_memory *a = get(manager, 0), *b = get(manager, 1);
    CHECK_EQ(ss_access_grow(a, 2), 0);
    CHECK_EQ(ss_access_grow(b, 4), 0);
    ss_memory_release(a);
    ss_memory_release(b);
    ss_manager_free(manager);
    struct image image = image_of(whole);
    CHECK_EQ(ss_access_write_growing(base, 0, image.bytes, 6 * SS_PAGE_SIZE), SS_OK);
    manager = open_manager(base, SS_LOAD, 2);
    CHECK_EQ(ss_manager_check(manager, NULL, NULL), SS_CORRUPT);
    a = get(manager, 0);
    CHECK_EQ(ss_access_size(a), 2);
    CHECK_EQ(ss_manager_get(manager, 1, &b), SS_CORRUPT);
    CHECK(b == NULL);
    ss_memory_release(a);
    ss_manager_free(manager);
    image_free(&image);
    ss_memory_release(whole);
    ss_memory_release(base);
}

/* A bucket behind the end of the restricted range is not reached, even though the root has the page. */
static void a_manager_stays_inside_its_restricted_memory(void) {
    ss_memory *root = new_flat(40), *base;
    CHECK_EQ(ss_access_grow(root, 40), 0);
    CHECK_EQ(ss_memory_new_restricted(root, 2, 6, &base), SS_OK);
    ss_manager *manager = open_manager(base, SS_NEW, 2);
    ss_memory *memory = get(manager, 0);
    CHECK_EQ(ss_access_grow(memory, 2), 0);
    CHECK_EQ(ss_access_grow(memory, 1), SS_OUT_OF_MEMORY);
    put16(base, AT_ALLOCATED, 3);
    put16(base, AT_OWNERS + 1, 0);
    put64(base, AT_SIZES, 5);
    CHECK_EQ(ss_access_size(memory), SS_CORRUPT);
    ss_memory_release(memory);
    ss_manager_free(manager);
    ss_memory_release(base);
    ss_memory_release(root);
}

/* ---- rollbacks ---- */

/* An operation that fails after a growth inside it: sizes and buckets are those of the bytes again. */
static void a_rollback_takes_the_buckets_back(void) {
    ss_memory *base = new_flat(40);
    ss_manager *manager = open_manager(base, SS_INIT, 1);
    ss_memory *memory = get(manager, 1), *other = get(manager, 2);
    CHECK_EQ(ss_access_grow(memory, 1), 0);
    struct image before = image_of(base);
    uint64_t old;
    CHECK_EQ(ss_enter_write(memory), SS_OK);
    CHECK_EQ(ss_memory_grow(memory, 2, &old), SS_OK);
    CHECK_EQ(ss_memory_write(memory, 2 * SS_PAGE_SIZE, "x", 1), SS_OK);
    CHECK_EQ(ss_leave_write(memory, SS_CALLBACK), SS_CALLBACK);
    CHECK(image_holds(&before, base));
    CHECK_EQ(ss_access_size(memory), 1);
    CHECK_EQ(ss_access_grow(other, 1), 0);
    CHECK_EQ(ss_access_write(other, 0, "y", 1), SS_OK);
    CHECK_EQ(ss_access_grow(memory, 1), 1);
    CHECK_EQ(byte_at(memory, SS_PAGE_SIZE), 0);
    CHECK_EQ(byte_at(other, 0), 'y');
    image_free(&before);
    ss_memory_release(memory);
    ss_memory_release(other);
    ss_manager_free(manager);
    ss_memory_release(base);
}

/* ---- life ---- */

static void ids_have_one_object_each(void) {
    ss_memory *base = new_flat(40), *memory;
    ss_manager *manager = open_manager(base, SS_INIT, 1);
    CHECK_EQ(ss_manager_get(manager, 255, &memory), SS_ARGUMENT);
    CHECK(memory == NULL);
    ss_memory *a = get(manager, 254), *b = get(manager, 254), *c = get(manager, 253);
    CHECK(a == b && a != c);
    ss_memory_release(a);
    ss_memory_release(b);
    ss_memory_release(c);
    ss_memory_release(get(manager, 254));
    ss_manager_free(manager);
    ss_memory_release(base);
}

static void a_virtual_memory_outlives_its_manager_and_base_handles(void) {
    ss_memory *base = new_flat(40);
    ss_manager *manager = open_manager(base, SS_INIT, 1), *second;
    ss_memory *memory = get(manager, 3);
    ss_manager_free(manager);
    CHECK_EQ(ss_manager_open(base, SS_INIT, 1, &second), SS_IN_USE);
    ss_memory_release(base);
    CHECK_EQ(ss_access_grow(memory, 2), 0);
    CHECK_EQ(ss_access_write(memory, SS_PAGE_SIZE, "z", 1), SS_OK);
    ss_memory_release(memory);
}

static void after_a_close_everything_is_closed_and_can_be_freed(void) {
    ss_memory *base = new_flat(40), *other;
    ss_manager *manager = open_manager(base, SS_INIT, 1);
    ss_memory *memory = get(manager, 3);
    struct ss_manager_info info;
    CHECK_EQ(ss_memory_close(memory), SS_OK);
    CHECK_EQ(ss_access_size(memory), SS_CLOSED);
    CHECK_EQ(ss_manager_get(manager, 4, &other), SS_CLOSED);
    CHECK_EQ(ss_manager_info(manager, &info), SS_CLOSED);
    ss_manager_free(manager);
    ss_memory_release(memory);
    ss_memory_release(base);
}

static void a_memory_has_one_structure(void) {
    ss_memory *base = new_flat(40);
    ss_manager *manager = open_manager(base, SS_INIT, 1), *second;
    ss_memory *memory = get(manager, 3);
    ss_vec *vec, *other;
    ss_cell *cell;
    CHECK_EQ(ss_manager_open(base, SS_INIT, 1, &second), SS_IN_USE);
    CHECK_EQ(ss_vec_open(base, SS_NEW, 8, 1, &vec), SS_IN_USE);
    CHECK_EQ(ss_vec_open(memory, SS_INIT, 8, 1, &vec), SS_OK);
    CHECK_EQ(ss_vec_open(memory, SS_INIT, 8, 1, &other), SS_IN_USE);
    CHECK_EQ(ss_cell_open(memory, SS_INIT, NULL, 0, &cell), SS_IN_USE);
    CHECK_EQ(ss_manager_open(memory, SS_INIT, 1, &second), SS_IN_USE);
    ss_vec_free(vec);
    CHECK_EQ(ss_vec_open(memory, SS_INIT, 8, 1, &vec), SS_OK);
    ss_vec_free(vec);
    ss_memory_release(memory);
    ss_manager_free(manager);
    CHECK_EQ(ss_manager_open(base, SS_INIT, 1, &second), SS_OK);
    ss_manager_free(second);
    ss_memory_release(base);
}

/* Whatever it stands on: what its memories know of the tables is read again. */
static void a_raw_write_to_the_tables_is_noticed(void) {
    enum { ON_FLAT, ON_VIRTUAL, ON_RESTRICTED, PLACES };
    for (int place = 0; place < PLACES; place++) {
        ss_memory *flat = new_flat(40), *raw = flat, *under = flat;
        ss_manager *outer = place == ON_FLAT ? NULL : open_manager(flat, SS_INIT, 1);
        if (place != ON_FLAT) raw = under = get(outer, 3);
        if (place == ON_RESTRICTED) CHECK_EQ(ss_memory_new_restricted(raw, 0, 20, &under), SS_OK);
        ss_manager *manager = open_manager(under, SS_INIT, 1);
        ss_memory *memory = get(manager, 0);
        CHECK_EQ(ss_access_grow(memory, 2), 0);
        put64(raw, AT_SIZES, 1);
        CHECK_EQ(ss_access_size(memory), 1);
        put64(under, AT_SIZES, 2);
        CHECK_EQ(ss_access_size(memory), 2);
        ss_memory_release(memory);
        ss_manager_free(manager);
        if (under != raw) ss_memory_release(under);
        if (raw != flat) ss_memory_release(raw);
        ss_manager_free(outer);
        ss_memory_release(flat);
    }
}

static void a_manager_can_stand_on_a_virtual_memory(void) {
    ss_memory *base = new_flat(100);
    ss_manager *outer = open_manager(base, SS_INIT, 3);
    ss_memory *middle = get(outer, 5), *noise = get(outer, 6);
    ss_manager *inner = open_manager(middle, SS_INIT, 2);
    ss_memory *memory = get(inner, 9);
    static uint8_t bytes[9 * SS_PAGE_SIZE], back[sizeof bytes];
    random_bytes(bytes, sizeof bytes);
    for (int i = 0; i < 9; i++) {
        CHECK_EQ(ss_access_grow(memory, 1), i);
        CHECK_EQ(ss_access_grow(noise, 1), i);
    }
    CHECK_EQ(ss_access_write(memory, 0, bytes, sizeof bytes), SS_OK);
    CHECK_EQ(ss_access_read(memory, 0, back, sizeof back), SS_OK);
    CHECK(memcmp(bytes, back, sizeof bytes) == 0);
    CHECK_EQ(ss_access_size(middle), 11);
    CHECK_EQ(ss_manager_check(inner, NULL, NULL), SS_OK);
    CHECK_EQ(ss_manager_check(outer, NULL, NULL), SS_OK);
    ss_memory_release(middle);
    ss_memory_release(noise);
    ss_manager_free(outer);
    ss_manager_free(inner);
    ss_memory_release(base);
    ss_memory_release(memory);
}

static void tables_and_usage_tell_what_is_there(void) {
    static uint64_t sizes[SS_MANAGER_MEMORIES];
    static uint8_t owners[SS_MANAGER_BUCKETS];
    ss_memory *base = new_flat(100);
    ss_manager *manager = open_manager(base, SS_INIT, 4);
    ss_memory *memory = get(manager, 8);
    struct ss_usage usage;
    CHECK_EQ(ss_access_grow(memory, 5), 0);
    CHECK_EQ(ss_manager_tables(manager, sizes, owners), SS_OK);
    CHECK(sizes[8] == 5 && sizes[7] == 0 && owners[0] == 8 && owners[1] == 8 && owners[2] == SS_MANAGER_FREE);
    CHECK_EQ(ss_manager_usage(manager, &usage), SS_OK);
    CHECK_EQ(usage.live, TABLES + 5 * SS_PAGE_SIZE);
    CHECK_EQ(usage.allocated, 9 * SS_PAGE_SIZE);
    CHECK_EQ(usage.reserved, 9 * SS_PAGE_SIZE);
    uint64_t reserved;
    CHECK_EQ(ss_memory_reserved(memory, &reserved), SS_OK);
    CHECK_EQ(reserved, 8 * SS_PAGE_SIZE);
    ss_memory_release(memory);
    ss_manager_free(manager);
    ss_memory_release(base);
}

/* ---- threads ---- */

static void *get_and_release(void *self) {
    for (int i = 0; i < 2000; i++) {
        ss_memory *memory = get(self, (uint32_t)(i % 3));
        if (i % 10 == 0) (void)ss_access_grow(memory, 1);
        CHECK(ss_access_size(memory) >= 0);
        ss_memory_release(memory);
    }
    return NULL;
}

static void threads_may_get_and_release_the_same_memory(void) {
    ss_memory *base = new_flat(400);
    ss_manager *manager = open_manager(base, SS_INIT, 1);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) CHECK_EQ(pthread_create(&threads[i], NULL, get_and_release, manager), 0);
    for (int i = 0; i < 4; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(ss_manager_check(manager, NULL, NULL), SS_OK);
    ss_manager_free(manager);
    ss_memory_release(base);
}

int main(void) {
    a_new_manager_writes_its_tables_and_nothing_else();
    growth_gives_the_next_buckets_and_whole_buckets_below();
    the_stored_bucket_size_wins_and_reserved_bytes_become_zero();
    modes_decide_what_is_made();
    for (int kind = 0; kind < KINDS; kind++) {
        for (uint32_t bucket_pages = 1; bucket_pages <= 3; bucket_pages++) virtual_memories_hold_what_is_written(kind, bucket_pages);
    }
    growth_that_fails_changes_nothing();
    growth_on_a_foreign_memory_may_fail_at_every_call();
    opening_on_a_foreign_memory_may_fail_at_every_call();
    the_table_of_buckets_can_be_full();
    damaged_tables_are_refused_or_harmless();
    damage_under_a_live_manager_is_an_error_at_every_entry();
    damaged_tables_are_refused_on_opening();
    a_bucket_beyond_the_size_does_not_matter();
    each_rule_is_named();
    a_truncated_image_serves_what_it_still_has();
    a_manager_stays_inside_its_restricted_memory();
    a_rollback_takes_the_buckets_back();
    ids_have_one_object_each();
    a_virtual_memory_outlives_its_manager_and_base_handles();
    after_a_close_everything_is_closed_and_can_be_freed();
    a_memory_has_one_structure();
    a_manager_can_stand_on_a_virtual_memory();
    a_raw_write_to_the_tables_is_noticed();
    tables_and_usage_tell_what_is_there();
    threads_may_get_and_release_the_same_memory();
    return check_summary();
}
