/* SPDX-License-Identifier: Apache-2.0 */
/* A memory that is a file, without a log: modes, locks, growth on full disks, files that change behind our back. */
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

#include "memory/access.h"
#include "support/files.h"

static int open_file(const char *name, int mode, ss_memory **out) {
    return ss_file_open(path_of(name), mode, SS_DURABLE_NONE, SS_MAX_PAGES, out);
}

static ss_memory *must_open(const char *name, int mode) {
    ss_memory *memory = NULL;
    CHECK_EQ(open_file(name, mode, &memory), SS_OK);
    return memory;
}

static void make_file(const char *name, off_t size) {
    int fd = open(path_of(name), O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && ftruncate(fd, size) == 0);
    close(fd);
}

static void refuses(const char *name, int mode, int status, uint64_t number) {
    ss_memory *memory;
    CHECK_EQ(open_file(name, mode, &memory), status);
    CHECK(memory == NULL);
    CHECK(ss_last_failure()->rule != NULL);
    if (number != 0) CHECK_EQ(ss_last_failure()->number, number);
}

static void a_file_keeps_what_was_written(void) {
    ss_memory *memory = must_open("keeps", SS_FILE_WRITE);
    CHECK_EQ(memory->root->pages, 0);
    CHECK_EQ(grow(memory, 3), SS_OK);
    CHECK_EQ(put(memory, 65530, "across pages"), SS_OK);
    CHECK_EQ(size_of("keeps"), 3 * 65536);
    CHECK_EQ(ss_memory_sync(memory), SS_OK);
    ss_memory_release(memory);
    memory = must_open("keeps", SS_FILE_READ);
    CHECK_EQ(has(memory, 65530, "across pages"), 1);
    CHECK_EQ(put(memory, 0, "x"), SS_READ_ONLY);
    ss_memory_release(memory);
}

static void files_are_created_for_their_owner_only(void) {
    ss_memory_release(must_open("owner", SS_FILE_CREATE));
    struct stat st;
    CHECK(stat(path_of("owner"), &st) == 0 && (st.st_mode & 0777) == 0600);
    ss_file_options options = {.path = path_of("others"), .mode = SS_FILE_CREATE, .max_pages = 1, .permissions = 0666};
    ss_memory *memory;
    mode_t mask = umask(027);
    CHECK_EQ(ss_file_open_with(&options, &memory), SS_OK);
    umask(mask);
    ss_memory_release(memory);
    CHECK(stat(path_of("others"), &st) == 0 && (st.st_mode & 0777) == 0640);
}

static void what_is_no_memory_file_is_refused(void) {
    refuses("absent", SS_FILE_READ, SS_SYSTEM, ENOENT);
    refuses("absent/file", SS_FILE_WRITE, SS_SYSTEM, ENOENT);
    refuses("keeps", SS_FILE_CREATE, SS_SYSTEM, EEXIST);
    refuses("", SS_FILE_WRITE, SS_ARGUMENT, 0);
    make_file("odd", 65536 + 100);
    refuses("odd", SS_FILE_WRITE, SS_CORRUPT, 65636);
    refuses("odd", SS_FILE_READ, SS_CORRUPT, 65636);
    CHECK_EQ(size_of("odd"), 65636);
    CHECK(mkdir(path_of("directory"), 0700) == 0);
    refuses("directory", SS_FILE_WRITE, SS_SYSTEM, EISDIR);
    refuses("directory", SS_FILE_READ, SS_CORRUPT, 0);
    CHECK(symlink("keeps", path_of("link")) == 0);
    refuses("link", SS_FILE_WRITE, SS_SYSTEM, ELOOP);
    refuses("link", SS_FILE_READ, SS_SYSTEM, ELOOP);
    CHECK(mkfifo(path_of("pipe"), 0600) == 0);
    refuses("pipe", SS_FILE_WRITE, SS_CORRUPT, 0);
}

static void a_file_above_the_limit_is_refused(void) {
    ss_memory *memory;
    make_file("large", 5 * 65536);
    CHECK_EQ(ss_file_open(path_of("large"), SS_FILE_WRITE, 0, 4, &memory), SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_last_failure()->number, 5);
    CHECK_EQ(ss_file_open(path_of("large"), SS_FILE_WRITE, 0, 5, &memory), SS_OK);
    CHECK_EQ(grow(memory, 1), SS_OUT_OF_MEMORY);
    ss_memory_release(memory);
}

