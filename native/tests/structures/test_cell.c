/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "core/result.h"
#include "structures/cell.h"
#include "support/check.h"
#include "support/memories.h"

#define MOST (3 * SS_PAGE_SIZE)

static const uint8_t first[] = "the first value";

static ss_cell *open_cell(ss_memory *memory, int mode) {
    ss_cell *cell;
    CHECK_EQ(ss_cell_open(memory, mode, first, sizeof first, &cell), SS_OK);
    return cell;
}

static bool holds(ss_cell *cell, const uint8_t *bytes, uint64_t size) {
    return ss_cell_get(cell) == (int64_t)size && memcmp(ss_result(), bytes, size) == 0;
}

static void a_cell_lies_where_the_format_says(void) {
    struct place place;
    place_open(&place, FLAT, 10);
    ss_cell *cell = open_cell(place.memory, SS_INIT);
    CHECK_EQ(ss_cell_set(cell, (const uint8_t *)"ab", 2), SS_OK);
    struct image image = image_of(place.memory);
    CHECK(memcmp(image.bytes, "SCL\1\2\0\0\0abe first value", 23) == 0);
    CHECK_EQ(image.pages, 1);
    image_free(&image);
    ss_cell_free(cell);
    place_close(&place);
}

static void an_empty_value_needs_a_page(void) {
    struct place place;
    ss_cell *cell;
    place_open(&place, FLAT, 10);
    CHECK_EQ(ss_cell_open(place.memory, SS_INIT, NULL, 0, &cell), SS_OK);
    CHECK_EQ(ss_access_size(place.memory), 1);
    CHECK_EQ(ss_cell_get(cell), 0);
    ss_cell_free(cell);
    place_close(&place);
}

static void a_cell_grows_by_the_fewest_pages(void) {
    static const uint8_t bytes[SS_PAGE_SIZE];
    struct place place;
    place_open(&place, FLAT, 10);
    ss_cell *cell = open_cell(place.memory, SS_INIT);
    CHECK_EQ(ss_cell_set(cell, bytes, SS_PAGE_SIZE - 8), SS_OK);
    CHECK_EQ(ss_access_size(place.memory), 1);
    CHECK_EQ(ss_cell_set(cell, bytes, SS_PAGE_SIZE - 7), SS_OK);
    CHECK_EQ(ss_access_size(place.memory), 2);
    CHECK_EQ(ss_cell_set(cell, bytes, 0), SS_OK);
    CHECK_EQ(ss_access_size(place.memory), 2);
    ss_cell_free(cell);
    place_close(&place);
}

static void a_cell_holds_the_value_set_last(enum kind kind) {
    static uint8_t values[2][MOST];
    struct place place;
    uint64_t sizes[2] = {sizeof first, 0};
    memcpy(values[0], first, sizeof first);
    place_open(&place, kind, 100);
    ss_cell *cell = open_cell(place.memory, SS_INIT);
    for (int i = 0; i < 40; i++) {
        int old = i % 2, new = 1 - old;
        sizes[new] = random_below(MOST);
        random_bytes(values[new], sizes[new]);
        CHECK_EQ(ss_cell_replace(cell, values[new], sizes[new]), sizes[old]);
        CHECK(memcmp(ss_result(), values[old], sizes[old]) == 0);
        CHECK(holds(cell, values[new], sizes[new]));
        CHECK_EQ(ss_cell_check(cell, NULL, NULL), SS_OK);
        place_interleave(&place);
        ss_cell_free(cell);
        cell = open_cell(place.memory, i % 3 == 0 ? SS_INIT : SS_LOAD);
    }
    CHECK(holds(cell, values[0], sizes[0]));
    ss_cell_free(cell);
    cell = open_cell(place.memory, SS_NEW);
    CHECK(holds(cell, first, sizeof first));
    ss_cell_free(cell);
    place_close(&place);
}

