/* SPDX-License-Identifier: Apache-2.0 */
/* How the core waits: in slices, and between two of them the binding may run what a signal asks for.
 *
 * A wait that ends because the binding says so (a signal handler raised) ends before its operation has done anything.
 */
#ifndef SS_WAITING_H
#define SS_WAITING_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* The longest time for which a wait does not look about, in milliseconds. */
#define SS_SLICE_MS 50u

/* ---- what the binding does while we wait ---- */

/* Gives signal handlers their turn; 0, or SS_CALLBACK if one raised. */
typedef int (*ss_poll)(void);
/* Tells how the task that runs in this thread stands to the one of this number; or SS_CALLBACK. */
typedef int (*ss_compare_task)(uint64_t task);
enum ss_task { SS_TASK_SAME, SS_TASK_OTHER, SS_TASK_GONE };

/* `thread` is the one that runs signal handlers, as a number of pthread_self; the others are never asked. */
void ss_set_hooks(ss_poll poll, ss_compare_task compare, uint64_t thread);
/* SS_OK if the wait may go on. */
int ss_poll_signals(void);
/* One of enum ss_task, or a status. */
int ss_compare_running_task(uint64_t task);
/* Forgets what the binding has read ahead, while an operation has its result still to hand over: it must run no signal handler. */
typedef void (*ss_alarm)(void);
void ss_set_alarm(ss_alarm alarm);
void ss_sound_alarm(void);

/* An impatient thread does not wait: who would have to gets SS_ABSENT, or the failure of no patience. What it was before. */
bool ss_set_impatient(bool impatient);
bool ss_is_impatient(void);

/* ---- threads ---- */

/* A number that is never used twice, unlike addresses and numbers of the system. */
uint64_t ss_this_thread(void);
/* What pthread_self gives, as a number. */
uint64_t ss_thread_name(void);

/* Tells whether a thread is still there, also when it is not. */
typedef struct ss_life ss_life;
/* Of the calling thread, retained; NULL if the process has no memory left. */
ss_life *ss_life_of_thread(void);
bool ss_life_has_ended(const ss_life *life); /* false for NULL: nobody knows */
void ss_life_release(ss_life *life);         /* NULL is allowed */

/* ---- time ---- */

uint64_t ss_milliseconds(void);
uint64_t ss_deadline(uint32_t patience); /* when so many milliseconds are over: never earlier, up to one later */
/* A condition whose waits end by the clock of ss_after. */
int ss_condition_init(pthread_cond_t *condition);
struct timespec ss_after(uint64_t milliseconds);

/* ---- locks that another thread holds ---- */

/* Locks a mutex whose holder's mark is at *holder. SS_REENTRANT where it never comes free: a ring of threads, each of which
 * holds (in a callback) what the next one waits for; the one that came last gets it. `deaf`: asks no binding, never fails; in a
 * ring the others give up. */
int ss_lock_slowly(pthread_mutex_t *mutex, _Atomic(const void *) *holder, const void *mark, bool deaf);
/* Gives such a mutex up, waits for the condition, and locks it again as the deaf do; an errno, as pthread_cond_timedwait. */
int ss_wait_unlocked(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until, _Atomic(const void *) *holder,
                     const void *mark);
/* In the child of a fork: nobody else waits. */
void ss_waiting_forked(void);

#endif
