/* SPDX-License-Identifier: Apache-2.0 */
/* Files with a log on the real file system: commits, reopening, killed processes, readers, damaged logs.
 *
 * The file is long because all of them begin with the same few files, as a writer, a killed writer or a disk leaves them. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/checksum.h"
#include "support/files.h"

static int open_as(const char *name, int mode, int durability, ss_memory **out) {
    return ss_file_open(path_of(name), mode, durability, 1000, out);
}

static ss_memory *must_open(const char *name, int mode, int durability) {
    ss_memory *memory = NULL;
    CHECK_EQ(open_as(name, mode, durability, &memory), SS_OK);
    return memory;
}

/* Runs `work` in a child that is killed when it returns. */
static void in_killed_child(void (*work)(const char *name), const char *name) {
    pid_t child = fork();
    if (child == 0) {
        check_failed = 0;
        work(name);
        if (check_failed != 0) _exit(1);
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
}

static void sums_are_those_of_the_specification(void) {
    CHECK_EQ(ss_checksum_of("", 0, 0), 0xEF46DB3751D8E999);
    CHECK_EQ(ss_checksum_of("a", 1, 0), 0xD24EC4F1A98C6E5B);
    CHECK_EQ(ss_checksum_of("abc", 3, 0), 0x44BC2CF5AD770999);
    CHECK_EQ(ss_checksum_of("Nobody inspects the spammish repetition", 39, 0), 0xFBCEA83C8A378BF1);
    uint8_t bytes[200];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 37 + 11);
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        ss_checksum sum;
        ss_checksum_begin(&sum, 77);
        ss_checksum_add(&sum, bytes, cut);
        ss_checksum_add(&sum, bytes + cut, sizeof bytes - cut);
        CHECK_EQ(ss_checksum_end(&sum), ss_checksum_of(bytes, sizeof bytes, 77));
    }
}

static void at_rest_the_file_is_the_bare_image(int durability) {
    ss_memory *memory = must_open("rest", SS_FILE_CREATE, durability);
    CHECK_EQ(size_of("rest-wal"), 1 << 20);
    CHECK_EQ(grow(memory, 2), SS_OK);
    CHECK_EQ(put(memory, 65530, "over the edge"), SS_OK);
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    CHECK_EQ(grow(memory, 1), SS_OK);
    CHECK_EQ(put(memory, 2 * 65536, "rolled back"), SS_OK);
    CHECK_EQ(ss_transaction_rollback(memory), SS_OK);
    CHECK_EQ(ss_memory_sync(memory), SS_OK);
    CHECK_EQ(ss_memory_close(memory), SS_OK);
    ss_memory_release(memory);
    CHECK_EQ(size_of("rest"), 2 * 65536);
    CHECK_EQ(size_of("rest-wal"), -1);
    memory = must_open("rest", SS_FILE_WRITE, SS_DURABLE_NONE);
    CHECK_EQ(has(memory, 65530, "over the edge"), 1);
    ss_memory_release(memory);
    CHECK(unlink(path_of("rest")) == 0);
}

static void write_normal_and_stay(const char *name) {
    ss_memory *memory = must_open(name, SS_FILE_WRITE, SS_DURABLE_NORMAL);
    CHECK_EQ(grow(memory, 1), SS_OK);
    CHECK_EQ(put(memory, 10, "committed"), SS_OK);
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    CHECK_EQ(put(memory, 10, "forgotten"), SS_OK);
}

static void write_full_and_stay(const char *name) {
    ss_memory *memory = must_open(name, SS_FILE_WRITE, SS_DURABLE_FULL);
    CHECK_EQ(grow(memory, 1), SS_OK);
    CHECK_EQ(put(memory, 10, "committed"), SS_OK);
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    CHECK_EQ(put(memory, 10, "forgotten"), SS_OK);
}

static void a_killed_process_loses_nothing_that_was_committed(void) {
    for (int durability = SS_DURABLE_NONE; durability <= SS_DURABLE_FULL; durability++) {
        in_killed_child(durability == SS_DURABLE_FULL ? write_full_and_stay : write_normal_and_stay, "killed");
        ss_memory *memory = must_open("killed", SS_FILE_WRITE, durability);
        CHECK_EQ(memory->root->pages, 1);
        CHECK_EQ(has(memory, 10, "committed"), 1);
        CHECK_EQ(put(memory, 10, "and again"), SS_OK);
        CHECK_EQ(ss_memory_close(memory), SS_OK);
        ss_memory_release(memory);
        CHECK_EQ(size_of("killed-wal"), -1);
        CHECK(unlink(path_of("killed")) == 0);
    }
}

static void a_reader_recovers_what_a_killed_writer_left(void) {
    in_killed_child(write_normal_and_stay, "left");
    CHECK_EQ(size_of("left"), 0);
    ss_memory *reader = must_open("left", SS_FILE_READ, SS_DURABLE_NORMAL);
    CHECK_EQ(has(reader, 10, "committed"), 1);
    CHECK_EQ(size_of("left-wal"), -1);
    in_killed_child(write_full_and_stay, "left");
    CHECK_EQ(has(reader, 10, "committed"), 1);
    CHECK_EQ(reader->root->pages, 2);
    ss_memory_release(reader);
}

