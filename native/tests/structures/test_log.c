/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <string.h>

#include "core/result.h"
#include "structures/log.h"
#include "support/check.h"
#include "support/memories.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define MOST 900 /* entries of a model */
#define LONGEST 5000

/* ---- pairs of memories: on one root, or on two ---- */

enum pair_kind { ONE_MANAGER, ONE_FLAT, TWO_FLATS, FLAT_AND_FOREIGN, TWO_FOREIGN, MANAGER_AND_FOREIGN, FOREIGN_MANAGER, PAIR_KINDS };

struct pair {
    struct place a, b; /* b only where there are two roots */
    ss_memory *index, *data;
    bool two;
};

static void pair_open(struct pair *pair, enum pair_kind kind, uint64_t max_pages) {
    static const enum kind firsts[] = {BUCKETS, FLAT, FLAT, FLAT, FOREIGN, BUCKETS, FOREIGN_BUCKETS};
    memset(pair, 0, sizeof *pair);
    place_open(&pair->a, firsts[kind], max_pages);
    pair->two = kind != ONE_MANAGER && kind != ONE_FLAT && kind != FOREIGN_MANAGER;
    if (pair->two) place_open(&pair->b, kind == TWO_FLATS ? FLAT : FOREIGN, max_pages);
    if (kind == ONE_FLAT) {
        CHECK_EQ(ss_memory_new_restricted(pair->a.root, 0, 4, &pair->index), SS_OK);
        CHECK_EQ(ss_memory_new_restricted(pair->a.root, 4, max_pages, &pair->data), SS_OK);
        CHECK_EQ(ss_access_grow(pair->a.root, 4), 0);
        return;
    }
    pair->index = pair->a.memory;
    pair->data = pair->two ? pair->b.memory : pair->a.other;
    ss_memory_retain(pair->index);
    ss_memory_retain(pair->data);
}

static void pair_close(struct pair *pair) {
    ss_memory_release(pair->index);
    ss_memory_release(pair->data);
    place_close(&pair->a);
    if (pair->two) place_close(&pair->b);
}

/* Images of all roots of a pair. */
struct images {
    struct image a, b;
};

static struct images images_of(struct pair *pair) {
    struct images images = {.a = image_of(pair->a.root)};
    if (pair->two) images.b = image_of(pair->b.root);
    return images;
}

static bool images_hold(const struct images *before, struct pair *pair) {
    return image_holds(&before->a, pair->a.root) && (!pair->two || image_holds(&before->b, pair->b.root));
}

static bool images_equal(const struct images *x, const struct images *y) {
    return image_equal(&x->a, &y->a) && (x->b.bytes == NULL || image_equal(&x->b, &y->b));
}

static void images_free(struct images *images) {
    image_free(&images->a);
    image_free(&images->b);
}

static ss_log *open_log(struct pair *pair, int mode) {
    ss_log *log;
    CHECK_EQ(ss_log_open(pair->index, pair->data, mode, &log), SS_OK);
    return log;
}

/* ---- against a model ---- */

static struct {
    uint8_t bytes[MOST * LONGEST / 8];
    uint64_t ends[MOST + 1]; /* entry i is [ends[i], ends[i + 1]) */
    uint64_t length;
} model;

static void append_both(ss_log *log) {
    uint64_t room = sizeof model.bytes - model.ends[model.length], size = random_below(random_below(8) == 0 ? LONGEST : 100);
    if (model.length == MOST || size > room) return;
    uint8_t *bytes = model.bytes + model.ends[model.length];
    random_bytes(bytes, size);
    CHECK_EQ(ss_log_append(log, bytes, size), model.length);
    model.length++;
    model.ends[model.length] = model.ends[model.length - 1] + size;
}

static bool same_entry(ss_log *log, uint64_t index) {
    int64_t result = ss_log_get(log, index);
    if (index >= model.length) return result == SS_NO_VALUE;
    uint64_t size = model.ends[index + 1] - model.ends[index];
    return result == (int64_t)size && memcmp(ss_result(), model.bytes + model.ends[index], size) == 0;
}

