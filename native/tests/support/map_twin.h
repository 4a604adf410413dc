/* SPDX-License-Identifier: Apache-2.0 */
/* A map beside its twin, a sorted array of entries: random operations on both, and the bytes of a memory before and after one. */
#ifndef SS_TEST_MAP_TWIN_H
#define SS_TEST_MAP_TWIN_H

#include "support/check.h"
#include "support/maps.h"

/* ---- the twin: a sorted array of entries ---- */

enum { MOST_ENTRIES = 400 };

typedef struct twin_entry {
    uint8_t *key, *value;
    uint64_t key_size, value_size;
} twin_entry;

typedef struct setting {
    const map_kind *kind;
    test_memory in;
    ss_btree *tree;
    ss_order order;
    rng random;
    twin_entry twin[MOST_ENTRIES];
    uint32_t count;
} setting;

static inline uint8_t *copy_of(ss_span span) {
    uint8_t *copy = malloc(span.size + 1);
    memcpy(copy, span.at, span.size);
    return copy;
}

static inline bool find(const setting *s, ss_span key, uint32_t *index) {
    for (*index = 0; *index < s->count; ++*index) {
        int result = SS_EQUAL;
        const twin_entry *entry = &s->twin[*index];
        require(ss_order_compare(&s->order, entry->key, entry->key_size, key.at, key.size, &result) == SS_OK, "a comparison");
        if (result != SS_LESS) return result == SS_EQUAL;
    }
    return false;
}

static inline void put(setting *s, ss_span key, ss_span value) {
    uint32_t i;
    bool found = find(s, key, &i);
    if (!found) {
        memmove(&s->twin[i + 1], &s->twin[i], (s->count++ - i) * sizeof *s->twin);
        s->twin[i].key = copy_of(key);
        s->twin[i].key_size = key.size;
    } else {
        free(s->twin[i].value);
    }
    s->twin[i].value = copy_of(value);
    s->twin[i].value_size = value.size;
}

static inline void drop(setting *s, uint32_t i) {
    free(s->twin[i].key);
    free(s->twin[i].value);
    memmove(&s->twin[i], &s->twin[i + 1], (--s->count - i) * sizeof *s->twin);
}

/* ---- opening ---- */

static inline void open_map(setting *s) {
    require(open_kind(s->in.memory, SS_INIT, s->kind, &s->tree) == SS_OK, "a map");
}

static inline setting *begin(const map_kind *kind, enum place place, uint64_t limit, uint64_t seed) {
    setting *s = calloc(1, sizeof *s);
    s->kind = kind;
    s->random.state = seed;
    require(ss_order_init(&s->order, kind->terms, kind->term_count, NULL, NULL) == SS_OK, "an order");
    test_memory_new(&s->in, place, limit);
    open_map(s);
    return s;
}

static inline void finish(setting *s) {
    while (s->count > 0) drop(s, s->count - 1);
    ss_btree_free(s->tree);
    test_memory_free(&s->in);
    free(s);
}

/* ---- comparing ---- */

static inline bool answer_is(int64_t result, const uint8_t *bytes, uint64_t size) {
    return CHECK_EQ(result, size) && CHECK(memcmp(ss_result(), bytes, size) == 0);
}

static inline bool answer_is_entry(int64_t result, const twin_entry *wanted) {
    const uint8_t *at = ss_result();
    return CHECK_EQ(result, 8 + wanted->key_size + wanted->value_size) && CHECK_EQ(ss_get64(at), wanted->key_size) &&
           CHECK(memcmp(at + 8, wanted->key, wanted->key_size) == 0) &&
           CHECK(memcmp(at + 8 + wanted->key_size, wanted->value, wanted->value_size) == 0);
}

static inline bool same_entries(setting *s) {
    ss_cursor *cursor;
    uint32_t i = 0;
    require(ss_cursor_open(s->tree, SS_FROM_FIRST, NULL, 0, SS_TO_LAST, NULL, 0, &cursor) == SS_OK, "a cursor");
    bool same = CHECK_EQ(ss_btree_length(s->tree), s->count) && CHECK_EQ(ss_btree_check(s->tree, NULL, NULL), SS_OK);
    while (same) {
        same = CHECK(ss_cursor_next(cursor, 1, UINT64_MAX, SS_WANT_KEYS | SS_WANT_VALUES, 0) >= 24);
        const uint8_t *at = ss_result();
        if (!same || ss_get64(at) == 0) break;
        const twin_entry *wanted = &s->twin[i++];
        same = CHECK(i <= s->count) && CHECK_EQ(ss_get64(at + 8), wanted->key_size) && CHECK_EQ(ss_get64(at + 16), wanted->value_size) &&
               CHECK(memcmp(at + 40, wanted->key, wanted->key_size) == 0) &&
               CHECK(memcmp(at + 40 + wanted->key_size, wanted->value, wanted->value_size) == 0);
    }
    ss_cursor_free(cursor);
    return same && CHECK_EQ(i, s->count);
}

/* ---- operations, on both ---- */