static void a_reader_sees_full_commits_at_once_and_snapshots_hold(void) {
    ss_memory *writer = must_open("seen", SS_FILE_WRITE, SS_DURABLE_FULL);
    ss_memory *reader = must_open("seen", SS_FILE_READ, SS_DURABLE_FULL);
    CHECK_EQ(grow(writer, 1), SS_OK);
    CHECK_EQ(put(writer, 5, "first"), SS_OK);
    CHECK_EQ(has(reader, 5, "first"), 1);
    CHECK_EQ(ss_transaction_begin(writer), SS_OK);
    CHECK_EQ(put(writer, 5, "other"), SS_OK);
    CHECK_EQ(has(reader, 5, "first"), 1);
    CHECK_EQ(ss_transaction_commit(writer), SS_OK);
    CHECK_EQ(has(reader, 5, "other"), 1);
    CHECK_EQ(ss_transaction_begin(reader), SS_OK);
    CHECK_EQ(put(writer, 5, "third"), SS_OK);
    CHECK_EQ(has(reader, 5, "other"), 1);
    CHECK_EQ(ss_memory_set_patience(writer, 50), SS_OK);
    CHECK_EQ(ss_memory_checkpoint(writer), SS_LOCKED);
    CHECK_EQ(put(writer, 6, "h"), SS_OK);
    CHECK_EQ(ss_transaction_commit(reader), SS_OK);
    CHECK_EQ(has(reader, 5, "other"), 1);
    CHECK_EQ(ss_memory_checkpoint(writer), SS_OK);
    CHECK_EQ(has(reader, 5, "third"), 1);
    CHECK_EQ(ss_memory_close(writer), SS_OK);
    CHECK_EQ(has(reader, 5, "third"), 1);
    CHECK_EQ(put(reader, 5, "x"), SS_READ_ONLY);
    ss_memory_release(writer);
    ss_memory_release(reader);
}

static void a_log_that_grows_long_is_emptied(void) {
    for (int durability = SS_DURABLE_NORMAL; durability <= SS_DURABLE_FULL; durability++) {
        ss_file_options options = {.path = path_of("long"),
                                   .mode = SS_FILE_WRITE,
                                   .durability = durability,
                                   .max_pages = 100,
                                   .log_bytes = 65536,
                                   .checkpoint_bytes = 100000};
        ss_memory *memory;
        CHECK_EQ(ss_file_open_with(&options, &memory), SS_OK);
        CHECK_EQ(grow(memory, 10), SS_OK);
        for (uint64_t i = 0; i < 500; i++) CHECK_EQ(put(memory, i * 1300, "some text"), SS_OK);
        CHECK(size_of("long-wal") < 200000);
        CHECK_EQ(ss_transaction_begin(memory), SS_OK);
        for (uint64_t i = 0; i < 160; i++) CHECK_EQ(put(memory, i * 4096, "everywhere"), SS_OK);
        CHECK_EQ(ss_transaction_commit(memory), SS_OK);
        CHECK(size_of("long-wal") <= 65536);
        ss_memory_release(memory);
        CHECK(unlink(path_of("long")) == 0);
    }
}

static void copy_file(const char *from, const char *to) {
    char command[600];
    snprintf(command, sizeof command, "cp %s %s", path_of(from), path_of(to));
    CHECK_EQ(system(command), 0);
}

static void what_is_no_log_of_the_file_is_refused(void) {
    ss_memory *memory;
    in_killed_child(write_full_and_stay, "odd");
    copy_file("odd-wal", "kept-wal");
    CHECK(truncate(path_of("odd"), 3 * 65536) == 0);
    CHECK_EQ(open_as("odd", SS_FILE_WRITE, SS_DURABLE_FULL, &memory), SS_WAL_CORRUPT);
    CHECK(truncate(path_of("odd"), 65536) == 0);
    CHECK(truncate(path_of("odd-wal"), 5000) == 0);
    CHECK_EQ(open_as("odd", SS_FILE_WRITE, SS_DURABLE_NONE, &memory), SS_WAL_CORRUPT);
    CHECK_EQ(open_as("odd", SS_FILE_READ, SS_DURABLE_NONE, &memory), SS_WAL_CORRUPT);
    CHECK(unlink(path_of("odd-wal")) == 0 && symlink("kept-wal", path_of("odd-wal")) == 0);
    CHECK_EQ(open_as("odd", SS_FILE_WRITE, SS_DURABLE_FULL, &memory), SS_SYSTEM);
    CHECK_EQ(ss_last_failure()->number, ELOOP);
    CHECK(unlink(path_of("odd-wal")) == 0 && mkdir(path_of("odd-wal"), 0700) == 0);
    CHECK(open_as("odd", SS_FILE_WRITE, SS_DURABLE_FULL, &memory) < 0);
    CHECK(rmdir(path_of("odd-wal")) == 0);
    copy_file("kept-wal", "odd-wal");
    CHECK_EQ(open_as("odd", SS_FILE_WRITE, SS_DURABLE_FULL, &memory), SS_OK);
    CHECK_EQ(has(memory, 10, "committed"), 1);
    ss_memory_release(memory);
}

