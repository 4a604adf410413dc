/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "core/result.h"
#include "structures/vec.h"
#include "support/check.h"
#include "support/memories.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define MAX_SIZE 70000
#define MAX_LENGTH 3000

/* The element types that the tests go through: every size field, sizes that divide a page and sizes that do not. */
struct type {
    uint32_t max_size;
    int fixed;
};
static const struct type types[] = {{8, 1}, {4, 1}, {2, 1}, {1, 1}, {20, 1}, {0, 1}, {0, 0}, {40, 0}, {300, 0}, {MAX_SIZE, 0}};

static ss_vec *open_vec(ss_memory *memory, int mode, struct type type) {
    ss_vec *vec;
    CHECK_EQ(ss_vec_open(memory, mode, type.max_size, type.fixed, &vec), SS_OK);
    return vec;
}

static uint64_t size_of(struct type type) {
    return type.fixed ? type.max_size : random_below((uint64_t)type.max_size + 1);
}

/* ---- a model: the elements, each in a buffer of its own size ---- */

struct model {
    uint8_t *bytes[MAX_LENGTH];
    uint64_t size[MAX_LENGTH];
    uint64_t length;
};

static void model_set(struct model *model, uint64_t index, const uint8_t *bytes, uint64_t size) {
    free(model->bytes[index]);
    model->bytes[index] = malloc(size + 1);
    memcpy(model->bytes[index], bytes, size);
    model->size[index] = size;
    if (index >= model->length) model->length = index + 1;
}

static void model_free(struct model *model) {
    for (uint64_t i = 0; i < MAX_LENGTH; i++) free(model->bytes[i]);
    memset(model, 0, sizeof *model);
}

static bool answers(int64_t result, const struct model *model, uint64_t index) {
    if (index >= model->length) return result == SS_NO_VALUE;
    return result == (int64_t)model->size[index] && memcmp(ss_result(), model->bytes[index], model->size[index]) == 0;
}

static void compare_all(ss_vec *vec, const struct model *model) {
    static uint64_t ends[MAX_LENGTH];
    CHECK_EQ(ss_vec_length(vec), model->length);
    CHECK_EQ(ss_vec_check(vec, NULL, NULL), SS_OK);
    for (uint64_t i = 0; i <= model->length; i++) CHECK(answers(ss_vec_get(vec, i), model, i));
    int64_t total = ss_vec_export_var(vec, 0, model->length, SS_ANY_LENGTH, ends);
    CHECK(total >= 0);
    uint64_t start = 0;
    for (uint64_t i = 0; i < model->length; i++) {
        bool same = ends[i] - start == model->size[i] && memcmp(ss_result() + start, model->bytes[i], model->size[i]) == 0;
        CHECK(same);
        start = ends[i];
    }
    CHECK_EQ(total, start);
}

/* One random operation on both. */
static void step(ss_vec *vec, struct model *model, struct type type) {
    static uint8_t bytes[MAX_SIZE];
    uint64_t size = size_of(type), index = random_below(model->length + 1);
    random_bytes(bytes, size < 200 ? size : 200);
    switch (random_below(8)) {
        case 0:
            CHECK(answers(ss_vec_pop(vec), model, model->length - 1));
            if (model->length > 0) model->length--;
            break;
        case 1:
        case 2:
            CHECK_EQ(ss_vec_set(vec, index, bytes, size), index < model->length ? SS_OK : SS_OUT_OF_BOUNDS);
            if (index < model->length) model_set(model, index, bytes, size);
            break;
        case 3:
            CHECK(answers(ss_vec_get(vec, index), model, index));
            break;
        default:
            CHECK_EQ(ss_vec_push(vec, bytes, size), SS_OK);
            model_set(model, model->length, bytes, size);
    }
}

static void a_vec_is_a_list(enum kind kind, struct type type) {
    static struct model model;
    struct place place;
    place_open(&place, kind, 4000);
    ss_vec *vec = open_vec(place.memory, SS_INIT, type);
    int steps = type.max_size == MAX_SIZE ? 60 : 600;
    for (int i = 0; i < steps; i++) {
        step(vec, &model, type);
        if (random_below(100) == 0) {
            ss_vec_free(vec);
            vec = open_vec(place.memory, i % 2 == 0 ? SS_INIT : SS_LOAD, type);
        }
        if (random_below(200) == 0) {
            CHECK_EQ(ss_vec_clear(vec), SS_OK);
            model.length = 0;
        }
        if (random_below(50) == 0) place_interleave(&place);
    }
    compare_all(vec, &model);
    model_free(&model);
    ss_vec_free(vec);
    place_close(&place);
}

