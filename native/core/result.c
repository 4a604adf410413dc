/* SPDX-License-Identifier: Apache-2.0 */
#include "core/result.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/error.h"

/* A buffer larger than this is given back before the next result that uses it. */
#define KEPT ((size_t)1 << 20)
#define SMALL 512
/* Answers that can wait to be dropped at once. */
#define LEVELS 8

typedef struct large_buffer {
    uint8_t *bytes;
    size_t room;
} large_buffer;

/* The latest result lies at `top`; one that was dropped leaves its level to the next. A ring: an result that nobody drops is
 * overwritten by the eighth after it. */
static _Thread_local uint8_t small[LEVELS][SMALL];
static _Thread_local large_buffer *large; /* one for each level; NULL until the first is needed */
static _Thread_local const uint8_t *answers[LEVELS];
static _Thread_local unsigned top;
static _Thread_local bool made; /* room at `top`, by a call that has not ended yet */

static pthread_key_t at_exit;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void free_large(void *of) {
    large_buffer *buffers = of;
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

uint8_t *ss_result_buffer(size_t size) {
    unsigned level = made ? top : (top + 1) % LEVELS;
    uint8_t *bytes = SS_LIKELY(size <= SMALL) ? small[level] : large_room(level, size);
    if (bytes == NULL) {
        ss_fail(SS_NO_HEAP, "room for a value", 0, size, 0);
        return NULL;
    }
    answers[level] = bytes;
    top = level;
    made = true;
    return bytes;
}

const uint8_t *ss_result(void) {
    return answers[top] == NULL ? small[top] : answers[top];
}

const char *ss_result_chars(void) {
    return (const char *)ss_result();
}

void ss_result_drop(void) {
    top = (top + LEVELS - 1) % LEVELS;
}

ss_result_mark ss_result_hold(void) {
    ss_result_mark mark = {.top = top, .made = made};
    made = false;
    return mark;
}

void ss_result_resume(ss_result_mark mark) {
    top = mark.top;
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
    if (made && status != SS_OK) ss_result_drop();
    made = false;
    if (SS_LIKELY(status == SS_OK)) return (int64_t)size;
    return status == SS_ABSENT ? SS_NO_VALUE : status;
}

uint8_t *ss_result_builder_reserve(ss_result_builder *builder, bool waits, uint64_t size) {
    builder->size = size;
    if (SS_LIKELY(!waits)) return ss_result_buffer((size_t)size);
    free(builder->copy);
    builder->copy = malloc(size == 0 ? 1 : (size_t)size);
    if (builder->copy == NULL) ss_fail(SS_NO_HEAP, "a result", 0, size, 0);
    return builder->copy;
}

int64_t ss_result_finish(ss_result_builder *builder, int status) {
    if (SS_UNLIKELY(builder->copy != NULL)) {
        uint8_t *buffer = status == SS_OK ? ss_result_buffer((size_t)builder->size) : NULL;
        if (status == SS_OK && buffer == NULL) status = SS_NO_HEAP;
        if (buffer != NULL) memcpy(buffer, builder->copy, (size_t)builder->size);
        free(builder->copy);
        builder->copy = NULL;
    }
    return ss_result_size(status, builder->size);
}
