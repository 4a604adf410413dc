/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged images of vec, heap, log, cell and manager: every operation on each must result or give SS_CORRUPT, quickly, and a
 * refused change must leave every byte as it was.
 */
#include "structures/cell.h"
#include "structures/heap.h"
#include "structures/log.h"
#include "structures/vec.h"
#include "support/fuzz.h"

enum { LONGEST = 3000, ROOTS = 2 };

enum kind { VEC_OF_NUMBERS, VEC_OF_BLOBS, HEAP, LOG, CELL, MANAGER, KINDS };

typedef union structure {
    ss_vec *vec;
    ss_heap *heap;
    ss_log *log;
    ss_cell *cell;
    ss_manager *manager;
} structure;

/* Memories for one structure; only a log uses the second. In `one_root` both lie in the buckets of one manager. */
typedef struct setting {
    enum kind kind;
    bool one_root;
    test_memory in[ROOTS];
    ss_memory *memories[ROOTS];
    structure it;
    rng random;
    bool changed; /* since `before` was taken */
} setting;

/* Copies of the bytes of the roots. */
static struct copy {
    uint8_t *bytes;
    uint64_t pages, room;
} before[ROOTS];

/* ---- structures ---- */

static const ss_order_term heap_order = {SS_ORDER_LENGTH_FIRST, 0, 40, {-1, -1, -1}, 0};

static int open_it(setting *s, int mode) {
    switch (s->kind) {
        case VEC_OF_NUMBERS:
            return ss_vec_open(s->memories[0], mode, 8, 1, &s->it.vec);
        case VEC_OF_BLOBS:
            return ss_vec_open(s->memories[0], mode, 300, 0, &s->it.vec);
        case HEAP:
            return ss_heap_open(s->memories[0], mode, 40, 0, &heap_order, 1, NULL, NULL, &s->it.heap);
        case LOG:
            return ss_log_open(s->memories[0], s->memories[1], mode, &s->it.log);
        case MANAGER:
            return ss_manager_open(s->memories[0], mode, 1, &s->it.manager);
        default:
            return ss_cell_open(s->memories[0], mode, (const uint8_t *)"default", 7, &s->it.cell);
    }
}

static void free_it(setting *s) {
    if (s->kind <= VEC_OF_BLOBS)
        ss_vec_free(s->it.vec);
    else if (s->kind == HEAP)
        ss_heap_free(s->it.heap);
    else if (s->kind == LOG)
        ss_log_free(s->it.log);
    else if (s->kind == MANAGER)
        ss_manager_free(s->it.manager);
    else
        ss_cell_free(s->it.cell);
}

static int64_t number_status(uint64_t result) {
    return result == SS_ASK ? ss_last_status() : SS_OK;
}

static uint8_t data[16 * LONGEST];
static uint64_t ends[16];

static uint64_t some_size(const setting *s, rng *random) {
    static const uint64_t most[] = {8, 300, 40, LONGEST, LONGEST, 300};
    return s->kind == VEC_OF_NUMBERS ? 8 : rng_below(random, most[s->kind] + 1);
}

/* What is in them is one choice. */
static void some_items(setting *s) {
    rng random = {.state = rng_below(&s->random, UINT64_C(1) << 16)};
    uint64_t end = 0;
    for (int i = 0; i < 16; i++) {
        uint64_t size = some_size(s, &random);
        random_bytes(&random, data + end, size);
        ends[i] = end += size;
    }
}

static uint64_t some_index(setting *s) {
    return rng_below(&s->random, 8) == 0 ? rng_next(&s->random) >> rng_below(&s->random, 64) : rng_below(&s->random, 120);
}

static int64_t change_vec(setting *s) {
    switch (rng_below(&s->random, 6)) {
        case 0:
            return ss_vec_pop(s->it.vec);
        case 1:
            return ss_vec_set(s->it.vec, some_index(s), data, ends[0]);
        case 2:
            return s->kind == VEC_OF_NUMBERS ? ss_vec_extend(s->it.vec, data, 16) : ss_vec_extend_var(s->it.vec, data, ends, 16);
        case 3:
            return rng_below(&s->random, 8) == 0 ? ss_vec_clear(s->it.vec) : ss_vec_push(s->it.vec, data, ends[0]);
        default:
            return ss_vec_push(s->it.vec, data, ends[0]);
    }
}

