/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged images of maps: a survey of each ends, reads nothing outside, finds what the core's own check finds, and says the same
 * whatever it reads from and however much room it has for a level. So do batches of entries.
 */
#include "memory/cached.h"
#include "structures/survey.h"
#include "support/fuzz.h"

enum { BASES = 3, MOST_NOTES = 1000 };

typedef struct base {
    const map_kind *kind;
    uint8_t *bytes;
    uint64_t size;
} base;

static base bases[MAP_KINDS * BASES];

static void fuzz_begin(void) {
    static uint8_t key_column[KEY_ROOM], value_column[VALUE_ROOM];
    for (size_t i = 0; i < MAP_KINDS * BASES; i++) {
        const map_kind *kind = &map_kinds[i / BASES];
        const uint64_t sizes[BASES] = {9, 150, 900};
        rng random = {.state = i};
        ss_memory *memory;
        ss_btree *tree;
        CHECK_EQ(ss_memory_new_flat(4096, &memory), SS_OK);
        CHECK_EQ(open_kind(memory, SS_NEW, kind, &tree), SS_OK);
        for (uint64_t n = 0; n < sizes[i % BASES]; n++) {
            ss_span key = key_number(kind, rng_below(&random, 5000), key_column), value = random_value(kind, &random, value_column);
            CHECK(ss_btree_set_bytes_bytes(tree, key.at, key.size, value.at, value.size) >= 0);
            if (n % 4 == 3) CHECK(ss_btree_pop_first(tree) >= SS_NO_VALUE);
        }
        ss_btree_free(tree);
        uint64_t size = (uint64_t)ss_access_size(memory) * SS_PAGE_SIZE;
        bases[i] = (base){kind, malloc(size), size};
        CHECK_EQ(ss_access_read(memory, 0, bases[i].bytes, size), SS_OK);
        ss_memory_release(memory);
    }
}

static void fuzz_end(void) {
    for (size_t i = 0; i < MAP_KINDS * BASES; i++) free(bases[i].bytes);
}

/* ---- damage ---- */

static uint64_t used_bytes(const base *b) {
    uint64_t used = b->size;
    while (used > 200 && b->bytes[used - 1] == 0) used--;
    return used;
}

static void wound(const base *b, uint8_t *bytes, rng *random) {
    uint64_t used = used_bytes(b), stride = ss_get64(b->bytes + 60) + 16, chunks = (used - 100) / stride + 1;
    uint64_t chunk = 100 + rng_below(random, chunks) * stride, at = chunk + rng_below(random, 60), size = 1 + rng_below(random, 8);
    switch (rng_below(random, 6)) {
        case 0:
            bytes[rng_below(random, used)] ^= (uint8_t)(1u << rng_below(random, 8));
            return;
        case 1: /* the address of another chunk */
            if (at + 8 <= b->size) ss_put64(bytes + at, 116 + rng_below(random, chunks + 2) * stride);
            return;
        case 2:
            for (uint64_t i = 0; i < size && at + i < b->size; i++) bytes[at + i] = (uint8_t)rng_next(random);
            return;
        case 3: /* a header */
            bytes[rng_below(random, 2) == 0 ? rng_below(random, 28) : 52 + rng_below(random, 48)] = (uint8_t)rng_next(random);
            return;
        case 4: { /* a chunk in the place of another */
            uint64_t from = 100 + rng_below(random, chunks) * stride;
            if (from + stride <= b->size && chunk + stride <= b->size) memmove(bytes + chunk, bytes + from, stride);
            return;
        }
        default:
            return;
    }
}

/* ---- surveys ---- */

static int fetch_bytes(void *self, uint64_t offset, uint64_t length, void *to) {
    memcpy(to, (const uint8_t *)self + offset, length);
    return SS_OK;
}

static ss_map_frame frame_of(const base *b, const uint8_t *bytes, uint64_t size) {
    bool derived = bytes[3] == 1 || ss_get32(bytes + 8) != UINT32_MAX;
    uint64_t key = ss_get32(bytes + 4), value = ss_get32(bytes + 8);
    const map_kind *kind = b->kind;
    return (ss_map_frame){.bytes = size,
                          .page = derived ? 7 + 11 * (8 + key + value) + 96 : key,
                          .slot_key = derived ? key : 0,
                          .slot_value = derived ? value : 0,
                          .key_fixed = kind->key.fixed ? kind->key.max_size : SS_NOT_FIXED,
                          .key_max = kind->key.max_size,
                          .value_max = kind->value.max_size,
                          .value_fixed = kind->value.fixed ? kind->value.max_size : SS_NOT_FIXED,
                          .root = ss_get64(bytes + 12),
                          .free_head = ss_get64(bytes + 76),
                          .length = ss_get64(bytes + 20),
                          .allocated = ss_get64(bytes + 68),
                          .order = SS_SEEN_TERMS,
                          .key_encoding = SS_ENCODED_SIZE,
                          .value_encoding = SS_ENCODED_SIZE};
}

