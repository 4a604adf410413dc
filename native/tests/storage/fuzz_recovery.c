/* SPDX-License-Identifier: Apache-2.0 */
/* A file and a log as no crash leaves them: records of any shape with right and wrong sums, cut, and with flipped bits.
 * Opening returns an image or says what is damaged and changes nothing then; what was opened once is found again, also
 * where a call fails within the opening or power is lost after it; and a log that is whole gives exactly its image.
 */
#include "core/checksum.h"
#include "storage/file.h"
#include "storage/journal.h"
#include "support/fuzz.h"
#include "support/simulated_disk.h"

enum { MAX_PAGES = 4, LOG_ROOM = 32 * SS_BLOCK_SIZE, RECORDS_AT = 2 * SS_BLOCK_SIZE, PIECES = 4, LONGEST_PIECE = 5000, MAIN = 0, LOG = 1 };
enum { RECORD_TABLE = 64, FLAG_SYNCED = 1, FLAG_ALWAYS = 2 };

typedef struct scene {
    rng random;
    struct disk *disk;
    bool whole; /* nothing is damaged, so the image is known */
    /* the log in the making */
    uint64_t size, salt, sequence, previous, pages;
} scene;

static uint8_t model[MAX_PAGES * SS_PAGE_SIZE], record_room[LOG_ROOM];

/* ---- files ---- */

static struct disk_content *new_file(scene *s, int name) {
    int number = s->disk->file_count++;
    s->disk->files[number] = calloc(1, sizeof(struct disk_file));
    s->disk->names.file[name] = s->disk->durable_names.file[name] = number;
    return &s->disk->files[number]->cache;
}

static void make_durable(struct disk *disk) {
    for (int i = 0; i < disk->file_count; i++) {
        content_free(&disk->files[i]->durable);
        content_copy(&disk->files[i]->durable, &disk->files[i]->cache);
    }
}

static struct disk_content *content_of(const struct disk *disk, int name) {
    int number = disk->names.file[name];
    return number == DISK_NONE ? NULL : &disk->files[number]->cache;
}

static bool same_content(const struct disk_content *a, const struct disk_content *b) {
    uint8_t of_a[SS_BLOCK_SIZE], of_b[SS_BLOCK_SIZE];
    if (a == NULL || b == NULL || a->size != b->size) return a == b;
    for (uint64_t at = 0; at < a->size; at += SS_BLOCK_SIZE) {
        content_get(a, at, of_a, sizeof of_a);
        content_get(b, at, of_b, sizeof of_b);
        if (memcmp(of_a, of_b, sizeof of_a) != 0) return false;
    }
    return true;
}

static bool one_in(scene *s, uint64_t n) {
    return rng_below(&s->random, n) == 0;
}

/* A number that does not belong where it is put. */
static uint64_t strange(scene *s) {
    switch (rng_below(&s->random, 4)) {
        case 0:
            return rng_below(&s->random, 64);
        case 1:
            return UINT64_MAX - rng_below(&s->random, 64);
        case 2:
            return UINT64_C(1) << rng_below(&s->random, 64);
        default:
            return rng_next(&s->random);
    }
}

static void make_main(scene *s) {
    struct disk_content *file = new_file(s, MAIN);
    uint8_t filled = (uint8_t)rng_below(&s->random, 256);
    s->pages = rng_below(&s->random, MAX_PAGES);
    memset(model, 0, sizeof model);
    memset(model, filled, s->pages * SS_PAGE_SIZE / 2);
    content_put(file, 0, model, s->pages * SS_PAGE_SIZE);
    file->size = s->pages * SS_PAGE_SIZE;
}

/* ---- the log ---- */

static void put_log(scene *s, uint64_t at, const uint8_t *bytes, uint64_t size) {
    struct disk_content *log = content_of(s->disk, LOG);
    content_put(log, at, bytes, size);
    if (at + size > log->size) log->size = at + size;
}

static void put_sum(scene *s, uint8_t *sum, const uint8_t *bytes, uint64_t size, uint64_t seed) {
    ss_put64(sum, 0);
    ss_put64(sum, ss_checksum_of(bytes, size, seed));
    if (!one_in(s, 40)) return;
    sum[0] ^= 1;
    s->whole = false;
}

static void put_header(scene *s, uint64_t generation, bool counts) {
    uint8_t block[SS_BLOCK_SIZE] = "SMWALv01";
    ss_put32(block + 8, 1);
    ss_put32(block + 12, (uint32_t)SS_BLOCK_SIZE);
    ss_put64(block + 16, generation);
    ss_put64(block + 24, counts ? s->salt : ~s->salt);
    ss_put64(block + 32, s->pages);
    if (one_in(s, 16)) {
        ss_put64(block + 8 * rng_below(&s->random, 6), strange(s));
        s->whole = false;
    }
    uint64_t sum = ss_checksum_of(block, 56, 0);
    put_sum(s, block + 56, block, 56, 0);
    put_log(s, generation % 2 * SS_BLOCK_SIZE, block, sizeof block);
    if (counts) s->previous = sum;
}

