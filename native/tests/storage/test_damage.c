/* SPDX-License-Identifier: Apache-2.0 */
/* Syncs that fail; logs with flipped bits, cut logs, logs that end anywhere: an image that was committed, or SS_WAL_CORRUPT, no other. */
#include <stdio.h>

#include "storage/file.h"
#include "storage/journal.h"
#include "support/check.h"
#include "support/simulated_disk.h"

#define COMMITS 6

static uint64_t sums[COMMITS + 1];
static uint64_t ends[COMMITS + 1]; /* of the records, in the log; 0: before the last checkpoint */

static ss_memory *open_as(struct disk *disk, int mode, int durability) {
    ss_file_options options = {.path = "main",
                               .mode = mode,
                               .durability = durability,
                               .exclusive = 1,
                               .max_pages = 4,
                               .patience = 1,
                               .log_bytes = (durability == SS_DURABLE_FULL ? 20 : 2) * DISK_BLOCK,
                               .checkpoint_bytes = 1 << 20,
                               .vfs = &disk->vfs};
    ss_memory *memory;
    return ss_file_open_with(&options, &memory) == SS_OK ? memory : NULL;
}

static ss_memory *open_on(struct disk *disk) {
    return open_as(disk, SS_FILE_WRITE, SS_DURABLE_FULL);
}

/* Without the zeros that fill its last block. */
static uint64_t record_length(const struct disk *disk, uint64_t at) {
    uint8_t header[64];
    content_get(&disk->files[disk->names.file[1]]->cache, at, header, sizeof header);
    return sizeof header + ss_get32(header + 40) * UINT64_C(16) + ss_get64(header + 48);
}

/* Else with commits 1, 3 and 5, which the size of the file tells then. */
static bool grows_at_once;

static uint64_t pages_more(int number) {
    if (grows_at_once) return number == 1 ? 3 : 0;
    return number % 2 == 1 && number < 6 ? 1 : 0;
}

static void commit_once(ss_memory *memory, int number) {
    uint64_t old;
    uint8_t bytes[6000];
    memset(bytes, number, sizeof bytes);
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    CHECK_EQ(ss_enter_write(memory), SS_OK);
    int status = ss_memory_grow(memory, pages_more(number), &old);
    if (status == SS_OK) status = ss_memory_write(memory, (uint64_t)number * 3000, bytes, 1000 * (uint64_t)number);
    CHECK_EQ(ss_leave_write(memory, status), SS_OK);
    CHECK_EQ(ss_transaction_commit(memory), SS_OK);
}

/* A disk whose log has the last commits, all of them synced and none of them in the file. */
static struct disk *make_disk_as(int checkpoint_after, int durability) {
    struct disk *disk = disk_new(7);
    disk->direct = checkpoint_after == 0 ? DIRECT_WORKS : DIRECT_WRITES_REFUSED;
    ss_memory *memory = open_as(disk, SS_FILE_WRITE, durability);
    uint64_t at = 2 * DISK_BLOCK;
    sums[0] = sum_of(memory);
    for (int i = 1; i <= COMMITS; i++) {
        commit_once(memory, i);
        sums[i] = sum_of(memory);
        at += ss_round_up(record_length(disk, at), DISK_BLOCK);
        ends[i] = at;
        if (i != checkpoint_after) continue;
        CHECK_EQ(ss_memory_checkpoint(memory), SS_OK);
        at = 2 * DISK_BLOCK;
        for (int before = 0; before <= i; before++) ends[before] = 0;
    }
    abandon(disk, memory);
    return disk;
}

static struct disk *make_disk(int checkpoint_after) {
    return make_disk_as(checkpoint_after, SS_DURABLE_FULL);
}

/* The oldest image that a damage at this place of the log may leave. */
static int oldest_after_flip(uint64_t place) {
    return place >= ends[COMMITS - 1] ? COMMITS - 1 : COMMITS;
}

static void check_opened_as(struct disk *disk, int mode, int oldest, const char *what, uint64_t place) {
    ss_memory *memory = open_as(disk, mode, SS_DURABLE_FULL);
    bool held = false;
    if (memory == NULL) {
        held = ss_last_failure()->status == SS_WAL_CORRUPT;
    } else {
        uint64_t sum = sum_of(memory);
        for (int i = oldest; i <= COMMITS; i++) held = held || sums[i] == sum;
        abandon(disk, memory);
    }
    if (!held) fprintf(stderr, "%s at %llu\n", what, (unsigned long long)place);
    CHECK(held);
}

