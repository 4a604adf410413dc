/* SPDX-License-Identifier: Apache-2.0 */
/* The cached memory: every byte is the source's, whatever fits the cache; holes are not read; failures leave nothing behind. */
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "memory/cached.h"
#include "storage/cached_file.h"
#include "structures/btree.h"
#include "support/memories.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);

static long blocks_left = -1; /* allocations of a block that still succeed; -1: all */

void *__wrap_malloc(size_t size) {
    if (size != SS_CACHE_BLOCK || blocks_left < 0) return __real_malloc(size);
    if (blocks_left == 0) return NULL;
    blocks_left--;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *at, size_t size) {
    return __real_realloc(at, size);
}

enum { BLOCKS = 40 };
#define BYTES (BLOCKS * SS_CACHE_BLOCK - 70000)

typedef struct given {
    uint8_t *bytes;
    uint64_t fetched, fail_after; /* requests that still succeed */
    uint64_t fail_from;           /* bytes from there on are refused; 0: none */
    uint64_t hole_first, hole_end;
    bool freed, is_near;
} given;

static int fetch_given(void *self, uint64_t offset, uint64_t length, void *to) {
    given *g = self;
    bool refused = g->fail_after == 0 || (g->fail_from != 0 && offset + length > g->fail_from);
    if (refused) return ss_fail(SS_SYSTEM, "refused", offset, 5, 0);
    g->fail_after--;
    CHECK(offset < BYTES && length <= BYTES - offset && length > 0);
    memcpy(to, g->bytes + offset, length);
    g->fetched += length;
    return SS_OK;
}

static int data_given(void *self, uint64_t offset, uint64_t *begin, uint64_t *end) {
    const given *g = self;
    bool inside = offset >= g->hole_first && offset < g->hole_end;
    *begin = inside ? g->hole_end : offset;
    *end = offset < g->hole_first ? g->hole_first : BYTES;
    if (*begin >= BYTES) *begin = UINT64_MAX;
    return SS_OK;
}

static void free_given(void *self) {
    ((given *)self)->freed = true;
}

static given make_given(void) {
    given g = {.bytes = malloc(BYTES), .fail_after = UINT64_MAX};
    random_bytes(g.bytes, BYTES);
    return g;
}

static ss_memory *open_given(given *g, uint64_t cache) {
    ss_memory *memory;
    CHECK_EQ(ss_memory_new_cached((ss_cached_source){g, fetch_given, data_given, free_given, g->is_near}, BYTES, cache, &memory), SS_OK);
    return memory;
}

static void test_bytes_are_those_of_the_source(void) {
    static uint8_t got[3 * SS_CACHE_BLOCK];
    const uint64_t caches[] = {0, SS_CACHE_BLOCK, 3 * SS_CACHE_BLOCK, 100 * SS_CACHE_BLOCK};
    for (size_t c = 0; c < 8; c++) {
        given g = make_given();
        g.is_near = c >= 4;
        ss_memory *memory = open_given(&g, caches[c % 4]);
        CHECK_EQ(ss_access_size(memory), (BYTES + SS_PAGE_SIZE - 1) / SS_PAGE_SIZE);
        for (int i = 0; i < 300; i++) {
            uint64_t offset = i % 3 == 0 ? random_below(BYTES) : (uint64_t)i * 9001 % BYTES,
                     length = random_below(i % 2 == 0 ? sizeof got : 900);
            if (length > BYTES - offset) length = BYTES - offset;
            CHECK_EQ(ss_access_read(memory, offset, got, length), SS_OK);
            CHECK(memcmp(got, g.bytes + offset, length) == 0);
        }
        CHECK_EQ(ss_access_read(memory, BYTES, got, 100), SS_OK);
        for (int i = 0; i < 100; i++) CHECK_EQ(got[i], 0);
        CHECK_EQ(ss_access_read(memory, BYTES, got, 2 * SS_PAGE_SIZE), SS_OUT_OF_BOUNDS);
        ss_memory_release(memory);
        CHECK(g.freed);
        free(g.bytes);
    }
}

static void test_nothing_is_written(void) {
    given g = make_given();
    ss_memory *memory = open_given(&g, SS_CACHE_DEFAULT);
    CHECK_EQ(ss_access_write(memory, 0, "x", 1), SS_READ_ONLY);
    CHECK_EQ(ss_access_grow(memory, 1), SS_READ_ONLY);
    ss_memory_release(memory);
    free(g.bytes);
}

static void test_holes_are_not_read(void) {
    uint8_t got[1000];
    given g = make_given();
    g.hole_first = 3 * SS_CACHE_BLOCK + 5, g.hole_end = 30 * SS_CACHE_BLOCK + 7;
    memset(g.bytes + g.hole_first, 0, g.hole_end - g.hole_first);
    ss_memory *memory = open_given(&g, SS_CACHE_DEFAULT);
    for (uint64_t at = 0; at + sizeof got <= BYTES; at += 50000) {
        CHECK_EQ(ss_access_read(memory, at, got, sizeof got), SS_OK);
        CHECK(memcmp(got, g.bytes + at, sizeof got) == 0);
    }
    CHECK(g.fetched <= BYTES - 20 * SS_CACHE_BLOCK);
    ss_memory_release(memory);
    free(g.bytes);
}

