/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes: random edits against a plain copy of the entries, in every kind of memory; chains that are damaged. */
#include "memory/allocator.h"
#include "structures/node.h"
#include "support/check.h"
#include "support/maps.h"

enum { MOST_BYTES = 700 };

typedef struct plain_entry {
    uint8_t key[MOST_BYTES], value[MOST_BYTES];
    uint64_t key_size, value_size;
} plain_entry;

typedef struct plain_node {
    plain_entry entries[SS_CAPACITY];
    uint64_t children[SS_CHILDREN];
    uint32_t count;
    bool leaf;
} plain_node;

typedef struct setting {
    test_memory in;
    ss_space space;
    ss_order order;
    rng random;
    uint64_t address;
    plain_node plain;
} setting;

static void enter(setting *s) {
    uint64_t pages = 0;
    CHECK_EQ(ss_enter_write(s->space.memory), SS_OK);
    ss_scratch_reset(&s->space.scratch);
    CHECK_EQ(ss_memory_size(s->space.memory, &pages), SS_OK);
    s->space.most_pages = pages * SS_PAGE_SIZE / s->space.page_size;
}

static void leave(setting *s) {
    CHECK_EQ(ss_leave_write(s->space.memory, SS_OK), SS_OK);
    test_memory_scatter(&s->in);
}

static ss_entry entry_of(const plain_entry *plain) {
    return (ss_entry){{plain->key, plain->key_size}, {plain->value, plain->value_size}};
}

/* A key that sorts by its first byte; the places between neighbours are wide enough for this test. */
static void random_entry(setting *s, plain_entry *made, uint8_t rank) {
    made->key_size = s->space.fixed_key ? s->space.key_size : 1 + rng_below(&s->random, rng_below(&s->random, 4) == 0 ? MOST_BYTES : 20);
    made->value_size = rng_below(&s->random, rng_below(&s->random, 3) == 0 ? MOST_BYTES : 30);
    if (s->space.derived) {
        made->key_size = 1 + rng_below(&s->random, s->space.v1_key);
        made->value_size = rng_below(&s->random, s->space.v1_value + 1);
    }
    random_bytes(&s->random, made->key, made->key_size);
    random_bytes(&s->random, made->value, made->value_size);
    made->key[0] = rank;
}

static void begin(setting *s, enum place place, uint64_t page_size, bool leaf, bool fixed_key, uint64_t seed) {
    *s = (setting){.random = {.state = seed}};
    test_memory_new(&s->in, place, 200);
    CHECK_EQ(ss_order_init(&s->order, (ss_order_term[]){TERM_BYTES(fixed_key, fixed_key ? 9 : SS_UNBOUNDED)}, 1, NULL, NULL), SS_OK);
    s->space = (ss_space){
        .memory = s->in.memory, .order = &s->order, .page_size = page_size, .fixed_key = fixed_key, .key_size = fixed_key ? 9 : 0};
    CHECK_EQ(ss_enter_write(s->space.memory), SS_OK);
    CHECK_EQ(ss_allocator_new(s->space.memory, page_size), SS_OK);
    s->plain.leaf = leaf;
    s->plain.count = 1;
    s->plain.children[0] = 1;
    s->plain.children[1] = 2;
    random_entry(s, &s->plain.entries[0], 128);
    ss_entry entry = entry_of(&s->plain.entries[0]);
    CHECK_EQ(ss_node_take(&s->space, &s->address), SS_OK);
    CHECK_EQ(ss_node_fill(&s->space, s->address, leaf, &entry, 1, s->plain.children), SS_OK);
    leave(s);
}

static void finish(setting *s) {
    ss_scratch_free(&s->space.scratch);
    test_memory_free(&s->in);
}

static bool span_is(ss_span span, const uint8_t *bytes, uint64_t size) {
    return span.size == size && memcmp(span.at, bytes, size) == 0;
}

