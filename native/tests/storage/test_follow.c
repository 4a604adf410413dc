/* SPDX-License-Identifier: Apache-2.0 */
/* Readers beside a writer of mode normal: each operation sees what is committed, through the log. */
#include <errno.h>
#include <string.h>

#include "core/waiting.h"
#include "support/files.h"

static ss_memory *open_with(ss_file_options options) {
    ss_memory *memory = NULL;
    options.path = path_of("followed");
    options.max_pages = 1000;
    CHECK_EQ(ss_file_open_with(&options, &memory), SS_OK);
    return memory;
}

static ss_memory *open_writer(int durability) {
    return open_with((ss_file_options){.mode = SS_FILE_WRITE, .durability = durability});
}

static ss_memory *open_reader(void) {
    return open_with((ss_file_options){.mode = SS_FILE_READ});
}

static void remove_file(void) {
    CHECK_EQ(size_of("followed-wal"), -1);
    CHECK(unlink(path_of("followed")) == 0);
}

static int64_t pages_of(ss_memory *memory) {
    int status = ss_enter_read(memory);
    if (status != SS_OK) return status;
    int64_t pages = (int64_t)memory->root->pages;
    ss_leave_read(memory);
    return pages;
}

static void a_fresh_file_shows_each_commit(void) {
    ss_memory *writer = open_writer(SS_DURABLE_NORMAL), *reader = open_reader();
    CHECK_EQ(pages_of(reader), 0);
    CHECK_EQ(grow(writer, 2), SS_OK);
    CHECK_EQ(pages_of(reader), 2);
    CHECK_EQ(put(writer, 65530, "over the edge"), SS_OK);
    CHECK_EQ(has(reader, 65530, "over the edge"), 1);
    CHECK_EQ(size_of("followed"), 0);
    CHECK_EQ(ss_transaction_begin(writer), SS_OK);
    CHECK_EQ(put(writer, 65530, "not committed"), SS_OK);
    CHECK_EQ(grow(writer, 1), SS_OK);
    CHECK_EQ(has(reader, 65530, "over the edge"), 1);
    CHECK_EQ(pages_of(reader), 2);
    CHECK_EQ(ss_transaction_rollback(writer), SS_OK);
    CHECK_EQ(has(reader, 65530, "over the edge"), 1);
    CHECK_EQ(put(writer, 7, "later"), SS_OK);
    CHECK_EQ(has(reader, 7, "later"), 1);
    ss_memory *late = open_reader();
    CHECK_EQ(has(late, 7, "later"), 1);
    ss_memory_release(late);
    ss_memory_release(writer);
    CHECK_EQ(has(reader, 7, "later"), 1);
    CHECK_EQ(pages_of(reader), 2);
    ss_memory_release(reader);
    remove_file();
}

static void a_transaction_of_the_reader_stays_where_it_began(void) {
    ss_memory *writer = open_writer(SS_DURABLE_NORMAL), *reader = open_reader();
    CHECK_EQ(grow(writer, 1), SS_OK);
    CHECK_EQ(put(writer, 0, "one"), SS_OK);
    CHECK_EQ(ss_transaction_begin(reader), SS_OK);
    CHECK_EQ(put(writer, 0, "two"), SS_OK);
    CHECK_EQ(grow(writer, 1), SS_OK);
    CHECK_EQ(has(reader, 0, "one"), 1);
    CHECK_EQ(pages_of(reader), 1);
    CHECK_EQ(ss_transaction_rollback(reader), SS_OK);
    CHECK_EQ(has(reader, 0, "two"), 1);
    CHECK_EQ(pages_of(reader), 2);
    ss_memory_release(reader);
    ss_memory_release(writer);
    remove_file();
}