/* A reader sees no more than a writer, who would find the log damaged. */
static void check_opened(struct disk *disk, int oldest, const char *what, uint64_t place) {
    struct disk *read = disk_copy(disk);
    check_opened_as(read, SS_FILE_READ, oldest, what, place);
    check_opened_as(disk, SS_FILE_WRITE, oldest, what, place);
    disk_free(read);
}

static struct disk_content *log_of(struct disk *disk) {
    return &disk->files[disk->names.file[1]]->cache;
}

/* Everything in what we check by hand, a sample in what only the sum covers. */
static uint64_t next_bit(uint64_t bit) {
    return bit / 8 % DISK_BLOCK < 128 ? bit + 1 : bit + 397;
}

static void flip_every_bit(const struct disk *disk, uint64_t end) {
    for (uint64_t bit = 0; bit / 8 < end; bit = next_bit(bit)) {
        struct disk *damaged = disk_copy(disk);
        uint8_t byte;
        content_get(log_of(damaged), bit / 8, &byte, 1);
        byte ^= (uint8_t)(1u << bit % 8);
        content_put(log_of(damaged), bit / 8, &byte, 1);
        check_opened(damaged, oldest_after_flip(bit / 8), "bit flipped", bit / 8);
        disk_free(damaged);
    }
}

/* The copy that a recovery made, which packs its records, was durable as a whole; and the file has all of them by now, so
 * that a part of the records over it would be no image. The last one is left alone: nothing tells it from a torn one. */
static void flip_every_bit_of_a_copy(int durability) {
    grows_at_once = true;
    struct disk *disk = make_disk_as(0, durability);
    abandon(disk, open_as(disk, SS_FILE_WRITE, durability));
    uint64_t at = 2 * DISK_BLOCK;
    for (int i = 1; i < COMMITS; i++) at += (record_length(disk, at) + 63) / 64 * 64;
    ends[COMMITS - 1] = UINT64_MAX; /* any damage leaves all or is noticed */
    flip_every_bit(disk, at);
    disk_free(disk);
}

/* A cut loses what it cuts off, and nobody can tell; what is left must be whole. */
static void cut_everywhere(const struct disk *disk, int oldest) {
    for (uint64_t size = 0; size < ends[COMMITS] + DISK_BLOCK; size += 256) {
        struct disk *damaged = disk_copy(disk);
        content_resize(log_of(damaged), size);
        check_opened(damaged, oldest, "cut", size);
        disk_free(damaged);
    }
}

/* Also with a small packed record that leaves less than its alignment of the last block: then nothing lies behind it. */
static void a_log_may_end_anywhere(void) {
    static uint8_t bytes[2 * DISK_BLOCK];
    for (uint64_t length = 8; length < DISK_BLOCK + 64; length += 64) {
        struct disk *disk = disk_new(length);
        ss_memory *memory = open_as(disk, SS_FILE_WRITE, SS_DURABLE_NORMAL);
        commit_once(memory, 1);
        for (int i = 0; i < 3; i++) {
            memset(bytes, 10 + i, sizeof bytes);
            CHECK_EQ(ss_enter_write(memory), SS_OK);
            CHECK_EQ(ss_leave_write(memory, ss_memory_write(memory, 0, bytes, i < 2 ? length : 8)), SS_OK);
        }
        uint64_t sum = sum_of(memory);
        for (int i = 0; i < 3; i++) {
            abandon(disk, memory);
            memory = open_as(disk, SS_FILE_WRITE, SS_DURABLE_NORMAL);
            if (!CHECK(memory != NULL)) break;
            CHECK_EQ(sum_of(memory), sum);
        }
        if (memory != NULL) abandon(disk, memory);
        disk_free(disk);
    }
}

