/* SPDX-License-Identifier: Apache-2.0 */
/* Memories of every kind: bounds, growth, pins, undo scopes, leases, closing. */
#include "support/check.h"
#include "support/maps.h"

static const uint64_t wild[] = {UINT64_MAX,        UINT64_MAX - 1,         UINT64_MAX - 65536,
                                UINT64_C(1) << 63, UINT64_MAX / 65536 + 1, UINT64_C(1) << 48};
enum { WILD = sizeof wild / sizeof wild[0], PAGE = 65536 };

static void accesses_past_the_end_change_nothing(void) {
    uint8_t byte = 7, *big = calloc(2, PAGE);
    for (int place = 0; place < PLACES; place++) {
        test_memory in;
        test_memory_new(&in, (enum place)place, 100);
        CHECK_EQ(ss_access_size(in.memory), 0);
        CHECK_EQ(ss_access_read(in.memory, 0, &byte, 1), SS_OUT_OF_BOUNDS);
        CHECK_EQ(ss_access_read(in.memory, 0, &byte, 0), SS_OK);
        CHECK_EQ(ss_access_grow(in.memory, 2), 0);
        CHECK_EQ(ss_access_grow(in.memory, 0), 2);
        CHECK_EQ(ss_access_read(in.memory, 2 * PAGE - 1, &byte, 1), SS_OK);
        CHECK_EQ(byte, 0);
        CHECK_EQ(ss_access_read(in.memory, 2 * PAGE, &byte, 1), SS_OUT_OF_BOUNDS);
        CHECK_EQ(ss_access_write(in.memory, 2 * PAGE - 1, "ab", 2), SS_OUT_OF_BOUNDS);
        CHECK_EQ(ss_access_write(in.memory, 1, big, 2 * PAGE), SS_OUT_OF_BOUNDS);
        CHECK_EQ(ss_access_read(in.memory, 2 * PAGE - 1, &byte, 1), SS_OK);
        CHECK_EQ(byte, 0);
        for (size_t i = 0; i < WILD; i++) {
            CHECK_EQ(ss_access_read(in.memory, wild[i], &byte, 1), SS_OUT_OF_BOUNDS);
            CHECK_EQ(ss_access_read(in.memory, 1, &byte, wild[i]), SS_OUT_OF_BOUNDS);
            CHECK_EQ(ss_access_read(in.memory, wild[i], &byte, wild[WILD - 1 - i]), SS_OUT_OF_BOUNDS);
            CHECK_EQ(ss_access_write(in.memory, wild[i], &byte, 1), SS_OUT_OF_BOUNDS);
            CHECK_EQ(ss_access_write(in.memory, 1, &byte, wild[i]), SS_OUT_OF_BOUNDS);
            int growing = ss_access_write_growing(in.memory, wild[i], &byte, 1);
            CHECK(growing == SS_OUT_OF_BOUNDS || growing == SS_OUT_OF_MEMORY);
            CHECK_EQ(ss_access_grow(in.memory, wild[i]), SS_OUT_OF_MEMORY);
        }
        CHECK_EQ(ss_access_size(in.memory), 2);
        test_memory_free(&in);
    }
    free(big);
}

/* Random writes and reads over pages that lie apart, against plain bytes. */
static void bytes_are_where_they_were_written(void) {
    enum { PAGES = 5, MOST = 3 * PAGE };
    uint8_t *plain = calloc(PAGES, PAGE), *room = malloc(MOST);
    for (int place = 0; place < PLACES; place++) {
        test_memory in;
        rng random = {.state = (uint64_t)place};
        test_memory_new(&in, (enum place)place, 100);
        memset(plain, 0, PAGES * PAGE);
        for (int i = 0; i < PAGES; i++) {
            CHECK_EQ(ss_access_grow(in.memory, 1), i);
            test_memory_scatter(&in);
        }
        for (int round = 0; round < 300; round++) {
            uint64_t size = rng_below(&random, rng_below(&random, 4) == 0 ? MOST : 300),
                     offset = rng_below(&random, PAGES * PAGE - size + 1);
            if (rng_below(&random, 2) == 0) offset = (offset / PAGE) * PAGE + PAGE - size / 2 % PAGE;
            if (offset + size > PAGES * PAGE) continue;
            random_bytes(&random, room, size);
            CHECK_EQ(ss_access_write(in.memory, offset, room, size), SS_OK);
            memcpy(plain + offset, room, size);
            offset = rng_below(&random, PAGES * PAGE - size + 1);
            CHECK_EQ(ss_access_read(in.memory, offset, room, size), SS_OK);
            CHECK(memcmp(plain + offset, room, size) == 0);
        }
        test_memory_free(&in);
    }
    free(plain);
    free(room);
}

