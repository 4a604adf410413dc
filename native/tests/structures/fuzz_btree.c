/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged images of maps: every operation on each must result or give SS_CORRUPT, quickly, and a refused change must
 * leave every byte as it was.
 *
 * The images lie flat, in scattered one-page buckets of a manager (whose tables are damaged too), and behind callbacks.
 */
#include "memory/access.h"
#include "memory/allocator.h"
#include "support/fuzz.h"

enum { MAP_ID = 3, NEIGHBOUR_ID = 9, SPARE_PAGES = 64, BASES_PER_KIND = 4 };

enum where { FLAT, SCATTERED, FOREIGN, WHERES };

typedef struct image {
    const map_kind *kind;
    enum where where;
    uint64_t keys;      /* key numbers below this were inserted at some time */
    uint64_t page_size; /* of the undamaged map */
    uint8_t *bytes;
    uint64_t pages;
} image;

static const map_kind layout1_kind = {"blob<29> -> blob<60>, version 1", {TERM_BYTES(0, 29)}, 1, {29, 0, 0}, {60, 0, 0}, 0, 0};
static const map_kind tiny_pages = {"bytes -> bytes in pages of 151 bytes", {TERM_BYTES(0, SS_UNBOUNDED)}, 1, NO_BOUND, NO_BOUND, 6, 4};
static const map_kind tiny_creator = {"blob<1> -> blob<0>", {TERM_BYTES(0, 1)}, 1, {1, 0, 0}, {0, 0, 0}, 0, 0};

static image bases[(MAP_KINDS + 2) * BASES_PER_KIND * WHERES];
static size_t base_count;

/* ---- images that are sound ---- */

/* Writes the node at `at` again in layout 1: it was written in layout 2 and has no overflow. */
static void make_layout1(const map_kind *kind, uint8_t *at) {
    uint8_t old[4096], *out = at + 7;
    uint64_t key_column = kind->key.max_size, value_column = kind->value.max_size;
    uint32_t count = ss_get16(at + 5), children = at[4] == 0 ? 0 : count + 1;
    memcpy(old, at, sizeof old);
    const uint8_t *key = old + 15 + 8 * children, *value = key;
    for (uint32_t i = 0; i < count; i++) value += 4 + ss_get32(value);
    at[3] = 1;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(out, key, 4 + ss_get32(key));
        memcpy(out + 4 + key_column, value, 4 + ss_get32(value));
        key += 4 + ss_get32(key);
        value += 4 + ss_get32(value);
        out += 8 + key_column + value_column;
    }
    memcpy(out, old + 15, 8 * children);
}

static void put_version1_header(ss_memory *memory, const map_kind *kind) {
    uint64_t size = 7 + 11 * (8 + kind->key.max_size + kind->value.max_size) + 96;
    uint8_t header[SS_FIRST_CHUNK + SS_CHUNK_HEADER] = {'B', 'T', 'R', 1};
    ss_put32(header + 4, (uint32_t)kind->key.max_size);
    ss_put32(header + 8, (uint32_t)kind->value.max_size);
    memcpy(header + 52, "BTA\1", 4);
    ss_put64(header + 60, size);
    ss_put64(header + 76, SS_FIRST_CHUNK);
    memcpy(header + SS_FIRST_CHUNK, "CHK\1", 4);
    CHECK_EQ(ss_access_write_growing(memory, 0, header, sizeof header), SS_OK);
}

static void play(ss_btree *tree, const map_kind *kind, rng *random, uint64_t inserts, uint64_t keys, ss_memory *neighbour) {
    uint8_t key_column[KEY_ROOM], value_column[VALUE_ROOM];
    for (uint64_t i = 0; i < inserts; i++) {
        ss_span key = key_number(kind, rng_below(random, keys), key_column), value = random_value(kind, random, value_column);
        CHECK(ss_btree_set_bytes_bytes(tree, key.at, key.size, value.at, value.size) >= 0);
        if (i % 3 == 2) {
            key = key_number(kind, rng_below(random, keys), key_column);
            CHECK(ss_btree_remove_bytes_bytes(tree, key.at, key.size) >= SS_NO_VALUE);
        }
        if (neighbour != NULL && i % 16 == 0) CHECK(ss_access_grow(neighbour, 1) >= 0);
    }
}

