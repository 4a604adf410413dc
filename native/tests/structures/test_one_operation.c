/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that look and then change under one lock; indices from the end; cursors over values that are overwritten. */
#include "structures/log.h"
#include "structures/vec.h"
#include "support/check.h"
#include "support/maps.h"

enum { MOST = 400 };

static ss_btree *open_numbers(ss_memory *memory) {
    const ss_order_term term = {.kind = SS_ORDER_BYTES, .fixed = 1, .max_size = 8, .part = {-1, -1, -1}};
    ss_btree *tree = NULL;
    require(ss_btree_open(memory, SS_NEW, &term, 1, NULL, NULL, (ss_bound){8, 1, 0}, (ss_bound){8, 1, 0}, &tree) == SS_OK, "a map");
    return tree;
}

/* A column of ascending numbers: every `step`-th from `first` on. */
static ss_column numbers(uint64_t *room, uint64_t first, uint64_t step, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) room[i] = first + i * step;
    return (ss_column){.data = (const uint8_t *)room, .size = 8, .native = 1};
}

static void test_get_or_insert(ss_memory *memory) {
    ss_btree *tree = open_numbers(memory);
    uint8_t key[8], value[8];
    for (uint64_t n = 0; n < MOST; n++) {
        ss_put_be(key, 8, n);
        ss_put_be(value, 8, n + 1);
        CHECK_EQ(ss_btree_get_or_insert(tree, key, 8, value, 8), SS_NO_VALUE);
        ss_put_be(value, 8, 99);
        uint64_t before = ss_btree_changes(tree);
        if (CHECK_EQ(ss_btree_get_or_insert(tree, key, 8, value, 8), 8)) CHECK_EQ(ss_get_be(ss_result(), 8), n + 1);
        CHECK_EQ(ss_btree_changes(tree), before);
    }
    CHECK_EQ(ss_btree_get_or_insert(tree, key, 7, value, 8), SS_BOUND_EXCEEDED);
    CHECK_EQ(ss_btree_length(tree), MOST);
    CHECK_EQ(ss_btree_check(tree, NULL, NULL), SS_OK);
    ss_btree_free(tree);
}

static void test_expected(ss_memory *memory) {
    ss_btree *tree = open_numbers(memory);
    ss_position position;
    uint64_t before = ss_btree_changes(tree), made = 0;
    uint8_t key[8] = {0}, old[8], value[8];
    for (uint64_t n = 0; n < MOST; n++) {
        ss_put_be(key, 8, n);
        ss_put_be(value, 8, n);
        ss_put_be(old, 8, n + 1);
        CHECK_EQ(ss_btree_locate(tree, key, 8, &position), SS_NO_VALUE);
        CHECK_EQ(ss_btree_set_at(tree, &position, key, 8, value, 8, SS_EXPECT_VALUE, old, 8), SS_NO_NUMBER);
        CHECK_EQ(ss_btree_set_at(tree, &position, key, 8, value, 8, SS_EXPECT_NOTHING, NULL, 0) - before, ++made);
        CHECK_EQ(ss_btree_set_at(tree, &position, key, 8, value, 8, SS_EXPECT_NOTHING, NULL, 0), SS_NO_NUMBER);
        CHECK_EQ(ss_btree_set_at(tree, &position, key, 8, old, 8, SS_EXPECT_VALUE, old, 8), SS_NO_NUMBER);
        CHECK_EQ(ss_btree_set_at(tree, &position, key, 8, old, 8, SS_EXPECT_VALUE, value, 7), SS_NO_NUMBER);
        CHECK_EQ(ss_btree_set_at(tree, &position, key, 8, old, 8, SS_EXPECT_VALUE, value, 8) - before, ++made);
        CHECK_EQ(ss_btree_set_at(tree, &position, key, 8, value, 7, SS_EXPECT_ANYTHING, NULL, 0), SS_ASK);
        CHECK_EQ(ss_last_status(), SS_BOUND_EXCEEDED);
        CHECK_EQ(ss_btree_get_u64_u64(tree, n), n + 1);
    }
    CHECK_EQ(ss_btree_check(tree, NULL, NULL), SS_OK);
    ss_btree_free(tree);
}

/* Of a leaf of 11 entries: the header says fewer of them, or that it is no leaf, since the position was made. Writes to a virtual memory do
 * not count as changes of the map. */
