/* SPDX-License-Identifier: Apache-2.0 */
/* Maps that were made to keep a reader busy: nodes that lead to each other in circles, a chain that all nodes share, nodes that can be read
 * as keys of many sizes. Opening, checking and surveying them reads the memory a few times, and reports no more than it has chunks. */
#include "structures/btree.h"
#include "structures/certified.h"
#include "structures/cursor.h"
#include "structures/node_layout.h"
#include "structures/survey.h"
#include "support/failing_heap.h"
#include "support/memories.h"

enum { MOST_NODES = 300, CHILDREN = SS_CHILDREN };

/* ---- images ---- */

typedef struct hostile {
    array_memory array;
    uint64_t page, chunks;
} hostile;

static hostile hostile_new(uint64_t page, uint64_t room) {
    uint64_t size = ss_round_up(SS_FIRST_CHUNK + room * (page + SS_CHUNK_HEADER) + SS_CHUNK_HEADER, SS_PAGE_SIZE),
             pages = size / SS_PAGE_SIZE;
    return (hostile){.array = {calloc(1, size), pages, pages, -1, 0}, .page = page};
}

static uint64_t address_of(const hostile *map, uint64_t chunk) {
    return SS_FIRST_CHUNK + chunk * (map->page + SS_CHUNK_HEADER) + SS_CHUNK_HEADER;
}

static uint64_t size_of(const hostile *map) {
    return map->array.pages * SS_PAGE_SIZE;
}

static uint8_t *add_chunk(hostile *map) {
    uint8_t *at = map->array.bytes + address_of(map, map->chunks++);
    ss_put64(at - SS_CHUNK_HEADER, SS_ALLOCATED_CHUNK);
    return at;
}

/* A full node without anything behind its header; its children begin at SS_NODE_HEADER. */
static uint8_t *add_node(hostile *map, bool leaf) {
    uint8_t *at = add_chunk(map);
    memcpy(at, leaf ? SS_NODE_MAGIC "\2\0\13" : SS_NODE_MAGIC "\2\1\13", 6);
    return at;
}

/* 12 internal nodes with 12 children each, the chunks from `first` on, and a root above them. The address of the root. */
static uint64_t add_levels(hostile *map, uint64_t first) {
    uint64_t inner = map->chunks;
    for (uint64_t i = 0; i <= CHILDREN; i++) {
        uint64_t below = i < CHILDREN ? first + CHILDREN * i : inner;
        uint8_t *node = add_node(map, false);
        for (uint64_t child = 0; child < CHILDREN; child++) ss_put64(node + SS_NODE_HEADER + 8 * child, address_of(map, below + child));
    }
    return address_of(map, map->chunks - 1);
}

enum { NUMBER_SIZE = 2, NUMBERS = SS_CAPACITY * (SS_SIZE_FIELD + NUMBER_SIZE) };

static void put_numbers(uint8_t *keys, uint64_t first, uint64_t step) {
    for (uint64_t i = 0; i < SS_CAPACITY; i++, keys += SS_SIZE_FIELD + NUMBER_SIZE) {
        ss_put32(keys, NUMBER_SIZE);
        ss_put_be(keys + SS_SIZE_FIELD, NUMBER_SIZE, first + i * step);
    }
}

/* Writes ascending keys into a tree of full nodes, whose leaves begin at chunk `first`. */
static void number_keys(hostile *map, uint64_t first) {
    uint64_t leaves = CHILDREN * CHILDREN, inner = SS_NODE_HEADER + 8 * CHILDREN;
    uint8_t *at = map->array.bytes;
    for (uint64_t i = 0; i < leaves; i++) put_numbers(at + address_of(map, first + i) + SS_NODE_HEADER, i * CHILDREN, 1);
    for (uint64_t i = 0; i < CHILDREN; i++) {
        put_numbers(at + address_of(map, first + leaves + i) + inner, i * leaves + SS_CAPACITY, CHILDREN);
    }
    put_numbers(at + address_of(map, first + leaves + CHILDREN) + inner, leaves - 1, leaves);
}

static void write_headers(hostile *map, uint64_t root) {
    uint8_t *at = map->array.bytes, *allocator = at + SS_ALLOCATOR_OFFSET;
    memcpy(at, SS_MAP_MAGIC "\2", 4);
    ss_put32(at + SS_BTREE_FIRST_AT, (uint32_t)map->page);
    ss_put32(at + SS_BTREE_SECOND_AT, SS_BTREE_PAGE_SIZE_MARK);
    ss_put64(at + SS_BTREE_ROOT_AT, root);
    memcpy(allocator, SS_ALLOCATOR_MAGIC "\1", 4);
    ss_put64(allocator + SS_ALLOCATOR_SIZE_AT, map->page);
    ss_put64(allocator + SS_ALLOCATOR_COUNT_AT, map->chunks);
    ss_put64(allocator + SS_ALLOCATOR_HEAD_AT, address_of(map, map->chunks) - SS_CHUNK_HEADER);
}

