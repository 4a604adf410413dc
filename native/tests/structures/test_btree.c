/* SPDX-License-Identifier: Apache-2.0 */
/* Maps against a sorted row of entries, in every kind of memory; and with everything failing that can fail. */
#include "memory/allocator.h"
#include "support/check.h"
#include "support/maps.h"

/* ---- a heap that runs out ---- */

static long allocations_left = -1;

static bool heap_is_empty(void) {
    return allocations_left >= 0 && allocations_left-- == 0;
}

#ifdef __linux__
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size) {
    return heap_is_empty() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    return heap_is_empty() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size) {
    return heap_is_empty() ? NULL : __real_realloc(old, size);
}
#endif

/* ---- the twin: entries in a row, sorted ---- */

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

static uint8_t *copy_of(ss_span span) {
    uint8_t *copy = malloc(span.size + 1);
    memcpy(copy, span.at, span.size);
    return copy;
}

static bool find(const setting *s, ss_span key, uint32_t *index) {
    for (*index = 0; *index < s->count; ++*index) {
        int result = SS_EQUAL;
        const twin_entry *entry = &s->twin[*index];
        require(ss_order_compare(&s->order, entry->key, entry->key_size, key.at, key.size, &result) == SS_OK, "a comparison");
        if (result != SS_LESS) return result == SS_EQUAL;
    }
    return false;
}