static void there_is_one_writer(void) {
    ss_memory *first = must_open("one", SS_FILE_WRITE);
    refuses("one", SS_FILE_WRITE, SS_LOCKED, 0);
    CHECK_EQ(grow(first, 1), SS_OK);
    CHECK_EQ(put(first, 0, "seen"), SS_OK);
    ss_memory *reader = must_open("one", SS_FILE_READ);
    CHECK_EQ(has(reader, 0, "seen"), 1);
    CHECK_EQ(grow(first, 2), SS_OK);
    CHECK_EQ(put(first, 65536 * 2, "grown"), SS_OK);
    CHECK_EQ(has(reader, 65536 * 2, "grown"), 1);
    CHECK_EQ(ss_memory_close(first), SS_OK);
    CHECK_EQ(put(first, 0, "x"), SS_CLOSED);
    ss_memory *second = must_open("one", SS_FILE_WRITE);
    ss_memory_release(second);
    ss_memory_release(first);
    ss_memory_release(reader);
}

static void grow_on_a_full_disk(void) {
    ss_memory *memory = must_open("full", SS_FILE_WRITE);
    CHECK_EQ(grow(memory, 4), SS_OK);
    CHECK_EQ(put(memory, 4 * 65536 - 4, "last"), SS_OK);
    CHECK_EQ(grow(memory, 1), SS_OUT_OF_MEMORY);
    CHECK_EQ(memory->root->pages, 4);
    CHECK_EQ(size_of("full"), 4 * 65536);
    CHECK_EQ(has(memory, 4 * 65536 - 4, "last"), 1);
    ss_memory_release(memory);
}

/* SIGXFSZ has its default action here, which would end the child. */
static void a_full_disk_refuses_the_growth_and_nothing_else(void) {
    with_file_limit(4 * 65536 + 1000, grow_on_a_full_disk);
}

/* ---- file systems without reservation, and failing calls ---- */

static ss_vfs twisted;
static int fail_write_at, writes;

static int no_reserve(void *self, int file, uint64_t from, uint64_t end) {
    (void)self, (void)file, (void)from, (void)end;
    return EOPNOTSUPP;
}

static int failing_write(void *self, int file, const struct iovec *parts, int count, uint64_t offset, size_t *done) {
    if (++writes == fail_write_at) return ENOSPC;
    return ss_vfs_system.write(self, file, parts, count, offset, done);
}

static void space_is_taken_by_zeros_where_it_cannot_be_reserved(void) {
    twisted = ss_vfs_system;
    twisted.reserve = no_reserve;
    twisted.write = failing_write;
    ss_file_options options = {.path = path_of("zeros"), .mode = SS_FILE_WRITE, .max_pages = 100, .vfs = &twisted};
    ss_memory *memory;
    CHECK_EQ(ss_file_open_with(&options, &memory), SS_OK);
    CHECK_EQ(grow(memory, 3), SS_OK);
    struct stat st;
    CHECK(stat(path_of("zeros"), &st) == 0 && st.st_blocks * 512 >= 3 * 65536);
    writes = 0;
    fail_write_at = 2;
    CHECK_EQ(grow(memory, 3), SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_last_failure()->number, ENOSPC);
    CHECK_EQ(size_of("zeros"), 3 * 65536);
    CHECK_EQ(grow(memory, 3), SS_OK);
    ss_memory_release(memory);
}

static void a_file_that_was_cut_or_deleted_is_noticed(void) {
    ss_memory *memory = must_open("cut", SS_FILE_WRITE);
    CHECK_EQ(grow(memory, 2), SS_OK);
    usleep(20000);
    CHECK(truncate(path_of("cut"), 65536) == 0);
    CHECK_EQ(put(memory, 0, "x"), SS_CLOSED);
    CHECK(strstr(ss_last_failure()->rule, "cut by another program") != NULL);
    CHECK_EQ(has(memory, 0, "x"), SS_CLOSED);
    CHECK_EQ(ss_memory_close(memory), SS_OK);
    ss_memory_release(memory);
    memory = must_open("cut", SS_FILE_WRITE);
    usleep(20000);
    CHECK(unlink(path_of("cut")) == 0);
    CHECK_EQ(put(memory, 0, "x"), SS_CLOSED);
    ss_memory_release(memory);
}

