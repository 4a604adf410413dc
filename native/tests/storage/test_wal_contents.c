/* SPDX-License-Identifier: Apache-2.0 */
/* A log that is only looked at: it has what recovery would put into the file, and is refused where recovery refuses it. */
#include <fcntl.h>

#include "storage/wal_contents.h"
#include "support/files.h"

#define PAGES 2
#define BYTES (PAGES * 65536)

static uint8_t wanted[BYTES], file_bytes[BYTES];
static uint8_t log_bytes[1 << 20];
static size_t log_size;

static size_t read_whole(const char *name, uint8_t *to, size_t room) {
    int fd = open(path_of(name), O_RDONLY);
    CHECK(fd >= 0);
    ssize_t got = read(fd, to, room);
    close(fd);
    return got < 0 ? 0 : (size_t)got;
}

static void write_whole(const char *name, const uint8_t *from, size_t size) {
    int fd = open(path_of(name), O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, from, size) == (ssize_t)size);
    close(fd);
}

/* A process that commits and ends without closing; durable ones, if asked. */
static void leave_behind(int durability) {
    pid_t child = fork();
    if (child == 0) {
        ss_memory *memory = NULL;
        ss_file_options options = {.path = path_of("m"), .mode = SS_FILE_WRITE, .durability = durability, .max_pages = 8, .exclusive = 1};
        if (ss_file_open_with(&options, &memory) != SS_OK || grow(memory, PAGES) != SS_OK) _exit(1);
        for (uint64_t i = 0; i < 6; i++) {
            if (put(memory, i * 3000, "some bytes that are committed") != SS_OK || put(memory, 100 + i, "over others") != SS_OK) _exit(1);
        }
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    log_size = read_whole("m-wal", log_bytes, sizeof log_bytes);
    memset(file_bytes, 0, sizeof file_bytes);
}

/* A log that was read elsewhere says the same as the file. */
static void bytes_say_the_same(const ss_wal_contents *of_file) {
    static uint8_t bytes[sizeof log_bytes], a[BYTES], b[BYTES];
    size_t size = read_whole("m-wal", bytes, sizeof bytes);
    ss_wal_contents *contents = NULL;
    CHECK_EQ(ss_wal_contents_of(bytes, size, &contents), SS_OK);
    memset(bytes, 0, sizeof bytes); /* it has a copy */
    CHECK_EQ(contents->damage.status, of_file->damage.status);
    CHECK_EQ(contents->damage.address, of_file->damage.address);
    CHECK_EQ(contents->pages, of_file->pages);
    CHECK_EQ(contents->span_count, of_file->span_count);
    for (uint64_t i = 0; i < of_file->span_count; i++) {
        const ss_wal_span *span = &contents->spans[i];
        CHECK(memcmp(span, &of_file->spans[i], sizeof *span) == 0);
        CHECK_EQ(ss_wal_contents_read(contents, span->at, a, span->length), SS_OK);
        CHECK_EQ(ss_wal_contents_read(of_file, span->at, b, span->length), SS_OK);
        CHECK(memcmp(a, b, span->length) == 0);
    }
    ss_wal_contents_free(contents);
}

/* The memory by the spans of the log, over zeros; returns whether recovery would take it. */
static bool show(uint8_t *to, uint64_t size) {
    ss_wal_contents *contents = NULL;
    CHECK_EQ(ss_wal_contents_new(path_of("m-wal"), &contents), SS_OK);
    bool takes = contents->damage.status >= 0 && ss_wal_contents_fit(contents, size) == SS_OK;
    memset(to, 0, BYTES);
    for (uint64_t i = 0; i < contents->span_count; i++) {
        const ss_wal_span *span = &contents->spans[i];
        CHECK(span->offset + span->length <= BYTES);
        CHECK_EQ(ss_wal_contents_read(contents, span->at, to + span->offset, span->length), SS_OK);
    }
    CHECK_EQ(ss_wal_contents_read(contents, log_size, to, 1), SS_SYSTEM);
    static unsigned calls;
    if (calls++ % 16 == 0) bytes_say_the_same(contents);
    ss_wal_contents_free(contents);
    return takes;
}

/* What recovery makes of copies, which it may change. */
static bool recover(uint8_t *to, const uint8_t *log, size_t size, uint64_t file_size) {
    write_whole("c", file_bytes, file_size);
    write_whole("c-wal", log, size);
    ss_memory *memory = NULL;
    int status = ss_file_open(path_of("c"), SS_FILE_WRITE, SS_DURABLE_NORMAL, 8, &memory);
    if (status == SS_OK) {
        memset(to, 0, BYTES);
        CHECK_EQ(ss_enter_read(memory), SS_OK);
        CHECK_EQ(ss_memory_read(memory, 0, to, memory->root->pages * 65536), SS_OK);
        ss_leave_read(memory);
        ss_memory_release(memory);
    } else {
        CHECK_EQ(status, SS_WAL_CORRUPT);
    }
    return status == SS_OK;
}

static void both_say_the_same_of_every_byte(int durability) {
    static uint8_t seen[BYTES];
    leave_behind(durability);
    uint64_t size = size_of("m") > 0 ? (uint64_t)size_of("m") : 0;
    CHECK(recover(wanted, log_bytes, log_size, size) && show(seen, size));
    CHECK(memcmp(wanted, seen, BYTES) == 0);
    bool was_refused = false;
    size_t used = log_size;
    while (used > 0 && log_bytes[used - 1] == 0) used--;
    for (size_t at = 0; at < used; at += at < 64 || (at >= 4096 && at < 4160) ? 7 : at < 8192 ? 61 : 131) {
        log_bytes[at] ^= 0x10;
        write_whole("m-wal", log_bytes, log_size);
        bool taken = recover(wanted, log_bytes, log_size, size);
        CHECK_EQ(show(seen, size), taken);
        if (taken) CHECK(memcmp(wanted, seen, BYTES) == 0);
        was_refused = was_refused || !taken;
        log_bytes[at] ^= 0x10;
    }
    CHECK(was_refused);
    write_whole("m-wal", log_bytes, log_size);
    CHECK(!show(seen, size + 1) && !show(seen, 100 * 65536));
}

static void what_is_no_log_is_told(void) {
    ss_wal_contents *contents = NULL;
    CHECK_EQ(ss_wal_contents_new(path_of("nothing"), &contents), SS_ABSENT);
    CHECK(contents == NULL);
    CHECK_EQ(ss_wal_contents_new(path_of("no folder/x"), &contents), SS_SYSTEM);
    CHECK(symlink("m-wal", path_of("link")) == 0);
    CHECK_EQ(ss_wal_contents_new(path_of("link"), &contents), SS_SYSTEM);
    CHECK(mkdir(path_of("folder"), 0700) == 0);
    CHECK_EQ(ss_wal_contents_new(path_of("folder"), &contents), SS_OK);
    CHECK_EQ(contents->damage.status, SS_WAL_CORRUPT);
    ss_wal_contents_free(contents);
    CHECK_EQ(ss_wal_contents_of("", 0, &contents), SS_OK);
    CHECK_EQ(contents->span_count, 0);
    ss_wal_contents_free(contents);
    write_whole("short", log_bytes, 100);
    CHECK_EQ(ss_wal_contents_new(path_of("short"), &contents), SS_OK);
    CHECK(contents->damage.status == SS_WAL_CORRUPT && contents->span_count == 0);
    ss_wal_contents_free(contents);
    ss_wal_contents_free(NULL);
}

int main(void) {
    make_directory();
    both_say_the_same_of_every_byte(SS_DURABLE_FULL);
    CHECK_EQ(unlink(path_of("m")) + unlink(path_of("m-wal")), 0);
    both_say_the_same_of_every_byte(SS_DURABLE_NORMAL);
    what_is_no_log_is_told();
    remove_directory();
    return check_summary();
}