static void put(setting *s, ss_span key, ss_span value) {
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

static void drop(setting *s, uint32_t i) {
    free(s->twin[i].key);
    free(s->twin[i].value);
    memmove(&s->twin[i], &s->twin[i + 1], (--s->count - i) * sizeof *s->twin);
}

/* ---- opening ---- */

static void open_map(setting *s) {
    require(open_kind(s->in.memory, SS_INIT, s->kind, &s->tree) == SS_OK, "a map");
}

static setting *begin(const map_kind *kind, enum place place, uint64_t limit, uint64_t seed) {
    setting *s = calloc(1, sizeof *s);
    s->kind = kind;
    s->random.state = seed;
    require(ss_order_init(&s->order, kind->terms, kind->term_count, NULL, NULL) == SS_OK, "an order");
    test_memory_new(&s->in, place, limit);
    open_map(s);
    return s;
}

static void finish(setting *s) {
    while (s->count > 0) drop(s, s->count - 1);
    ss_btree_free(s->tree);
    test_memory_free(&s->in);
    free(s);
}

/* ---- comparing ---- */

static bool answer_is(int64_t result, const uint8_t *bytes, uint64_t size) {
    return CHECK_EQ(result, size) && CHECK(memcmp(ss_result(), bytes, size) == 0);
}

static bool answer_is_entry(int64_t result, const twin_entry *wanted) {
    const uint8_t *at = ss_result();
    return CHECK_EQ(result, 8 + wanted->key_size + wanted->value_size) && CHECK_EQ(ss_get64(at), wanted->key_size) &&
           CHECK(memcmp(at + 8, wanted->key, wanted->key_size) == 0) &&
           CHECK(memcmp(at + 8 + wanted->key_size, wanted->value, wanted->value_size) == 0);
}

static bool same_entries(setting *s) {
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

static void choose(setting *s, operation *made) {
    made->choice = (int)rng_below(&s->random, CHOICES);
    made->key = key_number(s->kind, rng_below(&s->random, MOST_ENTRIES), made->key_room);
    made->value = random_value(s->kind, &s->random, made->value_room);
}

static int64_t perform(setting *s, const operation *what) {
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
static bool agree(setting *s, const operation *what, int64_t result) {
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

static bool step(setting *s, operation *what) {
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

static void fill(setting *s, int steps) {
    operation *what = malloc(sizeof *what);
    for (int i = 0; i < steps; i++) {
        if (step(s, what)) continue;
        fprintf(stderr, "    %s, step %d\n", s->kind->name, i);
        break;
    }
    free(what);
}

static void a_map_answers_as_its_twin_in_every_memory(void) {
    for (size_t kind = 0; kind < MAP_KINDS; kind++) {
        for (int place = 0; place < PLACES; place++) {
            setting *s = begin(&map_kinds[kind], (enum place)place, 4000, kind * 10 + 1);
            fill(s, 700);
            if (!same_entries(s)) fprintf(stderr, "    %s, %s\n", s->kind->name, place_names[place]);
            finish(s);
        }
    }
}

static void a_cleared_map_is_a_new_one(void) {
    setting *s = begin(&map_kinds[BYTES_MAP], IN_FLAT, 400, 3), *fresh = begin(&map_kinds[BYTES_MAP], IN_FLAT, 400, 3);
    fill(s, 100);
    CHECK_EQ(ss_btree_clear(s->tree), SS_OK);
    while (s->count > 0) drop(s, 0);
    same_entries(s);
    CHECK(memcmp(s->in.root->root->base, fresh->in.root->root->base, SS_FIRST_CHUNK + SS_CHUNK_HEADER) == 0);
    fill(s, 100);
    finish(s);
    finish(fresh);
}

/* ---- failing: for each n, the n-th chance; then everything is as before ---- */

typedef struct bytes_before {
    uint8_t *bytes;
    uint64_t pages;
} bytes_before;

static const uint8_t *root_bytes(const setting *s, uint64_t *pages) {
    bool foreign = s->in.root->root->foreign;
    *pages = foreign ? s->in.buffer.pages : s->in.root->root->pages;
    return foreign ? s->in.buffer.bytes : s->in.root->root->base;
}

/* Valid until the next one is made. */
static bytes_before remember(const setting *s) {
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
static bool unchanged(const setting *s, const bytes_before *before) {
    uint64_t pages;
    const uint8_t *bytes = root_bytes(s, &pages);
    bool same = CHECK(pages == before->pages || (s->in.root->root->foreign && pages > before->pages));
    same = same && CHECK(memcmp(bytes, before->bytes, before->pages * SS_PAGE_SIZE) == 0);
    for (uint64_t i = before->pages * SS_PAGE_SIZE; same && i < pages * SS_PAGE_SIZE; i++) {
        if (bytes[i] != 0) same = CHECK(!"the new pages of a refused operation are zeros");
    }
    return same;
}

static long arm_heap(setting *s, long chance) {
    long left = allocations_left;
    (void)s;
    allocations_left = chance;
    return left;
}

/* Plays on; each operation is first made to fail at its n-th chance, for each n that it has. `arm` sets the chance and
 * returns what was left of the one before: -1 where it came. Counts the failures. */
static unsigned long fail_each(setting *s, int steps, long (*arm)(setting *, long), int status) {
    unsigned long failures = 0;
    operation *what = malloc(sizeof *what);
    for (int i = 0; i < steps; i++) {
        if (arm == arm_heap) { /* again, without the working storage of earlier operations */
            ss_btree_free(s->tree);
            open_map(s);
        }
        bytes_before before = remember(s);
        choose(s, what);
        for (long chance = 0;; chance++) {
            arm(s, chance);
            int64_t result = perform(s, what);
            if (arm(s, -1) >= 0) {
                agree(s, what, result);
                break;
            }
            failures++;
            if (!CHECK_EQ(result, status) || !unchanged(s, &before) || (chance % 8 == 0 && !same_entries(s))) {
                fprintf(stderr, "    %s: step %d, operation %d, chance %ld\n", s->kind->name, i, what->choice, chance);
                free(what);
                return failures;
            }
        }
        test_memory_scatter(&s->in);
    }
    same_entries(s);
    free(what);
    return failures;
}

static void a_heap_that_runs_out_changes_nothing(void) {
#ifdef __linux__
    unsigned long failures = 0;
    for (size_t kind = 0; kind < MAP_KINDS; kind++) {
        for (int place = 0; place < PLACES; place++) {
            setting *s = begin(&map_kinds[kind], (enum place)place, 4000, kind + 77);
            fill(s, 150);
            failures += fail_each(s, 60, arm_heap, SS_NO_HEAP);
            finish(s);
        }
    }
    CHECK(failures > 300);
#endif
}

static int failing_kind;

static long arm_memory(setting *s, long chance) {
    long left = s->in.buffer.calls_left;
    s->in.buffer.fail_kind = chance < 0 ? FAIL_NONE : failing_kind;
    s->in.buffer.calls_left = chance;
    return left;
}

static const map_kind heavy = {"heavy bytes", {TERM_BYTES(0, SS_UNBOUNDED)}, 1, NO_BOUND, NO_BOUND, 2, 1};

static void a_memory_that_fails_changes_nothing(void) {
    for (failing_kind = FAIL_SIZE; failing_kind <= FAIL_WRITE; failing_kind++) {
        unsigned long failures = 0;
        for (size_t kind = 0; kind <= MAP_KINDS; kind++) {
            for (int place = IN_FOREIGN; place <= IN_SCATTERED_FOREIGN; place++) {
                setting *s = begin(kind == MAP_KINDS ? &heavy : &map_kinds[kind], (enum place)place, 4000, kind + 99);
                bool growing = failing_kind == FAIL_GROW;
                fill(s, growing ? 1 : 150);
                failures += fail_each(s, growing ? (kind == MAP_KINDS ? 800 : 10) : kind == MAP_KINDS ? 5 : 25, arm_memory, SS_CALLBACK);
                finish(s);
            }
        }
        CHECK(failures > (failing_kind == FAIL_GROW ? 8 : 1000));
    }
}

/* Many at once: all or nothing too, wherever it fails. */
static void many_keys_are_changed_or_none(void) {
    many *batch = malloc(sizeof *batch);
    for (size_t kind = 0; kind <= MAP_KINDS; kind++) {
        for (int place = 0; place < PLACES; place++) {
            for (int what = 0; what < 2 * FAIL_WRITE + 2; what++) {
                setting *s = begin(kind == MAP_KINDS ? &heavy : &map_kinds[kind], (enum place)place, 4000, kind + 5 + 100 * (uint64_t)what);
                long (*arm)(setting *, long) = what < 2 ? arm_heap : arm_memory;
                failing_kind = what / 2;
                fill(s, 60);
                make_many(batch, s->kind, &s->random, rng_below(&s->random, MOST_ENTRIES));
                bytes_before before = remember(s);
                for (long chance = 0;; chance += 1 + chance / 8) {
                    arm(s, chance);
                    int64_t result = what & 1 ? ss_btree_insert_many(s->tree, &batch->key_column, &batch->value_column, MANY)
                                              : ss_btree_remove_many(s->tree, &batch->key_column, MANY, batch->found);
                    if (arm(s, -1) >= 0) {
                        CHECK(result >= 0);
                        break;
                    }
                    if (!CHECK_EQ(result, what < 2 ? SS_NO_HEAP : SS_CALLBACK) || !unchanged(s, &before)) break;
                    if (chance % 16 == 0 && !same_entries(s)) break;
                }
                for (uint64_t i = 0; i < MANY; i++) {
                    uint64_t key_begin = i == 0 ? 0 : batch->key_ends[i - 1], value_begin = i == 0 ? 0 : batch->value_ends[i - 1];
                    ss_span key = {batch->keys + key_begin, batch->key_ends[i] - key_begin};
                    uint32_t index;
                    bool found = find(s, key, &index);
                    if (what & 1)
                        put(s, key, (ss_span){batch->values + value_begin, batch->value_ends[i] - value_begin});
                    else if (CHECK_EQ(batch->found[i], found) && found)
                        drop(s, index);
                }
                same_entries(s);
                finish(s);
            }
        }
    }
    free(batch);
}

/* A limit that some operations hit: they change nothing, the others go on. */
static void a_memory_that_does_not_grow_changes_nothing(void) {
    unsigned long refused = 0;
    operation *what = malloc(sizeof *what);
    for (uint64_t limit = 1; limit <= 12; limit++) {
        for (int place = 0; place < PLACES; place++) {
            bool managed = place == IN_SCATTERED || place == IN_SCATTERED_FOREIGN;
            setting *s = begin(&heavy, (enum place)place, managed ? 2 * limit + 1 : limit + (place == IN_RESTRICTED ? 2 : 0), limit);
            for (int i = 0; i < 300; i++) {
                bytes_before before = remember(s);
                choose(s, what);
                int64_t result = perform(s, what);
                if (result != SS_OUT_OF_MEMORY)
                    agree(s, what, result);
                else if (++refused && unchanged(s, &before))
                    same_entries(s);
            }
            same_entries(s);
            finish(s);
        }
    }
    CHECK(refused > 500);
    free(what);
}

static void opening_fails_without_a_trace(void) {
    for (int place = IN_FOREIGN; place <= IN_SCATTERED_FOREIGN; place++) {
        for (failing_kind = FAIL_SIZE; failing_kind <= FAIL_WRITE; failing_kind++) {
            setting *s = begin(&map_kinds[BYTES_MAP], (enum place)place, 400, 1);
            fill(s, 30);
            ss_btree_free(s->tree);
            bytes_before before = remember(s);
            int modes[] = {SS_INIT, SS_NEW, SS_LOAD};
            for (int i = 0; i < 3; i++) {
                for (long chance = 0;; chance++) {
                    ss_btree *tree = NULL;
                    arm_memory(s, chance);
                    int status = open_kind(s->in.memory, modes[i], s->kind, &tree);
                    arm_memory(s, -1);
                    if (status == SS_OK) {
                        ss_btree_free(tree);
                        break;
                    }
                    CHECK_EQ(status, SS_CALLBACK);
                    CHECK(tree == NULL);
                    if (!unchanged(s, &before)) break;
                }
                CHECK_EQ(ss_access_write(s->in.root, 0, before.bytes, before.pages * SS_PAGE_SIZE), SS_OK);
            }
            open_map(s);
            same_entries(s);
            finish(s);
        }
    }
}

/* ---- orders of the user ---- */

enum fault { NO_FAULT, FAULT_FAILS, FAULT_NO_ORDER, FAULT_RANDOM, FAULT_CALLS_BACK };

typedef struct user_order {
    enum fault fault;
    long comparisons_left;
    rng random;
    ss_btree *tree;
    int inner_status;
} user_order;

static int user_compare(void *self, const uint8_t *a, uint64_t a_size, const uint8_t *b, uint64_t b_size, int *result) {
    user_order *order = self;
    *result = ss_compare_bytes(a, a_size, b, b_size);
    if (order->fault == FAULT_RANDOM) *result = rng_below(&order->random, 30) == 0 ? SS_EQUAL : (int)rng_below(&order->random, 2) * 2 - 1;
    if (order->fault == FAULT_CALLS_BACK) order->inner_status = (int)ss_btree_get_bytes_bytes(order->tree, a, a_size);
    if (order->comparisons_left < 0 || order->comparisons_left-- != 0) return SS_OK;
    if (order->fault == FAULT_NO_ORDER) *result = SS_NO_ORDER;
    return order->fault == FAULT_FAILS ? SS_CALLBACK : SS_OK;
}

static user_order user;

static void open_user_map(setting *s) {
    ss_order_term term = {SS_ORDER_CALLBACK, 0, SS_UNBOUNDED, {-1, -1, -1}, 0};
    user = (user_order){.comparisons_left = -1, .random = {.state = 9}};
    ss_btree_free(s->tree);
    require(ss_btree_open(s->in.memory, SS_INIT, &term, 1, user_compare, &user, s->kind->key, s->kind->value, &s->tree) == SS_OK, "a map");
    user.tree = s->tree;
}

static long arm_order(setting *s, long chance) {
    long left = user.comparisons_left;
    (void)s;
    user.comparisons_left = chance;
    return left;
}

static void a_comparison_that_fails_changes_nothing(void) {
    for (int fault = FAULT_FAILS; fault <= FAULT_NO_ORDER; fault++) {
        for (int place = 0; place < PLACES; place++) {
            setting *s = begin(&map_kinds[BYTES_MAP], (enum place)place, 4000, 5);
            fill(s, 200);
            open_user_map(s);
            user.fault = (enum fault)fault;
            CHECK(fail_each(s, 60, arm_order, fault == FAULT_FAILS ? SS_CALLBACK : SS_UNORDERED) > 100);
            finish(s);
        }
    }
}

static void a_comparison_that_calls_back_is_refused_and_harmless(void) {
    setting *s = begin(&map_kinds[BYTES_MAP], IN_FLAT, 4000, 6);
    fill(s, 100);
    open_user_map(s);
    user.fault = FAULT_CALLS_BACK;
    operation *what = malloc(sizeof *what);
    for (int i = 0; i < 200; i++) {
        user.inner_status = SS_REENTRANT;
        choose(s, what);
        agree(s, what, perform(s, what));
        CHECK_EQ(user.inner_status, SS_REENTRANT);
    }
    same_entries(s);
    free(what);
    finish(s);
}

static void only_order_is_broken(void *self, const struct ss_failure *violation) {
    (void)self;
    CHECK(violation->rule != NULL && strcmp(violation->rule, "keys ascend strictly") == 0);
}

static void a_comparison_at_random_breaks_the_order_and_nothing_else(void) {
    for (int place = 0; place < PLACES; place++) {
        setting *s = begin(&map_kinds[BYTES_MAP], (enum place)place, 4000, 7);
        open_user_map(s);
        user.fault = FAULT_RANDOM;
        operation *what = malloc(sizeof *what);
        for (int i = 0; i < 400; i++) {
            choose(s, what);
            int64_t result = perform(s, what);
            CHECK(result >= 0 || result == SS_NO_VALUE || result == SS_UNORDERED); /* a removal that would break the order */
            test_memory_scatter(&s->in);
            if (i % 50 == 49) (void)ss_btree_check(s->tree, only_order_is_broken, NULL);
        }
        CHECK(ss_btree_length(s->tree) > 5);
        while (ss_btree_pop_first(s->tree) >= 0) continue;
        CHECK_EQ(ss_btree_check(s->tree, NULL, NULL), SS_OK);
        CHECK_EQ(ss_btree_length(s->tree), 0);
        free(what);
        finish(s);
    }
}

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

/* ---- lanes, bounds, life ---- */

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

static void another_lane_is_refused(void) {
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

static void what_is_no_map_is_refused(void) {
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
    a_map_answers_as_its_twin_in_every_memory();
    a_cleared_map_is_a_new_one();
    a_heap_that_runs_out_changes_nothing();
    a_memory_that_fails_changes_nothing();
    many_keys_are_changed_or_none();
    a_memory_that_does_not_grow_changes_nothing();
    opening_fails_without_a_trace();
    a_comparison_that_fails_changes_nothing();
    a_comparison_that_calls_back_is_refused_and_harmless();
    a_comparison_at_random_breaks_the_order_and_nothing_else();
    page_sizes_are_those_of_the_format();
    numbers_that_look_like_signals_come_through();
    another_lane_is_refused();
    bounds_are_checked_before_anything_is_written();
    one_map_lives_on_a_memory_at_a_time();
    what_is_no_map_is_refused();
    siblings_of_two_levels_are_not_mixed();
    a_check_names_what_is_broken();
    a_check_takes_every_key_apart();
    a_change_notices_what_lies_on_its_way();
    return check_summary();
}