static void a_child_of_a_fork_has_no_file(void) {
    ss_memory *memory = must_open("fork", SS_FILE_WRITE);
    CHECK_EQ(grow(memory, 1), SS_OK);
    pid_t child = fork();
    if (child == 0) {
        check_failed = 0;
        CHECK_EQ(put(memory, 0, "child"), SS_CLOSED);
        CHECK(strstr(ss_last_failure()->rule, "forked") != NULL);
        CHECK_EQ(has(memory, 0, "child"), SS_CLOSED);
        ss_memory_release(memory);
        refuses("fork", SS_FILE_WRITE, SS_LOCKED, 0);
        _exit(check_failed != 0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    refuses("fork", SS_FILE_WRITE, SS_LOCKED, 0);
    CHECK_EQ(put(memory, 0, "parent"), SS_OK);
    ss_memory_release(memory);
}

static void the_lock_goes_with_its_process_though_a_child_lives_on(void) {
    int ready[2], done[2];
    CHECK(pipe(ready) == 0 && pipe(done) == 0);
    pid_t writer = fork();
    if (writer == 0) {
        ss_memory *memory;
        if (open_file("orphan", SS_FILE_WRITE, &memory) != SS_OK || grow(memory, 1) != SS_OK) _exit(1);
        if (fork() == 0) {
            close(done[1]);
            (void)!write(ready[1], "x", 1);
            (void)!read(done[0], &(char){0}, 1);
            _exit(0);
        }
        pause();
    }
    char byte;
    CHECK(read(ready[0], &byte, 1) == 1);
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    ss_memory_release(must_open("orphan", SS_FILE_WRITE));
    close(done[1]);
}

static void rollback_takes_growth_back(void) {
    ss_memory *memory = must_open("back", SS_FILE_WRITE);
    CHECK_EQ(grow(memory, 1), SS_OK);
    CHECK_EQ(put(memory, 100, "before"), SS_OK);
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    CHECK_EQ(grow(memory, 2), SS_OK);
    CHECK_EQ(put(memory, 100, "during"), SS_OK);
    CHECK_EQ(put(memory, 2 * 65536, "above"), SS_OK);
    const volatile uint8_t *view = memory->root->base + 2 * 65536;
    CHECK_EQ(view[0], 'a');
    CHECK_EQ(ss_transaction_rollback(memory), SS_OK);
    CHECK_EQ(view[0], 0);
    CHECK_EQ(memory->root->pages, 1);
    CHECK_EQ(size_of("back"), 65536);
    CHECK_EQ(has(memory, 100, "before"), 1);
    CHECK_EQ(grow(memory, 2), SS_OK);
    CHECK_EQ(view[0], 0);
    CHECK_EQ(put(memory, 2 * 65536, "again"), SS_OK);
    ss_memory_release(memory);
    memory = must_open("back", SS_FILE_READ);
    CHECK_EQ(has(memory, 2 * 65536, "again"), 1);
    ss_memory_release(memory);
}

/* Reads the last bytes of the file for as long as it is asked to, in operations that see its size as it is then. */
static void read_the_end(const char *name, int goes_on) {
    ss_memory *memory = must_open(name, SS_FILE_READ);
    while (read(goes_on, &(char){0}, 1) < 0) {
        CHECK_EQ(ss_enter_read(memory), SS_OK);
        uint64_t end = memory->root->pages * SS_PAGE_SIZE;
        for (int i = 0; i < 100; i++) CHECK_EQ(ss_memory_read(memory, end - 1, &(char){0}, 1), SS_OK);
        ss_leave_read(memory);
    }
    ss_memory_release(memory);
    _exit(check_failed != 0);
}

static void grow_and_roll_back(ss_memory *memory) {
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    CHECK_EQ(grow(memory, 3), SS_OK);
    CHECK_EQ(put(memory, 4 * 65536 - 5, "above"), SS_OK);
    CHECK_EQ(ss_transaction_rollback(memory), SS_OK);
    CHECK_EQ(memory->root->pages, 1);
}

static void a_rollback_does_not_end_who_reads_what_goes(void) {
    int goes_on[2], status = -1;
    ss_memory *memory = must_open("under", SS_FILE_WRITE);
    CHECK_EQ(grow(memory, 1), SS_OK);
    CHECK(pipe(goes_on) == 0 && fcntl(goes_on[0], F_SETFL, O_NONBLOCK) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(goes_on[1]);
        ss_memory_release(memory);
        read_the_end("under", goes_on[0]);
    }
    for (int i = 0; i < 3000; i++) grow_and_roll_back(memory);
    close(goes_on[1]);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    ss_memory_release(memory);
    CHECK_EQ(size_of("under"), 65536);
}

/* What it keeps are zeros, and they are cut off when the reader is gone: by the next change or the close. */
static void a_file_that_a_reader_holds_is_cut_later(void) {
    enum { CLOSES, GROWS, STAYS, WRITES, ENDS };
    for (int end = 0; end < ENDS; end++) {
        ss_file_options options = {.path = path_of("held"), .mode = SS_FILE_CREATE, .max_pages = 100, .patience = 30};
        uint8_t above[5] = "above";
        ss_memory *memory;
        CHECK_EQ(ss_file_open_with(&options, &memory), SS_OK);
        CHECK_EQ(grow(memory, 1), SS_OK);
        ss_memory *reader = must_open("held", SS_FILE_READ);
        CHECK_EQ(ss_transaction_begin(reader), SS_OK);
        grow_and_roll_back(memory);
        CHECK_EQ(size_of("held"), 4 * 65536);
        if (end == GROWS) {
            CHECK_EQ(grow(memory, 3), SS_OK);
            CHECK_EQ(ss_access_read(memory, 4 * 65536 - 5, above, 5), SS_OK);
            CHECK(memcmp(above, "\0\0\0\0\0", 5) == 0);
        }
        if (end != STAYS) CHECK_EQ(ss_transaction_rollback(reader), SS_OK);
        if (end == WRITES) CHECK_EQ(put(memory, 0, "x"), SS_OK);
        if (end == WRITES) CHECK_EQ(size_of("held"), 65536);
        CHECK_EQ(ss_memory_close(memory), end == STAYS ? SS_LOCKED : SS_OK);
        CHECK_EQ(size_of("held"), (end == GROWS || end == STAYS ? 4 : 1) * 65536);
        ss_memory_release(memory);
        ss_memory_release(reader);
        CHECK(unlink(path_of("held")) == 0);
    }
}

static void a_relative_path_is_found_again_after_a_change_of_directory(void) {
    char here[256];
    CHECK(getcwd(here, sizeof here) != NULL && chdir(files_directory) == 0);
    ss_memory *memory;
    CHECK_EQ(ss_file_open("relative", SS_FILE_WRITE, SS_DURABLE_NONE, 10, &memory), SS_OK);
    CHECK(chdir("/") == 0);
    CHECK_EQ(grow(memory, 1), SS_OK);
    ss_memory_release(memory);
    CHECK_EQ(size_of("relative"), 65536);
    CHECK(chdir(here) == 0);
}

int main(void) {
    make_directory();
    a_file_keeps_what_was_written();
    files_are_created_for_their_owner_only();
    what_is_no_memory_file_is_refused();
    a_file_above_the_limit_is_refused();
    there_is_one_writer();
    a_full_disk_refuses_the_growth_and_nothing_else();
    space_is_taken_by_zeros_where_it_cannot_be_reserved();
    a_file_that_was_cut_or_deleted_is_noticed();
    a_child_of_a_fork_has_no_file();
    the_lock_goes_with_its_process_though_a_child_lives_on();
    rollback_takes_growth_back();
    a_rollback_does_not_end_who_reads_what_goes();
    a_file_that_a_reader_holds_is_cut_later();
    a_relative_path_is_found_again_after_a_change_of_directory();
    remove_directory();
    return check_summary();
}