static void save_image(image *made, ss_memory *root) {
    made->pages = (uint64_t)ss_access_size(root);
    made->bytes = malloc(made->pages * SS_PAGE_SIZE);
    CHECK_EQ(ss_access_read(root, 0, made->bytes, made->pages * SS_PAGE_SIZE), SS_OK);
}

/* Place in the root of byte `offset` of the map's memory. */
static uint64_t place_of(const image *from, uint64_t offset) {
    if (from->where != SCATTERED) return offset;
    uint64_t page = offset / SS_PAGE_SIZE;
    for (uint64_t bucket = 0; bucket + 1 < from->pages; bucket++) {
        if (from->bytes[2080 + bucket] == MAP_ID && page-- == 0) return (bucket + 1) * SS_PAGE_SIZE + offset % SS_PAGE_SIZE;
    }
    return offset % SS_PAGE_SIZE;
}

static void add_base(const map_kind *kind, enum where where, uint64_t inserts, uint64_t seed) {
    ss_memory *root, *memory, *neighbour = NULL;
    ss_manager *manager = NULL;
    ss_btree *tree;
    rng random = {.state = seed};
    image *made = &bases[base_count++];
    *made = (image){.kind = kind, .where = where, .keys = inserts * 2 / 3 + 1};
    CHECK_EQ(ss_memory_new_flat(4096, &root), SS_OK);
    memory = root;
    if (where == SCATTERED) {
        CHECK_EQ(ss_manager_open(root, SS_INIT, 1, &manager), SS_OK);
        CHECK_EQ(ss_manager_get(manager, MAP_ID, &memory), SS_OK);
        CHECK_EQ(ss_manager_get(manager, NEIGHBOUR_ID, &neighbour), SS_OK);
    }
    if (kind == &layout1_kind) put_version1_header(memory, kind);
    if (kind == &tiny_pages) {
        CHECK_EQ(open_kind(memory, SS_NEW, &tiny_creator, &tree), SS_OK);
        ss_btree_free(tree);
    }
    CHECK_EQ(open_kind(memory, SS_INIT, kind, &tree), SS_OK);
    play(tree, kind, &random, inserts, made->keys, neighbour);
    uint8_t size[8];
    CHECK_EQ(ss_access_read(memory, 60, size, sizeof size), SS_OK);
    made->page_size = ss_get64(size);
    save_image(made, root);
    for (uint64_t chunk = SS_FIRST_CHUNK; kind == &layout1_kind && where == FLAT; chunk += 16 + made->page_size) {
        if (memcmp(made->bytes + chunk, "CHK\1", 4) != 0) break;
        if (memcmp(made->bytes + chunk + 16, "BTN\2", 4) == 0 && made->bytes[chunk + 4] == 1) make_layout1(kind, made->bytes + chunk + 16);
    }
    ss_btree_free(tree);
    if (where == SCATTERED) {
        ss_memory_release(memory);
        ss_memory_release(neighbour);
        ss_manager_free(manager);
    }
    ss_memory_release(root);
}

static void add_bases(const map_kind *kind) {
    static const uint64_t inserts[BASES_PER_KIND] = {1, 14, 90, 300};
    for (int i = 0; i < BASES_PER_KIND; i++) {
        for (int where = FLAT; where < WHERES; where++) add_base(kind, (enum where)where, inserts[i], (uint64_t)i + 1);
    }
}

/* ---- damage ---- */

static uint64_t map_bytes(const image *from) {
    return from->where == SCATTERED ? from->pages / 2 * SS_PAGE_SIZE : from->pages * SS_PAGE_SIZE;
}

/* Address of a random chunk, mostly one that was used at some time. */
static uint64_t random_chunk(const image *from, rng *random) {
    uint64_t stride = 16 + from->page_size, fits = (map_bytes(from) - SS_FIRST_CHUNK) / stride;
    uint64_t used = from->keys / 5 + 3;
    return SS_FIRST_CHUNK + rng_below(random, rng_below(random, 8) == 0 || used > fits ? fits : used) * stride;
}

