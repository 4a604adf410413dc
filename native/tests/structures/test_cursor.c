/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges from both ends against a sorted row of numbers; trees that are damaged so that a walk would not end. */
#include "support/check.h"
#include "support/maps.h"

enum { MOST = 600 };

/* A map of even numbers 0, 2, 4, ... and what a cursor on it should give. */
typedef struct setting {
    test_memory in;
    ss_btree *tree;
    uint64_t count;
} setting;

static ss_span number_key(const map_kind *kind, uint64_t n, uint8_t room[8]) {
    uint32_t size = kind->key.fixed ? (uint32_t)kind->key.max_size : 8;
    ss_put_be(room, size, n);
    return (ss_span){room, size};
}

static void begin(setting *s, const map_kind *kind, enum place place, uint64_t count) {
    uint8_t key[8], value[200] = {0};
    test_memory_new(&s->in, place, 400);
    require(open_kind(s->in.memory, SS_INIT, kind, &s->tree) == SS_OK, "a map");
    s->count = count;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t n = i * 7919 % count;
        ss_span k = number_key(kind, 2 * n, key);
        uint64_t size = kind->value.fixed || kind->value.max_size == 0 ? kind->value.max_size : n % 50;
        CHECK_EQ(ss_btree_set_bytes_bytes(s->tree, k.at, k.size, value, size), SS_ABSENT);
        test_memory_scatter(&s->in);
    }
}

static void finish(setting *s) {
    ss_btree_free(s->tree);
    test_memory_free(&s->in);
}

/* The range as indices: from *low to before *high. */
static void bounds(const setting *s, int from, uint64_t start, int to, uint64_t stop, uint64_t *low, uint64_t *high) {
    *low = from == SS_FROM_FIRST ? 0 : from == SS_FROM ? (start + 1) / 2 : start / 2 + 1;
    if (from == SS_FROM_BEFORE) *low = start == 0 ? 0 : (start - 1) / 2;
    *high = to == SS_TO_LAST ? s->count : to == SS_UPTO ? stop / 2 + 1 : (stop + 1) / 2;
    if (from == SS_FROM_BEFORE && *low >= s->count) *low = s->count - 1;
    if (*high > s->count) *high = s->count;
    if (*low > *high) *low = *high;
}

/* Walks a cursor with random steps from random ends; every key must be the next of [low, high). */
static bool walk(setting *s, const map_kind *kind, ss_cursor *cursor, rng *random, uint64_t low, uint64_t high) {
    uint8_t wanted[8];
    for (int step = 0; step < 3 * MOST; step++) {
        int back = (int)rng_below(random, 2);
        uint64_t most = 1 + rng_below(random, 20), left = high - low, count = most < left ? most : left;
        if (rng_below(random, 4) == 0) {
            if (!CHECK_EQ(ss_cursor_skip(cursor, most, back), count)) return false;
            if (back)
                high -= count;
            else
                low += count;
            continue;
        }
        int64_t size = ss_cursor_next(cursor, most, UINT64_MAX, SS_WANT_KEYS, back);
        if (!CHECK(size >= 24) || !CHECK_EQ(ss_get64(ss_result()), count)) return false;
        const uint8_t *keys = ss_result() + 24 + 8 * count;
        for (uint64_t i = 0; i < count; i++) {
            ss_span key = number_key(kind, 2 * (back ? --high : low++), wanted);
            if (!CHECK(memcmp(keys, key.at, key.size) == 0)) return false;
            keys += key.size;
        }
        if (count == 0) return CHECK_EQ(low, high);
    }
    return CHECK(!"a walk ends");
    (void)s;
}

static const map_kind *const number_kinds[] = {&map_kinds[0], &map_kinds[1], &map_kinds[3]};