static ss_memory *memory_of(hostile *map) {
    ss_memory *memory;
    CHECK_EQ(ss_memory_new_foreign(&array_ops, &map->array, &memory), SS_OK);
    return memory;
}

static int open_bytes(ss_memory *memory, int mode, ss_btree **out) {
    const ss_order_term bytes = {SS_ORDER_BYTES, 0, SS_UNBOUNDED, {-1, -1, -1}, 0};
    const ss_bound none = {SS_UNBOUNDED, 0, 0};
    return ss_btree_open(memory, mode, &bytes, 1, NULL, NULL, none, none, out);
}

/* ---- circles ---- */

static void survey(hostile *map, uint64_t room) {
    ss_memory *memory = memory_of(map);
    ss_map_survey *made;
    ss_map_frame frame = {.bytes = size_of(map),
                          .page = map->page,
                          .key_fixed = SS_NOT_FIXED,
                          .value_fixed = SS_NOT_FIXED,
                          .key_max = UINT32_MAX,
                          .value_max = UINT32_MAX,
                          .root = address_of(map, 0),
                          .order = SS_SEEN_BYTES};
    if (!CHECK_EQ(ss_map_survey_new(memory, &frame, NULL, 0, 10, room, &made), SS_OK)) return;
    while (ss_map_survey_step(made, 10) == SS_OK) continue;
    CHECK(ss_map_survey_notes(made)->count > 0);
    CHECK(ss_map_survey_stats(made)->nodes <= ss_map_survey_stats(made)->chunks);
    ss_map_survey_free(made);
    ss_memory_release(memory);
}

/* Once to find the depth of a leaf, and once for the survey; the last chunk may be cut off. */
static void circles_are_surveyed_soon(uint64_t page, uint64_t nodes, uint64_t room) {
    hostile map = hostile_new(page, nodes);
    for (uint64_t i = 0; i < nodes; i++) {
        uint8_t *node = add_node(&map, false);
        for (uint64_t child = 0; child < CHILDREN; child++) {
            ss_put64(node + SS_NODE_HEADER + 8 * child, address_of(&map, random_below(nodes)));
        }
    }
    survey(&map, room);
    CHECK(map.array.read <= 2 * (size_of(&map) + page + SS_CHUNK_HEADER));
    free(map.array.bytes);
}

static void all_circles_are_surveyed_soon(void) {
    static const uint64_t pages[] = {128, 1024, 60000, 1000000};
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        for (uint64_t nodes = 1; nodes <= MOST_NODES && nodes * pages[i] < 10000000; nodes = nodes * 3 + 1) {
            circles_are_surveyed_soon(pages[i], nodes, 0);
            circles_are_surveyed_soon(pages[i], nodes, 1 << 20);
        }
    }
}

/* The long key of the root bounds a chain of nodes of all levels: it is kept once, not for each of them. */
static void a_long_key_is_kept_once(void) {
    enum { LEVELS = 28, PAGE = 1000, PAGES = 3000 };
    hostile map = hostile_new(PAGE, LEVELS + PAGES + 1);
    uint64_t key = (uint64_t)PAGES * (PAGE - SS_OVERFLOW_HEADER), head = SS_NODE_HEADER + 2 * SS_CHILD_SIZE;
    for (uint64_t i = 0; i < LEVELS; i++) {
        uint8_t *node = add_chunk(&map);
        memcpy(node, SS_NODE_MAGIC "\2\1\1", 6);
        ss_put64(node + SS_NODE_HEADER + 8 * (i > 0), address_of(&map, i + 1));
    }
    for (uint64_t i = 0; i < PAGES; i++) {
        uint8_t *page = add_chunk(&map);
        memcpy(page, SS_OVERFLOW_MAGIC, SS_MAGIC_SIZE);
        if (i + 1 < PAGES) ss_put64(page + SS_OVERFLOW_NEXT_AT, address_of(&map, LEVELS + i + 1));
    }
    uint8_t *root = map.array.bytes + address_of(&map, 0);
    ss_put64(root + SS_NODE_OVERFLOW_AT, address_of(&map, LEVELS));
    ss_put32(root + head, (uint32_t)(key + PAGE - head - 2 * SS_SIZE_FIELD));
#ifdef __linux__
    size_t before = bytes_asked;
    survey(&map, 0);
    CHECK(bytes_asked - before > key && bytes_asked - before <= 8 * key);
#endif
    free(map.array.bytes);
}