static uint64_t strange_number(const image *from, rng *random) {
    switch (rng_below(random, 12)) {
        case 0:
            return 0;
        case 1:
            return rng_below(random, 16);
        case 2:
            return UINT64_MAX - rng_below(random, 32);
        case 3:
            return UINT64_C(1) << rng_below(random, 64);
        case 4:
            return map_bytes(from) - rng_below(random, 2000);
        case 5:
            return from->page_size + rng_below(random, 40) - 20;
        case 6:
            return random_chunk(from, random);
        case 7:
            return rng_next(random);
        case 8:
            return random_chunk(from, random) + rng_below(random, 64);
        default:
            return random_chunk(from, random) + SS_CHUNK_HEADER;
    }
}

static void put_at(image *at, uint64_t offset, const void *bytes, uint64_t size) {
    for (uint64_t i = 0; i < size; i++) {
        uint64_t position = place_of(at, offset + i);
        if (position < at->pages * SS_PAGE_SIZE) at->bytes[position] = ((const uint8_t *)bytes)[i];
    }
}

/* A field of the headers, of a chunk, of a node or of an overflow page; *size is what it takes. */
static uint64_t random_field(const image *at, rng *random, uint64_t *size) {
    static const struct {
        uint16_t offset, size;
    } head[] = {{3, 1}, {4, 4}, {8, 4}, {12, 8}, {20, 8}, {55, 1}, {60, 8}, {68, 8}, {76, 8}},
      chunk[] = {{0, 3}, {3, 1}, {4, 1}, {8, 8}, {16, 3}, {19, 1}, {20, 1}, {21, 2}, {23, 8}, {31, 8}, {39, 8}, {19, 8}, {31, 4}, {27, 4}};
    if (rng_below(random, 3) == 0) {
        uint64_t i = rng_below(random, sizeof head / sizeof head[0]);
        *size = head[i].size;
        return head[i].offset;
    }
    uint64_t i = rng_below(random, sizeof chunk / sizeof chunk[0]);
    *size = chunk[i].size;
    return random_chunk(at, random) + chunk[i].offset;
}

static void damage_once(image *at, rng *random) {
    uint8_t bytes[256];
    uint64_t size, position, number;
    switch (rng_below(random, at->where == SCATTERED ? 10 : 9)) {
        case 0: /* a bit anywhere */
            at->bytes[rng_below(random, at->pages * SS_PAGE_SIZE)] ^= (uint8_t)(1u << rng_below(random, 8));
            return;
        case 1: /* a bit near the beginning of a node */
            position = place_of(at, random_chunk(at, random) + rng_below(random, 160));
            if (position < at->pages * SS_PAGE_SIZE) at->bytes[position] ^= (uint8_t)(1u << rng_below(random, 8));
            return;
        case 2: /* random bytes */
            size = 1 + rng_below(random, sizeof bytes);
            for (uint64_t i = 0; i < size; i++) bytes[i] = (uint8_t)rng_below(random, 256);
            position = rng_below(random, 8) == 0 ? 0 : random_chunk(at, random) + rng_below(random, at->page_size);
            put_at(at, position, bytes, size);
            return;
        case 3: /* a count */
            ss_put16(bytes, (uint16_t)rng_below(random, 14));
            put_at(at, random_chunk(at, random) + 21, bytes, 2);
            return;
        case 4: /* one chunk over another */
            position = random_chunk(at, random);
            number = random_chunk(at, random);
            for (uint64_t i = 0; i < 16 + at->page_size; i++) {
                uint64_t from = place_of(at, number + i);
                if (from < at->pages * SS_PAGE_SIZE) put_at(at, position + i, at->bytes + from, 1);
            }
            return;
        case 5: { /* a piece of another image */
            const image *other = &bases[rng_below(random, base_count)];
            uint64_t begin = rng_below(random, 4000), all = (other->pages < at->pages ? other->pages : at->pages) * SS_PAGE_SIZE;
            size = 1 + rng_below(random, 3000);
            if (begin + size <= all) memcpy(at->bytes + begin, other->bytes + begin, size);
            return;
        }
        case 6: /* fewer pages */
            if (at->pages > 1 && rng_below(random, 2) == 0) at->pages -= 1 + rng_below(random, at->pages - 1);
            return;
        case 9: /* the manager's tables */
            position = rng_below(random, 3) == 0   ? 4 + rng_below(random, 4)
                       : rng_below(random, 2) == 0 ? 40 + 8 * MAP_ID
                                                   : 2080 + rng_below(random, 8);
            at->bytes[position] = (uint8_t)(rng_below(random, 2) == 0 ? rng_next(random) : rng_below(random, 8));
            return;
        default: /* a strange number in a field */
            position = random_field(at, random, &size);
            ss_put64(bytes, strange_number(at, random));
            put_at(at, position, bytes, size);
    }
}