static void test_each_block_is_read_once_in_large_pieces(void) {
    uint8_t got[1000];
    given g = make_given();
    g.hole_first = g.hole_end = BYTES;
    struct ss_cached_usage usage;
    ss_memory *memory = open_given(&g, SS_CACHE_DEFAULT);
    for (uint64_t at = 0; at + sizeof got <= BYTES; at += sizeof got) CHECK_EQ(ss_access_read(memory, at, got, sizeof got), SS_OK);
    ss_cached_measure(memory, &usage);
    CHECK_EQ(usage.bytes, BYTES);
    CHECK(usage.requests <= BLOCKS / SS_CACHE_AHEAD + 2);
    ss_memory_release(memory);
    free(g.bytes);
}

static uint64_t requests_of(ss_memory *memory, uint64_t offset, uint64_t length) {
    static uint8_t got[BYTES];
    struct ss_cached_usage before, after;
    ss_cached_measure(memory, &before);
    CHECK_EQ(ss_access_read(memory, offset, got, length), SS_OK);
    ss_cached_measure(memory, &after);
    return after.requests - before.requests;
}

static void test_a_far_source_is_asked_seldom(void) {
    const uint64_t block = SS_CACHE_BLOCK;
    struct ss_cached_usage usage;
    given g = make_given();
    g.hole_first = g.hole_end = BYTES;
    ss_memory *memory = open_given(&g, SS_CACHE_DEFAULT);
    CHECK_EQ(requests_of(memory, 7, 100), 1);
    ss_cached_measure(memory, &usage);
    CHECK_EQ(usage.bytes, block);                            /* a first read is small */
    CHECK_EQ(requests_of(memory, 20 * block + 9, block), 1); /* two blocks, one request */
    CHECK_EQ(requests_of(memory, 18 * block, 4 * block), 1); /* what is there already in the middle or at the end */
    CHECK_EQ(requests_of(memory, 18 * block, 4 * block), 0);
    CHECK_EQ(requests_of(memory, 0, BYTES), 2); /* the largest one, over what is there already, and the rest */
    CHECK_EQ(requests_of(memory, 0, BYTES), 0);
    CHECK(ss_cached_has(memory, 0, BYTES) && !ss_cached_has(memory, BYTES - 1, 2) && ss_cached_has(memory, BYTES, 0));
    ss_memory_release(memory);
    memory = open_given(&g, SS_CACHE_DEFAULT); /* two sequences side by side */
    CHECK(!ss_cached_has(memory, 0, 1));
    uint64_t asked = 0;
    for (uint64_t at = 0; at + 1000 <= BYTES / 2; at += 1000) {
        asked += requests_of(memory, at, 1000) + requests_of(memory, BYTES / 2 + at, 1000);
    }
    CHECK(asked <= 12);
    ss_memory_release(memory);
    memory = open_given(&g, 4 * block); /* smaller than what is read */
    for (int i = 0; i < 3; i++) CHECK(requests_of(memory, 0, BYTES) <= BLOCKS / 4 + 1);
    ss_memory_release(memory);
    free(g.bytes);
}

static void test_a_failure_leaves_nothing_behind(void) {
    uint8_t got[100];
    given g = make_given();
    ss_memory *memory = open_given(&g, SS_CACHE_DEFAULT);
    g.fail_after = 0;
    CHECK_EQ(ss_access_read(memory, 12345, got, sizeof got), SS_SYSTEM);
    g.fail_after = UINT64_MAX;
    CHECK_EQ(ss_access_read(memory, 12345, got, sizeof got), SS_OK);
    CHECK(memcmp(got, g.bytes + 12345, sizeof got) == 0);
    ss_memory_release(memory);
    free(g.bytes);
}

/* What was read ahead nobody asked for. */
static void test_a_failure_ahead_is_none_of_the_reader(void) {
    uint8_t got[20000];
    for (int block = 1; block < 12; block++) {
        given g = make_given();
        g.is_near = true;
        g.hole_first = g.hole_end = BYTES;
        g.fail_from = (uint64_t)block * SS_CACHE_BLOCK;
        ss_memory *memory = open_given(&g, SS_CACHE_DEFAULT);
        for (uint64_t at = 0; at + sizeof got <= BYTES; at += sizeof got) {
            bool good = at + sizeof got <= g.fail_from;
            CHECK_EQ(ss_access_read(memory, at, got, sizeof got), good ? SS_OK : SS_SYSTEM);
            CHECK(!good || memcmp(got, g.bytes + at, sizeof got) == 0);
        }
        ss_memory_release(memory);
        free(g.bytes);
    }
}

static long peak_kib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
    return usage.ru_maxrss / 1024;
#else
    return usage.ru_maxrss;
#endif
}

