/* SPDX-License-Identifier: Apache-2.0 */
/* What a new map looks like, what it refuses, and what its check names: numbers, bounds, types, damage. */
#include "memory/allocator.h"
#include "support/check.h"
#include "support/map_twin.h"

/* ---- what a new map looks like ---- */

static void page_sizes_are_those_of_the_format(void) {
    static const struct {
        ss_bound key, value;
        uint64_t page;
        int status;
    } cases[] = {
        {{8, 1, 0}, {8, 1, 0}, (7 + 11 * 24 + 96) * 3 / 4, SS_OK},
        {{1, 1, 0}, {0, 0, 0}, (7 + 11 * 9 + 96) * 3 / 4, SS_OK},
        {{0, 0, 0}, {0, 0, 0}, (7 + 11 * 8 + 96) * 3 / 4, SS_OK},
        {NO_BOUND, {8, 1, 0}, 1024, SS_OK},
        {{8, 1, 0}, NO_BOUND, 1024, SS_OK},
        {{200000, 0, 0}, {3, 0, 0}, (7 + UINT64_C(11) * 200011 + 96) * 3 / 4, SS_OK},
        {{UINT32_MAX, 0, 0}, {3, 0, 0}, 0, SS_ARGUMENT},
        {{UINT64_C(1) << 32, 0, 0}, {3, 0, 0}, 0, SS_ARGUMENT},
        {{SS_UNBOUNDED, 1, 0}, {3, 0, 0}, 0, SS_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        map_kind kind = {.terms = {TERM_BYTES(0, 8)}, .term_count = 1, .key = cases[i].key, .value = cases[i].value};
        kind.terms[0].fixed = kind.key.fixed;
        kind.terms[0].max_size = kind.key.max_size;
        test_memory in;
        ss_btree *tree = NULL;
        test_memory_new(&in, IN_FLAT, 10);
        CHECK_EQ(open_kind(in.memory, SS_INIT, &kind, &tree), cases[i].status);
        if (cases[i].status == SS_OK) {
            uint8_t wanted[28] = {'B', 'T', 'R', 2};
            ss_put32(wanted + 4, (uint32_t)cases[i].page);
            ss_put32(wanted + 8, UINT32_MAX);
            CHECK(memcmp(in.root->root->base, wanted, sizeof wanted) == 0);
            CHECK_EQ(ss_get64(in.root->root->base + 60), cases[i].page);
        } else {
            CHECK(tree == NULL);
            CHECK_EQ(in.root->root->pages, 0);
        }
        ss_btree_free(tree);
        test_memory_free(&in);
    }
}

/* ---- numbers, bounds, life ---- */

static void numbers_that_look_like_signals_come_through(void) {
    setting *s = begin(&map_kinds[U64_MAP], IN_FLAT, 10, 1);
    static const uint64_t values[] = {0, 1, SS_ASK, SS_NO_NUMBER, UINT64_MAX, UINT64_MAX - 1, UINT64_MAX - 2, (uint64_t)INT64_MAX + 1};
    for (uint64_t i = 0; i < 8; i++) {
        CHECK(ss_btree_get_u64_u64(s->tree, i) == SS_NO_NUMBER);
        CHECK(ss_btree_insert_u64_u64(s->tree, i, values[i]) == SS_NO_NUMBER);
        for (int way = 0; way < 3; way++) {
            uint64_t result = way == 0   ? ss_btree_get_u64_u64(s->tree, i)
                              : way == 1 ? ss_btree_insert_u64_u64(s->tree, i, values[i])
                                         : ss_btree_remove_u64_u64(s->tree, i);
            CHECK(result != SS_NO_NUMBER);
            if (result == SS_ASK) {
                CHECK_EQ(ss_last_status(), SS_OK);
                result = ss_last_number();
            }
            CHECK_EQ(result, values[i]);
        }
        CHECK(ss_btree_remove_u64_u64(s->tree, i) == SS_NO_NUMBER);
    }
    finish(s);
}

static void another_kind_of_argument_is_refused(void) {
    setting *s = begin(&map_kinds[BYTES_MAP], IN_FLAT, 10, 1);
    CHECK(ss_btree_get_u64_u64(s->tree, 1) == SS_ASK);
    CHECK_EQ(ss_last_status(), SS_INCOMPATIBLE);
    CHECK_EQ(ss_btree_get_u64_bytes(s->tree, 1), SS_INCOMPATIBLE);
    CHECK_EQ(ss_btree_contains_u64(s->tree, 1), SS_INCOMPATIBLE);
    CHECK_EQ(ss_btree_set_u64_u64(s->tree, 1, 1), SS_INCOMPATIBLE);
    CHECK_EQ(ss_btree_set_u64_bytes(s->tree, 1, (const uint8_t *)"a", 1), SS_INCOMPATIBLE);
    CHECK_EQ(ss_btree_set_bytes_u64(s->tree, (const uint8_t *)"a", 1, 1), SS_INCOMPATIBLE);
    CHECK(ss_btree_insert_bytes_u64(s->tree, (const uint8_t *)"a", 1, 1) == SS_ASK);
    CHECK_EQ(ss_btree_remove_u64_bytes(s->tree, 1), SS_INCOMPATIBLE);
    same_entries(s);
    /* A number as result to a value that is none. */
    CHECK_EQ(ss_btree_set_bytes_bytes(s->tree, (const uint8_t *)"a", 1, (const uint8_t *)"12345678", 8), SS_ABSENT);
    bytes_before before = remember(s);
    CHECK(ss_btree_get_bytes_u64(s->tree, (const uint8_t *)"a", 1) == SS_ASK);
    CHECK(ss_last_status() < 0);
    CHECK(ss_btree_remove_bytes_u64(s->tree, (const uint8_t *)"a", 1) == SS_ASK);
    CHECK(ss_last_status() < 0);
    unchanged(s, &before);
    finish(s);
}

static void bounds_are_checked_before_anything_is_written(void) {
    static const uint8_t much[100] = {1};
    for (size_t kind = 0; kind < MAP_KINDS; kind++) {
        setting *s = begin(&map_kinds[kind], IN_FLAT, 10, 1);
        if (s->kind->key.max_size == SS_UNBOUNDED) {
            finish(s);
            continue;
        }
        uint64_t key = s->kind->key.max_size, value = s->kind->value.max_size;
        bytes_before before = remember(s);
        CHECK_EQ(ss_btree_set_bytes_bytes(s->tree, much, key + 1, much, value < 100 ? value : 5), SS_BOUND_EXCEEDED);
        if (value < 100) CHECK_EQ(ss_btree_set_bytes_bytes(s->tree, much, key, much, value + 1), SS_BOUND_EXCEEDED);
        if (s->kind->key.fixed) CHECK_EQ(ss_btree_set_bytes_bytes(s->tree, much, key - 1, much, value), SS_BOUND_EXCEEDED);
        if (s->kind->value.fixed) CHECK_EQ(ss_btree_set_bytes_bytes(s->tree, much, key, much, value - 1), SS_BOUND_EXCEEDED);
        CHECK_EQ(ss_btree_get_bytes_bytes(s->tree, much, key + 1), SS_BOUND_EXCEEDED);
        CHECK_EQ(ss_btree_remove_bytes_bytes(s->tree, much, key + 1), SS_BOUND_EXCEEDED);
        unchanged(s, &before);
        finish(s);
    }
    setting *s = begin(&map_kinds[3], IN_FLAT, 10, 1);
    CHECK_EQ(ss_btree_contains_u64(s->tree, UINT64_C(1) << 32), SS_BOUND_EXCEEDED);
    CHECK_EQ(ss_btree_set_u64_bytes(s->tree, UINT64_C(1) << 32, much, 0), SS_BOUND_EXCEEDED);
    CHECK_EQ(ss_btree_set_u64_bytes(s->tree, UINT32_MAX, much, 0), SS_ABSENT);
    finish(s);
}

static void one_map_lives_on_a_memory_at_a_time(void) {
    for (int place = 0; place < PLACES; place++) {
        setting *s = begin(&map_kinds[U64_MAP], (enum place)place, 50, 1);
        ss_btree *other = NULL;
        CHECK_EQ(open_kind(s->in.memory, SS_INIT, s->kind, &other), SS_IN_USE);
        CHECK_EQ(open_kind(s->in.root, SS_INIT, s->kind, &other), SS_IN_USE);
        CHECK_EQ(ss_btree_set_u64_u64(s->tree, 1, 2), SS_ABSENT);
        CHECK_EQ(ss_btree_detach(s->tree), SS_OK);
        CHECK_EQ(ss_btree_detach(s->tree), SS_CLOSED);
        CHECK_EQ(ss_btree_set_u64_u64(s->tree, 1, 3), SS_CLOSED);
        CHECK_EQ(ss_btree_length(s->tree), SS_CLOSED);
        CHECK_EQ(open_kind(s->in.memory, SS_LOAD, s->kind, &other), SS_OK);
        CHECK_EQ(ss_btree_get_u64_u64(other, 1), 2);
        CHECK_EQ(ss_memory_close(s->in.memory), SS_OK);
        CHECK_EQ(ss_btree_get_u64_u64(other, 1), SS_ASK);
        CHECK_EQ(ss_last_status(), SS_CLOSED);
        CHECK_EQ(ss_btree_pop_first(other), SS_CLOSED);
        CHECK_EQ(ss_btree_check(other, NULL, NULL), SS_CLOSED);
        ss_btree_free(other);
        finish(s);
    }
}

static void what_is_not_a_map_is_refused(void) {
    test_memory in;
    ss_btree *tree = NULL;
    uint64_t old;
    test_memory_new(&in, IN_FLAT, 10);
    CHECK_EQ(open_kind(in.memory, SS_LOAD, &map_kinds[0], &tree), SS_BAD_MAGIC);
    CHECK_EQ(ss_memory_grow(in.memory, 1, &old), SS_OK);
    CHECK_EQ(open_kind(in.memory, SS_LOAD, &map_kinds[0], &tree), SS_BAD_MAGIC);
    CHECK_EQ(ss_access_write(in.memory, 0, "BTR\3", 4), SS_OK);
    CHECK_EQ(open_kind(in.memory, SS_INIT, &map_kinds[0], &tree), SS_BAD_VERSION);
    CHECK_EQ(ss_access_write(in.memory, 0, "BTR\0", 4), SS_OK);
    CHECK_EQ(open_kind(in.memory, SS_INIT, &map_kinds[0], &tree), SS_BAD_VERSION);
    CHECK_EQ(ss_access_write(in.memory, 0, "BTR\2\177\0\0\0\377\377\377\377", 12), SS_OK);
    CHECK_EQ(open_kind(in.memory, SS_INIT, &map_kinds[0], &tree), SS_CORRUPT);
    CHECK_EQ(ss_access_write(in.memory, 0, "BTR\1\7\0\0\0\377\0\0\0", 12), SS_OK);
    CHECK_EQ(open_kind(in.memory, SS_INIT, &map_kinds[0], &tree), SS_INCOMPATIBLE);
    CHECK_EQ(open_kind(in.memory, 7, &map_kinds[0], &tree), SS_ARGUMENT);
    CHECK_EQ(open_kind(in.memory, SS_NEW, &map_kinds[0], &tree), SS_OK);
    ss_btree_free(tree);
    test_memory_free(&in);
}

/* A leaf that says it is internal: refilling its neighbour from it would lose what it seems to have below. */
static void siblings_of_two_levels_are_not_mixed(void) {
    for (int way = 0; way < 4; way++) {
        setting *s = begin(&map_kinds[U64_MAP], IN_FLAT, 10, 1);
        for (uint64_t i = 0; i < 18; i++) CHECK(ss_btree_set_u64_u64(s->tree, i, i) == SS_ABSENT);
        uint8_t *base = s->in.root->root->base;
        uint64_t root = ss_get64(base + 12), first = ss_get64(base + root + 15), last = ss_get64(base + root + 15 + 8 * 2);
        CHECK_EQ(ss_get16(base + root + 5), 2);
        /* The leaf at one end gets to the minimum, the one in the middle can lose an entry (1, 3) or not (0, 2). */
        uint64_t gone = way < 2 ? 0 : 17, middle = ss_get64(base + root + 15 + 8);
        CHECK(first != middle && last != middle);
        while (ss_get16(base + (way < 2 ? first : last) + 5) > 5)
            CHECK(ss_btree_remove_u64_u64(s->tree, way < 2 ? gone++ : gone--) != SS_NO_NUMBER);
        uint32_t count = way & 1 ? 6 : 5;
        uint8_t *node = base + middle, *keys = node + 15 + 8 * (count + 1), *values = keys + 8 * count;
        node[4] = 1;
        ss_put16(node + 5, (uint16_t)count);
        for (uint32_t i = 0; i <= count; i++) ss_put64(node + 15 + 8 * i, first);
        for (uint32_t i = 0; i < count; i++) {
            ss_put_be(keys + 8 * i, 8, 7 + i);
            ss_put32(values + 12 * i, 8);
        }
        bytes_before before = remember(s);
        CHECK(ss_btree_remove_u64_u64(s->tree, gone) == SS_ASK);
        CHECK_EQ(ss_last_status(), SS_CORRUPT);
        unchanged(s, &before);
        finish(s);
    }
}

static uint8_t *base_of(const setting *s) {
    return s->in.root->root->base;
}

/* Three levels of u64 keys with free chunks, and where their parts lie. */
static setting *begin_tall(void) {
    setting *s = begin(&map_kinds[U64_MAP], IN_FLAT, 10, 1);
    for (uint64_t i = 0; i < 200; i++) CHECK(ss_btree_set_u64_u64(s->tree, i, i) == SS_ABSENT);
    for (uint64_t i = 90; i < 120; i++) CHECK(ss_btree_remove_u64_u64(s->tree, i) == i);
    CHECK_EQ(ss_btree_check(s->tree, NULL, NULL), SS_OK);
    return s;
}

static uint64_t child_of(const setting *s, uint64_t node, uint32_t index) {
    return ss_get64(base_of(s) + node + 15 + 8 * index);
}

static void swap_keys(setting *s, uint64_t node, uint32_t i) {
    uint8_t *keys = base_of(s) + node + 15 + (base_of(s)[node + 4] ? 8 * (ss_get16(base_of(s) + node + 5) + 1u) : 0), kept[8];
    memcpy(kept, keys + 8 * i, 8);
    memcpy(keys + 8 * i, keys + 8 * (i + 1), 8);
    memcpy(keys + 8 * (i + 1), kept, 8);
}

static void spoil(setting *s, int what) {
    uint8_t *base = base_of(s);
    uint64_t root = ss_get64(base + 12), left = child_of(s, root, 0), leaf = child_of(s, left, 0), head = ss_get64(base + 76);
    uint32_t last = ss_get16(base + leaf + 5) - 1u;
    switch (what) {
        case 0:
            ss_put64(base + left + 15, child_of(s, left, 1));
            return;
        case 1:
            ss_put64(base + left + 15, child_of(s, root, 1));
            return;
        case 2:
            swap_keys(s, leaf, 1);
            return;
        case 3:
            ss_put_be(base + leaf + 15 + 8 * last, 8, 1000);
            return;
        case 4:
            ss_put64(base + 76, ss_get64(base + head + 8));
            return;
        case 5:
            ss_put64(base + head + 8, 0);
            return;
        case 6:
            ss_put16(base + leaf + 5, 4);
            return;
        case 7:
            ss_put64(base + 20, 3);
            return;
        case 8:
            ss_put64(base + 68, 3);
            return;
        default:
            ss_put64(base + head + 8, head);
    }
}

typedef struct search_for {
    const char *rule;
    int found;
} search_for;

static void look_for_rule(void *self, const struct ss_failure *violation) {
    search_for *search = self;
    if (violation->rule != NULL && strcmp(violation->rule, search->rule) == 0) search->found++;
}

static void a_check_names_what_is_broken(void) {
    static const char *const rules[] = {
        "every chunk is reached once",
        "all leaves have one depth",
        "keys ascend strictly",
        "keys ascend strictly",
        "every chunk is in the tree or on the free list",
        "the free list ends behind the last chunk",
        "a node has at least 5 entries",
        "a map's length counts its entries",
        "the number of allocated chunks counts them",
        "every chunk is reached once",
    };
    for (int i = 0; i < (int)(sizeof rules / sizeof rules[0]); i++) {
        setting *s = begin_tall();
        search_for search = {rules[i], 0};
        spoil(s, i);
        CHECK_EQ(ss_btree_check(s->tree, NULL, NULL), SS_CORRUPT);
        CHECK_EQ(ss_btree_check(s->tree, look_for_rule, &search), SS_CORRUPT);
        if (!CHECK(search.found > 0)) fprintf(stderr, "    %s\n", rules[i]);
        finish(s);
    }
}

/* A lone key is compared with no other, and keys that differ in their first parts are compared no further. */
static void a_check_takes_every_key_apart(void) {
    static const map_kind kind = {
        "tuple<u8,option<u8>> -> u8",
        {{SS_ORDER_TUPLE2, 0, 4, {1, 2, -1}, 0}, TERM_BYTES(1, 1), {SS_ORDER_OPTION, 0, 2, {3, -1, -1}, 0}, TERM_BYTES(1, 1)},
        4,
        {4, 1, 0},
        {1, 1, 0},
        0,
        0};
    for (uint8_t count = 1; count < 4; count++) {
        test_memory in;
        ss_btree *tree;
        test_memory_new(&in, IN_FLAT, 10);
        CHECK_EQ(open_kind(in.memory, SS_NEW, &kind, &tree), SS_OK);
        for (uint8_t i = 0; i < count; i++) CHECK_EQ(ss_btree_set_bytes_bytes(tree, (uint8_t[]){i, 7, 1, 2}, 4, &i, 1), SS_ABSENT);
        CHECK_EQ(ss_btree_check(tree, NULL, NULL), SS_OK);
        uint64_t root = ss_get64(in.memory->root->base + 12);
        in.memory->root->base[root + 15 + 2] = 3;
        CHECK_EQ(ss_btree_check(tree, NULL, NULL), SS_CORRUPT);
        CHECK(ss_last_failure()->address == root && strcmp(ss_last_failure()->rule, "tag of an option") == 0);
        ss_btree_free(tree);
        test_memory_free(&in);
    }
}

/* Trees with a node in two places, and a length that cannot be: changes are refused and change nothing. */
static void a_change_notices_what_lies_on_its_way(void) {
    for (int way = 0; way < 4; way++) {
        setting *s = begin_tall();
        uint8_t *base = base_of(s);
        uint64_t root = ss_get64(base + 12), left = child_of(s, root, 0);
        for (uint64_t i = 0; ss_get16(base + child_of(s, left, 0) + 5) > 5 || ss_get16(base + left + 5) > 5; i++) {
            CHECK(ss_btree_remove_u64_u64(s->tree, 199 - i) != SS_ASK);
            if (ss_btree_length(s->tree) < 60) break;
        }
        root = ss_get64(base + 12);
        left = child_of(s, root, 0);
        uint64_t leaf = child_of(s, left, 0);
        if (way == 0) ss_put64(base + left + 15 + 8, leaf);
        if (way == 1) ss_put64(base + left + 15, left);
        if (way == 2) ss_put64(base + 20, 0);
        if (way == 3) ss_put64(base + root + 15 + 8, left);
        bytes_before before = remember(s);
        CHECK(ss_btree_remove_u64_u64(s->tree, 0) == SS_ASK);
        CHECK_EQ(ss_last_status(), SS_CORRUPT);
        CHECK_EQ(ss_btree_pop_first(s->tree), SS_CORRUPT);
        unchanged(s, &before);
        finish(s);
    }
}

int main(void) {
    page_sizes_are_those_of_the_format();
    numbers_that_look_like_signals_come_through();
    another_kind_of_argument_is_refused();
    bounds_are_checked_before_anything_is_written();
    one_map_lives_on_a_memory_at_a_time();
    what_is_not_a_map_is_refused();
    siblings_of_two_levels_are_not_mixed();
    a_check_names_what_is_broken();
    a_check_takes_every_key_apart();
    a_change_notices_what_lies_on_its_way();
    return check_summary();
}