/* What is read of the node is the plain node, by whatever function. */
static bool same(setting *s) {
    ss_node node;
    ss_span key, value;
    uint64_t child, size;
    const plain_node *plain = &s->plain;
    if (!CHECK_EQ(ss_node_open_for_change(&s->space, s->address, &node), SS_OK)) return false;
    bool all = node.count == plain->count && node.leaf == plain->leaf;
    for (uint32_t i = 0; all && i < plain->count; i++) {
        const plain_entry *wanted = &plain->entries[i];
        uint32_t index = 99;
        bool found = false;
        all = ss_node_value_size(&s->space, &node, i, &size) == SS_OK && size == wanted->value_size;
        all = all && ss_node_value(&s->space, &node, i, &value) == SS_OK && span_is(value, wanted->value, wanted->value_size);
        all = all && ss_node_key(&s->space, &node, i, &key) == SS_OK && span_is(key, wanted->key, wanted->key_size);
        all = all && ss_node_search(&s->space, &node, (ss_span){wanted->key, wanted->key_size}, &index, &found) == SS_OK;
        all = all && found && index == i;
    }
    for (uint32_t i = 0; all && !plain->leaf && i <= plain->count; i++) {
        all = ss_node_child(&s->space, &node, i, &child) == SS_OK && child == plain->children[i];
    }
    return CHECK(all) && CHECK_EQ(ss_node_check_chain(&s->space, &node), SS_OK);
}

/* Bytes of the run, and from them the number of chunks that the node must have. */
static uint64_t chunks_of(const setting *s) {
    uint64_t end = 15 + (s->plain.leaf ? 0 : 8 * ((uint64_t)s->plain.count + 1));
    for (uint32_t i = 0; i < s->plain.count; i++) {
        end += s->plain.entries[i].key_size + s->plain.entries[i].value_size + (s->space.fixed_key ? 4 : 8);
    }
    uint64_t page = s->space.page_size;
    return 1 + (end <= page ? 0 : (end - page + page - 12) / (page - 11));
}

/* Replaces entries and children in both. */
static void edit(setting *s, uint32_t at, uint32_t drop, uint32_t add) {
    static plain_entry fresh[SS_CAPACITY];
    ss_entry entries[SS_CAPACITY];
    uint64_t children[SS_CHILDREN];
    plain_node *plain = &s->plain;
    ss_node node;
    uint32_t low = at == 0 ? 0 : plain->entries[at - 1].key[0], high = at + drop == plain->count ? 255 : plain->entries[at + drop].key[0];
    if (high - low <= add + 1) return;
    for (uint32_t i = 0; i < add; i++) {
        random_entry(s, &fresh[i], (uint8_t)(low + (i + 1) * (high - low) / (add + 1)));
        entries[i] = entry_of(&fresh[i]);
        children[i] = rng_next(&s->random);
    }
    bool keep_keys = add == drop && add > 0 && rng_below(&s->random, 2) == 0;
    uint32_t side = (uint32_t)rng_below(&s->random, 2);
    ss_edit change = {.at = at,
                      .drop = drop,
                      .add = add,
                      .entries = entries,
                      .child_at = at + side,
                      .child_drop = drop,
                      .child_add = add,
                      .children = children,
                      .keep_keys = keep_keys};
    enter(s);
    CHECK_EQ(ss_node_open_for_change(&s->space, s->address, &node), SS_OK);
    CHECK_EQ(ss_node_edit(&s->space, &node, &change), SS_OK);
    CHECK_EQ(node.count, plain->count + add - drop);
    leave(s);
    for (uint32_t i = 0; keep_keys && i < add; i++) {
        memcpy(fresh[i].key, plain->entries[at + i].key, MOST_BYTES);
        fresh[i].key_size = plain->entries[at + i].key_size;
    }
    memmove(plain->entries + at + add, plain->entries + at + drop, (plain->count - at - drop) * sizeof *plain->entries);
    memcpy(plain->entries + at, fresh, add * sizeof *fresh);
    uint32_t tail = at + side + drop;
    memmove(plain->children + at + side + add, plain->children + tail, (plain->count + 1 - tail) * sizeof *plain->children);
    memcpy(plain->children + at + side, children, add * sizeof *children);
    plain->count += add - drop;
}