/* ---- trying everything ---- */

typedef struct trial {
    const image *from;
    rng random;
    ss_memory *root, *memory;
    buffer_memory *buffer; /* of a foreign root */
    ss_btree *tree;
    bool changed; /* since `before` was taken */
    bool sound;   /* the check said so before anything was tried */
} trial;

/* Copy of the root's bytes. */
static uint8_t *before;
static uint64_t before_pages, before_room;

/* The bytes of the root in place. */
static const uint8_t *root_bytes(const trial *t, uint64_t *pages) {
    *pages = t->buffer != NULL ? t->buffer->pages : t->root->root->pages;
    return t->buffer != NULL ? t->buffer->bytes : t->root->root->base;
}

static void remember(trial *t) {
    if (!t->changed) return;
    t->changed = false;
    const uint8_t *bytes = root_bytes(t, &before_pages);
    if (before_pages > before_room) {
        before_room = before_pages + 8;
        before = realloc(before, before_room * SS_PAGE_SIZE);
        if (before == NULL) abort();
    }
    memcpy(before, bytes, before_pages * SS_PAGE_SIZE);
}

/* After an operation: what it answered is allowed, and a refusal changed nothing. */
static bool allowed(trial *t, int64_t status, const char *what) {
    uint64_t pages;
    const uint8_t *bytes = root_bytes(t, &pages);
    if (status >= 0 || status == SS_NO_VALUE) return true;
    if (!holds(is_damage(status) || status == SS_OUT_OF_MEMORY, what, status)) return false;
    if (!holds(!t->sound || status == SS_OUT_OF_MEMORY, "a sound map is never called damaged", status)) return false;
    t->changed = false;
    bool same = t->buffer != NULL || pages == before_pages;
    return holds(same && memcmp(bytes, before, before_pages * SS_PAGE_SIZE) == 0, "a refused operation changes no byte", status);
}

static many batch;

static bool change_many(trial *t) {
    make_many(&batch, t->from->kind, &t->random, rng_below(&t->random, t->from->keys));
    if (rng_below(&t->random, 2) == 0) {
        return allowed(t, ss_btree_remove_many(t->tree, &batch.key_column, MANY, batch.found),
                       "remove_many answers or says what is damaged");
    }
    int64_t status = ss_btree_insert_many(t->tree, &batch.key_column, &batch.value_column, MANY);
    return allowed(t, status, "insert_many answers or says what is damaged");
}

/* A look and then a change at the position that it gave. */
static bool change_at_place(trial *t, ss_span key, ss_span value) {
    ss_position position;
    int64_t status = ss_btree_locate(t->tree, key.at, key.size, &position);
    if (!allowed(t, status, "locate answers or says what is damaged") || is_damage(status)) return true;
    uint64_t changes = ss_btree_set_at(t->tree, &position, key.at, key.size, value.at, value.size, SS_EXPECT_ANYTHING, NULL, 0);
    status = changes < SS_ASK ? SS_OK : ss_last_status();
    return allowed(t, status, "put_at answers or says what is damaged");
}

static bool export(trial *t) {
    static uint8_t keys[8 * 100], values[8 * 100];
    ss_cursor *cursor;
    const map_kind *kind = t->from->kind;
    int status = ss_cursor_open(t->tree, SS_FROM_FIRST, NULL, 0, SS_TO_LAST, NULL, 0, &cursor);
    if (status != SS_OK) return allowed(t, status, "opening a cursor returns a result or says what is damaged");
    ss_output_column key_column = {keys, 8, 1, 0}, value_column = {values, 8, 1, 0};
    bool numbers = kind->key.fixed && kind->key.max_size == 8;
    int64_t count = 1;
    while (numbers && count > 0) count = ss_cursor_export(cursor, 100, &key_column, &value_column);
    ss_cursor_free(cursor);
    return allowed(t, count, "an export gives entries or says what is damaged");
}