static void ranges_are_those_of_a_row_of_numbers(void) {
    static const uint64_t counts[] = {0, 1, 2, 11, 12, 30, 150, MOST};
    rng random = {.state = 11};
    for (size_t k = 0; k < 3; k++) {
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            setting s;
            const map_kind *kind = number_kinds[k];
            begin(&s, kind, (enum place)rng_below(&random, PLACES), counts[c]);
            for (int round = 0; round < 120; round++) {
                uint8_t first[8], last[8];
                uint64_t start = rng_below(&random, 2 * counts[c] + 3), stop = rng_below(&random, 2 * counts[c] + 3), low, high;
                int from = (int)rng_below(&random, 4), to = (int)rng_below(&random, 3);
                ss_span a = number_key(kind, start, first), b = number_key(kind, stop, last);
                ss_cursor *cursor;
                bounds(&s, from, start, to, stop, &low, &high);
                if (counts[c] == 0) low = high = 0;
                CHECK_EQ(ss_cursor_open(s.tree, from, a.at, a.size, to, b.at, b.size, &cursor), SS_OK);
                if (!walk(&s, kind, cursor, &random, low, high)) {
                    fprintf(stderr, "    %s, %d entries, from %d %d to %d %d\n", kind->name, (int)counts[c], from, (int)start, to,
                            (int)stop);
                }
                ss_cursor_free(cursor);
            }
            finish(&s);
        }
    }
}

static void numbers_and_bytes_come_as_they_are_wanted(void) {
    setting s;
    ss_cursor *cursor;
    begin(&s, &map_kinds[0], IN_FLAT, 40);
    for (int want = 0; want < 16; want++) {
        CHECK_EQ(ss_cursor_open(s.tree, SS_FROM_FIRST, NULL, 0, SS_TO_LAST, NULL, 0, &cursor), SS_OK);
        int64_t size = ss_cursor_next(cursor, 10, UINT64_MAX, want, 0);
        uint64_t keys = want & SS_WANT_KEYS ? 10 : 0, values = want & SS_WANT_VALUES ? 10 : 0;
        uint64_t key_bytes = want & SS_WANT_KEY_NUMBERS ? 0 : 8 * keys, value_bytes = want & SS_WANT_VALUE_NUMBERS ? 0 : 8 * values;
        CHECK_EQ(size, 24 + 8 * (keys + values) + key_bytes + value_bytes);
        const uint8_t *at = ss_result();
        CHECK_EQ(ss_get64(at), 10);
        CHECK_EQ(ss_get64(at + 8), key_bytes);
        CHECK_EQ(ss_get64(at + 16), value_bytes);
        if (keys > 0) CHECK_EQ(ss_get64(at + 24 + 8 * 3), want & SS_WANT_KEY_NUMBERS ? 6 : 32);
        ss_cursor_free(cursor);
    }
    CHECK_EQ(ss_cursor_open(s.tree, 4, NULL, 0, SS_TO_LAST, NULL, 0, &cursor), SS_ARGUMENT);
    CHECK_EQ(ss_cursor_open(s.tree, SS_FROM_FIRST, NULL, 0, 3, NULL, 0, &cursor), SS_ARGUMENT);
    CHECK(cursor == NULL);
    finish(&s);
}

static void a_batch_stops_at_its_bytes(void) {
    setting s;
    ss_cursor *cursor;
    begin(&s, &map_kinds[1], IN_FLAT, 100);
    CHECK_EQ(ss_cursor_open(s.tree, SS_FROM_FIRST, NULL, 0, SS_TO_LAST, NULL, 0, &cursor), SS_OK);
    CHECK(ss_cursor_next(cursor, 1000, 33, SS_WANT_KEYS, 0) > 0);
    CHECK_EQ(ss_get64(ss_result()), 5);
    ss_cursor_free(cursor);
    finish(&s);
}