static void play(setting *s, int rounds) {
    for (int round = 0; round < rounds; round++) {
        uint32_t count = s->plain.count, at = (uint32_t)rng_below(&s->random, count + 1);
        uint32_t drop = (uint32_t)rng_below(&s->random, (count - at < 3 ? count - at : 3) + 1);
        uint32_t add = (uint32_t)rng_below(&s->random, SS_CAPACITY - (count - drop) < 3 ? SS_CAPACITY - (count - drop) + 1 : 4);
        if (count - drop + add == 0) continue;
        edit(s, at, drop, add);
        enter(s);
        bool fine = same(s);
        ss_allocator allocator = {0};
        CHECK_EQ(ss_allocator_load(s->space.memory, s->space.page_size, &allocator), SS_OK);
        if (s->space.derived)
            fine = CHECK_EQ(allocator.allocated, 1) && fine;
        else
            fine = CHECK_EQ(allocator.allocated, chunks_of(s)) && fine;
        leave(s);
        if (!fine) return;
    }
}

static void edits_are_those_of_a_plain_node(void) {
    static const uint64_t page_sizes[] = {128, 300, 1024, 70000};
    for (int place = 0; place < PLACES; place++) {
        for (size_t i = 0; i < 4 * sizeof page_sizes / sizeof page_sizes[0]; i++) {
            setting *s = malloc(sizeof *s);
            begin(s, (enum place)place, page_sizes[i / 4], i & 1, i >> 1 & 1, i + 1);
            play(s, 60);
            finish(s);
            free(s);
        }
    }
}

static void layout1_keeps_its_slots(void) {
    for (int place = 0; place < PLACES; place++) {
        for (int leaf = 0; leaf < 2; leaf++) {
            setting *s = malloc(sizeof *s);
            begin(s, (enum place)place, 7 + 11 * (8 + 20 + 30) + 96, leaf, false, (uint64_t)leaf + 5);
            s->space.derived = true;
            s->space.v1_key = 20;
            s->space.v1_value = 30;
            random_entry(s, &s->plain.entries[0], 128);
            uint8_t page[7 + 11 * 58 + 96] = {'B', 'T', 'N', 1, !leaf, 1};
            const plain_entry *entry = &s->plain.entries[0];
            ss_put32(page + 7, (uint32_t)entry->key_size);
            memcpy(page + 11, entry->key, entry->key_size);
            ss_put32(page + 31, (uint32_t)entry->value_size);
            memcpy(page + 35, entry->value, entry->value_size);
            ss_put64(page + 65, 1);
            ss_put64(page + 73, 2);
            CHECK_EQ(ss_access_write(s->in.memory, s->address, page, sizeof page), SS_OK);
            enter(s);
            same(s);
            leave(s);
            play(s, 100);
            finish(s);
            free(s);
        }
    }
}

/* The bytes behind a shorter value in a slot stay (docs/format.md#b-tree-map: "keeps its old content"). */
static void layout1_leaves_the_rest_of_a_slot(void) {
    setting s;
    begin(&s, IN_FLAT, 7 + 11 * 16 + 96, true, false, 1);
    s.space.derived = true;
    s.space.v1_key = s.space.v1_value = 4;
    uint8_t page[7 + 16] = {'B', 'T', 'N', 1, 0, 1, 0, 4, 0, 0, 0, 1, 2, 3, 4, 4, 0, 0, 0, 5, 6, 7, 8};
    uint8_t wanted[7 + 16] = {'B', 'T', 'N', 1, 0, 1, 0, 1, 0, 0, 0, 9, 2, 3, 4, 2, 0, 0, 0, 9, 9, 7, 8};
    CHECK_EQ(ss_access_write(s.in.memory, s.address, page, sizeof page), SS_OK);
    enter(&s);
    ss_node node;
    ss_entry entry = {{(const uint8_t *)"\11", 1}, {(const uint8_t *)"\11\11", 2}};
    CHECK_EQ(ss_node_open(&s.space, s.address, &node), SS_OK);
    CHECK_EQ(ss_node_edit(&s.space, &node, &(ss_edit){.at = 0, .drop = 1, .add = 1, .entries = &entry}), SS_OK);
    CHECK(memcmp(s.in.root->root->base + s.address, wanted, sizeof wanted) == 0);
    leave(&s);
    finish(&s);
}