/* Each kind of writer after each other, and checkpoints between, with readers of each kind that stay. */
static void readers_follow_from_writer_to_writer(void) {
    static ss_vfs unmapped;
    unmapped = ss_vfs_system;
    unmapped.map = NULL;
    ss_memory *readers[] = {
        NULL,
        NULL,
        NULL,
    };
    const int durabilities[] = {SS_DURABLE_NORMAL, SS_DURABLE_NONE, SS_DURABLE_NORMAL, SS_DURABLE_FULL, SS_DURABLE_NORMAL};
    for (unsigned i = 0; i < 60; i++) {
        char text[32];
        ss_memory *writer = open_writer(durabilities[i / 5 % 5]);
        if (i == 0) {
            readers[0] = open_reader();
            readers[1] = open_with((ss_file_options){.mode = SS_FILE_READ, .load = 1});
            readers[2] = open_with((ss_file_options){.mode = SS_FILE_READ, .vfs = &unmapped});
        }
        if (i % 4 == 0) CHECK_EQ(grow(writer, 1), SS_OK);
        for (unsigned j = 0; j < 6; j++) {
            snprintf(text, sizeof text, "%u, %u", i, j);
            CHECK_EQ(put(writer, 4096 * (1 + j % 3) - 3, text), SS_OK);
            for (unsigned r = 0; r < 3; r++) {
                CHECK_EQ(has(readers[r], 4096 * (1 + j % 3) - 3, text), 1);
                CHECK_EQ(pages_of(readers[r]), i / 4 + 1);
            }
            if ((i + j) % 4 == 0) CHECK_EQ(ss_memory_checkpoint(writer), SS_OK);
            if ((i + j) % 3 == 0) CHECK_EQ(ss_memory_sync(writer), SS_OK);
        }
        ss_memory_release(writer);
        for (unsigned r = 0; r < 3; r++) CHECK_EQ(has(readers[r], 4096 * 3 - 3, text), 1);
    }
    for (unsigned r = 0; r < 3; r++) ss_memory_release(readers[r]);
    remove_file();
}

/* Records longer than what is read at once, and a log that is emptied and cut again and again. */
static void long_logs_are_followed(void) {
    static uint8_t bytes[3 << 20];
    ss_memory *writer = open_with((ss_file_options){.mode = SS_FILE_WRITE, .durability = SS_DURABLE_NORMAL, .checkpoint_bytes = 1 << 20});
    ss_memory *reader = open_reader(), *seldom = open_reader();
    CHECK_EQ(grow(writer, sizeof bytes / 65536), SS_OK);
    for (unsigned i = 1; i < 20; i++) {
        size_t length = i % 3 == 0 ? sizeof bytes : 70000 * i;
        memset(bytes, (int)i, length);
        CHECK_EQ(ss_enter_write(writer), SS_OK);
        CHECK_EQ(ss_leave_write(writer, ss_memory_write(writer, 0, bytes, length)), SS_OK);
        ss_memory *both[] = {reader, seldom};
        for (unsigned r = 0; r < (i % 7 == 0 ? 2 : 1); r++) {
            CHECK_EQ(ss_enter_read(both[r]), SS_OK);
            CHECK_EQ(both[r]->root->pages * 65536, sizeof bytes);
            CHECK(memcmp(both[r]->root->base, bytes, sizeof bytes) == 0);
            ss_leave_read(both[r]);
        }
    }
    ss_memory_release(reader);
    ss_memory_release(seldom);
    ss_memory_release(writer);
    remove_file();
}

/* ---- a commit that fails when all of its record is there ---- */

static ss_memory *watching;
static bool fails;

static int write_and_fail(void *self, int file, const struct iovec *parts, int count, uint64_t offset, size_t *done) {
    int error = ss_vfs_system.write(self, file, parts, count, offset, done);
    if (!fails || error != 0) return error;
    fails = false;
    CHECK_EQ(has(watching, 0, "never"), 1);
    return EIO;
}

static void a_commit_that_is_taken_back_is_forgotten(void) {
    static ss_vfs failing;
    failing = ss_vfs_system;
    failing.write = write_and_fail;
    failing.stores_in_place = NULL;
    ss_memory *writer = open_with((ss_file_options){.mode = SS_FILE_WRITE, .durability = SS_DURABLE_NORMAL, .vfs = &failing});
    watching = open_reader();
    CHECK_EQ(grow(writer, 1), SS_OK);
    CHECK_EQ(put(writer, 0, "first"), SS_OK);
    CHECK_EQ(has(watching, 0, "first"), 1);
    fails = true;
    CHECK_EQ(put(writer, 0, "never"), SS_SYSTEM);
    CHECK(!fails);
    CHECK_EQ(has(watching, 0, "first"), 1);
    CHECK_EQ(put(writer, 2, "x"), SS_OK);
    CHECK_EQ(has(watching, 0, "fixst"), 1);
    ss_memory_release(watching);
    ss_memory_release(writer);
    remove_file();
}