/* ---- format ---- */

static void a_new_vec_writes_its_header_only(void) {
    struct place place;
    place_open(&place, FLAT, 10);
    CHECK_EQ(ss_access_grow(place.memory, 1), 0);
    CHECK_EQ(ss_access_write(place.memory, 0, "????????????????????", 20), SS_OK);
    ss_vec_free(open_vec(place.memory, SS_NEW, (struct type){0x01020304, 0}));
    struct image image = image_of(place.memory);
    CHECK(memcmp(image.bytes, "SVC\x01\0\0\0\0\0\0\0\0\x04\x03\x02\x01\0???", 20) == 0);
    CHECK_EQ(image.pages, 1);
    image_free(&image);
    place_close(&place);
}

static void elements_lie_where_the_format_says(void) {
    struct place place;
    place_open(&place, FLAT, 10);
    ss_vec *vec = open_vec(place.memory, SS_INIT, (struct type){300, 0});
    CHECK_EQ(ss_vec_push(vec, (const uint8_t *)"abc", 3), SS_OK);
    CHECK_EQ(ss_vec_push(vec, (const uint8_t *)"d", 1), SS_OK);
    CHECK_EQ(ss_vec_set(vec, 0, (const uint8_t *)"x", 1), SS_OK);
    struct image image = image_of(place.memory);
    CHECK(memcmp(image.bytes + 64, "\x01\0xbc", 5) == 0);
    CHECK(memcmp(image.bytes + 64 + 302, "\x01\0d", 3) == 0);
    image_free(&image);
    ss_vec_free(vec);
    place_close(&place);
}

/* The size in front of an element has 1, 2 or 4 bytes as the largest one has up to 255, up to 65,535, or more. */
static void the_size_field_follows_the_max_size(void) {
    static const struct {
        uint32_t max_size, size_bytes;
    } cases[] = {{255, 1}, {256, 2}, {65535, 2}, {65536, 4}};
    for (uint64_t i = 0; i < COUNT(cases); i++) {
        struct place place;
        uint8_t two[5];
        uint64_t second = 64 + cases[i].max_size + cases[i].size_bytes;
        place_open(&place, FLAT, 10);
        ss_vec *vec = open_vec(place.memory, SS_INIT, (struct type){cases[i].max_size, 0});
        CHECK_EQ(ss_vec_push(vec, (const uint8_t *)"ab", 2), SS_OK);
        CHECK_EQ(ss_vec_push(vec, (const uint8_t *)"ab", 2), SS_OK);
        CHECK_EQ(ss_access_read(place.memory, second - 1, two, sizeof two), SS_OK);
        CHECK(two[0] == 0 && two[1] == 2 && (cases[i].size_bytes == 4 || two[1 + cases[i].size_bytes] == 'a'));
        ss_vec_free(vec);
        place_close(&place);
    }
}

static void put_length(struct place *place, uint64_t length) {
    CHECK_EQ(ss_access_write(place->memory, 4, &length, 8), SS_OK);
}