/* Runs around the ends of their pages: one byte more takes a page more. */
static void a_run_takes_the_pages_that_it_needs(void) {
    for (uint64_t size = 150; size < 800; size++) {
        setting *s = malloc(sizeof *s);
        begin(s, IN_FLAT, 200, true, false, size);
        s->plain.entries[0].key_size = 1;
        s->plain.entries[0].value_size = size;
        random_bytes(&s->random, s->plain.entries[0].value, MOST_BYTES);
        ss_entry entry = entry_of(&s->plain.entries[0]);
        if (size >= MOST_BYTES) entry.value.size = s->plain.entries[0].value_size = MOST_BYTES;
        ss_node node;
        ss_allocator allocator = {0};
        enter(s);
        CHECK_EQ(ss_node_open_for_change(&s->space, s->address, &node), SS_OK);
        CHECK_EQ(ss_node_edit(&s->space, &node, &(ss_edit){.at = 0, .drop = 1, .add = 1, .entries = &entry}), SS_OK);
        same(s);
        CHECK_EQ(ss_allocator_load(s->space.memory, s->space.page_size, &allocator), SS_OK);
        CHECK_EQ(allocator.allocated, chunks_of(s));
        leave(s);
        finish(s);
        free(s);
    }
}

/* ---- damage ---- */

static int status_of(setting *s, int (*what)(setting *)) {
    enter(s);
    int status = what(s);
    leave(s);
    return status;
}

static int open_node(setting *s) {
    ss_node node;
    return ss_node_open(&s->space, s->address, &node);
}

static int last_value(setting *s) {
    ss_node node;
    ss_span span;
    int status = ss_node_open(&s->space, s->address, &node);
    return status == SS_OK ? ss_node_value(&s->space, &node, node.count - 1, &span) : status;
}

static int chain(setting *s) {
    ss_node node;
    int status = ss_node_open(&s->space, s->address, &node);
    return status == SS_OK ? ss_node_check_chain(&s->space, &node) : status;
}

static int change(setting *s) {
    ss_node node;
    ss_entry entry = entry_of(&s->plain.entries[0]);
    int status = ss_node_open_for_change(&s->space, s->address, &node);
    return status == SS_OK ? ss_node_edit(&s->space, &node, &(ss_edit){.at = 0, .drop = 1, .add = 1, .entries = &entry}) : status;
}

static void put(setting *s, uint64_t offset, uint64_t size, uint64_t number) {
    uint8_t bytes[8];
    ss_put64(bytes, number);
    CHECK_EQ(ss_access_write(s->in.memory, offset, bytes, size), SS_OK);
}

static void a_damaged_header_is_noticed(void) {
    static const struct {
        uint64_t offset, size, number;
    } damage[] = {{0, 1, 'X'}, {3, 1, 0}, {3, 1, 3}, {3, 1, 1}, {4, 1, 2}, {5, 2, 0}, {5, 2, 12}, {5, 2, 65535}};
    for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
        setting s;
        begin(&s, IN_FLAT, 200, true, false, i);
        put(&s, s.address + damage[i].offset, damage[i].size, damage[i].number);
        CHECK_EQ(status_of(&s, open_node), SS_CORRUPT);
        finish(&s);
    }
}

static void a_wild_address_is_noticed(void) {
    static const uint64_t wild[] = {0, 1, 52, 115, 65536 - 199, 65536, UINT64_MAX, UINT64_MAX - 100, UINT64_C(1) << 63};
    for (int place = 0; place < PLACES; place++) {
        setting s;
        begin(&s, (enum place)place, 200, true, false, 3);
        for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++) {
            s.address = wild[i];
            CHECK_EQ(status_of(&s, open_node), SS_CORRUPT);
        }
        finish(&s);
    }
}

/* A leaf of one entry whose value takes three overflow pages. */
static void begin_chain(setting *s) {
    begin(s, IN_FLAT, 200, true, false, 4);
    s->plain.entries[0].value_size = 600;
    ss_entry entry = entry_of(&s->plain.entries[0]);
    ss_node node;
    enter(s);
    CHECK_EQ(ss_node_open(&s->space, s->address, &node), SS_OK);
    CHECK_EQ(ss_node_edit(&s->space, &node, &(ss_edit){.at = 0, .drop = 1, .add = 1, .entries = &entry}), SS_OK);
    leave(s);
    CHECK_EQ(status_of(s, chain), SS_OK);
}