static int64_t ask_vec(setting *s) {
    static uint64_t places[200];
    uint64_t start = some_index(s), stop = start + rng_below(&s->random, 100);
    switch (rng_below(&s->random, 4)) {
        case 0:
            return ss_vec_length(s->it.vec);
        case 1:
            if (s->kind == VEC_OF_BLOBS) return ss_vec_export_var(s->it.vec, start, stop, SS_ANY_LENGTH, places);
            return ss_vec_export(s->it.vec, start, stop, SS_ANY_LENGTH, data);
        default:
            return ss_vec_get(s->it.vec, some_index(s));
    }
}

static int64_t change_heap(setting *s) {
    uint64_t choice = rng_below(&s->random, 5);
    if (choice < 2) return ss_heap_push(s->it.heap, data, ends[0]);
    if (choice < 4) return ss_heap_pop(s->it.heap);
    return ss_heap_push_many_var(s->it.heap, data, ends, 16);
}

static int64_t ask_heap(setting *s) {
    uint64_t choice = rng_below(&s->random, 3);
    return choice == 0 ? ss_heap_length(s->it.heap) : choice == 1 ? ss_heap_peek(s->it.heap) : ss_heap_get(s->it.heap, some_index(s));
}

static int64_t change_log(setting *s) {
    uint64_t choice = rng_below(&s->random, 9);
    if (choice == 0) return ss_log_clear(s->it.log);
    if (choice < 3) return ss_log_extend(s->it.log, data, ends, 16);
    return number_status(ss_log_append(s->it.log, data, ends[0]));
}

static int64_t ask_log(setting *s) {
    static uint64_t places[200];
    uint64_t start = some_index(s);
    switch (rng_below(&s->random, 5)) {
        case 0:
            return ss_log_length(s->it.log);
        case 1:
            return ss_log_export(s->it.log, start, start + rng_below(&s->random, 100), SS_ANY_LENGTH, places);
        case 2:
            return ss_log_size_bytes(s->it.log);
        default:
            return ss_log_get(s->it.log, some_index(s));
    }
}

static int64_t with_managed(setting *s, int64_t (*use)(setting *s, ss_memory *memory, uint64_t pages)) {
    ss_memory *memory;
    int status = ss_manager_get(s->it.manager, (uint32_t)rng_below(&s->random, rng_below(&s->random, 4) == 0 ? 255 : 4), &memory);
    if (status != SS_OK) return status;
    int64_t pages = ss_access_size(memory), result = pages < 0 ? pages : use(s, memory, (uint64_t)pages);
    ss_memory_release(memory);
    return result;
}

static int64_t change_managed(setting *s, ss_memory *memory, uint64_t pages) {
    if (pages == 0 || rng_below(&s->random, 2) == 0) return ss_access_grow(memory, rng_below(&s->random, 4));
    return ss_access_write(memory, rng_below(&s->random, pages * SS_PAGE_SIZE - ends[0] + 1), data, ends[0]);
}

static int64_t ask_managed(setting *s, ss_memory *memory, uint64_t pages) {
    if (pages == 0) return SS_OK;
    return ss_access_read(memory, rng_below(&s->random, pages * SS_PAGE_SIZE - LONGEST), data, LONGEST);
}

static int64_t ask_manager(setting *s) {
    static uint64_t sizes[SS_MANAGER_MEMORIES];
    static uint8_t owners[SS_MANAGER_BUCKETS];
    struct ss_manager_info info;
    uint64_t choice = rng_below(&s->random, 4);
    if (choice == 0) return ss_manager_info(s->it.manager, &info);
    return choice == 1 ? ss_manager_tables(s->it.manager, sizes, owners) : with_managed(s, ask_managed);
}

static int64_t change_it(setting *s) {
    some_items(s);
    if (s->kind <= VEC_OF_BLOBS) return change_vec(s);
    if (s->kind == HEAP) return change_heap(s);
    if (s->kind == MANAGER) return with_managed(s, change_managed);
    return s->kind == LOG ? change_log(s) : ss_cell_replace(s->it.cell, data, ends[rng_below(&s->random, 16)]);
}