/* The last length, and the last element, that the memory can hold, and one more. */
static void what_ends_with_the_memory_is_still_inside(void) {
    struct place place;
    place_open(&place, FLAT, 10);
    ss_vec *vec = open_vec(place.memory, SS_INIT, (struct type){8, 1});
    put_length(&place, (65536 - 64) / 8);
    CHECK_EQ(ss_vec_length(vec), 8184);
    CHECK_EQ(ss_vec_get_u64(vec, 8183), 0);
    put_length(&place, 8185);
    CHECK_EQ(ss_vec_length(vec), SS_CORRUPT);
    CHECK_EQ(ss_vec_push_u64(vec, 0), SS_CORRUPT);
    CHECK_EQ(ss_last_failure()->limit, 8184);
    ss_vec_free(vec);
    vec = open_vec(place.memory, SS_NEW, (struct type){MAX_SIZE, 0});
    CHECK_EQ(ss_vec_push(vec, (const uint8_t *)"", 1), SS_OK);
    const uint32_t fits = 65536 - 64 - 4, falls_out = fits + 1;
    CHECK_EQ(ss_access_write(place.memory, 64, &fits, 4), SS_OK);
    CHECK_EQ(ss_vec_get(vec, 0), fits);
    CHECK_EQ(ss_access_write(place.memory, 64, &falls_out, 4), SS_OK);
    CHECK_EQ(ss_vec_get(vec, 0), SS_CORRUPT);
    put_length(&place, 2);
    CHECK_EQ(ss_vec_length(vec), SS_CORRUPT);
    ss_vec_free(vec);
    vec = open_vec(place.memory, SS_NEW, (struct type){0, 1});
    put_length(&place, INT64_MAX);
    CHECK_EQ(ss_vec_length(vec), INT64_MAX);
    CHECK_EQ(ss_vec_push(vec, NULL, 0), SS_OUT_OF_MEMORY);
    put_length(&place, (uint64_t)INT64_MAX + 1);
    CHECK_EQ(ss_vec_length(vec), SS_CORRUPT);
    CHECK_EQ(ss_access_write(place.memory, 16, "\2", 1), SS_OK);
    CHECK_EQ(ss_vec_length(vec), SS_CORRUPT);
    CHECK_EQ(ss_last_failure()->address, 16);
    ss_vec_free(vec);
    place_close(&place);
}

/* The memory ends where the last element does, so a longer one in the same slot must grow it. */
static void a_longer_element_in_the_last_slot_grows_the_memory(enum kind kind) {
    struct place place;
    static uint8_t bytes[60000];
    place_open(&place, kind, 20);
    ss_vec *vec = open_vec(place.memory, SS_INIT, (struct type){sizeof bytes, 0});
    CHECK_EQ(ss_vec_push(vec, bytes, 1), SS_OK);
    CHECK_EQ(ss_vec_push(vec, bytes, 100), SS_OK);
    CHECK_EQ(ss_access_size(place.memory), 1);
    CHECK_EQ(ss_vec_set(vec, 1, bytes, sizeof bytes), SS_OK);
    CHECK_EQ(ss_access_size(place.memory), 2);
    ss_vec_free(vec);
    place_close(&place);
}

static void other_memories_are_refused(void) {
    struct place place;
    ss_vec *vec;
    place_open(&place, FLAT, 10);
    CHECK_EQ(ss_vec_open(place.memory, SS_LOAD, 8, 1, &vec), SS_BAD_MAGIC);
    CHECK_EQ(ss_access_size(place.memory), 0);
    ss_vec_free(open_vec(place.memory, SS_INIT, (struct type){8, 1}));
    CHECK_EQ(ss_vec_open(place.memory, SS_INIT, 4, 1, &vec), SS_INCOMPATIBLE);
    CHECK_EQ(ss_last_failure()->number, 8);
    CHECK_EQ(ss_last_failure()->limit, 4);
    CHECK_EQ(ss_vec_open(place.memory, SS_INIT, 8, 0, &vec), SS_INCOMPATIBLE);
    CHECK_EQ(ss_access_write(place.memory, 3, "\2", 1), SS_OK);
    CHECK_EQ(ss_vec_open(place.memory, SS_INIT, 8, 1, &vec), SS_BAD_VERSION);
    CHECK_EQ(ss_access_write(place.memory, 0, "SMH\1", 4), SS_OK);
    CHECK_EQ(ss_vec_open(place.memory, SS_INIT, 8, 1, &vec), SS_BAD_MAGIC);
    CHECK(vec == NULL);
    CHECK_EQ(ss_vec_open(place.memory, SS_NEW, 8, 1, &vec), SS_OK);
    ss_vec_free(vec);
    place_close(&place);
}