/* Its sum is right, so a program wrote it; put into the file, it would leave something that is no image. */
static void a_log_whose_memory_shrinks_is_damaged(void) {
    static uint8_t record[8 * DISK_BLOCK];
    struct disk *disk = make_disk(0);
    uint64_t at = ends[COMMITS - 1], size = record_length(disk, at);
    content_get(log_of(disk), at, record, size);
    CHECK_EQ(ss_get64(record + 32), 3);
    ss_put64(record + 32, 1);
    ss_put64(record + 56, 0);
    ss_put64(record + 56, ss_checksum_of(record, size, ss_get64(record + 24)));
    content_put(log_of(disk), at, record, size);
    CHECK(open_on(disk) == NULL);
    CHECK(ss_last_failure()->status == SS_WAL_CORRUPT && strcmp(ss_last_failure()->rule, "a memory never shrinks") == 0);
    disk_free(disk);
}

/* Everywhere behind the records something that looks like one and claims all that follows: no sum of it is right. */
static void made_up_records_are_not_all_summed(void) {
    struct disk *disk = make_disk(0);
    uint8_t bytes[64];
    uint64_t size = 64 * DISK_BLOCK;
    content_resize(log_of(disk), size);
    for (uint64_t at = ends[COMMITS]; at + sizeof bytes <= size; at += sizeof bytes) {
        content_get(log_of(disk), ends[COMMITS - 1], bytes, sizeof bytes);
        ss_put64(bytes + 16, COMMITS + 2);
        memset(bytes + 40, 0, 8);
        ss_put64(bytes + 48, size - at - sizeof bytes);
        content_put(log_of(disk), at, bytes, sizeof bytes);
    }
    long calls = disk->calls;
    CHECK(open_on(disk) == NULL);
    CHECK_EQ(ss_last_failure()->status, SS_WAL_CORRUPT);
    CHECK(disk->calls - calls < 500); /* of nearly 4,000 that begin so */
    disk_free(disk);
}

static int put_byte(ss_memory *memory) {
    uint8_t byte = 99;
    int status = ss_enter_write(memory);
    return status == SS_OK ? ss_leave_write(memory, ss_memory_write(memory, 0, &byte, 1)) : status;
}

/* What the system says of the file after a sync that failed is not to be believed: the handle asks for nothing more (I9). */
static void a_handle_whose_sync_failed_is_dead(int durability) {
    bool died = false;
    for (long at = 1; at < 40 && !died; at++) {
        struct disk *disk = disk_new((uint64_t)at);
        ss_memory *memory = open_as(disk, SS_FILE_WRITE, durability);
        commit_once(memory, 1);
        disk->fail_at = disk->calls + at;
        disk->fail_with = EIO;
        int status = durability == SS_DURABLE_FULL ? put_byte(memory) : ss_memory_sync(memory);
        died = status == SS_COMMIT_UNKNOWN;
        if (died) {
            long calls = disk->calls;
            CHECK_EQ(disk->failed_call, CALL_SYNC);
            CHECK(strstr(ss_last_failure()->rule, "opening the file again shows") != NULL);
            CHECK_EQ(put_byte(memory), SS_CLOSED);
            CHECK_EQ(ss_memory_sync(memory), SS_CLOSED);
            CHECK_EQ(ss_memory_checkpoint(memory), SS_CLOSED);
            CHECK_EQ(ss_memory_close(memory), SS_OK);
            CHECK_EQ(disk->calls, calls);
        }
        abandon(disk, memory);
        disk_free(disk);
    }
    CHECK(died);
}

int main(void) {
    a_handle_whose_sync_failed_is_dead(SS_DURABLE_FULL);
    a_handle_whose_sync_failed_is_dead(SS_DURABLE_NORMAL);
    a_log_may_end_anywhere();
    a_log_whose_memory_shrinks_is_damaged();
    made_up_records_are_not_all_summed();
    static const int checkpoints[] = {0, 3};
    for (size_t i = 0; i < 2; i++) {
        struct disk *disk = make_disk(checkpoints[i]);
        flip_every_bit(disk, ends[COMMITS] + DISK_BLOCK);
        cut_everywhere(disk, checkpoints[i]);
        disk_free(disk);
    }
    flip_every_bit_of_a_copy(SS_DURABLE_FULL);
    flip_every_bit_of_a_copy(SS_DURABLE_NORMAL);
    return check_summary();
}