/* A file may say that it has 64 TiB, and its log more. */
static void test_a_size_costs_nothing_by_itself(void) {
    long before = peak_kib();
    given g = make_given();
    g.hole_first = g.hole_end = BYTES;
    ss_memory *memory;
    ss_cached_source source = {&g, fetch_given, data_given, free_given, true};
    CHECK_EQ(ss_memory_new_cached(source, UINT64_C(1) << 46, SS_CACHE_DEFAULT, &memory), SS_OK);
    uint8_t got[20000];
    CHECK_EQ(ss_access_read(memory, 0, got, sizeof got), SS_OK);
    ss_memory_release(memory);
    free(g.bytes);
    CHECK(peak_kib() - before < 400000); /* of a table of 1 GiB; a sanitizer has its notes on it */
}

/* Without room for all the blocks that it reads ahead, a cache makes do with fewer; the block that was asked for is among them. */
static void test_a_cache_that_gets_less_memory_is_smaller(void) {
    uint8_t got[20000]; /* so much is not read by itself */
    for (long blocks = 0; blocks < 12; blocks++) {
        given g = make_given();
        g.is_near = true;
        g.hole_first = g.hole_end = BYTES;
        ss_memory *memory = open_given(&g, SS_CACHE_DEFAULT);
        blocks_left = blocks;
        for (uint64_t at = 0; at + sizeof got <= BYTES; at += sizeof got) {
            int status = ss_access_read(memory, at, got, sizeof got);
            CHECK(status == SS_OK || (status == SS_NO_HEAP && blocks == 0)); /* pieces at the end of a block need no room */
            CHECK(status != SS_OK || memcmp(got, g.bytes + at, sizeof got) == 0);
        }
        blocks_left = -1;
        ss_memory_release(memory);
        free(g.bytes);
    }
}

static void test_a_file_that_is_cut_is_an_error(void) {
    char name[] = "/tmp/ss-cached-XXXXXX";
    uint8_t got[100], bytes[4096] = {7};
    int file = mkstemp(name);
    ss_memory *memory;
    for (int i = 0; i < 512; i++) CHECK_EQ(write(file, bytes, sizeof bytes), sizeof bytes);
    CHECK_EQ(ss_memory_new_cached_file(file, 512 * 4096, NULL, 512 * 4096, SS_CACHE_BLOCK, &memory), SS_OK);
    CHECK_EQ(ss_access_read(memory, 0, got, sizeof got), SS_OK);
    CHECK_EQ(got[0], 7);
    CHECK_EQ(ftruncate(file, 4096), 0);
    CHECK_EQ(ss_access_read(memory, 511 * 4096, got, sizeof got), SS_SYSTEM);
    ss_memory_release(memory);
    close(file);
    unlink(name);
}

static const ss_order_term number_terms[] = {{SS_ORDER_BYTES, 1, 8, {-1, -1, -1}, 0}};

static int open_numbers(ss_memory *memory, int mode, ss_btree **tree) {
    const ss_bound number = {8, 1, 0};
    return ss_btree_open(memory, mode, number_terms, 1, NULL, NULL, number, number, tree);
}

static void test_a_map_opens_on_it(void) {
    ss_memory *flat, *memory, *pieces;
    ss_btree *tree;
    CHECK_EQ(ss_memory_new_flat(1000, &flat), SS_OK);
    CHECK_EQ(open_numbers(flat, SS_NEW, &tree), SS_OK);
    for (uint64_t i = 0; i < 20000; i++) CHECK(ss_btree_set_u64_u64(tree, i, i * i) >= 0);
    ss_btree_free(tree);
    struct image image = image_of(flat);
    given g = make_given();
    g.hole_first = g.hole_end = BYTES;
    memcpy(g.bytes, image.bytes, image.pages * SS_PAGE_SIZE);
    memory = open_given(&g, SS_CACHE_BLOCK);
    const uint64_t whole = 0;
    CHECK_EQ(ss_memory_new_pieces(memory, &whole, 1, BLOCKS * SS_CACHE_BLOCK, BYTES, &pieces), SS_OK);
    ss_memory *on[] = {memory, pieces};
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(open_numbers(on[i], SS_LOAD, &tree), SS_OK);
        CHECK_EQ(ss_btree_get_u64_u64(tree, 141), 141 * 141);
        CHECK_EQ(ss_btree_check(tree, NULL, NULL), SS_OK);
        CHECK_EQ(ss_btree_set_u64_u64(tree, 1, 2), SS_READ_ONLY);
        ss_btree_free(tree);
    }
    ss_memory_release(pieces);
    ss_memory_release(memory);
    ss_memory_release(flat);
    image_free(&image);
    free(g.bytes);
}

int main(void) {
    test_bytes_are_those_of_the_source();
    test_nothing_is_written();
    test_holes_are_not_read();
    test_each_block_is_read_once_in_large_pieces();
    test_a_far_source_is_asked_seldom();
    test_a_failure_leaves_nothing_behind();
    test_a_failure_ahead_is_none_of_the_reader();
    test_a_size_costs_nothing_by_itself();
    test_a_cache_that_gets_less_memory_is_smaller();
    test_a_file_that_is_cut_is_an_error();
    test_a_map_opens_on_it();
    return check_summary();
}