static void values_outside_the_bound_write_nothing(void) {
    struct place place;
    place_open(&place, FLAT, 10);
    ss_vec *vec = open_vec(place.memory, SS_INIT, (struct type){4, 1});
    struct image before = image_of(place.memory);
    const uint64_t ends[] = {4, 9}, falling[] = {4, 3};
    CHECK_EQ(ss_vec_push(vec, (const uint8_t *)"12345", 5), SS_BOUND_EXCEEDED);
    CHECK_EQ(ss_vec_push(vec, (const uint8_t *)"123", 3), SS_BOUND_EXCEEDED);
    CHECK_EQ(ss_vec_push_u64(vec, UINT64_C(1) << 32), SS_BOUND_EXCEEDED);
    CHECK_EQ(ss_vec_extend_var(vec, (const uint8_t *)"123456789", ends, 2), SS_BOUND_EXCEEDED);
    CHECK_EQ(ss_vec_extend_var(vec, (const uint8_t *)"123456789", falling, 2), SS_ARGUMENT);
    CHECK_EQ(ss_vec_extend(vec, NULL, UINT64_MAX / 4), SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_vec_extend(vec, NULL, UINT64_MAX), SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_vec_extend_ints(vec, NULL, UINT64_C(1) << 62, 0), SS_OUT_OF_MEMORY);
    CHECK(image_holds(&before, place.memory));
    CHECK_EQ(ss_vec_push_u64(vec, UINT32_MAX), SS_OK);
    CHECK_EQ(ss_vec_set_u64(vec, 0, UINT64_C(1) << 32), SS_BOUND_EXCEEDED);
    CHECK_EQ(ss_vec_get_u64(vec, 0), UINT32_MAX);
    image_free(&before);
    ss_vec_free(vec);
    place_close(&place);
}

/* ---- integers and bulk ---- */

static void integers_are_big_endian_elements(enum kind kind, uint32_t size) {
    struct place place;
    uint64_t most = UINT64_MAX >> (64 - 8 * size);
    uint8_t bytes[8];
    place_open(&place, kind, 100);
    ss_vec *vec = open_vec(place.memory, SS_INIT, (struct type){size, 1});
    CHECK_EQ(ss_vec_pop_u64(vec), SS_NO_NUMBER);
    for (uint64_t i = 0; i < 200; i++) {
        uint64_t value = random_number() & most;
        CHECK_EQ(ss_vec_push_u64(vec, value), SS_OK);
        CHECK_EQ(ss_vec_get_u64(vec, i), value);
        ss_put_be(bytes, size, value);
        CHECK(ss_vec_get(vec, i) == size && memcmp(ss_result(), bytes, size) == 0);
        CHECK_EQ(ss_vec_set_u64(vec, i, value ^ 1), SS_OK);
        CHECK_EQ(ss_vec_get_u64(vec, i), value ^ 1);
    }
    CHECK_EQ(ss_vec_get_u64(vec, 200), SS_NO_NUMBER);
    CHECK_EQ(ss_vec_set_u64(vec, 200, 0), SS_OUT_OF_BOUNDS);
    uint64_t last = ss_vec_get_u64(vec, 199);
    CHECK_EQ(ss_vec_pop_u64(vec), last);
    CHECK_EQ(ss_vec_length(vec), 199);
    ss_vec_free(vec);
    place_close(&place);
}

/* The two numbers that say "no number" are numbers too. */
static void every_number_can_be_an_answer(void) {
    struct place place;
    place_open(&place, FLAT, 100);
    ss_vec *vec = open_vec(place.memory, SS_INIT, (struct type){8, 1});
    const uint64_t odd[] = {SS_ASK, SS_NO_NUMBER};
    for (uint64_t i = 0; i < 2; i++) {
        CHECK_EQ(ss_vec_push_u64(vec, odd[i]), SS_OK);
        CHECK_EQ(ss_vec_get_u64(vec, i), SS_ASK);
        CHECK_EQ(ss_last_status(), SS_OK);
        CHECK_EQ(ss_last_number(), odd[i]);
    }
    ss_vec_free(vec);
    place_close(&place);
}

static void the_integer_lane_needs_integers(void) {
    const struct type others[] = {{3, 1}, {8, 0}, {16, 1}, {0, 1}};
    uint64_t native[1] = {0};
    for (uint64_t i = 0; i < COUNT(others); i++) {
        struct place place;
        place_open(&place, FLAT, 10);
        ss_vec *vec = open_vec(place.memory, SS_INIT, others[i]);
        CHECK_EQ(ss_vec_push_u64(vec, 0), SS_INCOMPATIBLE);
        CHECK_EQ(ss_vec_get_u64(vec, 0), SS_ASK);
        CHECK_EQ(ss_last_status(), SS_INCOMPATIBLE);
        CHECK_EQ(ss_vec_pop_u64(vec), SS_ASK);
        CHECK_EQ(ss_vec_set_u64(vec, 0, 0), SS_INCOMPATIBLE);
        CHECK_EQ(ss_vec_extend_ints(vec, native, 1, 0), SS_INCOMPATIBLE);
        CHECK_EQ(ss_vec_export_ints(vec, 0, 0, SS_ANY_LENGTH, native, 0), SS_INCOMPATIBLE);
        CHECK_EQ(ss_vec_export(vec, 0, 0, SS_ANY_LENGTH, NULL), others[i].fixed ? SS_OK : SS_INCOMPATIBLE);
        CHECK_EQ(ss_vec_length(vec), 0);
        ss_vec_free(vec);
        place_close(&place);
    }
}

