/* SPDX-License-Identifier: Apache-2.0 */
/* Slots of random bytes: a survey says what a plain loop over all bytes says, in steps of any size; and frames that cannot be. */
#include <stdlib.h>
#include <string.h>

#include "memory/access.h"
#include "structures/survey.h"
#include "support/check.h"

#define PAGES 4
#define BYTES (PAGES * SS_PAGE_SIZE)
#define LIMIT 100

static uint8_t bytes[BYTES];

static uint64_t next_random(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *state >> 33;
}

static ss_memory *filled(uint64_t seed, unsigned most) {
    ss_memory *memory;
    for (size_t i = 0; i < BYTES; i++) bytes[i] = (uint8_t)(next_random(&seed) % most);
    CHECK_EQ(ss_memory_new_flat(PAGES, &memory), SS_OK);
    CHECK_EQ(ss_access_grow(memory, PAGES), 0);
    CHECK_EQ(ss_access_write(memory, 0, bytes, BYTES), SS_OK);
    return memory;
}

static uint64_t size_at(const ss_slots_frame *f, uint64_t index) {
    uint64_t size = 0;
    for (uint64_t i = 0; i < f->size_bytes; i++) size |= (uint64_t)bytes[f->first + index * f->slot + i] << (8 * i);
    return f->size_bytes == 0 ? f->max_size : size;
}

static bool is_less(const ss_slots_frame *f, uint64_t a, uint64_t b) {
    uint64_t a_size = size_at(f, a), b_size = size_at(f, b), both = a_size < b_size ? a_size : b_size;
    if (a_size > f->max_size || b_size > f->max_size) return false;
    int found = memcmp(bytes + f->first + a * f->slot + f->size_bytes, bytes + f->first + b * f->slot + f->size_bytes, (size_t)both);
    return found < 0 || (found == 0 && a_size < b_size);
}

static void compare(ss_memory *memory, const ss_slots_frame *f, uint64_t step) {
    ss_slots_survey *survey;
    uint64_t large = 0, less = 0;
    int status = SS_OK;
    for (uint64_t i = 0; i < f->count; i++) {
        large += size_at(f, i) > f->max_size;
        if (i > 0 && f->order == SS_SEEN_BYTES) less += is_less(f, i, (i - 1) / 2);
    }
    if (!CHECK_EQ(ss_slots_survey_new(memory, f, NULL, 0, LIMIT, &survey), SS_OK)) return;
    while (status == SS_OK) status = ss_slots_survey_step(survey, step);
    CHECK_EQ(status, SS_ABSENT);
    CHECK_EQ(ss_slots_survey_notes(survey)->count, large);
    CHECK_EQ(ss_slots_survey_disorder(survey)->count, less);
    CHECK_EQ(ss_slots_survey_disorder(survey)->kept, less < LIMIT ? less : LIMIT);
    ss_slots_survey_free(survey);
}

static void a_survey_says_what_a_loop_says(void) {
    const uint64_t sizes[] = {1, 3, 8, 100, 254, 300, 30000, 65536, 70000};
    for (uint64_t seed = 0; seed < 60; seed++) {
        ss_memory *memory = filled(seed, seed % 3 == 0 ? 4 : 256);
        uint64_t most = sizes[seed % 9], field = seed % 2 == 0 ? 0 : most <= 255 ? 1 : most <= 65535 ? 2 : 4;
        ss_slots_frame f = {BYTES, 64, 0, most + field, field, most, seed % 5 == 0 ? SS_SEEN_ANY : SS_SEEN_BYTES, SS_ENCODED_ANY};
        f.count = (BYTES - 64) / f.slot;
        compare(memory, &f, 1 + seed * seed);
        f.count /= 2;
        compare(memory, &f, UINT64_MAX);
        f.count = 0;
        compare(memory, &f, 10);
        ss_memory_release(memory);
    }
}

/* What is behind the end of the last slot counts as zeros. */
static void the_last_slot_may_end_behind_the_memory(void) {
    ss_memory *memory = filled(1, 2);
    ss_slots_frame f = {BYTES, 64, (BYTES - 64) / 101 + 1, 101, 1, 100, SS_SEEN_BYTES, SS_ENCODED_ANY};
    ss_slots_survey *survey;
    CHECK((BYTES - 64) % 101 != 0);
    if (CHECK_EQ(ss_slots_survey_new(memory, &f, NULL, 0, LIMIT, &survey), SS_OK)) {
        CHECK_EQ(ss_slots_survey_step(survey, UINT64_MAX), SS_ABSENT);
        CHECK_EQ(ss_slots_survey_notes(survey)->count, 0);
        ss_slots_survey_free(survey);
    }
    ss_memory_release(memory);
}

static void frames_that_cannot_be_are_refused(void) {
    ss_memory *memory = filled(1, 256);
    const ss_slots_frame good = {BYTES, 64, 10, 9, 1, 8, SS_SEEN_BYTES, SS_ENCODED_ANY};
    for (int i = 0; i < 7; i++) {
        ss_slots_frame f = good;
        ss_slots_survey *survey;
        if (i == 0) f.slot = 0;
        if (i == 1) f.size_bytes = 3;
        if (i == 2) f.max_size = 9;
        if (i == 3) f.first = BYTES + 1;
        if (i == 4) f.count = BYTES;
        if (i == 5) f.count = UINT64_MAX;
        if (i == 6) f.slot = 2 * BYTES, f.max_size = 2 * BYTES - 1, f.count = 2;
        CHECK_EQ(ss_slots_survey_new(memory, &f, NULL, 0, LIMIT, &survey), SS_ARGUMENT);
        CHECK(survey == NULL);
    }
    ss_memory_release(memory);
}

int main(void) {
    a_survey_says_what_a_loop_says();
    the_last_slot_may_end_behind_the_memory();
    frames_that_cannot_be_are_refused();
    return check_summary();
}
