/* SPDX-License-Identifier: Apache-2.0 */
/* Files with holes: what the file system refuses is an error that changes nothing, in every durability; if it cannot
 * reserve, holes are written; a file without holes asks for nothing.
 */
#include <errno.h>
#include <fcntl.h>

#include "support/files.h"

enum { PAGES = 100, DURABILITIES = 3 };

static ss_vfs fake;
static int refusal, reserved, covered_writes;

static int fake_reserve(void *self, int file, uint64_t from, uint64_t end) {
    reserved++;
    return refusal != 0 ? refusal : ss_vfs_system.reserve(self, file, from, end);
}

static bool loads_take_space(void *self, int file) {
    (void)self, (void)file;
    return true;
}

static int count_writes(void *self, int file, const struct iovec *parts, int count, uint64_t offset, size_t *done) {
    covered_writes++;
    return ss_vfs_system.write(self, file, parts, count, offset, done);
}

static void make_file(const char *name, bool sparse) {
    int file = open(path_of(name), O_CREAT | O_RDWR | O_TRUNC, 0600);
    static const char page[65536] = {1};
    CHECK(file >= 0);
    for (int i = 0; i < (sparse ? 0 : PAGES); i++) CHECK_EQ(write(file, page, sizeof page), sizeof page);
    CHECK_EQ(ftruncate(file, PAGES * 65536), 0);
    CHECK_EQ(fsync(file), 0);
    CHECK_EQ(close(file), 0);
}

static ss_memory *open_fake(const char *name, int durability, bool covers) {
    ss_memory *memory = NULL;
    fake = ss_vfs_system;
    fake.reserve = fake_reserve;
    fake.write = count_writes;
    fake.loads_take_space = covers ? loads_take_space : NULL;
    ss_file_options options = {
        .path = path_of(name), .mode = SS_FILE_WRITE, .durability = durability, .max_pages = 2 * PAGES, .vfs = &fake};
    CHECK_EQ(ss_file_open_with(&options, &memory), SS_OK);
    reserved = covered_writes = 0;
    return memory;
}

static void refusals(int durability, bool covers, int error, int status) {
    make_file("sparse", true);
    ss_memory *memory = open_fake("sparse", durability, covers);
    refusal = error;
    CHECK_EQ(put(memory, 5 * 65536, "refused"), status);
    CHECK_EQ(has(memory, 5 * 65536, "refused"), 0);
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    if (durability == SS_DURABLE_NONE) {
        CHECK_EQ(put(memory, 7 * 65536 - 3, "refused"), status);
        CHECK_EQ(ss_transaction_commit(memory), SS_OK);
    } else {
        CHECK_EQ(put(memory, 7 * 65536 - 3, "refused"), SS_OK);
        CHECK_EQ(ss_transaction_commit(memory), status);
    }
    CHECK_EQ(has(memory, 7 * 65536 - 3, "refused"), 0);
    refusal = 0;
    CHECK_EQ(put(memory, 7 * 65536 - 3, "written"), SS_OK);
    CHECK_EQ(has(memory, 7 * 65536 - 3, "written"), 1);
    CHECK_EQ(ss_memory_close(memory), SS_OK);
    ss_memory_release(memory);
    memory = open_fake("sparse", durability, covers);
    CHECK_EQ(has(memory, 7 * 65536 - 3, "written"), 1);
    CHECK_EQ(has(memory, 5 * 65536, "refused"), 0);
    ss_memory_release(memory);
}

/* If nothing can be reserved, the bytes that are there are written again. */
static void unsupported(int durability, bool covers) {
    make_file("sparse", true);
    ss_memory *memory = open_fake("sparse", durability, covers);
    refusal = EOPNOTSUPP;
    for (uint64_t i = 0; i < PAGES; i += 3) CHECK_EQ(put(memory, i * 65536 + 100, "written"), SS_OK);
    CHECK(covered_writes > 0);
    refusal = 0;
    CHECK_EQ(ss_memory_close(memory), SS_OK);
    ss_memory_release(memory);
    memory = open_fake("sparse", durability, covers);
    for (uint64_t i = 0; i < PAGES; i++) CHECK_EQ(has(memory, i * 65536 + 100, "written"), i % 3 == 0);
    ss_memory_release(memory);
}

static void each_hole_once(int durability, bool covers) {
    make_file("sparse", true);
    ss_memory *memory = open_fake("sparse", durability, covers);
    for (int i = 0; i < 10; i++) CHECK_EQ(put(memory, 20 * 65536 + 5, i % 2 == 0 ? "one" : "two"), SS_OK);
    CHECK_EQ(reserved, 1);
    ss_memory_release(memory);
    make_file("dense", false);
    memory = open_fake("dense", durability, covers);
    for (uint64_t i = 0; i < PAGES; i++) CHECK_EQ(put(memory, i * 65536 + 5, "one"), SS_OK);
    CHECK_EQ(reserved, 0);
    ss_memory_release(memory);
}

int main(void) {
    make_directory();
    for (int durability = 0; durability < DURABILITIES; durability++) {
        for (int covers = 0; covers < 2; covers++) {
            refusals(durability, covers, ENOSPC, SS_OUT_OF_MEMORY);
            refusals(durability, covers, EDQUOT, SS_OUT_OF_MEMORY);
            refusals(durability, covers, EFBIG, SS_OUT_OF_MEMORY);
            refusals(durability, covers, EIO, SS_SYSTEM);
            unsupported(durability, covers);
            each_hole_once(durability, covers);
        }
    }
    remove_directory();
    return check_summary();
}