static void pins_show_and_change_what_lies_there(void) {
    for (int place = 0; place < PLACES; place++) {
        test_memory in;
        ss_scratch scratch = {0};
        ss_pin pin;
        uint8_t byte[4];
        test_memory_new(&in, (enum place)place, 100);
        for (int i = 0; i < 3; i++) {
            CHECK_EQ(ss_access_grow(in.memory, 1), i);
            test_memory_scatter(&in);
        }
        CHECK_EQ(ss_access_write(in.memory, PAGE - 2, "abcd", 4), SS_OK);
        CHECK_EQ(ss_enter_write(in.memory), SS_OK);
        CHECK_EQ(ss_pin_range(in.memory, PAGE - 100, 200, &scratch, &pin), SS_OK);
        CHECK_EQ(pin.direct, place == IN_FLAT || place == IN_RESTRICTED);
        CHECK(memcmp(pin.bytes + 98, "abcd", 4) == 0);
        CHECK_EQ(ss_pin_change(in.memory, &pin, 99, 2), SS_OK);
        memcpy(pin.bytes + 99, "XY", 2);
        CHECK_EQ(ss_pin_changed(in.memory, &pin, 99, 2), SS_OK);
        CHECK_EQ(ss_memory_read(in.memory, PAGE - 2, byte, 4), SS_OK);
        CHECK(memcmp(byte, "aXYd", 4) == 0);
        CHECK_EQ(ss_pin_change(in.memory, &pin, 199, 2), SS_OUT_OF_BOUNDS);
        CHECK_EQ(ss_pin_change(in.memory, &pin, 201, 0), SS_OUT_OF_BOUNDS);
        CHECK_EQ(ss_pin_change(in.memory, &pin, UINT64_MAX, 2), SS_OUT_OF_BOUNDS);
        for (size_t i = 0; i < WILD; i++) {
            CHECK_EQ(ss_pin_range(in.memory, wild[i], 10, &scratch, &pin), SS_OUT_OF_BOUNDS);
            CHECK_EQ(ss_pin_range(in.memory, 10, wild[i], &scratch, &pin), SS_OUT_OF_BOUNDS);
            CHECK(ss_memory_direct(in.memory, wild[i], 10) == NULL);
            CHECK(ss_memory_direct(in.memory, 10, wild[i]) == NULL);
        }
        CHECK_EQ(ss_pin_range(in.memory, 3 * PAGE - 1, 2, &scratch, &pin), SS_OUT_OF_BOUNDS);
        CHECK(ss_memory_direct(in.memory, 3 * PAGE - 1, 2) == NULL);
        CHECK_EQ(ss_leave_write(in.memory, SS_OK), SS_OK);
        ss_scratch_free(&scratch);
        test_memory_free(&in);
    }
}

static void a_limit_is_kept_and_its_refusal_changes_nothing(void) {
    for (int place = 0; place < PLACES; place++) {
        test_memory in;
        test_memory_new(&in, (enum place)place, 7);
        int64_t most = place == IN_FLAT || place == IN_FOREIGN ? 7 : place == IN_RESTRICTED ? 5 : 6;
        CHECK_EQ(ss_access_grow(in.memory, 3), 0);
        CHECK_EQ(ss_access_grow(in.memory, (uint64_t)most - 2), SS_OUT_OF_MEMORY);
        CHECK_EQ(ss_access_size(in.memory), 3);
        int64_t root_size = ss_access_size(in.root);
        CHECK_EQ(ss_access_write_growing(in.memory, (uint64_t)most * PAGE - 1, "ab", 2), SS_OUT_OF_MEMORY);
        CHECK_EQ(ss_access_size(in.root), root_size);
        CHECK_EQ(ss_access_write_growing(in.memory, (uint64_t)most * PAGE - 2, "ab", 2), SS_OK);
        CHECK_EQ(ss_access_size(in.memory), most);
        CHECK_EQ(ss_access_grow(in.memory, 1), SS_OUT_OF_MEMORY);
        test_memory_free(&in);
    }
}