/* ---- full ---- */

/* What is in the log of mode full may not be durable yet. */
static void nobody_hears_of_a_commit_that_is_not_synced(void) {
    ss_memory *writer = open_with((ss_file_options){.mode = SS_FILE_WRITE, .durability = SS_DURABLE_FULL, .exclusive = 1});
    ss_memory *reader = open_reader();
    CHECK_EQ(grow(writer, 1), SS_OK);
    CHECK_EQ(pages_of(reader), 0);
    CHECK_EQ(ss_memory_checkpoint(writer), SS_OK);
    CHECK_EQ(put(writer, 0, "text"), SS_OK);
    CHECK_EQ(has(reader, 0, "text"), 0);
    CHECK_EQ(ss_memory_checkpoint(writer), SS_OK);
    CHECK_EQ(has(reader, 0, "text"), 1);
    ss_memory_release(reader);
    ss_memory_release(writer);
    remove_file();
}

/* ---- readers that stay ---- */

static ss_memory *open_small_writer(void) {
    return open_with(
        (ss_file_options){.mode = SS_FILE_WRITE, .durability = SS_DURABLE_NORMAL, .checkpoint_bytes = 256 << 10, .kept_bytes = 4 << 20});
}

/* Commits until the log has taken so many bytes more; returns the longest that a commit took, in milliseconds. */
static uint64_t commit_bytes(ss_memory *writer, uint64_t bytes) {
    static uint8_t block[32 << 10];
    static unsigned number;
    uint64_t longest = 0;
    for (uint64_t done = 0; done < bytes; done += sizeof block) {
        uint64_t before = ss_milliseconds();
        memset(block, (int)(++number % 255 + 1), sizeof block);
        CHECK_EQ(ss_enter_write(writer), SS_OK);
        CHECK_EQ(ss_leave_write(writer, ss_memory_write(writer, number % 2 * sizeof block, block, sizeof block)), SS_OK);
        if (ss_milliseconds() - before > longest) longest = ss_milliseconds() - before;
    }
    return longest;
}

static void a_reader_that_stays_does_not_stop_the_writer(void) {
    ss_memory *writer = open_small_writer(), *reader = open_reader(), *other = open_reader();
    CHECK_EQ(grow(writer, 1), SS_OK);
    CHECK_EQ(put(writer, 0, "as it was"), SS_OK);
    CHECK_EQ(ss_transaction_begin(reader), SS_OK);
    uint64_t longest = commit_bytes(writer, 3 << 20);
    CHECK(longest < 400); /* one waits for 2 ms at most; the machine may be busy */
    CHECK(size_of("followed-wal") > 3 << 20);
    CHECK_EQ(has(reader, 0, "as it was"), 1);
    CHECK_EQ(has(other, 0, "as it was"), 0);
    CHECK_EQ(put(writer, 0, "and is now"), SS_OK);
    CHECK_EQ(has(other, 0, "and is now"), 1);
    CHECK_EQ(ss_transaction_rollback(reader), SS_OK);
    CHECK_EQ(has(reader, 0, "and is now"), 1);
    (void)commit_bytes(writer, 512 << 10);
    CHECK(size_of("followed-wal") <= 2 << 20);
    ss_memory_release(reader);
    ss_memory_release(other);
    ss_memory_release(writer);
    remove_file();
}