typedef struct found {
    int status;
    struct ss_map_stats stats;
    uint64_t notes;
} found;

static found survey(ss_memory *memory, const map_kind *kind, const ss_map_frame *frame, uint64_t room) {
    ss_map_survey *made;
    found f = {.status = ss_map_survey_new(memory, frame, kind->terms, kind->term_count, MOST_NOTES, room, &made)};
    if (f.status != SS_OK) return f;
    while ((f.status = ss_map_survey_step(made, 7)) == SS_OK) continue;
    if (f.status == SS_ABSENT) f.status = ss_map_survey_chunks(made);
    f.stats = *ss_map_survey_stats(made);
    f.notes = ss_map_survey_notes(made)->count + ss_map_survey_disorder(made)->count;
    ss_map_survey_free(made);
    return f;
}

static uint64_t count_entries(ss_memory *memory, const ss_map_frame *frame) {
    ss_entries *entries;
    ss_entries_batch batch;
    uint64_t count = 0;
    if (ss_entries_new(memory, frame, NULL, 0, false, &entries) != SS_OK) return UINT64_MAX;
    while (ss_entries_next(entries, 500, &batch) == SS_OK) count += batch.count;
    ss_entries_free(entries);
    return count;
}

static bool core_finds(ss_memory *memory, const map_kind *kind, int *status) {
    ss_btree *tree;
    *status = open_kind(memory, SS_LOAD, kind, &tree);
    if (*status != SS_OK) return true;
    *status = ss_btree_check(tree, NULL, NULL);
    ss_btree_free(tree);
    return *status != SS_OK;
}

static void try_all(const base *b, uint8_t *bytes, uint64_t size, bool sound) {
    ss_memory *flat, *cached;
    ss_map_frame frame = frame_of(b, bytes, size);
    int status;
    uint64_t pages;
    CHECK_EQ(ss_memory_new_flat(size / SS_PAGE_SIZE + 1, &flat), SS_OK);
    if (ss_access_grow(flat, size / SS_PAGE_SIZE) < 0) abort();
    (void)ss_access_write(flat, 0, bytes, size / SS_PAGE_SIZE * SS_PAGE_SIZE);
    pages = size / SS_PAGE_SIZE;
    frame.bytes = pages * SS_PAGE_SIZE;
    CHECK_EQ(ss_memory_new_cached((ss_cached_source){bytes, fetch_bytes, NULL, NULL, size % 3 == 0}, frame.bytes, 0, &cached), SS_OK);
    found one = survey(flat, b->kind, &frame, 0), two = survey(cached, b->kind, &frame, 0), wide = survey(cached, b->kind, &frame, 40000);
    bool same = one.status == two.status && one.notes == two.notes && memcmp(&one.stats, &two.stats, sizeof one.stats) == 0;
    holds(same, "a survey says the same through a cache", two.status);
    holds((one.notes == 0) == (wide.notes == 0) && one.status == wide.status, "and with room for more of a level", wide.status);
    holds(one.status <= 0 && (one.status == SS_OK || one.status == SS_ARGUMENT), "a survey ends", one.status);
    if (one.status == SS_OK && one.notes == 0) {
        holds(memcmp(&one.stats, &wide.stats, sizeof one.stats) == 0, "the same of a sound tree", 0);
        holds(count_entries(cached, &frame) == one.stats.entries, "a sound tree has the entries that are read from it", 0);
        bool counted = one.stats.entries == ss_get64(bytes + 20) && one.stats.nodes + one.stats.overflow_pages == ss_get64(bytes + 68);
        /* Headers are its caller's. */
        bool header = memcmp(bytes, b->bytes, 12) == 0 && memcmp(bytes + 52, b->bytes + 52, 16) == 0;
        if (core_finds(flat, b->kind, &status)) holds(!counted || !header, "what the core finds is found", status);
    } else if (one.status == SS_OK) {
        (void)count_entries(cached, &frame);
    }
    if (sound) holds(one.status == SS_OK && one.stats.broken_orders == 0 && one.stats.sound, "a sound map is sound", one.status);
    ss_memory_release(flat);
    ss_memory_release(cached);
}

static void fuzz_one(rng *random) {
    const base *b = &bases[rng_below(random, MAP_KINDS * BASES)];
    uint64_t wounds = rng_below(random, 4), size = b->size;
    uint8_t *bytes = malloc(size + 1);
    memcpy(bytes, b->bytes, size);
    for (uint64_t i = 0; i < wounds; i++) wound(b, bytes, random);
    if (wounds == 3 && rng_below(random, 3) == 0) size -= rng_below(random, size / 2);
    try_all(b, bytes, size, wounds == 0);
    free(bytes);
}