static void a_growing_write_grows_by_the_fewest_pages(void) {
    test_memory in;
    test_memory_new(&in, IN_FLAT, 100);
    CHECK_EQ(ss_access_write_growing(in.memory, 0, "", 0), SS_OK);
    CHECK_EQ(ss_access_size(in.memory), 0);
    CHECK_EQ(ss_access_write_growing(in.memory, 0, "a", 1), SS_OK);
    CHECK_EQ(ss_access_size(in.memory), 1);
    CHECK_EQ(ss_access_write_growing(in.memory, PAGE - 1, "a", 1), SS_OK);
    CHECK_EQ(ss_access_size(in.memory), 1);
    CHECK_EQ(ss_access_write_growing(in.memory, PAGE - 1, "ab", 2), SS_OK);
    CHECK_EQ(ss_access_size(in.memory), 2);
    CHECK_EQ(ss_access_write_growing(in.memory, 10 * PAGE, "a", 1), SS_OK);
    CHECK_EQ(ss_access_size(in.memory), 11);
    test_memory_free(&in);
}

/* docs/format.md#memory. */
static void a_restricted_memory_is_a_range_of_pages(void) {
    ss_memory *base, *part, *inner, *nothing;
    CHECK_EQ(ss_memory_new_flat(100, &base), SS_OK);
    CHECK_EQ(ss_memory_new_restricted(base, 3, 6, &part), SS_OK);
    CHECK_EQ(ss_memory_new_restricted(base, 6, 3, &nothing), SS_ARGUMENT);
    CHECK_EQ(ss_memory_new_restricted(base, 0, UINT64_MAX, &nothing), SS_ARGUMENT);
    CHECK_EQ(ss_access_grow(base, 2), 0);
    CHECK_EQ(ss_access_size(part), 0);
    CHECK_EQ(ss_access_grow(part, 4), SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_access_size(base), 2);
    CHECK_EQ(ss_access_grow(part, 1), 0);
    CHECK_EQ(ss_access_size(base), 4);
    CHECK_EQ(ss_access_size(part), 1);
    CHECK_EQ(ss_access_write(part, 5, "hello", 5), SS_OK);
    CHECK(memcmp(base->root->base + 3 * PAGE + 5, "hello", 5) == 0);
    CHECK_EQ(ss_access_grow(part, 2), 1);
    CHECK_EQ(ss_access_grow(part, 1), SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_access_grow(base, 10), 6);
    CHECK_EQ(ss_access_size(part), 3);
    CHECK_EQ(ss_access_write(part, 3 * PAGE - 1, "ab", 2), SS_OUT_OF_BOUNDS);
    CHECK_EQ(ss_memory_new_restricted(part, 1, 50, &inner), SS_OK);
    CHECK_EQ(ss_access_size(inner), 2);
    CHECK_EQ(ss_access_grow(inner, 1), SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_access_write(inner, 7, "x", 1), SS_OK);
    CHECK_EQ(base->root->base[4 * PAGE + 7], 'x');
    CHECK_EQ(ss_memory_new_restricted(base, 5, 5, &nothing), SS_OK);
    CHECK_EQ(ss_access_size(nothing), 0);
    CHECK_EQ(ss_access_grow(nothing, 0), 0);
    CHECK_EQ(ss_access_grow(nothing, 1), SS_OUT_OF_MEMORY);
    ss_memory_release(base);
    ss_memory_release(part);
    ss_memory_release(nothing);
    CHECK_EQ(ss_access_size(inner), 2);
    ss_memory_release(inner);
}