static void a_changed_map_ends_a_walk(void) {
    setting s;
    ss_cursor *cursor;
    begin(&s, &map_kinds[0], IN_FLAT, 100);
    CHECK_EQ(ss_cursor_open(s.tree, SS_FROM_FIRST, NULL, 0, SS_TO_LAST, NULL, 0, &cursor), SS_OK);
    CHECK(ss_btree_remove_u64_u64(s.tree, 12345) == SS_NO_NUMBER);
    CHECK_EQ(ss_cursor_valid(cursor), SS_OK);
    CHECK(ss_btree_insert_u64_u64(s.tree, 4, 4) != SS_ASK);
    CHECK_EQ(ss_cursor_valid(cursor), SS_CHANGED);
    CHECK_EQ(ss_cursor_next(cursor, 1, UINT64_MAX, SS_WANT_KEYS, 0), SS_CHANGED);
    CHECK_EQ(ss_cursor_skip(cursor, 1, 1), SS_CHANGED);
    ss_cursor_free(cursor);
    CHECK_EQ(ss_cursor_open(s.tree, SS_FROM_FIRST, NULL, 0, SS_TO_LAST, NULL, 0, &cursor), SS_OK);
    CHECK_EQ(ss_btree_detach(s.tree), SS_OK);
    CHECK_EQ(ss_cursor_valid(cursor), SS_CLOSED);
    CHECK_EQ(ss_cursor_next(cursor, 1, UINT64_MAX, SS_WANT_KEYS, 0), SS_CLOSED);
    ss_cursor_free(cursor);
    finish(&s);
}

/* A removal that finds nothing may have merged nodes on its way: then the paths of a cursor lead somewhere else. */
static void a_removal_that_found_nothing_ends_a_walk_if_it_changed_anything(void) {
    int changed = 0, unchanged = 0;
    for (uint64_t count = 12; count < 120; count++) {
        setting s;
        ss_cursor *cursor;
        begin(&s, &map_kinds[0], IN_FLAT, count);
        uint8_t *before = malloc(65536);
        memcpy(before, s.in.root->root->base, 65536);
        CHECK_EQ(ss_cursor_open(s.tree, SS_FROM_FIRST, NULL, 0, SS_TO_LAST, NULL, 0, &cursor), SS_OK);
        CHECK(ss_btree_remove_u64_u64(s.tree, 2 * (count / 3) + 1) == SS_NO_NUMBER);
        bool same = memcmp(before, s.in.root->root->base, 65536) == 0;
        CHECK_EQ(ss_cursor_valid(cursor), same ? SS_OK : SS_CHANGED);
        changed += !same;
        unchanged += same;
        free(before);
        ss_cursor_free(cursor);
        finish(&s);
    }
    CHECK(changed > 5 && unchanged > 5);
}

/* The header of cursor.h allows ends outside the bound of the key type: they are read no further than they are long. */
static void ends_of_any_size_are_taken(void) {
    setting s;
    begin(&s, &map_kinds[0], IN_FLAT, 100);
    for (uint64_t size = 0; size < 20; size++) {
        uint8_t *end = malloc(size + 1);
        ss_cursor *cursor;
        memset(end + 1, 0, size);
        if (size > 8) end[8] = 20;
        for (int from = SS_FROM; from <= SS_FROM_BEFORE; from++) {
            CHECK_EQ(ss_cursor_open(s.tree, from, end + 1, size, SS_BEFORE, end + 1, size, &cursor), SS_OK);
            int64_t passed = ss_cursor_skip(cursor, 1000, 0);
            CHECK(passed == 0 || (from == SS_FROM_BEFORE && passed == 1));
            ss_cursor_free(cursor);
        }
        CHECK_EQ(ss_cursor_open(s.tree, SS_FROM, end + 1, size, SS_TO_LAST, NULL, 0, &cursor), SS_OK);
        CHECK_EQ(ss_cursor_skip(cursor, 1000, 0), size <= 8 ? 100 : 89);
        ss_cursor_free(cursor);
        free(end);
    }
    finish(&s);
}

/* ---- damage ---- */

static uint8_t *root_byte(const setting *s, uint64_t offset) {
    return s->in.root->root->base + offset;
}