#define MANY 40000

/* Arrays of native integers, at odd addresses, in pieces, with and without bias; against the loop, byte for byte. */
static void bulk_integers_write_what_the_loop_writes(enum kind kind, uint32_t size, uint64_t bias) {
    static uint8_t native[8 * MANY + 1], back[8 * MANY + 1];
    struct place bulk, loop;
    uint64_t done = 0;
    place_open(&bulk, kind, 100);
    place_open(&loop, kind, 100);
    ss_vec *vec = open_vec(bulk.memory, SS_INIT, (struct type){size, 1}), *other = open_vec(loop.memory, SS_INIT, (struct type){size, 1});
    random_bytes(native, sizeof native);
    while (done < MANY) {
        uint64_t count = random_below(MANY - done + 1);
        CHECK_EQ(ss_vec_extend_ints(vec, native + 1 + done * size, count, bias), SS_OK);
        for (uint64_t i = 0; i < count; i++) {
            uint64_t value = 0;
            memcpy(&value, native + 1 + (done + i) * size, size);
            (void)ss_vec_push_u64(other, (value ^ bias) & UINT64_MAX >> (64 - 8 * size));
        }
        done += count;
        place_interleave(&bulk);
        place_interleave(&loop);
    }
    struct image a = image_of(bulk.root), b = image_of(loop.root);
    CHECK(image_equal(&a, &b));
    CHECK_EQ(ss_vec_export_ints(vec, 0, MANY, SS_ANY_LENGTH, back + 1, bias), SS_OK);
    CHECK(memcmp(native + 1, back + 1, (uint64_t)size * MANY) == 0);
    CHECK_EQ(ss_vec_export_ints(vec, 77, 20077, SS_ANY_LENGTH, back, bias), SS_OK);
    CHECK(memcmp(native + 1 + (uint64_t)size * 77, back, (uint64_t)size * 20000) == 0);
    CHECK_EQ(ss_vec_export_ints(vec, 1, MANY + 1, SS_ANY_LENGTH, back, bias), SS_OUT_OF_BOUNDS);
    CHECK_EQ(ss_vec_export_ints(vec, 2, 1, SS_ANY_LENGTH, back, bias), SS_OUT_OF_BOUNDS);
    image_free(&a);
    image_free(&b);
    ss_vec_free(vec);
    ss_vec_free(other);
    place_close(&bulk);
    place_close(&loop);
}

static void bulk_bytes_write_what_the_loop_writes(enum kind kind, struct type type) {
    static uint8_t data[10 * (uint64_t)MAX_SIZE], back[sizeof data];
    static uint64_t ends[200];
    struct place bulk, loop;
    place_open(&bulk, kind, 2000);
    place_open(&loop, kind, 2000);
    ss_vec *vec = open_vec(bulk.memory, SS_INIT, type), *other = open_vec(loop.memory, SS_INIT, type);
    random_bytes(data, 10000);
    for (int round = 0; round < 5; round++) {
        uint64_t count = random_below(type.max_size == MAX_SIZE ? 10 : COUNT(ends)), end = 0;
        for (uint64_t i = 0; i < count; i++) {
            uint64_t size = size_of(type);
            CHECK_EQ(ss_vec_push(other, data + end, size), SS_OK);
            ends[i] = end += size;
        }
        uint64_t before = (uint64_t)ss_vec_length(vec);
        CHECK_EQ(type.fixed && round % 2 == 0 ? ss_vec_extend(vec, data, count) : ss_vec_extend_var(vec, data, ends, count), SS_OK);
        if (type.fixed) {
            CHECK_EQ(ss_vec_export(vec, before, before + count, SS_ANY_LENGTH, back), SS_OK);
            CHECK(memcmp(data, back, end) == 0);
        }
        place_interleave(&bulk);
        place_interleave(&loop);
    }
    struct image a = image_of(bulk.root), b = image_of(loop.root);
    CHECK(image_equal(&a, &b));
    image_free(&a);
    image_free(&b);
    ss_vec_free(vec);
    ss_vec_free(other);
    place_close(&bulk);
    place_close(&loop);
}

