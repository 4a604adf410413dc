/* SPDX-License-Identifier: Apache-2.0 */
/* Writers that are killed at random moments, and readers all the while, on a real file.
 *
 *   test_soak [seconds]
 *
 * The first 16 bytes of the image are a counter and a sum over everything else, so whoever sees the image can tell a torn
 * one. A writer reports each commit that returned: the next one must find it, or the one commit after it. That readers recover
 * what the last one left never keeps the next one out.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/checksum.h"
#include "storage/file.h"
#include "storage/journal.h"
#include "support/check.h"

#define SEALED 16
#define PAGES_MAX 8
#define READERS 2

static char directory[] = "/tmp/ss_test_soak.XXXXXX";
static char path[64];

static double seconds_now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static uint64_t random_state;

static uint64_t below(uint64_t limit) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

static uint64_t seal_of(const ss_memory *memory, uint64_t counter) {
    return ss_checksum_of(memory->root->base + SEALED, (size_t)(memory->root->pages * SS_PAGE_SIZE - SEALED), counter);
}

/* The counter of a whole image; UINT64_MAX for a torn one. */
static uint64_t counter_of(const ss_memory *memory) {
    if (memory->root->pages == 0) return 0;
    uint64_t counter = ss_get64(memory->root->base);
    return ss_get64(memory->root->base + 8) == seal_of(memory, counter) ? counter : UINT64_MAX;
}

static int write_bytes(ss_memory *memory, uint64_t offset, const uint8_t *bytes, uint64_t length) {
    int status = ss_enter_write(memory);
    return status != SS_OK ? status : ss_leave_write(memory, ss_memory_write(memory, offset, bytes, length));
}

static int grow_one(ss_memory *memory) {
    uint64_t old;
    int status = ss_enter_write(memory);
    return status != SS_OK ? status : ss_leave_write(memory, ss_memory_grow(memory, 1, &old));
}

static void fill_randomly(ss_memory *memory) {
    uint8_t bytes[9000];
    uint64_t length = below(4) == 0 ? below(sizeof bytes) + 1 : below(100) + 1;
    memset(bytes, (int)below(256), sizeof bytes);
    if (write_bytes(memory, SEALED + below(memory->root->pages * SS_PAGE_SIZE - SEALED - length), bytes, length) != SS_OK) _exit(3);
}

static void commit_once(ss_memory *memory, uint64_t *counter) {
    if (ss_transaction_begin(memory) != SS_OK) _exit(3);
    bool grows = memory->root->pages == 0 || (memory->root->pages < PAGES_MAX && below(50) == 0);
    if (grows && grow_one(memory) != SS_OK) _exit(3);
    for (uint64_t writes = below(5) + 1; writes-- > 0;) fill_randomly(memory);
    if (below(10) == 0) {
        if (ss_transaction_rollback(memory) != SS_OK) _exit(3);
        return;
    }
    uint8_t seal[SEALED];
    ss_put64(seal, *counter + 1);
    ss_put64(seal + 8, seal_of(memory, *counter + 1));
    if (write_bytes(memory, 0, seal, sizeof seal) != SS_OK || ss_transaction_commit(memory) != SS_OK) _exit(3);
    ++*counter;
}

/* Reports what it found and then each commit, until it is killed. */
static void write_for_ever(int report, int durability) {
    ss_file_options options = {
        .path = path, .mode = SS_FILE_WRITE, .durability = durability, .max_pages = PAGES_MAX, .checkpoint_bytes = 300000};
    ss_memory *memory;
    /* A reader may be settling what the last writer left: that one is waited for. */
    if (ss_file_open_with(&options, &memory) != SS_OK) _exit(2);
    uint64_t counter = counter_of(memory);
    if (write(report, &counter, sizeof counter) != sizeof counter || counter == UINT64_MAX) _exit(4);
    for (;;) {
        uint64_t before = counter;
        commit_once(memory, &counter);
        if (counter != before && write(report, &counter, sizeof counter) != sizeof counter) _exit(4);
        if (below(500) == 0 && ss_memory_checkpoint(memory) < 0 && ss_last_failure()->status != SS_LOCKED) _exit(5);
    }
}

static int read_until(double end) {
    ss_memory *memory;
    uint64_t last = 0, reads = 0;
    if (ss_file_open(path, SS_FILE_READ, 0, PAGES_MAX, &memory) != SS_OK) return 2;
    while (seconds_now() < end) {
        if (ss_transaction_begin(memory) != SS_OK) {
            fprintf(stderr, "reader: %s\n", ss_last_failure()->rule);
            return 3;
        }
        uint64_t counter = counter_of(memory);
        ss_transaction_rollback(memory);
        if (counter == UINT64_MAX || counter < last) {
            fprintf(stderr, "reader: %llu after %llu\n", (unsigned long long)counter, (unsigned long long)last);
            return 4;
        }
        last = counter;
        reads++;
        usleep(200);
    }
    ss_memory_release(memory);
    printf("reader: %llu whole images, the last one of commit %llu\n", (unsigned long long)reads, (unsigned long long)last);
    fflush(stdout);
    return 0;
}

static pid_t start(int (*work)(double), double argument) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) _exit(work(argument));
    return child;
}

/* One writer's life. *acknowledged is the last commit that was reported. */
static void kill_one(uint64_t *acknowledged, int durability) {
    int report[2];
    uint64_t counter;
    CHECK(pipe(report) == 0);
    fflush(stdout);
    pid_t writer = fork();
    if (writer == 0) {
        close(report[0]);
        write_for_ever(report[1], durability);
    }
    close(report[1]);
    usleep((useconds_t)(20000 + below(230000)));
    kill(writer, SIGKILL);
    int status = 0;
    CHECK(waitpid(writer, &status, 0) == writer);
    if (!WIFSIGNALED(status)) fprintf(stderr, "the writer ended by itself: %d\n", WEXITSTATUS(status));
    CHECK(WIFSIGNALED(status));
    for (bool first = true; read(report[0], &counter, sizeof counter) == sizeof counter; first = false) {
        if (first) CHECK(counter == *acknowledged || counter == *acknowledged + 1);
        *acknowledged = counter;
    }
    close(report[0]);
}

int main(int argc, char **argv) {
    double end = seconds_now() + (argc > 1 ? atof(argv[1]) : 20);
    pid_t readers[READERS];
    uint64_t acknowledged = 0;
    int kills = 0;
    random_state = (uint64_t)getpid() * 2654435761u + (uint64_t)time(NULL);
    printf("seed %llu\n", (unsigned long long)random_state);
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/state", directory);
    kill_one(&acknowledged, SS_DURABLE_FULL);
    for (int i = 0; i < READERS; i++) readers[i] = start(read_until, end);
    for (; seconds_now() < end; kills++) kill_one(&acknowledged, kills % 2 == 0 ? SS_DURABLE_NORMAL : SS_DURABLE_FULL);
    for (int i = 0; i < READERS; i++) {
        int status = -1;
        CHECK(waitpid(readers[i], &status, 0) == readers[i] && status == 0);
    }
    printf("%d kills, %llu commits, none lost or torn\n", kills + 1, (unsigned long long)acknowledged);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    CHECK_EQ(system(command), 0);
    return check_summary();
}
