/* SPDX-License-Identifier: Apache-2.0 */
/* Crash simulator: the real commit, checkpoint and recovery on a simulated disk that loses power, or whose calls fail, or
 * whose process is killed, at every call of random work, and again within the recovery.
 *
 *   test_crash [states [seed [mode]]]     mode: full, exclusive, normal; all three where it is absent
 *
 * After each crash the file is opened again, and its image must be one that was committed, and not older than the last
 * commit that returned; after a power loss in mode normal not older than the last that was synced.
 */
#include <stdio.h>

#include "core/checksum.h"
#include "storage/file.h"
#include "storage/journal.h"
#include "support/check.h"
#include "support/simulated_disk.h"

#define PAGES 6
#define TRANSACTIONS 14
#define STATES_MAX 64
#define SNAPSHOTS_MAX 4096

struct mode {
    const char *name;
    int durability, exclusive;
};

static const struct mode modes[] = {
    {"full", SS_DURABLE_FULL, 0},
    {"exclusive", SS_DURABLE_FULL, 1},
    {"normal", SS_DURABLE_NORMAL, 0},
};

/* The images that were committed, the oldest first, by their sum; number 0 is the empty one. */
struct history {
    uint64_t sums[STATES_MAX];
    int count;
    int acknowledged; /* the last one whose commit has returned */
    int durable;      /* the last one that a power loss must leave */
    int in_flight;    /* 1: one more is being committed */
};

struct snapshot {
    struct disk *disk;
    int acknowledged, durable, last;
};

struct trial {
    const struct mode *mode;
    uint64_t seed, random;
    struct history history;
    struct snapshot *snapshots;
    int snapshot_count;
    unsigned long states;
    unsigned long wanted;
};

/* ---- the engine ---- */

static ss_memory *open_as(struct disk *disk, const struct mode *mode, int access) {
    ss_file_options options = {.path = "main",
                               .mode = access,
                               .durability = mode->durability,
                               .exclusive = mode->exclusive,
                               .max_pages = PAGES,
                               .patience = 1,
                               .log_bytes = 16 * DISK_BLOCK,
                               .checkpoint_bytes = 12 * DISK_BLOCK,
                               .vfs = &disk->vfs};
    ss_memory *memory;
    return ss_file_open_with(&options, &memory) == SS_OK ? memory : NULL;
}

static ss_memory *open_on(struct disk *disk, const struct mode *mode) {
    return open_as(disk, mode, SS_FILE_WRITE);
}

static int write_some(ss_memory *memory, uint64_t *random) {
    static const uint64_t lengths[] = {1, 100, 700, 5000};
    static uint8_t bytes[70000];
    uint64_t length = lengths[disk_below(random, 4)];
    memset(bytes, (int)disk_below(random, 255) + 1, sizeof bytes);
    /* Seldom more than a short record holds. */
    if (memory->root->pages > 1 && disk_below(random, 24) == 0) {
        int status = ss_enter_write(memory);
        return status != SS_OK ? status : ss_leave_write(memory, ss_memory_write(memory, disk_below(random, 50000), bytes, sizeof bytes));
    }
    /* Often the same few places, so that blocks are written again. */
    uint64_t size = disk_below(random, 3) == 0 ? memory->root->pages * SS_PAGE_SIZE : 5 * SS_BLOCK_SIZE;
    int status = ss_enter_write(memory);
    if (status != SS_OK) return status;
    return ss_leave_write(memory, ss_memory_write(memory, disk_below(random, size - length), bytes, length));
}

static int grow_one(ss_memory *memory) {
    uint64_t old;
    int status = ss_enter_write(memory);
    return status != SS_OK ? status : ss_leave_write(memory, ss_memory_grow(memory, 1, &old));
}

/* What an earlier sum of the memory says must be true again after a rollback. */
static void roll_back(ss_memory *memory, uint64_t before) {
    CHECK_EQ(ss_transaction_rollback(memory), SS_OK);
    CHECK_EQ(sum_of(memory), before);
}