static void compare_all(ss_log *log) {
    uint64_t ends[MOST], first = model.length / 3, origin = model.ends[first];
    CHECK_EQ(ss_log_check(log, NULL, NULL), SS_OK);
    CHECK_EQ(ss_log_length(log), model.length);
    CHECK_EQ(ss_log_size_bytes(log), model.ends[model.length]);
    CHECK_EQ(ss_log_data_size_bytes(log), model.ends[model.length] + 32);
    CHECK_EQ(ss_log_index_size_bytes(log), 40 + 8 * model.length);
    for (uint64_t i = 0; i <= model.length; i++) CHECK(same_entry(log, i));
    CHECK_EQ(ss_log_export(log, first, model.length, SS_ANY_LENGTH, ends), model.ends[model.length] - origin);
    CHECK(memcmp(ss_result(), model.bytes + origin, model.ends[model.length] - origin) == 0);
    for (uint64_t i = first; i < model.length; i++) CHECK_EQ(ends[i - first], model.ends[i + 1] - origin);
    CHECK_EQ(ss_log_export(log, 0, model.length + 1, SS_ANY_LENGTH, ends), SS_OUT_OF_BOUNDS);
    CHECK_EQ(ss_log_export(log, 1, 0, SS_ANY_LENGTH, ends), SS_OUT_OF_BOUNDS);
    CHECK_EQ(ss_log_export(log, 0, 0, SS_ANY_LENGTH, ends), 0);
}

static void a_log_is_a_list(enum pair_kind kind) {
    struct pair pair;
    pair_open(&pair, kind, 200);
    memset(&model, 0, sizeof model);
    ss_log *log = open_log(&pair, SS_INIT);
    for (int i = 0; i < 900; i++) {
        append_both(log);
        CHECK(same_entry(log, random_below(model.length + 1)));
        if (random_below(150) == 0) {
            ss_log_free(log);
            log = open_log(&pair, i % 2 == 0 ? SS_INIT : SS_LOAD);
        }
        if (random_below(300) == 0) {
            CHECK_EQ(ss_log_clear(log), SS_OK);
            model.length = 0;
        }
    }
    compare_all(log);
    ss_log_free(log);
    log = open_log(&pair, SS_NEW);
    CHECK_EQ(ss_log_length(log), 0);
    ss_log_free(log);
    pair_close(&pair);
}

/* Bytes and sizes are those of the loop. */
static void bulk_writes_what_the_loop_writes(enum pair_kind kind) {
    static uint8_t data[2000 * 40];
    uint64_t ends[2000];
    struct pair bulk, loop;
    pair_open(&bulk, kind, 200);
    pair_open(&loop, kind, 200);
    ss_log *log = open_log(&bulk, SS_INIT), *other = open_log(&loop, SS_INIT);
    random_bytes(data, sizeof data);
    for (int round = 0; round < 4; round++) {
        uint64_t count = round == 3 ? 2000 : random_below(COUNT(ends)), end = 0;
        for (uint64_t i = 0; i < count; i++) {
            uint64_t size = random_below(40);
            CHECK(ss_log_append(other, data + end, size) < SS_NO_NUMBER);
            ends[i] = end += size;
        }
        CHECK_EQ(ss_log_extend(log, data, ends, count), SS_OK);
    }
    struct images a = images_of(&bulk), b = images_of(&loop);
    CHECK(images_equal(&a, &b));
    CHECK_EQ(ss_log_check(log, NULL, NULL), SS_OK);
    images_free(&a);
    images_free(&b);
    ss_log_free(log);
    ss_log_free(other);
    pair_close(&bulk);
    pair_close(&loop);
}

/* ---- format ---- */

static void a_log_lies_where_the_format_says(void) {
    struct pair pair;
    pair_open(&pair, TWO_FLATS, 10);
    CHECK_EQ(ss_access_grow(pair.index, 1), 0);
    CHECK_EQ(ss_access_write(pair.index, 4, "reserved", 8), SS_OK);
    ss_log *log = open_log(&pair, SS_NEW);
    CHECK_EQ(ss_log_append(log, (const uint8_t *)"abc", 3), 0);
    CHECK_EQ(ss_log_append(log, NULL, 0), 1);
    CHECK_EQ(ss_log_append(log, (const uint8_t *)"de", 2), 2);
    struct images images = images_of(&pair);
    CHECK(memcmp(images.a.bytes, "GLI\1reserved", 12) == 0);
    CHECK(memcmp(images.a.bytes + 32, "\3\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\0", 33) == 0);
    CHECK(memcmp(images.b.bytes, "GLD\1\0\0\0\0", 8) == 0);
    CHECK(memcmp(images.b.bytes + 32, "abcde", 6) == 0);
    images_free(&images);
    ss_log_free(log);
    pair_close(&pair);
}