static void put_headers(scene *s) {
    static const uint8_t nothing[RECORDS_AT];
    uint64_t generation = 1 + rng_below(&s->random, 200);
    s->salt = rng_below(&s->random, 256);
    put_log(s, 0, nothing, sizeof nothing);
    if (one_in(s, 2)) put_header(s, generation - 1, false);
    put_header(s, generation, true);
    s->size = RECORDS_AT;
}

/* The pieces of a record into its table and behind it; returns the bytes of all pieces. */
static uint64_t put_pieces(scene *s, uint8_t *data, uint64_t count) {
    uint64_t limit = s->pages * SS_PAGE_SIZE, end = 0, total = 0;
    uint8_t *entry = record_room + RECORD_TABLE;
    for (uint64_t i = 0; i < count; i++, entry += 16) {
        uint64_t offset = end + rng_below(&s->random, (limit - end) / 2 + 1);
        uint64_t room = limit - offset, length = rng_below(&s->random, (room < LONGEST_PIECE ? room : LONGEST_PIECE) + 1);
        memset(data + total, (int)rng_below(&s->random, 256), length);
        memcpy(model + offset, data + total, length);
        end = offset + length;
        total += length;
        ss_put64(entry, offset);
        ss_put64(entry + 8, length);
    }
    return total;
}

static void make_strange(scene *s, uint64_t header_bytes) {
    static const uint8_t fields[][2] = {{0, 4}, {4, 2}, {6, 2}, {8, 8}, {16, 8}, {24, 8}, {32, 8}, {40, 4}, {48, 8}};
    uint8_t number[8];
    uint64_t choice = rng_below(&s->random, sizeof fields / sizeof fields[0] + 4);
    ss_put64(number, strange(s));
    if (choice < sizeof fields / sizeof fields[0])
        memcpy(record_room + fields[choice][0], number, fields[choice][1]);
    else if (header_bytes > RECORD_TABLE)
        memcpy(record_room + RECORD_TABLE + 8 * rng_below(&s->random, (header_bytes - RECORD_TABLE) / 8), number, 8);
    s->whole = false;
}

static void put_record(scene *s) {
    uint64_t count = rng_below(&s->random, PIECES + 1), step = one_in(s, 2) ? 64 : SS_BLOCK_SIZE;
    uint64_t header_bytes = RECORD_TABLE + 16 * count;
    s->size = ss_round_up(s->size, step);
    s->pages += rng_below(&s->random, MAX_PAGES - s->pages + 1);
    memset(record_room, 0, header_bytes);
    memcpy(record_room, "SMRC\1", 5);
    record_room[6] = (uint8_t)(FLAG_ALWAYS | rng_below(&s->random, 2));
    ss_put64(record_room + 8, s->salt);
    ss_put64(record_room + 16, ++s->sequence);
    ss_put64(record_room + 24, s->previous);
    ss_put64(record_room + 32, s->pages);
    ss_put32(record_room + 40, (uint32_t)count);
    uint64_t data = put_pieces(s, record_room + header_bytes, count), size = header_bytes + data;
    ss_put64(record_room + 48, data);
    if (one_in(s, 8)) make_strange(s, header_bytes);
    put_sum(s, record_room + 56, record_room, size, ss_get64(record_room + 24));
    s->previous = ss_get64(record_room + 56);
    put_log(s, s->size, record_room, size);
    s->size += size;
}

static void damage_log(scene *s) {
    struct disk_content *log = content_of(s->disk, LOG);
    uint8_t bytes[64];
    uint64_t at = rng_below(&s->random, log->size + 1), size = 1 + rng_below(&s->random, sizeof bytes);
    s->whole = false;
    if (one_in(s, 3)) {
        content_resize(log, at);
        return;
    }
    for (uint64_t i = 0; i < size; i++) bytes[i] = (uint8_t)rng_below(&s->random, 256);
    put_log(s, at, bytes, size);
}

static void make_scene(scene *s) {
    s->disk = disk_new(7);
    s->whole = true;
    make_main(s);
    if (!one_in(s, 16)) {
        new_file(s, LOG);
        put_headers(s);
        for (uint64_t i = rng_below(&s->random, 5); i > 0 && s->size < LOG_ROOM / 2; i--) put_record(s);
        for (uint64_t i = one_in(s, 4) ? 3 : 0; i > 0; i--) damage_log(s);
    }
    if (one_in(s, 16)) {
        content_resize(content_of(s->disk, MAIN), rng_below(&s->random, 4 * SS_PAGE_SIZE));
        s->whole = false;
    }
    make_durable(s->disk);
}

/* ---- opening ---- */

/* One of the first `ways`: those with a log, by a reader, without a log (which the simulated disk can only read). */
enum { WITH_LOG = 3, ANY_WAY = 5 };