/* One transaction. False if the handle is dead. */
static bool transact(struct trial *trial, ss_memory *memory, bool must_grow, uint64_t *random) {
    struct history *history = &trial->history;
    uint64_t before = sum_of(memory);
    bool grows = must_grow || disk_below(random, 5) == 0;
    uint64_t writes = disk_below(random, 4) + 1;
    bool rolls_back = disk_below(random, 7) == 0;
    if (ss_transaction_begin(memory) != SS_OK) return !memory->root->closed;
    if (grows) (void)grow_one(memory);
    for (uint64_t i = 0; i < writes && memory->root->pages > 0; i++) (void)write_some(memory, random);
    if (rolls_back || history->count == STATES_MAX) {
        roll_back(memory, before);
        return true;
    }
    uint64_t after = sum_of(memory);
    history->sums[history->count++] = after;
    history->in_flight = 1;
    int status = ss_transaction_commit(memory);
    if (status == SS_COMMIT_UNKNOWN) return false;
    history->in_flight = 0;
    if (status == SS_OK) {
        history->acknowledged = history->count - 1;
        if (trial->mode->durability == SS_DURABLE_FULL) history->durable = history->acknowledged;
    } else {
        history->count--;
        CHECK_EQ(sum_of(memory), before);
        /* Now and then the process ends here, before another commit covers the traces. */
        if (disk_below(&trial->random, 2) == 0) return false;
    }
    return !memory->root->closed;
}

/* Random work, always the same for a seed. Ends where the file cannot be opened or the handle dies. */
static void work(struct trial *trial, struct disk *disk) {
    uint64_t random = trial->seed * UINT64_C(0xD1342543DE82EF95) + 77;
    ss_memory *memory = NULL;
    bool alive = true;
    trial->history = (struct history){.count = 1};
    trial->history.sums[0] = ss_checksum_of("", 0, 0);
    for (int i = 0; i < TRANSACTIONS && alive; i++) {
        if (memory == NULL) memory = open_on(disk, trial->mode);
        if (memory == NULL) return;
        alive = transact(trial, memory, i == 0 || memory->root->pages == 0, &random);
        uint64_t next = disk_below(&random, 16);
        bool synced = alive && ((next == 0 && ss_memory_checkpoint(memory) == SS_OK) || (next > 12 && ss_memory_sync(memory) == SS_OK));
        if (synced) trial->history.durable = trial->history.acknowledged;
        if (alive && next < 4 && next > 1) {
            if (ss_memory_close(memory) == SS_OK) trial->history.durable = trial->history.acknowledged;
            ss_memory_release(memory);
            memory = NULL;
        }
    }
    if (memory != NULL) abandon(disk, memory);
}

/* ---- snapshots ---- */

static bool changes_the_disk(enum disk_call call) {
    return call != CALL_STATUS && call != CALL_READ && call != CALL_LOCK && call != CALL_RANDOM && call != CALL_RESERVE &&
           call != CALL_DIRECT;
}

static void take_snapshot(struct disk *disk, enum disk_call call) {
    struct trial *trial = disk->watch_self;
    if (!changes_the_disk(call) || trial->snapshot_count == SNAPSHOTS_MAX) return;
    const struct history *history = &trial->history;
    int last = history->acknowledged + history->in_flight;
    trial->snapshots[trial->snapshot_count++] = (struct snapshot){disk_copy(disk), history->acknowledged, history->durable, last};
}

static void watch(struct trial *trial, struct disk *disk) {
    disk->watch = take_snapshot;
    disk->watch_self = trial;
}

static void drop_snapshots(struct trial *trial, int from) {
    while (trial->snapshot_count > from) disk_free(trial->snapshots[--trial->snapshot_count].disk);
}

/* ---- claims ---- */

static bool complain(const struct trial *trial, const char *what) {
    const struct ss_failure *failure = ss_last_failure();
    fprintf(stderr, "mode %s, seed %llu: %s\n  last failure: %d %s, number %llu\n", trial->mode->name, (unsigned long long)trial->seed,
            what, failure->status, failure->rule != NULL ? failure->rule : "", (unsigned long long)failure->number);
    return CHECK_EQ(trial->seed, UINT64_MAX); /* a failure in any case */
}