/* The log cannot get long enough for a checkpoint, and one is made whenever it cannot grow. */
static void commit_on_a_full_disk(int durability) {
    ss_file_options options = {.path = path_of("full"),
                               .mode = SS_FILE_WRITE,
                               .durability = durability,
                               .max_pages = 100,
                               .log_bytes = 65536,
                               .checkpoint_bytes = 1 << 30};
    ss_memory *memory;
    static uint8_t large[200000];
    CHECK_EQ(ss_file_open_with(&options, &memory), SS_OK);
    CHECK_EQ(grow(memory, 4), SS_OK);
    CHECK_EQ(grow(memory, 2), SS_OUT_OF_MEMORY);
    CHECK_EQ(memory->root->pages, 4);
    for (int i = 0; i < 3000; i++) CHECK_EQ(put(memory, 100, i % 2 == 0 ? "even" : "odd."), SS_OK);
    CHECK(size_of("full-wal") <= 4 * 65536 + 1000);
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    for (uint64_t at = 0; at <= 56000; at += 8000) {
        CHECK_EQ(ss_enter_write(memory), SS_OK);
        CHECK_EQ(ss_leave_write(memory, ss_memory_write(memory, at, large, sizeof large)), SS_OK);
    }
    CHECK_EQ(ss_transaction_commit(memory), SS_OUT_OF_MEMORY);
    CHECK_EQ(has(memory, 100, "odd."), 1);
    CHECK_EQ(put(memory, 100, "goes on"), SS_OK);
    CHECK_EQ(ss_memory_close(memory), SS_OK);
    ss_memory_release(memory);
    CHECK_EQ(size_of("full"), 4 * 65536);
    memory = must_open("full", SS_FILE_READ, SS_DURABLE_NONE);
    CHECK_EQ(has(memory, 100, "goes on"), 1);
    ss_memory_release(memory);
    CHECK_EQ(remove(path_of("full")), 0);
}

static void commit_fully_on_a_full_disk(void) {
    commit_on_a_full_disk(SS_DURABLE_FULL);
}

static void commit_normally_on_a_full_disk(void) {
    commit_on_a_full_disk(SS_DURABLE_NORMAL);
}

static void a_full_disk_rolls_back_and_the_handle_goes_on(void) {
    with_file_limit(4 * 65536 + 1000, commit_fully_on_a_full_disk);
    with_file_limit(4 * 65536 + 1000, commit_normally_on_a_full_disk);
}

static void limit_files(rlim_t limit) {
    struct rlimit now;
    CHECK(getrlimit(RLIMIT_FSIZE, &now) == 0);
    now.rlim_cur = limit;
    CHECK(setrlimit(RLIMIT_FSIZE, &now) == 0);
}

/* Grows and writes until the disk is full; nothing of what was done before is lost. Returns the pages that were written. */
static uint64_t fill_disk(ss_memory *memory) {
    uint64_t pages = 0, old;
    int status = SS_OK;
    while (status == SS_OK) {
        old = memory->root->pages;
        status = grow(memory, 1);
        if (status != SS_OK) CHECK_EQ(memory->root->pages, old);
        if (status == SS_OK) status = put(memory, pages * 65536 + 65000, "written");
        if (status == SS_OK) pages++;
    }
    CHECK_EQ(status, SS_OUT_OF_MEMORY);
    for (uint64_t i = 0; i < pages; i++) CHECK_EQ(has(memory, i * 65536 + 65000, "written"), 1);
    return pages;
}

static void fill_and_go_on(int durability, rlim_t limit) {
    ss_file_options options = {
        .path = path_of("limit"), .mode = SS_FILE_WRITE, .durability = durability, .max_pages = 100, .log_bytes = 8192};
    ss_memory *memory;
    limit_files(limit);
    int status = ss_file_open_with(&options, &memory);
    if (status != SS_OK) {
        CHECK_EQ(status, SS_OUT_OF_MEMORY);
        CHECK(limit < 8192 && size_of("limit-wal") == -1 && size_of("limit-wal.tmp") == -1);
        return;
    }
    uint64_t pages = fill_disk(memory);
    limit_files(RLIM_INFINITY);
    CHECK_EQ(grow(memory, 1), SS_OK);
    CHECK_EQ(put(memory, pages * 65536 + 65000, "written"), SS_OK);
    CHECK_EQ(ss_memory_close(memory), SS_OK);
    ss_memory_release(memory);
    memory = must_open("limit", SS_FILE_READ, SS_DURABLE_NONE);
    for (uint64_t i = 0; i <= pages; i++) CHECK_EQ(has(memory, i * 65536 + 65000, "written"), 1);
    ss_memory_release(memory);
}

static void a_disk_may_be_full_at_each_growth_and_each_commit(void) {
    for (int durability = SS_DURABLE_NONE; durability <= SS_DURABLE_FULL; durability++) {
        for (rlim_t limit = 0; limit < 7 * 65536; limit += 20480) {
            pid_t child = fork();
            if (child == 0) {
                check_failed = 0;
                fill_and_go_on(durability, limit);
                _exit(check_failed != 0);
            }
            int status = -1;
            CHECK(waitpid(child, &status, 0) == child && status == 0);
            /* Where not even a log found room, there is no file. */
            CHECK(unlink(path_of("limit")) == 0 || errno == ENOENT);
        }
    }
}

static void checkpoint_and_stay(const char *name) {
    ss_memory *memory = must_open(name, SS_FILE_WRITE, SS_DURABLE_FULL);
    CHECK_EQ(grow(memory, 1), SS_OK);
    CHECK_EQ(put(memory, 10, "committed"), SS_OK);
    CHECK_EQ(ss_memory_checkpoint(memory), SS_OK);
}