static void modes_decide_what_is_made(void) {
    struct place place;
    ss_cell *cell;
    place_open(&place, FLAT, 10);
    CHECK_EQ(ss_cell_open(place.memory, SS_LOAD, NULL, 0, &cell), SS_BAD_MAGIC);
    CHECK_EQ(ss_access_size(place.memory), 0);
    CHECK_EQ(ss_access_write_growing(place.memory, 0, "SVC\1", 4), SS_OK);
    CHECK_EQ(ss_cell_open(place.memory, SS_LOAD, NULL, 0, &cell), SS_BAD_MAGIC);
    CHECK_EQ(ss_cell_open(place.memory, SS_INIT, first, sizeof first, &cell), SS_BAD_MAGIC);
    cell = open_cell(place.memory, SS_INIT_OVERWRITE);
    CHECK(holds(cell, first, sizeof first));
    ss_cell_free(cell);
    CHECK_EQ(ss_access_write(place.memory, 3, "\2", 1), SS_OK);
    CHECK_EQ(ss_cell_open(place.memory, SS_INIT, NULL, 0, &cell), SS_BAD_VERSION);
    CHECK_EQ(ss_cell_open(place.memory, SS_NEW, NULL, UINT64_C(1) << 32, &cell), SS_BOUND_EXCEEDED);
    place.root->root->read_only = true;
    CHECK_EQ(ss_access_write(place.memory, 3, "\1", 1), SS_READ_ONLY);
    place.root->root->read_only = false;
    CHECK_EQ(ss_access_write(place.memory, 3, "\1", 1), SS_OK);
    place.root->root->read_only = true;
    cell = open_cell(place.memory, SS_INIT);
    CHECK(holds(cell, first, sizeof first));
    CHECK_EQ(ss_cell_replace(cell, first, 1), SS_READ_ONLY);
    ss_cell_free(cell);
    place_close(&place);
}

static void a_value_that_does_not_fit_leaves_the_old_one(enum kind kind) {
    static const uint8_t bytes[MOST * 4];
    struct place place;
    place_open(&place, kind, 6);
    ss_cell *cell = open_cell(place.memory, SS_INIT);
    struct image before = image_of(place.root);
    CHECK_EQ(ss_cell_replace(cell, bytes, sizeof bytes), SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_cell_set(cell, bytes, UINT64_C(1) << 32), SS_BOUND_EXCEEDED);
    CHECK(image_holds(&before, place.root));
    CHECK(holds(cell, first, sizeof first));
    image_free(&before);
    ss_cell_free(cell);
    place_close(&place);
}

static void a_set_on_a_foreign_memory_may_fail_at_every_call(enum kind kind) {
    static const uint8_t bytes[MOST];
    for (int64_t n = 0;; n++) {
        struct place place;
        place_open(&place, kind, 30);
        ss_cell *cell = open_cell(place.memory, SS_INIT);
        struct image before = image_of(place.root);
        place.array.fail_at = n;
        int64_t result = ss_cell_replace(cell, bytes, sizeof bytes);
        bool reached = place.array.fail_at < 0;
        place.array.fail_at = -1;
        CHECK(reached ? result < 0 : result == sizeof first);
        if (reached) {
            CHECK(image_holds(&before, place.root));
            CHECK(holds(cell, first, sizeof first));
        }
        image_free(&before);
        ss_cell_free(cell);
        place_close(&place);
        if (!reached) break;
    }
}

static void damage_is_an_error_or_harmless(enum kind kind) {
    struct place place;
    ss_cell *other;
    place_open(&place, kind, 20);
    ss_cell *cell = open_cell(place.memory, SS_INIT);
    struct image sound = image_of(place.memory);
    for (uint64_t bit = 0; bit < 8 * 10; bit++) {
        uint8_t damaged = (uint8_t)(sound.bytes[bit / 8] ^ (1u << bit % 8));
        CHECK_EQ(ss_access_write(place.memory, bit / 8, &damaged, 1), SS_OK);
        int64_t size = ss_cell_get(cell);
        int status = ss_cell_check(cell, NULL, NULL);
        CHECK((size < 0) == (status != SS_OK));
        if (bit / 8 < 4) CHECK(size == SS_BAD_MAGIC || size == SS_BAD_VERSION);
        if (bit / 8 >= 6 && bit / 8 < 8) CHECK_EQ(size, SS_CORRUPT);
        struct image before = image_of(place.memory);
        if (size < 0) {
            CHECK_EQ(ss_cell_replace(cell, first, 1), size);
            CHECK(image_holds(&before, place.memory));
        }
        image_free(&before);
        ss_cell_free(cell);
        if (ss_cell_open(place.memory, SS_INIT, first, sizeof first, &other) == SS_OK) {
            CHECK(ss_cell_get(other) >= 0);
            ss_cell_free(other);
        }
        image_restore(&sound, place.memory);
        cell = open_cell(place.memory, SS_LOAD);
    }
    image_free(&sound);
    ss_cell_free(cell);
    place_close(&place);
}

