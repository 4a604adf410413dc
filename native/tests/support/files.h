/* SPDX-License-Identifier: Apache-2.0 */
/* Files in a directory of their own, and memories on them, for the tests of file.c and durable.c. */
#ifndef SS_TESTS_FILES_H
#define SS_TESTS_FILES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/file.h"
#include "storage/journal.h"
#include "support/check.h"

static char files_directory[] = "/tmp/ss_test_files.XXXXXX";

static inline void make_directory(void) {
    CHECK(mkdtemp(files_directory) != NULL);
}

static inline void remove_directory(void) {
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", files_directory);
    CHECK_EQ(system(command), 0);
}

/* The last four paths stay. */
static inline const char *path_of(const char *name) {
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", files_directory, name);
    return path;
}

static inline off_t size_of(const char *name) {
    struct stat st;
    return lstat(path_of(name), &st) == 0 ? st.st_size : -1;
}

static inline int grow(ss_memory *memory, uint64_t pages) {
    uint64_t old;
    int status = ss_enter_write(memory);
    return status != SS_OK ? status : ss_leave_write(memory, ss_memory_grow(memory, pages, &old));
}

static inline int put(ss_memory *memory, uint64_t offset, const char *text) {
    int status = ss_enter_write(memory);
    return status != SS_OK ? status : ss_leave_write(memory, ss_memory_write(memory, offset, text, strlen(text)));
}

/* 1 if the text lies there, 0 if not, or an error. */
static inline int has(ss_memory *memory, uint64_t offset, const char *text) {
    char got[64];
    int status = ss_enter_read(memory);
    if (status != SS_OK) return status;
    status = ss_memory_read(memory, offset, got, strlen(text));
    ss_leave_read(memory);
    return status != SS_OK ? status : memcmp(got, text, strlen(text)) == 0;
}

/* Runs `work` in a child that may write files of at most `limit` bytes. */
static inline void with_file_limit(rlim_t limit, void (*work)(void)) {
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){limit, limit});
        check_failed = 0;
        work();
        _exit(check_failed != 0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

#endif
