/* SPDX-License-Identifier: Apache-2.0 */
/* Random ends and random tables: a survey says what a plain loop says, in steps of any size; and texts that end between two windows. */
#include <stdlib.h>
#include <string.h>

#include "memory/access.h"
#include "structures/log.h"
#include "structures/survey.h"
#include "support/check.h"
#include "support/memories.h"

#define PAGES 3
#define BYTES (PAGES * SS_PAGE_SIZE)
#define LIMIT 50

static uint8_t bytes[BYTES];

static uint64_t next_random(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *state >> 33;
}

static ss_memory *memory_of(void) {
    ss_memory *memory;
    CHECK_EQ(ss_memory_new_flat(PAGES, &memory), SS_OK);
    CHECK_EQ(ss_access_grow(memory, PAGES), 0);
    CHECK_EQ(ss_access_write(memory, 0, bytes, BYTES), SS_OK);
    return memory;
}

/* Ends that mostly ascend. */
static void fill_ends(uint64_t seed, uint64_t count, uint64_t most) {
    uint64_t end = 0;
    for (uint64_t i = 0; i < count; i++) {
        end = next_random(&seed) % 50 == 0 ? next_random(&seed) % most : end + next_random(&seed) % 9;
        ss_put64(bytes + SS_LOG_ENDS_AT + 8 * i, end);
    }
}

static void compare(ss_memory *index, ss_memory *data, const ss_log_frame *f, uint64_t step) {
    uint64_t falling = 0, outside = 0, sized = 0, sound = 0, before = 0, room = f->data_bytes - SS_LOG_ENTRIES_AT;
    ss_log_survey *survey;
    for (uint64_t i = 0; i < f->count; i++) {
        uint64_t end = ss_get64(bytes + SS_LOG_ENDS_AT + 8 * i);
        bool reads = data != NULL && end >= before && end <= room;
        falling += end < before;
        outside += data != NULL && end > room;
        sound += reads;
        sized += reads && f->encoding != SS_ENCODED_ANY && (end - before < f->least || end - before > f->most);
        before = end;
    }
    if (!CHECK_EQ(ss_log_survey_new(index, data, f, LIMIT, &survey), SS_OK)) return;
    int status = SS_OK;
    while (status == SS_OK) status = ss_log_survey_step(survey, step);
    const ss_survey_notes *notes = ss_log_survey_notes(survey);
    CHECK_EQ(status, SS_ABSENT);
    CHECK_EQ(notes->count, falling + outside + sized);
    CHECK_EQ(notes->kept, notes->count < LIMIT ? notes->count : LIMIT);
    CHECK_EQ(ss_log_survey_stats(survey)->count, sound);
    ss_log_survey_free(survey);
}

static void a_survey_says_what_a_loop_says(void) {
    for (uint64_t seed = 0; seed < 60; seed++) {
        uint64_t most = seed % 3 == 0 ? BYTES : 3 * BYTES, room = (BYTES - SS_LOG_ENDS_AT) / 8;
        ss_log_frame f = {BYTES, seed % 2 == 0 ? BYTES : 70000, seed % 5 == 0 ? room : seed * 40, seed % 4, 6, SS_ENCODED_ANY, 0};
        fill_ends(seed, f.count, most);
        ss_memory *index = memory_of(), *data = memory_of();
        f.encoding = seed % 2 == 0 ? SS_ENCODED_SIZE : SS_ENCODED_ANY;
        compare(index, data, &f, 1 + seed * seed);
        compare(index, index, &f, 7000); /* on one root */
        compare(index, NULL, &f, UINT64_MAX);
        ss_memory_release(index);
        ss_memory_release(data);
    }
}

static void ends_that_do_not_lie_inside_are_refused(void) {
    ss_memory *memory = memory_of();
    ss_log_survey *survey;
    const uint64_t counts[] = {(BYTES - SS_LOG_ENDS_AT) / 8 + 1, UINT64_MAX};
    for (int i = 0; i < 2; i++) {
        ss_log_frame f = {BYTES, BYTES, counts[i], 0, UINT64_MAX, SS_ENCODED_ANY, 0};
        CHECK_EQ(ss_log_survey_new(memory, NULL, &f, LIMIT, &survey), SS_ARGUMENT);
        CHECK(survey == NULL);
    }
    ss_memory_release(memory);
}

