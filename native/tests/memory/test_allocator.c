/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk allocator, byte for byte as docs/format.md#chunk-allocator has it, and lists that are damaged. */
#include <stdlib.h>

#include "memory/access.h"
#include "memory/allocator.h"
#include "support/check.h"

enum { SIZE = 200, STRIDE = 16 + SIZE, FIRST = 100 };

static ss_memory *memory;

static void begin(uint64_t max_pages) {
    CHECK_EQ(ss_memory_new_flat(max_pages, &memory), SS_OK);
    CHECK_EQ(ss_enter_write(memory), SS_OK);
    CHECK_EQ(ss_allocator_new(memory, SIZE), SS_OK);
}

static void end(void) {
    CHECK_EQ(ss_leave_write(memory, SS_OK), SS_OK);
    ss_memory_release(memory);
}

static uint64_t take(void) {
    uint64_t address = 0;
    CHECK_EQ(ss_allocator_take(memory, SIZE, &address), SS_OK);
    return address;
}

static int take_status(void) {
    uint64_t address;
    return ss_allocator_take(memory, SIZE, &address);
}

static int give_back(uint64_t address) {
    return ss_allocator_give_back(memory, SIZE, address);
}

static uint8_t *bytes(uint64_t offset) {
    return memory->root->base + offset;
}

static void header_is(uint64_t allocated, uint64_t head) {
    uint8_t wanted[48] = {'B', 'T', 'A', 1};
    ss_put64(wanted + 8, SIZE);
    ss_put64(wanted + 16, allocated);
    ss_put64(wanted + 24, head);
    CHECK(memcmp(bytes(52), wanted, sizeof wanted) == 0);
}

static void chunk_is(uint64_t chunk, int allocated, uint64_t next) {
    uint8_t wanted[16] = {'C', 'H', 'K', 1, (uint8_t)allocated};
    ss_put64(wanted + 8, next);
    CHECK(memcmp(bytes(chunk), wanted, sizeof wanted) == 0);
}

static void a_new_one_has_one_free_chunk(void) {
    begin(1);
    header_is(0, FIRST);
    chunk_is(FIRST, 0, 0);
    CHECK_EQ(memory->root->pages, 1);
    for (int i = 0; i < 52; i++) CHECK_EQ(bytes(0)[i], 0);
    end();
}

static void chunks_come_in_a_row(void) {
    begin(1);
    for (uint64_t i = 0; i < 5; i++) CHECK_EQ(take(), FIRST + i * STRIDE + 16);
    header_is(5, FIRST + 5 * STRIDE);
    for (uint64_t i = 0; i < 5; i++) chunk_is(FIRST + i * STRIDE, 1, 0);
    chunk_is(FIRST + 5 * STRIDE, 0, 0);
    end();
}

static void the_last_freed_chunk_comes_first_and_keeps_its_next(void) {
    begin(1);
    uint64_t a = take(), b = take(), c = take();
    memset(bytes(b), 0x5A, SIZE);
    CHECK_EQ(give_back(a), SS_OK);
    CHECK_EQ(give_back(b), SS_OK);
    header_is(1, b - 16);
    chunk_is(b - 16, 0, a - 16);
    chunk_is(a - 16, 0, c + SIZE);
    CHECK_EQ(take(), b);
    chunk_is(b - 16, 1, a - 16);
    CHECK_EQ(bytes(b)[SIZE - 1], 0x5A);
    CHECK_EQ(take(), a);
    CHECK_EQ(take(), c + STRIDE);
    header_is(4, FIRST + 4 * STRIDE);
    end();
}

static void the_memory_grows_by_the_fewest_pages(void) {
    begin(2);
    uint64_t last = (65536 - FIRST) / STRIDE;
    for (uint64_t i = 0; i < last; i++) take();
    /* The header of the next free chunk still fits the first page, its contents do not. */
    CHECK(FIRST + last * STRIDE + 16 <= 65536 && FIRST + (last + 1) * STRIDE > 65536);
    CHECK_EQ(memory->root->pages, 1);
    CHECK_EQ(take(), FIRST + last * STRIDE + 16);
    CHECK_EQ(memory->root->pages, 2);
    end();
}

static void a_refused_growth_is_undone(void) {
    begin(1);
    uint64_t last = (65536 - FIRST) / STRIDE;
    for (uint64_t i = 0; i < last; i++) take();
    CHECK_EQ(ss_leave_write(memory, SS_OK), SS_OK);
    uint8_t *before = malloc(65536);
    memcpy(before, bytes(0), 65536);
    CHECK_EQ(ss_enter_write(memory), SS_OK);
    ss_undo_begin(memory);
    int status = take_status();
    CHECK_EQ(status, SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_leave_write(memory, status), SS_OUT_OF_MEMORY);
    CHECK(memcmp(before, bytes(0), 65536) == 0);
    free(before);
    ss_memory_release(memory);
}