static void test_a_position_of_a_node_that_was_written_over(ss_memory *root) {
    const ss_order_term term = {.kind = SS_ORDER_BYTES, .max_size = SS_UNBOUNDED, .part = {-1, -1, -1}};
    const ss_bound any = {SS_UNBOUNDED, 0, 0};
    enum { FULL = 11, LEAST = 8 };
    for (uint8_t number = 0; number <= FULL; number++) {
        for (uint8_t count = 1; count <= 2 * FULL; count++) {
            ss_manager *manager;
            ss_memory *memory;
            ss_btree *tree;
            ss_position position;
            uint8_t key = number, header[3] = {count > FULL, (uint8_t)(count > FULL ? count - FULL : count), 0}, value[LEAST + FULL] = {0};
            require(ss_manager_open(root, SS_NEW, 1, &manager) == SS_OK && ss_manager_get(manager, 0, &memory) == SS_OK, "a memory");
            require(ss_btree_open(memory, SS_NEW, &term, 1, NULL, NULL, any, any, &tree) == SS_OK, "a map");
            for (uint8_t n = number == FULL; n < FULL; n++) CHECK(ss_btree_set_bytes_bytes(tree, &n, 1, value, LEAST) >= 0);
            CHECK_EQ(ss_btree_locate(tree, &key, 1, &position), number < FULL ? LEAST : SS_NO_VALUE);
            CHECK_EQ(ss_access_write(memory, position.address + 4, header, sizeof header), SS_OK);
            bool there = number < FULL ? position.index < header[1] : header[0] == 0 && position.index <= header[1];
            uint64_t result = ss_btree_set_at(tree, &position, &key, 1, value, LEAST + number, SS_EXPECT_ANYTHING, NULL, 0);
            CHECK(there || (result == SS_ASK && ss_last_status() == SS_CORRUPT));
            ss_btree_free(tree);
            ss_memory_release(memory);
            ss_manager_free(manager);
        }
    }
}

static void test_toggle_and_retain(ss_memory *memory) {
    ss_btree *tree = open_numbers(memory);
    uint64_t room[MOST], values[MOST];
    uint8_t found[MOST];
    ss_column all = numbers(room, 0, 1, MOST), zeros = numbers(values, 0, 0, MOST);
    CHECK_EQ(ss_btree_toggle_many(tree, &all, &zeros, MOST, found), MOST);
    ss_column even = numbers(room, 0, 2, MOST);
    CHECK_EQ(ss_btree_toggle_many(tree, &even, &zeros, MOST, found), MOST / 2);
    for (uint64_t i = 0; i < MOST; i++) CHECK_EQ(found[i], i < MOST / 2);
    for (uint64_t n = 0; n < 2 * MOST; n++) CHECK_EQ(ss_btree_contains_u64(tree, n), (n < MOST ? n % 2 : n % 2 == 0) ? SS_OK : SS_ABSENT);
    room[3] = room[2]; /* not ascending: nothing happens */
    CHECK_EQ(ss_btree_toggle_many(tree, &even, &zeros, MOST, found), SS_ARGUMENT);
    CHECK_EQ(ss_btree_retain_many(tree, &even, MOST), SS_ARGUMENT);
    CHECK_EQ(ss_btree_length(tree), MOST);
    ss_column third = numbers(room, 0, 3, MOST);
    CHECK_EQ(ss_btree_retain_many(tree, &third, MOST), MOST - 134);
    for (uint64_t n = 0; n < 2 * MOST; n++) {
        bool kept = n % 3 == 0 && (n < MOST ? n % 2 : n % 2 == 0);
        CHECK_EQ(ss_btree_contains_u64(tree, n), kept ? SS_OK : SS_ABSENT);
    }
    CHECK_EQ(ss_btree_check(tree, NULL, NULL), SS_OK);
    CHECK_EQ(ss_btree_retain_many(tree, &third, 0), 134);
    CHECK_EQ(ss_btree_retain_many(tree, &third, 0), 0);
    CHECK_EQ(ss_btree_length(tree), 0);
    ss_btree_free(tree);
}

/* One entry from an end: its key, or UINT64_MAX if nothing is left; *value gets its value. */
static uint64_t next_key(ss_cursor *cursor, int back, uint64_t *value) {
    int want = SS_WANT_KEYS | SS_WANT_VALUES | SS_WANT_KEY_NUMBERS | SS_WANT_VALUE_NUMBERS;
    int64_t size = ss_cursor_next(cursor, 1, UINT64_MAX, want, back);
    if (!CHECK(size >= 24) || ss_get64(ss_result()) == 0) return UINT64_MAX;
    *value = ss_get64(ss_result() + 32);
    return ss_get64(ss_result() + 24);
}

/* Full nodes are split when a value below them is set again: the cursor finds its places again, gives entries back, and sees
 * each once. */