static int64_t operation(ss_btree *tree, int which) {
    const uint8_t key[] = {1};
    struct ss_fit fit;
    ss_cursor *cursor;
    ss_position position;
    switch (which) {
        case 0:
            return ss_btree_get_bytes_bytes(tree, key, 1);
        case 1:
            return ss_btree_first(tree);
        case 2:
            return ss_btree_last(tree);
        case 3:
            return ss_cursor_open(tree, SS_FROM, key, 1, SS_BEFORE, key, 1, &cursor);
        case 4:
            return ss_btree_locate(tree, key, 1, &position);
        case 5:
            return ss_btree_set_bytes_bytes(tree, key, 1, key, 1);
        case 6:
            return ss_btree_remove_bytes_bytes(tree, key, 1);
        case 7:
            return ss_btree_pop_last(tree);
        case 8:
            return ss_btree_check(tree, NULL, NULL);
        default:
            return ss_btree_fit(tree, &fit);
    }
}

enum { OPERATIONS = 10 };

/* A node that leads to itself, and one that leads there, in a memory whose pages are read each time: a way down has no more nodes than
 * there are, and wrong types are looked for in few of them. */
static void large_circles_are_left_soon(uint64_t page, uint64_t nodes) {
    hostile map = hostile_new(page, nodes);
    ss_btree *tree;
    for (uint64_t i = 0; i < nodes; i++) {
        uint8_t *node = add_node(&map, false);
        for (uint64_t child = 0; child < CHILDREN; child++) ss_put64(node + SS_NODE_HEADER + 8 * child, address_of(&map, (i + 1) % nodes));
    }
    write_headers(&map, address_of(&map, 0));
    ss_memory *memory = memory_of(&map);
    if (!CHECK_EQ(open_bytes(memory, SS_LOAD, &tree), SS_OK)) return;
    for (int which = 0; which < OPERATIONS; which++) {
        map.array.read = 0;
        CHECK_EQ(operation(tree, which), SS_CORRUPT);
        if (which + 1 < OPERATIONS) CHECK(map.array.read <= 4 * size_of(&map));
        CHECK(map.array.read <= 40 * size_of(&map) + (300 << 20));
    }
    ss_btree_free(tree);
    ss_memory_release(memory);
    free(map.array.bytes);
}

/* ---- layouts ---- */

/* Zeros are keys of any fixed size and values without bytes; the root has no keys with sizes, and the last leaf is none. */
static void zeros_are_read_in_few_layouts(void) {
    hostile map = hostile_new(4200, 200);
    ss_btree *tree;
    for (int i = 0; i < CHILDREN * CHILDREN; i++) memcpy(add_node(&map, true), i + 1 < CHILDREN * CHILDREN ? SS_NODE_MAGIC : "???", 3);
    uint64_t root = add_levels(&map, 0);
    memset(map.array.bytes + root + SS_NODE_HEADER + 8 * CHILDREN, 0xff, 4);
    write_headers(&map, root);
    ss_memory *memory = memory_of(&map);
    CHECK_EQ(open_bytes(memory, SS_LOAD, &tree), SS_CORRUPT);
    /* Of each of them the root, and of few of them more. */
    CHECK(map.array.read <= 2 * map.page * map.page + 10 * size_of(&map));
    ss_memory_release(memory);
    free(map.array.bytes);
}

/* ---- a chain ---- */

static void count_report(void *self, const struct ss_failure *violation) {
    (void)violation;
    ++*(uint64_t *)self;
}

static void walks_show_no_more_than_the_memory_has(ss_btree *tree, uint64_t bytes) {
    enum { WANTED = SS_WANT_KEYS | SS_WANT_VALUES, SOME = 100000 };
    CHECK_EQ(ss_btree_entries(tree, WANTED), SS_CORRUPT);
    for (int back = 0; back < 2; back++) {
        ss_cursor *cursor;
        uint64_t shown = 0;
        int64_t size = 1;
        CHECK_EQ(ss_cursor_open(tree, SS_FROM_FIRST, NULL, 0, SS_TO_LAST, NULL, 0, &cursor), SS_OK);
        while (size > 0 && shown <= 2 * bytes) {
            size = ss_cursor_next(cursor, 5, SOME, WANTED, back);
            if (size > 0) shown += ss_get64(ss_result() + 8) + ss_get64(ss_result() + 16);
            if (size > 0) ss_result_drop();
        }
        CHECK_EQ(size, SS_CORRUPT);
        CHECK(shown <= bytes);
        ss_cursor_free(cursor);
    }
}