typedef struct operation {
    int choice;
    uint8_t key_room[KEY_ROOM], value_room[VALUE_ROOM];
    ss_span key, value;
} operation;

enum { INSERT = 9, REMOVE = 14, POP_FIRST = 15, POP_LAST = 16, GET = 18, ENDS = 19, SET_AT = 20, CHOICES };

static inline void choose(setting *s, operation *made) {
    made->choice = (int)rng_below(&s->random, CHOICES);
    made->key = key_number(s->kind, rng_below(&s->random, MOST_ENTRIES), made->key_room);
    made->value = random_value(s->kind, &s->random, made->value_room);
}

static inline int64_t perform(setting *s, const operation *what) {
    if (what->choice <= INSERT) return ss_btree_insert_bytes_bytes(s->tree, what->key.at, what->key.size, what->value.at, what->value.size);
    if (what->choice <= REMOVE) return ss_btree_remove_bytes_bytes(s->tree, what->key.at, what->key.size);
    if (what->choice == POP_FIRST) return ss_btree_pop_first(s->tree);
    if (what->choice == POP_LAST) return ss_btree_pop_last(s->tree);
    if (what->choice <= GET) return ss_btree_get_bytes_bytes(s->tree, what->key.at, what->key.size);
    if (what->choice == SET_AT) {
        ss_position position;
        int64_t result = ss_btree_locate(s->tree, what->key.at, what->key.size, &position);
        if (result < 0 && result != SS_NO_VALUE) return result;
        uint64_t changes = ss_btree_set_at(s->tree, &position, what->key.at, what->key.size, what->value.at, what->value.size,
                                           SS_EXPECT_ANYTHING, NULL, 0);
        return changes == SS_ASK ? ss_last_status() : result;
    }
    return ss_btree_last(s->tree);
}

/* What the operation answered is what the twin answers; the twin does it too. */
static inline bool agree(setting *s, const operation *what, int64_t result) {
    uint32_t i;
    bool found = find(s, what->key, &i), right = true;
    if (what->choice > REMOVE && what->choice != SET_AT && (what->choice <= POP_LAST || what->choice == ENDS)) {
        if (s->count == 0) return CHECK_EQ(result, SS_NO_VALUE);
        i = what->choice == POP_FIRST ? 0 : s->count - 1;
        right = answer_is_entry(result, &s->twin[i]);
        if (what->choice != ENDS) drop(s, i);
        return right;
    }
    right = found ? answer_is(result, s->twin[i].value, s->twin[i].value_size) : CHECK_EQ(result, SS_NO_VALUE);
    if (what->choice <= INSERT || what->choice == SET_AT)
        put(s, what->key, what->value);
    else if (what->choice <= REMOVE && found)
        drop(s, i);
    return right;
}

static inline bool step(setting *s, operation *what) {
    choose(s, what);
    bool right = agree(s, what, perform(s, what));
    test_memory_scatter(&s->in);
    if (rng_below(&s->random, 40) == 0) {
        ss_btree_free(s->tree);
        open_map(s);
    }
    if (rng_below(&s->random, 16) == 0) right = same_entries(s) && right;
    return right;
}

static inline void fill(setting *s, int steps) {
    operation *what = malloc(sizeof *what);
    for (int i = 0; i < steps; i++) {
        if (step(s, what)) continue;
        fprintf(stderr, "    %s, step %d\n", s->kind->name, i);
        break;
    }
    free(what);
}

/* ---- the bytes before an operation ---- */

typedef struct bytes_before {
    uint8_t *bytes;
    uint64_t pages;
} bytes_before;

static inline const uint8_t *root_bytes(const setting *s, uint64_t *pages) {
    bool foreign = s->in.root->root->foreign;
    *pages = foreign ? s->in.buffer.pages : s->in.root->root->pages;
    return foreign ? s->in.buffer.bytes : s->in.root->root->base;
}

/* Valid until the next one is made. */
static inline bytes_before remember(const setting *s) {
    static uint8_t *room;
    static uint64_t room_pages;
    bytes_before made;
    const uint8_t *bytes = root_bytes(s, &made.pages);
    if (made.pages > room_pages) {
        room_pages = made.pages + 8;
        room = realloc(room, room_pages * SS_PAGE_SIZE);
    }
    made.bytes = memcpy(room, bytes, made.pages * SS_PAGE_SIZE);
    return made;
}

/* Only a foreign memory may have grown, by zeros. */
static inline bool unchanged(const setting *s, const bytes_before *before) {
    uint64_t pages;
    const uint8_t *bytes = root_bytes(s, &pages);
    bool same = CHECK(pages == before->pages || (s->in.root->root->foreign && pages > before->pages));
    same = same && CHECK(memcmp(bytes, before->bytes, before->pages * SS_PAGE_SIZE) == 0);
    for (uint64_t i = before->pages * SS_PAGE_SIZE; same && i < pages * SS_PAGE_SIZE; i++) {
        if (bytes[i] != 0) same = CHECK(!"the new pages of a refused operation are zeros");
    }
    return same;
}

#endif