static void modes_decide_what_is_made(void) {
    struct pair pair;
    ss_log *log;
    pair_open(&pair, TWO_FLATS, 10);
    CHECK_EQ(ss_log_open(pair.index, pair.data, SS_LOAD, &log), SS_BAD_MAGIC);
    CHECK_EQ(ss_log_open(pair.index, pair.index, SS_INIT, &log), SS_IN_USE);
    CHECK(ss_access_size(pair.index) == 0 && ss_access_size(pair.data) == 0);
    ss_log_free(open_log(&pair, SS_INIT));
    CHECK_EQ(ss_access_write(pair.index, 0, "GLX", 3), SS_OK);
    CHECK_EQ(ss_log_open(pair.index, pair.data, SS_INIT, &log), SS_BAD_MAGIC);
    CHECK_EQ(ss_access_write(pair.index, 0, "GLI\2", 4), SS_OK);
    CHECK_EQ(ss_log_open(pair.index, pair.data, SS_INIT, &log), SS_BAD_VERSION);
    CHECK_EQ(ss_access_write(pair.data, 3, "\2", 1), SS_OK);
    CHECK_EQ(ss_log_open(pair.index, pair.data, SS_INIT, &log), SS_BAD_VERSION);
    CHECK_EQ(ss_access_write(pair.data, 0, "x", 1), SS_OK);
    CHECK_EQ(ss_log_open(pair.index, pair.data, SS_INIT, &log), SS_BAD_MAGIC);
    ss_log_free(open_log(&pair, SS_INIT_OVERWRITE));
    CHECK_EQ(ss_log_open(pair.data, pair.index, SS_LOAD, &log), SS_BAD_MAGIC);
    pair_close(&pair);
}

static void a_read_only_memory_can_be_read(void) {
    struct pair pair;
    ss_log *log;
    pair_open(&pair, TWO_FLATS, 10);
    pair.data->root->read_only = true;
    CHECK_EQ(ss_log_open(pair.index, pair.data, SS_INIT, &log), SS_READ_ONLY);
    CHECK_EQ(ss_access_size(pair.index), 0);
    pair.data->root->read_only = false;
    log = open_log(&pair, SS_INIT);
    CHECK_EQ(ss_log_append(log, (const uint8_t *)"abc", 3), 0);
    ss_log_free(log);
    pair.data->root->read_only = true;
    log = open_log(&pair, SS_INIT);
    CHECK_EQ(ss_log_get(log, 0), 3);
    CHECK_EQ(ss_log_append(log, NULL, 0), SS_ASK);
    CHECK_EQ(ss_last_status(), SS_READ_ONLY);
    CHECK_EQ(ss_log_length(log), 1);
    ss_log_free(log);
    pair_close(&pair);
}

/* ---- failures ---- */

#define FILLED 8180 /* ends of so many entries leave little room on the first page */

static void fill(ss_log *log) {
    static uint64_t ends[FILLED];
    static uint8_t data[FILLED * 7];
    for (uint64_t i = 0; i < FILLED; i++) ends[i] = (i + 1) * 7;
    CHECK_EQ(ss_log_extend(log, data, ends, FILLED), SS_OK);
}

/* Every operation that changes something; growth of both memories is among it. */
static int change(ss_log *log, int which) {
    static const uint8_t data[100000];
    uint64_t ends[30];
    for (uint64_t i = 0; i < COUNT(ends); i++) ends[i] = i < 3 ? 9000 + i / 2 : i < 29 ? 70000 : 80000;
    switch (which) {
        case 0:
            return ss_log_append(log, data, sizeof data) == SS_ASK ? ss_last_status() : SS_OK;
        case 1:
            return ss_log_extend(log, data, ends, COUNT(ends));
        default:
            return ss_log_clear(log);
    }
}
#define CHANGES 3

static bool has_failed(const struct pair *pair) {
    return pair->a.array.fail_at < 0 || (pair->two && pair->b.array.fail_at < 0);
}