static bool iterate(trial *t, int from, ss_span start, bool back) {
    ss_cursor *cursor;
    uint64_t most = 1 + rng_below(&t->random, 40), passed = 0, pages;
    int64_t status = ss_cursor_open(t->tree, from, start.at, start.size, SS_TO_LAST, NULL, 0, &cursor);
    if (status != SS_OK) return allowed(t, status, "opening a cursor returns a result or says what is damaged");
    root_bytes(t, &pages);
    for (;;) {
        uint64_t count;
        if (rng_below(&t->random, 4) == 0) {
            status = ss_cursor_skip(cursor, most, back);
            count = status > 0 ? (uint64_t)status : 0;
        } else {
            int rows = (int)rng_below(&t->random, 4) * SS_WANT_KEY_ROWS; /* of keys, values, both */
            status = ss_cursor_next(cursor, most, 4096, SS_WANT_KEYS | SS_WANT_VALUES | rows, back);
            count = status > 0 ? ss_get64(ss_result()) : 0;
        }
        passed += count;
        if (status < 0 && rng_below(&t->random, 2) == 0) status = ss_cursor_next(cursor, most, 4096, SS_WANT_KEYS, !back);
        if (status < 0 || count == 0) break;
        if (!holds(passed <= pages * SS_PAGE_SIZE, "a cursor ends", status)) break;
        if (rng_below(&t->random, 16) == 0) back = !back;
    }
    ss_cursor_free(cursor);
    return allowed(t, status, "a cursor gives entries or says what is damaged");
}

static bool read_things(trial *t) {
    uint8_t room[KEY_ROOM];
    struct ss_usage usage;
    ss_span key = key_number(t->from->kind, rng_below(&t->random, t->from->keys), room);
    remember(t);
    switch (rng_below(&t->random, 10)) {
        case 0:
            return allowed(t, ss_btree_length(t->tree), "length answers or says what is damaged");
        case 1:
            return allowed(t, ss_btree_first(t->tree), "first answers or says what is damaged");
        case 2:
            return allowed(t, ss_btree_last(t->tree), "last answers or says what is damaged");
        case 7:
            return allowed(t, ss_btree_usage(t->tree, &usage), "usage answers or says what is damaged");
        case 3:
            return export(t);
        case 4:
            return iterate(t, SS_FROM_FIRST, (ss_span){room, 0}, rng_below(&t->random, 2));
        case 5:
            return iterate(t, SS_FROM + (int)rng_below(&t->random, 3), key, rng_below(&t->random, 2));
        case 6:
            make_many(&batch, t->from->kind, &t->random, rng_below(&t->random, t->from->keys));
            return allowed(t, ss_btree_get_many_bytes(t->tree, &batch.key_column, MANY, batch.found),
                           "get_many answers or says what is damaged");
        default:
            return allowed(t, ss_btree_get_bytes_bytes(t->tree, key.at, key.size), "get answers or says what is damaged");
    }
}

static bool change_things(trial *t) {
    uint8_t room[KEY_ROOM], value_column[VALUE_ROOM];
    uint64_t choice = rng_below(&t->random, 20);
    ss_span key = key_number(t->from->kind, rng_below(&t->random, t->from->keys * 2), room);
    ss_span value = random_value(t->from->kind, &t->random, value_column);
    remember(t);
    t->changed = true;
    if (choice == 0) return allowed(t, ss_btree_clear(t->tree), "clear answers or says what is damaged");
    if (choice < 4) return allowed(t, ss_btree_pop_first(t->tree), "pop_first answers or says what is damaged");
    if (choice == 19) return change_many(t);
    if (choice >= 17) return change_at_place(t, key, value);
    if (choice < 7) return allowed(t, ss_btree_pop_last(t->tree), "pop_last answers or says what is damaged");
    if (choice < 13) return allowed(t, ss_btree_remove_bytes_bytes(t->tree, key.at, key.size), "remove answers or says what is damaged");
    return allowed(t, ss_btree_insert_bytes_bytes(t->tree, key.at, key.size, value.at, value.size),
                   "insert answers or says what is damaged");
}