static void read_on_a_full_disk(void) {
    ss_memory *memory;
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(open_as("empty", SS_FILE_READ, SS_DURABLE_NONE, &memory), SS_OK);
        CHECK_EQ(has(memory, 10, "committed"), 1);
        ss_memory_release(memory);
        CHECK_EQ(open_as("waits", SS_FILE_READ, SS_DURABLE_NONE, &memory), SS_OUT_OF_MEMORY);
    }
}

/* A reader makes the file an image first, and where it cannot, it reads nevertheless if the log has no commits. */
static void a_reader_needs_no_disk_space_for_an_empty_log(void) {
    in_killed_child(checkpoint_and_stay, "empty");
    in_killed_child(write_normal_and_stay, "waits");
    with_file_limit(0, read_on_a_full_disk);
    CHECK(size_of("empty-wal") > 0 && size_of("waits-wal") > 0);
    for (int i = 0; i < 2; i++) {
        const char *name = i == 0 ? "empty" : "waits";
        ss_memory *memory = must_open(name, SS_FILE_READ, SS_DURABLE_NONE);
        CHECK_EQ(has(memory, 10, "committed"), 1);
        ss_memory_release(memory);
    }
    CHECK(size_of("empty-wal") == -1 && size_of("waits-wal") == -1);
}

/* Nobody can give back what only the log had. What the file has is an image all the same, and a handle that is still open
 * has everything. */
static void a_log_that_was_deleted_takes_its_commits_with_it(void) {
    ss_memory *memory = must_open("gone", SS_FILE_WRITE, SS_DURABLE_NORMAL);
    CHECK_EQ(grow(memory, 1), SS_OK);
    CHECK_EQ(put(memory, 10, "written"), SS_OK);
    CHECK(unlink(path_of("gone-wal")) == 0);
    CHECK_EQ(put(memory, 20, "further"), SS_OK);
    CHECK_EQ(ss_memory_close(memory), SS_OK);
    ss_memory_release(memory);
    in_killed_child(write_normal_and_stay, "gone");
    CHECK(unlink(path_of("gone-wal")) == 0);
    memory = must_open("gone", SS_FILE_WRITE, SS_DURABLE_NORMAL);
    CHECK_EQ(memory->root->pages, 1);
    CHECK_EQ(has(memory, 10, "written"), 1);
    CHECK_EQ(has(memory, 20, "further"), 1);
    ss_memory_release(memory);
}