/* `long_log`: of so many steps that the log gets long, and does not get longer from then on. */
static void a_failed_operation_is_undone_to_the_byte(bool long_log) {
    enum { LONGEST_LOG = 512 * 1024 };
    for (int place = 0; place < PLACES; place++) {
        test_memory in;
        rng random = {.state = (uint64_t)place + 5};
        uint8_t *before = malloc(3 * PAGE), *after = malloc(3 * PAGE), some[500];
        test_memory_new(&in, (enum place)place, 100);
        for (int i = 0; i < 3; i++) {
            CHECK_EQ(ss_access_grow(in.memory, 1), i);
            test_memory_scatter(&in);
        }
        for (int round = 0; round < 20; round++) {
            int64_t root_size = ss_access_size(in.root);
            CHECK_EQ(ss_access_read(in.memory, 0, before, 3 * PAGE), SS_OK);
            CHECK_EQ(ss_enter_write(in.memory), SS_OK);
            if (long_log) CHECK_EQ(ss_undo_begin_many(in.memory), SS_OK);
            ss_undo_begin(in.memory);
            for (int i = 0; i < (long_log ? 5000 : 30); i++) {
                uint64_t size = rng_below(&random, sizeof some), offset = rng_below(&random, 4 * PAGE - size);
                random_bytes(&random, some, size);
                CHECK_EQ(ss_memory_write_growing(in.memory, offset, some, size), SS_OK);
            }
            CHECK(in.root->root->undo.used < LONGEST_LOG);
            CHECK_EQ(ss_leave_write(in.memory, SS_CORRUPT), SS_CORRUPT);
            CHECK_EQ(ss_access_read(in.memory, 0, after, 3 * PAGE), SS_OK);
            CHECK(memcmp(before, after, 3 * PAGE) == 0);
            if (!in.root->root->foreign) CHECK_EQ(ss_access_size(in.root), root_size);
            if (place != IN_FOREIGN) CHECK_EQ(ss_access_size(in.memory), 3);
            /* What was given back comes again as zeros. */
            if (ss_access_size(in.memory) == 3) CHECK_EQ(ss_access_grow(in.memory, 1), 3);
            CHECK_EQ(ss_access_read(in.memory, 3 * PAGE, after, PAGE), SS_OK);
            for (int i = 0; i < PAGE; i++) {
                if (after[i] != 0) CHECK(!"new pages are zeros");
            }
            if (place != IN_FLAT) break;
            ss_root_shrink(in.root->root, 3);
        }
        free(before);
        free(after);
        test_memory_free(&in);
    }
}

static void the_reason_of_a_failure_survives_the_undoing(void) {
    test_memory in;
    test_memory_new(&in, IN_FLAT, 10);
    CHECK_EQ(ss_enter_write(in.memory), SS_OK);
    ss_undo_begin(in.memory);
    CHECK_EQ(ss_memory_write_growing(in.memory, 0, "abc", 3), SS_OK);
    CHECK_EQ(ss_leave_write(in.memory, ss_fail(SS_CORRUPT, "a rule", 11, 12, 13)), SS_CORRUPT);
    const struct ss_failure *failure = ss_last_failure();
    CHECK(failure->status == SS_CORRUPT && failure->address == 11 && failure->number == 12 && failure->limit == 13);
    CHECK_EQ(ss_access_size(in.memory), 0);
    test_memory_free(&in);
}

static bool refuses;

static int refusing_write(void *self, uint64_t offset, const void *from, uint64_t length) {
    return refuses ? ss_fail(SS_CALLBACK, "refused", offset, length, 0) : buffer_write(self, offset, from, length);
}