static void a_damaged_chain_is_noticed(void) {
    enum { STRIDE = 216, LINK = 7, NEXT = 3 };
    setting s;
    begin_chain(&s);
    uint64_t page = ss_get64(s.in.root->root->base + s.address + LINK), node = s.address;
    finish(&s);
    const struct {
        uint64_t offset, size, number;
        bool unread;    /* reading the last value does not show it */
        bool free_page; /* nor does a change that keeps the pages */
    } damage[] = {
        {node + LINK, 8, 0, false, false},
        {node + LINK, 8, node, false, false},
        {node + LINK, 8, UINT64_MAX, false, false},
        {node + LINK, 8, 65536 - 100, false, false},
        {page, 1, 'X', false, false},
        {page + NEXT, 8, 0, false, false},
        {page + NEXT, 8, page, true, false},
        {page - 16 + 4, 1, 0, true, true},
        {page + STRIDE - 16 + 4, 1, 0, true, true},
        {page + 2 * STRIDE + NEXT, 8, page, true, false},
        {node + 15, 4, UINT32_MAX, false, false},
        {node + 15, 4, 190, true, false},
    };
    for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
        begin_chain(&s);
        put(&s, damage[i].offset, damage[i].size, damage[i].number);
        int read = status_of(&s, last_value);
        CHECK(read == SS_CORRUPT || (damage[i].unread && read == SS_OK));
        CHECK_EQ(status_of(&s, chain), SS_CORRUPT);
        /* Whether a page is in use is asked where it is given back. */
        if (!damage[i].free_page) CHECK_EQ(status_of(&s, change), SS_CORRUPT);
        finish(&s);
    }
}

/* One that returns into itself, and is as long as the run asks for. */
static void a_chain_in_a_circle_ends(void) {
    setting s;
    begin_chain(&s);
    uint64_t page = ss_get64(s.in.root->root->base + s.address + 7);
    put(&s, page + 3, 8, page);
    put(&s, s.address + 15 + 4 + s.plain.entries[0].key_size, 4, 60000);
    CHECK_EQ(status_of(&s, chain), SS_CORRUPT);
    put(&s, s.address + 15 + 4 + s.plain.entries[0].key_size, 4, UINT32_MAX);
    CHECK_EQ(status_of(&s, last_value), SS_CORRUPT);
    CHECK_EQ(status_of(&s, change), SS_CORRUPT);
    finish(&s);
}

static void what_does_not_fit_its_slot_is_noticed(void) {
    static const struct {
        uint64_t offset;
        int key, value;
    } damage[] = {{7, SS_CORRUPT, SS_OK}, {7 + 4 + 4, SS_OK, SS_CORRUPT}};
    for (int i = 0; i < 2; i++) {
        setting s;
        begin(&s, IN_FLAT, 7 + 11 * 16 + 96, true, false, 1);
        s.space.derived = true;
        s.space.v1_key = s.space.v1_value = 4;
        uint8_t page[7 + 16] = {'B', 'T', 'N', 1, 0, 1, 0, 4, 0, 0, 0, 1, 2, 3, 4, 4, 0, 0, 0, 5, 6, 7, 8};
        page[damage[i].offset] = 5;
        CHECK_EQ(ss_access_write(s.in.memory, s.address, page, sizeof page), SS_OK);
        enter(&s);
        ss_node node;
        ss_span span;
        CHECK_EQ(ss_node_open(&s.space, s.address, &node), SS_OK);
        CHECK_EQ(ss_node_key(&s.space, &node, 0, &span), damage[i].key);
        CHECK_EQ(ss_node_value(&s.space, &node, 0, &span), damage[i].value);
        leave(&s);
        finish(&s);
    }
}

static void a_chunk_that_is_free_is_not_changed(void) {
    setting s;
    begin(&s, IN_FLAT, 200, true, false, 6);
    put(&s, s.address - 16 + 4, 1, 0);
    CHECK_EQ(status_of(&s, open_node), SS_OK);
    CHECK_EQ(status_of(&s, change), SS_CORRUPT);
    finish(&s);
}

int main(void) {
    edits_are_those_of_a_plain_node();
    layout1_keeps_its_slots();
    layout1_leaves_the_rest_of_a_slot();
    a_run_takes_the_pages_that_it_needs();
    a_damaged_header_is_noticed();
    a_wild_address_is_noticed();
    a_damaged_chain_is_noticed();
    a_chain_in_a_circle_ends();
    what_does_not_fit_its_slot_is_noticed();
    a_chunk_that_is_free_is_not_changed();
    return check_summary();
}
