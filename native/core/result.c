/* SPDX-License-Identifier: Apache-2.0 */
#include "core/result.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/error.h"

/* A buffer larger than this is given back before the next result that uses it. */
#define KEPT ((size_t)1 << 20)
#define SMALL SS_RESULT_FIRST
/* Answers that can wait to be dropped at once. */
#define LEVELS 8

typedef struct large_buffer {
    uint8_t *bytes;
    size_t room;
} large_buffer;

/* The latest result lies at the level before `first.next`; one that was dropped leaves its level to the next. A ring: a result
 * that nobody drops is overwritten by the eighth after it. */
static _Thread_local ss_result_first first;        /* small results at level 0 */
static _Thread_local uint8_t small[LEVELS][SMALL]; /* at the levels above */
static _Thread_local large_buffer *large;          /* one for each level; NULL until the first is needed */
static _Thread_local const uint8_t *answers[LEVELS];
static _Thread_local bool made; /* room at the latest level, by a call that has not ended yet */

/* That of the thread which asked for it; NULL until one does. */
static _Atomic(ss_result_first *) offered;

static unsigned latest(void) {
    return (first.next + LEVELS - 1u) % LEVELS;
}

static pthread_key_t at_exit;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The thread may ask again: destructors of others come later, and then this one does once more. */
static void free_large(void *of) {
    large_buffer *buffers = of;
    large = NULL;
    for (unsigned i = 0; i < LEVELS; i++) free(buffers[i].bytes);
    free(buffers);
}

static void make_key(void) {
    (void)pthread_key_create(&at_exit, free_large);
}

/* The thread's large buffers; the key frees them when the thread ends. */
static large_buffer *buffers_of_thread(void) {
    if (large != NULL) return large;
    pthread_once(&once, make_key);
    large = calloc(LEVELS, sizeof *large);
    if (large == NULL || pthread_setspecific(at_exit, large) == 0) return large;
    free(large);
    large = NULL;
    return NULL;
}

static uint8_t *large_room(unsigned level, size_t size) {
    large_buffer *buffer = buffers_of_thread();
    if (buffer == NULL) return NULL;
    buffer += level;
    if (size <= buffer->room && (buffer->room <= KEPT || size > KEPT)) return buffer->bytes;
    free(buffer->bytes);
    buffer->bytes = malloc(size);
    buffer->room = buffer->bytes == NULL ? 0 : size;
    return buffer->bytes;
}

static uint8_t *small_room(unsigned level) {
    return level == 0 ? first.bytes : small[level];
}

/* The level of the result that is being made. */
static inline unsigned level_at_hand(void) {
    return made ? latest() : first.next;
}

static inline uint8_t *take_level(unsigned level, uint8_t *bytes) {
    answers[level] = bytes;
    first.next = (uint8_t)((level + 1) % LEVELS);
    made = true;
    return bytes;
}

uint8_t *ss_result_buffer(size_t size) {
    unsigned level = level_at_hand();
    uint8_t *bytes = SS_LIKELY(size <= SMALL) ? small_room(level) : large_room(level, size);
    if (bytes != NULL) return take_level(level, bytes);
    ss_fail(SS_NO_HEAP, "room for a value", 0, size, 0);
    return NULL;
}

const uint8_t *ss_result(void) {
    unsigned level = latest();
    return answers[level] == NULL ? small_room(level) : answers[level];
}

const char *ss_result_chars(void) {
    return (const char *)ss_result();
}

void ss_result_drop(void) {
    first.next = (uint8_t)latest();
}

ss_result_first *ss_result_offer(void) {
    atomic_store(&offered, &first);
    return &first;
}

/* The size of the latest result, as the caller gets it. */
static int64_t size_and_place(uint64_t size) {
    const ss_result_first *place = atomic_load_explicit(&offered, memory_order_relaxed);
    bool at_hand = place == NULL || (place == &first && first.next == 1 && answers[0] == first.bytes);
    return SS_LIKELY(at_hand) ? (int64_t)size : (int64_t)(size + SS_ELSEWHERE);
}

ss_result_mark ss_result_hold(void) {
    ss_result_mark mark = {.next = first.next, .made = made};
    made = false;
    return mark;
}

void ss_result_resume(ss_result_mark mark) {
    first.next = mark.next;
    made = mark.made;
}

uint64_t ss_result_signal(int status, uint64_t value) {
    if (status == SS_ABSENT) return SS_NO_NUMBER;
    uint8_t *room = ss_result_buffer(SS_ASKED_SIZE);
    ss_put64(room, (uint64_t)(int64_t)status);
    ss_put64(room + 8, value);
    made = false;
    return SS_ASK;
}

int ss_last_status(void) {
    return (int)(int64_t)ss_get64(ss_result());
}

uint64_t ss_last_number(void) {
    return ss_get64(ss_result() + 8);
}

int64_t ss_result_size(int status, uint64_t size) {
    bool bytes = made;
    made = false;
    if (SS_LIKELY(status == SS_OK)) return bytes ? size_and_place(size) : (int64_t)size;
    if (bytes) ss_result_drop();
    return status == SS_ABSENT ? SS_NO_VALUE : status;
}

uint8_t *ss_result_builder_reserve(ss_result_builder *builder, bool waits, uint64_t size) {
    builder->size = size;
    if (SS_LIKELY(!waits)) return ss_result_buffer((size_t)size);
    free(builder->copy);
    builder->copy = buffers_of_thread() == NULL ? NULL : malloc(size == 0 ? 1 : (size_t)size);
    if (builder->copy == NULL) ss_fail(SS_NO_HEAP, "a result", 0, size, 0);
    return builder->copy;
}

/* A large copy becomes the buffer itself. So this cannot fail: the operation has ended, and what it took out is nowhere else. */
static void hand_over(ss_result_builder *builder) {
    size_t size = (size_t)builder->size;
    if (size <= SMALL) {
        memcpy(ss_result_buffer(size), builder->copy, size);
        free(builder->copy);
        return;
    }
    unsigned level = level_at_hand();
    free(large[level].bytes);
    large[level] = (large_buffer){builder->copy, size};
    (void)take_level(level, builder->copy);
}

int64_t ss_result_finish(ss_result_builder *builder, int status) {
    if (SS_UNLIKELY(builder->copy != NULL)) {
        if (status == SS_OK) {
            hand_over(builder);
        } else {
            free(builder->copy);
        }
        builder->copy = NULL;
    }
    return ss_result_size(status, builder->size);
}