static void integers_cross_as_numbers(int kind) {
    static const uint32_t sizes[] = {1, 2, 4, 8};
    struct place place;
    place_open(&place, (enum kind)kind, 20);
    ss_cell *cell = open_cell(place.memory, SS_INIT);
    for (int i = 0; i < 4; i++) {
        uint32_t size = sizes[i];
        uint64_t most = size == 8 ? UINT64_MAX - 2 : (UINT64_C(1) << (8 * size)) - 1;
        uint8_t bytes[8];
        CHECK_EQ(ss_cell_get_u64(cell, size), SS_ASK);
        CHECK_EQ(ss_last_status(), SS_CORRUPT);
        CHECK_EQ(ss_cell_replace_u64(cell, size, 1), SS_ASK);
        CHECK_EQ(ss_last_status(), SS_CORRUPT);
        CHECK_EQ(ss_cell_set_u64(cell, size, 5), SS_OK);
        CHECK_EQ(ss_cell_replace_u64(cell, size, most), 5);
        CHECK_EQ(ss_cell_get_u64(cell, size), most);
        ss_put_be(bytes, size, most);
        CHECK(holds(cell, bytes, size));
        if (size < 8) CHECK_EQ(ss_cell_set_u64(cell, size, most + 1), SS_BOUND_EXCEEDED);
        CHECK_EQ(ss_cell_set_u64(cell, 3, 0), SS_INCOMPATIBLE);
        CHECK_EQ(ss_cell_get_u64(cell, size), most);
    }
    CHECK_EQ(ss_cell_set_u64(cell, 8, UINT64_MAX), SS_OK);
    CHECK_EQ(ss_cell_get_u64(cell, 8), SS_ASK);
    CHECK_EQ(ss_last_status(), SS_OK);
    CHECK_EQ(ss_last_number(), UINT64_MAX);
    CHECK_EQ(ss_cell_detach(cell), SS_OK);
    CHECK_EQ(ss_cell_get_u64(cell, 8), SS_ASK);
    CHECK_EQ(ss_last_status(), SS_CLOSED);
    ss_cell_free(cell);
    place_close(&place);
}

static void a_value_may_end_with_the_memory(void) {
    struct place place;
    place_open(&place, FLAT, 20);
    ss_cell *cell = open_cell(place.memory, SS_INIT);
    const uint32_t fits = 65536 - 8, falls_out = fits + 1;
    CHECK_EQ(ss_access_write(place.memory, 4, &fits, 4), SS_OK);
    CHECK_EQ(ss_cell_get(cell), fits);
    CHECK_EQ(ss_access_write(place.memory, 4, &falls_out, 4), SS_OK);
    CHECK_EQ(ss_cell_get(cell), SS_CORRUPT);
    CHECK_EQ(ss_last_failure()->address, 4);
    CHECK(ss_last_failure()->number == falls_out && ss_last_failure()->limit == fits);
    ss_cell_free(cell);
    place_close(&place);
}

static void a_cell_gives_its_memory_up(void) {
    struct place place;
    struct ss_usage usage;
    place_open(&place, BUCKETS, 20);
    ss_cell *cell = open_cell(place.memory, SS_INIT), *other;
    CHECK_EQ(ss_cell_usage(cell, &usage), SS_OK);
    CHECK(usage.live == 8 + sizeof first && usage.allocated == usage.live && usage.reserved == SS_PAGE_SIZE);
    CHECK_EQ(ss_cell_open(place.memory, SS_INIT, NULL, 0, &other), SS_IN_USE);
    CHECK_EQ(ss_cell_detach(cell), SS_OK);
    CHECK_EQ(ss_cell_get(cell), SS_CLOSED);
    CHECK_EQ(ss_cell_set(cell, first, 1), SS_CLOSED);
    other = open_cell(place.memory, SS_LOAD);
    ss_cell_free(cell);
    CHECK_EQ(ss_memory_close(place.memory), SS_OK);
    CHECK_EQ(ss_cell_get(other), SS_CLOSED);
    ss_cell_free(other);
    ss_cell_free(NULL);
    place_close(&place);
}

int main(void) {
    a_cell_lies_where_the_format_says();
    an_empty_value_needs_a_page();
    a_cell_grows_by_the_fewest_pages();
    modes_decide_what_is_made();
    for (int kind = 0; kind < KINDS; kind++) {
        a_cell_holds_the_value_set_last(kind);
        a_value_that_does_not_fit_leaves_the_old_one(kind);
        damage_is_an_error_or_harmless(kind);
        integers_cross_as_numbers(kind);
    }
    a_set_on_a_foreign_memory_may_fail_at_every_call(FOREIGN);
    a_set_on_a_foreign_memory_may_fail_at_every_call(FOREIGN_BUCKETS);
    a_value_may_end_with_the_memory();
    a_cell_gives_its_memory_up();
    return check_summary();
}