static int open_on(scene *s, struct disk *disk, uint64_t ways, ss_memory **memory) {
    static const int durabilities[] = {SS_DURABLE_NORMAL, SS_DURABLE_FULL, SS_DURABLE_FULL, SS_DURABLE_FULL, SS_DURABLE_NONE};
    uint64_t choice = rng_below(&s->random, ways);
    ss_file_options options = {.path = "main",
                               .mode = choice == WITH_LOG ? SS_FILE_READ : SS_FILE_WRITE,
                               .durability = durabilities[choice],
                               .exclusive = choice == 1,
                               .max_pages = MAX_PAGES,
                               .patience = 1,
                               .log_bytes = 8 * SS_BLOCK_SIZE,
                               .checkpoint_bytes = 12 * SS_BLOCK_SIZE,
                               .vfs = &disk->vfs};
    return ss_file_open_with(&options, memory);
}

static bool finds(scene *s, struct disk *disk, uint64_t sum, const char *what) {
    ss_memory *memory;
    int status = open_on(s, disk, ANY_WAY, &memory);
    if (!holds(status == SS_OK, what, status)) return false;
    bool same = holds(sum_of(memory) == sum, what, status);
    abandon(disk, memory);
    return same && holds(disk->broken == NULL, disk->broken != NULL ? disk->broken : "", status);
}

static void finds_after_loss(scene *s, struct disk *disk, uint64_t sum) {
    uint64_t random = 1 + rng_below(&s->random, 256);
    enum disk_loss loss = (enum disk_loss)rng_below(&s->random, LOSS_KINDS);
    /* The scene's records do not heal what became garbage; those of the library have whole blocks first. */
    if (loss == LOSE_GARBAGE) loss = LOSE_SECTORS;
    struct disk *after = disk_after_loss(disk, loss, &random);
    (void)finds(s, after, sum, "what was opened is found after a power loss");
    disk_free(after);
}

/* A commit and a close leave the bare image. */
static void goes_on(scene *s, struct disk *disk) {
    uint8_t byte = 77;
    ss_memory *memory;
    int status = open_on(s, disk, WITH_LOG, &memory);
    if (!holds(status == SS_OK, "what was opened opens again", status)) return;
    if (memory->root->pages > 0) {
        status = ss_enter_write(memory);
        if (status == SS_OK) status = ss_leave_write(memory, ss_memory_write(memory, rng_below(&s->random, SS_PAGE_SIZE), &byte, 1));
        holds(status == SS_OK, "a commit after a recovery", status);
    }
    uint64_t sum = sum_of(memory);
    status = ss_memory_close(memory);
    holds(status == SS_OK, "a close after a recovery", status);
    ss_memory_release(memory);
    holds(content_of(disk, LOG) == NULL, "nothing but the file is left", status);
    memset(disk->locks, 0, sizeof disk->locks);
    (void)finds(s, disk, sum, "what was committed is found");
}

static void try_opened(scene *s, struct disk *disk, ss_memory *memory) {
    uint64_t sum = sum_of(memory), pages = memory->root->pages;
    bool same = !s->whole || (pages == s->pages && sum == ss_checksum_of(model, (size_t)(s->pages * SS_PAGE_SIZE), s->pages));
    holds(same, "a log that is whole is opened as its image", SS_OK);
    abandon(disk, memory);
    if (one_in(s, 2)) finds_after_loss(s, disk, sum);
    if (finds(s, disk, sum, "what was opened is found again")) goes_on(s, disk);
}

static bool is_refusal(int status) {
    return is_damage(status) || status == SS_WAL_CORRUPT;
}

static void try_refused(scene *s, const struct disk *disk, int status, bool failed) {
    bool known = is_refusal(status) || (status == SS_OUT_OF_MEMORY && !s->whole) || failed;
    holds(known, "an opening that is refused says why", status);
    holds(!s->whole || failed, "a log that is whole opens", status);
    if (!is_refusal(status)) return;
    holds(same_content(content_of(disk, MAIN), content_of(s->disk, MAIN)), "a refused opening leaves the file", status);
    holds(same_content(content_of(disk, LOG), content_of(s->disk, LOG)), "a refused opening leaves the log", status);
}

/* Opens it, perhaps while a call fails; then as if nothing had been. */
static void try_open(scene *s, struct disk *disk, bool may_fail) {
    ss_memory *memory;
    if (may_fail) {
        disk->fail_at = 1 + (long)rng_below(&s->random, 48);
        disk->fail_with = one_in(s, 2) ? EIO : ENOSPC;
    }
    int status = open_on(s, disk, ANY_WAY, &memory);
    disk->fail_at = 0;
    if (status == SS_OK)
        try_opened(s, disk, memory);
    else
        try_refused(s, disk, status, disk->failed);
    memset(disk->locks, 0, sizeof disk->locks);
    if (status != SS_OK && disk->failed && may_fail) {
        disk->failed = false;
        try_open(s, disk, false);
    }
    holds(disk->broken == NULL, disk->broken != NULL ? disk->broken : "", status);
}

static void fuzz_one(rng *random) {
    scene s = {.random = *random};
    make_scene(&s);
    struct disk *disk = disk_copy(s.disk);
    try_open(&s, disk, one_in(&s, 4));
    disk_free(disk);
    disk_free(s.disk);
}

static void fuzz_begin(void) {
}

static void fuzz_end(void) {
}
