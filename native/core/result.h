/* SPDX-License-Identifier: Apache-2.0 */
/* How a value crosses to the caller: in the return value where it is a number, else in a buffer of the calling thread.
 *
 * A function that returns bytes returns their number, and they lie at ss_result(); SS_NO_VALUE says that there is no
 * value, another negative number is a status.
 * Before the caller has copied its result, a signal handler or a finalizer may run on the same thread and make calls of
 * its own. So answers stack: after ss_result_drop() the one before the latest is the latest again.
 * Two calls for each result would cost Python more than the operation. So the thread that asked for it (ss_result_offer) finds
 * its usual results, those that are small and that no other waits below, always in the same place. It copies one from there, and
 * drops it by setting `next` to 0. From then on the size of every other result is returned with SS_ELSEWHERE added.
 * A function that returns a number returns it, or SS_NO_NUMBER if there is none, or SS_ASK: then it answers
 * with SS_ASKED_SIZE bytes too, a status and the number, each in 8 bytes little-endian. The status is negative, or SS_OK
 * where the number happens to be one of the two.
 */
#ifndef SS_RESULT_H
#define SS_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"

#define SS_NO_VALUE INT64_C(-1000)
/* The two largest numbers, so that one comparison tells the usual result. */
#define SS_NO_NUMBER UINT64_MAX
#define SS_ASK (UINT64_MAX - 1)
#define SS_ASKED_SIZE 16
/* More than any size. */
#define SS_ELSEWHERE (INT64_C(1) << 56)
#define SS_RESULT_FIRST 512

/* The first of a thread's results that wait to be dropped. */
typedef struct ss_result_first {
    uint8_t bytes[SS_RESULT_FIRST];
    uint8_t next; /* the level of the next result: 0 if none waits, 1 if this one does */
} ss_result_first;

/* Room for `size` bytes in a buffer of this thread; NULL (failure recorded) where the process has no memory left. */
uint8_t *ss_result_buffer(size_t size);
const uint8_t *ss_result(void);
/* The same for cffi, which makes bytes of chars only. */
const char *ss_result_chars(void);
void ss_result_drop(void);
/* From now on this thread takes its usual results from here. */
ss_result_first *ss_result_offer(void);

/* Around a hook that may make calls of its own while an operation ends: its result stays the latest. */
typedef struct ss_result_mark {
    uint8_t next;
    bool made;
} ss_result_mark;
ss_result_mark ss_result_hold(void);
void ss_result_resume(ss_result_mark mark);

/* What is left of ss_result_number where the result is not a usual one. */
uint64_t ss_result_signal(int status, uint64_t value);
/* Ends a function that returns a number: `value` with SS_OK, none with SS_ABSENT, else an error. */
static inline uint64_t ss_result_number(int status, uint64_t value) {
    return SS_LIKELY(status == SS_OK && value < SS_ASK) ? value : ss_result_signal(status, value);
}
/* The two parts of that result, where it is the latest. */
int ss_last_status(void);
uint64_t ss_last_number(void);

/* A result in bytes while it is being made. Starts as {0}.
 *
 * It goes straight to the buffer of this thread, except when the operation runs code of the user, such as a foreign memory,
 * between here and its end: that code may call functions which use the buffer. Then the result waits in a copy. */
typedef struct ss_result_builder {
    uint8_t *copy;
    uint64_t size;
} ss_result_builder;

/* Room for `size` bytes, in a copy if `waits`; NULL (failure recorded) if the process has no memory left. */
uint8_t *ss_result_builder_reserve(ss_result_builder *builder, bool waits, uint64_t size);
/* Ends every function that has a result in bytes, after the lock was left: what the function returns. */
int64_t ss_result_finish(ss_result_builder *builder, int status);

/* The status of a function that returns bytes as its return value. */
int64_t ss_result_size(int status, uint64_t size);

#endif