/* Whether a cursor can still be asked anything after it came upon damage. */
static void ask_on(ss_cursor *cursor) {
    for (int i = 0; i < 4; i++) {
        int64_t status = ss_cursor_next(cursor, 5, UINT64_MAX, SS_WANT_KEYS | SS_WANT_VALUES, i & 1);
        CHECK(status >= 0 || status == SS_CORRUPT);
        status = ss_cursor_skip(cursor, 7, i >> 1 & 1);
        CHECK(status >= 0 || status == SS_CORRUPT);
    }
}

/* The last leaf is hung where the first was, so that a walk from the front runs past the last entry. */
static void a_failed_skip_leaves_a_cursor_that_can_be_asked(void) {
    for (int back = 0; back < 2; back++) {
        setting s;
        ss_cursor *cursor;
        begin(&s, &map_kinds[0], IN_FLAT, 30);
        uint64_t root = ss_get64(root_byte(&s, 12));
        uint32_t count = ss_get16(root_byte(&s, root + 5));
        CHECK_EQ(ss_cursor_open(s.tree, SS_FROM_FIRST, NULL, 0, SS_TO_LAST, NULL, 0, &cursor), SS_OK);
        CHECK(count >= 2 && *root_byte(&s, root + 4) == 1);
        /* Fewer entries than the path of the other end says. */
        ss_put16(root_byte(&s, root + 5), 1);
        CHECK_EQ(ss_cursor_skip(cursor, 1000, back), SS_CORRUPT);
        ask_on(cursor);
        ss_cursor_free(cursor);
        finish(&s);
    }
}

/* Every internal node has its first child as each of its children: a walk would take 12^levels steps. */
static void a_walk_ends_where_every_child_is_the_same(void) {
    for (int way = 0; way < 3; way++) {
        setting s;
        ss_cursor *cursor;
        rng random = {.state = 3};
        begin(&s, &map_kinds[0], IN_FLAT, MOST);
        /* Levels by hand: internal nodes in a row of chunks, each twelve times the one before. */
        uint64_t below = ss_get64(root_byte(&s, 12)), address = below;
        while (*root_byte(&s, below + 4) == 1) below = ss_get64(root_byte(&s, below + 15));
        for (int level = 0; level < 20; level++) {
            uint64_t node = 100 + 16 + (uint64_t)level * (16 + 275);
            if (node == below) node = 100 + 16 + UINT64_C(25) * (16 + 275);
            memcpy(root_byte(&s, node), "BTN\2\1\13\0\0\0\0\0\0\0\0\0", 15);
            for (uint64_t i = 0; i < 12; i++) ss_put64(root_byte(&s, node + 15 + 8 * i), level == 0 ? below : address);
            address = node;
        }
        ss_put64(root_byte(&s, 12), address);
        if (way == 1) ss_put64(root_byte(&s, 20), UINT64_MAX);
        CHECK_EQ(ss_cursor_open(s.tree, SS_FROM_FIRST, NULL, 0, SS_TO_LAST, NULL, 0, &cursor), SS_OK);
        int64_t status = 0;
        uint64_t passed = 0;
        for (int i = 0; i < 1000000 && status >= 0; i++) {
            status =
                rng_below(&random, 2) ? ss_cursor_skip(cursor, 50, way == 2) : ss_cursor_next(cursor, 50, 10000, SS_WANT_KEYS, way == 2);
            passed += 50;
            if (passed > 65536) break;
        }
        CHECK_EQ(status, SS_CORRUPT);
        ask_on(cursor);
        ss_cursor_free(cursor);
        finish(&s);
    }
}

int main(void) {
    ranges_are_those_of_a_row_of_numbers();
    numbers_and_bytes_come_as_they_are_wanted();
    a_batch_stops_at_its_bytes();
    a_changed_map_ends_a_walk();
    a_removal_that_found_nothing_ends_a_walk_if_it_changed_anything();
    ends_of_any_size_are_taken();
    a_failed_skip_leaves_a_cursor_that_can_be_asked();
    a_walk_ends_where_every_child_is_the_same();
    return check_summary();
}