/* Hashes of a map that has none yet are computed from all entries. */
static void hashes_of_shared_values_are_refused(const hostile *map) {
    const ss_order_term bytes = {SS_ORDER_BYTES, 0, SS_UNBOUNDED, {-1, -1, -1}, 0};
    const ss_bound none = {SS_UNBOUNDED, 0, 0};
    struct place place;
    ss_btree *tree;
    place_open(&place, BUCKETS, 100);
    CHECK_EQ(ss_access_write_growing(place.memory, 0, map->array.bytes, size_of(map)), SS_OK);
    CHECK_EQ(ss_certified_open(place.memory, place.other, SS_INIT, &bytes, 1, NULL, NULL, none, none, &tree), SS_CORRUPT);
    place_close(&place);
}

/* Each leaf has one long value, in the pages of all others. `ends`: the chain ends where the values end. */
static void a_shared_chain_is_followed_a_few_times(uint64_t pages, bool ends) {
    hostile map = hostile_new(256, pages + 200);
    ss_btree *tree;
    uint64_t head = SS_NODE_HEADER + NUMBERS + (uint64_t)SS_CAPACITY * SS_SIZE_FIELD, reports = 0;
    for (uint64_t i = 0; i < pages; i++) {
        uint8_t *page = add_chunk(&map);
        memcpy(page, SS_OVERFLOW_MAGIC, SS_MAGIC_SIZE);
        ss_put64(page + SS_OVERFLOW_NEXT_AT, i + 1 < pages || !ends ? address_of(&map, (i + 1) % pages) : 0);
    }
    for (int i = 0; i < CHILDREN * CHILDREN; i++) {
        uint8_t *leaf = add_node(&map, true);
        ss_put64(leaf + SS_NODE_OVERFLOW_AT, address_of(&map, 0));
        ss_put32(leaf + head - SS_SIZE_FIELD, (uint32_t)(map.page + pages * (map.page - SS_OVERFLOW_HEADER) - head));
    }
    write_headers(&map, add_levels(&map, pages));
    number_keys(&map, pages);
    ss_memory *memory = memory_of(&map);
    if (!CHECK_EQ(open_bytes(memory, SS_LOAD, &tree), SS_OK)) return;
    map.array.read = 0;
    CHECK_EQ(ss_btree_check(tree, count_report, &reports), SS_CORRUPT);
    CHECK(reports > 0 && reports <= 3 * map.chunks);
    CHECK(map.array.read <= 100 * size_of(&map));
    walks_show_no_more_than_the_memory_has(tree, size_of(&map));
    hashes_of_shared_values_are_refused(&map);
    ss_btree_free(tree);
    ss_memory_release(memory);
    free(map.array.bytes);
}

/* A loop that overwrites values may be shown more bytes than the memory ever has, one after the other. */
static void values_that_are_overwritten_meanwhile_may_be_more(void) {
    enum { ENTRIES = 40, SMALL = 30000, LARGE = 60000 };
    static uint8_t value[LARGE];
    ss_memory *memory;
    ss_btree *tree;
    ss_cursor *cursor;
    uint64_t shown = 0;
    CHECK_EQ(ss_memory_new_flat(100, &memory), SS_OK);
    CHECK_EQ(open_bytes(memory, SS_NEW, &tree), SS_OK);
    for (uint8_t key = 0; key < ENTRIES; key++) CHECK(ss_btree_set_bytes_bytes(tree, &key, 1, value, SMALL) >= 0);
    CHECK_EQ(ss_cursor_open(tree, SS_FROM_FIRST, NULL, 0, SS_TO_LAST, NULL, 0, &cursor), SS_OK);
    for (uint8_t key = 0; key < ENTRIES; key++) {
        uint8_t next = key + 1;
        CHECK(ss_cursor_next(cursor, 1, UINT64_MAX, SS_WANT_VALUES, 0) > 0);
        shown += ss_get64(ss_result() + 16);
        ss_result_drop();
        CHECK(ss_btree_set_bytes_bytes(tree, &key, 1, value, 0) >= 0);
        if (next < ENTRIES) CHECK(ss_btree_set_bytes_bytes(tree, &next, 1, value, LARGE) >= 0);
    }
    CHECK(shown > (uint64_t)ss_access_size(memory) * SS_PAGE_SIZE);
    ss_cursor_free(cursor);
    ss_btree_free(tree);
    ss_memory_release(memory);
}

int main(void) {
    values_that_are_overwritten_meanwhile_may_be_more();
    all_circles_are_surveyed_soon();
    a_long_key_is_kept_once();
    for (uint64_t nodes = 1; nodes <= 3; nodes++) large_circles_are_left_soon(1000000, nodes);
    zeros_are_read_in_few_layouts();
    a_shared_chain_is_followed_a_few_times(3000, true);
    a_shared_chain_is_followed_a_few_times(3000, false);
    return check_summary();
}