static int64_t ask_it(setting *s) {
    struct ss_usage usage;
    if (rng_below(&s->random, 6) == 0) {
        if (s->kind <= VEC_OF_BLOBS) return ss_vec_usage(s->it.vec, &usage);
        if (s->kind == HEAP) return ss_heap_usage(s->it.heap, &usage);
        if (s->kind == MANAGER) return ss_manager_usage(s->it.manager, &usage);
        return s->kind == LOG ? ss_log_usage(s->it.log, &usage) : ss_cell_usage(s->it.cell, &usage);
    }
    if (s->kind <= VEC_OF_BLOBS) return ask_vec(s);
    if (s->kind == HEAP) return ask_heap(s);
    if (s->kind == MANAGER) return ask_manager(s);
    return s->kind == LOG ? ask_log(s) : ss_cell_get(s->it.cell);
}

static int check_structure(setting *s) {
    if (s->kind <= VEC_OF_BLOBS) return ss_vec_check(s->it.vec, NULL, NULL);
    if (s->kind == HEAP) return ss_heap_check(s->it.heap, NULL, NULL);
    if (s->kind == MANAGER) return ss_manager_check(s->it.manager, NULL, NULL);
    return s->kind == LOG ? ss_log_check(s->it.log, NULL, NULL) : ss_cell_check(s->it.cell, NULL, NULL);
}

/* And the tables of the manager that it lies under: damage to the root can be there alone, and only growth reads all of them. */
static int check_it(setting *s) {
    int status = check_structure(s);
    for (int i = 0; i < (s->one_root ? 1 : ROOTS) && status == SS_OK; i++) {
        if (s->in[i].manager != NULL) status = ss_manager_check(s->in[i].manager, NULL, NULL);
    }
    return status;
}

/* ---- images ---- */

static enum place some_place(setting *s) {
    enum place place = (enum place)rng_below(&s->random, PLACES);
    s->one_root = s->kind != MANAGER && (place == IN_SCATTERED || place == IN_SCATTERED_FOREIGN);
    /* A manager has no manager. */
    if (s->kind == MANAGER && place == IN_SCATTERED) return IN_FLAT;
    return s->kind == MANAGER && place == IN_SCATTERED_FOREIGN ? IN_FOREIGN : place;
}

static void make_memories(setting *s) {
    enum place place = some_place(s);
    for (int i = 0; i < (s->one_root ? 1 : ROOTS); i++) test_memory_new(&s->in[i], place, 400);
    ss_memory_retain(s->memories[0] = s->in[0].memory);
    if (s->one_root)
        require(ss_manager_get(s->in[0].manager, 4, &s->memories[1]) == SS_OK, "a second memory");
    else
        ss_memory_retain(s->memories[1] = s->in[1].memory);
}

/* A sound structure, of one choice. */
static void fill(setting *s) {
    rng choices = s->random;
    s->random = (rng){.state = rng_below(&choices, UINT64_C(1) << 16)};
    require(open_it(s, SS_INIT) == SS_OK, "a structure");
    for (uint64_t i = rng_below(&s->random, 2) * rng_below(&s->random, 40); i > 0; i--) {
        CHECK(change_it(s) >= SS_NO_VALUE);
        if (s->one_root) test_memory_scatter(&s->in[0]);
    }
    free_it(s);
    s->random = choices;
}

static void begin(setting *s, const rng *random) {
    *s = (setting){.random = *random};
    s->kind = (enum kind)rng_below(&s->random, KINDS);
    make_memories(s);
    fill(s);
}

static void finish(setting *s) {
    for (int i = 0; i < ROOTS; i++) ss_memory_release(s->memories[i]);
    for (int i = 0; i < (s->one_root ? 1 : ROOTS); i++) test_memory_free(&s->in[i]);
}

static const uint8_t *root_bytes(const test_memory *in, uint64_t *pages) {
    bool foreign = in->root->root->foreign;
    *pages = foreign ? in->buffer.pages : in->root->root->pages;
    return foreign ? in->buffer.bytes : in->root->root->base;
}

static void remember(setting *s) {
    if (!s->changed) return;
    s->changed = false;
    for (int i = 0; i < (s->one_root ? 1 : ROOTS); i++) {
        struct copy *copy = &before[i];
        const uint8_t *bytes = root_bytes(&s->in[i], &copy->pages);
        if (copy->pages > copy->room) {
            copy->room = copy->pages + 8;
            copy->bytes = realloc(copy->bytes, copy->room * SS_PAGE_SIZE);
            require(copy->bytes != NULL, "room for a copy");
        }
        if (copy->pages > 0) memcpy(copy->bytes, bytes, copy->pages * SS_PAGE_SIZE);
    }
}