static void what_cannot_be_undone_is_undone_before_the_next_operation(void) {
    const ss_foreign_ops ops = {buffer_size, buffer_grow, buffer_read, refusing_write};
    buffer_memory buffer = {.limit = 9, .calls_left = -1};
    ss_memory *memory;
    uint8_t now[8];
    CHECK_EQ(ss_memory_new_foreign(&ops, &buffer, &memory), SS_OK);
    CHECK_EQ(ss_access_write_growing(memory, 0, "abcdefgh", 8), SS_OK);
    CHECK_EQ(ss_enter_write(memory), SS_OK);
    CHECK_EQ(ss_memory_write(memory, 2, "XY", 2), SS_OK);
    refuses = true;
    CHECK_EQ(ss_leave_write(memory, ss_memory_write(memory, 5, "Z", 1)), SS_CALLBACK);
    CHECK(memcmp(buffer.bytes, "abXYefgh", 8) == 0);
    CHECK_EQ(ss_access_read(memory, 0, now, 8), SS_CALLBACK);
    CHECK_EQ(ss_access_write(memory, 0, "Q", 1), SS_CALLBACK);
    refuses = false;
    CHECK_EQ(ss_access_read(memory, 0, now, 8), SS_OK);
    CHECK(memcmp(now, "abcdefgh", 8) == 0);
    CHECK_EQ(ss_access_write(memory, 0, "Q", 1), SS_OK);
    CHECK(memcmp(buffer.bytes, "Qbcdefgh", 8) == 0);
    ss_memory_release(memory);
    free(buffer.bytes);
}

static void leases_are_exclusive_where_pages_overlap(void) {
    ss_memory *base, *low, *high, *both, *inner;
    int a, b, c;
    CHECK_EQ(ss_memory_new_flat(100, &base), SS_OK);
    CHECK_EQ(ss_memory_new_restricted(base, 0, 5, &low), SS_OK);
    CHECK_EQ(ss_memory_new_restricted(base, 5, 9, &high), SS_OK);
    CHECK_EQ(ss_memory_new_restricted(base, 4, 6, &both), SS_OK);
    CHECK_EQ(ss_memory_new_restricted(high, 1, 2, &inner), SS_OK);
    CHECK_EQ(ss_memory_take_lease(low, &a), SS_OK);
    CHECK_EQ(ss_memory_take_lease(low, &b), SS_IN_USE);
    CHECK_EQ(ss_memory_take_lease(high, &b), SS_OK);
    CHECK_EQ(ss_memory_take_lease(both, &c), SS_IN_USE);
    CHECK_EQ(ss_memory_take_lease(base, &c), SS_IN_USE);
    CHECK_EQ(ss_memory_take_lease(inner, &c), SS_IN_USE);
    ss_memory_drop_lease(high, &b);
    CHECK_EQ(ss_memory_take_lease(both, &c), SS_IN_USE);
    CHECK_EQ(ss_memory_take_lease(inner, &c), SS_OK);
    CHECK_EQ(ss_memory_take_lease(high, &b), SS_IN_USE);
    ss_memory_drop_lease(inner, &c);
    ss_memory_drop_lease(low, &a);
    CHECK_EQ(ss_memory_take_lease(base, &a), SS_OK);
    CHECK_EQ(ss_memory_take_lease(inner, &a), SS_IN_USE);
    ss_memory_drop_lease(base, &a);
    ss_memory_release(base);
    ss_memory_release(low);
    ss_memory_release(both);
    ss_memory_release(high);
    ss_memory_release(inner);
}

static void a_closed_memory_answers_nothing_more(void) {
    for (int place = 0; place < PLACES; place++) {
        test_memory in;
        uint8_t byte;
        uint64_t bytes = 0;
        test_memory_new(&in, (enum place)place, 10);
        CHECK_EQ(ss_access_grow(in.memory, 1), 0);
        CHECK_EQ(ss_memory_close(in.memory), SS_OK);
        CHECK_EQ(ss_memory_close(in.root), SS_OK);
        CHECK_EQ(ss_access_size(in.memory), SS_CLOSED);
        CHECK_EQ(ss_access_size(in.root), SS_CLOSED);
        CHECK_EQ(ss_access_read(in.memory, 0, &byte, 1), SS_CLOSED);
        CHECK_EQ(ss_access_write(in.memory, 0, &byte, 1), SS_CLOSED);
        CHECK_EQ(ss_access_grow(in.memory, 1), SS_CLOSED);
        CHECK(ss_access_base(in.memory, &bytes) == NULL);
        test_memory_free(&in);
    }
}

static void a_memory_of_no_pages_or_too_many_is_refused(void) {
    ss_memory *memory;
    CHECK_EQ(ss_memory_new_flat(0, &memory), SS_ARGUMENT);
    CHECK_EQ(ss_memory_new_flat(UINT64_MAX, &memory), SS_ARGUMENT);
    CHECK_EQ(ss_memory_new_flat(UINT64_MAX / 65536, &memory), SS_ARGUMENT);
    CHECK(memory == NULL);
}

