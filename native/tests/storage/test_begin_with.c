/* SPDX-License-Identifier: Apache-2.0 */
/* Memories that begin with the pages of a file: nothing reaches the file, transactions and shrinking work as on zeros. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/error.h"
#include "memory/access.h"
#include "memory/contents.h"
#include "storage/image.h"
#include "storage/journal.h"
#include "storage/paths.h"
#include "support/check.h"

enum { PAGES = 3 };
static char path[] = "/tmp/ss_begin_XXXXXX";

static void write_file(void) {
    int file = mkstemp(path);
    CHECK(file >= 0);
    uint8_t page[SS_PAGE_SIZE];
    for (int i = 0; i < PAGES; i++) {
        memset(page, i + 1, sizeof page);
        CHECK_EQ(write(file, page, sizeof page), (ssize_t)sizeof page);
    }
    close(file);
}

static uint8_t byte_at(ss_memory *memory, uint64_t offset) {
    uint8_t byte = 0xEE;
    CHECK_EQ(ss_access_read(memory, offset, &byte, 1), SS_OK);
    return byte;
}

static void changes_stay_in_the_memory(void) {
    ss_memory *memory;
    CHECK_EQ(ss_memory_new_flat(100, &memory), SS_OK);
    CHECK_EQ(ss_memory_begin_with(memory, path, PAGES), SS_OK);
    CHECK_EQ(ss_access_size(memory), PAGES);
    CHECK_EQ(byte_at(memory, 2 * SS_PAGE_SIZE), 3);
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    CHECK_EQ(ss_access_write(memory, 5, "x", 1), SS_OK);
    CHECK_EQ(ss_access_grow(memory, 2), PAGES);
    CHECK_EQ(byte_at(memory, 4 * SS_PAGE_SIZE), 0);
    CHECK_EQ(ss_access_write(memory, 4 * SS_PAGE_SIZE, "y", 1), SS_OK);
    CHECK_EQ(ss_transaction_rollback(memory), SS_OK);
    CHECK_EQ(byte_at(memory, 5), 1);
    CHECK_EQ(ss_access_size(memory), PAGES);
    CHECK_EQ(ss_access_write(memory, 5, "x", 1), SS_OK);
    CHECK_EQ(ss_memory_shrink(memory, 1), SS_OK);
    CHECK_EQ(ss_access_grow(memory, 2), 1);
    CHECK_EQ(byte_at(memory, 2 * SS_PAGE_SIZE), 0); /* not the file's bytes again */
    CHECK_EQ(byte_at(memory, 5), 'x');
    ss_memory_release(memory);
    FILE *file = fopen(path, "rb");
    fseek(file, 5, SEEK_SET);
    CHECK_EQ(fgetc(file), 1);
    fclose(file);
}

/* Nobody wrote to it, and yet it is not empty, whatever it begins with. */
static void what_the_file_holds_counts_as_written(void) {
    ss_memory *memory;
    char other[] = "/tmp/ss_zeros_XXXXXX";
    int file = mkstemp(other);
    CHECK_EQ(pwrite(file, "precious", 8, 2 * SS_PAGE_SIZE - 8), 8);
    close(file);
    CHECK_EQ(ss_memory_new_flat(100, &memory), SS_OK);
    CHECK_EQ(ss_memory_begin_with(memory, other, 2), SS_OK);
    CHECK_EQ(ss_enter_read(memory), SS_OK);
    CHECK_EQ(ss_contents_demand_empty(memory), SS_BAD_MAGIC);
    CHECK_EQ(ss_last_failure()->address, 2 * SS_PAGE_SIZE - 8);
    ss_leave_read(memory);
    ss_memory_release(memory);
    remove(other);
}

static void what_cannot_begin_so_is_refused(void) {
    ss_memory *memory, *part;
    CHECK_EQ(ss_memory_new_flat(100, &memory), SS_OK);
    CHECK_EQ(ss_memory_begin_with(memory, "/nowhere/at/all", 1), SS_SYSTEM);
    CHECK_EQ(ss_memory_begin_with(memory, path, PAGES + 1), SS_SYSTEM);
    CHECK_EQ(ss_access_size(memory), 0);
    CHECK_EQ(ss_memory_begin_with(memory, path, 101), SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    CHECK(ss_memory_begin_with(memory, path, PAGES) < 0);
    CHECK_EQ(ss_transaction_rollback(memory), SS_OK);
    CHECK_EQ(ss_memory_begin_with(memory, path, 0), SS_OK);
    CHECK_EQ(ss_memory_new_restricted(memory, 0, 10, &part), SS_OK);
    CHECK_EQ(ss_memory_begin_with(part, path, PAGES), SS_ARGUMENT);
    ss_memory_release(part);
    CHECK_EQ(ss_memory_begin_with(memory, path, PAGES), SS_OK);
    CHECK_EQ(ss_memory_begin_with(memory, path, PAGES), SS_ARGUMENT);
    ss_memory_release(memory);
}

static void two_files_are_exchanged(void) {
    char other[] = "/tmp/ss_other_XXXXXX";
    int file = mkstemp(other);
    CHECK_EQ(write(file, "z", 1), 1);
    close(file);
    int status = ss_exchange_paths(path, other);
    CHECK(status == SS_OK || status == SS_ABSENT);
    FILE *found = fopen(status == SS_OK ? path : other, "rb");
    CHECK_EQ(fgetc(found), 'z');
    fclose(found);
    CHECK_EQ(ss_exchange_paths(path, "/nowhere/at/all"), SS_SYSTEM);
    remove(other);
}

int main(void) {
    write_file();
    changes_stay_in_the_memory();
    what_the_file_holds_counts_as_written();
    what_cannot_begin_so_is_refused();
    two_files_are_exchanged();
    remove(path);
    return check_summary();
}