static void a_change_may_fail_at_every_call(enum pair_kind kind, int which, bool in_first) {
    for (int64_t n = 0;; n++) {
        struct pair pair;
        pair_open(&pair, kind, 30);
        ss_log *log = open_log(&pair, SS_INIT);
        fill(log);
        struct images before = images_of(&pair);
        pair.a.array.fail_at = in_first ? n : INT64_MAX;
        pair.b.array.fail_at = in_first ? INT64_MAX : n;
        int status = change(log, which);
        bool reached = has_failed(&pair);
        pair.a.array.fail_at = pair.b.array.fail_at = -1;
        CHECK((status < 0) == reached);
        if (reached) CHECK(images_hold(&before, &pair));
        CHECK_EQ(ss_log_check(log, NULL, NULL), SS_OK);
        CHECK_EQ(ss_log_length(log), reached ? FILLED : which == 2 ? 0 : which == 1 ? FILLED + 30 : FILLED + 1);
        images_free(&before);
        ss_log_free(log);
        pair_close(&pair);
        if (!reached) break;
    }
}

static void opening_may_fail_at_every_call(enum pair_kind kind, bool in_first) {
    for (int64_t n = 0;; n++) {
        struct pair pair;
        ss_log *log;
        pair_open(&pair, kind, 30);
        pair.a.array.fail_at = in_first ? n : INT64_MAX;
        pair.b.array.fail_at = in_first ? INT64_MAX : n;
        int status = ss_log_open(pair.index, pair.data, SS_INIT, &log);
        bool reached = has_failed(&pair);
        pair.a.array.fail_at = pair.b.array.fail_at = -1;
        CHECK((status == SS_OK) == !reached);
        if (status != SS_OK) log = open_log(&pair, SS_INIT);
        CHECK_EQ(ss_log_append(log, NULL, 0), 0);
        ss_log_free(log);
        pair_close(&pair);
        if (!reached) break;
    }
}

static void an_append_that_cannot_grow_changes_nothing(enum pair_kind kind) {
    for (uint64_t limit = 6; limit < 10; limit++) {
        struct pair pair;
        pair_open(&pair, kind, limit);
        ss_log *log = open_log(&pair, SS_INIT);
        int status = SS_OK;
        if (limit % 2 == 0) fill(log);
        while (status == SS_OK) {
            struct images before = images_of(&pair);
            uint64_t changes = ss_log_changes(log);
            status = change(log, limit % 2);
            if (status != SS_OK)
                CHECK(images_hold(&before, &pair));
            else
                CHECK(ss_log_changes(log) != changes);
            images_free(&before);
        }
        CHECK_EQ(status, SS_OUT_OF_MEMORY);
        CHECK_EQ(ss_log_check(log, NULL, NULL), SS_OK);
        ss_log_free(log);
        pair_close(&pair);
    }
}

/* The data memory grows, then the index memory cannot: what was added to the data goes away again. */
static void the_growth_of_one_memory_is_taken_back_if_the_other_fails(void) {
    static uint64_t ends[32763];
    static const uint8_t data[100000];
    struct pair pair;
    pair_open(&pair, ONE_FLAT, 30);
    ss_log *log = open_log(&pair, SS_INIT);
    CHECK_EQ(ss_log_extend(log, data, ends, COUNT(ends)), SS_OK);
    CHECK_EQ(ss_access_size(pair.index), 4);
    struct images before = images_of(&pair);
    CHECK_EQ(ss_log_append(log, data, sizeof data), SS_ASK);
    CHECK_EQ(ss_last_status(), SS_OUT_OF_MEMORY);
    CHECK(images_hold(&before, &pair));
    images_free(&before);
    ss_log_free(log);
    pair_close(&pair);
}

static void opening_that_cannot_grow_one_memory_leaves_the_other(void) {
    struct pair pair;
    ss_log *log;
    ss_memory *none;
    pair_open(&pair, TWO_FLATS, 10);
    CHECK_EQ(ss_memory_new_restricted(pair.data, 0, 0, &none), SS_OK);
    CHECK_EQ(ss_log_open(pair.index, none, SS_INIT, &log), SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_access_size(pair.index), 0);
    ss_memory_release(none);
    ss_log_free(open_log(&pair, SS_INIT));
    pair_close(&pair);
}