/* If there is not so much address space, less is reserved, and a refusal says so. */
static void less_is_reserved_where_the_system_has_no_more(void) {
    ss_memory *memory;
    CHECK_EQ(ss_memory_new_flat(UINT64_C(1) << 40, &memory), SS_OK);
    uint64_t reserved = ss_access_reserved_pages(memory);
    CHECK(reserved > 0 && reserved < UINT64_C(1) << 40);
    CHECK_EQ(ss_access_grow(memory, reserved + 1), SS_OUT_OF_MEMORY);
    CHECK(strstr(ss_last_failure()->rule, "address space") != NULL);
    CHECK_EQ(ss_last_failure()->limit, reserved);
    CHECK_EQ(ss_access_grow(memory, 3), 0);
    ss_memory_release(memory);
}

static void many_memories_leave_address_space_to_others(void) {
    enum { MANY_MEMORIES = 1000 };
    static ss_memory *memories[MANY_MEMORIES];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY_MEMORIES; i++) {
            if (!CHECK_EQ(ss_memory_new_flat(SS_MAX_PAGES, &memories[i]), SS_OK)) return;
#ifndef SS_ADDRESS_SPACE /* else nobody has room for so many large ones */
            CHECK(ss_access_reserved_pages(memories[i]) >= 65536);
            if (i < 50) CHECK_EQ(ss_access_reserved_pages(memories[i]), SS_MAX_PAGES);
#endif
        }
        void *room = malloc((size_t)1 << 28);
        CHECK(room != NULL);
        free(room);
        CHECK_EQ(ss_access_grow(memories[MANY_MEMORIES - 1], 3), 0);
        for (int i = 0; i < MANY_MEMORIES; i++) ss_memory_release(memories[i]);
    }
}

/* The sanitizer knows a memcpy whose ends overlap. */
static void a_memory_is_written_from_its_own_bytes(void) {
    ss_memory *memory;
    uint64_t bytes = 0;
    CHECK_EQ(ss_memory_new_flat(10, &memory), SS_OK);
    CHECK_EQ(ss_access_write_growing(memory, 0, "abcdefgh", 8), SS_OK);
    CHECK_EQ(ss_access_write(memory, 2, ss_access_base(memory, &bytes), 6), SS_OK);
    CHECK(memcmp(ss_access_base(memory, &bytes), "ababcdef", 8) == 0);
    ss_memory_release(memory);
}

static void nobody_enters_twice(void) {
    test_memory in;
    test_memory_new(&in, IN_RESTRICTED, 10);
    CHECK_EQ(ss_enter_write(in.memory), SS_OK);
    CHECK_EQ(ss_access_size(in.memory), SS_REENTRANT);
    CHECK_EQ(ss_access_size(in.root), SS_REENTRANT);
    CHECK_EQ(ss_memory_close(in.root), SS_REENTRANT);
    CHECK_EQ(ss_leave_write(in.memory, SS_OK), SS_OK);
    CHECK_EQ(ss_access_size(in.memory), 0);
    test_memory_free(&in);
}

int main(void) {
    accesses_past_the_end_change_nothing();
    bytes_are_where_they_were_written();
    pins_show_and_change_what_lies_there();
    a_limit_is_kept_and_its_refusal_changes_nothing();
    a_growing_write_grows_by_the_fewest_pages();
    a_restricted_memory_is_a_range_of_pages();
    a_failed_operation_is_undone_to_the_byte(false);
    a_failed_operation_is_undone_to_the_byte(true);
    the_reason_of_a_failure_survives_the_undoing();
    what_cannot_be_undone_is_undone_before_the_next_operation();
    leases_are_exclusive_where_pages_overlap();
    a_closed_memory_answers_nothing_more();
    a_memory_of_no_pages_or_too_many_is_refused();
    less_is_reserved_where_the_system_has_no_more();
    many_memories_leave_address_space_to_others();
    a_memory_is_written_from_its_own_bytes();
    nobody_enters_twice();
    return check_summary();
}