/* Characters of every length, at every place around the ends of windows; then with one byte that no text has. */
static void texts_are_read_in_windows(void) {
    static const char *const characters[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    for (uint64_t seed = 0; seed < 200; seed++) {
        uint64_t size = 0, state = seed, wanted = 4000 + seed * 61;
        bool is = false;
        while (size < wanted) {
            const char *one = characters[next_random(&state) % 4];
            memcpy(bytes + 64 + size, one, strlen(one));
            size += strlen(one);
        }
        ss_memory *sound = memory_of();
        bytes[64 + next_random(&state) % size] = 0xFF;
        ss_memory *broken = memory_of();
        CHECK_EQ(ss_survey_value(sound, 64, size, SS_ENCODED_UTF8, &is), SS_OK);
        CHECK(is);
        CHECK_EQ(ss_survey_value(broken, 64, size, SS_ENCODED_UTF8, &is), SS_OK);
        CHECK(!is);
        ss_memory_release(sound);
        ss_memory_release(broken);
    }
}

/* ---- the manager ---- */

/* Ends that fall to `low` after each entry: all others begin there, and have the bytes of all of them. */
static void texts_that_share_their_bytes_are_read_a_few_times(uint64_t count, uint64_t low) {
    array_memory text = {calloc(1, BYTES), PAGES, PAGES, -1, 0};
    ss_memory *index, *data;
    ss_log_survey *survey;
    ss_log_frame f = {.index_bytes = BYTES, .data_bytes = BYTES, .count = count, .most = UINT64_MAX, .encoding = SS_ENCODED_UTF8};
    for (uint64_t i = 0; i < count; i++) ss_put64(bytes + SS_LOG_ENDS_AT + 8 * i, i % 2 == 0 ? BYTES - SS_LOG_ENTRIES_AT : low);
    index = memory_of();
    CHECK_EQ(ss_memory_new_foreign(&array_ops, &text, &data), SS_OK);
    CHECK_EQ(ss_log_survey_new(index, data, &f, LIMIT, &survey), SS_OK);
    while (ss_log_survey_step(survey, 100) == SS_OK) continue;
    CHECK_EQ(ss_log_survey_notes(survey)->count, count / 2);
    CHECK(text.read >= BYTES / 2 && text.read <= 17 * BYTES);
    ss_log_survey_free(survey);
    ss_memory_release(index);
    ss_memory_release(data);
    free(text.bytes);
}

static void fill_tables(uint64_t seed, uint64_t allocated) {
    memset(bytes, 0, SS_MANAGER_OWNERS_AT);
    memset(bytes + SS_MANAGER_OWNERS_AT, SS_MANAGER_FREE, SS_MANAGER_BUCKETS);
    memcpy(bytes, "MGR\1", 4);
    ss_put16(bytes + SS_MANAGER_ALLOCATED_AT, (uint16_t)allocated);
    ss_put16(bytes + SS_MANAGER_BUCKET_PAGES_AT, 1);
    for (uint64_t i = 0; i < allocated; i++) bytes[SS_MANAGER_OWNERS_AT + i] = (uint8_t)(next_random(&seed) % 3);
    for (uint64_t id = 0; id < 3; id++) {
        uint64_t owned = 0;
        for (uint64_t i = 0; i < allocated; i++) owned += bytes[SS_MANAGER_OWNERS_AT + i] == id;
        ss_put64(bytes + SS_MANAGER_SIZES_AT + 8 * id, owned);
    }
    for (uint64_t i = seed % 3; i > 0; i--) bytes[next_random(&seed) % (SS_MANAGER_OWNERS_AT + 8)] ^= (uint8_t)(1 + next_random(&seed) % 4);
}

/* What the manager itself refuses is noted, and nothing where it is sound and no bucket is one too many. */
static void tables_that_the_manager_refuses_are_noted(void) {
    for (uint64_t seed = 0; seed < 300; seed++) {
        fill_tables(seed, seed % 4);
        struct ss_manager_stats stats;
        ss_survey_notes *notes = ss_survey_notes_new(LIMIT);
        ss_memory *memory = memory_of();
        ss_manager *manager;
        int opened = ss_manager_open(memory, SS_LOAD, 1, &manager);
        int found = opened == SS_OK ? ss_manager_check(manager, NULL, NULL) : opened,
            status = ss_survey_manager(bytes, BYTES, &stats, notes);
        CHECK(status == SS_OK || (status == SS_CORRUPT && notes->count == 1));
        CHECK(found == SS_OK || notes->count > 0);
        for (uint64_t id = 0; status == SS_OK && notes->count == 0 && id < 3; id++) {
            CHECK_EQ(stats.there[id], ss_get64(bytes + SS_MANAGER_SIZES_AT + 8 * id) * SS_PAGE_SIZE);
            CHECK_EQ(stats.cut[id], 0);
        }
        if (opened == SS_OK) ss_manager_free(manager);
        ss_memory_release(memory);
        ss_survey_notes_free(notes);
    }
}

/* ---- headers ---- */

/* Bytes of any kind, and as few of them as one likes. */
static void headers_of_any_bytes_are_surveyed(void) {
    for (uint64_t seed = 0; seed < 2000; seed++) {
        uint64_t state = seed;
        uint64_t size = seed % 120;
        uint8_t *exact = malloc((size_t)size + 1);
        if (exact == NULL) abort();
        for (uint64_t i = 0; i < size; i++) exact[i] = (uint8_t)(next_random(&state) % (seed % 2 == 0 ? 256 : 3));
        ss_seen_head head;
        ss_survey_notes *notes = ss_survey_notes_new(LIMIT);
        int status = ss_survey_head((enum ss_seen_kind)(seed % 6), exact, size, size, &head, notes);
        CHECK(status == SS_OK || (status == SS_CORRUPT && notes->count == 1));
        CHECK(notes->count > 0);
        ss_survey_notes_free(notes);
        free(exact);
    }
}

int main(void) {
    a_survey_says_what_a_loop_says();
    ends_that_do_not_lie_inside_are_refused();
    texts_are_read_in_windows();
    for (uint64_t low = 0; low <= 2000; low += 1000) texts_that_share_their_bytes_are_read_a_few_times(1000, low);
    tables_that_the_manager_refuses_are_noted();
    headers_of_any_bytes_are_surveyed();
    return check_summary();
}