static int refuse_commit(void *self, int status) {
    (void)self;
    return status < 0 ? status : ss_fail(SS_COMMIT_UNKNOWN, "commit", 0, 0, 0);
}

/* The data memory commits first; if it cannot, the index does not count what may not be there. */
static void the_index_follows_the_commit_of_the_data(void) {
    static const ss_storage_ops refusing = {.end = refuse_commit};
    struct pair pair;
    pair_open(&pair, TWO_FLATS, 10);
    ss_log *log = open_log(&pair, SS_INIT);
    struct image before = image_of(pair.index);
    pair.data->root->storage_ops = &refusing;
    CHECK_EQ(ss_log_append(log, (const uint8_t *)"abc", 3), SS_ASK);
    CHECK_EQ(ss_last_status(), SS_COMMIT_UNKNOWN);
    pair.data->root->storage_ops = NULL;
    CHECK(image_holds(&before, pair.index));
    CHECK_EQ(ss_log_append(log, (const uint8_t *)"de", 2), 0);
    image_free(&before);
    ss_log_free(log);
    pair_close(&pair);
}

/* Both memories of a manager, and only one of them is the one that the lock is taken by. */
static void a_rollback_is_seen_by_both_memories(void) {
    static const uint8_t data[100000];
    struct pair pair;
    uint64_t old;
    pair_open(&pair, ONE_MANAGER, 20);
    ss_log *log = open_log(&pair, SS_INIT);
    CHECK_EQ(ss_enter_write(pair.data), SS_OK);
    CHECK_EQ(ss_memory_grow(pair.data, 5, &old), SS_OK);
    CHECK_EQ(ss_leave_write(pair.data, SS_CALLBACK), SS_CALLBACK);
    CHECK_EQ(ss_log_append(log, data, sizeof data), 0);
    CHECK_EQ(ss_access_size(pair.data), 2);
    CHECK_EQ(ss_access_size(pair.a.root), 4);
    CHECK_EQ(ss_access_grow(pair.data, 1), 2);
    CHECK_EQ(ss_manager_check(pair.a.manager, NULL, NULL), SS_OK);
    CHECK_EQ(ss_enter_write(pair.data), SS_OK);
    CHECK_EQ(ss_memory_grow(pair.data, 5, &old), SS_OK);
    CHECK_EQ(ss_leave_write(pair.data, SS_CALLBACK), SS_CALLBACK);
    CHECK_EQ(ss_log_get(log, 0), sizeof data);
    ss_log_free(log);
    pair_close(&pair);
}

/* Where both memories of a manager need a bucket, the data memory gets the first. */
static void the_data_memory_grows_first(void) {
    static uint64_t ends[8187];
    static const uint8_t data[100000];
    struct pair pair;
    uint8_t owners[4];
    pair_open(&pair, ONE_MANAGER, 20);
    ss_log *log = open_log(&pair, SS_INIT);
    CHECK_EQ(ss_log_extend(log, data, ends, COUNT(ends)), SS_OK);
    CHECK_EQ(ss_log_append(log, data, 70000), COUNT(ends));
    CHECK_EQ(ss_access_read(pair.a.root, 2080, owners, sizeof owners), SS_OK);
    CHECK(memcmp(owners, "\3\x9\x9\3", 4) == 0);
    ss_log_free(log);
    pair_close(&pair);
}

/* ---- damage ---- */

/* The last count, and the last end, that the memories can hold, and one more. */
static void what_ends_with_the_memory_is_still_inside(void) {
    struct pair pair;
    uint64_t count = (65536 - 40) / 8, last = 65536 - 32;
    pair_open(&pair, TWO_FLATS, 20);
    ss_log *log = open_log(&pair, SS_INIT);
    CHECK_EQ(ss_access_write(pair.index, 32, &count, 8), SS_OK);
    CHECK_EQ(ss_log_length(log), count);
    CHECK_EQ(ss_access_write(pair.index, 65528, &last, 8), SS_OK);
    CHECK_EQ(ss_log_get(log, count - 1), last);
    last++;
    CHECK_EQ(ss_access_write(pair.index, 65528, &last, 8), SS_OK);
    CHECK_EQ(ss_log_get(log, count - 1), SS_CORRUPT);
    CHECK_EQ(ss_last_failure()->address, 65528);
    count++;
    CHECK_EQ(ss_access_write(pair.index, 32, &count, 8), SS_OK);
    CHECK_EQ(ss_log_length(log), SS_CORRUPT);
    CHECK_EQ(ss_last_failure()->limit, count - 1);
    ss_log_free(log);
    pair_close(&pair);
}

