/* SPDX-License-Identifier: Apache-2.0 */
#include "core/waiting.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/result.h"

/* ---- what the binding does while we wait ---- */

static ss_poll poll_hook;
static ss_compare_task task_hook;
static ss_alarm alarm_hook;
static _Atomic(uint64_t) signal_thread;
static _Thread_local bool impatient_thread;

void ss_set_hooks(ss_poll poll, ss_compare_task compare, uint64_t thread) {
    poll_hook = poll;
    task_hook = compare;
    atomic_store(&signal_thread, thread);
}

static int callback_failed(void) {
    return ss_fail(SS_CALLBACK, "a signal handler raised", 0, 0, 0);
}

/* What a handler does with memories is nobody else's haste. */
int ss_poll_signals(void) {
    if (poll_hook == NULL || atomic_load(&signal_thread) != ss_thread_name()) return SS_OK;
    bool before = ss_set_impatient(false);
    int status = poll_hook();
    (void)ss_set_impatient(before);
    return status == SS_OK ? SS_OK : callback_failed();
}

int ss_compare_running_task(uint64_t task) {
    if (task_hook == NULL) return SS_TASK_OTHER;
    bool before = ss_set_impatient(false);
    int result = task_hook(task);
    (void)ss_set_impatient(before);
    return result >= 0 ? result : callback_failed();
}

void ss_set_alarm(ss_alarm alarm) {
    alarm_hook = alarm;
}

/* It runs no code of the user, but what it makes room for may start a collection of garbage, and that runs finalizers. */
void ss_sound_alarm(void) {
    if (alarm_hook == NULL) return;
    bool before = ss_set_impatient(false);
    ss_result_mark result = ss_result_hold();
    struct ss_failure failure = *ss_last_failure();
    alarm_hook();
    ss_record_failure(failure.status, failure.rule, failure.address, failure.number, failure.limit);
    ss_result_resume(result);
    (void)ss_set_impatient(before);
}

bool ss_set_impatient(bool impatient) {
    bool before = impatient_thread;
    impatient_thread = impatient;
    return before;
}

bool ss_is_impatient(void) {
    return impatient_thread;
}

/* ---- threads ---- */

uint64_t ss_this_thread(void) {
    static _Atomic(uint64_t) last;
    static _Thread_local uint64_t id;
    if (id == 0) id = atomic_fetch_add(&last, 1) + 1;
    return id;
}

uint64_t ss_thread_name(void) {
    return (uint64_t)(uintptr_t)pthread_self();
}

struct ss_life {
    atomic_int references; /* of the thread, and of those who ask */
    atomic_bool ended;
};

static _Thread_local ss_life *life_of_thread;
static pthread_key_t life_key;
static bool has_life_key;
static pthread_once_t life_once = PTHREAD_ONCE_INIT;

/* A thread that asks in a destructor which comes later begins another one. */
static void end_life(void *of) {
    ss_life *life = of;
    life_of_thread = NULL;
    atomic_store(&life->ended, true);
    ss_life_release(life);
}

static void make_life_key(void) {
    has_life_key = pthread_key_create(&life_key, end_life) == 0;
}

static ss_life *new_life(void) {
    pthread_once(&life_once, make_life_key);
    ss_life *life = has_life_key ? calloc(1, sizeof *life) : NULL;
    if (life == NULL) return NULL;
    atomic_store(&life->references, 1);
    if (pthread_setspecific(life_key, life) == 0) return life;
    free(life);
    return NULL;
}

ss_life *ss_life_of_thread(void) {
    if (life_of_thread == NULL) life_of_thread = new_life();
    if (life_of_thread != NULL) atomic_fetch_add(&life_of_thread->references, 1);
    return life_of_thread;
}

bool ss_life_has_ended(const ss_life *life) {
    return life != NULL && atomic_load(&life->ended);
}

void ss_life_release(ss_life *life) {
    if (life != NULL && atomic_fetch_sub(&life->references, 1) == 1) free(life);
}

/* ---- time ---- */

#ifdef __APPLE__
#define WAIT_CLOCK CLOCK_REALTIME /* conditions have no other there */
#else
#define WAIT_CLOCK CLOCK_MONOTONIC
#endif

uint64_t ss_milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The clock is read in whole milliseconds, the present one has begun already; but who has no patience does not wait for its end. */
uint64_t ss_deadline(uint32_t patience) {
    return ss_milliseconds() + patience + (patience > 0);
}

int ss_condition_init(pthread_cond_t *condition) {
#ifdef __APPLE__
    return pthread_cond_init(condition, NULL);
#else
    pthread_condattr_t how;
    int error = pthread_condattr_init(&how);
    if (error != 0) return error;
    pthread_condattr_setclock(&how, WAIT_CLOCK);
    error = pthread_cond_init(condition, &how);
    pthread_condattr_destroy(&how);
    return error;
#endif
}