static bool unchanged(const setting *s) {
    bool same = true;
    for (int i = 0; i < (s->one_root ? 1 : ROOTS); i++) {
        uint64_t pages;
        const uint8_t *bytes = root_bytes(&s->in[i], &pages);
        same = same && (pages == before[i].pages || s->in[i].root->root->foreign);
        same = same && (before[i].pages == 0 || memcmp(bytes, before[i].bytes, before[i].pages * SS_PAGE_SIZE) == 0);
    }
    return same;
}

static void damage(setting *s) {
    uint8_t bytes[64];
    int which = s->kind == LOG ? (int)rng_below(&s->random, 2) : 0;
    bool whole = rng_below(&s->random, 6) == 0;
    ss_memory *memory = whole ? s->in[s->one_root ? 0 : which].root : s->memories[which];
    int64_t pages = ss_access_size(memory);
    if (pages <= 0) return;
    static const uint64_t reach[] = {16, 64, 100, 600, 3000, 65536};
    uint64_t offset = rng_below(&s->random, reach[rng_below(&s->random, 6)]), size = UINT64_C(1) << rng_below(&s->random, 4);
    switch (rng_below(&s->random, 4)) {
        case 0:
            size = 1;
            if (ss_access_read(memory, offset, bytes, 1) != SS_OK) return;
            bytes[0] ^= (uint8_t)(1u << rng_below(&s->random, 8));
            break;
        case 1:
            ss_put64(bytes, rng_below(&s->random, 2) ? rng_below(&s->random, 300) : UINT64_MAX - rng_below(&s->random, 300));
            break;
        case 2:
            ss_put64(bytes, UINT64_C(1) << rng_below(&s->random, 64));
            break;
        default:
            size = sizeof bytes;
            for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)rng_below(&s->random, 256);
    }
    (void)ss_access_write(memory, offset, bytes, size);
}

/* What an operation may result; OUT_OF_BOUNDS is an index or a range that a vec or log has not. */
static bool allowed(const setting *s, int64_t status) {
    bool outside = status == SS_OUT_OF_BOUNDS && strstr(ss_last_failure()->rule, "end of the memory") == NULL;
    return status >= 0 || status == SS_NO_VALUE || is_damage(status) || status == SS_OUT_OF_MEMORY || (outside && s->kind != CELL);
}

static void try_it(setting *s) {
    int sound = check_it(s);
    if (!holds(sound == SS_OK || is_damage(sound), "check answers or says what is damaged", sound)) return;
    for (int i = 0; i < 16; i++) {
        remember(s);
        bool change = rng_below(&s->random, 2);
        int64_t status = change ? change_it(s) : ask_it(s);
        s->changed = change;
        if (!holds(allowed(s, status), "an operation answers or says what is damaged", status)) return;
        if (!holds(sound != SS_OK || !is_damage(status), "a sound structure is never called damaged", status)) return;
        if (status < 0 && !holds(unchanged(s), "a refused operation changes no byte", status)) return;
    }
    int after = check_it(s);
    holds(after == SS_OK || (sound != SS_OK && is_damage(after)), "a sound structure stays sound", after);
}

static void fuzz_one(rng *random) {
    setting s;
    begin(&s, random);
    for (uint64_t i = rng_below(&s.random, 5); i > 0; i--) damage(&s);
    s.changed = true;
    remember(&s);
    int status = open_it(&s, rng_below(&s.random, 2) ? SS_INIT : SS_LOAD);
    if (status == SS_OK) {
        s.changed = true;
        try_it(&s);
        free_it(&s);
    } else {
        /* Damaged tables of a manager may have buckets so large that the next one does not fit. */
        bool said = is_damage(status) || status == SS_INCOMPATIBLE || status == SS_OUT_OF_MEMORY;
        holds(said, "opening answers or says what is damaged", status);
        holds(unchanged(&s), "an opening that is refused changes no byte", status);
    }
    finish(&s);
}

static void fuzz_begin(void) {
}

static void fuzz_end(void) {
    for (int i = 0; i < ROOTS; i++) free(before[i].bytes);
}