static bool is_committed(const struct trial *trial, uint64_t sum, int first, int last) {
    for (int i = first; i <= last; i++) {
        if (trial->history.sums[i] == sum) return true;
    }
    return false;
}

/* Opens what a crash left, and frees it. The sum of the image goes to *sum where that is not NULL. */
static bool opens_as(struct trial *trial, struct disk *disk, int first, int last, uint64_t *sum, const char *what) {
    trial->states++;
    /* Now and then by a reader, which settles the log; it creates no file. */
    bool reads = disk->names.file[0] != DISK_NONE && disk_below(&trial->random, 4) == 0;
    ss_memory *memory = open_as(disk, trial->mode, reads ? SS_FILE_READ : SS_FILE_WRITE);
    bool good = memory != NULL || complain(trial, what);
    if (good) {
        uint64_t found = sum_of(memory);
        if (sum != NULL) *sum = found;
        good = is_committed(trial, found, first, last) || complain(trial, what);
    }
    if (disk->broken != NULL) good = complain(trial, disk->broken);
    if (memory != NULL) abandon(disk, memory);
    return good;
}

static enum disk_loss some_loss(struct trial *trial, int number) {
    if (number == 0) return LOSE_ALL;
    return number == 1 ? LOSE_NOTHING : (enum disk_loss)(LOSE_SECTORS + disk_below(&trial->random, LOSS_KINDS - LOSE_SECTORS));
}

/* Loses power `count` times at this moment. */
static bool survives_power_loss(struct trial *trial, const struct disk *disk, int first, int last, int count, const uint64_t *only,
                                const char *what) {
    bool good = true;
    for (int i = 0; good && i < count; i++) {
        uint64_t sum = 0;
        struct disk *after = disk_after_loss(disk, some_loss(trial, i), &trial->random);
        good = opens_as(trial, after, first, last, &sum, what);
        if (good && only != NULL && sum != *only) good = complain(trial, what);
        disk_free(after);
    }
    return good;
}

/* A kill, and then a power loss at some moments of the recovery and after it. */
static bool survives_kill(struct trial *trial, const struct snapshot *snapshot) {
    int first = trial->snapshot_count;
    uint64_t sum = 0;
    struct disk *disk = disk_copy(snapshot->disk);
    watch(trial, disk);
    bool good = opens_as(trial, disk, snapshot->acknowledged, snapshot->last, &sum, "a kill lost a commit or tore it");
    disk->watch = NULL;
    int oldest = snapshot->durable, within = trial->snapshot_count - first;
    for (int i = 0; good && i < 3 && within > 0; i++) {
        const struct snapshot *during = &trial->snapshots[first + (int)disk_below(&trial->random, (uint64_t)within)];
        good = survives_power_loss(trial, during->disk, oldest, snapshot->last, 6, NULL, "a power loss within the recovery after a kill");
    }
    if (good) good = survives_power_loss(trial, disk, oldest, snapshot->last, 6, &sum, "a power loss after the recovery after a kill");
    drop_snapshots(trial, first);
    disk_free(disk);
    return good;
}

static bool survives_every_moment(struct trial *trial, int outcomes) {
    struct disk *disk = disk_new(trial->seed);
    watch(trial, disk);
    work(trial, disk);
    disk->watch = NULL;
    bool good = disk->broken == NULL || complain(trial, disk->broken);
    int count = trial->snapshot_count;
    for (int i = 0; good && i < count; i++) {
        struct snapshot snapshot = trial->snapshots[i];
        good = survives_power_loss(trial, snapshot.disk, snapshot.durable, snapshot.last, outcomes, NULL, "a power loss");
        if (good) good = survives_kill(trial, &snapshot);
    }
    drop_snapshots(trial, 0);
    disk_free(disk);
    return good;
}