static void a_child_of_a_fork_has_no_file(void) {
    ss_memory *memory = must_open("fork", SS_FILE_WRITE, SS_DURABLE_NORMAL), *other;
    CHECK_EQ(grow(memory, 1), SS_OK);
    pid_t child = fork();
    if (child == 0) {
        check_failed = 0;
        CHECK_EQ(put(memory, 0, "child"), SS_CLOSED);
        CHECK_EQ(ss_memory_close(memory), SS_OK);
        ss_memory_release(memory);
        CHECK_EQ(open_as("fork", SS_FILE_WRITE, SS_DURABLE_NORMAL, &other), SS_LOCKED);
        _exit(check_failed != 0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK_EQ(put(memory, 0, "parent"), SS_OK);
    ss_memory_release(memory);
    memory = must_open("fork", SS_FILE_READ, SS_DURABLE_NORMAL);
    CHECK_EQ(has(memory, 0, "parent"), 1);
    ss_memory_release(memory);
}

static void a_stopped_writer_keeps_nobody_waiting_for_ever(void) {
    int ready[2];
    CHECK(pipe(ready) == 0);
    pid_t writer = fork();
    if (writer == 0) {
        write_full_and_stay("stopped");
        (void)!write(ready[1], "x", 1);
        for (;;) pause();
    }
    char byte;
    CHECK(read(ready[0], &byte, 1) == 1);
    kill(writer, SIGSTOP);
    ss_memory *reader = must_open("stopped", SS_FILE_READ, SS_DURABLE_NONE), *other;
    CHECK_EQ(has(reader, 10, "committed"), 1);
    CHECK_EQ(open_as("stopped", SS_FILE_WRITE, SS_DURABLE_NORMAL, &other), SS_LOCKED);
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    CHECK_EQ(has(reader, 10, "committed"), 1);
    ss_memory_release(reader);
}

static void a_loaded_file_is_as_a_mapped_one(void) {
    for (int load = 0; load < 2; load++) {
        ss_file_options options = {
            .path = path_of("load"), .mode = SS_FILE_WRITE, .durability = SS_DURABLE_NORMAL, .max_pages = 10, .load = load};
        ss_memory *memory;
        CHECK_EQ(ss_file_open_with(&options, &memory), SS_OK);
        if (load == 0) CHECK_EQ(grow(memory, 2), SS_OK);
        CHECK_EQ(put(memory, 70000 + (uint64_t)load * 10, "text"), SS_OK);
        ss_memory_release(memory);
    }
    ss_memory *memory = must_open("load", SS_FILE_READ, 0);
    CHECK_EQ(has(memory, 70000, "text"), 1);
    CHECK_EQ(has(memory, 70010, "text"), 1);
    ss_memory_release(memory);
}

static void grow_and_stay(const char *name) {
    ss_memory *memory = must_open(name, SS_FILE_WRITE, SS_DURABLE_NORMAL);
    CHECK_EQ(grow(memory, 1), SS_OK);
    CHECK_EQ(ss_memory_checkpoint(memory), SS_OK);
    CHECK_EQ(grow(memory, 5), SS_OK);
    CHECK_EQ(put(memory, 5 * 65536, "committed"), SS_OK);
}

static void a_log_of_more_than_the_limit_changes_nothing(void) {
    ss_memory *memory;
    in_killed_child(grow_and_stay, "limit");
    off_t log = size_of("limit-wal");
    for (int mode = SS_FILE_READ; mode <= SS_FILE_WRITE; mode++) {
        for (int durability = SS_DURABLE_NONE; durability <= SS_DURABLE_FULL; durability++) {
            CHECK_EQ(ss_file_open(path_of("limit"), mode, durability, 5, &memory), SS_OUT_OF_MEMORY);
            CHECK_EQ(ss_last_failure()->number, 6);
            CHECK_EQ(size_of("limit"), 65536);
            CHECK_EQ(size_of("limit-wal"), log);
        }
    }
    memory = must_open("limit", SS_FILE_READ, 0);
    CHECK_EQ(has(memory, 5 * 65536, "committed"), 1);
    ss_memory_release(memory);
}

/* The names of the log and of a log in the making are longer. */
static void a_name_that_leaves_no_room_for_that_of_a_log_has_none(void) {
    char name[256] = {0};
    memset(name, 'n', 255);
    for (size_t length = 245; length < 256; length++) {
        name[length] = '\0';
        ss_memory *memory = must_open(name, SS_FILE_WRITE, SS_DURABLE_NONE);
        CHECK_EQ(grow(memory, 1), SS_OK);
        ss_memory_release(memory);
        memory = must_open(name, SS_FILE_READ, SS_DURABLE_NONE);
        CHECK_EQ(memory->root->pages, 1);
        ss_memory_release(memory);
        bool fits = length + strlen("-wal.tmp") <= 255;
        CHECK_EQ(open_as(name, SS_FILE_WRITE, SS_DURABLE_NORMAL, &memory), fits ? SS_OK : SS_SYSTEM);
        if (!fits) CHECK_EQ(ss_last_failure()->number, ENAMETOOLONG);
        ss_memory_release(memory);
        CHECK(unlink(path_of(name)) == 0);
        name[length] = 'n';
    }
}

/* What closes nothing is as a descriptor that a program has a copy of while it is being started. */
static int close_later(void *self, int file) {
    (void)self, (void)file;
    return 0;
}

static int open_with_copies(const char *name, int mode, int durability, ss_memory **out) {
    static ss_vfs vfs;
    vfs = ss_vfs_system;
    vfs.close = close_later;
    ss_file_options options = {.path = path_of(name), .mode = mode, .durability = durability, .max_pages = 10, .vfs = &vfs};
    return ss_file_open_with(&options, out);
}

static void locks_end_though_descriptors_have_copies(void) {
    ss_memory *memory;
    in_killed_child(write_normal_and_stay, "copied");
    CHECK_EQ(open_with_copies("copied", SS_FILE_READ, 0, &memory), SS_OK); /* it settles the log as a writer does */
    ss_memory_release(must_open("copied", SS_FILE_WRITE, SS_DURABLE_NORMAL));
    ss_memory_release(memory);
    for (int durability = SS_DURABLE_NONE; durability <= SS_DURABLE_FULL; durability++) {
        CHECK_EQ(open_with_copies("copied", SS_FILE_WRITE, durability, &memory), SS_OK);
        CHECK_EQ(ss_memory_close(memory), SS_OK);
        ss_memory_release(memory);
        CHECK(truncate(path_of("copied"), 65537) == 0);
        CHECK_EQ(open_with_copies("copied", SS_FILE_WRITE, durability, &memory), SS_CORRUPT);
        CHECK(truncate(path_of("copied"), 65536) == 0);
        ss_memory_release(must_open("copied", SS_FILE_WRITE, durability));
    }
}

/* ---- cost, by counting ---- */

static ss_vfs counting;
static int writes, syncs, locks, times;

static int count_write(void *self, int file, const struct iovec *parts, int count, uint64_t offset, size_t *done) {
    writes++;
    return ss_vfs_system.write(self, file, parts, count, offset, done);
}

static int count_sync(void *self, int file) {
    syncs++;
    return ss_vfs_system.sync(self, file);
}

static int count_lock(void *self, int file, unsigned first, unsigned count, int kind) {
    locks++;
    return ss_vfs_system.lock(self, file, first, count, kind);
}

static int count_times(void *self, int file, int64_t *nanoseconds) {
    times++;
    return ss_vfs_system.modified(self, file, nanoseconds);
}

static bool stores_in_place_here(void) {
    int directory = open(files_directory, O_RDONLY);
    bool stores = ss_vfs_system.stores_in_place(NULL, directory, true);
    close(directory);
    return stores;
}

static void a_small_commit_is_one_write_and_one_sync(void) {
    counting = ss_vfs_system;
    counting.write = count_write;
    counting.sync = count_sync;
    counting.lock = count_lock;
    counting.modified = count_times;
    for (int exclusive = 0; exclusive < 2; exclusive++) {
        ss_file_options options = {.path = path_of("cost"),
                                   .mode = SS_FILE_WRITE,
                                   .durability = SS_DURABLE_FULL,
                                   .max_pages = 10,
                                   .vfs = &counting,
                                   .exclusive = exclusive};
        ss_memory *memory;
        CHECK_EQ(ss_file_open_with(&options, &memory), SS_OK);
        CHECK_EQ(grow(memory, 1), SS_OK);
        writes = syncs = locks = times = 0;
        CHECK_EQ(put(memory, 100, "small"), SS_OK);
        CHECK_EQ(writes, exclusive ? 1 : 2); /* the log, and the block in the file */
        CHECK_EQ(locks, exclusive ? 0 : 2);  /* readers are kept out meanwhile */
        CHECK_EQ(syncs, 1);
        CHECK_EQ(times, 0); /* asking for it makes the next sync slower */
        writes = syncs = 0;
        CHECK_EQ(put(memory, 100, "again"), SS_OK);
        CHECK_EQ(writes, exclusive || stores_in_place_here() ? 1 : 2); /* the block in the file is stored now */
        CHECK_EQ(syncs, 1);
        writes = syncs = 0;
        CHECK_EQ(put(memory, 100, "small"), SS_OK);
        CHECK_EQ(ss_memory_checkpoint(memory), SS_OK);
        CHECK_EQ(put(memory, 105, "er"), SS_OK);
        ss_memory *reader = must_open("cost", SS_FILE_READ, 0);
        CHECK_EQ(has(reader, 100, exclusive ? "small" : "smaller"), 1);
        ss_memory_release(reader);
        writes = syncs = 0;
        CHECK_EQ(has(memory, 100, "small"), 1);
        CHECK_EQ(writes + syncs, 0);
        ss_memory_release(memory);
    }
}

/* Packed commits are stored in a window of the log where that is safe, and written by calls elsewhere: the same bytes. */
static void commits_without_a_window_are_found_too(void) {
    counting = ss_vfs_system;
    counting.write = count_write;
    for (int window = 0; window < 2; window++) {
        if (!window) counting.stores_in_place = NULL;
        ss_file_options options = {.path = path_of("window"),
                                   .mode = SS_FILE_WRITE,
                                   .durability = SS_DURABLE_NORMAL,
                                   .max_pages = 10,
                                   .vfs = window ? NULL : &counting};
        pid_t child = fork();
        if (child == 0) {
            ss_memory *memory;
            if (ss_file_open_with(&options, &memory) != SS_OK || (!window && grow(memory, 1) != SS_OK)) _exit(1);
            writes = 0;
            for (uint64_t i = 0; i < 200; i++) {
                if (put(memory, i * 300, window ? "w" : "c") != SS_OK) _exit(2);
            }
            if (!window && writes != 200) _exit(3);
            kill(getpid(), SIGKILL);
        }
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
        ss_memory *memory = must_open("window", SS_FILE_READ, 0);
        for (uint64_t i = 0; i < 200; i++) CHECK_EQ(has(memory, i * 300, window ? "w" : "c"), 1);
        ss_memory_release(memory);
    }
}

/* ---- past the cache of the system ---- */

enum past_cache { WORKS, UNKNOWN, REFUSED, WRITES_REFUSED, PAST_CACHE_KINDS };

static int direct_writes; /* whole blocks, while the log was written past the cache */
static bool direct_now;

static int count_direct(void *self, int file, bool is_direct) {
    int error = ss_vfs_system.direct(self, file, is_direct);
    if (error == 0) direct_now = is_direct;
    return error;
}

static int refuse_direct(void *self, int file, bool is_direct) {
    (void)self, (void)file;
    return is_direct ? EINVAL : 0;
}

static int say_direct(void *self, int file, bool is_direct) {
    (void)self, (void)file;
    direct_now = is_direct;
    return 0;
}

static int write_unless_direct(void *self, int file, const struct iovec *parts, int count, uint64_t offset, size_t *done) {
    return direct_now ? EINVAL : ss_vfs_system.write(self, file, parts, count, offset, done);
}

static int write_direct(void *self, int file, const struct iovec *parts, int count, uint64_t offset, size_t *done) {
    bool blocks = count == 1 && (uintptr_t)parts[0].iov_base % 4096 == 0 && parts[0].iov_len % 4096 == 0 && offset % 4096 == 0;
    if (direct_now && blocks) direct_writes++;
    return ss_vfs_system.write(self, file, parts, count, offset, done);
}

static ss_vfs past_cache(enum past_cache kind) {
    ss_vfs vfs = ss_vfs_system;
    direct_now = false;
    direct_writes = 0;
    vfs.direct = kind == WORKS ? count_direct : kind == UNKNOWN ? NULL : kind == REFUSED ? refuse_direct : say_direct;
    vfs.write = kind == WORKS ? write_direct : kind == WRITES_REFUSED ? write_unless_direct : ss_vfs_system.write;
    return vfs;
}

/* Short records and one that is too long, with the zeros of a growing log in between. */
static void commit_short_and_long(const char *name, const ss_vfs *vfs) {
    static uint8_t bytes[100000];
    ss_file_options options = {.path = path_of(name),
                               .mode = SS_FILE_WRITE,
                               .durability = SS_DURABLE_FULL,
                               .exclusive = 1,
                               .max_pages = 10,
                               .log_bytes = 65536,
                               .vfs = vfs};
    ss_memory *memory;
    CHECK_EQ(ss_file_open_with(&options, &memory), SS_OK);
    CHECK_EQ(grow(memory, 4), SS_OK);
    memset(bytes, 7, sizeof bytes);
    for (uint64_t i = 0; i < 30; i++) {
        CHECK_EQ(put(memory, i * 300, "short"), SS_OK);
        if (i % 10 != 5) continue;
        CHECK_EQ(ss_enter_write(memory), SS_OK);
        CHECK_EQ(ss_leave_write(memory, ss_memory_write(memory, 100000 + i, bytes, sizeof bytes)), SS_OK);
    }
}

static void commits_past_the_cache_are_found_too(void) {
    for (enum past_cache kind = WORKS; kind < PAST_CACHE_KINDS; kind++) {
        pid_t child = fork();
        if (child == 0) {
            ss_vfs vfs = past_cache(kind);
            commit_short_and_long("past", &vfs);
            /* The file system of the directory may not have it. */
            if (kind == WORKS && direct_now && direct_writes < 25) _exit(1);
            kill(getpid(), SIGKILL);
        }
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
        ss_memory *memory = must_open("past", SS_FILE_WRITE, SS_DURABLE_FULL);
        for (uint64_t i = 0; i < 30; i++) CHECK_EQ(has(memory, i * 300, "short"), 1);
        CHECK_EQ(has(memory, 199990, "\7\7\7\7\7\7\7\7\7\7\7\7"), 1);
        CHECK_EQ(ss_memory_close(memory), SS_OK);
        ss_memory_release(memory);
        CHECK_EQ(remove(path_of("past")), 0);
    }
}

static void commit_while_a_reader_stays(const char *name) {
    ss_file_options options = {.path = path_of(name),
                               .mode = SS_FILE_WRITE,
                               .durability = SS_DURABLE_NORMAL,
                               .max_pages = 10,
                               .log_bytes = 65536,
                               .checkpoint_bytes = 65536};
    ss_memory *memory;
    CHECK_EQ(ss_file_open_with(&options, &memory), SS_OK);
    CHECK_EQ(grow(memory, 4), SS_OK);
    ss_memory *reader = must_open(name, SS_FILE_READ, 0);
    CHECK_EQ(ss_transaction_begin(reader), SS_OK);
    for (uint64_t i = 0; i < 45; i++) CHECK_EQ(put(memory, i * 5000, "unread"), SS_OK);
    CHECK_EQ(put(memory, 20, "short"), SS_OK);
}

/* Such a log is longer than it was prepared to be, and ends with its last record and not with a block. */
static void a_log_that_no_checkpoint_could_empty_is_recovered(void) {
    in_killed_child(commit_while_a_reader_stays, "stays");
    CHECK(size_of("stays-wal") > 65536 && size_of("stays-wal") % 4096 != 0);
    ss_memory *memory = must_open("stays", SS_FILE_WRITE, SS_DURABLE_NORMAL);
    for (uint64_t i = 0; i < 45; i++) CHECK_EQ(has(memory, i * 5000, "unread"), 1);
    ss_memory_release(memory);
}

static void a_file_or_log_that_is_cut_closes_the_handle(void) {
    for (int log = 0; log < 2; log++) {
        ss_memory *memory = must_open("cut", SS_FILE_WRITE, SS_DURABLE_NORMAL);
        if (log == 0) CHECK_EQ(grow(memory, 2), SS_OK);
        CHECK_EQ(put(memory, 0, "text"), SS_OK);
        CHECK_EQ(ss_memory_checkpoint(memory), SS_OK);
        CHECK_EQ(put(memory, 0, "more"), SS_OK);
        usleep(20000);
        CHECK(truncate(path_of(log ? "cut-wal" : "cut"), log ? 16384 : 65536) == 0);
        CHECK_EQ(put(memory, 0, "none"), SS_CLOSED);
        CHECK(strstr(ss_last_failure()->rule, "cut by another program") != NULL);
        ss_memory_release(memory);
        CHECK(unlink(path_of("cut-wal")) == 0);
    }
}

/* ---- a file that cannot be written for a while ---- */

static ss_vfs failing;
static int main_writes_left = -1;

static int fail_main_write(void *self, int file, const struct iovec *parts, int count, uint64_t offset, size_t *done) {
    struct stat st, main_file;
    bool is_main = fstat(file, &st) == 0 && stat(path_of("half"), &main_file) == 0 && st.st_ino == main_file.st_ino;
    if (is_main && main_writes_left >= 0 && main_writes_left-- == 0) {
        main_writes_left = 0;
        return ENOSPC;
    }
    return ss_vfs_system.write(self, file, parts, count, offset, done);
}

static ss_memory *open_failing(void) {
    failing = ss_vfs_system;
    failing.write = fail_main_write;
    failing.stores_in_place = NULL; /* all of the file by calls */
    ss_file_options options = {
        .path = path_of("half"), .mode = SS_FILE_WRITE, .durability = SS_DURABLE_FULL, .max_pages = 10, .vfs = &failing};
    ss_memory *memory;
    CHECK_EQ(ss_file_open_with(&options, &memory), SS_OK);
    return memory;
}

static void put_both(ss_memory *memory, const char *text) {
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    CHECK_EQ(put(memory, 0, text), SS_OK);
    CHECK_EQ(put(memory, 100000, text), SS_OK);
    CHECK_EQ(ss_transaction_commit(memory), SS_OK);
}

static void a_half_written_file_is_shown_to_nobody(void) {
    ss_memory *memory = open_failing(), *reader;
    CHECK_EQ(grow(memory, 2), SS_OK);
    put_both(memory, "one");
    ss_file_options options = {.path = path_of("half"), .mode = SS_FILE_READ, .max_pages = 10, .patience = 50};
    CHECK_EQ(ss_file_open_with(&options, &reader), SS_OK);
    main_writes_left = 1;
    put_both(memory, "two");
    CHECK_EQ(has(reader, 0, "one"), SS_LOCKED);
    main_writes_left = -1;
    put_both(memory, "six");
    CHECK_EQ(has(reader, 0, "six"), 1);
    CHECK_EQ(has(reader, 100000, "six"), 1);
    /* Closed in that state, the log stays and the reader finishes the work. */
    main_writes_left = 1;
    put_both(memory, "ten");
    CHECK_EQ(ss_memory_close(memory), SS_OUT_OF_MEMORY);
    ss_memory_release(memory);
    CHECK(size_of("half-wal") > 0);
    CHECK_EQ(has(reader, 0, "ten"), 1);
    CHECK_EQ(has(reader, 100000, "ten"), 1);
    CHECK_EQ(size_of("half-wal"), -1);
    ss_memory_release(reader);
    main_writes_left = -1;
}

/* ---- threads ---- */

struct worker {
    ss_memory *memory;
    bool reads;
};

/* Two places far apart hold the same number, but within a transaction. */
static void *work_on_both(void *argument) {
    struct worker *worker = argument;
    ss_memory *memory = worker->memory;
    for (int round = 0; round < 60; round++) {
        uint64_t first, last;
        CHECK_EQ(ss_transaction_begin(memory), SS_OK);
        CHECK_EQ(ss_enter_read(memory), SS_OK);
        CHECK_EQ(ss_memory_read(memory, 0, &first, 8), SS_OK);
        CHECK_EQ(ss_memory_read(memory, 100000, &last, 8), SS_OK);
        ss_leave_read(memory);
        CHECK_EQ(first, last);
        first++;
        for (int i = 0; i < 2 && !worker->reads; i++) {
            CHECK_EQ(ss_enter_write(memory), SS_OK);
            CHECK_EQ(ss_leave_write(memory, ss_memory_write(memory, i == 0 ? 0 : 100000, &first, 8)), SS_OK);
        }
        CHECK_EQ(round % 5 == 4 ? ss_transaction_rollback(memory) : ss_transaction_commit(memory), SS_OK);
    }
    return NULL;
}

static void threads_and_readers_see_whole_transactions(void) {
    ss_memory *writer = must_open("threads", SS_FILE_WRITE, SS_DURABLE_FULL);
    CHECK_EQ(grow(writer, 2), SS_OK);
    ss_memory *reader = must_open("threads", SS_FILE_READ, 0);
    struct worker write = {writer, false}, read = {reader, true};
    pthread_t threads[5];
    for (int i = 0; i < 5; i++) CHECK_EQ(pthread_create(&threads[i], NULL, work_on_both, i < 3 ? &write : &read), 0);
    for (int i = 0; i < 5; i++) pthread_join(threads[i], NULL);
    uint64_t total;
    CHECK_EQ(ss_enter_read(writer), SS_OK);
    CHECK_EQ(ss_memory_read(writer, 0, &total, 8), SS_OK);
    ss_leave_read(writer);
    CHECK_EQ(total, 3 * 48);
    ss_memory_release(reader);
    ss_memory_release(writer);
}

int main(void) {
    make_directory();
    sums_are_those_of_the_specification();
    at_rest_the_file_is_the_bare_image(SS_DURABLE_NORMAL);
    at_rest_the_file_is_the_bare_image(SS_DURABLE_FULL);
    a_killed_process_loses_nothing_that_was_committed();
    a_reader_recovers_what_a_killed_writer_left();
    a_reader_sees_full_commits_at_once_and_snapshots_hold();
    a_log_that_grows_long_is_emptied();
    what_is_no_log_of_the_file_is_refused();
    a_full_disk_rolls_back_and_the_handle_goes_on();
    a_disk_may_be_full_at_each_growth_and_each_commit();
    a_reader_needs_no_disk_space_for_an_empty_log();
    a_log_that_was_deleted_takes_its_commits_with_it();
    a_child_of_a_fork_has_no_file();
    a_stopped_writer_keeps_nobody_waiting_for_ever();
    a_loaded_file_is_as_a_mapped_one();
    a_log_of_more_than_the_limit_changes_nothing();
    a_name_that_leaves_no_room_for_that_of_a_log_has_none();
    locks_end_though_descriptors_have_copies();
    a_small_commit_is_one_write_and_one_sync();
    commits_without_a_window_are_found_too();
    commits_past_the_cache_are_found_too();
    a_log_that_no_checkpoint_could_empty_is_recovered();
    a_file_or_log_that_is_cut_closes_the_handle();
    a_half_written_file_is_shown_to_nobody();
    threads_and_readers_see_whole_transactions();
    remove_directory();
    return check_summary();
}