static void count_violation(void *self, const struct ss_failure *violation) {
    CHECK(violation->status < 0 && violation->rule != NULL);
    ++*(int *)self;
}

static void use_all(ss_log *log) {
    uint64_t ends[10];
    int64_t length = ss_log_length(log);
    for (uint64_t i = 0; i < 7; i++) (void)ss_log_get(log, i);
    if (length > 0) (void)ss_log_get(log, (uint64_t)length - 1);
    (void)ss_log_export(log, 0, 5, SS_ANY_LENGTH, ends);
    (void)ss_log_append(log, (const uint8_t *)"abc", 3);
    (void)ss_log_size_bytes(log);
    (void)ss_log_check(log, NULL, NULL);
}

static void damage_is_an_error_or_harmless(enum pair_kind kind) {
    struct pair pair;
    pair_open(&pair, kind, 20);
    ss_log *log = open_log(&pair, SS_INIT), *other;
    for (int i = 0; i < 6; i++) CHECK_EQ(ss_log_append(log, (const uint8_t *)"some bytes", (uint64_t)i + 3), i);
    struct image index = image_of(pair.index), data = image_of(pair.data);
    for (uint64_t bit = 0; bit < 8 * (90 + 4); bit++) {
        bool in_data = bit >= 8 * 90;
        uint64_t offset = in_data ? bit / 8 - 90 : bit / 8;
        ss_memory *memory = in_data ? pair.data : pair.index;
        uint8_t damaged = (uint8_t)((in_data ? data : index).bytes[offset] ^ (1u << bit % 8));
        CHECK_EQ(ss_access_write(memory, offset, &damaged, 1), SS_OK);
        int status = ss_log_check(log, NULL, NULL), violations = 0;
        CHECK_EQ(ss_log_check(log, count_violation, &violations), status == SS_OK ? SS_OK : SS_CORRUPT);
        CHECK((violations > 0) == (status != SS_OK));
        if (offset < 4) CHECK(status == SS_BAD_MAGIC || status == SS_BAD_VERSION);
        use_all(log);
        ss_log_free(log);
        if (ss_log_open(pair.index, pair.data, SS_LOAD, &other) == SS_OK) {
            use_all(other);
            ss_log_free(other);
        }
        image_restore(&index, pair.index);
        image_restore(&data, pair.data);
        log = open_log(&pair, SS_LOAD);
    }
    image_free(&index);
    image_free(&data);
    ss_log_free(log);
    pair_close(&pair);
}

static void each_rule_is_named(void) {
    struct pair pair;
    int violations = 0;
    pair_open(&pair, TWO_FLATS, 20);
    ss_log *log = open_log(&pair, SS_INIT);
    for (uint64_t i = 0; i < 6; i++) CHECK_EQ(ss_log_append(log, (const uint8_t *)"some bytes", 10), i);
    CHECK_EQ(ss_access_write(pair.index, 40 + 8 * 2, "\1", 1), SS_OK);
    CHECK_EQ(ss_access_write(pair.index, 40 + 8 * 4 + 2, "\1", 1), SS_OK);
    CHECK_EQ(ss_log_check(log, count_violation, &violations), SS_CORRUPT);
    CHECK_EQ(violations, 3);
    CHECK_EQ(ss_last_failure()->address, 40 + 8 * 2);
    CHECK_EQ(ss_last_failure()->number, 1);
    CHECK_EQ(ss_last_failure()->limit, 20);
    CHECK_EQ(ss_log_get(log, 2), SS_CORRUPT);
    CHECK_EQ(ss_log_get(log, 1), 10);
    ss_log_free(log);
    pair_close(&pair);
}

/* ---- life, threads ---- */