/* ---- failures ---- */

/* Every operation that changes something, on a vec of 40-byte blobs that holds a few. */
static int change(ss_vec *vec, int which) {
    static const uint8_t data[40 * 4000];
    static uint64_t ends[4000];
    for (uint64_t i = 0; i < COUNT(ends); i++) ends[i] = (i + 1) * 40;
    switch (which) {
        case 0:
            return ss_vec_push(vec, data, 40);
        case 1:
            return (int)ss_vec_pop(vec);
        case 2:
            return ss_vec_set(vec, 1, data, 40);
        case 3:
            return ss_vec_clear(vec);
        default:
            return ss_vec_extend_var(vec, data, ends, COUNT(ends));
    }
}
#define CHANGES 5

static void fill(ss_vec *vec) {
    for (int i = 0; i < 5; i++) CHECK_EQ(ss_vec_push(vec, (const uint8_t *)"one of the few", 14), SS_OK);
}

static void a_change_on_a_foreign_memory_may_fail_at_every_call(enum kind kind, int which) {
    for (int64_t n = 0;; n++) {
        struct place place;
        place_open(&place, kind, 100);
        ss_vec *vec = open_vec(place.memory, SS_INIT, (struct type){40, 0});
        fill(vec);
        struct image before = image_of(place.root);
        place.array.fail_at = n;
        int status = change(vec, which);
        bool reached = place.array.fail_at < 0;
        place.array.fail_at = -1;
        CHECK((status < 0) == reached);
        if (reached) CHECK(image_holds(&before, place.root));
        image_free(&before);
        CHECK_EQ(ss_vec_check(vec, NULL, NULL), SS_OK);
        if (reached) CHECK_EQ(ss_vec_length(vec), 5);
        ss_vec_free(vec);
        place_close(&place);
        if (!reached || n > 20000) break;
        if (n > 40) n += (int64_t)random_below(500);
    }
}

static void a_change_that_cannot_grow_changes_nothing(enum kind kind) {
    static const uint8_t data[70000];
    for (uint64_t limit = 4; limit < 12; limit++) {
        struct place place;
        place_open(&place, kind, limit);
        ss_vec *vec = open_vec(place.memory, SS_INIT, (struct type){sizeof data, 1});
        int status = SS_OK;
        while (status == SS_OK) {
            struct image before = image_of(place.root);
            CHECK_EQ(ss_vec_extend(vec, data, 1000), SS_OUT_OF_MEMORY);
            CHECK(image_holds(&before, place.root));
            status = ss_vec_push(vec, data, sizeof data);
            if (status != SS_OK) CHECK(image_holds(&before, place.root));
            image_free(&before);
        }
        CHECK_EQ(status, SS_OUT_OF_MEMORY);
        CHECK_EQ(ss_vec_check(vec, NULL, NULL), SS_OK);
        ss_vec_free(vec);
        place_close(&place);
    }
}

/* ---- damage ---- */

static void use_all(ss_vec *vec, struct type type) {
    static uint8_t buffer[1000];
    static uint64_t ends[100];
    uint64_t size = type.fixed ? type.max_size : 1;
    int64_t length = ss_vec_length(vec);
    for (int64_t i = 0; i < length && i < 8; i++) (void)ss_vec_get(vec, (uint64_t)i);
    (void)ss_vec_get(vec, (uint64_t)length - 1);
    (void)ss_vec_export_var(vec, 0, 5, SS_ANY_LENGTH, ends);
    if (type.fixed) (void)ss_vec_export(vec, 0, 5, SS_ANY_LENGTH, buffer);
    (void)ss_vec_set(vec, 2, buffer, size);
    (void)ss_vec_push(vec, buffer, size);
    (void)ss_vec_pop(vec);
    (void)ss_vec_pop(vec);
    (void)ss_vec_check(vec, NULL, NULL);
    (void)ss_vec_push(vec, buffer, size);
}

static void count_violation(void *self, const struct ss_failure *violation) {
    CHECK(violation->status < 0 && violation->rule != NULL);
    ++*(int *)self;
}