static void a_reader_that_stays_too_long_is_told_so(void) {
    ss_memory *writer = open_small_writer(), *reader = open_reader();
    ss_held held = {0};
    CHECK_EQ(grow(writer, 1), SS_OK);
    CHECK_EQ(put(writer, 0, "as it was"), SS_OK);
    for (unsigned ends = 0; ends < 4; ends++) {
        CHECK_EQ(ends == 3 ? ss_held_begin(&held, reader) : ss_transaction_begin(reader), SS_OK);
        (void)commit_bytes(writer, 5 << 20);
        CHECK(size_of("followed-wal") > 4 << 20);
        usleep(10000);
        CHECK_EQ(has(reader, 0, "as it was"), SS_TRANSACTION);
        CHECK_EQ(has(reader, 0, "as it was"), SS_TRANSACTION);
        (void)commit_bytes(writer, 256 << 10);
        CHECK(size_of("followed-wal") <= 2 << 20);
        CHECK_EQ(has(reader, 0, "as it was"), SS_TRANSACTION);
        if (ends == 0) CHECK_EQ(ss_transaction_rollback(reader), SS_OK);
        if (ends == 1) CHECK_EQ(ss_transaction_commit(reader), SS_OK);
        if (ends == 2) CHECK_EQ(ss_transaction_changed(reader), 0);
        if (ends == 2) CHECK_EQ(ss_transaction_rollback(reader), SS_OK);
        if (ends == 3) CHECK_EQ(ss_held_commit(&held), SS_OK);
        CHECK_EQ(put(writer, 0, "as it was"), SS_OK);
        CHECK_EQ(has(reader, 0, "as it was"), 1);
    }
    ss_memory_release(reader);
    ss_memory_release(writer);
    remove_file();
}

static void stay_too_long(ss_memory *writer, ss_memory *reader) {
    CHECK_EQ(ss_transaction_begin(reader), SS_OK);
    (void)commit_bytes(writer, 5 << 20);
    usleep(10000);
    CHECK_EQ(has(reader, 0, "as it was"), SS_TRANSACTION);
    CHECK_EQ(ss_transaction_rollback(reader), SS_OK);
}

/* The writer goes on asking until its next commit, and there may be none. */
static void those_who_begin_after_one_that_stayed_may_stay(void) {
    ss_memory *writer = open_small_writer(), *reader = open_reader();
    CHECK_EQ(grow(writer, 2), SS_OK);
    stay_too_long(writer, reader);
    CHECK_EQ(put(writer, 70000, "seen"), SS_OK);
    CHECK(size_of("followed-wal") <= 2 << 20); /* the first commit after it has emptied the log */
    stay_too_long(writer, reader);
    CHECK_EQ(ss_transaction_begin(reader), SS_OK);
    for (unsigned i = 0; i < 3; i++) {
        usleep(10000);
        CHECK_EQ(has(reader, 70000, "seen"), 1);
    }
    CHECK_EQ(put(writer, 70000, "left"), SS_OK); /* it cannot empty the log, and these readers were asked now */
    usleep(10000);
    CHECK_EQ(has(reader, 70000, "seen"), SS_TRANSACTION);
    CHECK_EQ(put(writer, 70004, "!"), SS_OK);
    CHECK(size_of("followed-wal") <= 2 << 20);
    CHECK_EQ(ss_transaction_rollback(reader), SS_OK);
    CHECK_EQ(has(reader, 70000, "left!"), 1);
    ss_memory_release(reader);
    ss_memory_release(writer);
    remove_file();
}

/* What iterators compare stays while nothing is committed. */
static void an_image_that_stays_is_known_to_stay(void) {
    ss_memory *writer = open_writer(SS_DURABLE_NORMAL), *reader = open_reader();
    CHECK_EQ(grow(writer, 1), SS_OK);
    CHECK_EQ(pages_of(reader), 1);
    uint64_t epoch = reader->root->epoch;
    CHECK_EQ(pages_of(reader), 1);
    CHECK(reader->root->epoch == epoch);
    CHECK_EQ(put(writer, 0, "text"), SS_OK);
    CHECK_EQ(has(reader, 0, "text"), 1);
    CHECK(reader->root->epoch != epoch);
    ss_memory_release(reader);
    ss_memory_release(writer);
    remove_file();
}

int main(void) {
    make_directory();
    a_fresh_file_shows_each_commit();
    a_transaction_of_the_reader_stays_where_it_began();
    readers_follow_from_writer_to_writer();
    long_logs_are_followed();
    a_commit_that_is_taken_back_is_forgotten();
    nobody_hears_of_a_commit_that_is_not_synced();
    an_image_that_stays_is_known_to_stay();
    a_reader_that_stays_does_not_stop_the_writer();
    a_reader_that_stays_too_long_is_told_so();
    those_who_begin_after_one_that_stayed_may_stay();
    remove_directory();
    return check_summary();
}