static void count_report(void *self, const struct ss_failure *violation) {
    (void)violation;
    ++*(uint64_t *)self;
}

static bool check_map(trial *t, int *status) {
    uint64_t reports = 0;
    *status = ss_btree_check(t->tree, NULL, NULL);
    if (!holds(*status == SS_OK || is_damage(*status), "check answers or says what is damaged", *status)) return false;
    int all = ss_btree_check(t->tree, count_report, &reports);
    return holds((*status == SS_OK) == (all == SS_OK) && (reports > 0 || is_damage(*status) == (all != SS_OK)),
                 "a check that goes on finds the same", all);
}

static void try_map(trial *t) {
    int status;
    if (!check_map(t, &status)) return;
    t->sound = status == SS_OK;
    remember(t);
    for (int i = 0; i < 4; i++) {
        if (!read_things(t)) return;
    }
    for (int i = 0; i < 12; i++) {
        if (!(rng_below(&t->random, 3) == 0 ? read_things(t) : change_things(t))) return;
    }
    if (!check_map(t, &status)) return;
    holds(!t->sound || status == SS_OK, "a sound map stays sound", status);
}

static void open_and_try(trial *t) {
    remember(t);
    int mode = rng_below(&t->random, 2) == 0 ? SS_LOAD : SS_INIT;
    int status = open_kind(t->memory, mode, t->from->kind, &t->tree);
    if (status == SS_OK) {
        t->changed = true;
        try_map(t);
        ss_btree_free(t->tree);
        return;
    }
    /* A damaged header may say that the slots of a version 1 map are too small for the types. */
    if (status != SS_INCOMPATIBLE) allowed(t, status, "opening answers or says what is damaged");
}

static void try_managed(trial *t) {
    ss_manager *manager;
    int status = ss_manager_open(t->root, SS_LOAD, 1, &manager);
    if (status == SS_OK) {
        status = ss_manager_get(manager, MAP_ID, &t->memory);
        if (status == SS_OK) {
            open_and_try(t);
            ss_memory_release(t->memory);
        }
        ss_manager_free(manager);
    }
    holds(status == SS_OK || is_damage(status), "a manager opens or says what is damaged", status);
}

static void fuzz_one(rng *random) {
    static uint8_t *room;
    static size_t room_size;
    uint64_t ignored;
    const image *from = &bases[rng_below(random, base_count)];
    trial t = {.random = *random, .changed = true};
    image damaged = *from;
    if (room_size < from->pages * SS_PAGE_SIZE) {
        room_size = from->pages * SS_PAGE_SIZE;
        free(room);
        room = malloc(room_size);
        if (room == NULL) abort();
    }
    damaged.bytes = memcpy(room, from->bytes, from->pages * SS_PAGE_SIZE);
    for (uint64_t i = rng_below(&t.random, 5); i-- > 0;) damage_once(&damaged, &t.random);
    t.from = &damaged;
    buffer_memory buffer = {.limit = damaged.pages + SPARE_PAGES, .fail_kind = FAIL_NONE};
    if (from->where == FOREIGN) {
        t.buffer = &buffer;
        CHECK_EQ(ss_memory_new_foreign(&buffer_ops, &buffer, &t.root), SS_OK);
    } else {
        CHECK_EQ(ss_memory_new_flat(damaged.pages + SPARE_PAGES, &t.root), SS_OK);
    }
    ss_memory_grow(t.root, damaged.pages, &ignored);
    ss_memory_write(t.root, 0, damaged.bytes, damaged.pages * SS_PAGE_SIZE);
    t.memory = t.root;
    if (from->where == SCATTERED)
        try_managed(&t);
    else
        open_and_try(&t);
    ss_memory_release(t.root);
    free(buffer.bytes);
}

static void fuzz_begin(void) {
    for (size_t i = 0; i < MAP_KINDS; i++) add_bases(&map_kinds[i]);
    add_bases(&layout1_kind);
    add_bases(&tiny_pages);
}

static void fuzz_end(void) {
    for (size_t i = 0; i < base_count; i++) free(bases[i].bytes);
    free(before);
}