static struct timespec by_clock(clockid_t clock, uint64_t milliseconds) {
    struct timespec at;
    clock_gettime(clock, &at);
    at.tv_sec += (time_t)(milliseconds / 1000);
    at.tv_nsec += (long)(milliseconds % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    return at;
}

struct timespec ss_after(uint64_t milliseconds) {
    return by_clock(WAIT_CLOCK, milliseconds);
}

/* ---- locks that another thread holds ---- */

/* A thread that waits for a lock; lies on its stack. */
struct waiter {
    struct waiter *next;
    const void *mark;
    _Atomic(const void *) *holder; /* of the lock that it waits for, which it keeps alive */
    bool deaf;                     /* its wait cannot fail */
    uint64_t number;               /* the later, the larger; 0 for the deaf */
};

static pthread_mutex_t waiters_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct waiter *waiters;
static uint64_t last_number;

static void list_waiter(struct waiter *waiter) {
    pthread_mutex_lock(&waiters_mutex);
    last_number++;
    waiter->number = waiter->deaf ? 0 : last_number;
    waiter->next = waiters;
    waiters = waiter;
    pthread_mutex_unlock(&waiters_mutex);
}

static void unlist_waiter(const struct waiter *waiter) {
    pthread_mutex_lock(&waiters_mutex);
    for (struct waiter **link = &waiters; *link != NULL; link = &(*link)->next) {
        if (*link != waiter) continue;
        *link = waiter->next;
        break;
    }
    pthread_mutex_unlock(&waiters_mutex);
}

static const struct waiter *waiter_of(const void *mark) {
    const struct waiter *waiter = waiters;
    while (waiter != NULL && waiter->mark != mark) waiter = waiter->next;
    return waiter;
}

/* Whether `me` waits, over others, for itself, and came last of those that can give up. Whoever is in such a ring stays
 * there, so one of them finds it. */
static bool closes_ring(const struct waiter *me) {
    pthread_mutex_lock(&waiters_mutex);
    const struct waiter *next = me;
    bool ring = false, last = true;
    for (uint64_t steps = 0; next != NULL && !ring && steps < last_number; steps++) {
        next = waiter_of(atomic_load(next->holder));
        ring = next == me;
        if (next != NULL && next->number > me->number) last = false;
    }
    pthread_mutex_unlock(&waiters_mutex);
    return ring && last;
}

/* Whether it was locked within `milliseconds`. */
static bool lock_within(pthread_mutex_t *mutex, uint64_t milliseconds) {
#ifdef __APPLE__
    for (uint64_t until = ss_milliseconds() + milliseconds; ss_milliseconds() < until;) {
        if (pthread_mutex_trylock(mutex) == 0) return true;
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    return pthread_mutex_trylock(mutex) == 0;
#else
    struct timespec until = by_clock(CLOCK_REALTIME, milliseconds);
    return pthread_mutex_timedlock(mutex, &until) == 0;
#endif
}

static int lock_deaf(pthread_mutex_t *mutex, _Atomic(const void *) *holder, const void *mark) {
    struct waiter me = {.mark = mark, .holder = holder, .deaf = true};
    list_waiter(&me);
    int error = pthread_mutex_lock(mutex);
    unlist_waiter(&me);
    return error == 0 ? SS_OK : SS_REENTRANT;
}

int ss_wait_unlocked(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until, _Atomic(const void *) *holder,
                     const void *mark) {
    struct waiter me = {.mark = mark, .holder = holder, .deaf = true};
    list_waiter(&me);
    atomic_store_explicit(holder, NULL, memory_order_relaxed);
    int error = pthread_cond_timedwait(condition, mutex, until);
    atomic_store_explicit(holder, mark, memory_order_relaxed);
    unlist_waiter(&me);
    return error;
}

int ss_lock_slowly(pthread_mutex_t *mutex, _Atomic(const void *) *holder, const void *mark, bool deaf) {
    if (deaf) return lock_deaf(mutex, holder, mark);
    if (ss_is_impatient()) return SS_ABSENT;
    struct waiter me = {.mark = mark, .holder = holder};
    list_waiter(&me);
    int status = SS_OK;
    while (status == SS_OK && !lock_within(mutex, SS_SLICE_MS)) {
        if (closes_ring(&me)) {
            status =
                ss_fail(SS_REENTRANT, "threads wait for each other's memories: key comparisons or memories in Python use them", 0, 0, 0);
        } else {
            status = ss_poll_signals();
        }
    }
    unlist_waiter(&me);
    return status;
}

void ss_waiting_forked(void) {
    pthread_mutex_init(&waiters_mutex, NULL);
    waiters = NULL;
}