/* Every bit of the header and the first slots, at rest and under a live vec. */
static void damage_is_an_error_or_harmless(enum kind kind, struct type type) {
    struct place place;
    static const uint8_t data[1000];
    place_open(&place, kind, 20);
    ss_vec *vec = open_vec(place.memory, SS_INIT, type), *other;
    for (int i = 0; i < 5; i++) CHECK_EQ(ss_vec_push(vec, data, type.fixed ? type.max_size : 3), SS_OK);
    struct image sound = image_of(place.memory);
    for (uint64_t bit = 0; bit < 8 * 90; bit++) {
        uint8_t damaged = (uint8_t)(sound.bytes[bit / 8] ^ (1u << bit % 8));
        CHECK_EQ(ss_access_write(place.memory, bit / 8, &damaged, 1), SS_OK);
        int status = ss_vec_check(vec, NULL, NULL), violations = 0;
        CHECK_EQ(ss_vec_check(vec, count_violation, &violations), status == SS_OK ? SS_OK : SS_CORRUPT);
        CHECK((violations > 0) == (status != SS_OK));
        bool in_header = bit / 8 < 4 || (bit / 8 >= 12 && bit / 8 < 17);
        if (in_header) CHECK(status < 0);
        use_all(vec, type);
        image_restore(&sound, place.memory);
        CHECK_EQ(ss_access_write(place.memory, bit / 8, &damaged, 1), SS_OK);
        ss_vec_free(vec);
        if (ss_vec_open(place.memory, SS_INIT, type.max_size, type.fixed, &other) == SS_OK) {
            use_all(other, type);
            ss_vec_free(other);
        }
        image_restore(&sound, place.memory);
        vec = open_vec(place.memory, SS_LOAD, type);
    }
    image_free(&sound);
    ss_vec_free(vec);
    place_close(&place);
}

static void each_rule_is_named(void) {
    struct place place;
    int violations = 0;
    place_open(&place, FLAT, 10);
    ss_vec *vec = open_vec(place.memory, SS_INIT, (struct type){40, 0});
    fill(vec);
    CHECK_EQ(ss_access_write(place.memory, 64 + 41, "\x29", 1), SS_OK);
    CHECK_EQ(ss_access_write(place.memory, 64 + 3 * 41, "\xFF", 1), SS_OK);
    CHECK_EQ(ss_vec_check(vec, count_violation, &violations), SS_CORRUPT);
    CHECK_EQ(violations, 2);
    CHECK_EQ(ss_last_failure()->address, 64 + 41);
    CHECK_EQ(ss_last_failure()->number, 41);
    CHECK_EQ(ss_last_failure()->limit, 40);
    CHECK_EQ(ss_vec_get(vec, 1), SS_CORRUPT);
    CHECK_EQ(ss_vec_get(vec, 2), 14);
    CHECK_EQ(ss_access_write(place.memory, 4, "\xFF\xFF", 2), SS_OK);
    CHECK_EQ(ss_vec_length(vec), SS_CORRUPT);
    CHECK_EQ(ss_last_failure()->limit, (65536 - 64 - 1) / 41 + 1);
    ss_vec_free(vec);
    place_close(&place);
}

/* ---- life ---- */

static void changes_are_counted(void) {
    struct place place;
    place_open(&place, FLAT, 10);
    ss_vec *vec = open_vec(place.memory, SS_INIT, (struct type){40, 0});
    uint64_t before = ss_vec_changes(vec);
    for (int which = 0; which < CHANGES; which++) {
        fill(vec);
        before = ss_vec_changes(vec);
        CHECK(change(vec, which) >= 0);
        CHECK(ss_vec_changes(vec) != before);
    }
    before = ss_vec_changes(vec);
    CHECK_EQ(ss_vec_get(vec, 0), 14);
    CHECK_EQ(ss_vec_set(vec, 99999, NULL, 0), SS_OUT_OF_BOUNDS);
    CHECK_EQ(ss_vec_extend_var(vec, NULL, NULL, 0), SS_OK);
    CHECK_EQ(ss_vec_changes(vec), before);
    CHECK_EQ(ss_access_write(place.memory, 100, "x", 1), SS_OK);
    CHECK(ss_vec_changes(vec) != before);
    ss_vec_free(vec);
    place_close(&place);
}