static void test_overwriting_under_a_cursor(ss_memory *memory, uint64_t seed) {
    uint64_t room[MOST], value = 0;
    rng random = {.state = seed};
    ss_btree *tree = open_numbers(memory);
    ss_cursor *cursor = NULL;
    ss_column all = numbers(room, 0, 1, MOST);
    require(ss_btree_build(tree, &all, &all, MOST) == SS_OK, "full nodes");
    require(ss_cursor_open(tree, SS_FROM_FIRST, NULL, 0, SS_TO_LAST, NULL, 0, &cursor) == SS_OK, "a cursor");
    uint64_t low = 0, high = MOST;
    for (int step = 0; low < high; step++) {
        int back = (int)rng_below(&random, 2);
        uint64_t n = back ? high - 1 : low;
        if (!CHECK_EQ(next_key(cursor, back, &value), n) || !CHECK_EQ(value, ss_btree_get_u64_u64(tree, n))) break;
        low += back == 0;
        high -= back != 0;
        for (int i = 0; i < 3; i++) CHECK_EQ(ss_btree_set_u64_u64(tree, rng_below(&random, MOST), rng_next(&random) >> 1), SS_OK);
        CHECK_EQ(ss_cursor_valid(cursor), SS_ABSENT);
        CHECK_EQ(ss_cursor_valid(cursor), SS_OK);
        uint64_t taken = back ? MOST - high : low, most = taken < 20 ? taken : 20;
        uint64_t again = (step % 41 == 0 || low == high) && step < 2000 ? most : 0;
        CHECK_EQ(ss_cursor_give_back(cursor, again, back), SS_OK);
        low -= back ? 0 : again;
        high += back ? again : 0;
    }
    CHECK_EQ(next_key(cursor, 0, &value), UINT64_MAX);
    CHECK_EQ(ss_btree_insert_u64_u64(tree, 0, 0) == SS_NO_NUMBER, 0); /* an insertion that answers */
    CHECK_EQ(ss_cursor_valid(cursor), SS_CHANGED);
    ss_cursor_free(cursor);
    CHECK_EQ(ss_btree_check(tree, NULL, NULL), SS_OK);
    ss_btree_free(tree);
}

static void test_indices_from_the_end(ss_memory *memory, ss_memory *index, ss_memory *data) {
    ss_vec *vec = NULL;
    ss_log *log = NULL;
    uint64_t ends[3];
    require(ss_vec_open(memory, SS_NEW, 8, 1, &vec) == SS_OK && ss_log_open(index, data, SS_NEW, &log) == SS_OK, "a vec and a log");
    for (uint64_t n = 0; n < 3; n++) {
        CHECK_EQ(ss_vec_push_u64(vec, n), SS_OK);
        CHECK_EQ(ss_log_append(log, (const uint8_t *)"abc" + n, 1), n);
    }
    for (int64_t i = -5; i < 5; i++) {
        int64_t n = i < 0 ? i + 3 : i;
        bool there = n >= 0 && n < 3;
        CHECK_EQ(ss_vec_item_u64(vec, i), there ? (uint64_t)n : SS_NO_NUMBER);
        CHECK_EQ(ss_vec_item(vec, i), there ? 8 : SS_NO_VALUE);
        CHECK_EQ(ss_vec_set_item_u64(vec, i, (uint64_t)n), there ? SS_OK : SS_OUT_OF_BOUNDS);
        CHECK_EQ(ss_vec_set_item(vec, i, (const uint8_t *)"\0\0\0\0\0\0\0", 8), there ? SS_OK : SS_OUT_OF_BOUNDS);
        if (there) CHECK_EQ(ss_vec_set_u64(vec, (uint64_t)n, (uint64_t)n), SS_OK);
        if (CHECK_EQ(ss_log_item(log, i), there ? 1 : SS_NO_VALUE) && there) CHECK_EQ(ss_result()[0], 'a' + n);
    }
    CHECK_EQ(ss_vec_item_u64(vec, INT64_MIN), SS_NO_NUMBER);
    CHECK_EQ(ss_log_item(log, INT64_MAX), SS_NO_VALUE);
    CHECK_EQ(ss_vec_export_var(vec, 1, 3, 3, ends), 16);
    CHECK_EQ(ss_vec_export_var(vec, 1, 3, 4, ends), SS_OUT_OF_BOUNDS);
    CHECK_EQ(ss_log_export(log, 1, 3, 3, ends), 2);
    CHECK_EQ(ss_log_export(log, 1, 3, 2, ends), SS_OUT_OF_BOUNDS);
    ss_vec_free(vec);
    ss_log_free(log);
}

int main(void) {
    ss_memory *memories[3];
    for (int i = 0; i < 3; i++) require(ss_memory_new_flat(200, &memories[i]) == SS_OK, "a memory");
    test_get_or_insert(memories[0]);
    test_expected(memories[0]);
    test_a_position_of_a_node_that_was_written_over(memories[1]);
    test_toggle_and_retain(memories[0]);
    for (uint64_t seed = 0; seed < 40; seed++) test_overwriting_under_a_cursor(memories[0], seed);
    test_indices_from_the_end(memories[0], memories[1], memories[2]);
    for (int i = 0; i < 3; i++) ss_memory_release(memories[i]);
    return check_summary();
}