/* After a call that failed: the file opens again, and what is committed then stays. */
static bool goes_on(struct trial *trial, struct disk *disk) {
    const struct history *history = &trial->history;
    int acknowledged = history->acknowledged, last = acknowledged + history->in_flight;
    int oldest = history->durable;
    watch(trial, disk);
    ss_memory *memory = open_on(disk, trial->mode);
    disk->watch = NULL;
    if (memory == NULL) return complain(trial, "the file does not open after a call that failed");
    trial->states++;
    if (!is_committed(trial, sum_of(memory), acknowledged, last)) {
        abandon(disk, memory);
        return complain(trial, "a call that failed lost a commit or tore it");
    }
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    if (memory->root->pages == 0) (void)grow_one(memory);
    uint64_t random = 5;
    CHECK_EQ(write_some(memory, &random), SS_OK);
    CHECK_EQ(ss_transaction_commit(memory), SS_OK);
    CHECK_EQ(ss_memory_sync(memory), SS_OK);
    uint64_t sum = sum_of(memory);
    abandon(disk, memory);
    bool good = true;
    for (int i = 0; good && i < trial->snapshot_count; i++) {
        good = survives_power_loss(trial, trial->snapshots[i].disk, oldest, last, 3, NULL,
                                   "a power loss within the recovery after a call that failed");
    }
    trial->history.sums[STATES_MAX - 1] = sum;
    if (good)
        good = survives_power_loss(trial, disk, STATES_MAX - 1, STATES_MAX - 1, 6, NULL, "a commit after a call that failed got lost");
    return good;
}

/* Makes each call of the same work fail in turn, each with one of the errors. */
static bool survives_failures(struct trial *trial) {
    static const int errors[] = {EIO, ENOSPC, EDQUOT};
    bool good = true, failed = true;
    for (long at = 1; good && failed && trial->states < trial->wanted; at++) {
        struct disk *disk = disk_new(trial->seed);
        disk->fail_at = at;
        disk->fail_with = errors[at % 3];
        disk->fail_count = disk_below(&trial->random, 3) == 0 ? 1 : 0;
        work(trial, disk);
        failed = disk->failed;
        disk->fail_at = 0;
        good = disk->broken == NULL || complain(trial, disk->broken);
        if (good && failed) good = goes_on(trial, disk);
        if (!good) fprintf(stderr, "  call %ld failed, of kind %d\n", at, (int)disk->failed_call);
        drop_snapshots(trial, 0);
        disk_free(disk);
    }
    return good;
}

/* Interrupted calls and short transfers change nothing. */
static bool ignores_hiccups(struct trial *trial) {
    struct disk *plain = disk_new(trial->seed), *rough = disk_new(trial->seed);
    work(trial, plain);
    struct history history = trial->history;
    rough->hiccups = true;
    work(trial, rough);
    rough->hiccups = false;
    bool same = history.count == trial->history.count && memcmp(history.sums, trial->history.sums, sizeof history.sums) == 0;
    int last = history.count - 1;
    bool good = same || complain(trial, "interrupted calls and short transfers");
    if (good) good = opens_as(trial, rough, last, last, NULL, "interrupted calls and short transfers");
    disk_free(plain);
    disk_free(rough);
    return good;
}

static bool run_mode(const struct mode *mode, unsigned long wanted, uint64_t seed) {
    struct trial trial = {.mode = mode, .seed = seed, .random = seed * 31 + 7, .wanted = wanted};
    trial.snapshots = malloc(SNAPSHOTS_MAX * sizeof *trial.snapshots);
    bool good = true;
    for (; good && trial.states < wanted; trial.seed++) {
        good = survives_every_moment(&trial, 24) && survives_failures(&trial) && ignores_hiccups(&trial);
    }
    printf("%-9s %lu crash states, seeds %llu to %llu: %s\n", mode->name, trial.states, (unsigned long long)seed,
           (unsigned long long)(trial.seed - 1), good ? "all pass" : "FAILED");
    fflush(stdout);
    free(trial.snapshots);
    return good;
}

int main(int argc, char **argv) {
    unsigned long states = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    size_t count = sizeof modes / sizeof modes[0];
    for (size_t i = 0; i < count; i++) {
        bool chosen = argc <= 3 || strcmp(argv[3], modes[i].name) == 0;
        unsigned long wanted = argc > 3 ? states : states / count + 1;
        if (chosen) CHECK(run_mode(&modes[i], wanted, seed));
    }
    return check_summary();
}
