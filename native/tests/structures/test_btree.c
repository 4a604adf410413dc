/* SPDX-License-Identifier: Apache-2.0 */
/* Maps against a sorted array of entries, in every kind of memory; and with everything failing that can fail. */
#include "memory/allocator.h"
#include "support/check.h"
#include "support/failing_heap.h"
#include "support/map_twin.h"

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

/* Few operations grow the memory; an operation asks it for its size once, and reads and writes often. */
static int steps_that_fail(bool is_heavy) {
    if (failing_kind == FAIL_GROW) return is_heavy ? 800 : 10;
    if (failing_kind == FAIL_SIZE) return 100;
    return is_heavy ? 5 : 25;
}

static void a_memory_that_fails_changes_nothing(void) {
    for (failing_kind = FAIL_SIZE; failing_kind <= FAIL_WRITE; failing_kind++) {
        unsigned long failures = 0;
        for (size_t kind = 0; kind <= MAP_KINDS; kind++) {
            for (int place = IN_FOREIGN; place <= IN_SCATTERED_FOREIGN; place++) {
                setting *s = begin(kind == MAP_KINDS ? &heavy : &map_kinds[kind], (enum place)place, 4000, kind + 99);
                fill(s, failing_kind == FAIL_GROW ? 1 : 150);
                failures += fail_each(s, steps_that_fail(kind == MAP_KINDS), arm_memory, SS_CALLBACK);
                finish(s);
            }
        }
        CHECK(failures > (failing_kind == FAIL_GROW ? 8 : failing_kind == FAIL_SIZE ? 500 : 1000));
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
    return check_summary();
}
