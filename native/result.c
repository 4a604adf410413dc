/* SPDX-License-Identifier: Apache-2.0 */
#include "result.h"

#include <pthread.h>
#include <stdlib.h>

#include "bytes.h"
#include "error.h"

/* A buffer larger than this is given back before the next answer. */
#define KEPT ((size_t)1 << 20)
#define SMALL 512

static _Thread_local uint8_t small[SMALL];
static _Thread_local uint8_t *large;
static _Thread_local size_t room;
static _Thread_local const uint8_t *answer; /* NULL: the small one */
static _Thread_local int last_status;
static _Thread_local uint64_t last_number;

static pthread_key_t at_exit;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_key(void) {
    (void)pthread_key_create(&at_exit, free);
}

/* Gives the thread another large buffer; the key frees it when the thread ends. */
static bool set_large(size_t size) {
    pthread_once(&once, make_key);
    (void)pthread_setspecific(at_exit, NULL);
    free(large);
    large = malloc(size);
    room = large == NULL ? 0 : size;
    return large != NULL && pthread_setspecific(at_exit, large) == 0;
}

uint8_t *ss_result_room(size_t size) {
    answer = NULL;
    if (SS_LIKELY(size <= SMALL)) return small;
    bool too_large = room > KEPT && size <= KEPT;
    if ((size > room || too_large) && !set_large(size)) {
        ss_fail(SS_NO_HEAP, "room for a value", 0, size, 0);
        return NULL;
    }
    answer = large;
    return large;
}

const uint8_t *ss_result(void) {
    return answer == NULL ? small : answer;
}

uint64_t ss_result_number(int status, uint64_t value) {
    if (SS_LIKELY(status == SS_OK && value < SS_ASK)) return value;
    if (status == SS_ABSENT) return SS_NO_NUMBER;
    last_status = status;
    last_number = value;
    return SS_ASK;
}

uint64_t ss_last_number(void) {
    return last_number;
}

int ss_last_status(void) {
    return last_status;
}

int64_t ss_result_size(int status, uint64_t size) {
    if (SS_LIKELY(status == SS_OK)) return (int64_t)size;
    return status == SS_ABSENT ? SS_NO_VALUE : status;
}