static void what_was_never_taken_cannot_be_given_back(void) {
    begin(2);
    uint64_t a = take(), b = take();
    CHECK_EQ(give_back(a), SS_OK);
    CHECK_EQ(give_back(a), SS_CORRUPT);
    CHECK_EQ(give_back(b + STRIDE), SS_CORRUPT);
    CHECK_EQ(give_back(b + 1), SS_CORRUPT);
    CHECK_EQ(give_back(0), SS_CORRUPT);
    CHECK_EQ(give_back(16), SS_CORRUPT);
    CHECK_EQ(give_back(UINT64_MAX), SS_CORRUPT);
    CHECK_EQ(give_back(b + 1000 * STRIDE), SS_CORRUPT);
    header_is(1, a - 16);
    ss_put64(bytes(68), 0);
    CHECK_EQ(give_back(b), SS_CORRUPT);
    end();
}

/* Puts a number into the allocator's header, tries to take, and repairs it. */
static int take_with(uint64_t offset, uint64_t size, uint64_t number) {
    uint8_t kept[8], damaged[8];
    memcpy(kept, bytes(offset), size);
    ss_put64(damaged, number);
    memcpy(bytes(offset), damaged, size);
    int status = take_status();
    if (status == SS_OK) CHECK(!"a damaged allocator gave a chunk");
    memcpy(bytes(offset), kept, size);
    return status;
}

static void a_damaged_header_or_list_is_noticed(void) {
    begin(4);
    uint64_t a = take(), b = take();
    take();
    CHECK_EQ(give_back(a), SS_OK);
    CHECK_EQ(give_back(b), SS_OK);
    enum { HEAD = 76, MEMORY = 65536 };
    CHECK_EQ(take_with(52, 1, 'X'), SS_CORRUPT);
    CHECK_EQ(take_with(55, 1, 2), SS_BAD_VERSION);
    CHECK_EQ(take_with(55, 1, 0), SS_BAD_VERSION);
    CHECK_EQ(take_with(60, 8, SIZE + 1), SS_CORRUPT);
    CHECK_EQ(take_with(60, 8, 0), SS_CORRUPT);
    CHECK_EQ(take_with(HEAD, 8, 0), SS_CORRUPT);
    CHECK_EQ(take_with(HEAD, 8, FIRST - 1), SS_CORRUPT);
    CHECK_EQ(take_with(HEAD, 8, b), SS_CORRUPT);
    CHECK_EQ(take_with(HEAD, 8, FIRST + 2 * STRIDE), SS_CORRUPT);
    CHECK_EQ(take_with(HEAD, 8, FIRST + 100 * STRIDE), SS_CORRUPT);
    CHECK_EQ(take_with(HEAD, 8, FIRST + UINT64_C(304) * STRIDE), SS_CORRUPT);
    CHECK_EQ(take_with(HEAD, 8, UINT64_MAX - 15), SS_CORRUPT);
    CHECK_EQ(take_with(b - 16, 1, 'X'), SS_CORRUPT);
    CHECK_EQ(take_with(b - 16 + 3, 1, 2), SS_CORRUPT);
    CHECK_EQ(take_with(b - 16 + 4, 1, 1), SS_CORRUPT);
    CHECK_EQ(take_with(b - 16 + 4, 1, 7), SS_CORRUPT);
    CHECK_EQ(take(), b);
    end();
}

/* What looks like a chunk in the contents of another is none. */
static void a_chunk_off_the_grid_is_none(void) {
    begin(1);
    uint64_t a = take(), fake = a + 40;
    memcpy(bytes(fake), "CHK\1\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    CHECK_EQ(take_with(76, 8, fake), SS_CORRUPT);
    bytes(fake)[4] = 1;
    CHECK_EQ(give_back(fake + 16), SS_CORRUPT);
    CHECK_EQ(ss_chunk_check(memory, SIZE, fake + 16), SS_CORRUPT);
    CHECK_EQ(ss_chunk_check(memory, SIZE, a), SS_OK);
    end();
}

/* A chunk on the list whose header is inside the memory and whose contents are not: only the end of the list may be so. */
static void a_chunk_is_given_out_only_if_it_lies_inside_the_memory(void) {
    begin(1);
    uint64_t a = take(), last = FIRST + (65536 - FIRST) / STRIDE * STRIDE;
    memcpy(bytes(last), "CHK\1", 4);
    ss_put64(bytes(last + 8), a + SIZE);
    ss_put64(bytes(76), last);
    CHECK_EQ(take_status(), SS_CORRUPT);
    end();
}

int main(void) {
    a_new_one_has_one_free_chunk();
    chunks_come_in_a_row();
    the_last_freed_chunk_comes_first_and_keeps_its_next();
    the_memory_grows_by_the_fewest_pages();
    a_refused_growth_is_undone();
    what_was_never_taken_cannot_be_given_back();
    a_damaged_header_or_list_is_noticed();
    a_chunk_off_the_grid_is_none();
    a_chunk_is_given_out_only_if_it_lies_inside_the_memory();
    return check_summary();
}