static void a_log_gives_its_memories_up(enum pair_kind kind) {
    struct pair pair;
    struct ss_usage usage;
    ss_log *other;
    pair_open(&pair, kind, 20);
    ss_log *log = open_log(&pair, SS_INIT);
    CHECK_EQ(ss_log_append(log, (const uint8_t *)"abc", 3), 0);
    CHECK_EQ(ss_log_usage(log, &usage), SS_OK);
    CHECK(usage.live == 48 + 35 && usage.allocated == usage.live && usage.reserved >= 2 * SS_PAGE_SIZE);
    CHECK_EQ(ss_log_open(pair.index, pair.data, SS_INIT, &other), SS_IN_USE);
    CHECK_EQ(ss_log_detach(log), SS_OK);
    CHECK_EQ(ss_log_detach(log), SS_CLOSED);
    CHECK_EQ(ss_log_get(log, 0), SS_CLOSED);
    CHECK_EQ(ss_log_clear(log), SS_CLOSED);
    CHECK_EQ(ss_log_append(log, NULL, 0), SS_ASK);
    CHECK_EQ(ss_last_status(), SS_CLOSED);
    other = open_log(&pair, SS_LOAD);
    ss_log_free(log);
    CHECK_EQ(ss_memory_close(pair.data), SS_OK);
    CHECK_EQ(ss_log_get(other, 0), SS_CLOSED);
    CHECK_EQ(ss_log_changes(other), SS_ASK);
    ss_log_free(other);
    ss_log_free(NULL);
    pair_close(&pair);
}

#define APPENDS 500

static void *append_many(void *self) {
    for (int i = 0; i < APPENDS; i++) {
        CHECK(ss_log_append(self, (const uint8_t *)"abc", 3) < 10 * APPENDS);
        CHECK(ss_log_get(self, 0) == 3);
    }
    return NULL;
}

/* Two logs whose memories lie crosswise on two roots: no order of the locks may leave two threads waiting. */
static void logs_on_the_same_roots_do_not_lock_each_other_out(void) {
    struct place a, b;
    ss_log *logs[2];
    pthread_t threads[4];
    place_open(&a, BUCKETS, 200);
    place_open(&b, BUCKETS, 200);
    CHECK_EQ(ss_log_open(a.memory, b.memory, SS_INIT, &logs[0]), SS_OK);
    CHECK_EQ(ss_log_open(b.other, a.other, SS_INIT, &logs[1]), SS_OK);
    for (int i = 0; i < 4; i++) CHECK_EQ(pthread_create(&threads[i], NULL, append_many, logs[i % 2]), 0);
    for (int i = 0; i < 4; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(ss_log_length(logs[i]), 2 * APPENDS);
        CHECK_EQ(ss_log_check(logs[i], NULL, NULL), SS_OK);
        ss_log_free(logs[i]);
    }
    place_close(&a);
    place_close(&b);
}

int main(void) {
    a_log_lies_where_the_format_says();
    modes_decide_what_is_made();
    a_read_only_memory_can_be_read();
    for (int kind = 0; kind < PAIR_KINDS; kind++) {
        a_log_is_a_list(kind);
        bulk_writes_what_the_loop_writes(kind);
        an_append_that_cannot_grow_changes_nothing(kind);
        damage_is_an_error_or_harmless(kind);
        a_log_gives_its_memories_up(kind);
    }
    for (int which = 0; which < CHANGES; which++) {
        a_change_may_fail_at_every_call(FLAT_AND_FOREIGN, which, false);
        a_change_may_fail_at_every_call(MANAGER_AND_FOREIGN, which, false);
        a_change_may_fail_at_every_call(TWO_FOREIGN, which, false);
        a_change_may_fail_at_every_call(TWO_FOREIGN, which, true);
        a_change_may_fail_at_every_call(FOREIGN_MANAGER, which, true);
    }
    opening_may_fail_at_every_call(TWO_FOREIGN, true);
    opening_may_fail_at_every_call(TWO_FOREIGN, false);
    opening_may_fail_at_every_call(FOREIGN_MANAGER, true);
    opening_may_fail_at_every_call(MANAGER_AND_FOREIGN, false);
    the_growth_of_one_memory_is_taken_back_if_the_other_fails();
    opening_that_cannot_grow_one_memory_leaves_the_other();
    the_index_follows_the_commit_of_the_data();
    a_rollback_is_seen_by_both_memories();
    the_data_memory_grows_first();
    what_ends_with_the_memory_is_still_inside();
    each_rule_is_named();
    logs_on_the_same_roots_do_not_lock_each_other_out();
    return check_summary();
}