static void a_detached_or_closed_vec_answers_closed(void) {
    struct place place;
    place_open(&place, BUCKETS, 10);
    ss_vec *vec = open_vec(place.memory, SS_INIT, (struct type){8, 1});
    CHECK_EQ(ss_vec_detach(vec), SS_OK);
    CHECK_EQ(ss_vec_detach(vec), SS_CLOSED);
    CHECK_EQ(ss_vec_push_u64(vec, 1), SS_CLOSED);
    CHECK_EQ(ss_vec_length(vec), SS_CLOSED);
    ss_vec *second = open_vec(place.memory, SS_INIT, (struct type){8, 1});
    ss_vec_free(vec);
    CHECK_EQ(ss_vec_push_u64(second, 1), SS_OK);
    CHECK_EQ(ss_memory_close(place.memory), SS_OK);
    CHECK_EQ(ss_vec_get(second, 0), SS_CLOSED);
    CHECK_EQ(ss_vec_clear(second), SS_CLOSED);
    ss_vec_free(second);
    ss_vec_free(NULL);
    place_close(&place);
}

static void a_read_only_memory_can_be_read(void) {
    struct place place;
    ss_vec *vec;
    place_open(&place, FLAT, 10);
    place.root->root->read_only = true;
    CHECK_EQ(ss_vec_open(place.memory, SS_INIT, 8, 1, &vec), SS_READ_ONLY);
    place.root->root->read_only = false;
    vec = open_vec(place.memory, SS_INIT, (struct type){8, 1});
    CHECK_EQ(ss_vec_push_u64(vec, 5), SS_OK);
    ss_vec_free(vec);
    place.root->root->read_only = true;
    CHECK_EQ(ss_vec_open(place.memory, SS_NEW, 8, 1, &vec), SS_READ_ONLY);
    vec = open_vec(place.memory, SS_INIT, (struct type){8, 1});
    CHECK_EQ(ss_vec_get_u64(vec, 0), 5);
    CHECK_EQ(ss_vec_push_u64(vec, 5), SS_READ_ONLY);
    ss_vec_free(vec);
    place_close(&place);
}

static void usage_counts_slots(void) {
    struct place place;
    struct ss_usage usage;
    place_open(&place, BUCKETS, 10);
    ss_vec *vec = open_vec(place.memory, SS_INIT, (struct type){40, 0});
    fill(vec);
    CHECK_EQ(ss_vec_usage(vec, &usage), SS_OK);
    CHECK_EQ(usage.live, 64 + 5 * 41);
    CHECK_EQ(usage.allocated, 64 + 5 * 41);
    CHECK_EQ(usage.reserved, SS_PAGE_SIZE);
    ss_vec_free(vec);
    place_close(&place);
}

int main(void) {
    a_new_vec_writes_its_header_only();
    elements_lie_where_the_format_says();
    the_size_field_follows_the_max_size();
    what_ends_with_the_memory_is_still_inside();
    other_memories_are_refused();
    values_outside_the_bound_write_nothing();
    every_number_can_be_an_answer();
    the_integer_lane_needs_integers();
    for (int kind = 0; kind < KINDS; kind++) {
        a_longer_element_in_the_last_slot_grows_the_memory(kind);
        a_change_that_cannot_grow_changes_nothing(kind);
        for (uint64_t i = 0; i < COUNT(types); i++) {
            a_vec_is_a_list(kind, types[i]);
            bulk_bytes_write_what_the_loop_writes(kind, types[i]);
        }
        for (uint32_t size = 1; size <= 8; size *= 2) {
            integers_are_big_endian_elements(kind, size);
            bulk_integers_write_what_the_loop_writes(kind, size, 0);
            bulk_integers_write_what_the_loop_writes(kind, size, UINT64_C(1) << (8 * size - 1));
        }
        damage_is_an_error_or_harmless(kind, (struct type){8, 1});
        damage_is_an_error_or_harmless(kind, (struct type){40, 0});
        damage_is_an_error_or_harmless(kind, (struct type){300, 0});
        damage_is_an_error_or_harmless(kind, (struct type){MAX_SIZE, 0});
        damage_is_an_error_or_harmless(kind, (struct type){0, 1});
    }
    for (int which = 0; which < CHANGES; which++) {
        a_change_on_a_foreign_memory_may_fail_at_every_call(FOREIGN, which);
        a_change_on_a_foreign_memory_may_fail_at_every_call(FOREIGN_BUCKETS, which);
    }
    each_rule_is_named();
    changes_are_counted();
    a_detached_or_closed_vec_answers_closed();
    a_read_only_memory_can_be_read();
    usage_counts_slots();
    return check_summary();
}
